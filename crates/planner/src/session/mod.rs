//! The life of a BackupSession, as a function of what is seen (specification §2.4, architecture §3-4).
//!
//! Each pass looks, decides and acts once; what was decided before is read back from the objects, so a controller that
//! dies between two writes finds its way from wherever it was:
//!
//! ```text
//!   Start ──► Run ──► Retain ──► Close ──► complete
//!     └─► Skipped
//! ```

mod close;
mod data_check;
mod draft;
mod limits;
mod retain;
mod run;
mod snapshot;
mod start;
mod stop;
mod view;

use std::collections::BTreeMap;

use crd_types::{BackupSession, BackupSessionStatus, SnapshotPhase, SnapshotStatus, conditions, phase};
use jiff::Timestamp;

pub use data_check::{DataCheck, DataCheckError, data_check, data_check_period, parse_period};
pub(crate) use draft::set_condition;
pub use limits::Limits;
pub use retain::{RETENTION, target_id};
pub use run::JOB_REFUSED;
pub(crate) use snapshot::{count, error};
pub use stop::{CANCELLED, DEADLINE_EXCEEDED, NO_PROGRESS, deadline, user_deadline};
pub(crate) use stop::{StopView, stop};
pub use view::{Need, Preparation, Removal, RetentionVerdict, RetentionView, Sibling, TargetProgress, View};

use crate::{build::Work, decision::Reason};

/// Annotation that says which attempts a session has begun, as a JSON object from component to number. It is written
/// before the Job is made, so that a Job which somebody deletes is not taken for one that never was.
pub const ATTEMPTS_ANNOTATION: &str = "orlop.dev/attempts";

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing exists yet.
    Start,
    /// Snapshots are being filled.
    Run,
    /// Retention is applied.
    Retain,
    /// History is trimmed.
    Close,
    /// Nothing changes any more.
    Complete,
}

/// One thing to do. Actions are done in their order, each but once: the next pass sees what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Create the Snapshots of these Repositories.
    CreateSnapshots(Vec<String>),
    /// Remove Snapshots of a session that ended before it began.
    DiscardSnapshots(Vec<String>),
    /// Record an attempt, then make its Job.
    StartJob {
        /// The component, or [`RETENTION`].
        component: String,
        /// Which attempt, from 1.
        attempt: u32,
        /// What the Job does.
        work: Work,
        /// All attempts begun, this one included: the value of [`ATTEMPTS_ANNOTATION`].
        begun: BTreeMap<String, u32>,
    },
    /// Tell movers to stop and delete their Jobs, pods first.
    StopJobs {
        /// Names of the Jobs.
        jobs: Vec<String>,
        /// What the movers are told.
        reason: String,
    },
    /// Mark these Snapshots as without data and delete them.
    RemoveSnapshots(Vec<String>),
    /// Delete these older sessions.
    DeleteSessions(Vec<String>),
    /// Note on a failed session that this one is its retry.
    MarkRetried(String),
}

/// The status of a Snapshot to write: all fields that the session-controller owns.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotWrite {
    /// Name of the Snapshot.
    pub name: String,
    /// Its status.
    pub status: SnapshotStatus,
}

/// What one pass does.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Where the session stood.
    pub stage: Stage,
    /// Snapshots to write, before anything else: what movers reported must not be lost.
    pub snapshots: Vec<SnapshotWrite>,
    /// What to do.
    pub actions: Vec<Action>,
    /// The session's status, to be written last.
    pub status: BackupSessionStatus,
    /// When to look again, if nothing happens before.
    pub look_again: Option<Timestamp>,
    /// Whether to look again at once: this pass has opened the way for the next.
    pub again: bool,
    /// Why, outermost first.
    pub reasons: Vec<Reason>,
}

/// The answer of a pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Read this, then ask again.
    Need(Need),
    /// Do this.
    Plan(Plan),
}

