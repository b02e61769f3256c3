//! Types and reasons of conditions: KubeStash's (specification 1.5), and our own with the prefix `orlop.dev/`.
//!
//! [`TYPES`] is the table; the constants are its parts.

use crate::{Condition, ConditionStatus};

/// What is fixed about one type of condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConditionType {
    /// The type as it stands in the object.
    pub name: &'static str,
    /// Kinds that carry it.
    pub on: &'static str,
    /// Reason while it is True; none where the condition is never True or its reason varies.
    pub true_reason: Option<&'static str>,
    /// Reason while it is False; none where the condition is never False or its reason varies.
    pub false_reason: Option<&'static str>,
}

/// The backend answers and holds its metadata. On BackupStorage.
pub const BACKEND_INITIALIZED: &str = "BackendInitialized";
/// The Secret with credentials exists. Absent for storages that need none. On BackupStorage.
pub const BACKEND_SECRET_FOUND: &str = "BackendSecretFound";
/// The Repository's metadata is in the bucket. On Repository.
pub const REPOSITORY_INITIALIZED: &str = "RepositoryInitialized";
/// The Snapshot's metadata is in the bucket. It also marks a Snapshot as finished. On Snapshot.
pub const SNAPSHOT_METADATA_UPLOADED: &str = "SnapshotMetadataUploaded";
/// The Repository lists the Snapshot. On Snapshot.
pub const RECENT_SNAPSHOT_LIST_UPDATED: &str = "RecentSnapshotListUpdated";
/// The executor ended before its component did. On Snapshot.
pub const BACKUP_INCOMPLETE: &str = "BackupIncomplete";
/// The object can work as it is written. On BackupConfiguration, RestoreSession.
pub const VALIDATION_PASSED: &str = "ValidationPassed";
/// The session's CronJob is as it should be. On a configuration's session.
pub const SCHEDULER_ENSURED: &str = "SchedulerEnsured";
/// The session's first backup was started. On a configuration's session.
pub const INITIAL_BACKUP_TRIGGERED: &str = "InitialBackupTriggered";
/// The session did not run because what it needs was not there. On BackupSession.
pub const BACKUP_SKIPPED: &str = "BackupSkipped";
/// Older sessions beyond the limit were removed. On BackupSession.
pub const SESSION_HISTORY_CLEANED: &str = "SessionHistoryCleaned";
/// The hooks before the backup succeeded. On BackupSession.
pub const PRE_BACKUP_HOOKS_EXECUTION_SUCCEEDED: &str = "PreBackupHooksExecutionSucceeded";
/// The hooks after the backup succeeded. On BackupSession.
pub const POST_BACKUP_HOOKS_EXECUTION_SUCCEEDED: &str = "PostBackupHooksExecutionSucceeded";
/// The session's Snapshots exist. On BackupSession.
pub const SNAPSHOTS_ENSURED: &str = "SnapshotsEnsured";
/// The session's Jobs exist. On BackupSession.
pub const BACKUP_EXECUTOR_ENSURED: &str = "BackupExecutorEnsured";
/// Retention was started, or has nothing to do. On BackupSession.
pub const RETENTION_POLICY_EXECUTOR_ENSURED: &str = "RetentionPolicyExecutorEnsured";
/// The retention Job ended before its work did. On BackupSession.
pub const SNAPSHOT_CLEANUP_INCOMPLETE: &str = "SnapshotCleanupIncomplete";
/// A pod waits for longer than it should. On BackupSession, RestoreSession.
pub const POD_PENDING_TOO_LONG: &str = "PodHasBeenInPendingStateForLongerThanExpected";
/// The last step; it marks a session as finished. On BackupSession, RestoreSession.
pub const METRICS_PUSHED: &str = "MetricsPushed";
/// The target could be looked for. On RestoreSession.
pub const RESTORE_TARGET_FOUND: &str = "RestoreTargetFound";
/// The hooks before the restore succeeded. On RestoreSession.
pub const PRE_RESTORE_HOOKS_EXECUTION_SUCCEEDED: &str = "PreRestoreHooksExecutionSucceeded";
/// The hooks after the restore succeeded. On RestoreSession.
pub const POST_RESTORE_HOOKS_EXECUTION_SUCCEEDED: &str = "PostRestoreHooksExecutionSucceeded";
/// The restore's Jobs exist. On RestoreSession.
pub const RESTORE_EXECUTOR_ENSURED: &str = "RestoreExecutorEnsured";
/// The executor ended before its component did. On RestoreSession.
pub const RESTORE_INCOMPLETE: &str = "RestoreIncomplete";
/// The Snapshot was verified before. On BackupVerificationSession.
pub const BACKUP_VERIFICATION_SKIPPED: &str = "BackupVerificationSkipped";
/// The last step; it marks a verification as finished. On BackupVerificationSession.
pub const VERIFICATION_SESSION_HISTORY_CLEANED: &str = "VerificationSessionHistoryCleaned";
/// The verification's Job exists. On BackupVerificationSession.
pub const VERIFICATION_EXECUTOR_ENSURED: &str = "VerificationExecutorEnsured";
/// The restore that verifies succeeded. On BackupVerificationSession.
pub const RESTORE_SUCCEEDED: &str = "RestoreSucceeded";
/// The restored data is what it should be. On BackupVerificationSession.
pub const BACKUP_VERIFIED: &str = "BackupVerified";
/// Whether the session moves on, and what it waits for or what its last attempt died of. Never decides the phase.
/// On BackupConfiguration, BackupSession, RestoreSession, and on Snapshot while its metadata does not reach the bucket.
pub const PROGRESSING: &str = "orlop.dev/Progressing";
/// Movers of this Repository's namespace are given the storage's own key. On Repository.
pub const CREDENTIALS_SHARED: &str = "orlop.dev/CredentialsShared";
/// What the store was seen to do and not to do. On BackupStorage.
pub const STORE_CAPABLE: &str = "orlop.dev/StoreCapable";
/// How much the backup read and stored. On Snapshot.
pub const TRANSFER: &str = "orlop.dev/Transfer";

