//! Backups of trees that change, fail and vanish.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::{
    BackupRequest, INCOMPLETE_TAG, ParentChoice, backup,
    testing::{Fixture, assert_same, make_everything, noise},
};
use crate::{
    BlobType, Control, Error, Event,
    source::{SourceFaults, SourceStep},
};

/// Directories above the folder of temporary files, with it.
fn above() -> u64 {
    std::env::temp_dir().components().count() as u64
}

/// Calls a closure before each step.
struct Hook<F>(F);

impl<F: Fn(SourceStep, &Path) -> io::Result<()> + Send + Sync> SourceFaults for Hook<F> {
    fn before(&self, step: SourceStep, path: &Path) -> io::Result<()> {
        (self.0)(step, path)
    }
}

fn hook(act: impl Fn(SourceStep, &Path) -> io::Result<()> + Send + Sync + 'static) -> Arc<dyn SourceFaults> {
    Arc::new(Hook(act))
}

fn listed(problems: &crate::source::Problems) -> Vec<PathBuf> {
    problems.listed.iter().map(|problem| problem.path.clone()).collect()
}

/// Invariant I2, and architecture's promise that an unchanged run reads no file.
#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_run_reads_nothing_and_a_changed_file_is_all_that_is_read() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    let first = fixture.backup(fixture.request()).await;
    assert!(first.is_complete() && first.vanished.is_empty() && first.changed_while_read.is_empty(), "{first:?}");
    assert_eq!(first.files.new, first.files.total());
    assert!(first.bytes_read < first.bytes_processed, "holes are not read");
    assert_eq!(fixture.control.counters().snapshot().bytes_read, first.bytes_read);

    let second = fixture.backup(fixture.request()).await;
    assert_eq!((second.bytes_read, second.blobs_new_data, second.parent), (0, 0, Some(first.snapshot)));
    assert_eq!(second.files.unmodified, first.files.total());
    // Other tests make entries in the temporary directory above, whose times are part of the snapshot.
    assert!(second.dirs.total() - second.dirs.unmodified <= above() && second.blobs_new_tree <= above(), "{second:?}");
    assert_eq!(second.bytes_processed, first.bytes_processed);

    fs::write(fixture.source().join("deep/er/and/deeper/leaf"), b"other content").unwrap();
    let third = fixture.backup(fixture.request()).await;
    assert_eq!((third.bytes_read, third.files.changed, third.blobs_new_data), (13, 1, 1));
    assert!(third.dirs.changed >= 5 && third.dirs.unmodified >= 2, "{:?}", third.dirs);

    let mut request = fixture.request();
    request.parent = ParentChoice::None;
    let whole = fixture.backup(request).await;
    assert!(whole.blobs_new_data == 0 && whole.blobs_new_tree <= above(), "a run without parent finds the same: {whole:?}");
    assert_eq!(whole.bytes_read, first.bytes_read + 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_leave_out_what_restic_s_would() {
    let fixture = Fixture::new().await;
    let source = fixture.source();
    for name in ["keep.txt", "a.log", "important.log", "cache/x", "deep/cache/y", "deep/b.log", "deep/c.txt"] {
        fs::create_dir_all(source.join(name).parent().unwrap()).unwrap();
        fs::write(source.join(name), name).unwrap();
    }
    let mut request = fixture.request();
    request.excludes = vec!["*.log".into(), "!important.log".into(), source.join("cache").display().to_string()];
    let report = fixture.backup(request.clone()).await;
    let restored = fixture.restore(fixture.restore_request(report.snapshot)).await;
    assert!(restored.is_complete());
    let names: Vec<Vec<u8>> = super::testing::describe(&fixture.restored()).into_keys().collect();
    let expected = ["", "deep", "deep/c.txt", "deep/cache", "deep/cache/y", "important.log", "keep.txt"];
    assert_eq!(names, expected.map(|name| name.as_bytes().to_vec()));
    request.excludes = vec!["[".into()];
    assert!(matches!(fixture.try_backup(request).await, Err(Error::InvalidPattern(_))));
}

/// Reliability F2: what cannot be read is named, everything else is stored, and the snapshot says that it is incomplete.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_entries_are_named_and_the_rest_is_stored() {
    let fixture = Fixture::new().await;
    let source = fixture.source();
    fs::create_dir(source.join("locked")).unwrap();
    for name in ["locked/inside", "fine", "no permission", "bad sector"] {
        fs::write(source.join(name), noise(1, 100)).unwrap();
    }
    fs::write(source.join("bad in the middle"), noise(2, 6 << 20)).unwrap();
    let request = fixture.request().with_faults(hook(|step, path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match (step, name.as_str()) {
            (SourceStep::Open, "no permission") | (SourceStep::List, "locked") => Err(Errno::ACCESS.into()),
            (SourceStep::Read { .. }, "bad sector") => Err(Errno::IO.into()),
            (SourceStep::Read { offset }, "bad in the middle") if offset > 3 << 20 => Err(Errno::IO.into()),
            _ => Ok(()),
        }
    }));
    let report = fixture.backup(request).await;
    assert!(!report.is_complete());
    assert_eq!(
        listed(&report.errors),
        ["bad in the middle", "bad sector", "locked", "no permission"].map(|name| source.join(name))
    );
    let classes: Vec<_> = report.errors.listed.iter().map(|problem| problem.class).collect();
    assert_eq!(classes, ["io", "io", "permission", "permission"]);
    assert_eq!(report.files.total(), 1);
    let snapshot = fixture.repository.snapshot(&report.snapshot, &fixture.control).await.unwrap();
    assert!(snapshot.has_tag(INCOMPLETE_TAG));
    let restored = fixture.restore(fixture.restore_request(report.snapshot)).await;
    assert_eq!((restored.files_restored, restored.is_complete()), (1, true));

    // Once they can be read, the next run has them, and reads only them.
    let healed = fixture.backup(fixture.request()).await;
    assert_eq!((healed.files.new, healed.files.unmodified, healed.bytes_read), (4, 1, (6 << 20) + 300));
    assert!(!fixture.repository.snapshot(&healed.snapshot, &fixture.control).await.unwrap().has_tag(INCOMPLETE_TAG));
}

