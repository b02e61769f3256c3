//! Reads that several controllers make, with errors that say what could not be read.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crd_types::{BackupConfiguration, BackupSession};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Resource, ResourceExt as _, api::ListParams};
use kube_kit::error::{self, ReconcileError};
use serde::de::DeserializeOwned;

use crate::context::Context;

/// The API server did not let something be read.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be read: {source}")]
pub struct ReadError {
    /// Kind, namespace and name.
    pub what: String,
    /// What the API server said.
    pub source: kube::Error,
}

impl ReconcileError for ReadError {
    fn category(&self) -> &'static str {
        error::category(&self.source)
    }

    fn is_retryable(&self) -> bool {
        error::is_retryable(&self.source)
    }
}

/// An object of a namespace; `None` if it does not exist.
///
/// # Errors
/// [`ReadError`] when the API server does not answer.
pub async fn find<K>(ctx: &Context, namespace: &str, name: &str) -> Result<Option<K>, ReadError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(ctx.client.clone(), namespace);
    api.get_opt(name).await.map_err(|source| ReadError { what: format!("{} {namespace}/{name}", K::kind(&())), source })
}

/// The configuration that a session belongs to; one that was made anew under its name is not it.
///
/// # Errors
/// [`ReadError`] when the API server does not answer.
pub async fn configuration_of(ctx: &Context, session: &BackupSession) -> Result<Option<BackupConfiguration>, ReadError> {
    let kind = BackupConfiguration::kind(&());
    let Some(invoker) = session.spec.invoker.as_ref().filter(|invoker| invoker.kind == kind) else { return Ok(None) };
    let found: Option<BackupConfiguration> =
        find(ctx, session.metadata.namespace.as_deref().unwrap_or_default(), &invoker.name).await?;
    let owner = session.owner_references().iter().find(|owner| owner.kind == kind);
    Ok(found.filter(|found| owner.is_none_or(|owner| found.metadata.uid.as_ref() == Some(&owner.uid))))
}

/// Objects of a namespace, or of all where it is empty.
///
/// # Errors
/// [`ReadError`] when the API server does not answer.
pub async fn list<K>(ctx: &Context, namespace: &str, selector: Option<&str>) -> Result<Vec<K>, ReadError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> =
        if namespace.is_empty() { Api::all(ctx.client.clone()) } else { Api::namespaced(ctx.client.clone(), namespace) };
    let params = selector.map_or_else(ListParams::default, |selector| ListParams::default().labels(selector));
    let listed = api.list(&params).await;
    let listed = listed.map_err(|source| ReadError { what: format!("{} of namespace {namespace:?}", K::plural(&())), source })?;
    Ok(listed.items)
}

/// Labels of a namespace, by which usage policies select.
///
/// # Errors
/// [`ReadError`] when the API server does not answer.
pub async fn namespace_labels(ctx: &Context, namespace: &str) -> Result<BTreeMap<String, String>, ReadError> {
    let found = Api::<Namespace>::all(ctx.client.clone()).get_opt(namespace).await;
    let found = found.map_err(|source| ReadError { what: format!("Namespace {namespace}"), source })?;
    Ok(found.and_then(|namespace| namespace.metadata.labels).unwrap_or_default())
}
