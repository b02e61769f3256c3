//! How fast uploads to one store are believed to be.
//!
//! While a body is being sent no byte comes back to prove progress, so a request that hangs can only be told from one that is slow
//! by its time. A link is believed to give each request [`USUAL`] until an upload has timed out. From then on uploads go one at a
//! time, so that each has the whole link, and get the time that [`SLOWEST`] needs (reliability D11); a fast one ends that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Bytes per second of one request among several, on a link that has not proven slow.
pub(crate) const USUAL: u64 = 64 * 1024;
/// Bytes per second of the slowest link that is used at all.
pub(crate) const SLOWEST: u64 = 8 * 1024;
/// A link that gives an upload this much alone is not slow: it has enough for the several that usually go at once.
const NOT_SLOW: u64 = 8 * USUAL;

/// What is known of uploads to one store. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace {
    slow: Arc<AtomicBool>,
    turn: Arc<Mutex<()>>,
}

impl Pace {
    /// Whether an upload has timed out and none was fast since.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// How long an upload of `length` bytes may take, beyond the silence that any request may keep.
    pub(crate) fn allowance(&self, length: u64) -> Duration {
        Duration::from_secs(length / if self.is_slow() { SLOWEST } else { USUAL })
    }

    /// An upload has not ended in its time.
    pub(crate) fn timed_out(&self) {
        if !self.slow.swap(true, Ordering::Relaxed) {
            tracing::warn!("uploads to the store are slow: they go one at a time, and get more time");
        }
    }

    /// An upload has ended after `took`.
    pub(crate) fn arrived(&self, length: u64, took: Duration) {
        if length as f64 >= NOT_SLOW as f64 * took.as_secs_f64() && self.slow.swap(false, Ordering::Relaxed) {
            tracing::info!("uploads to the store are fast again");
        }
    }

    /// The turn of an upload, while they go one at a time. Small ones have no need of it.
    pub(crate) async fn turn(&self, length: u64) -> Option<OwnedMutexGuard<()>> {
        if length <= USUAL || !self.is_slow() {
            return None;
        }
        Some(Arc::clone(&self.turn).lock_owned().await)
    }
}

#[cfg(all(test, feature = "testsuite"))]
#[path = "pace_tests.rs"]
mod tests;
