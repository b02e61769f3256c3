//! What a restore did.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{SnapshotId, source::Problems};

/// The result of a restore. With `errors` it has failed, though everything else is there (invariant I9).
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Files of which something was written.
    pub files_restored: u64,
    /// Files whose content was there already, checked by its hashes.
    pub files_unchanged: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// Directories.
    pub dirs: u64,
    /// Links, devices, FIFOs and sockets.
    pub others: u64,
    /// Entries that the snapshot does not have and that were removed, of whatever type.
    pub removed: u64,
    /// Sum of the sizes of the files, in bytes.
    pub bytes_total: u64,
    /// Content written or punched out as holes, in bytes.
    pub bytes_written: u64,
    /// Content that was there already, in bytes.
    pub bytes_unchanged: u64,
    /// What could not be restored as it should be, with the reason; damaged ranges of a file are named in bytes.
    pub errors: Problems,
    /// Details that were left out by the request's policy or are the platform's own.
    pub warnings: Problems,
    /// How long it took.
    pub duration: Duration,
}

impl RestoreReport {
    /// Whether everything selected is as it was.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.errors.is_empty()
    }
}

/// Counters of a running restore.
#[derive(Debug, Default)]
pub(super) struct Counting {
    pub(super) files_restored: AtomicU64,
    pub(super) files_unchanged: AtomicU64,
    pub(super) hard_links: AtomicU64,
    pub(super) dirs: AtomicU64,
    pub(super) others: AtomicU64,
    pub(super) removed: AtomicU64,
    pub(super) bytes_total: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) bytes_unchanged: AtomicU64,
}

impl Counting {
    pub(super) fn report(&self, snapshot: SnapshotId, errors: Problems, warnings: Problems, duration: Duration) -> RestoreReport {
        let Self {
            files_restored,
            files_unchanged,
            hard_links,
            dirs,
            others,
            removed,
            bytes_total,
            bytes_written,
            bytes_unchanged,
        } = self;
        RestoreReport {
            snapshot,
            files_restored: files_restored.load(Relaxed),
            files_unchanged: files_unchanged.load(Relaxed),
            hard_links: hard_links.load(Relaxed),
            dirs: dirs.load(Relaxed),
            others: others.load(Relaxed),
            removed: removed.load(Relaxed),
            bytes_total: bytes_total.load(Relaxed),
            bytes_written: bytes_written.load(Relaxed),
            bytes_unchanged: bytes_unchanged.load(Relaxed),
            errors,
            warnings,
            duration,
        }
    }
}

/// Adds to one of the counters.
pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Relaxed);
}
