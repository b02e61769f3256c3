//! The engine's one error: what happened, to which object, whether trying again helps, what a person can do.

use std::sync::Arc;
use std::time::Duration;

use storage::ErrorKind;

use crate::format::{BlobType, Id};
use crate::lock::LockHolder;

/// Result of the engine's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation of the engine failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// No key opens with the password.
    #[error("none of the repository's {keys} keys opens with this password")]
    WrongPassword {
        /// Keys that were tried.
        keys: usize,
    },
    /// There is no repository at this place.
    #[error("there is no repository here: object {key} does not exist")]
    RepositoryMissing {
        /// The key that was looked for.
        key: String,
    },
    /// Initialisation found a repository.
    #[error("there is a repository here already: object {key} exists")]
    RepositoryExists {
        /// The key that was found.
        key: String,
    },
    /// The repository is not the one that was expected.
    #[error("this is repository {found}, expected {expected}")]
    RepositoryMismatch {
        /// The id that was pinned.
        expected: Id,
        /// The id in the config.
        found: Id,
    },
    /// The repository is of a version that we do not know.
    #[error("the repository has format version {version}, known are 1 and 2")]
    UnsupportedVersion {
        /// The version in the config.
        version: u32,
    },
    /// Another process holds a lock.
    #[error("the repository is locked by {holder}, waited {} s", waited.as_secs())]
    Locked {
        /// Who holds it.
        holder: Box<LockHolder>,
        /// How long we waited.
        waited: Duration,
    },
    /// Our own lock is gone or could not be refreshed in time.
    #[error("our lock on the repository was lost: {reason}")]
    LockLost {
        /// How it was lost.
        reason: String,
    },
    /// The operation needs an exclusive lock.
    #[error("{operation} needs an exclusive lock")]
    NotExclusive {
        /// Name of the operation.
        operation: &'static str,
    },
    /// An object's content is not what it must be.
    #[error("object {key} is damaged: {reason}")]
    Damaged {
        /// Its key in the store.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// No pack holds a readable copy of the blob.
    #[error("{blob_type} blob {id} cannot be read: {reason}")]
    BlobUnreadable {
        /// Data or tree.
        blob_type: BlobType,
        /// The blob.
        id: Id,
        /// What happened to the copies that the index knows.
        reason: String,
    },
    /// There is no snapshot of this id.
    #[error("snapshot {id} does not exist")]
    SnapshotMissing {
        /// The id.
        id: Id,
    },
    /// A person asked for a snapshot, and none is meant by what they wrote.
    #[error("no snapshot is meant by {wanted:?}")]
    SnapshotUnknown {
        /// What they wrote.
        wanted: String,
    },
    /// The first digits of an id fit several snapshots.
    #[error("{wanted:?} is the beginning of several snapshot ids: {}", listed(candidates))]
    SnapshotAmbiguous {
        /// The digits.
        wanted: String,
        /// The snapshots, in the order of their ids.
        candidates: Vec<Id>,
    },
    /// A person asked for something that a snapshot does not have.
    #[error("{path} in the snapshot: {reason}")]
    NotInSnapshot {
        /// The path as shown to people.
        path: String,
        /// What is in the way.
        reason: String,
    },
    /// A value is beyond the bounds of `limits`.
    #[error("{what} is beyond its limit: {found} > {limit}")]
    BeyondLimit {
        /// What was measured.
        what: &'static str,
        /// The measure.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// A tree cannot be written or read.
    #[error("invalid tree: {reason}")]
    InvalidTree {
        /// What is wrong.
        reason: String,
    },
    /// Prune found the repository in a state in which it will delete nothing.
    #[error("prune refused: {reason}")]
    PruneRefused {
        /// The disagreement that was found.
        reason: String,
    },
    /// A repair found the repository in a state in which it cannot tell what is lost.
    #[error("repair refused: {reason}")]
    RepairRefused {
        /// What is in the way.
        reason: String,
    },
    /// The store failed.
    #[error("cannot {operation} {key}: {}", storage::cause_of(source))]
    Store {
        /// The verb.
        operation: &'static str,
        /// The object's key.
        key: String,
        /// The store's error.
        source: Arc<object_store::Error>,
    },
    /// The store did not do what it acknowledged.
    #[error("the store acknowledged {key} but {reason}")]
    StoreLied {
        /// The object's key.
        key: String,
        /// What was found instead.
        reason: String,
    },
    /// The target of a restore holds something, and the request wants an empty one.
    #[error("{path} is not empty, and the restore was asked for empty directories only; nothing was written")]
    TargetNotEmpty {
        /// The directory.
        path: String,
    },
    /// The target of a restore is certainly too small.
    #[error("{path} has no room for the restore: it needs at least {wanted} bytes and {available} are free; nothing was written")]
    NoRoom {
        /// Where the file system was met.
        path: String,
        /// Bytes that would certainly be taken.
        wanted: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// A check of our own work failed before anything was uploaded: memory or processor are to be suspected.
    #[error("verification before upload failed for blob {id}: {reason}")]
    VerificationFailed {
        /// The blob.
        id: Id,
        /// What differed.
        reason: String,
    },
    /// A pattern of the request is malformed.
    #[error(transparent)]
    InvalidPattern(#[from] crate::source::InvalidPattern),
    /// A thread or task ended without an answer.
    #[error("internal: {reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
    /// A file-system call failed.
    #[error("{operation} {path}: {source}")]
    File {
        /// The call.
        operation: &'static str,
        /// The path as shown to people.
        path: String,
        /// The system's error.
        source: Arc<std::io::Error>,
    },
}

impl Error {
    pub(crate) fn damaged(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Damaged { key: key.into(), reason: reason.into() }
    }

    pub(crate) fn internal(reason: impl std::fmt::Display) -> Self {
        Self::Internal { reason: reason.to_string() }
    }

    /// Whether the same operation may succeed if it is simply tried again later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Locked { .. }
            | Self::LockLost { .. }
            | Self::StoreLied { .. }
            | Self::VerificationFailed { .. }
            | Self::Internal { .. } => true,
            Self::Store { source, .. } => ErrorKind::of(source).is_retryable(),
            Self::Cancelled
            | Self::WrongPassword { .. }
            | Self::RepositoryMissing { .. }
            | Self::RepositoryExists { .. }
            | Self::RepositoryMismatch { .. }
            | Self::UnsupportedVersion { .. }
            | Self::NotExclusive { .. }
            | Self::Damaged { .. }
            | Self::BlobUnreadable { .. }
            | Self::SnapshotMissing { .. }
            | Self::SnapshotUnknown { .. }
            | Self::SnapshotAmbiguous { .. }
            | Self::NotInSnapshot { .. }
            | Self::BeyondLimit { .. }
            | Self::InvalidTree { .. }
            | Self::PruneRefused { .. }
            | Self::RepairRefused { .. }
            | Self::TargetNotEmpty { .. }
            | Self::NoRoom { .. }
            | Self::InvalidPattern(_)
            | Self::File { .. } => false,
        }
    }

    /// Whether the store says that the object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Store { source, .. } if ErrorKind::of(source) == ErrorKind::NotFound)
    }

    /// Whether it says that something of the repository is damaged or gone, rather than that we could not look.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        let damaged = matches!(
            self,
            Self::Damaged { .. } | Self::BlobUnreadable { .. } | Self::InvalidTree { .. } | Self::BeyondLimit { .. }
        );
        damaged || self.is_not_found()
    }

    /// A short stable name for metrics and events.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Cancelled => "Cancelled",
            Self::WrongPassword { .. } => "WrongPassword",
            Self::RepositoryMissing { .. } => "RepositoryMissing",
            Self::RepositoryExists { .. } => "RepositoryExists",
            Self::RepositoryMismatch { .. } => "RepositoryMismatch",
            Self::UnsupportedVersion { .. } => "UnsupportedVersion",
            Self::Locked { .. } => "Locked",
            Self::LockLost { .. } => "LockLost",
            Self::NotExclusive { .. } => "NotExclusive",
            Self::Damaged { .. } => "Damaged",
            Self::BlobUnreadable { .. } => "BlobUnreadable",
            Self::SnapshotMissing { .. } => "SnapshotMissing",
            Self::SnapshotUnknown { .. } => "SnapshotUnknown",
            Self::SnapshotAmbiguous { .. } => "SnapshotAmbiguous",
            Self::NotInSnapshot { .. } => "NotInSnapshot",
            Self::BeyondLimit { .. } => "BeyondLimit",
            Self::InvalidTree { .. } => "InvalidTree",
            Self::PruneRefused { .. } => "PruneRefused",
            Self::RepairRefused { .. } => "RepairRefused",
            Self::Store { source, .. } => ErrorKind::of(source).reason(),
            Self::StoreLied { .. } => "StoreLied",
            Self::TargetNotEmpty { .. } => "TargetNotEmpty",
            Self::NoRoom { .. } => "NoRoom",
            Self::VerificationFailed { .. } => "VerificationFailed",
            Self::InvalidPattern(_) => "InvalidPattern",
            Self::Internal { .. } => "Internal",
            Self::File { .. } => "FileSystem",
        }
    }

    /// What a person can do about it; a sentence for a condition's message.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Cancelled => "start it again when wanted",
            Self::WrongPassword { .. } => "check the encryption secret's password against the one the repository was made with",
            Self::RepositoryMissing { .. } => {
                "check bucket, prefix and path; a repository that once existed is never initialised again"
            }
            Self::RepositoryExists { .. } => "open the repository instead of initialising it, or choose another path",
            Self::RepositoryMismatch { .. } => "check bucket, prefix and path: another repository stands where this one stood",
            Self::UnsupportedVersion { .. } => "use a newer release of this program",
            Self::Locked { .. } => "wait for the holder to finish; a dead holder's lock is removed once its death is proven",
            Self::LockLost { .. } => "start it again; make sure that nobody runs `unlock --remove-all` while work is going on",
            Self::NotExclusive { .. } => "take an exclusive lock first",
            Self::Damaged { .. } => "run a check of the repository and restore the object from a replica if there is one",
            Self::BlobUnreadable { .. } => "run a check of the repository; a new backup of the same data may heal it",
            Self::SnapshotMissing { .. } | Self::SnapshotUnknown { .. } => {
                "list the repository's snapshots and choose one of them"
            }
            Self::SnapshotAmbiguous { .. } => "write more digits of the id",
            Self::NotInSnapshot { .. } => "list what the snapshot holds and choose a path of it",
            Self::BeyondLimit { .. } => "check who can write to the repository: no ordinary client writes such an object",
            Self::InvalidTree { .. } => "run a check of the repository",
            Self::PruneRefused { .. } => "run a check, and repair the index and then snapshots before pruning",
            Self::RepairRefused { .. } => "run a check, and repair the index and then packs before that",
            Self::Store { source, .. } => ErrorKind::of(source).remedy(),
            Self::StoreLied { .. } => "check the storage's health: it lost an object after acknowledging it",
            Self::TargetNotEmpty { .. } => "empty it or choose another target, or restore over what is there",
            Self::NoRoom { .. } => {
                "make the volume larger or free room on it, restore a part of the snapshot, or choose another target"
            }
            Self::VerificationFailed { .. } => "check the node's memory: data changed between two looks",
            Self::InvalidPattern(_) => "correct the pattern",
            Self::Internal { .. } => "report this with the log",
            Self::File { .. } => "check the path and its permissions",
        }
    }
}

/// Ids for people; of very many the first.
fn listed(ids: &[Id]) -> String {
    const NAMED: usize = 20;
    let named: Vec<_> = ids.iter().take(NAMED).map(ToString::to_string).collect();
    let rest = if ids.len() > NAMED { format!(" and {} more", ids.len() - NAMED) } else { String::new() };
    named.join(", ") + &rest
}
