//! The definitions against the facts, and against what a cluster can hold.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Facts, crds,
    facts::{Fact, segments},
};

/// Largest definition, in bytes of JSON (architecture 8).
const LARGEST: usize = 1 << 20;

/// Every line of a schema, as a fact has it: path to type and keywords.
type Lines = BTreeMap<String, BTreeMap<String, String>>;

fn published(facts: &Facts, kind: &str) -> Lines {
    let mut lines = Lines::new();
    for (name, fact) in &facts.kind(kind).unwrap().root.children {
        published_lines(fact, name, &mut lines);
    }
    lines
}

fn published_lines(fact: &Fact, path: &str, lines: &mut Lines) {
    let mut line: BTreeMap<String, String> =
        fact.keywords.iter().map(|(keyword, value)| (keyword.clone(), value.to_string())).collect();
    line.insert("type".to_owned(), fact.type_.clone());
    if fact.required {
        line.insert("required".to_owned(), "true".to_owned());
    }
    lines.insert(path.to_owned(), line);
    for (name, child) in &fact.children {
        let separator = if matches!(name.as_str(), "[]" | "{}") { "" } else { "." };
        published_lines(child, &format!("{path}{separator}{name}"), lines);
    }
}

fn generated_lines(schema: &Map<String, Value>, path: &str, required: bool, lines: &mut Lines) {
    let mut line = BTreeMap::new();
    if required {
        line.insert("required".to_owned(), "true".to_owned());
    }
    let text = |keyword: &str| schema.get(keyword).and_then(Value::as_str).unwrap_or_default();
    let type_ = match (text("type"), text("format")) {
        ("", _) if schema.contains_key("x-kubernetes-int-or-string") => "int-or-string".to_owned(),
        (type_, "") => type_.to_owned(),
        (type_, format) => format!("{type_}:{format}"),
    };
    line.insert("type".to_owned(), type_);
    for (keyword, value) in schema {
        match keyword.as_str() {
            "type"
            | "format"
            | "description"
            | "properties"
            | "items"
            | "additionalProperties"
            | "required"
            | "anyOf"
            | "x-kubernetes-int-or-string" => {}
            "x-kubernetes-validations" => {
                for rule in value.as_array().unwrap() {
                    line.insert(format!("rule: {}", rule["message"].as_str().unwrap()), "true".to_owned());
                }
            }
            // The typed definition holds numbers of JSON's one kind.
            "minimum" => {
                line.insert(keyword.clone(), format!("{}", value.as_f64().unwrap()));
            }
            _ => {
                line.insert(keyword.clone(), value.to_string());
            }
        }
    }
    lines.insert(path.to_owned(), line);
    let requirements: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let child = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        generated_lines(property.as_object().unwrap(), &child, requirements.contains(&name.as_str()), lines);
    }
    for (keyword, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(child) = schema.get(keyword).and_then(Value::as_object) {
            generated_lines(child, &format!("{path}{suffix}"), false, lines);
        }
    }
}

fn definitions() -> BTreeMap<String, Value> {
    crds().unwrap().into_iter().map(|crd| (crd.spec.names.kind.clone(), serde_json::to_value(crd).unwrap())).collect()
}

fn root_schema(definition: &Value) -> &Map<String, Value> {
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].as_object().unwrap()
}

/// Differences as rows of the documented table: kind, path, what the published definition has, what ours has.
fn differences() -> Vec<[String; 4]> {
    let facts = Facts::published().unwrap();
    let mut rows = Vec::new();
    for (kind, definition) in definitions() {
        let theirs = published(&facts, &kind);
        let mut ours = Lines::new();
        generated_lines(root_schema(&definition), "", false, &mut ours);
        for standard in ["apiVersion", "kind", "metadata"] {
            ours.remove(standard);
        }
        let empty = BTreeMap::new();
        let mut root = BTreeMap::new();
        root.insert("type".to_owned(), "object".to_owned());
        let mut theirs = theirs;
        theirs.insert(String::new(), root);
        let paths: std::collections::BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        for path in paths {
            let (left, right) = (theirs.get(path).unwrap_or(&empty), ours.get(path).unwrap_or(&empty));
            let keywords: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for keyword in keywords {
                let (before, after) = (left.get(keyword), right.get(keyword));
                if before != after {
                    let shown = |value: Option<&String>| match value {
                        None => "-".to_owned(),
                        Some(_) if keyword.starts_with("rule: ") => keyword.clone(),
                        Some(value) => format!("{keyword}={value}"),
                    };
                    let place = if path.is_empty() { "(root)" } else { path };
                    rows.push([kind.clone(), place.to_owned(), shown(before), shown(after)]);
                }
            }
        }
    }
    rows
}

