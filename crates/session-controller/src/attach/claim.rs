//! Which work a mover has proven to be its own.

use jiff::Timestamp;
use planner::build::Work;

use super::SessionKind;

/// The work of one Job's pod, checked against the Job and the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Kind of the session.
    pub kind: SessionKind,
    /// Namespace of the session, the Job and the pod.
    pub namespace: String,
    /// Name of the session.
    pub session_name: String,
    /// UID of the session.
    pub session_uid: String,
    /// Component, or `retention`.
    pub component: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// What the Job does.
    pub work: Work,
    /// Name of the Job.
    pub job: String,
    /// Name of the pod.
    pub pod: String,
    /// Node of the pod.
    pub node: String,
    /// When the session must have ended.
    pub deadline: Timestamp,
}
