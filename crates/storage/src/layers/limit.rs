//! Limits on requests in flight and on bytes per second, changeable while work runs (`UpdateLimits`).
//!
//! Small requests never wait: their bytes are counted, and those that come after pay for them. Else the refresh of a lock would
//! queue behind every pack that was admitted before it, and the lock would be lost for being slow (reliability D11).

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result,
};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::gate::Gate;
use super::map_body;

/// Payloads up to this many bytes are counted and do not wait: locks, keys, snapshots.
const SMALL: u64 = 64 << 10;

/// Limits shared by all stores of one run. Default: none.
#[derive(Debug, Default)]
pub struct Limits {
    gate: Arc<Gate>,
    upload: Meter,
    download: Meter,
}

/// One direction.
#[derive(Debug, Default)]
struct Meter {
    rate: Mutex<Rate>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Rate {
    bytes_per_second: Option<u64>,
    /// When the bytes admitted so far have been paid for.
    paid_until: Option<Instant>,
}

impl Limits {
    /// No limits yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Bytes per second to the store, over all requests; none or zero lifts the limit.
    pub fn set_upload_bytes_per_second(&self, bytes_per_second: Option<u64>) {
        self.upload.set(bytes_per_second);
    }

    /// Bytes per second from the store, over all requests; none or zero lifts the limit.
    pub fn set_download_bytes_per_second(&self, bytes_per_second: Option<u64>) {
        self.download.set(bytes_per_second);
    }

    /// Requests at once; none or zero lifts the limit.
    pub fn set_concurrency(&self, requests: Option<u32>) {
        self.gate.set_limit(requests.filter(|requests| *requests > 0));
    }
}

impl Meter {
    fn set(&self, bytes_per_second: Option<u64>) {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.bytes_per_second = bytes_per_second.filter(|rate| *rate > 0);
        // Debts made under another rate would be paid at the wrong price.
        rate.paid_until = None;
        drop(rate);
        self.changed.notify_waiters();
    }

    /// Counts `bytes` and waits until they are paid for; those of a small object do not wait.
    async fn pay(&self, bytes: u64, size_of_object: u64) {
        if size_of_object <= SMALL {
            self.charge(bytes);
            return;
        }
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let Some(wait) = self.charge(bytes) else { return };
            tokio::select! {
                () = tokio::time::sleep(wait) => return,
                () = changed => {}
            }
        }
    }

    fn charge(&self, bytes: u64) -> Option<Duration> {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let per_second = rate.bytes_per_second?;
        let now = Instant::now();
        let start = rate.paid_until.map_or(now, |paid| paid.max(now));
        let cost = Duration::from_secs_f64(bytes as f64 / per_second as f64);
        rate.paid_until = Some(start + cost);
        Some((start + cost).saturating_duration_since(now))
    }
}

/// Applies [`Limits`] to a store.
#[derive(Debug)]
pub struct LimitStore {
    inner: Arc<dyn ObjectStore>,
    limits: Arc<Limits>,
}

impl LimitStore {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, limits: Arc<Limits>) -> Self {
        Self { inner, limits }
    }
}

impl fmt::Display for LimitStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "limited {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for LimitStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let length = payload.content_length() as u64;
        let _pass = if length > SMALL { Some(self.limits.gate.enter().await) } else { None };
        self.limits.upload.pay(length, length).await;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let _pass = self.limits.gate.enter().await;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        // A look at an object's size has no body: it is part of refreshing a lock.
        if options.head {
            return self.inner.get_opts(location, options).await;
        }
        let pass = self.limits.gate.enter().await;
        let result = self.inner.get_opts(location, options).await?;
        let limits = Arc::clone(&self.limits);
        let length = result.range.end - result.range.start;
        Ok(map_body(result, move |body| {
            // The pass lives as long as the body is being read.
            let paid = body.and_then(move |chunk: Bytes| {
                let limits = Arc::clone(&limits);
                async move {
                    limits.download.pay(chunk.len() as u64, length).await;
                    Ok(chunk)
                }
            });
            paid.inspect(move |_| {
                let _held = &pass;
            })
            .boxed()
        }))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let _pass = self.limits.gate.enter().await;
        let total = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        self.limits.download.pay(total, total).await;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let _pass = self.limits.gate.enter().await;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let _pass = self.limits.gate.enter().await;
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    fn limited() -> (Arc<Limits>, LimitStore) {
        let limits = Limits::new();
        (Arc::clone(&limits), LimitStore::new(Arc::new(InMemory::new()), limits))
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_spread_over_time() {
        let (limits, store) = limited();
        limits.set_upload_bytes_per_second(Some(1_000));
        let start = Instant::now();
        for number in 0..3 {
            store.put(&Path::from(format!("{number}")), vec![0_u8; 100_000].into()).await.unwrap();
        }
        assert_eq!(start.elapsed().as_secs(), 300);
    }

    /// Reliability D11: however much waits to be uploaded or downloaded, a lock is refreshed at once.
    #[tokio::test(start_paused = true)]
    async fn small_requests_do_not_queue_behind_large_ones() {
        let (limits, rated) = limited();
        limits.set_upload_bytes_per_second(Some(10_000));
        limits.set_download_bytes_per_second(Some(10_000));
        let connections = Limits::new();
        connections.set_concurrency(Some(1));
        let store = Arc::new(LimitStore::new(Arc::new(rated), connections));
        let old = Path::from("locks/old");
        store.put(&old, vec![0_u8; 200].into()).await.unwrap();
        let start = Instant::now();
        let packs: Vec<_> = (0..8)
            .map(|number| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.put(&Path::from(format!("data/{number}")), vec![0_u8; 16 << 20].into()).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        store.head(&old).await.unwrap();
        store.put(&Path::from("locks/new"), vec![0_u8; 200].into()).await.unwrap();
        store.delete(&old).await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert!(packs.iter().all(|pack| !pack.is_finished()));
        for pack in packs {
            pack.await.unwrap().unwrap();
        }
        // The small one was counted all the same.
        let bytes = (8 * (16 << 20) + 400) as f64;
        assert!(start.elapsed().as_secs_f64() > bytes / 10_000.0 - 2.0, "{:?}", start.elapsed());
    }

    /// Architecture §5, `UpdateLimits`: a raised limit frees those who already wait.
    #[tokio::test(start_paused = true)]
    async fn a_change_reaches_waiters() {
        let (limits, store) = limited();
        limits.set_upload_bytes_per_second(Some(1));
        let start = Instant::now();
        let put = tokio::spawn(async move { store.put(&Path::from("a"), vec![0_u8; 100_000].into()).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        limits.set_upload_bytes_per_second(None);
        put.await.unwrap().unwrap();
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[tokio::test]
    async fn concurrency_counts_bodies_being_read() {
        let (limits, store) = limited();
        store.put(&Path::from("a"), "text".into()).await.unwrap();
        limits.set_concurrency(Some(1));
        let first = store.get(&Path::from("a")).await.unwrap();
        let path = Path::from("a");
        assert!(tokio::time::timeout(Duration::from_millis(50), store.get(&path)).await.is_err());
        assert_eq!(first.bytes().await.unwrap().as_ref(), b"text");
        store.get(&Path::from("a")).await.unwrap();
    }
}
