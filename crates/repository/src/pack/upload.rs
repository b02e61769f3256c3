//! Uploading packs in the background, several at a time, in bounded memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::builder::FinishedPack;
use super::saver::Shared;
use crate::control::{Control, Counters};
use crate::error::{Error, Result};
use crate::limits;
use crate::objects::FileType;

/// How often a waiting producer looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct InFlight {
    packs: usize,
    bytes: usize,
}

/// What is in upload, and the bound on it.
#[derive(Debug)]
pub(super) struct Uploads {
    most_packs: usize,
    most_bytes: usize,
    in_flight: Mutex<InFlight>,
    room: Condvar,
    idle: Notify,
    acknowledged: AtomicU64,
    acknowledged_bytes: AtomicU64,
}

impl Uploads {
    pub fn new(most_packs: usize, most_bytes: usize) -> Self {
        Self {
            most_packs: most_packs.max(1),
            most_bytes,
            in_flight: Mutex::default(),
            room: Condvar::new(),
            idle: Notify::new(),
            acknowledged: AtomicU64::new(0),
            acknowledged_bytes: AtomicU64::new(0),
        }
    }

    /// Blocks until a pack of `bytes` may be uploaded; a pack alone always may. After a cancellation it goes on for
    /// [`limits::CANCELLED_UPLOADS`], for the pack is finished work.
    pub fn wait_for_room(&self, bytes: usize, control: &Control) -> Result<()> {
        let mut in_flight = self.in_flight.lock();
        while in_flight.packs > 0 && (in_flight.packs >= self.most_packs || in_flight.bytes + bytes > self.most_bytes) {
            self.room.wait_for(&mut in_flight, LOOK);
            if control.is_over(limits::CANCELLED_UPLOADS) {
                return Err(Error::Cancelled);
            }
        }
        in_flight.packs += 1;
        in_flight.bytes += bytes;
        Ok(())
    }

    fn done(&self, bytes: usize) {
        let mut in_flight = self.in_flight.lock();
        in_flight.packs -= 1;
        in_flight.bytes -= bytes;
        if in_flight.packs == 0 {
            self.idle.notify_waiters();
        }
        self.room.notify_all();
    }

    pub async fn wait_until_idle(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            // Registered before looking, so that the last upload's word is not missed.
            idle.as_mut().enable();
            if self.in_flight.lock().packs == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Packs that the store has acknowledged, and their bytes.
    pub fn acknowledged(&self) -> (u64, u64) {
        (self.acknowledged.load(Relaxed), self.acknowledged_bytes.load(Relaxed))
    }
}

/// Uploads one pack from its own buffer, makes sure that the store has it, and only then lets the index name it.
pub(super) async fn upload(shared: Arc<Shared>, pack: FinishedPack) {
    let _place = Place { shared: Arc::clone(&shared), size: pack.bytes.used() };
    // Given up together with the flush that waits for it: nothing is written once the lock may be gone.
    if let Some(Err(error)) = shared.ended.run_until_cancelled(try_upload(&shared, pack)).await
        && !planted!(FailedUploadForgotten)
    {
        shared.fail(error);
    }
}

/// An upload's place among those in flight; given back however the upload ends.
struct Place {
    shared: Arc<Shared>,
    size: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.uploads.done(self.size);
    }
}

async fn try_upload(shared: &Shared, pack: FinishedPack) -> Result<()> {
    let FinishedPack { bytes, index } = pack;
    let size = bytes.used() as u64;
    shared.lock.check()?;
    let (objects, bytes) = (shared.repository.objects(), Bytes::from_owner(bytes));
    if shared.options.verify_uploads {
        objects.put_verified(FileType::Pack, &index.id, bytes).await?;
    } else {
        objects.put(FileType::Pack, &index.id, bytes).await?;
    }
    let counters = shared.control.counters();
    Counters::add(&counters.packs_uploaded, 1);
    Counters::add(&counters.bytes_uploaded, size);
    Counters::add(&shared.uploads.acknowledged, 1);
    Counters::add(&shared.uploads.acknowledged_bytes, size);
    shared.index.publish(&index);
    shared.index.count_memory();
    shared.index_writer.push(index);
    shared.write_due_index().await
}
