//! Uploading packs in the background, several at a time, in bounded memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::builder::FinishedPack;
use super::saver::Shared;
use crate::control::{Control, Counters};
use crate::error::{Error, Result};
use crate::limits::CANCELLED_FLUSH;
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
        }
    }

    /// Blocks until a pack of `bytes` may be uploaded; a pack alone always may. A cancelled producer waits only as long as a
    /// cancelled flush does, for the pack it holds is finished work.
    pub fn wait_for_room(&self, bytes: usize, control: &Control) -> Result<()> {
        let mut give_up: Option<Instant> = None;
        let mut in_flight = self.in_flight.lock();
        while in_flight.packs > 0 && (in_flight.packs >= self.most_packs || in_flight.bytes + bytes > self.most_bytes) {
            self.room.wait_for(&mut in_flight, LOOK);
            if control.cancelled().is_cancelled()
                && Instant::now() > *give_up.get_or_insert_with(|| Instant::now() + CANCELLED_FLUSH)
            {
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

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }
}

/// Uploads one pack from its own buffer, makes sure that the store has it, and only then lets the index name it.
pub(super) async fn upload(shared: Arc<Shared>, pack: FinishedPack) {
    let _place = Place { shared: Arc::clone(&shared), size: pack.bytes.used() };
    if let Err(error) = try_upload(&shared, pack).await {
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
    let objects = shared.repository.objects();
    objects.put(FileType::Pack, &index.id, Bytes::from_owner(bytes)).await?;
    if shared.options.verify_uploads {
        let lied = |reason: String| Error::StoreLied { key: FileType::Pack.key(&index.id), reason };
        match objects.head(FileType::Pack, &index.id).await? {
            Some(listed) if listed.size == size => {}
            Some(listed) => return Err(lied(format!("it has {} bytes instead of {size}", listed.size))),
            None => return Err(lied("it is not there".into())),
        }
    }
    let counters = shared.control.counters();
    Counters::add(&counters.packs_uploaded, 1);
    Counters::add(&counters.bytes_uploaded, size);
    Counters::add(&shared.uploads.acknowledged, 1);
    shared.index.publish(&index);
    if let Some(packs) = shared.index_writer.add(index) {
        shared.lock.check()?;
        shared.index_writer.write(&shared.repository, packs).await?;
    }
    Ok(())
}
