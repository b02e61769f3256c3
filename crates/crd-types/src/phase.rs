//! Phases as pure functions of the rest of a status (specification 1.4). Whoever writes a status computes the phase
//! anew with these, so that a phase never says anything its conditions do not.
//!
//! `MetricsPushed` is the mark of a finished session and `SnapshotMetadataUploaded` that of a finished Snapshot:
//! until they exist an object stays Running, even when all its components are done.

use crate::{
    BackupConfigurationPhase, BackupConfigurationSpec, BackupConfigurationStatus, BackupSessionPhase, BackupSessionStatus,
    BackupStoragePhase, ComponentPhase, Condition, RepositoryPhase, RestorePhase, RestoreSessionStatus, RetentionApplyPhase,
    SnapshotComponent, SnapshotPhase, SnapshotStatus, VerificationSessionPhase,
    conditions::{self, exists, find, is_false, is_true},
    size,
};

/// Phase of a BackupStorage.
#[must_use]
pub fn backup_storage(conditions: &[Condition]) -> BackupStoragePhase {
    let secret_in_order =
        find(conditions, conditions::BACKEND_SECRET_FOUND).is_none() || is_true(conditions, conditions::BACKEND_SECRET_FOUND);
    if is_true(conditions, conditions::BACKEND_INITIALIZED) && secret_in_order {
        BackupStoragePhase::Ready
    } else {
        BackupStoragePhase::NotReady
    }
}

/// Phase of a Repository.
#[must_use]
pub fn repository(conditions: &[Condition]) -> RepositoryPhase {
    if is_true(conditions, conditions::REPOSITORY_INITIALIZED) { RepositoryPhase::Ready } else { RepositoryPhase::NotReady }
}

/// Phase of a Snapshot's components together. One failed component makes it Failed while others still run.
#[must_use]
pub fn snapshot_components(status: &SnapshotStatus) -> ComponentPhase {
    let count = |phase| status.components.values().filter(|component| component.phase == Some(phase)).count();
    let (succeeded, failed) = (count(ComponentPhase::Succeeded), count(ComponentPhase::Failed));
    let total = expected(status.total_components);
    if status.components.is_empty() {
        ComponentPhase::Pending
    } else if total > 0 && succeeded == total {
        ComponentPhase::Succeeded
    } else if failed > 0 {
        ComponentPhase::Failed
    } else {
        ComponentPhase::Running
    }
}

/// Phase of a Snapshot.
#[must_use]
pub fn snapshot(status: &SnapshotStatus) -> SnapshotPhase {
    let conditions = &status.conditions;
    if is_false(conditions, conditions::SNAPSHOT_METADATA_UPLOADED)
        || is_false(conditions, conditions::RECENT_SNAPSHOT_LIST_UPDATED)
        || is_true(conditions, conditions::BACKUP_INCOMPLETE)
    {
        return SnapshotPhase::Failed;
    }
    let components = snapshot_components(status);
    if components == ComponentPhase::Pending || exists(conditions, conditions::SNAPSHOT_METADATA_UPLOADED) {
        return components;
    }
    SnapshotPhase::Running
}

/// Whether all components of a Snapshot are done, so that its final steps can start. True as soon as one failed.
#[must_use]
pub fn snapshot_components_completed(status: &SnapshotStatus) -> bool {
    snapshot_components(status).is_completed()
}

/// Size of a Snapshot: the sum of its restic components' sizes, or none while one of them is unknown.
#[must_use]
pub fn snapshot_size(status: &SnapshotStatus) -> Option<String> {
    let mut total = 0_u64;
    for component in restic_components(status) {
        total = total.saturating_add(size::parse(component.size.as_deref()?).ok()?);
    }
    Some(size::format(total))
}

/// Integrity of a Snapshot: whether all restic components are sound, or none while one of them is unknown.
#[must_use]
pub fn snapshot_integrity(status: &SnapshotStatus) -> Option<bool> {
    let known: Option<Vec<bool>> = restic_components(status).map(|component| component.integrity).collect();
    known.filter(|results| !results.is_empty()).map(|results| results.iter().all(|sound| *sound))
}

fn restic_components(status: &SnapshotStatus) -> impl Iterator<Item = &SnapshotComponent> {
    status.components.values().filter(|component| !component.restic_stats.is_empty())
}

/// Phase of a BackupConfiguration. The phases of its Repositories do not count.
#[must_use]
pub fn backup_configuration(spec: &BackupConfigurationSpec, status: &BackupConfigurationStatus) -> BackupConfigurationPhase {
    if is_false(&status.conditions, conditions::VALIDATION_PASSED) {
        return BackupConfigurationPhase::Invalid;
    }
    let backends_ready =
        status.backends.len() == spec.backends.len() && status.backends.iter().all(|backend| backend.ready == Some(true));
    let sessions_ready = status.sessions.len() == spec.sessions.len()
        && status.sessions.iter().all(|session| is_true(&session.conditions, conditions::SCHEDULER_ENSURED));
    if status.target_found == Some(true) && backends_ready && sessions_ready {
        BackupConfigurationPhase::Ready
    } else {
        BackupConfigurationPhase::NotReady
    }
}

