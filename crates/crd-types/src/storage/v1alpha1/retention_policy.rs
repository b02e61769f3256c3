//! RetentionPolicy: which Snapshots are kept (specification 1.3.4).

use crate::{UsagePolicy, macros::kind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kind! {
    /// Which Snapshots are kept.
    RetentionPolicy { group: "storage.kubestash.com", plural: "retentionpolicies", scope: Namespaced, spec: RetentionPolicySpec }
}

/// Rules that keep Snapshots; what no rule keeps is removed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionPolicySpec {
    /// Use this policy where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// Rules for failed Snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_snapshots: Option<FailedSnapshotsKeepPolicy>,
    /// Age after which a Snapshot is removed, for example `30d` or `2mo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retention_period: Option<String>,
    /// Rules for successful Snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successful_snapshots: Option<SuccessfulSnapshotsKeepPolicy>,
    /// Namespaces that may use the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_policy: Option<UsagePolicy>,
}

/// Rules for failed Snapshots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedSnapshotsKeepPolicy {
    /// Keep the newest ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 1))]
    pub last: Option<i32>,
}

/// Rules for successful Snapshots; each counts only periods that have a Snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuccessfulSnapshotsKeepPolicy {
    /// Keep the newest of each of the last days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<i32>,
    /// Keep the newest of each of the last hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hourly: Option<i32>,
    /// Keep the newest ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<i32>,
    /// Keep the newest of each of the last months.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly: Option<i32>,
    /// Keep the newest of each of the last ISO weeks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekly: Option<i32>,
    /// Keep the newest of each of the last years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yearly: Option<i32>,
}
