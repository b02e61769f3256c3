# Waiting for objects, and telling what is seen meanwhile.
# shellcheck shell=bash

field() { kubectl -n "$1" get "$2" -o json 2>/dev/null | jq -r "$3 // empty"; } # namespace object jq-path

await_field() { # seconds what namespace object jq-path value
  local deadline=$((SECONDS + $1)) what=$2 seen
  shift 2
  until seen=$(field "$1" "$2" "$3") && [ "$seen" = "$4" ]; do
    ((SECONDS < deadline)) || die "waited in vain for $what; it is '${seen:-not there}'$(complaints "$1" "$2")"
    sleep 0.3
  done
  fact "${2%%/*}" "${2#*/}: $4"
}

complaints() { # namespace object: its conditions that are False
  kubectl -n "$1" get "$2" -o json 2>/dev/null | jq -r '(.status.conditions // [])[] | select(.status == "False") | "; \(.type): \(.message)"'
}

# The first BackupSession with that trigger that was made after an instant and not skipped. A slot is up to a minute off.
await_session() { # trigger since
  local deadline=$((SECONDS + 150)) name
  until name=$(kubectl -n demo get backupsessions -o json | jq -r --arg trigger "$1" --arg since "$2" '
      [.items[] | select((.metadata.annotations["orlop.dev/triggered-by"] // .metadata.labels["orlop.dev/triggered-by"]) == $trigger)
        | select(.metadata.creationTimestamp > $since and (.status.phase // "Pending") != "Skipped")]
      | sort_by(.metadata.creationTimestamp) | first | .metadata.name // empty') && [ -n "$name" ]; do
    ((SECONDS < deadline)) || die "no BackupSession triggered by '$1' came within 150 s"
    sleep 0.5
  done
  echo "$name"
}

await_no_running_session() {
  local deadline=$((SECONDS + 60))
  while kubectl -n demo get backupsessions -o json | jq -e '[.items[] | select(.status.phase as $p | ["Succeeded", "Failed", "Skipped"] | index($p) | not)] | length > 0' >/dev/null; do
    ((SECONDS < deadline)) || die "a BackupSession is still running a minute after the pause"
    sleep 0.5
  done
}

session_line() { # prints one line on where a BackupSession stands, from its Snapshot's status
  local snapshot
  snapshot=$(field demo "backupsession/$1" '.status.snapshots[0].name')
  [ -n "$snapshot" ] || return 0
  kubectl -n demo get snapshot "$snapshot" -o json 2>/dev/null | jq -r '
    .status.components // {} | to_entries[] | "\(.key): \(.value.phase)" +
    ((.value.resticStats // [])[0] | if .summary then ", \(.summary.size) in the snapshot, \(.summary.uploaded) uploaded"
      elif .progress.percentDone then ", \(.progress.percentDone) of \(.progress.total // "?"), \(.progress.filesDone // 0) files, \(.progress.speed // "")" else "" end)'
}

follow_session() { # name
  local name=$1 deadline=$((SECONDS + 300)) phase line last=
  fact "session" "$name"
  while :; do
    phase=$(field demo "backupsession/$name" .status.phase)
    line=$(session_line "$name")
    [ "$line" = "$last" ] || fact "" "$line"
    last=$line
    case $phase in
      Succeeded) break ;;
      Failed | Skipped) die "BackupSession $name is $phase$(complaints demo "backupsession/$name")" ;;
    esac
    ((SECONDS < deadline)) || die "BackupSession $name is still '$phase' after five minutes$(complaints demo "backupsession/$name")"
    sleep 0.5
  done
  fact "succeeded" "in $(field demo "backupsession/$name" .status.duration)"
}

follow_restore() { # namespace name
  local deadline=$((SECONDS + 300)) phase line last=
  while :; do
    phase=$(field "$1" "restoresession/$2" .status.phase)
    line=$(kubectl -n "$1" get "restoresession/$2" -o json | jq -r '.status.components // {} | to_entries[] | "\(.key): \(.value.phase)" +
      (.value.progress | if .percentDone then ", \(.percentDone) of \(.total // "?"), \(.filesDone // 0) files" else "" end)')
    [ "$line" = "$last" ] || fact "" "$line"
    last=$line
    case $phase in
      Succeeded) break ;;
      Failed | Invalid) die "RestoreSession $2 is $phase$(complaints "$1" "restoresession/$2")" ;;
    esac
    ((SECONDS < deadline)) || die "RestoreSession $2 is still '$phase' after five minutes$(complaints "$1" "restoresession/$2")"
    sleep 0.5
  done
  fact "succeeded" "in $(field "$1" "restoresession/$2" .status.duration)"
}
