//! Own writes are seen before acting again (architecture §4 rule 8).
//!
//! A reconcile reads its object from a cache that lags behind the API server. If it wrote that object a moment ago and
//! decides again on the state before the write, it does things twice. So every own write leaves its resourceVersion
//! here, and the controller holds the key until the cache is at least that new.

use std::{collections::HashMap, sync::Arc};

use kube::Resource;
use parking_lot::Mutex;

/// Namespace and name of a reconciled object.
pub type Key = (String, String);

/// The newest resourceVersion that this process wrote, per object. Clones share one memory; one per controller.
#[derive(Debug, Clone, Default)]
pub struct OwnWrites {
    written: Arc<Mutex<HashMap<Key, String>>>,
}

impl OwnWrites {
    /// Remembers the object as an API call returned it.
    pub fn record<K>(&self, object: &K)
    where
        K: Resource,
    {
        let meta = object.meta();
        if let (Some(name), Some(version)) = (&meta.name, &meta.resource_version) {
            self.record_version(meta.namespace.as_deref().unwrap_or_default(), name, version);
        }
    }

    /// Remembers `version` for the object of that name. An older version never replaces a newer one.
    pub fn record_version(&self, namespace: &str, name: &str, version: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut written = self.written.lock();
        match written.get(&key) {
            Some(known) if !is_at_least(version, known) => {}
            _ => {
                written.insert(key, version.to_owned());
            }
        }
    }

    /// Whether a cache that holds `cached` has seen our last write. Forgets the write when it has.
    #[must_use]
    pub fn has_caught_up(&self, namespace: &str, name: &str, cached: Option<&str>) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        let mut written = self.written.lock();
        let Some(own) = written.get(&key) else {
            return true;
        };
        let caught_up = cached.is_some_and(|cached| is_at_least(cached, own));
        if caught_up {
            written.remove(&key);
        }
        caught_up
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.written.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }
}

/// Compares resourceVersions of one kind. They are decimal numbers that only grow (guaranteed since Kubernetes 1.35,
/// true in practice since etcd 3); should one not be a number, only equality counts.
fn is_at_least(version: &str, wanted: &str) -> bool {
    match (version.parse::<u128>(), wanted.parse::<u128>()) {
        (Ok(version), Ok(wanted)) => version >= wanted,
        _ => version == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// reliability B5: a stale cache never drives a decision.
    #[test]
    fn key_is_held_until_the_cache_has_the_write() {
        let writes = OwnWrites::default();
        assert!(writes.has_caught_up("ns", "a", Some("5")));
        writes.record_version("ns", "a", "10");
        assert!(!writes.has_caught_up("ns", "a", Some("9")));
        assert!(writes.has_caught_up("ns", "b", Some("9")));
        assert!(writes.has_caught_up("ns", "a", Some("10")));
        assert!(writes.has_caught_up("ns", "a", Some("9")), "forgotten once seen");
    }

    #[test]
    fn versions_compare_as_numbers_and_never_go_back() {
        let writes = OwnWrites::default();
        writes.record_version("ns", "a", "100");
        writes.record_version("ns", "a", "99");
        assert!(!writes.has_caught_up("ns", "a", Some("99")));
        assert!(writes.has_caught_up("ns", "a", Some("1000")));
    }
}
