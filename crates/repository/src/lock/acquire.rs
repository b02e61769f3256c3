//! Taking a lock: look, write, settle, look again; wait while others are in the way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clear::Looks;
use super::guard::LockGuard;
use super::{LockHolder, LockIdentity, LockJudge, LockMode, LockTimes, NoJudge};
use crate::Repository;
use crate::control::{Control, Event};
use crate::error::{Error, Result};

/// In a race the lock with the lowest id may stay while the others withdraw; it waits for them this many looks.
const RACE_LOOKS: usize = 8;

/// What lock to take, who we are and how long to wait.
#[derive(Clone)]
pub struct LockRequest {
    /// Shared or exclusive.
    pub mode: LockMode,
    /// Who we are.
    pub identity: LockIdentity,
    /// How long to wait for others at most.
    pub wait: Duration,
    /// Who is asked about locks in the way.
    pub judge: Arc<dyn LockJudge>,
    /// The protocol's times; leave the default.
    pub times: LockTimes,
}

impl LockRequest {
    /// A request that waits for nobody and asks nobody.
    #[must_use]
    pub fn new(mode: LockMode, identity: LockIdentity) -> Self {
        Self { mode, identity, wait: Duration::ZERO, judge: Arc::new(NoJudge), times: LockTimes::default() }
    }

    /// Waits up to `wait` for other holders.
    #[must_use]
    pub fn waiting(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Asks `judge` about locks in the way.
    #[must_use]
    pub fn judged_by(mut self, judge: Arc<dyn LockJudge>) -> Self {
        self.judge = judge;
        self
    }
}

impl Repository {
    /// Takes a lock. It is refreshed in the background until the guard is released or dropped.
    ///
    /// While it waits, the listener hears [`Event::LockWaiting`] at every look; locks of dead holders are removed as the judge
    /// proves their death, or when they are stale.
    ///
    /// # Errors
    /// [`Error::Locked`] when the wait is over, [`Error::Cancelled`], else of the store.
    pub async fn lock(&self, request: LockRequest, control: &Control) -> Result<LockGuard> {
        control.finish(self.take_lock(request, control)).await
    }

    async fn take_lock(&self, request: LockRequest, control: &Control) -> Result<LockGuard> {
        let begin = Instant::now();
        let mut looks = Looks::default();
        let mut pause = request.times.pause.0;
        loop {
            control.check()?;
            let in_the_way = match self.try_lock(&request, control).await? {
                Attempt::Taken(guard) => return Ok(guard),
                Attempt::InTheWay(holders) => holders,
            };
            looks.note(&in_the_way);
            if self.clear_dead_locks(&in_the_way, &looks, &request, control).await? {
                continue;
            }
            let waited = begin.elapsed();
            if let Some(holder) = in_the_way.into_iter().next() {
                if waited >= request.wait {
                    return Err(Error::Locked { holder: Box::new(holder), waited });
                }
                control.emit(Event::LockWaiting { holder, waited });
            }
            // Two who wait for the same lock must not come back at the same moment again and again.
            let jitter = 0.75 + rand::random::<f64>() / 2.0;
            let sleep = pause.mul_f64(jitter).min(request.wait.saturating_sub(waited).max(Duration::from_millis(1)));
            pause = (pause * 2).min(request.times.pause.1);
            control
                .run(async {
                    tokio::time::sleep(sleep).await;
                    Ok(())
                })
                .await?;
        }
    }

    async fn try_lock(&self, request: &LockRequest, control: &Control) -> Result<Attempt> {
        let before = self.locks_in_the_way(request.mode, None, control).await?;
        if !before.is_empty() {
            return Ok(Attempt::InTheWay(before));
        }
        let mut guard = LockGuard::write(self, request, control).await?;
        match self.survey(request, &guard, control).await {
            Ok(in_the_way) if in_the_way.is_empty() => {
                if request.mode == LockMode::Exclusive
                    && let Err(error) = self.sweep_locks(guard.handle().current_id(), request.times.stale).await
                {
                    tracing::warn!(%error, "could not remove what is left among the locks");
                }
                guard.start_refreshing();
                Ok(Attempt::Taken(guard))
            }
            Ok(in_the_way) => {
                guard.release().await?;
                Ok(Attempt::InTheWay(in_the_way))
            }
            Err(error) => {
                // The lock that we leave would keep others out for half an hour.
                if let Err(left) = guard.release().await {
                    tracing::warn!(error = %left, "could not take back a lock");
                }
                Err(error)
            }
        }
    }

    /// Looks for others after our lock was written. Of those who wrote at the same time the lowest id waits for the rest to
    /// withdraw; a lock that does not go away has won, whatever its id.
    async fn survey(&self, request: &LockRequest, guard: &LockGuard, control: &Control) -> Result<Vec<LockHolder>> {
        let own = guard.handle().current_id();
        let mut clear_looks = 0;
        // An exclusive holder deletes data, so it looks twice: a listing may miss a lock that is refreshed under its eyes.
        let needed = if request.mode == LockMode::Exclusive { 2 } else { 1 };
        let mut in_the_way = Vec::new();
        for _ in 0..RACE_LOOKS {
            tokio::time::sleep(request.times.settle).await;
            in_the_way = self.locks_in_the_way(request.mode, Some(own), control).await?;
            if in_the_way.iter().any(|holder| holder.lock_id < own) {
                return Ok(in_the_way);
            }
            clear_looks = if in_the_way.is_empty() { clear_looks + 1 } else { 0 };
            if clear_looks == needed {
                return Ok(Vec::new());
            }
        }
        if in_the_way.is_empty() {
            return Err(Error::damaged("locks", "locks come and go faster than they can be read"));
        }
        Ok(in_the_way)
    }
}

enum Attempt {
    Taken(LockGuard),
    InTheWay(Vec<LockHolder>),
}
