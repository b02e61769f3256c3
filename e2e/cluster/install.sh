#!/usr/bin/env bash
# Installs the chart from this checkout on the cluster KUBECONFIG names, with the short timings the tests need.
# usage: install.sh [helm arguments...]
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

KUBECONFIG=${KUBECONFIG:-$ADMIN_KUBECONFIG}
export KUBECONFIG
ORLOP_TAG=${ORLOP_TAG:-e2e}
ORLOP_REGISTRY=${ORLOP_REGISTRY:-orlop.local}

helm upgrade --install orlop "$PROJECT_DIR/charts/orlop" --namespace orlop-system --create-namespace --wait --timeout 3m \
  --values "$CLUSTER_DIR/values.yaml" --set "image.registry=$ORLOP_REGISTRY" --set "image.tag=$ORLOP_TAG" "$@" >/dev/null ||
  {
    kubectl -n orlop-system get pods -o wide >&2
    kubectl -n orlop-system get events --sort-by=.lastTimestamp | tail -n 20 >&2
    fail "the chart did not become ready"
  }
say "Orlop is installed in namespace orlop-system"
