//! What of each pack is used, with each used blob counted in one pack only.

use std::collections::HashMap;

use super::walk::UsedBlobs;
use crate::PackId;
use crate::format::{BlobType, PACK_TRAILER, SEAL_OVERHEAD, header_entry_size};
use crate::index::{Index, Place, StoredBlob};

/// A pack as the index describes it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PackUsage {
    /// Bytes of blobs that are used, and whose copy in this pack is the one to keep.
    pub used_bytes: u64,
    /// All other blobs' bytes.
    pub unused_bytes: u64,
    pub used_blobs: u32,
    pub unused_blobs: u32,
    /// Bytes of the header, length and sealing included.
    pub header_bytes: u64,
    pub has_data: bool,
    pub has_trees: bool,
    /// Bytes of blobs that are used, whichever copy is kept.
    pub wanted_bytes: u64,
}

impl PackUsage {
    /// The size that the pack file must have.
    pub fn size(&self) -> u64 {
        self.used_bytes + self.unused_bytes + self.header_bytes
    }

    fn density(&self) -> (u64, u64) {
        (self.wanted_bytes, self.used_bytes + self.unused_bytes)
    }
}

/// Usage of all packs, and which copy of a blob in several packs is kept.
#[derive(Debug)]
pub(super) struct Usage {
    /// By the packs' numbers in the index.
    pub packs: Vec<PackUsage>,
    /// For used blobs in several packs: the pack whose copy is kept.
    homes: HashMap<Place, u32>,
}

impl Usage {
    /// `listed` are the sizes of the packs in the store: a copy in a pack that is not there, or not whole, is kept only if there
    /// is no other.
    pub fn measure(index: &Index, used: &UsedBlobs, listed: &HashMap<PackId, u64>) -> Self {
        let mut packs = vec![PackUsage::default(); index.pack_ids().len()];
        for_each_copy(index, |place, pack, blob| {
            let usage = &mut packs[pack as usize];
            if usage.header_bytes == 0 {
                usage.header_bytes = (SEAL_OVERHEAD + PACK_TRAILER) as u64;
            }
            usage.header_bytes += header_entry_size(blob.uncompressed_length != 0) as u64;
            // Unused until a home is known.
            usage.unused_bytes += u64::from(blob.length);
            usage.unused_blobs += 1;
            match blob.blob_type {
                BlobType::Data => usage.has_data = true,
                BlobType::Tree => usage.has_trees = true,
            }
            if used.contains(place) {
                usage.wanted_bytes += u64::from(blob.length);
            }
        });
        let whole: Vec<bool> =
            index.pack_ids().iter().zip(&packs).map(|(id, pack)| listed.get(id) == Some(&pack.size())).collect();
        let homes = choose_homes(index, used, &packs, &whole);
        for_each_copy(index, |place, pack, blob| {
            if used.contains(place) && is_home(&homes, place, pack) {
                let usage = &mut packs[pack as usize];
                usage.used_bytes += u64::from(blob.length);
                usage.unused_bytes -= u64::from(blob.length);
                usage.used_blobs += 1;
                usage.unused_blobs -= 1;
            }
        });
        Self { packs, homes }
    }

    /// Used blobs that lose a copy with a pack that goes, while their home stays: where that is.
    pub fn exposed(&self, index: &Index, goes: impl Fn(u32) -> bool) -> HashMap<Place, u32> {
        let mut exposed = HashMap::new();
        for_each_copy(index, |place, pack, _| {
            if goes(pack)
                && let Some(home) = self.homes.get(&place)
                && !goes(*home)
            {
                exposed.insert(place, *home);
            }
        });
        exposed
    }

    /// Whether the blob's copy in this pack is the one to keep.
    pub fn is_home(&self, place: Place, pack: u32) -> bool {
        is_home(&self.homes, place, pack)
    }
}

fn is_home(homes: &HashMap<Place, u32>, place: Place, pack: u32) -> bool {
    homes.get(&place).is_none_or(|home| *home == pack)
}

