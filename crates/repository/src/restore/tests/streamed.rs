//! Restores of trees that are read as streams, and of holes too large to be written.

use std::{
    fs,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::Arc,
};

use super::batches::restorer_with;
use crate::{
    BlobType, Control, SaverOptions,
    backup::testing::{Fixture, assert_same, make_everything, noise},
    format::{Content, Node, Snapshot, Time, Tree, TreeBuilder},
    restore::{Existing, RestoreReport, RestoreRequest},
};

/// Restores with every tree read as a stream.
async fn restore_as_streams(fixture: &Fixture, snapshot: crate::SnapshotId) -> RestoreReport {
    restore_request_as_streams(fixture, &fixture.restore_request(snapshot)).await
}

async fn restore_request_as_streams(fixture: &Fixture, request: &RestoreRequest) -> RestoreReport {
    let root = fixture.repository.snapshot(&request.snapshot, &fixture.control).await.unwrap().tree;
    let read = |reader: crate::BlobReader| reader.with_whole_trees(0);
    let restorer = restorer_with(&fixture.repository, fixture.guard.handle(), request, 100_000, &fixture.control, read).await;
    let restorer = Arc::new(restorer);
    let worker = restorer.clone();
    tokio::task::spawn_blocking(move || worker.run(root)).await.unwrap().unwrap();
    restorer.report(request.snapshot, std::time::Duration::ZERO)
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_read_as_streams_restore_the_same() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    let backup = fixture.backup(fixture.request()).await;
    let report = restore_as_streams(&fixture, backup.snapshot).await;
    assert!(report.is_complete(), "{:?}", report.errors);
    assert_same(&fixture.source(), &fixture.restored());
}

/// What a large tree does not have is found beside its stream.
#[tokio::test(flavor = "multi_thread")]
async fn what_trees_read_as_streams_do_not_have_is_removed() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    let backup = fixture.backup(fixture.request()).await;
    let request = RestoreRequest { existing: Existing::Replace, ..fixture.restore_request(backup.snapshot) };
    assert_eq!(restore_request_as_streams(&fixture, &request).await.removed, 0);
    let out = fixture.restored();
    for surplus in ["\u{1}first", "deep/surplus", "zzz", "zzz.d/below"] {
        fs::create_dir_all(out.join(surplus).parent().unwrap()).unwrap();
        fs::write(out.join(surplus), b"x").unwrap();
    }
    let report = restore_request_as_streams(&fixture, &request).await;
    assert!(report.is_complete() && report.warnings.is_empty(), "{report:?}");
    assert_eq!(report.removed, 5);
    assert_same(&fixture.source(), &out);
    assert_eq!(restore_request_as_streams(&fixture, &request).await.removed, 0);
}

/// Of a stream that breaks off, or that is not in order, what came before is restored and the rest is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_is_told_and_costs_only_the_rest() {
    let fixture = Fixture::new().await;
    let node = |name: &str| Node { name: name.into(), mode: 0o644, content: Some(Content::new()), ..Node::default() };
    let whole = Tree::serialise(&[node("a"), node("b"), node("c")]).unwrap();
    let cut = whole[..whole.len() - 40].to_vec();
    let disordered = String::from_utf8(whole.clone()).unwrap().replace("\"name\":\"b\"", "\"name\":\"0\"").into_bytes();
    let index = fixture.repository.load_index(&fixture.control).await.unwrap();
    let saver = fixture.repository.blob_saver(index, fixture.guard.handle(), SaverOptions::default(), &fixture.control).unwrap();
    let store = saver.clone();
    let root = tokio::task::spawn_blocking(move || {
        let mut root = TreeBuilder::new();
        for (name, plain) in [("cut", cut), ("disordered", disordered), ("whole", whole)] {
            let subtree = Some(store.save_blob(BlobType::Tree, &plain).unwrap().id);
            let mode = crate::format::file_mode::DIR | 0o755;
            root.add(&Node { node_type: crate::format::NodeType::Dir, mode, subtree, content: None, ..node(name) }).unwrap();
        }
        store.save_blob(BlobType::Tree, &root.finish()).unwrap().id
    })
    .await
    .unwrap();
    saver.flush().await.unwrap();
    let bare: Snapshot =
        serde_json::from_str(&format!(r#"{{"time":"2026-01-01T00:00:00Z","tree":"{root}","paths":["/"]}}"#)).unwrap();
    let snapshot = Snapshot { time: Time::now(), ..bare };
    let id = fixture.repository.save_snapshot(&fixture.guard.handle(), &snapshot, &Control::default()).await.unwrap();
    let report = restore_as_streams(&fixture, id).await;
    assert_eq!(report.errors.listed.iter().map(|problem| problem.class).collect::<Vec<_>>(), ["damaged"; 2], "{report:?}");
    let mut names: Vec<_> = ["cut", "disordered", "whole"]
        .iter()
        .flat_map(|name| fs::read_dir(fixture.path("target").join(name)).unwrap())
        .map(|entry| entry.unwrap().path().strip_prefix(fixture.path("target")).unwrap().to_owned())
        .collect();
    names.sort();
    let expected = ["cut/a", "cut/b", "disordered/a", "whole/a", "whole/b", "whole/c"];
    assert_eq!(names, expected.map(Path::new));
}

fn has_little(path: &Path) -> bool {
    fs::metadata(path).unwrap().blocks() * 512 < 16 << 20
}

/// Audit D4: a hole of gibibytes is neither read, compared nor written chunk by chunk, whatever stands in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_is_restored_as_a_hole_over_anything() {
    const SIZE: u64 = 64 << 30;
    const AT: u64 = 40 << 30;
    let fixture = Fixture::new().await;
    let file = fs::File::create(fixture.source().join("f")).unwrap();
    file.write_all_at(&noise(1, 1_000_000), AT).unwrap();
    file.set_len(SIZE).unwrap();
    let backup = fixture.backup(fixture.request()).await;
    let out = fixture.restored().join("f");
    let stand = |data: &[u64], size: u64| {
        fs::create_dir_all(out.parent().unwrap()).unwrap();
        let file = fs::File::create(&out).unwrap();
        data.iter().for_each(|at| file.write_all_at(b"something", *at).unwrap());
        file.set_len(size).unwrap();
    };
    for (data, size) in [
        (&[][..], 0),
        (&[0, 5 << 30, AT + 500_000, SIZE - 100], SIZE),
        (&[1 << 20, AT - 10], AT),
        (&[], 3 << 30),
        (&[3 << 30, SIZE + (1 << 30)], SIZE + (2 << 30)),
        (&[], SIZE),
    ] {
        stand(data, size);
        let report = fixture.restore(fixture.restore_request(backup.snapshot)).await;
        assert!(report.is_complete() && report.files_restored == 1, "{report:?}");
        assert_eq!(report.bytes_written + report.bytes_unchanged, SIZE);
        assert!(has_little(&out));
        let restored = fs::File::open(&out).unwrap();
        assert_eq!(restored.metadata().unwrap().len(), SIZE);
        let mut piece = vec![1; 1_000_000];
        restored.read_exact_at(&mut piece, AT).unwrap();
        assert!(piece == noise(1, 1_000_000));
        for at in data.iter().filter(|at| **at < SIZE - 9 && !(AT..AT + 1_000_000).contains(*at)) {
            restored.read_exact_at(&mut piece[..9], *at).unwrap();
            assert_eq!(piece[..9], [0; 9], "at {at}");
        }
        let again = fixture.restore(fixture.restore_request(backup.snapshot)).await;
        assert_eq!((again.files_unchanged, again.bytes_unchanged, again.bytes_written), (1, SIZE, 0));
    }
}
