//! The life of a process: tasks that must run together, and the order in which they end.
//!
//! A task that ends before it was asked to is a fault, whatever it returned: the process then shuts down and exits with
//! an error, and Kubernetes starts it anew. Half a controller is worse than none.

use std::{collections::HashMap, error::Error, fmt, future::Future, io, pin::pin, time::Duration};

use futures::{Stream, StreamExt as _};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::{Id, JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::readiness::Readiness;

/// Longest time that the tasks of one stage may take to end. Work and Lease together stay below the thirty seconds
/// that Kubernetes grants by default.
const GRACE: Duration = Duration::from_secs(20);
const SHORT_GRACE: Duration = Duration::from_secs(3);

type BoxError = Box<dyn Error + Send + Sync>;

/// When a task is asked to end. Stages end one after the other, in this order.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stage {
    /// gRPC servers and controllers.
    Work,
    /// The leader's lease: released only when no controller acts any more. When such a task ends on its own the lease
    /// is lost, and everything is aborted at once: another replica may lead already.
    Lease,
    /// Health and metrics, which are of use to the last.
    Observe,
}

impl Stage {
    const ORDER: [Self; 3] = [Self::Work, Self::Lease, Self::Observe];

    const fn index(self) -> usize {
        match self {
            Self::Work => 0,
            Self::Lease => 1,
            Self::Observe => 2,
        }
    }

    const fn grace(self) -> Duration {
        match self {
            Self::Work => GRACE,
            Self::Lease | Self::Observe => SHORT_GRACE,
        }
    }
}

/// Why a process did not end in good order.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// A task ended before it was asked to.
    #[error("task {task} ended unexpectedly: {reason}")]
    Ended {
        /// Name of the task.
        task: String,
        /// What it returned.
        reason: String,
    },
    /// A second signal came during the shutdown.
    #[error("shutdown was cut short by a second signal")]
    Aborted,
    /// Signals cannot be listened for.
    #[error("cannot listen for signals: {0}")]
    Signals(#[from] io::Error),
}

struct TaskEnd {
    stage: Stage,
    name: String,
    reason: Result<(), String>,
}

impl fmt::Display for TaskEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Ok(()) => formatter.write_str("it returned"),
            Err(reason) => formatter.write_str(reason),
        }
    }
}

/// Runs tasks together and ends them in order.
#[derive(Debug)]
pub struct Supervisor {
    readiness: Readiness,
    tokens: [CancellationToken; 3],
    tasks: JoinSet<Result<(), BoxError>>,
    names: HashMap<Id, (Stage, String)>,
}

impl Supervisor {
    /// Without tasks. The readiness turns false as soon as the shutdown begins.
    pub fn new(readiness: Readiness) -> Self {
        Self { readiness, tokens: Default::default(), tasks: JoinSet::new(), names: HashMap::new() }
    }

    /// The token by which the tasks of a stage are asked to end.
    pub fn token(&self, stage: Stage) -> CancellationToken {
        self.tokens[stage.index()].clone()
    }

    /// Starts a task. It must run until its stage's token is cancelled.
    pub fn spawn<F, E>(&mut self, stage: Stage, name: impl Into<String>, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let handle = self.tasks.spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), (stage, name.into()));
    }

    /// Runs until SIGTERM or SIGINT, or until a task ends on its own; then ends the rest in order.
    ///
    /// # Errors
    /// [`SuperviseError`] when the process should exit with a failure.
    pub async fn run(self) -> Result<(), SuperviseError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let signals = futures::stream::poll_fn(move |context| {
            if terminate.poll_recv(context).is_ready() || interrupt.poll_recv(context).is_ready() {
                return std::task::Poll::Ready(Some(()));
            }
            std::task::Poll::Pending
        });
        self.run_until(signals).await
    }

    /// As [`Supervisor::run`], with the signals given: the first item begins the shutdown, the second cuts it short.
    ///
    /// # Errors
    /// [`SuperviseError`] when the process should exit with a failure.
    pub async fn run_until(mut self, signals: impl Stream<Item = ()>) -> Result<(), SuperviseError> {
        let mut signals = pin!(signals.chain(futures::stream::pending()));
        let cause = tokio::select! {
            _ = signals.next() => None,
            Some(end) = self.next_end() => Some(end),
        };
        self.readiness.shut_down();
        let outcome = match cause {
            None => {
                tracing::info!("shutdown requested");
                Ok(())
            }
            Some(end) => {
                tracing::error!(task = end.name, reason = %end, "task ended unexpectedly");
                let error = SuperviseError::Ended { task: end.name.clone(), reason: end.to_string() };
                if end.stage == Stage::Lease {
                    return Err(error);
                }
                Err(error)
            }
        };
        for stage in Stage::ORDER {
            self.tokens[stage.index()].cancel();
            tokio::select! {
                ended = self.drain(stage) => ended?,
                _ = signals.next() => return Err(SuperviseError::Aborted),
            }
        }
        outcome
    }

    /// Waits for the tasks of a stage and leaves behind those that do not end in time.
    async fn drain(&mut self, stage: Stage) -> Result<(), SuperviseError> {
        let deadline = Instant::now() + stage.grace();
        while self.names.values().any(|(other, _)| *other == stage) {
            match timeout_at(deadline, self.next_end()).await {
                Ok(Some(end)) if end.stage == Stage::Lease && stage == Stage::Work => {
                    return Err(SuperviseError::Ended { task: end.name.clone(), reason: end.to_string() });
                }
                Ok(Some(end)) => {
                    if let Err(reason) = &end.reason {
                        tracing::warn!(task = end.name, reason, "task ended with an error");
                    }
                }
                Ok(None) => return Ok(()),
                Err(_) => {
                    let left: Vec<&str> =
                        self.names.values().filter(|(other, _)| *other == stage).map(|(_, name)| name.as_str()).collect();
                    tracing::warn!(tasks = ?left, "tasks did not end in time and are left behind");
                    self.names.retain(|_, (other, _)| *other != stage);
                }
            }
        }
        Ok(())
    }

    async fn next_end(&mut self) -> Option<TaskEnd> {
        loop {
            let (id, reason) = match self.tasks.join_next_with_id().await? {
                Ok((id, result)) => (id, result.map_err(|error| describe(error.as_ref()))),
                Err(error) => (error.id(), Err(describe_join(&error))),
            };
            // A task that was left behind has no name any more.
            if let Some((stage, name)) = self.names.remove(&id) {
                return Some(TaskEnd { stage, name, reason });
            }
        }
    }
}

fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors print their cause already.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn describe_join(error: &JoinError) -> String {
    if error.is_panic() { "it panicked".to_owned() } else { "it was cancelled".to_owned() }
}

#[cfg(test)]
#[path = "supervise_tests.rs"]
mod tests;
