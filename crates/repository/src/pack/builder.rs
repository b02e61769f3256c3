//! A pack while it is being filled.

use std::sync::Arc;

use zstd::zstd_safe;

use super::blob_writer::WrittenBlob;
use super::compress::Codec;
use super::open::{BlobScratch, WRONG_SUM, open_unchecked};
use super::plain_stream::verify_in_pieces;
use crate::BlobId;
use crate::buffer::{BufferPool, PooledBuffer};
use crate::crypto::{Cipher, RunningHash};
use crate::error::{Error, Result};
use crate::format::{BlobType, HeaderEntry, IndexBlob, IndexPack, PACK_TRAILER, SEAL_OVERHEAD, header_entry_size, write_header};
use crate::limits::MAX_PACK_ENTRIES;

/// Room beyond the pack size for the last blob and the header; a bigger blob makes the buffer grow.
pub(super) const ROOM: usize = 9 << 20;

/// A finished pack: its bytes, its id and what an index says about it.
#[derive(Debug)]
pub(crate) struct FinishedPack {
    pub bytes: PooledBuffer,
    pub index: IndexPack,
}

/// A pack that takes more blobs.
pub(crate) struct PackBuilder {
    buffer: PooledBuffer,
    entries: Vec<HeaderEntry>,
    header: usize,
    digest: RunningHash,
}

impl PackBuilder {
    pub fn new(pool: &Arc<BufferPool>, pack_size: usize) -> Self {
        Self::in_buffer(pool.take(pack_size + ROOM))
    }

    /// A pack for one large blob of this length before sealing.
    pub fn for_one(length: usize) -> Self {
        Self::in_buffer(PooledBuffer::alone(length + SEAL_OVERHEAD + SEAL_OVERHEAD + PACK_TRAILER + header_entry_size(true)))
    }

    fn in_buffer(buffer: PooledBuffer) -> Self {
        Self { buffer, entries: Vec::new(), header: SEAL_OVERHEAD + PACK_TRAILER, digest: RunningHash::new() }
    }

    /// Bytes of the pack if it were finished now.
    pub fn size(&self) -> usize {
        self.buffer.used() + self.header
    }

    pub fn is_full(&self, pack_size: usize) -> bool {
        self.size() >= pack_size || self.entries.len() >= MAX_PACK_ENTRIES
    }

    /// Compresses (if it may and it pays), seals, verifies and appends a blob. Returns its stored length.
    ///
    /// Verifying means: open what was just sealed, decompress it, and compare the sum. Whatever flips a bit between here and the
    /// source - memory, zstd, the cipher - must not reach the store (engine §4.2).
    pub fn append(
        &mut self,
        blob: (BlobType, BlobId, &[u8]),
        compress: bool,
        codec: &mut Codec,
        cipher: &Cipher,
        scratch: &mut BlobScratch,
    ) -> Result<u32> {
        let (blob_type, id, plain) = blob;
        let spare = self.buffer.spare(zstd_safe::compress_bound(plain.len()).max(plain.len()) + SEAL_OVERHEAD);
        let body = &mut spare[SEAL_OVERHEAD / 2..];
        let mut compressed = None;
        // Trees are always compressed in version 2; restic repacks those that are not.
        if compress && !plain.is_empty() && (blob_type == BlobType::Tree || codec.is_compressible(plain)) {
            compressed = codec.compress_into(plain, body).filter(|length| blob_type == BlobType::Tree || *length < plain.len());
        }
        let length = compressed.unwrap_or_else(|| {
            body[..plain.len()].copy_from_slice(plain);
            plain.len()
        });
        let too_big = |_| Error::BeyondLimit { what: "size of a blob", found: plain.len() as u64, limit: u32::MAX.into() };
        let stored = length + SEAL_OVERHEAD;
        let entry = HeaderEntry {
            id,
            blob_type,
            length: u32::try_from(stored).map_err(too_big)?,
            uncompressed_length: if compressed.is_some() { u32::try_from(plain.len()).map_err(too_big)? } else { 0 },
        };
        u32::try_from(self.buffer.used() + stored).map_err(too_big)?;
        let sealed = &mut self.buffer.spare(stored)[..stored];
        cipher.seal_in_place(sealed)?;
        let failed = |reason| Error::VerificationFailed { id, reason };
        let opened = open_unchecked(cipher, codec, sealed, (blob_type, entry.uncompressed_length), scratch).map_err(failed)?;
        let mut digest = self.digest.clone();
        if digest.update_with(sealed, opened) != id {
            return Err(failed(WRONG_SUM.into()));
        }
        self.digest = digest;
        self.take(entry, stored);
        Ok(entry.length)
    }