/// Reliability F1.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_vanish_shrink_grow_or_turn_are_told_and_the_backup_goes_on() {
    let fixture = Fixture::new().await;
    let source = fixture.source();
    for name in ["vanishes", "vanishes late", "turns into a link", "grows once"] {
        fs::write(source.join(name), noise(1, 1_000)).unwrap();
    }
    for name in ["directory vanishes", "directory turns"] {
        fs::create_dir(source.join(name)).unwrap();
    }
    fs::write(source.join("shrinks"), noise(2, 4 << 20)).unwrap();
    fs::write(source.join("grows always"), noise(3, 2 << 20)).unwrap();
    let grown = AtomicBool::new(false);
    let request = fixture.request().with_faults(hook(move |step, path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match (step, name.as_str()) {
            (SourceStep::Stat, "vanishes") | (SourceStep::Open, "vanishes late") => fs::remove_file(path)?,
            (SourceStep::List, "directory vanishes") => fs::remove_dir(path)?,
            (SourceStep::List, "directory turns") => {
                fs::remove_dir(path)?;
                fs::write(path, b"a file now")?;
            }
            (SourceStep::Open, "turns into a link") if fs::symlink_metadata(path)?.is_file() => {
                fs::remove_file(path)?;
                std::os::unix::fs::symlink("/etc/shadow", path)?;
            }
            (SourceStep::Read { .. }, "grows once") if !grown.swap(true, Relaxed) => fs::write(path, noise(9, 2_000))?,
            (SourceStep::Read { offset }, "shrinks") if offset > 0 => {
                fs::OpenOptions::new().write(true).open(path)?.set_len(1 << 20)?;
            }
            (SourceStep::Read { .. }, "grows always") => {
                let file = fs::OpenOptions::new().write(true).open(path)?;
                let length = file.metadata()?.len();
                file.write_all_at(&[1; 5_000], length)?;
            }
            _ => {}
        }
        Ok(())
    }));
    let report = fixture.backup(request).await;
    assert!(report.is_complete(), "{:?}", report.errors);
    assert_eq!(listed(&report.vanished), ["directory vanishes", "vanishes", "vanishes late"].map(|name| source.join(name)));
    assert_eq!(listed(&report.changed_while_read), ["grows always", "shrinks"].map(|name| source.join(name)));
    assert_eq!((report.files.total(), report.others), (4, 1));
    fixture.restore(fixture.restore_request(report.snapshot)).await;
    let out = fixture.restored();
    assert_eq!(fs::read(out.join("grows once")).unwrap(), noise(9, 2_000), "a small file is read again");
    assert_eq!(fs::read(out.join("grows always")).unwrap(), noise(3, 2 << 20), "a file is read to the size that it had");
    assert!(fs::metadata(out.join("shrinks")).unwrap().len() < 4 << 20);
    assert_eq!(fs::read_link(out.join("turns into a link")).unwrap(), Path::new("/etc/shadow"));

    // What changed meanwhile looks changed to the next run, which reads it again.
    let next = fixture.backup(fixture.request()).await;
    assert_eq!((next.files.changed, next.files.unmodified), (2, 2));
}

