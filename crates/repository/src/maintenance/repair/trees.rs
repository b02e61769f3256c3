//! Writing trees anew without what is lost: blobs of files that no index has, and directories that cannot be read.

use std::collections::{HashMap, HashSet};

use super::super::walk::UsedBlobs;
use crate::browse::MOST_LEVELS;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::{BlobType, Node, NodeType, Tree};
use crate::limits::NAMED_DAMAGES;
use crate::pack::{BlobReader, BlobSaver};
use crate::{Id, TreeId};

/// What of a snapshot is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Blobs of a file; the rest of its content moves together, as with restic.
    Content {
        /// How many of them.
        blobs: u64,
        /// Bytes that the file is shorter by.
        bytes: u64,
    },
    /// Everything in a directory, which is empty from now on.
    Directory,
}

/// A part of a snapshot that is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostPart {
    /// The path in the first snapshot in which it was met, as bytes.
    pub path: Vec<u8>,
    /// What is lost.
    pub loss: Loss,
}

/// Writes trees anew. What several snapshots share is looked at once.
pub(super) struct TreeRewriter<'a> {
    reader: &'a BlobReader,
    /// `None` only to look.
    saver: Option<&'a BlobSaver>,
    control: &'a Control,
    visited: UsedBlobs,
    /// Trees that come out differently, and those that were written.
    rewritten: HashMap<TreeId, TreeId>,
    unreadable: HashSet<TreeId>,
    /// The first thousand.
    pub lost: Vec<LostPart>,
    pub lost_total: u64,
}

/// A directory that is being gone through.
struct Frame {
    id: TreeId,
    nodes: Vec<Node>,
    /// The node that is looked at next.
    next: usize,
    changed: bool,
    path_length: usize,
}

/// What became of a tree at first sight.
enum Seen {
    Is(TreeId),
    Unreadable,
    Open(Frame),
}

impl<'a> TreeRewriter<'a> {
    pub fn new(reader: &'a BlobReader, saver: Option<&'a BlobSaver>, control: &'a Control) -> Self {
        let visited = UsedBlobs::new(reader.index());
        Self {
            reader,
            saver,
            control,
            visited,
            rewritten: HashMap::new(),
            unreadable: HashSet::new(),
            lost: Vec::new(),
            lost_total: 0,
        }
    }

    /// The tree without what is lost; the same one if nothing is, and `None` if it cannot be read itself.
    pub fn rewrite(&mut self, root: &TreeId) -> Result<Option<TreeId>> {
        let mut path: Vec<u8> = Vec::new();
        let mut frames = match self.look(root, &path, 0)? {
            Seen::Is(tree) => return Ok(Some(tree)),
            Seen::Unreadable => return Ok(None),
            Seen::Open(frame) => vec![frame],
        };
        loop {
            self.control.check()?;
            let depth = frames.len();
            let Some(frame) = frames.last_mut() else { return Ok(Some(*root)) };
            path.truncate(frame.path_length);
            if let Some(node) = frame.nodes.get_mut(frame.next) {
                path.push(b'/');
                path.extend_from_slice(&node.name);
                match self.look_at_node(node, &path, depth)? {
                    Ahead::Down(below) => frames.push(below),
                    Ahead::On { changed } => {
                        frame.changed |= changed;
                        frame.next += 1;
                    }
                }
                continue;
            }
            let Some(done) = frames.pop() else { return Ok(Some(*root)) };
            let tree = self.close(done)?;
            let Some(parent) = frames.last_mut() else { return Ok(Some(tree)) };
            // The parent stands at the node of this directory still.
            if let Some(node) = parent.nodes.get_mut(parent.next) {
                parent.changed |= node.subtree != Some(tree);
                node.subtree = Some(tree);
            }
            parent.next += 1;
        }
    }

    fn look_at_node(&mut self, node: &mut Node, path: &[u8], depth: usize) -> Result<Ahead> {
        match node.node_type {
            NodeType::File => Ok(Ahead::On { changed: self.drop_lost_content(node, path) }),
            NodeType::Dir => self.look_at_directory(node, path, depth),
            _ => Ok(Ahead::On { changed: false }),
        }
    }

