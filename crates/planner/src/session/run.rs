//! While Snapshots are filled: attempts at each component, until every Snapshot has its end on record and its metadata
//! in the bucket (specification §2.4 steps 6-8).

use std::collections::BTreeSet;

use crd_types::{ConditionStatus, SnapshotPhase, conditions, conditions::reason, phase};
use jiff::Timestamp;

use super::{
    Action, Answer, Need, Preparation, SnapshotWrite, Stage, TargetProgress, View, begun, draft::Draft, draft::set_condition,
    snapshot::SnapshotDraft,
};
use crate::{
    attempt::{self, ComponentDecision, ComponentView, JobState, JobView},
    build::Work,
    decision::Reason,
    names::label_value,
};

const STEP: &str = "run";

/// Reason while the API server refuses to let a Job be made; the controller writes it.
pub const JOB_REFUSED: &str = "JobRefused";

/// Reason while a mover runs and nothing moves: a store that does not answer, a lock that another holds.
pub const MOVER_WAITS: &str = "MoverWaits";

/// Reason while only the record in the bucket is missing.
const UPLOADING: &str = "UploadingMetadata";

pub(super) fn decide(view: &View<'_>) -> Answer {
    let mut draft = Draft::new(view, Stage::Run);
    let mut snapshots: Vec<SnapshotDraft> = view.snapshots.iter().map(SnapshotDraft::of).collect();
    let announced = snapshots.iter().all(|snapshot| snapshot.status.total_components.is_some());
    if announced {
        let all = snapshots.iter().flat_map(|snapshot| snapshot.status.components.keys().cloned());
        let components: BTreeSet<String> = all.collect();
        decide_announced(view, draft, snapshots, &components)
    } else {
        if let Some(reason) = must_stop(view, &mut draft) {
            return end_now(view, draft, snapshots, &reason);
        }
        match view.preparation {
            None => Answer::Need(Need::Preparation),
            Some(Preparation::Refused(cause)) => end_now(view, draft, snapshots, cause),
            Some(Preparation::Waiting(cause)) => wait(view, draft, snapshots, cause),
            Some(Preparation::Ready { components }) => {
                for snapshot in &mut snapshots {
                    snapshot.announce(components);
                }
                let components = components.iter().cloned().collect();
                decide_announced(view, draft, snapshots, &components)
            }
        }
    }
}

fn decide_announced(
    view: &View<'_>,
    mut draft: Draft,
    mut snapshots: Vec<SnapshotDraft>,
    components: &BTreeSet<String>,
) -> Answer {
    for figures in view.progress {
        if let Some(snapshot) = snapshots.iter_mut().find(|snapshot| snapshot.repository == figures.target) {
            snapshot.show(&figures.component, &figures.paths);
        }
    }
    let stop = must_stop(view, &mut draft);
    if let Some(reason) = &stop
        && let Some(at) = stop_jobs(view, &mut draft, Work::Backup, reason)
    {
        draft.look_at(at);
        draft.waits(reason.clone());
        return conclude(view, draft, snapshots);
    }
    let attempts = begun(view.session);
    let mut pending = None;
    let mut waits: Vec<Reason> = Vec::new();
    for component in components {
        let component_view = component_view(view, &snapshots, component, &attempts);
        if let Some(reason) = &stop {
            for report in attempt::give_up(&component_view, &reason.message) {
                settle(&mut snapshots, component, &report, view.now);
            }
            continue;
        }
        let decision = attempt::decide(&component_view, &view.limits.attempts, view.now);
        let ComponentDecision { settled, unanswered, start, pending: waits_for, look_again, reasons } = decision;
        for report in &settled {
            settle(&mut snapshots, component, report, view.now);
            if unanswered.contains(&report.id)
                && let Some(snapshot) = snapshots.iter_mut().find(|snapshot| snapshot.repository == report.id)
            {
                snapshot.incomplete(&format!("Failed to complete backup. Reason: {}", report.error), view.now);
            }
        }
        if let Some(number) = start {
            match view.preparation {
                None => return Answer::Need(Need::Preparation),
                Some(Preparation::Ready { .. }) => draft.start(component, number, Work::Backup, &attempts),
                Some(Preparation::Refused(cause)) => return end_now(view, draft, snapshots, cause),
                Some(Preparation::Waiting(cause)) => return wait(view, draft, snapshots, cause),
            }
        }
        pending = pending.or(waits_for);
        if let Some(at) = look_again {
            draft.look_at(at);
        }
        waits.extend(reasons);
    }
    let all_begun = components.iter().all(|component| {
        attempts.contains_key(component)
            || draft
                .actions
                .iter()
                .any(|action| matches!(action, Action::StartJob { component: started, .. } if started == component))
    });
    if all_begun && !components.is_empty() {
        draft.yes(
            conditions::BACKUP_EXECUTOR_ENSURED,
            reason::SUCCESSFULLY_ENSURED_BACKUP_EXECUTOR,
            "Backup Executor has been ensured successfully.",
        );
    }
    mark_pending(&mut draft, pending.as_deref(), view.now);
    if let Some(reason) = stop {
        cut_uploads(&mut snapshots, &reason, view.now);
        draft.waits(reason);
        draft.again = true;
        return conclude(view, draft, snapshots);
    }
    match waits.into_iter().find(|reason| reason.reason != "Settled" && reason.reason != "Answered") {
        Some(reason) if matches!(reason.reason, "Running" | "Begin") => match TargetProgress::wait(view.progress, STEP) {
            Some(wait) => draft.waits(wait),
            None => draft.moves(reason),
        },
        Some(reason) => draft.waits(reason),
        None => match snapshots.iter().find_map(SnapshotDraft::upload_trouble) {
            Some(trouble) => draft.waits(Reason::new(STEP, UPLOADING, trouble)),
            None => {
                draft.moves(Reason::new(
                    STEP,
                    UPLOADING,
                    "all components have ended; their metadata is being uploaded to the bucket",
                ));
            }
        },
    }
    conclude(view, draft, snapshots)
}

