//! The last steps: history, the condition that marks the end, and the phase that never changes again
//! (specification §2.4 steps 11-13).

use crd_types::{BackupSessionPhase, RetentionApplyPhase, SnapshotPhase, conditions, conditions::reason, duration, phase};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Action, Answer, Need, Plan, Sibling, Stage, View, draft::Draft, start::counts};
use crate::decision::Reason;

const STEP: &str = "close";

pub(super) fn decide(view: &View<'_>) -> Answer {
    let Some(siblings) = view.siblings else { return Answer::Need(Need::Siblings) };
    let mut draft = Draft::new(view, Stage::Close);
    let kept = history_limit(view);
    let mut finished: Vec<&Sibling> = siblings.iter().filter(|sibling| counts(sibling.phase)).collect();
    finished.sort_by(|one, other| (other.created, &other.name).cmp(&(one.created, &one.name)));
    // The session that ends now is the newest of the history.
    let old = finished.into_iter().skip(kept.saturating_sub(1)).filter(|sibling| !sibling.retry_pending);
    delete(&mut draft, old.map(|sibling| sibling.name.clone()).collect());
    draft.yes(conditions::SESSION_HISTORY_CLEANED, reason::SUCCESSFULLY_CLEANED_SESSION_HISTORY, "");
    draft.yes(conditions::METRICS_PUSHED, reason::SUCCESSFULLY_PUSHED_METRICS, "Metrics have been pushed successfully.");
    let took = view.now.duration_since(view.created()).unsigned_abs();
    draft.status.duration = Some(duration::format_rounded(took));
    let end = phase::backup_session(&draft.status);
    let reason = match end {
        BackupSessionPhase::Succeeded => Reason::new(STEP, "Succeeded", "the backup is complete"),
        _ => Reason::new(STEP, "Failed", failure(view, &draft)),
    };
    if end == BackupSessionPhase::Failed {
        draft.status.next_retry = next_retry(view).map(Time);
    }
    draft.waits(reason);
    Answer::Plan(draft.finish())
}

/// Ends a session that is not run, keeping the newest of its kind.
pub(super) fn skip(view: &View<'_>, mut draft: Draft, siblings: &[Sibling], cause: Reason) -> Plan {
    draft.yes(conditions::BACKUP_SKIPPED, reason::PRE_REQUISITES_NOT_SATISFIED, &cause.message);
    let mut skipped: Vec<&Sibling> = siblings.iter().filter(|sibling| sibling.phase == BackupSessionPhase::Skipped).collect();
    skipped.sort_by(|one, other| (other.created, &other.name).cmp(&(one.created, &one.name)));
    let old = skipped.into_iter().skip(history_limit(view)).map(|sibling| sibling.name.clone());
    delete(&mut draft, old.collect());
    draft.waits(cause);
    draft.look_again = None;
    draft.finish()
}

fn delete(draft: &mut Draft, names: Vec<String>) {
    if !names.is_empty() {
        draft.actions.push(Action::DeleteSessions(names));
    }
}

fn history_limit(view: &View<'_>) -> usize {
    let limit = view.entry().and_then(|entry| entry.session_history_limit).unwrap_or(1);
    // The session itself always stays: its status is the answer that somebody waits for.
    usize::try_from(limit).unwrap_or(1).max(1)
}

fn next_retry(view: &View<'_>) -> Option<Timestamp> {
    if view.session.spec.retry_left.unwrap_or(0) <= 0 {
        return None;
    }
    let config = view.entry()?.retry_config.as_ref()?;
    let delay = config.delay.as_deref().filter(|delay| !delay.is_empty());
    let delay = delay.and_then(|delay| duration::parse(delay).ok()).unwrap_or_default();
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::ZERO);
    Some(view.now.saturating_add(delay).unwrap_or(view.now))
}

/// The sentence that says why a session failed: the first thing that went wrong.
fn failure(view: &View<'_>, draft: &Draft) -> String {
    let failed_step = [conditions::SNAPSHOTS_ENSURED, conditions::BACKUP_EXECUTOR_ENSURED]
        .into_iter()
        .filter_map(|step| conditions::find(&draft.status.conditions, step))
        .find(|condition| condition.status == crd_types::ConditionStatus::False)
        .and_then(|condition| condition.message.clone());
    if let Some(message) = failed_step {
        return message;
    }
    for snapshot in view.snapshots {
        let name = snapshot.metadata.name.as_deref().unwrap_or_default();
        let status = snapshot.status.clone().unwrap_or_default();
        // One that succeeded has an error too, if there is something to tell.
        let mut unfinished = status.components.iter().filter(|(_, state)| state.phase != Some(SnapshotPhase::Succeeded));
        let failed = unfinished.find_map(|(component, state)| Some((component, state.error.as_ref()?)));
        if let Some((component, error)) = failed {
            return format!("component {component} of Snapshot {name} failed: {error}");
        }
        let incomplete = conditions::find(&status.conditions, conditions::BACKUP_INCOMPLETE);
        if let Some(message) = incomplete.and_then(|condition| condition.message.clone()) {
            return format!("Snapshot {name} is incomplete: {message}");
        }
    }
    let retention = draft.status.retention_policy.iter().find(|entry| entry.phase == Some(RetentionApplyPhase::FailedToApply));
    match retention {
        Some(entry) => format!(
            "retention failed in Repository {}: {}",
            entry.repository.as_deref().unwrap_or_default(),
            entry.error.as_deref().unwrap_or("no reason given")
        ),
        None => "a Snapshot of the session failed or was deleted".to_owned(),
    }
}
