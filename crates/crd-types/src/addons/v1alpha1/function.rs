//! Function: the image and arguments of a task (specification 1.3.14).

use crate::{ContainerRuntimeSettings, macros::kind};
use k8s_openapi::api::core::v1::{ContainerPort, VolumeDevice, VolumeMount};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kind! {
    /// Image and arguments of a task.
    Function { group: "addons.kubestash.com", plural: "functions", scope: Cluster, spec: FunctionSpec }
}

/// Image and arguments of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionSpec {
    /// Arguments, with `${variable:=default}` placeholders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Versions that the image exists for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub available_versions: Vec<String>,
    /// Entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Image; it may hold placeholders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Ports of the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ContainerPort>,
    /// Settings of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_settings: Option<ContainerRuntimeSettings>,
    /// Block devices of the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_devices: Vec<VolumeDevice>,
    /// Mounts of the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
}
