//! A client that does things in the wrong order.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutOptions, Result};
use parking_lot::Mutex;

use crate::harness::{Interposed, Interposer, MapStore};

/// Kinds of changes: the folder of the key, behind a `+` for puts and a `-` for deletes.
pub type Kind = &'static str;

/// Holds some changes back until another one went through, and answers as if they were done. What is still held when the client dies never
/// happened.
#[derive(Debug)]
pub struct HeldBack {
    inner: Arc<dyn ObjectStore>,
    held: &'static [Kind],
    until: Kind,
    waiting: Mutex<Vec<Waiting>>,
    /// What the waiting puts put, to answer reads from.
    written: Arc<MapStore>,
}

#[derive(Debug, Clone)]
enum Waiting {
    Put(Path, Bytes, PutOptions),
    Delete(Path),
}

impl HeldBack {
    pub fn store(inner: Arc<dyn ObjectStore>, held: &'static [Kind], until: Kind) -> Arc<dyn ObjectStore> {
        Interposed::store(&Arc::new(Self { inner, held, until, waiting: Mutex::default(), written: MapStore::new() }))
    }

    fn is_held(&self, sign: char, key: &Path) -> bool {
        self.held.iter().any(|kind| is_kind(kind, sign, key))
    }

    /// After the awaited change: all that waited goes through, in order.
    async fn went_through(&self, sign: char, key: &Path) -> Result<()> {
        // Whoever gives its lock back has done everything.
        if !is_kind(self.until, sign, key) && !is_kind("-locks", sign, key) {
            return Ok(());
        }
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for change in waiting {
            match change {
                Waiting::Put(key, bytes, options) => drop(self.inner.put_opts(&key, bytes.into(), options).await?),
                Waiting::Delete(key) => self.inner.delete(&key).await?,
            }
        }
        Ok(())
    }

    fn is_deleted(&self, key: &Path) -> bool {
        self.waiting.lock().iter().any(|change| matches!(change, Waiting::Delete(deleted) if deleted == key))
    }

    fn is_written(&self, key: &Path) -> bool {
        self.waiting.lock().iter().any(|change| matches!(change, Waiting::Put(put, ..) if put == key))
    }
}

fn is_kind(kind: Kind, sign: char, key: &Path) -> bool {
    kind.strip_prefix(sign).is_some_and(|folder| key.as_ref().split('/').next() == Some(folder))
}

#[async_trait]
impl Interposer for HeldBack {
    fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.inner
    }

    async fn put(&self, key: &Path, bytes: Bytes, options: PutOptions) -> Result<()> {
        if self.is_held('+', key) {
            self.written.insert(key, &bytes);
            self.waiting.lock().push(Waiting::Put(key.clone(), bytes, options));
            return Ok(());
        }
        self.inner.put_opts(key, bytes.into(), options).await?;
        self.went_through('+', key).await
    }

    async fn get(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        if self.is_deleted(key) {
            return Err(Error::NotFound { path: key.to_string(), source: "it was deleted".into() });
        }
        if self.is_written(key) { self.written.read(key, &options) } else { self.inner.get_opts(key, options).await }
    }

    async fn delete(&self, key: &Path) -> Result<()> {
        if self.is_held('-', key) {
            self.waiting.lock().push(Waiting::Delete(key.clone()));
            return Ok(());
        }
        self.inner.delete(key).await?;
        self.went_through('-', key).await
    }

    async fn list(&self, prefix: &Path) -> Vec<Result<ObjectMeta>> {
        let mut listed: Vec<_> = self.inner.list(Some(prefix)).collect().await;
        listed.retain(|meta| meta.as_ref().is_ok_and(|meta| !self.is_deleted(&meta.location)) || meta.is_err());
        let written = self.written.list_below(prefix.as_ref());
        listed.extend(written.into_iter().filter(|meta| self.is_written(&meta.location)).map(Ok));
        listed
    }
}
