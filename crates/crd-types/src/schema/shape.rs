//! Turns the JSON schema of a Rust type into the structural schema of a definition.
//!
//! References are written out, `null` as a possible type is dropped (an absent field says the same), and wherever a
//! Rust field holds a type of `k8s-openapi`, the facts say what stands there instead.

use serde_json::{Map, Value, json};

use super::{
    SchemaError,
    facts::{Fact, Facts},
    kinds::Kind,
};

/// Prefix of the names of Kubernetes' own types in schemas.
const KUBERNETES: &str = "#/$defs/io.k8s.";
/// Prefix of the names of our types in schemas.
const OURS: &str = "#/$defs/";
/// Keywords that pass through unchanged.
const KEPT: [&str; 11] = [
    "description",
    "type",
    "format",
    "enum",
    "minimum",
    "pattern",
    "default",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
];

/// The structural schema of a kind, as the published definition has it.
pub(super) fn structural_schema(kind: &Kind, facts: &Facts) -> Result<Value, SchemaError> {
    let missing = || SchemaError::NoFacts { kind: kind.kind, path: String::new() };
    let rust = kind.rust_schema().to_value();
    let definitions = rust.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let shaper = Shaper { kind: kind.kind, definitions: &definitions };
    let root = rust.as_object().ok_or_else(missing)?;
    let properties = root.get("properties").and_then(Value::as_object).ok_or_else(missing)?;
    let root_fact = &facts.kind(kind.kind).ok_or_else(missing)?.root;

    let mut shaped = Map::new();
    shaped.insert("apiVersion".to_owned(), json!({ "type": "string", "description": "Group and version of the object." }));
    shaped.insert("kind".to_owned(), json!({ "type": "string", "description": "Kind of the object." }));
    shaped.insert("metadata".to_owned(), json!({ "type": "object" }));
    for (name, schema) in properties.iter().filter(|(name, _)| *name != "metadata") {
        shaped.insert(name.clone(), shaper.shape(schema, root_fact.children.get(name), name)?);
    }
    let mut result = json!({ "type": "object", "properties": shaped });
    if let Some(description) = root.get("description") {
        result["description"] = description.clone();
    }
    Ok(result)
}

struct Shaper<'a> {
    kind: &'static str,
    definitions: &'a Map<String, Value>,
}

impl Shaper<'_> {
    fn shape(&self, schema: &Value, fact: Option<&Fact>, path: &str) -> Result<Value, SchemaError> {
        let inexpressible = || SchemaError::Shape {
            kind: self.kind,
            path: path.to_owned(),
            schema: schema.to_string().chars().take(200).collect(),
        };
        let mut current = schema.as_object().ok_or_else(inexpressible)?.clone();
        loop {
            if let Some(variants) = current.remove("anyOf") {
                let present: Vec<&Value> = variants
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|variant| variant.get("type") != Some(&json!("null")))
                    .collect();
                let [only] = present[..] else { return Err(inexpressible()) };
                current = beneath(current, only.as_object().ok_or_else(inexpressible)?);
            } else if let Some(reference) = current.remove("$ref") {
                let name = reference.as_str().ok_or_else(inexpressible)?;
                if name.starts_with(KUBERNETES) {
                    let fact = fact.ok_or_else(|| SchemaError::NoFacts { kind: self.kind, path: path.to_owned() })?;
                    let mut embedded = fact.schema();
                    if let Some(description) = current.remove("description") {
                        embedded.insert("description".to_owned(), description);
                    }
                    return Ok(Value::Object(embedded));
                }
                let target = name.strip_prefix(OURS).and_then(|name| self.definitions.get(name)).and_then(Value::as_object);
                current = beneath(current, target.ok_or_else(inexpressible)?);
            } else {
                break;
            }
        }
        self.write_out(&current, fact, path)
    }

    /// Shapes a schema that refers to nothing any more.
    fn write_out(&self, schema: &Map<String, Value>, fact: Option<&Fact>, path: &str) -> Result<Value, SchemaError> {
        let mut result: Map<String, Value> = KEPT
            .iter()
            .filter_map(|keyword| Some(((*keyword).to_owned(), schema.get(*keyword)?.clone())))
            .filter(|(_, value)| !value.is_null())
            .collect();
        if let Some(Value::Array(types)) = schema.get("type") {
            let present: Vec<&Value> = types.iter().filter(|type_| *type_ != "null").collect();
            let [only] = present[..] else {
                return Err(SchemaError::Shape { kind: self.kind, path: path.to_owned(), schema: json!(types).to_string() });
            };
            result.insert("type".to_owned(), only.clone());
        }
        // What serde fills in for an absent list or map is not a default that the API server should store.
        if result.get("default").is_some_and(|default| *default == json!([]) || *default == json!({})) {
            result.remove("default");
        }
        let child = |name: &str| fact.and_then(|fact| fact.children.get(name));
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let mut shaped = Map::new();
            for (name, property) in properties {
                shaped.insert(name.clone(), self.shape(property, child(name), &format!("{path}.{name}"))?);
            }
            result.insert("properties".to_owned(), Value::Object(shaped));
        }
        if let Some(items) = schema.get("items") {
            result.insert("items".to_owned(), self.shape(items, child("[]"), &format!("{path}[]"))?);
        }
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
            result.insert("additionalProperties".to_owned(), self.shape(values, child("{}"), &format!("{path}{{}}"))?);
        }
        if let Some(required) = schema.get("required").and_then(Value::as_array) {
            let mut names: Vec<&str> = required.iter().filter_map(Value::as_str).collect();
            names.sort_unstable();
            result.insert("required".to_owned(), json!(names));
        }
        Ok(Value::Object(result))
    }
}

/// `outer`, with everything it does not say itself taken from `inner`.
fn beneath(mut outer: Map<String, Value>, inner: &Map<String, Value>) -> Map<String, Value> {
    for (keyword, value) in inner {
        outer.entry(keyword.clone()).or_insert_with(|| value.clone());
    }
    outer
}
