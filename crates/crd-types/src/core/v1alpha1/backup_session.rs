//! BackupSession: one run of one session (specification 1.3.8).

use crate::{
    Condition, HookStatus, ObjectReference, SnapshotPhase, TypedLocalObjectReference, TypedObjectReference, macros::kind,
    macros::string_enum,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kind! {
    /// One run of one session of a configuration.
    BackupSession { group: "core.kubestash.com", plural: "backupsessions", scope: Namespaced, spec: BackupSessionSpec, status: BackupSessionStatus }
}

/// Which session of which configuration runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupSessionSpec {
    /// Time the session may take, as a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_timeout: Option<String>,
    /// The BackupConfiguration or BackupBatch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoker: Option<TypedLocalObjectReference>,
    /// Retries that are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_left: Option<i32>,
    /// Name of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// How the session goes, or went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupSessionStatus {
    /// When it must have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_deadline: Option<Time>,
    /// The steps of the session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Time it took, as a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Outcomes of the hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<HookStatus>,
    /// When the next attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_retry: Option<Time>,
    /// Overall state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<BackupSessionPhase>,
    /// Outcome of retention, one entry for each Repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retention_policy: Vec<RetentionPolicyApplyStatus>,
    /// Whether the session was tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retried: Option<bool>,
    /// Snapshots, one entry for each Repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotStatusEntry>,
    /// Number of Snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_snapshots: Option<i32>,
}

/// Outcome of retention in one Repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionPolicyApplyStatus {
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<RetentionApplyPhase>,
    /// The RetentionPolicy.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub ref_: Option<ObjectReference>,
    /// Name of the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
}

/// One Snapshot of a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatusEntry {
    /// The application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_ref: Option<TypedObjectReference>,
    /// Name of the Snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Phase of the Snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<SnapshotPhase>,
    /// Name of the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
}

string_enum! {
    /// State of a BackupSession.
    pub enum BackupSessionPhase {
        /// Nothing has started.
        Pending,
        /// Under way.
        Running,
        /// Complete.
        Succeeded,
        /// Ended without success.
        Failed,
        /// Not run, because what it needs was not there.
        Skipped,
    }
}

string_enum! {
    /// How retention went.
    pub enum RetentionApplyPhase {
        /// It has not run yet.
        Pending,
        /// It ran.
        Applied,
        /// It failed.
        FailedToApply,
    }
}
