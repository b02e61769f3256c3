//! Looking into snapshots: lists, searches, compares, measures and dumps what they hold, and changes nothing.
//!
//! The readers are iterators for a thread that may block (`spawn_blocking`). They hold one directory of each level at a time, so
//! memory grows with the depth of the tree and its widest directories, not with the number of entries.
//!
//! What a repository says is hostile until bounded (reliability S-40, S-42): a name that cannot stand in a directory, a name that
//! comes twice and a directory beyond [`MOST_LEVELS`] are refused and told as problems. A directory that cannot be read costs only
//! what it contains. Only a store that does not let us look, or a cancellation, ends a walk.

mod blob_set;
mod diff;
mod directory;
mod dump;
mod find;
mod ls;
mod measure;
mod path;
mod select;
mod tar;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod walk;

pub use diff::{Change, Diff, DiffRequest, DiffStatistics, DiffStep, Differences, SideStatistics, diff};
pub use dump::{dump_directory, dump_file};
pub use find::{FindRequest, Finder};
pub use ls::{LsRequest, ls};
pub use measure::{RawData, RestoreSize, raw_data, restore_size};
pub use path::{Located, directory_at, locate};
pub use select::{SnapshotFilter, WantedSnapshot};
pub use walk::{Choice, Entry, Step, Walk};

/// Directories below one another. Linux allows paths of 4,096 bytes at a time, so real trees stay far below.
pub const MOST_LEVELS: usize = 20_000;
