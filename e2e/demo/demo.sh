#!/usr/bin/env bash
# make demo: an empty machine to a backed-up, destroyed and restored workload, proven with tools that are not ours.
#   KEEP=1            leaves everything running and says how to look around
#   KUBECONFIG=file   runs on that cluster; IMAGE_REGISTRY=host/path names a registry it can pull from
source "$(dirname "${BASH_SOURCE[0]}")/../cluster/lib/common.sh"
source "$CLUSTER_DIR/lib/packages.sh"
DEMO_DIR=$PROJECT_DIR/e2e/demo
source "$DEMO_DIR/lib/report.sh"
source "$DEMO_DIR/lib/place.sh"
source "$DEMO_DIR/lib/follow.sh"

BUCKET=orlop-demo
S3_USER=orlop-demo
S3_PASSWORD=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
REPOSITORY_PASSWORD=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
SCRATCH=$(mktemp -d)

# apply FILE NAME=VALUE...: fills the ${NAME}s of a manifest and applies it.
apply() {
  local text name
  text=$(<"$DEMO_DIR/manifests/$1")
  shift
  for name in "$@"; do text=${text//"\${${name%%=*}}"/${name#*=}}; done
  kubectl apply -f - <<<"$text" >/dev/null
}

in_workload() { # namespace deployment command...
  local namespace=$1 deployment=$2
  shift 2
  kubectl -n "$namespace" exec "deployment/$deployment" -- "$@"
}

run_script_in() { # namespace deployment script arguments...: scripts travel over standard input, so the image needs none of them
  local namespace=$1 deployment=$2 script=$3
  shift 3
  kubectl -n "$namespace" exec -i "deployment/$deployment" -- /usr/bin/bash -s -- "$@" <"$script"
}

create_workload() {
  provide_volume demo notes-data
  apply 20-workload.yaml WORKBENCH_IMAGE="$WORKBENCH_IMAGE"
  kubectl -n demo rollout status deployment/notes --timeout=120s >/dev/null
  run_script_in demo notes "$DEMO_DIR/make-data.sh" /data
  run_script_in demo notes "$DEMO_DIR/describe.sh" /data >"$SCRATCH/before"
  fact "data" "$(in_workload demo notes bash -c 'echo "$(find /data -mindepth 1 | wc -l) entries, $(du -sh /data | cut -f1) on disk"')"
}

declare_backup() {
  kubectl -n demo-storage create secret generic s3-credentials --from-literal=AWS_ACCESS_KEY_ID="$S3_USER" --from-literal=AWS_SECRET_ACCESS_KEY="$S3_PASSWORD" >/dev/null
  local namespace
  for namespace in demo demo-recovery; do
    kubectl -n "$namespace" create secret generic repository-password --from-literal=RESTIC_PASSWORD="$REPOSITORY_PASSWORD" >/dev/null
  done
  apply 30-storage.yaml S3_ENDPOINT="$S3_ENDPOINT"
  await_field 60 "BackupStorage s3-storage to be Ready" demo-storage backupstorage/s3-storage .status.phase Ready
  apply 40-backup.yaml
  await_field 60 "BackupConfiguration notes-backup to be Ready" demo backupconfiguration/notes-backup .status.phase Ready
}

initial_backup() {
  local session
  session=$(await_session initial 0000)
  follow_session "$session"
}

scheduled_backup() {
  in_workload demo notes bash -c 'echo "written after the first backup" >"/data/documents/a late note.txt"'
  run_script_in demo notes "$DEMO_DIR/describe.sh" /data >"$SCRATCH/before"
  # A slot that came before the note does not hold it.
  local session since
  since=$(date -u +%FT%TZ)
  session=$(await_session cronjob "$since")
  follow_session "$session"
  # The next slot would back up the emptied volume; a person who is about to restore pauses too.
  kubectl -n demo patch backupconfiguration notes-backup --type=merge -p '{"spec":{"paused":true}}' >/dev/null
  await_field 30 "the CronJob to be suspended" demo cronjob/trigger-notes-backup-every-minute .spec.suspend true
  await_no_running_session
  SNAPSHOT=$(kubectl -n demo get backupsession "$session" -o jsonpath='{.status.snapshots[0].name}')
  fact "snapshot" "$SNAPSHOT"
}

destroy_data() {
  in_workload demo notes bash -c 'find /data -mindepth 1 -delete; test -z "$(ls -A /data)"'
  fact "volume" "$(in_workload demo notes bash -c 'find /data -mindepth 1 | wc -l') entries left"
}

restore_in_place() {
  apply 50-restore-in-place.yaml SNAPSHOT="$SNAPSHOT"
  follow_restore demo notes-restore
  compare demo notes
}

restore_elsewhere() {
  provide_volume demo-recovery notes-data
  apply 60-recovery.yaml WORKBENCH_IMAGE="$WORKBENCH_IMAGE" SNAPSHOT="$SNAPSHOT"
  kubectl -n demo-recovery rollout status deployment/notes-recovered --timeout=120s >/dev/null
  follow_restore demo-recovery notes-recovery
  compare demo-recovery notes-recovered
}

compare() { # namespace deployment
  run_script_in "$1" "$2" "$DEMO_DIR/describe.sh" /data >"$SCRATCH/after-$1"
  diff --text "$SCRATCH/before" "$SCRATCH/after-$1" >"$SCRATCH/difference" || {
    head -n 20 "$SCRATCH/difference"
    die "the restored tree in $1/$2 differs from what was backed up"
  }
  fact "identical" "$(grep -ac ^entry "$SCRATCH/before") entries, $(grep -ac ^content "$SCRATCH/before") checksums, $(grep -ac ^attribute "$SCRATCH/before") attribute lines, $(grep -ac ^hardlink "$SCRATCH/before") hard links, holes: $(grep -ac '^sparse kept' "$SCRATCH/after-$1")"
}

check_with_restic() {
  local repository
  repository=s3:$S3_ENDPOINT/$BUCKET/demo/notes/repository/v1/every-minute/dump
  in_bench restic --no-cache --repo "$repository" snapshots --compact | tail -n 6
  in_bench restic --no-cache --repo "$repository" check --read-data | tail -n 1 | grep -q "no errors were found" || die "stock restic found errors in the repository"
  fact "restic" "$(in_bench restic version | cut -d' ' -f1-2): check --read-data found no errors"
}

main() {
  trap 'finish $?' EXIT
  trap 'exit 130' INT TERM
  choose_place
  step "cluster" prepare_place
  step "object store" start_s3
  step "Orlop" install_orlop
  step "workload with data" create_workload
  step "storage and backup declared" declare_backup
  step "initial backup" initial_backup
  step "backup by the CronJob" scheduled_backup
  step "data destroyed" destroy_data
  step "restore in place" restore_in_place
  step "restore into another namespace" restore_elsewhere
  step "stock restic agrees" check_with_restic
  SUCCEEDED=1
}

main "$@"
