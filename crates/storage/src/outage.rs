//! Whether a store answers at all, for whoever has to say why nothing moves: requests are repeated for minutes before an
//! operation fails (architecture §2, `storage`), and until then nobody else knows.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What became of the latest requests to one store.
#[derive(Debug, Default)]
pub struct Outage {
    state: Mutex<Option<Silence>>,
}

#[derive(Debug)]
struct Silence {
    since: Instant,
    cause: String,
}

impl Outage {
    /// For how long no request has been answered, and what became of the last one. `None` while the store answers, also if
    /// the answer is a refusal: only no answer, 429 and 5xx count.
    #[must_use]
    pub fn lasts(&self) -> Option<(Duration, String)> {
        self.state().as_ref().map(|silence| (silence.since.elapsed(), silence.cause.clone()))
    }

    pub(crate) fn failed(&self, cause: String) {
        let mut state = self.state();
        match state.as_mut() {
            Some(silence) => silence.cause = cause,
            None => *state = Some(Silence { since: Instant::now(), cause }),
        }
    }

    pub(crate) fn answered(&self) {
        *self.state() = None;
    }

    fn state(&self) -> MutexGuard<'_, Option<Silence>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_answer_ends_it_and_the_last_cause_is_told() {
        let outage = Outage::default();
        assert!(outage.lasts().is_none());
        outage.failed("connection refused".to_owned());
        outage.failed("HTTP 503".to_owned());
        assert_eq!(outage.lasts().unwrap().1, "HTTP 503");
        outage.answered();
        assert!(outage.lasts().is_none());
    }
}
