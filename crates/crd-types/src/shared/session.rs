//! Backends and sessions of a backup configuration (specification 1.2.2, 1.2.3, 1.2.5).

use crate::{AddonInfo, BackupHooks, ObjectReference, SchedulerSpec, macros::string_enum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A storage and the retention policy that applies on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendReference {
    /// Name that the sessions' repositories refer to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// RetentionPolicy of every Repository on this backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_policy: Option<ObjectReference>,
    /// BackupStorage to use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_ref: Option<ObjectReference>,
}

/// Whether and how a failed session is tried again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryConfig {
    /// Time before the next attempt, as a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    /// Number of extra attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("default" = 1))]
    pub max_retry: Option<i32>,
}

/// One schedule with its addon and its repositories.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The Addon and tasks that do the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addon: Option<AddonInfo>,
    /// Time one session may take, as a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_timeout: Option<String>,
    /// Hooks around the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<BackupHooks>,
    /// Name of the session, unique in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the data goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<RepositoryInfo>,
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
}

/// A Repository that a session writes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryInfo {
    /// Name of the backend; empty selects the unnamed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// BackupVerifier to run on this Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_verifier: Option<ObjectReference>,
    /// What deleting the configuration does to the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<RepositoryDeletionPolicy>,
    /// Directory inside the storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Secret with the repository's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption_secret: Option<ObjectReference>,
    /// Name of the Repository object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

string_enum! {
    /// What deleting a configuration does to its Repository.
    pub enum RepositoryDeletionPolicy {
        /// The objects go, the data stays.
        Delete,
        /// The objects and the data go.
        WipeOut,
        /// The Repository object stays.
        Retain,
    }
}

string_enum! {
    /// What deleting an object does to its data.
    pub enum DeletionPolicy {
        /// The object goes, the data stays.
        Delete,
        /// The object and the data go.
        WipeOut,
    }
}
