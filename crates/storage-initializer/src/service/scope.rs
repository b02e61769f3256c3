//! What a subject entitles to: session, Repository, storage and password, each checked anew (architecture §7). A grant
//! never exceeds what the session's namespace is entitled to.

use std::fmt::Debug;

use crd_types::{
    BackupSession, BackupSessionPhase, BackupStorage, Repository, RestoreDataSource, RestorePhase, RestoreSession, Snapshot,
    names,
};
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt as _};
use kube_kit::{error::within, owners::controller_of, secrets};
use planner::{
    access::{self, Refusal, backup_password, restore_password, secret_use},
    layout::{ComponentPath, Directory, match_component},
    names::{Owner, snapshot as snapshot_name},
};
use proto_api::{status::ApiError, storage::v1alpha1::Verb};
use secrecy::SecretString;
use serde::de::DeserializeOwned;

use super::{StorageApi, mover::Mover, subject::Subject};
use crate::{
    args::SharedStorageKeys,
    limits::API_TIMEOUT,
    references,
    repository_ids::{Ids, Records},
};

/// Everything that a grant is made of.
pub(super) struct Scope {
    pub(super) repository: Repository,
    pub(super) storage: BackupStorage,
    pub(super) directory: Directory,
    pub(super) component_paths: Vec<ComponentPath>,
    pub(super) verbs: Vec<Verb>,
    pub(super) password: SecretString,
    /// Ids on record.
    pub(super) ids: Ids,
    /// Whether new restic repositories may be made at all: only backups do.
    pub(super) creates: bool,
}

impl Scope {
    /// Whether a restic repository may be created here: none was ever recorded, and none was ever seen (architecture
    /// §4.6).
    pub(super) fn may_initialise(&self, path: &str) -> bool {
        let status = self.repository.status.as_ref();
        let was_seen = status.is_some_and(|status| status.component_paths.iter().any(|known| known == path));
        self.creates && !was_seen && !self.ids.contains_key(path)
    }
}

/// Works out what the subject entitles to now.
///
/// # Errors
/// `NotFound`, `FailedPrecondition` and `PermissionDenied` name the object and the remedy; `Unavailable` when the API
/// server cannot be asked.
pub(super) async fn of(api: &StorageApi, mover: &Mover, subject: &Subject) -> Result<Scope, ApiError> {
    match subject {
        Subject::Backup { session, repository, component } => backup(api, mover, session, repository, component).await,
        Subject::Restore { session, snapshot, component } => Box::pin(restore(api, mover, session, snapshot, component)).await,
        Subject::Retention { session, repository, component_paths } => {
            retention(api, mover, session, repository, component_paths).await
        }
    }
}

async fn backup(api: &StorageApi, mover: &Mover, session: &str, repository: &str, component: &str) -> Result<Scope, ApiError> {
    let session = running_backup(api, mover, session).await?;
    let repository: Repository = fetch(api, &mover.namespace, repository).await?;
    let snapshot = snapshot_of(api, &repository, &session).await?;
    let session_name = snapshot.spec.session.as_deref().unwrap_or_default();
    let path = ComponentPath::of(session_name, component).map_err(|error| ApiError::invalid_argument(error.to_string()))?;
    let secret = backup_password(&subject_of("Repository", &repository), repository.spec.encryption_secret.as_ref());
    let verbs = vec![Verb::Read, Verb::Write, Verb::DeleteLocks];
    let wanted = Wanted { component_paths: vec![path], verbs, secret, creates: true };
    complete(api, mover, repository, wanted).await
}

