//! A CronJob as the planner looks at it.

use crd_types::{Session, duration};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::api::batch::v1::CronJob;
use planner::schedule::{
    CronSchedule,
    slots::{Concurrency, SlotView},
};

use crate::{cron_job, settings::Settings};

/// What is known about one session's slots.
pub(super) struct Facts<'a> {
    schedule: CronSchedule,
    zone: &'a TimeZone,
    anchor: Timestamp,
    served: Option<Timestamp>,
    starting_deadline: Option<SignedDuration>,
    concurrency: Concurrency,
    trigger_active: bool,
    grace: SignedDuration,
}

impl<'a> Facts<'a> {
    /// `None` for a schedule that does not parse, or a CronJob that was not yet created.
    pub(super) fn of(cron_job: &CronJob, session: &Session, settings: &'a Settings) -> Option<Self> {
        let scheduler = session.scheduler.as_ref()?;
        let schedule = CronSchedule::parse(&scheduler.schedule).ok()?;
        let created = cron_job.metadata.creation_timestamp.as_ref()?.0;
        let settled = cron_job::settled(cron_job);
        Some(Self {
            anchor: anchor(&scheduler.schedule, cron_job, created, settled),
            schedule,
            zone: &settings.zone,
            // Slots that were settled count as served: neither is made up for.
            served: cron_job::served(cron_job).max(settled),
            starting_deadline: scheduler.starting_deadline_seconds.map(SignedDuration::from_secs),
            concurrency: Concurrency::parse(scheduler.concurrency_policy.as_deref()).unwrap_or_default(),
            trigger_active: cron_job::is_active(cron_job),
            grace: settings.grace,
        })
    }

    pub(super) fn view<'v>(&'v self, suspended: Option<&'v str>) -> SlotView<'v> {
        SlotView {
            schedule: &self.schedule,
            zone: self.zone,
            anchor: self.anchor,
            served: self.served,
            suspended,
            starting_deadline: self.starting_deadline,
            concurrency: self.concurrency,
            trigger_active: self.trigger_active,
            grace: self.grace,
        }
    }
}

/// From where slots are counted.
///
/// The slots of a cron expression lie where they lie. Those of `@every` lie a whole number of intervals after the slot
/// that Kubernetes ran last; that slot itself has to be found too, as its trigger may not have come.
fn anchor(written: &str, cron_job: &CronJob, created: Timestamp, settled: Option<Timestamp>) -> Timestamp {
    let interval = written.strip_prefix("@every ").and_then(|text| duration::parse(text.trim()).ok());
    match (interval, cron_job::last_scheduled(cron_job)) {
        (Some(interval), Some(last)) => {
            let interval = SignedDuration::from_secs(i64::try_from(interval.as_secs()).unwrap_or(i64::MAX));
            last.checked_sub(interval).unwrap_or(created)
        }
        (Some(_), None) => created,
        (None, _) => settled.map_or(created, |settled| settled.max(created)),
    }
}
