//! Restoring onto a disk that fails (reliability G2, G3; invariant I9): what could not be restored is named, everything else is as it
//! was, there is no false success, and a second run on a disk that is well again ends identical.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use repository::format::Snapshot;
use repository::restore::{Existing, RestoreReport, RestoreRequest};
use repository::{Control, Error, LockMode, Repository, SnapshotId};
use rustix::io::Errno;

use crate::disk::{Disk, Effect, Fault, Operation, When};
use crate::fixture::{Tree, below, describe, differing, init, make_tree, named, try_backup, try_lock, try_restore};
use crate::private::privately;

/// A snapshot in a sound repository, and disks to restore it to.
struct Scene {
    repository: Repository,
    snapshot: SnapshotId,
    original: Tree,
    source: PathBuf,
    directory: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let repository = init(&directory.path().join("repository")).await;
        let source = directory.path().join("source");
        make_tree(&source);
        let snapshot = try_backup(&repository, &source).await.unwrap().snapshot;
        Self { repository, snapshot, original: describe(&source), source, directory }
    }

    fn disk(&self, name: &str) -> Disk {
        Disk::mount(self.directory.path(), name)
    }

    async fn restore(&self, disk: &Disk) -> RestoreReport {
        try_restore(&self.repository, self.snapshot, disk.path(), |_| ()).await.unwrap()
    }

    /// Where the tree comes out.
    fn restored(&self, root: &Path) -> PathBuf {
        below(root, &self.source)
    }

    /// Restores onto a disk with faults, and again when it is well.
    async fn expect_told(&self, what: &str, disk: &Disk, faults: &[Fault]) -> Vec<String> {
        disk.faults.set(faults);
        let report = self.restore(disk).await;
        disk.faults.clear();
        assert!(faults.iter().any(|fault| fault.hits() > 0), "{what}: no fault ever struck");
        assert!(!report.is_complete(), "{what}: false success");
        let told = named(&report.errors, &self.restored(disk.path()));
        // A restore that stopped for lack of room says so of the root; then entries may be missing, but none may be there and wrong.
        let has_stopped = report.errors.listed.iter().any(|problem| problem.path == disk.path() && problem.class == "space");
        let found = describe(&self.restored(disk.behind()));
        for path in differing(&self.original, &found) {
            let is_missing = has_stopped && !found.contains_key(&path);
            assert!(is_missing || told.contains_key(&path), "{what}: {path} is not as it was, and not named in {told:?}");
        }
        let again = self.restore(disk).await;
        assert!(again.is_complete(), "{what}: {:?}", again.errors);
        assert_eq!(differing(&self.original, &describe(&self.restored(disk.behind()))), [""; 0], "{what}, second run");
        let links = fs::metadata(self.restored(disk.behind()).join("a/file-3")).unwrap().nlink();
        assert_eq!(links, 2, "{what}: names of one file are one file again");
        told.into_keys().collect()
    }
}

#[test]
fn each_entry_that_cannot_be_written_is_named_and_the_others_are_right() {
    privately(|| async {
        let scene = Scene::new().await;
        let cases: [(Operation, &str, &[&str]); 9] = [
            (Operation::Create, "a/file-7", &["a/file-7"]),
            (Operation::Write, "a/file-7", &["a/file-7"]),
            (Operation::Write, "b/large", &["b/large"]),
            // Owner, mode and times.
            (Operation::Setattr, "a/file-5", &["a/file-5"]),
            (Operation::Setattr, "b", &["b"]),
            (Operation::Setattr, "c/fifo", &["c/fifo"]),
            (Operation::Make, "c/link", &["c/link"]),
            (Operation::Make, "c/fifo", &["c/fifo"]),
            (Operation::Create, "a/file-1*", &["a/file-1", "a/file-10", "a/file-11"]),
        ];
        for (number, (operation, path, expected)) in cases.into_iter().enumerate() {
            let disk = scene.disk(&format!("disk-{number}"));
            let fault = Fault::always(&format!("*/{path}"), operation, Errno::IO);
            let told = scene.expect_told(&format!("{operation:?} of {path}"), &disk, &[fault]).await;
            assert_eq!(told, expected);
        }
    });
}

/// The later name of a file, and everything in a directory that cannot be made.
#[test]
fn what_depends_on_a_failed_entry_is_named_too() {
    privately(|| async {
        let scene = Scene::new().await;
        let disk = scene.disk("links");
        let told = scene.expect_told("hard link", &disk, &[Fault::always("*/c/second name", Operation::Make, Errno::IO)]).await;
        assert!(told.contains(&"c/second name".to_owned()), "{told:?}");
        let disk = scene.disk("directories");
        let told = scene.expect_told("mkdir", &disk, &[Fault::always("*/b", Operation::Mkdir, Errno::IO)]).await;
        let expected: Vec<_> = scene.original.keys().filter(|path| Path::new(path).starts_with("b")).cloned().collect();
        assert_eq!(told, expected);
    });
}

/// Network file systems take what is written and say only later that they could not keep it: when the file is synced or closed.
#[test]
fn a_file_that_is_refused_when_it_is_closed_is_named() {
    privately(|| async {
        let scene = Scene::new().await;
        for (number, errno) in [Errno::IO, Errno::NOSPC, Errno::DQUOT].into_iter().enumerate() {
            for path in ["b/large", "a/file-7"] {
                let disk = scene.disk(&format!("{}-{number}", path.replace('/', "-")));
                let pattern = format!("*/{path}");
                let faults = [Fault::always(&pattern, Operation::Fsync, errno), Fault::always(&pattern, Operation::Flush, errno)];
                let told = scene.expect_told(&format!("{errno} at the end of {path}"), &disk, &faults).await;
                assert!(told.contains(&path.to_owned()), "{told:?}");
            }
        }
    });
}

