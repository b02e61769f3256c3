//! Whether an object in the cluster says everything that a wanted one says.
//!
//! The API server adds defaults, so equality is too strict: every field the wanted object states must be there with
//! the same value, and fields it does not state may be anything.

use serde_json::Value;

/// Checks that `existing` states everything `wanted` does. `path` names the field in the answer.
///
/// # Errors
/// The path of the first field that differs.
pub(crate) fn covers(existing: Option<&Value>, wanted: &Value, path: &str) -> Result<(), String> {
    if is_empty(wanted) {
        return Ok(());
    }
    let Some(existing) = existing else {
        return Err(format!("{path} is missing"));
    };
    match (existing, wanted) {
        (Value::Object(existing), Value::Object(wanted)) => {
            wanted.iter().try_for_each(|(field, value)| covers(existing.get(field), value, &format!("{path}.{field}")))
        }
        (Value::Array(existing), Value::Array(wanted)) if existing.len() == wanted.len() => wanted
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| covers(existing.get(index), value, &format!("{path}[{index}]"))),
        (existing, wanted) if existing == wanted || is_same_quantity(existing, wanted) => Ok(()),
        _ => Err(format!("{path} differs")),
    }
}

/// Null, `{}` and `[]` are dropped by the API server, so they ask for nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The API server rewrites quantities to their canonical form: `0.5` comes back as `500m`, `1000m` as `1`.
fn is_same_quantity(one: &Value, other: &Value) -> bool {
    match (one.as_str().and_then(quantity), other.as_str().and_then(quantity)) {
        (Some(one), Some(other)) => (one - other).abs() <= f64::EPSILON * one.abs().max(other.abs()),
        _ => false,
    }
}

fn quantity(text: &str) -> Option<f64> {
    let split = text.find(|character: char| !matches!(character, '0'..='9' | '.' | '-' | '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let scale = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_added_by_the_server_do_not_matter() {
        let existing = json!({ "a": 1, "b": { "c": "x", "added": true }, "list": [{ "n": 1, "more": 2 }] });
        let wanted = json!({ "a": 1, "b": { "c": "x" }, "list": [{ "n": 1 }], "nothing": [], "none": null });
        assert_eq!(covers(Some(&existing), &wanted, "spec"), Ok(()));
    }

    #[test]
    fn the_first_difference_is_named() {
        let existing = json!({ "b": { "c": "x" }, "list": [1, 2] });
        let found = |wanted| covers(Some(&existing), &wanted, "spec").unwrap_err();
        assert_eq!(found(json!({ "b": { "c": "y" } })), "spec.b.c differs");
        assert_eq!(found(json!({ "list": [1] })), "spec.list differs");
        assert_eq!(found(json!({ "z": 1 })), "spec.z is missing");
    }

    #[test]
    fn quantities_compare_by_value() {
        let existing = json!({ "cpu": "500m", "memory": "1Gi", "pods": "1" });
        assert_eq!(covers(Some(&existing), &json!({ "cpu": "0.5", "memory": "1024Mi", "pods": "1000m" }), "r"), Ok(()));
        assert!(covers(Some(&existing), &json!({ "cpu": "600m" }), "r").is_err());
    }
}
