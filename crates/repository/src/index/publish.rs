//! What enters the index: claims of blobs that are about to be stored, and packs that the store has.

use std::sync::atomic::Ordering;

use super::duplicates::CopyKey;
use super::fingerprint::Digest;
use super::locations::Encoded;
use super::shard::State;
use super::{Index, Place};
use crate::format::{BlobType, IndexBlob, IndexPack, header_entry_size};
use crate::{BlobId, PackId};

impl Index {
    /// Claims a blob: true for exactly one caller, who must store it; all others may rely on it.
    pub(crate) fn claim(&self, blob_type: BlobType, id: &BlobId, plain_length: u32) -> bool {
        let digest = self.fingerprints.of(id);
        let mut shard = self.shard(blob_type, &digest).write();
        match shard.find(&digest, id) {
            None => shard.insert(&digest, id, State::Pending(plain_length)),
            Some(at) if shard.state(at) == State::Lost => {
                shard.set(at, State::Pending(plain_length));
                self.lost.fetch_sub(1, Ordering::Relaxed);
            }
            Some(_) => return false,
        }
        true
    }

    /// Enters the blobs of a pack that the store has acknowledged. Returns the pack's number.
    pub(crate) fn publish(&self, pack: &IndexPack) -> u32 {
        let digest = self.fingerprints.of(&pack.id);
        // Two index files may name the same pack: the second is compared with the first when all of that is entered.
        let _turn = self.publishing[digest.shard % self.publishing.len()].lock();
        let (number, is_new) = self.pack_number(&digest, &pack.id);
        let mut blobs: Vec<&IndexBlob> = pack.blobs.iter().collect();
        blobs.sort_by_key(|a| (a.offset, a.blob_type, a.id));
        blobs.dedup_by_key(|blob| (blob.offset, blob.blob_type, blob.id));
        if !is_new {
            blobs.retain(|blob| !self.has_copy(number, blob));
        }
        if blobs.is_empty() {
            return number;
        }
        let encoded = Encoded::new(blobs.iter().copied());
        let Some(first) = self.locations.write().append(number, &encoded) else { return number };
        let size = |blob: &&IndexBlob| u64::from(blob.length) + header_entry_size(blob.uncompressed_length != 0) as u64;
        self.packs.write().grow(number, blobs.iter().map(size).sum());
        for (blob, position) in blobs.into_iter().zip(encoded.positions) {
            self.enter(number, blob, first + position);
        }
        number
    }

    fn enter(&self, pack: u32, blob: &IndexBlob, position: u32) {
        let digest = self.fingerprints.of(&blob.id);
        let mut shard = self.shard(blob.blob_type, &digest).write();
        match shard.find(&digest, &blob.id).map(|at| (at, shard.state(at))) {
            None => shard.insert(&digest, &blob.id, State::Stored(position)),
            Some((at, State::Pending(_))) => shard.set(at, State::Stored(position)),
            Some((at, State::Lost)) => {
                shard.set(at, State::Stored(position));
                self.lost.fetch_sub(1, Ordering::Relaxed);
            }
            Some((_, State::Stored(_))) => {
                drop(shard);
                self.duplicates.lock().add(copy_key(pack, blob), position);
            }
        }
    }

    /// Whether this very copy is known. The same pack in two index files is one copy, not two.
    fn has_copy(&self, pack: u32, blob: &IndexBlob) -> bool {
        let entry = self.position(blob.blob_type, &blob.id).map(|position| self.locations.read().get(position));
        entry.is_some_and(|entry| (entry.pack, entry.offset) == (pack, blob.offset))
            || self.duplicates.lock().contains(&copy_key(pack, blob))
    }

    /// The pack's number, and whether it is a new one.
    fn pack_number(&self, digest: &Digest, id: &PackId) -> (u32, bool) {
        if let Some(number) = self.packs.read().number(digest, id) {
            return (number, false);
        }
        let mut packs = self.packs.write();
        match packs.number(digest, id) {
            Some(number) => (number, false),
            None => (packs.add(&self.fingerprints, digest, id), true),
        }
    }

    /// Calls `visit` for every copy of every blob that is in a pack, with its whole id, its place in the table and its pack.
    ///
    /// # Errors
    /// [`crate::Error::Internal`] if this index does not keep ids.
    pub(crate) fn for_each_named(&self, mut visit: impl FnMut(Place, u32, IndexBlob)) -> crate::Result<()> {
        let mut unnamed = 0u64;
        for (number, shard) in self.shards.iter().enumerate() {
            let (shard, locations) = (shard.read(), self.locations.read());
            for (at, position) in shard.stored() {
                let Some(id) = shard.id(at) else {
                    unnamed += 1;
                    continue;
                };
                let entry = locations.get(position);
                let (blob_type, place) = (super::blob_type(number), Place { shard: number, at });
                let super::Entry { pack, offset, length, uncompressed_length } = entry;
                visit(place, pack, IndexBlob { id, blob_type, offset, length, uncompressed_length });
            }
        }
        for copy in self.duplicates() {
            let super::Duplicate { blob_type, id, pack, offset, length, uncompressed_length } = copy;
            match self.place(blob_type, &id) {
                Some(place) => visit(place, pack, IndexBlob { id, blob_type, offset, length, uncompressed_length }),
                None => unnamed += 1,
            }
        }
        if unnamed == 0 { Ok(()) } else { Err(crate::Error::internal("the index was loaded without ids")) }
    }
}

fn copy_key(pack: u32, blob: &IndexBlob) -> CopyKey {
    CopyKey { blob_type: blob.blob_type, id: blob.id, pack, offset: blob.offset }
}
