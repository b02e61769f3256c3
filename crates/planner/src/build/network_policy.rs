//! Leave for movers to speak in a namespace that denies it by default (architecture §7).

use std::collections::BTreeMap;

use crd_types::labels;
use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicySpec},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use super::{
    job::{SessionRef, owner},
    labels::labelled,
};

/// The policy of one session: its movers may reach the control plane, the cluster's DNS and the store, wherever that is. It
/// goes with the session that owns it, and admits nobody to the movers.
pub fn network_policy(session: &SessionRef<'_>) -> NetworkPolicy {
    let uid = session.metadata.uid.clone().unwrap_or_default();
    let movers = BTreeMap::from([(labels::SESSION_UID.to_owned(), uid.clone())]);
    NetworkPolicy {
        metadata: ObjectMeta {
            // A UID is nobody else's, so the name needs no second choice.
            name: Some(format!("orlop-movers-{uid}")),
            namespace: session.metadata.namespace.clone(),
            labels: Some(labelled([(labels::MANAGED_BY, labels::MANAGED_BY_VALUE), (labels::SESSION_UID, uid.as_str())])),
            owner_references: Some(vec![owner(session)]),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(movers), match_expressions: None }),
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
