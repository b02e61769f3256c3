//! What every part of the process shares.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use kube_kit::{error::within, events::Events};
use planner::access::SecretRule;

use crate::{args::SharedStorageKeys, backends::Backends, limits::API_TIMEOUT, metrics::InitializerMetrics};

/// Rules of the installation that every use is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// May keys of storages be shared with other namespaces?
    pub shared_storage_keys: SharedStorageKeys,
    /// May Secrets of other namespaces be used?
    pub cross_namespace_secrets: SecretRule,
}

/// What every part of the process shares. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Namespace that Orlop is installed in.
    pub namespace: String,
    /// Stores.
    pub backends: Backends,
    /// Events on the objects that people look at.
    pub events: Events,
    /// Rules of the installation.
    pub policy: Policy,
    /// Counters.
    pub metrics: InitializerMetrics,
}

/// The labels of a namespace could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read namespace {namespace}: {cause}")]
pub struct NamespaceError {
    namespace: String,
    cause: String,
}

impl Context {
    /// Labels of a namespace, as they are now: a changed label revokes at once (reliability S-04).
    ///
    /// # Errors
    /// When the API server could not be asked. A namespace that is gone has no labels.
    pub async fn namespace_labels(&self, namespace: &str) -> Result<BTreeMap<String, String>, NamespaceError> {
        let failed = |cause: String| NamespaceError { namespace: namespace.to_owned(), cause };
        let api: Api<Namespace> = Api::all(self.client.clone());
        let found = within("the namespace", API_TIMEOUT, api.get_opt(namespace))
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))?;
        Ok(found.and_then(|namespace| namespace.metadata.labels).unwrap_or_default())
    }
}
