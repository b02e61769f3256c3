//! Prune beside damage: a damaged pack costs only what it holds, and nothing is deleted because it looks damaged.

use std::sync::Arc;
use std::time::Duration;

use object_store::{ObjectStore, ObjectStoreExt};
use repository::maintenance::{CheckError, CheckOptions, Fate, PruneOptions, PruneReport, ReadData, Reason};
use repository::{BlobType, Control, Error, Id, LockGuard, Repository};

use crate::support::{
    Files, HidingStore, backup, cut, exclusive, exists, flip, locate, noise, open, pack_key, read_everything, repository, shared,
};

const BLOB: usize = 64 << 10;

fn files(names: &[u64]) -> Files {
    names.iter().map(|name| (format!("dir/{name}"), noise(*name, 120_000))).collect()
}

/// The first blob of such a file.
fn blob(name: u64) -> Id {
    Id::of(&noise(name, 120_000)[..BLOB])
}

fn thorough() -> PruneOptions {
    PruneOptions { max_unused: 0.0, unindexed_age: Duration::ZERO, ..PruneOptions::default() }
}

async fn prune(repository: &Repository, guard: &LockGuard, options: &PruneOptions) -> PruneReport {
    let control = Control::default();
    let plan = repository.plan_prune(&guard.handle(), options, &control).await.unwrap();
    repository.prune(&guard.handle(), plan, &control).await.unwrap()
}

async fn errors(repository: &Repository, guard: &LockGuard) -> Vec<CheckError> {
    let options = CheckOptions { read: ReadData::All };
    repository.check(&guard.handle(), options, &Control::default()).await.unwrap().errors
}

/// A repository in which a pack of three files is used for one of them, and another one for nothing.
async fn partly_used() -> (Arc<dyn ObjectStore>, Repository, LockGuard) {
    let store = storage::memory();
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    let old = backup(&repository, &guard, &files(&[1, 2, 3]), "old").await.unwrap();
    let gone = backup(&repository, &guard, &files(&[7]), "gone").await.unwrap();
    backup(&repository, &guard, &files(&[3, 4]), "new").await.unwrap();
    guard.release().await.unwrap();
    let guard = exclusive(&repository).await;
    repository.forget(&guard.handle(), &[old, gone], &Control::default()).await.unwrap();
    (store, repository, guard)
}

/// D8: one bad blob in a pack that is to be rewritten stops nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_with_a_bad_blob_stays_and_the_rest_is_pruned() {
    let (store, repository, guard) = partly_used().await;
    let damaged = locate(&repository, BlobType::Data, &blob(3)).await;
    let unused = locate(&repository, BlobType::Data, &blob(7)).await.pack;
    flip(&store, &damaged).await;
    let before = store.get(&pack_key(&damaged.pack)).await.unwrap().bytes().await.unwrap();
    for round in 0..2 {
        let report = prune(&repository, &guard, &thorough()).await;
        assert_eq!((report.packs_damaged, report.damaged.len()), (1, 1), "{report:?}");
        assert!(report.damaged[0].key.ends_with(&damaged.pack.to_string()) && !report.damaged[0].reason.is_empty());
        assert_eq!(report.packs_removed > 0, round == 0, "{report:?}");
    }
    assert_eq!(store.get(&pack_key(&damaged.pack)).await.unwrap().bytes().await.unwrap(), before);
    assert!(!exists(&store, &pack_key(&unused)).await);
    let index = repository.load_index(&Control::default()).await.unwrap();
    assert_eq!(index.locate(BlobType::Data, &blob(3)), Some(damaged), "it stays where it is");
    let reader = repository.blob_reader(index, &Control::default());
    let rest = Id::of(&noise(3, 120_000)[BLOB..]);
    assert_eq!(reader.load_blob(BlobType::Data, &rest).await.unwrap(), noise(3, 120_000)[BLOB..]);
    assert_eq!(reader.load_blob(BlobType::Data, &blob(4)).await.unwrap(), noise(4, 120_000)[..BLOB]);
    let errors = errors(&repository, &guard).await;
    let of_pack = |error: &CheckError| matches!(error, CheckError::PackDamaged { pack, .. } if *pack == damaged.pack);
    assert!(!errors.is_empty() && errors.iter().all(of_pack), "{errors:?}");
}

