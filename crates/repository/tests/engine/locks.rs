//! The lock protocol: invariant I7 and the failures E3 to E7.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use repository::{
    BlobType, Control, Error, Event, LockGuard, LockHolder, LockJudge, LockMode, LockRequest, LockVerdict, Repository,
    SaverOptions,
};
use storage::layers::fault::{Effect, FaultStore, Faults, Operation};
use tokio_util::sync::CancellationToken;

use crate::support::{Files, backup, exclusive, identity, noise, open, repository, shared};

struct Verdict(LockVerdict);

#[async_trait]
impl LockJudge for Verdict {
    async fn judge(&self, _: &LockHolder) -> LockVerdict {
        self.0.clone()
    }
}

fn quick(mode: LockMode, pod: &str) -> LockRequest {
    let mut request = LockRequest::new(mode, identity(pod));
    request.times.settle = Duration::from_millis(5);
    request.times.pause = (Duration::from_millis(5), Duration::from_millis(20));
    request
}

async fn locks_in(store: &Arc<dyn ObjectStore>) -> usize {
    objects_in(store, "locks").await
}

async fn objects_in(store: &Arc<dyn ObjectStore>, directory: &str) -> usize {
    let listed: Vec<_> = futures::TryStreamExt::try_collect(store.list(Some(&Path::from(directory)))).await.unwrap();
    listed.len()
}

#[tokio::test]
async fn shared_locks_go_together_and_an_exclusive_one_alone() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let (first, second) = (shared(&repository).await, shared(&repository).await);
    let refused = repository.lock(quick(LockMode::Exclusive, "x"), &Control::default()).await;
    assert!(matches!(refused, Err(Error::Locked { .. })));
    assert_eq!(locks_in(&store).await, 2, "the refused one left nothing");
    first.release().await.unwrap();
    second.release().await.unwrap();
    let alone = exclusive(&repository).await;
    let refused = repository.lock(quick(LockMode::Shared, "y"), &Control::default()).await;
    let Err(Error::Locked { holder, .. }) = refused else { panic!("two hold it") };
    assert_eq!(
        (holder.hostname.as_str(), holder.pod_uid.as_str(), holder.cluster_uid.as_str()),
        ("test.test-uid", "test-uid", "cluster")
    );
    alone.release().await.unwrap();
    assert_eq!(locks_in(&store).await, 0);
}

