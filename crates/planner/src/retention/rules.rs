//! A RetentionPolicy with its defaults filled in and its mistakes found.

use crd_types::{RetentionPolicy, SuccessfulSnapshotsKeepPolicy};
use thiserror::Error;

use super::period::{PeriodError, RetentionPeriod};

/// Failed Snapshots kept where the policy does not say (specification §1.6).
const FAILED_DEFAULT: u32 = 1;

/// A RetentionPolicy that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RetentionError {
    /// It says nothing about successful Snapshots.
    #[error("RetentionPolicy {namespace}/{name} sets neither maxRetentionPeriod nor successfulSnapshots; set one of them")]
    Empty {
        /// Namespace of the policy.
        namespace: String,
        /// Name of the policy.
        name: String,
    },
    /// Its age limit is wrong.
    #[error("RetentionPolicy {namespace}/{name}: {cause}")]
    Period {
        /// Namespace of the policy.
        namespace: String,
        /// Name of the policy.
        name: String,
        /// What is wrong.
        cause: PeriodError,
    },
    /// A count is below zero.
    #[error("RetentionPolicy {namespace}/{name}: {field} is {count}; write a number of Snapshots to keep")]
    Negative {
        /// Namespace of the policy.
        namespace: String,
        /// Name of the policy.
        name: String,
        /// Which count.
        field: &'static str,
        /// What it says.
        count: i32,
    },
}

/// How many successful Snapshots each rule keeps; zero means the rule is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeepCounts {
    /// The newest ones.
    pub last: u32,
    /// The newest of each of the last hours that have one, UTC.
    pub hourly: u32,
    /// The newest of each of the last days that have one, UTC.
    pub daily: u32,
    /// The newest of each of the last ISO weeks that have one, UTC.
    pub weekly: u32,
    /// The newest of each of the last months that have one, UTC.
    pub monthly: u32,
    /// The newest of each of the last years that have one, UTC.
    pub yearly: u32,
}

/// What a policy asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Snapshots older than this go.
    pub max_age: Option<RetentionPeriod>,
    /// Which successful ones stay. Without counts all do, until the age limit.
    pub successful: Option<KeepCounts>,
    /// How many failed ones stay.
    pub failed_last: u32,
}

impl Rules {
    /// The rules of a policy.
    ///
    /// A count of zero is taken as not set: a policy never removes every Snapshot by a number.
    ///
    /// # Errors
    /// If the policy sets neither an age limit nor `successfulSnapshots`, or something in it
    /// cannot be read.
    pub fn from_policy(policy: &RetentionPolicy) -> Result<Self, RetentionError> {
        let namespace = policy.metadata.namespace.clone().unwrap_or_default();
        let name = policy.metadata.name.clone().unwrap_or_default();
        let spec = &policy.spec;
        let written_age = spec.max_retention_period.as_deref().unwrap_or_default();
        let max_age = (!written_age.is_empty())
            .then(|| RetentionPeriod::parse(written_age))
            .transpose()
            .map_err(|cause| RetentionError::Period { namespace: namespace.clone(), name: name.clone(), cause })?;
        if max_age.is_none() && spec.successful_snapshots.is_none() {
            return Err(RetentionError::Empty { namespace, name });
        }
        let count = |field: &'static str, count: Option<i32>, default: u32| match count {
            None => Ok(default),
            Some(count) => u32::try_from(count).map_err(|_| RetentionError::Negative {
                namespace: namespace.clone(),
                name: name.clone(),
                field,
                count,
            }),
        };
        let successful = match &spec.successful_snapshots {
            None => None,
            Some(SuccessfulSnapshotsKeepPolicy { daily, hourly, last, monthly, weekly, yearly }) => {
                let counts = KeepCounts {
                    last: count("successfulSnapshots.last", *last, 0)?,
                    hourly: count("successfulSnapshots.hourly", *hourly, 0)?,
                    daily: count("successfulSnapshots.daily", *daily, 0)?,
                    weekly: count("successfulSnapshots.weekly", *weekly, 0)?,
                    monthly: count("successfulSnapshots.monthly", *monthly, 0)?,
                    yearly: count("successfulSnapshots.yearly", *yearly, 0)?,
                };
                (counts != KeepCounts::default()).then_some(counts)
            }
        };
        let failed_last = spec.failed_snapshots.as_ref().and_then(|failed| failed.last);
        Ok(Self { max_age, successful, failed_last: count("failedSnapshots.last", failed_last, FAILED_DEFAULT)? })
    }
}
