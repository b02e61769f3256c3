//! Counting what a comparison sees.

use std::sync::Arc;

use super::super::blob_set::BlobSet;
use super::super::directory::Directory;
use super::{DiffStatistics, SideStatistics};
use crate::control::Control;
use crate::error::Result;
use crate::format::{BlobType, Content, Node, NodeType};
use crate::index::Index;
use crate::pack::BlobReader;
use crate::{BlobId, TreeId};

/// One of the two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// What was counted so far.
#[derive(Debug)]
pub(super) struct Tally {
    index: Arc<Index>,
    before: Counted,
    after: Counted,
    changed_files: u64,
    unknown_blobs: u64,
    /// Directories that are the same in both, each once.
    same: Vec<TreeId>,
    same_set: BlobSet,
}

/// Entries that one snapshot alone has, and the blobs that its directories that were read refer to.
#[derive(Debug)]
struct Counted {
    sums: SideStatistics,
    blobs: BlobSet,
}

impl Tally {
    pub fn new(index: &Arc<Index>) -> Self {
        let counted = || Counted { sums: SideStatistics::default(), blobs: BlobSet::new(index) };
        Self {
            index: Arc::clone(index),
            before: counted(),
            after: counted(),
            changed_files: 0,
            unknown_blobs: 0,
            same: Vec::new(),
            same_set: BlobSet::new(index),
        }
    }

    /// An entry that only one snapshot has.
    pub fn only(&mut self, side: Side, node: &Node) {
        let sums = &mut self.of(side).sums;
        match node.node_type {
            NodeType::File => sums.files += 1,
            NodeType::Dir => sums.dirs += 1,
            _ => sums.others += 1,
        }
        self.refers(side, node);
    }

    /// A file of both with other content.
    pub fn changed_file(&mut self) {
        self.changed_files += 1;
    }

    /// What an entry refers to is needed by this snapshot.
    pub fn refers(&mut self, side: Side, node: &Node) {
        match node.node_type {
            NodeType::File => {
                for run in node.content.iter().flat_map(Content::runs) {
                    self.blob(side, BlobType::Data, &run.id, run.count);
                }
            }
            NodeType::Dir => {
                if let Some(tree) = &node.subtree {
                    self.blob(side, BlobType::Tree, tree, 1);
                }
            }
            _ => {}
        }
    }

    /// A blob that this snapshot refers to so many times.
    pub fn blob(&mut self, side: Side, blob_type: BlobType, blob: &BlobId, times: u64) {
        let index = Arc::clone(&self.index);
        if self.of(side).blobs.insert(&index, blob_type, blob).is_none() {
            self.unknown_blobs += times;
        }
    }

    /// A directory that is the same in both.
    pub fn same(&mut self, tree: TreeId) {
        if self.same_set.insert(&self.index, BlobType::Tree, &tree) == Some(true) {
            self.same.push(tree);
        }
    }

    fn of(&mut self, side: Side) -> &mut Counted {
        match side {
            Side::Before => &mut self.before,
            Side::After => &mut self.after,
        }
    }

    /// The sums. What the directories hold that are the same was neither added nor removed, wherever else it came or went.
    pub fn finish(mut self, reader: &BlobReader, control: &Control) -> Result<DiffStatistics> {
        let (kept, unreadable_trees) = self.blobs_of_same(reader, control)?;
        let Self { index, mut before, mut after, changed_files, unknown_blobs, .. } = self;
        before.count_blobs(&index, &after.blobs, &kept);
        after.count_blobs(&index, &before.blobs, &kept);
        Ok(DiffStatistics { changed_files, added: after.sums, removed: before.sums, unknown_blobs, unreadable_trees })
    }

    fn blobs_of_same(&mut self, reader: &BlobReader, control: &Control) -> Result<(BlobSet, u64)> {
        let mut kept = BlobSet::new(&self.index);
        let mut unreadable = 0;
        while let Some(tree) = self.same.pop() {
            control.check()?;
            match self.keep(reader, &tree, &mut kept) {
                Ok(unknown) => unreadable += unknown,
                Err(error) if error.is_damage() => unreadable += 1,
                Err(error) => return Err(error),
            }
        }
        Ok((kept, unreadable))
    }

    /// Adds what a directory that is the same in both refers to; says how many of its directories are unknown.
    fn keep(&mut self, reader: &BlobReader, tree: &TreeId, kept: &mut BlobSet) -> Result<u64> {
        let mut unknown = 0;
        for node in Directory::load(reader, tree)?.entries() {
            let node = node?;
            for run in node.content.iter().flat_map(Content::runs) {
                kept.insert(&self.index, BlobType::Data, &run.id);
            }
            match node.subtree.map(|subtree| (subtree, kept.insert(&self.index, BlobType::Tree, &subtree))) {
                Some((subtree, Some(_))) => self.same(subtree),
                Some((_, None)) => unknown += 1,
                None => {}
            }
        }
        Ok(unknown)
    }
}

impl Counted {
    /// Counts the blobs that neither the other snapshot nor what is the same in both refers to.
    fn count_blobs(&mut self, index: &Index, other: &BlobSet, kept: &BlobSet) {
        index.for_each(|blob_type, place, entry| {
            if !self.blobs.contains(place) || other.contains(place) || kept.contains(place) {
                return;
            }
            match blob_type {
                BlobType::Data => self.sums.data_blobs += 1,
                BlobType::Tree => self.sums.tree_blobs += 1,
            }
            self.sums.bytes += u64::from(entry.plain_length());
        });
    }
}
