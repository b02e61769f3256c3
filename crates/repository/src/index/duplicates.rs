//! Blobs that are in several packs: the copies besides the first.

use std::collections::BTreeMap;

use crate::BlobId;
use crate::format::BlobType;

/// What tells one further copy from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CopyKey {
    pub blob_type: BlobType,
    pub id: BlobId,
    pub pack: u32,
    pub offset: u32,
}

/// Further copies, each with its position. They are few, so they keep their blob's whole id.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    copies: BTreeMap<CopyKey, u32>,
}

impl Duplicates {
    /// Adds a copy; one that is there already stays one.
    pub fn add(&mut self, copy: CopyKey, position: u32) {
        self.copies.entry(copy).or_insert(position);
    }

    pub fn contains(&self, copy: &CopyKey) -> bool {
        self.copies.contains_key(copy)
    }

    pub fn remove(&mut self, copy: &CopyKey) {
        self.copies.remove(copy);
    }

    pub fn retain(&mut self, mut keeps: impl FnMut(&CopyKey) -> bool) {
        self.copies.retain(|copy, _| keeps(copy));
    }

    /// All of them by type, id, pack and offset.
    pub fn iter(&self) -> impl Iterator<Item = (&CopyKey, u32)> {
        self.copies.iter().map(|(copy, position)| (copy, *position))
    }

    /// The positions of a blob's further copies.
    pub fn of(&self, blob_type: BlobType, id: &BlobId) -> Vec<u32> {
        let bound = |number| CopyKey { blob_type, id: *id, pack: number, offset: number };
        self.copies.range(bound(0)..=bound(u32::MAX)).map(|(_, position)| *position).collect()
    }

    /// About: nodes of the map are at least half full.
    pub fn heap_bytes(&self) -> usize {
        self.copies.len() * (size_of::<CopyKey>() + size_of::<u32>()) * 3 / 2
    }
}
