//! Packs in groups whose entries fit into memory together.
//!
//! What is done pack by pack needs the entries of each pack, and the index is ordered by blob. Each group takes one pass over the
//! index and holds at most [`ENTRIES`] entries (24 MiB), or those of a single pack. All that grows with the repository beside that
//! grows with the number of its packs: some hundred bytes each. Ten million blobs take twenty passes, each below a second.

use std::sync::Arc;

use super::usage::for_each_copy;
use crate::PackId;
use crate::error::{Error, Result};
use crate::format::IndexBlob;
use crate::index::{Index, Place};

/// Entries that are held at a time.
pub(super) const ENTRIES: usize = 1 << 19;

/// A pack with what the index says of it, in the order in which the blobs stand there.
pub(super) type PackEntries = (PackId, Vec<IndexBlob>);

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

    /// The next group's packs with those of their entries that `wanted` lets through; `None` after the last.
    pub async fn next(&mut self, wanted: impl Fn(Place, u32) -> bool + Send + 'static) -> Result<Option<Vec<PackEntries>>> {
        let Some(group) = self.groups.next() else { return Ok(None) };
        let index = Arc::clone(&self.index);
        let collecting = tokio::task::spawn_blocking(move || entries_of(&index, &group, wanted));
        collecting.await.map(Some).map_err(Error::internal)
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

fn entries_of(index: &Index, group: &[u32], wanted: impl Fn(Place, u32) -> bool) -> Vec<PackEntries> {
    const ELSEWHERE: u32 = u32::MAX;
    let ids = index.pack_ids();
    let mut positions = vec![ELSEWHERE; ids.len()];
    for (pack, position) in group.iter().zip(0..) {
        positions[*pack as usize] = position;
    }
    let mut entries: Vec<PackEntries> = group.iter().map(|pack| (ids[*pack as usize], Vec::new())).collect();
    for_each_copy(index, |place, pack, blob| {
        // A pack that became known after the group was made is none of it.
        let position = positions.get(pack as usize).copied().unwrap_or(ELSEWHERE);
        if position != ELSEWHERE && wanted(place, pack) {
            entries[position as usize].1.push(blob);
        }
    });
    entries.iter_mut().for_each(|(_, blobs)| blobs.sort_by_key(|blob| blob.offset));
    entries
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
        let index = Arc::new(Index::default());
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
        packs.iter().for_each(|pack| index.publish(pack));
        let mut groups = PackGroups::with_entries(&index, vec![9, 2, 4], 10).await.unwrap();
        let mut found = Vec::new();
        while let Some(group) = groups.next(|_, _| true).await.unwrap() {
            assert!(group.iter().map(|(_, blobs)| blobs.len()).sum::<usize>() <= 10);
            found.extend(group);
        }
        let expected: Vec<PackEntries> =
            [9, 2, 4].map(|pack: usize| (packs[pack].id, packs[pack].blobs.iter().rev().copied().collect())).into();
        assert_eq!(found, expected);
    }
}
