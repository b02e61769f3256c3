//! Makes a store misbehave on purpose, for tests.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use crate::error::ErrorKind;

/// The operations faults can be planted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Writing an object.
    Put,
    /// Reading an object, a range of it, or its metadata.
    Get,
    /// Listing.
    List,
    /// Deleting.
    Delete,
}

/// What happens instead of, or besides, the operation.
#[derive(Debug, Clone, Copy)]
pub enum Effect {
    /// Nothing is done and this is answered.
    Error(ErrorKind),
    /// It is done after this long.
    Delay(Duration),
    /// It is done, but the answer is lost (reads and lists simply fail).
    LostAcknowledgement,
    /// Only the first bytes are stored, and the answer is lost.
    Torn(usize),
    /// Nothing ever comes back.
    Hang,
}

#[derive(Debug)]
struct Rule {
    operation: Operation,
    key_contains: String,
    times: u32,
    effect: Effect,
}

/// Planted faults; rules may be added and cleared while the store is in use.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Vec<Rule>>,
}

impl Faults {
    /// No faults yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Plants `effect` in the next `times` operations on keys that contain `key_contains`.
    pub fn add(&self, operation: Operation, key_contains: &str, times: u32, effect: Effect) {
        let rule = Rule { operation, key_contains: key_contains.to_owned(), times, effect };
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
    }

    /// Heals the store.
    pub fn clear(&self) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn take(&self, operation: Operation, key: &str) -> Option<Effect> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let rule =
            rules.iter_mut().find(|rule| rule.times > 0 && rule.operation == operation && key.contains(&rule.key_contains))?;
        rule.times = rule.times.saturating_sub(1);
        Some(rule.effect)
    }

    /// The effect that precedes an operation; what must follow it is returned.
    async fn before(&self, operation: Operation, key: &str) -> Result<Option<Effect>> {
        match self.take(operation, key) {
            None => Ok(None),
            Some(Effect::Error(kind)) => Err(synthetic(kind, key)),
            Some(Effect::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                Ok(None)
            }
            Some(Effect::Hang) => {
                std::future::pending::<()>().await;
                Ok(None)
            }
            Some(effect) => Ok(Some(effect)),
        }
    }
}

/// An error that [`ErrorKind::of`] classifies as `kind`.
#[must_use]
pub fn synthetic(kind: ErrorKind, key: &str) -> object_store::Error {
    let path = key.to_owned();
    let status = |text: &str| format!("planted fault, status code: {text}").into();
    let generic = |source| object_store::Error::Generic { store: "fault", source };
    let errno = |code| generic(Box::new(std::io::Error::from_raw_os_error(code)));
    match kind {
        ErrorKind::NoSuchBucket => object_store::Error::NotFound { path, source: status("404: NoSuchBucket") },
        ErrorKind::NotFound => object_store::Error::NotFound { path, source: status("404") },
        ErrorKind::AlreadyExists => object_store::Error::AlreadyExists { path, source: status("412") },
        ErrorKind::Precondition => object_store::Error::Precondition { path, source: status("412") },
        ErrorKind::AccessDenied => object_store::Error::PermissionDenied { path, source: status("403") },
        ErrorKind::InvalidCredentials => object_store::Error::Unauthenticated { path, source: status("401") },
        ErrorKind::Throttled => generic(status("503: SlowDown")),
        ErrorKind::ServerError => generic(status("500: InternalError")),
        ErrorKind::Full => errno(28),
        ErrorKind::ReadOnly => errno(30),
        ErrorKind::Unreachable => errno(111),
        ErrorKind::Unsupported => object_store::Error::NotSupported { source: status("501") },
        _ => generic(status("400")),
    }
}

/// A store with planted [`Faults`].
#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    faults: Arc<Faults>,
}

impl FaultStore {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }

    fn faulty_list<T: Send + 'static>(
        &self,
        prefix: Option<&Path>,
        stream: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let faults = Arc::clone(&self.faults);
        let key = prefix.map(ToString::to_string).unwrap_or_default();
        async move {
            match faults.before(Operation::List, &key).await {
                Ok(None) => stream,
                Ok(Some(_)) => futures::stream::once(async move { Err(synthetic(ErrorKind::Unreachable, &key)) }).boxed(),
                Err(error) => futures::stream::once(async move { Err(error) }).boxed(),
            }
        }
        .flatten_stream()
        .boxed()
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "faulty {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.faults.before(Operation::Put, location.as_ref()).await? {
            Some(Effect::Torn(length)) => {
                let bytes = Bytes::from(payload);
                let torn = bytes.slice(..length.min(bytes.len()));
                self.inner.put_opts(location, torn.into(), options).await?;
                Err(synthetic(ErrorKind::Unreachable, location.as_ref()))
            }
            Some(_) => {
                self.inner.put_opts(location, payload, options).await?;
                Err(synthetic(ErrorKind::Unreachable, location.as_ref()))
            }
            None => self.inner.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        if self.faults.before(Operation::Put, location.as_ref()).await?.is_some() {
            return Err(synthetic(ErrorKind::Unreachable, location.as_ref()));
        }
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.faults.before(Operation::Get, location.as_ref()).await?.is_some() {
            return Err(synthetic(ErrorKind::Unreachable, location.as_ref()));
        }
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if self.faults.before(Operation::Get, location.as_ref()).await?.is_some() {
            return Err(synthetic(ErrorKind::Unreachable, location.as_ref()));
        }
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, faults) = (Arc::clone(&self.inner), Arc::clone(&self.faults));
        locations
            .then(move |location| {
                let (inner, faults) = (Arc::clone(&inner), Arc::clone(&faults));
                async move {
                    let location = location?;
                    let after = faults.before(Operation::Delete, location.as_ref()).await?;
                    inner.delete(&location).await?;
                    match after {
                        Some(_) => Err(synthetic(ErrorKind::Unreachable, location.as_ref())),
                        None => Ok(location),
                    }
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.faulty_list(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.faulty_list(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let key = prefix.map(ToString::to_string).unwrap_or_default();
        if self.faults.before(Operation::List, &key).await?.is_some() {
            return Err(synthetic(ErrorKind::Unreachable, &key));
        }
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
