//! Snapshot: one backup of one application in one Repository (specification 1.3.3).

use std::collections::BTreeMap;

use crate::{Condition, DeletionPolicy, SnapshotComponent, TypedObjectReference, macros::kind, macros::string_enum};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kind! {
    /// One backup of one application in one Repository.
    Snapshot { group: "storage.kubestash.com", plural: "snapshots", scope: Namespaced, spec: SnapshotSpec, status: SnapshotStatus }
}

/// What was backed up, by whom and to where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotSpec {
    /// The application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_ref: Option<TypedObjectReference>,
    /// The BackupSession that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_session: Option<String>,
    /// What deleting the object does to the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Delete"))]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Leave the Snapshot alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// The Repository, in the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Name of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Identifier of the Snapshot, a ULID; treat it as opaque.
    #[serde(rename = "snapshotID", skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// `FullBackup` or `IncrementalBackup`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// Version of the layout in the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How the backup goes, or went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// Parts of the backup, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-kubernetes-map-type" = "granular"))]
    pub components: BTreeMap<String, SnapshotComponent>,
    /// Whether the metadata was uploaded and the backup was cut short.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Whether all components passed their check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrity: Option<bool>,
    /// When the status was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    /// Overall state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<SnapshotPhase>,
    /// Sum of the components' sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// When the Snapshot was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_time: Option<Time>,
    /// Number of components expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_components: Option<i32>,
    /// The BackupVerificationSession that verified it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_session: Option<String>,
    /// Whether it was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_status: Option<VerificationStatus>,
}

string_enum! {
    /// State of a Snapshot, or of one component of it.
    pub enum SnapshotPhase {
        /// Nothing has started.
        Pending,
        /// Under way.
        Running,
        /// Complete.
        Succeeded,
        /// Ended without success.
        Failed,
    }
}

string_enum! {
    /// Whether a Snapshot was verified.
    pub enum VerificationStatus {
        /// It was, with success.
        Verified,
        /// It was not.
        NotVerified,
        /// It was, without success.
        VerificationFailed,
    }
}
