//! Directories and files that are too large to be held: written and read as streams, and the same as if they were not.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::{
    BackupRequest, ParentChoice, Streaming, WindowBounds,
    testing::{Fixture, assert_same, make_everything, noise},
    window::ENTRIES_PER_TASK,
};
use crate::{
    BlobReader,
    browse::{Located, directory_at, locate},
    format::Node,
    source::{SourceFaults, SourceStep},
};

/// Streams from a few entries on, with a window that is soon full.
fn early() -> Streaming {
    Streaming { entries: 100, bytes: 4_096, window: WindowBounds { entries: 512, memory: 200_000 }, ..Streaming::default() }
}

/// Never streams.
fn held() -> Streaming {
    Streaming { entries: usize::MAX, bytes: u32::MAX, ..Streaming::default() }
}

fn with(mut request: BackupRequest, streaming: &Streaming) -> BackupRequest {
    request.streaming = streaming.clone();
    request
}

fn make_entries(directory: &Path, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let content = if number.is_multiple_of(100) { noise(number, 40) } else { Vec::new() };
        fs::write(directory.join(format!("entry-{number:07}")), content).unwrap();
    }
}

/// Directories above the folder of temporary files, with it: their times change under our feet.
fn above() -> u64 {
    std::env::temp_dir().components().count() as u64
}

/// Holds up the first entry, so that many others are done before it.
struct SlowFirst;

impl SourceFaults for SlowFirst {
    fn before(&self, step: SourceStep, path: &Path) -> std::io::Result<()> {
        if step == SourceStep::Stat && path.ends_with("entry-0000000") {
            std::thread::sleep(Duration::from_millis(300));
        }
        Ok(())
    }
}

/// Audit D1: 20,000 entries, with the usual bounds and with small ones, give the tree that is written in one; the window stays
/// what it is however slow one entry is; and a second run finds every one of them unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_entries_are_the_same_streamed_or_not_and_bounded() {
    const COUNT: u64 = 20_000;
    let fixture = Fixture::new().await;
    make_entries(&fixture.source(), 0..COUNT);
    let in_one = fixture.backup(with(fixture.request(), &held())).await;
    assert_eq!((in_one.files.new, in_one.blobs_new_data), (COUNT, COUNT / 100));
    for streaming in [Streaming::default(), early()] {
        let mut request = with(fixture.request(), &streaming).with_faults(Arc::new(SlowFirst));
        request.parent = ParentChoice::None;
        let report = fixture.backup(request.clone()).await;
        assert!(report.is_complete() && report.files.new == COUNT, "{report:?}");
        assert!(report.blobs_new_tree < above() + 1, "its tree is another one: {report:?}");
        let (entries, memory) = (streaming.peak.0.load(Relaxed), streaming.peak.1.load(Relaxed));
        assert!((ENTRIES_PER_TASK..=streaming.window.entries).contains(&entries), "{entries} entries in work");
        let node = size_of::<Node>() + 100;
        assert!(memory <= streaming.window.memory + 2 * ENTRIES_PER_TASK * node, "{memory} bytes waited");
        request.parent = ParentChoice::Auto;
        let again = fixture.backup(request).await;
        assert_eq!((again.files.unmodified, again.bytes_read, again.blobs_new_data), (COUNT, 0, 0));
    }
    let restored = fixture.restore(fixture.restore_request(in_one.snapshot)).await;
    assert!(restored.is_complete() && restored.files_restored == COUNT, "{restored:?}");
    assert_same(&fixture.source(), &fixture.restored());
}

/// Every kind of entry and directories within one another, each of them a stream in both directions.
#[tokio::test(flavor = "multi_thread")]
async fn a_tree_of_nothing_but_streams_is_stored_restored_and_found_unchanged() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    fs::create_dir(fixture.source().join("wide")).unwrap();
    for number in 0..300 {
        let directory = fixture.source().join(format!("wide/{number:03}"));
        fs::create_dir(&directory).unwrap();
        make_entries(&directory, number..number + 3);
    }
    let streaming = Streaming { entries: 0, bytes: 1, window: WindowBounds { entries: 64, memory: 10_000 }, ..early() };
    let request = with(fixture.request(), &streaming);
    let first = fixture.backup(request.clone()).await;
    assert!(first.is_complete(), "{first:?}");
    let whole = fixture.backup(BackupRequest { parent: ParentChoice::None, ..with(fixture.request(), &held()) }).await;
    assert!(whole.blobs_new_tree <= above() && whole.blobs_new_data == 0, "{whole:?}");
    let again = fixture.backup(request).await;
    assert_eq!((again.files.unmodified, again.bytes_read), (first.files.total(), 0));
    assert!(again.dirs.total() - again.dirs.unmodified <= above(), "{again:?}");
    fixture.restore(fixture.restore_request(first.snapshot)).await;
    assert_same(&fixture.source(), &fixture.restored());
}

