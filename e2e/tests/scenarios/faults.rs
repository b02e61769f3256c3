//! Processes killed, nodes half-dead, stores gone and back: nothing is lost, nothing is done twice, nothing hangs.

use std::time::Duration;

use e2e::SYSTEM_NAMESPACE;
use e2e::cluster::{Cluster, phase, text};
use e2e::files;
use e2e::processes::{Stopped, kill_in_pod};
use e2e::proxy::{Behaviour, Proxy};
use e2e::tenant::{Backup, READY_LIMIT, SESSION_LIMIT, Tenant};
use serde_json::Value;

/// A workload with `megabytes` of incompressible data behind a proxy.
async fn world(name: &str, megabytes: u64) -> (Tenant, Proxy, std::path::PathBuf) {
    let proxy = Proxy::start().await.unwrap();
    let tenant = Tenant::create(name).await.unwrap();
    tenant.storage_at(proxy.endpoint()).await.unwrap();
    let volume = tenant.workload("app", "node1").await.unwrap();
    files::make_tree(&volume).unwrap();
    for part in 0..megabytes / 8 {
        files::random_file(&volume.join(format!("part-{part}")), 8 << 20).unwrap();
    }
    (tenant, proxy, volume)
}

/// Starts a slowed-down backup and returns once some but not all of its bytes are stored.
async fn backup_in_the_middle(tenant: &Tenant, proxy: &Proxy) -> Value {
    proxy.set(Behaviour::Throttled(1_500_000));
    let name = tenant.backup(&Backup::default()).await.unwrap();
    let session = tenant.until_phase("BackupSession", &name, "Running", SESSION_LIMIT).await.unwrap();
    tenant.mover_pod(&session).await.unwrap();
    let before = proxy.bytes_up();
    let deadline = tokio::time::Instant::now() + SESSION_LIMIT;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while proxy.bytes_up() < before + (4 << 20) {
        ticks.tick().await;
        assert!(tokio::time::Instant::now() < deadline, "the backup did not get going");
    }
    session
}

/// One referenced restic snapshot, no lock, everything readable.
async fn assert_exactly_one(tenant: &Tenant, session: &Value) {
    let snapshot = tenant.cluster.get("Snapshot", &tenant.namespace, &Tenant::snapshot_of(session)).await.unwrap();
    let referenced = text(&snapshot, "/status/components/dump/resticStats/0/summary/id");
    let stored = tenant.restic().snapshots().await.unwrap();
    assert_eq!(stored.len(), 1, "one backup made {} restic snapshots", stored.len());
    assert_eq!(text(&stored[0], "/id"), referenced);
    tenant.restic().check_everything().await.unwrap();
    // The check's own lock is gone when it has ended; any other is one too many.
    assert!(tenant.restic().locks().await.unwrap().is_empty(), "a lock stayed behind");
    assert_eq!(tenant.sessions().await.unwrap().len(), 1);
}

/// A mover killed with SIGKILL in mid-upload: the next attempt finishes, nothing twice, no lock stays (failures C1, E5).
#[tokio::test]
async fn mover_killed() {
    let (tenant, proxy, _) = world("mover-killed", 32).await;
    let session = backup_in_the_middle(&tenant, &proxy).await;
    let pod = tenant.mover_pod(&session).await.unwrap();
    kill_in_pod(&text(&pod, "/metadata/uid"), "data-mover").await.unwrap();
    proxy.set(Behaviour::Faithful);
    let session = tenant.succeeded("BackupSession", &text(&session, "/metadata/name")).await.unwrap();
    let jobs = tenant
        .cluster
        .list("Job", &tenant.namespace, &format!("orlop.dev/session-uid={}", text(&session, "/metadata/uid")))
        .await
        .unwrap();
    assert_eq!(jobs.len(), 2, "the second attempt is a Job of its own");
    assert_exactly_one(&tenant, &session).await;
    tenant.remove().await.unwrap();
}

