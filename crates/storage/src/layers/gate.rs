//! A semaphore whose size may change while people wait at it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct State {
    limit: Option<u32>,
    inside: u32,
}

/// Lets at most `limit` holders in; no limit lets everybody in.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Notify,
}

impl Gate {
    pub(super) fn set_limit(&self, limit: Option<u32>) {
        self.lock().limit = limit.map(|limit| limit.max(1));
        self.changed.notify_waiters();
    }

    pub(super) async fn enter(self: &Arc<Self>) -> Pass {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that a leave in between is not missed.
            changed.as_mut().enable();
            if self.try_enter() {
                return Pass { gate: Arc::clone(self) };
            }
            changed.await;
        }
    }

    fn try_enter(&self) -> bool {
        let mut state = self.lock();
        let free = state.limit.is_none_or(|limit| state.inside < limit);
        if free {
            state.inside += 1;
        }
        free
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Being inside; leaving is dropping it.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.inside = state.inside.saturating_sub(1);
        drop(state);
        self.gate.changed.notify_waiters();
    }
}
