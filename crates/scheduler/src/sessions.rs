//! Creating BackupSessions. The scheduler is their only creator, and each cause makes exactly one (reliability I4).

use std::collections::BTreeMap;

use crd_types::{BackupConfiguration, BackupSession, Session, annotations, labels};
use kube::{ResourceExt as _, api::ListParams};
use kube_kit::{
    apply::{ApplyError, Ensured, Match, create_if_absent_matching},
    error::{self, ReconcileError},
};
use planner::{
    build::{self, BackupSessionRequest, Named},
    names::{Holder, Name, label_value},
};
use service_kit::trace_context;

use crate::{
    context::Context,
    references::{full_name, namespace, session_name},
};

/// Extra attempts when a session asks for retries without saying how many (specification §1.2.5).
const DEFAULT_RETRIES: i32 = 1;

/// Why no session was created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The API server refused or could not be reached.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Existing sessions could not be listed, so nothing is known.
    #[error("cannot list BackupSessions of BackupConfiguration {configuration}: {source}")]
    List {
        /// Namespace and name.
        configuration: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
    /// Nine objects of other owners stand in the way.
    #[error("every name for a BackupSession of BackupConfiguration {configuration} is taken by others; remove {example}")]
    NamesTaken {
        /// Namespace and name.
        configuration: String,
        /// One of them.
        example: String,
    },
}

impl ReconcileError for CreateError {
    fn category(&self) -> &'static str {
        match self {
            Self::Apply(error) => error.category(),
            Self::List { source, .. } => error::category(source),
            Self::NamesTaken { .. } => "names_taken",
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Apply(error) => error.is_retryable(),
            Self::List { source, .. } => error::is_retryable(source),
            Self::NamesTaken { .. } => true,
        }
    }
}

/// What a BackupSession is created for.
pub struct Cause<'a> {
    /// The configuration.
    pub configuration: &'a BackupConfiguration,
    /// The session of it.
    pub session: &'a Session,
    /// Its name, a function of everything that tells this cause from others.
    pub name: Name,
    /// Retries that are left.
    pub retry_left: i32,
    /// One of `annotations::triggered_by`.
    pub triggered_by: &'static str,
    /// Further annotations.
    pub notes: BTreeMap<String, String>,
}

/// Retries that a fresh session has.
pub fn retries(session: &Session) -> i32 {
    session.retry_config.as_ref().map_or(0, |retry| retry.max_retry.unwrap_or(DEFAULT_RETRIES).max(0))
}

/// The BackupSession of this cause: the one that exists, or a new one.
///
/// # Errors
/// [`CreateError`]. The session may exist nevertheless; the next call finds it.
pub async fn ensure(context: &Context, cause: Cause<'_>) -> Result<Ensured<BackupSession>, CreateError> {
    let Cause { configuration, session, name, retry_left, triggered_by, mut notes } = cause;
    let api = context.api::<BackupSession>(&namespace(configuration));
    let selector = format!("{}={}", labels::INVOKER_NAME, label_value(&configuration.name_any()));
    let known = api
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(|source| CreateError::List { configuration: full_name(configuration), source: Box::new(source) })?;
    // Whichever of its names it was given, it keeps: a name that became free meanwhile must not make a second one.
    if let Some(object) = known.items.into_iter().find(|object| name.holder(&object.metadata) == Holder::Same) {
        return Ok(Ensured { object, created: false });
    }
    if let Some(traceparent) = trace_context::current_traceparent() {
        notes.insert(annotations::TRACEPARENT.to_owned(), traceparent);
    }
    for candidate in name.candidates() {
        let wanted = build::backup_session(&BackupSessionRequest {
            named: Named { name: &candidate, identity: &name },
            configuration,
            session,
            retry_left,
            triggered_by,
            annotations: notes.clone(),
        });
        match create_if_absent_matching(&api, &wanted, Match::Owner).await {
            Ok(ensured) => {
                if ensured.created {
                    report(context, configuration, session, &candidate, triggered_by).await;
                }
                return Ok(ensured);
            }
            Err(ApplyError::NotOurs { .. }) => {}
            Err(ApplyError::BeingDeleted { .. }) => return Ok(Ensured { object: wanted, created: false }),
            Err(error) => return Err(error.into()),
        }
    }
    Err(CreateError::NamesTaken { configuration: full_name(configuration), example: name.preferred() })
}

async fn report(
    context: &Context,
    configuration: &BackupConfiguration,
    session: &Session,
    name: &str,
    triggered_by: &'static str,
) {
    tracing::info!(
        backup_configuration = full_name(configuration),
        session = session_name(session),
        backup_session = name,
        triggered_by,
        "BackupSession created"
    );
    context.metrics.session_created(triggered_by);
    let note = format!("BackupSession {name} of session {} was created ({triggered_by}).", session_name(session));
    context.events.normal(configuration, "BackupSessionCreated", "CreateBackupSession", &note).await;
}
