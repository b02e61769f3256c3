//! Addon and Function of a session become the one container that does its work (specification §2.6, §4.1-4.2).
//!
//! Inputs, later wins: the Addon's parameter defaults, the task's `params`, its `variables`, and what the controller
//! itself knows. Everything is filled into JSON values, see [`substitute`].

mod container;
mod error;
mod paths;
mod substitute;
mod task;
mod variables;
mod volumes;

use crd_types::{Addon, AddonInfo, Function};
use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, Lifecycle, Probe, ResourceRequirements, SecurityContext, Volume, VolumeDevice, VolumeMount,
};

pub use error::ResolveError;
pub use paths::split_paths;
pub use substitute::{substitute, substitute_text};
pub use task::{SelectedTask, select, task_name};
pub use variables::{RESTIC_CACHE_VOLUME, Variables};

/// Which way the data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// From the target into a Repository.
    Backup,
    /// From a Snapshot into the target.
    Restore,
}

impl Verb {
    /// The task of the catalogue that does it.
    pub fn logical_task(self) -> &'static str {
        match self {
            Self::Backup => "logical-backup",
            Self::Restore => "logical-backup-restore",
        }
    }
}

/// What is known once an Addon was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The task, in today's spelling.
    pub task: String,
    /// The Function that must exist.
    pub function: String,
}

/// Everything that can be said about a session's Addon before its target is known: for `ValidationPassed`.
///
/// # Errors
/// [`ResolveError`] when the task is unknown, not supported yet, or lacks a required parameter.
pub fn check(verb: Verb, addon: &Addon, info: &AddonInfo) -> Result<Checked, ResolveError> {
    let task = select(verb, addon, info)?;
    let mut given = Variables::default();
    given.add_task(&task)?;
    // `paths` may stay away: the target's mounts stand in for it (specification §4.2).
    given.require(&task, &["paths"])?;
    if task.function.is_empty() {
        return Err(function_missing(&task));
    }
    Ok(Checked { task: task.name.to_owned(), function: task.function.to_owned() })
}

/// The error for a Function that does not exist.
pub fn function_missing(task: &SelectedTask<'_>) -> ResolveError {
    ResolveError::FunctionMissing {
        addon: task.addon.to_owned(),
        task: task.name.to_owned(),
        function: if task.function.is_empty() { "(none named)".to_owned() } else { task.function.to_owned() },
    }
}

/// Everything a task is resolved from.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Which way the data goes.
    pub verb: Verb,
    /// The Addon.
    pub addon: &'a Addon,
    /// The Function that [`select`] named.
    pub function: &'a Function,
    /// How the session uses the Addon.
    pub info: &'a AddonInfo,
    /// What the controller itself knows: namespace, session, target.
    pub builtins: Variables,
    /// Paths at which the target mounts its volumes, which stand in for a `paths` that was not given.
    pub mounted_paths: &'a [String],
}

/// The container of a Job, and the volumes that the task itself brings.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedTask {
    /// Name of the task, in today's spelling.
    pub name: String,
    /// One Job for the whole target, instead of one for each pod or node.
    pub singleton: bool,
    /// Absolute paths that are backed up; empty for a restore.
    pub paths: Vec<String>,
    /// Image.
    pub image: String,
    /// Entry point; empty means the image's.
    pub command: Vec<String>,
    /// Arguments: what to do, in words that only the mover reads.
    pub args: Vec<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Environment that the Function and the user ask for.
    pub env: Vec<EnvVar>,
    /// Sources of such environment.
    pub env_from: Vec<EnvFromSource>,
    /// Compute resources, if anybody asked for them.
    pub resources: Option<ResourceRequirements>,
    /// Security settings that somebody asked for: user first, then Function.
    pub security_context: Option<SecurityContext>,
    /// Lifecycle handlers.
    pub lifecycle: Option<Lifecycle>,
    /// Liveness probe.
    pub liveness_probe: Option<Probe>,
    /// Readiness probe.
    pub readiness_probe: Option<Probe>,
    /// Volumes of the task.
    pub volumes: Vec<Volume>,
    /// Mounts of the task and of the Function.
    pub volume_mounts: Vec<VolumeMount>,
    /// Block devices of the Function.
    pub volume_devices: Vec<VolumeDevice>,
}

/// Resolves a task.
///
/// # Errors
/// [`ResolveError`], one sentence that names the object and the remedy.
pub fn resolve(request: &Request<'_>) -> Result<ResolvedTask, ResolveError> {
    let task = select(request.verb, request.addon, request.info)?;
    let mut variables = Variables::default();
    variables.add_task(&task)?;
    let takes_paths =
        |parameter: &str| task.definition.parameters.iter().any(|defined| defined.name.as_deref() == Some(parameter));
    let takes_paths = request.verb == Verb::Backup && takes_paths("paths");
    if takes_paths && variables.get("paths").is_none_or(str::is_empty) {
        let joined = paths::join_paths(request.mounted_paths, task.name)?;
        variables.set("paths", joined);
    }
    variables.require(&task, &[])?;
    variables.extend(&request.builtins);
    variables.set("taskName", task.name);

    let paths = match variables.get("paths") {
        Some(paths) if takes_paths => split_paths(paths, task.name)?,
        _ => Vec::new(),
    };
    let (volumes, task_mounts) = volumes::resolve_volumes(&task, &variables)?;
    let mut resolved = container::resolve_container(&task, request.function, request.info, &variables)?;
    resolved.paths = paths;
    resolved.volumes = volumes;
    resolved.volume_mounts.splice(0..0, task_mounts);
    Ok(resolved)
}

#[cfg(test)]
mod tests;
