//! Making a repository where there is none, and never where there may be one.

use std::sync::Arc;

use object_store::ObjectStore;
use secrecy::SecretString;

use super::{InitOptions, Inner, KeyHolder, Repository, keys};
use crate::chunker::Polynomial;
use crate::control::Control;
use crate::crypto::{Cipher, MasterKey};
use crate::error::{Error, Result};
use crate::format::{Config, Id};
use crate::memory::MemoryBudget;
use crate::objects::{CreateMode, FileType, Objects};

/// The config has no id in its name.
const NO_ID: Id = Id([0; 32]);

impl Repository {
    /// Makes a repository of format version 2 at the store's root and opens it.
    ///
    /// An initialisation that was killed after it wrote its key is taken up again if the password opens that key.
    ///
    /// # Errors
    /// [`Error::RepositoryExists`] if there is a config, a snapshot, an index or a key of another password: whatever is left of a
    /// damaged repository is not built over.
    pub async fn init(
        store: Arc<dyn ObjectStore>,
        password: &SecretString,
        options: &InitOptions,
        control: &Control,
    ) -> Result<Self> {
        control.finish(Self::make(store, password, options, control)).await
    }

    async fn make(
        store: Arc<dyn ObjectStore>,
        password: &SecretString,
        options: &InitOptions,
        control: &Control,
    ) -> Result<Self> {
        let objects = Objects::new(store);
        if objects.head(FileType::Config, &NO_ID).await?.is_some() {
            return Err(exists(FileType::Config, &NO_ID));
        }
        for file in [FileType::Snapshot, FileType::Index] {
            if let Some(found) = objects.list(file, control).await?.first() {
                return Err(exists(file, &found.id));
            }
        }
        let (key, key_id) = key_for(&objects, password, options, control).await?;
        let polynomial = Polynomial::random();
        let config = Config { version: 2, id: Id::random(), chunker_polynomial: polynomial.to_string() };
        let cipher = Cipher::new(&key)?;
        create_config(&objects, &config, &cipher, options.create_mode, &key_id, control).await?;
        tracing::info!(repository = %config.id, "repository initialised");
        let memory = MemoryBudget::default();
        Ok(Self { inner: Arc::new(Inner { objects, config, polynomial, key: KeyHolder(key), cipher, key_id, memory }) })
    }
}

fn exists(file: FileType, id: &Id) -> Error {
    Error::RepositoryExists { key: file.key(id) }
}

/// The key comes before the config, as restic does it: a config without a key would be a repository that nobody can open.
async fn key_for(
    objects: &Objects,
    password: &SecretString,
    options: &InitOptions,
    control: &Control,
) -> Result<(MasterKey, Id)> {
    let Some(left_over) = objects.list(FileType::Key, control).await?.first().copied() else {
        let key = MasterKey::random()?;
        let id = keys::write_key(objects, &key, password, options).await?;
        return Ok((key, id));
    };
    match keys::find_key(objects, password, None, control).await {
        Ok(found) => Ok(found),
        Err(Error::WrongPassword { .. } | Error::Damaged { .. } | Error::BeyondLimit { .. }) => {
            Err(exists(FileType::Key, &left_over.id))
        }
        Err(error) => Err(error),
    }
}

async fn create_config(
    objects: &Objects,
    config: &Config,
    cipher: &Cipher,
    mode: CreateMode,
    own_key: &Id,
    control: &Control,
) -> Result<()> {
    if mode == CreateMode::ListBased {
        // Where the store ignores conditions, two may initialise at once. Each has written its key before; the one with the
        // lowest key id goes on, so that at most one writes the config.
        tokio::time::sleep(crate::lock::SETTLE).await;
        let listed = objects.list(FileType::Key, control).await?;
        if let Some(rival) = listed.iter().find(|key| key.id < *own_key) {
            objects.delete(FileType::Key, own_key).await?;
            return Err(exists(FileType::Key, &rival.id));
        }
        if objects.head(FileType::Config, &NO_ID).await?.is_some() {
            return withdraw(objects, config, cipher, own_key).await;
        }
    }
    let sealed = cipher.seal(&serde_json::to_vec(config).map_err(Error::internal)?)?;
    match objects.create_config(sealed.into()).await {
        Err(Error::RepositoryExists { .. }) => withdraw(objects, config, cipher, own_key).await,
        Ok(()) if mode == CreateMode::ListBased => {
            // Two that share a key (one took up the other's) may both have written: the last config stands.
            tokio::time::sleep(crate::lock::SETTLE).await;
            withdraw(objects, config, cipher, own_key).await
        }
        other => other,
    }
}

/// A config stands already. If it is ours, all is well: our write was answered late and tried twice. If it is another's, our key
/// is removed, unless it is that config's key as well because the other took up our key.
async fn withdraw(objects: &Objects, config: &Config, cipher: &Cipher, own_key: &Id) -> Result<()> {
    let sealed = objects.get(FileType::Config, &NO_ID, &Control::default()).await?;
    let mut plain = Vec::new();
    if cipher.open_into(&sealed, &mut plain).is_err() {
        objects.delete(FileType::Key, own_key).await?;
    } else if serde_json::from_slice::<Config>(&plain).is_ok_and(|standing| standing == *config) {
        return Ok(());
    }
    Err(exists(FileType::Config, &NO_ID))
}