/// D8: a pack that is not whole is seen when the prune is planned, and stays too.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_of_another_size_stays_and_the_rest_is_pruned() {
    let (store, repository, guard) = partly_used().await;
    let damaged = locate(&repository, BlobType::Data, &blob(3)).await.pack;
    let unused = locate(&repository, BlobType::Data, &blob(7)).await.pack;
    cut(&store, &damaged, 100).await;
    let plan = repository.plan_prune(&guard.handle(), &thorough(), &Control::default()).await.unwrap();
    let decision = plan.packs.iter().find(|decision| decision.pack == damaged).unwrap();
    assert_eq!((decision.fate, decision.reason), (Fate::Keep, Reason::Damaged));
    repository.prune(&guard.handle(), plan, &Control::default()).await.unwrap();
    assert!(exists(&store, &pack_key(&damaged)).await && !exists(&store, &pack_key(&unused)).await);
    // Only the header is lost.
    assert_eq!(read_everything(&repository).await.unwrap()["new"], files(&[3, 4]));
    // What nothing needs goes, damaged or not.
    let all: Vec<Id> = repository.snapshots(&Control::default()).await.unwrap().snapshots.into_iter().map(|(id, _)| id).collect();
    repository.forget(&guard.handle(), &all, &Control::default()).await.unwrap();
    prune(&repository, &guard, &thorough()).await;
    assert!(!exists(&store, &pack_key(&damaged)).await);
}

/// Of a blob in two packs the copy that would go is the one that can be read: it is moved although the other pack stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_good_copy_is_moved_before_its_pack_goes() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    let (one, two) = (files(&[1, 5]), files(&[1, 6]));
    let (first, second) = tokio::join!(backup(&repository, &guard, &one, "one"), backup(&repository, &guard, &two, "two"));
    assert_ne!(first.unwrap(), second.unwrap());
    guard.release().await.unwrap();
    let guard = exclusive(&repository).await;
    // Both packs are small, so both are to be rewritten.
    let options = PruneOptions { small_packs: 2, ..thorough() };
    let plan = repository.plan_prune(&guard.handle(), &options, &Control::default()).await.unwrap();
    let (five, six) = (locate(&repository, BlobType::Data, &blob(5)).await, locate(&repository, BlobType::Data, &blob(6)).await);
    let used = |pack: Id| plan.packs.iter().find(|decision| decision.pack == pack).unwrap().used_bytes;
    // The home of the blobs that both have, and a blob that is only there.
    let five_is_home = used(five.pack) > used(six.pack);
    let (home, other, only) = if five_is_home { (five.pack, six.pack, five) } else { (six.pack, five.pack, six) };
    let index = repository.load_index(&Control::default()).await.unwrap();
    let copies = index.locate(BlobType::Data, &blob(1)).into_iter().chain(index.other_copies(BlobType::Data, &blob(1)));
    let at_home = copies.into_iter().find(|copy| copy.pack == home).unwrap();
    flip(&store, &at_home).await;
    flip(&store, &only).await;
    let report = prune(&repository, &guard, &options).await;
    assert_eq!(report.packs_damaged, 1, "{report:?}");
    assert!(exists(&store, &pack_key(&home)).await && !exists(&store, &pack_key(&other)).await);
    let reader = repository.blob_reader(repository.load_index(&Control::default()).await.unwrap(), &Control::default());
    assert_eq!(reader.load_blob(BlobType::Data, &blob(1)).await.unwrap(), noise(1, 120_000)[..BLOB]);
    let lost = reader.load_blob(BlobType::Data, &blob(if five_is_home { 5 } else { 6 })).await;
    assert!(matches!(lost, Err(Error::BlobUnreadable { .. })), "{lost:?}");
}

