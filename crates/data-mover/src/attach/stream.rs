//! Keeps the stream up: speaks what is unsaid, hears what comes, dials again when it breaks.

use std::time::Duration;

use proto_api::mover::v1alpha1::{AttachRequest, AttachResponse, attach_response};
use tracing::Instrument as _;

use super::dial::{Connection, DialError, dial};
use super::{Link, hello};
use crate::backoff::Backoff;

/// What did not fit into the outbound queue is tried again this often.
const BEAT: Duration = Duration::from_secs(1);
/// A fence is believed when it is repeated this often: leaders change, and a new one reads first.
const FENCES: u32 = 3;

/// Talks until the link is closed or its outcome is acknowledged.
pub(super) fn keep_up(link: Link, first: Connection) {
    let tasks = link.shared.tasks.clone();
    let talk = async move {
        let mut next = Some(first);
        while let Some(connection) = next {
            if converse(&link, connection).await == Ended::Done {
                return;
            }
            link.forget_what_was_sent();
            next = redial(&link).await;
        }
    };
    tasks.spawn(talk.in_current_span());
}

#[derive(PartialEq, Eq)]
enum Ended {
    Done,
    Lost,
}

async fn converse(link: &Link, connection: Connection) -> Ended {
    let Connection { outbound, mut inbound, assignment } = connection;
    link.hear_assignment(&assignment);
    let mut beat = tokio::time::interval(BEAT);
    loop {
        link.send_unsent(|message| outbound.try_send(AttachRequest { message: Some(message) }).is_ok());
        tokio::select! {
            () = link.shared.closed.cancelled() => return Ended::Done,
            () = link.shared.changed.notified() => {}
            _ = beat.tick() => {}
            heard = inbound.message() => match heard {
                Ok(Some(response)) => {
                    if is_last(link, response) {
                        return Ended::Done;
                    }
                }
                Ok(None) => {
                    tracing::info!("the session closed the stream, dialling again");
                    return Ended::Lost;
                }
                Err(status) => {
                    tracing::info!(code = %status.code(), message = status.message(), "the stream broke, dialling again");
                    return Ended::Lost;
                }
            },
        }
    }
}

/// Acts on what was heard; says whether nothing can follow it.
fn is_last(link: &Link, response: AttachResponse) -> bool {
    match response.message {
        Some(attach_response::Message::Assignment(assignment)) => link.hear_assignment(&assignment),
        Some(attach_response::Message::LockVerdict(verdict)) => link.hear_verdict(&verdict),
        Some(attach_response::Message::Cancel(cancel)) => link.hear_cancel(cancel.reason),
        Some(attach_response::Message::UpdateLimits(update)) => {
            tracing::info!(limits = ?update.limits, "limits changed");
            link.hear_limits(update.limits.as_ref());
        }
        Some(attach_response::Message::Ack(_)) => {
            link.hear_acknowledgement();
            return true;
        }
        // A newer control plane may say what we do not know yet.
        None => {}
    }
    false
}

/// Dials until somebody answers. A mover that is fenced off stops its work, so that two attempts never write at once.
async fn redial(link: &Link) -> Option<Connection> {
    let environment = &link.shared.environment;
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    let mut fences = 0;
    loop {
        let pause = tokio::time::sleep(backoff.pause());
        link.shared.closed.run_until_cancelled(pause).await?;
        match link.shared.closed.run_until_cancelled(dial(environment, &hello(environment))).await? {
            Ok(connection) => return Some(connection),
            Err(error @ DialError::Refused { .. }) => {
                fences += 1;
                if fences >= FENCES {
                    link.hear_cancel(format!("the session does not want this attempt any more: {error}"));
                }
            }
            Err(error) => tracing::debug!(%error, "not attached again yet"),
        }
    }
}
