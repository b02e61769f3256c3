# Sourced by every script here: where things are, how to say things, and what the host offers.
# shellcheck shell=bash
set -euo pipefail

CLUSTER_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PROJECT_DIR=$(cd "$CLUSTER_DIR/../.." && pwd)
# shellcheck source=../versions.env
source "$CLUSTER_DIR/versions.env"

# Built binaries outlive the checkout; the running cluster's state does not need to.
CACHE_DIR=${ORLOP_CACHE:-$HOME/.cache/orlop}
TOOLS_DIR=${ORLOP_TOOLS:-$CACHE_DIR/tools/bin}
# Compiled dependencies are worth ten minutes, so fresh checkouts share them.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE_DIR/target}
# A build from scratch gains nothing by it, and pays with half as much disk again.
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
# Short, because a unix socket's path may have 107 bytes at most and containerd nests several folders.
STATE_DIR=${ORLOP_CLUSTER_STATE:-/var/lib/orlop-e2e}
ADMIN_KUBECONFIG=$STATE_DIR/admin.kubeconfig

# One bridge joins the host and both nodes; no address of it is routed anywhere else.
BRIDGE=orlop-br0
HOST_ADDRESS=10.250.0.1
NODE_NAMES=(node1 node2)
declare -A NODE_ADDRESS=([node1]=10.250.0.11 [node2]=10.250.0.12)
declare -A POD_RANGE=([node1]=10.244.1.0/24 [node2]=10.244.2.0/24)
POD_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
DNS_ADDRESS=10.96.0.10
API_ADDRESS=https://${NODE_ADDRESS[node1]}:6443
# The S3 gateway listens on the host's side of the bridge, where the nodes' pods reach it.
S3_PORT=7070

export PATH=$TOOLS_DIR:$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Cargo names what it builds by paths within the checkout and tells fresh from stale by the times of files: of two checkouts
# that share a target folder it takes one's programs for the other's. So whoever comes after another makes its own files new.
claim_target() {
  local mark=$CARGO_TARGET_DIR/.checkout
  [ "$(cat "$mark" 2>/dev/null)" != "$PROJECT_DIR" ] || return 0
  find "$PROJECT_DIR" \( -name .git -o -name target \) -prune -o -type f -exec touch {} +
  mkdir -p "$CARGO_TARGET_DIR"
  echo "$PROJECT_DIR" >"$mark"
}

# How the mover's image has the C library hand memory out. By itself it comes to serve all large buffers from its heap, where the
# small pieces of an index between them keep them from being given back: 117 MB instead of 86 for an index of 52.
MOVER_ENVIRONMENT=MALLOC_MMAP_THRESHOLD_=1048576

network_namespace() { echo "orlop-$1"; }
in_node() { # node command...: runs in the node's network namespace, with this host's cgroups in sight
  local node=$1
  shift
  nsenter --net="/run/netns/$(network_namespace "$node")" "$@"
}

require_root() {
  [ "$(id -u)" = 0 ] || fail "the cluster makes network namespaces, mounts and cgroups: run this as root or with sudo, or set KUBECONFIG to use a cluster of your own"
  [ "$(uname -s)" = Linux ] || fail "the cluster runs on Linux only: set KUBECONFIG to use a cluster of your own"
  # Root of an unprivileged container is refused this, and would find out halfway through.
  unshare --net --mount true 2>/dev/null || fail "this machine does not let root make network and mount namespaces, which the cluster is made of: use a virtual machine or a privileged container, or set KUBECONFIG to use a cluster of your own"
}

# background NAME WHERE COMMAND...: starts it in a node's network namespace, or on the `host`, with its own log and a
# pid file by which it is stopped again. Every layer in between is replaced by exec, so that the pid is the program's.
background() {
  local name=$1 where=$2
  shift 2
  [ "$where" = host ] || set -- nsenter --net="/run/netns/$(network_namespace "$where")" "$@"
  (exec "$@") >"$STATE_DIR/log/$name.log" 2>&1 </dev/null &
  echo $! >"$STATE_DIR/pid/$name"
}

# await SECONDS WHAT COMMAND...: polls a condition ten times a second.
await() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "waited in vain for $what; logs are in $STATE_DIR/log"
    read -rt 0.1 <> <(:) || true
  done
}

cgroup_hierarchies() { # every mounted hierarchy in which a node needs its own root
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    echo /sys/fs/cgroup
  else
    awk '$3 == "cgroup" || $3 == "cgroup2" {print $2}' /proc/mounts
  fi
}
