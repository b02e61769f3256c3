//! Reading blobs.

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::open::with_scratch;
use super::tree_cache::TreeCache;
use super::{FetchedPack, PackedBlob, open_blob};
use crate::control::{Control, Event};
use crate::error::{Error, Result};
use crate::format::{BlobType, Tree};
use crate::index::{BlobLocation, Index};
use crate::memory::MemoryBudget;
use crate::objects::FileType;
use crate::{BlobId, PackId, Repository, TreeId};

/// Reads blobs of one repository. Cheap to clone; the clones share a cache of parts of tree packs.
#[derive(Debug, Clone)]
pub struct BlobReader {
    repository: Repository,
    index: Arc<Index>,
    control: Control,
    trees: TreeCache,
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
            trees: TreeCache::new(self.memory()),
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

    pub(crate) fn memory(&self) -> &MemoryBudget {
        self.repository.memory()
    }

    /// Reads one blob. Every copy that the index knows is tried before it is given up.
    ///
    /// # Errors
    /// [`Error::BlobUnreadable`] if there is no readable copy; of the store if it does not let us look; [`Error::Cancelled`].
    pub async fn load_blob(&self, blob_type: BlobType, id: &BlobId) -> Result<Bytes> {
        self.load_with(blob_type, id, Bytes::copy_from_slice).await
    }

    /// Reads one blob and makes something of it where it lies.
    async fn load_with<T>(&self, blob_type: BlobType, id: &BlobId, make: impl Fn(&[u8]) -> T) -> Result<T> {
        let unreadable = |reason: String| Error::BlobUnreadable { blob_type, id: *id, reason };
        let Some(first) = self.index.locate(blob_type, id) else {
            return Err(unreadable("the index does not have it".into()));
        };
        let first_error = match self.load_copy(blob_type, id, &first, &make).await {
            Ok(made) => return Ok(made),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => error,
        };
        for copy in self.index.other_copies(blob_type, id) {
            if let Ok(made) = self.load_copy(blob_type, id, &copy, &make).await {
                self.control.emit(Event::Damaged { key: FileType::Pack.key(&first.pack), reason: first_error.to_string() });
                return Ok(made);
            }
        }
        if first_error.is_damage() { Err(unreadable(first_error.to_string())) } else { Err(first_error) }
    }

    async fn load_copy<T>(
        &self,
        blob_type: BlobType,
        id: &BlobId,
        location: &BlobLocation,
        make: impl Fn(&[u8]) -> T,
    ) -> Result<T> {
        let (start, end) = (u64::from(location.offset), u64::from(location.offset) + u64::from(location.length));
        let (repository, pack) = (&self.repository, location.pack);
        let key = || FileType::Pack.key(&pack);
        let sealed = match blob_type {
            BlobType::Tree => self.trees.read(repository, pack, start, end, &self.control).await?,
            BlobType::Data => repository.objects().get_range(&pack, start, end, &self.control).await?,
        };
        with_scratch(|scratch| {
            let opened = open_blob(repository.cipher(), &sealed, (blob_type, *id, location.uncompressed_length), scratch)?;
            opened.map(make).map_err(|reason| Error::damaged(key(), format!("blob {id}: {reason}")))
        })
    }

    /// Reads and parses a tree.
    ///
    /// # Errors
    /// As [`Self::load_blob`], or [`Error::InvalidTree`].
    pub async fn load_tree(&self, id: &TreeId) -> Result<Tree> {
        self.load_with(BlobType::Tree, id, Tree::parse).await?
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
