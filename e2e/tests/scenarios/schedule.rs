//! Slots: fired by the CronJob, made up for by the watchdog, never twice, never when suspended.

use std::time::Duration;

use e2e::cluster::{phase, text};
use e2e::files;
use e2e::processes::{pids_of_pod, until_ended};
use e2e::proxy::{Behaviour, Proxy};
use e2e::tenant::{Backup, READY_LIMIT, SESSION_LIMIT, Tenant, trigger_of};
use serde_json::{Value, json};

const EVERY_MINUTE: &str = "* * * * *";

async fn world(name: &str) -> Tenant {
    let tenant = Tenant::create(name).await.unwrap();
    tenant.storage().await.unwrap();
    files::make_tree(&tenant.workload("app", "node1").await.unwrap()).unwrap();
    tenant
}

/// The CronJob fires by itself, and a second Job for the same slot makes no second session (invariant I4, failure A1).
#[tokio::test]
async fn cron_job_fires_once_per_slot() {
    let tenant = world("cron").await;
    tenant.backup(&Backup { schedule: EVERY_MINUTE.into(), ..Backup::default() }).await.unwrap();
    let session = tenant.session_triggered_by("cronjob").await.unwrap();
    let session = tenant.succeeded("BackupSession", &session).await.unwrap();
    let of_slot = |items: &[Value]| items.iter().filter(|item| slot_of(item) == slot_of(&session)).count();
    assert!(!slot_of(&session).is_empty());

    // The very Job of that slot once more, as the CronJob controller may do after a restart.
    let slot_annotation = "/metadata/annotations/batch.kubernetes.io~1cronjob-scheduled-timestamp";
    let jobs = tenant.cluster.list("Job", &tenant.namespace, "").await.unwrap();
    let fired = jobs.iter().find(|job| !text(job, slot_annotation).is_empty()).expect("the CronJob's Job").clone();
    let cron_job = tenant.cluster.get("CronJob", &tenant.namespace, "trigger-backup-full").await.unwrap();
    let again = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": "slot-again", "namespace": tenant.namespace,
            "annotations": {"batch.kubernetes.io/cronjob-scheduled-timestamp": text(&fired, slot_annotation)},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob", "controller": true, "name": "trigger-backup-full",
                                 "uid": text(&cron_job, "/metadata/uid")}]},
        "spec": cron_job.pointer("/spec/jobTemplate/spec")
    });
    tenant.cluster.apply(again).await.unwrap();
    let answered = |job: &Value| job.pointer("/status/succeeded") == Some(&json!(1));
    tenant
        .cluster
        .until("Job", &tenant.namespace, "slot-again", SESSION_LIMIT, "the second trigger's end", answered)
        .await
        .unwrap();
    assert_eq!(of_slot(&tenant.sessions().await.unwrap()), 1, "one slot made two sessions");
    tenant.remove().await.unwrap();
}

fn slot_of(session: &Value) -> String {
    text(session, "/metadata/annotations/orlop.dev~1slot")
}

/// A slot whose trigger pod never comes is made up for by the watchdog (failure A6); a suspended one is not (A2).
#[tokio::test]
async fn watchdog_makes_up_for_a_lost_slot() {
    let tenant = world("watchdog").await;
    // A quota without pods: the trigger Job exists, its pod cannot.
    let session = tenant.backup(&Backup { schedule: EVERY_MINUTE.into(), ..Backup::default() }).await.unwrap();
    tenant.succeeded("BackupSession", &session).await.unwrap();
    tenant
        .cluster
        .merge(
            "CronJob",
            &tenant.namespace,
            "trigger-backup-full",
            json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"nodeSelector": {"no-such-node": "true"}}}}}}}),
        )
        .await
        .unwrap();
    let made_up = tenant.session_triggered_by("watchdog").await.unwrap();
    tenant.succeeded("BackupSession", &made_up).await.unwrap();

    tenant.cluster.merge("BackupConfiguration", &tenant.namespace, "backup", json!({"spec": {"paused": true}})).await.unwrap();
    let suspended = |cron_job: &Value| cron_job.pointer("/spec/suspend") == Some(&json!(true));
    tenant
        .cluster
        .until("CronJob", &tenant.namespace, "trigger-backup-full", SESSION_LIMIT, "suspension", suspended)
        .await
        .unwrap();
    let before = tenant.sessions().await.unwrap().len();
    // A whole slot and the watchdog's grace pass: what must not happen can only be waited for.
    tokio::time::sleep(Duration::from_secs(95)).await;
    assert_eq!(tenant.sessions().await.unwrap().len(), before, "a suspended slot was made up for");
    tenant.remove().await.unwrap();
}

/// A session that comes while another of the same name runs is Skipped, and says so (specification §2.4).
#[tokio::test]
async fn overlap_is_skipped() {
    let proxy = Proxy::start().await.unwrap();
    let tenant = Tenant::create("overlap").await.unwrap();
    tenant.storage_at(proxy.endpoint()).await.unwrap();
    let volume = tenant.workload("app", "node1").await.unwrap();
    files::random_file(&volume.join("big"), 24 << 20).unwrap();
    proxy.set(Behaviour::Throttled(1_000_000));
    let first = tenant.backup(&Backup::default()).await.unwrap();
    tenant.until_phase("BackupSession", &first, "Running", SESSION_LIMIT).await.unwrap();
    let second = tenant.trigger().await.unwrap();
    let second = tenant.complete("BackupSession", &second, SESSION_LIMIT).await.unwrap();
    assert_eq!(phase(&second), "Skipped");
    assert_eq!(trigger_of(&second), "manual");
    proxy.set(Behaviour::Faithful);
    tenant.succeeded("BackupSession", &first).await.unwrap();
    tenant.remove().await.unwrap();
}

/// Past its deadline a session is Failed with the reason, and nothing of it is left running (invariant I5).
#[tokio::test]
async fn deadline_ends_a_session() {
    let proxy = Proxy::start().await.unwrap();
    let tenant = Tenant::create("deadline").await.unwrap();
    tenant.storage_at(proxy.endpoint()).await.unwrap();
    let volume = tenant.workload("app", "node1").await.unwrap();
    files::random_file(&volume.join("big"), 64 << 20).unwrap();
    proxy.set(Behaviour::Throttled(200_000));
    let backup = Backup { session: json!({"backupTimeout": "30s"}), ..Backup::default() };
    let name = tenant.backup(&backup).await.unwrap();
    let session = tenant.until_phase("BackupSession", &name, "Running", SESSION_LIMIT).await.unwrap();
    let pod_uid = text(&tenant.mover_pod(&session).await.unwrap(), "/metadata/uid");
    assert_eq!(pids_of_pod(&pod_uid, "data-mover").len(), 1, "the mover runs before the deadline");
    let told = tenant.failed("BackupSession", &name, Duration::from_secs(90)).await.unwrap();
    assert!(told.contains("deadline exceeded"), "the reason does not name the deadline: {told}");
    let of_session = format!("orlop.dev/session-uid={}", text(&session, "/metadata/uid"));
    let none_is_active = |jobs: &[Value]| jobs.iter().all(|job| job.pointer("/status/active").is_none()).then_some(());
    tenant
        .cluster
        .until_list("Job", &tenant.namespace, &of_session, READY_LIMIT, "its Jobs to end", none_is_active)
        .await
        .unwrap();
    until_ended(&pod_uid, "data-mover", READY_LIMIT).await.unwrap();
    let locks = tenant.restic().locks().await.unwrap();
    assert!(locks.is_empty(), "the stopped mover left a lock: {locks:?}");
    tenant.remove().await.unwrap();
}
