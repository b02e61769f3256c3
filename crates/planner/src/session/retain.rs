//! After the backup: what the RetentionPolicies no longer keep is forgotten and its Snapshots go (specification §2.9).
//!
//! Data first, objects after: a Snapshot is deleted only when a mover has said that every restic snapshot of it is
//! gone, never because something was absent (I8).

use std::collections::BTreeSet;

use crd_types::{RetentionApplyPhase, RetentionPolicyApplyStatus, conditions, conditions::reason};

use super::{Action, Answer, Need, RetentionVerdict, RetentionView, Stage, View, begun, draft::Draft, run};
use crate::{
    attempt::{self, ComponentView, TargetReport},
    build::Work,
    decision::Reason,
};

const STEP: &str = "retention";

/// The component under which retention Jobs, attempts and reports go.
pub const RETENTION: &str = "retention";

/// The target of a retention Job: one restic repository.
pub fn target_id(repository: &str, component_path: &str) -> String {
    format!("{repository}/{component_path}")
}

pub(super) fn decide(view: &View<'_>) -> Answer {
    let Some(retention) = view.retention else { return Answer::Need(Need::Retention) };
    let mut draft = Draft::new(view, Stage::Retain);
    let retention = complete(&draft, retention);
    let open: Vec<&RetentionView> = retention.iter().filter(|entry| !is_recorded(&draft, &entry.repository)).collect();

    let stop = super::stop_reason(view, &mut draft, Work::Retention);
    if let Some(reason) = &stop
        && let Some(at) = run::stop_jobs(view, &mut draft, Work::Retention, reason)
    {
        draft.look_at(at);
        draft.waits(reason.clone());
        return Answer::Plan(draft.finish());
    }
    let targets: BTreeSet<String> = open.iter().flat_map(|entry| targets_of(entry)).collect();
    let attempts = begun(view.session);
    let component_view = ComponentView {
        component: RETENTION,
        open: targets.into_iter().collect(),
        begun: attempts.get(RETENTION).copied().unwrap_or(0),
        jobs: view.jobs.iter().filter(|job| job.work == Work::Retention).collect(),
        report: view.reports.get(RETENTION),
    };
    let mut settled: Vec<TargetReport> = Vec::new();
    let mut unanswered = Vec::new();
    if let Some(reason) = &stop {
        settled = attempt::give_up(&component_view, &reason.message);
    } else if !component_view.open.is_empty() {
        let decision = attempt::decide(&component_view, &view.limits.attempts, view.now);
        settled = decision.settled;
        unanswered = decision.unanswered;
        if let Some(number) = decision.start {
            draft.start(RETENTION, number, Work::Retention, &attempts);
        }
        run::mark_pending(&mut draft, decision.pending.as_deref(), view.now);
        if let Some(at) = decision.look_again {
            draft.look_at(at);
        }
        for reason in decision.reasons {
            match reason.reason {
                "Running" | "Begin" | "Answered" | "Settled" => draft.moves(reason),
                _ => draft.waits(reason),
            }
        }
    }
    draft.yes(
        conditions::RETENTION_POLICY_EXECUTOR_ENSURED,
        reason::SUCCESSFULLY_ENSURED_RETENTION_POLICY_EXECUTOR,
        "RetentionPolicy Executor has been ensured successfully.",
    );
    if let Some(report) = settled.iter().find(|report| unanswered.contains(&report.id)) {
        let message = report.error.clone();
        draft.yes(conditions::SNAPSHOT_CLEANUP_INCOMPLETE, reason::SNAPSHOT_CLEANUP_TERMINATED_BEFORE_COMPLETION, &message);
    }
    for entry in open {
        record(&mut draft, entry, &settled);
    }
    draft.again |= retention.iter().all(|entry| is_recorded(&draft, &entry.repository));
    if draft.reasons.is_empty() {
        draft.moves(Reason::new(STEP, "RetentionApplied", "nothing is left to remove"));
    }
    Answer::Plan(draft.finish())
}

/// Writes down a Repository whose every target has its end on record, and removes the Snapshots whose data is gone.
fn record(draft: &mut Draft, entry: &RetentionView, settled: &[TargetReport]) {
    let mut applied = RetentionPolicyApplyStatus {
        error: None,
        phase: Some(RetentionApplyPhase::Applied),
        ref_: entry.policy.clone(),
        repository: Some(entry.repository.clone()),
    };
    let removals = match &entry.verdict {
        // Specification §2.4 step 9: skipped when there is no policy; still on record, so that it is decided once.
        RetentionVerdict::NoPolicy(why) => {
            applied.phase = Some(RetentionApplyPhase::Pending);
            applied.error = Some(why.clone());
            &Vec::new()
        }
        RetentionVerdict::Unusable(error) => {
            applied.phase = Some(RetentionApplyPhase::FailedToApply);
            applied.error = Some(error.clone());
            &Vec::new()
        }
        RetentionVerdict::Remove(removals) => removals,
    };
    let report = |path: &str| {
        let target = target_id(&entry.repository, path);
        settled.iter().find(|report| report.id == target)
    };
    let gone = |path: &str, id: &String| report(path).is_some_and(|report| report.removed.contains(id));
    let removed: Vec<String> = removals
        .iter()
        .filter(|removal| removal.data.iter().all(|(path, id)| gone(path, id)))
        .map(|removal| removal.snapshot.clone())
        .collect();
    if !removed.is_empty() {
        draft.actions.push(Action::RemoveSnapshots(removed));
    }
    let targets = targets_of(entry);
    let answered = targets.iter().all(|target| settled.iter().any(|report| report.id == *target));
    if !answered {
        return;
    }
    let mut errors: Vec<String> = Vec::new();
    for report in settled.iter().filter(|report| targets.contains(&report.id)) {
        if report.outcome != attempt::Outcome::Succeeded {
            applied.phase = Some(RetentionApplyPhase::FailedToApply);
            errors.push(super::snapshot::error(report));
        } else if !report.error.is_empty() {
            // Damage that a mover found is told, though what was to be done is done.
            errors.push(report.error.clone());
        }
    }
    errors.sort();
    errors.dedup();
    if !errors.is_empty() {
        applied.error = Some(errors.join("; "));
    }
    let known = draft.status.retention_policy.iter_mut().find(|known| known.repository == applied.repository);
    match known {
        Some(known) => *known = applied,
        None => draft.status.retention_policy.push(applied),
    }
}

/// One entry for each Repository of the session, also where the configuration no longer names it.
fn complete(draft: &Draft, known: &[RetentionView]) -> Vec<RetentionView> {
    let repositories = draft.status.snapshots.iter().filter_map(|entry| entry.repository.as_deref());
    repositories
        .map(|repository| {
            let found = known.iter().find(|entry| entry.repository == repository);
            found.cloned().unwrap_or_else(|| RetentionView {
                repository: repository.to_owned(),
                policy: None,
                verdict: RetentionVerdict::NoPolicy("the configuration names no RetentionPolicy any more".to_owned()),
            })
        })
        .collect()
}

fn targets_of(entry: &RetentionView) -> BTreeSet<String> {
    let RetentionVerdict::Remove(removals) = &entry.verdict else { return BTreeSet::new() };
    let data = removals.iter().flat_map(|removal| &removal.data);
    data.map(|(path, _)| target_id(&entry.repository, path)).collect()
}

fn is_recorded(draft: &Draft, repository: &str) -> bool {
    let mut entries = draft.status.retention_policy.iter();
    entries.any(|known| known.repository.as_deref() == Some(repository) && known.phase.is_some())
}
