//! Reads for a Job: Addon, Function and everything about the target.
//!
//! They are made anew for each attempt: a volume may be attached elsewhere, a pod may have moved (C9).

use crd_types::{Addon, Function, TypedObjectReference};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Namespace, PersistentVolumeClaim, Pod},
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use planner::workload::{TargetKind, TargetView, WorkloadError};

use super::PrepareError;

/// Annotation of a namespace by which an administrator lets its sessions use the node's own namespaces.
const ALLOW_HOST_NAMESPACES: &str = "orlop.dev/allow-host-namespaces";

/// An Addon of the catalogue.
pub(super) async fn addon(client: &Client, name: &str) -> Result<Option<Addon>, PrepareError> {
    let api: Api<Addon> = Api::all(client.clone());
    api.get_opt(name).await.map_err(|source| PrepareError::read(format!("Addon {name}"), source))
}

/// A Function of the catalogue.
pub(super) async fn function(client: &Client, name: &str) -> Result<Option<Function>, PrepareError> {
    let api: Api<Function> = Api::all(client.clone());
    api.get_opt(name).await.map_err(|source| PrepareError::read(format!("Function {name}"), source))
}

/// Whether sessions of a namespace may use the node's own namespaces.
pub(super) async fn host_namespaces_allowed(client: &Client, namespace: &str) -> Result<bool, PrepareError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = api.get(namespace).await.map_err(|source| PrepareError::read(format!("Namespace {namespace}"), source))?;
    Ok(found.annotations().get(ALLOW_HOST_NAMESPACES).is_some_and(|value| value == "true"))
}

/// The target with its pods and claims; the inner error says what is wrong with it.
pub(super) async fn target(
    client: &Client,
    namespace: &str,
    kind: TargetKind,
    target: &TypedObjectReference,
) -> Result<Result<TargetView, WorkloadError>, PrepareError> {
    let name = target.name.as_str();
    let missing = || WorkloadError::NotFound { kind: kind.to_string(), namespace: namespace.to_owned(), name: name.to_owned() };
    let claims = list::<PersistentVolumeClaim>(client, namespace, "PersistentVolumeClaims").await?;
    let (uid, template, expects_pods, replica_sets) = match kind {
        TargetKind::Deployment => {
            let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
            let read = |source| PrepareError::read(format!("Deployment {namespace}/{name}"), source);
            let Some(found) = api.get_opt(name).await.map_err(read)? else { return Ok(Err(missing())) };
            let template = found.spec.as_ref().map(|spec| spec.template.clone());
            // Kubernetes' own default is one replica.
            let replicas = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            (found.uid().unwrap_or_default(), template, replicas > 0, list::<ReplicaSet>(client, namespace, "ReplicaSets").await?)
        }
        TargetKind::PersistentVolumeClaim => {
            let Some(found) = claims.iter().find(|claim| claim.name_any() == name) else { return Ok(Err(missing())) };
            (found.uid().unwrap_or_default(), None, false, Vec::new())
        }
        TargetKind::StatefulSet | TargetKind::DaemonSet => {
            return Ok(Err(WorkloadError::NotSupportedYet { kind: kind.to_string(), name: name.to_owned() }));
        }
    };
    Ok(Ok(TargetView {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid,
        template,
        expects_pods,
        pods: list::<Pod>(client, namespace, "Pods").await?,
        replica_sets,
        claims,
    }))
}

async fn list<K>(client: &Client, namespace: &str, what: &str) -> Result<Vec<K>, PrepareError>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let listed = api.list(&ListParams::default()).await;
    Ok(listed.map_err(|source| PrepareError::read(format!("{what} of namespace {namespace}"), source))?.items)
}
