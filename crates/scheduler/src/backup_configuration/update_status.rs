//! Fifth room: says in the status what was found and done.

use crd_types::{
    BackendStatus, BackupConfiguration, BackupConfigurationPhase, BackupConfigurationSpec, BackupConfigurationStatus,
    BackupStoragePhase, Condition, ObjectReference, ResourceFoundStatus, RetentionPolicyStatus, SessionStatus, StorageStatus,
    conditions::{self as types, reason},
    phase,
};
use jiff::Timestamp;
use kube_kit::conditions::{Wanted, find, merge};
use planner::workload::TargetKind;

use super::{
    apply::Applied,
    dereference::{Backend, Dereferenced},
    validate::Checked,
};
use crate::{
    limits::MAX_MESSAGE_CHARS,
    references::{namespace, resolve, workload},
};

/// Everything the status is computed from.
pub struct Observed<'a> {
    /// The configuration with its last status.
    pub configuration: &'a BackupConfiguration,
    /// What it names.
    pub found: &'a Dereferenced,
    /// What is wrong with it.
    pub checked: &'a Checked<'a>,
    /// What was made.
    pub applied: &'a Applied,
}

/// The whole status. Nothing is forgotten from the last one but what no longer exists.
pub fn status(observed: &Observed<'_>, now: Timestamp) -> BackupConfigurationStatus {
    let Observed { configuration, found, checked, applied } = observed;
    let before = configuration.status.clone().unwrap_or_default();
    let generation = configuration.metadata.generation;
    let here = namespace(*configuration);
    let validation = if checked.is_valid() {
        let mut message = "Validation has been passed successfully.".to_owned();
        for remark in &checked.remarks {
            message.push_str(&format!(" Note: {remark}."));
        }
        Wanted::yes(types::VALIDATION_PASSED, reason::RESOURCE_VALIDATION_PASSED, shorten(&message))
    } else {
        let sentences: Vec<&str> = checked.problems.iter().map(|problem| problem.message.as_str()).collect();
        Wanted::no(types::VALIDATION_PASSED, reason::RESOURCE_VALIDATION_FAILED, shorten(&sentences.join("; ")))
    };
    let mut status = BackupConfigurationStatus {
        backends: found.backends.iter().map(|backend| backend_status(backend, &here, found)).collect(),
        conditions: merge(&before.conditions, [validation.at_generation(generation)], now),
        dependencies: dependencies(configuration, found),
        phase: None,
        repositories: applied.repositories.clone(),
        sessions: sessions(configuration, &before, applied, now),
        target_found: Some(found.target_found),
    };
    if status.repositories.is_empty() {
        status.repositories.clone_from(&before.repositories);
    }
    let effective = BackupConfigurationSpec {
        // Defaulted backends count like written ones.
        backends: vec![crd_types::BackendReference::default(); found.backends.len()],
        ..configuration.spec.clone()
    };
    let phase = phase::backup_configuration(&effective, &status);
    let progressing = progressing(observed, &status, phase).at_generation(generation);
    status.conditions = merge(&status.conditions, [progressing], now);
    status.phase = Some(phase);
    status
}

/// What stands between the configuration and its next backup, in a sentence.
fn progressing(observed: &Observed<'_>, status: &BackupConfigurationStatus, phase: BackupConfigurationPhase) -> Wanted {
    let not = |reason: &str, message: String| Wanted::no(types::PROGRESSING, reason, shorten(&message));
    let Observed { configuration, found, checked, applied } = observed;
    if phase == BackupConfigurationPhase::Ready {
        let held: Vec<&str> = applied.sessions.iter().filter_map(|session| session.suspended.as_deref()).collect();
        return match held.first() {
            Some(cause) => not("Suspended", (*cause).to_owned()),
            None => Wanted::yes(types::PROGRESSING, "Scheduled", "Sessions run on schedule."),
        };
    }
    if !checked.is_valid() {
        return not("Invalid", "See condition ValidationPassed.".to_owned());
    }
    if let Some(target) = configuration.spec.target.as_ref().filter(|_| !found.target_found) {
        let kind = TargetKind::of(target).map_or("target", TargetKind::as_str);
        let (_, target_namespace, name) = workload(target, &namespace(*configuration));
        return not(
            "TargetNotFound",
            format!("{kind} {target_namespace}/{name} does not exist; create it or correct spec.target"),
        );
    }
    for backend in &status.backends {
        let storage = backend.storage.as_ref().and_then(|storage| storage.reason.as_ref());
        let policy = backend.retention_policy.as_ref().and_then(|policy| policy.reason.as_ref());
        if let Some(cause) = storage.or(policy) {
            return not("BackendNotReady", cause.clone());
        }
    }
    match applied.sessions.iter().find_map(|session| session.failure.as_ref()) {
        Some(failure) => not(reason::SCHEDULER_NOT_ENSURED, failure.clone()),
        None => not("NotReady", "Not everything it needs is there yet.".to_owned()),
    }
}

