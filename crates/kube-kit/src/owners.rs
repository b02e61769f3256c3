//! Walking from a pod to what started it, by UID at every step.
//!
//! Names can be reused and owner references can be written by anyone who may create pods; so each step fetches the owner
//! and compares its UID, and whoever relies on the chain adds a proof that we made its first link (the Job's).

use std::fmt::Debug;

use k8s_openapi::{
    api::{
        batch::v1::{CronJob, Job},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Api, Client, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use crate::{
    error::{self, ReconcileError},
    review::BoundPod,
};

/// Label by which the Job controller marks its pods with the Job's UID.
const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";

/// Where the chain broke.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// The object is gone, replaced, or on its way out.
    #[error("{kind} {namespace}/{name} {problem}")]
    Broken {
        /// Kind of the object.
        kind: &'static str,
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The object has no controller of the expected kind.
    #[error("{kind} {namespace}/{name} is not controlled by a {wanted}")]
    NoController {
        /// Kind of the object.
        kind: &'static str,
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Kind that was expected to control it.
        wanted: &'static str,
    },
    /// The API server could not be asked.
    #[error("cannot read {kind} {namespace}/{name}")]
    Api {
        /// Kind of the object.
        kind: &'static str,
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

impl ReconcileError for OwnerError {
    fn category(&self) -> &'static str {
        match self {
            Self::Broken { .. } => "owner_broken",
            Self::NoController { .. } => "owner_missing",
            Self::Api { source, .. } => error::category(source),
        }
    }

    fn is_retryable(&self) -> bool {
        matches!(self, Self::Api { source, .. } if error::is_retryable(source))
    }
}

/// The controlling owner reference, if there is one.
pub fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object.meta().owner_references.as_deref()?.iter().find(|owner| owner.controller == Some(true))
}

/// The controlling, blocking owner reference that makes `object` the owner. `None` before the API server gave it a UID.
pub fn owner_reference<K>(object: &K) -> Option<OwnerReference>
where
    K: Resource<DynamicType = ()>,
{
    let meta = object.meta();
    Some(OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: meta.name.clone()?,
        uid: meta.uid.clone()?,
        controller: Some(true),
        block_owner_deletion: Some(true),
    })
}

/// The pod a token is bound to, if it is alive: same UID, not finished, not being deleted.
///
/// # Errors
/// [`OwnerError::Broken`] says why it does not count.
pub async fn running_pod(client: &Client, namespace: &str, bound: &BoundPod) -> Result<Pod, OwnerError> {
    let pod: Pod = fetch(client, "Pod", namespace, &bound.name, &bound.uid).await?;
    if is_finished(&pod) {
        return Err(broken("Pod", namespace, &bound.name, "has finished"));
    }
    Ok(pod)
}

/// The Job that controls the pod.
///
/// # Errors
/// [`OwnerError::NoController`] for a pod that no Job made.
pub async fn job_of_pod(client: &Client, pod: &Pod) -> Result<Job, OwnerError> {
    controlling(client, "Pod", pod, "Job", "batch/v1").await
}

/// The CronJob that controls the Job.
///
/// # Errors
/// [`OwnerError::NoController`] for a Job that no CronJob made.
pub async fn cron_job_of_job(client: &Client, job: &Job) -> Result<CronJob, OwnerError> {
    controlling(client, "Job", job, "CronJob", "batch/v1").await
}

/// Whether `pod` is the first of the Job's pods that have not finished; a Job has one such pod, and a second one that
/// somebody adopted into it must not be taken for it.
///
/// # Errors
/// [`OwnerError::Api`] when the pods could not be listed.
pub async fn is_oldest_unfinished_pod(client: &Client, job: &Job, pod: &Pod) -> Result<bool, OwnerError> {
    let namespace = job.metadata.namespace.clone().unwrap_or_default();
    let uid = job.metadata.uid.clone().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let listed =
        pods.list(&ListParams::default().labels(&format!("{CONTROLLER_UID}={uid}"))).await.map_err(|source| OwnerError::Api {
            kind: "Pods of Job",
            name: job.metadata.name.clone().unwrap_or_default(),
            namespace,
            source: Box::new(source),
        })?;
    let oldest = listed
        .items
        .iter()
        .filter(|other| !is_finished(other))
        .filter(|other| controller_of(*other).is_some_and(|owner| owner.uid == uid))
        .min_by_key(|other| {
            let meta = &other.metadata;
            (meta.creation_timestamp.as_ref().map(|time| time.0), meta.name.clone())
        });
    Ok(oldest.is_some_and(|oldest| oldest.metadata.uid == pod.metadata.uid))
}

fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

async fn controlling<K, Owner>(
    client: &Client,
    kind: &'static str,
    object: &K,
    wanted: &'static str,
    api_version: &str,
) -> Result<Owner, OwnerError>
where
    K: Resource,
    Owner: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let meta = object.meta();
    let namespace = meta.namespace.clone().unwrap_or_default();
    let owner =
        controller_of(object).filter(|owner| owner.kind == wanted && owner.api_version == api_version).ok_or_else(|| {
            OwnerError::NoController { kind, namespace: namespace.clone(), name: meta.name.clone().unwrap_or_default(), wanted }
        })?;
    fetch(client, wanted, &namespace, &owner.name, &owner.uid).await
}

async fn fetch<K>(client: &Client, kind: &'static str, namespace: &str, name: &str, uid: &str) -> Result<K, OwnerError>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(|source| OwnerError::Api {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        source: Box::new(source),
    })?;
    let object = found.ok_or_else(|| broken(kind, namespace, name, "does not exist"))?;
    if object.meta().uid.as_deref() != Some(uid) {
        return Err(broken(kind, namespace, name, "was replaced by another of the same name"));
    }
    if object.meta().deletion_timestamp.is_some() {
        return Err(broken(kind, namespace, name, "is being deleted"));
    }
    Ok(object)
}

fn broken(kind: &'static str, namespace: &str, name: &str, problem: &'static str) -> OwnerError {
    OwnerError::Broken { kind, namespace: namespace.to_owned(), name: name.to_owned(), problem }
}

#[cfg(test)]
#[path = "owners_tests.rs"]
mod tests;
