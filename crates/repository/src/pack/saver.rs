//! Saving blobs from any number of threads: hash, claim, compress, seal, verify, pack.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;

use super::PackBuilder;
use super::compress::with_codec;
use super::open::BlobScratch;
use super::upload::{Uploads, upload};
use crate::buffer::BufferPool;
use crate::control::{Control, Counters};
use crate::error::{Error, Result};
use crate::format::{BlobType, Id};
use crate::index::{Index, IndexWriter};
use crate::limits;
use crate::lock::LockHandle;
use crate::{BlobId, Repository};

/// How packs are made and uploaded.
#[derive(Debug, Clone, Copy)]
pub struct SaverOptions {
    /// A pack is closed at this size, in bytes; kept within restic's bounds.
    pub pack_size: u32,
    /// Data packs that are filled at a time: about one for each core.
    pub open_packs: usize,
    /// Uploads in flight at most.
    pub uploads_in_flight: usize,
    /// Bytes of packs in upload at most; producers wait when they are used up.
    pub upload_memory: usize,
    /// Whether blobs may be compressed; version 1 never does.
    pub compress: bool,
    /// Whether the size of each pack is asked for after its upload.
    pub verify_uploads: bool,
}

impl Default for SaverOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            pack_size: limits::DEFAULT_PACK_SIZE,
            open_packs: cores.min(4),
            uploads_in_flight: limits::UPLOADS_IN_FLIGHT,
            upload_memory: limits::UPLOAD_MEMORY,
            compress: true,
            verify_uploads: true,
        }
    }
}

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedBlob {
    /// The blob.
    pub id: BlobId,
    /// Whether this call stored it; else the repository, or another thread, had it.
    pub is_new: bool,
    /// Bytes it takes in its pack; 0 if not new.
    pub stored: u32,
}

/// What a saver has stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SaveTotals {
    /// New data blobs.
    pub data_blobs: u64,
    /// New tree blobs.
    pub tree_blobs: u64,
    /// Plain bytes of the new blobs.
    pub bytes_added: u64,
    /// Stored bytes of the new blobs.
    pub bytes_stored: u64,
    /// Packs acknowledged by the store.
    pub packs: u64,
}

/// Saves blobs into a repository. Cheap to clone; all clones share the open packs.
#[derive(Debug, Clone)]
pub struct BlobSaver {
    shared: Arc<Shared>,
}

type PackSlot = Mutex<Option<PackBuilder>>;

pub(super) struct Shared {
    pub repository: Repository,
    pub index: Arc<Index>,
    pub lock: LockHandle,
    pub control: Control,
    pub options: SaverOptions,
    pub index_writer: IndexWriter,
    pub uploads: Uploads,
    runtime: Handle,
    pool: Arc<BufferPool>,
    data: Vec<PackSlot>,
    tree: Vec<PackSlot>,
    failed: AtomicBool,
    failure: Mutex<Option<Error>>,
    data_blobs: AtomicU64,
    tree_blobs: AtomicU64,
    bytes_added: AtomicU64,
    bytes_stored: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

thread_local! {
    static SCRATCH: RefCell<BlobScratch> = RefCell::default();
}

impl Repository {
    /// A saver that works under `lock` and enters what it stores into `index`. Call it within a runtime, on which uploads run.
    ///
    /// # Errors
    /// [`Error::LockLost`]; [`Error::Internal`] if the index holds claims of a saver that failed.
    pub fn blob_saver(&self, index: Arc<Index>, lock: LockHandle, options: SaverOptions, control: &Control) -> Result<BlobSaver> {
        lock.check()?;
        if index.is_spoiled() {
            return Err(Error::internal("the index has claims that were not kept; load it anew"));
        }
        let runtime = Handle::try_current().map_err(Error::internal)?;
        let slots = |count: usize| (0..count.max(1)).map(|_| Mutex::new(None)).collect();
        let options = SaverOptions {
            pack_size: options.pack_size.clamp(limits::MIN_PACK_SIZE, limits::MAX_PACK_SIZE),
            compress: options.compress && self.version() >= 2,
            ..options
        };
        Ok(BlobSaver {
            shared: Arc::new(Shared {
                repository: self.clone(),
                index,
                lock,
                control: control.clone(),
                index_writer: IndexWriter::default(),
                uploads: Uploads::new(options.uploads_in_flight, options.upload_memory),
                runtime,
                pool: Arc::default(),
                data: slots(options.open_packs),
                tree: slots(1),
                failed: AtomicBool::new(false),
                failure: Mutex::new(None),
                data_blobs: AtomicU64::new(0),
                tree_blobs: AtomicU64::new(0),
                bytes_added: AtomicU64::new(0),
                bytes_stored: AtomicU64::new(0),
                options,
            }),
        })
    }
}

impl BlobSaver {
    /// Saves a blob unless the repository has it. Blocks the thread: for hashing and sealing, and while uploads are behind.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::LockLost`], or what made this or an earlier upload fail. The saver is of no use then.
    pub fn save_blob(&self, blob_type: BlobType, plain: &[u8]) -> Result<SavedBlob> {
        self.save_blob_with_id(blob_type, Id::of(plain), plain)
    }

