//! Retries: a failed BackupSession with retries left gets a successor when its time has come (specification §2.4 step 13).
//!
//! The session-controller says in `status.nextRetry` when; the scheduler, the only creator of sessions, creates it; the
//! session-controller then marks the failed one as retried.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crd_types::{BackupConfiguration, BackupSession, BackupSessionPhase, annotations, annotations::triggered_by};
use jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _};
use kube_kit::{
    controller::{ControllerMetrics, Next, Options, Reconciler, Runner},
    error::{self, ReconcileError},
    finalize,
    own_writes::OwnWrites,
    owners::controller_of,
};
use planner::names;
use service_kit::readiness::Gate;

use crate::{
    context::Context,
    references::{full_name, namespace, owner, session},
    sessions::{Cause, CreateError, ensure},
};

/// Why a retry was not created.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The session could not be created.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The configuration could not be read.
    #[error("the BackupConfiguration of BackupSession {session} cannot be read: {source}")]
    Configuration {
        /// Namespace and name of the failed session.
        session: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

impl ReconcileError for Failure {
    fn category(&self) -> &'static str {
        match self {
            Self::Create(error) => error.category(),
            Self::Configuration { source, .. } => error::category(source),
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Create(error) => error.is_retryable(),
            Self::Configuration { source, .. } => error::is_retryable(source),
        }
    }
}

/// The controller of BackupSessions, as far as retries go.
pub fn runner(client: &Client, metrics: ControllerMetrics, own_writes: OwnWrites, gate: Gate) -> Runner<BackupSession> {
    Runner::new("retry", Api::all(client.clone()), Options::default(), metrics, own_writes).gate(gate)
}

/// Creates retries.
pub struct Retry {
    context: Context,
}

impl Retry {
    /// A creator of retries.
    pub fn new(context: Context) -> Self {
        Self { context }
    }
}

impl Reconciler for Retry {
    type Resource = BackupSession;
    type Error = Failure;

    async fn reconcile(&self, failed: Arc<BackupSession>) -> Result<Next, Failure> {
        let Some(due) = due(&failed) else { return Ok(Next::Changed) };
        let now = self.context.now();
        if now < due {
            return Ok(Next::After(Duration::try_from(due.duration_since(now)).unwrap_or_default()));
        }
        let Some(configuration) = self.configuration(&failed).await? else { return Ok(Next::Changed) };
        if configuration.spec.paused == Some(true) {
            tracing::debug!("no retry while the BackupConfiguration is paused");
            return Ok(Next::Changed);
        }
        let name = failed.spec.session.as_deref().unwrap_or_default();
        let Some(session) = session(&configuration, name) else { return Ok(Next::Changed) };
        let cause = Cause {
            configuration: &configuration,
            session,
            name: names::retry_session(&owner(failed.as_ref()), &owner(&configuration), name, due.as_second()),
            retry_left: failed.spec.retry_left.unwrap_or(0).saturating_sub(1),
            triggered_by: triggered_by::RETRY,
            notes: BTreeMap::from([(annotations::RETRY_OF.to_owned(), failed.name_any())]),
        };
        ensure(&self.context, cause).await?;
        Ok(Next::Changed)
    }
}

impl Retry {
    /// The live configuration that owns the failed session.
    async fn configuration(&self, failed: &BackupSession) -> Result<Option<BackupConfiguration>, Failure> {
        let Some(reference) = controller_of(failed).filter(|reference| reference.kind == "BackupConfiguration") else {
            return Ok(None);
        };
        let api = self.context.api::<BackupConfiguration>(&namespace(failed));
        let found = api
            .get_opt(&reference.name)
            .await
            .map_err(|source| Failure::Configuration { session: full_name(failed), source: Box::new(source) })?;
        Ok(found.filter(|found| found.metadata.uid.as_deref() == Some(&reference.uid) && !finalize::is_deleting(found)))
    }
}

/// When the session is to be tried again; `None` if never.
fn due(session: &BackupSession) -> Option<Timestamp> {
    let status = session.status.as_ref()?;
    let may = status.phase == Some(BackupSessionPhase::Failed)
        && session.spec.retry_left.unwrap_or(0) > 0
        && status.retried != Some(true)
        && !finalize::is_deleting(session);
    status.next_retry.as_ref().filter(|_| may).map(|time| time.0)
}

#[cfg(test)]
mod tests;
