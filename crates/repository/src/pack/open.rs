//! From the sealed bytes of a blob to its plain ones, each step checked.

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
        if Id::of(plain) == id { Ok(plain) } else { Err(WRONG_SUM.into()) }
    })
}

/// What is said of a blob whose content is not what its id says.
pub(super) const WRONG_SUM: &str = "its content does not have the sum that its id says";

/// All but the sum, with a codec at hand. `blob` is its type and its length after decompression, 0 if it is not compressed.
pub(super) fn open_unchecked<'a>(
    cipher: &Cipher,
    codec: &mut Codec,
    sealed: &[u8],
    blob: (BlobType, u32),
    scratch: &'a mut BlobScratch,
) -> Result<&'a [u8], String> {
    let (blob_type, uncompressed_length) = blob;
    let most = match blob_type {
        BlobType::Data => limits::MAX_DATA_BLOB,
        BlobType::Tree => limits::MAX_TREE_BLOB,
    };
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
