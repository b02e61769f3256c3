//! Where every blob is: one table in memory, loaded from the index files and added to as packs are written.
//!
//! A blob takes 16 bytes for what stands for its id and where to find the rest, some five for its slot, and a few for its place
//! in its pack: 27 or so, see `memory_tests`. Its id is not kept, but a keyed fingerprint of 114 bits and more; decision 0008
//! says why nobody can make two of them agree and what would follow. Who needs ids loads the index with them.

mod duplicates;
mod fingerprint;
mod load;
mod locations;
#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod model_tests;
mod names;
mod packs;
mod parse;
mod pieces;
mod publish;
mod quarantine;
mod reconcile;
mod shard;
mod slots;
mod write;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::format::{BlobType, IndexBlob};
use crate::memory::{MemoryBudget, Share};
use crate::snapshots::Damage;
use crate::{BlobId, IndexId, PackId};
use duplicates::Duplicates;
use fingerprint::{Digest, Fingerprints, SHARDS};
use locations::Locations;
use packs::Packs;
use shard::{Shard, State};

pub(crate) use locations::Entry;
pub use reconcile::{DamageList, Reconciliation};
pub(crate) use write::IndexWriter;

/// Where one copy of a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobLocation {
    /// The pack.
    pub pack: PackId,
    /// First byte in the pack.
    pub offset: u32,
    /// Bytes in the pack, sealing included.
    pub length: u32,
    /// Bytes after decompression; 0 if it is not compressed.
    pub uncompressed_length: u32,
}

impl BlobLocation {
    /// Bytes of the plain blob.
    #[must_use]
    pub fn plain_length(&self) -> u32 {
        if self.uncompressed_length == 0 {
            self.length.saturating_sub(crate::format::SEAL_OVERHEAD as u32)
        } else {
            self.uncompressed_length
        }
    }
}

/// What stands at a place of a pack. Which blob it is, its [`Place`] in the index says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredBlob {
    pub blob_type: BlobType,
    pub offset: u32,
    pub length: u32,
    pub uncompressed_length: u32,
}

impl From<IndexBlob> for StoredBlob {
    fn from(IndexBlob { blob_type, offset, length, uncompressed_length, .. }: IndexBlob) -> Self {
        Self { blob_type, offset, length, uncompressed_length }
    }
}

/// A blob that is in several packs; a further copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Duplicate {
    pub blob_type: BlobType,
    pub id: BlobId,
    pub pack: u32,
    pub offset: u32,
    pub length: u32,
    pub uncompressed_length: u32,
}

/// All blobs of a repository that are known, and those claimed in this run. Shared by all threads.
///
/// After a saver has failed, its index holds claims that will never be kept: load a fresh one.
#[derive(Debug)]
pub struct Index {
    fingerprints: Fingerprints,
    /// Those of data, then those of trees.
    shards: Vec<RwLock<Shard>>,
    packs: RwLock<Packs>,
    /// Taken last, if others are held.
    locations: RwLock<Locations>,
    /// Taken before a shard, if both are.
    duplicates: Mutex<Duplicates>,
    /// Held by who publishes a pack; a pack always has the same one.
    publishing: Vec<Mutex<()>>,
    files: Vec<(IndexId, Vec<u32>)>,
    damaged: Vec<Damage>,
    lost: AtomicU64,
    spoiled: AtomicBool,
    /// What it takes of the budget; `None` if it was not loaded.
    memory: Option<Mutex<Share>>,
}

impl Default for Index {
    fn default() -> Self {
        Self::with_shards(Shard::default)
    }
}

impl Index {
    /// One that keeps the blobs' whole ids, 32 bytes more for each, and tells blobs apart by them: for what removes anything,
    /// or writes anew what an index file said.
    pub(crate) fn with_ids() -> Self {
        Self::with_shards(Shard::with_ids)
    }

    fn with_shards(shard: impl Fn() -> Shard) -> Self {
        Self {
            fingerprints: Fingerprints::default(),
            shards: (0..2 * SHARDS).map(|_| RwLock::new(shard())).collect(),
            packs: RwLock::default(),
            locations: RwLock::default(),
            duplicates: Mutex::default(),
            publishing: (0..SHARDS).map(|_| Mutex::default()).collect(),
            files: Vec::new(),
            damaged: Vec::new(),
            lost: AtomicU64::new(0),
            spoiled: AtomicBool::new(false),
            memory: None,
        }
    }

    /// Whether the blob is in the repository, or will be by this run. One whose pack is known to be lost is not.
    #[must_use]
    pub fn contains(&self, blob_type: BlobType, id: &BlobId) -> bool {
        self.state(blob_type, id).is_some()
    }

    /// Whether the blob stands in one of the first `packs` packs that became known: with [`Self::pack_count`] as it was before a
    /// run, whether the repository had it without that run.
    pub(crate) fn was_known(&self, blob_type: BlobType, id: &BlobId, packs: u32) -> bool {
        self.position(blob_type, id).is_some_and(|position| self.locations.read().pack(position) < packs)
    }

    /// Packs that are known by now.
    pub(crate) fn pack_count(&self) -> u32 {
        self.packs.read().len()
    }

    /// Length of the plain blob, if it is known.
    #[must_use]
    pub fn plain_length(&self, blob_type: BlobType, id: &BlobId) -> Option<u32> {
        match self.state(blob_type, id)? {
            State::Stored(position) => Some(self.locations.read().get(position).plain_length()),
            State::Pending(plain_length) => Some(plain_length),
            State::Lost => None,
        }
    }

    /// Where the blob is; `None` too if it was only claimed and its pack is not acknowledged yet.
    #[must_use]
    pub fn locate(&self, blob_type: BlobType, id: &BlobId) -> Option<BlobLocation> {
        self.location(self.position(blob_type, id)?)
    }

