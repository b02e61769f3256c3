//! A repository that is open: its config, its key, and the sealed files that are not packs.

use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use secrecy::SecretString;

use crate::chunker::Polynomial;
use crate::control::Control;
use crate::crypto::{Cipher, MasterKey, ScryptCost};
use crate::error::{Error, Result};
use crate::format::{Config, Id};
use crate::memory::MemoryBudget;
use crate::objects::{CreateMode, FileType, Objects};
use crate::pack::compress;
use crate::{RepositoryId, format};

mod init;
mod keys;

pub use keys::KeyInfo;

/// How a repository is initialised.
#[derive(Debug, Clone, Default)]
pub struct InitOptions {
    /// Cost of guessing the password.
    pub scrypt: ScryptCost,
    /// What the store's probe said about conditional writes.
    pub create_mode: CreateMode,
    /// Host name noted in the key.
    pub hostname: String,
    /// User name noted in the key.
    pub username: String,
}

/// How a repository is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// The id that the repository must have; another one is refused.
    pub expected_id: Option<RepositoryId>,
    /// What all operations on it may hold in memory.
    pub memory: MemoryBudget,
}

/// An open repository. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    objects: Objects,
    config: Config,
    polynomial: Polynomial,
    key: KeyHolder,
    cipher: Cipher,
    key_id: Id,
    memory: MemoryBudget,
}

struct KeyHolder(MasterKey);

impl std::fmt::Debug for KeyHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Repository {
    /// Opens the repository at the store's root.
    ///
    /// # Errors
    /// [`Error::RepositoryMissing`] without a config, [`Error::WrongPassword`] if no key opens, [`Error::RepositoryMismatch`] if it
    /// is not the expected one, [`Error::UnsupportedVersion`] if its format is newer.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        password: &SecretString,
        options: &OpenOptions,
        control: &Control,
    ) -> Result<Self> {
        let objects = Objects::new(store);
        let sealed = objects
            .get(FileType::Config, &Id([0; 32]), control)
            .await
            .map_err(|error| if error.is_not_found() { Error::RepositoryMissing { key: "config".into() } } else { error })?;
        let (key, key_id) = keys::find_key(&objects, password, Some(&sealed), control).await?;
        let cipher = Cipher::new(&key)?;
        let mut plain = Vec::new();
        cipher.open_into(&sealed, &mut plain).map_err(|error| Error::damaged("config", error.to_string()))?;
        let config: Config = serde_json::from_slice(&plain).map_err(|error| Error::damaged("config", error.to_string()))?;
        if !(1..=2).contains(&config.version) {
            return Err(Error::UnsupportedVersion { version: config.version });
        }
        if let Some(expected) = options.expected_id
            && expected != config.id
        {
            return Err(Error::RepositoryMismatch { expected, found: config.id });
        }
        let polynomial =
            config.chunker_polynomial.parse::<Polynomial>().map_err(|error| Error::damaged("config", error.to_string()))?;
        let memory = options.memory.clone();
        Ok(Self { inner: Arc::new(Inner { objects, config, polynomial, key: KeyHolder(key), cipher, key_id, memory }) })
    }

    /// The repository's random id.
    #[must_use]
    pub fn id(&self) -> RepositoryId {
        self.inner.config.id
    }

    /// Its format version, 1 or 2; version 1 knows no compression.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.inner.config.version
    }

    /// The polynomial by which its files are cut into blobs.
    #[must_use]
    pub fn polynomial(&self) -> Polynomial {
        self.inner.polynomial
    }

    /// The store that it stands in.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        self.inner.objects.store()
    }

    /// What all operations on it share of memory.
    #[must_use]
    pub fn memory(&self) -> &MemoryBudget {
        &self.inner.memory
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.inner.objects
    }

    pub(crate) fn cipher(&self) -> &Cipher {
        &self.inner.cipher
    }

    /// Seals and writes a file that is named by its content: an index, a snapshot or a lock.
    pub(crate) async fn save_unpacked(&self, file: FileType, plain: &[u8]) -> Result<Id> {
        let sealed = self.seal_unpacked(plain)?;
        let id = Id::of(&sealed);
        self.objects().put(file, &id, sealed.into()).await?;
        Ok(id)
    }

    /// The bytes of such a file; its id is their sum.
    pub(crate) fn seal_unpacked(&self, plain: &[u8]) -> Result<Vec<u8>> {
        if self.version() < 2 {
            return self.cipher().seal(plain);
        }
        // Version 2 puts a byte for the encoding before the compressed bytes.
        let mut encoded = vec![2];
        compress::with_codec(|codec| codec.compress_append(plain, &mut encoded))?.map_err(Error::internal)?;
        self.cipher().seal(&encoded)
    }

    /// Reads, checks, opens and decompresses such a file. A sum that does not match is read once more: the damage may have
    /// happened on the way.
    pub(crate) async fn load_unpacked(&self, file: FileType, id: &Id, control: &Control) -> Result<Vec<u8>> {
        let sealed = self.fetch_unpacked(file, id, control).await?;
        let mut out = Vec::new();
        self.open_unpacked_in_parts(file, id, sealed, |part| {
            out.extend_from_slice(part);
            Ok(())
        })?;
        Ok(out)
    }

    /// Reads such a file and checks its sum.
    pub(crate) async fn fetch_unpacked(&self, file: FileType, id: &Id, control: &Control) -> Result<Bytes> {
        let mut bytes = self.objects().get(file, id, control).await?;
        if Id::of(&bytes) != *id {
            bytes = self.objects().get(file, id, control).await?;
            if Id::of(&bytes) != *id {
                return Err(Error::damaged(file.key(id), "its content does not have the sum that its name says"));
            }
        }
        Ok(bytes)
    }

    /// Opens such a file and hands out its plain bytes part by part, so that a large one is never held in all its forms at once.
    pub(crate) fn open_unpacked_in_parts(
        &self,
        file: FileType,
        id: &Id,
        sealed: Bytes,
        mut take: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<()> {
        let damaged = |reason: String| Error::damaged(file.key(id), reason);
        let mut plain = Vec::new();
        self.cipher().open_into(&sealed, &mut plain).map_err(|error| damaged(error.to_string()))?;
        drop(sealed);
        let taken = match plain.first() {
            Some(2) if self.version() >= 2 => compress::decompress_in_parts(&plain[1..], file.most_plain_bytes(), take),
            Some(b'{' | b'[') | None => take(&plain),
            Some(other) if self.version() >= 2 => Err(format!("its encoding {other} is unknown")),
            Some(_) => take(&plain),
        };
        taken.map_err(damaged)
    }

    /// Loads and parses a JSON file.
    pub(crate) async fn load_json<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        file: FileType,
        id: &Id,
        control: &Control,
    ) -> Result<T> {
        let plain = self.load_unpacked(file, id, control).await?;
        serde_json::from_slice(&plain).map_err(|error| Error::damaged(file.key(id), error.to_string()))
    }

    /// Writes a JSON file.
    pub(crate) async fn save_json<T: serde::Serialize + Sync>(&self, file: FileType, value: &T) -> Result<Id> {
        self.save_unpacked(file, &serde_json::to_vec(value).map_err(Error::internal)?).await
    }
}

/// The config's fields are not secret; who needs them all gets them here.
impl Repository {
    /// The config as it stands in the repository.
    #[must_use]
    pub fn config(&self) -> &format::Config {
        &self.inner.config
    }
}
