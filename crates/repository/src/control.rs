//! What every operation carries: a way to stop it, counters to watch it, a listener for what happens on the way.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::limits;
use crate::lock::LockHolder;

/// Something worth telling while an operation runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// Another process holds a lock that keeps us out.
    LockWaiting {
        /// Who holds it, as far as its lock says.
        holder: LockHolder,
        /// How long we have waited.
        waited: Duration,
    },
    /// A lock of a dead holder was removed.
    LockRemoved {
        /// Who held it.
        holder: LockHolder,
        /// Why it is certain that the holder is gone.
        proof: String,
    },
    /// An object of the repository is damaged; work goes on without it.
    Damaged {
        /// Its key in the store.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A new part of the work begins.
    PhaseStarted(&'static str),
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Cumulative counters; they only grow, so a lost report is made up by the next.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        /// The counters at one moment.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct Progress {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Reads every counter; the values may be of slightly different moments.
            #[must_use]
            pub fn snapshot(&self) -> Progress {
                Progress { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Files known to be processed in total, as far as the scan has come.
    files_total,
    /// Bytes known to be processed in total.
    bytes_total,
    /// Files finished.
    files_done,
    /// Bytes of source or target data finished.
    bytes_done,
    /// Files taken over from the parent without reading.
    files_unchanged,
    /// Directories finished.
    dirs_done,
    /// Data blobs that the repository did not have.
    blobs_new_data,
    /// Tree blobs that the repository did not have.
    blobs_new_tree,
    /// Plain bytes of new blobs.
    bytes_added,
    /// Bytes of new blobs as stored: compressed and sealed.
    bytes_stored,
    /// Packs acknowledged by the store.
    packs_uploaded,
    /// Bytes acknowledged by the store.
    bytes_uploaded,
    /// Bytes of file content read from the source.
    bytes_read,
    /// Bytes read from the store.
    bytes_downloaded,
    /// Packs examined by check or prune.
    packs_examined,
    /// Entries that could not be processed.
    errors,
}

impl Counters {
    /// Adds to a counter of this struct.
    pub fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Relaxed);
    }
}

type Listener = Arc<dyn Fn(Event) + Send + Sync>;

/// Handle to stop and to watch one operation. Cheap to clone; all clones are one.
///
/// A cancelled operation ends by the clock, whatever hangs: reading ends at once ([`Self::run`]), and what makes finished work
/// last (uploads, the index, a write that is on its way) has until a moment that is the same for all of its parts
/// ([`Self::until`]).
#[derive(Clone, Default)]
pub struct Control {
    cancellation: CancellationToken,
    /// When the cancellation was seen first. Whoever waits sees it at once.
    cancelled_at: Arc<OnceLock<Instant>>,
    counters: Arc<Counters>,
    listener: Option<Listener>,
}

impl Control {
    /// A control that stops when `cancellation` is cancelled.
    #[must_use]
    pub fn new(cancellation: CancellationToken) -> Self {
        Self { cancellation, cancelled_at: Arc::default(), counters: Arc::default(), listener: None }
    }

    /// Calls `listener` for each [`Event`]; it must be quick, it is called from the working threads.
    #[must_use]
    pub fn with_listener(mut self, listener: Arc<dyn Fn(Event) + Send + Sync>) -> Self {
        self.listener = Some(listener);
        self
    }

    /// The token; wait on it in `select!`.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancellation
    }

    /// Whether the operation should go on.
    ///
    /// # Errors
    /// [`Error::Cancelled`] once the token is cancelled.
    pub fn check(&self) -> Result<()> {
        if self.cancelled_at().is_some() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Runs `future` until it is done or the operation is cancelled. For what changes nothing.
    ///
    /// # Errors
    /// [`Error::Cancelled`] or the future's own.
    pub async fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        let ended = self.cancellation.run_until_cancelled(future).await;
        ended.unwrap_or_else(|| self.check().and(Err(Error::Cancelled)))
    }

    /// Runs `future` until it is done, at most until `grace` after the cancellation; then it is dropped as it stands.
    ///
    /// # Errors
    /// [`Error::Cancelled`] or the future's own.
    pub async fn until<T>(&self, grace: Duration, future: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            done = future => done,
            () = self.passed(grace) => Err(Error::Cancelled),
        }
    }

    /// Runs a future that changes something: it may end after a cancellation, within [`limits::CANCELLED`].
    ///
    /// # Errors
    /// [`Error::Cancelled`] or the future's own.
    pub async fn finish<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.until(limits::CANCELLED, future).await
    }

    /// Whether the operation was cancelled longer than `grace` ago.
    #[must_use]
    pub fn is_over(&self, grace: Duration) -> bool {
        self.cancelled_at().is_some_and(|cancelled| cancelled.elapsed() >= grace)
    }

    /// Waits until `grace` after the cancellation.
    async fn passed(&self, grace: Duration) {
        self.cancellation.cancelled().await;
        if let Some(cancelled) = self.cancelled_at() {
            tokio::time::sleep_until(cancelled + grace).await;
        }
    }

    fn cancelled_at(&self) -> Option<Instant> {
        self.cancellation.is_cancelled().then(|| *self.cancelled_at.get_or_init(Instant::now))
    }

    /// Tells the listener.
    pub fn emit(&self, event: Event) {
        if let Some(listener) = &self.listener {
            listener(event);
        }
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("cancelled", &self.cancellation.is_cancelled()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn hang() -> Result<()> {
        std::future::pending().await
    }

    /// Engine §4.9: all parts of an operation end by one clock, which starts with the cancellation.
    #[tokio::test(start_paused = true)]
    async fn graces_count_from_the_cancellation() {
        let token = CancellationToken::new();
        let control = Control::new(token.clone());
        let start = Instant::now();
        let cancel = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            token.cancel();
        };
        let (reading, uploading, finishing, ()) = tokio::join!(
            async { (control.run(hang()).await, start.elapsed()) },
            async { (control.clone().until(Duration::from_secs(1), hang()).await, start.elapsed()) },
            async { (control.finish(hang()).await, start.elapsed()) },
            cancel,
        );
        let seconds = [reading, uploading, finishing].map(|(ended, after)| {
            assert!(matches!(ended, Err(Error::Cancelled)));
            after.as_secs_f64().round() as u64
        });
        assert_eq!(seconds, [10, 11, 10 + limits::CANCELLED.as_secs_f64().round() as u64]);
        // What begins later has no more time than the rest.
        assert!(control.is_over(limits::CANCELLED));
        let late = Instant::now();
        assert!(control.finish(hang()).await.is_err());
        assert_eq!(late.elapsed(), Duration::ZERO);
        // But what is done is done.
        control.finish(std::future::ready(Ok(()))).await.unwrap();
    }
}
