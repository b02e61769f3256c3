//! BackupSessions: looked at, decided by `planner::session`, acted upon.

mod apply;
mod cleanup;
mod dereference;
mod error;
mod update_status;
mod validate;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crd_types::{BackupSession, BackupSessionPhase, names::FINALIZER, names::manager};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _};
use kube_kit::controller::{Next, Reconciler};
use kube_kit::finalize;
use planner::admission::Occupant;
use planner::session::{Answer, Limits, Plan, Stage, decide, refused};
use service_kit::trace_context;
use tracing::Instrument as _;

pub use error::Error;
pub use validate::Validated;

use crate::attach::pass_on_limits;
use crate::context::Context;
use crate::prepare::{SessionIdentity, traceparent};
use apply::Applied;
use dereference::Answers;

/// Name of the controller in metrics and logs.
pub const CONTROLLER_NAME: &str = "backup-session";

/// Most passes in one reconcile. A session takes four from its start to its Job; more in a row would be a loop.
const MOST_PASSES: usize = 16;

/// When an action that the API server refused is tried again.
const AFTER_REFUSAL: Duration = Duration::from_secs(15);

/// What all reconciles share.
pub struct Shared {
    /// The process.
    pub ctx: Context,
    /// Bounds of sessions.
    pub limits: Limits,
}

/// The reconciler of BackupSessions.
pub struct BackupSessions {
    shared: Shared,
}

impl BackupSessions {
    /// A reconciler.
    pub fn new(ctx: Context) -> Self {
        Self { shared: Shared { ctx, limits: Limits::default() } }
    }
}

impl Reconciler for BackupSessions {
    type Resource = BackupSession;
    type Error = Error;

    async fn reconcile(&self, cached: Arc<BackupSession>) -> Result<Next, Error> {
        let span = tracing::info_span!(
            "backup_session",
            kind = "BackupSession",
            namespace = cached.namespace().unwrap_or_default(),
            name = cached.name_any(),
            session.uid = cached.uid().unwrap_or_default(),
            trace_id = tracing::field::Empty,
        );
        trace_context::set_parent(&span, &traceparent(&SessionIdentity::of("BackupSession", &*cached, None)));
        trace_context::record_trace_id(&span);
        reconcile(&self.shared, &cached).instrument(span).await
    }
}

async fn reconcile(shared: &Shared, cached: &BackupSession) -> Result<Next, Error> {
    if is_settled(cached) {
        // Phases never go back, so a cache that says so is as good as the API server, and asks it nothing.
        shared.ctx.registry.forget(&cached.uid().unwrap_or_default());
        shared.ctx.queue.release(&format!("BackupSession {}/{}", cached.namespace().unwrap_or_default(), cached.name_any()));
        return Ok(Next::Changed);
    }
    let Some(mut validated) = fetch(shared, cached).await? else { return Ok(Next::Changed) };
    if validated.session.metadata.deletion_timestamp.is_some() {
        return cleanup::cleanup(shared, validated).await;
    }
    if !finalize::has(&validated.session, FINALIZER) {
        let api: Api<BackupSession> = Api::namespaced(shared.ctx.client.clone(), &validated.owner.namespace);
        let session = finalize::add(&api, manager::SESSION_CONTROLLER, &validated.session, FINALIZER).await?;
        validated = validated.with(session);
    }
    for _ in 0..MOST_PASSES {
        match pass(shared, validated).await {
            Ok(Passed { validated: after, again: true, .. }) => validated = after,
            Ok(Passed { next, .. }) => return Ok(next),
            Err(error) if error.is_conflict() => {
                tracing::debug!(%error, "somebody else wrote meanwhile");
                let Some(fresh) = fetch(shared, cached).await? else { return Ok(Next::Changed) };
                validated = fresh;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Next::After(Duration::from_secs(1)))
}

/// What one pass came to.
struct Passed {
    validated: Validated,
    again: bool,
    next: Next,
}

/// Looks once, decides once, acts once.
async fn pass(shared: &Shared, validated: Validated) -> Result<Passed, Error> {
    let observed = dereference::observe(shared, &validated).await?;
    pass_on_limits(&shared.ctx, &validated.session, observed.configuration.as_ref()).await;
    let now = shared.ctx.now();
    let mut answers = Answers::default();
    let plan = loop {
        match decide(&dereference::view(&validated, &observed, &answers, &shared.limits, now)) {
            Answer::Plan(plan) => break plan,
            Answer::Need(need) => dereference::answer(shared, &validated, &observed, &mut answers, need).await?,
        }
    };
    log(&plan);
    let owner = validated.owner.clone();
    keep_place(shared, &validated, &plan);
    match apply::apply(shared, validated, &observed, &answers, &plan).await? {
        Applied::Done(validated) => {
            let validated = update_status::update_status(shared, *validated, &plan.status).await?;
            apply::acknowledge(shared, &owner, &observed.reports);
            let next = match plan.look_again {
                Some(at) if plan.stage != Stage::Complete => Next::After(until(at, now)),
                _ => Next::Changed,
            };
            Ok(Passed { validated, again: plan.again, next })
        }
        Applied::Refused(validated, message) => {
            tracing::warn!(message, "the API server refuses what the session needs");
            let status = refused(&validated.session, &message, now);
            let validated = update_status::update_status(shared, *validated, &status).await?;
            Ok(Passed { validated, again: false, next: Next::After(AFTER_REFUSAL) })
        }
    }
}

/// The session as it stands now, not as a cache has it.
async fn fetch(shared: &Shared, cached: &BackupSession) -> Result<Option<Validated>, Error> {
    let namespace = cached.namespace().ok_or(Error::Incomplete("namespace"))?;
    let name = cached.name_any();
    let api: Api<BackupSession> = Api::namespaced(shared.ctx.client.clone(), &namespace);
    let read = |source| Error::read(format!("BackupSession {namespace}/{name}"), source);
    let found = api.get_opt(&name).await.map_err(read)?;
    if found.is_none() {
        shared.ctx.registry.forget(&cached.uid().unwrap_or_default());
    }
    found.map(Validated::new).transpose()
}

/// A session that runs holds its place among those that are limited, also under a new leader; one that ended leaves it.
fn keep_place(shared: &Shared, validated: &Validated, plan: &Plan) {
    let session = validated.display();
    if plan.status.phase.is_some_and(BackupSessionPhase::is_completed) {
        shared.ctx.queue.release(&session);
        if plan.stage == Stage::Complete {
            shared.ctx.registry.forget(&validated.owner.uid);
        }
    } else if plan.stage != Stage::Start {
        shared.ctx.queue.occupy(Occupant { session, ..Occupant::default() });
    }
}

/// Whether nothing is left to do for a session: it has ended and nobody deletes it.
fn is_settled(session: &BackupSession) -> bool {
    session.metadata.deletion_timestamp.is_none()
        && session.status.as_ref().and_then(|status| status.phase).is_some_and(BackupSessionPhase::is_completed)
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    // Waking a little late is cheaper than waking too early and finding nothing due.
    at.duration_since(now).unsigned_abs().max(Duration::from_millis(200)) + Duration::from_millis(50)
}

fn log(plan: &Plan) {
    if plan.stage == Stage::Complete {
        return;
    }
    for reason in &plan.reasons {
        tracing::debug!(stage = ?plan.stage, step = reason.step, reason = reason.reason, message = reason.message, "decided");
    }
    for action in &plan.actions {
        tracing::info!(stage = ?plan.stage, ?action, "acting");
    }
}
