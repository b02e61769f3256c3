//! Where blobs stand in their packs, a few bytes each: the blobs of a pack follow each other, so the lengths alone tell their
//! places. They stand in groups, each with its pack and its first blob's offset, and are read from there.

use super::pieces::Pieces;
use crate::format::{IndexBlob, SEAL_OVERHEAD};

/// Blobs of a group at most: as many lengths may have to be passed over to find one.
const GROUP: usize = 32;

/// Bits of a position that count within a group.
const GROUP_BITS: u32 = GROUP.trailing_zeros();

/// Groups that positions of 31 bits reach.
const MOST_GROUPS: usize = 1 << (31 - GROUP_BITS);

/// Lengths are kept in pieces of this many bytes; a group stands in one of them.
const PIECE: usize = 64 << 10;

/// A group begins at a multiple of this many bytes, so that four bytes tell where.
const ALIGNMENT: usize = 4;

/// Where one copy of a blob stands, with its pack's number in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub pack: u32,
    pub offset: u32,
    pub length: u32,
    /// 0 if not compressed.
    pub uncompressed_length: u32,
}

impl Entry {
    pub fn plain_length(&self) -> u32 {
        if self.uncompressed_length == 0 { self.length.saturating_sub(SEAL_OVERHEAD as u32) } else { self.uncompressed_length }
    }
}

#[derive(Debug, Clone, Copy)]
struct Group {
    pack: u32,
    /// Of the first blob.
    offset: u32,
    /// Where its lengths begin, in units of [`ALIGNMENT`].
    start: u32,
}

/// Places of copies of blobs, in the order in which they became known.
#[derive(Debug, Default)]
pub(super) struct Locations {
    groups: Pieces<Group>,
    lengths: Vec<Vec<u8>>,
}

/// Blobs of one pack, ready to be appended.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    /// Each group's first offset, and where its lengths begin.
    groups: Vec<(u32, usize)>,
    lengths: Vec<u8>,
    /// The blobs' positions, counted from that of the first.
    pub positions: Vec<u32>,
}

impl Encoded {
    /// Encodes blobs that are sorted by their offsets. Where one does not begin at the end of that before, a group begins.
    pub fn new<'a>(blobs: impl IntoIterator<Item = &'a IndexBlob>) -> Self {
        let mut encoded = Self::default();
        let (mut end, mut count) = (None, GROUP);
        for blob in blobs {
            if count == GROUP || end != Some(blob.offset) {
                encoded.groups.push((blob.offset, encoded.lengths.len()));
                count = 0;
            }
            encoded.positions.push((((encoded.groups.len() - 1) << GROUP_BITS) | count) as u32);
            write(blob.length, &mut encoded.lengths);
            write(blob.uncompressed_length, &mut encoded.lengths);
            count += 1;
            end = blob.offset.checked_add(blob.length);
        }
        encoded
    }
}

impl Locations {
    /// Adds blobs of a pack: the first one's position. `None` if there is no room for more groups, which are 67 million: what is
    /// not known is stored anew, and never relied on.
    pub fn append(&mut self, pack: u32, encoded: &Encoded) -> Option<u32> {
        let first = self.groups.len();
        if first + encoded.groups.len() > MOST_GROUPS {
            return None;
        }
        for (number, (offset, from)) in encoded.groups.iter().enumerate() {
            let to = encoded.groups.get(number + 1).map_or(encoded.lengths.len(), |(_, next)| *next);
            let start = self.append_lengths(&encoded.lengths[*from..to])?;
            self.groups.push(Group { pack, offset: *offset, start });
        }
        u32::try_from(first << GROUP_BITS).ok()
    }

    fn append_lengths(&mut self, lengths: &[u8]) -> Option<u32> {
        if self.lengths.last().is_none_or(|piece| piece.len().next_multiple_of(ALIGNMENT) + lengths.len() > PIECE) {
            self.lengths.push(if self.lengths.is_empty() { Vec::new() } else { Vec::with_capacity(PIECE) });
        }
        let number = self.lengths.len() - 1;
        let piece = self.lengths.last_mut()?;
        let start = piece.len().next_multiple_of(ALIGNMENT);
        piece.resize(start, 0);
        piece.extend_from_slice(lengths);
        u32::try_from((number * PIECE + start) / ALIGNMENT).ok()
    }

