//! Counting while several threads walk.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::report::Changes;
use crate::format::NodeType;

/// What became of an entry since the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    New,
    Changed,
    Unmodified,
}

#[derive(Debug, Default)]
struct ChangeCounters {
    new: AtomicU64,
    changed: AtomicU64,
    unmodified: AtomicU64,
}

impl ChangeCounters {
    fn add(&self, change: Change) {
        let counter = match change {
            Change::New => &self.new,
            Change::Changed => &self.changed,
            Change::Unmodified => &self.unmodified,
        };
        counter.fetch_add(1, Relaxed);
    }

    fn read(&self) -> Changes {
        Changes { new: self.new.load(Relaxed), changed: self.changed.load(Relaxed), unmodified: self.unmodified.load(Relaxed) }
    }
}

/// The counters of a running walk.
#[derive(Debug, Default)]
pub(super) struct Counting {
    files: ChangeCounters,
    dirs: ChangeCounters,
    others: AtomicU64,
    bytes_processed: AtomicU64,
    bytes_read: AtomicU64,
    in_new_trees: CountCounters,
}

#[derive(Debug, Default)]
struct CountCounters {
    files: AtomicU64,
    dirs: AtomicU64,
    others: AtomicU64,
    bytes: AtomicU64,
}

impl Counting {
    pub(super) fn file(&self, change: Change, size: u64) {
        self.files.add(change);
        self.bytes_processed.fetch_add(size, Relaxed);
    }

    pub(super) fn dir(&self, change: Change) {
        self.dirs.add(change);
    }

    pub(super) fn other(&self) {
        self.others.fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Relaxed);
    }

    /// The entries of a directory whose tree the repository did not have.
    pub(super) fn new_tree(&self, counts: &Counts) {
        let counters = &self.in_new_trees;
        counters.files.fetch_add(counts.files, Relaxed);
        counters.dirs.fetch_add(counts.dirs, Relaxed);
        counters.others.fetch_add(counts.others, Relaxed);
        counters.bytes.fetch_add(counts.bytes, Relaxed);
    }

    pub(super) fn finish(&self) -> Tally {
        Tally {
            files: self.files.read(),
            dirs: self.dirs.read(),
            others: self.others.load(Relaxed),
            bytes_processed: self.bytes_processed.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            in_new_trees: Counts {
                files: self.in_new_trees.files.load(Relaxed),
                dirs: self.in_new_trees.dirs.load(Relaxed),
                others: self.in_new_trees.others.load(Relaxed),
                bytes: self.in_new_trees.bytes.load(Relaxed),
            },
        }
    }
}

/// The counts of a finished walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) files: Changes,
    pub(super) dirs: Changes,
    pub(super) others: u64,
    pub(super) bytes_processed: u64,
    pub(super) bytes_read: u64,
    /// What stands directly in trees that the repository did not have: once for each directory, however many share a tree.
    pub(super) in_new_trees: Counts,
}

impl Tally {
    /// What reading the snapshot back must give.
    pub(super) fn expected_counts(&self) -> Counts {
        Counts { files: self.files.total(), dirs: self.dirs.total(), others: self.others, bytes: self.bytes_processed }
    }
}

/// What a snapshot holds. The root directory itself counts as a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) files: u64,
    pub(super) dirs: u64,
    pub(super) others: u64,
    pub(super) bytes: u64,
}

impl Counts {
    /// Counts an entry of a tree.
    pub(super) fn add_entry(&mut self, node_type: &NodeType, size: u64) {
        match node_type {
            NodeType::Dir => self.dirs += 1,
            NodeType::File => {
                self.files += 1;
                self.bytes += size;
            }
            _ => self.others += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, dirs, others, bytes } = self;
        write!(formatter, "{files} files with {bytes} bytes, {dirs} directories and {others} other entries")
    }
}
