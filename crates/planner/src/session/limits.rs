//! Bounds of sessions. The numbers outlive their authors, so each says why it is what it is.

use jiff::SignedDuration;

use crate::attempt::AttemptLimits;

/// Bounds of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Attempts at a component.
    pub attempts: AttemptLimits,
    /// A session that moves nothing for this long has failed, whatever it waits for. Long enough for a node to come
    /// back from an upgrade, short enough that a nightly backup is reported the same night (architecture §4.3).
    pub idle: SignedDuration,
    /// No session lives longer, even if it moves all the time (architecture §4.3).
    pub longest: SignedDuration,
    /// How long something missing (a Function, a target, a claim, leave to create a Job) is waited for before the
    /// session fails. A GitOps tool that applies objects in any order is done within minutes.
    pub preparation: SignedDuration,
    /// How long a configuration that is not Ready is looked at again before the session is skipped: its status may be
    /// about to be written.
    pub readiness: SignedDuration,
    /// How long stopped movers get to end before the session ends without them. With the minute that a pod has for
    /// its end, a session is over a minute after its deadline (I5).
    pub stopping: SignedDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempts: AttemptLimits::default(),
            idle: SignedDuration::from_mins(30),
            longest: SignedDuration::from_hours(7 * 24),
            preparation: SignedDuration::from_mins(5),
            readiness: SignedDuration::from_secs(10),
            stopping: SignedDuration::from_secs(45),
        }
    }
}
