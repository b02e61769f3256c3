//! Backup, restore and retention from end to end, in one process.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control_plane;

use std::path::{Path, PathBuf};

use control_plane::{ControlPlane, TOKEN, World, random_bytes, write_tree};
use data_mover::Work;
use data_mover::args::Tolerated;
use data_mover::outcome::Exit;
use proto_api::mover::v1alpha1::{DataCheck, ExistingPolicy, Integrity, PrivilegedPolicy, Result as TargetResult};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_backed_up_comes_back() {
    let world = World::new().await;
    write_tree(&world.source());
    let second = world.folder.path().join("second");
    std::fs::create_dir(&second).unwrap();
    std::fs::write(second.join("file"), "second path").unwrap();

    let (exit, environment) = world.run(world.backup(&[world.source(), second.clone()]), 1).await;
    let outcome = world.control.outcome();
    assert_eq!(exit, Exit::Done, "{outcome:?}");
    assert_eq!(ControlPlane::last_words(&environment), outcome, "both places hold the same");
    let target = &outcome.targets[0];
    assert_eq!(target.result(), TargetResult::Succeeded);
    assert_eq!(target.integrity(), Integrity::Intact);
    assert!(target.repository_bytes > 300_000, "{}", target.repository_bytes);
    assert!(outcome.peak_memory_bytes > 0);
    let paths: Vec<_> = target.snapshots.iter().map(|made| made.path.as_str()).collect();
    assert_eq!(paths, [world.source().to_str().unwrap(), second.to_str().unwrap()]);
    assert_eq!(target.snapshots[0].files, 4, "hello twice by a hard link, an empty file and a large one");
    assert!(target.snapshots[0].bytes_read >= 300_000);
    let transfer = target.transfer.as_ref().unwrap();
    assert!(transfer.totals_final && transfer.bytes_transferred > 0, "{transfer:?}");
    world.control.with(|state| {
        assert_eq!(state.hellos.len(), 1);
        assert!(state.tokens.iter().all(|token| token == TOKEN), "each call carries the projected token");
        assert_eq!(state.recorded["dump"].len(), 64, "the new repository is on record");
        assert!(!state.progress.is_empty());
    });
    assert_eq!(world.locks("dump"), 0);

    let ids: Vec<_> = target.snapshots.iter().map(|made| made.id.clone()).collect();
    let root = world.folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    world.assign(vec![world.restore_target("dump", ids, &root)]);
    let (exit, _) = world.run(world.restore(), 1).await;
    assert_eq!(exit, Exit::Done, "{:?}", world.control.outcome());
    let restored = |path: &Path| root.join(path.strip_prefix("/").unwrap());
    assert_eq!(std::fs::read(restored(&second).join("file")).unwrap(), b"second path");
    let back = restored(&world.source());
    for name in ["text", "hard", "empty", "deep/er/name with spaces é"] {
        assert_eq!(std::fs::read(back.join(name)).unwrap(), std::fs::read(world.source().join(name)).unwrap(), "{name}");
    }
    assert_eq!(std::fs::read_link(back.join("link")).unwrap(), Path::new("text"));
}

/// Policies decide what becomes of a tree that stands in the target, and of set-id bits.
#[tokio::test(flavor = "multi_thread")]
async fn the_assignment_says_what_happens_to_the_target() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new().await;
    let program = world.source().join("program");
    std::fs::write(&program, "program").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
    let ids = world.backed_up(1).await;
    let root = world.folder.path().join("root");
    let back = root.join(world.source().strip_prefix("/").unwrap());
    std::fs::create_dir_all(&back).unwrap();
    std::fs::write(back.join("surplus"), "surplus").unwrap();
    let restore = async |existing: ExistingPolicy, privileged: PrivilegedPolicy| {
        world.assign(vec![world.restore_target("dump", ids.clone(), &root)]);
        world.control.with(|state| {
            state.assignment.existing = existing.into();
            state.assignment.privileged = privileged.into();
        });
        world.run(world.restore(), 1).await.0
    };
    let mode = || std::fs::metadata(back.join("program")).unwrap().permissions().mode() & 0o7777;

    assert_eq!(restore(ExistingPolicy::Refuse, PrivilegedPolicy::Unspecified).await, Exit::Failed);
    assert!(!back.join("program").exists(), "{:?}", world.control.outcome());
    assert_eq!(restore(ExistingPolicy::Unspecified, PrivilegedPolicy::Drop).await, Exit::Done);
    assert_eq!((mode(), back.join("surplus").exists()), (0o755, true));
    assert_eq!(restore(ExistingPolicy::Replace, PrivilegedPolicy::Unspecified).await, Exit::Done);
    assert_eq!((mode(), back.join("surplus").exists()), (0o4755, false));
}

