//! Sets of blobs that an index knows: a bit for each.

use crate::BlobId;
use crate::format::BlobType;
use crate::index::{Index, Place};

/// A set of blobs of one index.
#[derive(Debug)]
pub(super) struct BlobSet {
    bits: Vec<Vec<u64>>,
}

impl BlobSet {
    pub fn new(index: &Index) -> Self {
        Self { bits: index.shard_lengths().into_iter().map(|length| vec![0; length.div_ceil(64)]).collect() }
    }

    /// Adds a blob: whether it is new to the set; `None` if the index does not know it.
    pub fn insert(&mut self, index: &Index, blob_type: BlobType, id: &BlobId) -> Option<bool> {
        let place = index.place(blob_type, id)?;
        let word = self.bits[place.shard].get_mut(place.at / 64)?;
        let bit = 1 << (place.at % 64);
        let new = *word & bit == 0;
        *word |= bit;
        Some(new)
    }

    pub fn contains(&self, place: Place) -> bool {
        self.bits[place.shard].get(place.at / 64).is_some_and(|word| word & (1 << (place.at % 64)) != 0)
    }
}
