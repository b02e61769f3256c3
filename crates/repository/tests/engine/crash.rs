//! E1: the client is killed before and after every change it makes in the store. Whatever was a snapshot before reads in full
//! afterwards (invariant I1), and the next run goes on without help.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ObjectStore;
use repository::maintenance::{CheckOptions, PruneOptions, ReadData};
use repository::{Control, LockGuard, LockHolder, LockJudge, LockMode, LockRequest, LockVerdict, Repository, Result, SnapshotId};

use crate::support::{
    CrashAt, CrashStore, Files, backup, copy_of, exclusive, identity, noise, open, read_everything, repository, shared, text,
};

struct AllDead;

#[async_trait]
impl LockJudge for AllDead {
    async fn judge(&self, _: &LockHolder) -> LockVerdict {
        LockVerdict::Dead { proof: "the test killed it".into() }
    }
}

async fn lock(repository: &Repository, mode: LockMode) -> Result<LockGuard> {
    let mut request = LockRequest::new(mode, identity("next")).judged_by(Arc::new(AllDead));
    request.times.settle = Duration::from_millis(1);
    repository.lock(request, &Control::default()).await
}

/// Snapshots that share some files and differ in others, each with packs and an index of its own.
async fn populated() -> (Arc<dyn ObjectStore>, BTreeMap<String, Files>, Vec<SnapshotId>) {
    let store = storage::memory();
    let repository = repository(&store).await;
    let (mut contents, mut ids) = (BTreeMap::new(), Vec::new());
    for number in 0..7u64 {
        let tag = format!("s{number}");
        let mut files = Files::from([(format!("own/{number}"), noise(number, 200_000))]);
        // The last one shares nothing, so that its packs go as a whole.
        if number < 6 {
            files.insert("shared/all".to_owned(), noise(1000, 150_000));
            files.insert(format!("pair/{}", number / 2), text(number / 2, 90_000));
        }
        let guard = shared(&repository).await;
        ids.push(backup(&repository, &guard, &files, &tag).await.unwrap());
        guard.release().await.unwrap();
        contents.insert(tag, files);
    }
    (store, contents, ids)
}

async fn check_all(repository: &Repository, when: &str) {
    let guard = shared(repository).await;
    let report = repository.check(&guard.handle(), CheckOptions { read: ReadData::All }, &Control::default()).await.unwrap();
    assert_eq!(report.errors, [], "{when}");
    guard.release().await.unwrap();
}

/// What must be there after the crash: everything of `must`, and nothing that is neither there nor in `may`.
async fn survives(store: &Arc<dyn ObjectStore>, must: &BTreeMap<String, Files>, may: &BTreeMap<String, Files>, when: &str) {
    let repository = open(store).await;
    let found = read_everything(&repository).await.unwrap_or_else(|error| panic!("{when}: {error}"));
    for (tag, files) in must {
        assert_eq!(found.get(tag), Some(files), "{when}: snapshot {tag}");
    }
    for (tag, files) in &found {
        assert_eq!(must.get(tag).or(may.get(tag)), Some(files), "{when}: snapshot {tag}");
    }
    lock(&repository, LockMode::Exclusive).await.unwrap().release().await.unwrap();
    check_all(&repository, when).await;
}

async fn back_up_one_more(store: Arc<dyn ObjectStore>, files: &Files) -> Result<()> {
    let repository = open(&store).await;
    let guard = lock(&repository, LockMode::Shared).await?;
    let saved = backup(&repository, &guard, files, "new").await;
    guard.release().await?;
    saved.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_survives_a_kill_at_every_change() {
    let (store, contents, _) = populated().await;
    let files = Files::from([("shared/all".to_owned(), noise(1000, 150_000)), ("fresh/file".to_owned(), noise(77, 300_000))]);
    let new = BTreeMap::from([("new".to_owned(), files.clone())]);
    let golden = Arc::new(CrashStore::new(copy_of(&store).await, CrashAt::Never));
    back_up_one_more(golden.clone(), &files).await.unwrap();
    let changes = golden.changes();
    assert!(changes >= 5, "lock, two packs, index, snapshot, unlock");
    for crash in (0..changes).flat_map(|at| [CrashAt::Before(at), CrashAt::After(at)]) {
        let inner = copy_of(&store).await;
        let dying: Arc<dyn ObjectStore> = Arc::new(CrashStore::new(Arc::clone(&inner), crash));
        let outcome = back_up_one_more(dying, &files).await;
        let when = format!("{crash:?} of {changes}");
        survives(&inner, &contents, &new, &when).await;
        if outcome.is_ok() {
            assert!(read_everything(&open(&inner).await).await.unwrap().contains_key("new"), "I2, {when}");
        }
        back_up_one_more(Arc::clone(&inner), &files).await.unwrap();
        let all: BTreeMap<_, _> = contents.clone().into_iter().chain(new.clone()).collect();
        survives(&inner, &all, &BTreeMap::new(), &format!("{when}, then again")).await;
    }
}

/// Forgets every other snapshot, then prunes so thoroughly that every kind of change happens.
async fn forget_and_prune(store: Arc<dyn ObjectStore>, forget: &[SnapshotId]) -> Result<repository::maintenance::PruneReport> {
    let control = Control::default();
    let repository = open(&store).await;
    let guard = lock(&repository, LockMode::Exclusive).await?;
    let handle = guard.handle();
    let work = async {
        repository.forget(&handle, forget, &control).await?;
        let options = PruneOptions { max_unused: 0.0, small_packs: 3, unindexed_age: Duration::ZERO, ..PruneOptions::default() };
        let plan = repository.plan_prune(&handle, &options, &control).await?;
        repository.prune(&handle, plan, &control).await
    };
    let report = work.await;
    guard.release().await?;
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn forget_and_prune_survive_a_kill_at_every_change() {
    let (store, mut contents, ids) = populated().await;
    let forgotten: Vec<SnapshotId> = ids.iter().copied().step_by(2).collect();
    let golden = Arc::new(CrashStore::new(copy_of(&store).await, CrashAt::Never));
    let report = forget_and_prune(golden.clone(), &forgotten).await.unwrap();
    assert!(
        report.packs_rewritten > 0 && report.packs_removed > report.packs_rewritten && report.index_files_removed > 0,
        "{report:?}"
    );
    let gone: BTreeMap<String, Files> =
        [0, 2, 4, 6].iter().filter_map(|number| contents.remove_entry(&format!("s{number}"))).collect();
    let changes = golden.changes();
    assert!(changes > 15);
    for crash in (0..changes).flat_map(|at| [CrashAt::Before(at), CrashAt::After(at)]) {
        let inner = copy_of(&store).await;
        let dying: Arc<dyn ObjectStore> = Arc::new(CrashStore::new(Arc::clone(&inner), crash));
        let _ = forget_and_prune(dying, &forgotten).await;
        let when = format!("{crash:?} of {changes}");
        survives(&inner, &contents, &gone, &when).await;
        forget_and_prune(Arc::clone(&inner), &forgotten).await.unwrap();
        survives(&inner, &contents, &BTreeMap::new(), &format!("{when}, then again")).await;
        let guard = exclusive(&open(&inner).await).await;
        let left = open(&inner).await.check(&guard.handle(), CheckOptions::default(), &Control::default()).await.unwrap();
        assert_eq!(left.unindexed_packs, [], "{when}: waste is cleared by the next prune");
        guard.release().await.unwrap();
    }
}
