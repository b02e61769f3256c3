//! What an index does not keep of a few of its blobs, their ids: the index files are read once more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::load::load_memory;
use super::{Index, Place};
use crate::control::Control;
use crate::error::Result;
use crate::format::{BlobType, IndexPack};
use crate::objects::FileType;
use crate::{BlobId, Repository};

impl Repository {
    /// The types and ids of the blobs at these places of an index, as far as index files still name them. One file is held at
    /// a time.
    ///
    /// # Errors
    /// Of the store if it does not let us look, and [`crate::Error::Cancelled`].
    pub(crate) async fn names_of(
        &self,
        index: &Arc<Index>,
        places: HashSet<Place>,
        control: &Control,
    ) -> Result<HashMap<Place, (BlobType, BlobId)>> {
        let mut names = HashMap::new();
        if places.is_empty() {
            return Ok(names);
        }
        let (places, memory) = (Arc::new(places), load_memory());
        for listed in self.objects().list(FileType::Index, control).await? {
            let (index, wanted) = (Arc::clone(index), Arc::clone(&places));
            let look = move |packs: Vec<IndexPack>| named(&index, &wanted, &packs);
            match self.read_index_file(&listed, &memory, control, look).await {
                Ok(found) => names.extend(found),
                // It could not be read when the index was loaded either, or is being replaced: what it alone names stays unnamed.
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
            if names.len() == places.len() {
                break;
            }
        }
        Ok(names)
    }
}

fn named(index: &Index, wanted: &HashSet<Place>, packs: &[IndexPack]) -> HashMap<Place, (BlobType, BlobId)> {
    let blobs = packs.iter().flat_map(|pack| &pack.blobs);
    let named = blobs.filter_map(|blob| {
        let place = index.place(blob.blob_type, &blob.id)?;
        wanted.contains(&place).then_some((place, (blob.blob_type, blob.id)))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use secrecy::SecretString;

    use super::*;
    use crate::InitOptions;
    use crate::crypto::ScryptCost;
    use crate::format::{Id, IndexBlob, IndexFile};

    fn pack(number: u8) -> IndexPack {
        let blobs = (0..3u8).map(|at| {
            let blob_type = if at == 2 { BlobType::Tree } else { BlobType::Data };
            IndexBlob { id: Id::of(&[number, at]), blob_type, offset: u32::from(at) * 50, length: 50, uncompressed_length: 0 }
        });
        IndexPack { id: Id::of(&[number]), blobs: blobs.collect() }
    }

    #[tokio::test]
    async fn places_are_named_as_far_as_files_say() {
        let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
        let (password, control) = (SecretString::from("x"), Control::default());
        let repository = Repository::init(storage::memory(), &password, &options, &control).await.unwrap();
        for number in 0..4 {
            repository.save_json(FileType::Index, &IndexFile { packs: vec![pack(number)] }).await.unwrap();
        }
        let index = repository.load_index(&control).await.unwrap();
        index.publish(&pack(9));
        let blobs = [pack(1).blobs[2], pack(3).blobs[0], pack(9).blobs[0]];
        let places = blobs.map(|blob| index.place(blob.blob_type, &blob.id).unwrap());
        let names = repository.names_of(&index, places.into_iter().collect(), &control).await.unwrap();
        let expected = [0, 1].map(|at: usize| (places[at], (blobs[at].blob_type, blobs[at].id)));
        assert_eq!(names, HashMap::from(expected), "no file names the third");
        assert!(repository.names_of(&index, HashSet::new(), &control).await.unwrap().is_empty());
    }
}
