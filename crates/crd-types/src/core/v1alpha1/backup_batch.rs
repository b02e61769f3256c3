//! BackupBatch: several targets in one session (specification 1.3.6).

use crate::{
    AddonInfo, BackendReference, BackendStatus, BackupConfigurationPhase, BackupHooks, Condition, RepositoryInfo,
    RepositoryReadiness, ResourceFoundStatus, RetryConfig, SchedulerSpec, SessionStatus, TypedObjectReference, macros::kind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kind! {
    /// Several targets that are backed up in one session.
    BackupBatch { group: "core.kubestash.com", plural: "backupbatches", scope: Namespaced, spec: BackupBatchSpec, status: BackupBatchStatus }
}

/// Which targets are backed up together, when and where to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupBatchSpec {
    /// Storages and their retention policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<BackendReference>,
    /// Stop all schedules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Schedules, each with work for the targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<BatchSession>,
    /// The applications.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<BatchTarget>,
}

/// One application of a batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchTarget {
    /// The application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_ref: Option<TypedObjectReference>,
    /// Name that the sessions refer to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// One schedule of a batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchSession {
    /// Time one session may take, as a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_timeout: Option<String>,
    /// Hooks around the whole batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<BackupHooks>,
    /// Name of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether and how a failed session is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_config: Option<RetryConfig>,
    /// When the session runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<SchedulerSpec>,
    /// Finished BackupSessions to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 1))]
    pub session_history_limit: Option<i32>,
    /// Work for each target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetBackupSpec>,
}

/// Work for one target of a batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetBackupSpec {
    /// The Addon and tasks that do the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addon: Option<AddonInfo>,
    /// Name of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the data goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<RepositoryInfo>,
}

/// Whether the batch can work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupBatchStatus {
    /// State of each backend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<BackendStatus>,
    /// Whether the batch is valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Other objects it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<ResourceFoundStatus>,
    /// Overall state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<BackupConfigurationPhase>,
    /// State of each Repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<RepositoryReadiness>,
    /// State of each session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionStatus>,
    /// Whether each target exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<ResourceFoundStatus>,
}
