//! BackupVerifier: how backups are proven by restoring them (specification 1.3.10).

use std::collections::BTreeMap;

use crate::{AddonInfo, RetryConfig, RuntimeSettings, SchedulerSpec, TypedObjectReference, macros::kind, macros::string_enum};
use k8s_openapi::api::core::v1::{Volume, VolumeMount};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

kind! {
    /// How backups are proven by restoring them.
    BackupVerifier { group: "core.kubestash.com", plural: "backupverifier", scope: Namespaced, spec: BackupVerifierSpec }
}

/// How backups are proven by restoring them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupVerifierSpec {
    /// Function of the verifier Job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Queries to run, by kind of database.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub query: BTreeMap<String, Value>,
    /// How to restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_option: Option<RestoreOption>,
    /// Whether and how a failed verification is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_config: Option<RetryConfig>,
    /// Settings of the verifier Job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_settings: Option<RuntimeSettings>,
    /// When verification runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<SchedulerSpec>,
    /// Script to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<VerificationScript>,
    /// Finished BackupVerificationSessions to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 1))]
    pub session_history_limit: Option<i32>,
    /// How the restored data is looked at.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<VerificationType>,
    /// Mounts of the verifier Job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Volumes of the verifier Job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
}

/// How to restore for verification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreOption {
    /// The Addon and tasks that restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addon_info: Option<AddonInfo>,
    /// Where to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TypedObjectReference>,
}

/// A script inside the verifier Job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerificationScript {
    /// Arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Path of the script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

string_enum! {
    /// How restored data is looked at.
    pub enum VerificationType {
        /// A restore that succeeds is enough.
        RestoreOnly,
        /// Queries are run.
        Query,
        /// A script is run.
        Script,
    }
}
