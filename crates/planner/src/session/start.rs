//! Before anything exists: is the session to run at all, can it, and may it now (specification §2.4 steps 1-4).

use crd_types::{
    BackupConfigurationPhase, BackupSessionPhase, SnapshotPhase, SnapshotStatusEntry, conditions, conditions::reason, phase,
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Action, Answer, Need, Preparation, Stage, View, close, draft::Draft, stop};
use crate::{admission::Admission, decision::Reason};

const STEP: &str = "start";

pub(super) fn decide(view: &View<'_>) -> Answer {
    let mut draft = Draft::new(view, Stage::Start);
    let timeout = view.session.spec.backup_timeout.as_deref();
    draft.status.backup_deadline = stop::user_deadline(view.created(), timeout).map(Time);
    draft.status.total_snapshots.get_or_insert(0);

    let stopping = stop::StopView {
        metadata: &view.session.metadata,
        created: view.created(),
        timeout,
        last_activity: None,
        limits: view.limits,
        now: view.now,
    };
    match stop::stop(&stopping) {
        Ok(reason) => return fail(view, draft, &reason),
        Err(later) => draft.look_at(later),
    }
    if let Some(since) = draft.waits_since(super::JOB_REFUSED)
        && view.now >= since.saturating_add(view.limits.preparation).unwrap_or(view.now)
    {
        let known = conditions::find(&draft.status.conditions, conditions::PROGRESSING);
        let message = known.and_then(|known| known.message.clone()).unwrap_or_default();
        return fail(view, draft, &Reason::new(STEP, super::JOB_REFUSED, message));
    }
    let Some(siblings) = view.siblings else { return Answer::Need(Need::Siblings) };
    if let Some(retried) = view.session.metadata.annotations.as_ref().and_then(|all| all.get(crd_types::annotations::RETRY_OF))
        && siblings.iter().any(|sibling| sibling.retry_pending && sibling.name == *retried)
    {
        draft.actions.push(Action::MarkRetried(retried.clone()));
    }
    match skip(view, siblings) {
        Verdict::Go => {}
        Verdict::Wait(reason, at) => {
            draft.look_at(at);
            draft.waits(reason);
            return Answer::Plan(draft.finish());
        }
        Verdict::Skip(reason) => return Answer::Plan(close::skip(view, draft, siblings, reason)),
    }
    if let Some(refusal) = unsupported(view) {
        return fail(view, draft, &refusal);
    }
    let Some(restores) = view.restores else { return Answer::Need(Need::Restores) };
    if let Some(restore) = restores.first() {
        let message = format!("RestoreSession {restore} restores the target: the backup follows when it has ended");
        draft.waits(Reason::new(STEP, "RestoreRunning", message));
        return Answer::Plan(draft.finish());
    }
    match view.preparation {
        None => return Answer::Need(Need::Preparation),
        Some(Preparation::Refused(refusal)) => return fail(view, draft, refusal),
        Some(Preparation::Waiting(cause)) => return wait_for(view, draft, cause),
        Some(Preparation::Ready { .. }) => {}
    }
    match view.admission {
        None => return Answer::Need(Need::Admission),
        Some(decision) if decision.action == Admission::Wait => {
            draft.reasons.extend(decision.reasons.clone());
            draft.waits(Reason::new(STEP, "Queued", decision.message()));
            return Answer::Plan(draft.finish());
        }
        Some(decision) => draft.reasons.extend(decision.reasons.clone()),
    }
    ensure_snapshots(view, draft)
}

enum Verdict {
    Go,
    Wait(Reason, jiff::Timestamp),
    Skip(Reason),
}

/// Specification §2.4 step 1: skipped when the configuration is not ready or another session runs.
fn skip(view: &View<'_>, siblings: &[super::Sibling]) -> Verdict {
    let invoker = view.session.spec.invoker.as_ref();
    let name = invoker.map_or("", |invoker| invoker.name.as_str());
    let kind = invoker.map_or("", |invoker| invoker.kind.as_str());
    let session = view.session.spec.session.as_deref().unwrap_or_default();
    let skip = |reason, message: String| Verdict::Skip(Reason::new(STEP, reason, message));
    if kind != "BackupConfiguration" {
        return skip("InvokerNotSupported", format!("invoker {kind} {name} is not supported yet: use a BackupConfiguration"));
    }
    let Some(configuration) = view.configuration else {
        return skip("InvokerMissing", format!("BackupConfiguration {name} does not exist: create it, then trigger again"));
    };
    if configuration.spec.paused == Some(true) {
        return skip("InvokerPaused", format!("BackupConfiguration {name} is paused: set spec.paused to false"));
    }
    if view.entry().is_none() {
        return skip("SessionUnknown", format!("BackupConfiguration {name} has no session {session}: correct spec.session"));
    }
    let ready = configuration.status.as_ref().and_then(|status| status.phase) == Some(BackupConfigurationPhase::Ready);
    if !ready {
        let settled = view.created().saturating_add(view.limits.readiness).unwrap_or(view.now);
        let message = format!("BackupConfiguration {name} is not Ready: see its conditions");
        let reason = Reason::new(STEP, "InvokerNotReady", message);
        return if view.now < settled { Verdict::Wait(reason, settled) } else { Verdict::Skip(reason) };
    }
    let me = (view.created(), view.session.metadata.name.as_deref().unwrap_or_default());
    let other = siblings
        .iter()
        .find(|sibling| !sibling.phase.is_completed() && (sibling.begun || (sibling.created, sibling.name.as_str()) < me));
    match other {
        Some(other) => skip("Overlap", format!("BackupSession {} of session {session} still runs", other.name)),
        None => Verdict::Go,
    }
}