/// A world in which snapshots of these paths are to be restored to where nothing is, and the directory that they come out in.
async fn to_be_restored_where_nothing_is(paths: impl FnOnce(&World) -> Vec<PathBuf>) -> (World, PathBuf) {
    let world = World::new().await;
    write_tree(&world.source());
    let paths = paths(&world);
    let (exit, _) = world.run(world.backup(&paths), 1).await;
    let outcome = world.control.outcome();
    assert_eq!((exit, outcome.targets[0].snapshots.len()), (Exit::Done, paths.len()), "{outcome:?}");
    let ids = outcome.targets[0].snapshots.iter().map(|made| made.id.clone()).collect();
    let root = world.folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    world.assign(vec![world.restore_target("dump", ids, &root)]);
    world.control.with(|state| state.assignment.existing = ExistingPolicy::Refuse.into());
    (world, root)
}

/// One mover restores several snapshots, of which one lies in the other, and begins again when its store was away for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_mover_does_not_refuse_its_own_files() {
    let (world, root) = to_be_restored_where_nothing_is(|world| vec![world.source(), world.source().join("deep")]).await;
    let back = root.join(world.source().strip_prefix("/").unwrap());
    // Nobody can read from a socket; that is no answer that the mover knows, so it tries again.
    let pack = packs(&world).pop().unwrap();
    let aside = world.folder.path().join("aside");
    std::fs::rename(&pack, &aside).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &pack, rustix::fs::FileType::Socket, 0o600.into(), 0).unwrap();
    let mover = tokio::spawn(data_mover::run::run(world.restore(), world.control.agent("dump", 1), CancellationToken::new()));
    world
        .control
        .until("it begins again", |state| {
            let mut transfers = state.progress.iter().filter_map(|progress| progress.transfer.as_ref());
            transfers.any(|transfer| transfer.waits_for.starts_with("another try"))
        })
        .await;
    assert!(back.join("deep/er").is_dir(), "its own files stand there");
    std::fs::rename(&aside, &pack).unwrap();
    assert_eq!(mover.await.unwrap(), Exit::Done, "{:?}", world.control.outcome());
    for name in ["text", "deep/er/name with spaces é"] {
        assert_eq!(std::fs::read(back.join(name)).unwrap(), std::fs::read(world.source().join(name)).unwrap(), "{name}");
    }
    // What another one left behind may be anybody's.
    assert_eq!(world.run(world.restore(), 2).await.0, Exit::Failed);
    let error = world.control.outcome().targets[0].error.clone();
    assert!(error.contains("not empty"), "{error}");
}

/// Something in the way of one snapshot is found before another one is restored.
#[tokio::test(flavor = "multi_thread")]
async fn all_targets_are_looked_at_before_anything_is_written() {
    let (world, root) = to_be_restored_where_nothing_is(|world| {
        let second = world.folder.path().join("second");
        std::fs::create_dir(&second).unwrap();
        vec![world.source(), second]
    })
    .await;
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap());
    let second = below(&world.folder.path().join("second"));
    std::fs::create_dir_all(&second).unwrap();
    std::fs::write(second.join("precious"), "precious").unwrap();
    assert_eq!(world.run(world.restore(), 1).await.0, Exit::Failed);
    let error = world.control.outcome().targets[0].error.clone();
    assert!(error.contains("second is not empty"), "{error}");
    assert!(!below(&world.source()).exists());
}

/// The second, unchanged run reads no bytes of files.
#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_source_is_not_read_again() {
    let world = World::new().await;
    write_tree(&world.source());
    let first = world.backed_up(1).await;
    world.assign(vec![world.backup_target_of_session("another-session", None)]);
    let second = world.backed_up(1).await;
    assert_ne!(first, second);
    let made = world.control.outcome().targets[0].snapshots[0].clone();
    assert_eq!((made.adopted, made.bytes_read), (false, 0));
    assert_eq!(made.files, 4);
}

/// Invariant I2: no success without evidence. A pack is lost after the first backup: what the source still has is stored anew, and
/// what only the first snapshot had is told as damage.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_pack_is_made_good_or_told() {
    for is_still_there in [true, false] {
        let world = World::new().await;
        write_tree(&world.source());
        world.backed_up(1).await;
        let packs = packs(&world);
        // The largest file does not compress, so the largest pack holds it.
        std::fs::remove_file(packs.last().unwrap()).unwrap();
        if !is_still_there {
            std::fs::remove_file(world.source().join("deep/er/name with spaces é")).unwrap();
        }
        let mut target = world.backup_target("dump");
        if let Some(proto_api::mover::v1alpha1::target::Work::Backup(work)) = &mut target.work {
            work.tags[0] = "orlop.dev/session-uid=another-session".to_owned();
        }
        world.assign(vec![target]);
        let second = world.backed_up(1).await;
        let outcome = world.control.outcome().targets[0].clone();
        assert_eq!(outcome.result(), TargetResult::Succeeded);
        if is_still_there {
            assert_eq!(outcome.integrity(), Integrity::Intact, "{outcome:?}");
        } else {
            assert_eq!(outcome.integrity(), Integrity::Damaged);
            assert!(outcome.error.contains("data/") && outcome.error.contains("older ones may miss"), "{}", outcome.error);
        }
        let root = world.folder.path().join("root");
        std::fs::create_dir(&root).unwrap();
        world.assign(vec![world.restore_target("dump", second, &root)]);
        let (exit, _) = world.run(world.restore(), 1).await;
        assert_eq!(exit, Exit::Done, "{:?}", world.control.outcome());
    }
}

