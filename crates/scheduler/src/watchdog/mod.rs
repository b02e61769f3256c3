//! The watchdog: makes up for a slot whose trigger has not come (architecture §3 row 10, reliability A2, A6).
//!
//! It looks at each CronJob after each slot. One session after an outage, never a burst; nothing for slots that were
//! suspended, forbidden by the concurrency policy, or past their starting deadline.

mod view;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crd_types::{BackupConfiguration, Session, annotations, annotations::triggered_by, labels};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use kube::{Api, Client, ResourceExt as _, runtime::watcher};
use kube_kit::{
    apply::ApplyError,
    controller::{ControllerMetrics, Next, Options, Reconciler, Runner},
    error::{self, ReconcileError},
    finalize,
    own_writes::OwnWrites,
    owners::controller_of,
};
use planner::{
    names::{self, Holder},
    schedule::slots::{SlotAction, judge},
};
use service_kit::readiness::Gate;

use crate::{
    backup_configuration::dereference::{DereferenceError, restores},
    context::Context,
    cron_job,
    references::{namespace, owner, session_name},
    sessions::{Cause, CreateError, ensure, retries},
    suspension,
};

/// Why the watchdog could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The session could not be created.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// What was done could not be written down.
    #[error(transparent)]
    Record(#[from] ApplyError),
    /// Restores could not be listed.
    #[error(transparent)]
    Dereference(#[from] DereferenceError),
    /// The CronJob or its configuration could not be read.
    #[error("CronJob {cron_job} or its BackupConfiguration cannot be read: {source}")]
    Read {
        /// Name of the CronJob.
        cron_job: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

impl ReconcileError for Failure {
    fn category(&self) -> &'static str {
        match self {
            Self::Create(error) => error.category(),
            Self::Record(error) => error.category(),
            Self::Dereference(error) => error.category(),
            Self::Read { source, .. } => error::category(source),
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Create(error) => error.is_retryable(),
            Self::Record(error) => error.is_retryable(),
            Self::Dereference(error) => error.is_retryable(),
            Self::Read { source, .. } => error::is_retryable(source),
        }
    }
}

/// The controller of trigger CronJobs.
pub fn runner(client: &Client, metrics: ControllerMetrics, own_writes: OwnWrites, gate: Gate) -> Runner<CronJob> {
    let ours = format!("{}={}", labels::COMPONENT, labels::component::TRIGGER);
    Runner::new("watchdog", Api::all(client.clone()), Options::default(), metrics, own_writes)
        .watching(watcher::Config::default().labels(&ours))
        .gate(gate)
}

/// Looks at slots.
pub struct Watchdog {
    context: Context,
}

impl Watchdog {
    /// A watchdog.
    pub fn new(context: Context) -> Self {
        Self { context }
    }
}

impl Reconciler for Watchdog {
    type Resource = CronJob;
    type Error = Failure;

    async fn reconcile(&self, cron_job: Arc<CronJob>) -> Result<Next, Failure> {
        if finalize::is_deleting(cron_job.as_ref()) {
            return Ok(Next::Changed);
        }
        let Some(configuration) = self.configuration(&cron_job).await? else { return Ok(Next::Changed) };
        let Some(session) = session_of(&configuration, &cron_job) else { return Ok(Next::Changed) };
        let restores = restores(&self.context, &namespace(&configuration)).await?;
        let suspended = suspension::cause(&configuration, session, &restores);
        let Some(facts) = view::Facts::of(&cron_job, session, &self.context.settings) else { return Ok(Next::Changed) };
        let now = self.context.now();
        let decision = judge(&facts.view(suspended.as_deref()), now);
        tracing::debug!(reason = decision.message(), "slot judged");
        match decision.action {
            SlotAction::Never => Ok(Next::Changed),
            SlotAction::Wait { look_again } => Ok(later(look_again, now)),
            SlotAction::MakeUp { slot } => {
                self.make_up(&configuration, session, &cron_job, slot, now).await?;
                Ok(later(slot, now))
            }
            SlotAction::Missed { slot, look_again } => {
                cron_job::record_missed(&self.context, &cron_job, slot).await?;
                self.context.metrics.slot_missed(&configuration, session_name(session));
                self.context.events.warning(&configuration, "SlotMissed", "Trigger", &decision.message()).await;
                Ok(look_again.map_or(Next::Changed, |at| later(at, now)))
            }
        }
    }
}

impl Watchdog {
    /// The live configuration that this CronJob triggers.
    async fn configuration(&self, cron_job: &CronJob) -> Result<Option<BackupConfiguration>, Failure> {
        let Some(reference) = controller_of(cron_job).filter(|reference| reference.kind == "BackupConfiguration") else {
            return Ok(None);
        };
        let api = self.context.api::<BackupConfiguration>(&namespace(cron_job));
        let found = api
            .get_opt(&reference.name)
            .await
            .map_err(|source| Failure::Read { cron_job: cron_job.name_any(), source: Box::new(source) })?;
        Ok(found.filter(|found| found.metadata.uid.as_deref() == Some(&reference.uid) && !finalize::is_deleting(found)))
    }

    /// The CronJob as the API server has it now, if it is still the same.
    async fn current(&self, cron_job: &CronJob) -> Result<Option<CronJob>, Failure> {
        let api = self.context.api::<CronJob>(&namespace(cron_job));
        let found = api
            .get_opt(&cron_job.name_any())
            .await
            .map_err(|source| Failure::Read { cron_job: cron_job.name_any(), source: Box::new(source) })?;
        Ok(found.filter(|found| found.metadata.uid == cron_job.metadata.uid))
    }

    async fn make_up(
        &self,
        configuration: &BackupConfiguration,
        session: &Session,
        cron_job: &CronJob,
        slot: Timestamp,
        now: Timestamp,
    ) -> Result<(), Failure> {
        // The cache may not know yet that the trigger came after all.
        let current = self.current(cron_job).await?;
        if current.as_ref().is_none_or(|current| cron_job::served(current).is_some_and(|served| served >= slot)) {
            return Ok(());
        }
        let cause = Cause {
            configuration,
            session,
            name: names::backup_session(&owner(configuration), session_name(session), slot.as_second()),
            retry_left: retries(session),
            triggered_by: triggered_by::WATCHDOG,
            notes: BTreeMap::from([(annotations::SLOT.to_owned(), slot.to_string())]),
        };
        let ensured = ensure(&self.context, cause).await?;
        if ensured.created {
            self.context.metrics.slot_served(now.duration_since(slot));
            let note = format!(
                "The trigger of slot {slot} did not come; BackupSession {} was created without it. See why the pods of CronJob {} do not run.",
                ensured.object.name_any(),
                cron_job.name_any()
            );
            self.context.events.warning(configuration, "TriggerMissing", "Trigger", &note).await;
        }
        cron_job::record_served(&self.context, cron_job, slot).await?;
        Ok(())
    }
}

/// The session that a CronJob triggers.
pub fn session_of<'a>(configuration: &'a BackupConfiguration, cron_job: &CronJob) -> Option<&'a Session> {
    let owner = owner(configuration);
    configuration
        .spec
        .sessions
        .iter()
        .find(|session| names::trigger_cron_job(&owner, session_name(session)).holder(&cron_job.metadata) == Holder::Same)
}

fn later(at: Timestamp, now: Timestamp) -> Next {
    let pause = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    // A look that is due already follows soon, not at once: the note of what was just done has to arrive first.
    Next::After(pause.max(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests;
