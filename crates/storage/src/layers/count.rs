//! Counts what goes to and comes from a store, for progress and metrics.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result,
};

use super::map_body;
use crate::error::ErrorKind;

/// Cumulative counters; cheap to share.
#[derive(Debug, Default)]
pub struct Counters {
    operations: AtomicU64,
    errors: AtomicU64,
    http_requests: AtomicU64,
    http_failures: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// Operations asked for (a bulk deletion counts once per key).
    pub operations: u64,
    /// Operations that failed; a missing object or a lost race is an answer, not a failure.
    pub errors: u64,
    /// Requests that went over the wire, retries included.
    pub http_requests: u64,
    /// Requests that got no answer, or 429, or 5xx.
    pub http_failures: u64,
    /// Bytes of objects written.
    pub bytes_sent: u64,
    /// Bytes of objects read.
    pub bytes_received: u64,
}

impl Counters {
    /// The counters now.
    #[must_use]
    pub fn snapshot(&self) -> CountersSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CountersSnapshot {
            operations: load(&self.operations),
            errors: load(&self.errors),
            http_requests: load(&self.http_requests),
            http_failures: load(&self.http_failures),
            bytes_sent: load(&self.bytes_sent),
            bytes_received: load(&self.bytes_received),
        }
    }

    pub(crate) fn http(&self, status: Option<u16>) {
        self.http_requests.fetch_add(1, Ordering::Relaxed);
        if status.is_none_or(|status| status == 429 || status >= 500) {
            self.http_failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn operation<T>(&self, result: &Result<T>) {
        self.operations.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = result
            && !matches!(ErrorKind::of(error), ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::Precondition)
        {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Counts into [`Counters`].
#[derive(Debug)]
pub struct CountStore {
    inner: Arc<dyn ObjectStore>,
    counters: Arc<Counters>,
}

impl CountStore {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, counters: Arc<Counters>) -> Self {
        Self { inner, counters }
    }

    fn counted_items<T: 'static>(&self, stream: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
        let counters = Arc::clone(&self.counters);
        stream.inspect(move |item| counters.operation(item)).boxed()
    }

    fn counted_failures<T: 'static>(&self, stream: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
        let counters = Arc::clone(&self.counters);
        counters.operations.fetch_add(1, Ordering::Relaxed);
        stream
            .inspect(move |item| {
                if item.is_err() {
                    counters.errors.fetch_add(1, Ordering::Relaxed);
                }
            })
            .boxed()
    }
}

impl fmt::Display for CountStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "counted {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for CountStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let length = payload.content_length() as u64;
        let result = self.inner.put_opts(location, payload, options).await;
        self.counters.operation(&result);
        if result.is_ok() {
            self.counters.bytes_sent.fetch_add(length, Ordering::Relaxed);
        }
        result
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let result = self.inner.put_multipart_opts(location, options).await;
        self.counters.operation(&result);
        result
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let result = self.inner.get_opts(location, options).await;
        self.counters.operation(&result);
        let counters = Arc::clone(&self.counters);
        Ok(map_body(result?, |body| {
            body.inspect(move |chunk| {
                if let Ok(chunk) = chunk {
                    counters.bytes_received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                }
            })
            .boxed()
        }))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let result = self.inner.get_ranges(location, ranges).await;
        self.counters.operation(&result);
        if let Ok(parts) = &result {
            let total = parts.iter().map(|part| part.len() as u64).sum();
            self.counters.bytes_received.fetch_add(total, Ordering::Relaxed);
        }
        result
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.counted_items(self.inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counted_failures(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counted_failures(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let result = self.inner.list_with_delimiter(prefix).await;
        self.counters.operation(&result);
        result
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let result = self.inner.copy_opts(from, to, options).await;
        self.counters.operation(&result);
        result
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let result = self.inner.rename_opts(from, to, options).await;
        self.counters.operation(&result);
        result
    }
}
