#!/usr/bin/env bash
# Every scenario on a real cluster. SCENARIO=word runs those whose names hold it; KEEP=1 leaves the cluster up.
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib/common.sh"

# Two cores: more side by side than this only makes every one of them slower.
THREADS=${ORLOP_SCENARIO_THREADS:-4}
# Three times what all scenarios take on two cores; a scenario that hangs must fail here, with the services' logs,
# not in whatever ends the whole run from outside.
LIMIT=${ORLOP_SCENARIO_LIMIT:-30m}

show_failure() {
  say "what the services last said:"
  kubectl -n orlop-system get pods -o wide || true
  kubectl -n orlop-system logs --selector app.kubernetes.io/part-of=orlop --all-containers --tail=40 --prefix 2>/dev/null | grep -E 'WARN|ERROR|panic' | tail -n 40 || true
}

check_least_privilege() {
  kubectl get clusterroles,roles --all-namespaces --selector app.kubernetes.io/part-of=orlop -o json |
    jq '[.items[] | select(.metadata.name | IN("orlop-scheduler", "orlop-session-controller", "orlop-storage-initializer"))]' >"$STATE_DIR/rules.json"
  "$PROJECT_DIR/e2e/least-privilege.py" "$STATE_DIR/log/audit.log" "$STATE_DIR/rules.json"
}

main() {
  require_root
  export KUBECONFIG=$ADMIN_KUBECONFIG ORLOP_TOOLS=$TOOLS_DIR
  [ -n "${KEEP:-}" ] || trap '"$CLUSTER_DIR/down.sh"' EXIT
  "$CLUSTER_DIR/up.sh"
  "$CLUSTER_DIR/images.sh" --load
  # The scenarios receive the traces themselves.
  "$CLUSTER_DIR/install.sh" --set telemetry.otlpEndpoint="http://$HOST_ADDRESS:4317"
  "$PROJECT_DIR/e2e/chart.sh"
  cd "$PROJECT_DIR"
  claim_target
  local status=0
  RUST_BACKTRACE=0 timeout "$LIMIT" cargo test --quiet --locked --workspace --test scenarios -- --test-threads="$THREADS" ${SCENARIO:+"$SCENARIO"} || status=$?
  # 124 is timeout's own word for it.
  [ "$status" != 124 ] || say "the scenarios did not end within $LIMIT: those last said to run for over 60 seconds hang"
  [ "$status" = 0 ] || show_failure
  # Only all scenarios together use all that is granted.
  [ "$status" != 0 ] || [ -n "${SCENARIO:-}" ] || check_least_privilege || status=$?
  return "$status"
}

main "$@"
