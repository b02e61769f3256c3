//! Reading many blobs of one pack with few requests, for restore and prune.

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::open::BlobScratch;
use super::{PackedBlob, open_blob, verify_blob};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::limits::READ_GAP;
use crate::objects::FileType;
use crate::{PackId, Repository};

/// Requests at a time for the parts of one pack.
const PARALLEL_PARTS: usize = 4;

/// The parts of a pack that were asked for, still sealed. Any thread can open blobs of it.
#[derive(Debug, Clone)]
pub struct FetchedPack {
    repository: Repository,
    pack: PackId,
    parts: Vec<(u64, Bytes)>,
}

impl FetchedPack {
    /// Reads the parts of `pack` that hold `wanted`, in any order; near ones with one request.
    pub(super) async fn read(repository: &Repository, pack: PackId, wanted: &[PackedBlob], control: &Control) -> Result<Self> {
        let ranges = wanted.iter().map(|blob| {
            let start = u64::from(blob.location.offset);
            start..start + u64::from(blob.location.length)
        });
        let mut parts: Vec<(u64, Bytes)> = futures::stream::iter(join_near(ranges.collect()))
            .map(|range| async move {
                let bytes = repository.objects().get_range(&pack, range.start, range.end, control).await?;
                Ok::<_, Error>((range.start, bytes))
            })
            .buffer_unordered(PARALLEL_PARTS)
            .try_collect()
            .await?;
        parts.sort_by_key(|(start, _)| *start);
        Ok(Self { repository: repository.clone(), pack, parts })
    }

    /// The pack.
    #[must_use]
    pub fn pack(&self) -> PackId {
        self.pack
    }

    /// Bytes held in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// The plain bytes of a blob that was asked for: opened, decompressed, its sum checked. Work for the processor, no I/O.
    ///
    /// # Errors
    /// [`Error::BlobUnreadable`] if this copy of the blob is damaged.
    pub fn decode<'a>(&self, blob: &PackedBlob, scratch: &'a mut BlobScratch) -> Result<&'a [u8]> {
        let sealed = self.fetched(blob)?;
        open_blob(self.repository.cipher(), sealed, (blob.blob_type, blob.id, blob.location.uncompressed_length), scratch)?
            .map_err(|reason| self.unreadable(blob, &reason))
    }

    /// The same only to see that the blob is well; a large tree is not held whole for it.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub(crate) fn verify(&self, blob: &PackedBlob, scratch: &mut BlobScratch) -> Result<()> {
        let sealed = self.fetched(blob)?;
        verify_blob(self.repository.cipher(), sealed, (blob.blob_type, blob.id, blob.location.uncompressed_length), scratch)?
            .map_err(|reason| self.unreadable(blob, &reason))
    }

    fn fetched(&self, blob: &PackedBlob) -> Result<&[u8]> {
        self.sealed(blob).ok_or_else(|| self.unreadable(blob, "it was not fetched"))
    }

    fn unreadable(&self, blob: &PackedBlob, reason: &str) -> Error {
        let reason = format!("{}: {reason}", FileType::Pack.key(&self.pack));
        Error::BlobUnreadable { blob_type: blob.blob_type, id: blob.id, reason }
    }

    /// The blob as it stands in the pack.
    pub(crate) fn sealed(&self, blob: &PackedBlob) -> Option<&[u8]> {
        let (start, end) = (u64::from(blob.location.offset), u64::from(blob.location.offset) + u64::from(blob.location.length));
        let at = self.parts.partition_point(|(part, _)| *part <= start).checked_sub(1)?;
        let (part, bytes) = &self.parts[at];
        let from = usize::try_from(start - part).ok()?;
        let to = usize::try_from(end - part).ok()?;
        bytes.get(from..to)
    }
}

/// Joins ranges that overlap or are nearer than what a request costs.
fn join_near(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end + READ_GAP => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "it is one range")]
    fn near_ranges_are_read_at_once_and_far_ones_apart() {
        assert_eq!(join_near(vec![50..60, 0..10, 5..20]), [0..60]);
        assert_eq!(join_near(vec![0..10, READ_GAP + 10..READ_GAP + 20]), [0..READ_GAP + 20]);
        assert_eq!(join_near(vec![0..10, READ_GAP + 11..READ_GAP + 20]), [0..10, READ_GAP + 11..READ_GAP + 20]);
        assert!(join_near(Vec::new()).is_empty());
    }
}
