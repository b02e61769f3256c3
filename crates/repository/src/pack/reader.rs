//! Reading blobs.

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::open::BlobScratch;
use super::tree_cache::TreeCache;
use super::{FetchedPack, PackedBlob, open_blob};
use crate::control::{Control, Event};
use crate::error::{Error, Result};
use crate::format::{BlobType, Tree};
use crate::index::{BlobLocation, Index};
use crate::objects::FileType;
use crate::{BlobId, PackId, Repository, TreeId};

/// Reads blobs of one repository. Cheap to clone; the clones share a cache of tree packs.
#[derive(Debug, Clone)]
pub struct BlobReader {
    repository: Repository,
    index: Arc<Index>,
    control: Control,
    trees: Arc<TreeCache>,
    runtime: Handle,
}

impl Repository {
    /// A reader over a loaded index. Call it within a runtime.
    #[must_use]
    pub fn blob_reader(&self, index: Arc<Index>, control: &Control) -> BlobReader {
        BlobReader {
            repository: self.clone(),
            index,
            control: control.clone(),
            trees: Arc::default(),
            runtime: Handle::current(),
        }
    }
}

impl BlobReader {
    /// The index that it reads by.
    #[must_use]
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Reads one blob. Every copy that the index knows is tried before it is given up.
    ///
    /// # Errors
    /// [`Error::BlobUnreadable`] if there is no readable copy; of the store if it does not let us look; [`Error::Cancelled`].
    pub async fn load_blob(&self, blob_type: BlobType, id: &BlobId) -> Result<Bytes> {
        let unreadable = |reason: String| Error::BlobUnreadable { blob_type, id: *id, reason };
        let Some(first) = self.index.locate(blob_type, id) else {
            return Err(unreadable("the index does not have it".into()));
        };
        let first_error = match self.load_copy(blob_type, id, &first).await {
            Ok(plain) => return Ok(plain),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => error,
        };
        for copy in self.index.other_copies(blob_type, id) {
            if let Ok(plain) = self.load_copy(blob_type, id, &copy).await {
                self.control.emit(Event::Damaged { key: FileType::Pack.key(&first.pack), reason: first_error.to_string() });
                return Ok(plain);
            }
        }
        if first_error.is_damage() { Err(unreadable(first_error.to_string())) } else { Err(first_error) }
    }

    async fn load_copy(&self, blob_type: BlobType, id: &BlobId, location: &BlobLocation) -> Result<Bytes> {
        let (start, end) = (u64::from(location.offset), u64::from(location.offset) + u64::from(location.length));
        let whole = match blob_type {
            BlobType::Tree => self.trees.pack(&self.repository, &location.pack, &self.control).await?,
            BlobType::Data => None,
        };
        let key = || FileType::Pack.key(&location.pack);
        let sealed = match whole {
            Some(pack) if pack.len() as u64 >= end => {
                pack.slice(location.offset as usize..location.offset as usize + location.length as usize)
            }
            Some(_) => return Err(Error::damaged(key(), "it ends before the blob")),
            None => self.repository.objects().get_range(&location.pack, start, end, &self.control).await?,
        };
        let mut scratch = BlobScratch::default();
        let opened = open_blob(self.repository.cipher(), &sealed, (blob_type, *id, location.uncompressed_length), &mut scratch)?;
        opened.map(Bytes::copy_from_slice).map_err(|reason| Error::damaged(key(), format!("blob {id}: {reason}")))
    }

    /// Reads and parses a tree.
    ///
    /// # Errors
    /// As [`Self::load_blob`], or [`Error::InvalidTree`].
    pub async fn load_tree(&self, id: &TreeId) -> Result<Tree> {
        Tree::parse(&self.load_blob(BlobType::Tree, id).await?)
    }

    /// Reads the parts of a pack that hold these blobs; open them with [`FetchedPack::decode`].
    ///
    /// # Errors
    /// Of the store. Other copies are the caller's business: [`Self::load_blob`] tries them.
    pub async fn fetch_pack(&self, pack: PackId, wanted: &[PackedBlob]) -> Result<FetchedPack> {
        FetchedPack::read(&self.repository, pack, wanted, &self.control).await
    }

    /// [`Self::load_blob`] for a thread outside the runtime.
    ///
    /// # Errors
    /// As there.
    pub fn load_blob_blocking(&self, blob_type: BlobType, id: &BlobId) -> Result<Bytes> {
        self.runtime.block_on(self.load_blob(blob_type, id))
    }

    /// [`Self::load_tree`] for a thread outside the runtime.
    ///
    /// # Errors
    /// As there.
    pub fn load_tree_blocking(&self, id: &TreeId) -> Result<Tree> {
        self.runtime.block_on(self.load_tree(id))
    }

    /// [`Self::fetch_pack`] for a thread outside the runtime.
    ///
    /// # Errors
    /// As there.
    pub fn fetch_pack_blocking(&self, pack: PackId, wanted: &[PackedBlob]) -> Result<FetchedPack> {
        self.runtime.block_on(self.fetch_pack(pack, wanted))
    }
}