    /// Further copies of the blob, for when the first cannot be read.
    #[must_use]
    pub fn other_copies(&self, blob_type: BlobType, id: &BlobId) -> Vec<BlobLocation> {
        let positions = self.duplicates.lock().of(blob_type, id);
        positions.into_iter().filter_map(|position| self.location(position)).collect()
    }

    /// Number of blobs.
    #[must_use]
    pub fn len(&self) -> usize {
        let all: usize = self.shards.iter().map(|shard| shard.read().len()).sum();
        all.saturating_sub(usize::try_from(self.lost_blobs()).unwrap_or(usize::MAX))
    }

    /// Whether no blob is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that it takes: about, for what little stands in maps of the standard library.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let shards: usize = self.shards.iter().map(|shard| shard.read().heap_bytes()).sum();
        let files: usize = self.files.iter().map(|(id, packs)| size_of_val(id) + packs.capacity() * size_of::<u32>()).sum();
        // One after the other: two locks at a time would have an order.
        let packs = self.packs.read().heap_bytes();
        let locations = self.locations.read().heap_bytes();
        let duplicates = self.duplicates.lock().heap_bytes();
        shards + files + packs + locations + duplicates
    }

    /// Takes what it holds from a budget, until it is dropped. It cannot do with less, so others get the less.
    fn draw_memory(&mut self, budget: &MemoryBudget) {
        let bytes = self.heap_bytes() as u64;
        self.memory = Some(Mutex::new(budget.draw(bytes, bytes)));
    }

    /// Has the budget know how much it has grown.
    pub(crate) fn count_memory(&self) {
        if let Some(share) = &self.memory {
            // Counted before the share is locked: that takes the other locks.
            let bytes = self.heap_bytes() as u64;
            share.lock().set(bytes);
        }
    }

    /// Index files that could not be read. Their blobs are unknown: a backup stores them anew, prune refuses.
    #[must_use]
    pub fn damaged(&self) -> &[Damage] {
        &self.damaged
    }

    /// The files that it was loaded from, each with its packs.
    pub(crate) fn files(&self) -> Vec<(IndexId, Vec<PackId>)> {
        let packs = self.packs.read();
        let ids = |numbers: &[u32]| numbers.iter().filter_map(|number| packs.id(*number)).collect();
        self.files.iter().map(|(id, numbers)| (*id, ids(numbers))).collect()
    }

    /// The packs, in the order of their numbers.
    pub(crate) fn pack_ids(&self) -> Vec<PackId> {
        self.packs.read().ids().copied().collect()
    }

    /// All further copies, by type, id, pack and offset.
    pub(crate) fn duplicates(&self) -> Vec<Duplicate> {
        let (duplicates, locations) = (self.duplicates.lock(), self.locations.read());
        let copies = duplicates.iter().map(|(copy, position)| {
            let Entry { pack, offset, length, uncompressed_length } = locations.get(position);
            Duplicate { blob_type: copy.blob_type, id: copy.id, pack, offset, length, uncompressed_length }
        });
        copies.collect()
    }

    /// Calls `visit` for each blob that is in a pack, with its type, its place in the table and its entry; one shard is locked
    /// at a time. What `visit` calls must not be of the index.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(BlobType, Place, &Entry)) {
        for (number, shard) in self.shards.iter().enumerate() {
            let (shard, locations) = (shard.read(), self.locations.read());
            for (at, position) in shard.stored() {
                visit(blob_type(number), Place { shard: number, at }, &locations.get(position));
            }
        }
    }

    /// The blob's place in the table, a key for side tables.
    pub(crate) fn place(&self, blob_type: BlobType, id: &BlobId) -> Option<Place> {
        let digest = self.fingerprints.of(id);
        let number = shard_number(blob_type, &digest);
        let shard = self.shards[number].read();
        shard.find(&digest, id).filter(|at| shard.state(*at) != State::Lost).map(|at| Place { shard: number, at })
    }

    /// Entries of each shard, for side tables.
    pub(crate) fn shard_lengths(&self) -> Vec<usize> {
        self.shards.iter().map(|shard| shard.read().len()).collect()
    }

    /// Says that claims of this index were not kept.
    pub(crate) fn spoil(&self) {
        self.spoiled.store(true, Ordering::Release);
    }

    pub(crate) fn is_spoiled(&self) -> bool {
        self.spoiled.load(Ordering::Acquire)
    }

    fn shard(&self, blob_type: BlobType, digest: &Digest) -> &RwLock<Shard> {
        &self.shards[shard_number(blob_type, digest)]
    }

    fn state(&self, blob_type: BlobType, id: &BlobId) -> Option<State> {
        let digest = self.fingerprints.of(id);
        self.shard(blob_type, &digest).read().get(&digest, id)
    }

    fn position(&self, blob_type: BlobType, id: &BlobId) -> Option<u32> {
        match self.state(blob_type, id)? {
            State::Stored(position) => Some(position),
            State::Pending(_) | State::Lost => None,
        }
    }

    fn location(&self, position: u32) -> Option<BlobLocation> {
        let Entry { pack, offset, length, uncompressed_length } = self.locations.read().get(position);
        Some(BlobLocation { pack: self.packs.read().id(pack)?, offset, length, uncompressed_length })
    }
}

/// A blob's place in the table: stays the same as long as the index lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub shard: usize,
    pub at: usize,
}

fn shard_number(blob_type: BlobType, digest: &Digest) -> usize {
    match blob_type {
        BlobType::Data => digest.shard,
        BlobType::Tree => SHARDS + digest.shard,
    }
}

/// The type of the blobs of a shard.
fn blob_type(shard: usize) -> BlobType {
    if shard < SHARDS { BlobType::Data } else { BlobType::Tree }
}
