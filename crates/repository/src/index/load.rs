//! Loading the index files, several at a time; parsing happens off the I/O threads.

use std::sync::Arc;

use futures::StreamExt;

use super::Index;
use crate::control::{Control, Event};
use crate::error::{Error, Result};
use crate::format::IndexFile;
use crate::limits;
use crate::objects::FileType;
use crate::snapshots::Damage;
use crate::{IndexId, PackId, Repository};

impl Repository {
    /// Loads the index. List the snapshots first: whatever they name is indexed by then.
    ///
    /// One damaged index file costs only what it names (reliability D8): see [`Index::damaged`].
    ///
    /// # Errors
    /// Of the store: a listing that fails is never taken for an empty one.
    pub async fn load_index(&self, control: &Control) -> Result<Arc<Index>> {
        let listed = self.objects().list(FileType::Index, control).await?;
        let index = Arc::new(Index::default());
        let mut loads = futures::stream::iter(listed)
            .map(|object| {
                let (repository, index, control) = (self.clone(), Arc::clone(&index), control.clone());
                async move { (object.id, repository.load_index_file(object.id, index, &control).await) }
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
        Ok(Arc::new(index))
    }

    async fn load_index_file(&self, id: IndexId, index: Arc<Index>, control: &Control) -> Result<Vec<PackId>> {
        let plain = self.load_unpacked(FileType::Index, &id, control).await?;
        tokio::task::spawn_blocking(move || {
            let file = parse(&plain).map_err(|reason| Error::damaged(FileType::Index.key(&id), reason))?;
            file.packs.iter().for_each(|pack| index.publish(pack));
            Ok(file.packs.into_iter().map(|pack| pack.id).collect())
        })
        .await
        .map_err(Error::internal)?
    }
}

/// Parses an index and bounds what it says about its blobs.
pub(super) fn parse(plain: &[u8]) -> Result<IndexFile, String> {
    let file: IndexFile = serde_json::from_slice(plain).map_err(|error| error.to_string())?;
    for pack in &file.packs {
        for blob in &pack.blobs {
            let end = u64::from(blob.offset) + u64::from(blob.length);
            if (blob.length as usize) < crate::format::SEAL_OVERHEAD || end > limits::MAX_PACK_OBJECT {
                return Err(format!("blob {} of pack {} has an impossible place", blob.id, pack.id));
            }
            // Before anything is read or allocated for it.
            let most = limits::most_blob_bytes(blob.blob_type);
            let length = (blob.length as usize - crate::format::SEAL_OVERHEAD).max(blob.uncompressed_length as usize);
            if length > most {
                return Err(format!("blob {} of pack {} has {length} bytes, more than the limit of {most}", blob.id, pack.id));
            }
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in ".{0,200}") {
            let _ = parse(text.as_bytes());
        }
    }

    #[test]
    fn impossible_places_are_refused() {
        let id = crate::Id::of(b"x");
        let index = |offset: u64, length: u64| {
            format!(
                r#"{{"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"data","offset":{offset},"length":{length}}}]}}]}}"#
            )
        };
        assert!(parse(index(0, 32).as_bytes()).is_ok());
        assert!(parse(index(0, 31).as_bytes()).is_err());
        assert!(parse(index(4_294_967_295, 100).as_bytes()).is_err());
        assert!(parse(index(0, 4_294_967_296).as_bytes()).is_err());
    }

    /// Reliability S-42: a length is bounded by the blob's type before anybody reads or allocates that much.
    #[test]
    fn impossible_lengths_are_refused() {
        let id = crate::Id::of(b"x");
        let parsed = |blob_type: &str, length: usize, plain: usize| {
            let text = format!(
                r#"{{"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"{blob_type}","offset":0,"length":{length},"uncompressed_length":{plain}}}]}}]}}"#
            );
            parse(text.as_bytes()).is_ok()
        };
        let sealed = crate::format::SEAL_OVERHEAD;
        for (blob_type, most) in [("data", limits::MAX_DATA_BLOB), ("tree", limits::MAX_TREE_BLOB)] {
            assert!(parsed(blob_type, most + sealed, 0) && parsed(blob_type, 100, most));
            assert!(!parsed(blob_type, most + sealed + 1, 0) && !parsed(blob_type, 100, most + 1));
        }
    }
}
