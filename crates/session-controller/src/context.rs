//! What every part of the process shares.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube_kit::events::Events;
use kube_kit::review::Reviewer;
use service_kit::job_proof::ProofKey;
use tokio::sync::watch;

use crate::attach::Registry;
use crate::material::ProofKeyWatch;
use crate::metrics::SessionMetrics;
use crate::pods::{LivePods, Records};
use crate::queue::Queue;
use crate::settings::Settings;

/// How long one call to the API server may take before the reconcile gives up on it.
pub const API_TIMEOUT: Duration = Duration::from_secs(15);

/// What every part of the process shares. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Namespace that Orlop is installed in.
    pub namespace: String,
    /// UID of the cluster's kube-system namespace: the cluster's identity in locks.
    pub cluster_uid: String,
    /// What the administrator chose.
    pub settings: Arc<Settings>,
    /// Events on the objects that people look at.
    pub events: Events,
    /// Asks the API server who a caller is and what he may do.
    pub reviewer: Reviewer,
    /// Counters.
    pub metrics: SessionMetrics,
    /// Certificate authorities that movers trust, PEM; absent until the storage-initializer has made them.
    pub ca_bundle: watch::Receiver<Option<String>>,
    /// Key that proves which Jobs are Orlop's; absent until the storage-initializer has made it.
    pub proof_key: ProofKeyWatch,
    /// What attached movers say, and what they are told.
    pub registry: Registry,
    /// Movers' containers that were seen to end.
    pub records: Records,
    /// Movers' pods that run now.
    pub live_pods: LivePods,
    /// Sessions that wait for their turn.
    pub queue: Queue,
}

impl Context {
    /// The time by this machine's clock. Decisions take it as an argument.
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// The certificate authorities, once known.
    pub fn ca_bundle(&self) -> Option<String> {
        self.ca_bundle.borrow().clone()
    }

    /// The key, once known.
    pub fn proof_key(&self) -> Option<Arc<ProofKey>> {
        self.proof_key.borrow().clone()
    }
}
