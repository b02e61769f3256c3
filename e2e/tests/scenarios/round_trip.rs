//! The fifteen steps of a backup and the six of a restore.

use e2e::cluster::{condition, phase, text};
use e2e::files;
use e2e::object_store::Bucket;
use e2e::tenant::{Backup, REPOSITORY_PASSWORD, SESSION_LIMIT, Tenant, trigger_of};
use serde_json::{Value, json};

/// Architecture §3 and §5, invariants I2 and I9: what the manifest asks is in the bucket where KubeStash would have put it,
/// the status says so, and it all comes back: in place, over what is there, and in another workload.
#[tokio::test]
async fn in_place_and_elsewhere() {
    let tenant = Tenant::create("round-trip").await.unwrap();
    tenant.storage().await.unwrap();
    let volume = tenant.workload("app", "node1").await.unwrap();
    files::make_tree(&volume).unwrap();
    let before = files::describe(&volume).unwrap();

    let session = tenant.backed_up(&Backup::default()).await.unwrap();
    assert_eq!(trigger_of(&session), "initial");
    assert_status_tells_all(&tenant, &session).await;
    assert_bucket_layout(&tenant, &Tenant::snapshot_of(&session));

    files::empty(&volume).unwrap();
    std::fs::write(volume.join("not in the backup"), "stays").unwrap();
    let snapshot = Tenant::snapshot_of(&session);
    tenant.restore("in-place", "app", &snapshot).await.unwrap();
    tenant.succeeded("RestoreSession", "in-place").await.unwrap();
    assert_eq!(
        std::fs::read_to_string(volume.join("not in the backup")).unwrap(),
        "stays",
        "a restore in place leaves other files alone"
    );
    std::fs::remove_file(volume.join("not in the backup")).unwrap();
    files::assert_same(&before, &files::describe(&volume).unwrap()).unwrap();

    let elsewhere = tenant.workload("other", "node2").await.unwrap();
    tenant.restore("elsewhere", "other", "latest").await.unwrap();
    tenant.succeeded("RestoreSession", "elsewhere").await.unwrap();
    files::assert_same(&before, &files::describe(&elsewhere).unwrap()).unwrap();
    tenant.remove().await.unwrap();
}

async fn assert_status_tells_all(tenant: &Tenant, session: &Value) {
    let expected =
        ["SnapshotsEnsured", "BackupExecutorEnsured", "RetentionPolicyExecutorEnsured", "SessionHistoryCleaned", "MetricsPushed"];
    for kind in expected {
        let (status, ..) = condition(session, kind).unwrap_or_else(|| panic!("BackupSession lacks condition {kind}"));
        assert_eq!(status, "True", "{kind}");
    }
    let name = Tenant::snapshot_of(session);
    let snapshot = tenant.until_phase("Snapshot", &name, "Succeeded", SESSION_LIMIT).await.unwrap();
    let component = snapshot.pointer("/status/components/dump").expect("component dump");
    assert_eq!(text(component, "/phase"), "Succeeded");
    assert_eq!(text(component, "/path"), "repository/v1/full/dump");
    assert_eq!(text(component, "/resticStats/0/summary/id").len(), 64);
    assert_eq!(text(component, "/resticStats/0/summary/hostPath"), "/data");
    assert_eq!(component.pointer("/integrity"), Some(&json!(true)));
    assert_eq!(text(&snapshot, "/metadata/labels/kubestash.com~1repo-name"), "repository");
    let repository = tenant.until_phase("Repository", "repository", "Ready", SESSION_LIMIT).await.unwrap();
    assert_eq!(text(&repository, "/spec/path"), "/app");
    assert_eq!(repository.pointer("/status/snapshotCount"), Some(&json!(1)));
}

fn assert_bucket_layout(tenant: &Tenant, snapshot: &str) {
    let keys = tenant.bucket.keys("");
    for key in [
        "root/metadata.yaml",
        "root/app/repository.yaml",
        &format!("root/app/snapshots/{snapshot}.yaml"),
        "root/app/repository/v1/full/dump/config",
    ] {
        assert!(keys.iter().any(|seen| seen == key), "{key} is missing in the bucket: {keys:#?}");
    }
    assert!(tenant.bucket.read("root/metadata.yaml").unwrap().contains("kind: BackendMeta"));
    assert!(!keys.iter().any(|key| key.contains("/locks/")), "a lock stayed behind: {keys:#?}");
}

