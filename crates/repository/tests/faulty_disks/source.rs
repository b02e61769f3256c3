//! Backing up from a disk that fails (reliability F1, F2; invariant I2): what cannot be read is named with path and reason, the rest of
//! the snapshot is right, and nothing is absent in silence.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use repository::Repository;
use repository::backup::{BackupReport, INCOMPLETE_TAG};
use rustix::io::Errno;

use crate::disk::{Disk, Effect, Fault, Operation, When};
use crate::fixture::{Tree, below, describe, differing, init, make_tree, named, try_backup, try_restore};
use crate::private::privately;

/// A disk with a tree, and a repository elsewhere.
struct Scene {
    // Unmounted before its folder goes.
    disk: Disk,
    repository: Repository,
    original: Tree,
    directory: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let repository = init(&directory.path().join("repository")).await;
        let disk = Disk::mount(directory.path(), "disk");
        make_tree(disk.behind());
        let original = describe(disk.path());
        assert_eq!(differing(&original, &describe(disk.behind())), [""; 0], "the disk passes everything on");
        Self { disk, repository, original, directory }
    }

    async fn backup(&self) -> BackupReport {
        try_backup(&self.repository, self.disk.path()).await.unwrap()
    }

    /// The paths of the tree that the snapshot does not hold as they were. What it holds is restored to a sound disk.
    async fn absent(&self, report: &BackupReport) -> BTreeSet<String> {
        let target = tempfile::tempdir_in(self.directory.path()).unwrap();
        let restored = try_restore(&self.repository, report.snapshot, target.path(), |_| ()).await.unwrap();
        assert!(restored.is_complete(), "{:?}", restored.errors);
        differing(&self.original, &describe(&below(target.path(), self.disk.path()))).into_iter().collect()
    }

    /// The snapshot says itself that it is not whole.
    async fn is_marked(&self, report: &BackupReport) -> bool {
        self.repository.snapshot(&report.snapshot, &repository::Control::default()).await.unwrap().has_tag(INCOMPLETE_TAG)
    }

    /// With one fault, exactly `lost` is absent, and `told` is named with the system's reason.
    async fn expect(&self, fault: Fault, told: &str, reason: &str, lost: &[&str]) {
        self.disk.faults.set(std::slice::from_ref(&fault));
        let report = self.backup().await;
        assert!(fault.hits() > 0, "{fault:?} never struck");
        self.disk.faults.clear();
        let errors = named(&report.errors, self.disk.path());
        assert!(errors.get(told).is_some_and(|said| said.contains(reason)), "{fault:?}: {errors:?}");
        assert_eq!(errors.len(), 1, "{fault:?}: {errors:?}");
        assert!(!report.is_complete() && report.vanished.is_empty(), "{fault:?}: {report:?}");
        assert!(self.is_marked(&report).await, "{fault:?}");
        let expected: BTreeSet<String> = lost.iter().map(ToString::to_string).collect();
        assert_eq!(self.absent(&report).await, expected, "{fault:?}");
    }

    fn all_below(&self, directory: &str) -> Vec<&str> {
        self.original.keys().filter(|path| Path::new(path).starts_with(directory)).map(String::as_str).collect()
    }
}

const REASONS: [(Errno, &str); 4] = [
    (Errno::IO, "Input/output error"),
    (Errno::ACCESS, "Permission denied"),
    (Errno::STALE, "Stale file handle"),
    (Errno::NODATA, "No data available"),
];

#[test]
fn each_file_that_cannot_be_read_is_named_with_its_reason() {
    privately(|| async {
        let scene = Scene::new().await;
        for (errno, reason) in REASONS {
            for operation in [Operation::Lookup, Operation::Open, Operation::Read] {
                let fault = Fault::always("a/file-7", operation, errno);
                scene.expect(fault, "a/file-7", reason, &["a/file-7"]).await;
            }
        }
        // The target of a link is content too.
        scene.expect(Fault::always("c/link", Operation::Readlink, Errno::IO), "c/link", "Input/output error", &["c/link"]).await;
    });
}

#[test]
fn a_large_file_that_fails_half_way_is_left_out_and_named() {
    privately(|| async {
        let scene = Scene::new().await;
        for from in [0, 1_500_000, 3 << 20, (6 << 20) - 1] {
            let fault = Fault::new("b/large", Operation::Read, When::From(from), Effect::Fail(Errno::IO));
            scene.expect(fault, "b/large", "Input/output error", &["b/large"]).await;
        }
    });
}

#[test]
fn a_directory_that_cannot_be_listed_is_named_and_its_siblings_are_there() {
    privately(|| async {
        let scene = Scene::new().await;
        for (errno, reason) in REASONS {
            // Without its entries it is not even there: an empty directory would look as if it had been empty.
            for operation in [Operation::Lookup, Operation::Open] {
                let fault = Fault::always("b", operation, errno);
                scene.expect(fault, "b", reason, &scene.all_below("b")).await;
            }
        }
    });
}

