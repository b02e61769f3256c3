#!/usr/bin/env bash
# make test: each part on its own clock; the first failure ends it.
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib/common.sh"

TIMINGS=()
part() { # name command...
  local name=$1 started=$SECONDS
  shift
  say "=== $name"
  "$@" || fail "$name failed"
  TIMINGS+=("$(printf '%-42s %4d s' "$name" $((SECONDS - started)))")
}

main() {
  cd "$PROJECT_DIR"
  require_cluster_host
  export PATH=$HOME/.cargo/bin:$PATH
  part "toolchain" e2e/toolchain.sh
  part "tools of the cluster" e2e/cluster/tools.sh
  part "format, lints, layout, generated files" e2e/lint.sh
  part "unit and integration tests" e2e/unit.sh
  part "scenarios on the cluster" e2e/scenarios.sh
  say "every part passed"
  printf '  %s\n' "${TIMINGS[@]}"
}

require_cluster_host() {
  [ "$(id -u)" = 0 ] && [ "$(uname -s)" = Linux ] && unshare --net --mount true 2>/dev/null && return
  [ "${CI:-}" != true ] || fail "continuous integration never skips the scenarios: it needs root on Linux, and leave to make network and mount namespaces"
  fail "the scenarios make a cluster of their own, which needs root on Linux and leave to make network and mount namespaces. Run this with sudo, or 'make lint unit' for what needs no cluster"
}

main "$@"
