//! A cancelled operation ends in time whatever hangs, and leaves its work indexed where the store answers (engine §4.9).

use std::os::fd::AsFd;
use std::path::Path as FilePath;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use repository::backup::BackupRequest;
use repository::format::{Node, NodeType, Run, Snapshot, Time, Tree, file_mode};
use repository::maintenance::{CheckOptions, PruneOptions};
use repository::restore::RestoreRequest;
use repository::source::faults::{FaultHook, SourceFaults, SourceStep};
use repository::{BlobType, Control, Error, Id, LockGuard, LockMode, LockRequest, Repository, SaverOptions, SnapshotId};
use storage::layers::fault::{Effect, FaultStore, Faults, Operation};
use tokio_util::sync::CancellationToken;

use crate::support::{Files, backup, exclusive, identity, noise, open, repository, shared};

/// The engine's own bound, and what a loaded machine adds.
const IN_TIME: Duration = Duration::from_millis(3500 + 700);

fn faulty() -> (Arc<dyn ObjectStore>, Arc<Faults>, Arc<dyn ObjectStore>) {
    let inner = storage::memory();
    let faults = Faults::new();
    let store: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(Arc::clone(&inner), Arc::clone(&faults)));
    (inner, faults, store)
}

fn hang_all(faults: &Faults) {
    for operation in [Operation::Put, Operation::Get, Operation::List, Operation::Delete] {
        faults.add(operation, "", u32::MAX, Effect::Hang);
    }
}

async fn count(store: &Arc<dyn ObjectStore>, directory: &str) -> usize {
    store.list(Some(&Path::from(directory))).count().await
}

/// Cancels, and says how the work ended and how long that took.
async fn stop<T>(token: &CancellationToken, work: impl Future<Output = repository::Result<T>>) -> (Option<Error>, Duration) {
    let cancelled = Instant::now();
    token.cancel();
    (work.await.err(), cancelled.elapsed())
}

/// Packs that the store has acknowledged are indexed although it takes no others any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_no_more_packs_costs_only_those() {
    let (inner, faults, store) = faulty();
    let source = tempfile::tempdir().unwrap();
    for number in 0..4 {
        std::fs::write(source.path().join(format!("{number}")), noise(number, 12 << 20)).unwrap();
    }
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    faults.add(Operation::Put, "data/", 2, Effect::Delay(Duration::ZERO));
    faults.add(Operation::Put, "data/", u32::MAX, Effect::Hang);
    let token = CancellationToken::new();
    let control = Control::new(token.clone());
    let (worker, handle) = (repository.clone(), guard.handle());
    let request = BackupRequest::new(vec![source.path().to_owned()]);
    let working = control.clone();
    let work = tokio::spawn(async move { repository::backup::backup(&worker, &handle, request, &working).await });
    while control.counters().packs_uploaded.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (error, took) = stop(&token, async { work.await.unwrap() }).await;
    assert!(matches!(error, Some(Error::Cancelled)), "{error:?}");
    assert!(took < IN_TIME, "{took:?}");
    guard.release().await.unwrap();
    assert_eq!(count(&inner, "locks").await, 0);
    assert_eq!(count(&inner, "data").await, 2);
    let index = open(&inner).await.load_index(&Control::default()).await.unwrap();
    // Two packs of 16 MiB are more than one file of 12 MiB, which is 10 chunks or so.
    assert!(index.len() > 10, "what was acknowledged is indexed: {} blobs", index.len());
}

/// No operation waits for a store that answers nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn no_operation_waits_for_a_store_that_hangs() {
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("f"), noise(1, 100_000)).unwrap();
    let target = tempfile::tempdir().unwrap();
    let mut stopping = Vec::new();
    for operation in ["backup", "restore", "check", "forget", "plan", "prune", "repair", "lock", "open", "save"] {
        let (_, faults, store) = faulty();
        let repository = repository(&store).await;
        let guard = shared(&repository).await;
        let files = Files::from([("f".to_owned(), noise(2, 200_000)), ("g".to_owned(), noise(3, 200_000))]);
        let snapshots = [
            backup(&repository, &guard, &files, "one").await.unwrap(),
            backup(&repository, &guard, &Files::from([("f".to_owned(), noise(2, 200_000))]), "two").await.unwrap(),
        ];
        guard.release().await.unwrap();
        let work = Work { repository, store, snapshots, source: source.path().into(), target: target.path().into() };
        stopping.push(async move {
            let (error, took) = work.stop(operation, &faults).await;
            assert!(matches!(error, Some(Error::Cancelled)), "{operation}: {error:?}");
            assert!(took < IN_TIME, "{operation}: {took:?}");
        });
    }
    futures::future::join_all(stopping).await;
}

