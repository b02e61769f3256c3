//! What a Job needs from its target: volumes, place and identity (specification §4.4-4.6, architecture §3 step 13).

mod error;
mod identity;
mod mounts;
mod placement;
mod sub_path;
mod target;

use crd_types::{AddonInfo, PodTemplatePodSpec};
use k8s_openapi::api::core::v1::{PodTemplateSpec, Volume, VolumeMount};

pub use error::WorkloadError;
pub use identity::{Identity, IdentitySources, identity, unprivileged};
pub use placement::Placement;
pub use target::{TargetKind, TargetView, check_target};

use crate::resolve::{ResolvedTask, Verb};

/// Name of the only component of a Deployment or a claim (specification §4.3).
pub const DUMP: &str = "dump";

/// One component of a target and what its Job needs.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentPlan {
    /// Name of the component.
    pub component: String,
    /// Volumes of the target and of the task.
    pub volumes: Vec<Volume>,
    /// Their mounts.
    pub mounts: Vec<VolumeMount>,
    /// Where the Job runs.
    pub placement: Placement,
    /// As whom.
    pub identity: Identity,
}

/// Checks what a target's template alone can tell: for `ValidationPassed`, before anything runs.
///
/// # Errors
/// [`WorkloadError`] for a path outside of every volume or on an emptyDir.
pub fn check_paths(
    kind: TargetKind,
    namespace: &str,
    name: &str,
    template: Option<&PodTemplateSpec>,
    info: &AddonInfo,
    paths: &[String],
) -> Result<(), WorkloadError> {
    if kind == TargetKind::PersistentVolumeClaim {
        return Ok(());
    }
    let view = TargetView {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: String::new(),
        template: template.cloned(),
        expects_pods: false,
        pods: Vec::new(),
        replica_sets: Vec::new(),
        claims: Vec::new(),
    };
    let mounts = mounts::target_mounts(&view, info)?;
    mounts::select_mounts(&view, &mounts, paths).map(|_| ())
}

/// Paths at which a target mounts volumes that outlive its pods: what is backed up when no paths are named.
///
/// # Errors
/// [`WorkloadError::UnknownVolume`].
pub fn mounted_paths(view: &TargetView, info: &AddonInfo) -> Result<Vec<String>, WorkloadError> {
    Ok(mounts::durable_paths(&mounts::target_mounts(view, info)?))
}

/// Plans the Job of every component of a target.
///
/// `paths` are those that are backed up, or that a Snapshot holds.
///
/// # Errors
/// [`WorkloadError`], one sentence that names the object and the remedy.
pub fn plan(
    verb: Verb,
    view: &TargetView,
    info: &AddonInfo,
    task: &ResolvedTask,
    paths: &[String],
) -> Result<Vec<ComponentPlan>, WorkloadError> {
    let nothing = PodTemplatePodSpec::default();
    let asked = info.job_template.as_ref().and_then(|template| template.spec.as_ref()).unwrap_or(&nothing);
    let (volumes, mounts, container) = match view.kind {
        TargetKind::PersistentVolumeClaim => {
            let (volumes, mounts) = claim_volumes(verb, view, task, paths)?;
            (volumes, mounts, String::new())
        }
        TargetKind::Deployment => {
            let all = mounts::target_mounts(view, info)?;
            let needed = mounts::select_mounts(view, &all, paths)?;
            let taken: Vec<String> = task.volumes.iter().map(|volume| volume.name.clone()).collect();
            let (mut volumes, mut mounts) = mounts::job_volumes(verb, view, &needed, &taken)?;
            volumes.extend(task.volumes.iter().cloned());
            mounts.extend(task.volume_mounts.iter().cloned());
            let container = needed.first().map(|mount| mount.container.clone()).unwrap_or_default();
            (volumes, mounts, container)
        }
        TargetKind::StatefulSet | TargetKind::DaemonSet => {
            return Err(WorkloadError::NotSupportedYet { kind: view.kind.to_string(), name: view.name.clone() });
        }
    };
    let runs =
        |pod: &k8s_openapi::api::core::v1::Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    if verb == Verb::Backup && view.expects_pods && !view.live_pod().is_some_and(runs) {
        return Err(WorkloadError::NoRunningPod { target: view.display() });
    }
    let placement = placement::place(verb, view, &volumes)?;
    let identity = identity::identity(
        verb,
        &IdentitySources {
            asked_container: task.security_context.as_ref(),
            asked_pod: asked.security_context.as_ref(),
            live: view.live_pod(),
            template: view.pod_spec(),
            container: &container,
        },
    );
    Ok(vec![ComponentPlan { component: DUMP.to_owned(), volumes, mounts, placement, identity }])
}

/// Whether the user's template stays within what a namespace may ask for.
///
/// # Errors
/// [`WorkloadError::HostNamespaces`].
pub fn check_template(info: &AddonInfo, namespace: &str, host_namespaces_allowed: bool) -> Result<(), WorkloadError> {
    let Some(asked) = info.job_template.as_ref().and_then(|template| template.spec.as_ref()) else { return Ok(()) };
    let wanted = [("hostNetwork", asked.host_network), ("hostPID", asked.host_pid), ("hostIPC", asked.host_ipc)];
    match wanted.into_iter().find(|(_, wanted)| *wanted == Some(true)) {
        Some((what, _)) if !host_namespaces_allowed => {
            Err(WorkloadError::HostNamespaces { what, namespace: namespace.to_owned() })
        }
        _ => Ok(()),
    }
}

/// A claim is mounted by the task itself, which names it `${PVC_NAME}`.
fn claim_volumes(
    verb: Verb,
    view: &TargetView,
    task: &ResolvedTask,
    paths: &[String],
) -> Result<(Vec<Volume>, Vec<VolumeMount>), WorkloadError> {
    let of_claim = |name: &str| {
        task.volumes.iter().any(|volume| {
            volume.name == name && volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == view.name)
        })
    };
    let mut mounts = task.volume_mounts.clone();
    let mut covered = Vec::new();
    for mount in mounts.iter_mut().filter(|mount| of_claim(&mount.name)) {
        if verb == Verb::Backup {
            mount.read_only = Some(true);
        }
        covered.push(mount.mount_path.clone());
    }
    let outside = paths.iter().find(|path| !covered.iter().any(|root| mounts::is_at_or_below(path, root)));
    match outside {
        Some(path) => Err(WorkloadError::PathNotMounted {
            path: path.clone(),
            target: view.display(),
            mounts: if covered.is_empty() { "nothing in this task".to_owned() } else { covered.join(", ") },
        }),
        None => Ok((task.volumes.clone(), mounts)),
    }
}

#[cfg(test)]
mod tests;
