//! `RecordRepository`: the id of a restic repository that a mover has just made, on record before its first pack
//! (architecture §4.6).

use proto_api::{
    status::ApiError,
    storage::v1alpha1::{RecordRepositoryRequest, RecordRepositoryResponse},
};
use tonic::Request;

use super::{StorageApi, grant::authorise, scope, subject::Subject};
use crate::{
    references,
    repository_ids::{Ids, Records},
};

/// Digits of a restic repository's id.
const ID_DIGITS: usize = 64;

/// Answers `RecordRepository` with the id on record: the caller's, or that of another mover that was first.
///
/// # Errors
/// As `IssueAccess`; `InvalidArgument` for what is no id or a path outside of the grant.
pub(super) async fn record(
    api: &StorageApi,
    request: &Request<RecordRepositoryRequest>,
) -> Result<RecordRepositoryResponse, ApiError> {
    let RecordRepositoryRequest { subject, component_path, repository_id } = request.get_ref();
    let (mover, subject) = authorise(api, request.metadata(), subject.as_ref()).await?;
    if !matches!(subject, Subject::Backup { .. }) {
        return Err(ApiError::permission_denied("only a backup makes restic repositories"));
    }
    if !is_id(repository_id) {
        return Err(ApiError::invalid_argument("repository_id is not 64 hexadecimal digits"));
    }
    let scope = Box::pin(scope::of(api, &mover, &subject)).await?;
    if !scope.component_paths.iter().any(|path| path.to_string() == *component_path) {
        return Err(ApiError::invalid_argument(format!("component path {component_path} is not part of the grant")));
    }
    if let Some(known) = scope.ids.get(component_path) {
        return Ok(RecordRepositoryResponse { repository_id: known.clone() });
    }
    let shown = references::display(&scope.repository);
    if !scope.may_initialise(component_path) {
        return Err(ApiError::failed_precondition(format!(
            "Repository {shown} held a restic repository at {component_path} before; a new one there is not recorded"
        ))
        .with_remedy("restore the old one, or use another directory"));
    }
    let context = &api.context;
    let wanted = Ids::from([(component_path.clone(), repository_id.clone())]);
    let ids = Records::of(context.client.clone(), &context.namespace, &scope.repository)
        .add(&wanted)
        .await
        .map_err(|error| ApiError::unavailable(error.to_string()))?;
    let on_record = ids.get(component_path).cloned().unwrap_or_default();
    tracing::info!(repository = shown, component_path, repository_id = on_record, "restic repository recorded");
    Ok(RecordRepositoryResponse { repository_id: on_record })
}

fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::is_id;

    #[test]
    fn an_id_is_64_lowercase_hexadecimal_digits() {
        assert!(is_id(&"a0".repeat(32)));
        for wrong in ["", "a0", &"A0".repeat(32), &"g0".repeat(32), &"a0".repeat(33)] {
            assert!(!is_id(wrong), "{wrong}");
        }
    }
}
