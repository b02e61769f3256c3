//! CronJobs that trigger sessions (specification §2.3, architecture §3 steps 8-9).

use crd_types::{BackupConfiguration, JobTemplate, SchedulerSpec, Session, labels, names as fixed};
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobSpec, JobSpec, JobTemplateSpec},
        core::v1::{Container, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    labels::{inherit, labelled},
    manners::{PodManners, Token, env, env_of_field, no_mesh_label, override_env},
    objects::owner,
    pod::{apply_template, pod_template},
};
use crate::{names::TUPLE_ANNOTATION, workload::unprivileged};

/// Everything a trigger CronJob is made of.
#[derive(Debug, Clone)]
pub struct CronJobRequest<'a> {
    /// Name of the CronJob, chosen among its candidates.
    pub name: &'a str,
    /// Digest of what tells the CronJob from all others.
    pub tuple_digest: &'a str,
    /// The configuration.
    pub configuration: &'a BackupConfiguration,
    /// The session of it.
    pub session: &'a Session,
    /// Its schedule.
    pub scheduler: &'a SchedulerSpec,
    /// Whether slots are held: paused, suspended, or a restore runs.
    pub suspend: bool,
    /// IANA time zone in which the schedule is read.
    pub time_zone: &'a str,
    /// Image of the trigger.
    pub image: &'a str,
    /// Its arguments.
    pub args: &'a [String],
    /// Variables by which it finds the scheduler.
    pub environment: &'a [(String, String)],
    /// Variables filled by the downward API: name and field.
    pub fields: &'a [(&'a str, &'a str)],
    /// The token that it shows to the scheduler.
    pub tokens: &'a [Token],
    /// Rules for all our pods.
    pub manners: &'a PodManners,
    /// ServiceAccount, unless the user names one.
    pub service_account: &'a str,
}

/// Builds the CronJob.
pub fn cron_job(request: &CronJobRequest<'_>) -> CronJob {
    let metadata = &request.configuration.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let mut all = inherit(metadata.labels.as_ref().unwrap_or(&std::collections::BTreeMap::new()));
    all.extend(labelled([
        (labels::MANAGED_BY, labels::MANAGED_BY_VALUE),
        (labels::COMPONENT, labels::component::TRIGGER),
        (labels::INVOKER_NAME, name),
        (labels::INVOKER_NAMESPACE, namespace),
        (labels::SESSION_NAME, request.session.name.as_deref().unwrap_or_default()),
    ]));
    let scheduler = request.scheduler;
    CronJob {
        metadata: ObjectMeta {
            name: Some(request.name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(all.clone()),
            annotations: Some([(TUPLE_ANNOTATION.to_owned(), request.tuple_digest.to_owned())].into()),
            owner_references: Some(vec![owner("BackupConfiguration", fixed::CORE_GROUP, metadata)]),
            ..ObjectMeta::default()
        },
        spec: Some(CronJobSpec {
            schedule: scheduler.schedule.clone(),
            time_zone: Some(request.time_zone.to_owned()),
            suspend: Some(request.suspend),
            concurrency_policy: scheduler.concurrency_policy.clone(),
            starting_deadline_seconds: scheduler.starting_deadline_seconds,
            successful_jobs_history_limit: scheduler.successful_jobs_history_limit,
            failed_jobs_history_limit: scheduler.failed_jobs_history_limit,
            job_template: job_template(request, &all),
        }),
        status: None,
    }
}

fn job_template(request: &CronJobRequest<'_>, all: &std::collections::BTreeMap<String, String>) -> JobTemplateSpec {
    // Destructured so that a new setting cannot be forgotten.
    let JobTemplate {
        active_deadline_seconds,
        backoff_limit,
        completion_mode,
        completions,
        parallelism,
        suspend,
        template,
        ttl_seconds_after_finished,
    } = &request.scheduler.job_template;
    let user = template.clone().unwrap_or_default();
    let controller = user.controller.clone().unwrap_or_default();
    let pod = user.metadata.clone().unwrap_or_default();

    let mut spec = pod_template(request.manners);
    let asked = user.spec.as_ref();
    let identity = unprivileged(asked.and_then(|asked| asked.security_context.as_ref()));
    spec.service_account_name = Some(request.service_account.to_owned());
    spec.security_context = Some(identity.pod);
    spec.termination_grace_period_seconds = Some(10);
    spec.volumes = Some(request.tokens.iter().map(Token::volume).collect());
    let mut variables = request.manners.environment();
    if let Some(asked) = asked {
        override_env(&mut variables, asked.env.clone());
    }
    override_env(&mut variables, request.fields.iter().map(|(name, field)| env_of_field(name, field)).collect());
    override_env(&mut variables, request.environment.iter().map(|(name, value)| env(name, value)).collect());
    spec.containers = vec![Container {
        name: fixed::TRIGGER_CONTAINER.to_owned(),
        image: Some(request.image.to_owned()),
        image_pull_policy: request.manners.image_pull_policy.clone(),
        args: Some(request.args.to_vec()),
        env: Some(variables),
        resources: Some(
            asked
                .and_then(|asked| asked.resources.clone())
                .filter(|resources| *resources != Default::default())
                .unwrap_or_else(PodManners::trigger_resources),
        ),
        security_context: Some(identity.container),
        volume_mounts: Some(request.tokens.iter().map(Token::mount).collect()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }];
    apply_template(&mut spec, Some(&user), false, request.manners);

    let mut job_labels = inherit(&controller.labels);
    job_labels.extend(all.clone());
    let mut pod_labels = inherit(&pod.labels);
    pod_labels.extend(all.clone());
    pod_labels.extend([no_mesh_label()]);
    let mut pod_annotations = inherit(&pod.annotations);
    pod_annotations.extend(super::manners::undisturbed());
    let job_annotations = inherit(&controller.annotations);
    JobTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(job_labels),
            annotations: (!job_annotations.is_empty()).then_some(job_annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(JobSpec {
            active_deadline_seconds: *active_deadline_seconds,
            backoff_limit: *backoff_limit,
            completion_mode: completion_mode.clone(),
            completions: *completions,
            parallelism: *parallelism,
            suspend: *suspend,
            ttl_seconds_after_finished: *ttl_seconds_after_finished,
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels),
                    annotations: Some(pod_annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(spec),
            },
            ..JobSpec::default()
        }),
    }
}