#[test]
fn of_a_listing_that_fails_half_way_what_came_before_is_there() {
    privately(|| async {
        let scene = Scene::new().await;
        let entries = scene.all_below("a").len() + 1;
        for from in [2, entries as u64 / 2] {
            let fault = Fault::new("a", Operation::Readdir, When::From(from), Effect::Fail(Errno::IO));
            scene.disk.faults.set(std::slice::from_ref(&fault));
            let report = scene.backup().await;
            scene.disk.faults.clear();
            let errors = named(&report.errors, scene.disk.path());
            assert!(errors.get("a").is_some_and(|said| said.contains("Input/output error")), "{errors:?}");
            assert!(!report.is_complete() && scene.is_marked(&report).await);
            // `.` and `..` count as entries too.
            let absent = scene.absent(&report).await;
            assert_eq!(absent.iter().filter(|path| path.starts_with("a/")).count(), entries - from as usize, "{absent:?}");
            assert!(absent.iter().all(|path| path.starts_with("a/")), "{absent:?}");
        }
    });
}

/// An attribute that cannot be read is a detail of an entry that is there: it is told, and no reason to leave the file out.
#[test]
fn unreadable_attributes_are_told_and_their_files_are_there() {
    privately(|| async {
        let scene = Scene::new().await;
        let flags = rustix::fs::XattrFlags::empty();
        if let Err(errno) = rustix::fs::setxattr(scene.disk.behind().join("a/file-2"), "user.colour", b"blue", flags) {
            println!("skipped: no extended attributes in the temporary folder: {errno}");
            return;
        }
        for (operation, word) in [(Operation::Getxattr, "user.colour"), (Operation::Listxattr, "list the extended attributes")] {
            scene.disk.faults.set(&[Fault::always("a/file-2", operation, Errno::IO)]);
            let report = scene.backup().await;
            scene.disk.faults.clear();
            let warnings = named(&report.warnings, scene.disk.path());
            let said = warnings.get("a/file-2").unwrap_or_else(|| panic!("{operation:?}: {warnings:?}"));
            assert!(said.contains(word) && said.contains("Input/output error"), "{said}");
            assert!(report.is_complete(), "{:?}", report.errors);
            assert!(scene.absent(&report).await.is_empty());
        }
        // What was missing once is not missing for ever: the next backup does not take the file over as unchanged.
        let report = scene.backup().await;
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
        let target = tempfile::tempdir_in(scene.directory.path()).unwrap();
        try_restore(&scene.repository, report.snapshot, target.path(), |_| ()).await.unwrap();
        let mut value = [0; 16];
        let restored = below(target.path(), scene.disk.path()).join("a/file-2");
        let length = rustix::fs::getxattr(restored, "user.colour", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"blue");
    });
}

/// F1: a file that shrinks, grows or is written while it is read is stored as it was read, and named.
#[test]
fn files_that_change_while_they_are_read_are_named() {
    privately(|| async {
        type Change = fn(&fs::File);
        let changes: [(&str, Change); 3] = [
            ("shrinks", |file| file.set_len(2_000_000).unwrap()),
            ("grows", |file| file.set_len(40 << 20).unwrap()),
            ("is written", |file| std::os::unix::fs::FileExt::write_all_at(file, b"changed", 0).unwrap()),
        ];
        for (what, change) in changes {
            let scene = Scene::new().await;
            let meanwhile = move |behind: &Path| change(&fs::File::options().write(true).open(behind).unwrap());
            let when = When::Nth(4);
            let fault = Fault::new("b/large", Operation::Read, when, Effect::Meanwhile(Arc::new(meanwhile)));
            scene.disk.faults.set(std::slice::from_ref(&fault));
            let report = scene.backup().await;
            scene.disk.faults.clear();
            assert_eq!(fault.hits(), 1);
            let changed = named(&report.changed_while_read, scene.disk.path());
            assert!(changed.contains_key("b/large"), "it {what}: {report:?}");
            assert!(report.is_complete(), "it {what}: {:?}", report.errors);
            assert!(scene.absent(&report).await.iter().all(|path| path == "b/large"), "it {what}");
        }
    });
}

/// A disk that ends a file early and says nothing (a network file system that lost its tail): what was read is shorter than the
/// file says it is, although nothing has changed. That is not silence.
#[test]
fn a_file_that_ends_before_its_size_is_named() {
    privately(|| async {
        for (path, from) in [("b/large", 3 << 20), ("a/file-9", 0), ("a/file-9", 4_000)] {
            let scene = Scene::new().await;
            let fault = Fault::new(path, Operation::Read, When::From(from), Effect::End);
            scene.disk.faults.set(std::slice::from_ref(&fault));
            let report = scene.backup().await;
            scene.disk.faults.clear();
            assert!(fault.hits() > 0);
            let told: BTreeSet<String> = named(&report.errors, scene.disk.path())
                .into_keys()
                .chain(named(&report.changed_while_read, scene.disk.path()).into_keys())
                .collect();
            assert_eq!(told, BTreeSet::from([path.to_owned()]), "{report:?}");
            assert_eq!(scene.absent(&report).await, BTreeSet::from([path.to_owned()]));
        }
    });
}

/// The next backup, of the disk that is well again, is whole: nothing of the faults was taken over from the parent.
#[test]
fn after_the_faults_a_backup_is_whole() {
    privately(|| async {
        let scene = Scene::new().await;
        scene.disk.faults.set(&[
            Fault::always("a/file-1*", Operation::Read, Errno::IO),
            Fault::always("b", Operation::Open, Errno::STALE),
            Fault::new("c", Operation::Readdir, When::From(5), Effect::Fail(Errno::IO)),
        ]);
        assert!(!scene.backup().await.is_complete());
        scene.disk.faults.clear();
        let report = scene.backup().await;
        assert!(report.is_complete() && !scene.is_marked(&report).await);
        assert!(scene.absent(&report).await.is_empty());
    });
}
