//! Going through the snapshot's trees: directories and special entries are made on the way, files are collected.

use std::{collections::HashSet, path::PathBuf, sync::Arc, sync::atomic::Ordering::Relaxed};

use super::{
    batch::Batch, directories::DirectoryRecord, file::FileTarget, links::Joined, report::add, restorer::Restorer, select::Choice,
    surplus::Here,
};
use crate::{
    Counters, TreeId,
    error::{Error, Result},
    format::{Node, NodeType},
    pack::TreeNodes,
    source::handles::{Place, to_path},
};

/// Directories below one another. Linux allows paths of 4,096 bytes at a time, so real trees stay far below.
pub(super) const MOST_LEVELS: usize = 20_000;

/// A directory whose nodes are being gone through.
struct Frame {
    place: Arc<Place>,
    nodes: TreeNodes,
    /// Names that came already, if the tree is not in order and could hold one twice.
    seen: Option<HashSet<Vec<u8>>>,
    /// Length of the path up to here.
    path_length: usize,
    state: State,
    volume: Volume,
}

/// The file system that a directory of the target is on, where what the snapshot does not have is to be removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Volume {
    /// It has not been asked yet, or the directory is above what was backed up.
    Unknown,
    /// The one on which the path that was backed up begins.
    Own,
    /// One that is mounted further down.
    Other,
}

enum State {
    /// Not made yet: nothing in it has been chosen so far.
    Waiting(Box<Node>),
    /// With what is to be set when it is left, and whether it is this run's own.
    Made(Option<DirectoryRecord>, bool),
    /// It could not be made, so nothing in it can.
    Failed,
}

/// Where the walk is.
struct Walk {
    frames: Vec<Frame>,
    /// The path in the snapshot of what is looked at.
    path: Vec<u8>,
    batch: Batch,
}

impl Restorer {
    /// Makes directories and special entries and hands over everything else in batches.
    pub(super) fn walk(&self, root: TreeId, mut hand_over: impl FnMut(Batch) -> Result<()>) -> Result<()> {
        let mut walk = Walk { frames: Vec::new(), path: Vec::new(), batch: Batch::default() };
        let nodes = self.reader.tree_nodes_blocking(&root)?;
        walk.frames.push(Frame::new(self.root.clone(), nodes, 0, State::Made(None, false)));
        if self.selection.chooses(b"/") {
            self.note_surplus(&mut walk, root);
        }
        while let Some(frame) = walk.frames.last_mut() {
            walk.path.truncate(frame.path_length);
            // Where there is no room, what was made is still completed.
            match frame.nodes.next().filter(|_| !self.is_full.load(Relaxed)) {
                None => walk.leave(),
                Some(Ok(node)) => self.node(&mut walk, node)?,
                // Only a large tree, which is read as a stream, breaks off in the middle.
                Some(Err(error)) if is_damage(&error) => {
                    self.add_error(self.target_path(&walk.path), not_restored(&error), "damaged");
                }
                Some(Err(error)) => return Err(error),
            }
            if walk.batch.memory >= self.batch_memory {
                hand_over(std::mem::take(&mut walk.batch))?;
            }
        }
        hand_over(walk.batch)
    }

    fn node(&self, walk: &mut Walk, node: Node) -> Result<()> {
        self.check()?;
        let Some(frame) = walk.frames.last_mut() else { return Ok(()) };
        let Some(name) = node.safe_name().filter(|name| frame.seen.as_mut().is_none_or(|seen| seen.insert(name.to_vec()))) else {
            let path = self.target_path(&[&walk.path, &b"/"[..], &node.name].concat());
            self.add_error(
                path,
                "refused: the repository holds a name that cannot stand in a directory, or one twice".to_owned(),
                "refused",
            );
            return Ok(());
        };
        walk.path.push(b'/');
        walk.path.extend_from_slice(name);
        let choice = self.selection.choose(&walk.path);
        if node.node_type == NodeType::Dir {
            self.directory(walk, node, choice)?;
        } else if choice.restore {
            self.entry(walk, node);
        }
        Ok(())
    }

    fn directory(&self, walk: &mut Walk, mut node: Node, choice: Choice) -> Result<()> {
        if !choice.restore && !choice.descend {
            return Ok(());
        }
        let path = || self.target_path(&walk.path);
        let Some(above) = walk.frames.last() else { return Ok(()) };
        let place = above.place.child(&node.name);
        let subtree = node.subtree.take();
        node.name = Vec::new();
        forget_texts(&mut node);
        let nodes = match subtree {
            _ if walk.frames.len() >= MOST_LEVELS => Err(format!("refused: it is more than {MOST_LEVELS} directories deep")),
            None => Err("the snapshot holds no content for the directory".to_owned()),
            Some(tree) if choice.descend => match self.reader.tree_nodes_blocking(&tree) {
                Ok(nodes) => Ok(nodes),
                Err(error) if is_damage(&error) => Err(not_restored(&error)),
                Err(error) => return Err(error),
            },
            Some(_) => Ok(TreeNodes::default()),
        };
        let nodes = nodes.unwrap_or_else(|reason| {
            self.add_error(path(), reason, "damaged");
            TreeNodes::default()
        });
        let frame = Frame::new(place, nodes, walk.path.len(), State::Waiting(Box::new(node)));
        walk.frames.push(frame);
        if choice.restore {
            self.make_directories(walk);
        }
        if let Some(tree) = subtree.filter(|_| choice.restore) {
            self.note_surplus(walk, tree);
        }
        Ok(())
    }

