//! Snapshot status as the session-controller writes it: components, sizes, phase and the conditions that are its own.

use crd_types::{Condition, Snapshot, SnapshotStatus, conditions, names::manager, phase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};
use kube_kit::error::{self, ReconcileError};
use kube_kit::status::{Guard, StatusError, apply_status};

/// Conditions of a Snapshot that this process owns; the others are the storage-initializer's.
const OWN_CONDITIONS: [&str; 2] = [conditions::BACKUP_INCOMPLETE, conditions::TRANSFER];
/// Two movers' outcomes and the reconciler may meet at one Snapshot; more than this many times in a row they do not.
const MOST_TRIES: usize = 8;

/// Why a Snapshot's status was not written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It could not be read.
    #[error("Snapshot {namespace}/{name} cannot be read: {source}")]
    Read {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] StatusError),
}

impl SnapshotError {
    /// Whether the Snapshot does not exist (any more).
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Read { source, .. } => error::is_not_found(source),
            Self::Write(status) => matches!(status, StatusError::Gone { .. }),
        }
    }
}

impl ReconcileError for SnapshotError {
    fn category(&self) -> &'static str {
        match self {
            Self::Read { source, .. } => error::category(source),
            Self::Write(status) => status.category(),
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Read { source, .. } => error::is_retryable(source),
            Self::Write(status) => status.is_retryable(),
        }
    }
}

/// Reads a Snapshot, lets `change` alter its status, derives what follows from it (size, integrity, phase) and writes this
/// process's fields, all over again when somebody else wrote meanwhile. A status that comes out the same is not written.
///
/// `change` may run several times. It sees every field and condition; of what it alters, only fields of this process count.
///
/// # Errors
/// [`SnapshotError`]; [`SnapshotError::is_gone`] tells whether the Snapshot was deleted.
pub async fn update_snapshot(
    client: &Client,
    namespace: &str,
    name: &str,
    now: Timestamp,
    change: impl Fn(&mut SnapshotStatus),
) -> Result<Snapshot, SnapshotError> {
    let api: Api<Snapshot> = Api::namespaced(client.clone(), namespace);
    let mut tries = 0;
    loop {
        tries += 1;
        let read = |source| SnapshotError::Read { namespace: namespace.to_owned(), name: name.to_owned(), source };
        let snapshot = api.get(name).await.map_err(read)?;
        let before = snapshot.status.clone().unwrap_or_default();
        let mut after = before.clone();
        change(&mut after);
        derive(&before, &mut after);
        if after == before {
            return Ok(snapshot);
        }
        after.last_update_time = Some(Time(now));
        match apply_status(&api, manager::SESSION_CONTROLLER, &snapshot, &own_fields(after), Guard::Version).await {
            Err(StatusError::Conflict { .. }) if tries < MOST_TRIES => {}
            result => return Ok(result?),
        }
    }
}

/// Size, integrity and phase are functions of the rest; a phase that was final stays (invariant I10).
fn derive(before: &SnapshotStatus, after: &mut SnapshotStatus) {
    after.size = phase::snapshot_size(after);
    after.integrity = phase::snapshot_integrity(after);
    after.phase = match before.phase {
        Some(phase) if phase.is_completed() => Some(phase),
        _ => Some(phase::snapshot(after)),
    };
}

fn own_fields(mut status: SnapshotStatus) -> SnapshotStatus {
    status.conditions.retain(|condition: &Condition| OWN_CONDITIONS.contains(&condition.type_.as_str()));
    status
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crd_types::{ConditionStatus, SnapshotComponent, SnapshotPhase};

    use super::*;

    fn condition(kind: &str, status: ConditionStatus) -> Condition {
        Condition {
            type_: kind.into(),
            status,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            reason: None,
            message: None,
            severity: None,
            observed_generation: None,
        }
    }

    fn status(component: SnapshotPhase, conditions: Vec<Condition>) -> SnapshotStatus {
        let component = SnapshotComponent { phase: Some(component), ..SnapshotComponent::default() };
        SnapshotStatus {
            components: [("dump".into(), component)].into(),
            total_components: Some(1),
            conditions,
            ..SnapshotStatus::default()
        }
    }

    /// Invariant I10: a final phase does not change, whatever else is written.
    #[test]
    fn a_final_phase_stays() {
        let before = SnapshotStatus { phase: Some(SnapshotPhase::Failed), ..SnapshotStatus::default() };
        let uploaded = condition(conditions::SNAPSHOT_METADATA_UPLOADED, ConditionStatus::True);
        let mut after = status(SnapshotPhase::Succeeded, vec![uploaded]);
        derive(&before, &mut after);
        assert_eq!(after.phase, Some(SnapshotPhase::Failed));
        derive(&SnapshotStatus::default(), &mut after);
        assert_eq!(after.phase, Some(SnapshotPhase::Succeeded));
    }

    /// Architecture §4 rule 1: one writer per field, conditions of the storage-initializer's included.
    #[test]
    fn conditions_of_others_are_not_applied() {
        let conditions = vec![
            condition(conditions::SNAPSHOT_METADATA_UPLOADED, ConditionStatus::True),
            condition(conditions::TRANSFER, ConditionStatus::True),
        ];
        let own = own_fields(status(SnapshotPhase::Running, conditions));
        assert_eq!(own.conditions.iter().map(|condition| condition.type_.as_str()).collect::<Vec<_>>(), [conditions::TRANSFER]);
    }
}
