//! Which volumes of a target hold the wanted paths, and how a Job mounts them (specification §4.4).

use crd_types::{AddonInfo, TargetVolumeInfo};
use k8s_openapi::api::core::v1::{PodSpec, Volume, VolumeMount};

use super::{WorkloadError, sub_path::expand, target::TargetView};
use crate::resolve::Verb;

/// What sort of storage a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    /// A claim or another volume that outlives its pod.
    Durable,
    /// ConfigMap, Secret, projected or downward API: the cluster holds it already.
    Configuration,
    /// An emptyDir.
    Scratch,
}

/// A volume where a container of the target has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TargetMount {
    /// Container that mounts it; empty for mounts that the user listed.
    pub container: String,
    /// The mount.
    pub mount: VolumeMount,
    /// The volume.
    pub volume: Volume,
    /// What it is.
    pub storage: Storage,
}

/// All mounts of a target: those that the user listed, or the union over its containers. The first of a path wins.
///
/// # Errors
/// [`WorkloadError::UnknownVolume`] for a listed mount of a volume that nobody defines.
pub(super) fn target_mounts(view: &TargetView, info: &AddonInfo) -> Result<Vec<TargetMount>, WorkloadError> {
    let empty = PodSpec::default();
    let spec = view.pod_spec().unwrap_or(&empty);
    let nothing = TargetVolumeInfo::default();
    let listed = info.tasks.iter().find_map(|task| task.target_volumes.as_ref()).unwrap_or(&nothing);
    let volumes: Vec<&Volume> = listed.volumes.iter().chain(spec.volumes.iter().flatten()).collect();

    let mut mounts: Vec<TargetMount> = Vec::new();
    let mut add = |container: &str, mount: &VolumeMount| -> Result<(), WorkloadError> {
        let Some(volume) = volumes.iter().find(|volume| volume.name == mount.name) else {
            return Err(WorkloadError::UnknownVolume {
                volume: mount.name.clone(),
                target: view.display(),
                known: names(&volumes),
            });
        };
        let mut mount = mount.clone();
        mount.mount_path = clean(&mount.mount_path);
        if mounts.iter().all(|known| known.mount.mount_path != mount.mount_path) {
            let storage = storage_of(volume);
            mounts.push(TargetMount { container: container.to_owned(), mount, volume: (*volume).clone(), storage });
        }
        Ok(())
    };
    if listed.volume_mounts.is_empty() {
        // Init containers that keep running are sidecars and mount volumes like any container.
        let sidecars = spec.init_containers.iter().flatten().filter(|container| container.restart_policy.is_some());
        for container in spec.containers.iter().chain(sidecars) {
            for mount in container.volume_mounts.iter().flatten() {
                add(&container.name, mount)?;
            }
        }
    } else {
        for mount in &listed.volume_mounts {
            add("", mount)?;
        }
    }
    Ok(mounts)
}

/// Outermost paths at which durable volumes are mounted.
pub(super) fn durable_paths(mounts: &[TargetMount]) -> Vec<String> {
    let durable: Vec<&str> =
        mounts.iter().filter(|mount| mount.storage == Storage::Durable).map(|mount| mount.mount.mount_path.as_str()).collect();
    let outermost = |path: &&&str| !durable.iter().any(|other| other != *path && is_below(path, other));
    durable.iter().filter(outermost).map(|path| (*path).to_owned()).collect()
}

/// The mounts that the paths need: for each the innermost around it, and durable ones inside of it.
///
/// # Errors
/// [`WorkloadError`] for a path outside of every volume or on an emptyDir.
pub(super) fn select_mounts(
    view: &TargetView,
    mounts: &[TargetMount],
    paths: &[String],
) -> Result<Vec<TargetMount>, WorkloadError> {
    let mut needed = vec![false; mounts.len()];
    for path in paths {
        let around = mounts
            .iter()
            .enumerate()
            .filter(|(_, mount)| is_at_or_below(path, &mount.mount.mount_path))
            .max_by_key(|(_, mount)| mount.mount.mount_path.len());
        let Some((index, mount)) = around else {
            if let Some(claim) = block_claim_at(view, path) {
                return Err(WorkloadError::BlockClaim { namespace: view.namespace.clone(), claim });
            }
            return Err(WorkloadError::PathNotMounted { path: path.clone(), target: view.display(), mounts: describe(mounts) });
        };
        if mount.storage == Storage::Scratch {
            return Err(WorkloadError::PathOnEmptyDir {
                path: path.clone(),
                target: view.display(),
                volume: mount.volume.name.clone(),
            });
        }
        needed[index] = true;
        for (inner, mount) in mounts.iter().enumerate() {
            needed[inner] |= mount.storage == Storage::Durable && is_below(&mount.mount.mount_path, path);
        }
    }
    Ok(mounts.iter().zip(needed).filter(|(_, needed)| *needed).map(|(mount, _)| mount.clone()).collect())
}

