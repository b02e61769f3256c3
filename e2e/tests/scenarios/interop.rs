//! Stock restic beside Orlop on one repository, both ways.

use e2e::cluster::text;
use e2e::files;
use e2e::tenant::{Backup, Tenant};
use serde_json::json;

/// Stock restic lists, checks and restores what Orlop wrote.
#[tokio::test]
async fn restic_reads_what_orlop_wrote() {
    let tenant = Tenant::create("restic-reads").await.unwrap();
    tenant.storage().await.unwrap();
    let volume = tenant.workload("app", "node1").await.unwrap();
    files::make_tree(&volume).unwrap();
    tenant.backed_up(&Backup::default()).await.unwrap();

    let restic = tenant.restic();
    let snapshots = restic.snapshots().await.unwrap();
    assert_eq!(snapshots.len(), 1);
    assert_eq!(snapshots[0]["paths"], json!(["/data"]));
    restic.check_everything().await.unwrap();
    let target = tempfile::tempdir().unwrap();
    restic.restore(&text(&snapshots[0], "/id"), target.path()).await.unwrap();
    files::assert_same(&files::describe(&volume).unwrap(), &files::describe(&target.path().join("data")).unwrap()).unwrap();
    tenant.remove().await.unwrap();
}

/// Orlop restores what stock restic wrote: the component's snapshot is replaced by one of restic's in the Snapshot's status,
/// as it stands in buckets that KubeStash filled.
#[tokio::test]
async fn orlop_restores_what_restic_wrote() {
    let tenant = Tenant::create("restic-writes").await.unwrap();
    tenant.storage().await.unwrap();
    let volume = tenant.workload("app", "node1").await.unwrap();
    std::fs::write(volume.join("first"), "orlop's").unwrap();
    let session = tenant.backed_up(&Backup::default()).await.unwrap();

    // restic backs up a tree of its own making at the same absolute path, in a mount namespace where /data is that tree.
    let source = tempfile::tempdir().unwrap();
    files::make_tree(source.path()).unwrap();
    let before = files::describe(source.path()).unwrap();
    let mut inside = tenant.restic().command(&["backup", "--quiet", "--host", "host-0", "/data"]).unwrap();
    let program = inside.as_std().get_program().to_owned();
    let arguments: Vec<_> = inside.as_std().get_args().map(ToOwned::to_owned).collect();
    let environment: Vec<_> =
        inside.as_std().get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
    let mount = format!("mkdir -p /data && mount --bind '{}' /data && exec \"$@\"", source.path().display());
    inside = tokio::process::Command::new("unshare");
    inside.args(["--mount", "sh", "-c", &mount, "sh"]).arg(program).args(arguments).envs(environment);
    assert!(inside.status().await.unwrap().success(), "stock restic could not back up");
    let written = tenant.restic().snapshots().await.unwrap();
    let newest = written.iter().max_by_key(|snapshot| text(snapshot, "/time")).unwrap();

    let name = Tenant::snapshot_of(&session);
    let api = tenant.cluster.api("Snapshot", &tenant.namespace);
    let patch =
        json!({"status": {"components": {"dump": {"resticStats": [{"summary": {"id": newest["id"], "hostPath": "/data"}}]}}}});
    api.patch_status(&name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&patch)).await.unwrap();
    files::empty(&volume).unwrap();
    tenant.restore("from-restic", "app", &name).await.unwrap();
    tenant.succeeded("RestoreSession", "from-restic").await.unwrap();
    files::assert_same(&before, &files::describe(&volume).unwrap()).unwrap();
    tenant.remove().await.unwrap();
}