/// The session-controller's leader killed at five points of a backup and a restore running together (B1, I4).
#[tokio::test]
async fn session_controller_killed() {
    leader_killed_at_five_points("session-controller").await;
}

/// The scheduler's leader likewise.
#[tokio::test]
async fn scheduler_killed() {
    leader_killed_at_five_points("scheduler").await;
}

/// The storage-initializer's leader likewise.
#[tokio::test]
async fn storage_initializer_killed() {
    leader_killed_at_five_points("storage-initializer").await;
}

/// One BackupSession, one referenced restic snapshot, both Succeeded, the restored tree identical.
async fn leader_killed_at_five_points(service: &str) {
    const DATA: u64 = 48 << 20;
    let (restored, restore_proxy, target) = world(&format!("restore-{service}"), DATA >> 20).await;
    let before = files::describe(&target).unwrap();
    let earlier = restored.backed_up(&Backup::default()).await.unwrap();
    files::empty(&target).unwrap();
    let (backed_up, backup_proxy, _) = world(&format!("backup-{service}"), DATA >> 20).await;

    restore_proxy.set(Behaviour::Throttled(400_000));
    let downloaded = restore_proxy.bytes_down();
    restored.restore("restore", "app", &Tenant::snapshot_of(&earlier)).await.unwrap();
    let session = backup_in_the_middle(&backed_up, &backup_proxy).await;
    let name = text(&session, "/metadata/name");
    let uploaded = backup_proxy.bytes_up();
    for point in 1..=5 {
        // Both are under way and neither is done: 0 < bytes < total.
        let share = |moved: u64| moved > 0 && moved < DATA;
        assert!(point == 1 || share(backup_proxy.bytes_up() - uploaded), "the backup is not in the middle at point {point}");
        assert!(
            share(restore_proxy.bytes_down() - downloaded) || point == 1,
            "the restore is not in the middle at point {point}"
        );
        kill_leader(&backed_up.cluster, service).await;
        let moved = backup_proxy.bytes_up();
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        let patience = tokio::time::Instant::now() + SESSION_LIMIT;
        while backup_proxy.bytes_up() < moved + (1 << 20) {
            ticks.tick().await;
            assert!(tokio::time::Instant::now() < patience, "the backup stands still after {service} was killed");
        }
    }
    backup_proxy.set(Behaviour::Faithful);
    restore_proxy.set(Behaviour::Faithful);
    let session = backed_up.succeeded("BackupSession", &name).await.unwrap();
    assert_exactly_one(&backed_up, &session).await;
    restored.succeeded("RestoreSession", "restore").await.unwrap();
    files::assert_same(&before, &files::describe(&target).unwrap()).unwrap();
    backed_up.remove().await.unwrap();
    restored.remove().await.unwrap();
}

/// Kills whoever leads now; a leader just killed may not have been replaced yet, which is waited for.
async fn kill_leader(cluster: &Cluster, service: &str) {
    let deadline = tokio::time::Instant::now() + READY_LIMIT;
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let lease = cluster.get("Lease", SYSTEM_NAMESPACE, &format!("orlop-{service}")).await.unwrap();
        let holder = text(&lease, "/spec/holderIdentity");
        let pods = cluster.list("Pod", SYSTEM_NAMESPACE, "").await.unwrap();
        let leader = pods.iter().find(|pod| !holder.is_empty() && holder.starts_with(&text(pod, "/metadata/name")));
        if let Some(leader) = leader {
            if kill_in_pod(&text(leader, "/metadata/uid"), service).await.is_ok() {
                return;
            }
        }
        assert!(tokio::time::Instant::now() < deadline, "{service} has no living leader, its lease is held by '{holder}'");
    }
}

