//! From the sealed bytes of a blob to its plain ones, each step checked.

use std::cell::RefCell;

use super::compress::{Codec, with_codec};
use crate::BlobId;
use crate::crypto::Cipher;
use crate::error::Result;
use crate::format::{BlobType, Id};
use crate::limits;

/// Buffers for opening blobs, used again and again by one thread.
#[derive(Debug, Default)]
pub struct BlobScratch {
    opened: Vec<u8>,
    plain: Vec<u8>,
}

/// A thread's buffers go back to the system if they grew beyond this.
const MOST_SCRATCH: usize = 4 << 20;

thread_local! {
    static SCRATCH: RefCell<BlobScratch> = RefCell::default();
}

/// Lends this thread's buffers.
pub(super) fn with_scratch<T>(work: impl FnOnce(&mut BlobScratch) -> T) -> T {
    let mut scratch = SCRATCH.take();
    let made = work(&mut scratch);
    if scratch.opened.capacity().max(scratch.plain.capacity()) <= MOST_SCRATCH {
        SCRATCH.set(scratch);
    }
    made
}

/// Opens, decompresses and checks the sum of a blob with this thread's codec.
///
/// # Errors
/// The inner one is a sentence on what is wrong with the blob.
pub(crate) fn open_blob<'a>(
    cipher: &Cipher,
    sealed: &[u8],
    blob: (BlobType, BlobId, u32),
    scratch: &'a mut BlobScratch,
) -> Result<Result<&'a [u8], String>> {
    let (blob_type, id, uncompressed_length) = blob;
    with_codec(|codec| {
        let plain = open_unchecked(cipher, codec, sealed, (blob_type, uncompressed_length), scratch)?;
        if Id::of(plain) == id || planted!(BlobsUnverified) { Ok(plain) } else { Err(WRONG_SUM.into()) }
    })
}

/// What is said of a blob whose content is not what its id says.
pub(crate) const WRONG_SUM: &str = "its content does not have the sum that its id says";

/// All but the sum, with a codec at hand. `blob` is its type and its length after decompression, 0 if it is not compressed.
pub(crate) fn open_unchecked<'a>(
    cipher: &Cipher,
    codec: &mut Codec,
    sealed: &[u8],
    blob: (BlobType, u32),
    scratch: &'a mut BlobScratch,
) -> Result<&'a [u8], String> {
    let (blob_type, uncompressed_length) = blob;
    let most = limits::most_whole_bytes(blob_type);
    if sealed.len().max(uncompressed_length as usize) > most + crate::format::SEAL_OVERHEAD {
        return Err(format!("it is beyond the limit of {most} bytes"));
    }
    cipher.open_into(sealed, &mut scratch.opened).map_err(|error| error.to_string())?;
    if uncompressed_length == 0 {
        return Ok(&scratch.opened);
    }
    codec.decompress_exact(&scratch.opened, uncompressed_length as usize, &mut scratch.plain)?;
    Ok(&scratch.plain)
}