/// A claim that no workload uses is backed up and restored by itself (specification §4.1, `pvc-addon`). No pod says whose
/// files they are, so the configuration does.
#[tokio::test]
async fn a_claim_without_a_workload() {
    let tenant = Tenant::create("claim").await.unwrap();
    tenant.storage().await.unwrap();
    let volume = tenant.claim("data", "node1").await.unwrap();
    files::make_tree(&volume).unwrap();
    let before = files::describe(&volume).unwrap();
    let target = json!({"apiGroup": "", "kind": "PersistentVolumeClaim", "name": "data", "namespace": tenant.namespace});
    let as_root = json!({"spec": {"securityContext": {"runAsUser": 0}}});
    let backup = Backup {
        session: json!({"addon": {"name": "pvc-addon", "tasks": [{"name": "logical-backup"}], "jobTemplate": as_root}}),
        spec: json!({"target": target}),
        ..Backup::default()
    };
    let session = tenant.backed_up(&backup).await.unwrap();
    assert_eq!(tenant.restic().snapshots().await.unwrap()[0]["paths"], json!(["/kubestash-data"]));

    files::empty(&volume).unwrap();
    let mut restore = tenant.restore_manifest("restore", "data", &Tenant::snapshot_of(&session));
    restore["spec"]["target"] = target;
    restore["spec"]["addon"]["name"] = json!("pvc-addon");
    restore["spec"]["addon"]["jobTemplate"] = as_root;
    tenant.cluster.apply(restore).await.unwrap();
    tenant.succeeded("RestoreSession", "restore").await.unwrap();
    files::assert_same(&before, &files::describe(&volume).unwrap()).unwrap();
    tenant.remove().await.unwrap();
}

/// One session into two Repositories of two storages: each succeeds or fails alone (architecture §3, step 15).
#[tokio::test]
async fn two_repositories_in_one_session() {
    let tenant = Tenant::create("two-repositories").await.unwrap();
    tenant.storage().await.unwrap();
    let second = Bucket::create("e2e-two-repositories-second").unwrap();
    let mut storage = tenant.storage_manifest(&e2e::object_store::endpoint());
    storage["metadata"]["name"] = json!("second");
    storage["spec"]["storage"]["s3"]["bucket"] = json!(second.name);
    tenant.cluster.apply(storage).await.unwrap();
    tenant.until_phase("BackupStorage", "second", "Ready", SESSION_LIMIT).await.unwrap();
    files::make_tree(&tenant.workload("app", "node1").await.unwrap()).unwrap();

    let secret = json!({"name": "repository-password", "namespace": tenant.namespace});
    let retention = json!({"name": "retention", "namespace": tenant.namespace});
    let backup = Backup {
        session: json!({"repositories": [
            {"name": "repository", "backend": "backend", "directory": "/app", "encryptionSecret": secret},
            {"name": "copy", "backend": "second", "directory": "/copy", "encryptionSecret": secret}]}),
        spec: json!({"backends": [
            {"name": "backend", "storageRef": {"name": "storage", "namespace": tenant.namespace}, "retentionPolicy": retention},
            {"name": "second", "storageRef": {"name": "second", "namespace": tenant.namespace}, "retentionPolicy": retention}]}),
        ..Backup::default()
    };
    let session = tenant.backed_up(&backup).await.unwrap();
    assert_eq!(session.pointer("/status/totalSnapshots"), Some(&json!(2)));
    tenant.restic().check_everything().await.unwrap();
    e2e::restic::Restic::new(&second, "root/copy/repository/v1/full/dump", REPOSITORY_PASSWORD).check_everything().await.unwrap();
    tenant.remove().await.unwrap();
}

/// Namespace deletion in the middle of a backup ends within a minute: a deletion never hangs (invariant I6).
#[tokio::test]
async fn namespace_deleted_in_the_middle() {
    let proxy = e2e::proxy::Proxy::start().await.unwrap();
    let tenant = Tenant::create("deleted").await.unwrap();
    tenant.storage_at(proxy.endpoint()).await.unwrap();
    let volume = tenant.workload("app", "node1").await.unwrap();
    files::random_file(&volume.join("big"), 64 << 20).unwrap();
    proxy.set(e2e::proxy::Behaviour::Throttled(500_000));
    let session = tenant.backup(&Backup::default()).await.unwrap();
    let session = tenant.until_phase("BackupSession", &session, "Running", SESSION_LIMIT).await.unwrap();
    tenant.mover_pod(&session).await.unwrap();
    assert_eq!(phase(&session), "Running");
    tenant.remove().await.unwrap();
}