/// A directory that was a stream in the parent snapshot and is none now, and the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_grows_and_shrinks_keeps_what_is_unchanged() {
    let fixture = Fixture::new().await;
    make_entries(&fixture.source(), 0..1_000);
    let request = with(fixture.request(), &early());
    fixture.backup(request.clone()).await;
    for number in 10..1_000 {
        fs::remove_file(fixture.source().join(format!("entry-{number:07}"))).unwrap();
    }
    let shrunk = fixture.backup(request.clone()).await;
    assert_eq!((shrunk.files.unmodified, shrunk.files.total()), (10, 10));
    make_entries(&fixture.source(), 5..2_000);
    let grown = fixture.backup(request.clone()).await;
    assert_eq!((grown.files.unmodified, grown.files.changed, grown.files.new), (5, 5, 1_990));
    let unchanged = fixture.backup(request).await;
    assert_eq!(unchanged.files.unmodified, 2_000);
}

/// Audit D4: a hole is neither read nor held chunk by chunk, and its node, 11 MB of JSON, goes into the tree as a stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_is_one_run_in_memory_and_a_hole_again_when_restored() {
    const SIZE: u64 = 80 << 30;
    let fixture = Fixture::new().await;
    let path = fixture.source().join("sparse");
    let file = fs::File::create(&path).unwrap();
    file.write_all_at(&noise(1, 700_000), 0).unwrap();
    file.write_all_at(&noise(2, 100_000), SIZE / 2 + 12_345).unwrap();
    file.set_len(SIZE).unwrap();
    drop(file);
    let started = Instant::now();
    let report = fixture.backup(fixture.request()).await;
    assert!(report.is_complete() && report.bytes_read < 4 << 20, "{report:?}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let node = look_up(&fixture, report.tree, &path).await;
    let content = node.content.unwrap();
    assert!(content.len() > 160_000 && content.runs().len() < 20, "{} in {} runs", content.len(), content.runs().len());
    let again = fixture.backup(fixture.request()).await;
    assert_eq!((again.files.unmodified, again.bytes_read), (1, 0));
    let restored = fixture.restore(fixture.restore_request(report.snapshot)).await;
    assert!(restored.is_complete() && restored.bytes_written == SIZE, "{restored:?}");
    let copy = fs::File::open(fixture.restored().join("sparse")).unwrap();
    let metadata = copy.metadata().unwrap();
    assert!(metadata.len() == SIZE && metadata.blocks() * 512 < 8 << 20, "{} blocks", metadata.blocks());
    let mut piece = vec![0; 100_000];
    copy.read_exact_at(&mut piece, SIZE / 2 + 12_345).unwrap();
    assert_eq!(piece, noise(2, 100_000));
}

async fn look_up(fixture: &Fixture, root: crate::TreeId, path: &Path) -> Node {
    use std::os::unix::ffi::OsStrExt;
    let index = fixture.repository.load_index(&fixture.control).await.unwrap();
    let reader: BlobReader = fixture.repository.blob_reader(index, &fixture.control);
    let path = path.as_os_str().as_bytes().to_vec();
    let looking = move || {
        let above = path.iter().rposition(|byte| *byte == b'/').unwrap();
        let tree = directory_at(&reader, &root, &path[..above]).unwrap();
        assert!(reader.tree_nodes_blocking(&tree).unwrap().is_streamed());
        match locate(&reader, &root, &path).unwrap() {
            Located::Entry(entry) => entry.node,
            Located::Root(_) => Node::default(),
        }
    };
    tokio::task::spawn_blocking(looking).await.unwrap()
}
