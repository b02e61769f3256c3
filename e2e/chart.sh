#!/usr/bin/env bash
# The chart as Helm and the API server see it, after it was installed: lint, strict validation, size of the release.
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib/common.sh"

CHART=$PROJECT_DIR/charts/orlop
# A release is one Secret, and etcd takes no object over 1.5 MiB; Kubernetes limits a Secret to 1 MiB.
LARGEST_RELEASE=$((1 << 20))

lint() { # helm arguments...
  helm lint --strict --quiet "$CHART" "$@" || fail "helm lint finds faults in the chart${*:+ with $*}"
}

validate() { # helm arguments...: every rendered object through the API server's own strict validation
  helm template orlop "$CHART" --namespace orlop-system --kube-version "$KUBERNETES_VERSION" --include-crds --api-versions addons.kubestash.com/v1alpha1/Addon "$@" |
    kubectl --namespace orlop-system apply --server-side --force-conflicts --dry-run=server --validate=strict -f - >/dev/null ||
    fail "the API server refuses what the chart renders${*:+ with $*}"
}

# A Deployment as KubeStash's chart makes it, by its labels; its pod need not run for it to be in the way.
refuses_beside_kubestash() {
  local told
  kubectl create namespace kubestash --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  kubectl -n kubestash apply -f - >/dev/null <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: kubestash-kubestash-operator, labels: {app.kubernetes.io/name: kubestash-operator}}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: kubestash-operator}}
  template:
    metadata: {labels: {app.kubernetes.io/name: kubestash-operator}}
    spec: {nodeSelector: {no-such-node: "yes"}, containers: [{name: operator, image: orlop.local/busybox:e2e}]}
YAML
  if told=$(helm upgrade orlop "$CHART" --namespace orlop-system --reuse-values --dry-run=server 2>&1); then
    fail "the chart would be installed beside a running KubeStash operator"
  fi
  grep -q "kubestash/kubestash-kubestash-operator" <<<"$told" || fail "the chart does not name the operator that is in its way: $told"
  kubectl -n kubestash scale deployment kubestash-kubestash-operator --replicas=0 >/dev/null
  helm upgrade orlop "$CHART" --namespace orlop-system --reuse-values --dry-run=server >/dev/null || fail "the chart is refused beside a KubeStash operator that does not run"
  kubectl delete namespace kubestash --wait=false >/dev/null
}

release_size() {
  kubectl --namespace orlop-system get secret --selector owner=helm,name=orlop -o json | jq '[.items[].data.release | length * 3 / 4 | floor] | max'
}

main() {
  export KUBECONFIG=${KUBECONFIG:-$ADMIN_KUBECONFIG}
  local size
  lint
  validate
  lint --values "$CLUSTER_DIR/values.yaml"
  validate --values "$CLUSTER_DIR/values.yaml" --set telemetry.otlpEndpoint=http://collector:4317 --set proxy.httpsProxy=http://proxy:3128
  refuses_beside_kubestash
  size=$(release_size)
  ((size < LARGEST_RELEASE)) || fail "the Helm release has $size bytes, more than a Secret takes"
  say "the chart passes lint and strict validation; its release has $((size / 1024)) KiB"
}

main "$@"
