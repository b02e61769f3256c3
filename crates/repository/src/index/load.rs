//! Loading the index files, several at a time. Each is taken apart while it is decompressed, off the I/O threads, and enters
//! the index only when all of it is known to be well: a repair must not take a pack for indexed because half a file named it.

use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::Semaphore;

use super::Index;
use super::parse::IndexParser;
use crate::control::{Control, Event};
use crate::error::{Error, Result};
use crate::format::IndexPack;
use crate::limits;
use crate::objects::{FileType, Listed};
use crate::snapshots::Damage;
use crate::{IndexId, Repository};

/// Memory is lent in pieces of this many bytes.
const PIECE: u64 = 64 << 10;

impl Repository {
    /// Loads the index. List the snapshots first: whatever they name is indexed by then.
    ///
    /// One damaged index file costs only what it names (reliability D8): see [`Index::damaged`].
    ///
    /// # Errors
    /// Of the store: a listing that fails is never taken for an empty one.
    pub async fn load_index(&self, control: &Control) -> Result<Arc<Index>> {
        self.load_into(Index::default(), control).await
    }

    /// The same with the blobs' whole ids, for what removes anything or writes index files anew.
    ///
    /// # Errors
    /// As [`Self::load_index`].
    pub(crate) async fn load_index_with_ids(&self, control: &Control) -> Result<Arc<Index>> {
        self.load_into(Index::with_ids(), control).await
    }

