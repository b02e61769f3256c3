//! Volumes without room (reliability D8, G2): `tmpfs` of a few pages or a few inodes, and one `ext4` in a file.

mod room;
mod volume;

use std::fs;
use std::path::Path;

use repository::maintenance::PruneOptions;
use repository::{Control, LockMode, Repository, Result, SnapshotId};
use storage::ErrorKind;

use crate::fixture::{
    assert_restorable, assert_sound, below, describe, differing, init, named, noise, open, try_backup, try_init, try_lock,
    try_restore,
};
use crate::private::privately;
use volume::Volume;

/// Small content that fits, and content that may not.
fn make(root: &Path, version: u64, files: u64, length: usize) {
    fs::create_dir_all(root).unwrap();
    for number in 0..files {
        fs::write(root.join(format!("file-{version}-{number}")), noise(version * 1_000 + number, length)).unwrap();
    }
}

/// Fills a repository on the volume until it is full. Says whether it became full.
///
/// Two snapshots fit, or the volume is too small for the test. The third may fail; then the first two are as they were, one of them can
/// be forgotten and pruned on the full volume, and with more room the third succeeds.
async fn fill_a_repository(volume: &Volume, grow: impl FnOnce()) -> Filled {
    let directory = tempfile::tempdir().unwrap();
    let (small, source) = (directory.path().join("small"), directory.path().join("source"));
    let root = volume.path().join("repository");
    make(&small, 1, 3, 20_000);
    if fs::create_dir(&root).is_err() {
        return Filled::TooSmall;
    }
    let started = async {
        let repository = try_init(&root).await?;
        let forgotten = try_backup(&repository, &small).await?.snapshot;
        make(&small, 2, 3, 20_000);
        Ok((forgotten, try_backup(&repository, &small).await?.snapshot, repository))
    };
    let (forgotten, kept, repository) = match started.await {
        Ok(started) => started,
        Err(error) => {
            assert_full(&error);
            return Filled::TooSmall;
        }
    };
    let original = describe(&small);
    make(&source, 3, 40, 60_000);
    let Err(error) = try_backup(&repository, &source).await else {
        assert_sound(&repository).await;
        return Filled::Fits;
    };
    assert_full(&error);
    assert_nothing_half(&root);
    // A full volume may have no room for a lock either: then it says so and nothing has changed.
    let pruned = forget_and_prune(&repository, forgotten).await;
    if let Err(error) = &pruned {
        assert_full(error);
    }
    clear_locks(&root);
    let free = volume.free();
    grow();
    let repository = open(&root).await;
    assert_restorable(&repository, kept, &original, &small).await;
    let report = try_backup(&repository, &source).await.unwrap();
    assert!(report.is_complete());
    assert_sound(&repository).await;
    Filled::Full { pruned: pruned.is_ok(), free }
}

enum Filled {
    TooSmall,
    Fits,
    Full { pruned: bool, free: u64 },
}

#[track_caller]
fn assert_full(error: &repository::Error) {
    assert!(error.to_string().contains("No space left"), "it does not say why: {error}");
    if let repository::Error::Store { source, .. } = error {
        assert_eq!(ErrorKind::of(source), ErrorKind::Full, "{error}");
    }
}

/// All that is to be seen is whole.
fn assert_nothing_half(root: &Path) {
    for folder in ["index", "snapshots", "keys"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if let Ok(id) = path.file_name().unwrap().to_str().unwrap().parse::<repository::Id>() {
                assert_eq!(repository::Id::of(&fs::read(&path).unwrap()), id, "{} is not whole", path.display());
            }
        }
    }
}

/// A lock whose removal failed, of a process that is known to be gone.
fn clear_locks(root: &Path) {
    for lock in fs::read_dir(root.join("locks")).into_iter().flatten() {
        fs::remove_file(lock.unwrap().path()).unwrap();
    }
}

/// Drops what is not needed and rewrites nothing: the way to get room where there is none.
async fn forget_and_prune(repository: &Repository, snapshot: SnapshotId) -> Result<()> {
    let control = Control::default();
    let guard = try_lock(repository, LockMode::Exclusive).await?;
    let work = async {
        repository.forget(&guard.handle(), &[snapshot], &control).await?;
        let options = PruneOptions {
            max_unused: f64::MAX,
            small_packs: usize::MAX,
            unindexed_age: std::time::Duration::ZERO,
            ..PruneOptions::default()
        };
        let plan = repository.plan_prune(&guard.handle(), &options, &control).await?;
        repository.prune(&guard.handle(), plan, &control).await.map(drop)
    };
    let done = work.await;
    let released = guard.release().await;
    done.and(released)
}

#[test]
fn a_repository_on_a_volume_of_any_size_fails_honestly_and_recovers() {
    privately(|| async {
        let directory = tempfile::tempdir().unwrap();
        let (mut full, mut pruned) = (0, 0);
        for kibibytes in (32..400).step_by(36).chain((400..4_400).step_by(333)) {
            let volume = Volume::tmpfs(directory.path(), kibibytes << 10, 0);
            if let Filled::Full { pruned: has_pruned, free } = fill_a_repository(&volume, || volume.resize(64 << 20, 0)).await {
                full += 1;
                pruned += usize::from(has_pruned);
                assert!(has_pruned || free < 64 << 10, "{kibibytes} KiB: no prune although {free} bytes were free");
            }
        }
        println!("{full} volumes became full, {pruned} could be pruned as they were");
        assert!(full >= 8 && pruned > 0, "{full} volumes became full, {pruned} could be pruned");
    });
}

