//! Backup, restore and retention from end to end, in one process.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control_plane;

use std::path::Path;

use control_plane::{ControlPlane, TOKEN, World, write_tree};
use data_mover::Work;
use data_mover::args::Tolerated;
use data_mover::outcome::Exit;
use proto_api::mover::v1alpha1::{Integrity, Result as TargetResult};

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

/// Issue: the second, unchanged run reads no bytes of files.
#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_source_is_not_read_again() {
    let world = World::new().await;
    write_tree(&world.source());
    let first = world.backed_up(1).await;
    let mut target = world.backup_target("dump");
    if let Some(proto_api::mover::v1alpha1::target::Work::Backup(work)) = &mut target.work {
        work.tags[0] = "orlop.dev/session-uid=another-session".to_owned();
    }
    world.assign(vec![target]);
    let second = world.backed_up(1).await;
    assert_ne!(first, second);
    let made = world.control.outcome().targets[0].snapshots[0].clone();
    assert_eq!((made.adopted, made.bytes_read), (false, 0));
    assert_eq!(made.files, 4);
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

/// Issue, retention: exactly the named snapshots go, and a repeated run says the same.
#[tokio::test(flavor = "multi_thread")]
async fn retention_forgets_what_is_named_and_no_more() {
    let world = World::new().await;
    write_tree(&world.source());
    let doomed = world.backed_up(1).await;
    std::fs::remove_file(world.source().join("deep/er/name with spaces é")).unwrap();
    let mut target = world.backup_target("dump");
    if let Some(proto_api::mover::v1alpha1::target::Work::Backup(work)) = &mut target.work {
        work.tags[0] = "orlop.dev/session-uid=another-session".to_owned();
    }
    world.assign(vec![target]);
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
