//! What to do about a slot: leave it to its CronJob, make up for it, or let it go.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::CronSchedule;
use crate::decision::{Decision, Reason};

/// Time a trigger pod has before the watchdog serves its slot (architecture §3 row 10).
pub const GRACE: SignedDuration = SignedDuration::from_secs(30);

const STEP: &str = "slot";

/// `scheduler.concurrencyPolicy`: what a slot does while the last trigger Job still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Concurrency {
    /// Both run; Kubernetes' default.
    #[default]
    Allow,
    /// The new one does not run.
    Forbid,
    /// The old one is ended.
    Replace,
}

impl Concurrency {
    /// The policy as written; `None` for a word Kubernetes does not know.
    pub fn parse(written: Option<&str>) -> Option<Self> {
        match written {
            None | Some("" | "Allow") => Some(Self::Allow),
            Some("Forbid") => Some(Self::Forbid),
            Some("Replace") => Some(Self::Replace),
            Some(_) => None,
        }
    }
}

/// One session's schedule as it stands now.
#[derive(Debug, Clone)]
pub struct SlotView<'a> {
    /// When it runs.
    pub schedule: &'a CronSchedule,
    /// In which zone.
    pub zone: &'a TimeZone,
    /// Up to when slots are settled whoever served them: the CronJob's creation, its last schedule
    /// time, or when it was last resumed or changed, whichever is latest. Slots up to it are never
    /// made up for.
    pub anchor: Timestamp,
    /// The highest slot that has a session.
    pub served: Option<Timestamp>,
    /// Why no slot runs now, if so: paused, suspended, or held for a restore.
    pub suspended: Option<&'a str>,
    /// How late a slot may still be served.
    pub starting_deadline: Option<SignedDuration>,
    /// What a slot does while the last trigger Job still runs.
    pub concurrency: Concurrency,
    /// Whether a trigger Job of this schedule still runs.
    pub trigger_active: bool,
    /// Time a trigger pod has to come; [`GRACE`] unless set otherwise.
    pub grace: SignedDuration,
}

/// What the watchdog does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotAction {
    /// Nothing now.
    Wait {
        /// When to look again.
        look_again: Timestamp,
    },
    /// Create the session of this slot in the trigger's stead.
    MakeUp {
        /// The slot.
        slot: Timestamp,
    },
    /// The slot is lost: say so, count it, and take it as settled.
    Missed {
        /// The slot.
        slot: Timestamp,
        /// When to look again.
        look_again: Option<Timestamp>,
    },
    /// The schedule has no slot within five years.
    Never,
}

/// What the watchdog does about the latest slot. Earlier ones are never made up for: one session
/// after an outage, not a burst (reliability A2).
pub fn judge(view: &SlotView<'_>, now: Timestamp) -> Decision<SlotAction> {
    let next = view.schedule.next_after(now.max(view.anchor), view.zone);
    let Some(slot) = view.schedule.latest_slot(view.anchor, now, view.zone) else {
        return match next {
            Some(next) => wait(later(next, view.grace), "NotDue", format!("the next slot is {next}")),
            None => Decision::new(
                SlotAction::Never,
                reason("NeverDue", "the schedule has no slot within five years; correct it".to_owned()),
            ),
        };
    };
    let after_next = next.map_or_else(|| later(now, SignedDuration::from_hours(24)), |next| later(next, view.grace));
    if let Some(cause) = view.suspended {
        return wait(after_next, "Suspended", format!("slot {slot} does not run: {cause}"));
    }
    if view.served.is_some_and(|served| served >= slot) {
        return wait(after_next, "Served", format!("slot {slot} has its session; the next look is after the next slot"));
    }
    let due = later(slot, view.grace);
    if now < due {
        return wait(due, "TriggerExpected", format!("slot {slot} is left to its trigger until {due}"));
    }
    if let Some(deadline) = view.starting_deadline
        && now > later(slot, deadline)
    {
        return Decision::new(
            SlotAction::Missed { slot, look_again: next.map(|next| later(next, view.grace)) },
            reason(
                "StartingDeadlinePassed",
                format!(
                    "slot {slot} was not served within its starting deadline of {} s; see why its trigger pod did not run",
                    deadline.as_secs()
                ),
            ),
        );
    }
    if view.concurrency == Concurrency::Forbid && view.trigger_active {
        return wait(
            later(now, view.grace),
            "ConcurrencyForbidden",
            format!("slot {slot} waits: an earlier trigger Job still runs and concurrencyPolicy is Forbid"),
        );
    }
    Decision::new(
        SlotAction::MakeUp { slot },
        reason(
            "TriggerMissing",
            format!(
                "the trigger of slot {slot} has not come after {} s; its session is created without it",
                view.grace.as_secs()
            ),
        ),
    )
}

/// Answer to a trigger pod that comes with a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerAnswer {
    /// Create the session (the same name as the watchdog would, so twice is once).
    Create,
    /// The slot, or a later one, has its session: a late duplicate makes nothing (reliability A1).
    AlreadyServed,
    /// The slot fell into a suspension and is not made up for.
    Suspended,
}

/// What a trigger for `slot` gets. `resumed` is when the schedule was last suspended or resumed
/// with effect on earlier slots; `suspended` says why no slot runs now.
pub fn accept_trigger(
    slot: Timestamp,
    served: Option<Timestamp>,
    resumed: Option<Timestamp>,
    suspended: Option<&str>,
) -> Decision<TriggerAnswer> {
    if let Some(served) = served.filter(|served| *served >= slot) {
        return Decision::new(
            TriggerAnswer::AlreadyServed,
            reason("Served", format!("slot {slot} is served: the latest one with a session is {served}")),
        );
    }
    if let Some(cause) = suspended {
        return Decision::new(TriggerAnswer::Suspended, reason("Suspended", format!("slot {slot} does not run: {cause}")));
    }
    if resumed.is_some_and(|resumed| slot <= resumed) {
        return Decision::new(
            TriggerAnswer::Suspended,
            reason("Suspended", format!("slot {slot} fell into a suspension and is not made up for")),
        );
    }
    Decision::new(TriggerAnswer::Create, reason("Due", format!("slot {slot} has no session yet")))
}

fn reason(reason: &'static str, message: String) -> Reason {
    Reason::new(STEP, reason, message)
}

fn wait(look_again: Timestamp, why: &'static str, message: String) -> Decision<SlotAction> {
    Decision::new(SlotAction::Wait { look_again }, reason(why, message))
}

/// `time` and `more`, at the end of time at the latest.
fn later(time: Timestamp, more: SignedDuration) -> Timestamp {
    time.checked_add(more).unwrap_or(Timestamp::MAX)
}
