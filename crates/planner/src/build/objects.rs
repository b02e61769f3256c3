//! Custom resources that we create: sessions, Snapshots, Repositories (specification §2.2-2.4, §1.7).

use std::collections::BTreeMap;

use crd_types::{
    AddonInfo, BackupConfiguration, BackupSession, BackupSessionSpec, DeletionPolicy, Repository, RepositoryDeletionPolicy,
    RepositoryInfo, RepositorySpec, RestoreDataSource, RestoreSession, RestoreSessionSpec, Session, Snapshot, SnapshotSpec,
    TypedLocalObjectReference, TypedObjectReference, annotations, labels, names as fixed,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::labels::{inherit, labelled};
use crate::names::{Name, TUPLE_ANNOTATION};

/// Name of an object and the digest that tells it from all others.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The name, chosen among its candidates.
    pub name: &'a str,
    /// What it is a name for.
    pub identity: &'a Name,
}

/// Everything a BackupSession is made of.
#[derive(Debug, Clone)]
pub struct BackupSessionRequest<'a> {
    /// Its name.
    pub named: Named<'a>,
    /// The configuration.
    pub configuration: &'a BackupConfiguration,
    /// The session of it.
    pub session: &'a Session,
    /// Retries that are left.
    pub retry_left: i32,
    /// What made it; values in `crd_types::annotations::triggered_by`.
    pub triggered_by: &'a str,
    /// Further annotations: slot, origin of a retry, trace context.
    pub annotations: BTreeMap<String, String>,
}

/// Builds a BackupSession.
pub fn backup_session(request: &BackupSessionRequest<'_>) -> BackupSession {
    let metadata = &request.configuration.metadata;
    let configuration = metadata.name.as_deref().unwrap_or_default();
    let mut all = inherit(metadata.labels.as_ref().unwrap_or(&BTreeMap::new()));
    all.extend(labelled([
        (labels::MANAGED_BY, labels::MANAGED_BY_VALUE),
        (labels::INVOKER_NAME, configuration),
        (labels::INVOKER_NAMESPACE, metadata.namespace.as_deref().unwrap_or_default()),
        (labels::INVOKER_KIND, "BackupConfiguration"),
        (labels::SESSION_NAME, request.session.name.as_deref().unwrap_or_default()),
    ]));
    let mut notes = request.annotations.clone();
    notes.insert(annotations::TRIGGERED_BY.to_owned(), request.triggered_by.to_owned());
    BackupSession {
        metadata: object_meta(
            &request.named,
            metadata,
            all,
            notes,
            Some(owner("BackupConfiguration", fixed::CORE_GROUP, metadata)),
        ),
        spec: BackupSessionSpec {
            backup_timeout: request.session.backup_timeout.clone(),
            invoker: Some(TypedLocalObjectReference {
                api_group: Some(fixed::CORE_GROUP.to_owned()),
                kind: "BackupConfiguration".to_owned(),
                name: configuration.to_owned(),
            }),
            retry_left: Some(request.retry_left),
            session: request.session.name.clone(),
        },
        status: None,
    }
}

/// Everything a Snapshot is made of.
#[derive(Debug, Clone)]
pub struct SnapshotRequest<'a> {
    /// Its name.
    pub named: Named<'a>,
    /// The Repository that receives the data.
    pub repository: &'a Repository,
    /// The session that makes it.
    pub backup_session: &'a BackupSession,
    /// What is backed up; none for a configuration without target.
    pub target: Option<&'a TypedObjectReference>,
    /// A fresh ULID.
    pub snapshot_id: String,
}

/// Builds a Snapshot.
pub fn snapshot(request: &SnapshotRequest<'_>) -> Snapshot {
    let metadata = &request.repository.metadata;
    let session = &request.backup_session.metadata;
    let app = app_ref(request.target, metadata.namespace.as_deref());
    let mut all = inherit(session.labels.as_ref().unwrap_or(&BTreeMap::new()));
    all.extend(labelled([
        (labels::MANAGED_BY, labels::MANAGED_BY_VALUE),
        (labels::REPO_NAME, metadata.name.as_deref().unwrap_or_default()),
        (labels::APP_REF_KIND, app.kind.as_deref().unwrap_or_default()),
        (labels::APP_REF_NAMESPACE, app.namespace.as_deref().unwrap_or_default()),
        (labels::APP_REF_NAME, &app.name),
        (labels::SESSION_UID, session.uid.as_deref().unwrap_or_default()),
    ]));
    Snapshot {
        metadata: object_meta(
            &request.named,
            metadata,
            all,
            BTreeMap::new(),
            Some(owner("Repository", fixed::STORAGE_GROUP, metadata)),
        ),
        spec: SnapshotSpec {
            app_ref: Some(app),
            backup_session: session.name.clone(),
            deletion_policy: Some(DeletionPolicy::Delete),
            paused: None,
            repository: metadata.name.clone(),
            session: request.backup_session.spec.session.clone(),
            snapshot_id: Some(request.snapshot_id.clone()),
            type_: Some(fixed::FULL_BACKUP.to_owned()),
            version: Some(fixed::LAYOUT_VERSION.to_owned()),
        },
        status: None,
    }
}

