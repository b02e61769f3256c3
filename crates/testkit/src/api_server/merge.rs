//! The two merges of a PATCH: server-side apply and JSON merge patch.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::fields::{Path, Step, item_key, list_key, remove, stated};

/// Applies `wanted` to `live`. Fields in `before` (what this manager had applied) that are stated neither by `wanted` nor
/// by another manager go away.
pub(super) fn apply(live: &mut Value, wanted: &Value, before: &BTreeSet<Path>, others: &BTreeSet<Path>) -> BTreeSet<Path> {
    let now = stated(wanted);
    for path in before {
        if !now.contains(path) && !others.contains(path) {
            remove(live, path, &mut Vec::new());
        }
    }
    overlay(live, wanted, &mut Vec::new());
    now
}

fn overlay(live: &mut Value, wanted: &Value, path: &mut Path) {
    match wanted {
        Value::Object(fields) => {
            if !live.is_object() {
                *live = Value::Object(Map::new());
            }
            let Value::Object(live) = live else { return };
            for (name, value) in fields {
                path.push(Step::Field(name.clone()));
                overlay(live.entry(name.clone()).or_insert(Value::Null), value, path);
                path.pop();
            }
        }
        Value::Array(items) if list_key(path).is_some() && live.is_array() => {
            let Value::Array(live) = live else { return };
            for item in items {
                let key = item_key(item, path);
                match live.iter_mut().find(|known| item_key(known, path) == key) {
                    Some(known) => {
                        path.push(Step::Item(key.unwrap_or_default()));
                        overlay(known, item, path);
                        path.pop();
                    }
                    None => live.push(item.clone()),
                }
            }
        }
        other => *live = other.clone(),
    }
}

/// RFC 7386.
pub(super) fn merge_patch(live: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *live = patch.clone();
        return;
    };
    if !live.is_object() {
        *live = Value::Object(Map::new());
    }
    let Value::Object(live) = live else { return };
    for (name, value) in fields {
        if value.is_null() {
            live.remove(name);
        } else {
            merge_patch(live.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Fields without a value are dropped as the API server drops them.
pub(super) fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}