/// Reasons that go with a type while it is True or False.
pub mod reason {
    /// Of `orlop.dev/Transfer` when True.
    pub const MEASURED: &str = "Measured";
    /// Of `BackendInitialized` when True.
    pub const BACKEND_INITIALIZATION_SUCCEEDED: &str = "BackendInitializationSucceeded";
    /// Of `BackendInitialized` when False.
    pub const BACKEND_INITIALIZATION_FAILED: &str = "BackendInitializationFailed";
    /// Of `BackendSecretFound` when True.
    pub const BACKEND_SECRET_AVAILABLE: &str = "BackendSecretAvailable";
    /// Of `BackendSecretFound` when False.
    pub const BACKEND_SECRET_NOT_AVAILABLE: &str = "BackendSecretNotAvailable";
    /// Of `RepositoryInitialized` when True.
    pub const REPOSITORY_INITIALIZATION_SUCCEEDED: &str = "RepositoryInitializationSucceeded";
    /// Of `RepositoryInitialized` when False.
    pub const REPOSITORY_INITIALIZATION_FAILED: &str = "RepositoryInitializationFailed";
    /// Of `SnapshotMetadataUploaded` when True.
    pub const SUCCESSFULLY_UPLOADED_SNAPSHOT_METADATA: &str = "SuccessfullyUploadedSnapshotMetadata";
    /// Of `SnapshotMetadataUploaded` when False.
    pub const FAILED_TO_UPLOAD_SNAPSHOT_METADATA: &str = "FailedToUploadSnapshotMetadata";
    /// Of `RecentSnapshotListUpdated` when True.
    pub const SUCCESSFULLY_UPDATED_RECENT_SNAPSHOT_LIST: &str = "SuccessfullyUpdatedRecentSnapshotList";
    /// Of `RecentSnapshotListUpdated` when False.
    pub const FAILED_TO_UPDATE_RECENT_SNAPSHOT_LIST: &str = "FailedToUpdateRecentSnapshotList";
    /// Of `BackupIncomplete` when True.
    pub const BACKUP_EXECUTOR_TERMINATED_BEFORE_COMPLETION: &str = "BackupExecutorTerminatedBeforeCompletion";
    /// Of `ValidationPassed` when True.
    pub const RESOURCE_VALIDATION_PASSED: &str = "ResourceValidationPassed";
    /// Of `ValidationPassed` when False.
    pub const RESOURCE_VALIDATION_FAILED: &str = "ResourceValidationFailed";
    /// Of `SchedulerEnsured` when True.
    pub const SCHEDULER_ENSURED: &str = "SchedulerEnsured";
    /// Of `SchedulerEnsured` when False.
    pub const SCHEDULER_NOT_ENSURED: &str = "SchedulerNotEnsured";
    /// Of `InitialBackupTriggered` when True.
    pub const SUCCESSFULLY_TRIGGERED_INITIAL_BACKUP: &str = "SuccessfullyTriggeredInitialBackup";
    /// Of `InitialBackupTriggered` when False.
    pub const FAILED_TO_TRIGGER_INITIAL_BACKUP: &str = "FailedToTriggerInitialBackup";
    /// Of `BackupSkipped` when True.
    pub const PRE_REQUISITES_NOT_SATISFIED: &str = "PreRequisitesNotSatisfied";
    /// Of `SessionHistoryCleaned` when True.
    pub const SUCCESSFULLY_CLEANED_SESSION_HISTORY: &str = "SuccessfullyCleanedSessionHistory";
    /// Of `SessionHistoryCleaned` when False.
    pub const FAILED_TO_CLEAN_SESSION_HISTORY: &str = "FailedToCleanSessionHistory";
    /// Of `PreBackupHooksExecutionSucceeded` when True.
    pub const SUCCESSFULLY_EXECUTED_PRE_BACKUP_HOOKS: &str = "SuccessfullyExecutedPreBackupHooks";
    /// Of `PreBackupHooksExecutionSucceeded` when False.
    pub const FAILED_TO_EXECUTE_PRE_BACKUP_HOOKS: &str = "FailedToExecutePreBackupHooks";
    /// Of `PostBackupHooksExecutionSucceeded` when True.
    pub const SUCCESSFULLY_EXECUTED_POST_BACKUP_HOOKS: &str = "SuccessfullyExecutedPostBackupHooks";
    /// Of `PostBackupHooksExecutionSucceeded` when False.
    pub const FAILED_TO_EXECUTE_POST_BACKUP_HOOKS: &str = "FailedToExecutePostBackupHooks";
    /// Of `SnapshotsEnsured` when True.
    pub const SUCCESSFULLY_ENSURED_SNAPSHOTS: &str = "SuccessfullyEnsuredSnapshots";
    /// Of `SnapshotsEnsured` when False.
    pub const FAILED_TO_ENSURE_SNAPSHOTS: &str = "FailedToEnsureSnapshots";
    /// Of `BackupExecutorEnsured` when True.
    pub const SUCCESSFULLY_ENSURED_BACKUP_EXECUTOR: &str = "SuccessfullyEnsuredBackupExecutor";
    /// Of `BackupExecutorEnsured` when False.
    pub const FAILED_TO_ENSURE_BACKUP_EXECUTOR: &str = "FailedToEnsureBackupExecutor";
    /// Of `RetentionPolicyExecutorEnsured` when True.
    pub const SUCCESSFULLY_ENSURED_RETENTION_POLICY_EXECUTOR: &str = "SuccessfullyEnsuredRetentionPolicyExecutor";
    /// Of `RetentionPolicyExecutorEnsured` when False.
    pub const FAILED_TO_ENSURE_RETENTION_POLICY_EXECUTOR: &str = "FailedToEnsureRetentionPolicyExecutor";
    /// Of `SnapshotCleanupIncomplete` when True.
    pub const SNAPSHOT_CLEANUP_TERMINATED_BEFORE_COMPLETION: &str = "SnapshotCleanupTerminatedBeforeCompletion";
    /// Of `PodHasBeenInPendingStateForLongerThanExpected` when True.
    pub const POD_HAS_BEEN_IN_PENDING_STATE_FOR_LONGER_THAN_EXPECTED: &str = "PodHasBeenInPendingStateForLongerThanExpected";
    /// Of `MetricsPushed` when True.
    pub const SUCCESSFULLY_PUSHED_METRICS: &str = "SuccessfullyPushedMetrics";
    /// Of `MetricsPushed` when False.
    pub const FAILED_TO_PUSH_METRICS: &str = "FailedToPushMetrics";
    /// Of `RestoreTargetFound` when False.
    pub const UNABLE_TO_CHECK_TARGET_AVAILABILITY: &str = "UnableToCheckTargetAvailability";
    /// Of `PreRestoreHooksExecutionSucceeded` when True.
    pub const SUCCESSFULLY_EXECUTED_PRE_RESTORE_HOOKS: &str = "SuccessfullyExecutedPreRestoreHooks";
    /// Of `PreRestoreHooksExecutionSucceeded` when False.
    pub const FAILED_TO_EXECUTE_PRE_RESTORE_HOOKS: &str = "FailedToExecutePreRestoreHooks";
    /// Of `PostRestoreHooksExecutionSucceeded` when True.
    pub const SUCCESSFULLY_EXECUTED_POST_RESTORE_HOOKS: &str = "SuccessfullyExecutedPostRestoreHooks";
    /// Of `PostRestoreHooksExecutionSucceeded` when False.
    pub const FAILED_TO_EXECUTE_POST_RESTORE_HOOKS: &str = "FailedToExecutePostRestoreHooks";
    /// Of `RestoreExecutorEnsured` when True.
    pub const SUCCESSFULLY_ENSURED_RESTORE_EXECUTOR: &str = "SuccessfullyEnsuredRestoreExecutor";
    /// Of `RestoreExecutorEnsured` when False.
    pub const FAILED_TO_ENSURE_RESTORE_EXECUTOR: &str = "FailedToEnsureRestoreExecutor";
    /// Of `RestoreIncomplete` when True.
    pub const RESTORE_EXECUTOR_TERMINATED_BEFORE_COMPLETION: &str = "RestoreExecutorTerminatedBeforeCompletion";
    /// Of `BackupVerificationSkipped` when True.
    pub const SNAPSHOT_ALREADY_VERIFIED: &str = "SnapshotAlreadyVerified";
    /// Of `VerificationSessionHistoryCleaned` when True.
    pub const SUCCESSFULLY_CLEANED_VERIFICATION_SESSION_HISTORY: &str = "SuccessfullyCleanedVerificationSessionHistory";
    /// Of `VerificationSessionHistoryCleaned` when False.
    pub const FAILED_TO_CLEAN_VERIFICATION_SESSION_HISTORY: &str = "FailedToCleanVerificationSessionHistory";
    /// Of `VerificationExecutorEnsured` when True.
    pub const SUCCESSFULLY_ENSURED_VERIFICATION_EXECUTOR: &str = "SuccessfullyEnsuredVerificationExecutor";
    /// Of `VerificationExecutorEnsured` when False.
    pub const FAILED_TO_ENSURE_VERIFICATION_EXECUTOR: &str = "FailedToEnsureVerificationExecutor";
    /// Of `RestoreSucceeded` when True.
    pub const SUCCESSFULLY_RESTORED_BACKUP: &str = "SuccessfullyRestoredBackup";
    /// Of `RestoreSucceeded` when False.
    pub const FAILED_TO_RESTORE_BACKUP: &str = "FailedToRestoreBackup";
    /// Of `BackupVerified` when True.
    pub const SUCCESSFULLY_VERIFIED_BACKUP: &str = "SuccessfullyVerifiedBackup";
    /// Of `BackupVerified` when False.
    pub const FAILED_TO_VERIFY_BACKUP: &str = "FailedToVerifyBackup";
    /// Of `orlop.dev/CredentialsShared` when True.
    pub const STORAGE_KEY_SHARED: &str = "StorageKeyShared";
    /// Of `orlop.dev/CredentialsShared` when False.
    pub const STORAGE_KEY_NOT_SHARED: &str = "StorageKeyNotShared";
    /// Of `orlop.dev/StoreCapable` when True.
    pub const EVERYTHING_ALLOWED: &str = "EverythingAllowed";
    /// Of `orlop.dev/StoreCapable` when False.
    pub const SOMETHING_MISSING: &str = "SomethingMissing";
}

