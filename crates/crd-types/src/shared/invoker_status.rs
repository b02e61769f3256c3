//! Parts of the status of BackupConfiguration, BackupBatch and RestoreSession (specification 1.2.10).

use crate::{BackupStoragePhase, Condition, ObjectReference, RepositoryPhase, macros::string_enum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An object that is needed, and whether it exists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceFoundStatus {
    /// API group without a version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// Whether the object exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<bool>,
    /// Kind of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the object.
    pub name: String,
    /// Namespace of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// State of one backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendStatus {
    /// Name of the backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether the storage is ready and the retention policy was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// State of the retention policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_policy: Option<RetentionPolicyStatus>,
    /// State of the storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageStatus>,
}

/// State of a backend's retention policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionPolicyStatus {
    /// Whether it exists and may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<bool>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The RetentionPolicy.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub ref_: Option<ObjectReference>,
}

/// State of a backend's storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// Phase of the BackupStorage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub phase: Option<BackupStoragePhase>,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The BackupStorage.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub ref_: Option<ObjectReference>,
}

/// State of one Repository of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryReadiness {
    /// Name of the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Phase of the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<RepositoryPhase>,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether its verification is scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_configured: Option<bool>,
}

/// State of one session of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// Whether its schedule exists and its first backup was triggered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Name of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it runs next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_schedule: Option<String>,
}

string_enum! {
    /// Overall state of a BackupConfiguration or BackupBatch.
    pub enum BackupConfigurationPhase {
        /// Something it needs is missing.
        NotReady,
        /// Its sessions can run.
        Ready,
        /// It cannot work as it is written.
        Invalid,
    }
}