    /// Seals, verifies and appends a blob that was made in pieces; they go as they are copied. Verifying goes in pieces too.
    pub fn append_written(&mut self, blob: WrittenBlob, cipher: &Cipher) -> Result<u32> {
        let WrittenBlob { id, plain_length, is_compressed, parts, length } = blob;
        let too_big = |_| Error::BeyondLimit { what: "size of a blob", found: length as u64, limit: u32::MAX.into() };
        let stored = length + SEAL_OVERHEAD;
        let uncompressed_length = if is_compressed { plain_length } else { 0 };
        let entry =
            HeaderEntry { id, blob_type: BlobType::Tree, length: u32::try_from(stored).map_err(too_big)?, uncompressed_length };
        u32::try_from(self.buffer.used() + stored).map_err(too_big)?;
        let sealed = &mut self.buffer.spare(stored)[..stored];
        let mut at = SEAL_OVERHEAD / 2;
        for part in parts {
            sealed[at..at + part.len()].copy_from_slice(&part);
            at += part.len();
        }
        cipher.seal_in_place(sealed)?;
        let failed = |reason| Error::VerificationFailed { id, reason };
        verify_in_pieces(cipher, sealed, (id, uncompressed_length)).map_err(failed)?;
        self.digest.update(sealed);
        self.take(entry, stored);
        Ok(entry.length)
    }

    /// Appends a blob as it stands in another pack; what is sealed may be moved, for its place is not part of it. The caller
    /// has verified it.
    pub fn append_sealed(&mut self, entry: HeaderEntry, sealed: &[u8]) -> Result<()> {
        u32::try_from(self.buffer.used() + sealed.len()).map_err(Error::internal)?;
        self.buffer.spare(sealed.len())[..sealed.len()].copy_from_slice(sealed);
        self.digest.update(sealed);
        self.take(entry, sealed.len());
        Ok(())
    }

    /// Appends all blobs of another pack.
    pub fn append_pack(&mut self, other: &Self) -> Result<()> {
        let mut rest = other.buffer.as_ref();
        for entry in &other.entries {
            let (sealed, tail) = rest
                .split_at_checked(entry.length as usize)
                .ok_or_else(|| Error::internal("a pack's entries are beyond its end"))?;
            self.append_sealed(*entry, sealed)?;
            rest = tail;
        }
        Ok(())
    }

    fn take(&mut self, entry: HeaderEntry, stored: usize) {
        self.buffer.advance(stored);
        self.header += header_entry_size(entry.uncompressed_length != 0);
        self.entries.push(entry);
    }

    /// Writes the header behind the blobs and closes the pack.
    pub fn finish(mut self, cipher: &Cipher) -> Result<FinishedPack> {
        let header = cipher.seal(&write_header(&self.entries))?;
        let length = u32::try_from(header.len()).map_err(Error::internal)?;
        let end = [header.as_slice(), &length.to_le_bytes()].concat();
        self.buffer.spare(end.len())[..end.len()].copy_from_slice(&end);
        self.buffer.advance(end.len());
        self.digest.update(&end);
        let id = self.digest.finish();
        let mut offset = 0;
        let blobs = self
            .entries
            .iter()
            .map(|entry| {
                let blob = IndexBlob {
                    id: entry.id,
                    blob_type: entry.blob_type,
                    offset,
                    length: entry.length,
                    uncompressed_length: entry.uncompressed_length,
                };
                offset += entry.length;
                blob
            })
            .collect();
        Ok(FinishedPack { bytes: self.buffer, index: IndexPack { id, blobs } })
    }
}
