//! Whose turn it is: the sessions of the cluster against the administrator's limits (architecture §3).
//!
//! Held in memory by the leader, so that two sessions that ask at once never get one place. A new leader learns who runs
//! from the sessions themselves, as it looks at each for the first time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use planner::admission::{Admission, Candidate, Limits, Occupant, admit};
use planner::decision::{Decision, Reason};

const STEP: &str = "admission";

#[derive(Debug, Default)]
struct State {
    running: BTreeMap<String, Occupant>,
    waiting: BTreeMap<String, Candidate>,
}

/// The queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    limits: Limits,
    state: Arc<Mutex<State>>,
}

/// What a session takes up.
pub fn occupant(kind: &str, namespace: &str, name: &str, storages: BTreeSet<String>, nodes: BTreeSet<String>) -> Occupant {
    Occupant { session: format!("{kind} {namespace}/{name}"), storages, nodes }
}

impl Queue {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: Arc::default() }
    }

    /// Whether anything is limited.
    pub fn is_limited(&self) -> bool {
        self.limits != Limits::default()
    }

    /// Whether it matters which storages a session uses.
    pub fn counts_storages(&self) -> bool {
        self.limits.storage.is_some()
    }

    /// Asks for a place. A session that is admitted holds it from now on; one that has to wait keeps its turn.
    pub fn ask(&self, occupant: Occupant, waiting_since: Timestamp, now: Timestamp) -> Decision<Admission> {
        let session = occupant.session.clone();
        let mut state = self.state.lock();
        if state.running.contains_key(&session) {
            let reason = Reason::new(STEP, "Running", "the session has its place already");
            return Decision::new(Admission::Admit, reason);
        }
        state.waiting.insert(session.clone(), Candidate { occupant: occupant.clone(), waiting_since });
        let running: Vec<Occupant> = state.running.values().cloned().collect();
        let waiting: Vec<Candidate> = state.waiting.values().cloned().collect();
        let mut decided = admit(&self.limits, &running, &waiting, now).into_iter();
        let decision = decided.find(|(asked, _)| *asked == session).map(|(_, decision)| decision);
        let decision = decision.unwrap_or_else(|| {
            let reason = Reason::new(STEP, "NotQueued", "the session was not found in the queue");
            Decision::new(Admission::Wait, reason)
        });
        if decision.action == Admission::Admit {
            state.waiting.remove(&session);
            state.running.insert(session, occupant);
        }
        decision
    }

    /// Notes a session that runs; what it takes up is kept if it is known already.
    pub fn occupy(&self, occupant: Occupant) {
        let mut state = self.state.lock();
        state.waiting.remove(&occupant.session);
        state.running.entry(occupant.session.clone()).or_insert(occupant);
    }

    /// A session has ended or is gone.
    pub fn release(&self, session: &str) {
        let mut state = self.state.lock();
        state.running.remove(session);
        state.waiting.remove(session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(name: &str) -> Occupant {
        occupant("BackupSession", "demo", name, ["demo/main".to_owned()].into(), BTreeSet::new())
    }

    fn ask(queue: &Queue, name: &str, second: i64) -> Admission {
        let since = Timestamp::from_second(second).unwrap_or_default();
        queue.ask(session(name), since, Timestamp::UNIX_EPOCH).action
    }

    #[test]
    fn places_are_given_once_and_in_order() {
        let queue = Queue::new(Limits { storage: Some(1), ..Limits::default() });
        assert!(queue.is_limited() && queue.counts_storages());
        assert_eq!(ask(&queue, "first", 1), Admission::Admit);
        assert_eq!(ask(&queue, "first", 1), Admission::Admit, "asking again takes no second place");
        assert_eq!(ask(&queue, "third", 3), Admission::Wait);
        assert_eq!(ask(&queue, "second", 2), Admission::Wait);
        queue.release("BackupSession demo/first");
        assert_eq!(ask(&queue, "third", 3), Admission::Wait, "the second has waited longer");
        assert_eq!(ask(&queue, "second", 2), Admission::Admit);
    }

    #[test]
    fn what_runs_already_is_counted_and_one_that_goes_leaves_its_turn() {
        let queue = Queue::new(Limits { cluster: Some(1), ..Limits::default() });
        queue.occupy(session("running"));
        assert_eq!(ask(&queue, "gone", 1), Admission::Wait);
        assert_eq!(ask(&queue, "next", 2), Admission::Wait);
        queue.release("BackupSession demo/gone");
        queue.release("BackupSession demo/running");
        assert_eq!(ask(&queue, "next", 2), Admission::Admit);
    }
}
