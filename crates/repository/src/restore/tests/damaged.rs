//! Damaged repositories and targets without room (reliability G2 and G4).

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    BlobType,
    backup::testing::{Fixture, is_root, noise},
    restore::{batch::BATCH_MEMORY, restore, tests::batches::restore_in_batches},
};

fn pack_path(fixture: &Fixture, pack: &crate::Id) -> PathBuf {
    let name = pack.to_string();
    fixture.path("repository/data").join(&name[..2]).join(name)
}

/// Everything else is restored; the damaged file is named with its range, and keeps the rest of its content.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_costs_its_range_and_is_named() {
    let fixture = Fixture::new().await;
    let content = noise(1, 12 << 20);
    fs::write(fixture.source().join("victim"), &content).unwrap();
    fs::write(fixture.source().join("fine"), noise(2, 100_000)).unwrap();
    let backup = fixture.backup(fixture.request()).await;
    let index = fixture.repository.load_index(&fixture.control).await.unwrap();
    let chunker = crate::chunker::Chunker::new(fixture.repository.polynomial());
    let first = chunker.cut(&content, 0).unwrap();
    let second = chunker.cut(&content[first..], 0).unwrap();
    let location = index.locate(BlobType::Data, &crate::Id::of(&content[first..first + second])).unwrap();
    let path = pack_path(&fixture, &location.pack);
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let pack = fs::OpenOptions::new().write(true).open(path).unwrap();
    pack.write_all_at(b"rot", u64::from(location.offset) + 100).unwrap();

    let report = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(!report.is_complete());
    let [problem] = report.errors.listed.as_slice() else { panic!("{:?}", report.errors) };
    assert_eq!((problem.path.clone(), problem.class), (fixture.restored().join("victim"), "damaged"));
    assert!(problem.reason.contains(&format!("bytes {first}-{}", first + second - 1)), "{}", problem.reason);
    let restored = fs::read(fixture.restored().join("victim")).unwrap();
    assert_eq!(restored.len(), content.len());
    assert_eq!(restored[..first], content[..first]);
    assert_eq!(restored[first + second..], content[first + second..]);
    assert!(restored[first..first + second].iter().all(|byte| *byte == 0));
    assert_eq!(fs::read(fixture.restored().join("fine")).unwrap(), noise(2, 100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_pack_costs_only_what_it_holds() {
    let fixture = Fixture::new().await;
    for number in 0..30 {
        fs::write(fixture.source().join(format!("f{number:02}")), noise(number, 2 << 20)).unwrap();
    }
    let backup = fixture.backup(fixture.request()).await;
    let index = fixture.repository.load_index(&fixture.control).await.unwrap();
    let content = noise(3, 2 << 20);
    let chunker = crate::chunker::Chunker::new(fixture.repository.polynomial());
    let first = chunker.cut(&content, 0).unwrap_or(content.len());
    let location = index.locate(BlobType::Data, &crate::Id::of(&content[..first])).unwrap();
    fs::remove_file(pack_path(&fixture, &location.pack)).unwrap();
    let report = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(!report.is_complete() && report.errors.total < 30, "{}", report.errors.total);
    let named: Vec<&Path> = report.errors.listed.iter().map(|problem| problem.path.as_path()).collect();
    for number in 0..30 {
        let path = fixture.restored().join(format!("f{number:02}"));
        let is_whole = fs::read(&path).is_ok_and(|restored| restored == noise(number, 2 << 20));
        assert_eq!(is_whole, !named.contains(&path.as_path()), "{}", path.display());
    }
}

/// A disk that is full is said to be full (reliability G2), and what is restored is restored whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_system_is_named() {
    let fixture = Fixture::new().await;
    let target = fixture.path("target");
    let mounted = is_root()
        && Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(&target)
            .status()
            .is_ok_and(|status| status.success());
    if !mounted {
        println!("skipped: a small file system cannot be mounted here");
        return;
    }
    let _mounted = Mounted(target);
    for number in 0..12 {
        fs::write(fixture.source().join(format!("f{number:02}")), noise(number, 1 << 20)).unwrap();
    }
    let backup = fixture.backup(fixture.request()).await;
    let request = fixture.restore_request(backup.snapshot);
    let refused = restore(&fixture.repository, &fixture.guard.handle(), request.clone(), &fixture.control).await.unwrap_err();
    assert!(matches!(refused, crate::Error::NoRoom { available, .. } if available <= 8 << 20), "{refused}");
    assert_eq!(fs::read_dir(&request.root).unwrap().count(), 0, "nothing was written");
    // Somebody else may fill it while the restore goes on.
    let report = restore_in_batches(&fixture.repository, fixture.guard.handle(), &request, BATCH_MEMORY).await;
    assert!(report.errors.total >= 5, "{:?}", report.errors);
    assert!(report.errors.listed.iter().any(|problem| problem.class == "space" && problem.path.starts_with(fixture.restored())));
    for number in 0..12 {
        let path = fixture.restored().join(format!("f{number:02}"));
        let is_named = report.errors.listed.iter().any(|problem| problem.path == path);
        assert!(is_named || fs::read(&path).unwrap() == noise(number, 1 << 20), "{}", path.display());
    }
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