    /// The same for a blob whose sum is known; it is verified with all else before the upload.
    ///
    /// # Errors
    /// As [`Self::save_blob`].
    pub fn save_blob_with_id(&self, blob_type: BlobType, id: BlobId, plain: &[u8]) -> Result<SavedBlob> {
        let shared = &self.shared;
        shared.check()?;
        let length = u32::try_from(plain.len()).map_err(Error::internal)?;
        if !shared.index.claim(blob_type, &id, length) {
            return Ok(SavedBlob { id, is_new: false, stored: 0 });
        }
        match shared.store(blob_type, id, plain) {
            Ok(stored) => {
                shared.count(blob_type, plain.len() as u64, stored.into());
                Ok(SavedBlob { id, is_new: true, stored })
            }
            Err(error) => Err(shared.fail(error)),
        }
    }

    /// Adds a blob as it stands, sealed, in another pack, whether or not the index has it. For prune.
    pub(crate) fn move_sealed(&self, entry: crate::format::HeaderEntry, sealed: &[u8]) -> Result<()> {
        let shared = &self.shared;
        shared.check()?;
        let moved = shared.fill(entry.blob_type, |pack| pack.append_sealed(entry, sealed));
        moved.map_err(|error| shared.fail(error))
    }

    /// Whether the repository has the blob, or will have it by this run.
    #[must_use]
    pub fn is_known(&self, blob_type: BlobType, id: &BlobId) -> bool {
        self.shared.index.contains(blob_type, id)
    }

    /// The index that it adds to.
    #[must_use]
    pub fn index(&self) -> &Arc<Index> {
        &self.shared.index
    }

    /// The index files written so far.
    pub(crate) fn index_files(&self) -> Vec<crate::IndexId> {
        self.shared.index_writer.written()
    }

    /// What was stored so far.
    #[must_use]
    pub fn totals(&self) -> SaveTotals {
        self.shared.totals()
    }

    /// Closes all packs, waits until the store has acknowledged everything, and writes the rest of the index.
    ///
    /// It works after cancellation as well, so that work done is work kept, but gives up after [`limits::CANCELLED_FLUSH`].
    ///
    /// # Errors
    /// What made an upload fail; [`Error::Cancelled`] if the time after a cancellation was not enough.
    pub async fn flush(&self) -> Result<SaveTotals> {
        let shared = &self.shared;
        let work = shared.flush();
        if !shared.control.cancelled().is_cancelled() {
            tokio::pin!(work);
            tokio::select! {
                flushed = &mut work => return flushed,
                () = shared.control.cancelled().cancelled() => {}
            }
            return tokio::time::timeout(limits::CANCELLED_FLUSH, work).await.unwrap_or(Err(Error::Cancelled));
        }
        tokio::time::timeout(limits::CANCELLED_FLUSH, work).await.unwrap_or(Err(Error::Cancelled))
    }

    /// [`Self::flush`] for a thread outside the runtime.
    ///
    /// # Errors
    /// As there.
    pub fn flush_blocking(&self) -> Result<SaveTotals> {
        self.shared.runtime.block_on(self.flush())
    }
}

impl Shared {
    fn check(&self) -> Result<()> {
        if self.failed.load(Relaxed) {
            return Err(self.failure());
        }
        self.control.check()?;
        self.lock.check()
    }

    /// Remembers the first failure and says it to whoever comes next.
    pub fn fail(&self, error: Error) -> Error {
        self.index.spoil();
        let mut failure = self.failure.lock();
        let first = failure.get_or_insert(error).clone();
        self.failed.store(true, Relaxed);
        first
    }

