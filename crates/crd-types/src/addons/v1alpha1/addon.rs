//! Addon: the tasks that back up and restore one sort of application (specification 1.3.13).

use crate::{AddonVolumeSource, macros::kind, macros::string_enum};
use k8s_openapi::api::core::v1::VolumeMount;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kind! {
    /// Tasks that back up and restore one sort of application.
    Addon { group: "addons.kubestash.com", plural: "addons", scope: Cluster, spec: AddonSpec }
}

/// Tasks that back up and restore one sort of application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddonSpec {
    /// Tasks of a backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backup_tasks: Vec<Task>,
    /// Tasks of a restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restore_tasks: Vec<Task>,
}

/// One task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Tool that stores the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// What runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor: Option<TaskExecutor>,
    /// Name of the Function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Name of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Parameters it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterDefinition>,
    /// One Job for the whole target, instead of one for each pod or node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub singleton: Option<bool>,
    /// Where the volumes are mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Volumes it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_template: Vec<VolumeTemplate>,
}

string_enum! {
    /// What runs a task.
    pub enum TaskExecutor {
        /// A Job, or one for each pod or node.
        Job,
        /// A container beside the application's.
        Sidecar,
        /// A container put into a running pod.
        EphemeralContainer,
        /// A Job that makes further Jobs.
        MultiLevelJob,
    }
}

/// A parameter that a task or a hook takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParameterDefinition {
    /// Value when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Name of the parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it must be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
}

/// A volume that a task needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeTemplate {
    /// Name of the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<AddonVolumeSource>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
}
