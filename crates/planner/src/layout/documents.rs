//! The YAML documents we keep beside the data: `metadata.yaml`, `repository.yaml`,
//! `snapshots/<name>.yaml` (specification §3.2 to §3.4).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

/// `apiVersion` of [`BackendMeta`].
pub const META_API_VERSION: &str = "config.kubestash.com/v1alpha1";

/// `kind` of [`BackendMeta`].
pub const META_KIND: &str = "BackendMeta";

/// Annotation of `repository.yaml` that mirrors the ids of its restic repositories, so that a
/// bucket attached to a new cluster still says which repositories once existed (architecture §4.6).
pub const REPOSITORY_IDS_ANNOTATION: &str = crd_types::annotations::REPOSITORY_IDS;

/// Metadata that means something only in the cluster the object came from.
const SERVER_SIDE: [&str; 9] = [
    "resourceVersion",
    "uid",
    "managedFields",
    "ownerReferences",
    "generation",
    "selfLink",
    "finalizers",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A document that could not be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// What was given is not a Kubernetes object.
    #[error("cannot render the object: its JSON form is not a map")]
    NotAnObject,
    /// The object has no JSON form.
    #[error("cannot render the object as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The object has no YAML form.
    #[error("cannot render the object as YAML: {0}")]
    Render(String),
    /// The text is not the document we look for.
    #[error("{key} is not a {expected}: {cause}; restore the object from a copy or move it away")]
    Parse {
        /// Which document.
        key: &'static str,
        /// What was looked for.
        expected: &'static str,
        /// What the parser says.
        cause: String,
    },
}

/// The content of `metadata.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendMeta {
    /// Always [`META_API_VERSION`].
    pub api_version: String,
    /// Always [`META_KIND`].
    pub kind: String,
    /// When the storage was initialised, RFC 3339 at second precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// Version of the program that wrote it last.
    #[serde(default)]
    pub operator_version: String,
    /// The Repositories on this storage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<RepositoryRecord>,
}

/// One Repository in `metadata.yaml`: the same fields as `BackupStorage.status.repositories[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryRecord {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its namespace.
    #[serde(default)]
    pub namespace: String,
    /// Its directory as written.
    #[serde(default)]
    pub path: String,
    /// Its size, `12.222 MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Whether cluster and bucket agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<bool>,
    /// Why they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The metadata of a storage initialised at `created`. The Repositories come out in the order of
/// their names, so that the same list always gives the same bytes.
pub fn backend_meta(created: Timestamp, operator_version: &str, repositories: &[RepositoryRecord]) -> BackendMeta {
    let mut repositories = repositories.to_vec();
    repositories.sort_by(|one, other| (&one.namespace, &one.name, &one.path).cmp(&(&other.namespace, &other.name, &other.path)));
    BackendMeta {
        api_version: META_API_VERSION.to_owned(),
        kind: META_KIND.to_owned(),
        creation_timestamp: Some(rfc3339_seconds(created)),
        operator_version: operator_version.to_owned(),
        repositories,
    }
}

/// Reads a `metadata.yaml`.
///
/// # Errors
/// If the text is not a `BackendMeta` of a version we know: such a bucket belongs to somebody else
/// and is not initialised over.
pub fn parse_backend_meta(text: &str) -> Result<BackendMeta, DocumentError> {
    let refuse = |cause: String| DocumentError::Parse { key: super::METADATA_KEY, expected: META_KIND, cause };
    let meta: BackendMeta = serde_saphyr::from_str(text).map_err(|error| refuse(error.to_string()))?;
    if meta.kind != META_KIND || meta.api_version != META_API_VERSION {
        return Err(refuse(format!("it says {} of {}", meta.kind, meta.api_version)));
    }
    Ok(meta)
}

/// `repository.yaml` of a Repository and the ids of its restic repositories by component path.
///
/// # Errors
/// If the object has no JSON form.
pub fn repository_document(
    repository: &impl Serialize,
    repository_ids: &BTreeMap<String, String>,
) -> Result<Value, DocumentError> {
    let ids = serde_json::to_string(repository_ids)?;
    cleaned(repository, |annotations| {
        if !repository_ids.is_empty() {
            annotations.insert(REPOSITORY_IDS_ANNOTATION.to_owned(), Value::String(ids));
        }
    })
}

/// `snapshots/<name>.yaml` of a Snapshot.
///
/// # Errors
/// If the object has no JSON form.
pub fn snapshot_document(snapshot: &impl Serialize) -> Result<Value, DocumentError> {
    cleaned(snapshot, |_| {})
}

/// A document as YAML.
///
/// # Errors
/// If it has no YAML form.
pub fn to_yaml(document: &impl Serialize) -> Result<String, DocumentError> {
    serde_saphyr::to_string(document).map_err(|error| DocumentError::Render(error.to_string()))
}

/// The object without what only its own cluster understands, its annotations changed by `annotate`.
fn cleaned(object: &impl Serialize, annotate: impl FnOnce(&mut Map<String, Value>)) -> Result<Value, DocumentError> {
    let Value::Object(mut document) = serde_json::to_value(object)? else {
        return Err(DocumentError::NotAnObject);
    };
    let mut metadata = take_map(&mut document, "metadata");
    for field in SERVER_SIDE {
        metadata.remove(field);
    }
    let mut annotations = take_map(&mut metadata, "annotations");
    annotations.remove(LAST_APPLIED);
    annotate(&mut annotations);
    if !annotations.is_empty() {
        metadata.insert("annotations".to_owned(), Value::Object(annotations));
    }
    document.insert("metadata".to_owned(), Value::Object(metadata));
    Ok(Value::Object(document))
}

fn take_map(parent: &mut Map<String, Value>, field: &str) -> Map<String, Value> {
    match parent.remove(field) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// As Kubernetes writes times: seconds, no fraction.
fn rfc3339_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).map_or_else(|_| time.to_string(), |whole_second| whole_second.to_string())
}
