//! What kind of thing a target is, and which of its pods stands for it.

use std::{cmp::Reverse, fmt};

use crd_types::TypedObjectReference;
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    core::v1::{PersistentVolumeClaim, Pod, PodSpec, PodTemplateSpec},
};
use kube::ResourceExt as _;

use super::WorkloadError;

/// Kinds of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// `apps` Deployment: one component, `dump`.
    Deployment,
    /// `apps` StatefulSet: one component per ordinal.
    StatefulSet,
    /// `apps` DaemonSet: one component per node.
    DaemonSet,
    /// A claim by itself: one component, `dump`.
    PersistentVolumeClaim,
}

impl TargetKind {
    /// The kind of a reference. The group may be left out, as published manifests do.
    ///
    /// # Errors
    /// [`WorkloadError::UnknownKind`].
    pub fn of(target: &TypedObjectReference) -> Result<Self, WorkloadError> {
        let kind = target.kind.as_deref().unwrap_or_default();
        let group = target.api_group.as_deref().unwrap_or_default();
        match (group, kind) {
            ("" | "apps", "Deployment") => Ok(Self::Deployment),
            ("" | "apps", "StatefulSet") => Ok(Self::StatefulSet),
            ("" | "apps", "DaemonSet") => Ok(Self::DaemonSet),
            ("" | "v1", "PersistentVolumeClaim") => Ok(Self::PersistentVolumeClaim),
            _ => Err(WorkloadError::UnknownKind { kind: kind.to_owned(), name: target.name.clone() }),
        }
    }

    /// As the API server spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
        }
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Whether Orlop works on such a target at all.
///
/// # Errors
/// [`WorkloadError`]: no target, a kind that is not supported yet, or a target in another namespace than the session.
pub fn check_target(target: Option<&TypedObjectReference>, namespace: &str) -> Result<TargetKind, WorkloadError> {
    let target = target.filter(|target| !target.name.is_empty()).ok_or(WorkloadError::NoTarget)?;
    let kind = TargetKind::of(target)?;
    if matches!(kind, TargetKind::StatefulSet | TargetKind::DaemonSet) {
        return Err(WorkloadError::NotSupportedYet { kind: kind.to_string(), name: target.name.clone() });
    }
    match target.namespace.as_deref() {
        Some(elsewhere) if !elsewhere.is_empty() && elsewhere != namespace => Err(WorkloadError::OtherNamespace {
            name: target.name.clone(),
            target_namespace: elsewhere.to_owned(),
            namespace: namespace.to_owned(),
        }),
        _ => Ok(kind),
    }
}

/// A target as the cluster shows it.
#[derive(Debug, Clone)]
pub struct TargetView {
    /// Its kind.
    pub kind: TargetKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its pod template; a claim has none.
    pub template: Option<PodTemplateSpec>,
    /// Whether it is meant to have pods: replicas above zero. A claim is not.
    pub expects_pods: bool,
    /// Pods of its namespace.
    pub pods: Vec<Pod>,
    /// ReplicaSets of its namespace.
    pub replica_sets: Vec<ReplicaSet>,
    /// Claims of its namespace.
    pub claims: Vec<PersistentVolumeClaim>,
}

impl TargetView {
    /// How sentences name it.
    pub fn display(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.name)
    }

    /// The pod that stands for the target: alive, ready if one is, of the newest ReplicaSet, then the newest.
    pub fn live_pod(&self) -> Option<&Pod> {
        let revisions: Vec<(&str, i64)> = self.own_replica_sets();
        self.pods
            .iter()
            .filter(|pod| is_alive(pod))
            .filter_map(|pod| Some((pod, self.revision_of(pod, &revisions)?)))
            .max_by_key(|(pod, revision)| {
                (is_ready(pod), *revision, pod.creation_timestamp().map(|at| at.0), Reverse(pod.name_any()))
            })
            .map(|(pod, _)| pod)
    }

    /// The pod's specification as it runs, or as it would.
    pub fn pod_spec(&self) -> Option<&PodSpec> {
        self.template.as_ref().and_then(|template| template.spec.as_ref())
    }

    /// ReplicaSets of the Deployment by UID, with their revisions.
    fn own_replica_sets(&self) -> Vec<(&str, i64)> {
        let owned = |set: &&ReplicaSet| set.owner_references().iter().any(|owner| owner.uid == self.uid);
        self.replica_sets
            .iter()
            .filter(owned)
            .filter_map(|set| {
                let revision = set
                    .annotations()
                    .get("deployment.kubernetes.io/revision")
                    .and_then(|revision| revision.parse().ok())
                    .unwrap_or(0);
                Some((set.metadata.uid.as_deref()?, revision))
            })
            .collect()
    }

    /// The revision a pod belongs to, if it is one of the target's.
    fn revision_of(&self, pod: &Pod, revisions: &[(&str, i64)]) -> Option<i64> {
        if self.kind == TargetKind::PersistentVolumeClaim {
            // Our own movers use the claim too, but they say nothing about whose files are on it.
            return (uses_claim(pod, &self.name) && !is_ours(pod)).then_some(0);
        }
        pod.owner_references().iter().find_map(|owner| {
            if owner.uid == self.uid {
                return Some(0);
            }
            revisions.iter().find(|(uid, _)| *uid == owner.uid).map(|(_, revision)| *revision)
        })
    }
}

/// Whether a pod mounts a claim of its namespace.
pub(super) fn uses_claim(pod: &Pod, claim: &str) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.into_iter().any(|volume| {
        let direct = volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == claim);
        // A generic ephemeral volume's claim bears the names of its pod and its volume.
        direct || (volume.ephemeral.is_some() && format!("{}-{}", pod.name_any(), volume.name) == claim)
    })
}

/// Whether a pod is a mover.
pub(super) fn is_ours(pod: &Pod) -> bool {
    pod.labels().contains_key(crd_types::labels::SESSION_UID)
}

/// Whether a pod may still touch its volumes and is not on its way out.
pub(super) fn is_alive(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && !is_finished(pod)
}

/// Whether all containers of a pod have ended.
pub(super) fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
