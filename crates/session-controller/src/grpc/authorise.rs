//! Who calls, and whether the cluster's own rules let him.

use crd_types::names::CORE_GROUP;
use kube_kit::review::{Access, Caller, Reviewer};
use proto_api::audience;
use proto_api::status::{ApiError, ErrorCode};
use service_kit::auth::bearer_token;
use service_kit::deadline;
use tonic::Request;

use kube_kit::review::ReviewError;

/// The caller of a platform call, which must carry a deadline and a token for audience `orlop`.
pub async fn caller<T>(reviewer: &Reviewer, request: &Request<T>) -> Result<Caller, ApiError> {
    deadline::required(request.metadata())?;
    streaming_caller(reviewer, request).await
}

/// The caller of a stream, which may go on for as long as the session does.
pub async fn streaming_caller<T>(reviewer: &Reviewer, request: &Request<T>) -> Result<Caller, ApiError> {
    let token = bearer_token(request.metadata())?;
    reviewer.token(token, audience::PLATFORM).await.map_err(|error| match error {
        ReviewError::Unauthenticated { .. } => ApiError::unauthenticated(error.to_string())
            .with_remedy(format!("call with a ServiceAccount token made for audience '{}'", audience::PLATFORM)),
        _ => ApiError::unavailable(format!("the token cannot be reviewed now: {error}")),
    })
}

/// Passes if the caller may do this to the sessions of a kind; an empty namespace means all of them.
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
    require_access(reviewer, caller, &access).await
}

/// Passes if the caller may do this.
pub async fn require_access(reviewer: &Reviewer, caller: &Caller, access: &Access) -> Result<(), ApiError> {
    let verdict = reviewer
        .allowed(caller, access)
        .await
        .map_err(|error| ApiError::new(ErrorCode::Unavailable, format!("the caller's rights cannot be reviewed now: {error}")))?;
    if verdict.allowed {
        return Ok(());
    }
    let Access { verb, group, resource, namespace, name, .. } = access;
    let place = if namespace.is_empty() { "in all namespaces".to_owned() } else { format!("in namespace {namespace}") };
    let object = if name.is_empty() { String::new() } else { format!(" {name}") };
    Err(ApiError::permission_denied(format!("{} may not {verb} {resource}.{group}{object} {place}", caller.username))
        .with_remedy("bind a role with that verb to the ServiceAccount"))
}
