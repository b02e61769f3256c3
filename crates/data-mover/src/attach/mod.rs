//! The stream to the session: dial, say hello, hear the assignment, and keep talking while the work goes on.
//!
//! Everything said over the stream may be lost and is said again after a redial: cumulative progress, open questions about
//! locks, the outcome. The work never waits for the stream, except for its beginning and, for a bounded time, its end.

mod dial;
mod link;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use proto_api::mover::v1alpha1::{Assignment, Hello};
use storage::Limits;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::environment::AgentEnvironment;
use crate::stop::Stop;
use dial::DialError;
pub use link::Link;

/// Why a mover did not get its work.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Nobody answered in time.
    #[error(
        "could not attach to {session} at {address} within {} s: {last}; check that the session-controller runs and that \
         network policies let this pod reach it", waited.as_secs()
    )]
    Unreachable {
        /// The session.
        session: String,
        /// Address of the service.
        address: String,
        /// How long it was tried.
        waited: Duration,
        /// The last answer.
        last: String,
    },
    /// The session does not want this mover.
    #[error("{session} refused this mover: {message}")]
    Refused {
        /// The session.
        session: String,
        /// What it said.
        message: String,
    },
    /// The mover was told to end before it had begun.
    #[error("stopped before {session} could be attached to: {reason}")]
    Stopped {
        /// The session.
        session: String,
        /// Why.
        reason: String,
    },
}

/// Attaches, and keeps the stream up in the background from then on.
///
/// # Errors
/// [`AttachError`] after at most five minutes.
pub async fn attach(
    environment: &Arc<AgentEnvironment>,
    limits: &Arc<Limits>,
    stop: &Stop,
) -> Result<(Link, Assignment), AttachError> {
    let session = environment.session.display().to_string();
    let begin = Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut refused_since = None;
    loop {
        let stopped = || AttachError::Stopped {
            session: session.clone(),
            reason: stop.reason().map(|reason| reason.to_string()).unwrap_or_default(),
        };
        let greeting = hello(environment);
        let dialled = stop.token().run_until_cancelled(dial::dial(environment, &greeting)).await;
        let error = match dialled.ok_or_else(stopped)? {
            Ok(connection) => {
                let assignment = connection.assignment.clone();
                let link = Link::new(environment, limits, stop);
                link.hear_assignment(&assignment);
                stream::keep_up(link.clone(), connection);
                return Ok((link, assignment));
            }
            Err(error) => error,
        };
        tracing::info!(%error, "not attached yet");
        if let DialError::Refused { message, .. } = &error {
            let since = *refused_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= environment.patience.refusal {
                return Err(AttachError::Refused { session, message: message.clone() });
            }
        } else {
            refused_since = None;
        }
        if begin.elapsed() >= environment.patience.start_up {
            let address = environment.session_service.address.clone();
            return Err(AttachError::Unreachable { session, address, waited: begin.elapsed(), last: error.to_string() });
        }
        if !stop.sleep(backoff.pause()).await {
            return Err(stopped());
        }
    }
}

fn hello(environment: &AgentEnvironment) -> Hello {
    Hello {
        protocol_version: proto_api::PROTOCOL_VERSION,
        session: Some(environment.session.clone()),
        component: environment.component.clone(),
        attempt: environment.attempt,
        mover_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