/// The copy in a whole pack is kept, and among those the one in the pack with the greatest used part: packs that an interrupted
/// prune has rewritten win over those it meant to remove.
fn choose_homes(index: &Index, used: &UsedBlobs, packs: &[PackUsage], whole: &[bool]) -> HashMap<Place, u32> {
    let mut copies: HashMap<Place, Vec<u32>> = HashMap::new();
    for duplicate in index.duplicates() {
        if let Some(place) = index.place(duplicate.blob_type, &duplicate.id)
            && used.contains(place)
        {
            copies.entry(place).or_default().push(duplicate.pack);
        }
    }
    index.for_each(|_, place, entry| {
        if let Some(others) = copies.get_mut(&place) {
            others.push(entry.pack);
        }
    });
    let ids = index.pack_ids();
    let better = |a: &u32, b: &u32| {
        let ((used_a, all_a), (used_b, all_b)) = (packs[*a as usize].density(), packs[*b as usize].density());
        let by_density = (u128::from(used_a) * u128::from(all_b)).cmp(&(u128::from(used_b) * u128::from(all_a)));
        let by_wholeness = whole[*a as usize].cmp(&whole[*b as usize]);
        by_wholeness.then(by_density).then_with(|| ids[*b as usize].cmp(&ids[*a as usize]))
    };
    copies.into_iter().filter_map(|(place, packs)| packs.into_iter().max_by(better).map(|home| (place, home))).collect()
}

/// Every copy of every blob: its blob's place, its pack's number, and what stands there.
pub(super) fn for_each_copy(index: &Index, mut visit: impl FnMut(Place, u32, StoredBlob)) {
    index.for_each(|blob_type, place, entry| {
        let blob =
            StoredBlob { blob_type, offset: entry.offset, length: entry.length, uncompressed_length: entry.uncompressed_length };
        visit(place, entry.pack, blob);
    });
    for copy in index.duplicates() {
        if let Some(place) = index.place(copy.blob_type, &copy.id) {
            let blob = StoredBlob {
                blob_type: copy.blob_type,
                offset: copy.offset,
                length: copy.length,
                uncompressed_length: copy.uncompressed_length,
            };
            visit(place, copy.pack, blob);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Id;
    use crate::format::{IndexBlob, IndexPack};

    /// A blob that was stored anew because its pack was lost is needed where it is whole, not where it was.
    #[test]
    fn the_copy_in_a_whole_pack_is_the_one_to_keep() {
        let blob = |name: &[u8], offset| IndexBlob {
            id: Id::of(name),
            blob_type: BlobType::Data,
            offset,
            length: 100,
            uncompressed_length: 0,
        };
        let index = Index::default();
        let (dense, sparse) = (Id::of(b"dense"), Id::of(b"sparse"));
        index.publish(&IndexPack { id: dense, blobs: vec![blob(b"used", 0)] });
        index.publish(&IndexPack { id: sparse, blobs: vec![blob(b"used", 0), blob(b"unused", 100)] });
        let used = UsedBlobs::new(&index);
        index.place(BlobType::Data, &Id::of(b"used")).map(|place| used.mark(place));
        let sizes = index.pack_sizes();
        let used_blobs = |listed: &[(PackId, u64)]| {
            let usage = Usage::measure(&index, &used, &listed.iter().copied().collect());
            usage.packs.iter().map(|pack| pack.used_blobs).collect::<Vec<_>>()
        };
        assert_eq!(used_blobs(&[(dense, sizes[0]), (sparse, sizes[1])]), [1, 0]);
        assert_eq!(used_blobs(&[(dense, sizes[0] - 1), (sparse, sizes[1])]), [0, 1], "the dense one is cut");
        assert_eq!(used_blobs(&[(sparse, sizes[1])]), [0, 1], "the dense one is gone");
        assert_eq!(used_blobs(&[]), [1, 0], "both are gone");
    }
}
