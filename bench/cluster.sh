#!/usr/bin/env bash
# make bench-cluster: brings up the cluster, installs what this checkout is, optimised, and measures sessions on it.
# usage: cluster.sh [arguments of cluster.py...]    KEEP=1 leaves the cluster up
source "$(dirname "${BASH_SOURCE[0]}")/../e2e/cluster/lib/common.sh"
source "$CLUSTER_DIR/lib/packages.sh"
source "$CLUSTER_DIR/lib/object-store.sh"

finish() {
  trap - EXIT
  if [ -n "${KEEP:-}" ]; then
    say "the cluster is left up: export KUBECONFIG=$KUBECONFIG; take it down with 'make cluster-down'"
  else
    "$CLUSTER_DIR/down.sh"
  fi
}

main() {
  require_root
  export KUBECONFIG=$ADMIN_KUBECONFIG ORLOP_PROFILE=${ORLOP_PROFILE:-release} ORLOP_TOOLS=$TOOLS_DIR PYTHONDONTWRITEBYTECODE=1
  # A tag of its own, so that on a cluster that is up already the services are replaced by these.
  export ORLOP_TAG=${ORLOP_TAG:-bench-$(date -u +%Y%m%d%H%M%S)}
  install_packages python3 diff:diffutils find:findutils strip:binutils
  trap finish EXIT
  "$CLUSTER_DIR/up.sh"
  "$CLUSTER_DIR/images.sh" --load
  "$CLUSTER_DIR/install.sh"
  AWS_ACCESS_KEY_ID=$S3_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$(cat "$S3_SECRET_FILE")
  export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
  python3 "$PROJECT_DIR/bench/cluster.py" --work "${ORLOP_BENCH:-$CACHE_DIR/bench}" --state "$STATE_DIR" --endpoint "$S3_ENDPOINT" \
    --ours "$CARGO_TARGET_DIR/${ORLOP_PROFILE/#dev/debug}/data-mover" "$@"
}

main "$@"
