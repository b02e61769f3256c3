//! Collects the entries of acknowledged packs and writes them as index files as it goes.

use std::time::Instant;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::format::{Id, IndexFile, IndexPack};
use crate::limits;
use crate::objects::FileType;
use crate::{IndexId, Repository};

#[derive(Debug, Default)]
struct Waiting {
    packs: Vec<IndexPack>,
    blobs: usize,
    oldest: Option<Instant>,
}

impl Waiting {
    fn push(&mut self, pack: IndexPack) {
        self.blobs += pack.blobs.len();
        self.packs.push(pack);
        self.oldest.get_or_insert_with(Instant::now);
    }

    fn is_due(&self) -> bool {
        self.blobs >= limits::INDEX_BLOBS || self.oldest.is_some_and(|oldest| oldest.elapsed() >= limits::INDEX_AGE)
    }
}

/// Packs that are in the store and wait for an index.
///
/// A pack leaves only when the store has its index file in full: a write that fails, or is given up half-way, puts its packs
/// back. At worst a file that was written all the same names them a second time, which readers take for one copy.
#[derive(Debug, Default)]
pub(crate) struct IndexWriter {
    waiting: Mutex<Waiting>,
    written: Mutex<Vec<IndexId>>,
    /// Held while packs are on their way, so that who takes it and finds nothing waiting knows that all is written.
    writing: tokio::sync::Mutex<()>,
}

impl IndexWriter {
    /// Adds a pack that the store has acknowledged. Returns the packs for the next index file when there are enough or the
    /// oldest has waited long enough; the caller writes it.
    pub fn add(&self, pack: IndexPack) -> Option<Vec<IndexPack>> {
        self.push(pack);
        self.take_due()
    }

    /// The same without a look at whether a file is due.
    pub fn push(&self, pack: IndexPack) {
        self.waiting.lock().push(pack);
    }

    /// The packs that still wait.
    pub fn rest(&self) -> Vec<IndexPack> {
        std::mem::take(&mut *self.waiting.lock()).packs
    }

    /// Whether enough packs wait, or one long enough.
    pub fn is_due(&self) -> bool {
        self.waiting.lock().is_due()
    }

    /// Writes an index file if one is due.
    pub async fn write_due(&self, repository: &Repository) -> Result<()> {
        let _turn = self.writing.lock().await;
        match self.take_due() {
            Some(packs) => self.write(repository, packs).await,
            None => Ok(()),
        }
    }

    /// Writes all that waits, after whatever is being written.
    pub async fn write_rest(&self, repository: &Repository) -> Result<()> {
        let _turn = self.writing.lock().await;
        self.write(repository, self.rest()).await
    }

    /// Writes one index file and makes sure that the store has it; nothing if there are no packs.
    pub async fn write(&self, repository: &Repository, packs: Vec<IndexPack>) -> Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        let mut on_its_way = OnItsWay { writer: self, file: IndexFile { packs } };
        let sealed = repository.seal_unpacked(&serde_json::to_vec(&on_its_way.file).map_err(Error::internal)?)?;
        let id = Id::of(&sealed);
        repository.objects().put_verified(FileType::Index, &id, sealed.into()).await?;
        on_its_way.file.packs.clear();
        self.written.lock().push(id);
        Ok(())
    }

    /// The files written so far.
    pub fn written(&self) -> Vec<IndexId> {
        self.written.lock().clone()
    }

    fn take_due(&self) -> Option<Vec<IndexPack>> {
        let mut waiting = self.waiting.lock();
        waiting.is_due().then(|| std::mem::take(&mut *waiting).packs)
    }
}

/// Packs that are being written into an index file; they wait again if that comes to nothing.
struct OnItsWay<'a> {
    writer: &'a IndexWriter,
    file: IndexFile,
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        let mut waiting = self.writer.waiting.lock();
        self.file.packs.drain(..).for_each(|pack| waiting.push(pack));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use object_store::ObjectStore;
    use secrecy::SecretString;
    use storage::layers::fault::{Effect, FaultStore, Faults, Operation};

    use super::*;
    use crate::crypto::ScryptCost;
    use crate::{Control, InitOptions};

    fn pack(number: u8) -> IndexPack {
        IndexPack { id: Id::of(&[number]), blobs: Vec::new() }
    }

    /// A5: what could not be written still waits, whether the write failed or was given up.
    #[tokio::test]
    async fn packs_wait_until_their_file_is_in_the_store() {
        let faults = Faults::new();
        let store: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(storage::memory(), Arc::clone(&faults)));
        let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
        let repository = Repository::init(store, &SecretString::from("x"), &options, &Control::default()).await.unwrap();
        let writer = IndexWriter::default();
        writer.push(pack(1));
        faults.add(Operation::Put, "index/", 1, Effect::Error(storage::ErrorKind::AccessDenied));
        assert!(writer.write_rest(&repository).await.is_err());
        faults.add(Operation::Put, "index/", 1, Effect::Hang);
        let given_up = tokio::time::timeout(std::time::Duration::from_millis(20), writer.write_rest(&repository)).await;
        assert!(given_up.is_err());
        writer.push(pack(2));
        writer.write_rest(&repository).await.unwrap();
        assert_eq!(writer.written().len(), 1);
        let index = repository.load_index(&Control::default()).await.unwrap();
        let mut named = index.files().remove(0).1;
        named.sort_unstable();
        let mut expected = vec![pack(1).id, pack(2).id];
        expected.sort_unstable();
        assert_eq!(named, expected);
    }
}
