//! Packs that are not in the store as the index names them: what they alone hold counts as absent.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use super::table::{Entry, LOST};
use super::{Duplicate, Index, SHARDS};
use crate::BlobId;
use crate::format::{BlobType, PACK_TRAILER, SEAL_OVERHEAD, header_entry_size};

type Spares = HashMap<(BlobType, BlobId), Duplicate>;

impl Index {
    /// Blobs that stand in lost packs alone and that nobody has stored anew so far.
    #[must_use]
    pub fn lost_blobs(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The bytes that each pack must have, its header included, by the packs' numbers; 0 if nothing is known of it.
    pub(crate) fn pack_sizes(&self) -> Vec<u64> {
        let mut sizes = vec![0; self.pack_count() as usize];
        let mut add = |pack: u32, length: u32, is_compressed: bool| {
            let Some(size) = sizes.get_mut(pack as usize) else { return };
            if *size == 0 {
                *size = (SEAL_OVERHEAD + PACK_TRAILER) as u64;
            }
            *size += u64::from(length) + header_entry_size(is_compressed) as u64;
        };
        self.for_each(|_, _, entry| add(entry.pack, entry.length, entry.uncompressed_length != 0));
        for copy in self.duplicates() {
            add(copy.pack, copy.length, copy.uncompressed_length != 0);
        }
        sizes
    }

    /// Treats what stands in these packs, by their numbers, as absent; where another pack has a copy, that one serves from now on.
    pub(super) fn quarantine(&self, packs: &HashSet<u32>) {
        let mut duplicates = self.duplicates.lock();
        duplicates.retain(|copy| !packs.contains(&copy.pack));
        let mut spares: Spares = duplicates.iter().map(|copy| ((copy.blob_type, copy.id), *copy)).collect();
        let mut promoted = HashSet::new();
        for (number, shard) in self.shards.iter().enumerate() {
            let blob_type = if number < SHARDS { BlobType::Data } else { BlobType::Tree };
            let mut shard = shard.write();
            for at in 0..shard.len() {
                let entry = *shard.entry(at);
                if !packs.contains(&entry.pack) {
                    continue;
                }
                if let Some(copy) = spares.remove(&(blob_type, entry.id)) {
                    promoted.insert((copy.blob_type, copy.id, copy.pack, copy.offset));
                    let Duplicate { pack, offset, length, uncompressed_length, .. } = copy;
                    shard.replace(at, Entry { id: entry.id, pack, offset, length, uncompressed_length });
                } else {
                    shard.replace(at, Entry { pack: LOST, ..entry });
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        duplicates.retain(|copy| !promoted.contains(&(copy.blob_type, copy.id, copy.pack, copy.offset)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Id;
    use crate::format::{IndexBlob, IndexPack};

    fn pack(name: &str, blobs: &[&str]) -> IndexPack {
        let blobs = blobs.iter().zip(0u32..).map(|(blob, at)| IndexBlob {
            id: Id::of(blob.as_bytes()),
            blob_type: BlobType::Data,
            offset: at * 100,
            length: 100,
            uncompressed_length: 0,
        });
        IndexPack { id: Id::of(name.as_bytes()), blobs: blobs.collect() }
    }

    /// A3: what a lost pack held is claimed once more, and a copy in another pack is as good as before.
    #[test]
    fn what_only_a_lost_pack_holds_is_absent_until_it_is_stored_anew() {
        let index = Index::default();
        for pack in [pack("lost", &["only", "both", "again"]), pack("kept", &["both", "other"]), pack("kept", &["both", "other"])]
        {
            index.publish(&pack);
        }
        let (only, both, again) = (Id::of(b"only"), Id::of(b"both"), Id::of(b"again"));
        assert_eq!(index.len(), 4);
        assert_eq!(index.pack_sizes(), [36 + 3 * 137, 36 + 2 * 137]);
        index.quarantine(&HashSet::from([0]));
        assert_eq!((index.len(), index.lost_blobs()), (2, 2));
        assert!(!index.contains(BlobType::Data, &only) && index.locate(BlobType::Data, &only).is_none());
        assert_eq!((index.plain_length(BlobType::Data, &only), index.place(BlobType::Data, &only)), (None, None));
        assert_eq!(index.locate(BlobType::Data, &both).unwrap().pack, Id::of(b"kept"));
        assert!(index.other_copies(BlobType::Data, &both).is_empty() && !index.claim(BlobType::Data, &both, 68));
        assert_eq!(index.pack_sizes(), [0, 36 + 2 * 137], "no copy is counted twice");

        assert!(index.claim(BlobType::Data, &only, 68) && !index.claim(BlobType::Data, &only, 68));
        let known = index.pack_count();
        index.publish(&pack("new", &["only"]));
        index.publish(&pack("found", &["again"]));
        assert_eq!((index.len(), index.lost_blobs()), (4, 0));
        assert_eq!(index.locate(BlobType::Data, &again).unwrap().pack, Id::of(b"found"));
        assert!(index.was_known(BlobType::Data, &both, known) && !index.was_known(BlobType::Data, &only, known));
    }
}
