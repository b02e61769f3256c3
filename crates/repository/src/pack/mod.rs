//! Packs: blobs sealed one after another into files of some 16 MiB, written in the background and read as a whole or in parts.

mod builder;
pub(crate) mod compress;
mod fetch;
mod flush;
mod header;
mod open;
mod reader;
mod saver;
mod tree_cache;
mod upload;

use builder::PackBuilder;
pub use fetch::FetchedPack;
pub(crate) use header::{parse_pack, read_pack_header};
pub use open::BlobScratch;
pub(crate) use open::{WRONG_SUM, open_blob, open_unchecked};
pub use reader::BlobReader;
pub use saver::{BlobSaver, SaveTotals, SavedBlob, SaverOptions};

use crate::BlobId;
use crate::format::BlobType;
use crate::index::BlobLocation;

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
