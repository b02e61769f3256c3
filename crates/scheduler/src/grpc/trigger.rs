//! Trigger: a slot's pod, or platform tooling, asks for a session.

use std::collections::BTreeMap;

use crd_types::{BackupConfiguration, BackupSession, Session, annotations, annotations::triggered_by};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::ResourceExt as _;
use kube_kit::{
    apply::Ensured,
    error::{ReconcileError as _, within},
    finalize,
    owners::{self, OwnerError, controller_of},
    review::Caller,
};
use planner::{
    names,
    schedule::slots::{TriggerAnswer, accept_trigger},
};
use proto_api::{
    common::v1alpha1::ObjectRef,
    schedule::v1alpha1::{TriggerRequest, TriggerResponse},
    status::ApiError,
};

use super::{authorise, read};
use crate::{
    backup_configuration::dereference::restores,
    context::Context,
    cron_job,
    limits::{API_TIMEOUT, CLOCK_SKEW},
    references::{full_name, namespace, owner, session, session_name},
    sessions::{Cause, CreateError, ensure, retries},
    suspension,
    watchdog::session_of,
};

/// Most characters of an idempotency key.
const LONGEST_KEY: usize = 256;

/// A trigger pod's call: its owners say which slot of which session it stands for.
pub async fn by_pod(context: &Context, caller: &Caller, request: &TriggerRequest) -> Result<TriggerResponse, ApiError> {
    let denied =
        |message: String| ApiError::permission_denied(message).with_remedy("only pods of a session's CronJob may trigger it");
    let (Some((account_namespace, _)), Some(pod)) = (&caller.service_account, &caller.pod) else {
        return Err(denied(format!("the token of {} is not bound to a pod", caller.username)));
    };
    let client = &context.client;
    let chain = async {
        let pod = owners::running_pod(client, account_namespace, pod).await?;
        let job = owners::job_of_pod(client, &pod).await?;
        let cron_job = owners::cron_job_of_job(client, &job).await?;
        Ok::<_, OwnerError>((job, cron_job))
    };
    let (job, cron_job) =
        within("the API server", API_TIMEOUT, chain).await.map_err(|error| read::timed_out(&error))?.map_err(|error| {
            if error.is_retryable() { ApiError::unavailable(error.to_string()) } else { denied(error.to_string()) }
        })?;
    let configuration = configuration_of(context, &cron_job).await?;
    let session = session_of(&configuration, &cron_job).ok_or_else(|| {
        denied(format!(
            "CronJob {} is not the one of a session of BackupConfiguration {}",
            full_name(&cron_job),
            full_name(&configuration)
        ))
    })?;
    let asked = request.backup_configuration.clone().unwrap_or_default();
    let is_own = asked.namespace == namespace(&configuration)
        && asked.name == configuration.name_any()
        && request.session == session_name(session);
    if !is_own {
        return Err(denied(format!(
            "the pod belongs to session {} of BackupConfiguration {}, not to what it asks for",
            session_name(session),
            full_name(&configuration)
        )));
    }
    match slot(&job)? {
        Some(slot) => for_slot(context, &configuration, session, &cron_job, slot).await,
        None => manual(context, &configuration, session, &job).await,
    }
}

/// The live configuration that the CronJob belongs to.
async fn configuration_of(context: &Context, cron_job: &CronJob) -> Result<BackupConfiguration, ApiError> {
    let owner = controller_of(cron_job).filter(|owner| owner.kind == "BackupConfiguration").ok_or_else(|| {
        ApiError::permission_denied(format!("CronJob {} does not belong to a BackupConfiguration", full_name(cron_job)))
    })?;
    let reference = ObjectRef::named("BackupConfiguration", namespace(cron_job), &owner.name).with_uid(&owner.uid);
    let configuration = read::configuration(context, Some(reference)).await?;
    if finalize::is_deleting(&configuration) {
        return Err(ApiError::failed_precondition(format!("BackupConfiguration {} is being deleted", full_name(&configuration))));
    }
    Ok(configuration)
}

/// The slot that the CronJob controller wrote on its Job; none on a Job that a person made of the CronJob.
fn slot(job: &Job) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = job.annotations().get(annotations::CRON_JOB_SLOT) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        ApiError::invalid_argument(format!(
            "annotation {} of Job {} is not a time: {text}",
            annotations::CRON_JOB_SLOT,
            full_name(job)
        ))
    })
}

