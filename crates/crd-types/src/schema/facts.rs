//! The facts about the published CustomResourceDefinitions, and schemas made from them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::SchemaError;

const TEXT: &str = include_str!("../../facts/crd-facts.tsv");

/// What the facts say about all kinds.
#[derive(Debug)]
pub struct Facts {
    kinds: BTreeMap<String, KindFacts>,
}

/// What the facts say about one kind.
#[derive(Debug)]
pub struct KindFacts {
    /// The columns of the facts' table of kinds: group, version, scope, plural, singular, short names, categories,
    /// status subresource, printer columns.
    pub columns: Vec<String>,
    /// Everything below the root of the schema.
    pub root: Fact,
}

/// What the facts say about one path and everything below it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fact {
    /// Type, with its format behind a colon.
    pub type_: String,
    /// Whether the parent requires it.
    pub required: bool,
    /// Keywords of the schema, such as `enum` and `default`.
    pub keywords: BTreeMap<String, Value>,
    /// Properties by name; `[]` stands for the items of a list and `{}` for the values of a map.
    pub children: BTreeMap<String, Self>,
}

/// One line of the fields' table.
struct Row<'a> {
    path: &'a str,
    type_: &'a str,
    facts: &'a str,
}

impl Facts {
    /// Reads the facts that the crate carries.
    ///
    /// # Errors
    /// When a line does not have the form that the header describes.
    pub fn published() -> Result<Self, SchemaError> {
        let mut kind_columns = BTreeMap::new();
        let mut rows: BTreeMap<&str, Vec<Row<'_>>> = BTreeMap::new();
        let mut in_fields = false;
        for (index, text) in TEXT.lines().enumerate() {
            let unreadable = || SchemaError::Facts { line: index + 1, text: text.to_owned() };
            if let Some(heading) = text.strip_prefix('#') {
                in_fields = heading.trim_start().starts_with("fields");
                continue;
            }
            let columns: Vec<&str> = text.split('\t').collect();
            if !in_fields {
                let (name, rest) = columns.split_first().ok_or_else(unreadable)?;
                kind_columns.insert(*name, rest.iter().map(ToString::to_string).collect::<Vec<_>>());
                continue;
            }
            let [name, path, type_, facts] = columns[..] else { return Err(unreadable()) };
            rows.entry(name).or_default().push(Row { path, type_, facts });
        }
        let mut kinds = BTreeMap::new();
        for (name, columns) in kind_columns {
            let mut root = Fact { type_: "object".to_owned(), ..Fact::default() };
            fill(&mut root, name, &rows)?;
            kinds.insert(name.to_owned(), KindFacts { columns, root });
        }
        Ok(Self { kinds })
    }

    /// What is known about one kind.
    #[must_use]
    pub fn kind(&self, kind: &str) -> Option<&KindFacts> {
        self.kinds.get(kind)
    }

    /// Names of all kinds.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }
}

/// Adds the rows of a kind or shared type below `root`.
fn fill(root: &mut Fact, name: &str, rows: &BTreeMap<&str, Vec<Row<'_>>>) -> Result<(), SchemaError> {
    let own = rows.get(name).ok_or_else(|| SchemaError::UnknownShared(name.to_owned()))?;
    for row in own {
        let mut fact = &mut *root;
        for segment in segments(row.path) {
            fact = fact.children.entry(segment).or_default();
        }
        if let Some(shared) = row.type_.strip_prefix('@') {
            fill(fact, &format!("@{shared}"), rows)?;
        } else {
            row.type_.clone_into(&mut fact.type_);
        }
        for token in row.facts.split_whitespace() {
            match token.split_once('=') {
                None if token == "required" => fact.required = true,
                None => drop(fact.keywords.insert(token.to_owned(), Value::Bool(true))),
                Some((keyword, value)) => {
                    let value = serde_json::from_str(value)
                        .map_err(|_| SchemaError::Facts { line: 0, text: format!("{name}{} {token}", row.path) })?;
                    fact.keywords.insert(keyword.to_owned(), value);
                }
            }
        }
    }
    Ok(())
}

/// Splits `a.b[]{}` into `a`, `b`, `[]`, `{}`.
pub(super) fn segments(path: &str) -> Vec<String> {
    let spaced = path.replace("[]", ".[]").replace("{}", ".{}");
    spaced.split('.').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
}

impl Fact {
    /// The schema that says the same.
    #[must_use]
    pub fn schema(&self) -> Map<String, Value> {
        let mut schema: Map<String, Value> = self.keywords.clone().into_iter().collect();
        if self.type_ == "int-or-string" {
            schema.insert("x-kubernetes-int-or-string".to_owned(), Value::Bool(true));
            schema.insert("anyOf".to_owned(), json!([{ "type": "integer" }, { "type": "string" }]));
            return schema;
        }
        let (type_, format) = self.type_.split_once(':').map_or((self.type_.as_str(), None), |(t, f)| (t, Some(f)));
        schema.insert("type".to_owned(), json!(type_));
        if let Some(format) = format {
            schema.insert("format".to_owned(), json!(format));
        }
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (name, child) in &self.children {
            let child_schema = Value::Object(child.schema());
            match name.as_str() {
                "[]" => drop(schema.insert("items".to_owned(), child_schema)),
                "{}" => drop(schema.insert("additionalProperties".to_owned(), child_schema)),
                _ => {
                    if child.required {
                        required.push(name.clone());
                    }
                    properties.insert(name.clone(), child_schema);
                }
            }
        }
        if !properties.is_empty() {
            schema.insert("properties".to_owned(), Value::Object(properties));
        }
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        schema
    }
}