    fn look_at_directory(&mut self, node: &mut Node, path: &[u8], depth: usize) -> Result<Ahead> {
        let seen = match node.subtree {
            Some(subtree) => self.look(&subtree, path, depth)?,
            None => Seen::Unreadable,
        };
        let tree = match seen {
            Seen::Open(frame) => return Ok(Ahead::Down(frame)),
            Seen::Is(tree) => tree,
            Seen::Unreadable => {
                self.lose(path, Loss::Directory);
                self.save(&[])?
            }
        };
        let changed = node.subtree != Some(tree);
        node.subtree = Some(tree);
        Ok(Ahead::On { changed })
    }

    fn look(&mut self, id: &TreeId, path: &[u8], depth: usize) -> Result<Seen> {
        if let Some(tree) = self.rewritten.get(id) {
            return Ok(Seen::Is(*tree));
        }
        let known = self.reader.index().place(BlobType::Tree, id).filter(|_| !self.unreadable.contains(id));
        let Some(place) = known else { return Ok(Seen::Unreadable) };
        if !self.visited.mark(place) {
            // Nothing below it is lost, or it would be among the rewritten ones.
            return Ok(Seen::Is(*id));
        }
        if depth > MOST_LEVELS {
            return Err(Error::BeyondLimit { what: "depth of a tree", found: depth as u64, limit: MOST_LEVELS as u64 });
        }
        // What looks damaged is read once more: it may have happened on the way.
        let tree = match self.reader.load_tree_blocking(id) {
            Err(error) if error.is_damage() => self.reader.load_tree_blocking(id),
            read => read,
        };
        match tree {
            Ok(tree) => Ok(Seen::Open(Frame { id: *id, nodes: tree.nodes, next: 0, changed: false, path_length: path.len() })),
            Err(error) if error.is_damage() => {
                self.unreadable.insert(*id);
                Ok(Seen::Unreadable)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes out of a file the blobs that no index has. The others keep their order.
    fn drop_lost_content(&mut self, node: &mut Node, path: &[u8]) -> bool {
        let index = self.reader.index();
        let Some(content) = &mut node.content else {
            node.content = Some(Vec::new());
            let bytes = std::mem::take(&mut node.size);
            self.lose(path, Loss::Content { blobs: 0, bytes });
            return true;
        };
        let before = content.len();
        content.retain(|blob| index.contains(BlobType::Data, blob));
        let blobs = before - content.len();
        if blobs == 0 {
            return false;
        }
        let lengths = content.iter().filter_map(|blob| index.plain_length(BlobType::Data, blob));
        let size = lengths.fold(0u64, |sum, length| sum.saturating_add(length.into()));
        let bytes = node.size.saturating_sub(size);
        node.size = size;
        self.lose(path, Loss::Content { blobs: blobs as u64, bytes });
        true
    }

    fn close(&mut self, frame: Frame) -> Result<TreeId> {
        if !frame.changed {
            return Ok(frame.id);
        }
        let mut nodes = frame.nodes;
        // Ours and restic's are in order; a tree that is written must be.
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes.dedup_by(|later, first| later.name == first.name);
        let tree = self.save(&nodes)?;
        self.rewritten.insert(frame.id, tree);
        Ok(tree)
    }

    fn save(&mut self, nodes: &[Node]) -> Result<TreeId> {
        let plain = Tree::serialise(nodes)?;
        let id = match self.saver {
            Some(saver) => saver.save_blob(BlobType::Tree, &plain)?.id,
            None => Id::of(&plain),
        };
        // The index has it only when its pack is in the store; whoever comes to it before then must not take it for lost.
        self.rewritten.insert(id, id);
        Ok(id)
    }

    fn lose(&mut self, path: &[u8], loss: Loss) {
        self.lost_total += 1;
        if self.lost.len() < NAMED_DAMAGES {
            self.lost.push(LostPart { path: path.to_vec(), loss });
        }
    }
}

/// Where the walk goes from a node.
enum Ahead {
    Down(Frame),
    On { changed: bool },
}