/// Every type with its reasons.
pub const TYPES: &[ConditionType] = &[
    ConditionType {
        name: BACKEND_INITIALIZED,
        on: "BackupStorage",
        true_reason: Some(reason::BACKEND_INITIALIZATION_SUCCEEDED),
        false_reason: Some(reason::BACKEND_INITIALIZATION_FAILED),
    },
    ConditionType {
        name: BACKEND_SECRET_FOUND,
        on: "BackupStorage",
        true_reason: Some(reason::BACKEND_SECRET_AVAILABLE),
        false_reason: Some(reason::BACKEND_SECRET_NOT_AVAILABLE),
    },
    ConditionType {
        name: REPOSITORY_INITIALIZED,
        on: "Repository",
        true_reason: Some(reason::REPOSITORY_INITIALIZATION_SUCCEEDED),
        false_reason: Some(reason::REPOSITORY_INITIALIZATION_FAILED),
    },
    ConditionType {
        name: SNAPSHOT_METADATA_UPLOADED,
        on: "Snapshot",
        true_reason: Some(reason::SUCCESSFULLY_UPLOADED_SNAPSHOT_METADATA),
        false_reason: Some(reason::FAILED_TO_UPLOAD_SNAPSHOT_METADATA),
    },
    ConditionType {
        name: RECENT_SNAPSHOT_LIST_UPDATED,
        on: "Snapshot",
        true_reason: Some(reason::SUCCESSFULLY_UPDATED_RECENT_SNAPSHOT_LIST),
        false_reason: Some(reason::FAILED_TO_UPDATE_RECENT_SNAPSHOT_LIST),
    },
    ConditionType {
        name: BACKUP_INCOMPLETE,
        on: "Snapshot",
        true_reason: Some(reason::BACKUP_EXECUTOR_TERMINATED_BEFORE_COMPLETION),
        false_reason: None,
    },
    ConditionType {
        name: VALIDATION_PASSED,
        on: "BackupConfiguration, RestoreSession",
        true_reason: Some(reason::RESOURCE_VALIDATION_PASSED),
        false_reason: Some(reason::RESOURCE_VALIDATION_FAILED),
    },
    ConditionType {
        name: SCHEDULER_ENSURED,
        on: "a configuration's session",
        true_reason: Some(reason::SCHEDULER_ENSURED),
        false_reason: Some(reason::SCHEDULER_NOT_ENSURED),
    },
    ConditionType {
        name: INITIAL_BACKUP_TRIGGERED,
        on: "a configuration's session",
        true_reason: Some(reason::SUCCESSFULLY_TRIGGERED_INITIAL_BACKUP),
        false_reason: Some(reason::FAILED_TO_TRIGGER_INITIAL_BACKUP),
    },
    ConditionType {
        name: BACKUP_SKIPPED,
        on: "BackupSession",
        true_reason: Some(reason::PRE_REQUISITES_NOT_SATISFIED),
        false_reason: None,
    },
    ConditionType {
        name: SESSION_HISTORY_CLEANED,
        on: "BackupSession",
        true_reason: Some(reason::SUCCESSFULLY_CLEANED_SESSION_HISTORY),
        false_reason: Some(reason::FAILED_TO_CLEAN_SESSION_HISTORY),
    },
    ConditionType {
        name: PRE_BACKUP_HOOKS_EXECUTION_SUCCEEDED,
        on: "BackupSession",
        true_reason: Some(reason::SUCCESSFULLY_EXECUTED_PRE_BACKUP_HOOKS),
        false_reason: Some(reason::FAILED_TO_EXECUTE_PRE_BACKUP_HOOKS),
    },
    ConditionType {
        name: POST_BACKUP_HOOKS_EXECUTION_SUCCEEDED,
        on: "BackupSession",
        true_reason: Some(reason::SUCCESSFULLY_EXECUTED_POST_BACKUP_HOOKS),
        false_reason: Some(reason::FAILED_TO_EXECUTE_POST_BACKUP_HOOKS),
    },
    ConditionType {
        name: SNAPSHOTS_ENSURED,
        on: "BackupSession",
        true_reason: Some(reason::SUCCESSFULLY_ENSURED_SNAPSHOTS),
        false_reason: Some(reason::FAILED_TO_ENSURE_SNAPSHOTS),
    },
    ConditionType {
        name: BACKUP_EXECUTOR_ENSURED,
        on: "BackupSession",
        true_reason: Some(reason::SUCCESSFULLY_ENSURED_BACKUP_EXECUTOR),
        false_reason: Some(reason::FAILED_TO_ENSURE_BACKUP_EXECUTOR),
    },
    ConditionType {
        name: RETENTION_POLICY_EXECUTOR_ENSURED,
        on: "BackupSession",
        true_reason: Some(reason::SUCCESSFULLY_ENSURED_RETENTION_POLICY_EXECUTOR),
        false_reason: Some(reason::FAILED_TO_ENSURE_RETENTION_POLICY_EXECUTOR),
    },
    ConditionType {
        name: SNAPSHOT_CLEANUP_INCOMPLETE,
        on: "BackupSession",
        true_reason: Some(reason::SNAPSHOT_CLEANUP_TERMINATED_BEFORE_COMPLETION),
        false_reason: None,
    },
    ConditionType {
        name: POD_PENDING_TOO_LONG,
        on: "BackupSession, RestoreSession",
        true_reason: Some(reason::POD_HAS_BEEN_IN_PENDING_STATE_FOR_LONGER_THAN_EXPECTED),
        false_reason: None,
    },
    ConditionType {
        name: METRICS_PUSHED,
        on: "BackupSession, RestoreSession",
        true_reason: Some(reason::SUCCESSFULLY_PUSHED_METRICS),
        false_reason: Some(reason::FAILED_TO_PUSH_METRICS),
    },
    ConditionType {
        name: RESTORE_TARGET_FOUND,
        on: "RestoreSession",
        true_reason: None,
        false_reason: Some(reason::UNABLE_TO_CHECK_TARGET_AVAILABILITY),
    },
    ConditionType {
        name: PRE_RESTORE_HOOKS_EXECUTION_SUCCEEDED,
        on: "RestoreSession",
        true_reason: Some(reason::SUCCESSFULLY_EXECUTED_PRE_RESTORE_HOOKS),
        false_reason: Some(reason::FAILED_TO_EXECUTE_PRE_RESTORE_HOOKS),
    },
    ConditionType {
        name: POST_RESTORE_HOOKS_EXECUTION_SUCCEEDED,
        on: "RestoreSession",
        true_reason: Some(reason::SUCCESSFULLY_EXECUTED_POST_RESTORE_HOOKS),
        false_reason: Some(reason::FAILED_TO_EXECUTE_POST_RESTORE_HOOKS),
    },
    ConditionType {
        name: RESTORE_EXECUTOR_ENSURED,
        on: "RestoreSession",
        true_reason: Some(reason::SUCCESSFULLY_ENSURED_RESTORE_EXECUTOR),
        false_reason: Some(reason::FAILED_TO_ENSURE_RESTORE_EXECUTOR),
    },
    ConditionType {
        name: RESTORE_INCOMPLETE,
        on: "RestoreSession",
        true_reason: Some(reason::RESTORE_EXECUTOR_TERMINATED_BEFORE_COMPLETION),
        false_reason: None,
    },
    ConditionType {
        name: BACKUP_VERIFICATION_SKIPPED,
        on: "BackupVerificationSession",
        true_reason: Some(reason::SNAPSHOT_ALREADY_VERIFIED),
        false_reason: None,
    },
    ConditionType {
        name: VERIFICATION_SESSION_HISTORY_CLEANED,
        on: "BackupVerificationSession",
        true_reason: Some(reason::SUCCESSFULLY_CLEANED_VERIFICATION_SESSION_HISTORY),
        false_reason: Some(reason::FAILED_TO_CLEAN_VERIFICATION_SESSION_HISTORY),
    },
    ConditionType {
        name: VERIFICATION_EXECUTOR_ENSURED,
        on: "BackupVerificationSession",
        true_reason: Some(reason::SUCCESSFULLY_ENSURED_VERIFICATION_EXECUTOR),
        false_reason: Some(reason::FAILED_TO_ENSURE_VERIFICATION_EXECUTOR),
    },
    ConditionType {
        name: RESTORE_SUCCEEDED,
        on: "BackupVerificationSession",
        true_reason: Some(reason::SUCCESSFULLY_RESTORED_BACKUP),
        false_reason: Some(reason::FAILED_TO_RESTORE_BACKUP),
    },
    ConditionType {
        name: BACKUP_VERIFIED,
        on: "BackupVerificationSession",
        true_reason: Some(reason::SUCCESSFULLY_VERIFIED_BACKUP),
        false_reason: Some(reason::FAILED_TO_VERIFY_BACKUP),
    },
    ConditionType {
        name: PROGRESSING,
        on: "BackupConfiguration, BackupSession, RestoreSession, Snapshot",
        true_reason: None,
        false_reason: None,
    },
    ConditionType {
        name: CREDENTIALS_SHARED,
        on: "Repository",
        true_reason: Some(reason::STORAGE_KEY_SHARED),
        false_reason: Some(reason::STORAGE_KEY_NOT_SHARED),
    },
    ConditionType { name: TRANSFER, on: "Snapshot", true_reason: Some(reason::MEASURED), false_reason: None },
    ConditionType {
        name: STORE_CAPABLE,
        on: "BackupStorage",
        true_reason: Some(reason::EVERYTHING_ALLOWED),
        false_reason: Some(reason::SOMETHING_MISSING),
    },
];

/// The condition of a type, if there is one.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition exists and is True.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == ConditionStatus::True)
}

/// Whether the condition exists and is False. An absent condition is not False.
#[must_use]
pub fn is_false(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == ConditionStatus::False)
}

/// Whether the condition exists, whatever its status.
#[must_use]
pub fn exists(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::TYPES;

    /// Two rows of one name would make a condition list-map ambiguous.
    #[test]
    fn every_type_has_one_row() {
        let names: BTreeSet<_> = TYPES.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TYPES.len());
    }
}
