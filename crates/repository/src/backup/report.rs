//! What a backup did.

use std::time::Duration;

use crate::{SnapshotId, TreeId, format::Time, source::Problems};

/// Entries by what became of them since the parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The parent does not have them, or there is no parent.
    pub new: u64,
    /// They differ from the parent's.
    pub changed: u64,
    /// Taken over from the parent.
    pub unmodified: u64,
}

impl Changes {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.new + self.changed + self.unmodified
    }
}

/// The result of a backup. Its snapshot exists and was read back.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its root tree.
    pub tree: TreeId,
    /// Its parent.
    pub parent: Option<SnapshotId>,
    /// Whether it was made by an earlier attempt; then nothing was read or written now, and counts are that attempt's.
    pub adopted: bool,
    /// Regular files in the snapshot.
    pub files: Changes,
    /// Directories in the snapshot, with those above the paths.
    pub dirs: Changes,
    /// Links, devices, FIFOs and sockets in the snapshot.
    pub others: u64,
    /// Sum of the sizes of the snapshot's files, in bytes.
    pub bytes_processed: u64,
    /// File content that was really read, in bytes; holes are not.
    pub bytes_read: u64,
    /// Plain bytes of new blobs, trees included.
    pub bytes_added: u64,
    /// The same as stored: compressed and sealed.
    pub bytes_stored: u64,
    /// Data blobs that the repository did not have.
    pub blobs_new_data: u64,
    /// Tree blobs that the repository did not have.
    pub blobs_new_tree: u64,
    /// Entries that are not in the snapshot because they could not be read.
    pub errors: Problems,
    /// Files that changed while they were read: they are in the snapshot as they were read, and will be read again next time.
    pub changed_while_read: Problems,
    /// Entries that were listed and then gone; they are not in the snapshot.
    pub vanished: Problems,
    /// Details that could not be read of entries that are in the snapshot, such as an attribute.
    pub warnings: Problems,
    /// When the backup began.
    pub started: Time,
    /// How long it took.
    pub duration: Duration,
}

impl BackupReport {
    /// Whether everything selected is in the snapshot.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.errors.is_empty()
    }

    /// Whether the snapshot has nothing below its paths (reliability F8).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.total() + self.others == 0
    }
}
