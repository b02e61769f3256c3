//! Reading sessions for callers.

use crd_types::{BackupSession, RestoreSession, Snapshot, labels};
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use kube_kit::error;
use proto_api::common::v1alpha1::{ObjectRef, PageRequest};
use proto_api::session::v1alpha1 as pb;
use proto_api::status::ApiError;
use serde::de::DeserializeOwned;

use super::convert::{self, BACKUP_SESSION, RESTORE_SESSION};

/// Items of a page when the caller does not say.
const USUAL_PAGE: usize = 100;
/// Most items of a page.
const LONGEST_PAGE: usize = 1000;

/// Plural of a session's kind, in paths and rules.
pub fn resource(kind: &str) -> Result<&'static str, ApiError> {
    match kind {
        BACKUP_SESSION => Ok("backupsessions"),
        RESTORE_SESSION => Ok("restoresessions"),
        other => Err(ApiError::invalid_argument(format!("kind '{other}' is not a session's"))
            .with_remedy(format!("name {BACKUP_SESSION} or {RESTORE_SESSION}"))),
    }
}

/// The session that a request names; both names must be there.
pub fn named(session: Option<ObjectRef>) -> Result<ObjectRef, ApiError> {
    let session = session.unwrap_or_default();
    if session.namespace.is_empty() || session.name.is_empty() {
        return Err(ApiError::invalid_argument("the session's namespace or name is missing"));
    }
    Ok(session)
}

/// One session as it stands.
pub async fn session(client: &Client, reference: &ObjectRef) -> Result<pb::Session, ApiError> {
    match reference.kind.as_str() {
        RESTORE_SESSION => Ok(convert::restore(&get::<RestoreSession>(client, reference).await?)),
        _ => {
            let session = get::<BackupSession>(client, reference).await?;
            let snapshots = snapshots(client, &session).await?;
            Ok(convert::backup(&session, &snapshots))
        }
    }
}

/// An object by name. One with another UID than asked for is another object.
pub async fn get<K>(client: &Client, reference: &ObjectRef) -> Result<K, ApiError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), &reference.namespace);
    let absent = || ApiError::not_found(format!("{} {}/{} does not exist", K::kind(&()), reference.namespace, reference.name));
    let object = api.get(&reference.name).await.map_err(|cause| {
        if error::is_not_found(&cause) {
            absent()
        } else {
            ApiError::unavailable(format!("the API server did not answer: {cause}"))
        }
    })?;
    if !reference.uid.is_empty() && object.meta().uid.as_deref() != Some(reference.uid.as_str()) {
        return Err(absent());
    }
    Ok(object)
}

/// The Snapshots that a BackupSession made.
pub async fn snapshots(client: &Client, session: &BackupSession) -> Result<Vec<Snapshot>, ApiError> {
    let names = session.status.iter().flat_map(|status| &status.snapshots).filter_map(|entry| entry.name.clone());
    let namespace = session.metadata.namespace.clone().unwrap_or_default();
    let mut found = Vec::new();
    for name in names {
        let reference = ObjectRef { kind: "Snapshot".into(), namespace: namespace.clone(), name, uid: String::new() };
        // A Snapshot that retention has removed meanwhile is no reason to refuse the rest.
        found.extend(get::<Snapshot>(client, &reference).await.ok());
    }
    Ok(found)
}

/// Sessions that a list request picks, newest first.
pub async fn list(client: &Client, request: &pb::ListRequest) -> Result<Vec<pb::Session>, ApiError> {
    let mut sessions = Vec::new();
    if request.kind != RESTORE_SESSION {
        let mut parameters = ListParams::default();
        if !request.backup_configuration.is_empty() {
            parameters = parameters.labels(&format!("{}={}", labels::INVOKER_NAME, request.backup_configuration));
        }
        let found: Vec<BackupSession> = all(client, &request.namespace, &parameters).await?;
        sessions.extend(found.iter().map(|session| convert::backup(session, &[])));
    }
    if request.kind != BACKUP_SESSION && request.backup_configuration.is_empty() {
        let found: Vec<RestoreSession> = all(client, &request.namespace, &ListParams::default()).await?;
        sessions.extend(found.iter().map(convert::restore));
    }
    let key = |session: &pb::Session| {
        let reference = session.session.clone().unwrap_or_default();
        (std::cmp::Reverse(session.created.map(|time| (time.seconds, time.nanos))), reference.namespace, reference.name)
    };
    sessions.sort_by_key(key);
    Ok(sessions)
}

async fn all<K>(client: &Client, namespace: &str, parameters: &ListParams) -> Result<Vec<K>, ApiError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = if namespace.is_empty() { Api::all(client.clone()) } else { Api::namespaced(client.clone(), namespace) };
    let found =
        api.list(parameters).await.map_err(|cause| ApiError::unavailable(format!("the API server did not answer: {cause}")))?;
    Ok(found.items)
}

/// One page of a sorted list. The token is the position of the next item; it is opaque to callers.
pub fn page<T>(items: Vec<T>, request: Option<&PageRequest>) -> Result<(Vec<T>, String), ApiError> {
    let request = request.cloned().unwrap_or_default();
    let size = match usize::try_from(request.page_size) {
        Ok(0) => USUAL_PAGE,
        Ok(size) => size.min(LONGEST_PAGE),
        Err(_) => return Err(ApiError::invalid_argument("page_size is negative")),
    };
    let start = match request.page_token.as_str() {
        "" => 0,
        token => token.parse::<usize>().map_err(|_| ApiError::invalid_argument("page_token is not one of ours"))?,
    };
    let end = start.saturating_add(size).min(items.len());
    let next = if end < items.len() { end.to_string() } else { String::new() };
    Ok((items.into_iter().skip(start).take(size).collect(), next))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn request(page_size: i32, page_token: &str) -> PageRequest {
        PageRequest { page_size, page_token: page_token.into() }
    }

    /// Every item comes exactly once, whatever the size of a page.
    #[test]
    fn pages_cover_the_list() {
        for size in [1, 3, 7, 10, 2000] {
            let (mut seen, mut token) = (Vec::new(), String::new());
            loop {
                let (items, next) = page((0..10).collect(), Some(&request(size, &token))).unwrap();
                seen.extend(items);
                if next.is_empty() {
                    break;
                }
                token = next;
            }
            assert_eq!(seen, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn odd_requests_are_refused() {
        assert!(page(vec![1], Some(&request(-1, ""))).is_err());
        assert!(page(vec![1], Some(&request(1, "x"))).is_err());
        assert_eq!(page(vec![1], Some(&request(1, "7"))).unwrap(), (vec![], String::new()));
        assert!(resource("Pod").is_err());
    }
}