    /// Notes what stands in the directory that the walk has just entered and is not in its tree.
    fn note_surplus(&self, walk: &mut Walk, tree: TreeId) {
        let Some(surplus) = self.surplus.as_ref().filter(|_| self.is_on_own_volume(walk)) else { return };
        surplus.begin();
        let Some(frame) = walk.frames.last() else { return };
        let State::Made(_, is_own) = frame.state else { return };
        if !is_own {
            self.look_for_surplus(surplus, &Here { place: &frame.place, path: &walk.path, tree, nodes: frame.nodes.held() });
        }
    }

    /// Whether the directory that the walk has just entered belongs to what was backed up and nothing is mounted between the two.
    fn is_on_own_volume(&self, walk: &mut Walk) -> bool {
        let Walk { frames, path, .. } = walk;
        let mut known = None;
        for (position, frame) in frames.iter_mut().enumerate().rev() {
            if frame.volume == Volume::Unknown && self.selection.is_backup_root(&path[..frame.path_length]) {
                frame.volume = Volume::Own;
            }
            if frame.volume != Volume::Unknown {
                known = Some((position, frame.volume));
                break;
            }
        }
        let Some((position, mut volume)) = known else { return false };
        for frame in &mut frames[position + 1..] {
            // What this run made stands where the directory above it does.
            let is_new = matches!(frame.state, State::Made(_, true));
            if volume == Volume::Own && !is_new && !self.is_on_same_mount(&frame.place, &path[..frame.path_length]) {
                volume = Volume::Other;
            }
            frame.volume = volume;
        }
        volume == Volume::Own
    }

    /// Makes the directories of the frames that have not been made.
    fn make_directories(&self, walk: &mut Walk) {
        let first = walk.frames.iter().rposition(|frame| !matches!(frame.state, State::Waiting(_))).map_or(0, |made| made + 1);
        for position in first..walk.frames.len() {
            let above_failed = position > 0 && matches!(walk.frames[position - 1].state, State::Failed);
            let frame = &mut walk.frames[position];
            let State::Waiting(node) = std::mem::replace(&mut frame.state, State::Failed) else { continue };
            let path = &walk.path[..frame.path_length];
            if above_failed {
                self.add_error(self.target_path(path), "the directory above it could not be made".to_owned(), "other");
            } else if let Some(directory) = self.make_directory(&frame.place, *node, path) {
                frame.state = State::Made(directory.record, directory.is_own);
            }
        }
    }

    fn entry(&self, walk: &mut Walk, mut node: Node) {
        self.make_directories(walk);
        let Some(frame) = walk.frames.last() else { return };
        let State::Made(_, is_own) = frame.state else {
            self.add_error(self.target_path(&walk.path), "the directory above it could not be made".to_owned(), "other");
            return;
        };
        let place = frame.place.clone();
        // Other directories were noted when they were made.
        if place.parent().is_none() {
            self.note_device(&place);
        }
        if node.node_type != NodeType::File {
            self.special(&place, &node, is_own, self.target_path(&walk.path));
            return;
        }
        let counters = self.control.counters();
        Counters::add(&counters.files_total, 1);
        let group = match self.groups.join(&place, &node) {
            Joined::Later(name) => {
                walk.batch.add_name(name);
                return;
            }
            Joined::First(group) => Some(group),
            Joined::Alone => None,
        };
        Counters::add(&counters.bytes_total, node.size);
        add(&self.counting.bytes_total, node.size);
        forget_texts(&mut node);
        walk.batch.add_file(FileTarget::new(place, node, group, is_own));
    }

    /// The path in the target of a path in the snapshot, for messages.
    pub(super) fn target_path(&self, path: &[u8]) -> PathBuf {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        let mut bytes = self.root.entry_path_bytes(b"");
        bytes.extend_from_slice(relative);
        to_path(&bytes)
    }
}

impl Walk {
    /// Leaves a directory for good.
    fn leave(&mut self) {
        let frame = self.frames.pop();
        if let Some(State::Made(Some(record), _)) = frame.map(|frame| frame.state) {
            self.batch.add_directory(record);
        }
    }
}

impl Frame {
    fn new(place: Arc<Place>, nodes: TreeNodes, path_length: usize, state: State) -> Self {
        let seen = (!nodes.is_ordered()).then(HashSet::new);
        Self { place, nodes, seen, path_length, state, volume: Volume::Unknown }
    }
}

/// What is said of a directory of which something cannot be read.
fn not_restored(error: &Error) -> String {
    format!("the directory's content is not restored: {error}")
}

/// Frees what a restore does not need: many nodes are held at a time.
fn forget_texts(node: &mut Node) {
    [node.user, node.group, node.error] = [const { String::new() }; 3];
}

/// Whether an error says that something in the repository is damaged or missing, rather than that it cannot be reached.
pub(super) fn is_damage(error: &Error) -> bool {
    match error {
        Error::Damaged { .. } | Error::BlobUnreadable { .. } | Error::InvalidTree { .. } | Error::BeyondLimit { .. } => true,
        Error::Store { .. } => error.is_not_found(),
        _ => false,
    }
}
