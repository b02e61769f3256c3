//! Objects that are damaged on purpose.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use repository::{BlobLocation, BlobType, Control, Id, Repository};

pub fn pack_key(pack: &Id) -> Path {
    Path::from(format!("data/{}/{pack}", &pack.to_string()[..2]))
}

/// Where the first copy of a blob is.
pub async fn locate(repository: &Repository, blob_type: BlobType, id: &Id) -> BlobLocation {
    repository.load_index(&Control::default()).await.unwrap().locate(blob_type, id).unwrap()
}

pub async fn exists(store: &Arc<dyn ObjectStore>, key: &Path) -> bool {
    store.head(key).await.is_ok()
}

/// Flips a bit in the middle of a copy of a blob.
pub async fn flip(store: &Arc<dyn ObjectStore>, copy: &BlobLocation) {
    let key = pack_key(&copy.pack);
    let mut bytes = store.get(&key).await.unwrap().bytes().await.unwrap().to_vec();
    bytes[(copy.offset + copy.length / 2) as usize] ^= 4;
    store.put(&key, bytes.into()).await.unwrap();
}

/// Cuts some bytes off a pack.
pub async fn cut(store: &Arc<dyn ObjectStore>, pack: &Id, bytes: usize) {
    let key = pack_key(pack);
    let whole = store.get(&key).await.unwrap().bytes().await.unwrap();
    store.put(&key, whole.slice(..whole.len() - bytes).into()).await.unwrap();
}
