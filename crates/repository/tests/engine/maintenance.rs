//! Prune, check and stats.

use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use repository::maintenance::{CheckOptions, Fate, PruneOptions, ReadData, Reason, StatsDepth};
use repository::{BlobType, Control, Error, Id};

use crate::support::{Files, backup, exclusive, noise, read_everything, repository, shared};

fn files(names: &[u64]) -> Files {
    names.iter().map(|name| (format!("dir/{name}"), noise(*name, 120_000))).collect()
}

fn thorough() -> PruneOptions {
    PruneOptions { max_unused: 0.0, unindexed_age: Duration::ZERO, ..PruneOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_snapshot_needs_goes_and_all_else_stays() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let control = Control::default();
    let guard = shared(&repository).await;
    let old = backup(&repository, &guard, &files(&[1, 2, 3]), "old").await.unwrap();
    backup(&repository, &guard, &files(&[3, 4]), "new").await.unwrap();
    let before = repository.stats(StatsDepth::Referenced, &control).await.unwrap();
    assert_eq!((before.snapshots, before.referenced_blobs), (2, Some(before.blobs)));
    guard.release().await.unwrap();

    let guard = exclusive(&repository).await;
    let handle = guard.handle();
    let report = repository.forget(&handle, &[old, Id::random()], &control).await.unwrap();
    assert_eq!((report.removed, report.absent.len()), (vec![old], 1));
    let plan = repository.plan_prune(&handle, &thorough(), &control).await.unwrap();
    let reasons: Vec<_> = plan.packs.iter().map(|pack| pack.reason).collect();
    assert!(reasons.contains(&Reason::PartlyUnused) && reasons.contains(&Reason::NothingUsed), "{reasons:?}");
    assert!(plan.freed_bytes() > 200_000);
    let report = repository.prune(&handle, plan, &control).await.unwrap();
    assert!(report.packs_written >= 1);
    let after = repository.stats(StatsDepth::Referenced, &control).await.unwrap();
    assert_eq!(after.referenced_blobs, Some(after.blobs), "nothing unused is left");
    assert!(after.pack_bytes < before.pack_bytes * 3 / 4);
    let report = repository.check(&handle, CheckOptions { read: ReadData::All }, &control).await.unwrap();
    assert_eq!((report.errors, report.unindexed_packs), (vec![], vec![]));
    assert_eq!(read_everything(&repository).await.unwrap()["new"], files(&[3, 4]));
    // Nothing is left to do, and doing nothing changes nothing.
    let plan = repository.plan_prune(&handle, &thorough(), &control).await.unwrap();
    assert!(plan.is_empty(), "{:?}", plan.packs);
}

/// The operations run in spawned tasks.
#[test]
fn operations_can_be_spawned() {
    fn spawnable<T: Send>(_: impl FnOnce(repository::Repository, repository::LockHandle) -> T) {}
    spawnable(|repository, lock| async move {
        let control = Control::default();
        let plan = repository.plan_prune(&lock, &PruneOptions::default(), &control).await.unwrap();
        repository.prune(&lock, plan, &control).await.unwrap();
        repository.check(&lock, CheckOptions::default(), &control).await.unwrap();
        repository.repair_index(&lock, &control).await.unwrap();
        repository.stats(StatsDepth::Quick, &control).await.unwrap();
    });
}

#[tokio::test]
async fn removing_needs_an_exclusive_lock() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    let control = Control::default();
    let refused = repository.plan_prune(&guard.handle(), &PruneOptions::default(), &control).await;
    assert!(matches!(refused, Err(Error::NotExclusive { .. })));
    assert!(matches!(repository.forget(&guard.handle(), &[], &control).await, Err(Error::NotExclusive { .. })));
    assert!(matches!(repository.repair_index(&guard.handle(), &control).await, Err(Error::NotExclusive { .. })));
}

/// A plan can be looked at while others hold the repository, and it cannot be carried out then.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_shown_beside_others() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let control = Control::default();
    let guard = shared(&repository).await;
    let old = backup(&repository, &guard, &files(&[1, 2]), "old").await.unwrap();
    backup(&repository, &guard, &files(&[2]), "new").await.unwrap();
    guard.release().await.unwrap();
    let guard = exclusive(&repository).await;
    repository.forget(&guard.handle(), &[old], &control).await.unwrap();
    guard.release().await.unwrap();

    let (beside, guard) = (shared(&repository).await, shared(&repository).await);
    let shown = repository.preview_prune(&guard.handle(), &thorough(), &control).await.unwrap();
    backup(&repository, &beside, &files(&[9]), "beside").await.unwrap();
    assert!(shown.freed_bytes() > 100_000);
    let shown_packs = shown.packs.clone();
    beside.release().await.unwrap();
    guard.release().await.unwrap();
    let guard = exclusive(&repository).await;
    let refused = repository.prune(&guard.handle(), shown, &control).await;
    assert!(matches!(&refused, Err(Error::PruneRefused { reason }) if reason.contains("shown")), "{refused:?}");
    let plan = repository.plan_prune(&guard.handle(), &thorough(), &control).await.unwrap();
    assert!(shown_packs.iter().all(|shown| plan.packs.contains(shown)), "what was shown is what is done");
    repository.prune(&guard.handle(), plan, &control).await.unwrap();
    assert_eq!(read_everything(&repository).await.unwrap()["new"], files(&[2]));
}

