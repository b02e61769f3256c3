//! The working container: the Function, and over it what the session asks for (specification §1.2.12-13).

use crd_types::{AddonInfo, ContainerRuntimeSettings, Function, PodTemplatePodSpec};
use k8s_openapi::api::core::v1::EnvVar;

use super::{ResolveError, ResolvedTask, SelectedTask, Variables, volumes::filled};

/// Resolves the container. Volumes, paths and the task's own mounts are left to the caller.
pub(super) fn resolve_container(
    task: &SelectedTask<'_>,
    function: &Function,
    info: &AddonInfo,
    variables: &Variables,
) -> Result<ResolvedTask, ResolveError> {
    let name = function.metadata.name.clone().unwrap_or_default();
    let place = format!("Function {name}");
    let filled_function = filled(&function.spec, variables, &place)?;
    let image = filled_function.image.filter(|image| !image.trim().is_empty()).ok_or(ResolveError::NoImage { function: name })?;

    let nothing = ContainerRuntimeSettings::default();
    let no_template = PodTemplatePodSpec::default();
    let own = filled_function.runtime_settings.as_ref().unwrap_or(&nothing);
    let asked = info.container_runtime_settings.as_ref().unwrap_or(&nothing);
    let template = info.job_template.as_ref().and_then(|template| template.spec.as_ref()).unwrap_or(&no_template);

    let mut env = Vec::new();
    for settings in [own, asked] {
        merge_env(&mut env, &settings.env);
        merge_env(&mut env, &priorities(settings));
    }
    merge_env(&mut env, &template.env);

    let mut args = filled_function.args;
    args.extend(template.args.iter().cloned());
    let mut volume_mounts = filled_function.volume_mounts;
    volume_mounts.extend(template.volume_mounts.iter().cloned());

    Ok(ResolvedTask {
        name: task.name.to_owned(),
        singleton: task.definition.singleton.unwrap_or(false),
        paths: Vec::new(),
        image,
        command: filled_function.command,
        args,
        working_dir: filled_function.working_dir,
        env,
        env_from: own.env_from.iter().chain(&asked.env_from).cloned().collect(),
        resources: first(&template.resources, &asked.resources, &own.resources),
        security_context: first(&template.container_security_context, &asked.security_context, &own.security_context),
        lifecycle: first(&template.lifecycle, &asked.lifecycle, &own.lifecycle),
        liveness_probe: first(&template.liveness_probe, &asked.liveness_probe, &own.liveness_probe),
        readiness_probe: first(&template.readiness_probe, &asked.readiness_probe, &own.readiness_probe),
        volumes: Vec::new(),
        volume_mounts,
        volume_devices: filled_function.volume_devices,
    })
}

/// Adds variables to a list in which a later one of the same name wins.
fn merge_env(list: &mut Vec<EnvVar>, added: &[EnvVar]) {
    for variable in added {
        list.retain(|known| known.name != variable.name);
        list.push(variable.clone());
    }
}

/// `nice` and `ionice` reach the mover as environment, under KubeStash's names.
fn priorities(settings: &ContainerRuntimeSettings) -> Vec<EnvVar> {
    let nice = settings.nice.as_ref();
    let ionice = settings.ionice.as_ref();
    [
        ("NICE_ADJUSTMENT", nice.and_then(|nice| nice.adjustment)),
        ("IONICE_CLASS", ionice.and_then(|ionice| ionice.class)),
        ("IONICE_CLASS_DATA", ionice.and_then(|ionice| ionice.class_data)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(EnvVar { name: name.to_owned(), value: Some(value?.to_string()), value_from: None }))
    .collect()
}

fn first<T: Clone + Default + PartialEq>(user: &Option<T>, session: &Option<T>, function: &Option<T>) -> Option<T> {
    // An empty object, which manifests carry often, asks for nothing.
    [user, session, function].into_iter().flatten().find(|value| **value != T::default()).cloned()
}
