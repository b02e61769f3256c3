//! From damaged blobs to the files of snapshots that need them: a second walk, made only when something is damaged.
//!
//! Each tree is read once, however many snapshots share it, one at a time and in the order in which trees stand in their packs.
//! Memory: a bit for each blob of the index, the directories in those of one path, and for each directory above damage the number of
//! a set; a set has a bit for each damaged blob, of which there are at most a thousand, and equal sets are kept once.

use std::collections::HashMap;

use super::damaged_blobs::DamagedBlobs;
use super::extent::extents;
use super::subtrees::Subtrees;
use super::walk::UsedBlobs;
use crate::browse::MOST_LEVELS;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::{BlobType, Content, Node};
use crate::index::Place;
use crate::pack::BlobReader;
use crate::{BlobId, SnapshotId, TreeId};

/// Places of a blob that are named.
const NAMED_PLACES: usize = 3;

/// A damaged blob, and what it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedBlob {
    /// Data or tree.
    pub blob_type: BlobType,
    /// The blob.
    pub id: BlobId,
    /// The first files or directories that need it.
    pub places: Vec<DamagedPlace>,
    /// Further ones; one of several versions of a directory counts for each.
    pub places_omitted: u64,
    /// Snapshots that need it.
    pub snapshots: u64,
}

/// A part of a file that is lost; of a damaged tree, the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPlace {
    /// The first snapshot, by time, in which it was met.
    pub snapshot: SnapshotId,
    /// The path in the snapshot, as bytes.
    pub path: Vec<u8>,
    /// First byte of the file that is lost; 0 for a directory.
    pub offset: u64,
    /// Bytes that are lost; 0 for a directory, of which all is.
    pub length: u64,
}

/// Finds what needs the damaged blobs.
///
/// # Errors
/// Of the store if it does not let us look, and [`crate::Error::Cancelled`].
pub(super) async fn trace(
    reader: &BlobReader,
    snapshots: Vec<(SnapshotId, TreeId)>,
    damaged: DamagedBlobs,
    control: &Control,
) -> Result<Vec<DamagedBlob>> {
    let (reader, control) = (reader.clone(), control.clone());
    // A large tree takes a second or more of a processor.
    let tracing = tokio::task::spawn_blocking(move || trace_all(&reader, &snapshots, &damaged, &control));
    tracing.await.map_err(Error::internal)?
}

fn trace_all(
    reader: &BlobReader,
    snapshots: &[(SnapshotId, TreeId)],
    damaged: &DamagedBlobs,
    control: &Control,
) -> Result<Vec<DamagedBlob>> {
    let unplaced = |(blob_type, id): &(BlobType, BlobId)| DamagedBlob {
        blob_type: *blob_type,
        id: *id,
        places: Vec::new(),
        places_omitted: 0,
        snapshots: 0,
    };
    let mut tracer = Tracer {
        reader,
        damaged,
        visited: UsedBlobs::new(reader.index()),
        reached: HashMap::new(),
        sets: Sets::default(),
        found: damaged.keys().iter().map(unplaced).collect(),
        snapshot: SnapshotId::of(&[]),
        path: Vec::new(),
        control,
    };
    for (snapshot, root) in snapshots {
        tracer.snapshot = *snapshot;
        let needed = tracer.walk(root)?;
        tracer.found.iter_mut().enumerate().filter(|(at, _)| needed.contains(*at)).for_each(|(_, blob)| blob.snapshots += 1);
    }
    Ok(tracer.found)
}

struct Tracer<'a> {
    reader: &'a BlobReader,
    damaged: &'a DamagedBlobs,
    visited: UsedBlobs,
    /// What of the damage lies at and below the trees that were gone through.
    reached: HashMap<Place, u32>,
    sets: Sets,
    found: Vec<DamagedBlob>,
    snapshot: SnapshotId,
    path: Vec<u8>,
    control: &'a Control,
}

/// A directory that is being gone through.
struct Frame {
    /// `None` stands above the root.
    tree: Option<Place>,
    subtrees: Subtrees,
    /// How many of them were gone through.
    done: usize,
    path_length: usize,
    reached: Set,
}

