//! Walking all trees of some snapshots once, marking what they use.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::{BlobType, Content, NodeType};
use crate::index::{Index, Place};
use crate::pack::{BlobReader, TreeNodes, is_streamed};
use crate::{BlobId, TreeId};

/// Trees in work at a time.
const PARALLEL_TREES: usize = 16;

/// A bit for each blob of an index.
#[derive(Debug)]
pub(super) struct UsedBlobs {
    bits: Vec<Vec<AtomicU64>>,
    /// Those that became known later: few, if any, and only where trees are written meanwhile.
    later: Mutex<HashSet<Place>>,
}

impl UsedBlobs {
    pub fn new(index: &Index) -> Self {
        let words = |length: usize| (0..length.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { bits: index.shard_lengths().into_iter().map(words).collect(), later: Mutex::default() }
    }

    /// Marks it; true if it was not marked before. A blob that became known later has a place too.
    pub fn mark(&self, place: Place) -> bool {
        let bit = 1 << (place.at % 64);
        match self.bits[place.shard].get(place.at / 64) {
            Some(word) => word.fetch_or(bit, Relaxed) & bit == 0,
            None => self.later.lock().insert(place),
        }
    }

    pub fn contains(&self, place: Place) -> bool {
        match self.bits[place.shard].get(place.at / 64) {
            Some(word) => word.load(Relaxed) & (1 << (place.at % 64)) != 0,
            None => self.later.lock().contains(&place),
        }
    }
}

/// Something that a walk missed.
#[derive(Debug, Clone)]
pub(super) enum Missing {
    /// A tree that cannot be read.
    Tree { id: TreeId, error: Error },
    /// A data blob that the index does not have.
    Data { id: BlobId, tree: TreeId, name: Vec<u8> },
    /// An entry that says something impossible.
    Entry { tree: TreeId, name: Vec<u8>, reason: &'static str },
}

/// What a walk found.
#[derive(Debug)]
pub(super) struct Walk {
    pub used: Arc<UsedBlobs>,
    /// The first of what was missed; a lost index would fill the memory with all.
    pub missing: Vec<Missing>,
    /// How many more.
    pub missing_omitted: u64,
    pub trees: u64,
}

/// Most faults that are named.
const MOST_FAULTS: usize = 1000;

/// What the readers of trees share.
#[derive(Clone)]
struct Shared {
    reader: BlobReader,
    used: Arc<UsedBlobs>,
    /// One large tree is read at a time, or memory would grow with the number of trees in work.
    large: Arc<Semaphore>,
}

/// What one tree, or some roots, came to. What is used is marked already.
#[derive(Default)]
struct Found {
    /// Trees that nobody has met before.
    subtrees: Vec<TreeId>,
    missing: Vec<Missing>,
    missing_omitted: u64,
}

impl Found {
    fn miss(&mut self, missing: Missing) {
        if self.missing.len() < MOST_FAULTS {
            self.missing.push(missing);
        } else {
            self.missing_omitted += 1;
        }
    }
}

/// Reads every tree that the roots reach, each once. What cannot be read is noted and walked around.
///
/// # Errors
/// Of the store if it does not let us look, and [`Error::Cancelled`].
pub(super) async fn walk(reader: &BlobReader, roots: &[TreeId], control: &Control) -> Result<Walk> {
    let used = Arc::new(UsedBlobs::new(reader.index()));
    let shared = Shared { reader: reader.clone(), used: Arc::clone(&used), large: Arc::new(Semaphore::new(1)) };
    let mut walk = Walk { used, missing: Vec::new(), missing_omitted: 0, trees: 0 };
    // The last pushed is read first: depth first, in which order trees stand near each other in their packs.
    let mut waiting: Vec<TreeId> = Vec::new();
    let mut found = Found::default();
    roots.iter().for_each(|root| shared.enter(root, &mut found));
    walk.note(found, &mut waiting);
    let mut running = JoinSet::new();
    loop {
        control.check()?;
        while running.len() < PARALLEL_TREES
            && let Some(id) = waiting.pop()
        {
            let shared = shared.clone();
            running.spawn(async move { (id, shared.read(id).await) });
        }
        let Some(joined) = running.join_next().await else { return Ok(walk) };
        match joined.map_err(Error::internal)? {
            (_, Ok(found)) => {
                walk.trees += 1;
                walk.note(found, &mut waiting);
            }
            (id, Err(error)) if error.is_damage() => {
                let mut found = Found::default();
                found.miss(Missing::Tree { id, error });
                walk.note(found, &mut waiting);
            }
            (_, Err(error)) => return Err(error),
        }
    }
}

impl Walk {
    fn note(&mut self, found: Found, waiting: &mut Vec<TreeId>) {
        let Found { subtrees, missing, missing_omitted } = found;
        waiting.extend(subtrees.into_iter().rev());
        let room = MOST_FAULTS - self.missing.len();
        self.missing_omitted += missing_omitted + missing.len().saturating_sub(room) as u64;
        self.missing.extend(missing.into_iter().take(room));
    }
}

impl Shared {
    /// Reads a tree and marks what it refers to.
    async fn read(&self, id: TreeId) -> Result<Found> {
        let length = self.reader.index().plain_length(BlobType::Tree, &id).unwrap_or(0);
        let is_large = is_streamed(BlobType::Tree, length);
        let _turn = if is_large { Some(self.large.acquire().await.map_err(Error::internal)?) } else { None };
        let nodes = self.reader.tree_nodes(&id).await?;
        if !nodes.is_streamed() {
            return self.look_at(id, nodes);
        }
        // It takes a second or more of a processor.
        let shared = self.clone();
        tokio::task::spawn_blocking(move || shared.look_at(id, nodes)).await.map_err(Error::internal)?
    }

    fn look_at(&self, id: TreeId, nodes: TreeNodes) -> Result<Found> {
        let mut found = Found::default();
        for node in nodes {
            let node = node?;
            let problem = match node.node_type {
                NodeType::Dir if node.subtree.is_none() => Some("a directory without a tree"),
                NodeType::File if node.content.is_none() => Some("a file without content"),
                _ if node.safe_name().is_none() => Some("a name that is no name"),
                _ => None,
            };
            if let Some(reason) = problem {
                found.miss(Missing::Entry { tree: id, name: node.name.clone(), reason });
            }
            if let Some(subtree) = &node.subtree {
                self.enter(subtree, &mut found);
            }
            for run in node.content.iter().flat_map(Content::runs) {
                match self.reader.index().place(BlobType::Data, &run.id) {
                    Some(place) => {
                        self.used.mark(place);
                    }
                    None => found.miss(Missing::Data { id: run.id, tree: id, name: node.name.clone() }),
                }
            }
        }
        Ok(found)
    }

    /// Notes a tree that is to be read, unless somebody has met it before.
    fn enter(&self, id: &TreeId, found: &mut Found) {
        match self.reader.index().place(BlobType::Tree, id) {
            Some(place) => {
                if self.used.mark(place) {
                    found.subtrees.push(*id);
                }
            }
            None => {
                let reason = "the index does not have it".to_owned();
                found
                    .miss(Missing::Tree { id: *id, error: Error::BlobUnreadable { blob_type: BlobType::Tree, id: *id, reason } });
            }
        }
    }
}
