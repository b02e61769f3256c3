//! Packs in groups whose entries fit into memory together.
//!
//! What is done pack by pack needs the entries of each pack, and the index is ordered by blob. Each group takes one pass over the
//! index and holds at most [`ENTRIES`] entries (24 MiB), or those of a single pack. All that grows with the repository beside that
//! grows with the number of its packs: some hundred bytes each. Ten million blobs take twenty passes, each below a second.
//!
//! Who moves blobs or describes packs anew needs their ids, and an index that keeps them; who only compares does not.

use std::sync::Arc;

use super::usage::for_each_copy;
use crate::PackId;
use crate::error::{Error, Result};
use crate::format::IndexBlob;
use crate::index::{Index, Place, StoredBlob};

/// Entries that are held at a time.
pub(super) const ENTRIES: usize = 1 << 19;

/// A pack with what the index says of it, in the order in which the blobs stand there.
pub(super) type PackEntries = (PackId, Vec<IndexBlob>);

/// A copy of a blob by an index without ids: which blob it is, its place in the index says.
pub(super) type StoredCopy = (Place, StoredBlob);

/// Packs of an index, handed out group by group.
pub(super) struct PackGroups {
    index: Arc<Index>,
    groups: std::vec::IntoIter<Vec<u32>>,
}

impl PackGroups {
    /// Groups of these packs, which are given by their numbers.
    pub async fn new(index: &Arc<Index>, packs: Vec<u32>) -> Result<Self> {
        Self::with_entries(index, packs, ENTRIES).await
    }

    async fn with_entries(index: &Arc<Index>, packs: Vec<u32>, most: usize) -> Result<Self> {
        let counted = Arc::clone(index);
        let grouping = move || in_groups(packs, &count_entries(&counted), most).into_iter();
        let groups = tokio::task::spawn_blocking(grouping).await.map_err(Error::internal)?;
        Ok(Self { index: Arc::clone(index), groups })
    }

    /// The next group's packs with those of their entries that `wanted` lets through; `None` after the last. `wanted` must not
    /// look into the index.
    ///
    /// # Errors
    /// [`Error::Internal`] if the index was loaded without ids.
    pub async fn next(&mut self, wanted: impl Fn(Place, u32) -> bool + Send + 'static) -> Result<Option<Vec<PackEntries>>> {
        self.collect_next(move |index, group| {
            let mut collected = Collected::new(index, group);
            index.for_each_named(|place, pack, blob| {
                if let Some(entries) = collected.of(pack)
                    && wanted(place, pack)
                {
                    entries.push(blob);
                }
            })?;
            Ok(collected.sorted(|blob| blob.offset))
        })
        .await
    }

    /// The next group's packs with all their copies, of an index that may have no ids; `None` after the last.
    pub async fn next_copies(&mut self) -> Result<Option<Vec<(PackId, Vec<StoredCopy>)>>> {
        self.collect_next(|index, group| {
            let mut collected = Collected::new(index, group);
            for_each_copy(index, |place, pack, blob| {
                if let Some(copies) = collected.of(pack) {
                    copies.push((place, blob));
                }
            });
            Ok(collected.sorted(|(_, blob): &StoredCopy| blob.offset))
        })
        .await
    }

    async fn collect_next<T: Send + 'static>(
        &mut self,
        collect: impl FnOnce(&Index, &[u32]) -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let Some(group) = self.groups.next() else { return Ok(None) };
        let index = Arc::clone(&self.index);
        let collecting = tokio::task::spawn_blocking(move || collect(&index, &group));
        collecting.await.map_err(Error::internal)?.map(Some)
    }
}

/// Entries of each pack, by the packs' numbers.
pub(super) fn count_entries(index: &Index) -> Vec<u32> {
    let mut counts = vec![0; index.pack_count() as usize];
    for_each_copy(index, |_, pack, _| counts[pack as usize] += 1);
    counts
}

