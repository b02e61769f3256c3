//! Packs that are not in the store as the index names them: what they alone hold counts as absent.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use super::Index;
use super::shard::State;

impl Index {
    /// Blobs that stand in lost packs alone and that nobody has stored anew so far.
    #[must_use]
    pub fn lost_blobs(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The bytes that each pack must have, its header included, by the packs' numbers; 0 if nothing is known of it.
    pub(crate) fn pack_sizes(&self) -> Vec<u64> {
        self.packs.read().sizes().collect()
    }

    /// Treats what stands in these packs, by their numbers, as absent; where another pack has a copy, that one serves from now on.
    pub(super) fn quarantine(&self, packs: &HashSet<u32>) {
        {
            let mut known = self.packs.write();
            packs.iter().for_each(|pack| known.clear(*pack));
        }
        let mut duplicates = self.duplicates.lock();
        duplicates.retain(|copy| !packs.contains(&copy.pack));
        let is_lost = |state| match state {
            State::Stored(position) => packs.contains(&self.locations.read().pack(position)),
            State::Pending(_) | State::Lost => false,
        };
        let mut promoted = Vec::new();
        for (copy, position) in duplicates.iter() {
            let digest = self.fingerprints.of(&copy.id);
            let mut shard = self.shard(copy.blob_type, &digest).write();
            if let Some(at) = shard.find(&digest, &copy.id).filter(|at| is_lost(shard.state(*at))) {
                shard.set(at, State::Stored(position));
                promoted.push(*copy);
            }
        }
        promoted.iter().for_each(|copy| duplicates.remove(copy));
        for shard in &self.shards {
            let mut shard = shard.write();
            for at in 0..shard.len() {
                if is_lost(shard.state(at)) {
                    shard.set(at, State::Lost);
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Id;
    use crate::format::{BlobType, IndexBlob, IndexPack};

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
