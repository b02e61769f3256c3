//! Copies of blobs that are well: looked at without being held open, and stored anew in place of others.

use bytes::Bytes;

use super::open::{BlobScratch, with_scratch};
use super::{BlobReader, BlobSaver, is_streamed, open_blob, verify_in_pieces};
use crate::BlobId;
use crate::crypto::Cipher;
use crate::error::{Error, Result};
use crate::format::{BlobType, HeaderEntry};
use crate::index::BlobLocation;
use crate::objects::FileType;

/// Sees that a sealed blob is well; a large tree is not held whole for it. `blob` is its type, its id and its length after
/// decompression, 0 if it is not compressed.
///
/// # Errors
/// The inner one is a sentence on what is wrong with the blob.
pub(crate) fn verify_blob(
    cipher: &Cipher,
    sealed: &[u8],
    blob: (BlobType, BlobId, u32),
    scratch: &mut BlobScratch,
) -> Result<Result<(), String>> {
    let (blob_type, id, uncompressed_length) = blob;
    let stored = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
    if is_streamed(blob_type, if uncompressed_length == 0 { stored } else { uncompressed_length }) {
        return Ok(verify_in_pieces(cipher, sealed, (id, uncompressed_length)));
    }
    Ok(open_blob(cipher, sealed, blob, scratch)?.map(|_| ()))
}

/// A copy of a blob that was read and is well.
pub(crate) enum GoodCopy {
    Plain(BlobType, BlobId, Bytes),
    /// A large tree as it stands in its pack: its plain bytes are too many to be held.
    Sealed(HeaderEntry, Bytes),
}

impl BlobReader {
    /// The first copy of a blob that can be read.
    ///
    /// # Errors
    /// As [`Self::load_blob`].
    pub(crate) async fn good_copy(&self, blob_type: BlobType, id: &BlobId) -> Result<GoodCopy> {
        match self.index().plain_length(blob_type, id) {
            Some(length) if is_streamed(blob_type, length) => {
                self.with_any_copy(blob_type, id, |location| self.sealed_copy(blob_type, *id, location)).await
            }
            _ => Ok(GoodCopy::Plain(blob_type, *id, self.load_blob(blob_type, id).await?)),
        }
    }

    async fn sealed_copy(&self, blob_type: BlobType, id: BlobId, location: BlobLocation) -> Result<GoodCopy> {
        let sealed = self.read_sealed(blob_type, &location).await?;
        let BlobLocation { pack, length, uncompressed_length, .. } = location;
        let (repository, examined) = (self.repository.clone(), sealed.clone());
        let what = (blob_type, id, uncompressed_length);
        // It takes a second or more of a processor.
        let examining = move || with_scratch(|scratch| verify_blob(repository.cipher(), &examined, what, scratch));
        let verified = tokio::task::spawn_blocking(examining).await.map_err(Error::internal)??;
        verified.map_err(|reason| Error::damaged(FileType::Pack.key(&pack), format!("blob {id}: {reason}")))?;
        Ok(GoodCopy::Sealed(HeaderEntry { id, blob_type, length, uncompressed_length }, sealed))
    }

    /// [`Self::good_copy`] for a thread outside the runtime.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn good_copy_blocking(&self, blob_type: BlobType, id: &BlobId) -> Result<GoodCopy> {
        self.block_on(self.good_copy(blob_type, id))
    }
}

impl BlobSaver {
    /// Stores a copy anew.
    ///
    /// # Errors
    /// As [`Self::save_blob`].
    pub(crate) fn save_copy(&self, copy: &GoodCopy) -> Result<()> {
        match copy {
            GoodCopy::Plain(blob_type, id, plain) => self.save_blob_with_id(*blob_type, *id, plain).map(|_| ()),
            GoodCopy::Sealed(entry, sealed) => self.move_sealed(*entry, sealed),
        }
    }
}
