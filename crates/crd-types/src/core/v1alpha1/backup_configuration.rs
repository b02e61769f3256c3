//! BackupConfiguration: what is backed up, when and where to (specification 1.3.5).

use crate::{
    BackendReference, BackendStatus, BackupConfigurationPhase, Condition, RepositoryReadiness, ResourceFoundStatus, Session,
    SessionStatus, TypedObjectReference, macros::kind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kind! {
    /// What is backed up, when and where to.
    BackupConfiguration { group: "core.kubestash.com", plural: "backupconfigurations", scope: Namespaced, spec: BackupConfigurationSpec, status: BackupConfigurationStatus }
}

/// What is backed up, when and where to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupConfigurationSpec {
    /// Storages and their retention policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<BackendReference>,
    /// Stop all schedules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Schedules with their addons and repositories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<Session>,
    /// What is backed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TypedObjectReference>,
}

/// Whether the configuration can work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupConfigurationStatus {
    /// State of each backend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<BackendStatus>,
    /// Whether the configuration is valid.
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
    /// Whether the target exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_found: Option<bool>,
}
