//! Volumes that a task brings, and the user's replacements for them (specification §1.2.6).

use k8s_openapi::api::core::v1::{Volume, VolumeMount};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{ResolveError, SelectedTask, Variables, substitute, substitute_text};

/// Volumes and mounts of a task with their placeholders filled in.
pub(super) fn resolve_volumes(
    task: &SelectedTask<'_>,
    variables: &Variables,
) -> Result<(Vec<Volume>, Vec<VolumeMount>), ResolveError> {
    let place = format!("Addon {} task {}", task.addon, task.name);
    let mut sources: Vec<(String, Value)> = Vec::new();
    for template in &task.definition.volume_template {
        let name = filled_name(template.name.as_deref(), variables, &place)?;
        let source = match &template.source {
            Some(source) => to_value(source, &place)?,
            None => json!({}),
        };
        sources.push((name, source));
    }
    let names = || sources.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(", ");
    let known = names();
    for replacement in &task.reference.addon_volumes {
        let name = filled_name(replacement.name.as_deref(), variables, &place)?;
        let Some((_, source)) = sources.iter_mut().find(|(known, _)| *known == name) else {
            return Err(ResolveError::UnknownVolume {
                task: task.name.to_owned(),
                volume: name,
                known: if known.is_empty() { "none, it has no volumes".to_owned() } else { known },
            });
        };
        if let Some(replaced) = &replacement.source {
            *source = to_value(replaced, &place)?;
        }
    }
    let volumes = sources.into_iter().map(|(name, source)| volume(name, &source, variables, &place)).collect::<Result<_, _>>()?;
    let mounts = filled(&task.definition.volume_mounts, variables, &place)?;
    Ok((volumes, mounts))
}

/// A value with its placeholders filled in.
pub(super) fn filled<T: Serialize + DeserializeOwned>(value: &T, variables: &Variables, place: &str) -> Result<T, ResolveError> {
    let value = substitute(&to_value(value, place)?, variables.as_map(), place)?;
    from_value(value, place)
}

fn volume(name: String, source: &Value, variables: &Variables, place: &str) -> Result<Volume, ResolveError> {
    let mut source = substitute(source, variables.as_map(), place)?;
    if let Some(fields) = source.as_object_mut() {
        // A claim for the life of the pod is exactly what an ephemeral volume is.
        if let Some(template) = fields.remove("volumeClaimTemplate") {
            fields.insert("ephemeral".to_owned(), json!({ "volumeClaimTemplate": template }));
        }
        if fields.is_empty() {
            fields.insert("emptyDir".to_owned(), json!({}));
        }
        fields.insert("name".to_owned(), Value::String(name));
    }
    from_value(source, place)
}

fn filled_name(name: Option<&str>, variables: &Variables, place: &str) -> Result<String, ResolveError> {
    substitute_text(name.unwrap_or_default(), variables.as_map(), place)
}

fn to_value(value: &impl Serialize, place: &str) -> Result<Value, ResolveError> {
    serde_json::to_value(value).map_err(|error| shape(place, &error))
}

fn from_value<T: DeserializeOwned>(value: Value, place: &str) -> Result<T, ResolveError> {
    serde_json::from_value(value).map_err(|error| shape(place, &error))
}

fn shape(place: &str, error: &serde_json::Error) -> ResolveError {
    ResolveError::Shape { place: place.to_owned(), error: error.to_string() }
}
