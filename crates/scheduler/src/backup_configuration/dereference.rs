//! First room: reads everything a BackupConfiguration names, once, so that later rooms need no API server.

use std::{collections::BTreeMap, fmt::Debug};

use crd_types::{
    Addon, BackupConfiguration, BackupStorage, Function, ObjectReference, Repository, RestoreSession, RetentionPolicy,
    TypedObjectReference,
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::{Namespace, PersistentVolumeClaim, Secret},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Resource, api::ListParams, core::DeserializeGuard};
use kube_kit::error::{self, ReconcileError};
use planner::{
    access::{default_retention_policy, default_storage},
    resolve::{self, Verb},
    workload::TargetKind,
};
use serde::de::DeserializeOwned;

use crate::{
    context::Context,
    references::{namespace, resolve as resolve_reference, workload},
};

/// Namespace and name.
pub type Place = (String, String);

/// A backend with its defaults filled in, in memory only (specification §1.6).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backend {
    /// Its name; empty for the one that nobody named.
    pub name: String,
    /// BackupStorage, if one is named or there is a default.
    pub storage: Option<ObjectReference>,
    /// RetentionPolicy, likewise.
    pub retention_policy: Option<ObjectReference>,
}

/// Everything a BackupConfiguration names, as it is now. What does not exist is absent from the maps.
#[derive(Debug, Default)]
pub struct Dereferenced {
    /// Labels of the configuration's namespace, for usage policies.
    pub namespace_labels: BTreeMap<String, String>,
    /// Whether that namespace is being deleted.
    pub namespace_terminating: bool,
    /// The backends with defaults.
    pub backends: Vec<Backend>,
    /// Storages of the backends.
    pub storages: BTreeMap<Place, BackupStorage>,
    /// Retention policies of the backends.
    pub policies: BTreeMap<Place, RetentionPolicy>,
    /// Addons of the sessions.
    pub addons: BTreeMap<String, Addon>,
    /// Functions of those Addons' tasks.
    pub functions: BTreeMap<String, Function>,
    /// Metadata of encryption Secrets; their data is never read here.
    pub secrets: BTreeMap<Place, ObjectMeta>,
    /// Whether the target exists.
    pub target_found: bool,
    /// All Repositories of the cluster: directories must not overlap.
    pub repositories: Vec<Repository>,
    /// RestoreSessions of the namespace.
    pub restores: Vec<RestoreSession>,
}

/// Something could not be read, so nothing is known about it.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what}: {source}")]
pub struct DereferenceError {
    what: String,
    source: Box<kube::Error>,
}

impl ReconcileError for DereferenceError {
    fn category(&self) -> &'static str {
        error::category(&self.source)
    }

    fn is_retryable(&self) -> bool {
        error::is_retryable(&self.source)
    }
}

fn failed(what: String) -> impl FnOnce(kube::Error) -> DereferenceError {
    move |source| DereferenceError { what, source: Box::new(source) }
}

/// Reads all of it.
///
/// # Errors
/// [`DereferenceError`] when the API server could not be asked. What does not exist is no error here.
pub async fn dereference(context: &Context, configuration: &BackupConfiguration) -> Result<Dereferenced, DereferenceError> {
    let here = namespace(configuration);
    let mut found = Dereferenced::default();
    let own: Option<Namespace> = get(Api::all(context.client.clone()), &here).await?;
    found.namespace_terminating = own.as_ref().is_none_or(|own| own.metadata.deletion_timestamp.is_some());
    found.namespace_labels = own.and_then(|own| own.metadata.labels).unwrap_or_default();

    found.backends = backends(context, configuration, &found.namespace_labels).await?;
    for backend in &found.backends {
        if let Some(place) = backend.storage.as_ref().map(|reference| resolve_reference(reference, &here))
            && let Some(storage) = get(context.api(&place.0), &place.1).await?
        {
            found.storages.insert(place, storage);
        }
        if let Some(place) = backend.retention_policy.as_ref().map(|reference| resolve_reference(reference, &here))
            && let Some(policy) = get(context.api(&place.0), &place.1).await?
        {
            found.policies.insert(place, policy);
        }
    }
    for session in &configuration.spec.sessions {
        if let Some(info) = &session.addon
            && let Some(name) = info.name.as_deref().filter(|name| !name.is_empty())
            && let Some(addon) = get::<Addon>(Api::all(context.client.clone()), name).await?
        {
            if let Ok(checked) = resolve::check(Verb::Backup, &addon, info)
                && let Some(function) = get(Api::all(context.client.clone()), &checked.function).await?
            {
                found.functions.insert(checked.function, function);
            }
            found.addons.insert(name.to_owned(), addon);
        }
        for reference in session.repositories.iter().filter_map(|repository| repository.encryption_secret.as_ref()) {
            let place = resolve_reference(reference, &here);
            if let Some(meta) = metadata::<Secret>(context, &place).await? {
                found.secrets.insert(place, meta);
            }
        }
    }
    found.target_found = match &configuration.spec.target {
        Some(target) => target_exists(context, target, &here).await?,
        None => true,
    };
    found.repositories = list(Api::all(context.client.clone())).await?;
    found.restores = restores(context, &here).await?;
    Ok(found)
}

