//! Writing status: server-side apply to the subresource, one field manager per process.

use std::fmt::Debug;

use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::error::{self, ReconcileError};

/// What must hold for a status to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Whatever the object became meanwhile, the fields of this manager are its own.
    None,
    /// The object is still the one that was read. Required for every change of a phase (architecture §4 rule 1).
    Version,
}

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The object changed since it was read; read it and decide again.
    #[error("{kind} {namespace}/{name} changed while its status was computed")]
    Conflict {
        /// Kind of the object.
        kind: String,
        /// Namespace.
        namespace: String,
        /// Name of the object.
        name: String,
    },
    /// The object is gone.
    #[error("{kind} {namespace}/{name} is gone")]
    Gone {
        /// Kind of the object.
        kind: String,
        /// Namespace.
        namespace: String,
        /// Name of the object.
        name: String,
    },
    /// The API server refused or could not be reached.
    #[error("status of {kind} {namespace}/{name}: {source}")]
    Api {
        /// Kind of the object.
        kind: String,
        /// Namespace.
        namespace: String,
        /// Name of the object.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

impl ReconcileError for StatusError {
    fn category(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "conflict",
            Self::Gone { .. } => "not_found",
            Self::Api { source, .. } => error::category(source),
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Conflict { .. } | Self::Gone { .. } => true,
            Self::Api { source, .. } => error::is_retryable(source),
        }
    }
}

/// Applies `status` to the object as `manager`.
///
/// `status` is the complete set of fields this manager owns: what it leaves out, and the manager had set before, is
/// removed. Fields and conditions of other managers stay.
///
/// # Errors
/// [`StatusError::Conflict`] only with [`Guard::Version`]; [`StatusError::Gone`] when the object was deleted.
pub async fn apply_status<K, S>(api: &Api<K>, manager: &str, object: &K, status: &S, guard: Guard) -> Result<K, StatusError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    let mut metadata = json!({ "name": name });
    // A namesake that was created meanwhile must not inherit this status.
    if let Some(uid) = &meta.uid {
        metadata["uid"] = json!(uid);
    }
    if let (Guard::Version, Some(version)) = (guard, &meta.resource_version) {
        metadata["resourceVersion"] = json!(version);
    }
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": metadata,
        "status": status,
    });
    let params = PatchParams::apply(manager).force();
    api.patch_status(name, &params, &Patch::Apply(&body)).await.map_err(|source| {
        let kind = K::kind(&()).into_owned();
        let namespace = meta.namespace.clone().unwrap_or_default();
        let name = name.to_owned();
        if error::is_not_found(&source) {
            StatusError::Gone { kind, namespace, name }
        } else if error::is_conflict(&source) {
            StatusError::Conflict { kind, namespace, name }
        } else {
            StatusError::Api { kind, namespace, name, source: Box::new(source) }
        }
    })
}
