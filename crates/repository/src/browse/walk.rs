//! Going through a snapshot in the order of names.

use std::collections::VecDeque;

use super::MOST_LEVELS;
use super::directory::{Directory, Listed};
use crate::TreeId;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::{Node, NodeType};
use crate::pack::BlobReader;
use crate::source::PathProblem;
use crate::source::handles::to_path;

/// An entry of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its absolute path in the snapshot, as bytes.
    pub path: Vec<u8>,
    /// What the snapshot says of it.
    pub node: Node,
}

/// What a walk comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An entry that was chosen.
    Entry(Entry),
    /// Something that cannot be shown; the walk goes on without it.
    Problem(PathProblem),
}

/// What is done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The walk returns it.
    pub show: bool,
    /// If it is a directory, the walk goes into it.
    pub descend: bool,
}

/// A walk through a snapshot: each directory before its entries, these by ascending name. `choose` is asked once about each entry.
#[derive(Debug)]
pub struct Walk<F> {
    reader: BlobReader,
    control: Control,
    choose: F,
    frames: Vec<Frame>,
    /// The path of what is looked at.
    path: Vec<u8>,
    /// A directory that is to be entered next.
    next: Option<TreeId>,
    problems: VecDeque<PathProblem>,
}

/// A directory that is being gone through.
#[derive(Debug)]
struct Frame {
    directory: Directory,
    /// Length of the directory's own path.
    path_length: usize,
}

impl<F: FnMut(&[u8], &Node) -> Choice> Walk<F> {
    /// A walk from a root tree.
    pub fn new(reader: &BlobReader, root: TreeId, control: &Control, choose: F) -> Self {
        Self::below(reader, root, Vec::new(), control, choose)
    }

    /// A walk from the tree of a directory at `path`, which has no slash at its end.
    pub(super) fn below(reader: &BlobReader, tree: TreeId, path: Vec<u8>, control: &Control, choose: F) -> Self {
        Self {
            reader: reader.clone(),
            control: control.clone(),
            choose,
            frames: Vec::new(),
            path,
            next: Some(tree),
            problems: VecDeque::new(),
        }
    }

    fn step(&mut self) -> Result<Option<Step>> {
        loop {
            if let Some(problem) = self.problems.pop_front() {
                return Ok(Some(Step::Problem(problem)));
            }
            if let Some(tree) = self.next.take() {
                self.enter(&tree)?;
                continue;
            }
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            self.control.check()?;
            self.path.truncate(frame.path_length);
            let node = match frame.directory.next() {
                Some(Ok(Listed::Entry(node))) => *node,
                Some(Ok(Listed::Refused(name))) => {
                    self.problems.push_back(refused_name(&self.path, &name));
                    continue;
                }
                Some(Err(error)) => {
                    self.problems.push_back(unreadable(&self.path, error)?);
                    continue;
                }
                None => {
                    self.frames.pop();
                    continue;
                }
            };
            self.path.push(b'/');
            self.path.extend_from_slice(&node.name);
            let choice = (self.choose)(&self.path, &node);
            if choice.descend && node.node_type == NodeType::Dir {
                match node.subtree {
                    Some(tree) => self.next = Some(tree),
                    None => self.problems.push_back(problem(&self.path, WITHOUT_TREE.to_owned(), "damaged")),
                }
            }
            if choice.show {
                return Ok(Some(Step::Entry(Entry { path: self.path.clone(), node })));
            }
        }
    }

    fn enter(&mut self, tree: &TreeId) -> Result<()> {
        if self.frames.len() >= MOST_LEVELS {
            self.problems.push_back(problem(&self.path, too_deep(), "refused"));
            return Ok(());
        }
        match Directory::load(&self.reader, tree) {
            Ok(directory) => self.frames.push(Frame { directory, path_length: self.path.len() }),
            Err(error) => self.problems.push_back(unreadable(&self.path, error)?),
        }
        Ok(())
    }
}

impl<F: FnMut(&[u8], &Node) -> Choice> Iterator for Walk<F> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.frames.clear();
            self.problems.clear();
        }
        step.transpose()
    }
}

/// What is said of a directory that has no tree.
pub(super) const WITHOUT_TREE: &str = "the snapshot holds no content for the directory";

/// What is said of a directory that is too deep.
pub(super) fn too_deep() -> String {
    format!("refused: it is more than {MOST_LEVELS} directories deep")
}

/// The problem of a directory that cannot be read; an error that says nothing about the directory stays one.
pub(super) fn unreadable(path: &[u8], error: Error) -> Result<PathProblem> {
    if error.is_damage() { Ok(problem(path, format!("the directory cannot be read: {error}"), "damaged")) } else { Err(error) }
}

/// The problem of a name that no directory can hold.
pub(super) fn refused_name(directory: &[u8], name: &[u8]) -> PathProblem {
    let reason = "refused: the repository holds a name that cannot stand in a directory, or one twice";
    problem(&[directory, b"/", name].concat(), reason.to_owned(), "refused")
}

/// A problem at a path of the snapshot; the empty path is the root.
pub(super) fn problem(path: &[u8], reason: String, class: &'static str) -> PathProblem {
    PathProblem { path: to_path(if path.is_empty() { b"/" } else { path }), reason, class }
}
