//! The life of an agent: attach, work on each target, leave the outcome in its places, end.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proto_api::mover::v1alpha1::{Assignment, Outcome, Target, TargetOutcome};
use service_kit::trace_context;
use storage::{Counters, Limits, OpenOptions as StoreOptions};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::access::AccessClient;
use crate::args::Work;
use crate::attach::{Link, attach};
use crate::environment::{AgentEnvironment, Patience};
use crate::failure::Failure;
use crate::memory;
use crate::outcome::{Exit, leave_last_words};
use crate::stop::{Stop, StopReason};
use crate::target::{self, Context};

/// A control plane that answers at all acknowledges an outcome within this time.
const ANSWER: Duration = Duration::from_millis(250);

/// Runs an agent to its end. `terminated` is cancelled when the pod is told to end.
pub async fn run(work: Work, environment: AgentEnvironment, terminated: CancellationToken) -> Exit {
    let environment = Arc::new(environment);
    let span = tracing::info_span!(
        "mover",
        otel.name = match work {
            Work::Backup(_) => "mover.backup",
            Work::Restore(_) => "mover.restore",
            Work::Retention(_) => "mover.retention",
        },
        session.uid = environment.session.uid,
        session = %environment.session.display(),
        component = environment.component,
        attempt = environment.attempt,
        k8s.pod.uid = environment.pod_uid,
        trace_id = tracing::field::Empty,
    );
    if let Some(traceparent) = &environment.traceparent {
        trace_context::set_parent(&span, traceparent);
    }
    trace_context::record_trace_id(&span);
    live(work, environment, terminated).instrument(span).await
}

async fn live(work: Work, environment: Arc<AgentEnvironment>, terminated: CancellationToken) -> Exit {
    let started = Timestamp::now();
    let stop = Stop::new();
    tokio::spawn(stop_when_terminated(terminated, stop.clone()));
    let limits = Limits::new();
    let (link, assignment) = match attach(&environment, &limits, &stop).await {
        Ok(attached) => attached,
        Err(error) => {
            tracing::error!(%error, "not attached");
            let outcome = finish(Outcome { error: error.to_string(), ..Outcome::default() }, started);
            leave_last_words(&environment.termination_log, &outcome);
            return Exit::NotAttached;
        }
    };
    tracing::info!(targets = assignment.targets.len(), "attached");
    // Outside of the mover's span, which ends, and is exported, only when no task holds it any more.
    tokio::spawn(stop_at_deadline(link.clone(), stop.clone()));
    let outcome = finish(do_work(work, &environment, assignment, limits, &link, &stop).await, started);
    tracing::info!(exit = ?Exit::of(&outcome), peak_memory_bytes = outcome.peak_memory_bytes, "work ended");
    leave_last_words(&environment.termination_log, &outcome);
    let exit = Exit::of(&outcome);
    report(&link, outcome, &stop, environment.patience).await;
    exit
}

async fn do_work(
    work: Work,
    environment: &Arc<AgentEnvironment>,
    assignment: Assignment,
    limits: Arc<Limits>,
    link: &Link,
    stop: &Stop,
) -> Outcome {
    let client = match AccessClient::new(&environment.storage_service, environment.patience) {
        Ok(client) => client,
        Err(error) => return Outcome { error: error.to_string(), ..Outcome::default() },
    };
    let context = Context {
        environment: Arc::clone(environment),
        assignment: Arc::new(assignment),
        work,
        client,
        store_options: StoreOptions { limits: Some(limits), counters: Some(Arc::new(Counters::default())), outage: None },
        link: link.clone(),
        stop: stop.clone(),
    };
    let mut outcome = Outcome::default();
    if context.assignment.targets.is_empty() {
        // An earlier attempt's outcome was recorded after this one had been started.
        tracing::info!(session = %environment.session.display(), "nothing is left to do");
    }
    // One after the other: two at once would only share the same disk and twice the memory.
    for target in &context.assignment.targets {
        outcome.targets.push(run_target(&context, target).await);
    }
    let requests = context.store_options.counters.as_ref().map(|counters| counters.snapshot());
    tracing::info!(store = ?requests, "requests to the store");
    outcome
}

/// A defect in the work on one target must not take the others' outcomes with it.
async fn run_target(context: &Context, target: &Target) -> TargetOutcome {
    let span = tracing::info_span!("target", target = target.id, otel.name = "mover.target");
    let (own_context, own_target) = (context.clone(), target.clone());
    let task = tokio::spawn(async move { target::run(&own_context, &own_target).await }.instrument(span));
    let outcome = match task.await {
        Ok(outcome) => outcome,
        Err(error) => {
            Failure::passing(format!("the mover's work on target {:?} broke off: {error}; report this with its log", target.id))
                .into_outcome(TargetOutcome { target_id: target.id.clone(), ..TargetOutcome::default() })
        }
    };
    if outcome.error.is_empty() {
        tracing::info!(target = target.id, result = ?outcome.result(), "target ended");
    } else {
        tracing::error!(target = target.id, result = ?outcome.result(), error = outcome.error, "target ended");
    }
    outcome
}

fn finish(mut outcome: Outcome, started: Timestamp) -> Outcome {
    outcome.peak_memory_bytes = memory::peak_bytes();
    outcome.started = Some(proto_api::time::to_proto(started));
    outcome.finished = Some(proto_api::time::to_proto(Timestamp::now()));
    outcome
}

/// Waits for the acknowledgement; the termination message is there already, so nothing is lost when it does not come.
async fn report(link: &Link, outcome: Outcome, stop: &Stop, patience: Patience) {
    let hurry = async {
        // However late it is, a control plane that answers is heard.
        tokio::join!(stop.lasts(patience.hurried_acknowledgement), tokio::time::sleep(ANSWER));
    };
    let acknowledged = tokio::select! {
        acknowledged = link.report(outcome, patience.acknowledgement) => acknowledged,
        () = hurry => false,
    };
    if !acknowledged {
        tracing::warn!("the outcome was not acknowledged; it stands in the termination message");
    }
    link.close().await;
}

async fn stop_when_terminated(terminated: CancellationToken, stop: Stop) {
    terminated.cancelled().await;
    stop.request(StopReason::Terminated);
}

/// Deadlines are points in time of the API server; a node's clock that is a little off shifts them by as much.
async fn stop_at_deadline(link: Link, stop: Stop) {
    let mut heard = link.deadline();
    loop {
        let deadline = *heard.borrow_and_update();
        let passed = async {
            match deadline {
                Some(deadline) => {
                    let left = Timestamp::now().duration_until(deadline);
                    tokio::time::sleep(left.try_into().unwrap_or(Duration::ZERO)).await;
                    deadline
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            deadline = passed => return stop.request(StopReason::DeadlineExceeded(deadline)),
            changed = heard.changed() => if changed.is_err() { return },
        }
    }
}
