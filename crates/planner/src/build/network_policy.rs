//! Leave for our pods to speak in a namespace that denies it by default (architecture §7).

use std::collections::BTreeMap;

use crd_types::{BackupConfiguration, labels, names::CORE_GROUP};
use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicySpec},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
};

use super::{
    job::{self, SessionRef},
    labels::labelled,
    objects::owner,
};

/// The policy of one session: its movers may reach the control plane, the cluster's DNS and the store, wherever that is. It
/// goes with the session that owns it, and admits nobody to the movers.
pub fn network_policy(session: &SessionRef<'_>) -> NetworkPolicy {
    let uid = session.metadata.uid.as_deref().unwrap_or_default();
    let movers = labelled([(labels::SESSION_UID, uid)]);
    // A UID is nobody else's, so the name needs no second choice.
    egress_policy(format!("orlop-movers-{uid}"), session.metadata, job::owner(session), movers)
}

/// The policy of one configuration: the pods of its CronJobs may reach the scheduler. It goes with the configuration.
pub fn trigger_network_policy(configuration: &BackupConfiguration) -> NetworkPolicy {
    let metadata = &configuration.metadata;
    let triggers = labelled([
        (labels::COMPONENT, labels::component::TRIGGER),
        (labels::INVOKER_NAME, metadata.name.as_deref().unwrap_or_default()),
    ]);
    let name = format!("orlop-triggers-{}", metadata.uid.as_deref().unwrap_or_default());
    egress_policy(name, metadata, owner("BackupConfiguration", CORE_GROUP, metadata), triggers)
}

fn egress_policy(name: String, of: &ObjectMeta, owner: OwnerReference, pods: BTreeMap<String, String>) -> NetworkPolicy {
    let mut labels = pods.clone();
    labels.extend(labelled([(labels::MANAGED_BY, labels::MANAGED_BY_VALUE)]));
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: of.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(pods), match_expressions: None }),
            policy_types: Some(vec!["Egress".to_owned()]),
            // A rule without peers and ports allows all of them.
            egress: Some(vec![NetworkPolicyEgressRule::default()]),
            ingress: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The movers of this session and no other pod of the namespace, and never a way in.
    #[test]
    fn it_lets_the_sessions_own_movers_out() {
        let metadata = ObjectMeta { name: Some("web-1".into()), uid: Some("uid-1".into()), ..ObjectMeta::default() };
        let policy = network_policy(&SessionRef { kind: "BackupSession", metadata: &metadata, session: None });
        let spec = policy.spec.unwrap_or_default();
        let selected = spec.pod_selector.and_then(|selector| selector.match_labels).unwrap_or_default();
        assert_eq!(selected, BTreeMap::from([(labels::SESSION_UID.to_owned(), "uid-1".to_owned())]));
        assert_eq!((spec.policy_types, spec.ingress), (Some(vec!["Egress".to_owned()]), None));
        assert_eq!(policy.metadata.owner_references.unwrap_or_default()[0].uid, "uid-1");
    }
}
