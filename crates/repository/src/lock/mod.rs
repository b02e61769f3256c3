//! Locks by restic's protocol: who writes or reads holds one; who removes data holds one alone.
//!
//! A lock is an object under `locks/`. To take one: look for locks in the way, write ours, wait a moment, look again. Whoever
//! sees another's in the way then takes its own back. A lock is refreshed by writing a new one before the old is removed; one
//! that was not refreshed for half an hour is stale. No lock is removed whose holder is not proven dead, or that is not stale by the
//! store's clock and was seen twice, more than a refresh apart (invariant I7).

mod acquire;
mod clear;
mod clock;
mod guard;
mod holder;
mod look;
mod refresh;

use std::time::Duration;

pub use acquire::LockRequest;
pub use guard::{LockGuard, LockHandle};
pub use holder::{LockHolder, LockIdentity, LockJudge, LockVerdict, NoJudge};

/// Shared locks may be held by many at once, an exclusive one only alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// For backup, restore and check.
    Shared,
    /// For forget, prune and repair.
    Exclusive,
}

/// Between writing our lock and looking again: what the slowest store takes to show a new object. restic's value.
pub(crate) const SETTLE: Duration = Duration::from_millis(200);

/// The protocol's times. All who share a repository must agree on them, so only tests change the default: restic's values.
#[derive(Debug, Clone, Copy)]
pub struct LockTimes {
    /// See [`SETTLE`].
    pub settle: Duration,
    /// A lock is refreshed this often.
    pub refresh: Duration,
    /// A lock that was not refreshed for this long is stale.
    pub stale: Duration,
    /// Our own work stops when the last refresh is this long ago: before others may call our lock stale, with one and a half
    /// refreshes to spare for clocks that differ.
    pub give_up: Duration,
    /// Two looks at a stale lock are at least this far apart: a holder that lives has refreshed in between (reliability E5).
    pub between_looks: Duration,
    /// First and longest pause while waiting for another's lock.
    pub pause: (Duration, Duration),
}

impl Default for LockTimes {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let (refresh, stale) = (minutes(5), minutes(30));
        Self {
            settle: SETTLE,
            refresh,
            stale,
            give_up: stale - refresh * 3 / 2,
            between_looks: refresh + Duration::from_secs(30),
            pause: (Duration::from_secs(1), Duration::from_secs(20)),
        }
    }
}