/// E6: at no moment do two hold an exclusive lock, or one an exclusive and another a shared lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn races_have_one_winner() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let (writers, readers) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let taken = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..6)
        .map(|number| {
            let (repository, writers, readers, taken) = (repository.clone(), writers.clone(), readers.clone(), taken.clone());
            tokio::spawn(async move {
                let mode = if number % 3 == 0 { LockMode::Shared } else { LockMode::Exclusive };
                for _ in 0..6 {
                    let request = quick(mode, &format!("pod-{number}")).waiting(Duration::from_secs(60));
                    let guard = repository.lock(request, &Control::default()).await.unwrap();
                    let own = if mode == LockMode::Exclusive { &writers } else { &readers };
                    own.fetch_add(1, Ordering::SeqCst);
                    for _ in 0..3 {
                        let (now_writing, now_reading) = (writers.load(Ordering::SeqCst), readers.load(Ordering::SeqCst));
                        assert!(now_writing <= 1, "two exclusive locks");
                        assert!(now_writing == 0 || mode == LockMode::Exclusive || now_reading == 0, "shared beside exclusive");
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    own.fetch_sub(1, Ordering::SeqCst);
                    taken.fetch_add(1, Ordering::SeqCst);
                    guard.release().await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(taken.load(Ordering::SeqCst), 36);
    assert_eq!(locks_in(&store).await, 0);
}

/// I7: only a proof of death removes a lock; the listener hears of it.
#[tokio::test]
async fn a_lock_goes_only_on_proof() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let left: LockGuard = exclusive(&repository).await;
    for verdict in [LockVerdict::Alive, LockVerdict::Unknown] {
        let request = quick(LockMode::Shared, "b").judged_by(Arc::new(Verdict(verdict))).waiting(Duration::from_millis(50));
        assert!(matches!(repository.lock(request, &Control::default()).await, Err(Error::Locked { .. })));
        assert_eq!(locks_in(&store).await, 1);
    }
    let heard = Arc::new(Mutex::new(Vec::new()));
    let control = Control::default().with_listener({
        let heard = heard.clone();
        Arc::new(move |event| {
            if let Event::LockRemoved { holder, proof } = event {
                heard.lock().push((holder.pod_uid, proof));
            }
        })
    });
    let proof = "container terminated at 10:00".to_owned();
    let request = quick(LockMode::Shared, "b").judged_by(Arc::new(Verdict(LockVerdict::Dead { proof: proof.clone() })));
    let guard = repository.lock(request, &control).await.unwrap();
    assert_eq!(*heard.lock(), [("test-uid".to_owned(), proof)]);
    // The one whose lock was taken away notices before it changes anything.
    assert!(matches!(left.handle().verify().await, Err(Error::LockLost { .. })));
    assert!(left.handle().lost().is_cancelled());
    guard.release().await.unwrap();
}

/// C1: shared locks of killed backups are in no other backup's way, but in that of the next prune.
#[tokio::test]
async fn locks_of_the_dead_are_cleared_on_the_way() {
    let store = storage::memory();
    let repository = repository(&store).await;
    std::mem::forget(shared(&repository).await);
    std::mem::forget(shared(&repository).await);
    let own = shared(&repository).await;
    let control = Control::default();
    for verdict in [LockVerdict::Alive, LockVerdict::Unknown] {
        let request = quick(LockMode::Shared, "b").judged_by(Arc::new(Verdict(verdict)));
        assert_eq!(repository.remove_dead_locks(&request, Some(own.handle().current_id()), &control).await.unwrap(), 0);
    }
    let dead = LockVerdict::Dead { proof: "seen terminated".into() };
    let request = quick(LockMode::Shared, "b").judged_by(Arc::new(Verdict(dead)));
    assert_eq!(repository.remove_dead_locks(&request, Some(own.handle().current_id()), &control).await.unwrap(), 2);
    own.handle().verify().await.unwrap();
    own.release().await.unwrap();
    assert_eq!(locks_in(&store).await, 0);
}

/// E5: a stale lock goes only when it is old by the store's clock and was seen unrefreshed twice.
#[tokio::test]
async fn a_stale_lock_needs_two_looks() {
    let store = storage::memory();
    let repository = repository(&store).await;
    std::mem::forget(exclusive(&repository).await);
    let mut request = quick(LockMode::Shared, "b").waiting(Duration::from_millis(300));
    request.times.stale = Duration::from_millis(10);
    request.times.between_looks = Duration::from_secs(3600);
    assert!(
        matches!(repository.lock(request.clone(), &Control::default()).await, Err(Error::Locked { .. })),
        "one look is not enough"
    );
    request.times.stale = Duration::from_secs(3600);
    request.times.between_looks = Duration::from_millis(10);
    assert!(matches!(repository.lock(request.clone(), &Control::default()).await, Err(Error::Locked { .. })), "it is young");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    request.times.stale = Duration::from_millis(10);
    let guard = repository.lock(request, &Control::default()).await.unwrap();
    guard.release().await.unwrap();
    assert_eq!(locks_in(&store).await, 0, "neither the clock's object nor a lock is left");
}

/// E7: while it is refreshed there is always a lock, and never do they accumulate, whatever the store answers.
#[tokio::test(flavor = "multi_thread")]
async fn refreshing_replaces_the_lock() {
    let inner = storage::memory();
    let faults = Faults::new();
    let store: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(Arc::clone(&inner), Arc::clone(&faults)));
    let repository = repository(&store).await;
    let mut request = quick(LockMode::Shared, "a");
    request.times.refresh = Duration::from_millis(40);
    let guard = repository.lock(request, &Control::default()).await.unwrap();
    let first = guard.handle().current_id();
    faults.add(Operation::Put, "locks/", 1, Effect::LostAcknowledgement);
    faults.add(Operation::Delete, "locks/", 2, Effect::Error(storage::ErrorKind::ServerError));
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(locks_in(&inner).await >= 1);
        guard.handle().check().unwrap();
    }
    assert_ne!(guard.handle().current_id(), first);
    assert!(locks_in(&inner).await <= 2);
    guard.release().await.unwrap();
    assert_eq!(locks_in(&inner).await, 0);
}

/// Engine §4.3: work stops when the lock could not be refreshed for too long, before others may call it stale.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_cannot_be_refreshed_is_lost() {
    let faults = Faults::new();
    let store: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(storage::memory(), Arc::clone(&faults)));
    let repository = repository(&store).await;
    let mut request = quick(LockMode::Shared, "a");
    request.times.refresh = Duration::from_millis(40);
    request.times.give_up = Duration::from_millis(200);
    let guard = repository.lock(request, &Control::default()).await.unwrap();
    faults.add(Operation::Put, "locks/", 1000, Effect::Error(storage::ErrorKind::ServerError));
    tokio::time::timeout(Duration::from_secs(5), guard.handle().lost().cancelled()).await.unwrap();
    assert!(matches!(guard.handle().check(), Err(Error::LockLost { .. })));
    let files = Files::from([("a".into(), noise(1, 100))]);
    assert!(matches!(backup(&repository, &guard, &files, "late").await, Err(Error::LockLost { .. })));
}

