//! Writing trees anew without what is lost: blobs of files that no index has, and directories that cannot be read.

use std::collections::{HashMap, HashSet};

use super::super::subtrees::Subtrees;
use super::super::walk::UsedBlobs;
use super::losses::{Loss, Losses, drop_lost_content};
use crate::browse::MOST_LEVELS;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::{BlobType, Node, NodeType, Tree};
use crate::pack::{BlobReader, BlobSaver};
use crate::{Id, TreeId};

/// Writes trees anew. What several snapshots share is looked at once.
pub(super) struct TreeRewriter<'a> {
    pub(super) reader: &'a BlobReader,
    /// `None` only to look.
    pub(super) saver: Option<&'a BlobSaver>,
    pub(super) control: &'a Control,
    visited: UsedBlobs,
    /// Trees that come out differently, and those that were written.
    rewritten: HashMap<TreeId, TreeId>,
    unreadable: HashSet<TreeId>,
    pub losses: Losses,
}

/// A directory that is being gone through.
struct Frame {
    id: TreeId,
    entries: Entries,
    /// The entry that is looked at next.
    next: usize,
    changed: bool,
    path_length: usize,
}

enum Entries {
    /// All nodes; they are changed in place.
    Held(Vec<Node>),
    /// The directories of a large tree, whose files were looked at. If it changes it is read again and written on the way.
    Large(Subtrees),
}

/// What became of a tree at first sight.
enum Seen {
    Is(TreeId),
    Unreadable,
    Open(Frame),
}

/// Where the walk goes from an entry.
enum Ahead {
    Down(Frame),
    On {
        changed: bool,
    },
    /// There is no entry.
    Up,
}