/// The same where the pack with the bad copy was to stay as it is, and nobody would have looked at it.
#[tokio::test(flavor = "multi_thread")]
async fn a_good_copy_is_moved_although_nothing_is_to_be_rewritten() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    let (kept, gone) = (files(&[1, 5]), files(&[1, 6]));
    let (first, second) = tokio::join!(backup(&repository, &guard, &kept, "kept"), backup(&repository, &guard, &gone, "gone"));
    guard.release().await.unwrap();
    let (home, other) =
        (locate(&repository, BlobType::Data, &blob(5)).await, locate(&repository, BlobType::Data, &blob(6)).await);
    assert!(first.is_ok() && home.pack != other.pack);
    let index = repository.load_index(&Control::default()).await.unwrap();
    let copies = index.locate(BlobType::Data, &blob(1)).into_iter().chain(index.other_copies(BlobType::Data, &blob(1)));
    let at_home = copies.into_iter().find(|copy| copy.pack == home.pack).unwrap();
    flip(&store, &at_home).await;
    let guard = exclusive(&repository).await;
    repository.forget(&guard.handle(), &[second.unwrap()], &Control::default()).await.unwrap();
    let plan = repository.plan_prune(&guard.handle(), &thorough(), &Control::default()).await.unwrap();
    assert_eq!(plan.with_fate(Fate::Repack).count(), 0, "{plan:?}");
    let report = repository.prune(&guard.handle(), plan, &Control::default()).await.unwrap();
    assert!(exists(&store, &pack_key(&home.pack)).await && !exists(&store, &pack_key(&other.pack)).await);
    assert_eq!(report.packs_damaged, 1, "{report:?}");
    assert_eq!(read_everything(&repository).await.unwrap()["kept"], kept);
}

/// A pack is gone, and what it held was stored anew: nothing hinders a prune.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_gone_is_forgotten_if_others_have_its_blobs() {
    for which in 0..2 {
        let store = storage::memory();
        let repository = repository(&store).await;
        let guard = shared(&repository).await;
        let all = files(&[1, 2]);
        let (one, two) = tokio::join!(backup(&repository, &guard, &all, "one"), backup(&repository, &guard, &all, "two"));
        assert_ne!(one.unwrap(), two.unwrap());
        guard.release().await.unwrap();
        let index = repository.load_index(&Control::default()).await.unwrap();
        let mut packs = vec![index.locate(BlobType::Data, &blob(1)).unwrap().pack];
        packs.extend(index.other_copies(BlobType::Data, &blob(1)).iter().map(|copy| copy.pack));
        packs.sort_unstable();
        store.delete(&pack_key(&packs[which])).await.unwrap();
        let guard = exclusive(&repository).await;
        let plan = repository.plan_prune(&guard.handle(), &thorough(), &Control::default()).await.unwrap();
        assert_eq!(plan.forgotten, [packs[which]]);
        repository.prune(&guard.handle(), plan, &Control::default()).await.unwrap();
        assert_eq!(errors(&repository, &guard).await, []);
        let found = read_everything(&repository).await.unwrap();
        assert_eq!((&found["one"], &found["two"]), (&all, &all));
    }
}

/// I8: a listing that shows nothing is no reason to prune anything.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_listing_is_refused() {
    let (store, _, guard) = partly_used().await;
    guard.release().await.unwrap();
    let hiding: Arc<dyn ObjectStore> = Arc::new(HidingStore { inner: store });
    let repository = open(&hiding).await;
    let guard = exclusive(&repository).await;
    let refused = repository.plan_prune(&guard.handle(), &thorough(), &Control::default()).await;
    assert!(matches!(refused, Err(Error::PruneRefused { .. })), "{refused:?}");
}
