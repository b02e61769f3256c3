//! Reading what a request names.

use crd_types::BackupConfiguration;
use k8s_openapi::api::batch::v1::CronJob;
use kube::ResourceExt as _;
use kube_kit::error::{TimedOut, within};
use planner::names::{self, Holder};
use proto_api::{common::v1alpha1::ObjectRef, status::ApiError};

use crate::{
    context::Context,
    limits::API_TIMEOUT,
    references::{namespace, owner},
};

/// A call that the API server did not answer in time, or refused.
pub fn unavailable(error: &kube::Error) -> ApiError {
    ApiError::unavailable(format!("the API server did not answer: {error}"))
}

/// A call that took too long.
pub fn timed_out(error: &TimedOut) -> ApiError {
    ApiError::unavailable(error.to_string())
}

/// The BackupConfiguration that a request names. One with another UID than asked for is another object.
pub async fn configuration(context: &Context, reference: Option<ObjectRef>) -> Result<BackupConfiguration, ApiError> {
    let reference = reference.unwrap_or_default();
    if reference.namespace.is_empty() || reference.name.is_empty() {
        return Err(ApiError::invalid_argument("the BackupConfiguration's namespace or name is missing"));
    }
    let absent = || ApiError::not_found(format!("BackupConfiguration {}/{} does not exist", reference.namespace, reference.name));
    let api = context.api::<BackupConfiguration>(&reference.namespace);
    let found = within("the API server", API_TIMEOUT, api.get_opt(&reference.name))
        .await
        .map_err(|error| timed_out(&error))?
        .map_err(|error| unavailable(&error))?
        .ok_or_else(absent)?;
    let is_meant = reference.uid.is_empty() || found.metadata.uid.as_deref() == Some(reference.uid.as_str());
    if is_meant { Ok(found) } else { Err(absent()) }
}

/// The CronJob that triggers a session, if it was made already.
pub async fn cron_job(
    context: &Context,
    configuration: &BackupConfiguration,
    session: &str,
) -> Result<Option<CronJob>, ApiError> {
    let name = names::trigger_cron_job(&owner(configuration), session);
    let api = context.api::<CronJob>(&namespace(configuration));
    for candidate in name.candidates() {
        let found = within("the API server", API_TIMEOUT, api.get_opt(&candidate))
            .await
            .map_err(|error| timed_out(&error))?
            .map_err(|error| unavailable(&error))?;
        match found {
            Some(found) if name.holder(&found.metadata) == Holder::Same => return Ok(Some(found)),
            Some(_) => {}
            // A better name is free, so no worse one is in use.
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// How a request's object is named in an answer.
pub fn reference(configuration: &BackupConfiguration) -> ObjectRef {
    ObjectRef::named("BackupConfiguration", namespace(configuration), configuration.name_any())
        .with_uid(configuration.uid().unwrap_or_default())
}
