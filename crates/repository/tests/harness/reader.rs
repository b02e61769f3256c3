//! Reads snapshots in full and believes neither the index nor the engine's own verification.
//!
//! Every blob goes through the engine's reader and has its sum computed again here. What was read once from bytes that have not changed
//! is not read again: a blob is a function of its sealed bytes, the key and its length after decompression, and the bytes of an object
//! are known to be the same if they are the same memory, which the cache keeps from being used for anything else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use repository::format::Tree;
use repository::{BlobType, Control, Id, Index, Repository, SnapshotList, TreeId};

use super::MapStore;

/// Snapshots by name, which is their tag, with their roots. Two of one name are one backup that was run twice.
pub type Names = BTreeMap<String, TreeId>;

pub fn names(list: &SnapshotList) -> Result<Names, String> {
    let mut names = Names::new();
    for (id, snapshot) in &list.snapshots {
        let name = snapshot.tags.first().cloned().unwrap_or_default();
        if names.insert(name.clone(), snapshot.tree).is_some_and(|tree| tree != snapshot.tree) {
            return Err(format!("snapshot {id} calls itself {name} and has another root than the other one of this name"));
        }
    }
    Ok(names)
}

/// A blob's place in certain bytes.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    bytes: usize,
    offset: u32,
    length: u32,
    uncompressed_length: u32,
    id: Id,
}

#[derive(Clone)]
struct Below {
    subtrees: Vec<TreeId>,
    content: Vec<Id>,
}

/// Remembers what it has read while states of one repository are looked at.
#[derive(Default)]
pub struct Reader {
    trees: HashMap<TreeId, Arc<Below>>,
    read: HashSet<Place>,
    /// Packs whose sum is their name, by their place in memory.
    intact: HashMap<usize, Bytes>,
}

impl Reader {
    /// Reads everything below `root`.
    ///
    /// # Errors
    /// A sentence on the first blob that cannot be read or is not what its id says.
    pub async fn read(
        &mut self,
        repository: &Repository,
        index: &Arc<Index>,
        truth: &MapStore,
        root: TreeId,
    ) -> Result<(), String> {
        let blobs = repository.blob_reader(Arc::clone(index), &Control::default());
        let (mut waiting, mut seen) = (vec![(BlobType::Tree, root)], HashSet::new());
        while let Some((blob_type, id)) = waiting.pop() {
            if !seen.insert((blob_type, id)) {
                continue;
            }
            let place = self.place(index, truth, blob_type, id);
            let is_read = place.as_ref().is_some_and(|place| self.read.contains(place));
            if !is_read || blob_type == BlobType::Tree && !self.trees.contains_key(&id) {
                let plain = blobs.load_blob(blob_type, &id).await.map_err(|error| error.to_string())?;
                if Id::of(&plain) != id {
                    return Err(format!("{blob_type} blob {id} was read with success and is something else"));
                }
                if blob_type == BlobType::Tree {
                    self.trees.insert(id, Arc::new(below(&plain)?));
                }
                self.read.extend(place);
            }
            if blob_type == BlobType::Tree {
                let below = Arc::clone(&self.trees[&id]);
                waiting.extend(below.subtrees.iter().map(|tree| (BlobType::Tree, *tree)));
                waiting.extend(below.content.iter().map(|data| (BlobType::Data, *data)));
            }
        }
        Ok(())
    }

    /// Where the blob will be read from for certain: its only copy, in a pack that is whole.
    fn place(&mut self, index: &Index, truth: &MapStore, blob_type: BlobType, id: Id) -> Option<Place> {
        let location = index.locate(blob_type, &id)?;
        if !index.other_copies(blob_type, &id).is_empty() {
            return None;
        }
        let hex = location.pack.to_string();
        let bytes = truth.bytes(&Path::from(format!("data/{}/{hex}", &hex[..2])))?;
        let at = bytes.as_ptr() as usize;
        let is_intact = self.intact.get(&at).is_some_and(|known| known.len() == bytes.len()) || Id::of(&bytes) == location.pack;
        if !is_intact {
            return None;
        }
        self.intact.insert(at, bytes);
        let (offset, length, uncompressed_length) = (location.offset, location.length, location.uncompressed_length);
        Some(Place { bytes: at, offset, length, uncompressed_length, id })
    }
}

fn below(plain: &[u8]) -> Result<Below, String> {
    let tree = Tree::parse(plain).map_err(|error| error.to_string())?;
    let mut below = Below { subtrees: Vec::new(), content: Vec::new() };
    for node in tree.nodes {
        below.subtrees.extend(node.subtree);
        below.content.extend(node.content.into_iter().flatten());
    }
    Ok(below)
}