/// Reliability F1: whatever happens meanwhile, the snapshot is whole: what it holds was counted, is indexed and can be restored.
#[tokio::test(flavor = "multi_thread")]
async fn a_tree_under_constant_change_gives_whole_snapshots() {
    let fixture = Fixture::new().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mutators: Vec<_> = (0..2_u64)
        .map(|mutator| {
            let (stop, source) = (stop.clone(), fixture.source());
            std::thread::spawn(move || {
                let mut state = mutator + 1;
                while !stop.load(Relaxed) {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let (action, name) = (state >> 60, (state >> 40) % 40);
                    let (directory, path) = (source.join(format!("d{}", name % 4)), source.join(format!("d{}/{name}", name % 4)));
                    // Every one of these may meet what the other thread has just done.
                    let _ = match action {
                        0..4 => fs::create_dir_all(&directory)
                            .and_then(|()| fs::write(&path, noise(state, (state >> 20) as usize % 900_000))),
                        4 => fs::remove_file(&path),
                        5 => fs::remove_dir_all(&directory),
                        6 => std::os::unix::fs::symlink("/etc", &path),
                        7 => fs::create_dir(&path),
                        8 => fs::rename(&path, source.join(format!("d{}/{name}", (name + 1) % 4))),
                        9 => fs::remove_dir(&path),
                        _ => fs::OpenOptions::new()
                            .append(true)
                            .open(&path)
                            .and_then(|mut file| io::Write::write_all(&mut file, b"more")),
                    };
                }
            })
        })
        .collect();
    for round in 0..25 {
        let report = fixture.backup(fixture.request()).await;
        assert!(report.is_complete(), "{:?}", report.errors);
        let mut request = fixture.restore_request(report.snapshot);
        request.root = fixture.path(&format!("round{round}"));
        fs::create_dir(&request.root).unwrap();
        let restored = fixture.restore(request).await;
        assert!(restored.is_complete(), "{:?}", restored.errors);
        assert_eq!(restored.files_restored, report.files.total());
    }
    stop.store(true, Relaxed);
    for mutator in mutators {
        mutator.join().unwrap();
    }
}

/// Invariant I2: a path that is not there is no empty backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_path_is_an_error_and_an_empty_one_a_snapshot() {
    let fixture = Fixture::new().await;
    let error = fixture.try_backup(BackupRequest::new(vec![fixture.path("missing")])).await.unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(fixture.repository.snapshots(&fixture.control).await.unwrap().snapshots.is_empty());
    let report = fixture.backup(fixture.request()).await;
    assert!(report.is_empty() && report.is_complete());
    assert_eq!(fixture.repository.snapshots(&fixture.control).await.unwrap().snapshots.len(), 1);
}