/// The packs of the repository, the largest last.
fn packs(world: &World) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(world.storage().join("demo/web/dump/data")).unwrap();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    let mut packs: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    packs.sort_by_key(|pack| std::fs::metadata(pack).unwrap().len());
    packs
}

/// Reliability E9: data that rots in the store is found when its turn comes, and not before: each backup reads its share only.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_read_back() {
    let world = World::new().await;
    write_tree(&world.source());
    world.backed_up(1).await;
    spoil_a_byte(packs(&world).last().unwrap());

    let integrity = async |session: &str, since: i64| {
        let [since, until] = [since, 30 * DAY].map(|seconds| Some(prost_types::Timestamp { seconds, nanos: 0 }));
        let due = DataCheck { since, until, period_seconds: 30 * DAY.unsigned_abs() };
        world.assign(vec![world.backup_target_of_session(session, Some(due))]);
        world.backed_up(1).await;
        world.control.outcome().targets[0].clone()
    };
    assert_eq!(integrity("nothing-is-due", 30 * DAY).await.integrity(), Integrity::Intact);
    let found = integrity("everything-is-due", 0).await;
    assert_eq!(found.integrity(), Integrity::Damaged);
    assert!(found.error.contains("is damaged") && found.error.contains("pack"), "{}", found.error);
}

const DAY: i64 = 86_400;

fn spoil_a_byte(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

/// Architecture §4.5: what an earlier attempt finished is adopted, not copied again.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_attempt_adopts_the_firsts_snapshot() {
    let world = World::new().await;
    write_tree(&world.source());
    let first = world.backed_up(1).await;
    let second = world.backed_up(2).await;
    assert_eq!(first, second);
    assert!(world.control.outcome().targets[0].snapshots[0].adopted);
    assert_eq!(world.control.with(|state| state.hellos[1].attempt), 2);
}

/// Exactly the named snapshots go, and a repeated run says the same.
#[tokio::test(flavor = "multi_thread")]
async fn retention_forgets_what_is_named_and_no_more() {
    let world = World::new().await;
    write_tree(&world.source());
    let doomed = world.backed_up(1).await;
    std::fs::remove_file(world.source().join("deep/er/name with spaces é")).unwrap();
    world.assign(vec![world.backup_target_of_session("another-session", None)]);
    let kept = world.backed_up(1).await;
    let before = world.control.outcome().targets[0].repository_bytes;

    world.assign(vec![world.retention_target("dump", doomed.clone())]);
    for _ in 0..2 {
        let (exit, _) = world.run(Work::Retention(Tolerated::default()), 1).await;
        let outcome = world.control.outcome();
        assert_eq!(exit, Exit::Done, "{outcome:?}");
        assert_eq!(outcome.targets[0].removed_snapshot_ids, doomed);
        assert!(outcome.targets[0].repository_bytes < before, "the bucket shrinks");
    }
    let left = world.repository("dump").await.snapshots(&repository::Control::default()).await.unwrap();
    let left: Vec<_> = left.snapshots.iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(left, kept);
    assert_eq!(world.locks("dump"), 0);
}

/// A pack that was to be rewritten and turns out to be damaged stays, and the outcome says so: nobody reads the mover's log.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_pack_that_retention_spares_is_told() {
    let world = World::new().await;
    // However they are spread over packs, the largest has some that stay and some that go.
    let files: Vec<PathBuf> = (0..64).map(|number| world.source().join(number.to_string())).collect();
    for (file, seed) in files.iter().zip(1..) {
        std::fs::write(file, random_bytes(10_000, seed)).unwrap();
    }
    let doomed = world.backed_up(1).await;
    files.iter().step_by(2).for_each(|file| std::fs::remove_file(file).unwrap());
    world.assign(vec![world.backup_target_of_session("another-session", None)]);
    world.backed_up(1).await;
    let largest = packs(&world).pop().unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    bytes.iter_mut().step_by(5_000).for_each(|byte| *byte ^= 1);
    std::fs::write(&largest, bytes).unwrap();

    world.assign(vec![world.retention_target("dump", doomed.clone())]);
    let (exit, _) = world.run(Work::Retention(Tolerated::default()), 1).await;
    let outcome = world.control.outcome().targets[0].clone();
    assert_eq!((exit, outcome.result()), (Exit::Done, TargetResult::Succeeded), "{outcome:?}");
    assert_eq!(outcome.removed_snapshot_ids, doomed);
    assert_eq!(outcome.integrity(), Integrity::Damaged, "{outcome:?}");
    assert!(outcome.error.contains("1 packs are damaged") && outcome.error.contains("data/"), "{}", outcome.error);
}
