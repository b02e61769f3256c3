# One network namespace per node, all on one bridge with the host.
# shellcheck shell=bash

make_network() {
  local node namespace other
  ip link show "$BRIDGE" >/dev/null 2>&1 || ip link add "$BRIDGE" type bridge
  ip address replace "$HOST_ADDRESS/24" dev "$BRIDGE"
  ip link set "$BRIDGE" up
  for node in "${NODE_NAMES[@]}"; do
    namespace=$(network_namespace "$node")
    [ -e "/run/netns/$namespace" ] || ip netns add "$namespace"
    in_node "$node" ip link show eth0 >/dev/null 2>&1 || ip link add "or-$node" type veth peer name eth0 netns "$namespace"
    ip link set "or-$node" master "$BRIDGE" up
    in_node "$node" sh -c "ip link set lo up && ip address replace ${NODE_ADDRESS[$node]}/24 dev eth0 && ip link set eth0 up && ip route replace default via $HOST_ADDRESS"
    in_node "$node" sysctl -qw net.ipv4.ip_forward=1
    # The host reaches pods directly, as a machine on the nodes' own network would.
    ip route replace "${POD_RANGE[$node]}" via "${NODE_ADDRESS[$node]}"
    for other in "${NODE_NAMES[@]}"; do
      [ "$other" = "$node" ] || in_node "$node" ip route replace "${POD_RANGE[$other]}" via "${NODE_ADDRESS[$other]}"
    done
  done
}

remove_network() {
  local node
  for node in "${NODE_NAMES[@]}"; do
    ip netns delete "$(network_namespace "$node")" 2>/dev/null || true
    ip link delete "or-$node" 2>/dev/null || true
  done
  ip link delete "$BRIDGE" 2>/dev/null || true
}
