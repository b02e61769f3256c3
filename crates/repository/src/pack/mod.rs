//! Packs: blobs sealed one after another into files of some 16 MiB, written in the background and read as a whole or in parts.

mod blob_writer;
mod builder;
pub(crate) mod compress;
mod fetch;
mod flush;
mod good_copy;
mod header;
mod open;
mod plain_stream;
mod reader;
mod saver;
mod tree_cache;
mod tree_nodes;
mod tree_writer;
mod upload;

use builder::PackBuilder;
pub use fetch::FetchedPack;
pub(crate) use good_copy::verify_blob;
pub(crate) use header::{parse_pack, read_pack_header};
pub use open::BlobScratch;
pub(crate) use open::{WRONG_SUM, open_blob, open_unchecked};
pub(crate) use plain_stream::{sum_in_pieces, verify_in_pieces};
pub use reader::BlobReader;
pub use saver::{BlobSaver, SaveTotals, SavedBlob, SaverOptions};
pub use tree_nodes::TreeNodes;
pub use tree_writer::TreeWriter;

use crate::BlobId;
use crate::format::BlobType;
use crate::index::BlobLocation;

/// Whether a blob is a tree that is only ever read as a stream.
pub(crate) fn is_streamed(blob_type: BlobType, plain_length: u32) -> bool {
    blob_type == BlobType::Tree && plain_length > crate::limits::STREAMED_TREE
}

/// A blob and the place of one copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedBlob {
    /// Data or tree.
    pub blob_type: BlobType,
    /// The blob.
    pub id: BlobId,
    /// Where it is.
    pub location: BlobLocation,
}
