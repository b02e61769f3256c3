//! zstd with contexts that are made once per thread.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{self, CParameter, DParameter};

use crate::error::{Error, Result};

/// zstd's level for blobs; what restic's default corresponds to.
pub(super) const LEVEL: i32 = 3;

/// A blob of at least this size is probed before it is compressed.
const PROBE_FROM: usize = 64 << 10;
/// Three pieces of this size are compressed quickly as a probe: at the start, in the middle and at the end.
const PROBE_PIECE: usize = 8 << 10;
/// The blob is stored as it is if the pieces shrink by less than one part in this many.
const PROBE_GAIN: usize = 50;

/// Bytes that are handed out at a time of what is decompressed part by part; zstd makes as many of a block.
const PART: usize = 128 << 10;

/// The greatest window that is accepted from a frame, as a power of two. restic's encoder and ours stay at 8 MiB and below.
pub(super) const MAX_WINDOW_LOG: u32 = 27;

/// A thread's compressors.
pub struct Codec {
    compressor: Compressor<'static>,
    probe: Compressor<'static>,
    decompressor: Decompressor<'static>,
    probe_out: Vec<u8>,
}

thread_local! {
    static CODEC: RefCell<Option<Codec>> = const { RefCell::new(None) };
}

/// Lends this thread's codec.
///
/// # Errors
/// [`Error::Internal`] if zstd cannot allocate its contexts, or within a loan.
pub fn with_codec<T>(work: impl FnOnce(&mut Codec) -> T) -> Result<T> {
    CODEC.with(|cell| {
        let mut slot = cell.try_borrow_mut().map_err(Error::internal)?;
        let codec = match slot.as_mut() {
            Some(codec) => codec,
            None => slot.insert(Codec::new()?),
        };
        Ok(work(codec))
    })
}

impl Codec {
    fn new() -> Result<Self> {
        let mut compressor = Compressor::new(LEVEL).map_err(Error::internal)?;
        // The blob's own sum says more than zstd's, and the length stands in the index.
        compressor.set_parameter(CParameter::ChecksumFlag(false)).map_err(Error::internal)?;
        let probe = Compressor::new(1).map_err(Error::internal)?;
        let mut decompressor = Decompressor::new().map_err(Error::internal)?;
        decompressor.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(Error::internal)?;
        Ok(Self { compressor, probe, decompressor, probe_out: vec![0; zstd_safe::compress_bound(PROBE_PIECE)] })
    }

    /// Whether compressing is worth the time: a quick look at three pieces of a big blob.
    pub fn is_compressible(&mut self, plain: &[u8]) -> bool {
        if plain.len() < PROBE_FROM {
            return true;
        }
        let starts = [0, plain.len() / 2 - PROBE_PIECE / 2, plain.len() - PROBE_PIECE];
        let mut total = 0;
        for start in starts {
            match self.probe.compress_to_buffer(&plain[start..start + PROBE_PIECE], self.probe_out.as_mut_slice()) {
                Ok(length) => total += length,
                Err(_) => return true,
            }
        }
        total < starts.len() * PROBE_PIECE * (PROBE_GAIN - 1) / PROBE_GAIN
    }

    /// Compresses into `out`; the length of the result, or `None` if it does not fit there.
    pub fn compress_into(&mut self, plain: &[u8], out: &mut [u8]) -> Option<usize> {
        self.compressor.compress_to_buffer(plain, out).ok()
    }

    /// Compresses and appends to `out`.
    ///
    /// # Errors
    /// Of zstd. The bound is its own, so the result always fits, but memory may be short.
    pub fn compress_append(&mut self, plain: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
        let start = out.len();
        out.resize(start + zstd_safe::compress_bound(plain.len()), 0);
        let length = self.compressor.compress_to_buffer(plain, &mut out[start..])?;
        out.truncate(start + length);
        Ok(())
    }

    /// Decompresses a frame whose plain length is known; refuses any other length.
    ///
    /// # Errors
    /// A sentence on what is wrong with the frame.
    pub fn decompress_exact(&mut self, compressed: &[u8], plain_length: usize, out: &mut Vec<u8>) -> Result<(), String> {
        out.resize(plain_length, 0);
        let length =
            self.decompressor.decompress_to_buffer(compressed, out.as_mut_slice()).map_err(|error| format!("zstd: {error}"))?;
        if length != plain_length {
            return Err(format!("it decompresses to {length} bytes instead of {plain_length}"));
        }
        Ok(())
    }
}

/// Decompresses frames whose length is known only from themselves, up to `most` bytes, and hands them out part by part.
///
/// # Errors
/// A sentence on what is wrong with the frames, or what `take` has to say of a part.
pub fn decompress_in_parts(
    compressed: &[u8],
    most: usize,
    mut take: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    use std::io::Read as _;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed).map_err(|error| format!("zstd: {error}"))?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(|error| format!("zstd: {error}"))?;
    let mut part = vec![0; PART];
    let mut total = 0;
    loop {
        let length = decoder.read(&mut part).map_err(|error| format!("zstd: {error}"))?;
        total += length;
        if total > most {
            return Err(format!("it decompresses to more than {most} bytes"));
        }
        if length == 0 {
            return Ok(());
        }
        take(&part[..length])?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect()
    }

    #[test]
    fn the_probe_tells_noise_from_text() {
        with_codec(|codec| {
            assert!(!codec.is_compressible(&noise(1 << 20)));
            assert!(codec.is_compressible(&b"some line of a log file\n".repeat(1 << 15)));
            assert!(codec.is_compressible(&noise(1000)), "small blobs are not probed");
        })
        .unwrap();
    }

    /// S-42: a frame that would grow beyond what the index says, or beyond a bound, is refused before it does.
    #[test]
    fn bombs_are_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
        with_codec(|codec| {
            let mut out = Vec::new();
            assert!(codec.decompress_exact(&bomb, 1 << 20, &mut out).is_err());
            assert!(out.capacity() <= 2 << 20);
            assert!(codec.decompress_exact(b"not zstd", 10, &mut out).is_err());
        })
        .unwrap();
        let mut handed_out = 0;
        let take = |part: &[u8]| {
            handed_out += part.len();
            Ok(())
        };
        assert!(decompress_in_parts(&bomb, 1 << 20, take).is_err());
        assert!(handed_out <= 1 << 20);
        assert!(decompress_in_parts(b"not zstd", 10, |_| Ok(())).is_err());
        assert!(decompress_in_parts(&bomb, 64 << 20, |_| Err("enough".into())).is_err());
    }

    #[test]
    fn both_ways() {
        let plain = b"abcabcabcabcabcabcabcabcabcabc".repeat(1000);
        with_codec(|codec| {
            let mut sealed = vec![9];
            codec.compress_append(&plain, &mut sealed).unwrap();
            let mut out = Vec::new();
            codec.decompress_exact(&sealed[1..], plain.len(), &mut out).unwrap();
            assert_eq!(out, plain);
            out.clear();
            let take = |part: &[u8]| {
                out.extend_from_slice(part);
                Ok(())
            };
            decompress_in_parts(&sealed[1..], plain.len(), take).unwrap();
            assert_eq!(out, plain);
        })
        .unwrap();
    }
}
