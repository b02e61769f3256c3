//! What every operation carries: a way to stop it, counters to watch it, a listener for what happens on the way.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
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
#[derive(Clone, Default)]
pub struct Control {
    cancellation: CancellationToken,
    counters: Arc<Counters>,
    listener: Option<Listener>,
}

impl Control {
    /// A control that stops when `cancellation` is cancelled.
    #[must_use]
    pub fn new(cancellation: CancellationToken) -> Self {
        Self { cancellation, counters: Arc::default(), listener: None }
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
        if self.cancellation.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Runs `future` until it is done or the operation is cancelled.
    ///
    /// # Errors
    /// [`Error::Cancelled`] or the future's own.
    pub async fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.cancellation.run_until_cancelled(future).await.unwrap_or(Err(Error::Cancelled))
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
