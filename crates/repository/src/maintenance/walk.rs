//! Walking all trees of some snapshots once, marking what they use.

use tokio::task::JoinSet;

use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::{BlobType, NodeType};
use crate::index::{Index, Place};
use crate::pack::BlobReader;
use crate::{BlobId, TreeId};

/// Trees in work at a time.
const PARALLEL_TREES: usize = 16;

/// A bit for each blob of an index.
#[derive(Debug)]
pub(super) struct UsedBlobs {
    bits: Vec<Vec<u64>>,
}

impl UsedBlobs {
    pub fn new(index: &Index) -> Self {
        Self { bits: index.shard_lengths().into_iter().map(|length| vec![0; length.div_ceil(64)]).collect() }
    }

    /// Marks it; true if it was not marked before. A blob that became known later has a place too.
    pub fn mark(&mut self, place: Place) -> bool {
        let words = &mut self.bits[place.shard];
        if words.len() <= place.at / 64 {
            words.resize(place.at / 64 + 1, 0);
        }
        let word = &mut words[place.at / 64];
        let bit = 1 << (place.at % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub fn contains(&self, place: Place) -> bool {
        self.bits[place.shard].get(place.at / 64).is_some_and(|word| word & (1 << (place.at % 64)) != 0)
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
    pub used: UsedBlobs,
    /// The first of what was missed; a lost index would fill the memory with all.
    pub missing: Vec<Missing>,
    /// How many more.
    pub missing_omitted: u64,
    pub trees: u64,
}

/// Most faults that are named.
const MOST_FAULTS: usize = 1000;

impl Walk {
    fn miss(&mut self, missing: Missing) {
        if self.missing.len() < MOST_FAULTS {
            self.missing.push(missing);
        } else {
            self.missing_omitted += 1;
        }
    }
}

struct WalkedTree {
    id: TreeId,
    subtrees: Vec<TreeId>,
    /// Content of files, with the position of the file's name.
    content: Vec<(BlobId, u32)>,
    names: Vec<Vec<u8>>,
    problems: Vec<Missing>,
}

/// Reads every tree that the roots reach, each once. What cannot be read is noted and walked around.
///
/// # Errors
/// Of the store if it does not let us look, and [`Error::Cancelled`].
pub(super) async fn walk(reader: &BlobReader, roots: &[TreeId], control: &Control) -> Result<Walk> {
    let index = reader.index();
    let mut walk = Walk { used: UsedBlobs::new(index), missing: Vec::new(), missing_omitted: 0, trees: 0 };
    // The last pushed is read first: depth first, in which order trees stand near each other in their packs.
    let mut waiting: Vec<TreeId> = Vec::new();
    for root in roots.iter().rev() {
        enter(root, index, &mut walk, &mut waiting);
    }
    let mut running = JoinSet::new();
    loop {
        control.check()?;
        while running.len() < PARALLEL_TREES
            && let Some(id) = waiting.pop()
        {
            let reader = reader.clone();
            running.spawn(async move { (id, read(&reader, id).await) });
        }
        let Some(joined) = running.join_next().await else { return Ok(walk) };
        match joined.map_err(Error::internal)? {
            (_, Ok(tree)) => note(tree, index, &mut walk, &mut waiting),
            (id, Err(error)) if error.is_damage() => walk.miss(Missing::Tree { id, error }),
            (_, Err(error)) => return Err(error),
        }
    }
}

fn enter(id: &TreeId, index: &Index, walk: &mut Walk, waiting: &mut Vec<TreeId>) {
    match index.place(BlobType::Tree, id) {
        Some(place) => {
            if walk.used.mark(place) {
                waiting.push(*id);
            }
        }
        None => {
            let reason = "the index does not have it".to_owned();
            walk.miss(Missing::Tree { id: *id, error: Error::BlobUnreadable { blob_type: BlobType::Tree, id: *id, reason } });
        }
    }
}

fn note(tree: WalkedTree, index: &Index, walk: &mut Walk, waiting: &mut Vec<TreeId>) {
    walk.trees += 1;
    tree.problems.into_iter().for_each(|problem| walk.miss(problem));
    for (blob, name) in &tree.content {
        match index.place(BlobType::Data, blob) {
            Some(place) => {
                walk.used.mark(place);
            }
            None => walk.miss(Missing::Data { id: *blob, tree: tree.id, name: tree.names[*name as usize].clone() }),
        }
    }
    for subtree in tree.subtrees.iter().rev() {
        enter(subtree, index, walk, waiting);
    }
}

/// Reads a tree and keeps only what the walk needs.
async fn read(reader: &BlobReader, id: TreeId) -> Result<WalkedTree> {
    let tree = reader.load_tree(&id).await?;
    let mut walked = WalkedTree { id, subtrees: Vec::new(), content: Vec::new(), names: Vec::new(), problems: Vec::new() };
    for node in tree.nodes {
        let problem = match node.node_type {
            NodeType::Dir if node.subtree.is_none() => Some("a directory without a tree"),
            NodeType::File if node.content.is_none() => Some("a file without content"),
            _ if node.safe_name().is_none() => Some("a name that is no name"),
            _ => None,
        };
        if let Some(reason) = problem {
            walked.problems.push(Missing::Entry { tree: id, name: node.name.clone(), reason });
        }
        walked.subtrees.extend(node.subtree);
        if let Some(content) = node.content.filter(|content| !content.is_empty()) {
            let name = u32::try_from(walked.names.len()).map_err(Error::internal)?;
            walked.content.extend(content.into_iter().map(|blob| (blob, name)));
            walked.names.push(node.name);
        }
    }
    Ok(walked)
}
