//! The header of a pack, which stands at its end: `[blobs…][sealed header][length of the sealed header, 4 bytes]`.

use super::{BlobType, Id, IndexBlob, SEAL_OVERHEAD};
use crate::limits::MAX_PACK_HEADER;

/// Bytes after the sealed header: its length.
pub const PACK_TRAILER: usize = 4;

const PLAIN_ENTRY: usize = 1 + 4 + 32;
const COMPRESSED_ENTRY: usize = 1 + 4 + 4 + 32;

/// An entry of a header, in the order of the blobs in the pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderEntry {
    /// The blob.
    pub id: Id,
    /// Data or tree.
    pub blob_type: BlobType,
    /// Bytes in the pack, sealing included.
    pub length: u32,
    /// Bytes after decompression; 0 if not compressed.
    pub uncompressed_length: u32,
}

/// Bytes that a header entry takes.
#[must_use]
pub fn header_entry_size(compressed: bool) -> usize {
    if compressed { COMPRESSED_ENTRY } else { PLAIN_ENTRY }
}

/// The header's plain bytes for the blobs of a pack.
#[must_use]
pub fn write_header(entries: &[HeaderEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * COMPRESSED_ENTRY + SEAL_OVERHEAD + PACK_TRAILER);
    for entry in entries {
        let compressed = entry.uncompressed_length != 0;
        let kind: u8 = match (entry.blob_type, compressed) {
            (BlobType::Data, false) => 0,
            (BlobType::Tree, false) => 1,
            (BlobType::Data, true) => 2,
            (BlobType::Tree, true) => 3,
        };
        out.push(kind);
        out.extend_from_slice(&entry.length.to_le_bytes());
        if compressed {
            out.extend_from_slice(&entry.uncompressed_length.to_le_bytes());
        }
        out.extend_from_slice(&entry.id.0);
    }
    out
}

/// Parses a header's plain bytes; offsets are computed from the blobs' lengths.
///
/// `blobs_end` is where the sealed header begins in the pack: the blobs must fill the pack up to there.
///
/// # Errors
/// A sentence on what is wrong.
pub fn parse_header(mut plain: &[u8], blobs_end: u64) -> Result<Vec<IndexBlob>, String> {
    if plain.len() > MAX_PACK_HEADER as usize {
        return Err(format!("the header has {} bytes", plain.len()));
    }
    let mut blobs = Vec::with_capacity(plain.len() / PLAIN_ENTRY);
    let mut offset: u64 = 0;
    while let Some(&kind) = plain.first() {
        let (blob_type, compressed) = match kind {
            0 => (BlobType::Data, false),
            1 => (BlobType::Tree, false),
            2 => (BlobType::Data, true),
            3 => (BlobType::Tree, true),
            other => return Err(format!("the header has an entry of unknown type {other}")),
        };
        let (entry, rest) = plain.split_at_checked(header_entry_size(compressed)).ok_or("the header ends within an entry")?;
        plain = rest;
        let word = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&entry[at..at + 4]);
            u32::from_le_bytes(bytes)
        };
        let length = word(1);
        let uncompressed_length = if compressed { word(5) } else { 0 };
        let mut id = [0; 32];
        id.copy_from_slice(&entry[entry.len() - 32..]);
        if (length as usize) < SEAL_OVERHEAD {
            return Err(format!("blob {} has {length} bytes", Id(id)));
        }
        let start = u32::try_from(offset).map_err(|_| "the pack is beyond 4 GiB".to_owned())?;
        blobs.push(IndexBlob { id: Id(id), blob_type, offset: start, length, uncompressed_length });
        offset += u64::from(length);
    }
    if offset != blobs_end {
        return Err(format!("the blobs take {offset} bytes of {blobs_end}"));
    }
    Ok(blobs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(lengths in proptest::collection::vec((32u32..100_000, any::<bool>(), any::<bool>(), any::<[u8; 32]>()), 0..50)) {
            let entries: Vec<_> = lengths.iter().map(|(length, tree, compressed, id)| HeaderEntry {
                id: Id(*id),
                blob_type: if *tree { BlobType::Tree } else { BlobType::Data },
                length: *length,
                uncompressed_length: if *compressed { length * 2 } else { 0 },
            }).collect();
            let end: u64 = entries.iter().map(|entry| u64::from(entry.length)).sum();
            let blobs = parse_header(&write_header(&entries), end).unwrap();
            prop_assert_eq!(blobs.len(), entries.len());
            let mut offset = 0;
            for (blob, entry) in blobs.iter().zip(&entries) {
                prop_assert_eq!(blob.offset, offset);
                prop_assert_eq!((blob.id, blob.blob_type, blob.length, blob.uncompressed_length),
                    (entry.id, entry.blob_type, entry.length, entry.uncompressed_length));
                offset += blob.length;
            }
            prop_assert!(parse_header(&write_header(&entries), end + 1).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), end in 0u64..1000) {
            let _ = parse_header(&bytes, end);
        }
    }
}
