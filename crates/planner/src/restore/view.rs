//! Everything a decision about a RestoreSession rests on.

use crd_types::{ResourceFoundStatus, RestoreSession, TypedObjectReference};
use jiff::Timestamp;

use super::Limits;
use crate::{
    admission::Admission,
    attempt::{JobView, Reports},
    decision::{Decision, Reason},
    session::{Preparation, TargetProgress},
};

/// What a controller has to read before the decision can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The data source and what it refers to: [`View::validation`].
    Validation,
    /// Addon, Function, target and volumes: [`View::preparation`].
    Preparation,
    /// Whether the limits admit it: [`View::admission`].
    Admission,
    /// BackupConfigurations of the same target: [`View::backups`].
    Backups,
}

/// What came of looking at the data source and everything else that the session names.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// Snapshot, Addon and whatever else it depends on, found or not.
    pub dependencies: Vec<ResourceFoundStatus>,
    /// The components that will be restored, or why nothing can be.
    pub outcome: Result<Vec<String>, Reason>,
}

/// Everything a decision about a RestoreSession rests on.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The time.
    pub now: Timestamp,
    /// Bounds.
    pub limits: &'a Limits,
    /// The session.
    pub session: &'a RestoreSession,
    /// Jobs that bear the session's UID.
    pub jobs: &'a [JobView],
    /// What movers reported over their streams.
    pub reports: &'a Reports,
    /// Live figures; the target of each is its component.
    pub progress: &'a [TargetProgress],
    /// When figures last changed, over the stream.
    pub last_progress: Option<Timestamp>,
    /// The validation, when asked for.
    pub validation: Option<&'a Validation>,
    /// The preparation, when asked for.
    pub preparation: Option<&'a Preparation>,
    /// The admission, when asked for.
    pub admission: Option<&'a Decision<Admission>>,
    /// BackupConfigurations of the same target, when asked for.
    pub backups: Option<&'a [TypedObjectReference]>,
}

impl View<'_> {
    /// When the session was created.
    pub fn created(&self) -> Timestamp {
        self.session.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
    }
}
