//! Label and field selectors.

use serde_json::Value;

/// Whether an object is selected. Unknown field selectors select by the JSON field of that path.
pub(super) fn selects(object: &Value, labels: &str, fields: &str) -> bool {
    terms(labels).iter().all(|term| label_matches(object, term)) && terms(fields).iter().all(|term| field_matches(object, term))
}

/// Splits at commas that are not inside of parentheses.
fn terms(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut depth = 0_u32;
    for character in text.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if character == ',' && depth == 0 {
            terms.push(String::new());
        } else if let Some(term) = terms.last_mut() {
            term.push(character);
        }
    }
    terms.into_iter().map(|term| term.trim().to_owned()).filter(|term| !term.is_empty()).collect()
}

fn label_matches(object: &Value, term: &str) -> bool {
    let label = |name: &str| object["metadata"]["labels"].get(name.trim()).and_then(Value::as_str);
    let listed = |values: &str, value: Option<&str>| {
        let values = values.trim().trim_start_matches('(').trim_end_matches(')');
        value.is_some_and(|value| values.split(',').any(|one| one.trim() == value))
    };
    if let Some((name, values)) = term.split_once(" notin ") {
        !listed(values, label(name))
    } else if let Some((name, values)) = term.split_once(" in ") {
        listed(values, label(name))
    } else if let Some((name, value)) = term.split_once("!=") {
        label(name) != Some(value.trim())
    } else if let Some((name, value)) = term.split_once('=') {
        label(name) == Some(value.trim_start_matches('=').trim())
    } else if let Some(name) = term.strip_prefix('!') {
        label(name).is_none()
    } else {
        label(term).is_some()
    }
}

fn field_matches(object: &Value, term: &str) -> bool {
    let (path, value, wanted) = match term.split_once("!=") {
        Some((path, value)) => (path, value, false),
        None => match term.split_once('=') {
            Some((path, value)) => (path, value.trim_start_matches('='), true),
            None => return false,
        },
    };
    let found = path.split('.').try_fold(object, |value, segment| value.get(segment)).and_then(Value::as_str);
    (found.unwrap_or_default() == value) == wanted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_as_kubernetes_reads_them() {
        let object = json!({ "metadata": { "name": "a", "labels": { "app": "web", "tier": "front" } } });
        for selector in ["app=web", "app==web", "app in (web, db)", "app!=db", "app", "!other", "app=web,tier notin (back)"] {
            assert!(selects(&object, selector, ""), "{selector}");
        }
        for selector in ["app=db", "app in (db)", "other", "!app", "app=web,tier=back"] {
            assert!(!selects(&object, selector, ""), "{selector}");
        }
        assert!(selects(&object, "", "metadata.name=a"));
        assert!(!selects(&object, "", "metadata.name!=a"));
    }
}
