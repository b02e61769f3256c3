//! A restore that cannot fit is refused before it writes, and one that could fit is not.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use repository::{Error, Repository, SnapshotId};
use rustix::mount::{MountFlags, mount};

use super::volume::Volume;
use crate::fixture::{below, describe, differing, init, noise, try_backup, try_restore};
use crate::private::privately;

/// Backs up what `make` makes in a folder of this name.
async fn snapshot_of(directory: &Path, make: impl FnOnce(&Path)) -> (Repository, SnapshotId) {
    let source = directory.join("source");
    fs::create_dir(&source).unwrap();
    make(&source);
    let repository = init(&directory.join("repository")).await;
    let snapshot = try_backup(&repository, &source).await.unwrap().snapshot;
    (repository, snapshot)
}

/// Restores onto the volume and compares.
async fn assert_fits(directory: &Path, volume: &Volume, from: &(Repository, SnapshotId)) {
    let (repository, snapshot) = from;
    let report = try_restore(repository, *snapshot, volume.path(), |_| ()).await.unwrap();
    assert!(report.is_complete(), "{:?}", report.errors);
    let source = directory.join("source");
    assert_eq!(differing(&describe(&source), &describe(&below(volume.path(), &source))), [""; 0]);
}

#[test]
fn what_cannot_fit_is_refused_with_its_figures() {
    privately(|| async {
        let directory = tempfile::tempdir().unwrap();
        let from = snapshot_of(directory.path(), |source| {
            fs::write(source.join("large"), noise(1, 6 << 20)).unwrap();
            fs::hard_link(source.join("large"), source.join("again")).unwrap();
        });
        let (repository, snapshot) = from.await;
        let volume = Volume::tmpfs(directory.path(), 2 << 20, 0);
        let refused = try_restore(&repository, snapshot, volume.path(), |_| ()).await.unwrap_err();
        let Error::NoRoom { path, wanted, available } = &refused else { panic!("{refused}") };
        assert_eq!(Path::new(path), volume.path());
        assert!(*wanted > 5 << 20 && *wanted <= 6 << 20, "{refused}");
        assert!(*available > 1 << 20 && *available <= 2 << 20, "{refused}");
        assert!(refused.remedy().contains("larger"), "{}", refused.remedy());
        assert_eq!(fs::read_dir(volume.path()).unwrap().count(), 0, "nothing was written");
        volume.resize(8 << 20, 0);
        assert_fits(directory.path(), &volume, &(repository, snapshot)).await;
    });
}

/// Much larger than the volume by the look of it, and yet it fits: holes, long and short, and content that is there already.
#[test]
fn what_could_fit_is_not_refused() {
    privately(|| async {
        let directory = tempfile::tempdir().unwrap();
        let from = snapshot_of(directory.path(), |source| {
            let sparse = fs::File::create(source.join("sparse")).unwrap();
            sparse.set_len(1 << 28).unwrap();
            // Holes that are too short to be chunks of their own.
            for number in 0..400 {
                sparse.write_all_at(&noise(number, 4_096), number * (256 << 10)).unwrap();
            }
        });
        let from = from.await;
        let volume = Volume::tmpfs(directory.path(), 4 << 20, 0);
        assert_fits(directory.path(), &volume, &from).await;

        let directory = tempfile::tempdir().unwrap();
        let from = snapshot_of(directory.path(), |source| fs::write(source.join("large"), noise(1, 6 << 20)).unwrap()).await;
        let volume = Volume::tmpfs(directory.path(), 8 << 20, 0);
        assert_fits(directory.path(), &volume, &from).await;
        // Over itself, half of it wrong, with two mebibytes left.
        let large = below(volume.path(), &directory.path().join("source/large"));
        fs::File::options().write(true).open(&large).unwrap().write_all_at(&noise(2, 3 << 20), 0).unwrap();
        assert_fits(directory.path(), &volume, &from).await;
        // Something of its size is in its place.
        fs::write(&large, noise(3, 7 << 20)).unwrap();
        assert_fits(directory.path(), &volume, &from).await;
    });
}

/// A small volume with a large one mounted in it, where all the content goes; and a part of a snapshot that is too large as a whole.
#[test]
fn only_what_is_written_to_a_volume_counts_there() {
    privately(|| async {
        let directory = tempfile::tempdir().unwrap();
        let from = snapshot_of(directory.path(), |source| {
            fs::create_dir(source.join("inner")).unwrap();
            fs::write(source.join("inner/large"), noise(1, 6 << 20)).unwrap();
            fs::write(source.join("small"), noise(2, 100_000)).unwrap();
        });
        let from = from.await;
        let volume = Volume::tmpfs(directory.path(), 1 << 20, 0);
        let report = try_restore(&from.0, from.1, volume.path(), |request| request.exclude = vec!["large".to_owned()]).await;
        assert!(report.unwrap().is_complete());
        let inner = below(volume.path(), &directory.path().join("source/inner"));
        mount("tmpfs", &inner, "tmpfs", MountFlags::empty(), c"size=16m").unwrap();
        assert_fits(directory.path(), &volume, &from).await;
    });
}
