//! What to restore, where to, and how.

use std::{num::NonZeroUsize, path::PathBuf};

use crate::SnapshotId;

/// What is done about owners and groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// Set; an entry whose owner cannot be set is an error.
    #[default]
    Required,
    /// Set where possible; the others are warnings.
    BestEffort,
    /// Left as they come out.
    Skip,
}

/// What is done about entries that stand in the target already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Entries of the snapshot are brought to the snapshot's state: what differs is written, what is of another type is replaced.
    /// Entries that the snapshot does not have are left alone.
    #[default]
    Merge,
    /// Like [`Self::Merge`], and when all of that is done without an error, what the snapshot does not have is removed: below the
    /// paths that were backed up, where a directory was chosen with all that is in it. Neither what the patterns leave out is removed
    /// nor anything of another file system that is mounted there, and nothing at all if the backup could not read everything.
    Replace,
    /// A target that holds anything where one of the snapshot's paths comes out is refused before anything is written, and so is one
    /// that cannot be looked at. See also [`expect_empty`](super::expect_empty).
    RefuseIfNotEmpty,
}

/// What is done about things that give power to whoever plants them (reliability S-41): set-user-id and set-group-id bits, device
/// nodes, and attributes of the `security.` and `trusted.` namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Privileged {
    /// Restored like everything else, as far as the process may.
    #[default]
    Restore,
    /// Left out, with a warning each.
    Drop,
}

/// One restore.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// An existing directory. The snapshot's paths are restored below it; `/` restores them to where they were.
    pub root: PathBuf,
    /// Only what these patterns choose, with restic's meaning, applied to paths of the snapshot; everything if empty.
    pub include: Vec<String>,
    /// What these patterns choose is left out.
    pub exclude: Vec<String>,
    /// Only what lies at or below these absolute paths of the snapshot; everything if empty.
    pub paths: Vec<PathBuf>,
    /// Owners and groups.
    pub ownership: Ownership,
    /// Entries that are there already.
    pub existing: Existing,
    /// Set-id bits, devices and privileged attributes.
    pub privileged: Privileged,
    /// Threads that fetch, decrypt and write; chosen by the number of processors if `None`.
    pub workers: Option<NonZeroUsize>,
    /// Whether the restored file systems are told to write everything to their disks at the end. A full or failing disk behind a
    /// network file system may say so only then.
    pub sync: bool,
}

/// Packs are held in memory while they are worked on, one by each thread.
const MOST_WORKERS: usize = 4;

impl RestoreRequest {
    /// A restore of all of a snapshot.
    #[must_use]
    pub fn new(snapshot: SnapshotId, root: PathBuf) -> Self {
        Self {
            snapshot,
            root,
            include: Vec::new(),
            exclude: Vec::new(),
            paths: Vec::new(),
            ownership: Ownership::default(),
            existing: Existing::default(),
            privileged: Privileged::default(),
            workers: None,
            sync: true,
        }
    }

    /// Even with one processor there are two threads, so that one can write while the other waits for the store.
    pub(super) fn worker_count(&self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.workers.map_or_else(|| (processors + 1).clamp(2, MOST_WORKERS), NonZeroUsize::get)
    }
}
