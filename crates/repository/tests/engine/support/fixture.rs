//! Small repositories made through the engine's own interface.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use repository::crypto::ScryptCost;
use repository::format::{Node, NodeType, Snapshot, Time, Tree, file_mode};
use repository::{
    BlobReader, BlobSaver, BlobType, Control, InitOptions, LockGuard, LockIdentity, LockMode, LockRequest, OpenOptions,
    Repository, SaverOptions, SnapshotId, TreeId,
};
use secrecy::SecretString;

/// Path to content. Directories are implied.
pub type Files = BTreeMap<String, Vec<u8>>;

pub fn password() -> SecretString {
    SecretString::from("correct horse battery staple")
}

pub async fn repository(store: &Arc<dyn ObjectStore>) -> Repository {
    let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
    Repository::init(Arc::clone(store), &password(), &options, &Control::default()).await.unwrap()
}

pub async fn open(store: &Arc<dyn ObjectStore>) -> Repository {
    Repository::open(Arc::clone(store), &password(), &OpenOptions::default(), &Control::default()).await.unwrap()
}

pub fn identity(pod: &str) -> LockIdentity {
    LockIdentity {
        hostname: format!("{pod}.{pod}-uid"),
        pid: 1,
        cluster_uid: "cluster".into(),
        pod_uid: format!("{pod}-uid"),
        machine_id: "machine".into(),
        ..LockIdentity::default()
    }
}

pub async fn shared(repository: &Repository) -> LockGuard {
    take(repository, LockMode::Shared).await
}

pub async fn exclusive(repository: &Repository) -> LockGuard {
    take(repository, LockMode::Exclusive).await
}

async fn take(repository: &Repository, mode: LockMode) -> LockGuard {
    let mut request = LockRequest::new(mode, identity("test")).waiting(Duration::from_secs(20));
    request.times.settle = Duration::from_millis(1);
    repository.lock(request, &Control::default()).await.unwrap()
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Bytes that do.
pub fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 80);
    let mut line = seed;
    while bytes.len() < length {
        bytes.extend_from_slice(
            format!("2026-11-23T10:00:{:02}Z level=info request={line:x} took={}ms\n", line % 60, line % 997).as_bytes(),
        );
        line = line.wrapping_mul(25_214_903_917).wrapping_add(11);
    }
    bytes.truncate(length);
    bytes
}

/// Backs up files that exist only here, under a shared lock; each file is cut into blobs of 64 KiB.
pub async fn backup(repository: &Repository, lock: &LockGuard, files: &Files, tag: &str) -> repository::Result<SnapshotId> {
    let control = Control::default();
    let index = repository.load_index(&control).await?;
    let saver = repository.blob_saver(index, lock.handle(), SaverOptions::default(), &control)?;
    let (files, writer) = (files.clone(), saver.clone());
    let tree = tokio::task::spawn_blocking(move || save_tree(&writer, &files)).await.unwrap()?;
    saver.flush().await?;
    let snapshot = Snapshot {
        time: Time::now(),
        parent: None,
        tree,
        paths: vec!["/data".into()],
        hostname: "host-0".into(),
        username: String::new(),
        uid: 0,
        gid: 0,
        excludes: Vec::new(),
        tags: vec![tag.into()],
        original: None,
        program_version: String::new(),
        summary: None,
    };
    repository.save_snapshot(&lock.handle(), &snapshot, &control).await
}

fn save_tree(saver: &BlobSaver, files: &Files) -> repository::Result<TreeId> {
    let mut directories: BTreeMap<&str, Files> = BTreeMap::new();
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    let time = Time { seconds: 1_700_000_000, nanos: 5 };
    for (path, content) in files {
        match path.split_once('/') {
            Some((directory, rest)) => {
                directories.entry(directory).or_default().insert(rest.to_owned(), content.clone());
            }
            None => {
                let ids = content
                    .chunks(64 << 10)
                    .map(|piece| Ok(saver.save_blob(BlobType::Data, piece)?.id))
                    .collect::<repository::Result<_>>()?;
                let node = Node {
                    name: path.clone().into_bytes(),
                    node_type: NodeType::File,
                    mode: 0o644,
                    mtime: time,
                    atime: time,
                    ctime: time,
                    size: content.len() as u64,
                    links: 1,
                    content: Some(ids),
                    ..Node::default()
                };
                nodes.insert(path.clone(), node);
            }
        }
    }
    for (name, below) in directories {
        let node = Node {
            name: name.as_bytes().to_vec(),
            node_type: NodeType::Dir,
            mode: file_mode::DIR | 0o755,
            mtime: time,
            atime: time,
            ctime: time,
            subtree: Some(save_tree(saver, &below)?),
            ..Node::default()
        };
        nodes.insert(name.to_owned(), node);
    }
    let nodes: Vec<Node> = nodes.into_values().collect();
    Ok(saver.save_blob(BlobType::Tree, &Tree::serialise(&nodes)?)?.id)
}

/// Reads a snapshot's files back, every blob verified.
pub async fn read_snapshot(reader: &BlobReader, root: TreeId) -> repository::Result<Files> {
    let mut files = Files::new();
    let mut waiting = vec![(String::new(), root)];
    while let Some((prefix, tree)) = waiting.pop() {
        for node in reader.load_tree(&tree).await?.nodes {
            let path = format!("{prefix}{}", String::from_utf8_lossy(&node.name));
            match (node.subtree, node.content) {
                (Some(subtree), _) => waiting.push((format!("{path}/"), subtree)),
                (None, Some(content)) => {
                    let mut bytes = Vec::new();
                    for id in content {
                        bytes.extend_from_slice(&reader.load_blob(BlobType::Data, &id).await?);
                    }
                    files.insert(path, bytes);
                }
                _ => {}
            }
        }
    }
    Ok(files)
}

/// Every file of every snapshot, by the snapshot's first tag.
pub async fn read_everything(repository: &Repository) -> repository::Result<BTreeMap<String, Files>> {
    let control = Control::default();
    let list = repository.snapshots(&control).await?;
    assert!(list.damaged.is_empty(), "{:?}", list.damaged);
    let index = repository.load_index(&control).await?;
    assert!(index.damaged().is_empty(), "{:?}", index.damaged());
    let reader = repository.blob_reader(index, &control);
    let mut all = BTreeMap::new();
    for (_, snapshot) in list.snapshots {
        all.insert(snapshot.tags.first().cloned().unwrap_or_default(), read_snapshot(&reader, snapshot.tree).await?);
    }
    Ok(all)
}

/// A store of its own with the same objects.
pub async fn copy_of(store: &Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    let copy = storage::memory();
    let objects: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    for object in objects {
        let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        copy.put(&object.location, bytes.into()).await.unwrap();
    }
    copy
}
