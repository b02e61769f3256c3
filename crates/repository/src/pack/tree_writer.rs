//! Trees that are stored as a stream: their nodes are serialised, summed and compressed as they come.

use super::blob_writer::BlobWriter;
use super::saver::{BlobSaver, SavedBlob};
use crate::error::Result;
use crate::format::{Node, TreeBuilder};

/// Serialised bytes that gather before they are compressed.
const PIECE: usize = 64 << 10;

/// Stores one tree node by node, in the order of names. What it holds is the compressed bytes.
pub struct TreeWriter {
    saver: BlobSaver,
    tree: TreeBuilder,
    /// Made with the first piece: many directories may be open at a time of which little has been written.
    blob: Option<BlobWriter>,
}

impl std::fmt::Debug for TreeWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeWriter").finish_non_exhaustive()
    }
}

impl BlobSaver {
    /// A tree that is to be stored.
    #[must_use]
    pub fn tree_writer(&self) -> TreeWriter {
        TreeWriter { saver: self.clone(), tree: TreeBuilder::new(), blob: None }
    }
}

impl TreeWriter {
    /// Adds the next node.
    ///
    /// # Errors
    /// [`crate::Error::InvalidTree`] if its name does not come after the last one's; [`crate::Error::BeyondLimit`] if the tree
    /// becomes too large for the format.
    pub fn add(&mut self, node: &Node) -> Result<()> {
        let Self { saver, tree, blob } = self;
        tree.add_in_pieces(node, PIECE, &mut |piece| {
            made(blob, saver)?.write(piece)?;
            piece.clear();
            Ok(())
        })
    }

    /// Stores the tree unless the repository has it.
    ///
    /// # Errors
    /// As [`BlobSaver::save_blob`].
    pub fn finish(self) -> Result<SavedBlob> {
        let Self { saver, tree, mut blob } = self;
        made(&mut blob, &saver)?.write(&tree.finish())?;
        match blob {
            Some(blob) => saver.save_written(blob.finish()?),
            None => Err(crate::Error::internal("a tree without bytes")),
        }
    }
}

fn made<'a>(blob: &'a mut Option<BlobWriter>, saver: &BlobSaver) -> Result<&'a mut BlobWriter> {
    match blob {
        Some(blob) => Ok(blob),
        None => Ok(blob.insert(BlobWriter::new(saver.compresses())?)),
    }
}
