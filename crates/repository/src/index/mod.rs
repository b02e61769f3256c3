//! Where every blob is: one table in memory, loaded from the index files and added to as packs are written.

mod load;
mod quarantine;
mod reconcile;
mod table;
mod write;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::format::{BlobType, Id};
use crate::snapshots::Damage;
use crate::{BlobId, IndexId, PackId};

pub use reconcile::{DamageList, Reconciliation};
pub(crate) use table::{Entry, SHARDS};
use table::{LOST, PENDING, Shard, shard_of};
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

/// A blob that is in several packs; the further copies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Duplicate {
    pub blob_type: BlobType,
    pub id: BlobId,
    pub pack: u32,
    pub offset: u32,
    pub length: u32,
    pub uncompressed_length: u32,
}

#[derive(Debug, Default)]
struct Packs {
    ids: Vec<PackId>,
    numbers: HashMap<PackId, u32>,
}

/// All blobs of a repository that are known, and those claimed in this run. Shared by all threads.
///
/// After a saver has failed, its index holds claims that will never be kept: load a fresh one.
#[derive(Debug)]
pub struct Index {
    shards: Vec<RwLock<Shard>>,
    packs: RwLock<Packs>,
    duplicates: Mutex<Vec<Duplicate>>,
    files: Vec<(IndexId, Vec<PackId>)>,
    damaged: Vec<Damage>,
    lost: AtomicU64,
    spoiled: AtomicBool,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            shards: (0..2 * SHARDS).map(|_| RwLock::default()).collect(),
            packs: RwLock::default(),
            duplicates: Mutex::default(),
            files: Vec::new(),
            damaged: Vec::new(),
            lost: AtomicU64::new(0),
            spoiled: AtomicBool::new(false),
        }
    }
}

impl Index {
    /// Whether the blob is in the repository, or will be by this run. One whose pack is known to be lost is not.
    #[must_use]
    pub fn contains(&self, blob_type: BlobType, id: &BlobId) -> bool {
        self.shard(blob_type, id).read().get(id).is_some()
    }

    /// Whether the blob stands in one of the first `packs` packs that became known: with [`Self::pack_count`] as it was before a
    /// run, whether the repository had it without that run.
    pub(crate) fn was_known(&self, blob_type: BlobType, id: &BlobId, packs: u32) -> bool {
        self.shard(blob_type, id).read().get(id).is_some_and(|entry| entry.pack < packs)
    }

    /// Packs that are known by now.
    pub(crate) fn pack_count(&self) -> u32 {
        u32::try_from(self.packs.read().ids.len()).unwrap_or(LOST)
    }

    /// Length of the plain blob, if it is known.
    #[must_use]
    pub fn plain_length(&self, blob_type: BlobType, id: &BlobId) -> Option<u32> {
        self.shard(blob_type, id).read().get(id).map(Entry::plain_length)
    }

    /// Where the blob is; `None` too if it was only claimed and its pack is not acknowledged yet.
    #[must_use]
    pub fn locate(&self, blob_type: BlobType, id: &BlobId) -> Option<BlobLocation> {
        let entry = *self.shard(blob_type, id).read().get(id)?;
        self.location(entry.pack, entry.offset, entry.length, entry.uncompressed_length)
    }

