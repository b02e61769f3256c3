//! How objects name each other.

use crd_types::{BackupConfiguration, ObjectReference, Session, TypedObjectReference};
use kube::{Resource, ResourceExt as _};
use planner::names::Owner;

/// The namespace of an object; empty for none.
pub fn namespace<K: Resource>(object: &K) -> String {
    object.namespace().unwrap_or_default()
}

/// `namespace/name`.
pub fn full_name<K: Resource>(object: &K) -> String {
    format!("{}/{}", namespace(object), object.name_any())
}

/// The object as an owner of names.
pub fn owner<K: Resource>(object: &K) -> Owner {
    Owner::new(namespace(object), object.name_any(), object.uid().unwrap_or_default())
}

/// The namespace and name that a reference in `namespace` means (specification §1.2.0).
pub fn resolve(reference: &ObjectReference, namespace: &str) -> (String, String) {
    let named = reference.namespace.as_deref().filter(|named| !named.is_empty());
    (named.unwrap_or(namespace).to_owned(), reference.name.clone())
}

/// Kind, namespace and name of a workload, as far as two references can be compared: the group may be left out.
pub fn workload(reference: &TypedObjectReference, namespace: &str) -> (String, String, String) {
    let named = reference.namespace.as_deref().filter(|named| !named.is_empty());
    (reference.kind.clone().unwrap_or_default(), named.unwrap_or(namespace).to_owned(), reference.name.clone())
}

/// The name of a session; validation has made sure that there is one.
pub fn session_name(session: &Session) -> &str {
    session.name.as_deref().unwrap_or_default()
}

/// The session of that name.
pub fn session<'a>(configuration: &'a BackupConfiguration, name: &str) -> Option<&'a Session> {
    configuration.spec.sessions.iter().find(|session| session_name(session) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_namespace_is_the_referring_ones() {
        let reference = |namespace: Option<&str>| ObjectReference { name: "a".into(), namespace: namespace.map(str::to_owned) };
        assert_eq!(resolve(&reference(None), "shop").0, "shop");
        assert_eq!(resolve(&reference(Some("")), "shop").0, "shop");
        assert_eq!(resolve(&reference(Some("bank")), "shop").0, "bank");
    }
}