/// Rows of the table in the documentation; the last column, why, is for readers.
fn documented() -> Vec<[String; 4]> {
    let text = include_str!("../../../../docs/crd-differences.md");
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").map(|cell| cell.trim_matches('`').to_owned()).collect::<Vec<_>>())
        .filter(|cells| cells.len() == 5 && cells[0] != "Kind" && !cells[0].starts_with("---"))
        .map(|cells| [cells[0].clone(), cells[1].clone(), cells[2].clone(), cells[3].clone()])
        .collect()
}

/// Architecture 8: equal to the published definitions except for a documented table, in both directions.
#[test]
fn definitions_differ_from_the_facts_only_as_documented() {
    let (found, documented) = (differences(), documented());
    let missing: Vec<String> = found
        .iter()
        .filter(|row| !documented.contains(row))
        .map(|row| format!("| {} | `{}` | `{}` | `{}` | why |", row[0], row[1], row[2], row[3]))
        .collect();
    let stale: Vec<&[String; 4]> = documented.iter().filter(|row| !found.contains(row)).collect();
    assert!(missing.is_empty(), "not in docs/crd-differences.md:\n{}", missing.join("\n"));
    assert!(stale.is_empty(), "in docs/crd-differences.md, but no longer true: {stale:#?}");
}

#[test]
fn names_scopes_and_columns_are_the_published_ones() {
    let facts = Facts::published().unwrap();
    let definitions = definitions();
    assert_eq!(definitions.len(), facts.kinds().count());
    for (kind, definition) in &definitions {
        let spec = &definition["spec"];
        let version = &spec["versions"][0];
        let list = |value: &Value| -> String {
            value.as_array().map(|items| items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")).unwrap_or_default()
        };
        let columns: Vec<String> = version["additionalPrinterColumns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| {
                let text = |name: &str| column[name].as_str().unwrap();
                format!("{}={}:{}", text("name"), text("jsonPath"), text("type"))
            })
            .collect();
        let ours = [
            spec["group"].as_str().unwrap().to_owned(),
            version["name"].as_str().unwrap().to_owned(),
            spec["scope"].as_str().unwrap().to_owned(),
            spec["names"]["plural"].as_str().unwrap().to_owned(),
            spec["names"]["singular"].as_str().unwrap().to_owned(),
            list(&spec["names"]["shortNames"]),
            list(&spec["names"]["categories"]),
            if version["subresources"]["status"].is_object() { "status" } else { "-" }.to_owned(),
            columns.join("; "),
        ];
        assert_eq!(facts.kind(kind).unwrap().columns, ours, "{kind}");
        assert_eq!(definition["metadata"]["labels"]["app.kubernetes.io/name"], "kubestash");
    }
}

/// Architecture 8: each definition stays under 1 MiB of JSON.
#[test]
fn definitions_are_small_enough() {
    for (kind, definition) in definitions() {
        let size = serde_json::to_vec(&definition).unwrap().len();
        assert!(size < LARGEST, "{kind} has {size} bytes");
    }
}

/// Architecture 8: no `nullable`, and no descriptions inside Kubernetes' own types.
#[test]
fn nothing_is_nullable_and_kubernetes_types_are_not_described() {
    for (kind, definition) in definitions() {
        let text = definition.to_string();
        assert!(!text.contains("nullable"), "{kind}");
    }
    let definitions = definitions();
    let mut pod_security = &Value::Object(root_schema(&definitions["BackupStorage"]).clone());
    for segment in segments("spec.runtimeSettings.pod.securityContext") {
        pod_security = &pod_security["properties"][segment];
    }
    assert!(pod_security["description"].is_string(), "our own field is described");
    assert!(!pod_security["properties"].to_string().contains("description"));
}

/// `int-or-string` needs both the extension and the alternatives, or the API server takes only one of the two.
#[test]
fn quantities_and_ports_take_numbers_and_strings() {
    let definitions = definitions();
    let hook = Value::Object(root_schema(&definitions["HookTemplate"]).clone());
    let port = &hook["properties"]["spec"]["properties"]["action"]["properties"]["httpPost"]["properties"]["port"];
    assert_eq!(port["x-kubernetes-int-or-string"], true);
    assert_eq!(port["anyOf"].as_array().unwrap().len(), 2);
}

