//! Saving blobs from any number of threads: hash, claim, compress, seal, verify, pack.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::PackBuilder;
use super::blob_writer::WrittenBlob;
use super::builder::ROOM;
use super::compress::with_codec;
use super::flush::write_index_in_time;
use super::open::BlobScratch;
use super::upload::{Uploads, upload};
use crate::buffer::BufferPool;
use crate::control::{Control, Counters};
use crate::error::{Error, Result};
use crate::format::{BlobType, Id};
use crate::index::{Index, IndexWriter};
use crate::limits;
use crate::lock::LockHandle;
use crate::memory::Share;
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

impl SaverOptions {
    /// Bytes of a pack that is filled.
    fn pack_memory(&self) -> u64 {
        (self.pack_size as usize + ROOM) as u64
    }

    /// Bytes of all packs that are filled: those of data and the one of trees.
    fn filling_memory(&self) -> u64 {
        self.pack_memory() * (self.open_packs as u64 + 1)
    }

    /// All that a saver holds at most, in bytes.
    fn memory(&self) -> u64 {
        self.filling_memory() + (self.upload_memory as u64).max(self.pack_memory())
    }

    /// The same in at most so many bytes: fewer packs are filled at a time, then smaller ones, and the rest is for uploads.
    fn within(self, bytes: u64) -> Self {
        let upload_memory = bytes.saturating_sub(self.filling_memory()).min(self.upload_memory as u64);
        if upload_memory >= self.pack_memory() {
            Self { upload_memory: usize::try_from(upload_memory).unwrap_or(usize::MAX), ..self }
        } else if self.open_packs > 1 {
            Self { open_packs: self.open_packs - 1, ..self }.within(bytes)
        } else if self.pack_size > limits::MIN_PACK_SIZE {
            Self { pack_size: (self.pack_size / 2).max(limits::MIN_PACK_SIZE), ..self }.within(bytes)
        } else {
            Self { upload_memory: self.pack_size as usize, ..self }
        }
    }

    /// The least with which packs can be made.
    fn least_memory() -> u64 {
        Self { pack_size: limits::MIN_PACK_SIZE, open_packs: 1, upload_memory: 0, ..Self::default() }.memory()
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
    /// Bytes of these packs.
    pub pack_bytes: u64,
}

/// Saves blobs into a repository. Cheap to clone; all clones share the open packs.
#[derive(Debug, Clone)]
pub struct BlobSaver {
    shared: Arc<Shared>,
}

pub(super) type PackSlot = Mutex<Option<PackBuilder>>;

pub(super) struct Shared {
    pub repository: Repository,
    pub index: Arc<Index>,
    pub lock: LockHandle,
    pub control: Control,
    pub options: SaverOptions,
    pub index_writer: IndexWriter,
    pub uploads: Uploads,
    /// Cancelled when nothing more may be written: the saver is gone, or its flush has given up.
    pub ended: CancellationToken,
    /// Held for as long as there may be packs.
    _memory: Share,
    pub data: Vec<PackSlot>,
    pub tree: Vec<PackSlot>,
    runtime: Handle,
    pool: Arc<BufferPool>,
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
            open_packs: options.open_packs.max(1),
            compress: options.compress && self.version() >= 2,
            ..options
        };
        let memory = self.memory().draw(SaverOptions::least_memory(), options.memory());
        let options = options.within(memory.bytes());
        let shared = Arc::new(Shared {
            repository: self.clone(),
            index,
            lock,
            control: control.clone(),
            index_writer: IndexWriter::default(),
            uploads: Uploads::new(options.uploads_in_flight, options.upload_memory),
            ended: CancellationToken::new(),
            _memory: memory,
            data: slots(options.open_packs),
            tree: slots(1),
            runtime,
            pool: Arc::default(),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            data_blobs: AtomicU64::new(0),
            tree_blobs: AtomicU64::new(0),
            bytes_added: AtomicU64::new(0),
            bytes_stored: AtomicU64::new(0),
            options,
        });
        shared.runtime.spawn(write_index_in_time(Arc::downgrade(&shared), shared.ended.clone()));
        Ok(BlobSaver { shared })
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

