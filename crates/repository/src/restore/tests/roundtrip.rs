//! What was backed up comes out as it was (invariant I9).

use std::{fs, os::unix::fs::MetadataExt, os::unix::fs::PermissionsExt, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    Control, Error,
    backup::testing::{Fixture, assert_same, describe, make_everything, noise},
    restore::restore,
};

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_out_as_it_was_and_a_second_restore_writes_nothing() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    let backup = fixture.backup(fixture.request()).await;
    let first = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(first.is_complete() && first.warnings.is_empty(), "{:?} {:?}", first.errors, first.warnings);
    assert_same(&fixture.source(), &fixture.restored());
    assert_eq!(first.files_restored + first.hard_links, backup.files.total());
    assert_eq!(first.others, backup.others);

    // Holes are kept.
    let blocks = |path: std::path::PathBuf| fs::metadata(path).unwrap().blocks();
    assert!(blocks(fixture.restored().join("sparse")) <= blocks(fixture.source().join("sparse")) + 16);
    assert_eq!(blocks(fixture.restored().join("zeros")), 0);

    let changed = |path: &str| fs::symlink_metadata(fixture.restored().join(path)).unwrap().ctime_nsec();
    let before: Vec<i64> = ["plain", "large", "link", "fifo", "deep/er"].iter().map(|path| changed(path)).collect();
    let second = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(second.is_complete());
    assert_eq!((second.bytes_written, second.files_restored, second.files_unchanged), (0, 0, first.files_restored));
    assert_same(&fixture.source(), &fixture.restored());
    let after: Vec<i64> = ["plain", "large", "link", "fifo", "deep/er"].iter().map(|path| changed(path)).collect();
    assert_eq!(before, after, "what is right is not touched");
}

/// Directories above what was backed up belong to somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn directories_above_the_backup_are_made_but_never_changed() {
    let fixture = Fixture::new().await;
    fs::write(fixture.source().join("f"), b"x").unwrap();
    fs::set_permissions(fixture.source(), fs::Permissions::from_mode(0o750)).unwrap();
    let backup = fixture.backup(fixture.request()).await;
    let above = fixture.restored().parent().unwrap().to_owned();
    fs::create_dir_all(&above).unwrap();
    fs::set_permissions(&above, fs::Permissions::from_mode(0o711)).unwrap();
    let report = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(report.is_complete());
    assert_eq!(fs::metadata(&above).unwrap().mode() & 0o7777, 0o711);
    assert_eq!(fs::metadata(fixture.restored()).unwrap().mode() & 0o7777, 0o750);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_can_be_chosen_by_patterns_and_paths() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    fs::write(fixture.source().join("deep/er/skip.tmp"), b"x").unwrap();
    let backup = fixture.backup(fixture.request()).await;
    let mut request = fixture.restore_request(backup.snapshot);
    request.paths = vec![fixture.source().join("deep"), fixture.source().join("linked")];
    request.exclude = vec!["*.tmp".to_owned()];
    let report = fixture.restore(request).await;
    assert!(report.is_complete());
    let names: Vec<Vec<u8>> = describe(&fixture.restored()).into_keys().collect();
    let expected = [
        "",
        "deep",
        "deep/er",
        "deep/er/and",
        "deep/er/and/deeper",
        "deep/er/and/deeper/leaf",
        "linked",
        "linked/first",
        "linked/second",
    ];
    assert_eq!(names, expected.map(|name| name.as_bytes().to_vec()));

    let mut request = fixture.restore_request(backup.snapshot);
    request.include = vec!["plain".to_owned(), "/nowhere/**/x".to_owned()];
    let report = fixture.restore(request).await;
    assert_eq!((report.files_restored, report.others), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_and_few_handles() {
    let fixture = Fixture::new().await;
    for number in 0..1_500_u64 {
        let directory = fixture.source().join(format!("d{}", number % 7));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("f{number}")), noise(number, (number % 97) as usize * 20)).unwrap();
    }
    for number in 0..6 {
        fs::write(fixture.source().join(format!("big{number}")), noise(number, 4_000_000 + number as usize)).unwrap();
    }
    let backup = fixture.backup(fixture.request()).await;
    let mut request = fixture.restore_request(backup.snapshot);
    request.workers = std::num::NonZeroUsize::new(6);
    let report = fixture.restore(request).await;
    assert!(report.is_complete());
    assert_eq!(report.files_restored, 1_506);
    assert_same(&fixture.source(), &fixture.restored());
}

/// Reliability G3: a restore that was broken off anywhere and is run again ends with the same tree, and fetches only what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_broken_off_is_completed_by_the_next() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    for number in 0..8 {
        fs::write(fixture.source().join(format!("big{number}")), noise(number, 9 << 20)).unwrap();
    }
    let backup = fixture.backup(fixture.request()).await;
    let mut broken_off = 0;
    for milliseconds in [1, 5, 20, 50, 100, 200] {
        let token = CancellationToken::new();
        let control = Control::new(token.clone());
        let later = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            token.cancel();
        });
        let request = fixture.restore_request(backup.snapshot);
        match restore(&fixture.repository, &fixture.guard.handle(), request, &control).await {
            Ok(report) => assert!(report.is_complete()),
            Err(error) => {
                assert!(matches!(error, Error::Cancelled), "{error}");
                broken_off += 1;
            }
        }
        later.abort();
    }
    assert!(broken_off > 0);
    let report = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(report.is_complete(), "{:?}", report.errors);
    assert_same(&fixture.source(), &fixture.restored());
}

/// A file whose writing was broken off is not finished, though no blob of it is missing any more: the last was being written again
/// and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_broken_off_in_a_run_of_equal_blobs_is_not_finished() {
    let fixture = Fixture::new().await;
    fs::write(fixture.source().join("even"), vec![b'x'; 256 << 20]).unwrap();
    let backup = fixture.backup(fixture.request()).await;
    let token = CancellationToken::new();
    let control = Control::new(token.clone());
    let watched = control.clone();
    let cancelling = std::thread::spawn(move || {
        while watched.counters().snapshot().bytes_done == 0 {
            std::thread::yield_now();
        }
        token.cancel();
    });
    let request = fixture.restore_request(backup.snapshot);
    let outcome = restore(&fixture.repository, &fixture.guard.handle(), request, &control).await;
    cancelling.join().unwrap();
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    let progress = control.counters().snapshot();
    assert!(progress.bytes_done < 256 << 20, "it was too late to break anything off");
    assert_eq!(progress.files_done, 0);
}
