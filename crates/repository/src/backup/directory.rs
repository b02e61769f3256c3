//! Directories that are being backed up: they finish from the leaves upwards, each when the last of its entries is done.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::AcqRel},
};

use parking_lot::Mutex;

use super::{
    session::{Session, find_node},
    streamed::StreamedEntries,
    tally::{Change, Counts},
    targets::TargetTree,
};
use crate::{
    Counters, TreeId,
    error::Result,
    format::{BlobType, Node, TreeBuilder},
    source::{handles::Place, names::Names},
};

/// A directory whose entries are being looked at.
pub(super) struct Directory {
    pub(super) place: Arc<Place>,
    /// The directory above and the slot of this one in it; `None` for the root.
    above: Option<(Arc<Directory>, usize)>,
    /// Its own node, complete but for the tree.
    node: Mutex<Node>,
    /// Its entries in the parent snapshot, sorted, as far as they are held.
    previous: Vec<Node>,
    previous_tree: Option<TreeId>,
    was_there: bool,
    /// Set above the paths of the request, where only some entries are wanted.
    pub(super) targets: Option<Arc<TargetTree>>,
    pub(super) device: Option<u64>,
    pub(super) names: Names,
    pub(super) entries: Entries,
}

/// What its entries became.
pub(super) enum Entries {
    Held(HeldEntries),
    /// Too many to be held.
    Streamed(StreamedEntries),
}

/// The nodes of all entries, in the order of names, and how many are not done.
pub(super) struct HeldEntries {
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
    pub(super) names: Names,
    pub(super) entries: Entries,
}

impl Directory {
    pub(super) fn new(opened: Opened) -> Arc<Self> {
        let Opened { place, above, node, previous, previous_tree, was_there, targets, device, names, entries } = opened;
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
            entries,
        })
    }

    /// The entry of the parent snapshot in this slot, if those are held.
    pub(super) fn previous(&self, slot: usize) -> Option<&Node> {
        find_node(&self.previous, self.names.get(slot))
    }

    /// The absolute path of an entry, for messages and patterns.
    pub(super) fn path_of(&self, slot: usize) -> std::path::PathBuf {
        self.place.entry_path(self.names.get(slot))
    }
}

impl Entries {
    pub(super) fn held(count: usize) -> Self {
        Self::Held(HeldEntries { slots: Mutex::new(vec![None; count]), pending: AtomicUsize::new(count) })
    }
}

impl HeldEntries {
    /// Puts down the result of an entry. Says whether it was the last one.
    fn put(&self, slot: usize, node: Option<Node>) -> bool {
        if node.is_some() {
            self.slots.lock()[slot] = node;
        }
        self.pending.fetch_sub(1, AcqRel) == 1
    }
}

impl Session {
    /// Puts down the result of an entry, `None` if it is not in the snapshot, and finishes every directory of which it was the
    /// last.
    pub(super) fn complete(&self, directory: &Arc<Directory>, slot: usize, node: Option<Node>) -> Result<()> {
        match self.put(directory, slot, node)? {
            Some(tree) => self.close_directory(directory.clone(), tree),
            None => Ok(()),
        }
    }

    /// The directory's tree, if the entry was the last one.
    fn put(&self, directory: &Arc<Directory>, slot: usize, node: Option<Node>) -> Result<Option<TreeId>> {
        match &directory.entries {
            Entries::Held(entries) => {
                if entries.put(slot, node) {
                    self.store_entries(entries).map(Some)
                } else {
                    Ok(None)
                }
            }
            Entries::Streamed(entries) => {
                entries.put(slot, node);
                self.go_on(directory, entries)
            }
        }
    }

    /// Stores the tree of a directory whose entries are all done.
    pub(super) fn store_entries(&self, entries: &HeldEntries) -> Result<TreeId> {
        let entries = std::mem::take(&mut *entries.slots.lock());
        let nodes = || entries.iter().flatten();
        let id = if nodes().map(Node::json_length).sum::<u64>() > self.streaming.bytes.into() {
            self.store_as_stream(nodes())?
        } else {
            let mut tree = TreeBuilder::new();
            for node in nodes() {
                tree.add(node)?;
            }
            self.saver.save_blob(BlobType::Tree, &tree.finish())?.id
        };
        let mut counts = Counts::default();
        nodes().for_each(|node| counts.add_entry(&node.node_type, node.size));
        self.count_tree(&id, &counts);
        Ok(id)
    }

    /// Counts the entries of a tree if the repository did not have it.
    pub(super) fn count_tree(&self, id: &TreeId, counts: &Counts) {
        if !self.index.was_known(BlobType::Tree, id, self.known_packs) {
            self.counting.new_tree(counts);
        }
    }

    /// Hands the tree of a directory to the one above, and so on upwards. Going up in a loop keeps the stack flat however deep the
    /// directory is.
    pub(super) fn close_directory(&self, mut directory: Arc<Directory>, mut tree: TreeId) -> Result<()> {
        loop {
            self.counting.dir(match directory.previous_tree {
                Some(previous) if previous == tree => Change::Unmodified,
                _ if directory.was_there => Change::Changed,
                _ => Change::New,
            });
            Counters::add(&self.control.counters().dirs_done, 1);
            let Some((above, slot)) = directory.above.clone() else {
                self.finish(tree);
                return Ok(());
            };
            let mut node = std::mem::take(&mut *directory.node.lock());
            node.subtree = Some(tree);
            match self.put(&above, slot, Some(node))? {
                Some(above_tree) => (directory, tree) = (above, above_tree),
                None => return Ok(()),
            }
        }
    }
}