/// Phase of a BackupSession's Snapshots together.
#[must_use]
pub fn backup_session_snapshots(status: &BackupSessionStatus) -> SnapshotPhase {
    let count = |phase| status.snapshots.iter().filter(|snapshot| snapshot.phase == Some(phase)).count();
    let (succeeded, failed) = (count(SnapshotPhase::Succeeded), count(SnapshotPhase::Failed));
    if count(SnapshotPhase::Pending) == status.snapshots.len() {
        SnapshotPhase::Pending
    } else if succeeded + failed != expected(status.total_snapshots) {
        SnapshotPhase::Running
    } else if failed > 0 {
        SnapshotPhase::Failed
    } else {
        SnapshotPhase::Succeeded
    }
}

/// Phase of a BackupSession.
#[must_use]
pub fn backup_session(status: &BackupSessionStatus) -> BackupSessionPhase {
    let conditions = &status.conditions;
    if is_false(conditions, conditions::METRICS_PUSHED) {
        return BackupSessionPhase::Failed;
    }
    if is_true(conditions, conditions::BACKUP_SKIPPED) {
        return BackupSessionPhase::Skipped;
    }
    let step_failed = [
        conditions::BACKUP_EXECUTOR_ENSURED,
        conditions::SNAPSHOTS_ENSURED,
        conditions::PRE_BACKUP_HOOKS_EXECUTION_SUCCEEDED,
        conditions::POST_BACKUP_HOOKS_EXECUTION_SUCCEEDED,
        conditions::SESSION_HISTORY_CLEANED,
    ]
    .iter()
    .any(|step| is_false(conditions, step))
        || is_true(conditions, conditions::SNAPSHOT_CLEANUP_INCOMPLETE)
        || status.retention_policy.iter().any(|applied| applied.phase == Some(RetentionApplyPhase::FailedToApply));
    if is_true(conditions, conditions::METRICS_PUSHED) && step_failed {
        return BackupSessionPhase::Failed;
    }
    let finished = exists(conditions, conditions::METRICS_PUSHED);
    match backup_session_snapshots(status) {
        SnapshotPhase::Pending => BackupSessionPhase::Pending,
        SnapshotPhase::Succeeded if finished => BackupSessionPhase::Succeeded,
        SnapshotPhase::Failed if finished => BackupSessionPhase::Failed,
        _ => BackupSessionPhase::Running,
    }
}

/// Phase of a RestoreSession's components together.
#[must_use]
pub fn restore_components(status: &RestoreSessionStatus) -> RestorePhase {
    let count = |phase| status.components.values().filter(|component| component.phase == Some(phase)).count();
    let (succeeded, failed, unknown) =
        (count(RestorePhase::Succeeded), count(RestorePhase::Failed), count(RestorePhase::Unknown));
    let total = expected(status.total_components);
    if status.components.is_empty() {
        RestorePhase::Pending
    } else if total > 0 && succeeded == total {
        RestorePhase::Succeeded
    } else if failed > 0 {
        RestorePhase::Failed
    } else if succeeded + unknown == total {
        RestorePhase::Unknown
    } else {
        RestorePhase::Running
    }
}

/// Phase of a RestoreSession.
#[must_use]
pub fn restore_session(status: &RestoreSessionStatus) -> RestorePhase {
    let conditions = &status.conditions;
    if is_false(conditions, conditions::METRICS_PUSHED) {
        return RestorePhase::Failed;
    }
    if is_false(conditions, conditions::VALIDATION_PASSED) {
        return RestorePhase::Invalid;
    }
    let step_failed = [
        conditions::PRE_RESTORE_HOOKS_EXECUTION_SUCCEEDED,
        conditions::POST_RESTORE_HOOKS_EXECUTION_SUCCEEDED,
        conditions::RESTORE_EXECUTOR_ENSURED,
    ]
    .iter()
    .any(|step| is_false(conditions, step))
        || is_true(conditions, conditions::RESTORE_INCOMPLETE);
    if is_true(conditions, conditions::METRICS_PUSHED) && step_failed {
        return RestorePhase::Failed;
    }
    let components = restore_components(status);
    let decided =
        matches!(components, RestorePhase::Pending | RestorePhase::Unknown) || exists(conditions, conditions::METRICS_PUSHED);
    if decided { components } else { RestorePhase::Running }
}

/// Phase of a BackupVerificationSession.
#[must_use]
pub fn verification_session(conditions: &[Condition]) -> VerificationSessionPhase {
    let cleaned = is_true(conditions, conditions::VERIFICATION_SESSION_HISTORY_CLEANED);
    if is_false(conditions, conditions::VERIFICATION_SESSION_HISTORY_CLEANED) {
        VerificationSessionPhase::Failed
    } else if is_true(conditions, conditions::BACKUP_VERIFICATION_SKIPPED) {
        VerificationSessionPhase::Skipped
    } else if cleaned
        && (is_false(conditions, conditions::RESTORE_SUCCEEDED) || is_false(conditions, conditions::BACKUP_VERIFIED))
    {
        VerificationSessionPhase::Failed
    } else if cleaned {
        VerificationSessionPhase::Succeeded
    } else {
        VerificationSessionPhase::Running
    }
}

impl SnapshotPhase {
    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_completed(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

impl BackupSessionPhase {
    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_completed(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Skipped)
    }
}

impl RestorePhase {
    /// Whether nothing will change any more. Invalid is not such a phase: its cause can be repaired.
    #[must_use]
    pub const fn is_completed(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

impl VerificationSessionPhase {
    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_completed(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Skipped)
    }
}

/// An expected number; absent means none. Nothing succeeds while it is none, because that would be success without
/// evidence.
fn expected(count: Option<i32>) -> usize {
    usize::try_from(count.unwrap_or(0)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