/// What the session asks for and Orlop does not do yet. Validation says it first; an edit can come between.
fn unsupported(view: &View<'_>) -> Option<Reason> {
    let hooks = view.entry()?.hooks.as_ref()?;
    let any = !hooks.pre_backup.is_empty() || !hooks.post_backup.is_empty();
    any.then(|| {
        Reason::new(STEP, "HooksNotSupported", "hooks are not supported yet: remove them from the session or run them yourself")
    })
}

fn wait_for(view: &View<'_>, mut draft: Draft, cause: &Reason) -> Answer {
    let since = draft.waits_since(cause.reason).unwrap_or(view.now);
    let until = since.saturating_add(view.limits.preparation).unwrap_or(view.now);
    if view.now >= until {
        return fail(view, draft, cause);
    }
    draft.look_at(until);
    draft.look_at(view.now.saturating_add(SignedDuration::from_secs(10)).unwrap_or(until));
    draft.waits(cause.clone());
    Answer::Plan(draft.finish())
}

fn fail(view: &View<'_>, mut draft: Draft, cause: &Reason) -> Answer {
    draft.no(conditions::BACKUP_EXECUTOR_ENSURED, reason::FAILED_TO_ENSURE_BACKUP_EXECUTOR, &cause.message);
    let left: Vec<String> = view.snapshots.iter().filter_map(|snapshot| snapshot.metadata.name.clone()).collect();
    if !left.is_empty() {
        draft.actions.push(Action::DiscardSnapshots(left));
    }
    draft.status.snapshots.clear();
    draft.waits(cause.clone());
    draft.again = true;
    Answer::Plan(draft.finish())
}

fn ensure_snapshots(view: &View<'_>, mut draft: Draft) -> Answer {
    let names: Vec<&str> =
        view.entry().into_iter().flat_map(|entry| &entry.repositories).filter_map(|info| info.name.as_deref()).collect();
    if names.is_empty() {
        let message = "the session names no Repository: add one to spec.sessions[].repositories of the configuration";
        return fail(view, draft, &Reason::new(STEP, "NoRepository", message));
    }
    let missing: Vec<String> =
        names.iter().filter(|name| view.snapshot_of(name).is_none()).map(|name| (*name).to_owned()).collect();
    if !missing.is_empty() {
        let what = missing.join(", ");
        draft.actions.push(Action::CreateSnapshots(missing));
        draft.moves(Reason::new(STEP, "CreatingSnapshots", format!("Snapshots are created in {what}")));
        draft.again = true;
        return Answer::Plan(draft.finish());
    }
    draft.status.snapshots = names
        .iter()
        .filter_map(|name| view.snapshot_of(name))
        .map(|snapshot| SnapshotStatusEntry {
            app_ref: snapshot.spec.app_ref.clone(),
            name: snapshot.metadata.name.clone(),
            phase: Some(snapshot.status.as_ref().map_or(SnapshotPhase::Pending, phase::snapshot)),
            repository: snapshot.spec.repository.clone(),
        })
        .collect();
    draft.status.total_snapshots = Some(i32::try_from(names.len()).unwrap_or(i32::MAX));
    draft.yes(conditions::SNAPSHOTS_ENSURED, reason::SUCCESSFULLY_ENSURED_SNAPSHOTS, "Snapshots have been ensured successfully.");
    draft.moves(Reason::new(STEP, "SnapshotsEnsured", "Snapshots exist; the Jobs follow"));
    draft.again = true;
    Answer::Plan(draft.finish())
}

/// Whether a phase counts for the history of a session.
pub(super) fn counts(phase: BackupSessionPhase) -> bool {
    matches!(phase, BackupSessionPhase::Succeeded | BackupSessionPhase::Failed)
}
