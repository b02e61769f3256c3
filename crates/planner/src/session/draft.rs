//! The plan of a pass while it is being made.

use std::collections::BTreeMap;

use crd_types::{BackupSessionStatus, Condition, ConditionStatus, conditions, phase};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Action, Plan, SnapshotWrite, Stage, View};
use crate::{build::Work, decision::Reason};

/// Sets a condition; nothing changes when status, reason and message are the same (specification §1.1).
pub(crate) fn set_condition(
    all: &mut Vec<Condition>,
    type_: &str,
    status: ConditionStatus,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let message = (!message.is_empty()).then(|| message.to_owned());
    let fresh = Condition {
        last_transition_time: Time(now),
        message,
        observed_generation: None,
        reason: Some(reason.to_owned()),
        severity: None,
        status,
        type_: type_.to_owned(),
    };
    match all.iter_mut().find(|known| known.type_ == type_) {
        Some(known) if known.status == fresh.status && known.reason == fresh.reason && known.message == fresh.message => {}
        Some(known) => *known = fresh,
        None => all.push(fresh),
    }
}

/// A plan in the making.
pub(super) struct Draft {
    pub status: BackupSessionStatus,
    pub actions: Vec<Action>,
    pub snapshots: Vec<SnapshotWrite>,
    pub look_again: Option<Timestamp>,
    pub again: bool,
    pub reasons: Vec<Reason>,
    stage: Stage,
    now: Timestamp,
}

impl Draft {
    pub fn new(view: &View<'_>, stage: Stage) -> Self {
        Self {
            status: view.session.status.clone().unwrap_or_default(),
            actions: Vec::new(),
            snapshots: Vec::new(),
            look_again: None,
            again: false,
            reasons: Vec::new(),
            stage,
            now: view.now,
        }
    }

    pub fn yes(&mut self, type_: &str, reason: &str, message: &str) {
        set_condition(&mut self.status.conditions, type_, ConditionStatus::True, reason, message, self.now);
    }

    pub fn no(&mut self, type_: &str, reason: &str, message: &str) {
        set_condition(&mut self.status.conditions, type_, ConditionStatus::False, reason, message, self.now);
    }

    /// The session moves on.
    pub fn moves(&mut self, reason: Reason) {
        self.yes(conditions::PROGRESSING, reason.reason, &reason.message);
        self.reasons.push(reason);
    }

    /// The session waits.
    pub fn waits(&mut self, reason: Reason) {
        self.no(conditions::PROGRESSING, reason.reason, &reason.message);
        self.reasons.push(reason);
    }

    /// Since when the session waits for the same reason.
    pub fn waits_since(&self, reason: &str) -> Option<Timestamp> {
        let known = conditions::find(&self.status.conditions, conditions::PROGRESSING)?;
        (known.status == ConditionStatus::False && known.reason.as_deref() == Some(reason))
            .then_some(known.last_transition_time.0)
    }

    /// Begins an attempt. Several may begin in one pass: each record of them holds those before it.
    pub fn start(&mut self, component: &str, attempt: u32, work: Work, attempts: &BTreeMap<String, u32>) {
        let mut begun = attempts.clone();
        for action in &self.actions {
            if let Action::StartJob { begun: earlier, .. } = action {
                begun.extend(earlier.clone());
            }
        }
        begun.insert(component.to_owned(), attempt);
        self.actions.push(Action::StartJob { component: component.to_owned(), attempt, work, begun });
    }

    pub fn look_at(&mut self, at: Timestamp) {
        self.look_again = Some(self.look_again.map_or(at, |known| known.min(at)));
    }

    pub fn finish(mut self) -> Plan {
        self.status.phase = Some(phase::backup_session(&self.status));
        Plan {
            stage: self.stage,
            actions: self.actions,
            status: self.status,
            snapshots: self.snapshots,
            look_again: self.look_again,
            again: self.again,
            reasons: self.reasons,
        }
    }
}
