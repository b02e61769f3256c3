//! How a session or a restore names its addon and tasks (specification 1.2.6).

use std::collections::BTreeMap;

use crate::{AddonVolumeSource, ContainerRuntimeSettings, PodTemplateSpec};
use k8s_openapi::api::core::v1::{EnvVar, PersistentVolumeClaim, Volume, VolumeMount};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The Addon and the tasks of it that do the work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddonInfo {
    /// Settings of the executor containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_runtime_settings: Option<ContainerRuntimeSettings>,
    /// Settings of the executor Job and its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_template: Option<PodTemplateSpec>,
    /// Name of the cluster-scoped Addon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Tasks to run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskReference>,
}

/// One task of an Addon, with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskReference {
    /// Replacements for volumes of the task's template, matched by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addon_volumes: Vec<AddonVolume>,
    /// Name of the task in the Addon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Parameters of the task; they win over the Addon's defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub params: BTreeMap<String, Value>,
    /// Volumes to mount instead of those found on the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_volumes: Option<TargetVolumeInfo>,
    /// Inputs for substitution in the Function and the Addon.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<EnvVar>,
}

/// A replacement for one volume of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddonVolume {
    /// Name of the volume that is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The source to use instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<AddonVolumeSource>,
}

/// Volumes that hold the target's data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetVolumeInfo {
    /// Claims to create before a restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_claim_templates: Vec<PersistentVolumeClaim>,
    /// Where the Job mounts them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Volumes of the Job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
}