#[test]
fn a_repository_on_a_volume_without_inodes_fails_honestly_and_recovers() {
    privately(|| async {
        let directory = tempfile::tempdir().unwrap();
        let mut full = 0;
        for inodes in 4..40 {
            let volume = Volume::tmpfs(directory.path(), 64 << 20, inodes);
            let filled = fill_a_repository(&volume, || volume.resize(64 << 20, 1_000)).await;
            full += usize::from(matches!(filled, Filled::Full { .. }));
        }
        assert!(full > 0, "no volume became full");
    });
}

/// Restores onto the volume, which may be too small, and again when it has room.
async fn fill_a_target(volume: &Volume, grow: impl FnOnce()) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    make(&source, 1, 60, 9_000);
    make(&source.join("below"), 2, 3, 300_000);
    let repository = init(&directory.path().join("repository")).await;
    let snapshot = try_backup(&repository, &source).await.unwrap().snapshot;
    let original = describe(&source);
    let restored = below(volume.path(), &source);
    let report = match try_restore(&repository, snapshot, volume.path(), |_| ()).await {
        Ok(report) => report,
        Err(error) => {
            assert!(matches!(error, repository::Error::NoRoom { .. }), "{error}");
            assert!(!restored.exists(), "something was written");
            grow();
            let again = try_restore(&repository, snapshot, volume.path(), |_| ()).await.unwrap();
            assert_eq!(differing(&original, &describe(&restored)), [""; 0], "{:?}", again.errors);
            return true;
        }
    };
    let found = describe(&restored);
    let wrong = differing(&original, &found);
    assert_eq!(report.is_complete(), wrong.is_empty(), "{wrong:?} {:?}", report.errors);
    let told = named(&report.errors, &restored);
    for path in wrong.iter().filter(|path| found.contains_key(*path)) {
        assert!(told.contains_key(path), "{path} is there and wrong, and not named in {told:?}");
    }
    assert!(wrong.is_empty() || report.errors.listed.iter().any(|problem| problem.class == "space"), "{:?}", report.errors);
    if !wrong.is_empty() {
        grow();
        let again = try_restore(&repository, snapshot, volume.path(), |_| ()).await.unwrap();
        assert!(again.is_complete(), "{:?}", again.errors);
        assert_eq!(differing(&original, &describe(&restored)), [""; 0]);
    }
    !wrong.is_empty()
}

#[test]
fn a_restore_onto_a_volume_of_any_size_is_whole_or_told() {
    privately(|| async {
        let directory = tempfile::tempdir().unwrap();
        let mut full = 0;
        for kibibytes in (4..64).step_by(12).chain((64..2_000).step_by(199)) {
            let volume = Volume::tmpfs(directory.path(), kibibytes << 10, 0);
            full += usize::from(fill_a_target(&volume, || volume.resize(64 << 20, 0)).await);
        }
        assert!(full >= 8, "{full} volumes became full");
    });
}

#[test]
fn a_restore_onto_a_volume_without_inodes_is_whole_or_told() {
    privately(|| async {
        let directory = tempfile::tempdir().unwrap();
        let mut full = 0;
        for inodes in (2..80).step_by(6) {
            let volume = Volume::tmpfs(directory.path(), 64 << 20, inodes);
            full += usize::from(fill_a_target(&volume, || volume.resize(64 << 20, 1_000)).await);
        }
        assert!(full >= 8, "{full} volumes became full");
    });
}

/// A real disk's file system, which counts its own structures and keeps its journal.
#[test]
fn an_ext4_that_fills_up_is_told_and_recovers() {
    privately(|| async {
        let directory = tempfile::tempdir().unwrap();
        let Some(volume) = Volume::ext4(directory.path(), 4 << 20) else { return };
        let ballast = volume.path().join("ballast");
        fs::write(&ballast, noise(1, 3 << 19)).unwrap();
        let filled = fill_a_repository(&volume, || fs::remove_file(&ballast).unwrap()).await;
        assert!(matches!(filled, Filled::Full { .. }), "the volume did not become full");
        drop(volume);
        let Some(volume) = Volume::ext4(directory.path(), 2 << 20) else { return };
        let ballast = volume.path().join("ballast");
        fs::write(&ballast, noise(2, 1 << 20)).unwrap();
        assert!(fill_a_target(&volume, || fs::remove_file(&ballast).unwrap()).await, "the volume did not become full");
    });
}

/// Not a single byte is free: not even a lock fits. That is told, nothing is lost, and a page makes the difference.
#[test]
fn with_no_byte_free_nothing_is_lost() {
    privately(|| async {
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::tmpfs(directory.path(), 2 << 20, 0);
        let (root, small) = (volume.path().join("repository"), directory.path().join("small"));
        make(&small, 1, 3, 20_000);
        let repository = init(&root).await;
        let forgotten = try_backup(&repository, &small).await.unwrap().snapshot;
        make(&small, 2, 3, 20_000);
        let kept = try_backup(&repository, &small).await.unwrap().snapshot;
        let ballast = volume.path().join("ballast");
        let _full = fs::write(&ballast, noise(3, 2 << 20)).unwrap_err();
        assert_eq!(volume.free(), 0);
        // Opening and looking needs no room.
        assert_eq!(open(&root).await.snapshots(&Control::default()).await.unwrap().snapshots.len(), 2);
        assert_full(&forget_and_prune(&repository, forgotten).await.unwrap_err());
        assert_eq!(repository.snapshots(&Control::default()).await.unwrap().snapshots.len(), 2);
        // Room for a lock and an index.
        fs::File::options().write(true).open(&ballast).unwrap().set_len((2 << 20) - (400 << 10)).unwrap();
        forget_and_prune(&repository, forgotten).await.unwrap();
        assert_restorable(&repository, kept, &describe(&small), &small).await;
        assert_sound(&repository).await;
    });
}
