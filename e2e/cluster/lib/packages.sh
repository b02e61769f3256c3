# Distribution packages: what the host must have, and single programs from Debian's unstable suite.
# shellcheck shell=bash

ARCHITECTURE=$(case "$(uname -m)" in x86_64) echo amd64 ;; aarch64) echo arm64 ;; *) uname -m ;; esac)

# A program stands for its package, so that a machine that has them some other way is left alone.
HOST_PACKAGES=(runc:runc iptables:iptables nft:nftables conntrack:conntrack ip:iproute2 openssl:openssl getfattr:attr setfacl:acl
  jq:jq curl:curl gcc:gcc busybox:busybox-static python3:python3 nsenter:util-linux make:make xz:xz-utils)
# What it takes to build Orlop's images and bring them to somebody else's cluster.
CLIENT_PACKAGES=(jq:jq curl:curl gcc:gcc strip:binutils getfattr:attr setfacl:acl python3:python3 xz:xz-utils skopeo:skopeo)

install_packages() { # package or program:package ...
  local wanted=() item
  for item in "$@"; do
    command -v "${item%%:*}" >/dev/null || wanted+=("${item#*:}")
  done
  [ ${#wanted[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "this machine lacks ${wanted[*]} and has no apt-get: install them by hand, then run this again"
  [ "$(id -u)" = 0 ] || fail "this machine lacks ${wanted[*]}: run 'sudo apt-get install ${wanted[*]}', then run this again"
  say "installing packages: ${wanted[*]}"
  mkdir -p "$CACHE_DIR"
  # Scripts run beside one another, and apt-get refuses to begin while another one works.
  flock "$CACHE_DIR/packages.lock" bash -euc '
    apt-get update -qq >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null' install "${wanted[@]}"
}

install_host_packages() {
  local packages=("${HOST_PACKAGES[@]}")
  # Programs that are on nobody's path.
  [ -x /usr/lib/cni/bridge ] || [ -x /opt/cni/bin/bridge ] || packages+=(cni-plugins:containernetworking-plugins)
  install_packages "${packages[@]}"
}

# from_debian_unstable PACKAGE MEMBER DESTINATION: unpacks one file of a package without installing or upgrading anything.
from_debian_unstable() {
  local package=$1 member=$2 destination=$3 scratch mirror
  command -v apt-get >/dev/null || fail "no official release of $package in reach and no apt-get here: put $(basename "$destination") into $TOOLS_DIR"
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$') || fail "no Debian mirror is configured, so $package cannot be fetched"
  scratch=$(mktemp -d)
  mkdir -p "$scratch"/{lists/partial,archives/partial}
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$scratch/sources.list"
  local options=(-o "Dir::Etc::sourcelist=$scratch/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$scratch/lists" -o "Dir::Cache=$scratch" -o APT::Sandbox::User=root)
  say "fetching $package from Debian's unstable suite"
  apt-get "${options[@]}" update -qq >/dev/null
  (cd "$scratch" && apt-get "${options[@]}" download -qq "$package/sid" >/dev/null)
  dpkg -x "$scratch"/"${package}"_*.deb "$scratch/unpacked"
  install -m755 "$scratch/unpacked/$member" "$destination"
  rm -rf "$scratch"
}
