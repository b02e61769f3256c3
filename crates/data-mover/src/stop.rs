//! Why and when work stops before its end: one token for everybody, and the first reason given.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Why the work was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The session was cancelled, or a newer attempt took over.
    Cancelled(String),
    /// The pod was asked to end (eviction, drain, deletion).
    Terminated,
    /// The session's deadline passed.
    DeadlineExceeded(Timestamp),
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cancelled(reason) => write!(formatter, "cancelled: {reason}"),
            Self::Terminated => {
                formatter.write_str("the mover's pod was told to end (SIGTERM); what was uploaded is kept for the next attempt")
            }
            Self::DeadlineExceeded(deadline) => {
                write!(formatter, "deadline exceeded: the session had to end by {deadline}; raise its timeout or its limits")
            }
        }
    }
}

/// Stops work once; cheap to clone, all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    token: CancellationToken,
    reason: Arc<OnceLock<(StopReason, Instant)>>,
}

impl Stop {
    /// Nothing is stopped yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops everything. The first reason stays.
    pub fn request(&self, reason: StopReason) {
        let sentence = reason.to_string();
        if self.reason.set((reason, Instant::now())).is_ok() {
            tracing::info!(reason = sentence, "stopping");
        }
        self.token.cancel();
    }

    /// Why it was stopped.
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        self.reason.get().map(|(reason, _)| reason.clone())
    }

    /// Waits until it has been stopped for this long.
    pub async fn lasts(&self, grace: Duration) {
        self.token.cancelled().await;
        if let Some((_, stopped)) = self.reason.get() {
            tokio::time::sleep_until(*stopped + grace).await;
        }
    }

    /// Cancelled when it is stopped.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Sleeps, or returns false at once when stopped.
    pub async fn sleep(&self, pause: Duration) -> bool {
        self.token.run_until_cancelled(tokio::time::sleep(pause)).await.is_some()
    }
}
