//! BackupBlueprint: a template for BackupConfigurations (specification 1.3.7).

use crate::{BackendReference, Session, UsagePolicy, macros::kind, macros::string_enum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kind! {
    /// A template for the BackupConfigurations of annotated workloads.
    BackupBlueprint { group: "core.kubestash.com", plural: "backupblueprints", scope: Namespaced, spec: BackupBlueprintSpec }
}

/// A template for BackupConfigurations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupBlueprintSpec {
    /// The template; any string may hold `${variable}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_configuration_template: Option<BackupConfigurationTemplate>,
    /// Kinds whose annotations are watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<Subject>,
    /// Namespaces that may use the blueprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_policy: Option<UsagePolicy>,
}

/// A template for a BackupConfiguration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupConfigurationTemplate {
    /// Storages and their retention policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<BackendReference>,
    /// What deleting the blueprint does to its configurations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<BlueprintDeletionPolicy>,
    /// Namespace of the created configurations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Schedules with their addons and repositories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<Session>,
}

string_enum! {
    /// What deleting a blueprint does to its configurations.
    pub enum BlueprintDeletionPolicy {
        /// They are deleted with it.
        OnDelete,
    }
}

/// A kind whose annotations are watched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// API version, for example `apps/v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind, for example `Deployment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}