impl<'a> TreeRewriter<'a> {
    pub fn new(reader: &'a BlobReader, saver: Option<&'a BlobSaver>, control: &'a Control) -> Self {
        let visited = UsedBlobs::new(reader.index());
        Self { reader, saver, control, visited, rewritten: HashMap::new(), unreadable: HashSet::new(), losses: Losses::default() }
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
            match self.look_at_next(frame, &mut path, depth)? {
                Ahead::Down(below) => {
                    frames.push(below);
                    continue;
                }
                Ahead::On { changed } => {
                    frame.changed |= changed;
                    frame.next += 1;
                    continue;
                }
                Ahead::Up => {}
            }
            let Some(done) = frames.pop() else { return Ok(Some(*root)) };
            let tree = self.close(done)?;
            let Some(parent) = frames.last_mut() else { return Ok(Some(tree)) };
            parent.take(tree);
        }
    }

    fn look_at_next(&mut self, frame: &mut Frame, path: &mut Vec<u8>, depth: usize) -> Result<Ahead> {
        match &mut frame.entries {
            Entries::Held(nodes) => {
                let Some(node) = nodes.get_mut(frame.next) else { return Ok(Ahead::Up) };
                path.push(b'/');
                path.extend_from_slice(&node.name);
                match node.node_type {
                    NodeType::File => Ok(Ahead::On { changed: self.drop_lost_content(node, path) }),
                    NodeType::Dir => {
                        let before = node.subtree;
                        let (subtree, below) = self.look_at_directory(before, path, depth)?;
                        node.subtree = subtree;
                        Ok(below.map_or(Ahead::On { changed: subtree != before }, Ahead::Down))
                    }
                    _ => Ok(Ahead::On { changed: false }),
                }
            }
            Entries::Large(directories) => {
                let Some((name, subtree)) = directories.get(frame.next) else { return Ok(Ahead::Up) };
                path.push(b'/');
                path.extend_from_slice(name);
                let (after, below) = self.look_at_directory(Some(subtree), path, depth)?;
                Ok(below.map_or(Ahead::On { changed: after != Some(subtree) }, Ahead::Down))
            }
        }
    }

    /// What becomes of a directory's tree, or the same one and where to look for that.
    fn look_at_directory(
        &mut self,
        subtree: Option<TreeId>,
        path: &[u8],
        depth: usize,
    ) -> Result<(Option<TreeId>, Option<Frame>)> {
        let seen = match subtree {
            Some(subtree) => self.look(&subtree, path, depth)?,
            None => Seen::Unreadable,
        };
        Ok(match seen {
            Seen::Open(frame) => (subtree, Some(frame)),
            Seen::Is(tree) => (Some(tree), None),
            Seen::Unreadable => {
                self.losses.add(path, Loss::Directory);
                (Some(self.empty_tree()?), None)
            }
        })
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
        let frame = match self.read(id, path) {
            Err(error) if error.is_damage() => self.read(id, path),
            read => read,
        };
        match frame {
            Ok(frame) => Ok(Seen::Open(frame)),
            Err(error) if error.is_damage() => {
                self.unreadable.insert(*id);
                Ok(Seen::Unreadable)
            }
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, id: &TreeId, path: &[u8]) -> Result<Frame> {
        let (entries, changed) = match self.reader.tree_nodes_blocking(id)?.into_whole() {
            Ok(nodes) => (Entries::Held(nodes), false),
            Err(stream) => {
                let (directories, losses) = self.look_through(stream, path)?;
                let changed = losses.total > 0;
                self.losses.append(losses);
                (Entries::Large(directories), changed)
            }
        };
        Ok(Frame { id: *id, entries, next: 0, changed, path_length: path.len() })
    }

    /// Takes out of a file the blobs that no index has. The others keep their order.
    fn drop_lost_content(&mut self, node: &mut Node, path: &[u8]) -> bool {
        let loss = drop_lost_content(self.reader.index(), node);
        loss.map(|loss| self.losses.add(path, loss)).is_some()
    }

    /// What became of a directory that was gone through: its tree as it is to be.
    pub(super) fn outcome(&mut self, subtree: Option<TreeId>) -> Result<TreeId> {
        match subtree {
            Some(subtree) => match self.rewritten.get(&subtree) {
                Some(tree) => Ok(*tree),
                None if self.is_readable(&subtree) => Ok(subtree),
                None => self.empty_tree(),
            },
            None => self.empty_tree(),
        }
    }

    fn is_readable(&self, tree: &TreeId) -> bool {
        self.reader.index().contains(BlobType::Tree, tree) && !self.unreadable.contains(tree)
    }

    fn close(&mut self, frame: Frame) -> Result<TreeId> {
        let Frame { id, entries, changed, .. } = frame;
        if !changed {
            return Ok(id);
        }
        let tree = match entries {
            Entries::Held(mut nodes) => {
                // Ours and restic's are in order; a tree that is written must be.
                nodes.sort_by(|a, b| a.name.cmp(&b.name));
                nodes.dedup_by(|later, first| later.name == first.name);
                self.save(&nodes)?
            }
            Entries::Large(_) => self.write_again(&id)?,
        };
        self.rewritten.insert(id, tree);
        // The index has it only when its pack is in the store; whoever comes to it before then must not take it for lost.
        self.rewritten.insert(tree, tree);
        Ok(tree)
    }

    fn empty_tree(&mut self) -> Result<TreeId> {
        let tree = self.save(&[])?;
        self.rewritten.insert(tree, tree);
        Ok(tree)
    }

    fn save(&self, nodes: &[Node]) -> Result<TreeId> {
        let plain = Tree::serialise(nodes)?;
        match self.saver {
            Some(saver) => Ok(saver.save_blob(BlobType::Tree, &plain)?.id),
            None => Ok(Id::of(&plain)),
        }
    }
}

impl Frame {
    /// The directory that is looked at has come out as this tree.
    fn take(&mut self, tree: TreeId) {
        let before = match &mut self.entries {
            Entries::Held(nodes) => nodes.get_mut(self.next).and_then(|node| node.subtree.replace(tree)),
            Entries::Large(directories) => directories.get(self.next).map(|(_, before)| before),
        };
        self.changed |= before != Some(tree);
        self.next += 1;
    }
}