/// RestoreSessions of a namespace.
///
/// # Errors
/// [`DereferenceError`].
pub async fn restores(context: &Context, namespace: &str) -> Result<Vec<RestoreSession>, DereferenceError> {
    list(Api::namespaced(context.client.clone(), namespace)).await
}

async fn backends(
    context: &Context,
    configuration: &BackupConfiguration,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<Backend>, DereferenceError> {
    let here = namespace(configuration);
    let mut backends: Vec<Backend> = configuration
        .spec
        .backends
        .iter()
        .map(|backend| Backend {
            name: backend.name.clone().unwrap_or_default(),
            storage: backend.storage_ref.clone(),
            retention_policy: backend.retention_policy.clone(),
        })
        .collect();
    if backends.is_empty() {
        let storages: Vec<BackupStorage> = list(Api::all(context.client.clone())).await?;
        let storage = default_storage(&storages, &here, labels).map(|storage| reference(&storage.metadata));
        backends.push(Backend { storage, ..Backend::default() });
    }
    if backends.iter().any(|backend| backend.retention_policy.is_none()) {
        let policies: Vec<RetentionPolicy> = list(Api::all(context.client.clone())).await?;
        let default = default_retention_policy(&policies, &here, labels).map(|policy| reference(&policy.metadata));
        for backend in backends.iter_mut().filter(|backend| backend.retention_policy.is_none()) {
            backend.retention_policy.clone_from(&default);
        }
    }
    Ok(backends)
}

fn reference(meta: &ObjectMeta) -> ObjectReference {
    ObjectReference { name: meta.name.clone().unwrap_or_default(), namespace: meta.namespace.clone() }
}

/// Whether the target exists. A kind that we do not know is validation's to refuse.
async fn target_exists(context: &Context, target: &TypedObjectReference, here: &str) -> Result<bool, DereferenceError> {
    let (_, namespace, name) = workload(target, here);
    let place = (namespace, name);
    let found = match TargetKind::of(target) {
        Ok(TargetKind::Deployment) => metadata::<Deployment>(context, &place).await?,
        Ok(TargetKind::StatefulSet) => metadata::<StatefulSet>(context, &place).await?,
        Ok(TargetKind::DaemonSet) => metadata::<DaemonSet>(context, &place).await?,
        Ok(TargetKind::PersistentVolumeClaim) => metadata::<PersistentVolumeClaim>(context, &place).await?,
        Err(_) => None,
    };
    Ok(found.is_some())
}

async fn get<K>(api: Api<K>, name: &str) -> Result<Option<K>, DereferenceError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    api.get_opt(name).await.map_err(failed(format!("{} {name}", K::kind(&()))))
}

async fn metadata<K>(context: &Context, (namespace, name): &Place) -> Result<Option<ObjectMeta>, DereferenceError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let found = context
        .api::<K>(namespace)
        .get_metadata_opt(name)
        .await
        .map_err(failed(format!("{} {namespace}/{name}", K::kind(&()))))?;
    Ok(found.map(|found| found.metadata))
}

/// Lists what parses: one malformed object must not stop everybody who shares the list.
async fn list<K>(api: Api<DeserializeGuard<K>>) -> Result<Vec<K>, DereferenceError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let listed = api.list(&ListParams::default()).await.map_err(failed(format!("the list of {}", K::plural(&()))))?;
    Ok(listed.items.into_iter().filter_map(|guard| guard.0.ok()).collect())
}