async fn restore(
    api: &StorageApi,
    mover: &Mover,
    session: &str,
    (snapshot_namespace, snapshot): &(String, String),
    component: &str,
) -> Result<Scope, ApiError> {
    let session: RestoreSession = fetch_exactly(api, &mover.namespace, session, &mover.session.uid).await?;
    let is_complete = session.status.as_ref().and_then(|status| status.phase).is_some_and(RestorePhase::is_completed);
    refuse_complete(&session, is_complete)?;
    let source = session.spec.data_source.clone().unwrap_or_default();
    let snapshot: Snapshot = fetch(api, snapshot_namespace, snapshot).await?;
    if !is_source(&source, &mover.namespace, &snapshot) {
        return Err(ApiError::permission_denied(format!(
            "Snapshot {} is not what RestoreSession {} restores",
            references::display(&snapshot),
            references::display(&session)
        )));
    }
    let repository_name = snapshot.spec.repository.as_deref().unwrap_or_default();
    let repository: Repository = fetch(api, &references::namespace(&snapshot), repository_name).await?;
    let path = component_path(&snapshot, component)?;
    let secret = restore_password(
        &mover.namespace,
        source.encryption_secret.as_ref(),
        &subject_of("Repository", &repository),
        repository.spec.encryption_secret.as_ref(),
    );
    // Writing and deleting are for the lock that keeps a prune away while files are fetched.
    let verbs = vec![Verb::Read, Verb::Write, Verb::DeleteLocks];
    let wanted = Wanted { component_paths: vec![path], verbs, secret, creates: false };
    complete(api, mover, repository, wanted).await
}

async fn retention(
    api: &StorageApi,
    mover: &Mover,
    session: &str,
    repository: &str,
    component_paths: &[String],
) -> Result<Scope, ApiError> {
    let session = running_backup(api, mover, session).await?;
    let repository: Repository = fetch(api, &mover.namespace, repository).await?;
    let mut paths = Vec::new();
    for text in component_paths {
        let path = ComponentPath::parse(text).map_err(|error| ApiError::invalid_argument(error.to_string()))?;
        if session.spec.session.as_deref() != Some(path.session()) {
            return Err(ApiError::permission_denied(format!(
                "component path {text} is not one of session {}, whose retention this is",
                session.spec.session.as_deref().unwrap_or_default()
            )));
        }
        paths.push(path);
    }
    let secret = backup_password(&subject_of("Repository", &repository), repository.spec.encryption_secret.as_ref());
    let verbs = vec![Verb::Read, Verb::Write, Verb::DeleteLocks, Verb::DeleteData];
    complete(api, mover, repository, Wanted { component_paths: paths, verbs, secret, creates: false }).await
}

/// What is asked of a Repository.
struct Wanted {
    component_paths: Vec<ComponentPath>,
    verbs: Vec<Verb>,
    secret: Result<access::Subject, Refusal>,
    creates: bool,
}

/// Checks storage and password for the namespace of the mover.
async fn complete(api: &StorageApi, mover: &Mover, repository: Repository, wanted: Wanted) -> Result<Scope, ApiError> {
    let Wanted { component_paths, verbs, secret, creates } = wanted;
    let display = references::display(&repository);
    if repository.metadata.deletion_timestamp.is_some() {
        return Err(ApiError::failed_precondition(format!("Repository {display} is being deleted")));
    }
    let directory = Directory::parse(repository.spec.path.as_deref().unwrap_or_default())
        .map_err(|error| ApiError::failed_precondition(format!("Repository {display}: {error}")))?;
    let (space, name) = references::storage_of(&repository)
        .ok_or_else(|| ApiError::failed_precondition(format!("Repository {display} does not set spec.storageRef")))?;
    let storage: BackupStorage = fetch(api, &space, &name).await?;
    admit(api, &storage, &mover.namespace).await?;

    let secret = secret.map_err(|refusal| ApiError::failed_precondition(refusal.to_string()))?;
    let password = password(api, &secret, &mover.namespace, &repository).await?;
    let context = &api.context;
    let ids = Records::of(context.client.clone(), &context.namespace, &repository)
        .load()
        .await
        .map_err(|error| ApiError::unavailable(error.to_string()))?;
    Ok(Scope { repository, storage, directory, component_paths, verbs, password, ids, creates })
}

/// The storage's own key goes to namespaces that its usage policy admits, if the installation shares keys at all.
async fn admit(api: &StorageApi, storage: &BackupStorage, consumer: &str) -> Result<(), ApiError> {
    let display = references::display(storage);
    if storage.metadata.deletion_timestamp.is_some() {
        return Err(ApiError::failed_precondition(format!("BackupStorage {display} is being deleted")));
    }
    let labels = api.context.namespace_labels(consumer).await.map_err(|error| ApiError::unavailable(error.to_string()))?;
    access::admits(storage.spec.usage_policy.as_ref(), &subject_of("BackupStorage", storage), consumer, &labels)
        .map_err(|refusal| ApiError::permission_denied(refusal.to_string()))?;
    let is_own = references::namespace(storage) == consumer;
    if !is_own && api.context.policy.shared_storage_keys == SharedStorageKeys::Deny {
        return Err(ApiError::permission_denied(format!(
            "the key of BackupStorage {display} is not shared with namespace {consumer}: the installation says \
             sharedStorageKeys: deny"
        ))
        .with_remedy(format!("create a BackupStorage in namespace {consumer}")));
    }
    Ok(())
}