/// Decides what to do about a session.
pub fn decide(view: &View<'_>) -> Answer {
    match stage(view) {
        Stage::Start => start::decide(view),
        Stage::Run => run::decide(view),
        Stage::Retain => retain::decide(view),
        Stage::Close => close::decide(view),
        Stage::Complete => {
            let mut draft = draft::Draft::new(view, Stage::Complete);
            draft.reasons.push(Reason::new("complete", "Complete", "the session has ended"));
            Answer::Plan(draft.finish())
        }
    }
}

/// Where a session stands, by what is on record.
pub fn stage(view: &View<'_>) -> Stage {
    let status = view.session.status.clone().unwrap_or_default();
    let conditions = &status.conditions;
    if phase::backup_session(&status).is_completed() {
        return Stage::Complete;
    }
    if !conditions::is_true(conditions, conditions::SNAPSHOTS_ENSURED) {
        let refused = conditions::is_false(conditions, conditions::SNAPSHOTS_ENSURED)
            || conditions::is_false(conditions, conditions::BACKUP_EXECUTOR_ENSURED);
        return if refused { Stage::Close } else { Stage::Start };
    }
    if status.snapshots.iter().any(|entry| !entry.phase.is_some_and(SnapshotPhase::is_completed)) {
        return Stage::Run;
    }
    let recorded = |repository: &Option<String>| {
        let mut entries = status.retention_policy.iter();
        entries.any(|entry| entry.repository == *repository && entry.phase.is_some())
    };
    if status.snapshots.iter().all(|entry| recorded(&entry.repository)) { Stage::Close } else { Stage::Retain }
}

/// The attempts that a session has begun.
pub fn begun(session: &BackupSession) -> BTreeMap<String, u32> {
    attempts_of(session.metadata.annotations.as_ref())
}

/// The status to write instead of a plan's when the API server refused one of its actions: the cause stands in
/// `orlop.dev/Progressing` until [`Limits::preparation`] has passed, and then it ends the session (B15).
pub fn refused(session: &BackupSession, message: &str, now: Timestamp) -> BackupSessionStatus {
    let mut status = session.status.clone().unwrap_or_default();
    let waiting = crd_types::ConditionStatus::False;
    set_condition(&mut status.conditions, conditions::PROGRESSING, waiting, JOB_REFUSED, message, now);
    status.phase = Some(phase::backup_session(&status));
    status
}

/// Reads [`ATTEMPTS_ANNOTATION`]; what is no such record counts as none.
pub fn attempts_of(annotations: Option<&BTreeMap<String, String>>) -> BTreeMap<String, u32> {
    annotations
        .and_then(|all| all.get(ATTEMPTS_ANNOTATION))
        .and_then(|record| serde_json::from_str(record).ok())
        .unwrap_or_default()
}

/// Why the session must end now, if it must; else the time of the next look is noted.
fn stop_reason(view: &View<'_>, draft: &mut draft::Draft, work: Work) -> Option<Reason> {
    let jobs = view.jobs.iter().filter(|job| job.work == work).map(crate::attempt::JobView::last_activity);
    let written =
        view.snapshots.iter().filter_map(|snapshot| snapshot.status.as_ref()?.last_update_time.as_ref()).map(|time| time.0);
    let waiting = conditions::find(&draft.status.conditions, conditions::SNAPSHOTS_ENSURED)
        .map(|condition| condition.last_transition_time.0);
    let activity = jobs.chain(written).chain(view.last_progress).chain(waiting).max().unwrap_or(view.created());
    let stop_view = StopView {
        metadata: &view.session.metadata,
        created: view.created(),
        timeout: view.session.spec.backup_timeout.as_deref(),
        last_activity: Some(activity),
        limits: view.limits,
        now: view.now,
    };
    match stop(&stop_view) {
        Ok(reason) => Some(reason),
        Err(later) => {
            draft.look_at(later);
            None
        }
    }
}

#[cfg(test)]
mod tests;
