//! Retention removes what the policy says and nothing else.

use std::collections::BTreeSet;

use e2e::cluster::text;
use e2e::files;
use e2e::tenant::{Backup, SESSION_LIMIT, Tenant};
use serde_json::{Value, json};

/// keep-last 2 after five sessions leaves the two newest Snapshots, in the cluster, in the bucket and in restic's eyes,
/// and the bucket shrinks (specification §2.9, invariant I1).
#[tokio::test]
async fn keep_last_two_of_five() {
    let tenant = Tenant::create("retention").await.unwrap();
    tenant.storage().await.unwrap();
    let volume = tenant.workload("app", "node1").await.unwrap();
    files::random_file(&volume.join("random"), 4 << 20).unwrap();
    tenant.backed_up(&Backup::default()).await.unwrap();
    let mut fourth = json!(null);
    for _ in 0..3 {
        files::random_file(&volume.join("random"), 4 << 20).unwrap();
        fourth = tenant.back_up_again().await.unwrap();
    }
    let before = tenant.bucket.bytes("root/app/repository");
    tenant.retention(json!({"maxRetentionPeriod": "2mo", "successfulSnapshots": {"last": 2}})).await.unwrap();
    let last = tenant.back_up_again().await.unwrap();
    assert_eq!(text(&last, "/status/retentionPolicy/0/phase"), "Applied");

    let two_left = |snapshots: &[Value]| (snapshots.len() == 2).then(|| snapshots.to_vec());
    let left =
        tenant.cluster.until_list("Snapshot", &tenant.namespace, "", SESSION_LIMIT, "two Snapshots", two_left).await.unwrap();
    let left: BTreeSet<_> = left.iter().map(|snapshot| text(snapshot, "/metadata/name")).collect();
    assert_eq!(left, BTreeSet::from([Tenant::snapshot_of(&fourth), Tenant::snapshot_of(&last)]), "the two newest are kept");
    assert_eq!(tenant.restic().snapshots().await.unwrap().len(), 2);
    tenant.restic().check_everything().await.unwrap();
    let metadata: Vec<_> = tenant.bucket.keys("root/app/snapshots").into_iter().filter(|key| key.ends_with(".yaml")).collect();
    assert_eq!(metadata.len(), 2, "{metadata:?}");
    let after = tenant.bucket.bytes("root/app/repository");
    // Of four contents, 4 MiB each, the two that are kept hold one.
    assert!(after + (10 << 20) < before, "the data stayed in the bucket: {before} bytes before, {after} after");
    tenant.remove().await.unwrap();
}
