//! A blob that is opened piece by piece: what is held is its sealed bytes, a piece and the window of zstd.

use zstd::stream::raw::{Decoder, Operation};
use zstd::zstd_safe::DParameter;

use super::compress::MAX_WINDOW_LOG;
use super::open::WRONG_SUM;
use crate::BlobId;
use crate::crypto::{CIPHER_BLOCK, Cipher, RunningHash};
use crate::format::SEAL_OVERHEAD;

/// Bytes opened at a time, and most plain bytes given out at a time.
const PIECE: usize = 128 << 10;
const _: () = assert!(PIECE.is_multiple_of(CIPHER_BLOCK));

/// The plain bytes of a sealed blob. Its authenticator was compared before anything else, so that they come from somebody with
/// the repository's key; that they are all of the blob is known only at the end, when its length and its sum are compared.
pub(crate) struct PlainStream<S> {
    sealed: S,
    /// The sum that there must be, if it is known beforehand.
    id: Option<BlobId>,
    /// Bytes without the sealing.
    body: usize,
    /// How many of them were opened.
    at: usize,
    opened: Vec<u8>,
    /// How many of those opened last were used.
    used: usize,
    decoder: Option<Decoder<'static>>,
    /// The decoder is at the end of a frame.
    is_frame_done: bool,
    /// Plain bytes that there must be, and those that there were.
    length: u64,
    done: u64,
    hash: RunningHash,
}

impl<S: AsRef<[u8]>> PlainStream<S> {
    /// Checks the authenticator. `blob` is the id and the length after decompression, 0 if it is not compressed.
    ///
    /// # Errors
    /// A sentence on what is wrong with the blob.
    pub fn open(cipher: &Cipher, sealed: S, (id, uncompressed_length): (BlobId, u32)) -> Result<Self, String> {
        Self::begin(cipher, sealed, Some(id), uncompressed_length)
    }

    fn begin(cipher: &Cipher, sealed: S, id: Option<BlobId>, uncompressed_length: u32) -> Result<Self, String> {
        cipher.check(sealed.as_ref()).map_err(|error| error.to_string())?;
        let body = sealed.as_ref().len().saturating_sub(SEAL_OVERHEAD);
        let is_compressed = uncompressed_length != 0;
        Ok(Self {
            body,
            sealed,
            id,
            at: 0,
            opened: Vec::new(),
            used: 0,
            decoder: if is_compressed { Some(decoder().map_err(|error| zstd_failed(&error))?) } else { None },
            is_frame_done: true,
            length: if is_compressed { uncompressed_length.into() } else { body as u64 },
            done: 0,
            hash: RunningHash::new(),
        })
    }

    /// Appends some more plain bytes to `out`; `false` at the end, when the blob has turned out to be what its id says.
    ///
    /// # Errors
    /// A sentence on what is wrong with the blob.
    pub fn next_piece(&mut self, cipher: &Cipher, out: &mut Vec<u8>) -> Result<bool, String> {
        let start = out.len();
        match &self.decoder {
            Some(_) => self.decompress(cipher, out)?,
            None => {
                self.open_more(cipher)?;
                out.extend_from_slice(&self.opened);
            }
        }
        let piece = &out[start..];
        if piece.is_empty() {
            return self.finish().map(|()| false);
        }
        self.done += piece.len() as u64;
        if self.done > self.length {
            return Err(format!("it decompresses to more than {} bytes", self.length));
        }
        self.hash.update(piece);
        Ok(true)
    }

    fn open_more(&mut self, cipher: &Cipher) -> Result<(), String> {
        let opened = cipher.open_part(self.sealed.as_ref(), self.at, PIECE, &mut self.opened);
        opened.map_err(|error| error.to_string())?;
        self.at += self.opened.len();
        self.used = 0;
        Ok(())
    }

    /// Appends up to a piece; nothing only at the end.
    fn decompress(&mut self, cipher: &Cipher, out: &mut Vec<u8>) -> Result<(), String> {
        let start = out.len();
        out.resize(start + PIECE, 0);
        let mut written = 0;
        while written == 0 {
            if self.used == self.opened.len() && self.at < self.body {
                self.open_more(cipher)?;
            }
            let input = &self.opened[self.used..];
            let Some(decoder) = self.decoder.as_mut().filter(|_| !input.is_empty() || !self.is_frame_done) else { break };
            let step = decoder.run_on_buffers(input, &mut out[start..]).map_err(|error| zstd_failed(&error))?;
            self.used += step.bytes_read;
            self.is_frame_done = step.remaining == 0;
            written = step.bytes_written;
            if step.bytes_read == 0 && written == 0 {
                return Err("it ends in the middle of a frame".to_owned());
            }
        }
        out.truncate(start + written);
        Ok(())
    }

    fn finish(&self) -> Result<(), String> {
        if self.done != self.length {
            return Err(format!("it decompresses to {} bytes instead of {}", self.done, self.length));
        }
        if self.id.is_some_and(|id| self.sum() != id) && !planted!(BlobsUnverified) {
            return Err(WRONG_SUM.to_owned());
        }
        Ok(())
    }

