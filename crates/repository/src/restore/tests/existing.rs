//! Targets that hold something already (reliability G1).

use std::{fs, os::unix::fs::FileExt, os::unix::fs::MetadataExt, path::Path};

use crate::Error;
use crate::backup::testing::{Fixture, assert_same, describe, is_root, make_everything, noise};
use crate::restore::{Existing, expect_empty, restore};

/// Only differing chunks are written, in place, and what the snapshot does not have is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_writes_only_what_differs() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    fs::write(fixture.source().join("big"), noise(50, 20 << 20)).unwrap();
    let backup = fixture.backup(fixture.request()).await;
    fixture.restore(fixture.restore_request(backup.snapshot)).await;
    let out = fixture.restored();
    let inode = fs::metadata(out.join("big")).unwrap().ino();
    let big = fs::OpenOptions::new().write(true).open(out.join("big")).unwrap();
    big.write_all_at(b"damage", 9 << 20).unwrap();
    big.set_len(25 << 20).unwrap();
    fs::OpenOptions::new().write(true).open(out.join("large")).unwrap().set_len(1_000_000).unwrap();
    fs::write(out.join("zeros"), noise(1, 3 << 20)).unwrap();
    fs::remove_file(out.join("plain")).unwrap();
    fs::write(out.join("extra"), b"mine").unwrap();
    let report = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(report.is_complete(), "{:?}", report.errors);
    assert_eq!(fs::read(out.join("extra")).unwrap(), b"mine");
    fs::remove_file(out.join("extra")).unwrap();
    assert!(report.bytes_written < 24 << 20, "{}", report.bytes_written);
    assert!(report.bytes_unchanged > 10 << 20, "{}", report.bytes_unchanged);
    assert_eq!(fs::metadata(out.join("big")).unwrap().ino(), inode, "written in place");
    let mut second = fixture.restore_request(backup.snapshot);
    second.existing = Existing::Merge;
    fixture.restore(second).await;
    assert_same(&fixture.source(), &out);
}

/// A file of the target that has another name outside must not be written through.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_another_name_is_replaced_and_not_written_through() {
    let fixture = Fixture::new().await;
    fs::write(fixture.source().join("f"), noise(1, 2 << 20)).unwrap();
    fs::write(fixture.source().join("same"), b"same content").unwrap();
    let backup = fixture.backup(fixture.request()).await;
    let out = fixture.restored();
    fs::create_dir_all(&out).unwrap();
    let outside = fixture.path("outside");
    fs::write(&outside, b"precious").unwrap();
    fs::hard_link(&outside, out.join("f")).unwrap();
    let equal = fixture.path("equal");
    fs::write(&equal, b"same content").unwrap();
    fs::hard_link(&equal, out.join("same")).unwrap();
    let report = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(report.is_complete());
    assert_eq!(fs::read(&outside).unwrap(), b"precious");
    assert_eq!(fs::read(out.join("f")).unwrap(), noise(1, 2 << 20));
}

fn make(kind: usize, path: &Path) {
    use rustix::fs::{CWD, FileType, mknodat};
    match kind {
        0 => fs::write(path, noise(kind as u64, 10_000)).unwrap(),
        1 => fs::create_dir(path).unwrap(),
        2 => {
            fs::create_dir_all(path.join("a/b")).unwrap();
            fs::write(path.join("a/file"), b"x").unwrap();
            std::os::unix::fs::symlink("/etc", path.join("a/b/link")).unwrap();
        }
        3 => std::os::unix::fs::symlink("some/where", path).unwrap(),
        4 => mknodat(CWD, path, FileType::Fifo, 0o600.into(), 0).unwrap(),
        5 => mknodat(CWD, path, FileType::Socket, 0o600.into(), 0).unwrap(),
        _ => mknodat(CWD, path, FileType::CharacterDevice, 0o600.into(), rustix::fs::makedev(1, 3)).unwrap(),
    }
}

/// Every type where every other type stands.
#[tokio::test(flavor = "multi_thread")]
async fn every_type_takes_the_place_of_every_other() {
    let fixture = Fixture::new().await;
    let kinds = if is_root() { 7 } else { 6 };
    let out = fixture.restored();
    fs::create_dir_all(&out).unwrap();
    for wanted in 0..kinds {
        for standing in 0..kinds {
            make(wanted, &fixture.source().join(format!("{wanted}-{standing}")));
            make(standing, &out.join(format!("{wanted}-{standing}")));
        }
    }
    let backup = fixture.backup(fixture.request()).await;
    let report = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(report.is_complete(), "{:?}", report.errors);
    // An empty directory that met a full one keeps what was in it.
    fs::remove_dir_all(out.join("1-2/a")).unwrap();
    let report = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(report.is_complete());
    assert_same(&fixture.source(), &out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_target_can_be_refused() {
    let fixture = Fixture::new().await;
    fs::write(fixture.source().join("f"), b"x").unwrap();
    let backup = fixture.backup(fixture.request()).await;
    let mut request = fixture.restore_request(backup.snapshot);
    request.existing = Existing::RefuseIfNotEmpty;
    assert!(fixture.restore(request.clone()).await.is_complete());
    let error = restore(&fixture.repository, &fixture.guard.handle(), request, &fixture.control).await.unwrap_err();
    assert!(error.to_string().contains("source"), "{error}");
}

/// Whatever stands where a path was backed up would be written over or replaced, and so would what leads there.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_no_directory_is_not_empty() {
    let fixture = Fixture::new().await;
    let file = fixture.source().join("file");
    fs::write(&file, b"from the backup").unwrap();
    let mut request = fixture.request();
    request.paths = vec![file];
    let of_a_file = fixture.backup(request).await.snapshot;
    let of_a_directory = fixture.backup(fixture.request()).await.snapshot;
    let out = fixture.restored();
    let above = out.parent().unwrap();
    let elsewhere = fixture.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let link_to = |target: &Path, name: &Path| std::os::unix::fs::symlink(target, name).unwrap();
    let plants: [(&str, crate::SnapshotId, &dyn Fn()); 5] = [
        ("a file for a file", of_a_file, &|| fs::write(out.join("file"), b"precious").unwrap()),
        ("a link for a file", of_a_file, &|| link_to(&elsewhere.join("nothing"), &out.join("file"))),
        ("a file for a directory", of_a_directory, &|| fs::write(&out, b"precious").unwrap()),
        ("a link for a directory", of_a_directory, &|| link_to(&elsewhere, &out)),
        ("a link above it", of_a_directory, &|| link_to(&elsewhere, above)),
    ];
    for (what, snapshot, plant) in plants {
        let target = fixture.path("target");
        fs::remove_dir_all(&target).unwrap();
        // Directories up to the one in which it is planted.
        let directory = match what {
            "a link above it" => above.parent().unwrap(),
            _ if snapshot == of_a_file => out.as_path(),
            _ => above,
        };
        fs::create_dir_all(directory).unwrap();
        let mut request = fixture.restore_request(snapshot);
        request.existing = Existing::RefuseIfNotEmpty;
        expect_empty(&fixture.repository, &request, &fixture.control).await.unwrap();
        plant();
        let before = describe(&target);
        let looked = expect_empty(&fixture.repository, &request, &fixture.control).await;
        assert!(matches!(looked, Err(Error::TargetNotEmpty { .. })), "{what}: {looked:?}");
        let refused = restore(&fixture.repository, &fixture.guard.handle(), request, &fixture.control).await;
        assert!(matches!(refused, Err(Error::TargetNotEmpty { .. })), "{what}: {refused:?}");
        assert_eq!(describe(&target), before, "{what}");
    }
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}
