//! Exponential backoff per object.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    time::Duration,
};

use parking_lot::Mutex;

use crate::own_writes::Key;

/// Counts failures in a row for each object and says how long to wait.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: Mutex<HashMap<Key, u32>>,
    jitter: RandomState,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: Mutex::default(), jitter: RandomState::new() }
    }

    /// Notes one more failure; answers the pause. Up to a quarter is taken off at random, so that objects that failed
    /// together do not come back together.
    pub(super) fn failed(&self, key: &Key) -> Duration {
        let failures = {
            let mut all = self.failures.lock();
            let count = all.entry(key.clone()).or_insert(0);
            *count = count.saturating_add(1);
            *count
        };
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failures - 1)).min(self.longest);
        let part = u32::try_from(self.jitter.hash_one((key, failures)) % 256).unwrap_or(0);
        doubled - doubled / 4 * part / 256
    }

    /// Notes a success, or that the object is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.failures.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// reliability B11: per-key exponential backoff with a cap.
    #[test]
    fn pauses_double_up_to_the_cap_and_per_object() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
        let poison = ("ns".to_owned(), "poison".to_owned());
        let other = ("ns".to_owned(), "other".to_owned());
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.failed(&poison)).collect();
        for (index, pause) in pauses.iter().enumerate() {
            let full = Duration::from_secs(1 << index).min(Duration::from_secs(300));
            assert!(*pause <= full && *pause >= full * 3 / 4, "{index}: {pause:?}");
        }
        assert!(backoff.failed(&other) <= Duration::from_secs(1));
        backoff.forget(&poison);
        assert!(backoff.failed(&poison) <= Duration::from_secs(1));
    }
}
