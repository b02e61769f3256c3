//! Whether the target has room (reliability G2): a restore that certainly does not fit is refused before it has written anything.
//!
//! What the snapshot says of its size costs nothing and settles it for nearly every restore. Only if that is more than is free are
//! the trees gone through, for what is there already, for holes, and for how the target is mounted together. A restore that could fit
//! is never refused, so everything that is not certain counts in its favour:
//! * Zeros become holes, and a blob does not tell how many it has. Its compressed length tells how many bytes cannot be zeros.
//! * A file that is there with the right size may be the right one.
//! * What is written over, or replaced, gives its own room back.
//! * Only of a file system that is known to store what it is given is it known how much it takes.

use std::{
    collections::HashSet,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    sync::Arc,
};

use rustix::fs::FileType;

use super::{
    restorer::Restorer,
    target,
    walk::{MOST_LEVELS, is_damage},
};
use crate::{
    TreeId,
    error::{Error, Result},
    format::{BlobType, Content, Node, NodeType},
    pack::TreeNodes,
    source::{content::file_size, handles::Place},
};

/// A disk block of `st_blocks`.
const BLOCK: u64 = 512;

/// Smaller files may find room in their inodes.
const SMALLEST: u64 = 1024;

/// What is free changes while we look, by about this part of it and by at least so many bytes.
const SLACK_PART: u64 = 64;
const LEAST_SLACK: u64 = 64 * 1024;

/// File systems that take what they are given: ext2 to ext4, XFS, tmpfs.
const PLAIN_FILE_SYSTEMS: [u64; 3] = [0xEF53, 0x5846_5342, 0x0102_1994];

/// What the snapshot says of itself.
pub(super) struct Announced {
    /// Sum of the sizes of its files.
    pub(super) bytes: Option<u64>,
    /// This engine wrote it, and stores as they are only blobs that do not compress.
    pub(super) is_ours: bool,
}

/// A file system of the target, and what the restore does to it.
struct Room {
    device: u64,
    /// Where it was met first.
    path: PathBuf,
    free: u64,
    /// It takes what it is given.
    is_plain: bool,
    need: Need,
    /// Bytes of files that will be overwritten or replaced.
    given_back: u64,
    /// Something will be removed of which nobody knows the size.
    is_unsure: bool,
}

/// Bytes to be written.
#[derive(Clone, Copy, Default)]
struct Need {
    /// At least.
    certain: u64,
    /// If there are no holes in it.
    likely: u64,
}

/// A directory of the snapshot that is gone through.
struct Frame {
    nodes: TreeNodes,
    /// Length of its path.
    path_length: usize,
    /// Where it stands in the target, if it does.
    place: Option<Arc<Place>>,
    room: usize,
}

/// The file systems of the target, and what was counted for them.
#[derive(Default)]
struct Survey {
    rooms: Vec<Room>,
    /// Files with several names, of which one is enough.
    linked: HashSet<(u64, u64)>,
}

impl Restorer {
    /// Refuses a restore that certainly does not fit, and warns of one that may not.
    ///
    /// # Errors
    /// [`Error::NoRoom`]; the store's if the trees cannot be read.
    pub(super) fn refuse_without_room(&self, root: TreeId, announced: &Announced) -> Result<()> {
        // Without the snapshot's word the trees of every restore would have to be read twice.
        let Some(bytes) = announced.bytes else { return Ok(()) };
        if self.is_enough(bytes) {
            return Ok(());
        }
        for room in self.survey(root, announced)?.rooms {
            let Room { path, free, is_plain, need, given_back, is_unsure, device: _ } = room;
            let bound = free + (free / SLACK_PART).max(LEAST_SLACK) + given_back;
            if need.certain > bound && is_plain && !is_unsure {
                let wanted = need.certain.saturating_sub(given_back);
                return Err(Error::NoRoom { path: path.display().to_string(), wanted, available: free });
            }
            if need.likely > bound {
                let reason = format!("the restore may not fit: it writes up to {} bytes and {free} are free", need.likely);
                self.warnings.add(path, reason, "space");
            }
        }
        Ok(())
    }

    /// Whether so many bytes fit on each of the file systems on which the snapshot's paths lie.
    fn is_enough(&self, bytes: u64) -> bool {
        let mut survey = Survey::default();
        for names in self.selection.backed_up() {
            let mut place = self.root.clone();
            let mut nearest = self.handles.open(&place);
            for name in names {
                place = place.child(name);
                let Ok(handle) = self.handles.open(&place) else { break };
                nearest = Ok(handle);
            }
            let known = nearest.ok().and_then(|handle| survey.room_of(handle.as_fd(), &place));
            if known.is_none() {
                // Where nothing can be learnt, nothing is refused.
                return true;
            }
        }
        survey.rooms.iter().all(|room| bytes <= room.free)
    }

