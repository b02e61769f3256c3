//! Collects the entries of acknowledged packs and writes them as index files as it goes.

use std::time::Instant;

use parking_lot::Mutex;

use crate::error::Result;
use crate::format::{IndexFile, IndexPack};
use crate::limits;
use crate::objects::FileType;
use crate::{IndexId, Repository};

#[derive(Debug, Default)]
struct Waiting {
    packs: Vec<IndexPack>,
    blobs: usize,
    oldest: Option<Instant>,
}

/// Packs that are in the store and wait for an index.
#[derive(Debug, Default)]
pub(crate) struct IndexWriter {
    waiting: Mutex<Waiting>,
    written: Mutex<Vec<IndexId>>,
}

impl IndexWriter {
    /// Adds a pack that the store has acknowledged. Returns the packs for the next index file when there are enough or the
    /// oldest has waited long enough; the caller writes it.
    pub fn add(&self, pack: IndexPack) -> Option<Vec<IndexPack>> {
        let mut waiting = self.waiting.lock();
        waiting.blobs += pack.blobs.len();
        waiting.packs.push(pack);
        let oldest = *waiting.oldest.get_or_insert_with(Instant::now);
        let full = waiting.blobs >= limits::INDEX_BLOBS || oldest.elapsed() >= limits::INDEX_AGE;
        full.then(|| std::mem::take(&mut *waiting).packs)
    }

    /// The packs that still wait.
    pub fn rest(&self) -> Vec<IndexPack> {
        std::mem::take(&mut *self.waiting.lock()).packs
    }

    /// Writes one index file; nothing if there are no packs.
    pub async fn write(&self, repository: &Repository, packs: Vec<IndexPack>) -> Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        let id = repository.save_json(FileType::Index, &IndexFile { packs }).await?;
        self.written.lock().push(id);
        Ok(())
    }

    /// The files written so far.
    pub fn written(&self) -> Vec<IndexId> {
        self.written.lock().clone()
    }
}