fn in_groups(packs: Vec<u32>, counts: &[u32], most: usize) -> Vec<Vec<u32>> {
    let (mut groups, mut group, mut entries) = (Vec::new(), Vec::new(), 0);
    for pack in packs {
        let count = counts[pack as usize] as usize;
        if entries + count > most && !group.is_empty() {
            groups.push(std::mem::take(&mut group));
            entries = 0;
        }
        group.push(pack);
        entries += count;
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

/// What was found of the packs of a group.
struct Collected<T> {
    /// By the packs' numbers in the index, their positions in the group.
    positions: Vec<u32>,
    packs: Vec<(PackId, Vec<T>)>,
}

impl<T> Collected<T> {
    /// The position of a pack that is not of the group.
    const ELSEWHERE: u32 = u32::MAX;

    fn new(index: &Index, group: &[u32]) -> Self {
        let ids = index.pack_ids();
        let mut positions = vec![Self::ELSEWHERE; ids.len()];
        for (pack, position) in group.iter().zip(0u32..) {
            positions[*pack as usize] = position;
        }
        Self { positions, packs: group.iter().map(|pack| (ids[*pack as usize], Vec::new())).collect() }
    }

    /// What was found of a pack, if it is of the group.
    fn of(&mut self, pack: u32) -> Option<&mut Vec<T>> {
        // A pack that became known after the group was made is none of it.
        let position = *self.positions.get(pack as usize)?;
        self.packs.get_mut(position as usize).map(|(_, found)| found)
    }

    /// All of it, by the places in the packs.
    fn sorted(mut self, offset: impl Fn(&T) -> u32) -> Vec<(PackId, Vec<T>)> {
        self.packs.iter_mut().for_each(|(_, found)| found.sort_by_key(&offset));
        self.packs
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Id;
    use crate::format::{BlobType, IndexPack};

    /// Each pack once, in order, and never more entries at a time than asked for, but those of one pack.
    #[test]
    fn groups_are_bounded() {
        let counts = [3, 3, 3, 20, 1, 0, 4];
        let groups = in_groups((0..7).collect(), &counts, 7);
        assert_eq!(groups, [vec![0, 1], vec![2], vec![3], vec![4, 5, 6]]);
        assert!(in_groups(Vec::new(), &counts, 7).is_empty());
    }

    #[tokio::test]
    async fn groups_hold_what_stands_in_their_packs() {
        let index = Arc::new(Index::with_ids());
        let packs: Vec<IndexPack> = (0..10u8)
            .map(|pack| {
                let blobs = (0..5u8).rev().map(|blob| IndexBlob {
                    // Every pack has the blob 0, so there are further copies too.
                    id: Id::of(&[if blob == 0 { 0 } else { pack }, blob]),
                    blob_type: BlobType::Data,
                    offset: u32::from(blob) * 100,
                    length: 100,
                    uncompressed_length: 0,
                });
                IndexPack { id: Id::of(&[pack]), blobs: blobs.collect() }
            })
            .collect();
        packs.iter().for_each(|pack| {
            index.publish(pack);
        });
        let mut groups = PackGroups::with_entries(&index, vec![9, 2, 4], 10).await.unwrap();
        let mut found = Vec::new();
        while let Some(group) = groups.next(|_, _| true).await.unwrap() {
            assert!(group.iter().map(|(_, blobs)| blobs.len()).sum::<usize>() <= 10);
            found.extend(group);
        }
        let expected: Vec<PackEntries> =
            [9, 2, 4].map(|pack: usize| (packs[pack].id, packs[pack].blobs.iter().rev().copied().collect())).into();
        assert_eq!(found, expected);

        let mut groups = PackGroups::with_entries(&index, vec![9, 2, 4], 10).await.unwrap();
        let mut copies = Vec::new();
        while let Some(group) = groups.next_copies().await.unwrap() {
            copies.extend(group);
        }
        let placed = |blob: &IndexBlob| (index.place(blob.blob_type, &blob.id).unwrap(), StoredBlob::from(*blob));
        let expected: Vec<(PackId, Vec<StoredCopy>)> =
            expected.iter().map(|(pack, blobs)| (*pack, blobs.iter().map(placed).collect())).collect();
        assert_eq!(copies, expected);
    }

    /// Nothing is moved or described anew by an index that does not know what it is.
    #[tokio::test]
    async fn without_ids_there_are_no_entries() {
        let index = Arc::new(Index::default());
        let blob = IndexBlob { id: Id::of(b"x"), blob_type: BlobType::Data, offset: 0, length: 100, uncompressed_length: 0 };
        index.publish(&IndexPack { id: Id::of(b"pack"), blobs: vec![blob] });
        let mut groups = PackGroups::new(&index, vec![0]).await.unwrap();
        assert!(matches!(groups.next(|_, _| true).await, Err(Error::Internal { .. })));
    }
}
