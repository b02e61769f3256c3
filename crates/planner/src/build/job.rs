//! Jobs that back up, restore and apply retention (specification §4.4, architecture §3 step 13).

use std::collections::BTreeMap;

use crd_types::{PodTemplateSpec, annotations, labels, names as fixed};
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{Container, EmptyDirVolumeSource, Volume, VolumeMount},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::{
    labels::{inherit, labelled},
    manners::{PodManners, Token, env_of_field, is_reserved_volume, no_mesh_label, override_env, undisturbed},
    pod::{apply_template, pod_template},
};
use crate::{
    names::TUPLE_ANNOTATION,
    resolve::ResolvedTask,
    workload::{Identity, Placement},
};

/// What a Job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Backs up one component into all Repositories of a session.
    Backup,
    /// Restores one component.
    Restore,
    /// Forgets and prunes after a session.
    Retention,
}

impl Work {
    /// Value of label `orlop.dev/work`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => labels::work::BACKUP,
            Self::Restore => labels::work::RESTORE,
            Self::Retention => labels::work::RETENTION,
        }
    }

    /// The work that a label names.
    pub fn from_label(label: &str) -> Option<Self> {
        [Self::Backup, Self::Restore, Self::Retention].into_iter().find(|work| work.as_str() == label)
    }

    fn app_component(self) -> &'static str {
        match self {
            Self::Backup => labels::component::BACKUP,
            Self::Restore => labels::component::RESTORE,
            // As observed with KubeStash, whose retention Jobs bear this value.
            Self::Retention => labels::component::CLEANER,
        }
    }
}

/// The session that a Job works for.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRef<'a> {
    /// `BackupSession` or `RestoreSession`.
    pub kind: &'a str,
    /// Its metadata: namespace, name, UID, labels.
    pub metadata: &'a ObjectMeta,
    /// Name of the session in its configuration; a restore has none.
    pub session: Option<&'a str>,
}

impl SessionRef<'_> {
    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
}

/// Everything a Job is made of.
#[derive(Debug, Clone)]
pub struct JobRequest<'a> {
    /// Name of the Job, chosen among its candidates.
    pub name: &'a str,
    /// Digest of what tells the Job from all others.
    pub tuple_digest: &'a str,
    /// Whose work it is.
    pub session: SessionRef<'a>,
    /// What it does.
    pub work: Work,
    /// The component, or `retention`.
    pub component: &'a str,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// The working container and the task's volumes are taken from here.
    pub task: &'a ResolvedTask,
    /// Volumes of the pod, the task's included.
    pub volumes: &'a [Volume],
    /// Mounts of the working container, the task's included.
    pub mounts: &'a [VolumeMount],
    /// Where the pod runs.
    pub placement: &'a Placement,
    /// As whom.
    pub identity: &'a Identity,
    /// The user's settings.
    pub template: Option<&'a PodTemplateSpec>,
    /// Whether the namespace may ask for the node's own namespaces.
    pub host_namespaces: bool,
    /// Variables by which the mover finds its session; they win over all others.
    pub environment: &'a [(String, String)],
    /// Variables filled by the downward API: name and field.
    pub fields: &'a [(&'a str, &'a str)],
    /// Tokens that the mover shows to the control plane.
    pub tokens: &'a [Token],
    /// Rules for all our pods.
    pub manners: &'a PodManners,
    /// ServiceAccount, unless the user names one.
    pub service_account: &'a str,
    /// Seconds until the Job is ended from outside.
    pub deadline_seconds: i64,
    /// Proof that we made the Job.
    pub proof: &'a str,
    /// W3C trace context.
    pub traceparent: Option<&'a str>,
}