/// Everything a Repository is made of.
#[derive(Debug, Clone)]
pub struct RepositoryRequest<'a> {
    /// The configuration.
    pub configuration: &'a BackupConfiguration,
    /// The entry of one of its sessions.
    pub entry: &'a RepositoryInfo,
    /// The storage that the entry's backend names.
    pub storage: &'a crd_types::ObjectReference,
}

/// Builds a Repository. It has no owner: its deletion policy decides about its life (specification §2.2).
pub fn repository(request: &RepositoryRequest<'_>) -> Repository {
    let metadata = &request.configuration.metadata;
    let entry = request.entry;
    let all = labelled([
        (labels::MANAGED_BY, labels::MANAGED_BY_VALUE),
        (labels::INVOKER_NAME, metadata.name.as_deref().unwrap_or_default()),
        (labels::INVOKER_NAMESPACE, metadata.namespace.as_deref().unwrap_or_default()),
        (labels::INVOKER_KIND, "BackupConfiguration"),
    ]);
    Repository {
        metadata: ObjectMeta {
            name: entry.name.clone(),
            namespace: metadata.namespace.clone(),
            labels: Some(all),
            ..ObjectMeta::default()
        },
        spec: RepositorySpec {
            app_ref: Some(match &request.configuration.spec.target {
                Some(target) => target.clone(),
                None => no_target(),
            }),
            deletion_policy: Some(match entry.deletion_policy {
                Some(RepositoryDeletionPolicy::WipeOut) => DeletionPolicy::WipeOut,
                _ => DeletionPolicy::Delete,
            }),
            encryption_secret: entry.encryption_secret.clone(),
            path: entry.directory.clone(),
            paused: None,
            storage_ref: Some(request.storage.clone()),
        },
        status: None,
    }
}

/// Everything a RestoreSession is made of, when platform tooling asks for one.
#[derive(Debug, Clone)]
pub struct RestoreSessionRequest {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Workload to restore into.
    pub target: TypedObjectReference,
    /// What to restore.
    pub data_source: RestoreDataSource,
    /// The addon and task that do it.
    pub addon: AddonInfo,
    /// Annotations: trace context.
    pub annotations: BTreeMap<String, String>,
}

/// Builds a RestoreSession.
pub fn restore_session(request: RestoreSessionRequest) -> RestoreSession {
    RestoreSession {
        metadata: ObjectMeta {
            name: Some(request.name),
            namespace: Some(request.namespace),
            labels: Some(labelled([(labels::MANAGED_BY, labels::MANAGED_BY_VALUE)])),
            annotations: (!request.annotations.is_empty()).then_some(request.annotations),
            ..ObjectMeta::default()
        },
        spec: RestoreSessionSpec {
            addon: Some(request.addon),
            data_source: Some(request.data_source),
            target: Some(request.target),
            ..RestoreSessionSpec::default()
        },
        status: None,
    }
}

/// The application of a Snapshot: the target in full, or the reference that stands for none (specification §1.3.2).
fn app_ref(target: Option<&TypedObjectReference>, namespace: Option<&str>) -> TypedObjectReference {
    let Some(target) = target else { return no_target() };
    let mut app = target.clone();
    if app.namespace.as_deref().unwrap_or_default().is_empty() {
        app.namespace = namespace.map(str::to_owned);
    }
    app
}

fn no_target() -> TypedObjectReference {
    TypedObjectReference {
        api_group: Some(fixed::NO_TARGET.to_owned()),
        kind: Some(String::new()),
        name: fixed::NO_TARGET.to_owned(),
        namespace: None,
    }
}

pub(super) fn owner(kind: &str, group: &str, metadata: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: format!("{group}/{}", fixed::VERSION),
        kind: kind.to_owned(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn object_meta(
    named: &Named<'_>,
    owner: &ObjectMeta,
    labels: BTreeMap<String, String>,
    mut annotations: BTreeMap<String, String>,
    reference: Option<OwnerReference>,
) -> ObjectMeta {
    annotations.insert(TUPLE_ANNOTATION.to_owned(), named.identity.tuple_digest().to_owned());
    ObjectMeta {
        name: Some(named.name.to_owned()),
        namespace: owner.namespace.clone(),
        labels: Some(labels),
        annotations: Some(annotations),
        owner_references: reference.map(|reference| vec![reference]),
        finalizers: Some(vec![fixed::FINALIZER.to_owned()]),
        ..ObjectMeta::default()
    }
}
