//! Going through two trees side by side.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::vec::IntoIter;

use super::super::MOST_LEVELS;
use super::super::directory::Directory;
use super::super::walk::{WITHOUT_TREE, problem, refused_name, too_deep, unreadable};
use super::tally::{Side, Tally};
use super::{Change, DiffRequest, DiffStatistics, DiffStep, Differences};
use crate::TreeId;
use crate::control::Control;
use crate::error::Result;
use crate::format::{BlobType, Node, NodeType};
use crate::pack::BlobReader;
use crate::source::PathProblem;

/// A comparison under way: an iterator over the changes in the order of names. Directories that are the same are not read.
#[derive(Debug)]
pub struct Diff {
    reader: BlobReader,
    control: Control,
    metadata: bool,
    frames: Vec<Frame>,
    /// The path of what is looked at.
    path: Vec<u8>,
    next: Next,
    problems: VecDeque<PathProblem>,
    tally: Tally,
}

/// Directories of one path that are to be entered next.
#[derive(Debug, Default)]
struct Next {
    before: Option<TreeId>,
    after: Option<TreeId>,
}

/// Two directories that are gone through together; of a directory that only one snapshot has, the other is empty.
#[derive(Debug)]
struct Frame {
    before: Peekable<IntoIter<Node>>,
    after: Peekable<IntoIter<Node>>,
    path_length: usize,
}

enum Pair {
    Before(Node),
    After(Node),
    Both(Node, Node),
}

impl Frame {
    fn next(&mut self) -> Option<Pair> {
        match (self.before.peek(), self.after.peek()) {
            (None, None) => None,
            (Some(before), Some(after)) if before.name == after.name => Some(Pair::Both(self.before.next()?, self.after.next()?)),
            (Some(before), Some(after)) if before.name > after.name => self.after.next().map(Pair::After),
            (None, Some(_)) => self.after.next().map(Pair::After),
            (Some(_), _) => self.before.next().map(Pair::Before),
        }
    }
}

impl Iterator for Diff {
    type Item = Result<DiffStep>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.frames.clear();
            self.problems.clear();
        }
        step.transpose()
    }
}

impl Diff {
    pub(super) fn new(reader: &BlobReader, before: TreeId, after: TreeId, request: DiffRequest, control: &Control) -> Self {
        let mut diff = Self {
            reader: reader.clone(),
            control: control.clone(),
            metadata: request.metadata,
            frames: Vec::new(),
            path: Vec::new(),
            next: Next::default(),
            problems: VecDeque::new(),
            tally: Tally::new(reader.index()),
        };
        if before != after {
            diff.tally.blobs(Side::Before, BlobType::Tree, &[before]);
            diff.tally.blobs(Side::After, BlobType::Tree, &[after]);
            diff.next = Next { before: Some(before), after: Some(after) };
        }
        diff
    }

    /// The sums, once the changes were gone through. Directories that are the same are read now.
    ///
    /// # Errors
    /// Of the store, and [`crate::Error::Cancelled`].
    pub fn statistics(self) -> Result<DiffStatistics> {
        self.tally.finish(&self.reader, &self.control)
    }

    fn step(&mut self) -> Result<Option<DiffStep>> {
        loop {
            if let Some(problem) = self.problems.pop_front() {
                return Ok(Some(DiffStep::Problem(problem)));
            }
            if self.next.before.is_some() || self.next.after.is_some() {
                self.enter()?;
                continue;
            }
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            self.control.check()?;
            self.path.truncate(frame.path_length);
            let Some(pair) = frame.next() else {
                self.frames.pop();
                continue;
            };
            if let Some(change) = self.look_at(pair) {
                return Ok(Some(change));
            }
        }
    }

    fn enter(&mut self) -> Result<()> {
        let Next { before, after } = std::mem::take(&mut self.next);
        if self.frames.len() >= MOST_LEVELS {
            self.problems.push_back(problem(&self.path, too_deep(), "refused"));
            return Ok(());
        }
        // Compared with nothing, all of the other directory would look added or removed.
        let (Some(before), Some(after)) = (self.load(before)?, self.load(after)?) else { return Ok(()) };
        self.frames.push(Frame {
            before: before.into_iter().peekable(),
            after: after.into_iter().peekable(),
            path_length: self.path.len(),
        });
        Ok(())
    }

    /// The entries of a directory; `None` if it cannot be read.
    fn load(&mut self, tree: Option<TreeId>) -> Result<Option<Vec<Node>>> {
        let Some(tree) = tree else { return Ok(Some(Vec::new())) };
        match Directory::load(&self.reader, &tree) {
            Ok(Directory { nodes, refused }) => {
                self.problems.extend(refused.iter().map(|name| refused_name(&self.path, name)));
                Ok(Some(nodes))
            }
            Err(error) => {
                self.problems.push_back(unreadable(&self.path, error)?);
                Ok(None)
            }
        }
    }

    fn look_at(&mut self, pair: Pair) -> Option<DiffStep> {
        let (Pair::Before(shown) | Pair::After(shown) | Pair::Both(_, shown)) = &pair;
        let is_directory = shown.node_type == NodeType::Dir;
        self.path.push(b'/');
        self.path.extend_from_slice(&shown.name);
        let change = match pair {
            Pair::Before(node) => {
                self.next.before = self.only(Side::Before, &node);
                Some(Change::Removed)
            }
            Pair::After(node) => {
                self.next.after = self.only(Side::After, &node);
                Some(Change::Added)
            }
            Pair::Both(before, after) => self.both(&before, &after),
        };
        change.map(|change| DiffStep::Change { path: self.path.clone(), is_directory, change })
    }

    /// Counts an entry that one snapshot has; if it is a directory, its tree is to be gone through.
    fn only(&mut self, side: Side, node: &Node) -> Option<TreeId> {
        self.tally.only(side, node);
        if node.node_type == NodeType::Dir { self.tree_of(node) } else { None }
    }

    fn both(&mut self, before: &Node, after: &Node) -> Option<Change> {
        self.tally.refers(Side::Before, before);
        self.tally.refers(Side::After, after);
        let are = |kind: &NodeType| before.node_type == *kind && after.node_type == *kind;
        let mut differences = Differences { kind: before.node_type != after.node_type, ..Differences::default() };
        if are(&NodeType::File) && before.content != after.content {
            self.tally.changed_file();
            differences.content = true;
            let rest = |node: &Node| Node { content: None, ..node.clone() };
            differences.silent = rest(before) == rest(after);
        } else {
            differences.metadata = self.metadata && before != after;
        }
        if are(&NodeType::Dir) {
            self.descend(before, after);
        }
        (differences != Differences::default()).then_some(Change::Different(differences))
    }

    fn descend(&mut self, before: &Node, after: &Node) {
        match (self.tree_of(before), self.tree_of(after)) {
            (Some(before), Some(after)) if before == after => self.tally.same(before),
            (Some(before), Some(after)) => self.next = Next { before: Some(before), after: Some(after) },
            _ => {}
        }
    }

    fn tree_of(&mut self, node: &Node) -> Option<TreeId> {
        if node.subtree.is_none() {
            self.problems.push_back(problem(&self.path, WITHOUT_TREE.to_owned(), "damaged"));
        }
        node.subtree
    }
}
