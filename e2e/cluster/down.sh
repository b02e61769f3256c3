#!/usr/bin/env bash
# Takes the end-to-end cluster down: only processes it started, by id, then mounts, namespaces and cgroups of its own.
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
source "$CLUSTER_DIR/lib/network.sh"
set +e # a step that finds nothing to take down must not keep the next from its work

# The pid file names a process that is ours only if its command line still names our state or one of our programs.
is_ours() { [ -e "/proc/$1/cmdline" ] && tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -qE "$STATE_DIR|$TOOLS_DIR|versitygw|etcd|kube|containerd"; }

# Nothing of a test cluster is worth a graceful end, which takes the API server alone five seconds.
stop_process() {
  local file=$STATE_DIR/pid/$1 pid
  [ -e "$file" ] || return 0
  pid=$(cat "$file")
  is_ours "$pid" && kill -9 "$pid"
  rm -f "$file"
}

node_cgroups() { # every cgroup folder of a node, leaves first
  local hierarchy
  while read -r hierarchy; do
    # Containers live below the node's root; shims of a cgroup-v1 host may leave theirs under k8s.io.
    # Groups vanish while they are looked for.
    [ -d "$hierarchy/orlop-$1" ] && find "$hierarchy/orlop-$1" -depth -type d 2>/dev/null
  done < <(cgroup_hierarchies)
}

kill_containers() { # containers outlive a dead containerd, so they are ended through their cgroups
  local pid
  node_cgroups "$1" | while read -r folder; do cat "$folder/cgroup.procs" 2>/dev/null; done | sort -un | while read -r pid; do kill -9 "$pid" 2>/dev/null; done
  pgrep -f "containerd-shim-runc-v2 .*-address $STATE_DIR/$1/containerd.sock" | while read -r pid; do kill -9 "$pid" 2>/dev/null; done
}

# The CNI library keeps one result per pod sandbox; it names the sandbox's network namespace.
remove_pod_networks() {
  local result namespace
  for result in /var/lib/cni/results/orlop-e2e-*; do
    [ -e "$result" ] || continue
    namespace=$(jq -r '.netns // empty' "$result")
    case $namespace in /run/netns/cni-* | /var/run/netns/cni-*) umount -l "$namespace" 2>/dev/null; rm -f "$namespace" ;; esac
    rm -f "$result" "$(sed 's|/orlop-e2e-\(.*\)-eth0$|/cni-loopback-\1-lo|' <<<"$result")"
  done
}

unmount_below() {
  local round mount
  for round in 1 2 3; do
    awk -v prefix="$1/" 'index($2, prefix) == 1 {print $2}' /proc/mounts | sort -r | while read -r mount; do umount -l "$mount" 2>/dev/null; done
  done
}

main() {
  [ -e "$STATE_DIR" ] || { remove_network; return 0; }
  require_root
  local node name namespace
  for node in "${NODE_NAMES[@]}"; do
    stop_process "proxy-$node"
    stop_process "kubelet-$node"
  done
  for name in scheduler controller-manager apiserver etcd versitygw; do stop_process "$name"; done
  for node in "${NODE_NAMES[@]}"; do
    kill_containers "$node"
    stop_process "containerd-$node"
    kill_containers "$node"
  done
  remove_pod_networks
  unmount_below "$STATE_DIR"
  remove_network
  for node in "${NODE_NAMES[@]}"; do node_cgroups "$node" | while read -r folder; do rmdir "$folder" 2>/dev/null; done; done
  rm -rf "$STATE_DIR"
}

main "$@"
