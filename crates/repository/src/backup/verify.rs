//! Reading a snapshot back: what it holds, and whether all of it can be found (invariant I2).

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    queue::{CloseOnPanic, Queue},
    tally::Counts,
};
use crate::{
    TreeId,
    control::Control,
    error::{Error, Result},
    format::{BlobType, Content, Node, NodeType, Run},
    index::Index,
    limits::STREAMED_TREE,
    pack::BlobReader,
};

/// How far a snapshot is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it. The root counts as a directory.
    Whole,
    /// Only trees that are in none of the first so many packs of the index: what a run has made. Older ones were read back by
    /// the run that made them, or were compared with their sum when they were taken up, and their packs are in the store. The
    /// root is no entry of a tree and is not counted.
    NewerThan(u32),
}

/// Counts what lies below a tree. Every blob that a file refers to must be in the index and the lengths must add up to its size.
///
/// # Errors
/// If a tree cannot be read or a blob is not indexed.
pub(super) async fn count(
    reader: BlobReader,
    index: Arc<Index>,
    root: TreeId,
    extent: Extent,
    workers: usize,
    control: &Control,
) -> Result<Counts> {
    if extent.leaves_out(&index, &root) {
        return Ok(Counts::default());
    }
    let counts = Counts { dirs: u64::from(extent == Extent::Whole), ..Counts::default() };
    let counter = Counter {
        reader,
        index,
        extent,
        control: control.clone(),
        queue: Queue::default(),
        large: Mutex::default(),
        state: Mutex::new(State { counts, open: 1, failure: None }),
    };
    counter.queue.push_all(vec![root]);
    tokio::task::spawn_blocking(move || {
        let panicked = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(|| counter.work())).collect();
            threads.into_iter().filter_map(|thread| thread.join().err()).count()
        });
        let state = counter.state.into_inner();
        match state.failure {
            Some(error) => Err(error),
            None if panicked == 0 => Ok(state.counts),
            None => Err(Error::Internal { reason: "a thread of the verification panicked".to_owned() }),
        }
    })
    .await
    .map_err(|error| Error::Internal { reason: error.to_string() })?
}

impl Extent {
    fn leaves_out(self, index: &Index, tree: &TreeId) -> bool {
        match self {
            Self::Whole => false,
            Self::NewerThan(packs) => index.was_known(BlobType::Tree, tree, packs),
        }
    }
}

struct Counter {
    reader: BlobReader,
    index: Arc<Index>,
    extent: Extent,
    control: Control,
    queue: Queue<TreeId>,
    /// Held while a large tree is read.
    large: Mutex<()>,
    state: Mutex<State>,
}

struct State {
    counts: Counts,
    /// Trees that wait or are being read.
    open: usize,
    failure: Option<Error>,
}

impl Counter {
    fn work(&self) {
        let _close = CloseOnPanic(&self.queue);
        while let Some(tree) = self.queue.pop() {
            match self.tree(&tree) {
                Ok((counts, subtrees)) => {
                    let mut state = self.state.lock();
                    state.counts.files += counts.files;
                    state.counts.dirs += counts.dirs;
                    state.counts.others += counts.others;
                    state.counts.bytes += counts.bytes;
                    state.open = state.open - 1 + subtrees.len();
                    let is_done = state.open == 0;
                    drop(state);
                    if is_done {
                        self.queue.close();
                    } else {
                        self.queue.push_all(subtrees);
                    }
                }
                Err(error) => {
                    self.state.lock().failure.get_or_insert(error);
                    self.queue.close();
                }
            }
        }
    }

    fn tree(&self, id: &TreeId) -> Result<(Counts, Vec<TreeId>)> {
        self.control.check()?;
        // Large trees are read one at a time, or memory would grow with the number of threads.
        let _turn = self.is_large(id).then(|| self.large.lock());
        let mut counts = Counts::default();
        let mut subtrees = Vec::new();
        for node in self.reader.tree_nodes_blocking(id)? {
            let node = &node?;
            let length = if node.node_type == NodeType::File { self.content_length(id, node)? } else { 0 };
            counts.add_entry(&node.node_type, length);
            if node.node_type == NodeType::Dir {
                let subtree = node.subtree.ok_or_else(|| invalid(id, node, "is a directory without a tree"))?;
                if !self.extent.leaves_out(&self.index, &subtree) {
                    subtrees.push(subtree);
                }
            }
        }
        Ok((counts, subtrees))
    }

    fn is_large(&self, id: &TreeId) -> bool {
        self.index.plain_length(BlobType::Tree, id).is_some_and(|length| length > STREAMED_TREE)
    }

    fn content_length(&self, tree: &TreeId, node: &Node) -> Result<u64> {
        let runs = node.content.iter().flat_map(Content::runs);
        let length = runs.copied().try_fold(0, |sum: u64, Run { id, count }| {
            let length = self.index.plain_length(BlobType::Data, &id)?;
            Some(sum.saturating_add(u64::from(length).saturating_mul(count)))
        });
        match length {
            None => Err(invalid(tree, node, "refers to a blob that is not in the index")),
            Some(length) if length != node.size => Err(invalid(tree, node, "has content of another length than its size")),
            Some(length) => Ok(length),
        }
    }
}

fn invalid(tree: &TreeId, node: &Node, reason: &str) -> Error {
    Error::InvalidTree { reason: format!("entry {:?} of tree {tree} {reason}", String::from_utf8_lossy(&node.name)) }
}
