//! The metadata objects of one storage: small, few, and never overwritten blindly.

use std::sync::Arc;

use object_store::{GetOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion, path::Path};
use storage::{BackendConfig, Error, ErrorKind};

use crate::limits::LARGEST_METADATA;

/// An open storage, rooted at its prefix.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    /// Absent in tests, where folders need no marker.
    config: Option<BackendConfig>,
    place: String,
}

/// An object as it was read.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its content.
    pub text: String,
    version: UpdateVersion,
}

/// What a create found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Created {
    /// The object is new.
    New,
    /// One was there; it was left as it is.
    Existed,
}

impl Bucket {
    /// An open storage.
    pub fn new(store: Arc<dyn ObjectStore>, config: BackendConfig) -> Self {
        let place = config.describe();
        Self { store, config: Some(config), place }
    }

    /// A store of its own, for tests.
    #[cfg(test)]
    pub fn of_store(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, config: None, place: "the test store".to_owned() }
    }

    /// Names the storage in messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The object, or `None` if there is none. A missing bucket is an error, never a missing object.
    ///
    /// # Errors
    /// What the store said; or that the object is too large or no text.
    pub async fn read(&self, key: &str) -> Result<Option<Stored>, Error> {
        let found = match self.store.get_opts(&Path::from(key), GetOptions::default()).await {
            Ok(found) => found,
            Err(error) if ErrorKind::of(&error) == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.error(error, key)),
        };
        if found.meta.size > LARGEST_METADATA {
            return Err(self.foreign(key, &format!("it has {} bytes", found.meta.size)));
        }
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let bytes = found.bytes().await.map_err(|error| self.error(error, key))?;
        match String::from_utf8(bytes.into()) {
            Ok(text) => Ok(Some(Stored { text, version })),
            Err(_) => Err(self.foreign(key, "it is no text")),
        }
    }

    /// Creates the object unless there is one.
    ///
    /// On a store that does not know create-if-absent it looks first; two writers may then both believe to be the
    /// creator, which for metadata of equal content is harmless.
    ///
    /// # Errors
    /// What the store said.
    pub async fn create(&self, key: &str, text: &str) -> Result<Created, Error> {
        let path = Path::from(key);
        match self.store.put_opts(&path, payload(text), PutMode::Create.into()).await {
            Ok(_) => Ok(Created::New),
            Err(error) => match ErrorKind::of(&error) {
                ErrorKind::AlreadyExists | ErrorKind::Precondition => Ok(Created::Existed),
                ErrorKind::Unsupported => {
                    if self.read(key).await?.is_some() {
                        return Ok(Created::Existed);
                    }
                    self.write(key, text).await?;
                    Ok(Created::New)
                }
                _ => Err(self.error(error, key)),
            },
        }
    }

    /// Replaces the object if it is still as it was read. Returns whether it was.
    ///
    /// Some stores name neither ETag nor version (versitygw without a place for attributes), some know no condition: there
    /// the last of two writers wins, and only the leader writes.
    ///
    /// # Errors
    /// What the store said.
    pub async fn replace(&self, key: &str, text: &str, read: &Stored) -> Result<bool, Error> {
        if read.version.e_tag.is_none() && read.version.version.is_none() {
            self.write(key, text).await?;
            return Ok(true);
        }
        let mode = PutMode::Update(read.version.clone());
        match self.store.put_opts(&Path::from(key), payload(text), PutOptions::from(mode)).await {
            Ok(_) => Ok(true),
            Err(error) => match ErrorKind::of(&error) {
                ErrorKind::Precondition => Ok(false),
                ErrorKind::Unsupported | ErrorKind::Configuration => {
                    self.write(key, text).await?;
                    Ok(true)
                }
                _ => Err(self.error(error, key)),
            },
        }
    }

    /// Writes an object that only we write.
    ///
    /// # Errors
    /// What the store said.
    pub async fn write(&self, key: &str, text: &str) -> Result<(), Error> {
        self.store.put(&Path::from(key), payload(text)).await.map_err(|error| self.error(error, key))?;
        Ok(())
    }

    /// Deletes an object; one that is not there is fine.
    ///
    /// # Errors
    /// What the store said.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        match self.store.delete(&Path::from(key)).await {
            Ok(()) => Ok(()),
            Err(error) if ErrorKind::of(&error) == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.error(error, key)),
        }
    }

    /// Makes a folder visible, where stores have such a thing. The key ends with a slash.
    ///
    /// # Errors
    /// What the store said.
    pub async fn mark_folder(&self, key: &str) -> Result<(), Error> {
        match &self.config {
            Some(config) => storage::put_folder_marker(config, key).await,
            None => Ok(()),
        }
    }

    fn error(&self, error: object_store::Error, key: &str) -> Error {
        Error::from_store(error, format!("{}, object {key}", self.place))
    }

    fn foreign(&self, key: &str, what: &str) -> Error {
        let cause = format!("{what}, so it is not Orlop's; move it away or choose another prefix");
        Error::configuration(format!("{}, object {key}", self.place), cause)
    }
}

fn payload(text: &str) -> PutPayload {
    PutPayload::from(text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// I8: metadata that is there is never overwritten by one that believes it is the first.
    #[tokio::test]
    async fn create_never_overwrites() {
        let bucket = Bucket::of_store(storage::memory());
        assert_eq!(bucket.create("metadata.yaml", "first").await.unwrap(), Created::New);
        assert_eq!(bucket.create("metadata.yaml", "second").await.unwrap(), Created::Existed);
        assert_eq!(bucket.read("metadata.yaml").await.unwrap().unwrap().text, "first");
    }

    #[tokio::test]
    async fn replace_notices_another_writer() {
        let bucket = Bucket::of_store(storage::memory());
        bucket.write("metadata.yaml", "first").await.unwrap();
        let read = bucket.read("metadata.yaml").await.unwrap().unwrap();
        assert!(bucket.replace("metadata.yaml", "second", &read).await.unwrap());
        assert!(!bucket.replace("metadata.yaml", "third", &read).await.unwrap());
        assert_eq!(bucket.read("metadata.yaml").await.unwrap().unwrap().text, "second");
    }

    /// A store that names no version is written to without a condition, which it could not be asked for.
    #[tokio::test]
    async fn a_store_without_versions_can_be_replaced_in() {
        let bucket = Bucket::of_store(storage::memory());
        bucket.write("metadata.yaml", "first").await.unwrap();
        let mut read = bucket.read("metadata.yaml").await.unwrap().unwrap();
        read.version = UpdateVersion { e_tag: None, version: None };
        assert!(bucket.replace("metadata.yaml", "second", &read).await.unwrap());
        assert_eq!(bucket.read("metadata.yaml").await.unwrap().unwrap().text, "second");
    }

    #[tokio::test]
    async fn what_is_not_there_is_none_and_can_be_deleted() {
        let bucket = Bucket::of_store(storage::memory());
        assert!(bucket.read("metadata.yaml").await.unwrap().is_none());
        bucket.delete("metadata.yaml").await.unwrap();
    }
}
