//! The entries of a huge directory that are in work: bounded, because nodes that are done wait behind one that is not.

use std::{collections::VecDeque, ops::Range};

use crate::{format::Node, limits};

/// Entries that one task looks at: enough to make taking a task worth it, few enough to keep all threads busy in one directory.
pub(super) const ENTRIES_PER_TASK: usize = 64;

/// How far a window reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowBounds {
    /// Entries at most.
    pub entries: usize,
    /// Bytes of nodes that wait; beyond it nothing more is dealt out.
    pub memory: usize,
}

impl Default for WindowBounds {
    fn default() -> Self {
        Self { entries: limits::STREAM_WINDOW, memory: limits::STREAM_WINDOW_MEMORY }
    }
}

/// What became of an entry.
#[derive(Debug)]
enum Slot {
    InWork,
    /// `None` if it is not in the snapshot.
    Done(Option<Node>),
}

/// The slots between the first that is not written and the last that was dealt out.
#[derive(Debug)]
pub(super) struct Window {
    bounds: WindowBounds,
    /// Entries of the directory.
    count: usize,
    first: usize,
    slots: VecDeque<Slot>,
    /// Bytes of the nodes that wait.
    memory: usize,
    /// The most that there were of entries, and of these bytes.
    peak: (usize, usize),
}

impl Window {
    pub(super) fn new(count: usize, bounds: WindowBounds) -> Self {
        Self { bounds, count, first: 0, slots: VecDeque::new(), memory: 0, peak: (0, 0) }
    }

    /// The next entries to be taken up, while there is room; they are in work then.
    pub(super) fn deal_out(&mut self) -> Option<Range<usize>> {
        let start = self.first + self.slots.len();
        let is_full = self.slots.len() + ENTRIES_PER_TASK > self.bounds.entries || self.memory >= self.bounds.memory;
        if start >= self.count || is_full && !self.slots.is_empty() {
            return None;
        }
        let end = self.count.min(start + ENTRIES_PER_TASK);
        self.slots.extend((start..end).map(|_| Slot::InWork));
        self.peak.0 = self.peak.0.max(self.slots.len());
        Some(start..end)
    }

    /// Puts down the result of an entry that was dealt out.
    pub(super) fn put(&mut self, slot: usize, node: Option<Node>) {
        let memory = node.as_ref().map_or(0, Node::memory);
        let at = slot.checked_sub(self.first);
        if let Some(place @ Slot::InWork) = at.and_then(|at| self.slots.get_mut(at)) {
            *place = Slot::Done(node);
            self.memory += memory;
            self.peak.1 = self.peak.1.max(self.memory);
        }
    }

    /// The nodes that are done and wait for nothing.
    pub(super) fn take_done(&mut self) -> Vec<Node> {
        let mut done = Vec::new();
        while let Some(Slot::Done(node)) = self.slots.front_mut() {
            let node = node.take();
            self.memory -= node.as_ref().map_or(0, Node::memory);
            done.extend(node);
            self.slots.pop_front();
            self.first += 1;
        }
        done
    }

    /// Whether every entry was taken away again.
    pub(super) fn is_done(&self) -> bool {
        self.first >= self.count
    }

    /// The most entries that were in work, and the most bytes of nodes that waited.
    pub(super) fn peak(&self) -> (usize, usize) {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(slot: usize) -> Node {
        Node { name: format!("{slot:06}").into_bytes(), ..Node::default() }
    }

    proptest! {
        /// Audit D1: whatever the order in which entries are done, all come out in theirs, and no more than the window is in work.
        #[test]
        fn any_order_comes_out_in_order_and_bounded(
            count in 0usize..2_000, entries in 1usize..300, picks in proptest::collection::vec(any::<prop::sample::Index>(), 1..200),
        ) {
            let bounds = WindowBounds { entries, memory: 40_000 };
            let mut window = Window::new(count, bounds);
            let (mut in_work, mut written, mut picks) = (Vec::new(), Vec::new(), picks.iter().cycle());
            while !window.is_done() {
                while let Some(range) = window.deal_out() {
                    in_work.extend(range);
                }
                prop_assert!(!in_work.is_empty(), "it stands still");
                let slot = in_work.swap_remove(picks.next().map_or(0, |pick| pick.index(in_work.len())));
                window.put(slot, (slot % 7 != 3).then(|| node(slot)));
                written.extend(window.take_done());
            }
            prop_assert_eq!(written, (0..count).filter(|slot| slot % 7 != 3).map(node).collect::<Vec<_>>());
            let (most_entries, most_memory) = window.peak();
            prop_assert!(most_entries <= entries.max(ENTRIES_PER_TASK), "{most_entries}");
            prop_assert!(most_memory <= 40_000 + ENTRIES_PER_TASK.max(entries) * node(0).memory());
        }
    }

    #[test]
    fn behind_a_slow_entry_no_more_is_taken_up() {
        let mut window = Window::new(1_000_000, WindowBounds { entries: 256, memory: usize::MAX });
        while window.deal_out().is_some() {}
        (1..256).for_each(|slot| window.put(slot, Some(node(slot))));
        assert!(window.take_done().is_empty() && window.deal_out().is_none());
        window.put(0, None);
        assert_eq!(window.take_done().len(), 255);
        assert_eq!(window.deal_out(), Some(256..320));
    }

    #[test]
    fn nodes_that_are_large_close_the_window_earlier() {
        let mut window = Window::new(1_000_000, WindowBounds { entries: 4096, memory: 100_000 });
        assert!(window.deal_out().is_some());
        window.put(1, Some(Node { link_target: vec![0; 100_000], ..node(1) }));
        assert!(window.deal_out().is_none());
        window.put(0, None);
        assert_eq!(window.take_done().len(), 1);
        assert!(window.deal_out().is_some());
    }
}
