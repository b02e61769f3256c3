//! Whether the caches of all controllers hold everything. A controller that reads another one's cache before that would
//! take "not listed yet" for "not there".

use std::time::Duration;

use service_kit::readiness::{Gate, Readiness};

/// Pause until the caches are looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The gates of the three caches. They show in `/readyz` too.
#[derive(Clone, Debug)]
pub struct Caches {
    gates: [Gate; 3],
}

impl Caches {
    /// Caches of these kinds, which are awaited.
    pub fn awaiting(readiness: &Readiness, kinds: &[&str; 3]) -> Self {
        Self { gates: kinds.map(|kind| readiness.gate(format!("watch {kind}"))) }
    }

    /// The gates, in the order of the kinds, for their controllers to open.
    pub fn gates(&self) -> [Gate; 3] {
        self.gates.clone()
    }

    /// How long to wait, if some cache is not full yet.
    pub fn not_yet(&self) -> Option<Duration> {
        self.gates.iter().any(|gate| !gate.is_open()).then_some(LOOK_AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I8: nothing is decided from a cache that is still filling.
    #[test]
    fn every_cache_is_awaited() {
        let caches = Caches::awaiting(&Readiness::new(), &["BackupStorage", "Repository", "Snapshot"]);
        for gate in caches.gates() {
            assert!(caches.not_yet().is_some());
            gate.open();
        }
        assert_eq!(caches.not_yet(), None);
    }
}
