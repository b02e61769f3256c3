//! What snapshots lose by a repair.

use crate::format::{BlobType, Content, Node, Run};
use crate::index::Index;
use crate::limits::NAMED_DAMAGES;

/// What of a snapshot is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Blobs of a file; the rest of its content moves together, as with restic.
    Content {
        /// How many of them.
        blobs: u64,
        /// Bytes that the file is shorter by.
        bytes: u64,
    },
    /// Everything in a directory, which is empty from now on.
    Directory,
}

/// A part of a snapshot that is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostPart {
    /// The path in the first snapshot in which it was met, as bytes.
    pub path: Vec<u8>,
    /// What is lost.
    pub loss: Loss,
}

/// Lost parts, of which the first are named.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// The first thousand.
    pub named: Vec<LostPart>,
    pub total: u64,
}

impl Losses {
    pub fn add(&mut self, path: &[u8], loss: Loss) {
        self.total += 1;
        if self.named.len() < NAMED_DAMAGES {
            self.named.push(LostPart { path: path.to_vec(), loss });
        }
    }

    pub fn append(&mut self, others: Self) {
        let room = NAMED_DAMAGES.saturating_sub(self.named.len());
        self.named.extend(others.named.into_iter().take(room));
        self.total += others.total;
    }
}

/// Takes out of a file the blobs that no index has; says what that was. The others keep their order.
pub(super) fn drop_lost_content(index: &Index, node: &mut Node) -> Option<Loss> {
    let Some(content) = &node.content else {
        node.content = Some(Content::new());
        return Some(Loss::Content { blobs: 0, bytes: std::mem::take(&mut node.size) });
    };
    let is_known = |run: &Run| index.contains(BlobType::Data, &run.id);
    if content.runs().iter().all(is_known) {
        return None;
    }
    let kept: Content = content.runs().iter().copied().filter(is_known).collect();
    let blobs = content.len().saturating_sub(kept.len());
    let size = kept.runs().iter().fold(0u64, |sum, run| {
        let length = index.plain_length(BlobType::Data, &run.id).map_or(0, u64::from);
        sum.saturating_add(length.saturating_mul(run.count))
    });
    let bytes = node.size.saturating_sub(size);
    node.size = size;
    node.content = Some(kept);
    Some(Loss::Content { blobs, bytes })
}
