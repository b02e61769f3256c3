//! Components of a Snapshot and the figures of their drivers (specification 1.3.3).

use crate::{SnapshotPhase, macros::string_enum};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// State of one component; the same values as a Snapshot's.
pub type ComponentPhase = SnapshotPhase;

string_enum! {
    /// Tool that stores a component.
    pub enum Driver {
        /// A restic repository.
        Restic,
        /// WAL-G.
        WalG,
        /// Volume snapshots of the cluster.
        VolumeSnapshotter,
        /// Solr's own backups.
        Solr,
        /// Cassandra Medusa.
        Medusa,
        /// clickhouse-backup.
        ClickHouseBackup,
        /// neo4j-admin.
        Neo4jAdmin,
    }
}

/// One part of a Snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotComponent {
    /// Figures of clickhouse-backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub click_house_stats: Vec<ClickHouseStats>,
    /// Tool that stored it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
    /// Time it took, as a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Result of the repository's check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrity: Option<bool>,
    /// Progress of log archiving.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_stats: Option<LogStats>,
    /// Figures of Medusa.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medusa_stats: Option<MedusaStats>,
    /// Figures of neo4j-admin.
    #[serde(rename = "neo4jStats", default, skip_serializing_if = "Vec::is_empty")]
    pub neo4j_stats: Vec<Neo4jStats>,
    /// Directory of the component inside the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// State of the component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<ComponentPhase>,
    /// Figures of restic, one entry for each path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restic_stats: Vec<ResticStats>,
    /// Stored size of the component's repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Figures of Solr.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub solr_stats: Vec<SolrStats>,
    /// Volume snapshots, one entry for each claim.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_snapshotter_stats: Vec<VolumeSnapshotterStats>,
    /// Figures of WAL-G.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_g_stats: Option<WalGStats>,
}

/// Figures of one path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResticStats {
    /// Figures while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<BackupProgress>,
    /// Figures at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<BackupSummary>,
}

/// Figures of a running backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupProgress {
    /// Bytes done, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_done: Option<String>,
    /// Files done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_done: Option<i64>,
    /// Share done, for example `12.34%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent_done: Option<String>,
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

/// Figures of a finished backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupSummary {
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    /// The path that was backed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// Identifier of the restic snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Bytes read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// Bytes added to the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploaded: Option<String>,
}

/// One volume snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshotterStats {
    /// Where the claim was mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// Name of the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pvc_name: Option<String>,
    /// Name of the VolumeSnapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_snapshot_name: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_snapshot_time: Option<Time>,
}

/// One run of clickhouse-backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClickHouseStats {
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<Time>,
    /// Host it ran on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Identifier of the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// How it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// One run of Medusa.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MedusaStats {
    /// Name of the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_name: Option<String>,
    /// Nodes that took part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backup_nodes: Vec<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<String>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// How it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// One artefact of neo4j-admin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Neo4jStats {
    /// Whether it is compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compressed: Option<bool>,
    /// Name of the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Identifier of the database.
    #[serde(rename = "databaseID", skip_serializing_if = "Option::is_none")]
    pub database_id: Option<String>,
    /// File name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Whether it is a full backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<bool>,
    /// Last transaction in it.
    #[serde(rename = "highestTX", skip_serializing_if = "Option::is_none")]
    pub highest_tx: Option<i64>,
    /// First transaction in it.
    #[serde(rename = "lowestTX", skip_serializing_if = "Option::is_none")]
    pub lowest_tx: Option<i64>,
    /// Whether it was recovered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered: Option<bool>,
    /// Hash of the store's identifier.
    #[serde(rename = "storeIDHash", skip_serializing_if = "Option::is_none")]
    pub store_id_hash: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// One collection of Solr.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SolrStats {
    /// Identifier of the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = null))]
    pub backup_id: Option<i64>,
    /// Name of the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_name: Option<String>,
    /// Name of the collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// Files of the index.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = null))]
    pub index_file_count: Option<i64>,
    /// Size of the index in MB.
    #[serde(rename = "indexSizeMB", skip_serializing_if = "Option::is_none")]
    pub index_size_mb: Option<f64>,
    /// Where it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// MB uploaded.
    #[serde(rename = "uploadedIndexFileMB", skip_serializing_if = "Option::is_none")]
    pub uploaded_index_file_mb: Option<f64>,
}

/// One run of WAL-G.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WalGStats {
    /// Databases in the backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<String>,
    /// Identifier of the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_time: Option<Time>,
}

/// Progress of log archiving.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogStats {
    /// Time of the last log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Recent failures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_failed_stats: Vec<LogPushStats>,
    /// Recent removals of logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_log_retention_stats: Vec<LogRetentionStats>,
    /// Recent successes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_succeeded_stats: Vec<LogPushStats>,
    /// Log sequence number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lsn: Option<String>,
    /// Time of the first log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Failures so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_failed_count: Option<i64>,
    /// Successes so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_succeeded_count: Option<i64>,
}

/// One push of logs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogPushStats {
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
}

/// One removal of logs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogRetentionStats {
    /// Logs removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_log_count: Option<i64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_execution_time: Option<String>,
    /// Period it kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_period_applied: Option<String>,
}
