//! A repository as the backups of one lock see it.

use std::sync::Arc;

use crate::{
    Control, Damage, Repository, SnapshotId, SnapshotList,
    error::Result,
    format::Snapshot,
    index::{Index, Reconciliation},
    lock::LockHandle,
    maintenance::{CheckReport, Rotation},
};

/// The snapshots of a repository, its index, and how the packs in the store compare with it. Read once, it serves all backups
/// under one lock, each of which adds to it; after a backup that failed it is of no use.
///
/// # What it says of the repository's health
///
/// Opening it costs one listing each of snapshots, index files and packs, and no tree is read. That finds what happens to
/// repositories as a whole: a snapshot or index file that is torn, a pack that is gone, cut short or grown. It does not find
/// bits that rotted within a pack, nor a tree of an old snapshot that no index knows. To find those all trees of all snapshots
/// have to be walked, which costs more with each snapshot that is kept, after each backup, for objects that are never written
/// again. That walk is left to those who need its answer: [`Repository::check`], and each prune before it plans. The new
/// snapshot itself does not wait for either. All it refers to is in packs that were compared, or was uploaded and looked at by
/// this run; its new trees are read back, and its old ones were read while the walk compared the files with them.
#[derive(Debug)]
pub struct RepositoryView {
    pub(super) snapshots: SnapshotList,
    pub(super) index: Arc<Index>,
    found: Reconciliation,
    added: u64,
}

impl RepositoryView {
    /// Reads the snapshots and the index, and compares the index with the packs: see [`Reconciliation`].
    ///
    /// # Errors
    /// Of the store; [`crate::Error::LockLost`]; [`crate::Error::Cancelled`]. What is damaged is no error, but counts as absent.
    pub async fn open(repository: &Repository, lock: &LockHandle, control: &Control) -> Result<Self> {
        // Snapshots are listed before the index is loaded, and that before the packs are listed: then every blob that a
        // snapshot refers to is in the index, and every pack that the index names is in the listing.
        let snapshots = repository.snapshots(control).await?;
        let index = repository.load_index(control).await?;
        let found = repository.reconcile(&index, lock, control).await?;
        Ok(Self { snapshots, index, found, added: 0 })
    }

    /// How the index compared with the packs.
    #[must_use]
    pub fn reconciliation(&self) -> &Reconciliation {
        &self.found
    }

    /// Bytes of all packs in the store, those of the backups onto this view included.
    #[must_use]
    pub fn pack_bytes(&self) -> u64 {
        self.found.pack_bytes + self.added
    }

    /// Blobs that are lost with their packs and that no backup onto this view has stored anew. Snapshots that were there before
    /// may need them.
    #[must_use]
    pub fn lost_blobs(&self) -> u64 {
        self.index.lost_blobs()
    }

    /// What is damaged in the repository: snapshots, index files, and lost packs as long as something of them is lost. No backup
    /// onto this view relies on any of it.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        let lost: &[Damage] = if self.lost_blobs() > 0 { &self.found.lost.named } else { &[] };
        self.snapshots.damaged.iter().chain(self.index.damaged()).chain(lost).cloned().collect()
    }

    /// Reads back the packs whose turn it is, those of the backups onto this view included; lost ones are told by
    /// [`Self::damage`].
    ///
    /// # Errors
    /// Of the store; [`crate::Error::LockLost`]; [`crate::Error::Cancelled`]. What is damaged stands in the report.
    pub async fn check_share(
        &self,
        repository: &Repository,
        lock: &LockHandle,
        rotation: Rotation,
        control: &Control,
    ) -> Result<CheckReport> {
        lock.check()?;
        repository.check_due(&self.index, rotation, control).await
    }

    /// Enters a snapshot that was made onto this view, and the bytes of its packs.
    pub(super) fn add(&mut self, id: SnapshotId, snapshot: Snapshot, pack_bytes: u64) {
        self.snapshots.snapshots.push((id, snapshot));
        self.added += pack_bytes;
    }
}
