//! Which bytes of a file a blob holds.

use std::collections::HashMap;
use std::ops::Range;

use crate::BlobId;
use crate::format::Run;

/// The bytes of a file of `size` bytes that stand in some runs of its content, given by their positions. `length` tells how long
/// a blob is, if the index knows it.
///
/// Where lengths are unknown the range is as narrow as what is known of the others allows: exact if one blob alone is unknown.
pub(super) fn extents(
    content: &[Run],
    size: u64,
    positions: &[usize],
    length: impl Fn(&BlobId) -> Option<u64>,
) -> Vec<Range<u64>> {
    let lengths = filled(content, size, length);
    // Bytes and unknown runs before each position, and in all.
    let (mut before, mut known, mut unknown) = (Vec::with_capacity(content.len()), 0u64, 0usize);
    for length in &lengths {
        before.push((known, unknown));
        known = known.saturating_add(length.unwrap_or(0));
        unknown += usize::from(length.is_none());
    }
    let extent = |position: &usize| {
        let (start, unknown_before) = *before.get(*position)?;
        let own = lengths.get(*position).copied()?;
        let after = known.saturating_sub(start).saturating_sub(own.unwrap_or(0));
        let unknown_after = unknown - unknown_before - usize::from(own.is_none());
        let end = size.saturating_sub(after).max(start);
        Some(match own {
            Some(own) if unknown_before == 0 => start..start.saturating_add(own),
            Some(own) if unknown_after == 0 => end.saturating_sub(own)..end,
            _ => start..end,
        })
    };
    positions.iter().filter_map(extent).collect()
}

/// The runs' lengths; if only one blob is unknown, it takes what the others leave.
fn filled(content: &[Run], size: u64, length: impl Fn(&BlobId) -> Option<u64>) -> Vec<Option<u64>> {
    let mut lengths: Vec<Option<u64>> =
        content.iter().map(|run| length(&run.id).map(|length| length.saturating_mul(run.count))).collect();
    let mut times: HashMap<BlobId, u64> = HashMap::new();
    for (run, length) in content.iter().zip(&lengths) {
        if length.is_none() {
            let times = times.entry(run.id).or_default();
            *times = times.saturating_add(run.count);
        }
    }
    if times.len() == 1 {
        let known: u64 = lengths.iter().flatten().fold(0, |sum, length| sum.saturating_add(*length));
        // A run is never empty.
        let each = times.values().next().map_or(0, |times| size.saturating_sub(known) / (*times).max(1));
        for (run, length) in content.iter().zip(&mut lengths).filter(|(_, length)| length.is_none()) {
            *length = Some(each.saturating_mul(run.count));
        }
    }
    lengths
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "they are one range")]
    use super::*;
    use crate::Id;
    use crate::format::Content;

    fn blob(name: u8) -> BlobId {
        Id::of(&[name])
    }

    fn runs(content: &[u8]) -> Content {
        content.iter().copied().map(blob).collect()
    }

    /// Blobs of 10, 20, 30… bytes by their names; those in `lost` are not known. Positions are of runs.
    fn found(content: &[u8], lost: &[u8], positions: &[usize]) -> Vec<Range<u64>> {
        let length = |name: u8| u64::from(name) * 10;
        let size = content.iter().copied().map(length).sum();
        let known: HashMap<_, _> = (0..=9).filter(|name| !lost.contains(name)).map(|name| (blob(name), length(name))).collect();
        extents(runs(content).runs(), size, positions, |id| known.get(id).copied())
    }

    #[test]
    fn ranges_are_exact_where_one_blob_alone_is_unknown() {
        assert_eq!(found(&[1, 2, 3], &[], &[0, 1, 2]), [0..10, 10..30, 30..60]);
        assert_eq!(found(&[1, 2, 3], &[2], &[1]), [10..30]);
        assert_eq!(found(&[2, 1, 2], &[2], &[0, 2]), [0..20, 30..50]);
    }

    #[test]
    fn a_blob_that_follows_itself_is_one_range() {
        assert_eq!(found(&[1, 3, 3, 3, 2], &[], &[1, 2]), [10..100, 100..120]);
        assert_eq!(found(&[1, 3, 3, 3, 2, 3], &[3], &[1, 3]), [10..100, 120..150]);
        assert_eq!(found(&[1, 3, 3, 2], &[2, 3], &[1, 2]), [10..90, 10..90]);
    }

    #[test]
    fn of_several_unknown_ones_the_range_holds_them() {
        assert_eq!(found(&[1, 2, 3, 4], &[2, 3], &[1, 2]), [10..60, 10..60]);
        assert_eq!(found(&[2, 1, 3, 4], &[2, 3], &[0, 2, 3]), [0..50, 10..60, 60..100]);
        assert_eq!(found(&[2, 1, 3], &[2, 3], &[1]), [0..60]);
    }

    #[test]
    fn sizes_that_lie_make_no_impossible_ranges() {
        for content in [runs(&[1, 2]), [1, 2].map(|name| Run { id: blob(name), count: u64::MAX }).into_iter().collect()] {
            for size in [0, 5, u64::MAX] {
                for known in [None, Some(u64::MAX)] {
                    let ranges = extents(content.runs(), size, &[0, 1, 7], |id| if *id == blob(1) { known } else { None });
                    assert!(ranges.len() == 2 && ranges.iter().all(|range| range.start <= range.end), "{ranges:?}");
                }
            }
        }
    }
}
