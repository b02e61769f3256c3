//! A store whose client dies at a chosen change: before it, or after it but before the answer. From then on nothing works.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Where the client dies, counted in changes from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashAt {
    Never,
    Before(usize),
    After(usize),
}

#[derive(Debug, Clone)]
pub struct CrashStore {
    inner: Arc<dyn ObjectStore>,
    crash: CrashAt,
    changes: Arc<AtomicUsize>,
    dead: Arc<AtomicBool>,
}

impl CrashStore {
    pub fn new(inner: Arc<dyn ObjectStore>, crash: CrashAt) -> Self {
        Self { inner, crash, changes: Arc::default(), dead: Arc::default() }
    }

    pub fn changes(&self) -> usize {
        self.changes.load(Ordering::SeqCst)
    }

    fn alive(&self) -> Result<()> {
        if self.dead.load(Ordering::SeqCst) { Err(gone()) } else { Ok(()) }
    }

    async fn change<T>(&self, change: impl Future<Output = Result<T>>) -> Result<T> {
        self.alive()?;
        let number = self.changes.fetch_add(1, Ordering::SeqCst);
        if self.crash == CrashAt::Before(number) {
            self.dead.store(true, Ordering::SeqCst);
            return Err(gone());
        }
        let done = change.await;
        if self.crash == CrashAt::After(number) {
            self.dead.store(true, Ordering::SeqCst);
            return Err(gone());
        }
        done
    }
}

fn gone() -> Error {
    Error::NotSupported { source: "the client is dead".into() }
}

impl fmt::Display for CrashStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrashStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for CrashStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.change(self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotSupported { source: "not used by the engine".into() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    store.change(store.inner.delete(&location)).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.alive() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotSupported { source: "not used by the engine".into() })
    }
}

/// A store of its own with the same objects.
pub async fn copy_of(store: &Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    let copy = storage::memory();
    let objects: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    for object in objects {
        let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        copy.put(&object.location, bytes.into()).await.unwrap();
    }
    copy
}
