//! What a failed call to the API server means: whether trying again can help, and a bounded name for metrics.

use std::time::Duration;

use kube::Error as KubeError;

/// An error of a reconcile: says how it is counted and whether the same call may succeed later.
pub trait ReconcileError: std::error::Error + Send + Sync + 'static {
    /// A short name from a fixed set, used as a metric label. Never holds names of objects.
    fn category(&self) -> &'static str;

    /// Whether time alone may cure it. An error that is not retryable waits for a change of the object.
    fn is_retryable(&self) -> bool;
}

impl ReconcileError for KubeError {
    fn category(&self) -> &'static str {
        category(self)
    }

    fn is_retryable(&self) -> bool {
        is_retryable(self)
    }
}

/// The object (or the kind itself) is not there.
#[must_use]
pub fn is_not_found(error: &KubeError) -> bool {
    matches!(error, KubeError::Api(status) if status.code == 404)
}

/// A create met an object of the same name.
#[must_use]
pub fn is_already_exists(error: &KubeError) -> bool {
    matches!(error, KubeError::Api(status) if status.is_already_exists())
}

/// A precondition (resourceVersion or UID) did not hold: read again before writing.
#[must_use]
pub fn is_conflict(error: &KubeError) -> bool {
    matches!(error, KubeError::Api(status) if status.code == 409 && !status.is_already_exists())
}

/// RBAC, quota or an admission policy refused.
#[must_use]
pub fn is_forbidden(error: &KubeError) -> bool {
    matches!(error, KubeError::Api(status) if status.code == 403)
}

/// The object breaks its schema or an admission rule: the same object will be refused again.
#[must_use]
pub fn is_invalid(error: &KubeError) -> bool {
    matches!(error, KubeError::Api(status) if status.code == 422 || status.code == 400)
}

/// Whether the same call may succeed later without anybody changing the request.
///
/// Refusals by RBAC or quota count as retryable, because an administrator repairs them without touching our object.
#[must_use]
pub fn is_retryable(error: &KubeError) -> bool {
    match error {
        KubeError::Api(status) => !matches!(status.code, 400 | 405 | 413 | 415 | 422),
        KubeError::SerdeError(_) | KubeError::BuildRequest(_) | KubeError::FromUtf8(_) => false,
        _ => true,
    }
}

/// A bounded name of what went wrong.
#[must_use]
pub fn category(error: &KubeError) -> &'static str {
    match error {
        KubeError::Api(status) => match status.code {
            400 | 422 => "invalid",
            401 => "unauthenticated",
            403 => "forbidden",
            404 => "not_found",
            409 if status.is_already_exists() => "already_exists",
            409 => "conflict",
            410 => "gone",
            413 => "too_large",
            429 => "throttled",
            504 => "api_timeout",
            500..=599 => "api_server",
            _ => "api_other",
        },
        KubeError::SerdeError(_) => "malformed",
        KubeError::Auth(_) => "unauthenticated",
        KubeError::HyperError(_) | KubeError::Service(_) => "unreachable",
        _ => "client",
    }
}

/// A call that did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("{what} did not answer within {} s", limit.as_secs())]
pub struct TimedOut {
    /// What was called, in words.
    pub what: &'static str,
    /// How long was waited.
    pub limit: Duration,
}

/// Runs `call` for at most `limit`.
///
/// kube answers 429 and 503 by retrying for minutes, so every call outside of a reconcile (which has its own limit)
/// goes through here.
///
/// # Errors
/// [`TimedOut`] when the limit passes; the call is dropped, its effect on the server is then unknown.
pub async fn within<T>(what: &'static str, limit: Duration, call: impl Future<Output = T>) -> Result<T, TimedOut> {
    tokio::time::timeout(limit, call).await.map_err(|_| TimedOut { what, limit })
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn api_error(code: u16, reason: &str) -> KubeError {
        KubeError::Api(Box::new(Status::failure("no", reason).with_code(code)))
    }

    /// reliability B3: a conflict is read again, an invalid object is not sent for ever.
    #[test]
    fn conflict_and_existing_are_told_apart() {
        let conflict = api_error(409, "Conflict");
        let exists = api_error(409, "AlreadyExists");
        assert!(is_conflict(&conflict) && !is_already_exists(&conflict));
        assert!(is_already_exists(&exists) && !is_conflict(&exists));
        assert_eq!(category(&exists), "already_exists");
    }

    #[test]
    fn refused_shape_is_final_and_everything_else_may_pass() {
        assert!(!is_retryable(&api_error(422, "Invalid")));
        for code in [401, 403, 404, 409, 410, 429, 500, 503, 504] {
            assert!(is_retryable(&api_error(code, "")), "{code}");
        }
    }
}
