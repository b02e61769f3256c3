//! When a session must end: cancelled, past its deadline, or without progress (architecture §4.3).

use crd_types::{annotations, duration};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Limits;
use crate::decision::Reason;

/// The reason of a session that was asked to stop.
pub const CANCELLED: &str = "Cancelled";
/// The reason of a session that ran out of time.
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// The reason of a session that stood still.
pub const NO_PROGRESS: &str = "NoProgress";

/// When a session ends at the latest: the user's deadline, or the longest that any may live.
pub fn deadline(created: Timestamp, timeout: Option<&str>, limits: &Limits) -> Timestamp {
    let longest = created.saturating_add(limits.longest).unwrap_or(Timestamp::MAX);
    user_deadline(created, timeout).map_or(longest, |deadline| deadline.min(longest))
}

/// The user's deadline. A timeout that cannot be read is none; validation has said so.
pub fn user_deadline(created: Timestamp, timeout: Option<&str>) -> Option<Timestamp> {
    let timeout = duration::parse(timeout.filter(|text| !text.is_empty())?).ok()?;
    let timeout = SignedDuration::try_from(timeout).ok()?;
    Some(created.saturating_add(timeout).unwrap_or(Timestamp::MAX))
}

/// Everything the question rests on.
pub(crate) struct StopView<'a> {
    pub metadata: &'a ObjectMeta,
    pub created: Timestamp,
    pub timeout: Option<&'a str>,
    /// The last sign of progress; none while the session waits for its turn, which is no standstill.
    pub last_activity: Option<Timestamp>,
    pub limits: &'a Limits,
    pub now: Timestamp,
}

/// Why the session must end now, if it must; else when to look again.
pub(crate) fn stop(view: &StopView<'_>) -> Result<Reason, Timestamp> {
    let cancelled = view.metadata.annotations.as_ref().and_then(|all| all.get(annotations::CANCEL));
    if let Some(why) = cancelled {
        let message =
            if why.is_empty() || why == "true" { "cancelled on request".to_owned() } else { format!("cancelled: {why}") };
        return Ok(Reason::new("stop", CANCELLED, message));
    }
    let deadline = deadline(view.created, view.timeout, view.limits);
    if view.now >= deadline {
        let message = match view.timeout.filter(|_| user_deadline(view.created, view.timeout) == Some(deadline)) {
            Some(timeout) => format!("deadline exceeded: the session was given {timeout} and has not ended"),
            None => "deadline exceeded: the session has not ended in 7 days".to_owned(),
        };
        return Ok(Reason::new("stop", DEADLINE_EXCEEDED, message));
    }
    let idle = view.last_activity.map(|at| at.saturating_add(view.limits.idle).unwrap_or(Timestamp::MAX));
    match idle {
        Some(idle) if view.now >= idle => {
            let minutes = view.limits.idle.as_mins();
            Ok(Reason::new("stop", NO_PROGRESS, format!("deadline exceeded: no progress for {minutes} minutes")))
        }
        Some(idle) => Err(idle.min(deadline)),
        None => Err(deadline),
    }
}
