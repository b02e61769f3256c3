//! Pause and Resume: what `kubectl patch` of `spec.paused` would do, for those who may do it.

use crd_types::names::manager;
use kube_kit::{
    apply::{ApplyError, patch_spec},
    error::within,
    review::Caller,
};
use proto_api::{
    common::v1alpha1::ObjectRef,
    status::{ApiError, ErrorCode},
};
use serde_json::json;

use super::{authorise, read};
use crate::{
    context::Context,
    limits::API_TIMEOUT,
    references::{full_name, namespace},
};

/// Sets `spec.paused`; setting what is set already changes nothing.
pub async fn set(context: &Context, caller: &Caller, reference: Option<ObjectRef>, paused: bool) -> Result<(), ApiError> {
    let asked = reference.clone().unwrap_or_default();
    authorise::require(&context.reviewer, caller, "patch", "backupconfigurations", &asked.namespace, &asked.name).await?;
    let configuration = read::configuration(context, reference).await?;
    if configuration.spec.paused.unwrap_or(false) == paused {
        return Ok(());
    }
    let api = context.api(&namespace(&configuration));
    let spec = json!({ "paused": paused });
    within("the API server", API_TIMEOUT, patch_spec(&api, manager::SCHEDULER, &configuration, &spec))
        .await
        .map_err(|error| read::timed_out(&error))?
        .map_err(|error: ApplyError| {
            if error.is_conflict() {
                ApiError::new(ErrorCode::Aborted, format!("BackupConfiguration {} changed meanwhile", full_name(&configuration)))
                    .with_remedy("call again")
            } else {
                ApiError::unavailable(error.to_string())
            }
        })?;
    tracing::info!(backup_configuration = full_name(&configuration), paused, caller = caller.username, "spec.paused was set");
    Ok(())
}