/// Engine §4.8 and §4.9: a cancelled backup leaves no snapshot, and the next run finds what it packed.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_backup_leaves_no_snapshot_and_its_work_is_kept() {
    let fixture = Fixture::new().await;
    for number in 0..20 {
        fs::write(fixture.source().join(format!("f{number:02}")), noise(number, 3 << 20)).unwrap();
    }
    let token = CancellationToken::new();
    let control = Control::new(token.clone());
    let request = fixture.request().with_faults(hook(move |step, path| {
        if step == SourceStep::Open && path.ends_with("f12") {
            token.cancel();
        }
        Ok(())
    }));
    let started = std::time::Instant::now();
    let error = backup(&fixture.repository, &fixture.guard.handle(), request, &control).await.unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
    let repository = fixture.reopened().await;
    assert!(repository.snapshots(&fixture.control).await.unwrap().snapshots.is_empty());
    let index = repository.load_index(&fixture.control).await.unwrap();
    assert!(!index.is_empty(), "what was packed is indexed");
    let report = backup(&repository, &fixture.guard.handle(), fixture.request(), &fixture.control).await.unwrap();
    assert!(report.bytes_added < 60 << 20, "{} bytes were stored again", report.bytes_added);
    assert!(report.is_complete());
}

/// Architecture §4.5: a finished snapshot of an earlier attempt is adopted, an incomplete one is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_attempt_adopts_the_snapshot_of_an_earlier_one() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    let tags = ["session=1", "component=dump", "path=/data"].map(str::to_owned).to_vec();
    let mut request = fixture.request();
    request.tags.clone_from(&tags);
    request.adopt = tags;
    let incomplete = fixture
        .backup(request.clone().with_faults(hook(|step, path| {
            if step == SourceStep::Open && path.ends_with("large") { Err(Errno::IO.into()) } else { Ok(()) }
        })))
        .await;
    assert!(!incomplete.is_complete());
    let first = fixture.backup(request.clone()).await;
    assert!(!first.adopted && first.is_complete());
    fs::write(fixture.source().join("later"), b"x").unwrap();
    let second = fixture.backup(request.clone()).await;
    assert!(second.adopted);
    assert_eq!(
        (second.snapshot, second.files, second.bytes_processed, second.bytes_read),
        (first.snapshot, first.files, first.bytes_processed, 0)
    );
    request.adopt[0] = "session=2".to_owned();
    assert!(!fixture.backup(request).await.adopted);
}

/// A10: a snapshot of an earlier attempt that has lost its trees, or does not hold what it says, is not adopted and blocks nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_of_an_earlier_attempt_is_made_again() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    let mut request = fixture.request();
    request.tags = ["session=1", "component=dump"].map(str::to_owned).to_vec();
    request.adopt.clone_from(&request.tags);
    let first = fixture.backup(request.clone()).await;
    let index = fixture.repository.load_index(&fixture.control).await.unwrap();
    let pack = index.locate(BlobType::Tree, &first.tree).unwrap().pack.to_string();
    fs::remove_file(fixture.path("repository").join("data").join(&pack[..2]).join(&pack)).unwrap();
    let second = fixture.backup(request.clone()).await;
    assert!(!second.adopted && second.snapshot != first.snapshot && second.is_complete());
    let third = fixture.backup(request.clone()).await;
    assert!(third.adopted && third.snapshot == second.snapshot);

    // One whose summary is not what it holds, and that is newer.
    let mut wrong = fixture.repository.snapshot(&second.snapshot, &fixture.control).await.unwrap();
    wrong.summary.as_mut().unwrap().total_files_processed += 1;
    wrong.time.seconds += 1;
    let wrong = fixture.repository.save_snapshot(&fixture.guard.handle(), &wrong, &fixture.control).await.unwrap();
    let mut later = request;
    later.time = Some(jiff::Timestamp::now() + Duration::from_secs(60));
    let fourth = fixture.backup(later.clone()).await;
    assert!(!fourth.adopted && fourth.snapshot != wrong);
    assert_eq!(fixture.backup(later).await.snapshot, fourth.snapshot);
}

