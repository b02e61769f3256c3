//! What was seen of each storage and when, so that an event does not cause a probe and a failure is not repeated at once.
//!
//! Kept in memory: after a restart every storage is looked at once.

use std::{collections::HashMap, time::Duration};

use crd_types::conditions;
use kube::ResourceExt as _;
use parking_lot::Mutex;
use planner::layout::documents::RepositoryRecord;
use tokio::time::Instant;

use super::{
    SHORTEST_PAUSE,
    apply::{Finding, Initialised, Secret, records},
    dereference::Observed,
};
use crate::limits::{LOOK_AGAIN, retry_pause};

/// How far the backend has to be looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// What was found last still stands.
    Nothing,
    /// Only `metadata.yaml`: it shows that the backend is there and lets us in.
    Metadata,
    /// Every permission, by trying it.
    Everything,
}

#[derive(Clone, Debug)]
struct Look {
    fingerprint: (Option<i64>, Option<String>),
    at: Instant,
    failures: u32,
    records: Vec<RepositoryRecord>,
    finding: Finding,
}

/// The last look at each storage, by UID.
#[derive(Debug, Default)]
pub(super) struct Looks {
    seen: Mutex<HashMap<String, Look>>,
}

impl Looks {
    /// How far to look now.
    pub(super) fn need(&self, observed: &Observed) -> Need {
        let seen = self.seen.lock();
        let was_initialised = observed
            .storage
            .status
            .as_ref()
            .is_some_and(|status| conditions::is_true(&status.conditions, conditions::BACKEND_INITIALIZED));
        let Some(look) = seen.get(&key(observed)) else {
            return if was_initialised { Need::Metadata } else { Need::Everything };
        };
        if look.fingerprint != observed.fingerprint() {
            return Need::Everything;
        }
        if !look.finding.is_fine() {
            let due = look.at.elapsed() >= retry_pause(look.failures);
            return if due { Need::Everything } else { Need::Nothing };
        }
        if look.at.elapsed() >= LOOK_AGAIN || look.records != records(observed) {
            return Need::Metadata;
        }
        Need::Nothing
    }

    /// What was found last.
    pub(super) fn last(&self, observed: &Observed) -> Finding {
        let seen = self.seen.lock();
        match seen.get(&key(observed)) {
            Some(look) => look.finding.clone(),
            None => Finding {
                secret: Secret::of(&observed.secret),
                initialised: Initialised::Unknown,
                capability: None,
                result: "ok",
            },
        }
    }

    /// Keeps a finding and gives it back.
    pub(super) fn remember(&self, observed: &Observed, finding: Finding) -> Finding {
        let mut seen = self.seen.lock();
        let before = seen.get(&key(observed));
        let failures = match before {
            _ if finding.is_fine() => 0,
            Some(look) if look.fingerprint == observed.fingerprint() => look.failures.saturating_add(1),
            Some(_) | None => 1,
        };
        let records = records(observed);
        // A look at the metadata alone says nothing new of the permissions.
        let capability = finding.capability.clone().or_else(|| before.and_then(|look| look.finding.capability.clone()));
        let finding = Finding { capability, ..finding };
        let look = Look { fingerprint: observed.fingerprint(), at: Instant::now(), failures, records, finding: finding.clone() };
        seen.insert(key(observed), look);
        finding
    }

    /// Keeps a refusal that needed no look. It is judged anew each time, so only the pause depends on it.
    pub(super) fn refused(&self, observed: &Observed, finding: Finding) -> Finding {
        let due = {
            let seen = self.seen.lock();
            seen.get(&key(observed)).is_none_or(|look| {
                look.finding.is_fine()
                    || look.fingerprint != observed.fingerprint()
                    || look.at.elapsed() >= retry_pause(look.failures)
            })
        };
        if due { self.remember(observed, finding) } else { finding }
    }

    /// When to come back.
    pub(super) fn pause(&self, observed: &Observed) -> Duration {
        let seen = self.seen.lock();
        let Some(look) = seen.get(&key(observed)) else { return SHORTEST_PAUSE };
        let interval = if look.finding.is_fine() { LOOK_AGAIN } else { retry_pause(look.failures) };
        interval.saturating_sub(look.at.elapsed()).max(SHORTEST_PAUSE)
    }

    /// Forgets a storage that is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.seen.lock().remove(uid);
    }
}

fn key(observed: &Observed) -> String {
    observed.storage.uid().unwrap_or_default()
}