/// An object with every path of the facts.
fn sample(fact: &Fact) -> Value {
    let schema = fact.schema();
    if let Some(first) = schema.get("enum").and_then(|values| values.get(0)) {
        return first.clone();
    }
    match fact.type_.as_str() {
        "string" => "text".into(),
        "string:date-time" => "2026-03-04T05:06:07Z".into(),
        "boolean" => true.into(),
        "integer" | "integer:int32" | "integer:int64" => 7.into(),
        "number:double" => 7.5.into(),
        // A quantity is a string in Rust; a port stays the number it is.
        "int-or-string" if fact.keywords.contains_key("pattern") => "7Gi".into(),
        "int-or-string" => 7.into(),
        "array" => Value::Array(fact.children.get("[]").map(sample).into_iter().collect()),
        "object" if fact.keywords.contains_key("x-kubernetes-preserve-unknown-fields") => serde_json::json!({ "any": [1, "x"] }),
        // The one whole object that is embedded, a claim; its type insists on what it is.
        "object" if fact.children.contains_key("apiVersion") && fact.children.contains_key("status") => {
            let mut claim: Map<String, Value> = fact.children.iter().map(|(name, child)| (name.clone(), sample(child))).collect();
            claim.insert("apiVersion".to_owned(), "v1".into());
            claim.insert("kind".to_owned(), "PersistentVolumeClaim".into());
            claim.into()
        }
        "object" => fact
            .children
            .iter()
            .map(|(name, child)| (if name == "{}" { "key" } else { name }.to_owned(), sample(child)))
            .collect::<Map<String, Value>>()
            .into(),
        other => panic!("no sample for {other}"),
    }
}

/// Architecture 8 and specification 1.1: every published path has its place in the Rust types, also inside of what
/// `k8s-openapi` provides, so that no field of a user's manifest is lost when an object is read and written.
#[test]
fn every_path_of_the_facts_survives_the_rust_types() {
    fn through<K: serde::Serialize + serde::de::DeserializeOwned>(object: &Value) -> Value {
        serde_json::to_value(serde_json::from_value::<K>(object.clone()).unwrap()).unwrap()
    }
    let facts = Facts::published().unwrap();
    for kind in facts.kinds() {
        let facts_of_kind = facts.kind(kind).unwrap();
        let mut object = sample(&facts_of_kind.root);
        object["apiVersion"] = format!("{}/v1alpha1", facts_of_kind.columns[0]).into();
        object["kind"] = kind.into();
        object["metadata"] = serde_json::json!({ "name": "sample" });
        let back = match kind {
            "Addon" => through::<crate::Addon>(&object),
            "BackupBatch" => through::<crate::BackupBatch>(&object),
            "BackupBlueprint" => through::<crate::BackupBlueprint>(&object),
            "BackupConfiguration" => through::<crate::BackupConfiguration>(&object),
            "BackupSession" => through::<crate::BackupSession>(&object),
            "BackupStorage" => through::<crate::BackupStorage>(&object),
            "BackupVerificationSession" => through::<crate::BackupVerificationSession>(&object),
            "BackupVerifier" => through::<crate::BackupVerifier>(&object),
            "Function" => through::<crate::Function>(&object),
            "HookTemplate" => through::<crate::HookTemplate>(&object),
            "Repository" => through::<crate::Repository>(&object),
            "RestoreSession" => through::<crate::RestoreSession>(&object),
            "RetentionPolicy" => through::<crate::RetentionPolicy>(&object),
            "Snapshot" => through::<crate::Snapshot>(&object),
            other => panic!("no type for {other}"),
        };
        let mut lost = Vec::new();
        compare(&object, &back, kind, &mut lost);
        assert!(lost.is_empty(), "lost or changed:\n{}", lost.join("\n"));
    }
}

fn compare(before: &Value, after: &Value, path: &str, lost: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(left), Value::Object(right)) => {
            for (name, value) in left {
                compare(value, right.get(name).unwrap_or(&Value::Null), &format!("{path}.{name}"), lost);
            }
            lost.extend(right.keys().filter(|name| !left.contains_key(*name)).map(|name| format!("{path}.{name} appeared")));
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (left, right) in left.iter().zip(right) {
                compare(left, right, &format!("{path}[]"), lost);
            }
        }
        _ if before == after => {}
        // A closed set in Rust where the schema has any string; the path is there.
        _ if after == "Unrecognised" => {}
        _ => lost.push(format!("{path}: {before} became {after}")),
    }
}
