//! The chunks of one large file while they are being stored, perhaps by several threads and out of order.

use std::collections::VecDeque;

use crate::format::{Content, Id, Run};

/// Chunks in the order in which they stand in the file. What is stored up to the first gap is kept as runs.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    content: Content,
    /// What follows it; `None` is being stored.
    waiting: VecDeque<Option<Run>>,
    /// The position of the first that waits.
    first: u64,
}

impl Chunks {
    /// A place for a chunk that is about to be stored, behind all others.
    pub(super) fn open(&mut self) -> u64 {
        self.waiting.push_back(None);
        self.first + self.waiting.len() as u64 - 1
    }

    /// Puts down the blob of a chunk at the place that was opened for it.
    pub(super) fn put(&mut self, position: u64, id: Id) {
        let at = position.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(place) = at.and_then(|at| self.waiting.get_mut(at)) {
            *place = Some(Run { id, count: 1 });
        }
        self.settle();
    }

    /// Adds chunks of one blob that is stored already, behind all others.
    pub(super) fn push_run(&mut self, run: Run) {
        self.waiting.push_back(Some(run));
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(Some(run)) = self.waiting.front().copied() {
            self.waiting.pop_front();
            self.first += 1;
            self.content.push_run(run);
        }
    }

    /// The content, once all chunks are stored.
    pub(super) fn finish(mut self) -> Content {
        self.waiting.into_iter().flatten().for_each(|run| self.content.push_run(run));
        self.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_in_any_order_and_stand_in_theirs() {
        let [a, b, zero] = [b"a", b"b", b"0"].map(|name| Id::of(name));
        let mut chunks = Chunks::default();
        let first = chunks.open();
        chunks.push_run(Run { id: zero, count: 3 });
        let second = chunks.open();
        chunks.push_run(Run { id: zero, count: 1 << 20 });
        chunks.put(second, zero);
        assert_eq!(chunks.waiting.len(), 4);
        chunks.put(first, a);
        assert!(chunks.waiting.is_empty(), "nothing waits behind what is stored");
        let last = chunks.open();
        chunks.put(last, b);
        let expected = [Run { id: a, count: 1 }, Run { id: zero, count: 4 + (1 << 20) }, Run { id: b, count: 1 }];
        assert_eq!(chunks.finish().runs(), expected);
    }
}
