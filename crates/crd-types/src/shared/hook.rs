//! Hooks around backups and restores and their outcome (specification 1.2.7 to 1.2.9).

use std::collections::BTreeMap;

use crate::{ObjectReference, RuntimeSettings, macros::string_enum};
use k8s_openapi::api::core::v1::{EnvVar, Volume, VolumeMount};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One hook: a template and its parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookInfo {
    /// After which outcomes a post hook runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Always"))]
    pub execution_policy: Option<HookExecutionPolicy>,
    /// The HookTemplate to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook_template: Option<ObjectReference>,
    /// Extra attempts after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_retry: Option<i32>,
    /// Name in the session's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Values of the template's parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub params: BTreeMap<String, Value>,
    /// Settings of the Job of a Function hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_settings: Option<RuntimeSettings>,
    /// Time one attempt may take, as a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Further inputs for substitution.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<EnvVar>,
    /// Mounts of the Job of a Function hook.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Volumes of the Job of a Function hook.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
}

string_enum! {
    /// After which outcomes a post hook runs.
    pub enum HookExecutionPolicy {
        /// After success and failure.
        Always,
        /// Only when everything before it succeeded.
        OnSuccess,
        /// Only when something before it failed.
        OnFailure,
    }
}

/// Hooks around a backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupHooks {
    /// Run in order after the backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_backup: Vec<HookInfo>,
    /// Run in order before the backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_backup: Vec<HookInfo>,
}

/// Hooks around a restore.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreHooks {
    /// Run in order after the restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_restore: Vec<HookInfo>,
    /// Run in order before the restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_restore: Vec<HookInfo>,
}

/// Outcomes of the hooks of a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookStatus {
    /// One entry for each hook that runs after the work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_hooks: Vec<HookExecutionStatus>,
    /// One entry for each hook that runs before the work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_hooks: Vec<HookExecutionStatus>,
}

/// Outcome of one hook.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookExecutionStatus {
    /// Name of the hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<HookPhase>,
}

string_enum! {
    /// How a hook went.
    pub enum HookPhase {
        /// It ran and succeeded.
        Succeeded,
        /// It failed, after all its attempts.
        Failed,
        /// It has not run yet.
        Pending,
    }
}
