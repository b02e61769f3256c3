//! Second room: whether the configuration can work as it is written. Every problem is one sentence that names the object
//! and what to do about it.

mod repositories;
mod sessions;

use std::collections::BTreeSet;

use crd_types::{BackupConfiguration, ObjectReference, RepositoryInfo, SchedulerSpec, Session};
use planner::{
    Reason,
    access::{Subject, admits},
    retention::Rules,
    schedule::CronSchedule,
    session::data_check_period,
    workload::check_target,
};

use super::dereference::{Backend, Dereferenced};
use crate::{references::namespace, references::resolve, settings::Settings};

/// Step that the reasons of this room name.
const STEP: &str = "validate";

/// A Repository that the configuration writes to.
#[derive(Clone, Debug)]
pub struct CheckedRepository<'a> {
    /// Its name.
    pub name: &'a str,
    /// The first entry that names it; later ones agree with it.
    pub entry: &'a RepositoryInfo,
    /// Its storage.
    pub storage: ObjectReference,
}

/// A session whose schedule is understood.
#[derive(Clone, Debug)]
pub struct CheckedSession<'a> {
    /// The session.
    pub session: &'a Session,
    /// Its scheduler.
    pub scheduler: &'a SchedulerSpec,
    /// Its schedule.
    pub schedule: CronSchedule,
}

/// What validation found.
#[derive(Clone, Debug, Default)]
pub struct Checked<'a> {
    /// Why it cannot work; empty when it can.
    pub problems: Vec<Reason>,
    /// What is asked for, is not supported yet, and changes nothing about the backups.
    pub remarks: Vec<String>,
    /// Sessions that are understood.
    pub sessions: Vec<CheckedSession<'a>>,
    /// Repositories, each once.
    pub repositories: Vec<CheckedRepository<'a>>,
}

impl Checked<'_> {
    /// Whether nothing stands in the way.
    pub fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, reason: &'static str, message: impl Into<String>) {
        let found = Reason::new(STEP, reason, message);
        if !self.problems.contains(&found) {
            self.problems.push(found);
        }
    }
}

/// Checks the configuration against everything it names.
pub fn validate<'a>(configuration: &'a BackupConfiguration, found: &'a Dereferenced, settings: &Settings) -> Checked<'a> {
    let mut checked = Checked::default();
    let here = namespace(configuration);
    check_backends(&mut checked, &here, found);
    if let Err(error) = check_target(configuration.spec.target.as_ref(), &here) {
        checked.problem("TargetNotSupported", error.to_string());
    }
    // What it says there is not known here; the session-controller has the default.
    if let Err(error) = data_check_period(configuration, None) {
        checked.problem("DataCheckPeriodInvalid", error.to_string());
    }
    sessions::check(&mut checked, configuration, found);
    repositories::check(&mut checked, configuration, found, settings);
    checked
}

/// Names, references and usage policies of backends. What does not exist (yet) is said by the backend's own status.
fn check_backends(checked: &mut Checked<'_>, here: &str, found: &Dereferenced) {
    let mut names = BTreeSet::new();
    for Backend { name, storage, retention_policy } in &found.backends {
        if !names.insert(name) {
            checked
                .problem("BackendNotUnique", format!("two backends are named {name:?}; give each spec.backends[] its own name"));
        }
        match storage {
            None => checked.problem(
                "StorageNotNamed",
                format!("backend {name:?} names no BackupStorage and there is no default one; set its storageRef"),
            ),
            Some(reference) => {
                let place = resolve(reference, here);
                if let Some(storage) = found.storages.get(&place) {
                    let subject = Subject::new("BackupStorage", &place.0, &place.1);
                    if let Err(refusal) = admits(storage.spec.usage_policy.as_ref(), &subject, here, &found.namespace_labels) {
                        checked.problem(refusal.reason(), refusal.to_string());
                    }
                }
            }
        }
        match retention_policy {
            None => checked.problem(
                "RetentionPolicyNotNamed",
                format!("backend {name:?} names no RetentionPolicy and there is no default one; set its retentionPolicy"),
            ),
            Some(reference) => {
                let place = resolve(reference, here);
                let Some(policy) = found.policies.get(&place) else { continue };
                let subject = Subject::new("RetentionPolicy", &place.0, &place.1);
                if let Err(refusal) = admits(policy.spec.usage_policy.as_ref(), &subject, here, &found.namespace_labels) {
                    checked.problem(refusal.reason(), refusal.to_string());
                }
                if let Err(error) = Rules::from_policy(policy) {
                    checked.problem("RetentionPolicyInvalid", format!("{subject}: {error}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
