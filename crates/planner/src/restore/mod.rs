//! The life of a RestoreSession, as a function of what is seen (specification §2.7, architecture §3-4).
//!
//! ```text
//!   Validate ──► Run ──► complete
//!      └─► Invalid, until its cause is repaired or the deadline has passed
//! ```

mod error;
mod policy;
mod run;
mod source;
mod validate;
mod view;

use std::collections::BTreeMap;

use crd_types::{ConditionStatus, RestorePhase, RestoreSession, RestoreSessionStatus, conditions, phase};
use jiff::Timestamp;

pub use crate::session::Limits;
pub use error::SourceError;
pub use policy::{Existing, PolicyError, Privileged, RestorePolicy, restore_policy};
pub use source::{Choice, ComponentSource, check_named, choice, components, newest, source_namespace};
pub use view::{Need, Validation, View};

use crate::{
    attempt::JobView,
    decision::Reason,
    session::{StopView, attempts_of, set_condition, stop},
};

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It is not known yet whether it can work, or it cannot.
    Validate,
    /// Components are being restored.
    Run,
    /// Nothing changes any more.
    Complete,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Record an attempt, then make its Job.
    StartJob {
        /// The component.
        component: String,
        /// Which attempt, from 1.
        attempt: u32,
        /// All attempts begun, this one included: the value of [`crate::session::ATTEMPTS_ANNOTATION`].
        begun: BTreeMap<String, u32>,
    },
    /// Tell movers to stop and delete their Jobs, pods first.
    StopJobs {
        /// Names of the Jobs.
        jobs: Vec<String>,
        /// What the movers are told.
        reason: String,
    },
}

/// What one pass does.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Where the session stood.
    pub stage: Stage,
    /// What to do.
    pub actions: Vec<Action>,
    /// The session's status, to be written last.
    pub status: RestoreSessionStatus,
    /// When to look again, if nothing happens before.
    pub look_again: Option<Timestamp>,
    /// Whether to look again at once.
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
    match stage(view.session) {
        Stage::Validate => validate::decide(view),
        Stage::Run => run::decide(view),
        Stage::Complete => {
            let mut draft = Draft::new(view, Stage::Complete);
            draft.reasons.push(Reason::new("complete", "Complete", "the session has ended"));
            Answer::Plan(draft.finish())
        }
    }
}

/// Where a session stands, by what is on record.
pub fn stage(session: &RestoreSession) -> Stage {
    let Some(status) = &session.status else { return Stage::Validate };
    let conditions = &status.conditions;
    // An Invalid session that has run out of time is over too, though its phase could change.
    if phase::restore_session(status).is_completed() || conditions::exists(conditions, conditions::METRICS_PUSHED) {
        return Stage::Complete;
    }
    if conditions::is_true(conditions, conditions::VALIDATION_PASSED) { Stage::Run } else { Stage::Validate }
}

/// Whether a session holds the backups of its target: from its first Job to its end.
pub fn holds_backups(session: &RestoreSession) -> bool {
    let Some(status) = &session.status else { return false };
    stage(session) == Stage::Run
        && conditions::is_true(&status.conditions, conditions::RESTORE_EXECUTOR_ENSURED)
        && session.metadata.deletion_timestamp.is_none()
}

/// The Snapshot that a validated session restores: it was chosen once and stays, whatever `latest` means later.
pub fn pinned_snapshot(session: &RestoreSession) -> Option<&str> {
    let dependencies = session.status.iter().flat_map(|status| &status.dependencies);
    let mut snapshots = dependencies.filter(|dependency| dependency.kind.as_deref() == Some("Snapshot"));
    snapshots.find(|dependency| dependency.found == Some(true)).map(|dependency| dependency.name.as_str())
}

/// The status to write instead of a plan's when the API server refused one of its actions; see
/// [`crate::session::refused`].
pub fn refused(session: &RestoreSession, message: &str, now: Timestamp) -> RestoreSessionStatus {
    let mut status = session.status.clone().unwrap_or_default();
    let waiting = ConditionStatus::False;
    let reason = crate::session::JOB_REFUSED;
    set_condition(&mut status.conditions, conditions::PROGRESSING, waiting, reason, message, now);
    status.phase = Some(phase::restore_session(&status));
    status
}

/// The attempts that a session has begun.
pub fn begun(session: &RestoreSession) -> BTreeMap<String, u32> {
    attempts_of(session.metadata.annotations.as_ref())
}