    /// Further copies of the blob, for when the first cannot be read.
    #[must_use]
    pub fn other_copies(&self, blob_type: BlobType, id: &BlobId) -> Vec<BlobLocation> {
        let duplicates: Vec<_> =
            self.duplicates.lock().iter().filter(|copy| copy.blob_type == blob_type && copy.id == *id).copied().collect();
        duplicates
            .iter()
            .filter_map(|copy| self.location(copy.pack, copy.offset, copy.length, copy.uncompressed_length))
            .collect()
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

    /// Index files that could not be read. Their blobs are unknown: a backup stores them anew, prune refuses.
    #[must_use]
    pub fn damaged(&self) -> &[Damage] {
        &self.damaged
    }

    /// The files that it was loaded from, each with its packs.
    pub(crate) fn files(&self) -> &[(IndexId, Vec<PackId>)] {
        &self.files
    }

    /// Claims a blob: true for exactly one caller, who must store it; all others may rely on it.
    pub(crate) fn claim(&self, blob_type: BlobType, id: &BlobId, plain_length: u32) -> bool {
        let claimed = Entry { id: *id, pack: PENDING, offset: 0, length: 0, uncompressed_length: plain_length };
        let mut shard = self.shard(blob_type, id).write();
        match shard.find(id) {
            None => shard.insert(claimed),
            Some(at) if shard.entry(at).pack == LOST => {
                shard.replace(at, claimed);
                self.lost.fetch_sub(1, Ordering::Relaxed);
            }
            Some(_) => return false,
        }
        true
    }

    /// Enters the blobs of a pack that the store has acknowledged.
    pub(crate) fn publish(&self, pack: &crate::format::IndexPack) {
        let number = self.pack_number(&pack.id);
        for blob in &pack.blobs {
            let entry = Entry {
                id: blob.id,
                pack: number,
                offset: blob.offset,
                length: blob.length,
                uncompressed_length: blob.uncompressed_length,
            };
            let mut shard = self.shard(blob.blob_type, &blob.id).write();
            match shard.find(&blob.id) {
                None => shard.insert(entry),
                Some(at) if shard.entry(at).pack == PENDING => shard.replace(at, entry),
                Some(at) if shard.entry(at).pack == LOST => {
                    shard.replace(at, entry);
                    self.lost.fetch_sub(1, Ordering::Relaxed);
                }
                // The same pack in two index files is one copy, not two.
                Some(at) if shard.entry(at).pack == number && shard.entry(at).offset == blob.offset => {}
                Some(_) => {
                    drop(shard);
                    self.duplicates.lock().push(Duplicate {
                        blob_type: blob.blob_type,
                        id: blob.id,
                        pack: number,
                        offset: blob.offset,
                        length: blob.length,
                        uncompressed_length: blob.uncompressed_length,
                    });
                }
            }
        }
    }

    /// The packs, in the order of their numbers.
    pub(crate) fn pack_ids(&self) -> Vec<PackId> {
        self.packs.read().ids.clone()
    }

    /// All further copies; the same copy may appear twice if two index files list its pack.
    pub(crate) fn duplicates(&self) -> Vec<Duplicate> {
        let mut duplicates = self.duplicates.lock().clone();
        duplicates.sort_by_key(|copy| (copy.blob_type, copy.id, copy.pack, copy.offset));
        duplicates.dedup_by_key(|copy| (copy.blob_type, copy.id, copy.pack, copy.offset));
        duplicates
    }

    /// Calls `visit` for each blob that is in a pack, with its type, its place in the table and its entry; one shard is locked
    /// at a time.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(BlobType, Place, &Entry)) {
        for (number, shard) in self.shards.iter().enumerate() {
            let blob_type = if number < SHARDS { BlobType::Data } else { BlobType::Tree };
            for (at, entry) in shard.read().iter().enumerate().filter(|(_, entry)| entry.pack < LOST) {
                visit(blob_type, Place { shard: number, at }, entry);
            }
        }
    }

    /// The blob's place in the table, a key for side tables.
    pub(crate) fn place(&self, blob_type: BlobType, id: &BlobId) -> Option<Place> {
        let number = shard_number(blob_type, id);
        let shard = self.shards[number].read();
        shard.find(id).filter(|at| shard.entry(*at).pack != LOST).map(|at| Place { shard: number, at })
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

    fn shard(&self, blob_type: BlobType, id: &BlobId) -> &RwLock<Shard> {
        &self.shards[shard_number(blob_type, id)]
    }

    fn pack_number(&self, id: &PackId) -> u32 {
        if let Some(number) = self.packs.read().numbers.get(id) {
            return *number;
        }
        let mut packs = self.packs.write();
        if let Some(number) = packs.numbers.get(id) {
            return *number;
        }
        // A repository of four billion packs would hold 64 PiB; LOST and PENDING are never reached.
        let number = u32::try_from(packs.ids.len()).unwrap_or(LOST - 1);
        packs.ids.push(*id);
        packs.numbers.insert(*id, number);
        number
    }

    fn location(&self, pack: u32, offset: u32, length: u32, uncompressed_length: u32) -> Option<BlobLocation> {
        let pack = *self.packs.read().ids.get(pack as usize)?;
        Some(BlobLocation { pack, offset, length, uncompressed_length })
    }
}

/// A blob's place in the table: stays the same as long as the index lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub shard: usize,
    pub at: usize,
}

fn shard_number(blob_type: BlobType, id: &Id) -> usize {
    match blob_type {
        BlobType::Data => shard_of(id),
        BlobType::Tree => SHARDS + shard_of(id),
    }
}
