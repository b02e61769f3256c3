//! Which fields a manager applied: the sets behind server-side apply.

use std::collections::BTreeSet;

use serde_json::Value;

/// One step into an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Field(String),
    /// An item of a list-map, by the value of its key field.
    Item(String),
}

pub(super) type Path = Vec<Step>;

/// The key field of a list that is merged item by item, if it is such a list. All others are replaced as a whole.
pub(super) fn list_key(path: &[Step]) -> Option<&'static str> {
    let Some(Step::Field(name)) = path.last() else {
        return None;
    };
    match name.as_str() {
        "conditions" => Some("type"),
        "ownerReferences" => Some("uid"),
        _ => None,
    }
}

/// Every leaf and every list-map item that `applied` states.
pub(super) fn stated(applied: &Value) -> BTreeSet<Path> {
    let mut paths = BTreeSet::new();
    collect(applied, &mut Vec::new(), &mut paths);
    paths
}

fn collect(value: &Value, path: &mut Path, paths: &mut BTreeSet<Path>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                path.push(Step::Field(name.clone()));
                collect(value, path, paths);
                path.pop();
            }
        }
        Value::Array(items) if list_key(path).is_some() => {
            for item in items {
                let Some(key) = item_key(item, path) else { continue };
                path.push(Step::Item(key));
                paths.insert(path.clone());
                collect(item, path, paths);
                path.pop();
            }
        }
        _ => {
            paths.insert(path.clone());
        }
    }
}

pub(super) fn item_key(item: &Value, list: &[Step]) -> Option<String> {
    item.get(list_key(list)?).and_then(Value::as_str).map(str::to_owned)
}

/// Takes a field or an item away, and containers that become empty by it.
pub(super) fn remove(value: &mut Value, path: &[Step], walked: &mut Path) {
    let Some((step, rest)) = path.split_first() else {
        return;
    };
    match (value, step) {
        (Value::Object(fields), Step::Field(name)) => {
            if rest.is_empty() {
                fields.remove(name);
                return;
            }
            let Some(inner) = fields.get_mut(name) else { return };
            walked.push(step.clone());
            remove(inner, rest, walked);
            walked.pop();
            let is_empty = matches!(inner, Value::Object(fields) if fields.is_empty())
                || matches!(inner, Value::Array(items) if items.is_empty());
            if is_empty {
                fields.remove(name);
            }
        }
        (Value::Array(items), Step::Item(key)) => {
            if rest.is_empty() {
                items.retain(|item| item_key(item, walked).as_ref() != Some(key));
                return;
            }
            let list = walked.clone();
            walked.push(step.clone());
            for item in items.iter_mut().filter(|item| item_key(item, &list).as_ref() == Some(key)) {
                remove(item, rest, walked);
            }
            walked.pop();
        }
        _ => {}
    }
}