    /// The sum of all plain bytes so far.
    fn sum(&self) -> BlobId {
        self.hash.clone().finish()
    }

    /// Goes through all of it.
    fn exhaust(&mut self, cipher: &Cipher) -> Result<(), String> {
        let mut piece = Vec::with_capacity(PIECE);
        while self.next_piece(cipher, &mut piece)? {
            piece.clear();
        }
        Ok(())
    }
}

fn decoder() -> std::io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
    Ok(decoder)
}

fn zstd_failed(error: &std::io::Error) -> String {
    format!("zstd: {error}")
}

/// Opens all of a blob in pieces, only to see that it is well.
///
/// # Errors
/// A sentence on what is wrong with it.
pub(crate) fn verify_in_pieces(cipher: &Cipher, sealed: &[u8], blob: (BlobId, u32)) -> Result<(), String> {
    PlainStream::open(cipher, sealed, blob)?.exhaust(cipher)
}

/// Opens all of a blob in pieces, for the sum of its plain bytes: which blob that is must be known to somebody else.
///
/// # Errors
/// A sentence on what is wrong with it.
pub(crate) fn sum_in_pieces(cipher: &Cipher, sealed: &[u8], uncompressed_length: u32) -> Result<BlobId, String> {
    let mut stream = PlainStream::begin(cipher, sealed, None, uncompressed_length)?;
    stream.exhaust(cipher)?;
    Ok(stream.sum())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::crypto::MasterKey;
    use crate::format::Id;

    fn cipher() -> Cipher {
        Cipher::new(&MasterKey::random().unwrap()).unwrap()
    }

    fn read(cipher: &Cipher, sealed: &[u8], blob: (Id, u32)) -> Result<Vec<u8>, String> {
        let mut stream = PlainStream::open(cipher, sealed, blob)?;
        let mut plain = Vec::new();
        while stream.next_piece(cipher, &mut plain)? {}
        Ok(plain)
    }

    fn text(length: usize) -> Vec<u8> {
        (0_u64..).flat_map(|number| format!("line {} of {number}\n", number * number % 977).into_bytes()).take(length).collect()
    }

    #[test]
    fn pieces_make_the_blob_compressed_or_not() {
        let cipher = cipher();
        for length in [1, PIECE - 1, PIECE, PIECE + 1, 3_000_000] {
            let plain = text(length);
            let id = Id::of(&plain);
            let compressed = zstd::bulk::compress(&plain, 3).unwrap();
            let length = u32::try_from(length).unwrap();
            assert_eq!(read(&cipher, &cipher.seal(&compressed).unwrap(), (id, length)).unwrap(), plain);
            assert_eq!(read(&cipher, &cipher.seal(&plain).unwrap(), (id, 0)).unwrap(), plain);
        }
    }

    /// Reliability S-42: bytes that are not ours, frames that end early or never, and another content than the id says.
    #[test]
    fn what_is_not_the_blob_is_refused() {
        let cipher = cipher();
        let plain = text(1_000_000);
        let (id, length) = (Id::of(&plain), 1_000_000);
        let compressed = zstd::bulk::compress(&plain, 3).unwrap();
        let says = |body: &[u8], blob: (Id, u32)| read(&cipher, &cipher.seal(body).unwrap(), blob).unwrap_err();
        let mut flipped = cipher.seal(&compressed).unwrap();
        flipped[40] ^= 1;
        assert!(read(&cipher, &flipped, (id, length)).unwrap_err().contains("authenticator"));
        assert!(says(&compressed[..compressed.len() / 2], (id, length)).contains("middle of a frame"));
        assert!(says(&compressed, (id, length + 1)).contains("instead of"));
        assert!(says(&compressed, (id, length - 1)).contains("more than"));
        assert_eq!(says(&compressed, (Id::of(b"other"), length)), WRONG_SUM);
        assert_eq!(says(&plain, (Id::of(b"other"), 0)), WRONG_SUM);
        assert!(says(b"no frame", (id, length)).contains("zstd"));
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        assert!(says(&bomb, (id, 1 << 20)).contains("more than"));
        assert!(says(&[compressed.as_slice(), &compressed].concat(), (id, length)).contains("more than"));
    }

    #[test]
    fn a_blob_is_verified_without_being_held() {
        let cipher = cipher();
        let plain = text(500_000);
        let sealed = cipher.seal(&zstd::bulk::compress(&plain, 3).unwrap()).unwrap();
        assert_eq!(verify_in_pieces(&cipher, &sealed, (Id::of(&plain), 500_000)), Ok(()));
        assert!(verify_in_pieces(&cipher, &sealed, (Id::of(b"x"), 500_000)).is_err());
        assert_eq!(sum_in_pieces(&cipher, &sealed, 500_000), Ok(Id::of(&plain)));
        assert!(sum_in_pieces(&cipher, &sealed, 499_999).is_err() && sum_in_pieces(&cipher, &sealed[1..], 500_000).is_err());
        assert_eq!(sum_in_pieces(&cipher, &cipher.seal(&plain).unwrap(), 0), Ok(Id::of(&plain)));
    }
}
