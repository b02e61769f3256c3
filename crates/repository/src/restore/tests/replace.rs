//! Restores that remove what the snapshot does not have: what goes, and above all what stays.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::Arc,
};

use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use crate::{
    SnapshotId,
    backup::testing::{Fixture, assert_same, describe, make_everything, noise},
    control::Control,
    error::Error,
    restore::{Existing, RestoreRequest, tests::batches::restorer},
    source::{SourceFaults, SourceStep},
};

fn replacing(fixture: &Fixture, snapshot: SnapshotId) -> RestoreRequest {
    let mut request = fixture.restore_request(snapshot);
    request.existing = Existing::Replace;
    request
}

/// Seven entries that no snapshot has.
fn plant(directory: &Path, canary: &Path) {
    fs::create_dir_all(directory.join("surplus/deep/er")).unwrap();
    fs::write(directory.join("surplus/deep/er/file"), b"x").unwrap();
    fs::write(directory.join("surplus file"), b"x").unwrap();
    symlink(canary, directory.join("surplus/link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, directory.join("surplus fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
}

/// The target is as the source was, times of directories and all, and nothing beside it is touched.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_snapshot_does_not_have_is_removed() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    let canary = fixture.path("canary");
    fs::create_dir_all(canary.join("precious")).unwrap();
    fs::write(canary.join("precious/file"), b"untouched").unwrap();
    let before = describe(&canary);
    let backup = fixture.backup(fixture.request()).await;
    assert!(fixture.restore(replacing(&fixture, backup.snapshot)).await.is_complete());
    let out = fixture.restored();
    let beside = out.parent().unwrap().join("beside");
    plant(&out, &canary);
    plant(&out.join("deep/er"), &canary);
    symlink(&canary, out.join("empty directory/to the canary")).unwrap();
    fs::create_dir(out.join("lost+found")).unwrap();
    fs::create_dir(out.join("deep/lost+found")).unwrap();
    fs::write(&beside, b"somebody else's").unwrap();
    fs::remove_file(out.join("large")).unwrap();

    let report = fixture.restore(replacing(&fixture, backup.snapshot)).await;
    assert!(report.is_complete(), "{:?}", report.errors);
    assert_eq!(report.removed, 7 + 7 + 1 + 1);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    assert_eq!(describe(&canary), before);
    assert_eq!(fs::read(&beside).unwrap(), b"somebody else's");
    // The place of what the file system finds after a crash.
    fs::remove_dir(out.join("lost+found")).unwrap();
    fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert_same(&fixture.source(), &out);
}

/// Only the directory's own time tells that something was removed; it is the snapshot's again, without another restore.
#[tokio::test(flavor = "multi_thread")]
async fn directories_keep_the_snapshots_times_and_modes() {
    let fixture = Fixture::new().await;
    fs::create_dir(fixture.source().join("closed")).unwrap();
    fs::write(fixture.source().join("closed/file"), b"x").unwrap();
    fs::set_permissions(fixture.source().join("closed"), fs::Permissions::from_mode(0o500)).unwrap();
    let backup = fixture.backup(fixture.request()).await;
    let out = fixture.restored();
    fs::create_dir_all(out.join("closed")).unwrap();
    fs::write(out.join("closed/surplus"), b"x").unwrap();
    fs::write(out.join("surplus"), b"x").unwrap();
    assert_eq!(fixture.restore(replacing(&fixture, backup.snapshot)).await.removed, 2);
    assert_same(&fixture.source(), &out);
}

/// Neither what a pattern leaves out goes, nor anything where only a part of a directory was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn patterns_keep_what_they_leave_out() {
    let fixture = Fixture::new().await;
    for name in ["a/file.txt", "b/file.txt"] {
        fs::create_dir_all(fixture.source().join(name).parent().unwrap()).unwrap();
        fs::write(fixture.source().join(name), b"x").unwrap();
    }
    let backup = fixture.backup(fixture.request()).await;
    let out = fixture.restored();
    let plant = || {
        for name in ["a/surplus/one.txt", "a/surplus/two.log", "b/surplus.log", "surplus.txt"] {
            fs::create_dir_all(out.join(name).parent().unwrap()).unwrap();
            fs::write(out.join(name), b"x").unwrap();
        }
    };
    let left = || describe(&out).into_keys().map(|path| String::from_utf8(path).unwrap()).collect::<Vec<_>>();

    plant();
    let mut excluding = replacing(&fixture, backup.snapshot);
    excluding.exclude = vec!["*.log".to_owned()];
    let report = fixture.restore(excluding).await;
    assert_eq!((report.removed, report.warnings.total), (2, 0), "{:?}", report.warnings);
    assert_eq!(left(), ["", "a", "a/file.txt", "a/surplus", "a/surplus/two.log", "b", "b/file.txt", "b/surplus.log"]);

    plant();
    let mut including = replacing(&fixture, backup.snapshot);
    including.include = vec!["*.txt".to_owned()];
    let report = fixture.restore(including).await;
    assert_eq!(report.removed, 0);
    assert!(report.warnings.listed[0].reason.contains("nothing was removed"), "{:?}", report.warnings);
    assert!(out.join("surplus.txt").exists() && out.join("a/surplus/one.txt").exists());

    let mut a_part = replacing(&fixture, backup.snapshot);
    a_part.paths = vec![fixture.source().join("a")];
    let report = fixture.restore(a_part).await;
    assert_eq!(report.removed, 3, "a directory with two files: {:?}", left());
    assert!(out.join("surplus.txt").exists() && out.join("b/surplus.log").exists());
}