fn backend_status(backend: &Backend, here: &str, found: &Dereferenced) -> BackendStatus {
    let reference =
        |(namespace, name): &(String, String)| ObjectReference { name: name.clone(), namespace: Some(namespace.clone()) };
    let storage = backend.storage.as_ref().map(|named| {
        let place = resolve(named, here);
        let known = found.storages.get(&place);
        let phase = known.and_then(|storage| storage.status.as_ref()).and_then(|status| status.phase);
        let (namespace, name) = &place;
        let cause = match known {
            None => Some(format!("BackupStorage {namespace}/{name} does not exist; create it or correct storageRef")),
            Some(storage) if storage.metadata.deletion_timestamp.is_some() => {
                Some(format!("BackupStorage {namespace}/{name} is being deleted"))
            }
            Some(_) if phase == Some(BackupStoragePhase::Ready) => None,
            Some(storage) => {
                let conditions = storage.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
                Some(format!("BackupStorage {namespace}/{name} is not Ready: {}", first_false(conditions)))
            }
        };
        StorageStatus { phase: Some(phase.unwrap_or(BackupStoragePhase::NotReady)), reason: cause, ref_: Some(reference(&place)) }
    });
    let retention_policy = backend.retention_policy.as_ref().map(|named| {
        let place = resolve(named, here);
        let is_found = found.policies.contains_key(&place);
        let (namespace, name) = &place;
        RetentionPolicyStatus {
            found: Some(is_found),
            reason: (!is_found)
                .then(|| format!("RetentionPolicy {namespace}/{name} does not exist; create it or correct retentionPolicy")),
            ref_: Some(reference(&place)),
        }
    });
    let is_ready = storage.as_ref().is_some_and(|storage| storage.reason.is_none())
        && retention_policy.as_ref().is_some_and(|policy| policy.found == Some(true));
    BackendStatus {
        name: Some(backend.name.clone()).filter(|name| !name.is_empty()),
        ready: Some(is_ready),
        retention_policy,
        storage,
    }
}

fn first_false(conditions: &[Condition]) -> String {
    conditions
        .iter()
        .find(|condition| condition.status != crd_types::ConditionStatus::True)
        .and_then(|condition| condition.message.clone())
        .unwrap_or_else(|| "it was not looked at yet".to_owned())
}

fn dependencies(configuration: &BackupConfiguration, found: &Dereferenced) -> Vec<ResourceFoundStatus> {
    let mut all: Vec<ResourceFoundStatus> = Vec::new();
    for session in &configuration.spec.sessions {
        let Some(name) = session.addon.as_ref().and_then(|addon| addon.name.clone()).filter(|name| !name.is_empty()) else {
            continue;
        };
        if all.iter().all(|known| known.name != name) {
            all.push(ResourceFoundStatus {
                found: Some(found.addons.contains_key(&name)),
                kind: Some("Addon".to_owned()),
                name,
                ..ResourceFoundStatus::default()
            });
        }
    }
    all
}

fn sessions(
    configuration: &BackupConfiguration,
    before: &BackupConfigurationStatus,
    applied: &Applied,
    now: Timestamp,
) -> Vec<SessionStatus> {
    let status = |name: &str| {
        let known = before.sessions.iter().find(|known| known.name.as_deref() == Some(name));
        let conditions = known.map(|known| known.conditions.as_slice()).unwrap_or_default();
        let outcome = applied.sessions.iter().find(|outcome| outcome.session == name);
        let wanted = match outcome {
            Some(outcome) => match &outcome.failure {
                None => {
                    Wanted::yes(types::SCHEDULER_ENSURED, reason::SCHEDULER_ENSURED, "Scheduler has been ensured successfully.")
                }
                Some(failure) => Wanted::no(types::SCHEDULER_ENSURED, reason::SCHEDULER_NOT_ENSURED, shorten(failure)),
            },
            None => Wanted::no(
                types::SCHEDULER_ENSURED,
                reason::SCHEDULER_NOT_ENSURED,
                "No slot runs while the BackupConfiguration is Invalid; see its condition ValidationPassed.",
            ),
        };
        SessionStatus {
            conditions: merge(conditions, [wanted], now),
            name: Some(name.to_owned()),
            next_schedule: outcome.and_then(|outcome| outcome.next).map(|next| next.to_string()),
        }
    };
    configuration.spec.sessions.iter().filter_map(|session| session.name.as_deref()).map(status).collect()
}

/// Whether the condition of that type says something else than before: then it is worth an event.
pub fn says_something_new(before: Option<&BackupConfigurationStatus>, after: &BackupConfigurationStatus, type_: &str) -> bool {
    let words = |conditions: &[Condition]| find(conditions, type_).map(|condition| (condition.status, condition.message.clone()));
    before.and_then(|before| words(&before.conditions)) != words(&after.conditions)
}

fn shorten(message: &str) -> String {
    if message.chars().count() <= MAX_MESSAGE_CHARS {
        return message.to_owned();
    }
    message.chars().take(MAX_MESSAGE_CHARS - 1).chain(['…']).collect()
}
