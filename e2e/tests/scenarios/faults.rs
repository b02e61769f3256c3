//! Processes killed, nodes half-dead, stores gone and back: nothing is lost, nothing is done twice, nothing hangs.

use std::time::Duration;

use e2e::cluster::{Cluster, condition, phase, text};
use e2e::files;
use e2e::platform;
use e2e::processes::{Stopped, kill_in_pod};
use e2e::proxy::{Behaviour, Proxy};
use e2e::tenant::{Backup, READY_LIMIT, SESSION_LIMIT, Tenant};
use serde_json::{Value, json};

use crate::under_way::{RATE, assert_exactly_one, backup_in_the_middle, restore_in_the_middle, world};

/// A mover killed with SIGKILL in mid-upload, and another in mid-download: the next attempt finishes, nothing twice, no lock
/// stays (failures C1, E5).
#[tokio::test]
async fn mover_killed() {
    let (tenant, proxy, volume) = world("mover-killed", 32).await;
    let before = files::describe(&volume).unwrap();
    let session = backup_in_the_middle(&tenant, &proxy, RATE).await;
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

    files::empty(&volume).unwrap();
    let restore = restore_in_the_middle(&tenant, &proxy, RATE, &Tenant::snapshot_of(&session)).await;
    let pod = tenant.mover_pod(&restore).await.unwrap();
    kill_in_pod(&text(&pod, "/metadata/uid"), "data-mover").await.unwrap();
    proxy.set(Behaviour::Faithful);
    tenant.succeeded("RestoreSession", "restore").await.unwrap();
    files::assert_same(&before, &files::describe(&volume).unwrap()).unwrap();
    assert!(tenant.restic().locks().await.unwrap().is_empty(), "the killed mover's lock stayed behind");
    tenant.remove().await.unwrap();
}

/// A force-deleted mover pod whose process lives on: the next attempt, on another node, respects its lock until it has ended
/// (failure C3, I7). A pod that is gone proves nothing.
#[tokio::test]
async fn zombie_keeps_its_lock() {
    // Who kills leaders stops kubelets too, and lets them go.
    let _upheaval = platform::upheaval().await;
    let proxy = Proxy::start().await.unwrap();
    let tenant = Tenant::create("zombie").await.unwrap();
    tenant.storage_at(proxy.endpoint()).await.unwrap();
    let volume = tenant.shared_claim("app").await.unwrap();
    tenant.deployment("app", json!({}), json!({})).await.unwrap();
    for part in 0..4 {
        files::random_file(&volume.join(format!("part-{part}")), 8 << 20).unwrap();
    }
    proxy.set(Behaviour::Throttled(RATE));
    let name = tenant.backup(&Backup { session: prefers_node2(), ..Backup::default() }).await.unwrap();
    let session = tenant.until_phase("BackupSession", &name, "Running", SESSION_LIMIT).await.unwrap();
    let zombie = tenant.mover_pod(&session).await.unwrap();
    assert_eq!(text(&zombie, "/spec/nodeName"), "node2");
    let locks = until_locks(&tenant, "the mover's lock", |standing| !standing.is_empty()).await;
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
        // It looks for dead locks right after it has taken its own.
        until_locks(&tenant, "the next attempt's own lock", |standing| standing.len() > locks.len()).await;
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

/// The repository's locks, once they are as many as waited for.
async fn until_locks(tenant: &Tenant, what: &str, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + SESSION_LIMIT;
    loop {
        // Before the repository is made there is none to list.
        let locks = tenant.restic().locks().await.unwrap_or_default();
        if enough(&locks) {
            return locks;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}: {locks:?}");
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

/// The store goes away in the middle of an upload and comes back: the session says so, goes on and succeeds (failure D1).
#[tokio::test]
async fn store_away_and_back() {
    let (tenant, proxy, _) = world("store-away", 24).await;
    let session = backup_in_the_middle(&tenant, &proxy, RATE).await;
    let name = text(&session, "/metadata/name");
    for (away, cause) in [(Behaviour::Unreachable, ""), (Behaviour::Unavailable, "HTTP 503")] {
        proxy.set(away);
        let waiting = until_said(&tenant, &name, "MoverWaits", &[proxy.host(), "does not answer", cause]).await;
        assert_eq!(phase(&waiting), "Running", "a store that is away for seconds is no failure");
    }
    // So slow that whatever was left to copy lasts until the session has said that it goes on.
    proxy.set(Behaviour::Throttled(RATE / 10));
    until_said(&tenant, &name, "Running", &[]).await;
    proxy.set(Behaviour::Faithful);
    let session = tenant.succeeded("BackupSession", &name).await.unwrap();
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
    let session = backup_in_the_middle(&tenant, &proxy, RATE).await;
    // First the record alone is refused; once the mover is done, nothing is answered any more.
    proxy.set(Behaviour::Without("/app/snapshots/"));
    let snapshot = Tenant::snapshot_of(&session);
    let copied = |object: &Value| text(object, "/status/components/dump/phase") == "Succeeded";
    tenant.cluster.until("Snapshot", &tenant.namespace, &snapshot, SESSION_LIMIT, "the mover's success", copied).await.unwrap();
    proxy.set(Behaviour::Unreachable);
    let name = text(&session, "/metadata/name");
    let waiting = until_said(&tenant, &name, "UploadingMetadata", &[proxy.host(), &snapshot]).await;
    assert_eq!(phase(&waiting), "Running", "no success without its record in the bucket");
    assert!(!tenant.bucket.keys("root/app/snapshots").iter().any(|key| key.ends_with(".yaml")), "the proxy let the record pass");
    proxy.set(Behaviour::Faithful);
    let session = tenant.succeeded("BackupSession", &name).await.unwrap();
    assert_exactly_one(&tenant, &session).await;
    tenant.remove().await.unwrap();
}

/// Waits until the session says where it stands, for that reason and in these words.
async fn until_said(tenant: &Tenant, session: &str, reason: &str, words: &[&str]) -> Value {
    let says = |object: &Value| {
        condition(object, "orlop.dev/Progressing")
            .is_some_and(|(_, said, message)| said == reason && words.iter().all(|word| message.contains(word)))
    };
    let what = format!("reason {reason} and {words:?}");
    tenant.cluster.until("BackupSession", &tenant.namespace, session, SESSION_LIMIT, &what, says).await.unwrap()
}

/// `orlop.dev/cancel` ends a running session: the mover stops, its lock goes, nothing is left running.
#[tokio::test]
async fn cancel_ends_a_session() {
    let (tenant, proxy, _) = world("cancel", 32).await;
    let session = backup_in_the_middle(&tenant, &proxy, RATE).await;
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
