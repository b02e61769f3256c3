#!/usr/bin/env bash
# What can be said about the sources without running them.
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib/common.sh"
source "$CLUSTER_DIR/lib/packages.sh"
cd "$PROJECT_DIR"
claim_target

say "format"
cargo fmt --all --check
say "clippy"
cargo clippy --quiet --locked --workspace --all-targets -- --deny warnings
# The scenarios run only when they are named, so "all targets" leaves them out.
cargo clippy --quiet --locked --workspace --test scenarios -- --deny warnings
say "layout, arrows between crates, generated files"
cargo xtask check-crds && cargo xtask check-arrows && cargo xtask check-layout
say "protocol definitions"
install_packages npx:npm python3
(cd proto && npx --yes --loglevel=error @bufbuild/buf@1.75.0 lint) || fail "buf lint found faults in proto/"
say "the benchmark's own tests, and its page against its figures"
PYTHONDONTWRITEBYTECODE=1 python3 -m unittest discover --quiet --start-directory bench --pattern '*_test.py'
