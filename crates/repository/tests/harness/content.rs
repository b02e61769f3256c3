//! Small trees to back up, made without a file system, and the course of a backup without its walk.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use repository::format::{Node, NodeType, Snapshot, Time, Tree, file_mode};
use repository::{BlobType, Control, Id, Index, LockHandle, Repository, Result, SaverOptions, SnapshotId, TreeId};

use super::Dice;
use crate::support::{noise, text};

/// Pieces of files from which contents are put together, so that they share some.
#[derive(Debug, Clone)]
pub struct Pool {
    pub pieces: Vec<(Id, Bytes)>,
}

impl Pool {
    pub fn new(dice: &mut Dice, count: usize, sizes: RangeInclusive<usize>) -> Self {
        let mut piece = || {
            let (seed, length) = (dice.next(), dice.between(*sizes.start(), *sizes.end()));
            let bytes = Bytes::from(if dice.one_in(3) { text(seed, length) } else { noise(seed, length) });
            (Id::of(&bytes), bytes)
        };
        Self { pieces: (0..count).map(|_| piece()).collect() }
    }
}

/// A tree, as the blobs that it is made of: what a tree refers to comes before it.
#[derive(Debug, Clone)]
pub struct Content {
    pub root: TreeId,
    pub blobs: Blobs,
}

impl Content {
    pub fn new(dice: &mut Dice, pool: &Pool) -> Self {
        let mut blobs = Vec::new();
        let root = directory(dice, pool, 0, &mut blobs);
        Self { root, blobs }
    }

    /// One directory with a file for each piece.
    pub fn flat(pieces: &[(Id, Bytes)]) -> Self {
        let mut blobs = Vec::new();
        let files = pieces.iter().enumerate();
        let nodes: Vec<_> =
            files.map(|(number, piece)| file(&format!("file{number:04}"), vec![piece.clone()], &mut blobs)).collect();
        let root = tree(&nodes, &mut blobs);
        Self { root, blobs }
    }
}

type Blobs = Vec<(BlobType, Id, Bytes)>;

fn directory(dice: &mut Dice, pool: &Pool, depth: usize, blobs: &mut Blobs) -> TreeId {
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    for number in 0..dice.between(1, 3) {
        let pieces: Vec<_> = (0..dice.below(4)).map(|_| dice.pick(&pool.pieces).clone()).collect();
        let name = format!("file{number}");
        nodes.insert(name.clone(), file(&name, pieces, blobs));
    }
    for number in 0..if depth < 2 { dice.below(3 - depth) } else { 0 } {
        let name = format!("dir{number}");
        let subtree = Some(directory(dice, pool, depth + 1, blobs));
        nodes.insert(name.clone(), Node { node_type: NodeType::Dir, mode: file_mode::DIR | 0o755, subtree, ..node(&name) });
    }
    tree(&nodes.into_values().collect::<Vec<_>>(), blobs)
}

fn file(name: &str, pieces: Vec<(Id, Bytes)>, blobs: &mut Blobs) -> Node {
    let node = Node {
        node_type: NodeType::File,
        mode: 0o644,
        size: pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
        links: 1,
        content: Some(pieces.iter().map(|(id, _)| *id).collect()),
        ..node(name)
    };
    blobs.extend(pieces.into_iter().map(|(id, bytes)| (BlobType::Data, id, bytes)));
    node
}

fn tree(nodes: &[Node], blobs: &mut Blobs) -> TreeId {
    let bytes = Bytes::from(Tree::serialise(nodes).unwrap());
    let id = Id::of(&bytes);
    blobs.push((BlobType::Tree, id, bytes));
    id
}

fn node(name: &str) -> Node {
    let time = Time { seconds: 1_700_000_000, nanos: 5 };
    Node { name: name.as_bytes().to_vec(), mtime: time, atime: time, ctime: time, ..Node::default() }
}

/// How a backup packs.
#[derive(Debug, Clone, Copy)]
pub struct Saving {
    pub options: SaverOptions,
    /// So many times the packs are closed and indexed on the way, as a long backup does it.
    pub flushes: usize,
}

/// Backs up in the order of the real thing: snapshots, index, packs, their index, snapshot.
pub async fn back_up(
    repository: &Repository,
    lock: &LockHandle,
    content: &Content,
    name: &str,
    saving: Saving,
    control: &Control,
) -> Result<SnapshotId> {
    repository.snapshots(control).await?;
    let index = repository.load_index(control).await?;
    save(repository, lock, index, content, name, saving, control).await
}

/// The same with an index that was loaded before.
pub async fn save(
    repository: &Repository,
    lock: &LockHandle,
    index: Arc<Index>,
    content: &Content,
    name: &str,
    saving: Saving,
    control: &Control,
) -> Result<SnapshotId> {
    let saver = repository.blob_saver(index, lock.clone(), saving.options, control)?;
    for some in content.blobs.chunks(content.blobs.len().div_ceil(saving.flushes)) {
        let saved = some.iter().try_for_each(|(blob_type, id, bytes)| saver.save_blob_with_id(*blob_type, *id, bytes).map(drop));
        // Also after a failure, as the backup does it.
        saver.flush().await?;
        saved?;
    }
    lock.check()?;
    repository.save_snapshot(lock, &snapshot(content.root, name), control).await
}

fn snapshot(tree: TreeId, name: &str) -> Snapshot {
    Snapshot {
        time: Time { seconds: 1_700_000_100, nanos: 0 },
        parent: None,
        tree,
        paths: vec!["/data".into()],
        hostname: "host-0".into(),
        username: String::new(),
        uid: 0,
        gid: 0,
        excludes: Vec::new(),
        tags: vec![name.into()],
        original: None,
        program_version: String::new(),
        summary: None,
    }
}