struct Work {
    repository: Repository,
    store: Arc<dyn ObjectStore>,
    snapshots: [SnapshotId; 2],
    source: std::path::PathBuf,
    target: std::path::PathBuf,
}

impl Work {
    async fn stop(&self, operation: &str, faults: &Faults) -> (Option<Error>, Duration) {
        let guard = match operation {
            "forget" | "plan" | "prune" | "repair" => exclusive(&self.repository).await,
            _ => shared(&self.repository).await,
        };
        let token = CancellationToken::new();
        let control = Control::new(token.clone());
        let mut work = self.begin(operation, &guard, &control, faults).await;
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut work).await.is_err(), "{operation} does not hang");
        stop(&token, work).await
    }

    async fn begin<'a>(
        &'a self,
        operation: &str,
        guard: &'a LockGuard,
        control: &'a Control,
        faults: &Faults,
    ) -> BoxFuture<'a, repository::Result<()>> {
        let repository = &self.repository;
        let lock = guard.handle();
        let unhindered = Control::default();
        match operation {
            "prune" => {
                repository.forget(&lock, &self.snapshots[..1], &unhindered).await.unwrap();
                let options = PruneOptions { max_unused: 0.0, ..PruneOptions::default() };
                let plan = repository.plan_prune(&lock, &options, &unhindered).await.unwrap();
                assert!(!plan.is_empty());
                hang_all(faults);
                async move { repository.prune(&lock, plan, control).await.map(drop) }.boxed()
            }
            "save" => {
                let index = repository.load_index(&unhindered).await.unwrap();
                let saver = repository.blob_saver(index, lock, SaverOptions::default(), control).unwrap();
                saver.save_blob(BlobType::Data, &noise(9, 100_000)).unwrap();
                hang_all(faults);
                async move { saver.flush().await.map(drop) }.boxed()
            }
            _ => {
                hang_all(faults);
                self.simple(operation, lock, control)
            }
        }
    }

    fn simple<'a>(
        &'a self,
        operation: &str,
        lock: repository::LockHandle,
        control: &'a Control,
    ) -> BoxFuture<'a, repository::Result<()>> {
        let repository = &self.repository;
        match operation {
            "backup" => {
                let request = BackupRequest::new(vec![self.source.clone()]);
                async move { repository::backup::backup(repository, &lock, request, control).await.map(drop) }.boxed()
            }
            "restore" => {
                let request = RestoreRequest::new(self.snapshots[0], self.target.clone());
                async move { repository::restore::restore(repository, &lock, request, control).await.map(drop) }.boxed()
            }
            "check" => async move { repository.check(&lock, CheckOptions::default(), control).await.map(drop) }.boxed(),
            "forget" => async move { repository.forget(&lock, &self.snapshots, control).await.map(drop) }.boxed(),
            "plan" => async move { repository.plan_prune(&lock, &PruneOptions::default(), control).await.map(drop) }.boxed(),
            "repair" => async move { repository.repair_index(&lock, control).await.map(drop) }.boxed(),
            "lock" => {
                let request = LockRequest::new(LockMode::Shared, identity("other"));
                async move { repository.lock(request, control).await.map(drop) }.boxed()
            }
            _ => {
                let options = repository::OpenOptions::default();
                let store = Arc::clone(&self.store);
                async move { Repository::open(store, &crate::support::password(), &options, control).await.map(drop) }.boxed()
            }
        }
    }
}

/// A file system that never answers, as a dead NFS server makes one.
struct HungFile {
    hangs: mpsc::Sender<()>,
    ends: Mutex<mpsc::Receiver<()>>,
}

