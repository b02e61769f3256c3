//! One conversation, from the assignment to its end.

use planner::bandwidth::Bandwidth;
use proto_api::mover::v1alpha1::{
    Ack, AttachRequest, AttachResponse, Cancel, LockSeen, Progress, UpdateLimits, attach_request, attach_response,
};
use proto_api::status::ServiceError as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::claim::Claim;
use super::registry::{Command, Heard};
use super::verdict::{self, Knowledge};
use super::{AttachError, limits};
use crate::context::Context;
use crate::outcome;

/// One mover's stream.
pub(super) struct Conversation {
    ctx: Context,
    claim: Claim,
    assigned: Bandwidth,
    inbound: Streaming<AttachRequest>,
    outbound: mpsc::Sender<Result<AttachResponse, Status>>,
}

/// Whether a conversation goes on.
#[derive(PartialEq)]
enum Goes {
    On,
    ToItsEnd,
}

impl Conversation {
    pub(super) fn new(
        ctx: Context,
        claim: Claim,
        assigned: Bandwidth,
        inbound: Streaming<AttachRequest>,
        outbound: mpsc::Sender<Result<AttachResponse, Status>>,
    ) -> Self {
        Self { ctx, claim, assigned, inbound, outbound }
    }

    /// Listens and speaks until the mover hangs up, another stream takes over, or this process ends. The mover works on
    /// and dials again.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let registry = self.ctx.registry.clone();
        let (id, mut commands) = registry.attach(&self.claim);
        registry.assigned(&self.claim, id, self.assigned);
        tracing::info!("mover is attached");
        loop {
            let goes = tokio::select! {
                message = self.inbound.message() => match message {
                    Ok(Some(request)) => self.hear(id, request).await,
                    Ok(None) => Goes::ToItsEnd,
                    Err(status) => {
                        tracing::debug!(%status, "stream was interrupted");
                        Goes::ToItsEnd
                    }
                },
                command = commands.recv() => match command {
                    Some(command) => self.tell(command).await,
                    // The session was forgotten: it has ended.
                    None => self.refuse("the session has ended").await,
                },
                () = shutdown.cancelled() => {
                    let _ = self.outbound.try_send(Err(Status::unavailable("this replica of the session-controller ends")));
                    Goes::ToItsEnd
                }
            };
            if goes == Goes::ToItsEnd {
                break;
            }
        }
        registry.detach(&self.claim, id);
        tracing::info!("mover is detached");
    }

    async fn hear(&self, id: super::StreamId, request: AttachRequest) -> Goes {
        let registry = &self.ctx.registry;
        match request.message {
            Some(attach_request::Message::Progress(Progress { target_id, path, transfer })) => {
                if let Some(transfer) = transfer {
                    let (target, path) = (target_id.as_str(), path.as_str());
                    let figures = outcome::transfer(&transfer);
                    let waits_for = Some(transfer.waits_for).filter(|what| !what.is_empty());
                    registry.note_progress(&self.claim, id, Heard { target, path, figures, waits_for }, self.ctx.now());
                }
                Goes::On
            }
            Some(attach_request::Message::Outcome(report)) => {
                let peak_memory = report.peak_memory_bytes;
                tracing::info!(targets = report.targets.len(), error = report.error, peak_memory, "mover reports its end");
                self.ctx.metrics.mover_ended(self.claim.work, peak_memory);
                registry.note_outcome(&self.claim, id, outcome::report(&report));
                Goes::On
            }
            Some(attach_request::Message::LockSeen(seen)) => self.judge(&seen).await,
            // Hello was said. A message that this version does not know is left unanswered.
            Some(attach_request::Message::Hello(_)) | None => Goes::On,
        }
    }

    async fn judge(&self, seen: &LockSeen) -> Goes {
        let pod_uid = seen.holder.as_ref().map(|holder| holder.pod_uid.as_str()).unwrap_or_default();
        let knowledge = Knowledge { record: self.ctx.records.find(pod_uid), running: self.ctx.live_pods.find(pod_uid) };
        let verdict = verdict::answer(seen, &self.ctx.cluster_uid, &knowledge);
        let state = verdict.state().as_str_name();
        tracing::info!(target = verdict.target_id, lock = verdict.lock_id, state, proof = verdict.proof, "lock is judged");
        self.ctx.metrics.lock_judged(state);
        self.say(attach_response::Message::LockVerdict(verdict)).await
    }

    async fn tell(&self, command: Command) -> Goes {
        match command {
            Command::Cancel(reason) => self.say(attach_response::Message::Cancel(Cancel { reason })).await,
            Command::Limits(bandwidth) => {
                tracing::info!(bandwidth.upload, bandwidth.download, "limits changed");
                self.say(attach_response::Message::UpdateLimits(UpdateLimits { limits: Some(limits::to_wire(bandwidth)) })).await
            }
            Command::Ack => self.say(attach_response::Message::Ack(Ack {})).await,
            // Not a refusal: the mover that reads this on its old stream must not take it for one.
            Command::Replaced => self.end(Status::unavailable("the mover has dialled again")).await,
            Command::Fenced(attempt) => self.refuse(&format!("attempt {attempt} has taken over")).await,
        }
    }

    async fn say(&self, message: attach_response::Message) -> Goes {
        let sent = self.outbound.send(Ok(AttachResponse { message: Some(message) })).await;
        if sent.is_ok() { Goes::On } else { Goes::ToItsEnd }
    }

    async fn refuse(&self, why: &str) -> Goes {
        self.end(AttachError::Over { session: self.claim.session_name.clone(), problem: why.to_owned() }.to_status()).await
    }

    async fn end(&self, status: Status) -> Goes {
        let _ = self.outbound.send(Err(status)).await;
        Goes::ToItsEnd
    }
}
