# The timeline that a person reads, and the last word.
# shellcheck shell=bash

STARTED=$SECONDS
STEP_TIMES=()
CURRENT_STEP="preparation"
SUCCEEDED=

step() { # title function
  CURRENT_STEP=$1
  local started=$SECONDS
  printf '\n%s  %s\n' "$(date +%T)" "$1"
  "$2"
  STEP_TIMES+=("$(printf '%-34s %4d s' "$1" $((SECONDS - started)))")
}

fact() { printf '          %-12s %s\n' "$1" "$2"; }

die() {
  printf '\nfailed: %s: %s\n' "$CURRENT_STEP" "$*" >&2
  exit 1
}

finish() { # exit-status
  local status=$1
  trap - EXIT INT TERM
  [ -z "${COMPILATION:-}" ] || kill "$COMPILATION" 2>/dev/null || true
  rm -rf "$SCRATCH"
  if [ -n "$SUCCEEDED" ]; then
    printf '\nEverything that was backed up came back, twice, and stock restic agrees.\n\n'
    printf '  %s\n' "${STEP_TIMES[@]}" "$(printf '%-34s %4d s' "in all" $((SECONDS - STARTED)))"
  elif [ "$status" != 130 ]; then
    printf '\nThe demo failed in step "%s".\n' "$CURRENT_STEP" >&2
    explain_failure >&2 || true
    [ "$status" != 0 ] || status=1
  fi
  leave_place
  exit "$status"
}

explain_failure() {
  kubectl get backupstorages,backupconfigurations,backupsessions,snapshots,restoresessions -A 2>/dev/null
  kubectl get backupconfigurations,backupsessions,restoresessions,snapshots -A -o json 2>/dev/null |
    jq -r '.items[] | . as $o | (.status.conditions // [])[] | select(.status == "False" or .type == "orlop.dev/Progressing") | "  \($o.kind) \($o.metadata.namespace)/\($o.metadata.name): \(.type)=\(.status): \(.message)"'
  kubectl get pods -A -o wide 2>/dev/null | grep -vE 'Running|Completed' || true
  kubectl -n orlop-system logs -l app.kubernetes.io/part-of=orlop --all-containers --tail=15 --prefix 2>/dev/null | grep -E '"level":"(WARN|ERROR)"| WARN | ERROR ' | tail -n 20 || true
}
