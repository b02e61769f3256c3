//! Writing objects: server-side apply, create-if-absent, guarded patches and guarded deletes.
//!
//! No other crate calls `Api::patch`, `create` or `delete` for an object of ours, so the rules of ownership
//! (architecture §4 rules 1, 2 and 12) are kept in one place.

use std::{collections::BTreeMap, fmt::Debug};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource,
    api::{Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    covers::covers,
    error::{self, ReconcileError},
};

pub use crate::delete::{Deleted, Deletion};

/// Annotation that holds the digest of everything an object's name stands for; two objects with the same digest are
/// the same object, whatever their names were shortened to.
pub const TUPLE_ANNOTATION: &str = "orlop.dev/name-tuple";

/// How often a create that met an object which then vanished is tried again.
const CREATE_ATTEMPTS: u32 = 3;

/// Why an object was not written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused, or could not be reached.
    #[error("{action} {kind} {namespace}/{name}: {source}")]
    Api {
        /// What was tried: `apply`, `create`, `patch`, `delete`.
        action: &'static str,
        /// Kind of the object.
        kind: String,
        /// Namespace, empty for cluster-wide kinds.
        namespace: String,
        /// Name of the object.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
    /// An object of that name is there, but it belongs to somebody else or says something else.
    #[error("{kind} {namespace}/{name} exists and is not ours ({difference}): rename or remove it")]
    NotOurs {
        /// Kind of the object.
        kind: String,
        /// Namespace.
        namespace: String,
        /// Name of the object.
        name: String,
        /// First difference found.
        difference: String,
    },
    /// An object of that name is on its way out; it has to be gone before a new one can be made.
    #[error("{kind} {namespace}/{name} is being deleted: waiting until it is gone")]
    BeingDeleted {
        /// Kind of the object.
        kind: String,
        /// Namespace.
        namespace: String,
        /// Name of the object.
        name: String,
    },
    /// The object could not be written as JSON.
    #[error("{kind} {name} does not serialise")]
    Serialise {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl ApplyError {
    pub(crate) fn api<K>(action: &'static str, meta: &ObjectMeta, source: kube::Error) -> Self
    where
        K: Resource<DynamicType = ()>,
    {
        Self::Api {
            action,
            kind: K::kind(&()).into_owned(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            source: Box::new(source),
        }
    }

    /// The API server's answer, if there was one.
    #[must_use]
    pub fn api_error(&self) -> Option<&kube::Error> {
        match self {
            Self::Api { source, .. } => Some(source),
            Self::NotOurs { .. } | Self::BeingDeleted { .. } | Self::Serialise { .. } => None,
        }
    }

    /// Whether a precondition failed and the object has to be read again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.api_error().is_some_and(error::is_conflict)
    }

    /// Whether the object vanished under the write.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.api_error().is_some_and(error::is_not_found)
    }
}

impl ReconcileError for ApplyError {
    fn category(&self) -> &'static str {
        match self {
            Self::Api { source, .. } => error::category(source),
            Self::NotOurs { .. } => "not_ours",
            Self::BeingDeleted { .. } => "being_deleted",
            Self::Serialise { .. } => "malformed",
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Api { source, .. } => error::is_retryable(source),
            // Somebody may rename or remove it without touching the object under reconcile.
            Self::NotOurs { .. } | Self::BeingDeleted { .. } => true,
            Self::Serialise { .. } => false,
        }
    }
}

/// An object that is certainly there, and whether this call made it.
#[derive(Debug, Clone)]
pub struct Ensured<K> {
    /// The object as the API server holds it.
    pub object: K,
    /// False when it was there before.
    pub created: bool,
}

/// What has to agree for an existing object to count as the one that was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// Owners' UIDs, the name's tuple, and every field outside of metadata and status that the wanted object states.
    OwnerAndSpec,
    /// Owners' UIDs and the name's tuple. For objects whose name says everything that matters, when a later edit of
    /// the user's spec must not make the earlier object a stranger.
    Owner,
}

/// Server-side apply of the whole object as `manager`, taking over fields that others set.
///
/// What the object leaves out, and this manager had set before, is removed. Status, UID, resourceVersion and
/// managedFields are not sent.
///
/// # Errors
/// [`ApplyError::Api`] when the API server refuses or cannot be reached.
pub async fn apply<K>(api: &Api<K>, manager: &str, object: &K) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let body = desired(object)?;
    let name = object.meta().name.as_deref().unwrap_or_default();
    api.patch(name, &PatchParams::apply(manager).force(), &Patch::Apply(&body))
        .await
        .map_err(|source| ApplyError::api::<K>("apply", object.meta(), source))
}

/// Creates the object, or accepts the one that is there if owner UIDs, tuple and spec agree (architecture §4 rule 2).
///
/// # Errors
/// [`ApplyError::NotOurs`] when another object bears the name, [`ApplyError::BeingDeleted`] when ours is on its way
/// out, [`ApplyError::Api`] otherwise. After an API error the object may exist: call again, it is then accepted.
pub async fn create_if_absent<K>(api: &Api<K>, object: &K) -> Result<Ensured<K>, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    create_if_absent_matching(api, object, Match::OwnerAndSpec).await
}

