//! `MoverService.Attach` as gRPC sees it.

use std::time::Duration;

use proto_api::mover::v1alpha1::mover_service_server::MoverService;
use proto_api::mover::v1alpha1::{AttachRequest, AttachResponse, Hello, attach_request, attach_response};
use proto_api::status::ServiceError as _;
use service_kit::auth::bearer_token;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use super::assignment::assignment;
use super::authorise::authorise;
use super::stream::Conversation;
use super::{AttachError, claim::Claim, limits};
use crate::context::Context;

/// A mover says Hello before anything else, and at once.
const HELLO: Duration = Duration::from_secs(10);
/// Time for the checks and the assignment, all of which ask the API server.
const ANSWER: Duration = Duration::from_secs(12);
/// Messages to a mover that may wait: an assignment, and verdicts while it reads slowly.
const OUTBOUND: usize = 16;

/// Serves movers.
pub struct MoverServer {
    ctx: Context,
    shutdown: CancellationToken,
}

impl MoverServer {
    /// A server whose streams end with `shutdown`.
    pub fn new(ctx: Context, shutdown: CancellationToken) -> Self {
        Self { ctx, shutdown }
    }

    async fn begin(&self, request: Request<Streaming<AttachRequest>>) -> Result<(Claim, Conversation, Outbound), Status> {
        if !self.ctx.registry.is_open() {
            return Err(AttachError::NotLeading.to_status());
        }
        let token = bearer_token(request.metadata())?.to_owned();
        let mut inbound = request.into_inner();
        let hello = hello(&mut inbound).await?;
        let checked = async {
            let (claim, session) = authorise(&self.ctx, &token, &hello).await?;
            let assignment = assignment(&self.ctx, &claim, &session).await?;
            Ok::<_, AttachError>((claim, assignment))
        };
        let (claim, assignment) = match timeout(ANSWER, checked).await {
            Ok(Ok(checked)) => checked,
            Ok(Err(error)) => {
                tracing::info!(%error, "mover is not attached");
                return Err(error.to_status());
            }
            Err(_) => return Err(Status::unavailable("the API server answers too slowly")),
        };
        let limits = limits::of_wire(assignment.limits);
        let (sender, outbound) = mpsc::channel(OUTBOUND);
        let first = AttachResponse { message: Some(attach_response::Message::Assignment(assignment)) };
        // The channel is new and has room.
        let _ = sender.try_send(Ok(first));
        let conversation = Conversation::new(self.ctx.clone(), claim.clone(), limits, inbound, sender);
        Ok((claim, conversation, ReceiverStream::new(outbound)))
    }
}

type Outbound = ReceiverStream<Result<AttachResponse, Status>>;

#[tonic::async_trait]
impl MoverService for MoverServer {
    type AttachStream = Outbound;

    async fn attach(&self, request: Request<Streaming<AttachRequest>>) -> Result<Response<Outbound>, Status> {
        let (claim, conversation, outbound) = self.begin(request).await?;
        let span = tracing::info_span!(
            "attach",
            kind = claim.kind.as_str(),
            namespace = claim.namespace,
            name = claim.session_name,
            component = claim.component,
            attempt = claim.attempt,
            pod = claim.pod,
        );
        tokio::spawn(conversation.run(self.shutdown.clone()).instrument(span));
        Ok(Response::new(outbound))
    }
}

async fn hello(inbound: &mut Streaming<AttachRequest>) -> Result<Hello, Status> {
    let missing = || AttachError::NoHello(HELLO.as_secs()).to_status();
    let first = timeout(HELLO, inbound.message()).await.map_err(|_| missing())??;
    match first.and_then(|request| request.message) {
        Some(attach_request::Message::Hello(hello)) => Ok(hello),
        _ => Err(missing()),
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
