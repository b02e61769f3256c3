//! Processes killed, nodes half-dead, stores gone and back: nothing is lost, nothing is done twice, nothing hangs.

use std::time::Duration;

use e2e::cluster::{Cluster, condition, phase, text};
use e2e::files;
use e2e::platform;
use e2e::processes::{Stopped, kill_in_pod};
use e2e::proxy::{Behaviour, Proxy};
use e2e::tenant::{Backup, READY_LIMIT, SESSION_LIMIT, Tenant};
use serde_json::{Value, json};

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
        let leader = platform::leader(cluster, service).await.unwrap();
        if let Some(leader) = leader
            && kill_in_pod(&text(&leader, "/metadata/uid"), service).await.is_ok()
        {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{service} has no living leader");
    }
}

/// A force-deleted mover pod whose process lives on: the next attempt, on another node, respects its lock until it has ended
/// (failure C3, I7). A pod that is gone proves nothing.
#[tokio::test]
async fn zombie_keeps_its_lock() {
    let proxy = Proxy::start().await.unwrap();
    let tenant = Tenant::create("zombie").await.unwrap();
    tenant.storage_at(proxy.endpoint()).await.unwrap();
    let volume = tenant.shared_claim("app").await.unwrap();
    tenant.deployment("app", json!({}), json!({})).await.unwrap();
    for part in 0..4 {
        files::random_file(&volume.join(format!("part-{part}")), 8 << 20).unwrap();
    }
    proxy.set(Behaviour::Throttled(1_500_000));
    let name = tenant.backup(&Backup { session: prefers_node2(), ..Backup::default() }).await.unwrap();
    let session = tenant.until_phase("BackupSession", &name, "Running", SESSION_LIMIT).await.unwrap();
    let zombie = tenant.mover_pod(&session).await.unwrap();
    assert_eq!(text(&zombie, "/spec/nodeName"), "node2");
    let locks = lock_of(&tenant).await;
    {
        let _cordoned = Cordoned::node(&tenant.cluster, "node2").await;
        let _kubelet = Stopped::program("kubelet-node2").await.unwrap();
        let pids = e2e::processes::pids_of_pod(&text(&zombie, "/metadata/uid"), "data-mover");
        assert_eq!(pids.len(), 1, "the mover's process");
        // Asleep it cannot give its lock back by itself: whoever removes it now removes the lock of a living process.
        let _asleep = Stopped::process(pids[0]).await.unwrap();
        let parameters = kube::api::DeleteParams { grace_period_seconds: Some(0), ..Default::default() };
        tenant.cluster.api("Pod", &tenant.namespace).delete(&text(&zombie, "/metadata/name"), &parameters).await.unwrap();
        let successor = tenant.mover_pod(&session).await.unwrap();
        assert_eq!(text(&successor, "/spec/nodeName"), "node1", "the next attempt runs elsewhere");
        for _ in 0..16 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let standing = tenant.restic().locks().await.unwrap();
            assert!(standing.iter().any(|lock| locks.contains(lock)), "the lock of a living mover was removed");
        }
    }
    proxy.set(Behaviour::Faithful);
    let session = tenant.complete("BackupSession", &name, Duration::from_secs(240)).await.unwrap();
    assert_eq!(phase(&session), "Succeeded", "{session}");
    assert_exactly_one(&tenant, &session).await;
    tenant.remove().await.unwrap();
}

fn prefers_node2() -> Value {
    let node2 = json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node2"]}]});
    let affinity =
        json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": node2}]}});
    json!({"addon": {"jobTemplate": {"spec": {"affinity": affinity}}}})
}

/// The mover's lock, once it stands.
async fn lock_of(tenant: &Tenant) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + SESSION_LIMIT;
    loop {
        // Before the repository is made there is none to list.
        let locks = tenant.restic().locks().await.unwrap_or_default();
        if !locks.is_empty() {
            return locks;
        }
        assert!(tokio::time::Instant::now() < deadline, "the mover takes no lock");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A node on which nothing new is placed, until dropped.
struct Cordoned(&'static str);

impl Cordoned {
    async fn node(cluster: &Cluster, name: &'static str) -> Self {
        cluster.merge("Node", "", name, json!({"spec": {"unschedulable": true}})).await.unwrap();
        Self(name)
    }
}

impl Drop for Cordoned {
    fn drop(&mut self) {
        let kubectl = e2e::tools_dir().join("kubectl");
        let _told = std::process::Command::new(kubectl).args(["uncordon", self.0]).status();
    }
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

/// The store goes away between the mover's last byte and the Snapshot's record: the session waits, says for what, and succeeds
/// once the store is back, without copying anything again (I2, D1).
#[tokio::test]
async fn store_away_after_the_upload() {
    let (tenant, proxy, _) = world("store-away-late", 16).await;
    let session = backup_in_the_middle(&tenant, &proxy).await;
    proxy.set(Behaviour::Without("/app/snapshots/"));
    let snapshot = Tenant::snapshot_of(&session);
    let copied = |object: &Value| text(object, "/status/components/dump/phase") == "Succeeded";
    tenant.cluster.until("Snapshot", &tenant.namespace, &snapshot, SESSION_LIMIT, "the mover's success", copied).await.unwrap();
    let name = text(&session, "/metadata/name");
    let says_for_what =
        |object: &Value| condition(object, "orlop.dev/Progressing").is_some_and(|(_, reason, _)| reason == "UploadingMetadata");
    let waiting = tenant
        .cluster
        .until("BackupSession", &tenant.namespace, &name, SESSION_LIMIT, "the wait to be told", says_for_what)
        .await
        .unwrap();
    assert_eq!(phase(&waiting), "Running", "no success without its record in the bucket");
    assert!(!tenant.bucket.keys("root/app/snapshots").iter().any(|key| key.ends_with(".yaml")), "the proxy let the record pass");
    proxy.set(Behaviour::Faithful);
    let session = tenant.succeeded("BackupSession", &name).await.unwrap();
    assert_exactly_one(&tenant, &session).await;
    tenant.remove().await.unwrap();
}

/// `orlop.dev/cancel` ends a running session: the mover stops, its lock goes, nothing is left running.
#[tokio::test]
async fn cancel_ends_a_session() {
    let (tenant, proxy, _) = world("cancel", 32).await;
    let session = backup_in_the_middle(&tenant, &proxy).await;
    let name = text(&session, "/metadata/name");
    let annotation = json!({"metadata": {"annotations": {"orlop.dev/cancel": "the test has seen enough"}}});
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
