//! Reading blobs.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::open::with_scratch;
use super::tree_cache::TreeCache;
use super::tree_nodes::{Held, TreeNodes};
use super::{FetchedPack, PackedBlob, open_blob};
use crate::control::{Control, Event};
use crate::error::{Error, Result};
use crate::format::{BlobType, Tree};
use crate::index::{BlobLocation, Index};
use crate::limits;
use crate::memory::MemoryBudget;
use crate::objects::FileType;
use crate::{BlobId, PackId, Repository, TreeId};

/// Reads blobs of one repository. Cheap to clone; the clones share a cache of parts of tree packs.
#[derive(Debug, Clone)]
pub struct BlobReader {
    pub(super) repository: Repository,
    index: Arc<Index>,
    control: Control,
    trees: TreeCache,
    /// A tree of more plain bytes than this is read as a stream.
    whole_trees: u32,
    /// Bytes of the large trees that are open.
    open_trees: Arc<AtomicU64>,
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
            whole_trees: limits::STREAMED_TREE,
            open_trees: Arc::default(),
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
        self.with_any_copy(blob_type, id, |location| self.load_copy(blob_type, id, location, &make)).await
    }

    /// Makes something of one copy of a blob, of the first with which it can be done.
    pub(super) async fn with_any_copy<T, F: Future<Output = Result<T>>>(
        &self,
        blob_type: BlobType,
        id: &BlobId,
        read: impl Fn(BlobLocation) -> F,
    ) -> Result<T> {
        let unreadable = |reason: String| Error::BlobUnreadable { blob_type, id: *id, reason };
        let Some(first) = self.index.locate(blob_type, id) else {
            return Err(unreadable("the index does not have it".into()));
        };
        let first_error = match read(first).await {
            Ok(made) => return Ok(made),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => error,
        };
        for copy in self.index.other_copies(blob_type, id) {
            if let Ok(made) = read(copy).await {
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
        location: BlobLocation,
        make: impl Fn(&[u8]) -> T,
    ) -> Result<T> {
        let (repository, pack) = (&self.repository, location.pack);
        let key = || FileType::Pack.key(&pack);
        let sealed = self.read_sealed(blob_type, &location).await?;
        with_scratch(|scratch| {
            let opened = open_blob(repository.cipher(), &sealed, (blob_type, *id, location.uncompressed_length), scratch)?;
            opened.map(make).map_err(|reason| Error::damaged(key(), format!("blob {id}: {reason}")))
        })
    }

    pub(super) async fn read_sealed(&self, blob_type: BlobType, location: &BlobLocation) -> Result<Bytes> {
        let (start, end) = (u64::from(location.offset), u64::from(location.offset) + u64::from(location.length));
        let (repository, pack) = (&self.repository, location.pack);
        match blob_type {
            BlobType::Tree => self.trees.read(repository, pack, start, end, &self.control).await,
            BlobType::Data => repository.objects().get_range(&pack, start, end, &self.control).await,
        }
    }

    /// The nodes of a tree: one of the usual size is read and parsed now, a large one is then read as a stream.
    ///
    /// # Errors
    /// As [`Self::load_tree`]; [`Error::BeyondLimit`] if too many large trees are open.
    pub async fn tree_nodes(&self, id: &TreeId) -> Result<TreeNodes> {
        match self.index.plain_length(BlobType::Tree, id) {
            Some(length) if length > self.whole_trees => {
                self.with_any_copy(BlobType::Tree, id, |location| self.stream_copy(*id, location)).await
            }
            _ => self.load_tree(id).await.map(TreeNodes::from),
        }
    }

    async fn stream_copy(&self, id: TreeId, location: BlobLocation) -> Result<TreeNodes> {
        let held = Held::take(self.repository.memory(), &self.open_trees, location.length.into())?;
        let sealed = self.read_sealed(BlobType::Tree, &location).await?;
        TreeNodes::stream(&self.repository, sealed, (id, location.uncompressed_length), held)
            .map_err(|reason| Error::damaged(FileType::Pack.key(&location.pack), format!("blob {id}: {reason}")))
    }

    /// [`Self::tree_nodes`] for a thread outside the runtime.
    ///
    /// # Errors
    /// As there.
    pub fn tree_nodes_blocking(&self, id: &TreeId) -> Result<TreeNodes> {
        self.block_on(self.tree_nodes(id))
    }

    /// Waits on a thread outside the runtime.
    pub(super) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    /// Reads trees of more plain bytes than this as streams. A seam for tests.
    #[must_use]
    pub fn with_whole_trees(mut self, most: u32) -> Self {
        self.whole_trees = most;
        self
    }

    /// Reads and parses a tree. [`Self::tree_nodes`] is for trees of any size.
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
        self.block_on(self.load_blob(blob_type, id))
    }

    /// [`Self::load_tree`] for a thread outside the runtime.
    ///
    /// # Errors
    /// As there.
    pub fn load_tree_blocking(&self, id: &TreeId) -> Result<Tree> {
        self.block_on(self.load_tree(id))
    }

    /// [`Self::fetch_pack`] for a thread outside the runtime.
    ///
    /// # Errors
    /// As there.
    pub fn fetch_pack_blocking(&self, pack: PackId, wanted: &[PackedBlob]) -> Result<FetchedPack> {
        self.block_on(self.fetch_pack(pack, wanted))
    }
}