/// A force-deleted mover pod whose process lives on: its lock is respected until it is proven dead (failure C3, I7).
#[tokio::test]
async fn zombie_keeps_its_lock() {
    let proxy = Proxy::start().await.unwrap();
    let tenant = Tenant::create("zombie").await.unwrap();
    tenant.storage_at(proxy.endpoint()).await.unwrap();
    // node2 carries nothing else that this test would stop.
    let volume = tenant.workload("app", "node2").await.unwrap();
    for part in 0..4 {
        files::random_file(&volume.join(format!("part-{part}")), 8 << 20).unwrap();
    }
    let session = backup_in_the_middle(&tenant, &proxy).await;
    let pod = tenant.mover_pod(&session).await.unwrap();
    let locks = tenant.restic().locks().await.unwrap();
    assert_eq!(locks.len(), 1, "{locks:?}");
    {
        let _stopped = Stopped::program("kubelet-node2").await.unwrap();
        let parameters = kube::api::DeleteParams { grace_period_seconds: Some(0), ..Default::default() };
        tenant.cluster.api("Pod", &tenant.namespace).delete(&text(&pod, "/metadata/name"), &parameters).await.unwrap();
        // The pod object is gone, the process is not: for as long as that is so, its lock must stand.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let alive = !e2e::processes::pids_of_pod(&text(&pod, "/metadata/uid"), "data-mover").is_empty();
            let standing = tenant.restic().locks().await.unwrap();
            if alive {
                assert!(standing.iter().any(|lock| locks.contains(lock)), "the lock of a living mover was removed");
            }
        }
    }
    proxy.set(Behaviour::Faithful);
    let end = tenant.complete("BackupSession", &text(&session, "/metadata/name"), Duration::from_secs(240)).await.unwrap();
    assert!(matches!(phase(&end).as_str(), "Succeeded" | "Failed"));
    tenant.restic().check_everything().await.unwrap();
    tenant.remove().await.unwrap();
}

/// The store goes away in the middle of an upload and comes back: the same session succeeds (failure D1).
#[tokio::test]
async fn store_away_and_back() {
    let (tenant, proxy, _) = world("store-away", 24).await;
    let session = backup_in_the_middle(&tenant, &proxy).await;
    proxy.set(Behaviour::Unreachable);
    tokio::time::sleep(Duration::from_secs(8)).await;
    proxy.set(Behaviour::Unavailable);
    tokio::time::sleep(Duration::from_secs(4)).await;
    proxy.set(Behaviour::Faithful);
    let session = tenant.succeeded("BackupSession", &text(&session, "/metadata/name")).await.unwrap();
    let stored = tenant.restic().snapshots().await.unwrap();
    assert_eq!(stored.len(), 1);
    assert!(!Tenant::snapshot_of(&session).is_empty());
    tenant.restic().check_everything().await.unwrap();
    tenant.remove().await.unwrap();
}

/// `orlop.dev/cancel` ends a running session: the mover stops, its lock goes, nothing is left running.
#[tokio::test]
async fn cancel_ends_a_session() {
    let (tenant, proxy, _) = world("cancel", 32).await;
    let session = backup_in_the_middle(&tenant, &proxy).await;
    let name = text(&session, "/metadata/name");
    let annotation = serde_json::json!({"metadata": {"annotations": {"orlop.dev/cancel": "the test has seen enough"}}});
    tenant.cluster.merge("BackupSession", &tenant.namespace, &name, annotation).await.unwrap();
    proxy.set(Behaviour::Faithful);
    let told = tenant.failed("BackupSession", &name, SESSION_LIMIT).await.unwrap();
    assert!(told.contains("cancel"), "the status does not say that it was cancelled: {told}");
    let no_pod = |pods: &[Value]| pods.iter().all(|pod| phase(pod) != "Running").then_some(());
    let selector = format!("orlop.dev/session-uid={}", text(&session, "/metadata/uid"));
    tenant.cluster.until_list("Pod", &tenant.namespace, &selector, READY_LIMIT, "the mover's end", no_pod).await.unwrap();
    assert!(tenant.restic().locks().await.unwrap().is_empty(), "the cancelled mover left its lock");
    tenant.remove().await.unwrap();
}
