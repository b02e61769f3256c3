//! Create, update, patch and delete.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    fields::stated,
    merge::{apply, merge_patch, prune_nulls},
    record::Recorded,
    request::Refusal,
    route::Route,
    state::{Key, Propagation, State},
};

/// How a PATCH is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatchKind {
    Apply,
    Merge,
}

type Answer = Result<(u16, Value), Refusal>;

impl State {
    pub(super) fn create(&mut self, route: &Route, mut object: Value) -> Answer {
        prune_nulls(&mut object);
        if let Some(prefix) = object["metadata"]["generateName"].as_str().map(str::to_owned)
            && object["metadata"]["name"].is_null()
        {
            object["metadata"]["name"] = json!(format!("{prefix}{:05}", self.unique()));
        }
        let key = key_of(route, object["metadata"]["name"].as_str().unwrap_or_default());
        if key.name.is_empty() {
            return Err(Refusal::new(422, "Invalid", "name or generateName is required"));
        }
        if self.object(&key).is_some() {
            return Err(Refusal::exists(&key));
        }
        self.refuse_terminating_namespace(&key)?;
        if !key.namespace.is_empty() {
            object["metadata"]["namespace"] = json!(key.namespace);
        }
        if has_status(&key)
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        object["metadata"]["uid"] = json!(self.uid());
        object["metadata"]["creationTimestamp"] = json!(self.time());
        object["metadata"]["generation"] = json!(1);
        Ok((201, self.store(&key, object)))
    }

    pub(super) fn update(&mut self, route: &Route, mut object: Value) -> Answer {
        prune_nulls(&mut object);
        let key = key_of(route, &route.name);
        let before = self.object(&key).cloned().ok_or_else(|| Refusal::not_found(&key))?;
        refuse_stale(&key, &before, &object)?;
        Ok((200, self.replace(&key, &route.subresource, &before, object)))
    }

    pub(super) fn patch(&mut self, route: &Route, kind: PatchKind, patch: &Value) -> Answer {
        let key = key_of(route, &route.name);
        let Some(before) = self.object(&key).cloned() else {
            return self.patch_absent(route, &key, kind, patch);
        };
        refuse_stale(&key, &before, patch)?;
        let mut after = before.clone();
        match kind {
            PatchKind::Merge => merge_patch(&mut after, patch),
            PatchKind::Apply => {
                let manager = (key.clone(), route.subresource.clone(), route.parameter("fieldManager").to_owned());
                let had = self.managed.get(&manager).cloned().unwrap_or_default();
                let others: BTreeSet<_> = self
                    .managed
                    .iter()
                    .filter(|(other, _)| other.0 == key && **other != manager)
                    .flat_map(|(_, paths)| paths.iter().cloned())
                    .collect();
                let now = apply(&mut after, &config(patch, &route.subresource), &had, &others);
                self.managed.insert(manager, now);
            }
        }
        prune_nulls(&mut after);
        Ok((200, self.replace(&key, &route.subresource, &before, after)))
    }

    /// Applying to the object itself makes it; everything else needs it to be there.
    fn patch_absent(&mut self, route: &Route, key: &Key, kind: PatchKind, patch: &Value) -> Answer {
        if kind == PatchKind::Merge || !route.subresource.is_empty() {
            return Err(Refusal::not_found(key));
        }
        if !patch["metadata"]["uid"].is_null() {
            return Err(Refusal::conflict(key, "uid mismatch: no existing object was found"));
        }
        let mut object = patch.clone();
        object["metadata"]["name"] = json!(key.name);
        let manager = (key.clone(), String::new(), route.parameter("fieldManager").to_owned());
        self.managed.insert(manager, stated(&config(patch, "")));
        // The API server asks its authoriser for `create` too, so RBAC has to grant both.
        if let Some(request) = self.recorded.last().cloned() {
            let position = self.recorded.len() - 1;
            self.recorded.insert(position, Recorded { verb: "create", answer: 201, ..request });
        }
        self.create(route, object)
    }

    /// Stores the part that the endpoint may write.
    fn replace(&mut self, key: &Key, subresource: &str, before: &Value, written: Value) -> Value {
        let mut after = written;
        if subresource == "status" {
            let status = after["status"].take();
            after = before.clone();
            after["status"] = status;
        } else if has_status(key) {
            after["status"] = before["status"].clone();
        }
        prune_nulls(&mut after);
        for field in ["uid", "creationTimestamp", "deletionTimestamp", "generation", "name", "namespace"] {
            after["metadata"][field] = before["metadata"][field].clone();
        }
        prune_nulls(&mut after);
        let content = |object: &Value| {
            let mut object = object.clone();
            if let Some(fields) = object.as_object_mut() {
                fields.remove("metadata");
                fields.remove("status");
            }
            object
        };
        if content(before) != content(&after) {
            after["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        self.store(key, after)
    }

    pub(super) fn delete(&mut self, route: &Route, options: &Value) -> Answer {
        let key = key_of(route, &route.name);
        let object = self.object(&key).cloned().ok_or_else(|| Refusal::not_found(&key))?;
        let required = &options["preconditions"];
        for field in ["uid", "resourceVersion"] {
            if !required[field].is_null() && required[field] != object["metadata"][field] {
                return Err(Refusal::conflict(&key, &format!("precondition failed: {field} does not match")));
            }
        }
        let propagation = match options["propagationPolicy"].as_str() {
            Some("Orphan") => Propagation::Orphan,
            _ => Propagation::Background,
        };
        Ok((200, self.remove(&key, propagation).unwrap_or(object)))
    }

    fn refuse_terminating_namespace(&self, key: &Key) -> Result<(), Refusal> {
        let namespace = Key::of(&(String::new(), "namespaces".to_owned()), "", &key.namespace);
        let is_terminating = self.object(&namespace).is_some_and(|found| !found["metadata"]["deletionTimestamp"].is_null());
        if is_terminating {
            let message = format!("unable to create new content in namespace {} because it is being terminated", key.namespace);
            return Err(Refusal::new(403, "Forbidden", message));
        }
        Ok(())
    }
}

pub(super) fn key_of(route: &Route, name: &str) -> Key {
    Key::of(&(route.group.clone(), route.resource.clone()), &route.namespace, name)
}

/// What an applied configuration owns: not the identity it only states to be addressed.
fn config(patch: &Value, subresource: &str) -> Value {
    let mut config = patch.clone();
    if let Some(fields) = config.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
        if subresource == "status" {
            fields.retain(|name, _| name == "status");
        } else {
            fields.remove("status");
        }
    }
    if let Some(meta) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
            meta.remove(field);
        }
    }
    prune_nulls(&mut config);
    config
}

fn refuse_stale(key: &Key, before: &Value, written: &Value) -> Result<(), Refusal> {
    for field in ["resourceVersion", "uid"] {
        let stated = &written["metadata"][field];
        if !stated.is_null() && *stated != before["metadata"][field] {
            return Err(Refusal::conflict(key, "the object has been modified; please apply your changes to the latest version"));
        }
    }
    Ok(())
}

/// Kinds whose status is written through the subresource only.
fn has_status(key: &Key) -> bool {
    key.group.ends_with("kubestash.com")
        || matches!(
            key.resource.as_str(),
            "jobs" | "cronjobs" | "pods" | "deployments" | "statefulsets" | "daemonsets" | "persistentvolumeclaims"
        )
}
