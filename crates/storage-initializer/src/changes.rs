//! Lets events through that change what somebody depends on, and holds back the rest.
//!
//! A Snapshot's progress changes every second and its Repository does not care; without this each look would cost calls
//! to the API server (reliability R13).

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher as _},
};

use kube::Resource;
use parking_lot::Mutex;

/// What was last seen of each object, by UID.
#[derive(Debug)]
pub struct Changes<F> {
    relevant: F,
    seen: Mutex<HashMap<String, u64>>,
}

impl<F> Changes<F> {
    /// Only what `relevant` picks counts.
    pub fn of(relevant: F) -> Self {
        Self { relevant, seen: Mutex::default() }
    }

    /// Whether the object differs from what was seen of it before. An object under deletion always does: its last event
    /// must not be missed, and there are few.
    pub fn has<K, T>(&self, object: &K) -> bool
    where
        K: Resource,
        F: Fn(&K) -> T,
        T: Hash,
    {
        let uid = object.meta().uid.clone().unwrap_or_default();
        let mut seen = self.seen.lock();
        if object.meta().deletion_timestamp.is_some() {
            seen.remove(&uid);
            return true;
        }
        let mut hasher = DefaultHasher::new();
        (self.relevant)(object).hash(&mut hasher);
        let digest = hasher.finish();
        seen.insert(uid, digest) != Some(digest)
    }
}

#[cfg(test)]
mod tests {
    use crd_types::{Snapshot, SnapshotSpec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn only_relevant_changes_pass() {
        let changes = Changes::of(|snapshot: &Snapshot| snapshot.spec.session.clone());
        let mut snapshot = Snapshot::new("s", SnapshotSpec::default());
        snapshot.metadata.uid = Some("1".to_owned());
        assert!(changes.has(&snapshot));
        snapshot.spec.paused = Some(true);
        assert!(!changes.has(&snapshot));
        snapshot.spec.session = Some("nightly".to_owned());
        assert!(changes.has(&snapshot));
        snapshot.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert!(changes.has(&snapshot));
        assert!(changes.has(&snapshot), "every event of an object under deletion passes");
    }
}