async fn for_slot(
    context: &Context,
    configuration: &BackupConfiguration,
    session: &Session,
    cron_job: &CronJob,
    slot: Timestamp,
) -> Result<TriggerResponse, ApiError> {
    let now = context.now();
    if now.checked_add(CLOCK_SKEW).is_ok_and(|latest| slot > latest) {
        return Err(ApiError::invalid_argument(format!("slot {slot} lies in the future; see the clock of the cluster's nodes")));
    }
    let restores =
        restores(context, &namespace(configuration)).await.map_err(|error| ApiError::unavailable(error.to_string()))?;
    let suspended = suspension::cause(configuration, session, &restores);
    let decision = accept_trigger(slot, cron_job::served(cron_job), cron_job::settled(cron_job), suspended.as_deref());
    if decision.action != TriggerAnswer::Create {
        tracing::info!(cron_job = full_name(cron_job), %slot, reason = decision.message(), "trigger makes no session");
        return Ok(TriggerResponse { backup_session: None, created: false, reason: decision.message() });
    }
    let cause = Cause {
        configuration,
        session,
        name: names::backup_session(&owner(configuration), session_name(session), slot.as_second()),
        retry_left: retries(session),
        triggered_by: triggered_by::CRON_JOB,
        notes: BTreeMap::from([(annotations::SLOT.to_owned(), slot.to_string())]),
    };
    let ensured = create(context, cause).await?;
    if ensured.created {
        context.metrics.slot_served(now.duration_since(slot));
    }
    // Not written down, the slot would still be found by its session's name for as long as that session exists.
    if let Err(error) = cron_job::record_served(context, cron_job, slot).await {
        tracing::warn!(cron_job = full_name(cron_job), %slot, %error, "served slot was not written down");
    }
    Ok(answer(&ensured))
}

/// A Job that a person made of the CronJob: its creation names the session.
async fn manual(
    context: &Context,
    configuration: &BackupConfiguration,
    session: &Session,
    job: &Job,
) -> Result<TriggerResponse, ApiError> {
    let created = job.metadata.creation_timestamp.as_ref().map_or_else(|| context.now(), |time| time.0);
    let cause = Cause {
        configuration,
        session,
        name: names::backup_session(&owner(configuration), session_name(session), created.as_second()),
        retry_left: retries(session),
        triggered_by: triggered_by::MANUAL,
        notes: BTreeMap::new(),
    };
    create(context, cause).await.map(|ensured| answer(&ensured))
}

/// Platform tooling's call. It needs the right to create BackupSessions in that namespace.
pub async fn by_platform(context: &Context, caller: &Caller, request: &TriggerRequest) -> Result<TriggerResponse, ApiError> {
    let asked = request.backup_configuration.clone().unwrap_or_default();
    authorise::require(&context.reviewer, caller, "create", "backupsessions", &asked.namespace, "").await?;
    let configuration = read::configuration(context, request.backup_configuration.clone()).await?;
    let session = session(&configuration, &request.session).ok_or_else(|| {
        ApiError::not_found(format!("BackupConfiguration {} has no session {:?}", full_name(&configuration), request.session))
            .with_remedy("name one of spec.sessions")
    })?;
    if request.idempotency_key.len() > LONGEST_KEY {
        return Err(ApiError::invalid_argument(format!("idempotency_key is longer than {LONGEST_KEY} characters")));
    }
    let owner = owner(&configuration);
    let name = match request.idempotency_key.as_str() {
        "" => names::backup_session(&owner, session_name(session), context.now().as_second()),
        key => names::keyed_session(&owner, session_name(session), key),
    };
    let cause = Cause {
        configuration: &configuration,
        session,
        name,
        // Whoever asks by hand sees the failure and asks again.
        retry_left: 0,
        triggered_by: triggered_by::MANUAL,
        notes: BTreeMap::new(),
    };
    create(context, cause).await.map(|ensured| answer(&ensured))
}

async fn create(context: &Context, cause: Cause<'_>) -> Result<Ensured<BackupSession>, ApiError> {
    let refused = |error: CreateError| {
        let message = error.to_string();
        if error.is_retryable() { ApiError::unavailable(message) } else { ApiError::failed_precondition(message) }
    };
    // Boxed: the objects it handles would make every caller's future large.
    within("the API server", API_TIMEOUT, Box::pin(ensure(context, cause)))
        .await
        .map_err(|error| read::timed_out(&error))?
        .map_err(refused)
}

fn answer(ensured: &Ensured<BackupSession>) -> TriggerResponse {
    let reason = if ensured.created { "" } else { "its BackupSession exists already" };
    TriggerResponse {
        backup_session: Some(
            ObjectRef::named("BackupSession", namespace(&ensured.object), ensured.object.name_any())
                .with_uid(ensured.object.uid().unwrap_or_default()),
        ),
        created: ensured.created,
        reason: reason.to_owned(),
    }
}
