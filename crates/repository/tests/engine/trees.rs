//! Trees are read with few requests, however many packs they stand in, and the store's latency is hidden.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};
use repository::format::{Content, Node, NodeType, Snapshot, Time, Tree, file_mode};
use repository::maintenance::CheckOptions;
use repository::{BlobSaver, BlobType, Control, LockGuard, Repository, SaverOptions, TreeId};

use crate::support::{noise, open, repository, shared};

const MIB: usize = 1 << 20;

/// A store that is some milliseconds away and counts what is read of packs.
#[derive(Debug)]
struct DistantStore {
    inner: Arc<dyn ObjectStore>,
    latency: Duration,
    reads: AtomicUsize,
}

impl DistantStore {
    fn new(inner: &Arc<dyn ObjectStore>, latency: Duration) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), latency, reads: AtomicUsize::new(0) })
    }
}

impl fmt::Display for DistantStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DistantStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for DistantStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if location.as_ref().starts_with("data/") {
            self.reads.fetch_add(1, Relaxed);
            tokio::time::sleep(self.latency).await;
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Levels of directories.
const LEVELS: u32 = 3;

/// Leaves change once in so many years.
const YEARS: u64 = 60;

/// A tree of directories that changes from year to year.
struct Directories {
    /// Entries of each directory.
    width: u64,
    leaves: HashMap<u64, TreeId>,
}

impl Directories {
    fn new(width: u64) -> Self {
        Self { width, leaves: HashMap::new() }
    }

    fn count(&self) -> usize {
        usize::try_from((0..=LEVELS).map(|level| self.width.pow(level)).sum::<u64>()).unwrap()
    }

    /// Saves a directory with all below, the lower ones first as a backup does. Of the leaves only those that changed.
    fn save(&mut self, saver: &BlobSaver, level: u32, number: u64, year: u64) -> TreeId {
        let is_leaf = level == LEVELS;
        if is_leaf
            && year % YEARS != number % YEARS
            && let Some(id) = self.leaves.get(&number)
        {
            return *id;
        }
        let nodes = if is_leaf { leaf(number + year * 1_000_000) } else { self.save_below(saver, level, number, year) };
        let id = saver.save_blob(BlobType::Tree, &Tree::serialise(&nodes).unwrap()).unwrap().id;
        if is_leaf {
            self.leaves.insert(number, id);
        }
        id
    }

