//! Who this cluster is and which machine a node is: the two facts a lock carries to prove its holder's death
//! (architecture §4 rule 7).

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::{Api, Client};

/// Namespace whose UID stands for the cluster: made once, at its birth, and never again.
const CLUSTER_NAMESPACE: &str = "kube-system";

/// UID of the `kube-system` namespace.
///
/// # Errors
/// The API server's answer.
pub async fn cluster_uid(client: &Client) -> Result<String, kube::Error> {
    let namespace = Api::<Namespace>::all(client.clone()).get(CLUSTER_NAMESPACE).await?;
    Ok(namespace.metadata.uid.unwrap_or_default())
}

/// `/etc/machine-id` of a node as its kubelet reports it; unlike the cluster's UID a cloned etcd does not share it.
/// `None` when the node is gone or reports none.
///
/// # Errors
/// The API server's answer when it could not be asked.
pub async fn node_machine_id(client: &Client, node: &str) -> Result<Option<String>, kube::Error> {
    let node = Api::<Node>::all(client.clone()).get_opt(node).await?;
    Ok(node
        .and_then(|node| node.status)
        .and_then(|status| status.node_info)
        .map(|info| info.machine_id)
        .filter(|id| !id.is_empty()))
}
