//! Snapshots of whole file systems: what lies directly below the root of the restore, a directory that no restore makes.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    sync::Arc,
};

use crate::{
    SnapshotId,
    backup::testing::{Fixture, describe, noise},
    format::Snapshot,
    restore::{Existing, RestoreRequest, restorer::Restorer, tests::batches::restorer},
};

/// A snapshot as if the source had been a whole file system.
async fn back_up_as_root(fixture: &Fixture) -> SnapshotId {
    let backup = fixture.backup(fixture.request()).await;
    let of_source = fixture.repository.snapshot(&backup.snapshot, &fixture.control).await.unwrap();
    let index = fixture.repository.load_index(&fixture.control).await.unwrap();
    let reader = fixture.repository.blob_reader(index, &fixture.control);
    let source = fixture.source();
    let mut tree = of_source.tree;
    for name in source.strip_prefix("/").unwrap() {
        let nodes = reader.load_tree(&tree).await.unwrap().nodes;
        tree = nodes.iter().find(|node| node.name == name.as_bytes()).unwrap().subtree.unwrap();
    }
    let whole = Snapshot { tree, paths: vec!["/".to_owned()], ..of_source };
    fixture.repository.save_snapshot(&fixture.guard.handle(), &whole, &fixture.control).await.unwrap()
}

/// What was restored, by what.
async fn run(fixture: &Fixture, request: &RestoreRequest) -> Arc<Restorer> {
    let tree = fixture.repository.snapshot(&request.snapshot, &fixture.control).await.unwrap().tree;
    let restorer = Arc::new(restorer(&fixture.repository, fixture.guard.handle(), request, 1 << 20, &fixture.control).await);
    let worker = restorer.clone();
    tokio::task::spawn_blocking(move || worker.run(tree)).await.unwrap().unwrap();
    restorer
}

fn device(path: &Path) -> u64 {
    fs::metadata(path).unwrap().dev()
}

/// Only where a device is known to be written to is it waited for, and asked whether it may refuse things late.
#[tokio::test(flavor = "multi_thread")]
async fn files_in_the_root_are_waited_for() {
    let fixture = Fixture::new().await;
    fs::write(fixture.source().join("file"), noise(1, 10_000)).unwrap();
    let request = fixture.restore_request(back_up_as_root(&fixture).await);
    let restorer = run(&fixture, &request).await;
    assert_eq!(restorer.errors.total(), 0);
    assert_eq!(fs::read(request.root.join("file")).unwrap(), noise(1, 10_000));
    assert_eq!(restorer.written_devices(), [device(&request.root)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn removals_from_the_root_are_waited_for() {
    let fixture = Fixture::new().await;
    let mut request = fixture.restore_request(back_up_as_root(&fixture).await);
    request.existing = Existing::Replace;
    fs::write(request.root.join("surplus"), b"x").unwrap();
    let restorer = run(&fixture, &request).await;
    assert_eq!(restorer.errors.total(), 0);
    assert_eq!(describe(&request.root).len(), 1);
    assert_eq!(restorer.written_devices(), [device(&request.root)]);
}