/// A plan in the making.
struct Draft {
    status: RestoreSessionStatus,
    actions: Vec<Action>,
    look_again: Option<Timestamp>,
    again: bool,
    reasons: Vec<Reason>,
    stage: Stage,
    now: Timestamp,
}

impl Draft {
    fn new(view: &View<'_>, stage: Stage) -> Self {
        Self {
            status: view.session.status.clone().unwrap_or_default(),
            actions: Vec::new(),
            look_again: None,
            again: false,
            reasons: Vec::new(),
            stage,
            now: view.now,
        }
    }

    fn yes(&mut self, type_: &str, reason: &str, message: &str) {
        set_condition(&mut self.status.conditions, type_, ConditionStatus::True, reason, message, self.now);
    }

    fn no(&mut self, type_: &str, reason: &str, message: &str) {
        set_condition(&mut self.status.conditions, type_, ConditionStatus::False, reason, message, self.now);
    }

    fn moves(&mut self, reason: Reason) {
        self.yes(conditions::PROGRESSING, reason.reason, &reason.message);
        self.reasons.push(reason);
    }

    fn waits(&mut self, reason: Reason) {
        self.no(conditions::PROGRESSING, reason.reason, &reason.message);
        self.reasons.push(reason);
    }

    fn waits_since(&self, reason: &str) -> Option<Timestamp> {
        let known = conditions::find(&self.status.conditions, conditions::PROGRESSING)?;
        (known.status == ConditionStatus::False && known.reason.as_deref() == Some(reason))
            .then_some(known.last_transition_time.0)
    }

    fn look_at(&mut self, at: Timestamp) {
        self.look_again = Some(self.look_again.map_or(at, |known| known.min(at)));
    }

    /// The last step: the session is over.
    fn close(mut self, view: &View<'_>) -> Answer {
        let metrics = conditions::reason::SUCCESSFULLY_PUSHED_METRICS;
        self.yes(conditions::METRICS_PUSHED, metrics, "Metrics have been pushed successfully.");
        let took = view.now.duration_since(view.created()).unsigned_abs();
        self.status.duration = Some(crd_types::duration::format_rounded(took));
        self.status.paused_backups.clear();
        self.look_again = None;
        let reason = match phase::restore_session(&self.status) {
            RestorePhase::Succeeded => Reason::new("close", "Succeeded", "the restore is complete"),
            RestorePhase::Invalid => Reason::new("close", "Invalid", self.failure()),
            RestorePhase::Unknown => Reason::new("close", "Unknown", "the addon could not tell how the restore went"),
            _ => Reason::new("close", "Failed", self.failure()),
        };
        self.waits(reason);
        Answer::Plan(self.finish())
    }

    /// The sentence that says why the session failed.
    fn failure(&self) -> String {
        let step = [conditions::VALIDATION_PASSED, conditions::RESTORE_EXECUTOR_ENSURED]
            .into_iter()
            .filter_map(|step| conditions::find(&self.status.conditions, step))
            .find(|condition| condition.status == ConditionStatus::False)
            .and_then(|condition| condition.message.clone());
        let component = || {
            let mut failed =
                self.status.components.iter().filter_map(|(name, component)| Some((name, component.error.as_ref()?)));
            failed.next().map(|(name, error)| format!("component {name} failed: {error}"))
        };
        step.or_else(component).unwrap_or_else(|| "the restore failed".to_owned())
    }

    fn finish(mut self) -> Plan {
        self.status.phase = Some(phase::restore_session(&self.status));
        Plan {
            stage: self.stage,
            actions: self.actions,
            status: self.status,
            look_again: self.look_again,
            again: self.again,
            reasons: self.reasons,
        }
    }
}

/// Why the session must end now, if it must; else the time of the next look is noted. Before it has Jobs a session
/// waits for what somebody has to make, which is no standstill.
fn stop_reason(view: &View<'_>, draft: &mut Draft) -> Option<Reason> {
    let jobs = view.jobs.iter().map(JobView::last_activity).max();
    let last_activity = jobs.map(|at| view.last_progress.map_or(at, |progress| progress.max(at)));
    let stop_view = StopView {
        metadata: &view.session.metadata,
        created: view.created(),
        timeout: view.session.spec.restore_timeout.as_deref(),
        last_activity,
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