    /// The number of the pack that a position is in.
    pub fn pack(&self, position: u32) -> u32 {
        self.groups[(position >> GROUP_BITS) as usize].pack
    }

    /// What stands at a position.
    pub fn get(&self, position: u32) -> Entry {
        let Group { pack, mut offset, start } = self.groups[(position >> GROUP_BITS) as usize];
        let start = start as usize * ALIGNMENT;
        let mut lengths = &self.lengths[start / PIECE][start % PIECE..];
        for _ in 0..position as usize % GROUP {
            offset = offset.wrapping_add(read(&mut lengths));
            read(&mut lengths);
        }
        let (length, uncompressed_length) = (read(&mut lengths), read(&mut lengths));
        Entry { pack, offset, length, uncompressed_length }
    }

    pub fn heap_bytes(&self) -> usize {
        let lengths: usize = self.lengths.iter().map(Vec::capacity).sum();
        self.groups.heap_bytes() + lengths + self.lengths.capacity() * size_of::<Vec<u8>>()
    }
}

/// Writes a number in as few bytes as it needs, seven bits in each.
fn write(mut number: u32, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read(bytes: &mut &[u8]) -> u32 {
    let (mut number, mut shift) = (0, 0);
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        shift += 7;
        if *byte < 0x80 || shift > 28 {
            break;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::{BlobType, Id};

    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![Just(0), 0..300u32, 0..100_000u32, Just(u32::MAX), any::<u32>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever an index says, each position tells what was appended.
        #[test]
        fn each_position_tells_what_was_appended(
            packs in prop::collection::vec(prop::collection::vec((number(), number(), number(), any::<bool>()), 0..80), 0..5),
        ) {
            let mut locations = Locations::default();
            let mut appended = Vec::new();
            for (pack, blobs) in (7u32..).zip(packs) {
                let mut end = 0u32;
                let blobs: Vec<_> = blobs.into_iter().map(|(offset, length, uncompressed_length, follows)| {
                    let offset = if follows { end } else { offset };
                    end = offset.wrapping_add(length);
                    IndexBlob { id: Id([0; 32]), blob_type: BlobType::Data, offset, length, uncompressed_length }
                }).collect();
                let encoded = Encoded::new(&blobs);
                let first = locations.append(pack, &encoded).unwrap_or(u32::MAX);
                appended.extend(blobs.into_iter().zip(encoded.positions).map(|(blob, at)| (first + at, pack, blob)));
            }
            for (position, pack, IndexBlob { offset, length, uncompressed_length, .. }) in appended {
                prop_assert_eq!(locations.get(position), Entry { pack, offset, length, uncompressed_length });
                prop_assert_eq!(locations.pack(position), pack);
            }
        }
    }

    #[test]
    fn pieces_are_filled_and_never_overrun() {
        let mut locations = Locations::default();
        for pack in 0..3_000 {
            let blobs: Vec<_> = (0..40u32)
                .map(|at| {
                    let blob_type = BlobType::Data;
                    IndexBlob { id: Id([0; 32]), blob_type, offset: at * 100_000, length: 100_000, uncompressed_length: pack }
                })
                .collect();
            let encoded = Encoded::new(&blobs);
            assert_eq!(locations.append(pack, &encoded), Some(pack * 64));
        }
        assert!(locations.lengths.len() > 1 && locations.lengths[1..].iter().all(|piece| piece.capacity() == PIECE));
        let last = locations.get(2_999 * 64 + 39);
        assert_eq!((last.pack, last.offset, last.uncompressed_length), (2_999, 3_900_000, 2_999));
        // 3 + 2 bytes of lengths, and two groups a pack of forty.
        assert!(locations.heap_bytes() < 3_000 * 40 * 6 + 2 * PIECE, "{}", locations.heap_bytes());
    }
}
