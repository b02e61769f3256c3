//! List and Preview.

use crd_types::{BackupConfiguration, RestoreSession, Session};
use jiff::Timestamp;
use kube::{Api, api::ListParams, core::DeserializeGuard};
use kube_kit::{error::within, review::Caller};
use planner::schedule::{CronSchedule, parse_time_zone};
use proto_api::{
    schedule::v1alpha1::{ListRequest, ListResponse, PreviewRequest, PreviewResponse, Schedule},
    status::ApiError,
    time::{from_proto, to_proto},
};

use super::{authorise, read};
use crate::{
    context::Context,
    cron_job,
    limits::API_TIMEOUT,
    references::{namespace, session_name},
    suspension,
};

/// Items of a page when the caller does not say.
const USUAL_PAGE: usize = 100;
/// Most items of a page.
const LONGEST_PAGE: usize = 1000;
/// Runs of a preview when the caller does not say.
const USUAL_PREVIEW: usize = 5;
/// Most runs of a preview.
const LONGEST_PREVIEW: usize = 100;

/// Sessions with their schedules, as far as the caller may list BackupConfigurations.
pub async fn list(context: &Context, caller: &Caller, request: &ListRequest) -> Result<ListResponse, ApiError> {
    authorise::require(&context.reviewer, caller, "list", "backupconfigurations", &request.namespace, "").await?;
    let mut configurations: Vec<BackupConfiguration> = listed(context, &request.namespace).await?;
    configurations.sort_by_key(|configuration| (configuration.metadata.namespace.clone(), configuration.metadata.name.clone()));
    let rows: Vec<(&BackupConfiguration, &Session)> = configurations
        .iter()
        .flat_map(|configuration| {
            let mut sessions: Vec<&Session> = configuration.spec.sessions.iter().collect();
            sessions.sort_by_key(|session| session.name.clone());
            sessions.into_iter().map(move |session| (configuration, session))
        })
        .collect();
    let page = request.page.clone().unwrap_or_default();
    let size = match usize::try_from(page.page_size) {
        Ok(0) => USUAL_PAGE,
        Ok(size) => size.min(LONGEST_PAGE),
        Err(_) => return Err(ApiError::invalid_argument("page_size is negative")),
    };
    let start = match page.page_token.as_str() {
        "" => 0,
        token => token.parse::<usize>().map_err(|_| ApiError::invalid_argument("page_token is not one of ours"))?,
    };
    let end = start.saturating_add(size).min(rows.len());
    let restores: Vec<RestoreSession> = listed(context, &request.namespace).await?;
    let mut schedules = Vec::new();
    for (configuration, session) in rows.get(start..end).unwrap_or_default() {
        schedules.push(schedule(context, configuration, session, &restores).await?);
    }
    Ok(ListResponse { schedules, next_page_token: if end < rows.len() { end.to_string() } else { String::new() } })
}

/// What parses of a kind, in one namespace or in all.
async fn listed<K>(context: &Context, namespace: &str) -> Result<Vec<K>, ApiError>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let client = context.client.clone();
    let api: Api<DeserializeGuard<K>> = if namespace.is_empty() { Api::all(client) } else { Api::namespaced(client, namespace) };
    let found = within("the API server", API_TIMEOUT, api.list(&ListParams::default()))
        .await
        .map_err(|error| read::timed_out(&error))?
        .map_err(|error| read::unavailable(&error))?;
    Ok(found.items.into_iter().filter_map(|guard| guard.0.ok()).collect())
}

async fn schedule(
    context: &Context,
    configuration: &BackupConfiguration,
    session: &Session,
    restores: &[RestoreSession],
) -> Result<Schedule, ApiError> {
    let here = namespace(configuration);
    let near: Vec<RestoreSession> = restores.iter().filter(|restore| namespace(*restore) == here).cloned().collect();
    let suspended = suspension::cause(configuration, session, &near);
    let written = session.scheduler.as_ref().map(|scheduler| scheduler.schedule.clone()).unwrap_or_default();
    let next = match (&suspended, CronSchedule::parse(&written)) {
        (None, Ok(schedule)) => schedule.next_after(context.now(), &context.settings.zone),
        _ => None,
    };
    let trigger = read::cron_job(context, configuration, session_name(session)).await?;
    Ok(Schedule {
        backup_configuration: Some(read::reference(configuration)),
        session: session_name(session).to_owned(),
        schedule: written,
        time_zone: context.settings.time_zone.clone(),
        suspended_because: suspended.unwrap_or_default(),
        next_run: next.map(to_proto),
        last_slot: trigger.as_ref().and_then(cron_job::served).map(to_proto),
    })
}

/// The next runs of an expression, as Kubernetes would have them.
pub fn preview(request: &PreviewRequest, now: Timestamp) -> Result<PreviewResponse, ApiError> {
    let refuse = |error: planner::schedule::ScheduleError| ApiError::invalid_argument(error.to_string());
    let schedule = CronSchedule::parse(&request.schedule).map_err(refuse)?;
    let zone = if request.time_zone.is_empty() { "Etc/UTC" } else { &request.time_zone };
    let zone = parse_time_zone(zone).map_err(refuse)?;
    let count = match usize::try_from(request.count) {
        Ok(0) => USUAL_PREVIEW,
        Ok(count) => count.min(LONGEST_PREVIEW),
        Err(_) => return Err(ApiError::invalid_argument("count is negative")),
    };
    let after = match &request.after {
        None => now,
        Some(after) => from_proto(after).ok_or_else(|| ApiError::invalid_argument("after is not a time"))?,
    };
    Ok(PreviewResponse { runs: schedule.upcoming(after, &zone, count).into_iter().map(to_proto).collect() })
}
