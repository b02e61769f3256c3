//! Retries where the providers' clients do not: conditional creates whose answer was lost, and local file systems.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tokio::time::Instant;

use crate::client::Attempts;
use crate::error::ErrorKind;
use crate::pace::Pace;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Repeats what may succeed later, for at most `patience` from the first try.
///
/// A create-if-absent whose acknowledgement was lost finds its own object at the second try. It is told apart from a lost
/// race by its content, and only if the request really went out more than once.
#[derive(Debug)]
pub struct RetryStore {
    inner: Arc<dyn ObjectStore>,
    patience: Duration,
    pace: Pace,
}

impl RetryStore {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, patience: Duration) -> Self {
        Self { inner, patience, pace: Pace::default() }
    }

    /// The same for a store whose uploads have this pace: one that found the store to be slow is repeated once, in its turn and with
    /// more time, whatever the patience.
    pub(crate) fn paced_by(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    async fn put(&self, location: &Path, payload: &PutPayload, options: &PutOptions) -> Result<PutResult> {
        let length = payload.content_length() as u64;
        let was_slow = self.pace.is_slow();
        let turn = self.pace.turn(length).await;
        let first = self.inner.put_opts(location, payload.clone(), options.clone()).await;
        drop(turn);
        match first {
            Err(error) if !was_slow && self.pace.is_slow() && ErrorKind::of(&error) == ErrorKind::TimedOut => {
                let _turn = self.pace.turn(length).await;
                self.inner.put_opts(location, payload.clone(), options.clone()).await
            }
            other => other,
        }
    }

    async fn repeat<T, F>(&self, mut attempt: impl FnMut() -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if !ErrorKind::of(&error).is_retryable() || start.elapsed() + pause > self.patience {
                return Err(error);
            }
            tracing::debug!(%error, pause_seconds = pause.as_secs_f64(), "store request repeated");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn create(&self, location: &Path, payload: &PutPayload, options: &PutOptions) -> Result<PutResult> {
        let wire = Attempts::default();
        let mut options = options.clone();
        options.extensions.insert(wire.clone());
        let mut tries = 0_u32;
        let outcome = self
            .repeat(|| {
                tries += 1;
                self.put(location, payload, &options)
            })
            .await;
        match outcome {
            Err(object_store::Error::AlreadyExists { path, source }) if tries > 1 || wire.count() > 1 => {
                match self.holds(location, payload).await? {
                    Some(result) => Ok(result),
                    None => Err(object_store::Error::AlreadyExists { path, source }),
                }
            }
            outcome => outcome,
        }
    }

    /// The object's tags if it holds exactly `payload`.
    async fn holds(&self, location: &Path, payload: &PutPayload) -> Result<Option<PutResult>> {
        let found = self.repeat(|| self.inner.get_opts(location, GetOptions::default())).await?;
        if found.meta.size != payload.content_length() as u64 {
            return Ok(None);
        }
        let (e_tag, version) = (found.meta.e_tag.clone(), found.meta.version.clone());
        let bytes = found.bytes().await?;
        let same = bytes == Bytes::from(payload.clone());
        Ok(same.then(|| PutResult { e_tag, version, extensions: object_store::Extensions::default() }))
    }
}

impl fmt::Display for RetryStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "retried {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for RetryStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match options.mode {
            PutMode::Create => self.create(location, &payload, &options).await,
            PutMode::Overwrite => self.repeat(|| self.put(location, &payload, &options)).await,
            // Repeating it could mistake its own first success for a stranger's.
            PutMode::Update(_) => self.inner.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.repeat(|| self.inner.get_opts(location, options.clone())).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.repeat(|| self.inner.get_ranges(location, ranges)).await
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
        self.repeat(|| self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(all(test, feature = "testsuite"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::layers::fault::{Effect, FaultStore, Faults, Operation};
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    fn faulty() -> (Arc<InMemory>, Arc<Faults>, RetryStore) {
        let memory = Arc::new(InMemory::new());
        let faults = Faults::new();
        let fault = FaultStore::new(Arc::clone(&memory) as Arc<dyn ObjectStore>, Arc::clone(&faults));
        (memory, faults, RetryStore::new(Arc::new(fault), Duration::from_secs(60)))
    }

    /// R9: a create whose acknowledgement was lost is one success, not a lost race.
    #[tokio::test(start_paused = true)]
    async fn a_lost_acknowledgement_is_recognised() {
        let (_, faults, store) = faulty();
        faults.add(Operation::Put, "config", 1, Effect::LostAcknowledgement);
        store.put_opts(&Path::from("config"), "mine".into(), PutMode::Create.into()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_race_stays_lost() {
        let (memory, faults, store) = faulty();
        memory.put(&Path::from("config"), "theirs".into()).await.unwrap();
        faults.add(Operation::Put, "config", 1, Effect::Error(ErrorKind::Unreachable));
        let error = store.put_opts(&Path::from("config"), "mine".into(), PutMode::Create.into()).await.unwrap_err();
        assert_eq!(ErrorKind::of(&error), ErrorKind::AlreadyExists);
        // Even the same content is another's if our request went out once.
        let error = store.put_opts(&Path::from("config"), "theirs".into(), PutMode::Create.into()).await.unwrap_err();
        assert_eq!(ErrorKind::of(&error), ErrorKind::AlreadyExists);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let (_, faults, store) = faulty();
        faults.add(Operation::Get, "", u32::MAX, Effect::Error(ErrorKind::Unreachable));
        let start = Instant::now();
        let error = store.get(&Path::from("x")).await.unwrap_err();
        assert_eq!(ErrorKind::of(&error), ErrorKind::Unreachable);
        assert!(start.elapsed() <= Duration::from_secs(61));
    }
}
