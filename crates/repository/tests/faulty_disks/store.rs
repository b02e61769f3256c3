//! A repository on a disk that fails (reliability D8): whatever write, sync or rename fails, it is an honest failure that leaves no half
//! object to be seen, and what was there stays readable.

use std::fs;
use std::path::{Path, PathBuf};

use repository::maintenance::PruneOptions;
use repository::{Control, Id, LockMode, Repository, Result, SnapshotId};
use rustix::io::Errno;

use crate::disk::{Disk, Effect, Fault, Operation, When};
use crate::fixture::{Tree, assert_restorable, assert_sound, describe, init, noise, open, try_backup, try_lock};
use crate::private::privately;

const ERRORS: [Errno; 4] = [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::ROFS];

/// A repository on a sound disk with a snapshot of each of two trees, to be copied.
struct Scene {
    directory: tempfile::TempDir,
    first: SnapshotId,
    second: SnapshotId,
    source: PathBuf,
    original: Tree,
}

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        let repository = init(&directory.path().join("repository")).await;
        make(&source, 1);
        let first = try_backup(&repository, &source).await.unwrap().snapshot;
        make(&source, 2);
        let second = try_backup(&repository, &source).await.unwrap().snapshot;
        Self { first, second, original: describe(&source), source, directory }
    }

    /// A disk with a copy of the repository.
    fn disk(&self, name: &str) -> Disk {
        let disk = Disk::mount(self.directory.path(), name);
        copy(&self.directory.path().join("repository"), disk.behind());
        disk
    }

    /// What must be true whatever happened: no half object, the second snapshot readable, the next backup whole.
    async fn assert_well(&self, what: &str, disk: &Disk) {
        disk.faults.clear();
        for path in objects(disk.behind()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if let Ok(id) = name.parse::<Id>() {
                assert_eq!(Id::of(&fs::read(&path).unwrap()), id, "{what}: {} is not whole", path.display());
            }
        }
        // Only the removal of a lock can leave one; its holder is known to be gone.
        for lock in fs::read_dir(disk.behind().join("locks")).unwrap() {
            let _ = fs::remove_file(lock.unwrap().path());
        }
        let repository = open(disk.behind()).await;
        assert_restorable(&repository, self.second, &self.original, &self.source).await;
        let report = try_backup(&repository, &self.source).await.unwrap();
        assert!(report.is_complete(), "{what}");
        assert_sound(&repository).await;
    }

    /// Lets every change of `work` fail in turn.
    async fn fail_each_change<F: Future<Output = Result<()>>>(&self, work: impl Fn(Repository) -> F) {
        let disk = self.disk("counted");
        let repository = open(disk.path()).await;
        let counting = Fault::new("*", Operation::Change, When::Nth(u64::MAX), Effect::Fail(Errno::IO));
        disk.faults.set(std::slice::from_ref(&counting));
        work(repository).await.unwrap();
        let changes = counting.calls();
        assert!(changes > 20, "{changes}");
        for change in 0..changes {
            let disk = self.disk(&format!("change-{change}"));
            let repository = open(disk.path()).await;
            let errno = ERRORS[change as usize % ERRORS.len()];
            let fault = Fault::new("*", Operation::Change, When::Nth(change), Effect::Fail(errno));
            disk.faults.set(std::slice::from_ref(&fault));
            let what = format!("{errno} at change {change}");
            if let Err(error) = work(repository).await {
                let (said, reason) = (error.to_string(), errno.to_string());
                assert!(said.contains(reason.as_str()) || said.contains("lock"), "{what}: the reason is not told: {said}");
            }
            self.assert_well(&what, &disk).await;
        }
    }
}

#[test]
fn a_backup_may_fail_at_any_change() {
    privately(|| async {
        let scene = Scene::new().await;
        make(&scene.source, 3);
        // Its content is compared with what is backed up afterwards, so the scene's snapshot keeps its own description.
        let source = scene.source.clone();
        scene.fail_each_change(|repository| backup_of(repository, source.clone())).await;
    });
}

