//! A repository in memory whose key is known, so that any object can be forged in it: sealed and named as it must be.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use repository::crypto::{Cipher, MasterKey, ScryptCost, ScryptParameters, derive_key};
use repository::format::{
    BlobType, HeaderEntry, Id, IndexBlob, IndexFile, IndexPack, KeyFile, MasterKeyFile, SEAL_OVERHEAD, write_header,
};
use repository::{Control, InitOptions, LockGuard, LockIdentity, LockMode, LockRequest, OpenOptions, Repository, Result};
use secrecy::SecretString;

pub fn password() -> SecretString {
    SecretString::from("correct horse battery staple")
}

/// The forger's tools.
pub struct Forge {
    pub store: Arc<dyn ObjectStore>,
    pub repository: Repository,
    pub cipher: Cipher,
    /// Blobs of packs that no index names yet.
    packed: Vec<IndexPack>,
    open: Vec<(HeaderEntry, Vec<u8>)>,
}

impl Forge {
    pub async fn new() -> Self {
        let store = storage::memory();
        let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
        let repository = Repository::init(Arc::clone(&store), &password(), &options, &Control::default()).await.unwrap();
        let cipher = Cipher::new(&master_key(&store).await).unwrap();
        Self { store, repository, cipher, packed: Vec::new(), open: Vec::new() }
    }

    pub async fn reopen(&self) -> Result<Repository> {
        Repository::open(Arc::clone(&self.store), &password(), &OpenOptions::default(), &Control::default()).await
    }

    pub async fn lock(&self, mode: LockMode) -> Result<LockGuard> {
        let identity = LockIdentity { hostname: "test.pod".to_owned(), pid: 1, ..LockIdentity::default() };
        let mut request = LockRequest::new(mode, identity);
        request.times.settle = Duration::from_millis(1);
        self.repository.lock(request, &Control::default()).await
    }

    /// The plain bytes of the objects in a folder.
    pub async fn plain_objects(&self, folder: &str) -> Vec<Vec<u8>> {
        self.raw_objects(folder).await.iter().map(|sealed| self.open_unpacked(sealed)).collect()
    }

    /// The objects in a folder as they are.
    pub async fn raw_objects(&self, folder: &str) -> Vec<Vec<u8>> {
        let listed = self.store.list_with_delimiter(Some(&Path::from(folder))).await.unwrap();
        let mut raw = Vec::new();
        for object in listed.objects {
            raw.push(self.store_bytes(object.location.as_ref()).await);
        }
        raw
    }

    /// One object as it is.
    pub async fn store_bytes(&self, path: &str) -> Vec<u8> {
        self.store.get(&Path::from(path)).await.unwrap().bytes().await.unwrap().to_vec()
    }

    pub fn open_unpacked(&self, sealed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        self.cipher.open_into(sealed, &mut plain).unwrap();
        match plain.split_first() {
            Some((2, frame)) => zstd::stream::decode_all(frame).unwrap(),
            _ => plain,
        }
    }

    /// Writes an object of a folder with these plain bytes, whatever they are; a byte 2 before them says that they are a frame.
    pub async fn put(&self, folder: &str, plain: &[u8]) -> Path {
        self.put_sealed(folder, self.cipher.seal(plain).unwrap()).await
    }

    /// Writes an object as it is, under its own sum.
    pub async fn put_sealed(&self, folder: &str, bytes: Vec<u8>) -> Path {
        let path = Path::from(format!("{folder}/{}", Id::of(&bytes)));
        self.store.put(&path, bytes.into()).await.unwrap();
        path
    }

    pub async fn remove(&self, path: &Path) {
        self.store.delete(path).await.unwrap();
    }

    /// Removes all objects of some folders.
    pub async fn clear(&self, folders: &[&str]) {
        for folder in folders {
            let objects: Vec<_> = self.store.list(Some(&Path::from(*folder))).try_collect().await.unwrap();
            for object in objects {
                self.remove(&object.location).await;
            }
        }
    }

    /// Keeps a blob for the next pack.
    pub fn blob(&mut self, blob_type: BlobType, plain: &[u8]) -> Id {
        self.blob_as(Id::of(plain), blob_type, plain)
    }

    /// Keeps a blob under an id that may not be its own.
    pub fn blob_as(&mut self, id: Id, blob_type: BlobType, plain: &[u8]) -> Id {
        let sealed = self.cipher.seal(plain).unwrap();
        let length = (plain.len() + SEAL_OVERHEAD) as u32;
        self.open.push((HeaderEntry { id, blob_type, length, uncompressed_length: 0 }, sealed));
        id
    }

    /// Keeps sealed bytes of which the header says what it likes.
    pub fn sealed_blob(&mut self, entry: HeaderEntry, sealed: Vec<u8>) {
        self.open.push((entry, sealed));
    }

    /// Writes the blobs as a pack and an index. Trees and data may share it: nobody forbids that to an enemy.
    pub async fn flush(&mut self) {
        let (mut pack, mut blobs, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for (entry, sealed) in self.open.drain(..) {
            blobs.push(IndexBlob {
                id: entry.id,
                blob_type: entry.blob_type,
                offset: pack.len() as u32,
                length: entry.length,
                uncompressed_length: entry.uncompressed_length,
            });
            pack.extend_from_slice(&sealed);
            entries.push(entry);
        }
        let header = self.cipher.seal(&write_header(&entries)).unwrap();
        pack.extend_from_slice(&header);
        pack.extend_from_slice(&(header.len() as u32).to_le_bytes());
        let id = self.put_pack(pack).await;
        self.packed.push(IndexPack { id, blobs });
        let index = IndexFile { packs: std::mem::take(&mut self.packed) };
        self.put("index", &serde_json::to_vec(&index).unwrap()).await;
    }

    /// Writes a pack as it is.
    pub async fn put_pack(&self, bytes: Vec<u8>) -> Id {
        let id = Id::of(&bytes);
        let name = id.to_string();
        self.store.put(&Path::from(format!("data/{}/{name}", &name[..2])), bytes.into()).await.unwrap();
        id
    }
}

/// The master key, got as anybody gets it who has the password.
async fn master_key(store: &Arc<dyn ObjectStore>) -> MasterKey {
    let listed = store.list_with_delimiter(Some(&Path::from("keys"))).await.unwrap();
    let bytes = store.get(&listed.objects[0].location).await.unwrap().bytes().await.unwrap();
    let file: KeyFile = serde_json::from_slice(&bytes).unwrap();
    let parameters = ScryptParameters::from_key_file(file.n, file.r, file.p).unwrap();
    let derived = derive_key(&password(), &file.salt, parameters).unwrap();
    let mut plain = Vec::new();
    Cipher::new(&derived).unwrap().open_into(&file.data, &mut plain).unwrap();
    let keys: MasterKeyFile = serde_json::from_slice(&plain).unwrap();
    let joined = [keys.encrypt, keys.mac.k, keys.mac.r].concat();
    MasterKey::from_bytes(&joined.try_into().unwrap())
}
