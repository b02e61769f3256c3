//! A shard of the index: entries in an arena, found through an open table of positions. An id is a hash already, so its own
//! bytes choose the slot.

use crate::format::{Id, SEAL_OVERHEAD};

/// Shards for each blob type; more than the cores that write.
pub(crate) const SHARDS: usize = 32;

/// In place of a pack's number: the blob is claimed, its pack is not acknowledged yet.
pub(crate) const PENDING: u32 = u32::MAX;

/// In place of a pack's number: the pack is lost, and the blob counts as absent until somebody stores it anew.
pub(crate) const LOST: u32 = PENDING - 1;

/// Entries of a piece.
const PIECE: usize = 1024;

/// A free slot.
const FREE: u32 = u32::MAX;

/// A blob: 48 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub id: Id,
    /// Number of the pack, or [`PENDING`], or [`LOST`].
    pub pack: u32,
    pub offset: u32,
    pub length: u32,
    /// 0 if not compressed; the plain length while [`PENDING`].
    pub uncompressed_length: u32,
}

impl Entry {
    pub fn plain_length(&self) -> u32 {
        if self.pack == PENDING || self.uncompressed_length != 0 {
            self.uncompressed_length
        } else {
            self.length.saturating_sub(SEAL_OVERHEAD as u32)
        }
    }
}

/// The shard is chosen by the id's first byte, the slot by the following ones.
pub(crate) fn shard_of(id: &Id) -> usize {
    usize::from(id.0[0]) % SHARDS
}

#[derive(Debug)]
pub(crate) struct Shard {
    /// Random and odd: who chooses ids in a hostile repository cannot choose their slots.
    multiplier: u64,
    /// In pieces of the same size: a vector that doubles would take twice the memory of a large index.
    pieces: Vec<Vec<Entry>>,
    /// Positions of entries; a power of two of slots, at most three quarters of them taken.
    slots: Vec<u32>,
}

impl Default for Shard {
    fn default() -> Self {
        Self { multiplier: rand::random::<u64>() | 1, pieces: Vec::new(), slots: Vec::new() }
    }
}

impl Shard {
    pub fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }

    pub fn entry(&self, at: usize) -> &Entry {
        &self.pieces[at / PIECE][at % PIECE]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.pieces.iter().flatten()
    }

    pub fn find(&self, id: &Id) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut slot = self.first_slot(id) & mask;
        loop {
            let at = self.slots[slot];
            if at == FREE {
                return None;
            }
            if self.entry(at as usize).id == *id {
                return Some(at as usize);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The blob's entry, unless it is lost.
    pub fn get(&self, id: &Id) -> Option<&Entry> {
        self.find(id).map(|at| self.entry(at)).filter(|entry| entry.pack != LOST)
    }

    /// Adds an entry whose id is not there yet.
    pub fn insert(&mut self, entry: Entry) {
        if (self.len() + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        // Four billion entries of one shard would take 200 GB.
        let at = u32::try_from(self.len()).unwrap_or(FREE - 1);
        self.occupy(&entry.id, at);
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE => last.push(entry),
            _ => {
                // The first piece grows as needed, for most shards of a small repository hold little.
                let mut piece = if self.pieces.is_empty() { Vec::new() } else { Vec::with_capacity(PIECE) };
                piece.push(entry);
                self.pieces.push(piece);
            }
        }
    }

    pub fn replace(&mut self, at: usize, entry: Entry) {
        self.pieces[at / PIECE][at % PIECE] = entry;
    }

    fn occupy(&mut self, id: &Id, at: u32) {
        let mask = self.slots.len() - 1;
        let mut slot = self.first_slot(id) & mask;
        while self.slots[slot] != FREE {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = at;
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(16);
        self.slots = vec![FREE; slots];
        for at in 0..self.len() {
            let id = self.entry(at).id;
            self.occupy(&id, u32::try_from(at).unwrap_or(FREE - 1));
        }
    }

    fn first_slot(&self, id: &Id) -> usize {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&id.0[1..9]);
        (u64::from_le_bytes(bytes).wrapping_mul(self.multiplier) >> 24) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inserted_is_found_and_nothing_else() {
        let mut shard = Shard::default();
        for number in 0..20_000u32 {
            let id = Id::of(&number.to_le_bytes());
            assert_eq!(shard.find(&id), None);
            shard.insert(Entry { id, pack: number, offset: 1, length: 2, uncompressed_length: 3 });
        }
        for number in 0..20_000u32 {
            let at = shard.find(&Id::of(&number.to_le_bytes()));
            assert_eq!(at.map(|at| shard.entry(at).pack), Some(number));
        }
    }
}
