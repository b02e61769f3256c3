//! While components are restored (specification §2.7 steps 7-9).

use crd_types::{
    ConditionStatus, RestoreComponent, RestorePhase, RestoreProgress, conditions, conditions::reason, duration, size,
};

use super::{Action, Answer, Draft, Need, Stage, View, begun, stop_reason, validate};
use crate::{
    admission::Admission,
    attempt::{self, ComponentDecision, ComponentView, JobState, JobView, Outcome, TargetReport, Transfer},
    decision::Reason,
    names::label_value,
    session::{JOB_REFUSED, Preparation, TargetProgress, count, error, set_condition},
};

const STEP: &str = "run";

pub(super) fn decide(view: &View<'_>) -> Answer {
    let mut draft = Draft::new(view, Stage::Run);
    let stop = stop_reason(view, &mut draft).or_else(|| refused_for_long(view, &draft));
    if draft.status.components.is_empty() {
        if let Some(reason) = stop {
            draft.no(conditions::RESTORE_EXECUTOR_ENSURED, reason::FAILED_TO_ENSURE_RESTORE_EXECUTOR, &reason.message);
            draft.reasons.push(reason);
            return draft.close(view);
        }
        if let Some(answer) = announce(view, &mut draft) {
            return answer;
        }
    }
    for figures in view.progress {
        show(&mut draft, &figures.component, &figures.paths);
    }
    if let Some(reason) = &stop
        && stop_jobs(view, &mut draft, &reason.message)
    {
        draft.waits(reason.clone());
        return Answer::Plan(draft.finish());
    }
    let attempts = begun(view.session);
    let names: Vec<String> = draft.status.components.keys().cloned().collect();
    let mut pending = None;
    let mut reasons: Vec<Reason> = Vec::new();
    for component in &names {
        let component_view = component_view(view, &draft, component, &attempts);
        if let Some(reason) = &stop {
            for report in attempt::give_up(&component_view, &reason.message) {
                settle(&mut draft, component, &report);
            }
            continue;
        }
        let decision = attempt::decide(&component_view, &view.limits.attempts, view.now);
        let ComponentDecision { settled, unanswered, start, pending: waits_for, look_again, reasons: why } = decision;
        for report in &settled {
            settle(&mut draft, component, report);
            if !unanswered.is_empty() {
                let cause = reason::RESTORE_EXECUTOR_TERMINATED_BEFORE_COMPLETION;
                draft.yes(conditions::RESTORE_INCOMPLETE, cause, &report.error);
            }
        }
        if let Some(number) = start {
            match view.preparation {
                None => return Answer::Need(Need::Preparation),
                Some(Preparation::Ready { .. }) => start_job(&mut draft, component, number, &attempts),
                // Before the first Job the session is as good as never begun: it waits for the repair.
                Some(Preparation::Refused(cause)) if attempts.is_empty() => return validate::invalid(view, draft, cause),
                Some(Preparation::Refused(cause) | Preparation::Waiting(cause)) => {
                    settle(&mut draft, component, &TargetReport::failed(component, cause.message.clone()));
                    reasons.push(cause.clone());
                }
            }
        }
        pending = pending.or(waits_for);
        if let Some(at) = look_again {
            draft.look_at(at);
        }
        reasons.extend(why);
    }
    mark_pending(&mut draft, pending.as_deref());
    let open = names.iter().any(|component| !is_settled(&draft, component));
    if !open {
        return draft.close(view);
    }
    if !draft.actions.is_empty() || !attempts.is_empty() {
        draft.yes(
            conditions::RESTORE_EXECUTOR_ENSURED,
            reason::SUCCESSFULLY_ENSURED_RESTORE_EXECUTOR,
            "Restore Executor has been ensured successfully.",
        );
    }
    match reasons.into_iter().find(|reason| reason.reason != "Settled") {
        Some(reason) if matches!(reason.reason, "Running" | "Begin" | "Answered") => {
            match TargetProgress::wait(view.progress, STEP) {
                Some(wait) => draft.waits(wait),
                None => draft.moves(reason),
            }
        }
        Some(reason) => draft.waits(reason),
        None => draft.moves(Reason::new(STEP, "Running", "components are being restored")),
    }
    Answer::Plan(draft.finish())
}

/// Decides which components there are, once it is the session's turn.
fn announce(view: &View<'_>, draft: &mut Draft) -> Option<Answer> {
    // What was validated a moment ago may have gone since.
    let Some(validation) = view.validation else { return Some(Answer::Need(Need::Validation)) };
    let components = match &validation.outcome {
        Ok(components) => components.clone(),
        Err(cause) => return Some(validate::invalid(view, std::mem::replace(draft, Draft::new(view, Stage::Run)), cause)),
    };
    let Some(admission) = view.admission else { return Some(Answer::Need(Need::Admission)) };
    if admission.action == Admission::Wait {
        draft.waits(Reason::new("admission", "Queued", admission.message()));
        let queued = std::mem::replace(draft, Draft::new(view, Stage::Run));
        return Some(Answer::Plan(queued.finish()));
    }
    let Some(backups) = view.backups else { return Some(Answer::Need(Need::Backups)) };
    draft.status.dependencies = validation.dependencies.clone();
    draft.status.paused_backups = backups.to_vec();
    draft.status.total_components = Some(i32::try_from(components.len()).unwrap_or(i32::MAX));
    for component in components {
        let pending = RestoreComponent { phase: Some(RestorePhase::Pending), ..RestoreComponent::default() };
        draft.status.components.entry(component).or_insert(pending);
    }
    None
}

