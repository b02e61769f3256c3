//! Doing what was decided.

use std::collections::BTreeMap;

use crd_types::RestoreSession;
use crd_types::names::manager;
use kube::{Api, ResourceExt as _};
use kube_kit::apply;
use planner::build::Work;
use planner::layout::{COMPONENT_PREFIX, match_component};
use planner::names::{Owner, restore_job};
use planner::restore::{Action, Plan, begun};
use planner::session::{ATTEMPTS_ANNOTATION, Limits, deadline};
use planner::workload::ComponentPlan;

use super::RestoreError;
use crate::attach::SessionKind;
use crate::context::Context;
use crate::pods::stop_jobs;
use crate::prepare::{JobOrder, PrepareError, Ready, SessionIdentity, start_job};

/// What came of the actions.
pub(super) struct Applied {
    /// The session, as it is after them.
    pub session: RestoreSession,
    /// Why the API server refused one for good.
    pub refusal: Option<String>,
}

/// Does the actions of a plan in their order, up to the first that is refused.
pub(super) async fn apply(
    ctx: &Context,
    session: &RestoreSession,
    plan: &Plan,
    ready: Option<&Ready>,
) -> Result<Applied, RestoreError> {
    let mut session = session.clone();
    for action in &plan.actions {
        match action {
            Action::StopJobs { jobs, reason } => {
                let (namespace, uid) = (session.namespace().unwrap_or_default(), session.uid().unwrap_or_default());
                stop_jobs(ctx, &namespace, &uid, jobs, reason).await?;
            }
            Action::StartJob { component, attempt, begun } => {
                let before = planner::restore::begun(&session);
                // On record before the Job exists: a Job that somebody deletes was one.
                session = record(ctx, &session, begun).await?;
                let made = start(ctx, &session, plan, ready, component, *attempt).await;
                match made {
                    Ok(()) if *attempt > 1 => ctx.metrics.attempt_repeated("restore"),
                    Ok(()) => {}
                    Err(RestoreError::Prepare(PrepareError::Refused(message))) => {
                        session = record(ctx, &session, &before).await?;
                        return Ok(Applied { session, refusal: Some(message) });
                    }
                    Err(error) => {
                        // Nothing was made, as far as is known: the next pass asks for the same attempt again.
                        record(ctx, &session, &before).await?;
                        return Err(error);
                    }
                }
            }
        }
    }
    Ok(Applied { session, refusal: None })
}

async fn record(
    ctx: &Context,
    session: &RestoreSession,
    attempts: &BTreeMap<String, u32>,
) -> Result<RestoreSession, RestoreError> {
    if begun(session) == *attempts {
        return Ok(session.clone());
    }
    let api: Api<RestoreSession> = Api::namespaced(ctx.client.clone(), &session.namespace().unwrap_or_default());
    let value = (!attempts.is_empty()).then(|| serde_json::to_string(attempts).unwrap_or_default());
    let annotations = BTreeMap::from([(ATTEMPTS_ANNOTATION.to_owned(), value)]);
    Ok(apply::annotate(&api, manager::SESSION_CONTROLLER, session, &annotations).await?)
}

async fn start(
    ctx: &Context,
    session: &RestoreSession,
    plan: &Plan,
    ready: Option<&Ready>,
    component: &str,
    attempt: u32,
) -> Result<(), RestoreError> {
    let refuse = |message: String| RestoreError::Prepare(PrepareError::Refused(message));
    let ready = ready.ok_or_else(|| refuse("nothing was prepared for it".to_owned()))?;
    let target = session.spec.target.as_ref().map(|target| target.name.clone()).unwrap_or_default();
    let place = place(&ready.components, component)
        .ok_or_else(|| refuse(format!("target {target} has no part that component {component} could be restored into")))?;
    let several = plan.status.total_components.unwrap_or(1) > 1;
    let index = several.then(|| component.strip_prefix(COMPONENT_PREFIX).unwrap_or(component));
    let index = index.map(|index| index.strip_prefix("pod-").unwrap_or(index));
    let identity = SessionIdentity::of(SessionKind::Restore.as_str(), session, None);
    let owner: Owner = identity.as_owner();
    let created = session.creation_timestamp().map_or_else(|| ctx.now(), |time| time.0);
    let order = JobOrder {
        session: identity,
        name: restore_job(&owner, component, index, attempt),
        work: Work::Restore,
        component,
        attempt,
        task: &ready.task,
        plan: place,
        info: session.spec.addon.as_ref(),
        host_namespaces: ready.host_namespaces,
        deadline: deadline(created, session.spec.restore_timeout.as_deref(), &Limits::default()),
    };
    let job = start_job(ctx, &order).await?;
    tracing::info!(
        namespace = session.namespace(),
        name = session.name_any(),
        component,
        attempt,
        job = job.name_any(),
        "Job was made"
    );
    Ok(())
}

/// The part of the target that a component goes to: the one of that name, or the only one there is.
fn place<'a>(parts: &'a [ComponentPlan], component: &str) -> Option<&'a ComponentPlan> {
    if let [only] = parts {
        return Some(only);
    }
    let name = match_component(component, parts.iter().map(|part| part.component.as_str()))?;
    parts.iter().find(|part| part.component == name)
}
