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
pub(crate) fn open_blob<'a>(cipher: &Cipher, sealed: &[u8], blob: (BlobType, BlobId, u32), scratch: &'a mut BlobScratch) -> Result<Result<&'a [u8], String>> {
    with_codec(|codec| open_with(cipher, codec, sealed, blob, scratch))
}

/// The same with a codec at hand. `blob` is its type, its id and its length after decompression, 0 if it is not compressed.
pub(super) fn open_with<'a>(
    cipher: &Cipher,
    codec: &mut Codec,
    sealed: &[u8],
    blob: (BlobType, BlobId, u32),
    scratch: &'a mut BlobScratch,
) -> Result<&'a [u8], String> {
    let (blob_type, id, uncompressed_length) = blob;
    let most = match blob_type {
        BlobType::Data => limits::MAX_DATA_BLOB,
        BlobType::Tree => limits::MAX_TREE_BLOB,
    };
    if sealed.len().max(uncompressed_length as usize) > most + crate::format::SEAL_OVERHEAD {
        return Err(format!("it is beyond the limit of {most} bytes"));
    }
    cipher.open_into(sealed, &mut scratch.opened).map_err(|error| error.to_string())?;
    let plain = if uncompressed_length == 0 {
        &scratch.opened
    } else {
        codec.decompress_exact(&scratch.opened, uncompressed_length as usize, &mut scratch.plain)?;
        &scratch.plain
    };
    if Id::of(plain) != id {
        return Err("its content does not have the sum that its id says".into());
    }
    Ok(plain)
}
