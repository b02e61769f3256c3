//! Writing down what was decided and done. The session-controller is the only writer of a RestoreSession's status.

use crd_types::RestoreSession;
use crd_types::names::manager;
use kube::Api;
use kube_kit::status::{Guard, apply_status};
use planner::restore::{Plan, refused};

use super::RestoreError;
use super::apply::Applied;
use crate::context::Context;

/// Writes the status, if it changes. The answer is the session as it stands then.
pub(super) async fn write(
    ctx: &Context,
    api: &Api<RestoreSession>,
    applied: Applied,
    plan: &Plan,
) -> Result<RestoreSession, RestoreError> {
    let Applied { session, refusal } = applied;
    let status = match &refusal {
        Some(message) => refused(&session, message, ctx.now()),
        None => plan.status.clone(),
    };
    if session.status.as_ref() == Some(&status) {
        return Ok(session);
    }
    Ok(apply_status(api, manager::SESSION_CONTROLLER, &session, &status, Guard::Version).await?)
}
