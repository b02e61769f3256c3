#!/usr/bin/env bash
# make test: each part on its own clock; the first failure ends it.
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib/common.sh"

TIMINGS=()
TOOLS_LOG=$(mktemp)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -f "$TOOLS_LOG"' EXIT
trap 'exit 130' INT TERM
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
  # On a new machine the tools take ten minutes and more of compiling, and leave a core unused now and then.
  nice e2e/cluster/tools.sh >"$TOOLS_LOG" 2>&1 &
  local tools=$!
  part "format, lints, layout, generated files" e2e/lint.sh
  part "tools of the cluster, beside the lints" finish_tools "$tools"
  part "unit and integration tests" e2e/unit.sh
  part "scenarios on the cluster" e2e/scenarios.sh
  part "speed beside stock restic" bench/bench.sh --quick
  say "every part passed"
  printf '  %s\n' "${TIMINGS[@]}"
}

finish_tools() { # process
  wait "$1" || { cat "$TOOLS_LOG" && return 1; }
  cat "$TOOLS_LOG"
}

require_cluster_host() {
  [ "$(id -u)" = 0 ] && [ "$(uname -s)" = Linux ] && unshare --net --mount true 2>/dev/null && return
  [ "${CI:-}" != true ] || fail "continuous integration never skips the scenarios: it needs root on Linux, and leave to make network and mount namespaces"
  fail "the scenarios make a cluster of their own, which needs root on Linux and leave to make network and mount namespaces. Run this with sudo, or 'make lint unit' for what needs no cluster"
}

main "$@"
