#!/usr/bin/env bash
# Brings up the end-to-end cluster: two real nodes, cluster DNS and an S3 server. Does nothing when it already answers.
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
for part in packages pki network control-plane node images object-store; do source "$CLUSTER_DIR/lib/$part.sh"; done

cluster_answers() { [ -e "$STATE_DIR/complete" ] && kubectl --request-timeout=3s get --raw=/readyz >/dev/null 2>&1; }
node_is_ready() { kubectl get node "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' | grep -q True; }

main() {
  require_root
  export KUBECONFIG=$ADMIN_KUBECONFIG
  if cluster_answers; then
    say "the cluster is up: export KUBECONFIG=$ADMIN_KUBECONFIG"
    return
  fi
  "$CLUSTER_DIR/tools.sh"
  "$CLUSTER_DIR/down.sh" # whatever an earlier run left half-made
  mkdir -p "$STATE_DIR"/{log,pid}
  make_pki
  build_base_images
  make_network
  start_object_store
  start_control_plane
  kubectl create clusterrolebinding node-proxier --clusterrole=system:node-proxier --user=system:kube-proxy >/dev/null
  local node
  for node in "${NODE_NAMES[@]}"; do start_node "$node"; done
  for node in "${NODE_NAMES[@]}"; do
    await 60 "$node to be Ready" node_is_ready "$node"
    import_image "$node" "$IMAGES_DIR/coredns.tar"
    import_image "$node" "$IMAGES_DIR/busybox.tar"
  done
  kubectl apply -f "$CLUSTER_DIR/coredns.yaml" >/dev/null
  kubectl -n kube-system rollout status deployment/coredns --timeout=60s >/dev/null || fail "CoreDNS did not become ready; see $STATE_DIR/log"
  touch "$STATE_DIR/complete"
  say "two nodes are Ready: export KUBECONFIG=$ADMIN_KUBECONFIG"
}

main "$@"