async fn password(
    api: &StorageApi,
    secret: &access::Subject,
    consumer: &str,
    repository: &Repository,
) -> Result<SecretString, ApiError> {
    let found = secrets::find(&api.context.client, &secret.namespace, &secret.name)
        .await
        .map_err(|error| ApiError::unavailable(error.to_string()))?;
    let found = found.ok_or_else(|| {
        ApiError::failed_precondition(format!("{secret} with the password does not exist"))
            .with_remedy("create it with the key RESTIC_PASSWORD")
    })?;
    secret_use(api.context.policy.cross_namespace_secrets, secret, &found.metadata, consumer)
        .map_err(|refusal| ApiError::permission_denied(refusal.to_string()))?;
    let user = format!("Repository {}", references::display(repository));
    let shown = format!("{}/{}", secret.namespace, secret.name);
    planner::backend::password(&found.data.unwrap_or_default(), &shown, &user)
        .map_err(|error| ApiError::failed_precondition(error.to_string()))
}

async fn running_backup(api: &StorageApi, mover: &Mover, session: &str) -> Result<BackupSession, ApiError> {
    let session: BackupSession = fetch_exactly(api, &mover.namespace, session, &mover.session.uid).await?;
    let is_complete = session.status.as_ref().and_then(|status| status.phase).is_some_and(BackupSessionPhase::is_completed);
    refuse_complete(&session, is_complete)?;
    Ok(session)
}

fn refuse_complete<K>(session: &K, is_complete: bool) -> Result<(), ApiError>
where
    K: Resource<DynamicType = ()>,
{
    let display = format!("{} {}", K::kind(&()), references::display(session));
    if is_complete {
        return Err(ApiError::permission_denied(format!("{display} is complete, its access has ended")));
    }
    if session.meta().deletion_timestamp.is_some() {
        return Err(ApiError::permission_denied(format!("{display} is being deleted, its access has ended")));
    }
    Ok(())
}

/// The Snapshot that the session-controller made of this session in this Repository: without one the Repository is not
/// the session's.
async fn snapshot_of(api: &StorageApi, repository: &Repository, session: &BackupSession) -> Result<Snapshot, ApiError> {
    let owner = |namespace: Option<String>, name: String, uid: Option<String>| {
        Owner::new(namespace.unwrap_or_default(), name, uid.unwrap_or_default())
    };
    let name = snapshot_name(
        &owner(repository.namespace(), repository.name_any(), repository.uid()),
        &owner(session.namespace(), session.name_any(), session.uid()),
    );
    let snapshots: Api<Snapshot> = Api::namespaced(api.context.client.clone(), &references::namespace(repository));
    for candidate in name.candidates() {
        let found = ask(snapshots.get_opt(&candidate)).await?;
        let is_it = |snapshot: &Snapshot| {
            snapshot.spec.backup_session.as_deref() == Some(&session.name_any())
                && references::is_in(snapshot, repository)
                && controller_of(snapshot).map(|owner| &owner.uid) == repository.metadata.uid.as_ref()
        };
        if let Some(snapshot) = found.filter(is_it) {
            return Ok(snapshot);
        }
    }
    Err(ApiError::permission_denied(format!(
        "BackupSession {} has no Snapshot in Repository {}",
        references::display(session),
        references::display(repository)
    )))
}

