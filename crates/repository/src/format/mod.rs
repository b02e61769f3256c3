//! What the bytes of a repository mean: file formats of restic's versions 1 and 2, without any I/O.

mod blob_type;
mod config;
mod content;
pub mod file_mode;
mod go_json;
mod id;
mod index_file;
mod key_file;
mod lock_file;
mod node;
mod pack_header;
mod quote;
mod snapshot;
mod time;
mod tree;
mod tree_parser;

pub use blob_type::BlobType;
pub use config::Config;
pub use content::{Content, Run};
pub use id::Id;
pub use index_file::{IndexBlob, IndexFile, IndexPack};
pub use key_file::{KeyFile, MacKeyFile, MasterKeyFile};
pub use lock_file::LockFile;
pub use node::{ExtendedAttribute, Node, NodeType};
pub use pack_header::{HeaderEntry, PACK_TRAILER, header_entry_size, parse_header, write_header};
pub use snapshot::{Snapshot, SnapshotSummary};
pub use time::Time;
pub use tree::{Tree, TreeBuilder};
pub use tree_parser::TreeParser;

/// Bytes that sealing adds to a blob: the nonce before it, the authenticator behind it.
pub const SEAL_OVERHEAD: usize = 32;