/// A restore that failed removes nothing, however small its failure, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_failed_removes_nothing() {
    let fixture = Fixture::new().await;
    for number in 0..4 {
        fs::write(fixture.source().join(format!("file{number}")), noise(number, 2 << 20)).unwrap();
    }
    let backup = fixture.backup(fixture.request()).await;
    let out = fixture.restored();
    fs::create_dir_all(&out).unwrap();
    fs::write(out.join("surplus"), b"x").unwrap();
    let index = fixture.repository.load_index(&fixture.control).await.unwrap();
    let chunker = crate::chunker::Chunker::new(fixture.repository.polynomial());
    let content = noise(2, 2 << 20);
    let first = chunker.cut(&content, 0).unwrap_or(content.len());
    let location = index.locate(crate::BlobType::Data, &crate::Id::of(&content[..first])).unwrap();
    let name = location.pack.to_string();
    fs::remove_file(fixture.path("repository/data").join(&name[..2]).join(name)).unwrap();
    let report = fixture.restore(replacing(&fixture, backup.snapshot)).await;
    assert!(!report.is_complete());
    assert_eq!((report.removed, report.warnings.total), (0, 1));
    assert!(out.join("surplus").exists());
}

/// A disk that does not give back what is in one file.
struct BadSector;

impl SourceFaults for BadSector {
    fn before(&self, step: SourceStep, path: &Path) -> io::Result<()> {
        let strikes = matches!(step, SourceStep::Read { .. }) && path.ends_with("unreadable");
        if strikes { Err(Errno::IO.into()) } else { Ok(()) }
    }
}

/// What a backup could not read is not in its snapshot, though the source had it.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_a_backup_that_could_not_read_everything_removes_nothing() {
    let fixture = Fixture::new().await;
    for name in ["file", "unreadable"] {
        fs::write(fixture.source().join(name), name).unwrap();
    }
    let incomplete = fixture.backup(fixture.request().with_faults(Arc::new(BadSector))).await;
    assert!(!incomplete.is_complete());
    let out = fixture.restored();
    fs::create_dir_all(&out).unwrap();
    for name in ["unreadable", "surplus"] {
        fs::write(out.join(name), b"precious").unwrap();
    }
    let report = fixture.restore(replacing(&fixture, incomplete.snapshot)).await;
    assert!(report.is_complete(), "{:?}", report.errors);
    assert_eq!((report.removed, report.warnings.total), (0, 1), "{:?}", report.warnings);
    assert!(report.warnings.listed[0].reason.contains("could not read everything"), "{:?}", report.warnings);
    for name in ["unreadable", "surplus"] {
        assert_eq!(fs::read(out.join(name)).unwrap(), b"precious");
    }

    let whole = fixture.backup(fixture.request()).await;
    let report = fixture.restore(replacing(&fixture, whole.snapshot)).await;
    assert_eq!((report.removed, report.warnings.total), (1, 0), "{:?}", report.warnings);
    assert_same(&fixture.source(), &out);
}

/// Engine §4.9: a cancellation ends the removal too.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_ends_with_the_restore() {
    let fixture = Fixture::new().await;
    fs::write(fixture.source().join("file"), b"x").unwrap();
    let backup = fixture.backup(fixture.request()).await;
    let out = fixture.restored();
    plant(&out, &out);
    let tree = fixture.repository.snapshot(&backup.snapshot, &fixture.control).await.unwrap().tree;
    let token = CancellationToken::new();
    let control = Control::new(token.clone());
    let request = replacing(&fixture, backup.snapshot);
    let restorer = restorer(&fixture.repository, fixture.guard.handle(), &request, 1 << 20, &control).await;
    let ended = tokio::task::spawn_blocking(move || {
        restorer.walk(tree, |_| Ok(())).unwrap();
        token.cancel();
        restorer.remove_surplus()
    });
    assert!(matches!(ended.await.unwrap(), Err(Error::Cancelled)));
    assert!(out.join("surplus/deep/er/file").exists() && out.join("surplus file").exists());
}