async fn backup_of(repository: Repository, source: PathBuf) -> Result<()> {
    let report = try_backup(&repository, &source).await?;
    assert!(report.is_complete());
    // What is called a success is one.
    let target = tempfile::tempdir().unwrap();
    let restored = crate::fixture::try_restore(&repository, report.snapshot, target.path(), |_| ()).await?;
    assert!(restored.is_complete(), "false success: {:?}", restored.errors);
    Ok(())
}

#[test]
fn forget_and_prune_may_fail_at_any_change() {
    privately(|| async {
        let scene = Scene::new().await;
        let first = scene.first;
        scene.fail_each_change(|repository| forget_and_prune(repository, first)).await;
    });
}

async fn forget_and_prune(repository: Repository, snapshot: SnapshotId) -> Result<()> {
    let control = Control::default();
    let guard = try_lock(&repository, LockMode::Exclusive).await?;
    let work = async {
        repository.forget(&guard.handle(), &[snapshot], &control).await?;
        let options = PruneOptions { max_unused: 0.0, small_packs: 2, ..PruneOptions::default() };
        let plan = repository.plan_prune(&guard.handle(), &options, &control).await?;
        repository.prune(&guard.handle(), plan, &control).await.map(drop)
    };
    let done = work.await;
    let released = guard.release().await;
    done.and(released)
}

/// A disk that takes part of an object and no more: the object is not there.
#[test]
fn an_object_that_is_written_in_part_is_never_seen() {
    privately(|| async {
        let scene = Scene::new().await;
        make(&scene.source, 3);
        for (number, bytes) in [0, 1, 100, 10_000, 50_000, 90_000].into_iter().enumerate() {
            let disk = scene.disk(&format!("disk-{number}"));
            let fault = Fault::new("*", Operation::Write, When::AfterBytes(bytes), Effect::Fail(Errno::NOSPC));
            let repository = open(disk.path()).await;
            disk.faults.set(std::slice::from_ref(&fault));
            let failed = try_backup(&repository, &scene.source).await.unwrap_err();
            assert!(failed.to_string().contains("No space left"), "after {bytes} bytes: {failed}");
            scene.assert_well(&format!("full after {bytes} bytes"), &disk).await;
        }
    });
}

/// Objects that cannot be read are an error that names them, never an empty repository (invariant I8).
#[test]
fn what_cannot_be_read_is_no_empty_repository() {
    privately(|| async {
        let scene = Scene::new().await;
        let disk = scene.disk("disk");
        let repository = open(disk.path()).await;
        let control = Control::default();
        for folder in ["snapshots", "index"] {
            for (operation, when) in
                [(Operation::Open, When::Always), (Operation::Readdir, When::Always), (Operation::Readdir, When::From(2))]
            {
                disk.faults.set(&[Fault::new(folder, operation, when, Effect::Fail(Errno::IO))]);
                let said = match folder {
                    "snapshots" => repository.snapshots(&control).await.err(),
                    _ => repository.load_index(&control).await.err(),
                };
                disk.faults.clear();
                let said = said.unwrap_or_else(|| panic!("{folder} {operation:?} {when:?}: nothing was said")).to_string();
                assert!(said.contains(folder) && said.contains("Input/output error"), "{said}");
            }
        }
        disk.faults.set(&[Fault::always("snapshots/*", Operation::Read, Errno::IO)]);
        assert!(repository.snapshots(&control).await.is_err(), "a snapshot that cannot be read is not one that is damaged");
        scene.assert_well("unreadable", &disk).await;
    });
}

/// Files of several sizes; those of another version differ in half of them.
fn make(root: &Path, version: u64) {
    fs::create_dir_all(root.join("directory")).unwrap();
    for number in 0..6_u64 {
        let seed = if number % 2 == 0 { number } else { number + version * 100 };
        fs::write(root.join(format!("directory/file-{number}")), noise(seed, 30_000)).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All files below a folder.
fn objects(root: &Path) -> Vec<PathBuf> {
    let (mut files, mut stack) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = stack.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { stack.push(path) } else { files.push(path) }
        }
    }
    files
}
