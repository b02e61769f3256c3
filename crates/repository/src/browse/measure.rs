//! Measuring snapshots as restic's `stats` does.

use std::collections::HashSet;

use super::blob_set::BlobSet;
use super::directory::Directory;
use super::walk::{Choice, Step, Walk};
use crate::TreeId;
use crate::control::Control;
use crate::error::Result;
use crate::format::{BlobType, Content, Node, NodeType, SEAL_OVERHEAD};
use crate::pack::BlobReader;
use crate::source::Problems;
use crate::source::problem::ProblemLog;

/// What a restore would write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreSize {
    /// Entries of every type.
    pub entries: u64,
    /// Sum of the sizes of files in bytes, a file of several names counted once in each snapshot.
    pub bytes: u64,
    /// What could not be read and is not counted.
    pub problems: Problems,
}

/// The blobs that snapshots need, each counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RawData {
    /// Blobs.
    pub blobs: u64,
    /// Their bytes as stored.
    pub stored_bytes: u64,
    /// Their bytes if none were compressed, sealing included.
    pub uncompressed_bytes: u64,
    /// Bytes as stored of those that are compressed.
    pub compressed_stored_bytes: u64,
    /// Bytes of those that are compressed, if they were not.
    pub compressed_uncompressed_bytes: u64,
    /// References to blobs that the index does not know.
    pub unknown_blobs: u64,
    /// Directories that could not be read: what only they hold is not counted.
    pub unreadable_trees: u64,
}

/// Measures what restoring each of these trees would write.
///
/// # Errors
/// Of the store, and [`crate::Error::Cancelled`].
pub fn restore_size(reader: &BlobReader, roots: &[TreeId], control: &Control) -> Result<RestoreSize> {
    let mut size = RestoreSize::default();
    let problems = ProblemLog::default();
    for root in roots {
        let mut linked = HashSet::new();
        let all = |_: &[u8], _: &Node| Choice { show: true, descend: true };
        for step in Walk::new(reader, *root, control, all) {
            match step? {
                Step::Problem(problem) => problems.add(problem.path, problem.reason, problem.class),
                Step::Entry(entry) => {
                    size.entries += 1;
                    if counts(&entry.node, &mut linked) {
                        size.bytes = size.bytes.saturating_add(entry.node.size);
                    }
                }
            }
        }
    }
    size.problems = problems.take();
    Ok(size)
}

/// Whether an entry's size is to be added: of several names of one file only the first counts.
fn counts(node: &Node, linked: &mut HashSet<(u64, u64)>) -> bool {
    node.links <= 1 || node.node_type == NodeType::Dir || node.inode == 0 || linked.insert((node.device_id, node.inode))
}

/// Measures the blobs that these trees need. Each tree is read once, however many snapshots share it.
///
/// # Errors
/// Of the store, and [`crate::Error::Cancelled`].
pub fn raw_data(reader: &BlobReader, roots: &[TreeId], control: &Control) -> Result<RawData> {
    let index = reader.index();
    let mut used = BlobSet::new(index);
    let mut raw = RawData::default();
    let mut waiting: Vec<TreeId> = Vec::new();
    for root in roots {
        enter(reader, *root, &mut used, &mut waiting, &mut raw);
    }
    while let Some(tree) = waiting.pop() {
        control.check()?;
        match add_tree(reader, &tree, &mut used, &mut waiting, &mut raw) {
            Err(error) if error.is_damage() => raw.unreadable_trees += 1,
            added => added?,
        }
    }
    add_up(reader, &used, &mut raw);
    Ok(raw)
}

fn add_tree(reader: &BlobReader, tree: &TreeId, used: &mut BlobSet, waiting: &mut Vec<TreeId>, raw: &mut RawData) -> Result<()> {
    for node in Directory::load(reader, tree)?.entries() {
        let node = node?;
        for run in node.content.iter().flat_map(Content::runs) {
            if used.insert(reader.index(), BlobType::Data, &run.id).is_none() {
                raw.unknown_blobs += run.count;
            }
        }
        if let Some(subtree) = node.subtree {
            enter(reader, subtree, used, waiting, raw);
        }
    }
    Ok(())
}

fn enter(reader: &BlobReader, tree: TreeId, used: &mut BlobSet, waiting: &mut Vec<TreeId>, raw: &mut RawData) {
    match used.insert(reader.index(), BlobType::Tree, &tree) {
        Some(true) => waiting.push(tree),
        Some(false) => {}
        None => raw.unknown_blobs += 1,
    }
}

fn add_up(reader: &BlobReader, used: &BlobSet, raw: &mut RawData) {
    reader.index().for_each(|_, place, entry| {
        if !used.contains(place) {
            return;
        }
        let stored = u64::from(entry.length);
        let uncompressed = u64::from(entry.plain_length()) + SEAL_OVERHEAD as u64;
        raw.blobs += 1;
        raw.stored_bytes += stored;
        raw.uncompressed_bytes += uncompressed;
        if entry.uncompressed_length != 0 {
            raw.compressed_stored_bytes += stored;
            raw.compressed_uncompressed_bytes += uncompressed;
        }
    });
}
