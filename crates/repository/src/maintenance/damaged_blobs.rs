//! Blobs that a check found lost or unreadable, to be traced to files.
//!
//! What a tree names is known by its id; of what only the index names, its place in the index is known at first, for the index
//! keeps no ids.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::BlobId;
use crate::format::BlobType;
use crate::index::Place;
use crate::limits::NAMED_DAMAGES;

/// A blob of which no readable copy is known.
pub(super) type BlobKey = (BlobType, BlobId);

/// Blobs in the order in which they were found; the first thousand, as with all damage that is named.
#[derive(Debug, Default)]
pub(super) struct DamagedBlobs {
    positions: HashMap<BlobKey, usize>,
    keys: Vec<BlobKey>,
    /// Those that wait for a name, of which there are as many at most.
    unnamed: Vec<Place>,
    places: HashSet<Place>,
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

    /// Adds one of which only the place in the index is known.
    pub fn add_place(&mut self, place: Place) {
        if self.places.contains(&place) {
            return;
        }
        if self.unnamed.len() >= NAMED_DAMAGES {
            self.omitted += 1;
            return;
        }
        self.places.insert(place);
        self.unnamed.push(place);
    }

    /// The places that wait for a name.
    pub fn unnamed(&self) -> HashSet<Place> {
        self.unnamed.iter().copied().collect()
    }

    /// Names what waits for it, in the order in which it was found. What nothing names any more is only counted.
    pub fn name(&mut self, names: &HashMap<Place, BlobKey>) {
        for place in std::mem::take(&mut self.unnamed) {
            match names.get(&place) {
                Some(key) => self.add(*key),
                None => self.omitted += 1,
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
        self.keys.is_empty() && self.unnamed.is_empty()
    }

    /// Leaves out those that `is_readable` after all.
    pub fn without(self, is_readable: &[bool]) -> Self {
        let mut rest = Self { omitted: self.omitted, ..Self::default() };
        self.keys.iter().zip(is_readable).filter(|(_, readable)| !**readable).for_each(|(key, _)| rest.add(*key));
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Id;

    #[test]
    fn what_is_known_by_its_place_is_named_once() {
        let place = |at| Place { shard: 1, at };
        let key = |name: &[u8]| (BlobType::Data, Id::of(name));
        let mut damaged = DamagedBlobs::default();
        damaged.add(key(b"tree names it"));
        for at in [2, 1, 2, 3, 4] {
            damaged.add_place(place(at));
        }
        assert_eq!((damaged.unnamed().len(), damaged.keys().len()), (4, 1));
        let names = HashMap::from([(place(1), key(b"one")), (place(2), key(b"two")), (place(3), key(b"tree names it"))]);
        damaged.name(&names);
        assert_eq!(damaged.keys(), [key(b"tree names it"), key(b"two"), key(b"one")]);
        assert_eq!((damaged.omitted, damaged.unnamed().len(), damaged.is_empty()), (1, 0, false), "nothing names the fourth");
    }

    #[test]
    fn no_more_places_are_kept_than_are_named() {
        let mut damaged = DamagedBlobs::default();
        for at in 0..NAMED_DAMAGES + 5 {
            damaged.add_place(Place { shard: 0, at });
        }
        assert_eq!((damaged.unnamed().len(), damaged.omitted), (NAMED_DAMAGES, 5));
    }
}
