//! The repository engine: reads and writes restic repositories (format 1 and 2), byte-compatible with stock restic.
//!
//! It knows nothing of Kubernetes. It may use `storage` (an object store rooted at the repository) and must not be asked
//! to open a backend by itself: the caller hands in an `Arc<dyn ObjectStore>` whose keys are `config`, `data/ab/…`.
//!
//! ```text
//! data-mover → repository → storage → object store
//! ```
//!
//! The rooms: [`format`] is what the bytes mean, [`crypto`] how they are sealed, [`index`] where blobs are, [`pack`] writes and
//! reads them, [`lock`] keeps processes apart, [`maintenance`] checks and prunes; [`source`], [`chunker`], [`backup`] and
//! [`restore`] are the file-system side, and [`browse`] looks into snapshots.

#[macro_use]
pub mod planted;

pub mod backup;
pub mod browse;
mod buffer;
pub mod chunker;
pub mod control;
pub mod crypto;
pub mod error;
pub mod format;
pub mod index;
pub mod limits;
pub mod lock;
pub mod maintenance;
pub mod memory;
mod objects;
pub mod pack;
mod repository;
pub mod restore;
mod snapshots;
pub mod source;

pub use control::{Control, Counters, Event, Progress};
pub use error::{Error, Result};
pub use format::{BlobType, Id};
pub use index::{BlobLocation, Index};
pub use lock::{
    LockGuard, LockHandle, LockHolder, LockIdentity, LockJudge, LockMode, LockRequest, LockTimes, LockVerdict, NoJudge,
};
pub use objects::CreateMode;
pub use pack::{
    BlobReader, BlobSaver, BlobScratch, FetchedPack, PackedBlob, SaveTotals, SavedBlob, SaverOptions, TreeNodes, TreeWriter,
};
pub use repository::{InitOptions, KeyInfo, OpenOptions, Repository};
pub use snapshots::{Damage, ForgetReport, SnapshotList};

/// The id of a blob: the SHA-256 of its plain bytes.
pub type BlobId = Id;
/// The id of a pack file: the SHA-256 of its bytes.
pub type PackId = Id;
/// The id of an index file: the SHA-256 of its bytes.
pub type IndexId = Id;
/// The id of a snapshot file: the SHA-256 of its bytes.
pub type SnapshotId = Id;
/// The random id in a repository's config.
pub type RepositoryId = Id;
/// The id of a tree blob.
pub type TreeId = Id;
