//! The packs that an index names: their numbers, and what they must hold.

use super::fingerprint::{Digest, Fingerprints};
use super::pieces::Pieces;
use super::slots::Slots;
use crate::PackId;
use crate::format::{PACK_TRAILER, SEAL_OVERHEAD};

/// The number that no pack has.
pub(super) const MOST_PACKS: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(super) struct Packs {
    ids: Pieces<PackId>,
    /// The bytes that each must have, its header included; 0 if nothing is known to stand in it.
    sizes: Pieces<u64>,
    slots: Slots,
}

impl Packs {
    pub fn len(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(MOST_PACKS)
    }

    pub fn id(&self, number: u32) -> Option<PackId> {
        self.ids.get(number as usize).copied()
    }

    pub fn ids(&self) -> impl Iterator<Item = &PackId> {
        self.ids.iter()
    }

    pub fn sizes(&self) -> impl Iterator<Item = u64> {
        self.sizes.iter().copied()
    }

    pub fn number(&self, digest: &Digest, id: &PackId) -> Option<u32> {
        let found = self.slots.find(digest.fingerprint.home(), digest.tag, |at| self.ids[at] == *id)?;
        u32::try_from(found).ok()
    }

    /// Gives the pack a number. It must not have one.
    pub fn add(&mut self, fingerprints: &Fingerprints, digest: &Digest, id: &PackId) -> u32 {
        // A repository of four billion packs would hold 64 PiB.
        let number = self.len();
        let Self { ids, sizes, slots } = self;
        slots.insert(digest.fingerprint.home(), digest.tag, ids.len(), |at| fingerprints.of(&ids[at]).fingerprint.home());
        ids.push(*id);
        sizes.push(0);
        number
    }

    /// Adds the bytes of blobs and of their part of the header.
    pub fn grow(&mut self, number: u32, bytes: u64) {
        if let Some(size) = self.sizes.get_mut(number as usize) {
            if *size == 0 {
                *size = (SEAL_OVERHEAD + PACK_TRAILER) as u64;
            }
            *size += bytes;
        }
    }

    /// Forgets what is known to stand in a pack.
    pub fn clear(&mut self, number: u32) {
        if let Some(size) = self.sizes.get_mut(number as usize) {
            *size = 0;
        }
    }

    pub fn heap_bytes(&self) -> usize {
        self.ids.heap_bytes() + self.sizes.heap_bytes() + self.slots.heap_bytes()
    }
}
