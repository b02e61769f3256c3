#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Mutex as SyncMutex;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::client::{HttpClient, HttpError, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::time::Instant;

use super::*;
use crate::ErrorKind;
use crate::client::{GuardedService, STALL};
use crate::layers::{Counters, RetryStore};
use crate::outage::Outage;

/// A link whose bytes per second are shared by the requests in flight; 0 is a dead one.
#[derive(Debug)]
struct Link {
    bytes_per_second: SyncMutex<f64>,
    in_flight: AtomicUsize,
}

struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Wire(Arc<Link>);

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut left = request.body().content_length() as f64;
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        let _in_flight = InFlight(&self.0.in_flight);
        while left > 0.0 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let others = self.0.in_flight.load(Ordering::Relaxed) as f64;
            left -= *self.0.bytes_per_second.lock().unwrap() / 2.0 / others;
        }
        Ok(HttpResponse::new(HttpResponseBody::from(Bytes::new())))
    }
}

/// A store at the other end of a link. Only writes go over it.
#[derive(Debug)]
struct Remote {
    service: GuardedService,
    inner: InMemory,
}

impl std::fmt::Display for Remote {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("remote")
    }
}

#[async_trait]
impl ObjectStore for Remote {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let request = HttpRequest::new(HttpRequestBody::from(payload.clone()));
        let sent = self.service.call(request).await;
        sent.map_err(|error| object_store::Error::Generic { store: "remote", source: Box::new(error) })?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn remote(bytes_per_second: f64) -> (Arc<Link>, Pace, Arc<RetryStore>) {
    let link = Arc::new(Link { bytes_per_second: SyncMutex::new(bytes_per_second), in_flight: AtomicUsize::new(0) });
    let pace = Pace::default();
    let client = || HttpClient::new(Wire(Arc::clone(&link)));
    let (counters, outage) = (Arc::new(Counters::default()), Arc::new(Outage::default()));
    let service = GuardedService::new(client(), client(), counters, outage, STALL, pace.clone());
    let store = Arc::new(Remote { service, inner: InMemory::new() });
    let retried = RetryStore::new(store, Duration::from_secs(120)).paced_by(pace.clone());
    (link, pace, Arc::new(retried))
}

async fn upload(store: &Arc<RetryStore>, packs: usize, size: usize) -> Vec<Result<PutResult>> {
    let puts = (0..packs).map(|number| {
        let store = Arc::clone(store);
        async move { store.put(&Path::from(format!("data/{number}")), vec![0_u8; size].into()).await }
    });
    futures::future::join_all(puts).await
}

/// Reliability D11: over 10 kB/s everything arrives, however many packs want to go at once.
#[tokio::test(start_paused = true)]
async fn a_link_of_ten_kilobytes_a_second_is_used() {
    let (_, pace, store) = remote(10_000.0);
    let start = Instant::now();
    for result in upload(&store, 4, 16 << 20).await {
        result.unwrap();
    }
    assert!(pace.is_slow());
    // What the first tries cost, and then the link's own speed.
    let at_full_speed = 4.0 * f64::from(16 << 20) / 10_000.0;
    assert!(start.elapsed().as_secs_f64() < at_full_speed + 400.0, "{:?} instead of {at_full_speed} s", start.elapsed());
}

/// A link that becomes fast is used by several again.
#[tokio::test(start_paused = true)]
async fn a_link_that_recovers_is_shared_again() {
    let (link, pace, store) = remote(10_000.0);
    upload(&store, 2, 4 << 20).await.into_iter().for_each(|result| drop(result.unwrap()));
    assert!(pace.is_slow());
    *link.bytes_per_second.lock().unwrap() = 10e6;
    upload(&store, 2, 4 << 20).await.into_iter().for_each(|result| drop(result.unwrap()));
    assert!(!pace.is_slow());
}

/// A link that is dead ends a request within a bounded time.
#[tokio::test(start_paused = true)]
async fn a_dead_link_ends_a_request() {
    let (_, _, store) = remote(0.0);
    let start = Instant::now();
    let error = upload(&store, 1, 4 << 20).await.remove(0).unwrap_err();
    assert_eq!(ErrorKind::of(&error), ErrorKind::TimedOut, "{error}");
    assert!(start.elapsed() < Duration::from_secs(2 * 30 + 64 + 512 + 10), "{:?}", start.elapsed());
}
