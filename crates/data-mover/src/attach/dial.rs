//! One connection: which replica answers is found by asking each.

use std::time::Duration;

use proto_api::mover::v1alpha1::mover_service_client::MoverServiceClient;
use proto_api::mover::v1alpha1::{Assignment, AttachRequest, AttachResponse, Hello, attach_request, attach_response};
use service_kit::auth::TokenFileInterceptor;
use service_kit::client;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::environment::AgentEnvironment;

/// Longest wait for a connection, and then for the assignment.
const ANSWER: Duration = Duration::from_secs(15);
/// Messages that may wait to be sent; what does not fit stays in the link and is sent at its next beat.
const OUTBOUND: usize = 64;

/// A stream that stands, with the assignment it began with.
pub(super) struct Connection {
    pub(super) outbound: mpsc::Sender<AttachRequest>,
    pub(super) inbound: Streaming<AttachResponse>,
    pub(super) assignment: Assignment,
}

/// Why no replica took us.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The leader knows the session and does not want us: a newer attempt runs, or the session is over.
    #[error("{address} refused: {message}")]
    Refused { address: String, message: String },
    /// Nobody answered, or nobody who answered leads.
    #[error("{address}: {message}")]
    Unanswered { address: String, message: String },
}

/// Asks every address of the service until one accepts.
pub(super) async fn dial(environment: &AgentEnvironment, hello: &Hello) -> Result<Connection, DialError> {
    let service = &environment.session_service;
    let unanswered = |message: String| DialError::Unanswered { address: service.address.clone(), message };
    let addresses = client::resolve(&service.address).await.map_err(|error| unanswered(error.to_string()))?;
    let mut last = unanswered("it has no addresses".to_owned());
    for address in addresses {
        let endpoint = client::endpoint_at(address, &service.tls).map_err(|error| unanswered(error.to_string()))?;
        let attempt = async {
            let channel =
                endpoint.connect().await.map_err(|error| Status::unavailable(format!("no connection: {}", innermost(&error))))?;
            let interceptor = TokenFileInterceptor::new(&service.token_file);
            greet(MoverServiceClient::with_interceptor(channel, interceptor), hello).await
        };
        let status = match tokio::time::timeout(ANSWER, attempt).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded(format!("no answer within {} s", ANSWER.as_secs())),
        };
        let (address, message) = (address.to_string(), status.message().to_owned());
        if status.code() == Code::FailedPrecondition {
            return Err(DialError::Refused { address, message });
        }
        last = DialError::Unanswered { address, message: format!("{}: {message}", status.code()) };
    }
    Err(last)
}

async fn greet(
    mut client: MoverServiceClient<
        tonic::service::interceptor::InterceptedService<tonic::transport::Channel, TokenFileInterceptor>,
    >,
    hello: &Hello,
) -> Result<Connection, Status> {
    let (outbound, messages) = mpsc::channel(OUTBOUND);
    // The service answers only once it has heard us, so the greeting is in the stream before the call.
    let greeting = AttachRequest { message: Some(attach_request::Message::Hello(hello.clone())) };
    outbound.try_send(greeting).map_err(|error| Status::internal(error.to_string()))?;
    let mut inbound = client.attach(ReceiverStream::new(messages)).await?.into_inner();
    match inbound.message().await?.and_then(|response| response.message) {
        Some(attach_response::Message::Assignment(assignment)) => Ok(Connection { outbound, inbound, assignment }),
        Some(_) => Err(Status::internal("the session did not begin with an assignment")),
        None => Err(Status::unavailable("the session closed the stream before it gave an assignment")),
    }
}

/// Transport errors hide their cause behind the words "transport error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut current = error;
    while let Some(inner) = current.source() {
        current = inner;
    }
    current.to_string()
}
