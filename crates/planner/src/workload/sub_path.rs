//! `subPathExpr`: a part of a volume whose name a container computes from its environment.

use k8s_openapi::api::core::v1::{EnvVar, Pod};
use kube::ResourceExt as _;

use super::{WorkloadError, mounts::TargetMount, target::TargetView};

/// The value that `$(NAME)` placeholders give in the target's running pod.
///
/// # Errors
/// [`WorkloadError::SubPathExpression`] when a variable is not known from outside of the container.
pub(super) fn expand(view: &TargetView, target: &TargetMount, expression: &str) -> Result<String, WorkloadError> {
    let unknown = |missing: &str| WorkloadError::SubPathExpression {
        expression: expression.to_owned(),
        volume: target.volume.name.clone(),
        target: view.display(),
        missing: missing.to_owned(),
    };
    let containers = view.pod_spec().into_iter().flat_map(|spec| &spec.containers);
    let environment: Vec<&EnvVar> = containers
        .filter(|container| container.name == target.container || target.container.is_empty())
        .flat_map(|container| container.env.iter().flatten())
        .collect();
    let mut result = String::new();
    let mut rest = expression;
    while let Some((before, placeholder)) = rest.split_once("$(") {
        let (name, after) = placeholder.split_once(')').ok_or_else(|| unknown("a closing bracket"))?;
        let variable = environment.iter().rfind(|variable| variable.name == name);
        let value = variable.and_then(|variable| value_of(variable, view.live_pod())).ok_or_else(|| unknown(name))?;
        result.push_str(before);
        result.push_str(&value);
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

fn value_of(variable: &EnvVar, pod: Option<&Pod>) -> Option<String> {
    if let Some(value) = &variable.value {
        // A value that refers to other variables is not followed.
        return (!value.contains("$(")).then(|| value.clone());
    }
    let field = variable.value_from.as_ref()?.field_ref.as_ref()?.field_path.as_str();
    let pod = pod?;
    match field {
        "metadata.name" => Some(pod.name_any()),
        "metadata.namespace" => pod.namespace(),
        "metadata.uid" => pod.uid(),
        "spec.nodeName" => pod.spec.as_ref()?.node_name.clone(),
        other => {
            let label = other.strip_prefix("metadata.labels['")?.strip_suffix("']")?;
            pod.labels().get(label).cloned()
        }
    }
}
