//! Who calls, and whether the cluster's own rules let him: gRPC never grants more than kubectl would (architecture §6).

use crd_types::names::CORE_GROUP;
use kube_kit::review::{Access, Caller, ReviewError, Reviewer};
use proto_api::{audience, status::ApiError};
use service_kit::{auth::bearer_token, deadline};
use tonic::metadata::MetadataMap;

/// Who called Trigger.
pub enum TriggerCaller {
    /// A trigger pod, authorised by its owners.
    Pod(Caller),
    /// Platform tooling, authorised by its rights.
    Platform(Caller),
}

/// The caller of a platform call, which must carry a deadline and a token for audience `orlop`.
pub async fn caller(reviewer: &Reviewer, metadata: &MetadataMap) -> Result<Caller, ApiError> {
    deadline::required(metadata)?;
    reviewer.token(bearer_token(metadata)?, audience::PLATFORM).await.map_err(|error| refused(&error))
}

/// The caller of Trigger. The audience of his token tells which kind he is.
pub async fn trigger_caller(reviewer: &Reviewer, metadata: &MetadataMap) -> Result<TriggerCaller, ApiError> {
    let token = bearer_token(metadata)?;
    match reviewer.token(token, audience::SCHEDULE).await {
        Ok(caller) => Ok(TriggerCaller::Pod(caller)),
        Err(ReviewError::Unauthenticated { .. }) => caller(reviewer, metadata).await.map(TriggerCaller::Platform),
        Err(error) => Err(refused(&error)),
    }
}

fn refused(error: &ReviewError) -> ApiError {
    match error {
        ReviewError::Unauthenticated { .. } => ApiError::unauthenticated(error.to_string())
            .with_remedy(format!("call with a ServiceAccount token made for audience '{}'", audience::PLATFORM)),
        _ => ApiError::unavailable(format!("the token cannot be reviewed now: {error}")),
    }
}

/// Passes if the caller may do this in the core group; an empty namespace means all of them.
pub async fn require(
    reviewer: &Reviewer,
    caller: &Caller,
    verb: &'static str,
    resource: &'static str,
    namespace: &str,
    name: &str,
) -> Result<(), ApiError> {
    let access =
        Access { verb, group: CORE_GROUP, resource, subresource: "", namespace: namespace.to_owned(), name: name.to_owned() };
    let verdict = reviewer
        .allowed(caller, &access)
        .await
        .map_err(|error| ApiError::unavailable(format!("the caller's rights cannot be reviewed now: {error}")))?;
    if verdict.allowed {
        return Ok(());
    }
    let place = if namespace.is_empty() { "in all namespaces".to_owned() } else { format!("in namespace {namespace}") };
    let object = if name.is_empty() { String::new() } else { format!(" {name}") };
    Err(ApiError::permission_denied(format!("{} may not {verb} {resource}.{CORE_GROUP}{object} {place}", caller.username))
        .with_remedy("bind a role with that verb to the ServiceAccount"))
}
