//! A blob that is made piece by piece, of which only the compressed bytes are held.

use zstd::stream::raw::{Encoder, Operation};
use zstd::zstd_safe::CParameter;

use super::compress::LEVEL;
use crate::BlobId;
use crate::crypto::RunningHash;
use crate::error::{Error, Result};
use crate::limits::MAX_STORED_TREE;

/// Bytes of one part of what is held: a vector that doubles would take up to three times as much.
const PART: usize = 1 << 20;

/// Sums and compresses the plain bytes as they come.
pub(super) struct BlobWriter {
    hash: RunningHash,
    plain: u64,
    /// `None` where blobs are not compressed (version 1).
    encoder: Option<Encoder<'static>>,
    parts: Parts,
}

/// A finished blob, not sealed yet.
#[derive(Debug)]
pub(super) struct WrittenBlob {
    pub id: BlobId,
    pub plain_length: u32,
    pub is_compressed: bool,
    pub parts: Vec<Vec<u8>>,
    /// Bytes of all parts.
    pub length: usize,
}

#[derive(Default)]
struct Parts {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
    used: usize,
}

impl BlobWriter {
    pub fn new(compress: bool) -> Result<Self> {
        let encoder = if compress { Some(encoder().map_err(Error::internal)?) } else { None };
        Ok(Self { hash: RunningHash::new(), plain: 0, encoder, parts: Parts::default() })
    }

    /// Adds plain bytes.
    ///
    /// # Errors
    /// [`Error::BeyondLimit`] if it becomes longer than the format can say or than we would read.
    pub fn write(&mut self, plain: &[u8]) -> Result<()> {
        self.plain += plain.len() as u64;
        bound("size of a tree", self.plain, u32::MAX.into())?;
        self.hash.update(plain);
        let mut rest = plain;
        while !rest.is_empty() {
            let room = self.parts.room();
            let (taken, made) = match &mut self.encoder {
                Some(encoder) => {
                    let step = encoder.run_on_buffers(rest, room).map_err(Error::internal)?;
                    (step.bytes_read, step.bytes_written)
                }
                None => {
                    let count = rest.len().min(room.len());
                    room[..count].copy_from_slice(&rest[..count]);
                    (count, count)
                }
            };
            self.parts.used += made;
            rest = &rest[taken..];
        }
        bound("stored size of a tree", self.parts.length() as u64, MAX_STORED_TREE as u64)
    }

    /// The blob.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn finish(mut self) -> Result<WrittenBlob> {
        let is_compressed = self.encoder.is_some();
        if let Some(encoder) = &mut self.encoder {
            loop {
                let mut out = zstd::zstd_safe::OutBuffer::around(self.parts.room());
                let remaining = encoder.finish(&mut out, true).map_err(Error::internal)?;
                let made = out.pos();
                self.parts.used += made;
                if remaining == 0 {
                    break;
                }
            }
        }
        let length = self.parts.length();
        bound("stored size of a tree", length as u64, MAX_STORED_TREE as u64)?;
        let plain_length = u32::try_from(self.plain).map_err(Error::internal)?;
        Ok(WrittenBlob { id: self.hash.finish(), plain_length, is_compressed, parts: self.parts.finish(), length })
    }
}

impl Parts {
    /// Room for more, never none.
    fn room(&mut self) -> &mut [u8] {
        if self.used == self.last.len() {
            let full = std::mem::replace(&mut self.last, vec![0; PART]);
            if !full.is_empty() {
                self.full.push(full);
            }
            self.used = 0;
        }
        &mut self.last[self.used..]
    }

    fn length(&self) -> usize {
        self.full.len() * PART + self.used
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        self.last.truncate(self.used);
        self.full.push(self.last);
        self.full
    }
}

fn encoder() -> std::io::Result<Encoder<'static>> {
    let mut encoder = Encoder::new(LEVEL)?;
    // The blob's own sum says more than zstd's.
    encoder.set_parameter(CParameter::ChecksumFlag(false))?;
    Ok(encoder)
}

fn bound(what: &'static str, found: u64, limit: u64) -> Result<()> {
    if found > limit { Err(Error::BeyondLimit { what, found, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::format::Id;

    #[test]
    fn pieces_give_the_blob_and_its_sum() {
        let plain: Vec<u8> =
            (0_u32..900_000).flat_map(|number| (number.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect();
        for compress in [true, false] {
            let mut writer = BlobWriter::new(compress).unwrap();
            for piece in plain.chunks(77_777) {
                writer.write(piece).unwrap();
            }
            let blob = writer.finish().unwrap();
            let stored = blob.parts.concat();
            assert_eq!((blob.id, blob.plain_length as usize, blob.length), (Id::of(&plain), plain.len(), stored.len()));
            assert!(blob.parts.len() > 2);
            let opened = if compress { zstd::bulk::decompress(&stored, plain.len()).unwrap() } else { stored };
            assert!(opened == plain);
        }
    }
}
