//! Slots: fired by the CronJob, made up for by the watchdog, never twice, never when suspended.

use std::time::Duration;

use e2e::cluster::{phase, text};
use e2e::files;
use e2e::proxy::{Behaviour, Proxy};
use e2e::tenant::{Backup, SESSION_LIMIT, Tenant, trigger_of};
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
    tenant.succeeded("BackupSession", &session).await.unwrap();

    // The very Job of that slot once more, as the CronJob controller may do after a restart.
    let slot_annotation = "/metadata/annotations/batch.kubernetes.io~1cronjob-scheduled-timestamp";
    let jobs = tenant.cluster.list("Job", &tenant.namespace, "").await.unwrap();
    let fired = jobs.iter().find(|job| !text(job, slot_annotation).is_empty()).expect("the CronJob's Job").clone();
    tenant.cluster.merge("BackupConfiguration", &tenant.namespace, "backup", json!({"spec": {"paused": true}})).await.unwrap();
    let before = tenant.sessions().await.unwrap().len();
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
    let ended = |job: &Value| job.pointer("/status/succeeded").is_some() || job.pointer("/status/failed").is_some();
    tenant.cluster.until("Job", &tenant.namespace, "slot-again", SESSION_LIMIT, "the second trigger's end", ended).await.unwrap();
    assert_eq!(tenant.sessions().await.unwrap().len(), before, "one slot made two sessions");
    tenant.remove().await.unwrap();
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
    let backup = Backup { session: json!({"backupTimeout": "15s"}), ..Backup::default() };
    let session = tenant.backup(&backup).await.unwrap();
    let told = tenant.failed("BackupSession", &session, Duration::from_secs(90)).await.unwrap();
    assert!(told.contains("deadline"), "the reason does not name the deadline: {told}");
    let uid = text(&tenant.cluster.get("BackupSession", &tenant.namespace, &session).await.unwrap(), "/metadata/uid");
    let none_runs = |pods: &[Value]| pods.iter().all(|pod| matches!(phase(pod).as_str(), "Succeeded" | "Failed")).then_some(());
    tenant
        .cluster
        .until_list(
            "Pod",
            &tenant.namespace,
            &format!("orlop.dev/session-uid={uid}"),
            SESSION_LIMIT,
            "its pods to end",
            none_runs,
        )
        .await
        .unwrap();
    tenant.remove().await.unwrap();
}
