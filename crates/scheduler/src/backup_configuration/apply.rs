//! Fourth room: makes Repositories and CronJobs what they should be.

use crd_types::{BackupConfiguration, Repository, RepositoryPhase, RepositoryReadiness, annotations, labels, names::manager};
use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::CronJob, networking::v1::NetworkPolicy};
use kube::{ResourceExt as _, api::ListParams};
use kube_kit::{
    apply::{ApplyError, Deletion, apply, patch_spec},
    error::ReconcileError as _,
    owners::controller_of,
};
use planner::{
    build::{self, RepositoryRequest, Token, trigger},
    names::{self, Holder, Name, label_value},
};
use proto_api::{audience, environment};
use serde_json::json;

use super::validate::{Checked, CheckedRepository, CheckedSession};
use crate::{
    context::Context,
    cron_job,
    references::{namespace, owner, session_name},
};

/// A trigger pod that cannot run ends after this; the watchdog has served its slot long before. Without it such pods
/// would pile up, one for each slot.
const TRIGGER_DEADLINE_SECONDS: i64 = 300;

/// How a session's CronJob fared.
#[derive(Debug)]
pub struct SessionOutcome {
    /// Name of the session.
    pub session: String,
    /// The cause if it could not be ensured.
    pub failure: Option<String>,
    /// The next slot, unless slots do not run.
    pub next: Option<Timestamp>,
    /// Why slots do not run now.
    pub suspended: Option<String>,
}

/// What was made, and what could not be.
#[derive(Debug, Default)]
pub struct Applied {
    /// State of each Repository.
    pub repositories: Vec<RepositoryReadiness>,
    /// State of each session.
    pub sessions: Vec<SessionOutcome>,
    /// The first failure: it is said in the status, and tried again.
    pub failure: Option<ApplyError>,
}

impl Applied {
    fn failed(&mut self, error: ApplyError) -> String {
        let text = error.to_string();
        tracing::warn!(error = text, category = error.category(), "not everything could be applied");
        self.failure.get_or_insert(error);
        text
    }
}

/// Creates missing Repositories and keeps the fields that follow the configuration.
pub async fn ensure_repositories(
    context: &Context,
    configuration: &BackupConfiguration,
    checked: &Checked<'_>,
    existing: &[Repository],
    applied: &mut Applied,
) {
    for repository in &checked.repositories {
        let known =
            existing.iter().find(|known| known.name_any() == repository.name && namespace(*known) == namespace(configuration));
        let readiness = match ensure_repository(context, configuration, repository, known).await {
            Ok(current) => readiness(&current),
            Err(error) => RepositoryReadiness {
                name: Some(repository.name.to_owned()),
                phase: Some(RepositoryPhase::NotReady),
                reason: Some(applied.failed(error)),
                verification_configured: None,
            },
        };
        applied.repositories.push(readiness);
    }
}

async fn ensure_repository(
    context: &Context,
    configuration: &BackupConfiguration,
    repository: &CheckedRepository<'_>,
    known: Option<&Repository>,
) -> Result<Repository, ApplyError> {
    let mut wanted =
        build::repository(&RepositoryRequest { configuration, entry: repository.entry, storage: &repository.storage });
    if let Some(known) = known {
        // Immutable once written, whichever way it was spelled; validation has compared what it means.
        wanted.spec.path.clone_from(&known.spec.path);
        wanted.spec.app_ref.clone_from(&known.spec.app_ref);
        wanted.spec.paused = known.spec.paused;
        if known.spec == wanted.spec || known.metadata.deletion_timestamp.is_some() {
            return Ok(known.clone());
        }
    }
    apply(&context.api::<Repository>(&namespace(configuration)), manager::SCHEDULER, &wanted).await
}

fn readiness(repository: &Repository) -> RepositoryReadiness {
    let name = repository.name_any();
    let phase = repository.status.as_ref().and_then(|status| status.phase).unwrap_or(RepositoryPhase::NotReady);
    let initialised = crd_types::conditions::REPOSITORY_INITIALIZED;
    let conditions = repository.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let reason = match phase {
        RepositoryPhase::Ready => None,
        _ if repository.metadata.deletion_timestamp.is_some() => Some(format!("Repository {name} is being deleted")),
        _ => Some(
            kube_kit::conditions::find(conditions, initialised)
                .and_then(|condition| condition.message.clone())
                .unwrap_or_else(|| format!("Repository {name} is not initialised yet")),
        ),
    };
    RepositoryReadiness { name: Some(name), phase: Some(phase), reason, verification_configured: None }
}

