//! A restore that removes what the snapshot does not have, onto a disk on which names that differ in case only are one: what was
//! restored stands there under the name that it had before, and is not to be taken for a stranger.

use std::fs;
use std::sync::atomic::Ordering::SeqCst;

use repository::restore::Existing;

use crate::disk::Disk;
use crate::fixture::{below, init, try_backup, try_restore};
use crate::private::privately;

#[test]
fn what_was_restored_under_another_spelling_stays() {
    privately(|| async {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        fs::create_dir_all(source.join("SUB")).unwrap();
        for name in ["README", "SUB/file"] {
            fs::write(source.join(name), b"from the backup").unwrap();
        }
        let repository = init(&directory.path().join("repository")).await;
        let snapshot = try_backup(&repository, &source).await.unwrap().snapshot;
        let disk = Disk::mount(directory.path(), "disk");
        let out = below(disk.behind(), &source);
        fs::create_dir_all(out.join("Sub")).unwrap();
        for name in ["Readme", "Sub/file", "surplus", "Sub/surplus"] {
            fs::write(out.join(name), b"before").unwrap();
        }
        disk.folds_case.store(true, SeqCst);
        let report =
            try_restore(&repository, snapshot, disk.path(), |request| request.existing = Existing::Replace).await.unwrap();
        assert!(report.is_complete(), "{:?}", report.errors);
        for name in ["Readme", "Sub/file"] {
            assert_eq!(fs::read(out.join(name)).unwrap(), b"from the backup", "{name}");
        }
        for name in ["surplus", "Sub/surplus"] {
            assert!(!out.join(name).exists(), "{name}");
        }
        assert_eq!(report.removed, 2);
        let spared: Vec<_> = report.warnings.listed.iter().map(|warning| warning.path.file_name().unwrap()).collect();
        assert_eq!(spared, ["Readme", "Sub"], "{:?}", report.warnings);
    });
}
