# One node: containerd, kubelet and kube-proxy, each with state, sockets and cgroups of its own.
# shellcheck shell=bash

PAUSE_IMAGE=registry.k8s.io/pause:3.10

node_dir() { echo "$STATE_DIR/$1"; }
containerd_socket() { echo "$STATE_DIR/$1/containerd.sock"; }

# kubelet refuses a root cgroup that is not there, and cpuset stays empty unless filled by hand (cgroup v1).
make_node_cgroups() {
  local node=$1 hierarchy file
  # kubelet wants hugetlb; where it sits in the v2 tree it must be mounted as v1 before the first container.
  if [ ! -e /sys/fs/cgroup/cgroup.controllers ] && ! mountpoint -q /sys/fs/cgroup/hugetlb; then
    mkdir -p /sys/fs/cgroup/hugetlb && mount -t cgroup -o hugetlb cgroup /sys/fs/cgroup/hugetlb || true
  fi
  while read -r hierarchy; do
    mkdir -p "$hierarchy/orlop-$node" 2>/dev/null || continue
    if [ -e "$hierarchy/cgroup.subtree_control" ]; then
      for file in "$hierarchy" "$hierarchy/orlop-$node"; do
        tr ' ' '\n' <"$file/cgroup.controllers" | sed 's/^/+/' | while read -r controller; do echo "$controller" >"$file/cgroup.subtree_control" 2>/dev/null || true; done
      done
    fi
    for file in cpuset.cpus cpuset.mems; do
      [ -e "$hierarchy/$file" ] && [ -z "$(cat "$hierarchy/orlop-$node/$file")" ] && cat "$hierarchy/$file" >"$hierarchy/orlop-$node/$file" || true
    done
  done < <(cgroup_hierarchies)
}

write_containerd_config() {
  local node=$1 directory plugins=/usr/lib/cni
  [ -x $plugins/bridge ] || plugins=/opt/cni/bin
  directory=$(node_dir "$node")
  mkdir -p "$directory/cni"
  cat >"$directory/containerd.toml" <<TOML
version = 3
root = "$directory/containerd/root"
state = "$directory/containerd/state"
disabled_plugins = ["io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.zfs", "io.containerd.nri.v1.nri"]

[grpc]
  address = "$(containerd_socket "$node")"

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "$PAUSE_IMAGE"

[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  # Lowering a score needs CAP_SYS_RESOURCE, which a container that hosts this cluster may lack.
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = "$(command -v runc)"
        SystemdCgroup = false
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["$plugins"]
    conf_dir = "$directory/cni"
TOML
  cat >"$directory/cni/10-orlop.conflist" <<JSON
{
  "cniVersion": "0.4.0",
  "name": "orlop-e2e",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {"type": "host-local", "dataDir": "$directory/ipam", "ranges": [[{"subnet": "${POD_RANGE[$node]}"}]]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
JSON
}

write_kubelet_config() {
  local node=$1 directory
  directory=$(node_dir "$node")
  echo "nameserver $DNS_ADDRESS" >"$directory/resolv.conf"
  cat >"$directory/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: ${NODE_ADDRESS[$node]}
healthzBindAddress: ${NODE_ADDRESS[$node]}
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI_DIR/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI_DIR/kubelet-$node.crt
tlsPrivateKeyFile: $PKI_DIR/kubelet-$node.key
containerRuntimeEndpoint: unix://$(containerd_socket "$node")
cgroupDriver: cgroupfs
cgroupRoot: /orlop-$node
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: 20000
clusterDomain: cluster.local
# Both nodes are this machine, and each would clear away the other's logs.
podLogsDir: $directory/pod-logs
clusterDNS: [$DNS_ADDRESS]
resolvConf: $directory/resolv.conf
localStorageCapacityIsolation: false
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
serializeImagePulls: false
# The tests kill containers again and again; the usual back-off would make them wait for minutes.
crashLoopBackOff: {maxContainerRestartPeriod: 1s}
featureGates: {KubeletCrashLoopBackOffMax: true}
YAML
}

start_kubelet() {
  local node=$1 directory
  directory=$(node_dir "$node")
  background "kubelet-$node" "$node" kubelet --config="$directory/kubelet.yaml" --kubeconfig="$PKI_DIR/kubelet-$node.kubeconfig" \
    --root-dir="$directory/kubelet" --hostname-override="$node" --node-ip="${NODE_ADDRESS[$node]}"
}

start_proxy() {
  local node=$1 directory
  directory=$(node_dir "$node")
  cat >"$directory/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $PKI_DIR/proxy.kubeconfig}
mode: nftables
clusterCIDR: $POD_CIDR
hostnameOverride: $node
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0}
YAML
  background "proxy-$node" "$node" kube-proxy --config="$directory/proxy.yaml"
}

start_node() {
  local node=$1
  mkdir -p "$(node_dir "$node")/kubelet"
  make_node_cgroups "$node"
  write_containerd_config "$node"
  write_kubelet_config "$node"
  background "containerd-$node" "$node" containerd --config "$(node_dir "$node")/containerd.toml"
  await 30 "containerd of $node" test -S "$(containerd_socket "$node")"
  import_image "$node" "$CACHE_DIR/images/pause.tar"
  start_kubelet "$node"
  start_proxy "$node"
}

import_image() { # node archive
  await 20 "the image import on $1" ctr --address "$(containerd_socket "$1")" --namespace k8s.io images import "$2"
}
