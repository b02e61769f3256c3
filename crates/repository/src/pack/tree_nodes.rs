//! The nodes of a tree: all in memory if it is one of the usual size, else read as a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::vec::IntoIter;

use bytes::Bytes;

use super::plain_stream::PlainStream;
use crate::error::{Error, Result};
use crate::format::{BlobType, Node, Tree, TreeParser};
use crate::limits::MAX_OPEN_TREES;
use crate::memory::{MemoryBudget, Share};
use crate::{BlobId, Repository, TreeId};

/// Gives the nodes of one tree in stored order.
///
/// A tree of the usual size was read, verified and parsed before. Of a large one the sealed bytes are held, whose authenticator
/// was compared; its names come in order, each once, and an error that comes in their place says that what follows cannot be
/// read, or that the tree as a whole is not what its id says.
pub struct TreeNodes(Source);

enum Source {
    Whole(IntoIter<Node>),
    Streamed(Box<StreamedTree>),
    /// After the end of a stream, or an error.
    Ended,
}

struct StreamedTree {
    repository: Repository,
    id: TreeId,
    plain: PlainStream<Bytes>,
    parser: TreeParser,
    piece: Vec<u8>,
    /// Bytes of the piece that were parsed.
    at: usize,
    _held: Held,
}

/// A part of what a reader may hold of large trees, drawn from the budget of all.
#[derive(Debug)]
pub(super) struct Held {
    total: Arc<AtomicU64>,
    bytes: u64,
    _share: Share,
}

impl Held {
    /// # Errors
    /// [`Error::BeyondLimit`] if too many large trees are open.
    pub fn take(memory: &MemoryBudget, total: &Arc<AtomicU64>, bytes: u64) -> Result<Self> {
        let found = total.fetch_add(bytes, Relaxed) + bytes;
        let held = Self { total: Arc::clone(total), bytes, _share: memory.draw(bytes, bytes) };
        if found > MAX_OPEN_TREES {
            return Err(Error::BeyondLimit { what: "size of large trees within one another", found, limit: MAX_OPEN_TREES });
        }
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Relaxed);
    }
}

impl std::fmt::Debug for TreeNodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeNodes").field("is_streamed", &self.is_streamed()).finish_non_exhaustive()
    }
}

impl From<Vec<Node>> for TreeNodes {
    fn from(nodes: Vec<Node>) -> Self {
        Self(Source::Whole(nodes.into_iter()))
    }
}

impl From<Tree> for TreeNodes {
    fn from(tree: Tree) -> Self {
        Self::from(tree.nodes)
    }
}

impl Default for TreeNodes {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl TreeNodes {
    /// Begins to read a large tree of which the sealed bytes are here.
    ///
    /// # Errors
    /// A sentence on what is wrong with them.
    pub(super) fn stream(
        repository: &Repository,
        sealed: Bytes,
        (id, uncompressed_length): (BlobId, u32),
        held: Held,
    ) -> Result<Self, String> {
        let plain = PlainStream::open(repository.cipher(), sealed, (id, uncompressed_length))?;
        let repository = repository.clone();
        let tree = StreamedTree { repository, id, plain, parser: TreeParser::default(), piece: Vec::new(), at: 0, _held: held };
        Ok(Self(Source::Streamed(Box::new(tree))))
    }

    /// Whether it is a large tree, which takes time to be gone through.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        matches!(self.0, Source::Streamed(_))
    }

    /// Whether the names are in order and each is there once; a stream sees to that itself.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        match &self.0 {
            Source::Whole(nodes) => nodes.as_slice().is_sorted_by(|left, right| left.name < right.name),
            Source::Streamed(_) | Source::Ended => true,
        }
    }

    /// The nodes that are still to come, if all are in memory.
    pub(crate) fn held(&self) -> Option<&[Node]> {
        match &self.0 {
            Source::Whole(nodes) => Some(nodes.as_slice()),
            Source::Streamed(_) | Source::Ended => None,
        }
    }

    /// The nodes, if all are in memory, or what to read them from.
    pub(crate) fn into_whole(self) -> Result<Vec<Node>, Self> {
        match self.0 {
            Source::Whole(nodes) => Ok(nodes.collect()),
            streamed => Err(Self(streamed)),
        }
    }
}

impl Iterator for TreeNodes {
    type Item = Result<Node>;

    fn next(&mut self) -> Option<Result<Node>> {
        let next = match &mut self.0 {
            Source::Whole(nodes) => return nodes.next().map(Ok),
            Source::Streamed(tree) => tree.next_node(),
            Source::Ended => return None,
        };
        if !matches!(next, Ok(Some(_))) {
            self.0 = Source::Ended;
        }
        next.transpose()
    }
}

impl StreamedTree {
    fn next_node(&mut self) -> Result<Option<Node>> {
        loop {
            let mut rest = self.piece.get(self.at..).unwrap_or_default();
            let node = self.parser.feed(&mut rest)?;
            self.at = self.piece.len() - rest.len();
            if node.is_some() {
                return Ok(node);
            }
            self.piece.clear();
            self.at = 0;
            let more = self.plain.next_piece(self.repository.cipher(), &mut self.piece);
            if !more.map_err(|reason| Error::BlobUnreadable { blob_type: BlobType::Tree, id: self.id, reason })? {
                self.parser.finish()?;
                return Ok(None);
            }
        }
    }
}
