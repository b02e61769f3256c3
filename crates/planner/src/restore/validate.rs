//! Whether a restore can work, looked at again until it can or its time is up (specification §2.7 steps 1-5).

use crd_types::{conditions, conditions::reason};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Answer, Draft, Need, Stage, View, stop_reason};
use crate::{
    decision::Reason,
    session::{Preparation, user_deadline},
};

/// How often something that is missing is looked for: Repositories, Secrets and targets come without an event of ours.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn decide(view: &View<'_>) -> Answer {
    let mut draft = Draft::new(view, Stage::Validate);
    draft.status.restore_deadline = user_deadline(view.created(), view.session.spec.restore_timeout.as_deref()).map(Time);
    if let Some(stop) = stop_reason(view, &mut draft) {
        return end(view, draft, &stop);
    }
    let Some(validation) = view.validation else { return Answer::Need(Need::Validation) };
    draft.status.dependencies = validation.dependencies.clone();
    if let Err(cause) = &validation.outcome {
        return invalid(view, draft, cause);
    }
    match view.preparation {
        None => return Answer::Need(Need::Preparation),
        Some(Preparation::Refused(cause)) => {
            draft.status.target_found = Some(true);
            return invalid(view, draft, cause);
        }
        Some(Preparation::Waiting(cause)) => {
            let missing = cause.reason == "TargetNotFound";
            draft.status.target_found = Some(!missing);
            withdraw(&mut draft);
            draft.look_at(view.now.saturating_add(LOOK_AGAIN).unwrap_or(view.now));
            draft.waits(cause.clone());
            return Answer::Plan(draft.finish());
        }
        Some(Preparation::Ready { .. }) => draft.status.target_found = Some(true),
    }
    draft.yes(conditions::VALIDATION_PASSED, reason::RESOURCE_VALIDATION_PASSED, "Validation has been passed successfully.");
    draft.moves(Reason::new("validate", "ValidationPassed", "data source, addon and target were found"));
    draft.again = true;
    Answer::Plan(draft.finish())
}

/// The session cannot work now. It is not over: the cause may be repaired.
pub(super) fn invalid(view: &View<'_>, mut draft: Draft, cause: &Reason) -> Answer {
    draft.no(conditions::VALIDATION_PASSED, reason::RESOURCE_VALIDATION_FAILED, &cause.message);
    draft.look_at(view.now.saturating_add(LOOK_AGAIN).unwrap_or(view.now));
    draft.waits(cause.clone());
    Answer::Plan(draft.finish())
}

/// A session that waits is neither valid nor invalid.
fn withdraw(draft: &mut Draft) {
    draft.status.conditions.retain(|condition| condition.type_ != conditions::VALIDATION_PASSED);
}

fn end(view: &View<'_>, mut draft: Draft, stop: &Reason) -> Answer {
    let known = conditions::find(&draft.status.conditions, conditions::PROGRESSING);
    let cause = known.and_then(|known| known.message.clone()).unwrap_or_default();
    let message = if cause.is_empty() { stop.message.clone() } else { format!("{}; last: {cause}", stop.message) };
    if !conditions::is_false(&draft.status.conditions, conditions::VALIDATION_PASSED) {
        draft.no(conditions::RESTORE_EXECUTOR_ENSURED, reason::FAILED_TO_ENSURE_RESTORE_EXECUTOR, &message);
    }
    draft.reasons.push(stop.clone());
    draft.close(view)
}
