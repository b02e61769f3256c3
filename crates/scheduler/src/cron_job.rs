//! What we remember on a CronJob: the highest slot that was served, from when slots count, and which one was given up.

use std::collections::BTreeMap;

use crd_types::{annotations, names::manager};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use kube::ResourceExt as _;
use kube_kit::apply::{self, ApplyError};

use crate::{context::Context, limits::RECORD_ATTEMPTS, references::namespace};

/// A time among the CronJob's annotations. Malformed ones count as absent.
pub fn time(cron_job: &CronJob, annotation: &str) -> Option<Timestamp> {
    cron_job.metadata.annotations.as_ref()?.get(annotation)?.parse().ok()
}

/// The highest slot that has a session.
pub fn served(cron_job: &CronJob) -> Option<Timestamp> {
    time(cron_job, annotations::SERVED_SLOT)
}

/// Slots up to this one are never made up for.
pub fn settled(cron_job: &CronJob) -> Option<Timestamp> {
    time(cron_job, annotations::SETTLED_SLOT).max(time(cron_job, annotations::MISSED_SLOT))
}

/// Whether a trigger Job of it still runs.
pub fn is_active(cron_job: &CronJob) -> bool {
    cron_job.status.as_ref().and_then(|status| status.active.as_ref()).is_some_and(|active| !active.is_empty())
}

/// The slot of the Job that was made last.
pub fn last_scheduled(cron_job: &CronJob) -> Option<Timestamp> {
    cron_job.status.as_ref()?.last_schedule_time.as_ref().map(|time| time.0)
}

/// Writes down that `slot` was served; a higher slot that somebody else wrote down meanwhile stays.
///
/// # Errors
/// [`ApplyError`]. A CronJob that is gone needs no memory.
pub async fn record_served(context: &Context, cron_job: &CronJob, slot: Timestamp) -> Result<(), ApplyError> {
    record(context, cron_job, annotations::SERVED_SLOT, slot).await
}

/// Writes down that `slot` was given up.
///
/// # Errors
/// [`ApplyError`].
pub async fn record_missed(context: &Context, cron_job: &CronJob, slot: Timestamp) -> Result<(), ApplyError> {
    record(context, cron_job, annotations::MISSED_SLOT, slot).await
}

async fn record(context: &Context, cron_job: &CronJob, annotation: &str, slot: Timestamp) -> Result<(), ApplyError> {
    let api = context.api::<CronJob>(&namespace(cron_job));
    let mut current = cron_job.clone();
    let mut attempt = 0;
    loop {
        if time(&current, annotation).is_some_and(|known| known >= slot) {
            return Ok(());
        }
        attempt += 1;
        let note = BTreeMap::from([(annotation.to_owned(), Some(slot.to_string()))]);
        let refusal = match apply::annotate_unchanged(&api, manager::SCHEDULER, &current, &note).await {
            Ok(_) => return Ok(()),
            Err(refusal) if refusal.is_not_found() => return Ok(()),
            Err(refusal) => refusal,
        };
        if !refusal.is_conflict() || attempt == RECORD_ATTEMPTS {
            return Err(refusal);
        }
        let found = api.get_opt(&cron_job.name_any()).await.map_err(|source| ApplyError::Api {
            action: "get",
            kind: "CronJob".to_owned(),
            namespace: namespace(cron_job),
            name: cron_job.name_any(),
            source: Box::new(source),
        })?;
        match found {
            Some(found) if found.metadata.uid == cron_job.metadata.uid => current = found,
            _ => return Ok(()),
        }
    }
}