/// The claim that a container of the target has as a raw device at that path.
fn block_claim_at(view: &TargetView, path: &str) -> Option<String> {
    let spec = view.pod_spec()?;
    let devices = spec.containers.iter().flat_map(|container| container.volume_devices.iter().flatten());
    let name = devices.filter(|device| is_at_or_below(path, &device.device_path)).map(|device| &device.name).next()?;
    let volume = spec.volumes.iter().flatten().find(|volume| volume.name == *name)?;
    Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone())
}

/// The volumes and mounts of a Job for those mounts of a target: read-only when it only reads.
///
/// # Errors
/// [`WorkloadError::SubPathExpression`] when a mount's place cannot be computed.
pub(super) fn job_volumes(
    verb: Verb,
    view: &TargetView,
    mounts: &[TargetMount],
    taken: &[String],
) -> Result<(Vec<Volume>, Vec<VolumeMount>), WorkloadError> {
    let mut volumes: Vec<Volume> = Vec::new();
    let mut job_mounts = Vec::new();
    for target in mounts {
        // The task's own volumes keep their names: placeholders refer to them.
        let name = if taken.contains(&target.volume.name) {
            format!("target-{}", target.volume.name).chars().take(63).collect()
        } else {
            target.volume.name.clone()
        };
        if volumes.iter().all(|volume| volume.name != name) {
            volumes.push(Volume { name: name.clone(), ..job_volume(view, &target.volume) });
        }
        let sub_path = match &target.mount.sub_path_expr {
            Some(expression) => Some(expand(view, target, expression)?),
            None => target.mount.sub_path.clone(),
        };
        job_mounts.push(VolumeMount {
            name,
            mount_path: target.mount.mount_path.clone(),
            sub_path,
            read_only: (verb == Verb::Backup).then_some(true),
            ..VolumeMount::default()
        });
    }
    Ok((volumes, job_mounts))
}

/// A target's volume as another pod can mount it: the claim that a pod's ephemeral volume made, by its name.
fn job_volume(view: &TargetView, volume: &Volume) -> Volume {
    let mut volume = volume.clone();
    if volume.ephemeral.is_some()
        && let Some(pod) = view.live_pod()
    {
        let claim_name = format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name);
        volume.ephemeral = None;
        volume.persistent_volume_claim =
            Some(k8s_openapi::api::core::v1::PersistentVolumeClaimVolumeSource { claim_name, read_only: None });
    }
    volume
}

fn storage_of(volume: &Volume) -> Storage {
    if volume.empty_dir.is_some() || volume.image.is_some() {
        Storage::Scratch
    } else if volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
    {
        Storage::Configuration
    } else {
        Storage::Durable
    }
}

pub(super) fn is_at_or_below(path: &str, root: &str) -> bool {
    path == root || is_below(path, root)
}

fn is_below(path: &str, root: &str) -> bool {
    root == "/" && path != "/" || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
}

fn clean(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() }
}

fn describe(mounts: &[TargetMount]) -> String {
    let places: Vec<String> = mounts
        .iter()
        .filter(|mount| mount.storage == Storage::Durable)
        .map(|mount| format!("{} (volume {})", mount.mount.mount_path, mount.volume.name))
        .collect();
    if places.is_empty() { "no persistent volume".to_owned() } else { places.join(", ") }
}

fn names(volumes: &[&Volume]) -> String {
    let names: Vec<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
    if names.is_empty() { "none: there are no volumes".to_owned() } else { names.join(", ") }
}