/// Writes down what is known now.
fn conclude(view: &View<'_>, mut draft: Draft, snapshots: Vec<SnapshotDraft>) -> Answer {
    for entry in &mut draft.status.snapshots {
        let found = snapshots.iter().find(|snapshot| Some(&snapshot.name) == entry.name.as_ref());
        // A Snapshot that somebody deleted will not be filled any more.
        entry.phase = Some(found.map_or(SnapshotPhase::Failed, |snapshot| phase::snapshot(&snapshot.status)));
    }
    draft.again |= draft.status.snapshots.iter().all(|entry| entry.phase.is_some_and(SnapshotPhase::is_completed));
    draft.snapshots = snapshots
        .into_iter()
        .filter_map(|snapshot| snapshot.into_write(view.now))
        .map(|(name, status)| SnapshotWrite { name, status })
        .collect();
    Answer::Plan(draft.finish())
}

/// Ends everything that is open, without a Job to wait for.
fn end_now(view: &View<'_>, mut draft: Draft, mut snapshots: Vec<SnapshotDraft>, cause: &Reason) -> Answer {
    if let Some(at) = stop_jobs(view, &mut draft, Work::Backup, cause) {
        draft.look_at(at);
        draft.waits(cause.clone());
        return conclude(view, draft, snapshots);
    }
    let attempts = begun(view.session);
    let components: BTreeSet<String> = snapshots.iter().flat_map(|snapshot| snapshot.status.components.keys().cloned()).collect();
    for component in &components {
        let component_view = component_view(view, &snapshots, component, &attempts);
        for report in attempt::give_up(&component_view, &cause.message) {
            settle(&mut snapshots, component, &report, view.now);
        }
    }
    for snapshot in snapshots.iter_mut().filter(|snapshot| snapshot.status.components.is_empty()) {
        snapshot.incomplete(&cause.message, view.now);
    }
    if !conditions::is_true(&draft.status.conditions, conditions::BACKUP_EXECUTOR_ENSURED) {
        draft.no(conditions::BACKUP_EXECUTOR_ENSURED, reason::FAILED_TO_ENSURE_BACKUP_EXECUTOR, &cause.message);
    }
    cut_uploads(&mut snapshots, cause, view.now);
    draft.waits(cause.clone());
    draft.again = true;
    conclude(view, draft, snapshots)
}

