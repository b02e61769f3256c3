//! The trigger in a CronJob's pod: one call to the scheduler, which finds out from the pod's owners which slot it stands for.

use std::time::Duration;

use proto_api::mover::v1alpha1::Outcome;
use proto_api::schedule::v1alpha1::TriggerRequest;
use proto_api::schedule::v1alpha1::schedule_service_client::ScheduleServiceClient;
use proto_api::status::ErrorCode;
use service_kit::auth::TokenFileInterceptor;
use service_kit::{client, trace_context};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};
use tracing::Instrument as _;

use crate::backoff::Backoff;
use crate::environment::TriggerEnvironment;
use crate::outcome::{Exit, leave_last_words};

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// A refusal is believed sooner than an agent's: only caches that lag by seconds are waited for.
const REFUSALS: u32 = 6;

/// Triggers the session, or says why not.
pub async fn run(environment: TriggerEnvironment, terminated: CancellationToken) -> Exit {
    let span = tracing::info_span!(
        "trigger",
        otel.name = "schedule.trigger",
        backup_configuration = %environment.backup_configuration.display(),
        session = environment.session,
        trace_id = tracing::field::Empty,
    );
    if let Some(traceparent) = &environment.traceparent {
        trace_context::set_parent(&span, traceparent);
    }
    trace_context::record_trace_id(&span);
    async {
        match terminated.run_until_cancelled(ask(&environment)).await {
            Some(Ok(())) => Exit::Done,
            Some(Err((exit, error))) => end(&environment, exit, error),
            None => end(&environment, Exit::Retryable, "the trigger's pod was told to end".to_owned()),
        }
    }
    .instrument(span)
    .await
}

fn end(environment: &TriggerEnvironment, exit: Exit, error: String) -> Exit {
    tracing::error!(error, "not triggered");
    leave_last_words(&environment.termination_log, &Outcome { error, ..Outcome::default() });
    exit
}

async fn ask(environment: &TriggerEnvironment) -> Result<(), (Exit, String)> {
    let service = &environment.schedule_service;
    let endpoint = client::endpoint(&service.address, &service.tls).map_err(|error| (Exit::Failed, error.to_string()))?;
    let interceptor = TokenFileInterceptor::new(&service.token_file);
    let mut client = ScheduleServiceClient::with_interceptor(endpoint.connect_lazy(), interceptor);
    let begin = Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        let mut request = Request::new(TriggerRequest {
            backup_configuration: Some(environment.backup_configuration.clone()),
            session: environment.session.clone(),
            idempotency_key: String::new(),
        });
        request.set_timeout(ANSWER);
        let status = match client.trigger(request).await {
            Ok(response) => {
                let response = response.into_inner();
                let backup_session = response.backup_session.as_ref().map(|session| session.display().to_string());
                tracing::info!(backup_session, created = response.created, reason = response.reason, "answered");
                return Ok(());
            }
            Err(status) => status,
        };
        let passing = ErrorCode::from_grpc(status.code()).is_retryable() || status.code() == Code::Unknown;
        let patience = if passing { environment.patience.service } else { environment.patience.refusal / REFUSALS };
        if begin.elapsed() >= patience {
            return Err(if passing {
                (Exit::Retryable, sentence(environment, "did not answer", &status))
            } else {
                (Exit::Failed, sentence(environment, "refused", &status))
            });
        }
        tracing::info!(code = %status.code(), message = status.message(), "asking again");
        tokio::time::sleep(backoff.pause()).await;
    }
}

fn sentence(environment: &TriggerEnvironment, what: &str, status: &Status) -> String {
    format!(
        "session {} of {} was not triggered: the scheduler at {} {what}: {} ({})",
        environment.session,
        environment.backup_configuration.display(),
        environment.schedule_service.address,
        status.message(),
        status.code(),
    )
}
