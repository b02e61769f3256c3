//! One pod, as its kubelet and the node controller describe it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition, PodStatus};
use planner::attempt::{ContainerEnd, PodView};
use proto_api::termination;

use crate::outcome;

/// How long after its grace period a pod may still be reported running before its node counts as lost. The kubelet
/// kills at the end of the grace period and reports within seconds.
const SILENCE: SignedDuration = SignedDuration::from_secs(30);

/// The word of a kubelet that looked for a container and did not find it: no proof that its process ended.
const NOT_FOUND: &str = "ContainerStatusUnknown";

/// The end of a mover's container, as a kubelet reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// UID of the pod.
    pub pod_uid: String,
    /// Its node.
    pub node: String,
    /// When the container ended.
    pub at: Timestamp,
}

/// The proof that a mover's container has ended, if the pod's status holds one (architecture §4.7). A pod's phase proves
/// nothing: others than the kubelet write it.
pub fn ended(pod: &Pod) -> Option<Ended> {
    let terminated = working_container(pod)?.state.as_ref()?.terminated.as_ref()?;
    let seen = terminated.container_id.as_deref().is_some_and(|id| !id.is_empty());
    if !seen || terminated.reason.as_deref() == Some(NOT_FOUND) {
        return None;
    }
    Some(Ended {
        pod_uid: pod.metadata.uid.clone()?,
        node: pod.spec.as_ref()?.node_name.clone()?,
        at: terminated.finished_at.as_ref()?.0,
    })
}

/// What matters of a pod.
pub fn pod_view(pod: &Pod, now: Timestamp) -> PodView {
    let nothing = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&nothing);
    let state = working_container(pod).and_then(|container| container.state.as_ref());
    let terminated = state.and_then(|state| state.terminated.as_ref());
    let running = state.and_then(|state| state.running.as_ref());
    let started = terminated.and_then(|ended| ended.started_at.as_ref()).or(running.and_then(|state| state.started_at.as_ref()));
    PodView {
        name: pod.metadata.name.clone().unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        started: started.map(|time| time.0),
        ended: terminated.map(|ended| ContainerEnd {
            exit_code: ended.exit_code,
            reason: ended.reason.clone().unwrap_or_default(),
            report: ended.message.as_deref().and_then(last_words),
            at: ended.finished_at.as_ref().map(|time| time.0),
        }),
        waiting: waiting(status, state),
        lost: lost(pod, terminated.is_some(), now),
        disrupted: disrupted(status),
    }
}

/// The container that works: the first of the pod. Anything injected stands behind it (C12).
fn working_container(pod: &Pod) -> Option<&ContainerStatus> {
    let name = &pod.spec.as_ref()?.containers.first()?.name;
    pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|container| container.name == *name)
}

fn last_words(message: &str) -> Option<planner::attempt::Report> {
    match termination::decode(message) {
        Ok(words) => Some(outcome::report(&words.outcome)),
        Err(error) => {
            tracing::debug!(%error, "termination message is not an outcome");
            None
        }
    }
}

fn waiting(status: &PodStatus, state: Option<&ContainerState>) -> Option<String> {
    if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        return match waiting.message.as_deref() {
            Some(message) if !message.is_empty() => Some(format!("{reason}: {message}")),
            _ if reason.is_empty() => None,
            _ => Some(reason.to_owned()),
        };
    }
    let scheduled = condition(status, "PodScheduled").filter(|scheduled| scheduled.status == "False")?;
    Some(scheduled.message.clone().unwrap_or_else(|| "no node has been found for it".to_owned()))
}

/// A pod that should be gone and of which nothing is heard. The process may live on: a lock of its stays honoured, and
/// a stream of its is fenced off by the attempt.
fn lost(pod: &Pod, has_ended: bool, now: Timestamp) -> Option<String> {
    let deadline = pod.metadata.deletion_timestamp.as_ref()?.0;
    let silent_since = deadline.saturating_add(SILENCE).unwrap_or(Timestamp::MAX);
    if has_ended || now < silent_since {
        return None;
    }
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref())?;
    Some(format!("node {node} does not report the end of a pod that was to be gone at {deadline}"))
}

fn disrupted(status: &PodStatus) -> Option<String> {
    let target = condition(status, "DisruptionTarget").filter(|target| target.status == "True");
    let from_condition = target.map(|target| words(target.reason.as_deref(), target.message.as_deref()));
    // Kubelets that evict for want of memory or disk, or shut down, say so here.
    let failed = status.phase.as_deref() == Some("Failed");
    let from_status = status.reason.as_deref().filter(|_| failed).map(|reason| words(Some(reason), status.message.as_deref()));
    from_condition.or(from_status)
}

fn words(reason: Option<&str>, message: Option<&str>) -> String {
    let given = [reason, message].into_iter().flatten().filter(|text| !text.is_empty());
    given.collect::<Vec<_>>().join(": ")
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a PodCondition> {
    status.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}