fn wait(view: &View<'_>, mut draft: Draft, snapshots: Vec<SnapshotDraft>, cause: &Reason) -> Answer {
    let since = draft.waits_since(cause.reason).unwrap_or(view.now);
    let until = since.saturating_add(view.limits.preparation).unwrap_or(view.now);
    if view.now >= until {
        return end_now(view, draft, snapshots, cause);
    }
    draft.look_at(until);
    draft.look_at(view.now.saturating_add(jiff::SignedDuration::from_secs(10)).unwrap_or(until));
    draft.waits(cause.clone());
    conclude(view, draft, snapshots)
}

/// Why the session must end now, if it must. A Job that the API server keeps refusing is a reason too (B15).
fn must_stop(view: &View<'_>, draft: &mut Draft) -> Option<Reason> {
    if let Some(since) = draft.waits_since(JOB_REFUSED)
        && view.now >= since.saturating_add(view.limits.preparation).unwrap_or(view.now)
        && !view.jobs.iter().any(JobView::is_live)
    {
        let known = conditions::find(&draft.status.conditions, conditions::PROGRESSING);
        let message = known.and_then(|known| known.message.clone()).unwrap_or_default();
        return Some(Reason::new(STEP, JOB_REFUSED, message));
    }
    super::stop_reason(view, draft, Work::Backup)
}

/// Asks live Jobs to end. Says until when they are waited for; `None` when nothing is left to wait for.
pub(super) fn stop_jobs(view: &View<'_>, draft: &mut Draft, work: Work, reason: &Reason) -> Option<Timestamp> {
    let live: Vec<&JobView> = view.jobs.iter().filter(|job| job.work == work && job.is_live()).collect();
    let asked: Vec<String> = live.iter().filter(|job| job.state == JobState::Live).map(|job| job.name.clone()).collect();
    let until = |since: Timestamp| since.saturating_add(view.limits.stopping).unwrap_or(view.now);
    let patience = live.iter().map(|job| match job.state {
        JobState::Deleting(since) => until(since),
        JobState::Live | JobState::Ended => until(view.now),
    });
    let last = patience.max().filter(|last| *last > view.now);
    if !asked.is_empty() {
        draft.actions.push(Action::StopJobs { jobs: asked, reason: reason.message.clone() });
    }
    last
}

fn component_view<'a>(
    view: &'a View<'_>,
    snapshots: &[SnapshotDraft],
    component: &'a str,
    attempts: &std::collections::BTreeMap<String, u32>,
) -> ComponentView<'a> {
    let label = label_value(component);
    ComponentView {
        component,
        open: snapshots
            .iter()
            .filter(|snapshot| !snapshot.is_settled(component) && !snapshot.is_finished())
            .map(|snapshot| snapshot.repository.clone())
            .collect(),
        begun: attempts.get(component).copied().unwrap_or(0),
        jobs: view.jobs.iter().filter(|job| job.work == Work::Backup && job.component == label).collect(),
        report: view.reports.get(component),
    }
}

fn settle(snapshots: &mut [SnapshotDraft], component: &str, report: &attempt::TargetReport, now: Timestamp) {
    if let Some(snapshot) = snapshots.iter_mut().find(|snapshot| snapshot.repository == report.id) {
        snapshot.settle(component, report);
        snapshot.measure(&report.snapshots, now);
    }
}

/// Snapshots whose metadata did not reach the bucket in time.
fn cut_uploads(snapshots: &mut [SnapshotDraft], reason: &Reason, now: Timestamp) {
    for snapshot in snapshots.iter_mut().filter(|snapshot| !snapshot.is_finished()) {
        let why = format!("the Snapshot was not complete in the bucket in time: {}", reason.message);
        snapshot.incomplete(&why, now);
    }
}

/// Raises, or takes back, the condition of a pod that waits for too long (C6).
pub(super) fn mark_pending(draft: &mut Draft, pending: Option<&str>, now: Timestamp) {
    let known = conditions::exists(&draft.status.conditions, conditions::POD_PENDING_TOO_LONG);
    let (status, message) = match pending {
        Some(cause) => (ConditionStatus::True, cause),
        None if known => (ConditionStatus::False, "The pod has started or ended."),
        None => return,
    };
    set_condition(
        &mut draft.status.conditions,
        conditions::POD_PENDING_TOO_LONG,
        status,
        reason::POD_HAS_BEEN_IN_PENDING_STATE_FOR_LONGER_THAN_EXPECTED,
        message,
        now,
    );
}
