//! Going through the snapshot's trees: directories and special entries are made on the way, files are collected.

use std::{collections::HashSet, path::PathBuf, sync::Arc, sync::atomic::Ordering::Relaxed, vec::IntoIter};

use super::{directories::DirectoryRecord, file::FileTarget, report::add, restorer::Restorer, select::Choice};
use crate::{
    Counters, TreeId,
    error::{Error, Result},
    format::{Node, NodeType},
    source::handles::{Place, to_path},
};

/// Files and references to blobs that are held in memory and restored together. A pack that is needed by files of two batches is read
/// twice, which is rare, because files that were backed up together lie together.
const BATCH_FILES: usize = 128 * 1024;
const BATCH_BLOBS: usize = 512 * 1024;

/// Directories below one another. Linux allows paths of 4,096 bytes at a time, so real trees stay far below.
const MOST_LEVELS: usize = 20_000;

/// A directory whose nodes are being gone through.
struct Frame {
    place: Arc<Place>,
    nodes: IntoIter<Node>,
    /// Names that came already, if the tree is not in order and could hold one twice.
    seen: Option<HashSet<Vec<u8>>>,
    /// Length of the path up to here.
    path_length: usize,
    state: State,
}

enum State {
    /// Not made yet: nothing in it has been chosen so far.
    Waiting(Box<Node>),
    Made,
    /// It could not be made, so nothing in it can.
    Failed,
}

/// Where the walk is.
struct Walk {
    frames: Vec<Frame>,
    /// The path in the snapshot of what is looked at.
    path: Vec<u8>,
    files: Vec<FileTarget>,
    blobs: usize,
    directories: Vec<DirectoryRecord>,
}

impl Restorer {
    /// Restores everything but hard links and the metadata of directories, which it returns from the top down.
    pub(super) fn walk(&self, root: TreeId) -> Result<Vec<DirectoryRecord>> {
        let mut walk = Walk { frames: Vec::new(), path: Vec::new(), files: Vec::new(), blobs: 0, directories: Vec::new() };
        let nodes = self.reader.load_tree_blocking(&root)?.nodes;
        walk.frames.push(Frame::new(self.root.clone(), nodes, 0, State::Made));
        while let Some(frame) = walk.frames.last_mut() {
            walk.path.truncate(frame.path_length);
            let Some(node) = frame.nodes.next() else {
                walk.frames.pop();
                continue;
            };
            self.check()?;
            let Some(name) = node.safe_name().filter(|name| frame.seen.as_mut().is_none_or(|seen| seen.insert(name.to_vec())))
            else {
                let path = self.target_path(&[&walk.path, &b"/"[..], &node.name].concat());
                self.add_error(
                    path,
                    "refused: the repository holds a name that cannot stand in a directory, or one twice".to_owned(),
                    "refused",
                );
                continue;
            };
            walk.path.push(b'/');
            walk.path.extend_from_slice(name);
            let choice = self.selection.choose(&walk.path);
            if node.node_type == NodeType::Dir {
                self.directory(&mut walk, node, choice)?;
            } else if choice.restore {
                self.entry(&mut walk, node)?;
            }
            if walk.files.len() >= BATCH_FILES || walk.blobs >= BATCH_BLOBS {
                walk.blobs = 0;
                self.restore_files(&std::mem::take(&mut walk.files))?;
            }
            if self.is_full.load(Relaxed) {
                break;
            }
        }
        self.restore_files(&std::mem::take(&mut walk.files))?;
        if self.is_full.load(Relaxed) {
            self.add_error(self.root.path(), "the restore was stopped: the file system has no room left".to_owned(), "space");
        }
        Ok(walk.directories)
    }

