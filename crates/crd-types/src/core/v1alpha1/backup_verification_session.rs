//! BackupVerificationSession: one verification of one Snapshot (specification 1.3.11).

use crate::{Condition, TypedLocalObjectReference, macros::kind, macros::string_enum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kind! {
    /// One verification of one Snapshot.
    BackupVerificationSession { group: "core.kubestash.com", plural: "backupverificationsession", scope: Namespaced, spec: BackupVerificationSessionSpec, status: BackupVerificationSessionStatus }
}

/// Which Snapshot is verified.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupVerificationSessionSpec {
    /// The BackupConfiguration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoker: Option<TypedLocalObjectReference>,
    /// Name of the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Retries that are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_left: Option<i32>,
    /// Name of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Name of the Snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// How the verification goes, or went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupVerificationSessionStatus {
    /// The steps of the verification.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Time it took, as a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Overall state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<VerificationSessionPhase>,
    /// Whether it was tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retried: Option<bool>,
}

string_enum! {
    /// State of a BackupVerificationSession.
    pub enum VerificationSessionPhase {
        /// Under way.
        Running,
        /// Complete.
        Succeeded,
        /// Ended without success.
        Failed,
        /// Not run, because the Snapshot was verified already.
        Skipped,
    }
}
