//! Comparing two snapshots.

mod compare;
mod tally;

pub use compare::Diff;

use crate::TreeId;
use crate::control::Control;
use crate::pack::BlobReader;
use crate::source::PathProblem;

/// What to compare.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiffRequest {
    /// Whether entries are told of which only the metadata differs.
    pub metadata: bool,
}

/// In what an entry of both snapshots differs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Differences {
    /// It is of another type.
    pub kind: bool,
    /// It is a file with other content.
    pub content: bool,
    /// Its content differs while nothing else does, not even a time: something changed it behind the file system's back.
    pub silent: bool,
    /// Something else differs: mode, owner, times and so on.
    pub metadata: bool,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Only the second snapshot has it.
    Added,
    /// Only the first snapshot has it.
    Removed,
    /// Both have it.
    Different(Differences),
}

/// What a comparison comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiffStep {
    /// An entry that is not the same.
    Change {
        /// Its absolute path, as bytes.
        path: Vec<u8>,
        /// Whether it is a directory; of an entry that both have, in the second snapshot.
        is_directory: bool,
        /// What became of it.
        change: Change,
    },
    /// Something that cannot be compared; the comparison goes on without it.
    Problem(PathProblem),
}

/// What one snapshot has and the other does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SideStatistics {
    /// Files.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Everything else.
    pub others: u64,
    /// Data blobs that nothing in the other snapshot refers to.
    pub data_blobs: u64,
    /// Tree blobs that nothing in the other snapshot refers to.
    pub tree_blobs: u64,
    /// Plain bytes of these blobs.
    pub bytes: u64,
}

/// The sums of a comparison, counted as restic does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiffStatistics {
    /// Files in both snapshots with other content.
    pub changed_files: u64,
    /// What only the second snapshot has.
    pub added: SideStatistics,
    /// What only the first snapshot has.
    pub removed: SideStatistics,
    /// References to blobs that the index does not know; they are in no sum of bytes.
    pub unknown_blobs: u64,
    /// Directories of both snapshots that could not be read; blobs that only they hold may be counted as added or removed.
    pub unreadable_trees: u64,
}

/// Compares the trees of two snapshots.
#[must_use]
pub fn diff(reader: &BlobReader, before: TreeId, after: TreeId, request: DiffRequest, control: &Control) -> Diff {
    Diff::new(reader, before, after, request, control)
}
