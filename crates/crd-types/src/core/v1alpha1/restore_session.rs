//! RestoreSession: one restore (specification 1.3.9).

use std::collections::BTreeMap;

use crate::{
    AddonInfo, Condition, HookStatus, ManifestRestoreOptions, ObjectReference, ResourceFoundStatus, RestoreHooks,
    TypedObjectReference, macros::kind, macros::string_enum,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kind! {
    /// One restore.
    RestoreSession { group: "core.kubestash.com", plural: "restoresessions", scope: Namespaced, spec: RestoreSessionSpec, status: RestoreSessionStatus }
}

/// What is restored, from where and to where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreSessionSpec {
    /// The Addon and tasks that do the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addon: Option<AddonInfo>,
    /// What is restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_source: Option<RestoreDataSource>,
    /// Hooks around the restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<RestoreHooks>,
    /// How manifests are restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_options: Option<ManifestRestoreOptions>,
    /// Time the restore may take, as a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_timeout: Option<String>,
    /// Where to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TypedObjectReference>,
}

/// What is restored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreDataSource {
    /// Components to restore; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Secret with the repository's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption_secret: Option<ObjectReference>,
    /// Namespace of the Repository and Snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A point in time instead of a Snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pitr: Option<PointInTime>,
    /// Name of the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Name of the Snapshot, or `latest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// A point in time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PointInTime {
    /// Leave out a Snapshot taken exactly then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<bool>,
    /// The point in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_time: Option<Time>,
}

/// How the restore goes, or went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreSessionStatus {
    /// Parts of the restore, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-kubernetes-map-type" = "granular"))]
    pub components: BTreeMap<String, RestoreComponent>,
    /// The steps of the restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Other objects it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<ResourceFoundStatus>,
    /// Time it took, as a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Outcomes of the hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<HookStatus>,
    /// BackupConfigurations that are held meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paused_backups: Vec<TypedObjectReference>,
    /// Overall state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<RestorePhase>,
    /// When it must have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_deadline: Option<Time>,
    /// Whether the target exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_found: Option<bool>,
    /// Number of components expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_components: Option<i32>,
}

/// One part of a restore.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreComponent {
    /// Time it took, as a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// State of the component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<RestorePhase>,
    /// Figures while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<RestoreProgress>,
}

/// Figures of a running restore.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreProgress {
    /// Files done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_done: Option<i64>,
    /// Share done, for example `12.34%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent_done: Option<String>,
    /// Bytes done, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_done: Option<String>,
    /// Seconds since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_elapsed: Option<i64>,
    /// Bytes a second, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<String>,
    /// Bytes to do, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// Files to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_files: Option<i64>,
}

string_enum! {
    /// State of a RestoreSession, or of one component of it.
    pub enum RestorePhase {
        /// Nothing has started.
        Pending,
        /// Under way.
        Running,
        /// Ended without success.
        Failed,
        /// Complete.
        Succeeded,
        /// It cannot work as it is written, or as the cluster is now.
        Invalid,
        /// Nothing is known about it.
        Unknown,
    }
}
