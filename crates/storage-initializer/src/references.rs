//! How objects name each other.

use std::time::Duration;

use crd_types::{BackupStorage, ObjectReference, Repository, Snapshot};
use jiff::Timestamp;
use kube::{Resource, ResourceExt as _};

/// `namespace/name`.
pub fn display<K: Resource>(object: &K) -> String {
    format!("{}/{}", namespace(object), object.name_any())
}

/// The namespace of an object; empty for none.
pub fn namespace<K: Resource>(object: &K) -> String {
    object.namespace().unwrap_or_default()
}

/// The namespace and name that a reference in `namespace` means (specification §1.2.0).
pub fn resolve(reference: &ObjectReference, namespace: &str) -> (String, String) {
    let named = reference.namespace.as_deref().filter(|named| !named.is_empty());
    (named.unwrap_or(namespace).to_owned(), reference.name.clone())
}

/// The BackupStorage of a Repository.
pub fn storage_of(repository: &Repository) -> Option<(String, String)> {
    repository.spec.storage_ref.as_ref().map(|reference| resolve(reference, &namespace(repository)))
}

/// Whether a Repository lies on this storage.
pub fn is_on(repository: &Repository, storage: &BackupStorage) -> bool {
    storage_of(repository).is_some_and(|(space, name)| space == namespace(storage) && name == storage.name_any())
}

/// Whether a Snapshot belongs to this Repository.
pub fn is_in(snapshot: &Snapshot, repository: &Repository) -> bool {
    snapshot.spec.repository.as_deref() == Some(repository.name_any().as_str()) && namespace(snapshot) == namespace(repository)
}

/// How long ago the object's deletion was asked for; zero if it was not.
pub fn deleting_for<K: Resource>(object: &K, now: Timestamp) -> Duration {
    let asked = object.meta().deletion_timestamp.as_ref().map(|time| time.0);
    asked.map_or(Duration::ZERO, |asked| Duration::try_from(now.duration_since(asked)).unwrap_or_default())
}
