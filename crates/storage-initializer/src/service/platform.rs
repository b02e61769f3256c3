//! What platform tooling may ask: never more than Kubernetes would let the caller see or cause (architecture §6).

use std::collections::BTreeMap;

use crd_types::{BackupStorage, Repository, Snapshot, names::STORAGE_GROUP, size};
use kube::{Api, ResourceExt as _, api::ListParams};
use kube_kit::review::{Access, Caller};
use proto_api::{
    audience,
    common::v1alpha1::ObjectRef,
    status::{ApiError, ErrorCode},
    storage::v1alpha1::{
        Capability, ListRepositoriesRequest, ListRepositoriesResponse, ListSnapshotsRequest, ListSnapshotsResponse, ProbeRequest,
        ProbeResponse, RepositorySummary, SnapshotSummary,
    },
    time::to_proto,
};
use service_kit::{auth::bearer_token, deadline};
use storage::{CreateIfAbsent, ProbeReport};
use tonic::{Request, metadata::MetadataMap};

use super::{
    StorageApi,
    mover::review_failed,
    page::page,
    scope::{ask, fetch},
};
use crate::references;

/// Answers `Probe`. Needs what makes the controller probe: `update` on the BackupStorage.
pub(super) async fn probe(api: &StorageApi, request: &Request<ProbeRequest>) -> Result<ProbeResponse, ApiError> {
    let caller = recognise(api, request.metadata()).await?;
    let (namespace, name) = named(request.get_ref().backup_storage.as_ref(), "backup_storage")?;
    require(api, &caller, "update", "backupstorages", &namespace, &name).await?;
    let storage: BackupStorage = fetch(api, &namespace, &name).await?;
    let limit = deadline::required(request.metadata())?;
    let bucket = api.context.backends.open(&storage).await;
    let bucket = bucket.map_err(|error| ApiError::failed_precondition(error.to_string()))?;
    let probing = storage::probe_store(bucket.store(), bucket.place());
    let report = tokio::time::timeout(limit, probing)
        .await
        .map_err(|_| ApiError::new(ErrorCode::DeadlineExceeded, format!("{} did not answer in time", bucket.place())))?;
    Ok(answer(&report))
}

fn answer(report: &ProbeReport) -> ProbeResponse {
    let ProbeReport { list, write, read, delete, create_if_absent, versioned } = report;
    let trial = |name: &str, trial: Option<&Result<(), storage::Error>>| Capability {
        name: name.to_owned(),
        available: matches!(trial, Some(Ok(()))),
        detail: match trial {
            Some(Ok(())) => String::new(),
            Some(Err(error)) => error.to_string(),
            None => "not tried, because an earlier trial failed".to_owned(),
        },
    };
    let seen = |name: &str, available: bool, detail: &str| Capability {
        name: name.to_owned(),
        available,
        detail: if available { String::new() } else { detail.to_owned() },
    };
    let created = match create_if_absent {
        CreateIfAbsent::Honoured => "",
        CreateIfAbsent::Ignored => "the store overwrites instead of refusing",
        CreateIfAbsent::Unsupported => "the store does not know it",
        CreateIfAbsent::Unknown => "not tried",
    };
    let capabilities = vec![
        trial("list", Some(list)),
        trial("read", read.as_ref()),
        trial("write", write.as_ref()),
        trial("delete", delete.as_ref()),
        seen("create-if-absent", *create_if_absent == CreateIfAbsent::Honoured, created),
        seen("versioning", *versioned, "the store keeps no versions, or does not say so"),
    ];
    let obstacle = crate::backup_storage::obstacle(report);
    ProbeResponse { capabilities, usable: obstacle.is_none(), remedy: obstacle.unwrap_or_default() }
}

/// Answers `ListRepositories`: of the storage's Repositories those that the caller may list.
pub(super) async fn list_repositories(
    api: &StorageApi,
    request: &Request<ListRepositoriesRequest>,
) -> Result<ListRepositoriesResponse, ApiError> {
    let caller = recognise(api, request.metadata()).await?;
    let (namespace, name) = named(request.get_ref().backup_storage.as_ref(), "backup_storage")?;
    require(api, &caller, "get", "backupstorages", &namespace, &name).await?;
    let storage: BackupStorage = fetch(api, &namespace, &name).await?;
    let all: Api<Repository> = Api::all(api.context.client.clone());
    let listed = ask(all.list(&ListParams::default())).await?;

    let mut visible = BTreeMap::new();
    let mut items = Vec::new();
    for repository in listed.items.iter().filter(|repository| references::is_on(repository, &storage)) {
        let namespace = references::namespace(repository);
        let may_list = match visible.get(&namespace) {
            Some(known) => *known,
            None => {
                let access = access("list", "repositories", &namespace, "");
                let verdict = api.reviewer.allowed(&caller, &access).await.map_err(|error| review_failed(&error))?;
                visible.insert(namespace.clone(), verdict.allowed);
                verdict.allowed
            }
        };
        if may_list {
            items.push((references::display(repository), repository_summary(repository)));
        }
    }
    items.sort_by(|one, other| one.0.cmp(&other.0));
    let (repositories, next_page_token) = page(items, request.get_ref().page.as_ref())?;
    Ok(ListRepositoriesResponse { repositories, next_page_token })
}

