//! Directories too large to be held: their nodes go into a stream as they are done, in the order of names, and their entries in
//! the parent snapshot come from one.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use super::{
    directory::Directory,
    session::{Session, Task},
    tally::Counts,
    window::{Window, WindowBounds},
};
use crate::{
    TreeId,
    error::Result,
    format::Node,
    limits,
    pack::{TreeNodes, TreeWriter},
    source::names::Names,
};

/// When directories are written and read as streams, and within which bounds.
#[derive(Clone, Debug)]
pub struct Streaming {
    /// Directories of more entries than this are written as streams.
    pub entries: usize,
    /// So are those whose tree would have more bytes than this; and trees of more bytes are read as streams.
    pub bytes: u32,
    /// Entries of one directory that are in work at a time.
    pub window: WindowBounds,
    /// The greatest window that there was, in entries and in bytes of nodes that waited.
    pub peak: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Default for Streaming {
    fn default() -> Self {
        Self {
            entries: limits::STREAMED_ENTRIES,
            bytes: limits::STREAMED_TREE,
            window: WindowBounds::default(),
            peak: Arc::default(),
        }
    }
}

/// The entries of a directory that is written as a stream.
pub(super) struct StreamedEntries {
    state: Mutex<State>,
}

struct State {
    window: Window,
    /// What has an order of its own and is for one thread at a time; whoever finds it here goes on with the directory.
    course: Option<Box<Course>>,
}

struct Course {
    tree: TreeWriter,
    counts: Counts,
    /// The directory's entries in the parent snapshot that come next.
    previous: Previous,
}

/// Some entries of a directory, to be looked at by one thread.
pub(super) struct Portion {
    pub(super) slots: Range<usize>,
    /// Their nodes in the parent snapshot, if they come from a stream.
    pub(super) previous: Vec<Node>,
}

/// What is to be done next.
struct Turn {
    course: Box<Course>,
    done: Vec<Node>,
    portions: Vec<Range<usize>>,
    is_last: bool,
}

impl StreamedEntries {
    pub(super) fn new(count: usize, bounds: WindowBounds, tree: TreeWriter, previous: Previous) -> Self {
        let course = Some(Box::new(Course { tree, counts: Counts::default(), previous }));
        Self { state: Mutex::new(State { window: Window::new(count, bounds), course }) }
    }

    pub(super) fn put(&self, slot: usize, node: Option<Node>) {
        self.state.lock().window.put(slot, node);
    }

    /// Takes up the course if there is something to be done and nobody else is at it; he will find it then.
    fn take_turn(&self) -> Option<Turn> {
        let mut state = self.state.lock();
        let course = state.course.take()?;
        let done = state.window.take_done();
        let portions: Vec<_> = std::iter::from_fn(|| state.window.deal_out()).collect();
        let is_last = state.window.is_done();
        if done.is_empty() && portions.is_empty() && !is_last {
            state.course = Some(course);
            return None;
        }
        Some(Turn { course, done, portions, is_last })
    }
}

impl Session {
    /// Whether a directory is written as a stream.
    pub(super) fn is_streamed(&self, entries: usize) -> bool {
        entries > self.streaming.entries
    }

    /// Goes on with a directory: writes the nodes that are done and deals out further entries. Its tree, once all are written.
    pub(super) fn go_on(&self, directory: &Arc<Directory>, entries: &StreamedEntries) -> Result<Option<TreeId>> {
        while let Some(Turn { mut course, done, portions, is_last }) = entries.take_turn() {
            for node in done {
                course.counts.add_entry(&node.node_type, node.size);
                course.tree.add(&node)?;
            }
            if is_last {
                let (most_entries, most_memory) = entries.state.lock().window.peak();
                self.streaming.peak.0.fetch_max(most_entries, Relaxed);
                self.streaming.peak.1.fetch_max(most_memory, Relaxed);
                return self.finish_stream(*course).map(Some);
            }
            let portions = portions.into_iter().map(|slots| {
                let previous = course.previous.of(slots.clone().map(|slot| directory.names.get(slot)));
                Task::Entries(directory.clone(), Portion { slots, previous })
            });
            let tasks: Vec<_> = portions.collect();
            if !tasks.is_empty() {
                self.queue.push_all(tasks);
            }
            entries.state.lock().course = Some(course);
        }
        Ok(None)
    }

    fn finish_stream(&self, course: Course) -> Result<TreeId> {
        let id = course.tree.finish()?.id;
        self.count_tree(&id, &course.counts);
        Ok(id)
    }

    /// Stores nodes that are all there as a stream: few entries may have long lists of blobs.
    pub(super) fn store_as_stream<'a>(&self, nodes: impl Iterator<Item = &'a Node>) -> Result<TreeId> {
        let mut tree = self.saver.tree_writer();
        for node in nodes {
            self.control.check()?;
            tree.add(node)?;
        }
        Ok(tree.finish()?.id)
    }
}

/// The entries of a directory in the parent snapshot, taken from a stream beside the names of the directory, in the same order.
#[derive(Default)]
pub(super) struct Previous {
    nodes: TreeNodes,
    /// Taken from the stream already: it comes after all names that were asked for.
    next: Option<Node>,
}

impl Previous {
    pub(super) fn new(nodes: TreeNodes) -> Self {
        Self { nodes, next: None }
    }

    /// The nodes of these names, which come after those that were asked for before.
    pub(super) fn of<'a>(&mut self, names: impl Iterator<Item = &'a [u8]>) -> Vec<Node> {
        let mut found = Vec::new();
        for name in names {
            while self.next.as_ref().is_none_or(|node| node.name.as_slice() < name) {
                self.next = self.read();
                if self.next.is_none() {
                    return found;
                }
            }
            found.extend(self.next.take_if(|node| node.name == name));
        }
        found
    }

    /// If the rest cannot be read, its files are read again instead.
    fn read(&mut self) -> Option<Node> {
        self.nodes.next()?.inspect_err(|error| tracing::warn!(%error, "{UNREADABLE}")).ok()
    }

    /// The nodes of a directory's names.
    pub(super) fn matching(nodes: TreeNodes, names: &Names) -> Vec<Node> {
        Self::new(nodes).of(names.iter())
    }
}

/// What is said of a tree of the parent snapshot.
pub(super) const UNREADABLE: &str = "a tree of the parent snapshot is not readable, its files are read again";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_come_beside_the_names_whatever_is_missing_on_either_side() {
        let nodes: Vec<Node> = ["a", "c", "d", "f"].map(|name| Node { name: name.into(), ..Node::default() }).into();
        let mut previous = Previous::new(nodes.into());
        let mut of = |names: &[&str]| -> Vec<Vec<u8>> {
            previous.of(names.iter().map(|name| name.as_bytes())).into_iter().map(|node| node.name).collect()
        };
        assert_eq!(of(&["a", "b"]), [b"a"]);
        assert_eq!(of(&["ca", "d"]), [b"d"]);
        assert_eq!(of(&["e"]), Vec::<Vec<u8>>::new());
        assert_eq!(of(&["f", "g"]), [b"f"]);
        assert_eq!(of(&["h"]), Vec::<Vec<u8>>::new());
    }
}