/// E3, D4: a snapshot that appears, or an index that vanishes, between the plan and the deletes stops the prune before them.
#[tokio::test(flavor = "multi_thread")]
async fn a_prune_looks_again_before_it_deletes() {
    for intrusion in ["snapshot", "index"] {
        let store = storage::memory();
        let repository = repository(&store).await;
        let control = Control::default();
        let guard = shared(&repository).await;
        let old = backup(&repository, &guard, &files(&[1]), "old").await.unwrap();
        backup(&repository, &guard, &files(&[2]), "new").await.unwrap();
        guard.release().await.unwrap();
        let guard = exclusive(&repository).await;
        let handle = guard.handle();
        repository.forget(&handle, &[old], &control).await.unwrap();
        let plan = repository.plan_prune(&handle, &thorough(), &control).await.unwrap();
        assert_eq!(plan.with_fate(Fate::Drop).count(), 2);
        // Somebody writes without looking at locks.
        backup(&repository, &guard, &files(&[1, 9]), "intruder").await.unwrap();
        if intrusion == "index" {
            let newest = repository.snapshots(&control).await.unwrap().snapshots.pop().unwrap().0;
            store.delete(&Path::from(format!("snapshots/{newest}"))).await.unwrap();
        }
        let refused = repository.prune(&handle, plan, &control).await;
        assert!(matches!(&refused, Err(Error::PruneRefused { reason }) if reason.contains(intrusion)), "{refused:?}");
        assert_eq!(read_everything(&repository).await.unwrap()["new"], files(&[2]));
    }
}

/// E2, then a prune: two backups at the same time store the same blobs twice; one copy stays.
#[tokio::test(flavor = "multi_thread")]
async fn duplicates_are_joined() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let control = Control::default();
    let guard = shared(&repository).await;
    let (one, two) = (files(&[1, 2, 5]), files(&[1, 2, 6]));
    let (first, second) = tokio::join!(backup(&repository, &guard, &one, "one"), backup(&repository, &guard, &two, "two"));
    assert_ne!(first.unwrap(), second.unwrap());
    guard.release().await.unwrap();
    let guard = exclusive(&repository).await;
    let plan = repository.plan_prune(&guard.handle(), &thorough(), &control).await.unwrap();
    repository.prune(&guard.handle(), plan, &control).await.unwrap();
    let index = repository.load_index(&control).await.unwrap();
    assert!(index.other_copies(BlobType::Data, &Id::of(&noise(1, 120_000)[..64 << 10])).is_empty());
    let all = read_everything(&repository).await.unwrap();
    assert_eq!((&all["one"], &all["two"]), (&one, &two));
}

/// E2, C1: packs of a killed backup are young; a prune leaves them for the next run unless told otherwise.
#[tokio::test]
async fn young_packs_without_an_index_stay() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let control = Control::default();
    let guard = shared(&repository).await;
    backup(&repository, &guard, &files(&[1]), "one").await.unwrap();
    guard.release().await.unwrap();
    store.put(&Path::from(format!("data/00/{}", "0".repeat(64))), b"half a pack".to_vec().into()).await.unwrap();
    let guard = exclusive(&repository).await;
    let plan = repository.plan_prune(&guard.handle(), &PruneOptions::default(), &control).await.unwrap();
    assert!(plan.is_empty() && plan.packs.iter().any(|pack| pack.reason == Reason::NotIndexedYoung));
    let plan = repository.plan_prune(&guard.handle(), &thorough(), &control).await.unwrap();
    assert_eq!(plan.with_fate(Fate::Drop).next().unwrap().reason, Reason::NotIndexed);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_rotating_check_cover_all_packs_once() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let control = Control::default();
    let guard = shared(&repository).await;
    for number in 0..5 {
        backup(&repository, &guard, &files(&[number]), &number.to_string()).await.unwrap();
    }
    let mut read = 0;
    for index in 0..4 {
        let options = CheckOptions { read: ReadData::Part { index, of: 4 } };
        let report = repository.check(&guard.handle(), options, &control).await.unwrap();
        assert_eq!(report.errors, []);
        read += report.packs_read;
    }
    assert_eq!(read, 10);
}