/// Creates or updates the CronJob of every session, and their pods' leave to speak where the administrator wants one.
pub async fn ensure_cron_jobs(
    context: &Context,
    configuration: &BackupConfiguration,
    checked: &Checked<'_>,
    suspended: impl Fn(&CheckedSession<'_>) -> Option<String>,
    applied: &mut Applied,
) {
    let now = context.now();
    if let Err(error) = ensure_network_policy(context, configuration).await {
        applied.failed(error);
    }
    for session in &checked.sessions {
        let cause = suspended(session);
        let failure = match context.ca_bundle() {
            None => Some("the certificate authorities for trigger pods are not known yet".to_owned()),
            Some(bundle) => match ensure_cron_job(context, configuration, session, cause.is_some(), &bundle, now).await {
                Ok(()) => None,
                Err(error) => Some(applied.failed(error)),
            },
        };
        let next = match &cause {
            None => session.schedule.next_after(now, &context.settings.zone),
            Some(_) => None,
        };
        applied.sessions.push(SessionOutcome {
            session: session_name(session.session).to_owned(),
            failure,
            next,
            suspended: cause,
        });
    }
}

/// One policy for all trigger pods of the configuration, where the administrator wants it.
async fn ensure_network_policy(context: &Context, configuration: &BackupConfiguration) -> Result<(), ApplyError> {
    if context.settings.network_policy {
        let api = context.api::<NetworkPolicy>(&namespace(configuration));
        apply(&api, manager::SCHEDULER, &build::trigger_network_policy(configuration)).await?;
    }
    Ok(())
}

async fn ensure_cron_job(
    context: &Context,
    configuration: &BackupConfiguration,
    session: &CheckedSession<'_>,
    suspend: bool,
    ca_bundle: &str,
    now: Timestamp,
) -> Result<(), ApplyError> {
    let here = namespace(configuration);
    let api = context.api::<CronJob>(&here);
    let identity = names::trigger_cron_job(&owner(configuration), session_name(session.session));
    let (name, existing) = find_name(context, &here, &identity).await?;
    let mut scheduler = session.scheduler.clone();
    scheduler.job_template.active_deadline_seconds.get_or_insert(TRIGGER_DEADLINE_SECONDS);
    let settings = &context.settings;
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut wanted = trigger::cron_job(&trigger::CronJobRequest {
        name: &name,
        tuple_digest: identity.tuple_digest(),
        configuration,
        session: session.session,
        scheduler: &scheduler,
        suspend,
        time_zone: &settings.time_zone,
        image: &settings.image,
        args: &["trigger".to_owned()],
        environment: &[
            text(environment::SCHEDULE_SERVICE, &settings.address),
            text(environment::SCHEDULE_SERVER_NAME, &settings.server_name),
            text(environment::SCHEDULE_TOKEN_FILE, environment::SCHEDULE_TOKEN_PATH),
            text(environment::CA_BUNDLE, ca_bundle),
            text(environment::BACKUP_CONFIGURATION_NAMESPACE, &here),
            text(environment::BACKUP_CONFIGURATION, &configuration.name_any()),
            text(environment::SESSION, session_name(session.session)),
        ],
        fields: &[
            (environment::POD_NAME, "metadata.name"),
            (environment::POD_UID, "metadata.uid"),
            (environment::NODE_NAME, "spec.nodeName"),
        ],
        tokens: &[Token {
            volume: "orlop-schedule-token",
            audience: audience::SCHEDULE.to_owned(),
            path: environment::SCHEDULE_TOKEN_PATH.to_owned(),
        }],
        manners: &settings.manners,
        service_account: &settings.service_account,
    });
    if let Some(settled) = existing.as_ref().and_then(|existing| settled(existing, &wanted, now)) {
        wanted.annotations_mut().insert(annotations::SETTLED_SLOT.to_owned(), settled.to_string());
    }
    apply(&api, manager::SCHEDULER, &wanted).await.map(drop)
}

/// From when slots count. Kubernetes runs the latest slot of a suspension, or of a new schedule, at once when a CronJob
/// is resumed or changed; we do not (architecture §3).
fn settled(existing: &CronJob, wanted: &CronJob, now: Timestamp) -> Option<Timestamp> {
    let known = cron_job::time(existing, annotations::SETTLED_SLOT);
    let (Some(before), Some(after)) = (&existing.spec, &wanted.spec) else { return known };
    let resumed = before.suspend == Some(true) && after.suspend != Some(true);
    let changed = before.schedule != after.schedule || before.time_zone != after.time_zone;
    if resumed || changed { Some(now) } else { known }
}

/// The CronJob's name: the one it has, or the first that nobody has.
async fn find_name(context: &Context, namespace: &str, identity: &Name) -> Result<(String, Option<CronJob>), ApplyError> {
    let api = context.api::<CronJob>(namespace);
    let mut free = None;
    for candidate in identity.candidates() {
        let found = api.get_opt(&candidate).await.map_err(|source| ApplyError::Api {
            action: "get",
            kind: "CronJob".to_owned(),
            namespace: namespace.to_owned(),
            name: candidate.clone(),
            source: Box::new(source),
        })?;
        match found {
            Some(found) if identity.holder(&found.metadata) == Holder::Same => return Ok((candidate, Some(found))),
            Some(_) => {}
            None => free = free.or(Some(candidate)),
        }
    }
    free.map(|name| (name, None)).ok_or_else(|| ApplyError::NotOurs {
        kind: "CronJob".to_owned(),
        namespace: namespace.to_owned(),
        name: identity.preferred(),
        difference: "every name for it is taken by others".to_owned(),
    })
}

/// The CronJobs of this configuration, whichever session they are for.
///
/// # Errors
/// [`ApplyError::Api`].
pub async fn own_cron_jobs(context: &Context, configuration: &BackupConfiguration) -> Result<Vec<CronJob>, ApplyError> {
    let here = namespace(configuration);
    let selector = format!(
        "{}={},{}={}",
        labels::COMPONENT,
        labels::component::TRIGGER,
        labels::INVOKER_NAME,
        label_value(&configuration.name_any())
    );
    let listed = context.api::<CronJob>(&here).list(&ListParams::default().labels(&selector)).await;
    let listed = listed.map_err(|source| ApplyError::Api {
        action: "list",
        kind: "CronJob".to_owned(),
        namespace: here,
        name: String::new(),
        source: Box::new(source),
    })?;
    let is_ours = |cron_job: &CronJob| {
        controller_of(cron_job).is_some_and(|owner| Some(owner.uid.as_str()) == configuration.metadata.uid.as_deref())
    };
    Ok(listed.items.into_iter().filter(is_ours).collect())
}

/// Removes the CronJobs of sessions that the configuration no longer has (specification §2.3 step 11).
///
/// # Errors
/// [`ApplyError`].
pub async fn remove_stale(context: &Context, configuration: &BackupConfiguration) -> Result<(), ApplyError> {
    let myself = owner(configuration);
    let wanted: Vec<Name> =
        configuration.spec.sessions.iter().map(|session| names::trigger_cron_job(&myself, session_name(session))).collect();
    for cron_job in own_cron_jobs(context, configuration).await? {
        if wanted.iter().all(|name| name.holder(&cron_job.metadata) != Holder::Same) {
            tracing::info!(cron_job = cron_job.name_any(), "session is gone from the spec: its CronJob is removed");
            Deletion::background().run(&context.api(&namespace(configuration)), &cron_job).await?;
        }
    }
    Ok(())
}

/// Holds every slot of a configuration that cannot work as it is written.
///
/// # Errors
/// [`ApplyError`].
pub async fn suspend_all(context: &Context, configuration: &BackupConfiguration) -> Result<(), ApplyError> {
    let api = context.api::<CronJob>(&namespace(configuration));
    for cron_job in own_cron_jobs(context, configuration).await? {
        if cron_job.spec.as_ref().is_some_and(|spec| spec.suspend != Some(true)) {
            patch_spec(&api, manager::SCHEDULER, &cron_job, &json!({ "suspend": true })).await?;
        }
    }
    Ok(())
}
