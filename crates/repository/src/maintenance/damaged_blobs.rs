//! Blobs that a check found lost or unreadable, to be traced to files.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::BlobId;
use crate::format::BlobType;
use crate::limits::NAMED_DAMAGES;

/// A blob of which no readable copy is known.
pub(super) type BlobKey = (BlobType, BlobId);

/// Blobs in the order in which they were found; the first thousand, as with all damage that is named.
#[derive(Debug, Default)]
pub(super) struct DamagedBlobs {
    positions: HashMap<BlobKey, usize>,
    keys: Vec<BlobKey>,
    /// Further findings; one blob may be found more than once.
    pub omitted: u64,
}

impl DamagedBlobs {
    pub fn add(&mut self, key: BlobKey) {
        let position = self.keys.len();
        match self.positions.entry(key) {
            Entry::Occupied(_) => {}
            Entry::Vacant(_) if position >= NAMED_DAMAGES => self.omitted += 1,
            Entry::Vacant(vacant) => {
                vacant.insert(position);
                self.keys.push(key);
            }
        }
    }

    pub fn position(&self, blob_type: BlobType, id: &BlobId) -> Option<usize> {
        self.positions.get(&(blob_type, *id)).copied()
    }

    pub fn keys(&self) -> &[BlobKey] {
        &self.keys
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Leaves out those that `is_readable` after all.
    pub fn without(self, is_readable: &[bool]) -> Self {
        let mut rest = Self { omitted: self.omitted, ..Self::default() };
        self.keys.iter().zip(is_readable).filter(|(_, readable)| !**readable).for_each(|(key, _)| rest.add(*key));
        rest
    }
}
