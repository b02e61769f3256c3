//! What was asked of the server.

use std::collections::{BTreeMap, BTreeSet};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Verb as RBAC spells it.
    pub verb: &'static str,
    /// API group, empty for the core one.
    pub group: String,
    /// Resource in plural.
    pub resource: String,
    /// Subresource, empty for none.
    pub subresource: String,
    /// Namespace, empty for cluster-wide requests.
    pub namespace: String,
    /// Name, empty for lists, watches and creates.
    pub name: String,
    /// Field manager, empty if none was named.
    pub manager: String,
    /// HTTP status of the answer; 0 while there is none.
    pub answer: u16,
}

pub(super) fn verbs(recorded: &[Recorded]) -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut verbs: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for request in recorded {
        let resource = if request.subresource.is_empty() {
            request.resource.clone()
        } else {
            format!("{}/{}", request.resource, request.subresource)
        };
        verbs.entry((request.group.clone(), resource)).or_default().insert(request.verb.to_owned());
    }
    verbs
}