/// [`create_if_absent`] with a choice of what has to agree.
///
/// # Errors
/// As [`create_if_absent`].
pub async fn create_if_absent_matching<K>(api: &Api<K>, object: &K, matching: Match) -> Result<Ensured<K>, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let refusal = match api.create(&PostParams::default(), object).await {
            Ok(object) => return Ok(Ensured { object, created: true }),
            Err(refusal) if error::is_already_exists(&refusal) => refusal,
            Err(source) => return Err(ApplyError::api::<K>("create", meta, source)),
        };
        let existing = api.get_opt(name).await.map_err(|source| ApplyError::api::<K>("get", meta, source))?;
        match existing {
            Some(existing) => {
                accept(object, &existing, matching)?;
                return Ok(Ensured { object: existing, created: false });
            }
            None if attempt < CREATE_ATTEMPTS => {}
            None => return Err(ApplyError::api::<K>("create", meta, refusal)),
        }
    }
}

/// Sets annotations (`None` removes one) on the very object that was read; a recreated one of the same name is left
/// alone.
///
/// # Errors
/// [`ApplyError::Api`]; [`ApplyError::is_conflict`] when the object was replaced.
pub async fn annotate<K>(
    api: &Api<K>,
    manager: &str,
    object: &K,
    annotations: &BTreeMap<String, Option<String>>,
) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let patch = json!({ "metadata": { "uid": object.meta().uid, "annotations": annotations } });
    merge(api, manager, object, &patch).await
}

/// [`annotate`], refused if the object changed in any way since it was read: for values that depend on the one before.
///
/// # Errors
/// [`ApplyError::Api`]; [`ApplyError::is_conflict`] when it changed.
pub async fn annotate_unchanged<K>(
    api: &Api<K>,
    manager: &str,
    object: &K,
    annotations: &BTreeMap<String, Option<String>>,
) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let meta = object.meta();
    let patch = json!({ "metadata": {
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "annotations": annotations,
    } });
    merge(api, manager, object, &patch).await
}

/// Merge patch of `/spec`, refused if the object changed since it was read.
///
/// # Errors
/// [`ApplyError::Api`]; [`ApplyError::is_conflict`] when it changed.
pub async fn patch_spec<K>(api: &Api<K>, manager: &str, object: &K, spec: &Value) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let meta = object.meta();
    let patch = json!({ "metadata": { "uid": meta.uid, "resourceVersion": meta.resource_version }, "spec": spec });
    merge(api, manager, object, &patch).await
}

pub(crate) async fn merge<K>(api: &Api<K>, manager: &str, object: &K, patch: &Value) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let meta = object.meta();
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    api.patch(meta.name.as_deref().unwrap_or_default(), &params, &Patch::Merge(patch))
        .await
        .map_err(|source| ApplyError::api::<K>("patch", meta, source))
}

/// The object as it is sent: without what the API server alone writes.
fn desired<K>(object: &K) -> Result<Value, ApplyError>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    let mut body = serde_json::to_value(object).map_err(|source| ApplyError::Serialise {
        kind: K::kind(&()).into_owned(),
        name: object.meta().name.clone().unwrap_or_default(),
        source,
    })?;
    if let Some(map) = body.as_object_mut() {
        map.remove("status");
    }
    if let Some(meta) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp"] {
            meta.remove(field);
        }
    }
    Ok(body)
}

fn accept<K>(wanted: &K, existing: &K, matching: Match) -> Result<(), ApplyError>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    let kind = || K::kind(&()).into_owned();
    let meta = existing.meta();
    let namespace = meta.namespace.clone().unwrap_or_default();
    let name = meta.name.clone().unwrap_or_default();
    if let Some(difference) = identity_difference(wanted.meta(), meta) {
        return Err(ApplyError::NotOurs { kind: kind(), namespace, name, difference });
    }
    if meta.deletion_timestamp.is_some() {
        return Err(ApplyError::BeingDeleted { kind: kind(), namespace, name });
    }
    if matching == Match::Owner {
        return Ok(());
    }
    let serialise = |object: &K| {
        serde_json::to_value(object).map_err(|source| ApplyError::Serialise {
            kind: kind(),
            name: object.meta().name.clone().unwrap_or_default(),
            source,
        })
    };
    let (wanted, existing) = (serialise(wanted)?, serialise(existing)?);
    for (field, value) in wanted.as_object().into_iter().flatten() {
        if matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status") {
            continue;
        }
        if let Err(difference) = covers(existing.get(field), value, field) {
            return Err(ApplyError::NotOurs { kind: kind(), namespace, name, difference });
        }
    }
    Ok(())
}

/// What tells the existing object apart from the wanted one, judged by owners and by the name's tuple.
fn identity_difference(wanted: &ObjectMeta, existing: &ObjectMeta) -> Option<String> {
    let owners = existing.owner_references.as_deref().unwrap_or_default();
    for owner in wanted.owner_references.as_deref().unwrap_or_default() {
        if !owners.iter().any(|other| other.uid == owner.uid) {
            return Some(format!("it is not owned by {} {}", owner.kind, owner.name));
        }
    }
    let tuple = |meta: &ObjectMeta| meta.annotations.as_ref().and_then(|all| all.get(TUPLE_ANNOTATION)).cloned();
    let wanted_tuple = tuple(wanted)?;
    (tuple(existing).as_ref() != Some(&wanted_tuple)).then(|| "its name stands for something else".to_owned())
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
