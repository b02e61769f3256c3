//! Going through two trees side by side.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::super::MOST_LEVELS;
use super::super::directory::{Directory, Listed};
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
    before: Entries,
    after: Entries,
    path_length: usize,
}

/// A directory with a look at its next entry.
#[derive(Debug, Default)]
struct Entries {
    directory: Directory,
    next: Option<Box<Node>>,
}

enum Pair {
    Before(Node),
    After(Node),
    Both(Node, Node),
}

impl Entries {
    /// Makes sure that the next entry is there, if there is one; gives names that were refused to `refused`.
    fn look(&mut self, refused: &mut impl FnMut(&[u8])) -> Result<()> {
        while self.next.is_none() {
            match self.directory.next().transpose()? {
                Some(Listed::Entry(node)) => self.next = Some(node),
                Some(Listed::Refused(name)) => refused(&name),
                None => break,
            }
        }
        Ok(())
    }
}

impl Frame {
    fn next(&mut self, mut refused: impl FnMut(&[u8])) -> Result<Option<Pair>> {
        let (before, after) = (&mut self.before, &mut self.after);
        before.look(&mut refused)?;
        after.look(&mut refused)?;
        let order = match (&before.next, &after.next) {
            (Some(before), Some(after)) => before.name.cmp(&after.name),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        Ok(match order {
            Ordering::Less => before.next.take().map(|node| Pair::Before(*node)),
            Ordering::Greater => after.next.take().map(|node| Pair::After(*node)),
            Ordering::Equal => before.next.take().zip(after.next.take()).map(|(before, after)| Pair::Both(*before, *after)),
        })
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
            diff.tally.blob(Side::Before, BlobType::Tree, &before, 1);
            diff.tally.blob(Side::After, BlobType::Tree, &after, 1);
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
            let (path, problems) = (&self.path, &mut self.problems);
            let pair = match frame.next(|name| problems.push_back(refused_name(path, name))) {
                Ok(Some(pair)) => pair,
                Ok(None) => {
                    self.frames.pop();
                    continue;
                }
                // Compared with nothing, the rest of the other directory would look added or removed.
                Err(error) => {
                    self.problems.push_back(unreadable(&self.path, error)?);
                    self.frames.pop();
                    continue;
                }
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
        let entries = |directory| Entries { directory, next: None };
        self.frames.push(Frame { before: entries(before), after: entries(after), path_length: self.path.len() });
        Ok(())
    }

    /// The entries of a directory; `None` if it cannot be read.
    fn load(&mut self, tree: Option<TreeId>) -> Result<Option<Directory>> {
        let Some(tree) = tree else { return Ok(Some(Directory::default())) };
        match Directory::load(&self.reader, &tree) {
            Ok(directory) => Ok(Some(directory)),
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