fn start_job(draft: &mut Draft, component: &str, attempt: u32, attempts: &std::collections::BTreeMap<String, u32>) {
    let mut begun = attempts.clone();
    // Jobs of several components start in one pass: each record holds those before it.
    for action in &draft.actions {
        if let Action::StartJob { component, attempt, .. } = action {
            begun.insert(component.clone(), *attempt);
        }
    }
    begun.insert(component.to_owned(), attempt);
    draft.actions.push(Action::StartJob { component: component.to_owned(), attempt, begun });
}

fn component_view<'a>(
    view: &'a View<'_>,
    draft: &Draft,
    component: &'a str,
    attempts: &std::collections::BTreeMap<String, u32>,
) -> ComponentView<'a> {
    let label = label_value(component);
    ComponentView {
        component,
        open: if is_settled(draft, component) { Vec::new() } else { vec![component.to_owned()] },
        begun: attempts.get(component).copied().unwrap_or(0),
        jobs: view.jobs.iter().filter(|job| job.component == label).collect(),
        report: view.reports.get(component),
    }
}

fn is_settled(draft: &Draft, component: &str) -> bool {
    let phase = draft.status.components.get(component).and_then(|component| component.phase);
    matches!(phase, Some(RestorePhase::Succeeded | RestorePhase::Failed | RestorePhase::Unknown))
}

fn show(draft: &mut Draft, component: &str, paths: &[(String, Transfer)]) {
    if is_settled(draft, component) {
        return;
    }
    if let Some(known) = draft.status.components.get_mut(component) {
        known.phase = Some(RestorePhase::Running);
        known.progress = total(paths).as_ref().map(progress);
    }
}

fn settle(draft: &mut Draft, component: &str, report: &TargetReport) {
    let Some(known) = draft.status.components.get_mut(component) else { return };
    let succeeded = report.outcome == Outcome::Succeeded;
    known.phase = Some(if succeeded { RestorePhase::Succeeded } else { RestorePhase::Failed });
    known.error = (!succeeded).then(|| error(report));
    if let Some(transfer) = &report.transfer {
        known.progress = Some(progress(transfer));
        known.duration = Some(duration::format(std::time::Duration::from_secs(transfer.seconds_elapsed)));
    }
}

/// One restore has one set of figures, however many paths it writes.
fn total(paths: &[(String, Transfer)]) -> Option<Transfer> {
    let (first, rest) = paths.split_first()?;
    Some(rest.iter().fold(first.1, |sum, (_, part)| Transfer {
        files_done: sum.files_done + part.files_done,
        files_total: sum.files_total + part.files_total,
        bytes_done: sum.bytes_done + part.bytes_done,
        bytes_total: sum.bytes_total + part.bytes_total,
        seconds_elapsed: sum.seconds_elapsed.max(part.seconds_elapsed),
    }))
}

fn progress(transfer: &Transfer) -> RestoreProgress {
    RestoreProgress {
        files_done: Some(count(transfer.files_done)),
        percent_done: size::format_percent(transfer.bytes_done, transfer.bytes_total),
        restore_done: Some(size::format_decimal(transfer.bytes_done)),
        seconds_elapsed: Some(count(transfer.seconds_elapsed)),
        speed: Some(size::format_speed(transfer.bytes_done / transfer.seconds_elapsed.max(1))),
        total: Some(size::format_decimal(transfer.bytes_total)),
        total_files: Some(count(transfer.files_total)),
    }
}

/// Asks live Jobs to end. True while some are still waited for.
fn stop_jobs(view: &View<'_>, draft: &mut Draft, reason: &str) -> bool {
    let live: Vec<&JobView> = view.jobs.iter().filter(|job| job.is_live()).collect();
    let asked: Vec<String> = live.iter().filter(|job| job.state == JobState::Live).map(|job| job.name.clone()).collect();
    let until = |since: jiff::Timestamp| since.saturating_add(view.limits.stopping).unwrap_or(view.now);
    let patience = live.iter().map(|job| match job.state {
        JobState::Deleting(since) => until(since),
        JobState::Live | JobState::Ended => until(view.now),
    });
    let last = patience.max().filter(|last| *last > view.now);
    if !asked.is_empty() {
        draft.actions.push(Action::StopJobs { jobs: asked, reason: reason.to_owned() });
    }
    if let Some(last) = last {
        draft.look_at(last);
    }
    last.is_some()
}

/// A Job that the API server keeps refusing ends the session (B15).
fn refused_for_long(view: &View<'_>, draft: &Draft) -> Option<Reason> {
    let since = draft.waits_since(JOB_REFUSED)?;
    let until = since.saturating_add(view.limits.preparation).unwrap_or(view.now);
    if view.now < until || view.jobs.iter().any(JobView::is_live) {
        return None;
    }
    let known = conditions::find(&draft.status.conditions, conditions::PROGRESSING);
    Some(Reason::new(STEP, JOB_REFUSED, known.and_then(|known| known.message.clone()).unwrap_or_default()))
}

fn mark_pending(draft: &mut Draft, pending: Option<&str>) {
    let known = conditions::exists(&draft.status.conditions, conditions::POD_PENDING_TOO_LONG);
    let (status, message) = match pending {
        Some(cause) => (ConditionStatus::True, cause),
        None if known => (ConditionStatus::False, "The pod has started or ended."),
        None => return,
    };
    let reason = reason::POD_HAS_BEEN_IN_PENDING_STATE_FOR_LONGER_THAN_EXPECTED;
    set_condition(&mut draft.status.conditions, conditions::POD_PENDING_TOO_LONG, status, reason, message, draft.now);
}