    fn failure(&self) -> Error {
        self.failure.lock().clone().unwrap_or_else(|| Error::internal("the saver failed before"))
    }

    fn count(&self, blob_type: BlobType, plain: u64, stored: u64) {
        let counters = self.control.counters();
        let (own, shown) = match blob_type {
            BlobType::Data => (&self.data_blobs, &counters.blobs_new_data),
            BlobType::Tree => (&self.tree_blobs, &counters.blobs_new_tree),
        };
        for (counter, amount) in [
            (own, 1),
            (shown, 1),
            (&self.bytes_added, plain),
            (&counters.bytes_added, plain),
            (&self.bytes_stored, stored),
            (&counters.bytes_stored, stored),
        ] {
            Counters::add(counter, amount);
        }
    }

    fn totals(&self) -> SaveTotals {
        SaveTotals {
            data_blobs: self.data_blobs.load(Relaxed),
            tree_blobs: self.tree_blobs.load(Relaxed),
            bytes_added: self.bytes_added.load(Relaxed),
            bytes_stored: self.bytes_stored.load(Relaxed),
            packs: self.uploads.acknowledged(),
        }
    }

    fn store(self: &Arc<Self>, blob_type: BlobType, id: BlobId, plain: &[u8]) -> Result<u32> {
        let cipher = self.repository.cipher();
        self.fill(blob_type, |pack| {
            SCRATCH.with_borrow_mut(|scratch| {
                with_codec(|codec| pack.append((blob_type, id, plain), self.options.compress, codec, cipher, scratch))?
            })
        })
    }

    /// Lets `add` put something into an open pack, and sends the pack off if it is full then.
    fn fill<T>(self: &Arc<Self>, blob_type: BlobType, add: impl FnOnce(&mut PackBuilder) -> Result<T>) -> Result<T> {
        let mut slot = pick(if blob_type == BlobType::Data { &self.data } else { &self.tree });
        let pack_size = self.options.pack_size as usize;
        let pack = slot.get_or_insert_with(|| PackBuilder::new(&self.pool, pack_size));
        let added = add(pack)?;
        if pack.is_full(pack_size)
            && let Some(full) = slot.take()
        {
            drop(slot);
            self.send(full)?;
        }
        Ok(added)
    }

    /// Closes a pack and hands it to the uploads; waits while they are behind.
    fn send(self: &Arc<Self>, pack: PackBuilder) -> Result<()> {
        let finished = pack.finish(self.repository.cipher())?;
        self.uploads.wait_for_room(finished.bytes.used(), &self.control)?;
        self.runtime.spawn(upload(Arc::clone(self), finished));
        Ok(())
    }

    async fn flush(self: &Arc<Self>) -> Result<SaveTotals> {
        if self.failed.load(Relaxed) {
            return Err(self.failure());
        }
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || shared.close_packs())
            .await
            .map_err(Error::internal)?
            .map_err(|error| self.fail(error))?;
        self.uploads.wait_until_idle().await;
        if self.failed.load(Relaxed) {
            return Err(self.failure());
        }
        self.lock.check()?;
        self.index_writer.write(&self.repository, self.index_writer.rest()).await.map_err(|error| self.fail(error))?;
        Ok(self.totals())
    }

    /// Sends off all open packs, small ones together.
    fn close_packs(self: &Arc<Self>) -> Result<()> {
        for slots in [&self.data, &self.tree] {
            let mut open: Vec<PackBuilder> = slots.iter().filter_map(|slot| slot.lock().take()).collect();
            open.sort_by_key(PackBuilder::size);
            let mut merged: Option<PackBuilder> = None;
            for pack in open {
                merged = Some(match merged {
                    Some(mut target) if target.size() + pack.size() <= self.options.pack_size as usize => {
                        target.append_pack(&pack)?;
                        target
                    }
                    Some(full) => {
                        self.send(full)?;
                        pack
                    }
                    None => pack,
                });
            }
            if let Some(last) = merged {
                self.send(last)?;
            }
        }
        Ok(())
    }
}

/// The first pack that nobody is filling, so that few threads fill few packs; if all are taken, one by this thread's turn.
fn pick(slots: &[PackSlot]) -> MutexGuard<'_, Option<PackBuilder>> {
    thread_local! {
        static TURN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }
    slots.iter().find_map(Mutex::try_lock).unwrap_or_else(|| {
        let turn = TURN.get();
        TURN.set(turn.wrapping_add(1));
        slots[turn % slots.len()].lock()
    })
}