    /// Goes through everything that the restore chooses.
    fn survey(&self, root: TreeId, announced: &Announced) -> Result<Survey> {
        let mut survey = Survey::default();
        let handle = self.handles.open(&self.root).map_err(Error::internal)?;
        let Some(room) = survey.room_of(handle.as_fd(), &self.root) else { return Ok(survey) };
        let nodes = self.reader.tree_nodes_blocking(&root)?;
        let mut frames = vec![Frame { nodes, path_length: 0, place: Some(self.root.clone()), room }];
        let mut path = Vec::new();
        while let Some(frame) = frames.last_mut() {
            self.check()?;
            path.truncate(frame.path_length);
            let node = match frame.nodes.next() {
                Some(Ok(node)) => node,
                // A large tree breaks off here. The restore will say so; what cannot be read is not written.
                Some(Err(error)) if is_damage(&error) => continue,
                Some(Err(error)) => return Err(error),
                None => {
                    frames.pop();
                    continue;
                }
            };
            let Some(name) = node.safe_name() else { continue };
            path.push(b'/');
            path.extend_from_slice(name);
            let choice = self.selection.choose(&path);
            if node.node_type == NodeType::Dir {
                if choice.descend && frames.len() < MOST_LEVELS {
                    frames.extend(self.enter(&frames, &node, path.len(), &mut survey)?);
                }
            } else if choice.restore {
                self.count(frame, &node, announced, &mut survey);
            }
        }
        Ok(survey)
    }

    fn enter(&self, above: &[Frame], node: &Node, path_length: usize, survey: &mut Survey) -> Result<Option<Frame>> {
        let (Some(above), Some(tree)) = (above.last(), node.subtree) else { return Ok(None) };
        let nodes = match self.reader.tree_nodes_blocking(&tree) {
            Ok(nodes) => nodes,
            // The restore will say so; what cannot be read is not written.
            Err(error) if is_damage(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut frame = Frame { nodes, path_length, place: None, room: above.room };
        if let Some(place) = above.place.as_ref().map(|above| above.child(&node.name))
            && let Ok(handle) = self.handles.open(&place)
        {
            match survey.room_of(handle.as_fd(), &place) {
                Some(room) => frame.room = room,
                None => survey.rooms[above.room].is_unsure = true,
            }
            frame.place = Some(place);
        }
        Ok(Some(frame))
    }

    /// Counts what an entry will take and what it gives back.
    fn count(&self, frame: &Frame, node: &Node, announced: &Announced, survey: &mut Survey) {
        let has_other_names = node.links > 1 && node.inode != 0;
        if has_other_names && !survey.linked.insert((node.device_id, node.inode)) {
            return;
        }
        let standing = frame.place.as_ref().and_then(|place| {
            let directory = self.handles.open(place).ok()?;
            target::look(directory.as_fd(), &node.name).ok()?
        });
        let room = &mut survey.rooms[frame.room];
        if let Some(stat) = standing {
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind.is_file() && node.node_type == NodeType::File && file_size(&stat) == node.size {
                return;
            }
            room.is_unsure |= kind.is_dir();
            room.given_back += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
        }
        if node.node_type == NodeType::File && node.size >= SMALLEST {
            let need = self.need_of(node, announced);
            room.need.certain = room.need.certain.saturating_add(need.certain);
            room.need.likely = room.need.likely.saturating_add(need.likely);
        }
    }

    fn need_of(&self, node: &Node, announced: &Announced) -> Need {
        let mut need = Need::default();
        for run in node.content.iter().flat_map(Content::runs).filter(|run| run.id != self.zero_chunk.0) {
            let Some(location) = self.index.locate(BlobType::Data, &run.id) else { continue };
            let plain = u64::from(location.plain_length());
            let is_compressed = location.uncompressed_length != 0;
            let certain = match (is_compressed, announced.is_ours) {
                (true, _) => plain.min(location.length.into()),
                // It was found not to compress by a few samples, between which there may be some zeros.
                (false, true) => plain - plain / 8,
                // It was not tried.
                (false, false) => 0,
            };
            // Runs may lie about how long they are.
            need.likely = need.likely.saturating_add(plain.saturating_mul(run.count));
            need.certain = need.certain.saturating_add(certain.saturating_mul(run.count));
        }
        need
    }
}

impl Survey {
    /// The file system that an open directory is on; `None` if it says nothing of its room.
    fn room_of(&mut self, directory: BorrowedFd<'_>, place: &Arc<Place>) -> Option<usize> {
        let device = rustix::fs::fstat(directory).ok()?.st_dev;
        if let Some(known) = self.rooms.iter().position(|room| room.device == device) {
            return Some(known);
        }
        let found = rustix::fs::fstatvfs(directory).ok()?;
        let kind = rustix::fs::fstatfs(directory).ok()?.f_type;
        // A tmpfs without bounds.
        if found.f_blocks == 0 {
            return None;
        }
        self.rooms.push(Room {
            device,
            path: place.path(),
            // What is kept back for root may be for us.
            free: found.f_bfree.saturating_mul(found.f_frsize),
            is_plain: PLAIN_FILE_SYSTEMS.iter().any(|plain| u64::try_from(kind).is_ok_and(|kind| kind == *plain)),
            need: Need::default(),
            given_back: 0,
            is_unsure: false,
        });
        Some(self.rooms.len() - 1)
    }
}