/// Answers `ListSnapshots`.
pub(super) async fn list_snapshots(
    api: &StorageApi,
    request: &Request<ListSnapshotsRequest>,
) -> Result<ListSnapshotsResponse, ApiError> {
    let caller = recognise(api, request.metadata()).await?;
    let (namespace, name) = named(request.get_ref().repository.as_ref(), "repository")?;
    require(api, &caller, "get", "repositories", &namespace, &name).await?;
    require(api, &caller, "list", "snapshots", &namespace, "").await?;
    let repository: Repository = fetch(api, &namespace, &name).await?;
    let snapshots: Api<Snapshot> = Api::namespaced(api.context.client.clone(), &namespace);
    let listed = ask(snapshots.list(&ListParams::default())).await?;
    let mut items: Vec<(String, SnapshotSummary)> = listed
        .items
        .iter()
        .filter(|snapshot| references::is_in(snapshot, &repository))
        .map(|snapshot| (newest_first(snapshot), snapshot_summary(snapshot)))
        .collect();
    items.sort_by(|one, other| one.0.cmp(&other.0));
    let (snapshots, next_page_token) = page(items, request.get_ref().page.as_ref())?;
    Ok(ListSnapshotsResponse { snapshots, next_page_token })
}

/// A key that sorts newer Snapshots first.
fn newest_first(snapshot: &Snapshot) -> String {
    let second = crate::repository::taken(snapshot).map_or(0, |taken| taken.as_second().max(0));
    format!("{:020}/{}", i64::MAX - second, snapshot.name_any())
}

fn repository_summary(repository: &Repository) -> RepositorySummary {
    let status = repository.status.clone().unwrap_or_default();
    RepositorySummary {
        repository: Some(ObjectRef::of(repository)),
        path: repository.spec.path.clone().unwrap_or_default(),
        phase: status.phase.map(|phase| phase.to_string()).unwrap_or_default(),
        size_bytes: status.size.and_then(|text| size::parse(&text).ok()).unwrap_or_default(),
        snapshot_count: status.snapshot_count.unwrap_or_default(),
        last_backup_time: status.last_backup_time.map(|time| to_proto(time.0)),
    }
}

fn snapshot_summary(snapshot: &Snapshot) -> SnapshotSummary {
    let status = snapshot.status.clone().unwrap_or_default();
    SnapshotSummary {
        snapshot: Some(ObjectRef::of(snapshot)),
        session: snapshot.spec.session.clone().unwrap_or_default(),
        phase: status.phase.map(|phase| phase.to_string()).unwrap_or_default(),
        snapshot_time: status.snapshot_time.map(|time| to_proto(time.0)),
        components: status.components.into_keys().collect(),
    }
}

async fn recognise(api: &StorageApi, metadata: &MetadataMap) -> Result<Caller, ApiError> {
    deadline::required(metadata)?;
    api.reviewer.token(bearer_token(metadata)?, audience::PLATFORM).await.map_err(|error| review_failed(&error))
}

fn named(reference: Option<&ObjectRef>, field: &str) -> Result<(String, String), ApiError> {
    let reference = reference.filter(|reference| !reference.name.is_empty() && !reference.namespace.is_empty());
    let reference = reference.ok_or_else(|| ApiError::invalid_argument(format!("{field} needs a namespace and a name")))?;
    Ok((reference.namespace.clone(), reference.name.clone()))
}

fn access(verb: &'static str, resource: &'static str, namespace: &str, name: &str) -> Access {
    Access { verb, group: STORAGE_GROUP, resource, subresource: "", namespace: namespace.to_owned(), name: name.to_owned() }
}

async fn require(
    api: &StorageApi,
    caller: &Caller,
    verb: &'static str,
    resource: &'static str,
    namespace: &str,
    name: &str,
) -> Result<(), ApiError> {
    let wanted = access(verb, resource, namespace, name);
    let verdict = api.reviewer.allowed(caller, &wanted).await.map_err(|error| review_failed(&error))?;
    if verdict.allowed {
        return Ok(());
    }
    Err(ApiError::permission_denied(format!("{} may not {verb} {resource} {namespace}/{name}", caller.username))
        .with_remedy(format!("bind a role with the verb {verb} on {resource}.{STORAGE_GROUP}")))
}