/// A snapshot as if `source` had been a whole file system.
async fn as_root(repository: &Repository, snapshot: SnapshotId, source: &Path) -> SnapshotId {
    let control = Control::default();
    let of_source = repository.snapshot(&snapshot, &control).await.unwrap();
    let reader = repository.blob_reader(repository.load_index(&control).await.unwrap(), &control);
    let mut tree = of_source.tree;
    for name in source.strip_prefix("/").unwrap() {
        let nodes = reader.load_tree(&tree).await.unwrap().nodes;
        tree = nodes.iter().find(|node| node.name == name.as_bytes()).unwrap().subtree.unwrap();
    }
    let whole = Snapshot { tree, paths: vec!["/".to_owned()], ..of_source };
    let guard = try_lock(repository, LockMode::Shared).await.unwrap();
    let saved = repository.save_snapshot(&guard.handle(), &whole, &control).await.unwrap();
    guard.release().await.unwrap();
    saved
}

/// The same for what lies directly below the root, where the restore makes no directory from which it learns about the disk.
#[test]
fn a_file_in_the_root_that_is_refused_when_it_is_closed_is_named() {
    privately(|| async {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), b"content").unwrap();
        let repository = init(&directory.path().join("repository")).await;
        let snapshot = try_backup(&repository, &source).await.unwrap().snapshot;
        let snapshot = as_root(&repository, snapshot, &source).await;
        let disk = Disk::mount(directory.path(), "disk");
        disk.faults.set(&[Operation::Fsync, Operation::Flush].map(|operation| Fault::always("file", operation, Errno::IO)));
        let report = try_restore(&repository, snapshot, disk.path(), |_| ()).await.unwrap();
        disk.faults.clear();
        let told = named(&report.errors, disk.path());
        assert!(told.contains_key("file"), "{told:?}");
    });
}

/// Where only an empty target will do, one that cannot be looked at is not taken for empty.
#[test]
fn a_target_that_cannot_be_listed_is_refused() {
    privately(|| async {
        let scene = Scene::new().await;
        let cases = [
            (Operation::Lookup, When::Always),
            (Operation::Open, When::Always),
            (Operation::Readdir, When::Always),
            // After the two dots.
            (Operation::Readdir, When::From(2)),
        ];
        for (number, (operation, when)) in cases.into_iter().enumerate() {
            let disk = scene.disk(&format!("disk-{number}"));
            let out = scene.restored(disk.behind());
            fs::create_dir_all(&out).unwrap();
            fs::write(out.join("precious"), b"untouched").unwrap();
            let before = describe(&out);
            let path = out.strip_prefix(disk.behind()).unwrap().to_str().unwrap();
            let fault = Fault::new(path, operation, when, Effect::Fail(Errno::IO));
            disk.faults.set(std::slice::from_ref(&fault));
            let change = |request: &mut RestoreRequest| request.existing = Existing::RefuseIfNotEmpty;
            let refused = try_restore(&scene.repository, scene.snapshot, disk.path(), change).await;
            disk.faults.clear();
            assert!(fault.hits() > 0, "{fault:?} never struck");
            assert!(matches!(refused, Err(Error::File { .. })), "{fault:?}: {refused:?}");
            assert_eq!(describe(&out), before, "{fault:?}");
        }
    });
}

/// The disk fills up, or the quota ends, after so many bytes.
#[test]
fn a_disk_that_fills_up_at_any_byte_is_no_success() {
    privately(|| async {
        let scene = Scene::new().await;
        for (number, bytes) in [0, 1, 5_000, 60_000, 500_000, 1 << 20, 3 << 20, 6 << 20, 7_100_000].into_iter().enumerate() {
            let errno = if number % 2 == 0 { Errno::NOSPC } else { Errno::DQUOT };
            let disk = scene.disk(&format!("disk-{number}"));
            let fault = Fault::new("*", Operation::Write, When::AfterBytes(bytes), Effect::Fail(errno));
            scene.expect_told(&format!("{errno} after {bytes} bytes"), &disk, &[fault]).await;
        }
    });
}

/// Each single change that a restore makes fails once, whichever it is.
#[test]
fn a_failure_of_any_single_change_is_told() {
    privately(|| async {
        let scene = Scene::new().await;
        let disk = scene.disk("counted");
        let counting = Fault::new("*", Operation::Change, When::Nth(u64::MAX), Effect::Fail(Errno::IO));
        disk.faults.set(std::slice::from_ref(&counting));
        assert!(scene.restore(&disk).await.is_complete());
        let changes = counting.calls();
        assert!(changes > 200, "{changes}");
        // Every seventh: the test has to end some time, and seven walks through all kinds of calls.
        for change in (0..changes).step_by(7) {
            let disk = scene.disk(&format!("change-{change}"));
            let fault = Fault::new("*", Operation::Change, When::Nth(change), Effect::Fail(Errno::IO));
            disk.faults.set(std::slice::from_ref(&fault));
            let report = scene.restore(&disk).await;
            disk.faults.clear();
            let told = named(&report.errors, &scene.restored(disk.path()));
            let wrong = differing(&scene.original, &describe(&scene.restored(disk.behind())));
            for path in &wrong {
                // Names of one file are told as one, when it is what they share that is wrong.
                let first = if path == "c/second name" { "a/file-3" } else { path };
                assert!(
                    told.contains_key(path) || told.contains_key(first),
                    "change {change}: {path} is not as it was, and not named in {told:?}"
                );
            }
            assert!(wrong.is_empty() || !report.is_complete(), "change {change}: false success");
        }
    });
}