impl SourceFaults for HungFile {
    fn before(&self, step: SourceStep, path: &FilePath) -> std::io::Result<()> {
        if matches!(step, SourceStep::Read { .. }) && path.ends_with("hung") {
            self.hangs.send(()).unwrap();
            // The test's end closes the channel.
            let _ended = self.ends.lock().unwrap().recv();
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_hangs_is_left_behind() {
    let store = storage::memory();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("a"), noise(1, 300_000)).unwrap();
    std::fs::write(source.path().join("hung"), noise(2, 3_000_000)).unwrap();
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    let (hangs, hung) = mpsc::channel();
    let (end, ends) = mpsc::channel();
    let mut request = BackupRequest::new(vec![source.path().to_owned()]);
    request.faults = FaultHook(Some(Arc::new(HungFile { hangs, ends: Mutex::new(ends) })));
    let token = CancellationToken::new();
    let control = Control::new(token.clone());
    let (worker, handle, working) = (repository.clone(), guard.handle(), control.clone());
    let work = tokio::spawn(async move { repository::backup::backup(&worker, &handle, request, &working).await });
    tokio::task::spawn_blocking(move || hung.recv().unwrap()).await.unwrap();
    while control.counters().blobs_new_data.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (error, took) = stop(&token, async { work.await.unwrap() }).await;
    assert!(matches!(error, Some(Error::Cancelled)), "{error:?}");
    assert!(took < IN_TIME, "{took:?}");
    guard.release().await.unwrap();
    assert_eq!(count(&store, "locks").await, 0);
    let before = count(&store, "data").await;
    let index = open(&store).await.load_index(&Control::default()).await.unwrap();
    assert!(index.contains(BlobType::Data, &Id::of(&noise(1, 300_000))), "what was read is kept");
    // The thread that was left behind comes back, and finds that nothing is taken from it.
    drop(end);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(count(&store, "data").await, before);
}

/// Comparing a file of many gigabytes with what is there takes long; it ends with the restore.
#[tokio::test(flavor = "multi_thread")]
async fn the_comparison_of_a_large_file_ends_with_the_restore() {
    const PARTS: u64 = 8192;
    let store = storage::memory();
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    let snapshot = save_large_file(&repository, &guard, PARTS).await;
    let target = tempfile::tempdir().unwrap();
    std::fs::create_dir(target.path().join("data")).unwrap();
    // Takes no room, and is read as zeros.
    let standing = std::fs::File::create(target.path().join("data/large")).unwrap();
    standing.set_len(PARTS << 20).unwrap();
    let token = CancellationToken::new();
    let control = Control::new(token.clone());
    let request = RestoreRequest::new(snapshot, target.path().to_owned());
    let (worker, handle, working) = (repository.clone(), guard.handle(), control.clone());
    let work = tokio::spawn(async move { repository::restore::restore(&worker, &handle, request, &working).await });
    while control.counters().files_total.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (error, took) = stop(&token, async { work.await.unwrap() }).await;
    assert!(matches!(error, Some(Error::Cancelled)), "{error:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    guard.release().await.unwrap();
    assert_eq!(count(&store, "locks").await, 0);
    assert_eq!(rustix::fs::fstat(standing.as_fd()).unwrap().st_blocks, 0, "nothing was written any more");
}

/// A file of one blob of a mebibyte, many times.
async fn save_large_file(repository: &Repository, guard: &LockGuard, parts: u64) -> SnapshotId {
    let control = Control::default();
    let index = repository.load_index(&control).await.unwrap();
    let saver = repository.blob_saver(index, guard.handle(), SaverOptions::default(), &control).unwrap();
    let id = saver.save_blob(BlobType::Data, &noise(5, 1 << 20)).unwrap().id;
    let time = Time { seconds: 1_700_000_000, nanos: 0 };
    let file = Node {
        name: b"large".to_vec(),
        node_type: NodeType::File,
        mode: 0o644,
        mtime: time,
        atime: time,
        ctime: time,
        size: parts << 20,
        links: 1,
        content: Some([Run { id, count: parts }].into_iter().collect()),
        ..Node::default()
    };
    let save = |node| saver.save_blob(BlobType::Tree, &Tree::serialise(&[node]).unwrap()).unwrap().id;
    let below = save(file);
    let directory = Node {
        name: b"data".to_vec(),
        node_type: NodeType::Dir,
        mode: file_mode::DIR | 0o755,
        subtree: Some(below),
        ..Node::default()
    };
    let root = save(directory);
    saver.flush().await.unwrap();
    let snapshot = Snapshot {
        time,
        parent: None,
        tree: root,
        paths: vec!["/data".into()],
        hostname: "host-0".into(),
        username: String::new(),
        uid: 0,
        gid: 0,
        excludes: Vec::new(),
        tags: Vec::new(),
        original: None,
        program_version: String::new(),
        summary: None,
    };
    repository.save_snapshot(&guard.handle(), &snapshot, &control).await.unwrap()
}
