//! Where a Job must run to reach the target's volumes (specification §4.5).
//!
//! Node affinity of a PersistentVolume itself is left to the scheduler, which applies it to every pod that names the
//! claim; only an attachment made by another pod is something it does not look at.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Toleration, Volume};
use kube::ResourceExt as _;

use super::{
    WorkloadError,
    target::{TargetView, is_finished, is_ours, uses_claim},
};
use crate::resolve::Verb;

/// Where a Job runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Placement {
    /// Node it must run on.
    pub node: Option<String>,
    /// Why, for explanations.
    pub because: Option<String>,
    /// Taints that the target's pods tolerate.
    pub tolerations: Vec<Toleration>,
}

/// Checks the claims among a Job's volumes and finds its node.
///
/// # Errors
/// [`WorkloadError`] for a claim that is missing, lost, a block device, taken, or attached elsewhere.
pub(super) fn place(verb: Verb, view: &TargetView, volumes: &[Volume]) -> Result<Placement, WorkloadError> {
    let live = view.live_pod();
    let mut nodes: Vec<(String, String)> = Vec::new();
    for volume in volumes {
        if let Some(source) = &volume.persistent_volume_claim {
            let claim = usable_claim(view, &source.claim_name)?;
            if let Some(node) = attached_node(verb, view, claim, live)? {
                nodes.push((format!("claim {}", source.claim_name), node));
            }
        } else if volume.host_path.is_some()
            && let Some(node) = live.and_then(node_of)
        {
            nodes.push((format!("host path of volume {}", volume.name), node));
        }
    }
    let first = nodes.first().cloned();
    if let Some((_, node)) = &first
        && nodes.iter().any(|(_, other)| other != node)
    {
        let nodes: Vec<String> = nodes.iter().map(|(what, node)| format!("{what} on {node}")).collect();
        return Err(WorkloadError::ClaimsApart { target: view.display(), nodes: nodes.join(", ") });
    }
    let spec = live.and_then(|pod| pod.spec.as_ref()).or_else(|| view.pod_spec());
    Ok(Placement {
        because: first.as_ref().map(|(what, node)| format!("{what} is in use on node {node}")),
        node: first.map(|(_, node)| node),
        tolerations: spec.and_then(|spec| spec.tolerations.clone()).unwrap_or_default(),
    })
}

fn usable_claim<'a>(view: &'a TargetView, name: &str) -> Result<&'a PersistentVolumeClaim, WorkloadError> {
    let namespace = view.namespace.clone();
    let claim = name.to_owned();
    let Some(found) = view.claims.iter().find(|found| found.metadata.name.as_deref() == Some(name)) else {
        return Err(WorkloadError::ClaimMissing { namespace, claim });
    };
    if found.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()) == Some("Block") {
        return Err(WorkloadError::BlockClaim { namespace, claim });
    }
    if found.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
        return Err(WorkloadError::ClaimLost { namespace, claim });
    }
    Ok(found)
}

/// The node to which a claim is tied by the pods that use it.
fn attached_node(
    verb: Verb,
    view: &TargetView,
    claim: &PersistentVolumeClaim,
    live: Option<&Pod>,
) -> Result<Option<String>, WorkloadError> {
    let name = claim.name_any();
    let modes = claim.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten());
    let modes: Vec<&str> = modes.map(String::as_str).collect();
    let users: Vec<&Pod> =
        view.pods.iter().filter(|pod| !is_finished(pod) && uses_claim(pod, &name) && node_of(pod).is_some()).collect();
    if modes.contains(&"ReadWriteOncePod") {
        // A pod of ours that still ends is waited for by the scheduler.
        return match users.iter().find(|pod| !is_ours(pod)) {
            Some(pod) => Err(WorkloadError::ClaimInUse { namespace: view.namespace.clone(), claim: name, pod: pod.name_any() }),
            None => Ok(None),
        };
    }
    let shared = modes.contains(&"ReadWriteMany") || (verb == Verb::Backup && modes == ["ReadOnlyMany"]);
    if shared {
        return Ok(None);
    }
    let preferred = users.iter().find(|pod| live.is_some_and(|live| live.uid() == pod.uid()));
    Ok(preferred.or(users.first()).copied().and_then(node_of))
}

fn node_of(pod: &Pod) -> Option<String> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.clone())
}