    fn save_below(&mut self, saver: &BlobSaver, level: u32, number: u64, year: u64) -> Vec<Node> {
        (0..self.width)
            .map(|child| Node {
                name: format!("{child:02}").into_bytes(),
                node_type: NodeType::Dir,
                mode: file_mode::DIR | 0o755,
                subtree: Some(self.save(saver, level + 1, number * self.width + child, year)),
                ..Node::default()
            })
            .collect()
    }
}

/// A directory of files that takes some 4 KiB and is like no other.
fn leaf(seed: u64) -> Vec<Node> {
    let files = noise(seed, 22 * 8);
    files
        .chunks_exact(8)
        .enumerate()
        .map(|(at, word)| Node {
            name: format!("file {at:02} {word:x?}").into_bytes(),
            content: Some(Content::new()),
            ..Node::default()
        })
        .collect()
}

/// Saves a snapshot of directories; its root, and the bytes of trees that were stored for it.
async fn save_snapshot(
    repository: &Repository,
    guard: &LockGuard,
    directories: &Arc<Mutex<Directories>>,
    year: u64,
) -> (TreeId, usize) {
    let control = Control::default();
    let index = repository.load_index(&control).await.unwrap();
    let options = SaverOptions { compress: false, ..SaverOptions::default() };
    let saver = repository.blob_saver(index, guard.handle(), options, &control).unwrap();
    let (writer, directories) = (saver.clone(), Arc::clone(directories));
    let save = move || directories.lock().unwrap().save(&writer, 0, 0, year);
    let tree = tokio::task::spawn_blocking(save).await.unwrap();
    saver.flush().await.unwrap();
    let snapshot = Snapshot {
        time: Time { seconds: i64::try_from(year).unwrap(), nanos: 0 },
        parent: None,
        tree,
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
    repository.save_snapshot(&guard.handle(), &snapshot, &control).await.unwrap();
    (tree, usize::try_from(control.counters().snapshot().bytes_stored).unwrap())
}

/// Reads all trees below one, one after the other from the top down, as a restore does.
async fn walk(repository: &Repository, root: TreeId) -> usize {
    let control = Control::default();
    let reader = repository.blob_reader(repository.load_index(&control).await.unwrap(), &control);
    let (mut waiting, mut trees) = (vec![root], 0);
    while let Some(id) = waiting.pop() {
        trees += 1;
        let tree = reader.load_tree(&id).await.unwrap();
        waiting.extend(tree.nodes.iter().rev().filter_map(|node| node.subtree));
    }
    trees
}

/// Several packs of trees are more than are kept in memory, and are read in order with a request for each mebibyte; so many
/// directories that each had a request of its own would take a day.
#[tokio::test(flavor = "multi_thread")]
async fn many_packs_of_trees_take_a_request_for_each_mebibyte_and_hide_the_latency() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let made = repository(&store).await;
    let guard = shared(&made).await;
    let directories = Arc::new(Mutex::new(Directories::new(27)));
    let all = directories.lock().unwrap().count();
    let (root, stored) = save_snapshot(&made, &guard, &directories, 1).await;
    let most = 2 * stored.div_ceil(MIB);
    assert!(stored > 70 * MIB, "{stored}");

    // One request after the other all of it would be waited for. Others on the machine only ever make it slower, so the best of a few
    // walks tells.
    let distant = DistantStore::new(&store, Duration::from_millis(50));
    let mut latency_left = Vec::new();
    while latency_left.len() < 4 && !latency_left.iter().any(|left| *left < 0.8) {
        // New clients, which have nothing in memory.
        let near = seconds_to_walk(&open(&store).await, root, all).await;
        let far = seconds_to_walk(&open(&(Arc::clone(&distant) as Arc<dyn ObjectStore>)).await, root, all).await;
        let reads = distant.reads.swap(0, Relaxed);
        assert!(reads <= most, "{reads} requests for {stored} bytes");
        latency_left.push((far - near) / (distant.latency.as_secs_f64() * reads as f64));
    }
    assert!(latency_left.iter().any(|left| *left < 0.8), "parts of the latency that are waited for: {latency_left:?}");

    let repository = open(&(Arc::clone(&distant) as Arc<dyn ObjectStore>)).await;
    // A check reads several trees at a time.
    let report = repository.check(&guard.handle(), CheckOptions::default(), &Control::default()).await.unwrap();
    assert_eq!((report.errors.len(), report.trees), (0, all as u64));
    let reads = distant.reads.load(Relaxed);
    assert!(reads <= most, "{reads} requests for {stored} bytes");
    guard.release().await.unwrap();
}

async fn seconds_to_walk(repository: &Repository, root: TreeId, all: usize) -> f64 {
    let begin = Instant::now();
    assert_eq!(walk(repository, root).await, all);
    begin.elapsed().as_secs_f64()
}

/// A year of snapshots: each has a pack with the trees that changed, and a walk needs all the packs by turns.
#[tokio::test(flavor = "multi_thread")]
async fn trees_that_are_scattered_over_many_packs_take_few_requests_too() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let made = repository(&store).await;
    let guard = shared(&made).await;
    let directories = Arc::new(Mutex::new(Directories::new(18)));
    let (mut root, mut stored) = save_snapshot(&made, &guard, &directories, 0).await;
    for year in 1..YEARS {
        let (next, added) = save_snapshot(&made, &guard, &directories, year).await;
        (root, stored) = (next, stored + added);
    }
    assert!(stored > 70 * MIB, "{stored}");
    let distant = DistantStore::new(&store, Duration::ZERO);
    let repository = open(&(Arc::clone(&distant) as Arc<dyn ObjectStore>)).await;
    let trees = walk(&repository, root).await;
    let reads = distant.reads.load(Relaxed);
    assert!(reads * 20 <= trees, "{reads} requests for {trees} trees");
    guard.release().await.unwrap();
}
