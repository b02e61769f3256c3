//! The arguments as the controllers use them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use planner::admission::Limits;
use planner::build::PodManners;
use service_kit::environment;

use crate::args::{AdmissionArgs, MoverArgs};

/// Port of every service's gRPC.
const GRPC_PORT: u16 = 9443;

/// What a Job's pod is told of the control plane.
#[derive(Clone, Debug)]
pub struct Services {
    /// Host and port at which movers find the leader: the headless Service.
    pub session_address: String,
    /// Name on the session-controller's certificate.
    pub session_server_name: String,
    /// Host and port of the storage-initializer.
    pub storage_address: String,
    /// Name on its certificate.
    pub storage_server_name: String,
}

impl Services {
    fn of_namespace(namespace: &str) -> Self {
        let name = |service: &str| format!("{service}.{namespace}.svc");
        Self {
            session_address: format!("{}:{GRPC_PORT}", name("orlop-session-controller-headless")),
            session_server_name: name("orlop-session-controller"),
            storage_address: format!("{}:{GRPC_PORT}", name("orlop-storage-initializer")),
            storage_server_name: name("orlop-storage-initializer"),
        }
    }
}

/// Everything that an administrator chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Image of the data-mover.
    pub mover_image: String,
    /// What all pods of Jobs have in common.
    pub manners: PodManners,
    /// Whether each session's movers get a NetworkPolicy that lets them out.
    pub mover_network_policy: bool,
    /// Where movers find the control plane.
    pub services: Services,
    /// Time between two writes of progress.
    pub progress_interval: Duration,
    /// Time in which all stored data is read back once, unless a configuration says another; `None` for never.
    pub data_check_period: Option<SignedDuration>,
    /// How much runs at once.
    pub limits: Limits,
}

impl Settings {
    /// Reads the arguments, and what pods inherit from this process's environment.
    pub fn new(namespace: &str, mover: &MoverArgs, admission: &AdmissionArgs) -> Self {
        let some = |limit: u32| (limit > 0).then_some(limit);
        Self {
            mover_image: mover.mover_image.clone(),
            manners: PodManners {
                image_pull_secrets: mover.mover_image_pull_secrets.iter().filter(|name| !name.is_empty()).cloned().collect(),
                image_pull_policy: Some(mover.mover_image_pull_policy.clone()),
                no_proxy_hosts: vec![format!("{namespace}.svc"), format!("{namespace}.svc.cluster.local")],
                default_requests: quantities(&mover.mover_requests),
                default_limits: quantities(&mover.mover_limits),
                ..PodManners::inherited(environment::variables())
            },
            mover_network_policy: mover.mover_network_policy,
            services: Services::of_namespace(namespace),
            progress_interval: mover.progress_interval(),
            data_check_period: mover.data_check_period.0,
            limits: Limits {
                cluster: some(admission.max_sessions),
                storage: some(admission.max_sessions_per_storage),
                node: some(admission.max_sessions_per_node),
            },
        }
    }
}

/// `cpu=100m` and `memory=128Mi` as a map; what is not of that form is left out, with a warning.
fn quantities(pairs: &[String]) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for pair in pairs.iter().filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((resource, quantity)) => drop(map.insert(resource.trim().to_owned(), quantity.trim().to_owned())),
            None => tracing::warn!(pair, "resource is not of the form name=quantity and is ignored"),
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_read_as_pairs() {
        let map = quantities(&["cpu=100m".into(), "memory = 1Gi".into(), String::new(), "nonsense".into()]);
        assert_eq!(map.into_iter().collect::<Vec<_>>(), [("cpu".into(), "100m".into()), ("memory".into(), "1Gi".into())]);
    }

    #[test]
    fn services_are_named_for_their_namespace() {
        let services = Services::of_namespace("backup");
        assert_eq!(services.session_address, "orlop-session-controller-headless.backup.svc:9443");
        assert_eq!(services.storage_server_name, "orlop-storage-initializer.backup.svc");
    }
}