    /// Saves a tree that was made in pieces unless the repository has it. Only now its id is known, so it is claimed now.
    pub(super) fn save_written(&self, blob: WrittenBlob) -> Result<SavedBlob> {
        let shared = &self.shared;
        shared.check()?;
        let (id, plain_length) = (blob.id, blob.plain_length);
        if !shared.index.claim(BlobType::Tree, &id, plain_length) {
            return Ok(SavedBlob { id, is_new: false, stored: 0 });
        }
        match shared.store_written(blob) {
            Ok(stored) => {
                shared.count(BlobType::Tree, plain_length.into(), stored.into());
                Ok(SavedBlob { id, is_new: true, stored })
            }
            Err(error) => Err(shared.fail(error)),
        }
    }

    /// Whether blobs are compressed.
    pub(super) fn compresses(&self) -> bool {
        self.shared.options.compress
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
    /// Whatever happens, the packs that the store has are indexed if it lets us: work done is work kept. After a cancellation
    /// uploads go on for [`limits::CANCELLED_UPLOADS`] and are then given up.
    ///
    /// # Errors
    /// What made an upload fail; [`Error::Cancelled`] if the time after a cancellation was not enough.
    pub async fn flush(&self) -> Result<SaveTotals> {
        self.shared.flush().await?;
        Ok(self.totals())
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
        if self.has_failed() {
            return Err(self.failure());
        }
        self.control.check()?;
        self.lock.check()
    }

    /// Remembers the first failure and says it to whoever comes next. A cancellation is none: what is packed can still be
    /// uploaded and indexed. Either way the index has claims from now on that may not be kept.
    pub fn fail(&self, error: Error) -> Error {
        self.index.spoil();
        if matches!(error, Error::Cancelled) {
            return error;
        }
        let mut failure = self.failure.lock();
        let first = failure.get_or_insert(error).clone();
        self.failed.store(true, Relaxed);
        first
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    pub fn failure(&self) -> Error {
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
        let (packs, pack_bytes) = self.uploads.acknowledged();
        SaveTotals {
            data_blobs: self.data_blobs.load(Relaxed),
            tree_blobs: self.tree_blobs.load(Relaxed),
            bytes_added: self.bytes_added.load(Relaxed),
            bytes_stored: self.bytes_stored.load(Relaxed),
            packs,
            pack_bytes,
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

    /// A large blob is a pack of its own, in a buffer of its size: the open one would have to grow.
    fn store_written(self: &Arc<Self>, blob: WrittenBlob) -> Result<u32> {
        let cipher = self.repository.cipher();
        if blob.length < self.options.pack_size as usize / 2 {
            return self.fill(BlobType::Tree, |pack| pack.append_written(blob, cipher));
        }
        let mut pack = PackBuilder::for_one(blob.length);
        let stored = pack.append_written(blob, cipher)?;
        self.send(pack)?;
        Ok(stored)
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
    pub fn send(self: &Arc<Self>, pack: PackBuilder) -> Result<()> {
        let finished = pack.finish(self.repository.cipher())?;
        self.uploads.wait_for_room(finished.bytes.used(), &self.control)?;
        self.runtime.spawn(upload(Arc::clone(self), finished));
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.ended.cancel();
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

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Engine §5: with less memory uploads wait sooner, then fewer packs are filled at a time, then smaller ones.
    #[test]
    fn a_saver_keeps_within_its_share() {
        let all = SaverOptions { open_packs: 4, ..SaverOptions::default() };
        let within = |mebibytes: u64| {
            let options = all.within(mebibytes * MIB);
            (options.open_packs, u64::from(options.pack_size) / MIB, options.upload_memory as u64 / MIB)
        };
        assert_eq!(all.memory(), (5 * 25 + 64) * MIB);
        assert_eq!(within(1000), (4, 16, 64));
        assert_eq!(within(170), (4, 16, 45));
        assert_eq!(within(100), (2, 16, 25));
        assert_eq!(within(60), (1, 8, 26));
        assert_eq!(within(39), (1, 4, 13));
        assert_eq!(within(0), (1, 4, 4), "the least, of which a pack alone may always be uploaded");
        assert_eq!(SaverOptions::least_memory(), 39 * MIB);
        for mebibytes in 39..300 {
            let options = all.within(mebibytes * MIB);
            assert!(options.memory() <= mebibytes * MIB, "{mebibytes} MiB: {options:?}");
        }
    }
}
