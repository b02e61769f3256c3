#!/usr/bin/env bash
# Installs what building needs and this machine lacks. Says what it cannot install, and how to.
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib/common.sh"
source "$CLUSTER_DIR/lib/packages.sh"

RUST_VERSION=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$PROJECT_DIR/rust-toolchain.toml")

install_rust() {
  say "installing Rust $RUST_VERSION"
  curl -fsSL --connect-timeout 3 https://sh.rustup.rs | sh -s -- -y --quiet --no-modify-path --profile minimal --default-toolchain "$RUST_VERSION" --component clippy --component rustfmt ||
    fail "Rust $RUST_VERSION is missing and its installer is out of reach: install it from https://rustup.rs, then run this again"
}

main() {
  local wanted=()
  command -v cc >/dev/null || wanted+=(cc:gcc libc6-dev)
  command -v make >/dev/null || wanted+=(make)
  command -v curl >/dev/null || wanted+=(curl ca-certificates)
  if [ ${#wanted[@]} -gt 0 ]; then install_packages "${wanted[@]}"; fi
  export PATH=$HOME/.cargo/bin:$PATH
  command -v cargo >/dev/null || install_rust
}

main "$@"
