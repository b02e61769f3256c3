//! MoverService of the tests.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::Stream;
use proto_api::mover::v1alpha1::mover_service_server::MoverService;
use proto_api::mover::v1alpha1::{Ack, AttachRequest, AttachResponse, LockVerdict, attach_request, attach_response};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{ControlPlane, State};

pub struct Mover {
    pub state: Arc<Mutex<State>>,
}

type Answers = Pin<Box<dyn Stream<Item = Result<AttachResponse, Status>> + Send>>;

#[tonic::async_trait]
impl MoverService for Mover {
    type AttachStream = Answers;

    async fn attach(&self, request: Request<Streaming<AttachRequest>>) -> Result<Response<Answers>, Status> {
        {
            let mut state = self.state.lock().unwrap();
            ControlPlane::heard_token(&mut state, request.metadata())?;
            if let Some(code) = state.attach_refusal {
                return Err(Status::new(code, "not now"));
            }
        }
        let mut inbound = request.into_inner();
        let Some(attach_request::Message::Hello(hello)) = inbound.message().await?.and_then(|message| message.message) else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let (sender, receiver) = mpsc::channel(64);
        let end = CancellationToken::new();
        let assignment = {
            let mut state = self.state.lock().unwrap();
            state.hellos.push(hello);
            state.streams.push((sender.clone(), end.clone()));
            state.assignment.clone()
        };
        let first = AttachResponse { message: Some(attach_response::Message::Assignment(assignment)) };
        sender.send(Ok(first)).await.unwrap();
        let state = self.state.clone();
        tokio::spawn(async move {
            while let Some(Ok(Some(message))) = end.run_until_cancelled(inbound.message()).await {
                let Some(message) = message.message else { continue };
                if let Some(answer) = hear(&state, message) {
                    let _gone = sender.send(Ok(AttachResponse { message: Some(answer) })).await;
                }
            }
            let _gone = sender.send(Err(Status::unavailable("the leader changed"))).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

fn hear(state: &Mutex<State>, message: attach_request::Message) -> Option<attach_response::Message> {
    let mut state = state.lock().unwrap();
    match message {
        attach_request::Message::Hello(_) => None,
        attach_request::Message::Progress(progress) => {
            state.progress.push(progress);
            None
        }
        attach_request::Message::LockSeen(seen) => {
            let holder = seen.holder.clone().unwrap_or_default();
            let verdict = state.verdict.clone().map(|(verdict, proof)| {
                attach_response::Message::LockVerdict(LockVerdict {
                    target_id: seen.target_id.clone(),
                    lock_id: holder.lock_id,
                    state: verdict.into(),
                    proof,
                })
            });
            state.locks_seen.push(seen);
            verdict
        }
        attach_request::Message::Outcome(outcome) => {
            if state.deaf {
                return None;
            }
            state.outcomes.push(outcome);
            Some(attach_response::Message::Ack(Ack {}))
        }
    }
}
