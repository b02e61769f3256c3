//! What a controller's watch has seen, readable by the rest of the process.

use std::sync::Arc;

use kube::{
    core::DeserializeGuard,
    runtime::reflector::{self, ObjectRef},
};

use super::Resource;

/// The cache of a controlled kind. It lags behind the API server: good for answers and for mapping events to objects,
/// never the ground of a deletion (architecture §4 rule 6).
#[derive(Debug)]
pub struct Store<K: Resource> {
    reader: reflector::Store<DeserializeGuard<K>>,
}

impl<K: Resource> Clone for Store<K> {
    fn clone(&self) -> Self {
        Self { reader: self.reader.clone() }
    }
}

impl<K: Resource> Store<K> {
    pub(super) fn new(reader: reflector::Store<DeserializeGuard<K>>) -> Self {
        Self { reader }
    }

    /// The object, if the watch has seen it and it parses.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::<DeserializeGuard<K>>::new(name).within(namespace);
        self.reader.get(&key).and_then(|guard| guard.0.as_ref().ok().cloned().map(Arc::new))
    }

    /// Every object that parses, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        self.filter(|_| true)
    }

    /// Every object that parses and satisfies `wanted`, in no order. Only those are copied.
    #[must_use]
    pub fn filter(&self, wanted: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.reader
            .state_filter(|guard| guard.0.as_ref().is_ok_and(&wanted))
            .into_iter()
            .filter_map(|guard| guard.0.as_ref().ok().cloned().map(Arc::new))
            .collect()
    }

    /// Namespace and name of every object that parses and satisfies `wanted`; nothing is copied but those.
    #[must_use]
    pub fn keys(&self, wanted: impl Fn(&K) -> bool) -> Vec<(String, String)> {
        self.reader
            .state_filter(|guard| guard.0.as_ref().is_ok_and(&wanted))
            .into_iter()
            .filter_map(|guard| {
                let meta = kube::Resource::meta(guard.as_ref());
                Some((meta.namespace.clone().unwrap_or_default(), meta.name.clone()?))
            })
            .collect()
    }
}
