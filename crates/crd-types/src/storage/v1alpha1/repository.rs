//! Repository: one directory of a storage that holds one application's backups (specification 1.3.2).

use crate::{Condition, DeletionPolicy, ObjectReference, SnapshotPhase, TypedObjectReference, macros::kind, macros::string_enum};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kind! {
    /// One directory of a storage that holds one application's backups.
    Repository { group: "storage.kubestash.com", plural: "repositories", scope: Namespaced, spec: RepositorySpec, status: RepositoryStatus }
}

/// Where an application's backups are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositorySpec {
    /// The application that is backed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_ref: Option<TypedObjectReference>,
    /// What deleting the object does to the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Delete"))]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Secret with the repository's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption_secret: Option<ObjectReference>,
    /// Directory inside the storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Leave the Repository alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// The BackupStorage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_ref: Option<ObjectReference>,
}

/// What is known about the Repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// Directories of components seen in the Repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub component_paths: Vec<String>,
    /// Whether the Repository was initialised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Result of the last integrity check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrity: Option<bool>,
    /// When the last successful backup was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_backup_time: Option<Time>,
    /// Whether the Repository can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<RepositoryPhase>,
    /// The newest Snapshots, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent_snapshots: Vec<SnapshotInfo>,
    /// Stored size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Number of Snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_count: Option<i32>,
}

/// A recent Snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotInfo {
    /// Name of the Snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Phase of the Snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<SnapshotPhase>,
    /// Session that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Size of the Snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// When it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_time: Option<Time>,
}

string_enum! {
    /// Whether a Repository can be used.
    pub enum RepositoryPhase {
        /// It cannot; a condition says why.
        NotReady,
        /// It can be used.
        Ready,
    }
}
