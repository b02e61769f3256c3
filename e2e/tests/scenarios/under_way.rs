//! Sessions caught in the middle, and what must be true of one that was disturbed.

use std::path::PathBuf;
use std::time::Duration;

use e2e::cluster::text;
use e2e::files;
use e2e::proxy::{Behaviour, Proxy};
use e2e::tenant::{Backup, READY_LIMIT, SESSION_LIMIT, Tenant};
use serde_json::Value;

/// Bytes a second at which some tens of megabytes stay in the middle for as long as a scenario needs.
pub const RATE: u64 = 1_500_000;
/// So much moved is data, not a look at the bucket.
const UNDER_WAY: u64 = 4 << 20;

/// A workload with `megabytes` of incompressible data behind a proxy.
pub async fn world(name: &str, megabytes: u64) -> (Tenant, Proxy, PathBuf) {
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
pub async fn backup_in_the_middle(tenant: &Tenant, proxy: &Proxy, rate: u64) -> Value {
    proxy.set(Behaviour::Throttled(rate));
    let name = tenant.backup(&Backup::default()).await.unwrap();
    let session = tenant.until_phase("BackupSession", &name, "Running", SESSION_LIMIT).await.unwrap();
    tenant.mover_pod(&session).await.unwrap();
    until_moved(UNDER_WAY, || proxy.bytes_up()).await;
    session
}

/// Starts a slowed-down restore named `restore` and returns once some but not all of its bytes have come.
pub async fn restore_in_the_middle(tenant: &Tenant, proxy: &Proxy, rate: u64, snapshot: &str) -> Value {
    proxy.set(Behaviour::Throttled(rate));
    tenant.restore("restore", "app", snapshot).await.unwrap();
    let session = tenant.until_phase("RestoreSession", "restore", "Running", READY_LIMIT).await.unwrap();
    tenant.mover_pod(&session).await.unwrap();
    until_moved(UNDER_WAY, || proxy.bytes_down()).await;
    session
}

/// Waits until so many bytes have moved from now on.
pub async fn until_moved(bytes: u64, moved: impl Fn() -> u64) {
    let goal = moved() + bytes;
    let deadline = tokio::time::Instant::now() + SESSION_LIMIT;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while moved() < goal {
        ticks.tick().await;
        assert!(tokio::time::Instant::now() < deadline, "{bytes} bytes did not move within {SESSION_LIMIT:?}");
    }
}

/// One referenced restic snapshot, no lock, everything readable.
pub async fn assert_exactly_one(tenant: &Tenant, session: &Value) {
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
