//! Why a target cannot be backed up or restored as it is.

/// Why no Job can be made for a target. Every message is one sentence that names the object and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// The configuration or restore names no target.
    #[error("no target is named: set spec.target to the workload whose volumes are meant")]
    NoTarget,
    /// A kind that the specification knows and Orlop does not do yet.
    #[error("target {kind} {name} is not supported yet: use a Deployment, or pvc-addon with a PersistentVolumeClaim")]
    NotSupportedYet {
        /// Kind of the target.
        kind: String,
        /// Name of the target.
        name: String,
    },
    /// A kind that is no workload of Kubernetes.
    #[error(
        "target {kind} {name} is of a kind that has no volumes: name a Deployment, StatefulSet, DaemonSet or PersistentVolumeClaim"
    )]
    UnknownKind {
        /// Kind of the target.
        kind: String,
        /// Name of the target.
        name: String,
    },
    /// A pod cannot mount claims of another namespace.
    #[error(
        "target {name} lives in namespace {target_namespace}: create this object there too, because a pod of namespace {namespace} cannot mount its volumes"
    )]
    OtherNamespace {
        /// Name of the target.
        name: String,
        /// Namespace of the target.
        target_namespace: String,
        /// Namespace of the session.
        namespace: String,
    },
    /// The target does not exist.
    #[error("target {kind} {namespace}/{name} does not exist: create it or correct spec.target")]
    NotFound {
        /// Kind of the target.
        kind: String,
        /// Namespace of the target.
        namespace: String,
        /// Name of the target.
        name: String,
    },
    /// A workload that is meant to run has no pod that runs: whose files they are cannot be seen yet.
    #[error(
        "no pod of {target} runs yet, so it cannot be seen as which user its files are to be read: see its pods, or scale it to zero"
    )]
    NoRunningPod {
        /// The target.
        target: String,
    },
    /// A path lies in no volume of the target.
    #[error(
        "path {path} lies in no volume of {target}, which mounts {mounts}: correct addon.tasks[].params.paths or mount a volume there"
    )]
    PathNotMounted {
        /// The path.
        path: String,
        /// The target.
        target: String,
        /// What is mounted.
        mounts: String,
    },
    /// A path lies on storage that ends with its pod.
    #[error(
        "path {path} of {target} lies on emptyDir volume {volume}, whose content ends with its pod: put it on a persistent volume or leave the path out"
    )]
    PathOnEmptyDir {
        /// The path.
        path: String,
        /// The target.
        target: String,
        /// The volume.
        volume: String,
    },
    /// `targetVolumes.volumeMounts` names a volume that nobody defines.
    #[error(
        "targetVolumes mounts volume {volume}, which neither targetVolumes.volumes nor {target} defines: name one of {known}"
    )]
    UnknownVolume {
        /// The volume.
        volume: String,
        /// The target.
        target: String,
        /// Volumes that exist.
        known: String,
    },
    /// A mount path that only its container can compute.
    #[error(
        "subPathExpr {expression:?} of volume {volume} in {target} needs {missing}, which no running pod tells: name the path by targetVolumes.volumeMounts[].subPath"
    )]
    SubPathExpression {
        /// The expression.
        expression: String,
        /// The volume.
        volume: String,
        /// The target.
        target: String,
        /// What is not known.
        missing: String,
    },
    /// A claim that does not exist.
    #[error("PersistentVolumeClaim {namespace}/{claim} does not exist: create it")]
    ClaimMissing {
        /// Namespace.
        namespace: String,
        /// The claim.
        claim: String,
    },
    /// A claim whose volume is gone.
    #[error("PersistentVolumeClaim {namespace}/{claim} has lost its volume: restore the volume or use another claim")]
    ClaimLost {
        /// Namespace.
        namespace: String,
        /// The claim.
        claim: String,
    },
    /// A claim that is a raw device.
    #[error(
        "PersistentVolumeClaim {namespace}/{claim} is a block device (volumeMode Block), which has no files: use a claim with volumeMode Filesystem"
    )]
    BlockClaim {
        /// Namespace.
        namespace: String,
        /// The claim.
        claim: String,
    },
    /// A claim that admits one pod only, and has it.
    #[error(
        "PersistentVolumeClaim {namespace}/{claim} is ReadWriteOncePod and pod {pod} uses it: scale the workload down or use a claim with ReadWriteOnce"
    )]
    ClaimInUse {
        /// Namespace.
        namespace: String,
        /// The claim.
        claim: String,
        /// The pod.
        pod: String,
    },
    /// Two ReadWriteOnce claims are attached to different nodes.
    #[error(
        "volumes of {target} are attached to different nodes ({nodes}), where no single pod can mount them: back them up in separate sessions by targetVolumes"
    )]
    ClaimsApart {
        /// The target.
        target: String,
        /// Claims and their nodes.
        nodes: String,
    },
    /// A user's template asks for the node's own namespaces.
    #[error(
        "jobTemplate asks for {what}, which needs annotation orlop.dev/allow-host-namespaces=true on namespace {namespace}, set by an administrator"
    )]
    HostNamespaces {
        /// Which.
        what: &'static str,
        /// Namespace of the session.
        namespace: String,
    },
}

impl WorkloadError {
    /// The same cause in one word, for a condition's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoTarget => "TargetNotNamed",
            Self::NotSupportedYet { .. } => "TargetNotSupported",
            Self::UnknownKind { .. } => "TargetKindUnknown",
            Self::OtherNamespace { .. } => "TargetInOtherNamespace",
            Self::NotFound { .. } => "TargetNotFound",
            Self::NoRunningPod { .. } => "NoRunningPod",
            Self::PathNotMounted { .. } => "PathNotMounted",
            Self::PathOnEmptyDir { .. } => "PathOnEmptyDir",
            Self::UnknownVolume { .. } => "VolumeUnknown",
            Self::SubPathExpression { .. } => "SubPathUnknown",
            Self::ClaimMissing { .. } => "ClaimNotFound",
            Self::ClaimLost { .. } => "ClaimLost",
            Self::BlockClaim { .. } => "BlockModeClaim",
            Self::ClaimInUse { .. } => "ClaimInUse",
            Self::ClaimsApart { .. } => "ClaimsOnDifferentNodes",
            Self::HostNamespaces { .. } => "HostNamespacesRefused",
        }
    }

    /// Whether the cause may go away without a change of the session: an object may appear, a pod may end.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::NoRunningPod { .. }
                | Self::ClaimMissing { .. }
                | Self::ClaimsApart { .. }
                | Self::SubPathExpression { .. }
        )
    }
}
