//! Finalizers that never hang.
//!
//! Every finalizer of ours lets go when the namespace is terminating (architecture §4 rule 12): what could still be
//! done for a single object is not worth a namespace that cannot be deleted.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    apply::{ApplyError, merge},
    error,
};

/// Whether the object carries the finalizer.
#[must_use]
pub fn has<K: Resource>(object: &K, finalizer: &str) -> bool {
    object.meta().finalizers.as_deref().unwrap_or_default().iter().any(|known| known == finalizer)
}

/// Whether somebody asked for the object's deletion.
#[must_use]
pub fn is_deleting<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// Adds the finalizer unless it is there; answers the object as it is now.
///
/// # Errors
/// [`ApplyError::is_conflict`] when the object changed since it was read.
pub async fn add<K>(api: &Api<K>, manager: &str, object: &K, finalizer: &str) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    if has(object, finalizer) || is_deleting(object) {
        return Ok(object.clone());
    }
    let mut finalizers = object.meta().finalizers.clone().unwrap_or_default();
    finalizers.push(finalizer.to_owned());
    write(api, manager, object, &finalizers).await
}

/// Removes the finalizer; an object that is gone already is fine.
///
/// # Errors
/// [`ApplyError::is_conflict`] when the object changed since it was read.
pub async fn remove<K>(api: &Api<K>, manager: &str, object: &K, finalizer: &str) -> Result<(), ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    if !has(object, finalizer) {
        return Ok(());
    }
    let mut finalizers = object.meta().finalizers.clone().unwrap_or_default();
    finalizers.retain(|known| known != finalizer);
    match write(api, manager, object, &finalizers).await {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.is_not_found() => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// The list is replaced as a whole, so the write is tied to the version that was read: another controller's finalizer
/// that was added meanwhile is never dropped.
async fn write<K>(api: &Api<K>, manager: &str, object: &K, finalizers: &[String]) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let meta = object.meta();
    let patch = json!({ "metadata": {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "finalizers": finalizers,
    } });
    merge(api, manager, object, &patch).await
}

/// Whether the namespace is being deleted. A namespace that is not there counts as terminating: nothing in it needs care.
///
/// # Errors
/// The API server's answer when it could not be asked.
pub async fn namespace_terminating(client: &Client, namespace: &str) -> Result<bool, kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match namespaces.get(namespace).await {
        Ok(found) => Ok(found.metadata.deletion_timestamp.is_some()),
        Err(refusal) if error::is_not_found(&refusal) => Ok(true),
        Err(refusal) => Err(refusal),
    }
}
