//! What every part of the process shares.

use std::{fmt::Debug, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use kube_kit::{events::Events, review::Reviewer};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::{metrics::ScheduleMetrics, settings::Settings};

/// What every part of the process shares. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the administrator chose.
    pub settings: Arc<Settings>,
    /// Events on the objects that people look at.
    pub events: Events,
    /// Asks the API server who a caller is and what he may do.
    pub reviewer: Reviewer,
    /// Counters.
    pub metrics: ScheduleMetrics,
    /// Certificate authorities that trigger pods trust, PEM; absent until the storage-initializer has made them.
    pub ca_bundle: watch::Receiver<Option<String>>,
    /// The time. A test sets its own.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Context {
    /// The time, as decisions take it.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The certificate authorities, once known.
    pub fn ca_bundle(&self) -> Option<String> {
        self.ca_bundle.borrow().clone()
    }

    /// Objects of a kind in one namespace.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        Api::namespaced(self.client.clone(), namespace)
    }
}
