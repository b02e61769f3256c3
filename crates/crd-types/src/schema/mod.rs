//! The CustomResourceDefinitions of all kinds, made from the Rust types.
//!
//! They equal the published ones, whose facts `facts/crd-facts.tsv` lists path by path, but for the additions in
//! [`rules`](self) and the table of `docs/crd-differences.md`. What the Kubernetes types look like inside is taken from
//! the facts, not from `k8s-openapi`, so that a newer version of that crate does not change the API.
//!
//! ```text
//!   Rust types ──schemars──► shape (facts fill in Kubernetes' own types) ──► rules ──► CustomResourceDefinition
//! ```

mod facts;
mod kinds;
mod rules;
mod shape;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

pub use facts::{Fact, Facts, KindFacts};

/// Why the definitions could not be made. Each is a mistake in this crate, which its tests find.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A line of the facts does not have the form that their header describes.
    #[error("line {line} of the facts cannot be read: {text}")]
    Facts {
        /// Number of the line, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// The facts refer to a shared type that they do not define.
    #[error("the facts do not define {0}")]
    UnknownShared(String),
    /// A field holds a Kubernetes type, but the facts have nothing at its path.
    #[error("{path} of {kind} holds a Kubernetes type that the facts do not describe")]
    NoFacts {
        /// Kind with the field.
        kind: &'static str,
        /// Path of the field.
        path: String,
    },
    /// A Rust type has a shape that a CustomResourceDefinition cannot express.
    #[error("{path} of {kind} has a shape that a CustomResourceDefinition cannot express: {schema}")]
    Shape {
        /// Kind with the field.
        kind: &'static str,
        /// Path of the field.
        path: String,
        /// The shape.
        schema: String,
    },
    /// A rule is meant for a path that the kind does not have.
    #[error("there is no {path} in {kind} for a rule")]
    RulePath {
        /// Kind of the rule.
        kind: &'static str,
        /// Path of the rule.
        path: String,
    },
    /// The result is not a CustomResourceDefinition.
    #[error("the definition of {kind} cannot be read back")]
    Definition {
        /// Kind of the definition.
        kind: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// The definitions of all fourteen kinds, in the order of the facts.
///
/// # Errors
/// When types, rules and facts do not fit together; the tests of this crate make sure that they do.
pub fn crds() -> Result<Vec<CustomResourceDefinition>, SchemaError> {
    let facts = Facts::published()?;
    kinds::KINDS
        .iter()
        .map(|kind| {
            let document = definition(kind, &facts)?;
            serde_json::from_value(document).map_err(|source| SchemaError::Definition { kind: kind.kind, source })
        })
        .collect()
}

/// One definition as JSON.
fn definition(kind: &kinds::Kind, facts: &Facts) -> Result<Value, SchemaError> {
    let mut schema = shape::structural_schema(kind, facts)?;
    rules::add(kind.kind, &mut schema)?;
    let columns: Vec<Value> =
        kind.columns.iter().map(|(name, path, type_)| json!({ "name": name, "jsonPath": path, "type": type_ })).collect();
    let mut names = json!({
        "kind": kind.kind,
        "listKind": format!("{}List", kind.kind),
        "plural": kind.plural,
        "singular": kind.singular(),
        "categories": kind.categories,
    });
    if let Some(short) = kind.short_name {
        names["shortNames"] = json!([short]);
    }
    let mut version = json!({
        "name": crate::names::VERSION,
        "served": true,
        "storage": true,
        "schema": { "openAPIV3Schema": schema },
        "additionalPrinterColumns": columns,
    });
    if kind.has_status {
        version["subresources"] = json!({ "status": {} });
    }
    Ok(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", kind.plural, kind.group),
            "labels": { "app.kubernetes.io/name": "kubestash" },
        },
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": kind.scope(),
            "versions": [version],
        },
    }))
}

#[cfg(test)]
mod tests;
