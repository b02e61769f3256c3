//! The one condition structure of every status (specification 1.2.11).

use crate::macros::string_enum;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One aspect of an object's state, as last observed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// When status, reason or message last changed.
    pub last_transition_time: Time,
    /// What happened, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Generation of the spec the condition speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word saying why the status is what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How grave a condition that is not True is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// True, False or Unknown.
    #[schemars(with = "String")]
    pub status: ConditionStatus,
    /// What the condition is about.
    #[serde(rename = "type")]
    pub type_: String,
}

string_enum! {
    /// Truth of a condition.
    pub enum ConditionStatus {
        /// It holds.
        True,
        /// It does not hold.
        False,
        /// Nothing is known about it.
        Unknown,
    }
}
