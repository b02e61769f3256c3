//! The end of a saver's work, and its index files on the way there: whatever the store has is indexed.

use std::sync::{Arc, Weak};

use tokio_util::sync::CancellationToken;

use super::PackBuilder;
use super::saver::{PackSlot, Shared};
use crate::error::{Error, Result};
use crate::limits;

impl Shared {
    /// Uploads what is packed and indexes what is uploaded, the latter also after a failure.
    pub async fn flush(self: &Arc<Self>) -> Result<()> {
        let uploaded = self.control.until(limits::CANCELLED_UPLOADS, self.finish_uploads()).await;
        if uploaded.is_err() {
            // None is in flight any more but after a cancellation or with a lost lock.
            self.ended.cancel();
        }
        let indexed = self.control.finish(self.write_rest_of_index()).await;
        uploaded.and(indexed)
    }

    /// Sends off the open packs, unless something has failed already, and waits for all that is in flight.
    async fn finish_uploads(self: &Arc<Self>) -> Result<()> {
        let closed = if self.has_failed() { Ok(()) } else { self.close_packs_aside().await };
        self.lock.check()?;
        self.uploads.wait_until_idle().await;
        closed?;
        if self.has_failed() { Err(self.failure()) } else { Ok(()) }
    }

    async fn close_packs_aside(self: &Arc<Self>) -> Result<()> {
        let shared = Arc::clone(self);
        let closed = tokio::task::spawn_blocking(move || shared.close_packs()).await.map_err(Error::internal)?;
        closed.map_err(|error| self.fail(error))
    }

    async fn write_rest_of_index(&self) -> Result<()> {
        self.lock.check()?;
        self.index_writer.write_rest(&self.repository).await.map_err(|error| self.fail(error))
    }

    /// Writes an index file if one is due.
    pub async fn write_due_index(&self) -> Result<()> {
        if !self.index_writer.is_due() {
            return Ok(());
        }
        self.lock.check()?;
        self.index_writer.write_due(&self.repository).await
    }

    /// Sends off all open packs, small ones together.
    fn close_packs(self: &Arc<Self>) -> Result<()> {
        for slots in [&self.data, &self.tree] {
            self.close_slots(slots)?;
        }
        Ok(())
    }

    fn close_slots(self: &Arc<Self>, slots: &[PackSlot]) -> Result<()> {
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
        merged.map_or(Ok(()), |last| self.send(last))
    }
}

/// Writes index files when they are due though no pack follows: behind a slow link, or while large unchanged files are read.
pub(super) async fn write_index_in_time(saver: Weak<Shared>, ended: CancellationToken) {
    while ended.run_until_cancelled(tokio::time::sleep(limits::INDEX_AGE / 8)).await.is_some() {
        let Some(shared) = saver.upgrade() else { return };
        if let Some(Err(error)) = ended.run_until_cancelled(shared.write_due_index()).await {
            shared.fail(error);
        }
    }
}
