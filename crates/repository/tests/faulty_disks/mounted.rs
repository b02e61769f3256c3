//! A restore that removes what the snapshot does not have, where other volumes are mounted in the target: a backup of one file system
//! holds their mount points as empty directories, and what is on them is nobody's to remove.

use std::fs;
use std::path::Path;

use repository::restore::Existing;
use rustix::mount::{mount, mount_bind};

use crate::fixture::{below, init, try_backup, try_restore};
use crate::private::privately;

fn fill(directory: &Path) {
    fs::create_dir_all(directory.join("below")).unwrap();
    fs::write(directory.join("below/precious"), b"untouched").unwrap();
}

#[track_caller]
fn assert_untouched(directory: &Path) {
    assert_eq!(fs::read(directory.join("below/precious")).unwrap(), b"untouched", "{}", directory.display());
}

fn tmpfs(path: &Path) {
    fs::create_dir_all(path).unwrap();
    mount("tmpfs", path, "tmpfs", rustix::mount::MountFlags::empty(), c"size=1m").unwrap();
}

#[test]
fn nothing_is_removed_from_another_volume() {
    privately(|| async {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        for name in ["volume", "bound", "own"] {
            fs::create_dir_all(source.join(name)).unwrap();
        }
        fs::write(source.join("file"), b"content").unwrap();
        let repository = init(&directory.path().join("repository")).await;
        let snapshot = try_backup(&repository, &source).await.unwrap().snapshot;
        let elsewhere = directory.path().join("elsewhere");
        fill(&elsewhere);
        let target = directory.path().join("target");
        let out = below(&target, &source);
        // What was backed up is a volume itself, with what its file system needs.
        tmpfs(&out);
        fill(&out.join("lost+found"));
        fill(&out.join("own/surplus"));
        // Directories of the snapshot, and one that it does not have, are mount points of a device of their own and of the same one.
        tmpfs(&out.join("volume"));
        fill(&out.join("volume"));
        for mount_point in ["bound", "surplus/bound"] {
            fs::create_dir_all(out.join(mount_point)).unwrap();
            mount_bind(out.join("lost+found"), out.join(mount_point)).unwrap();
        }
        tmpfs(&out.join("surplus/deep/volume"));
        fill(&out.join("surplus/deep/volume"));
        fs::write(out.join("surplus/a file"), b"x").unwrap();
        mount_bind(elsewhere.join("below/precious"), out.join("surplus/a file")).unwrap();
        fs::write(out.join("surplus/deep/file"), b"x").unwrap();

        let report = try_restore(&repository, snapshot, &target, |request| request.existing = Existing::Replace).await.unwrap();
        assert!(report.is_complete(), "{:?}", report.errors);
        for mount_point in ["volume", "bound", "surplus/bound", "surplus/deep/volume", "lost+found"] {
            assert_untouched(&out.join(mount_point));
        }
        assert_untouched(&elsewhere);
        // A directory with one below it and a file in that, and the file beside a volume.
        assert!(!out.join("own/surplus").exists() && !out.join("surplus/deep/file").exists());
        assert_eq!(report.removed, 3 + 1);
        let told: Vec<_> = report.warnings.listed.iter().map(|warning| warning.path.strip_prefix(&out).unwrap()).collect();
        let expected = ["bound", "surplus/a file", "surplus/bound", "surplus/deep/volume", "volume"].map(Path::new);
        assert_eq!(told, expected, "{:?}", report.warnings);
    });
}
