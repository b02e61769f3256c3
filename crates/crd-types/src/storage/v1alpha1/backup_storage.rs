//! BackupStorage: one bucket, or one prefix of a bucket (specification 1.3.1).

use crate::{Condition, DeletionPolicy, RuntimeSettings, UsagePolicy, VolumeSource, macros::kind, macros::string_enum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kind! {
    /// A place where backups are kept.
    BackupStorage { group: "storage.kubestash.com", plural: "backupstorages", scope: Namespaced, spec: BackupStorageSpec, status: BackupStorageStatus }
}

/// A place where backups are kept, and who may use it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStorageSpec {
    /// Use this storage where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// What deleting the object does to the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Delete"))]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Settings of the Jobs that look after the storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_settings: Option<RuntimeSettings>,
    /// The backend and how to reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Backend>,
    /// Namespaces that may use the storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_policy: Option<UsagePolicy>,
}

/// A backend and how to reach it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// Azure Blob Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureBackend>,
    /// Google Cloud Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcs: Option<GcsBackend>,
    /// A volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalBackend>,
    /// Which of the members is meant: `local`, `s3`, `gcs` or `azure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// S3, or a store that speaks its protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Backend>,
}

/// A container of an Azure storage account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureBackend {
    /// Name of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Connections at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Directory inside the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Secret with `AZURE_ACCOUNT_KEY`; without one, workload identity is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// Name of the storage account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_account: Option<String>,
}

/// A bucket of Google Cloud Storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcsBackend {
    /// Name of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Connections at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Directory inside the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Secret with `GOOGLE_SERVICE_ACCOUNT_JSON_KEY`; without one, workload identity is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
}

/// A volume that every Job mounts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalBackend {
    /// The in-line volume source.
    #[serde(flatten)]
    pub source: VolumeSource,
    /// Deletions at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Where the volume is mounted; also the root of the backups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_path: Option<String>,
    /// Directory of the volume to mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
}

/// A bucket of S3, or of a store that speaks its protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Backend {
    /// Name of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// URL or host of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Accept any certificate.
    #[serde(rename = "insecureTLS", skip_serializing_if = "Option::is_none")]
    pub insecure_tls: Option<bool>,
    /// Connections at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Directory inside the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Region of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Secret with `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and optionally `CA_CERT_DATA`; without one,
    /// workload identity is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
}

/// What is known about the storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStorageStatus {
    /// Whether the Secret was found and the backend initialised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Whether the storage can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub phase: Option<BackupStoragePhase>,
    /// Repositories that use the storage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<RepositoryStorageStatus>,
    /// Sum of the repositories' sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_size: Option<String>,
}

/// A Repository that uses the storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStorageStatus {
    /// Why it could not be synchronised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Name of the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Namespace of the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Directory of the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Size of the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Whether it was synchronised with the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced: Option<bool>,
}

string_enum! {
    /// Whether a storage can be used.
    pub enum BackupStoragePhase {
        /// It can be used.
        Ready,
        /// It cannot; a condition says why.
        NotReady,
    }
}
