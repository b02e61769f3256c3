//! The controller of BackupConfigurations: dereference → validate → apply → update_status, and the first backup.

pub mod apply;
mod cleanup;
pub mod dereference;
mod initial;
pub mod update_status;
pub mod validate;
mod watches;

use std::{sync::Arc, time::Duration};

use crd_types::{
    BackupConfiguration, BackupConfigurationPhase, BackupConfigurationStatus,
    conditions::VALIDATION_PASSED,
    names::{FINALIZER, manager},
};
use jiff::{SignedDuration, Timestamp};
use kube_kit::{
    apply::ApplyError,
    conditions::{find, is_false},
    controller::{Next, Reconciler},
    error::{self, ReconcileError},
    finalize,
    own_writes::OwnWrites,
    status::{Guard, StatusError, apply_status},
};

use self::{
    apply::Applied,
    dereference::{DereferenceError, Dereferenced},
    update_status::Observed,
    validate::Checked,
};
use crate::{context::Context, limits::next_look, references::namespace, sessions::CreateError, suspension};

pub use watches::runner;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something it names could not be read.
    #[error(transparent)]
    Dereference(#[from] DereferenceError),
    /// Something could not be written.
    #[error(transparent)]
    Apply(ApplyError),
    /// Its status could not be written.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// Its first backup could not be created.
    #[error(transparent)]
    Initial(#[from] CreateError),
    /// The API server could not be asked.
    #[error("the API server could not be asked: {0}")]
    Api(#[source] kube::Error),
}

impl ReconcileError for Failure {
    fn category(&self) -> &'static str {
        match self {
            Self::Dereference(error) => error.category(),
            Self::Apply(error) => error.category(),
            Self::Status(error) => error.category(),
            Self::Initial(error) => error.category(),
            Self::Api(error) => error::category(error),
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Dereference(error) => error.is_retryable(),
            Self::Apply(error) => error.is_retryable(),
            Self::Status(error) => error.is_retryable(),
            Self::Initial(error) => error.is_retryable(),
            Self::Api(error) => error::is_retryable(error),
        }
    }
}

/// Reconciles BackupConfigurations.
pub struct Controller {
    context: Context,
    own_writes: OwnWrites,
}

impl Controller {
    /// A reconciler that records its writes in `own_writes`.
    pub fn new(context: Context, own_writes: OwnWrites) -> Self {
        Self { context, own_writes }
    }
}

impl Reconciler for Controller {
    type Resource = BackupConfiguration;
    type Error = Failure;

    async fn reconcile(&self, configuration: Arc<BackupConfiguration>) -> Result<Next, Failure> {
        let context = &self.context;
        if finalize::is_deleting(configuration.as_ref()) {
            cleanup::run(context, &configuration).await?;
            return Ok(Next::Changed);
        }
        let found = dereference::dereference(context, &configuration).await?;
        if found.namespace_terminating {
            return Ok(Next::Changed);
        }
        let api = context.api::<BackupConfiguration>(&namespace(configuration.as_ref()));
        let configuration = finalize::add(&api, manager::SCHEDULER, &configuration, FINALIZER).await?;
        self.own_writes.record(&configuration);

        let checked = validate::validate(&configuration, &found, &context.settings);
        let applied = self.apply(&configuration, &found, &checked).await?;
        let now = context.now();
        let observed = Observed { configuration: &configuration, found: &found, checked: &checked, applied: &applied };
        let mut status = update_status::status(&observed, now);
        // The first backup waits until everybody can see that the configuration is Ready.
        let was_ready = configuration.status.as_ref().and_then(|status| status.phase) == Some(BackupConfigurationPhase::Ready);
        let is_ready = status.phase == Some(BackupConfigurationPhase::Ready);
        let mut initial = Ok(());
        if was_ready && is_ready && configuration.spec.paused != Some(true) {
            initial = initial::trigger(context, &configuration, &mut status, now).await;
        }
        self.write(&configuration, &status).await?;
        initial?;
        match applied.failure {
            Some(error) => Err(error.into()),
            None => Ok(next(&status, &applied, was_ready, now)),
        }
    }
}

impl Controller {
    /// Makes Repositories and CronJobs, or holds the slots of a configuration that cannot work.
    async fn apply(
        &self,
        configuration: &BackupConfiguration,
        found: &Dereferenced,
        checked: &Checked<'_>,
    ) -> Result<Applied, Failure> {
        let context = &self.context;
        let mut applied = Applied::default();
        apply::remove_stale(context, configuration).await?;
        if !checked.is_valid() {
            apply::suspend_all(context, configuration).await?;
            return Ok(applied);
        }
        if configuration.spec.paused != Some(true) {
            apply::ensure_repositories(context, configuration, checked, &found.repositories, &mut applied).await;
        }
        // A phase of the past does not count here: it was just found valid.
        let valid = BackupConfiguration { status: None, ..configuration.clone() };
        let suspended = |session: &validate::CheckedSession<'_>| suspension::cause(&valid, session.session, &found.restores);
        apply::ensure_cron_jobs(context, configuration, checked, suspended, &mut applied).await;
        Ok(applied)
    }

    async fn write(&self, configuration: &BackupConfiguration, status: &BackupConfigurationStatus) -> Result<(), Failure> {
        if configuration.status.as_ref() == Some(status) {
            return Ok(());
        }
        let api = self.context.api::<BackupConfiguration>(&namespace(configuration));
        let written = apply_status(&api, manager::SCHEDULER, configuration, status, Guard::Version).await?;
        self.own_writes.record(&written);
        if update_status::says_something_new(configuration.status.as_ref(), status, VALIDATION_PASSED)
            && is_false(&status.conditions, VALIDATION_PASSED)
        {
            let message = find(&status.conditions, VALIDATION_PASSED).and_then(|condition| condition.message.as_deref());
            let events = &self.context.events;
            events.warning(configuration, "ResourceValidationFailed", "Validate", message.unwrap_or_default()).await;
        }
        Ok(())
    }
}

/// When to look again: at the next slot, or, while something is missing that nobody tells us about, soon.
fn next(status: &BackupConfigurationStatus, applied: &Applied, was_ready: bool, now: Timestamp) -> Next {
    if status.phase != Some(BackupConfigurationPhase::Ready) {
        let since = status.conditions.iter().map(|condition| condition.last_transition_time.0).max().unwrap_or(now);
        return Next::After(next_look(now.duration_since(since)));
    }
    if !was_ready {
        return Next::After(Duration::from_millis(100));
    }
    match applied.sessions.iter().filter_map(|session| session.next).min() {
        Some(slot) => {
            let pause = slot.duration_since(now).saturating_add(SignedDuration::from_secs(1));
            Next::After(Duration::try_from(pause).unwrap_or_default())
        }
        None => Next::Changed,
    }
}

#[cfg(test)]
mod tests;
