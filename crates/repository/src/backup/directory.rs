//! Directories that are being backed up: they finish from the leaves upwards, each when the last of its entries is done.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::AcqRel},
};

use parking_lot::Mutex;

use super::{
    session::{Session, find_node},
    tally::Change,
    targets::TargetTree,
};
use crate::{
    Counters, TreeId,
    error::Result,
    format::{BlobType, Node, TreeBuilder},
    source::handles::Place,
};

/// A directory whose entries are being looked at.
pub(super) struct Directory {
    pub(super) place: Arc<Place>,
    /// The directory above and the slot of this one in it; `None` for the root.
    above: Option<(Arc<Directory>, usize)>,
    /// Its own node, complete but for the tree.
    node: Mutex<Node>,
    /// Its entries in the parent snapshot, sorted.
    previous: Vec<Node>,
    previous_tree: Option<TreeId>,
    was_there: bool,
    /// Set above the paths of the request, where only some entries are wanted.
    pub(super) targets: Option<Arc<TargetTree>>,
    pub(super) device: Option<u64>,
    pub(super) names: Vec<Vec<u8>>,
    slots: Mutex<Vec<Option<Node>>>,
    pending: AtomicUsize,
}

/// What is known of a directory when it has been listed.
pub(super) struct Opened {
    pub(super) place: Arc<Place>,
    pub(super) above: Option<(Arc<Directory>, usize)>,
    pub(super) node: Node,
    pub(super) previous: Vec<Node>,
    pub(super) previous_tree: Option<TreeId>,
    pub(super) was_there: bool,
    pub(super) targets: Option<Arc<TargetTree>>,
    pub(super) device: Option<u64>,
    pub(super) names: Vec<Vec<u8>>,
}

impl Directory {
    pub(super) fn new(opened: Opened) -> Arc<Self> {
        let Opened { place, above, node, previous, previous_tree, was_there, targets, device, names } = opened;
        let count = names.len();
        Arc::new(Self {
            place,
            above,
            node: Mutex::new(node),
            previous,
            previous_tree,
            was_there,
            targets,
            device,
            names,
            slots: Mutex::new(vec![None; count]),
            pending: AtomicUsize::new(count),
        })
    }

    /// The entry of the parent snapshot in this slot.
    pub(super) fn previous(&self, slot: usize) -> Option<&Node> {
        find_node(&self.previous, &self.names[slot])
    }

    /// The absolute path of an entry, for messages and patterns.
    pub(super) fn path_of(&self, slot: usize) -> std::path::PathBuf {
        self.place.entry_path(&self.names[slot])
    }

    /// Puts down the result of an entry, `None` if it is not in the snapshot. Says whether it was the last one.
    fn put(&self, slot: usize, node: Option<Node>) -> bool {
        if node.is_some() {
            self.slots.lock()[slot] = node;
        }
        self.pending.fetch_sub(1, AcqRel) == 1
    }
}

impl Session {
    /// Puts down the result of an entry, and finishes every directory of which it was the last.
    pub(super) fn complete(&self, directory: &Arc<Directory>, slot: usize, node: Option<Node>) -> Result<()> {
        if directory.put(slot, node) { self.close_directory(directory.clone()) } else { Ok(()) }
    }

    /// Stores the tree of a directory whose entries are all done, and so on upwards. Going up in a loop keeps the stack flat however
    /// deep the directory is.
    pub(super) fn close_directory(&self, mut directory: Arc<Directory>) -> Result<()> {
        loop {
            let mut tree = TreeBuilder::new();
            let entries = std::mem::take(&mut *directory.slots.lock());
            for node in entries.iter().flatten() {
                tree.add(node)?;
            }
            let id = self.saver.save_blob(BlobType::Tree, &tree.finish())?.id;
            if !self.index.was_known(BlobType::Tree, &id, self.known_packs) {
                self.counting.new_tree(entries.iter().flatten());
            }
            self.counting.dir(match directory.previous_tree {
                Some(previous) if previous == id => Change::Unmodified,
                _ if directory.was_there => Change::Changed,
                _ => Change::New,
            });
            Counters::add(&self.control.counters().dirs_done, 1);
            let Some((above, slot)) = directory.above.clone() else {
                self.finish(id);
                return Ok(());
            };
            let mut node = std::mem::take(&mut *directory.node.lock());
            node.subtree = Some(id);
            if !above.put(slot, Some(node)) {
                return Ok(());
            }
            directory = above;
        }
    }
}
