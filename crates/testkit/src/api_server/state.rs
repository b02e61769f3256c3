//! The objects, their versions and their history.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::{
    api::{authentication::v1::UserInfo, authorization::v1::SubjectAccessReviewSpec},
    jiff::Timestamp,
};
use serde_json::{Value, json};

use super::{
    fault::Faults,
    fields::Path,
    record::Recorded,
    reviews::Answers,
    route::Route,
    watch::{Change, Watcher},
};

/// Where an object lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) group: String,
    pub(super) resource: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    pub(super) fn of((group, resource): &(String, String), namespace: &str, name: &str) -> Self {
        Self { group: group.clone(), resource: resource.clone(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(super) fn is_in(&self, route: &Route) -> bool {
        self.group == route.group
            && self.resource == route.resource
            && (route.namespace.is_empty() || route.namespace == self.namespace)
    }
}

/// What happens to the dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Propagation {
    Background,
    Orphan,
}

pub(super) type Tokens = Arc<dyn Fn(&str, &[String]) -> Option<UserInfo> + Send + Sync>;
pub(super) type Access = Arc<dyn Fn(&SubjectAccessReviewSpec) -> bool + Send + Sync>;

/// Who applied what, by object, subresource and manager.
type Managed = HashMap<(Key, String, String), BTreeSet<Path>>;

#[derive(Default)]
pub(super) struct State {
    objects: BTreeMap<Key, Value>,
    pub(super) managed: Managed,
    version: u64,
    made: u64,
    history: Vec<Change>,
    pub(super) watches: Vec<Watcher>,
    pub(super) faults: Faults,
    pub(super) recorded: Vec<Recorded>,
    pub(super) clock: Option<Timestamp>,
    pub(super) answers: Answers,
}

impl State {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn object(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }

    pub(super) fn objects(&self, (group, resource): &(String, String)) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |(key, _)| key.group == *group && key.resource == *resource).map(|(_, object)| object)
    }

    pub(super) fn selected(&self, route: &Route) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |(key, _)| key.is_in(route)).map(|(_, object)| object)
    }

    /// The time, as objects carry it: whole seconds.
    pub(super) fn time(&self) -> String {
        let now = self.clock.unwrap_or_else(Timestamp::now);
        Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
    }

    /// A number that no object has had, for names and UIDs.
    pub(super) fn unique(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    pub(super) fn uid(&mut self) -> String {
        let number = self.unique();
        format!("00000000-0000-4000-8000-{number:012}")
    }

    /// Stores a test's object as it is.
    pub(super) fn seed(&mut self, resource: &(String, String), mut object: Value) -> Value {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = Key::of(resource, &text(&object["metadata"]["namespace"]), &text(&object["metadata"]["name"]));
        assert!(!key.name.is_empty(), "a seeded object needs a name: {object}");
        let defaults = [("uid", json!(self.uid())), ("creationTimestamp", json!(self.time())), ("generation", json!(1))];
        for (field, value) in defaults {
            if object["metadata"].get(field).is_none_or(Value::is_null) {
                object["metadata"][field] = value;
            }
        }
        self.store(&key, object)
    }

    /// Replaces an object on behalf of a test: no subresource rules, but generation and finalizers behave.
    pub(super) fn overwrite(&mut self, key: &Key, mut object: Value) -> Value {
        let before = self.object(key).cloned().unwrap_or_default();
        if before["spec"] != object["spec"] {
            object["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        self.store(key, object)
    }

    /// Writes an object, tells the watches, and lets it go if it is being deleted and nothing holds it any more.
    /// A write that changes nothing makes no new version.
    pub(super) fn store(&mut self, key: &Key, mut object: Value) -> Value {
        let before = self.objects.get(key).cloned();
        if let Some(before) = &before {
            object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            if *before == object {
                return object;
            }
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let is_deleting = !object["metadata"]["deletionTimestamp"].is_null();
        let is_held = object["metadata"]["finalizers"].as_array().is_some_and(|held| !held.is_empty());
        if is_deleting && !is_held {
            self.drop_object(key, before);
        } else {
            self.objects.insert(key.clone(), object.clone());
            self.tell(Change { version: self.version, key: key.clone(), before, after: Some(object.clone()) });
        }
        object
    }

    /// Deletes an object: at once, or when its finalizers are gone.
    pub(super) fn remove(&mut self, key: &Key, propagation: Propagation) -> Option<Value> {
        let mut object = self.objects.get(key).cloned()?;
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!(self.time());
        }
        if propagation == Propagation::Orphan {
            self.orphan(&object["metadata"]["uid"].clone());
        }
        Some(self.store(key, object))
    }

    fn drop_object(&mut self, key: &Key, before: Option<Value>) {
        self.objects.remove(key);
        self.managed.retain(|(owner, ..), _| owner != key);
        let uid = before.as_ref().map(|object| object["metadata"]["uid"].clone()).unwrap_or_default();
        self.tell(Change { version: self.version, key: key.clone(), before, after: None });
        self.collect_garbage(&uid);
    }

    /// What the garbage collector does: dependents whose last owner is gone follow it.
    fn collect_garbage(&mut self, uid: &Value) {
        for key in self.dependents(uid) {
            let Some(mut object) = self.objects.get(&key).cloned() else { continue };
            drop_owner(&mut object, uid);
            let has_owner = object["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
            if has_owner {
                self.store(&key, object);
            } else {
                self.remove(&key, Propagation::Background);
            }
        }
    }

    fn orphan(&mut self, uid: &Value) {
        for key in self.dependents(uid) {
            if let Some(mut object) = self.objects.get(&key).cloned() {
                drop_owner(&mut object, uid);
                self.store(&key, object);
            }
        }
    }

    fn dependents(&self, uid: &Value) -> Vec<Key> {
        let owned = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == *uid))
        };
        self.objects.iter().filter(|(_, object)| owned(object)).map(|(key, _)| key.clone()).collect()
    }

    fn tell(&mut self, change: Change) {
        self.watches.retain(|watcher| watcher.tell(&change));
        self.history.push(change);
    }

    /// Opens a watch that first hears everything after `since`.
    pub(super) fn watch(&mut self, watcher: Watcher, since: u64) {
        let heard = self.history.iter().filter(|change| change.version > since).all(|change| watcher.tell(change));
        if heard {
            self.watches.push(watcher);
        }
    }
}

fn drop_owner(object: &mut Value, uid: &Value) {
    if let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() {
        owners.retain(|owner| owner["uid"] != *uid);
    }
}
