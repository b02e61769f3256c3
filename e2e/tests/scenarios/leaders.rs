//! A service's leader killed while a backup and a restore run: both go on and end as if nothing had been (B1, I4).

use std::time::Duration;

use e2e::SYSTEM_NAMESPACE;
use e2e::cluster::{Cluster, phase, text};
use e2e::files;
use e2e::platform;
use e2e::processes::{Stopped, kill_in_pod};
use e2e::proxy::{Behaviour, Proxy};
use e2e::tenant::{Backup, Tenant};
use serde_json::Value;

use crate::under_way::{assert_exactly_one, backup_in_the_middle, restore_in_the_middle, until_moved, world};

/// What each of the two moves.
const DATA: u64 = 48 << 20;
/// Five leaders are elected while they are under way, each within seconds.
const SLOW: u64 = 500_000;
/// The standby leads when the tests' lease of 5 s has run out, unless it was the one before: then it may wait for the kubelet first,
/// 10 and 20 s.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(38);

/// The session-controller's leader killed at five points of a backup and a restore running together.
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
    let _upheaval = platform::upheaval().await;
    let (restored, restore_proxy, target) = world(&format!("restore-{service}"), DATA >> 20).await;
    let before = files::describe(&target).unwrap();
    let earlier = restored.backed_up(&Backup::default()).await.unwrap();
    files::empty(&target).unwrap();
    let (backed_up, backup_proxy, _) = world(&format!("backup-{service}"), DATA >> 20).await;

    let (up, down) = (backup_proxy.bytes_up(), restore_proxy.bytes_down());
    let snapshot = Tenant::snapshot_of(&earlier);
    let (session, restore) = tokio::join!(
        backup_in_the_middle(&backed_up, &backup_proxy, SLOW),
        restore_in_the_middle(&restored, &restore_proxy, SLOW, &snapshot)
    );
    let mut reign = 0;
    for point in 1..=5 {
        assert_under_way(&backed_up, "BackupSession", &session, backup_proxy.bytes_up() - up, point).await;
        assert_under_way(&restored, "RestoreSession", &restore, restore_proxy.bytes_down() - down, point).await;
        // The other four come back as it happens: a container that finds its own name in the lease leads on at once.
        let by_another = point == 1;
        reign = kill_leader(&backed_up.cluster, service, reign, by_another).await;
        both_go_on(&backup_proxy, &restore_proxy).await;
    }
    backup_proxy.set(Behaviour::Faithful);
    restore_proxy.set(Behaviour::Faithful);
    let session = backed_up.succeeded("BackupSession", &text(&session, "/metadata/name")).await.unwrap();
    assert_exactly_one(&backed_up, &session).await;
    restored.succeeded("RestoreSession", "restore").await.unwrap();
    files::assert_same(&before, &files::describe(&target).unwrap()).unwrap();
    backed_up.remove().await.unwrap();
    restored.remove().await.unwrap();
}

/// Running, and 0 < bytes < total.
async fn assert_under_way(tenant: &Tenant, kind: &str, session: &Value, moved: u64, point: u32) {
    let name = text(session, "/metadata/name");
    let now = tenant.cluster.get(kind, &tenant.namespace, &name).await.unwrap();
    assert_eq!(phase(&now), "Running", "{kind} {name} at point {point}");
    assert!(moved > 0 && moved < DATA, "{kind} {name} has moved {moved} of {DATA} bytes at point {point}");
}

/// A killed leader holds up neither mover.
async fn both_go_on(backup: &Proxy, restore: &Proxy) {
    tokio::join!(until_moved(256 << 10, || backup.bytes_up()), until_moved(256 << 10, || restore.bytes_down()));
}

/// Kills whoever leads now, and answers which reign that was. A leader of the reign that was ended last is dead already, or
/// has not begun to lead: its successor is waited for. If it is to be followed `by_another`, its node's kubelet cannot start it
/// again before that one leads.
async fn kill_leader(cluster: &Cluster, service: &str, ended: i64, by_another: bool) -> i64 {
    let deadline = tokio::time::Instant::now() + TAKEOVER_LIMIT;
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let lease = cluster.get("Lease", SYSTEM_NAMESPACE, &format!("orlop-{service}")).await.unwrap();
        let reign = lease.pointer("/spec/leaseTransitions").and_then(Value::as_i64).unwrap_or_default();
        let leader = platform::leader(cluster, service).await.unwrap();
        if let Some(leader) = leader.filter(|_| reign > ended) {
            let kubelet = format!("kubelet-{}", text(&leader, "/spec/nodeName"));
            let held = if by_another { Some(Stopped::program(&kubelet).await.unwrap()) } else { None };
            if kill_in_pod(&text(&leader, "/metadata/uid"), service).await.is_ok() {
                if held.is_some() {
                    until_another_leads(cluster, service, &text(&leader, "/metadata/name")).await;
                }
                return reign;
            }
        }
        assert!(tokio::time::Instant::now() < deadline, "{service} has no leader after reign {ended}");
    }
}

async fn until_another_leads(cluster: &Cluster, service: &str, dead: &str) {
    let is_another = |lease: &Value| {
        let holder = text(lease, "/spec/holderIdentity");
        !holder.is_empty() && !holder.starts_with(dead)
    };
    let lease = format!("orlop-{service}");
    cluster.until("Lease", SYSTEM_NAMESPACE, &lease, TAKEOVER_LIMIT, "another leader", is_another).await.unwrap();
}