/// The labels that the proof of a Job speaks about, as they stand on it.
pub fn claim_labels(component: &str, attempt: u32, work: Work) -> [(&'static str, String); 3] {
    [
        (labels::SESSION_COMPONENT, crate::names::label_value(component)),
        (labels::ATTEMPT, attempt.to_string()),
        (labels::WORK, work.as_str().to_owned()),
    ]
}

/// Builds the Job.
pub fn job(request: &JobRequest<'_>) -> Job {
    let session = &request.session;
    let labels = job_labels(request);
    let mut spec = pod_template(request.manners);
    spec.service_account_name = Some(request.service_account.to_owned());
    spec.security_context = Some(request.identity.pod.clone());
    spec.tolerations = (!request.placement.tolerations.is_empty()).then(|| request.placement.tolerations.clone());
    spec.volumes = Some(volumes(request));
    spec.containers = vec![container(request)];
    apply_template(&mut spec, request.template, request.host_namespaces, request.manners);
    if let Some(node) = &request.placement.node {
        super::pod::pin_to_node(&mut spec, node);
    }

    let nothing = PodTemplateSpec::default();
    let template = request.template.unwrap_or(&nothing);
    let controller = template.controller.clone().unwrap_or_default();
    let pod = template.metadata.clone().unwrap_or_default();
    let mut job_annotations = inherit(&controller.annotations);
    job_annotations.insert(TUPLE_ANNOTATION.to_owned(), request.tuple_digest.to_owned());
    job_annotations.insert(annotations::JOB_PROOF.to_owned(), request.proof.to_owned());
    if let Some(traceparent) = request.traceparent {
        job_annotations.insert(annotations::TRACEPARENT.to_owned(), traceparent.to_owned());
    }
    let mut pod_annotations = inherit(&pod.annotations);
    pod_annotations.extend(undisturbed());
    let mut pod_labels = inherit(&pod.labels);
    pod_labels.extend(labels.clone());
    pod_labels.extend([no_mesh_label()]);
    let mut job_labels = inherit(&controller.labels);
    job_labels.extend(labels);

    Job {
        metadata: ObjectMeta {
            name: Some(request.name.to_owned()),
            namespace: Some(session.namespace().to_owned()),
            labels: Some(job_labels),
            annotations: Some(job_annotations),
            owner_references: Some(vec![owner(session)]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            // Attempts are ours to make: each is a Job of its own, and none starts beside another.
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            suspend: Some(false),
            pod_replacement_policy: Some("Failed".to_owned()),
            active_deadline_seconds: Some(request.deadline_seconds.max(1)),
            template: k8s_openapi::api::core::v1::PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels),
                    annotations: Some(pod_annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(spec),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn job_labels(request: &JobRequest<'_>) -> BTreeMap<String, String> {
    let session = &request.session;
    let mut all = inherit(session.metadata.labels.as_ref().unwrap_or(&BTreeMap::new()));
    all.extend(labelled([
        (labels::MANAGED_BY, labels::MANAGED_BY_VALUE),
        (labels::COMPONENT, request.work.app_component()),
        (labels::INVOKER_NAME, session.name()),
        (labels::INVOKER_NAMESPACE, session.namespace()),
        (labels::SESSION_UID, session.uid()),
        (labels::SESSION_KIND, session.kind),
    ]));
    if let Some(name) = session.session {
        all.extend(labelled([(labels::SESSION_NAME, name)]));
    }
    for (name, value) in claim_labels(request.component, request.attempt, request.work) {
        all.insert(name.to_owned(), value);
    }
    all
}

pub(super) fn owner(session: &SessionRef<'_>) -> OwnerReference {
    OwnerReference {
        api_version: format!("{}/{}", fixed::CORE_GROUP, fixed::VERSION),
        kind: session.kind.to_owned(),
        name: session.name().to_owned(),
        uid: session.uid().to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn container(request: &JobRequest<'_>) -> Container {
    let task = request.task;
    let mut env = request.manners.environment();
    override_env(&mut env, task.env.clone());
    override_env(&mut env, request.fields.iter().map(|(name, field)| env_of_field(name, field)).collect());
    override_env(&mut env, request.environment.iter().map(|(name, value)| super::manners::env(name, value)).collect());

    let mut mounts: Vec<VolumeMount> = request.mounts.iter().filter(|mount| !is_reserved_volume(&mount.name)).cloned().collect();
    mounts.extend(request.tokens.iter().map(Token::mount));

    Container {
        name: format!("{}-0", task.name),
        image: Some(task.image.clone()),
        image_pull_policy: request.manners.image_pull_policy.clone(),
        command: (!task.command.is_empty()).then(|| task.command.clone()),
        args: Some(task.args.clone()),
        working_dir: task.working_dir.clone(),
        env: Some(env),
        env_from: (!task.env_from.is_empty()).then(|| task.env_from.clone()),
        resources: Some(task.resources.clone().unwrap_or_else(|| request.manners.resources())),
        security_context: Some(request.identity.container.clone()),
        lifecycle: task.lifecycle.clone(),
        liveness_probe: task.liveness_probe.clone(),
        readiness_probe: task.readiness_probe.clone(),
        volume_mounts: Some(mounts),
        volume_devices: (!task.volume_devices.is_empty()).then(|| task.volume_devices.clone()),
        termination_message_path: Some("/dev/termination-log".to_owned()),
        // Logs can hold paths, which are personal data: only what the mover says on purpose is kept.
        termination_message_policy: Some("File".to_owned()),
        ..Container::default()
    }
}

fn volumes(request: &JobRequest<'_>) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = request.volumes.iter().filter(|volume| !is_reserved_volume(&volume.name)).cloned().collect();
    volumes.extend(request.tokens.iter().map(Token::volume));
    volumes
}

/// The task of a retention Job: our own image, and a scratch volume.
pub fn retention_task(image: &str) -> ResolvedTask {
    ResolvedTask {
        name: "retention-policy".to_owned(),
        singleton: true,
        paths: Vec::new(),
        image: image.to_owned(),
        command: Vec::new(),
        args: vec!["agent".to_owned(), "retention".to_owned(), format!("--scratch-dir={}", fixed::TMP_MOUNT_PATH)],
        working_dir: None,
        env: Vec::new(),
        env_from: Vec::new(),
        resources: None,
        security_context: None,
        lifecycle: None,
        liveness_probe: None,
        readiness_probe: None,
        volumes: vec![Volume {
            name: fixed::TMP_VOLUME.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        }],
        volume_mounts: vec![VolumeMount {
            name: fixed::TMP_VOLUME.to_owned(),
            mount_path: fixed::TMP_MOUNT_PATH.to_owned(),
            ..VolumeMount::default()
        }],
        volume_devices: Vec::new(),
    }
}
