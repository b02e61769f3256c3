//! Options for restoring manifests (specification 1.3.9).

use crate::{ObjectReference, TypedLocalObjectReference};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How manifests are restored, by kind of application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManifestRestoreOptions {
    /// ClickHouse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clickhouse: Option<DatabaseManifestOptions>,
    /// Druid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub druid: Option<DruidManifestOptions>,
    /// MariaDB.
    #[serde(rename = "mariaDB", skip_serializing_if = "Option::is_none")]
    pub maria_db: Option<DatabaseManifestOptions>,
    /// MongoDB.
    #[serde(rename = "mongoDB", skip_serializing_if = "Option::is_none")]
    pub mongo_db: Option<DatabaseManifestOptions>,
    /// Microsoft SQL Server.
    #[serde(rename = "msSQLServer", skip_serializing_if = "Option::is_none")]
    pub ms_sql_server: Option<MsSqlServerManifestOptions>,
    /// MySQL.
    #[serde(rename = "mySQL", skip_serializing_if = "Option::is_none")]
    pub my_sql: Option<DatabaseManifestOptions>,
    /// PostgreSQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<DatabaseManifestOptions>,
    /// Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<DatabaseManifestOptions>,
    /// Redis Sentinel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_sentinel: Option<RedisSentinelManifestOptions>,
    /// SingleStore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub singlestore: Option<DatabaseManifestOptions>,
    /// Workloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadManifestOptions>,
    /// ZooKeeper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zoo_keeper: Option<DatabaseManifestOptions>,
}

/// How the manifests of a workload are restored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadManifestOptions {
    /// Namespace to restore into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_namespace: Option<String>,
}

/// How the manifests of a database are restored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseManifestOptions {
    /// Restore the archiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub archiver: Option<bool>,
    /// The archiver to refer to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archiver_ref: Option<ObjectReference>,
    /// Restore the Secret with credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub auth_secret: Option<bool>,
    /// New name of that Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_secret_name: Option<String>,
    /// Restore the Secret with settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub config_secret: Option<bool>,
    /// New name of that Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_secret_name: Option<String>,
    /// Restore the database object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub db: Option<bool>,
    /// New name of the database object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db_name: Option<String>,
    /// Restore the initial script.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub init_script: Option<bool>,
    /// Namespace to restore into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_namespace: Option<String>,
    /// Issuer of its certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_issuer_ref: Option<TypedLocalObjectReference>,
}

/// How the manifests of a Microsoft SQL Server are restored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MsSqlServerManifestOptions {
    /// Restore the archiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub archiver: Option<bool>,
    /// The archiver to refer to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archiver_ref: Option<ObjectReference>,
    /// Restore the Secret with credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub auth_secret: Option<bool>,
    /// New name of that Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_secret_name: Option<String>,
    /// Restore the database object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub db: Option<bool>,
    /// New name of the database object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db_name: Option<String>,
    /// Restore the initial script.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub init_script: Option<bool>,
    /// Namespace to restore into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_namespace: Option<String>,
    /// Issuer of its certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_issuer_ref: Option<TypedLocalObjectReference>,
}

/// How the manifests of a Druid cluster are restored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DruidManifestOptions {
    /// Restore the Secret with credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub auth_secret: Option<bool>,
    /// New name of that Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_secret_name: Option<String>,
    /// Restore the Secret with settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub config_secret: Option<bool>,
    /// New name of that Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_secret_name: Option<String>,
    /// Restore the database object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub db: Option<bool>,
    /// New name of the database object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db_name: Option<String>,
    /// Restore the Secret of the deep storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub deep_storage_secret: Option<bool>,
    /// Namespace to restore into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_namespace: Option<String>,
}

/// How the manifests of a Redis Sentinel are restored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisSentinelManifestOptions {
    /// Restore the Secret with credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub auth_secret: Option<bool>,
    /// New name of that Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_secret_name: Option<String>,
    /// Namespace to restore into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_namespace: Option<String>,
    /// Restore the sentinel object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub sentinel: Option<bool>,
    /// New name of the sentinel object.
    #[serde(rename = "SentinelName", skip_serializing_if = "Option::is_none")]
    pub sentinel_name: Option<String>,
    /// Issuer of its certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_issuer_ref: Option<TypedLocalObjectReference>,
}