impl Tracer<'_> {
    /// The damage at and below a root.
    fn walk(&mut self, root: &TreeId) -> Result<Set> {
        let reached = Set::of(self.damaged.keys().len());
        let mut frames = vec![Frame { tree: None, subtrees: Subtrees::default(), done: 0, path_length: 0, reached }];
        self.path.clear();
        self.enter(root, &mut frames)?;
        while let Some(frame) = frames.last_mut() {
            self.control.check()?;
            self.path.truncate(frame.path_length);
            if let Some((name, subtree)) = frame.subtrees.get(frame.done) {
                self.path.push(b'/');
                self.path.extend_from_slice(name);
                frame.done += 1;
                self.enter(&subtree, &mut frames)?;
                continue;
            }
            let Some(done) = frames.pop() else { break };
            if let Some(place) = done.tree.filter(|_| !done.reached.is_empty()) {
                self.reached.insert(place, self.sets.number(&done.reached));
            }
            match frames.last_mut() {
                Some(parent) => parent.reached.join(&done.reached),
                None => return Ok(done.reached),
            }
        }
        Ok(Set::of(self.damaged.keys().len()))
    }

    /// Goes into the tree at the present path, unless it is damaged or was gone through before.
    fn enter(&mut self, id: &TreeId, frames: &mut Vec<Frame>) -> Result<()> {
        let too_deep = frames.len() > MOST_LEVELS;
        let Some(parent) = frames.last_mut() else { return Ok(()) };
        if let Some(at) = self.damaged.position(BlobType::Tree, id) {
            parent.reached.add(at);
            self.place(at, self.path.clone(), 0..0);
            return Ok(());
        }
        let Some(place) = self.reader.index().place(BlobType::Tree, id) else { return Ok(()) };
        if let Some(number) = self.reached.get(&place) {
            parent.reached.join(self.sets.get(*number));
        }
        if too_deep || !self.visited.mark(place) {
            return Ok(());
        }
        let mut frame = Frame {
            tree: Some(place),
            subtrees: Subtrees::default(),
            done: 0,
            path_length: self.path.len(),
            reached: Set::of(self.damaged.keys().len()),
        };
        // Damage was told by the check, or is of one of the blobs that are too many to be traced. Of a large tree that breaks
        // off what came before is gone through.
        if let Err(error) = self.look_at(id, &mut frame)
            && !error.is_damage()
        {
            return Err(error);
        }
        frames.push(frame);
        Ok(())
    }

    /// Looks at the files of a tree and notes its directories. It is not held while they are gone through: it may be a large one.
    fn look_at(&mut self, id: &TreeId, frame: &mut Frame) -> Result<()> {
        for node in self.reader.tree_nodes_blocking(id)? {
            let node = node?;
            self.control.check()?;
            self.look_at_content(&node, &mut frame.reached);
            if let Some(subtree) = &node.subtree {
                frame.subtrees.push(&node.name, subtree)?;
            }
        }
        Ok(())
    }

    fn look_at_content(&mut self, node: &Node, reached: &mut Set) {
        let content = node.content.as_ref().map(Content::runs).unwrap_or_default();
        let hits = content.iter().enumerate().filter_map(|(at, run)| Some((at, self.damaged.position(BlobType::Data, &run.id)?)));
        let (positions, blobs): (Vec<usize>, Vec<usize>) = hits.unzip();
        if positions.is_empty() {
            return;
        }
        let index = self.reader.index();
        let length = |id: &BlobId| index.plain_length(BlobType::Data, id).map(u64::from);
        let ranges = extents(content, node.size, &positions, length);
        let path = [self.path.as_slice(), b"/", &node.name].concat();
        for (blob, range) in blobs.into_iter().zip(ranges) {
            reached.add(blob);
            self.place(blob, path.clone(), range);
        }
    }

    fn place(&mut self, blob: usize, path: Vec<u8>, range: std::ops::Range<u64>) {
        let blob = &mut self.found[blob];
        let path = if path.is_empty() { b"/".to_vec() } else { path };
        if blob.places.iter().any(|place| place.path == path && place.offset == range.start) {
            return;
        }
        if blob.places.len() >= NAMED_PLACES {
            blob.places_omitted += 1;
            return;
        }
        let length = range.end - range.start;
        blob.places.push(DamagedPlace { snapshot: self.snapshot, path, offset: range.start, length });
    }
}

/// Some of the damaged blobs, by their positions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Set(Box<[u64]>);

impl Set {
    fn of(blobs: usize) -> Self {
        Self(vec![0; blobs.div_ceil(64)].into())
    }

    fn add(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    fn contains(&self, at: usize) -> bool {
        self.0[at / 64] & (1 << (at % 64)) != 0
    }

    fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own |= other);
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// Sets by number, equal ones once.
#[derive(Debug, Default)]
struct Sets {
    all: Vec<Set>,
    numbers: HashMap<Set, u32>,
}

impl Sets {
    fn number(&mut self, set: &Set) -> u32 {
        if let Some(number) = self.numbers.get(set) {
            return *number;
        }
        // Four billion sets would be of as many directories.
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(set.clone());
        self.numbers.insert(set.clone(), number);
        number
    }

    fn get(&self, number: u32) -> &Set {
        &self.all[number as usize]
    }
}
