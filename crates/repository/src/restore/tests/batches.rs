//! Restores of trees that do not fit into one batch: what is remembered is bounded, and nothing comes out otherwise.

use std::{collections::HashSet, fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use crate::{
    BlobReader, LockHandle, Repository,
    backup::testing::{Fixture, assert_same, make_everything, noise},
    control::Control,
    restore::{RestoreReport, RestoreRequest, restorer::Restorer},
};

/// What restores, with batches that are closed when they take this much memory.
pub(super) async fn restorer(
    repository: &Repository,
    lock: LockHandle,
    request: &RestoreRequest,
    memory: usize,
    control: &Control,
) -> Restorer {
    restorer_with(repository, lock, request, memory, control, |reader| reader).await
}

/// The same with a reader of the test's choice.
pub(super) async fn restorer_with(
    repository: &Repository,
    lock: LockHandle,
    request: &RestoreRequest,
    memory: usize,
    control: &Control,
    choose: impl FnOnce(BlobReader) -> BlobReader,
) -> Restorer {
    let snapshot = repository.snapshot(&request.snapshot, control).await.unwrap();
    let index = repository.load_index(control).await.unwrap();
    let reader = choose(repository.blob_reader(index.clone(), control));
    let mut restorer = Restorer::new(request, &snapshot, index, reader, lock, control).unwrap();
    restorer.batch_memory = memory;
    restorer
}

/// A restore whose batches are closed when they take this much memory.
pub(super) async fn restore_in_batches(
    repository: &Repository,
    lock: LockHandle,
    request: &RestoreRequest,
    memory: usize,
) -> RestoreReport {
    let root = repository.snapshot(&request.snapshot, &Control::default()).await.unwrap().tree;
    let restorer = Arc::new(restorer(repository, lock, request, memory, &Control::default()).await);
    let worker = restorer.clone();
    tokio::task::spawn_blocking(move || worker.run(root)).await.unwrap().unwrap();
    restorer.report(request.snapshot, std::time::Duration::ZERO)
}

/// Directories with files of which each has further names in directories before and after it.
fn make_linked(root: &Path) {
    for number in 0..60_u64 {
        let directory = root.join(format!("linked{:02}/below", number * 7 % 60));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("file");
        fs::write(&file, noise(number, 2_000)).unwrap();
        for further in [number * 11 % 60, (number * 13 + 1) % 60] {
            let above = root.join(format!("linked{further:02}"));
            fs::create_dir_all(&above).unwrap();
            fs::hard_link(&file, above.join(format!("name of {number}"))).unwrap();
        }
    }
    for (number, mode) in [0o500, 0o555, 0o000, 0o2755, 0o1777, 0o070].into_iter().enumerate() {
        fs::set_permissions(root.join(format!("linked{number:02}")), fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn make_old(root: &Path) {
    let mut directories = vec![root.to_owned()];
    while let Some(path) = directories.pop() {
        for entry in fs::read_dir(&path).unwrap().map(|entry| entry.unwrap()) {
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            }
        }
        let time = rustix::fs::Timespec { tv_sec: 1_000_000_000 + directories.len() as i64, tv_nsec: 7 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
    }
}

/// Invariant I9: times, modes and links are right too when names and directories are settled while the walk goes on.
#[tokio::test(flavor = "multi_thread")]
async fn small_batches_restore_the_same_tree() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    make_linked(&fixture.source());
    make_old(&fixture.source());
    let backup = fixture.backup(fixture.request()).await;
    for memory in [1, 20_000, 200_000] {
        let mut request = fixture.restore_request(backup.snapshot);
        request.root = fixture.path(&format!("target{memory}"));
        fs::create_dir(&request.root).unwrap();
        let report = restore_in_batches(&fixture.repository, fixture.guard.handle(), &request, memory).await;
        assert!(report.is_complete(), "{:?}", report.errors);
        assert_eq!(report.hard_links, 2 + 60 * 2);
        let restored = request.root.join(fixture.source().strip_prefix("/").unwrap());
        assert_same(&fixture.source(), &restored);
        // What is right is left alone, whatever the batches.
        let again = restore_in_batches(&fixture.repository, fixture.guard.handle(), &request, memory).await;
        assert_eq!((again.errors.total, again.bytes_written, again.files_restored), (0, 0, 0));
        assert_same(&fixture.source(), &restored);
    }
}

/// Reliability R2: of a directory that the walk has left nothing is remembered after its batch, and of a file with several names
/// nothing after the last of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_does_not_grow_with_the_tree() {
    let fixture = Fixture::new().await;
    for number in 0..3_000_u64 {
        let directory = fixture.source().join(format!("{:02}/{number:04}", number / 100));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("file"), number.to_le_bytes()).unwrap();
        fs::hard_link(directory.join("file"), directory.join("name")).unwrap();
    }
    let backup = fixture.backup(fixture.request()).await;
    let request = fixture.restore_request(backup.snapshot);
    let tree = fixture.repository.snapshot(&request.snapshot, &fixture.control).await.unwrap().tree;
    let memory = 256 << 10;
    let restorer = Arc::new(restorer(&fixture.repository, fixture.guard.handle(), &request, memory, &fixture.control).await);
    let walk = move || {
        let (mut files, mut names, mut directories, mut batches) = (0, 0, 0, 0);
        let mut places = HashSet::new();
        restorer
            .walk(tree, |batch| {
                assert!(batch.memory < memory + 4_096, "{}", batch.memory);
                let held = batch.files.len() + batch.names.len() + batch.directories.len();
                assert!(held * 100 < memory, "{held} records");
                files += batch.files.len();
                names += batch.names.len();
                directories += batch.directories.len();
                places.extend(batch.directories.iter().map(|record| record.place.path()));
                batches += 1;
                Ok(())
            })
            .unwrap();
        assert!(batches > 10, "{batches}");
        assert_eq!(places.len(), directories, "each directory is settled once");
        assert!(restorer.groups.is_empty());
        (files, names, directories)
    };
    let above = fixture.source().components().count() - 1;
    assert_eq!(tokio::task::spawn_blocking(walk).await.unwrap(), (3_000, 3_000, 3_000 + 30 + above));
}

/// A directory that this run makes may get a list of rights from the one above it; what is made in it does not keep them.
#[tokio::test(flavor = "multi_thread")]
async fn rights_that_a_directory_hands_down_are_taken_away() {
    let fixture = Fixture::new().await;
    for name in ["own", "open", "closed", "closed/below"] {
        if name.starts_with("closed") {
            fs::create_dir(fixture.source().join(name)).unwrap();
        }
        let file = fixture.source().join(name).join("file");
        let file = if name.starts_with("closed") { file } else { fixture.source().join(name) };
        fs::write(&file, name).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(if name == "open" { 0o666 } else { 0o600 })).unwrap();
    }
    std::os::unix::fs::symlink("open", fixture.source().join("link")).unwrap();
    let backup = fixture.backup(fixture.request()).await;
    // Read and write for user 1000 and whatever is made below.
    let entry =
        |tag: u16, permissions: u16, id: u32| [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat();
    let none = u32::MAX;
    let list = [
        2_u32.to_le_bytes().to_vec(),
        entry(1, 7, none),
        entry(2, 7, 1000),
        entry(4, 0, none),
        entry(16, 7, none),
        entry(32, 0, none),
    ]
    .concat();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(fixture.path("target"), "system.posix_acl_default", &list, flags).unwrap();
    let report = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(report.is_complete(), "{:?}", report.errors);
    assert_same(&fixture.source(), &fixture.restored());
}

/// The same for the group that a directory hands down.
#[tokio::test(flavor = "multi_thread")]
async fn the_group_that_a_directory_hands_down_is_replaced() {
    if !crate::backup::testing::is_root() {
        println!("skipped: only root can give a directory to another group");
        return;
    }
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    let backup = fixture.backup(fixture.request()).await;
    std::os::unix::fs::chown(fixture.path("target"), None, Some(4_711)).unwrap();
    fs::set_permissions(fixture.path("target"), fs::Permissions::from_mode(0o2775)).unwrap();
    let report = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(report.is_complete(), "{:?}", report.errors);
    assert_same(&fixture.source(), &fixture.restored());
}