/// Whether a RestoreSession's data source means this Snapshot.
fn is_source(source: &RestoreDataSource, session_namespace: &str, snapshot: &Snapshot) -> bool {
    let namespace = source.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(session_namespace);
    let named = source.snapshot.as_deref().filter(|name| !name.is_empty() && *name != names::LATEST);
    let repository = source.repository.as_deref().filter(|name| !name.is_empty());
    let right_name = named.is_none_or(|name| name == snapshot.name_any());
    let right_repository = repository.is_none_or(|name| snapshot.spec.repository.as_deref() == Some(name));
    // Something has to be said; and `latest` or a point in time means one of a Repository.
    let says_enough = named.is_some() || repository.is_some();
    references::namespace(snapshot) == namespace && right_name && right_repository && says_enough
}

/// Where the Snapshot says that its component lies; never computed anew (specification §3.1).
fn component_path(snapshot: &Snapshot, component: &str) -> Result<ComponentPath, ApiError> {
    let display = references::display(snapshot);
    let components = snapshot.status.as_ref().map(|status| &status.components);
    let found = components
        .and_then(|components| components.get(match_component(component, components.keys().map(String::as_str))?)?.path.clone())
        .ok_or_else(|| ApiError::not_found(format!("Snapshot {display} has no data of component {component}")))?;
    ComponentPath::parse(&found).map_err(|error| ApiError::failed_precondition(format!("Snapshot {display}: {error}")))
}

fn subject_of<K: Resource>(kind: &'static str, object: &K) -> access::Subject {
    access::Subject::new(kind, references::namespace(object), object.name_any())
}

/// An object, asked of the API server.
pub(super) async fn fetch<K>(api: &StorageApi, namespace: &str, name: &str) -> Result<K, ApiError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let objects: Api<K> = Api::namespaced(api.context.client.clone(), namespace);
    ask(objects.get_opt(name)).await?.ok_or_else(|| {
        ApiError::not_found(format!("{} {namespace}/{name} does not exist", K::kind(&())))
            .with_remedy("create it or correct the name")
    })
}

async fn fetch_exactly<K>(api: &StorageApi, namespace: &str, name: &str, uid: &str) -> Result<K, ApiError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let found: K = fetch(api, namespace, name).await?;
    if found.meta().uid.as_deref() != Some(uid) {
        let problem = format!("{} {namespace}/{name} is not the one that the Job was made for", K::kind(&()));
        return Err(ApiError::permission_denied(problem));
    }
    Ok(found)
}

/// An answer of the API server, within the time that a caller may be kept waiting.
pub(super) async fn ask<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ApiError> {
    within("the API server", API_TIMEOUT, call)
        .await
        .map_err(|error| ApiError::unavailable(error.to_string()))?
        .map_err(|error| ApiError::unavailable(format!("the API server cannot be asked: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn snapshot() -> Snapshot {
        serde_json::from_value(json!({
            "metadata": {"name": "s-1", "namespace": "prod"},
            "spec": {"repository": "web"},
            "status": {"components": {"dump": {"path": "repository/v1/nightly/dump"}, "intended": {}}},
        }))
        .unwrap()
    }

    /// S-02, S-13: a session reaches the Snapshot that its data source means, and no other.
    #[rstest]
    #[case(json!({"namespace": "prod", "snapshot": "s-1"}), true)]
    #[case(json!({"namespace": "prod", "snapshot": "s-1", "repository": "web"}), true)]
    #[case(json!({"namespace": "prod", "snapshot": "latest", "repository": "web"}), true)]
    #[case(json!({"namespace": "prod", "repository": "web", "pitr": {}}), true)]
    #[case(json!({"snapshot": "s-1"}), false)]
    #[case(json!({"namespace": "prod", "snapshot": "s-2"}), false)]
    #[case(json!({"namespace": "prod", "snapshot": "s-1", "repository": "other"}), false)]
    #[case(json!({"namespace": "prod", "snapshot": "latest"}), false)]
    #[case(json!({"namespace": "prod"}), false)]
    fn a_data_source_means_one_snapshot(#[case] source: Value, #[case] expected: bool) {
        let source: RestoreDataSource = serde_json::from_value(source).unwrap();
        assert_eq!(is_source(&source, "demo", &snapshot()), expected);
    }

    #[test]
    fn a_component_lies_where_its_snapshot_says() {
        let path = |component| component_path(&snapshot(), component).map(|path| path.to_string());
        assert_eq!(path("dump").unwrap(), "repository/v1/nightly/dump");
        assert!(path("intended").is_err());
        assert!(path("wal").is_err());
    }
}