/// C3: of two attempts that both live, the one that comes to its end second adopts the snapshot of the first.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_living_attempts_adopts_the_snapshot_of_the_first() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    let mut request = fixture.request();
    request.tags = ["session=1", "component=dump"].map(str::to_owned).to_vec();
    request.adopt.clone_from(&request.tags);
    let first = fixture.backup(request.clone()).await;
    // The first one's snapshot appears while the second one uploads its last packs.
    let made = fixture.directory.path().join("repository/snapshots").join(first.snapshot.to_string());
    let hidden = fixture.directory.path().join("hidden");
    fs::rename(&made, &hidden).unwrap();
    let listener = move |event| {
        if matches!(event, Event::PhaseStarted("flush")) {
            fs::rename(&hidden, &made).unwrap();
        }
    };
    let control = Control::default().with_listener(Arc::new(listener));
    let second = backup(&fixture.repository, &fixture.guard.handle(), request, &control).await.unwrap();
    assert!(second.adopted);
    assert_eq!(second.snapshot, first.snapshot);
    assert_eq!(fixture.repository.snapshots(&fixture.control).await.unwrap().snapshots.len(), 1);
}

/// Reliability F4 and F5: a tebibyte of nothing, and directories deeper than a path can be long.
#[tokio::test(flavor = "multi_thread")]
async fn huge_holes_and_deep_directories_are_cheap() {
    let fixture = Fixture::new().await;
    let huge = fs::File::create(fixture.source().join("huge")).unwrap();
    huge.write_all_at(&noise(1, 1_000), 3 << 30).unwrap();
    huge.set_len(8 << 30).unwrap();
    let mut handle: std::os::fd::OwnedFd = fs::File::open(fixture.source()).unwrap().into();
    let name = "d".repeat(60);
    for _ in 0..300 {
        rustix::fs::mkdirat(&handle, &name, 0o755.into()).unwrap();
        handle = rustix::fs::openat(&handle, &name, rustix::fs::OFlags::RDONLY, 0.into()).unwrap();
    }
    let report = fixture.backup(fixture.request()).await;
    assert!(report.is_complete(), "{:?}", report.errors);
    assert!(report.bytes_read < 1 << 20 && report.bytes_processed == 8 << 30);
    assert!(report.dirs.total() > 300);
    let restored = fixture.restore(fixture.restore_request(report.snapshot)).await;
    assert!(restored.is_complete(), "{:?}", restored.errors);
    let out = fs::metadata(fixture.restored().join("huge")).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert!(out.len() == 8 << 30 && out.blocks() * 512 < 1 << 20, "{} blocks", out.blocks());
    let again = fixture.restore(fixture.restore_request(report.snapshot)).await;
    assert_eq!((again.files_unchanged, again.bytes_written), (1, 0));
}

/// Two snapshots of the same directory from two machines: time and inode differ, content does not.
#[tokio::test(flavor = "multi_thread")]
async fn equal_content_is_stored_once_even_when_many_threads_meet_it() {
    let fixture = Fixture::new().await;
    for number in 0..64 {
        fs::write(fixture.source().join(format!("copy{number}")), noise(7, 700_000)).unwrap();
    }
    let mut request = fixture.request();
    request.workers = std::num::NonZeroUsize::new(8);
    let report = fixture.backup(request).await;
    assert!(report.blobs_new_data <= 2, "{}", report.blobs_new_data);
    assert_eq!(report.bytes_processed, 64 * 700_000);
}

/// Several paths in one snapshot, and a file as a path.
#[tokio::test(flavor = "multi_thread")]
async fn several_paths_and_single_files_can_be_backed_up() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    let paths = vec![fixture.source().join("deep"), fixture.source().join("large"), fixture.source().join("link")];
    let report = fixture.backup(BackupRequest::new(paths.clone())).await;
    assert_eq!((report.files.total(), report.others), (2, 1));
    let restored = fixture.restore(fixture.restore_request(report.snapshot)).await;
    assert!(restored.is_complete());
    for path in paths {
        let name = path.file_name().unwrap();
        assert_same(&path, &fixture.restored().join(name));
    }
}

/// The tree blobs of a backup are what reading them back gives.
#[tokio::test(flavor = "multi_thread")]
async fn every_blob_of_a_snapshot_is_indexed() {
    let fixture = Fixture::new().await;
    make_everything(&fixture.source());
    let report = fixture.backup(fixture.request()).await;
    let index = fixture.reopened().await.load_index(&fixture.control).await.unwrap();
    assert!(index.contains(BlobType::Tree, &report.tree));
    assert_eq!(index.len() as u64, report.blobs_new_data + report.blobs_new_tree);
}
