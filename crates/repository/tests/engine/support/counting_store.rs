//! A store that counts what is asked of it, and whose client dies when it has taken a number of packs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

#[derive(Debug)]
pub struct CountingStore {
    inner: Arc<dyn ObjectStore>,
    dies_after: usize,
    packs: AtomicUsize,
    pack_bytes: AtomicU64,
    requests: Mutex<BTreeMap<(&'static str, String), usize>>,
}

impl CountingStore {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        Self::dying(inner, usize::MAX)
    }

    /// Nothing works any more once so many packs were taken.
    pub fn dying(inner: Arc<dyn ObjectStore>, dies_after: usize) -> Arc<Self> {
        Arc::new(Self {
            inner,
            dies_after,
            packs: AtomicUsize::new(0),
            pack_bytes: AtomicU64::new(0),
            requests: Mutex::default(),
        })
    }

    /// Bytes of the packs that were taken.
    pub fn pack_bytes(&self) -> u64 {
        self.pack_bytes.load(Ordering::SeqCst)
    }

    /// Requests of a kind (`get`, `head`, `list`) for a directory of the repository.
    pub fn count(&self, kind: &'static str, directory: &str) -> usize {
        self.requests.lock().unwrap().get(&(kind, directory.to_owned())).copied().unwrap_or(0)
    }

    fn ask(&self, kind: &'static str, path: &Path) -> Result<()> {
        let directory = path.as_ref().split('/').next().unwrap_or_default().to_owned();
        *self.requests.lock().unwrap().entry((kind, directory)).or_default() += 1;
        if self.packs.load(Ordering::SeqCst) >= self.dies_after { Err(gone()) } else { Ok(()) }
    }
}

fn gone() -> Error {
    Error::NotSupported { source: "the client is dead".into() }
}

impl fmt::Display for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountingStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for CountingStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.ask("put", location)?;
        if location.as_ref().starts_with("data/") {
            if self.packs.fetch_add(1, Ordering::SeqCst) >= self.dies_after {
                return Err(gone());
            }
            self.pack_bytes.fetch_add(payload.content_length() as u64, Ordering::SeqCst);
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotSupported { source: "not used by the engine".into() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.ask(if options.head { "head" } else { "get" }, location)?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.ask("list", prefix.unwrap_or(&Path::default())) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotSupported { source: "not used by the engine".into() })
    }
}
