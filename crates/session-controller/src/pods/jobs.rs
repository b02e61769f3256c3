//! The Jobs of one session with their pods.

use std::collections::BTreeSet;

use crd_types::labels;
use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_kit::owners::controller_of;
use planner::attempt::{JobState, JobView};
use planner::build::Work;

use super::pod::{ended, pod_view};

/// Label by which the Job controller names the Job on its pods.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// What is seen of a session's Jobs. `jobs` are those that we made; `pods` all that bear the session's label.
///
/// A pod that runs on while its Job is gone (somebody deleted the Job alone) stands for its Job, which counts as being
/// deleted: its mover may still be writing.
pub fn job_views(jobs: &[Job], pods: &[Pod], now: Timestamp) -> Vec<JobView> {
    let known: BTreeSet<&str> = jobs.iter().filter_map(|job| job.metadata.uid.as_deref()).collect();
    let orphans = pods.iter().filter(|pod| {
        let owner = controller_of(*pod);
        let lost_owner = owner.is_some_and(|owner| owner.kind == "Job" && !known.contains(owner.uid.as_str()));
        lost_owner && !is_over(pod)
    });
    let of_jobs = jobs.iter().filter_map(|job| job_view(job, pods, now));
    of_jobs.chain(orphans.filter_map(|pod| orphan_view(pod, now))).collect()
}

fn job_view(job: &Job, pods: &[Pod], now: Timestamp) -> Option<JobView> {
    let uid = job.metadata.uid.as_deref();
    let newest = pods
        .iter()
        .filter(|pod| controller_of(*pod).map(|owner| owner.uid.as_str()) == uid)
        .max_by_key(|pod| created(&pod.metadata));
    let finished = |kind: &str| {
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().find(|condition| condition.type_ == kind && condition.status == "True")
    };
    let failed = finished("Failed");
    let state = match &job.metadata.deletion_timestamp {
        Some(since) => JobState::Deleting(since.0),
        None if failed.is_some() || finished("Complete").is_some() => JobState::Ended,
        None => JobState::Live,
    };
    let failure = failed.or_else(|| finished("FailureTarget")).map(|condition| {
        let reason = condition.reason.clone().unwrap_or_default();
        match condition.message.as_deref() {
            Some(message) if !message.is_empty() => format!("{reason}: {message}"),
            _ => reason,
        }
    });
    Some(JobView {
        state,
        failure,
        pod: newest.map(|pod| pod_view(pod, now)),
        ..bare_view(&job.metadata, job.metadata.name.clone()?)?
    })
}

fn orphan_view(pod: &Pod, now: Timestamp) -> Option<JobView> {
    let name = pod.metadata.labels.as_ref()?.get(JOB_NAME)?.clone();
    let since = pod.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
    Some(JobView { state: JobState::Deleting(since), pod: Some(pod_view(pod, now)), ..bare_view(&pod.metadata, name)? })
}

/// What labels say; a Job without them is none of ours.
fn bare_view(metadata: &ObjectMeta, name: String) -> Option<JobView> {
    let label = |key: &str| metadata.labels.as_ref()?.get(key);
    Some(JobView {
        name,
        component: label(labels::SESSION_COMPONENT)?.clone(),
        attempt: label(labels::ATTEMPT)?.parse().ok()?,
        work: Work::from_label(label(labels::WORK)?)?,
        created: created(metadata),
        state: JobState::Live,
        failure: None,
        pod: None,
        refusal: None,
    })
}

/// Whether nothing of a pod runs any more.
fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    ended(pod).is_some() || matches!(phase, Some("Succeeded" | "Failed"))
}

fn created(metadata: &ObjectMeta) -> Timestamp {
    metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}