    fn directory(&self, walk: &mut Walk, mut node: Node, choice: Choice) -> Result<()> {
        if !choice.restore && !choice.descend {
            return Ok(());
        }
        let path = || self.target_path(&walk.path);
        let Some(above) = walk.frames.last() else { return Ok(()) };
        let place = above.place.child(&node.name);
        let subtree = node.subtree.take();
        let nodes = match subtree {
            _ if walk.frames.len() >= MOST_LEVELS => Err(format!("refused: it is more than {MOST_LEVELS} directories deep")),
            None => Err("the snapshot holds no content for the directory".to_owned()),
            Some(tree) if choice.descend => match self.reader.load_tree_blocking(&tree) {
                Ok(tree) => Ok(tree.nodes),
                Err(error) if is_damage(&error) => Err(format!("the directory's content is not restored: {error}")),
                Err(error) => return Err(error),
            },
            Some(_) => Ok(Vec::new()),
        };
        let nodes = nodes.unwrap_or_else(|reason| {
            self.add_error(path(), reason, "damaged");
            Vec::new()
        });
        let frame = Frame::new(place, nodes, walk.path.len(), State::Waiting(Box::new(node)));
        walk.frames.push(frame);
        if choice.restore {
            self.make_directories(walk)?;
        }
        Ok(())
    }

    /// Makes the directories of the frames that have not been made. Whether the last one is there now.
    fn make_directories(&self, walk: &mut Walk) -> Result<bool> {
        let first = walk.frames.iter().rposition(|frame| !matches!(frame.state, State::Waiting(_))).map_or(0, |made| made + 1);
        for position in first..walk.frames.len() {
            let above_failed = position > 0 && matches!(walk.frames[position - 1].state, State::Failed);
            let frame = &mut walk.frames[position];
            let State::Waiting(node) = std::mem::replace(&mut frame.state, State::Failed) else { continue };
            let path = &walk.path[..frame.path_length];
            if above_failed {
                self.add_error(self.target_path(path), "the directory above it could not be made".to_owned(), "other");
                continue;
            }
            if let Some(record) = self.make_directory(&frame.place, *node, path) {
                frame.state = State::Made;
                walk.directories.extend(record);
            }
        }
        Ok(walk.frames.last().is_some_and(|frame| matches!(frame.state, State::Made)))
    }

    fn entry(&self, walk: &mut Walk, mut node: Node) -> Result<()> {
        let path = self.target_path(&walk.path);
        if !self.make_directories(walk)? {
            self.add_error(path, "the directory above it could not be made".to_owned(), "other");
            return Ok(());
        }
        let Some(frame) = walk.frames.last() else { return Ok(()) };
        let place = frame.place.clone();
        if node.node_type != NodeType::File {
            self.special(&place, &node, path);
            return Ok(());
        }
        let counters = self.control.counters();
        let group = match self.groups.join(&place, &node) {
            super::links::Joined::Later => {
                Counters::add(&counters.files_total, 1);
                return Ok(());
            }
            super::links::Joined::First(group) => Some(group),
            super::links::Joined::Alone => None,
        };
        Counters::add(&counters.files_total, 1);
        Counters::add(&counters.bytes_total, node.size);
        add(&self.counting.bytes_total, node.size);
        node.error.clear();
        walk.blobs += node.content.as_ref().map_or(0, Vec::len);
        walk.files.push(FileTarget::new(place, node, group));
        Ok(())
    }

    /// The path in the target of a path in the snapshot, for messages.
    pub(super) fn target_path(&self, path: &[u8]) -> PathBuf {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        let mut bytes = self.root.entry_path_bytes(b"");
        bytes.extend_from_slice(relative);
        to_path(&bytes)
    }
}

impl Frame {
    fn new(place: Arc<Place>, nodes: Vec<Node>, path_length: usize, state: State) -> Self {
        let is_ordered = nodes.is_sorted_by(|left, right| left.name < right.name);
        Self { place, nodes: nodes.into_iter(), seen: (!is_ordered).then(HashSet::new), path_length, state }
    }
}

/// Whether an error says that something in the repository is damaged or missing, rather than that it cannot be reached.
pub(super) fn is_damage(error: &Error) -> bool {
    match error {
        Error::Damaged { .. } | Error::BlobUnreadable { .. } | Error::InvalidTree { .. } | Error::BeyondLimit { .. } => true,
        Error::Store { .. } => error.is_not_found(),
        _ => false,
    }
}
