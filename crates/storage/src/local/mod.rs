//! A directory as an object store.
//!
//! Every write goes to a file without a name or with a temporary one, is synced, named and the directory synced, so that an object is either there
//! whole or not at all, also after a power cut. Create-if-absent is `renameat2(NOREPLACE)`, or a hard link where the file
//! system lacks it (NFS). No key leads out of the root: paths are resolved beneath it without following links.

mod buffers;
mod list;
mod place;
mod read;
mod stale;
mod write;

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use buffers::Buffers;
use place::Root;

const STORE: &str = "local";

/// Files that are removed before their directories are synced.
const DELETES: usize = 256;

/// Objects as files under a root directory, which must exist.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: Arc<Root>,
    buffers: Arc<Buffers>,
}

impl LocalStore {
    /// A store rooted at `root`. Nothing is touched before the first operation.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: Arc::new(Root::new(root.into())), buffers: Arc::default() }
    }
}

impl LocalStore {
    /// Makes a directory and those above it. Keys need none; people who look at the store may.
    pub(crate) async fn make_directory(&self, path: &str) -> Result<()> {
        let key = Path::parse(path).map_err(|source| object_store::Error::InvalidPath { source })?.join("x");
        let root = Arc::clone(&self.root);
        blocking(move || root.parent(&key, true).map(|_| ())).await
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "directory {}", self.root.path().display())
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let commit = match options.mode {
            PutMode::Overwrite => write::Commit::Replace,
            PutMode::Create => write::Commit::IfAbsent,
            PutMode::Update(_) => return Err(unsupported("a conditional update")),
        };
        let (root, key) = (Arc::clone(&self.root), location.clone());
        blocking(move || write::put(&root, &key, &payload, commit)).await
    }

    async fn put_multipart_opts(&self, location: &Path, _options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (root, key) = (Arc::clone(&self.root), location.clone());
        blocking(move || write::Upload::begin(&root, &key)).await.map(|upload| Box::new(upload) as Box<_>)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (root, key, buffers) = (Arc::clone(&self.root), location.clone(), Arc::clone(&self.buffers));
        blocking(move || read::open(&root, &key, &options, &buffers)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (root, key, ranges) = (Arc::clone(&self.root), location.clone(), ranges.to_vec());
        let buffers = Arc::clone(&self.buffers);
        blocking(move || read::ranges(&root, &key, &ranges, &buffers)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let root = Arc::clone(&self.root);
        locations
            .ready_chunks(DELETES)
            .then(move |locations| {
                let root = Arc::clone(&root);
                async move {
                    let (keys, mut results) = (Vec::with_capacity(locations.len()), Vec::new());
                    let keys = locations.into_iter().fold(keys, |mut keys, location| {
                        match location {
                            Ok(key) => keys.push(key),
                            Err(error) => results.push(Err(error)),
                        }
                        keys
                    });
                    match blocking(move || Ok(write::delete(&root, keys))).await {
                        Ok(deleted) => results.extend(deleted),
                        Err(error) => results.push(Err(error)),
                    }
                    futures::stream::iter(results)
                }
            })
            .flatten()
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        list::recursively(Arc::clone(&self.root), prefix.cloned().unwrap_or_default())
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (root, prefix) = (Arc::clone(&self.root), prefix.cloned().unwrap_or_default());
        blocking(move || list::one_level(&root, &prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let body = self.get(from).await?.into_stream();
        let payload: PutPayload = body.try_collect::<Vec<_>>().await?.into_iter().collect();
        let mode = match options.mode {
            CopyMode::Overwrite => PutMode::Overwrite,
            CopyMode::Create => PutMode::Create,
        };
        self.put_opts(to, payload, mode.into()).await.map(|_| ())
    }
}

/// File system calls block, on NFS for long; they never run on a thread of the async runtime.
async fn blocking<T, F>(work: F) -> Result<T>
where
    F: FnOnce() -> Result<T> + Send + 'static,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|source| object_store::Error::JoinError { source })?
}

fn unsupported(operation: &str) -> object_store::Error {
    object_store::Error::NotImplemented { operation: operation.to_owned(), implementer: STORE.to_owned() }
}

/// An errno with the key and the call it belongs to.
#[derive(Debug, thiserror::Error)]
#[error("{call} {key:?}: {source}")]
struct Failure {
    call: &'static str,
    key: String,
    source: io::Error,
}

/// Turns an errno into the store's vocabulary.
fn failed(call: &'static str, key: &Path, errno: impl Into<io::Error>) -> object_store::Error {
    let source = errno.into();
    let (kind, path) = (source.kind(), key.to_string());
    let source = Box::new(Failure { call, key: path.clone(), source });
    match kind {
        io::ErrorKind::NotFound => object_store::Error::NotFound { path, source },
        io::ErrorKind::AlreadyExists => object_store::Error::AlreadyExists { path, source },
        io::ErrorKind::PermissionDenied => object_store::Error::PermissionDenied { path, source },
        _ => object_store::Error::Generic { store: STORE, source },
    }
}
