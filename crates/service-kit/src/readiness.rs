//! Readiness gates: what must have happened before a replica may receive calls, each by name.
//!
//! Liveness and readiness differ (style.md §3.13): a missing CRD makes a process unready and says so, since restarting
//! never repairs it.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use serde::Serialize;

/// Name under which a shutdown shows in the list of pending gates.
const SHUTTING_DOWN: &str = "shutting down";

#[derive(Debug, Default)]
struct State {
    gates: BTreeMap<String, bool>,
    shutting_down: bool,
}

/// The gates of one process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    state: Arc<RwLock<State>>,
}

/// What `/readyz` answers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ReadinessReport {
    /// Whether the replica may receive calls.
    pub ready: bool,
    /// Gates that are still closed, by name.
    pub pending: Vec<String>,
}

impl Readiness {
    /// No gates yet: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a closed gate. The name says what is awaited, for example `watch BackupStorage`.
    pub fn gate(&self, name: impl Into<String>) -> Gate {
        let name = name.into();
        self.state.write().gates.insert(name.clone(), false);
        Gate { name, readiness: self.clone() }
    }

    /// Gates that are still closed, in the order of their names.
    pub fn pending(&self) -> Vec<String> {
        let state = self.state.read();
        let closed = state.gates.iter().filter(|(_, open)| !**open).map(|(name, _)| name.clone());
        state.shutting_down.then(|| SHUTTING_DOWN.to_owned()).into_iter().chain(closed).collect()
    }

    /// Whether every gate is open.
    pub fn is_ready(&self) -> bool {
        self.pending().is_empty()
    }

    /// The answer of `/readyz`.
    pub fn report(&self) -> ReadinessReport {
        let pending = self.pending();
        ReadinessReport { ready: pending.is_empty(), pending }
    }

    /// From now on the replica is not ready, whatever its gates say.
    pub fn shut_down(&self) {
        self.state.write().shutting_down = true;
    }
}

/// One gate. Clones open and close the same gate; dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Gate {
    name: String,
    readiness: Readiness,
}

impl Gate {
    /// What was awaited is there.
    pub fn open(&self) {
        self.readiness.state.write().gates.insert(self.name.clone(), true);
    }

    /// Whether it is there.
    pub fn is_open(&self) -> bool {
        self.readiness.state.read().gates.get(&self.name).copied().unwrap_or_default()
    }

    /// It is gone again.
    pub fn close(&self) {
        self.readiness.state.write().gates.insert(self.name.clone(), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_gates_are_named() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let watch = readiness.gate("watch BackupStorage");
        let certificate = readiness.gate("certificate");
        assert_eq!(readiness.pending(), ["certificate", "watch BackupStorage"]);
        certificate.open();
        watch.clone().open();
        assert!(readiness.is_ready());
        watch.close();
        assert_eq!(readiness.report(), ReadinessReport { ready: false, pending: vec!["watch BackupStorage".to_owned()] });
    }

    /// Architecture: readiness turns false before anything is stopped.
    #[test]
    fn a_shutdown_overrides_open_gates() {
        let readiness = Readiness::new();
        readiness.gate("certificate").open();
        readiness.shut_down();
        assert_eq!(readiness.pending(), ["shutting down"]);
    }
}