/// C4: work that outlives its lock changes nothing, whether the lock was given back or only dropped.
#[tokio::test]
async fn work_that_outlives_its_lock_is_refused() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let control = Control::default();
    for give_back in [true, false] {
        let guard = shared(&repository).await;
        let handle = guard.handle();
        let index = repository.load_index(&control).await.unwrap();
        let saver = repository.blob_saver(index, handle.clone(), SaverOptions::default(), &control).unwrap();
        saver.save_blob(BlobType::Data, &noise(7, 1000)).unwrap();
        if give_back {
            guard.release().await.unwrap();
        } else {
            drop(guard);
        }
        assert!(matches!(handle.check(), Err(Error::LockLost { .. })));
        assert!(matches!(saver.save_blob(BlobType::Data, &noise(8, 1000)), Err(Error::LockLost { .. })));
        assert!(matches!(saver.flush().await, Err(Error::LockLost { .. })));
        for directory in ["data", "index", "snapshots"] {
            assert_eq!(objects_in(&store, directory).await, 0, "{directory}");
        }
    }
}

/// Reliability §8.1: somebody ran `unlock --remove-all` and a prune while a backup was going on. The backup must not succeed.
#[tokio::test]
async fn a_backup_whose_lock_was_removed_by_force_fails() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    store.delete(&Path::from(format!("locks/{}", guard.handle().current_id()))).await.unwrap();
    let files = Files::from([("a".into(), noise(1, 100))]);
    assert!(matches!(backup(&repository, &guard, &files, "zombie").await, Err(Error::LockLost { .. })));
    assert!(repository.snapshots(&Control::default()).await.unwrap().snapshots.is_empty());
}

#[tokio::test]
async fn waiting_is_visible_and_can_be_cancelled() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let held = exclusive(&repository).await;
    let token = CancellationToken::new();
    let seen = Arc::new(AtomicUsize::new(0));
    let control = Control::new(token.clone()).with_listener({
        let (seen, token) = (seen.clone(), token.clone());
        Arc::new(move |event| {
            if matches!(event, Event::LockWaiting { .. }) && seen.fetch_add(1, Ordering::SeqCst) == 2 {
                token.cancel();
            }
        })
    });
    let waiting = repository.lock(quick(LockMode::Shared, "b").waiting(Duration::from_secs(60)), &control).await;
    assert!(matches!(waiting, Err(Error::Cancelled)));
    assert_eq!(locks_in(&store).await, 1);
    held.release().await.unwrap();
}

/// E8: a lock that cannot be read is in the way, an empty one is not, and no name breaks the listing.
#[tokio::test]
async fn garbage_among_the_locks() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let put = |name: String, bytes: &'static [u8]| {
        let store = store.clone();
        async move { store.put(&Path::from(format!("locks/{name}")), bytes::Bytes::from_static(bytes).into()).await.unwrap() }
    };
    put("0".repeat(64), b"").await;
    put("not-a-lock".into(), b"hello").await;
    shared(&repository).await.release().await.unwrap();
    put("1".repeat(64), b"garbage").await;
    assert!(matches!(repository.lock(quick(LockMode::Shared, "b"), &Control::default()).await, Err(Error::Locked { .. })));
}

#[tokio::test]
async fn a_dropped_guard_releases_in_the_background() {
    let store = storage::memory();
    let repository: Repository = repository(&store).await;
    drop(shared(&open(&store).await).await);
    for _ in 0..100 {
        if locks_in(&store).await == 0 {
            return exclusive(&repository).await.release().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the lock is still there");
}
