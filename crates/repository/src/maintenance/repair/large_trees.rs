//! Trees too large to be held: one is read once to see what of it is lost, and once more to be written without that.

use super::super::subtrees::Subtrees;
use super::losses::{Loss, Losses, drop_lost_content};
use super::trees::TreeRewriter;
use crate::TreeId;
use crate::crypto::RunningHash;
use crate::error::Result;
use crate::format::{Node, NodeType, TreeBuilder};
use crate::pack::{BlobSaver, TreeNodes, TreeWriter};

/// Serialised bytes that gather before they are summed.
const PIECE: usize = 64 << 10;

impl TreeRewriter<'_> {
    /// Looks at the files of a large tree and notes its directories; it is put away while these are gone through. Nothing is said to
    /// be lost before all of it was read: one that breaks off is lost as a whole.
    pub(super) fn look_through(&self, nodes: TreeNodes, path: &[u8]) -> Result<(Subtrees, Losses)> {
        let (mut directories, mut losses) = (Subtrees::default(), Losses::default());
        for node in nodes {
            self.control.check()?;
            let mut node = node?;
            let loss = match node.node_type {
                NodeType::File => drop_lost_content(self.reader.index(), &mut node),
                NodeType::Dir => match &node.subtree {
                    Some(subtree) => {
                        directories.push(&node.name, subtree)?;
                        None
                    }
                    None => Some(Loss::Directory),
                },
                _ => None,
            };
            if let Some(loss) = loss {
                losses.add(&[path, b"/", &node.name].concat(), loss);
            }
        }
        Ok((directories, losses))
    }

    /// Writes a large tree whose directories were gone through without what is lost.
    pub(super) fn write_again(&mut self, id: &TreeId) -> Result<TreeId> {
        let mut written = Written::new(self.saver);
        for node in self.reader.tree_nodes_blocking(id)? {
            self.control.check()?;
            let mut node = node?;
            match node.node_type {
                NodeType::File => {
                    drop_lost_content(self.reader.index(), &mut node);
                }
                NodeType::Dir => node.subtree = Some(self.outcome(node.subtree)?),
                _ => {}
            }
            written.add(&node)?;
        }
        written.finish()
    }
}

/// A tree that is written node by node, or only summed if nothing is to be stored.
enum Written {
    Stored(TreeWriter),
    Summed(TreeBuilder, RunningHash),
}

impl Written {
    fn new(saver: Option<&BlobSaver>) -> Self {
        match saver {
            Some(saver) => Self::Stored(saver.tree_writer()),
            None => Self::Summed(TreeBuilder::new(), RunningHash::new()),
        }
    }

    fn add(&mut self, node: &Node) -> Result<()> {
        match self {
            Self::Stored(tree) => tree.add(node),
            Self::Summed(tree, sum) => tree.add_in_pieces(node, PIECE, &mut |piece: &mut Vec<u8>| {
                sum.update(piece);
                piece.clear();
                Ok(())
            }),
        }
    }

    fn finish(self) -> Result<TreeId> {
        match self {
            Self::Stored(tree) => Ok(tree.finish()?.id),
            Self::Summed(tree, mut sum) => {
                sum.update(&tree.finish());
                Ok(sum.finish())
            }
        }
    }
}