    async fn load_into(&self, index: Index, control: &Control) -> Result<Arc<Index>> {
        let listed = self.objects().list(FileType::Index, control).await?;
        let index = Arc::new(index);
        let memory = Arc::new(load_memory());
        let mut loads = futures::stream::iter(listed)
            .map(|listed| {
                let (repository, index, control) = (self.clone(), Arc::clone(&index), control.clone());
                let memory = Arc::clone(&memory);
                let enter = move |packs: Vec<IndexPack>| packs.into_iter().map(|pack| index.publish(&pack)).collect::<Vec<u32>>();
                async move { (listed.id, repository.read_index_file(&listed, &memory, &control, enter).await) }
            })
            .buffer_unordered(limits::PARALLEL_READS / 2);
        let (mut files, mut damaged) = (Vec::new(), Vec::new());
        while let Some((id, loaded)) = loads.next().await {
            match loaded {
                Ok(packs) => files.push((id, packs)),
                Err(Error::Damaged { key, reason }) => {
                    control.emit(Event::Damaged { key: key.clone(), reason: reason.clone() });
                    damaged.push(Damage { key, reason });
                }
                // A prune replaced it between the listing and now; without our lock that may happen, with it it may not.
                Err(error) if error.is_not_found() => {
                    damaged.push(Damage { key: FileType::Index.key(&id), reason: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        drop(loads);
        let mut index = Arc::into_inner(index).ok_or_else(|| Error::internal("the index is still being loaded"))?;
        index.files = files;
        index.damaged = damaged;
        index.draw_memory(self.memory());
        Ok(Arc::new(index))
    }

    /// Reads a file, and hands `take` its packs if all of it is well.
    pub(super) async fn read_index_file<T: Send + 'static>(
        &self,
        listed: &Listed,
        memory: &Semaphore,
        control: &Control,
        take: impl FnOnce(Vec<IndexPack>) -> T + Send + 'static,
    ) -> Result<T> {
        let id: IndexId = listed.id;
        let _lent = memory.acquire_many(pieces(needed(listed.size))).await.map_err(Error::internal)?;
        let sealed = self.fetch_unpacked(FileType::Index, &id, control).await?;
        let repository = self.clone();
        tokio::task::spawn_blocking(move || {
            let mut parser = IndexParser::default();
            repository.open_unpacked_in_parts(FileType::Index, &id, sealed, |part| parser.push(part))?;
            let packs = parser.finish().map_err(|reason| Error::damaged(FileType::Index.key(&id), reason))?;
            Ok(take(packs))
        })
        .await
        .map_err(Error::internal)?
    }
}

/// What is lent to files that are loaded at the same time.
pub(super) fn load_memory() -> Semaphore {
    Semaphore::new(pieces(limits::INDEX_LOAD_MEMORY) as usize)
}

/// What a file of this size takes while it is loaded: it lies there sealed and open, its packs take as much as one of them, and
/// the rest is the decoder's window and the text of a pack.
fn needed(size: u64) -> u64 {
    size.saturating_mul(3).saturating_add(limits::INDEX_LOAD_FILE).min(limits::INDEX_LOAD_MEMORY)
}

fn pieces(bytes: u64) -> u32 {
    u32::try_from(bytes / PIECE).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use secrecy::SecretString;

    use super::*;
    use crate::crypto::ScryptCost;
    use crate::format::{BlobType, Id, IndexBlob, IndexFile, IndexPack};
    use crate::{InitOptions, PackId};

    fn pack(number: u32, length: u32) -> IndexPack {
        let blobs = (0..5_000u32).map(|at| {
            let id = Id::of(&(number * 4_000 + at).to_le_bytes());
            IndexBlob { id, blob_type: BlobType::Data, offset: at * length, length, uncompressed_length: 0 }
        });
        IndexPack { id: Id::of(&[number as u8]), blobs: blobs.collect() }
    }

    async fn repository() -> Repository {
        let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
        Repository::init(storage::memory(), &SecretString::from("x"), &options, &Control::default()).await.unwrap()
    }

    /// More files than are lent memory at a time, some of which name the same packs.
    #[tokio::test]
    async fn files_are_loaded_into_one_index() {
        let repository = repository().await;
        for number in 0..20u32 {
            let file = IndexFile { packs: vec![pack(number, 100), pack(number / 2, 100)] };
            repository.save_json(FileType::Index, &file).await.unwrap();
        }
        for index in [
            repository.load_index(&Control::default()).await.unwrap(),
            repository.load_index_with_ids(&Control::default()).await.unwrap(),
        ] {
            assert_eq!((index.len(), index.pack_count(), index.duplicates().len()), (81_000, 20, 19_000));
            let mut packs: Vec<PackId> = index.files().into_iter().flat_map(|(_, packs)| packs).collect();
            packs.sort_unstable();
            packs.dedup();
            assert_eq!((packs.len(), index.files().len()), (20, 20));
            assert!(index.pack_sizes().iter().all(|size| *size == 36 + 5_000 * 137));
        }
    }

    /// A file that goes wrong at its end has said nothing: what it names would be taken for indexed, and the file for dispensable.
    #[tokio::test]
    async fn of_a_damaged_file_nothing_enters() {
        let repository = repository().await;
        let good = IndexFile { packs: vec![pack(0, 100)] };
        repository.save_json(FileType::Index, &good).await.unwrap();
        let bad = IndexFile { packs: vec![pack(1, 100), pack(2, 100), pack(3, 10)] };
        repository.save_json(FileType::Index, &bad).await.unwrap();
        let index = repository.load_index(&Control::default()).await.unwrap();
        assert_eq!((index.damaged().len(), index.files().len()), (1, 1));
        assert_eq!(index.pack_ids(), [pack(0, 100).id]);
        assert_eq!(index.len(), 5_000);
    }

    /// Who draws memory after an index gets the less, until it is dropped.
    #[tokio::test]
    async fn the_budget_counts_an_index_for_as_long_as_it_lives() {
        let repository = repository().await;
        repository.save_json(FileType::Index, &IndexFile { packs: vec![pack(0, 100)] }).await.unwrap();
        let before = repository.memory().drawn();
        let index = repository.load_index(&Control::default()).await.unwrap();
        let loaded = index.heap_bytes() as u64;
        assert!(loaded >= 5_000 * 16);
        assert_eq!(repository.memory().drawn() - before, loaded);
        index.publish(&pack(5, 100));
        index.count_memory();
        assert!(index.heap_bytes() as u64 > loaded);
        assert_eq!(repository.memory().drawn() - before, index.heap_bytes() as u64);
        drop(index);
        assert_eq!(repository.memory().drawn(), before);
    }

    #[test]
    fn no_file_asks_for_more_than_there_is() {
        for size in [0, 1, 2 << 20, limits::INDEX_LOAD_MEMORY, limits::MAX_INDEX_OBJECT, u64::MAX] {
            assert!((1..=pieces(limits::INDEX_LOAD_MEMORY)).contains(&pieces(needed(size))));
        }
    }
}
