#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, PodStatus};
use planner::attempt::{JobState, Outcome};
use proto_api::mover::v1alpha1 as pb;
use proto_api::termination;
use serde_json::{Value, json};
use testkit::{ApiServer, fixtures};

use super::*;
use crate::test_support::{HOME, JobOf, SHOP, context};

const JOB: JobOf<'_> = JobOf {
    kind: "BackupSession",
    session: "web-1",
    session_uid: "uid-session",
    name: "job",
    component: "dump",
    attempt: 2,
    work: "backup",
};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn pod_with(status: &Value) -> Pod {
    let mut pod = JOB.pod("mover");
    pod.status = Some(serde_json::from_value::<PodStatus>(status.clone()).unwrap());
    pod
}

fn container(state: &Value) -> Value {
    json!({"containerStatuses": [{
        "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
    }]})
}

fn terminated(message: &str) -> Value {
    container(&json!({"terminated": {
        "exitCode": 137, "reason": "OOMKilled", "message": message, "containerID": "containerd://abc",
        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:05:00Z",
    }}))
}

fn view_of(status: &Value) -> planner::attempt::PodView {
    pod_view(&pod_with(status), time("2026-01-01T01:00:00Z"))
}

/// Architecture §4.5: the outcome stands in the termination message too.
#[test]
fn last_words_are_read() {
    let outcome = pb::Outcome {
        targets: vec![pb::TargetOutcome {
            target_id: "web-repo".into(),
            result: pb::Result::Succeeded.into(),
            ..Default::default()
        }],
        ..pb::Outcome::default()
    };
    let view = view_of(&terminated(&termination::encode(&outcome)));
    let ended = view.ended.unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_str()), (137, "OOMKilled"));
    assert_eq!(ended.at, Some(time("2026-01-01T00:05:00Z")));
    assert_eq!(ended.report.unwrap().targets[0].outcome, Outcome::Succeeded);
    assert_eq!(view.started, Some(time("2026-01-01T00:00:00Z")));
    assert_eq!(view_of(&terminated("Killed")).ended.unwrap().report, None, "words of somebody else");
}

#[test]
fn why_a_pod_waits_is_said_in_the_clusters_words() {
    let pulling = container(&json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}));
    assert_eq!(view_of(&pulling).waiting.as_deref(), Some("ImagePullBackOff: no such image"));
    let unschedulable = json!({"conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"}]});
    assert_eq!(view_of(&unschedulable).waiting.as_deref(), Some("0/2 nodes are available"));
    assert_eq!(view_of(&container(&json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}))).waiting, None);
}

#[test]
fn evictions_and_preemptions_are_disruptions() {
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "node is low on memory"});
    assert_eq!(view_of(&evicted).disrupted.as_deref(), Some("Evicted: node is low on memory"));
    let drained = json!({"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drain"}]});
    assert_eq!(view_of(&drained).disrupted.as_deref(), Some("EvictionByEvictionAPI: drain"));
    assert_eq!(view_of(&json!({"phase": "Failed"})).disrupted, None);
}

/// A pod of a node that does not answer is lost some time after it was to be gone, and its end is not proven.
#[test]
fn a_silent_node_loses_its_pod() {
    let mut pod = pod_with(&container(&json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})));
    pod.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:10:00Z")).unwrap());
    let lost = |at: &str| pod_view(&pod, time(at)).lost;
    assert_eq!(lost("2026-01-01T00:10:20Z"), None);
    assert!(lost("2026-01-01T00:10:31Z").unwrap().contains("node worker"));
    assert_eq!(ended(&pod), None);
}

/// I7: only a kubelet that saw the container end proves it.
#[test]
fn the_end_of_a_container_is_proven_by_its_kubelet() {
    let end = ended(&pod_with(&terminated(""))).unwrap();
    assert_eq!((end.pod_uid.as_str(), end.node.as_str(), end.at), ("uid-pod-mover", "worker", time("2026-01-01T00:05:00Z")));
    for unproven in [
        json!({"phase": "Failed"}),
        container(&json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})),
        container(
            &json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "containerID": "x", "finishedAt": "2026-01-01T00:00:00Z"}}),
        ),
        container(&json!({"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z"}})),
    ] {
        assert_eq!(ended(&pod_with(&unproven)), None, "{unproven}");
    }
}

#[test]
fn jobs_are_seen_with_their_pods() {
    let mut job = JOB.job();
    let now = time("2026-01-01T01:00:00Z");
    let views = job_views(&[job.clone()], &[JOB.pod("mover")], now);
    assert_eq!(views.len(), 1);
    assert_eq!((views[0].component.as_str(), views[0].attempt, views[0].state.clone()), ("dump", 2, JobState::Live));
    assert_eq!(views[0].pod.as_ref().map(|pod| pod.name.as_str()), Some("mover"));
    job.status = Some(
        serde_json::from_value(json!({"conditions": [
        {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too many"}]}))
        .unwrap(),
    );
    let views = job_views(&[job], &[], now);
    assert_eq!((views[0].state.clone(), views[0].failure.as_deref()), (JobState::Ended, Some("BackoffLimitExceeded: too many")));
}

/// I4: a pod that outlives its Job still counts as its Job, so that no second attempt starts beside it.
#[test]
fn a_pod_without_its_job_stands_for_it() {
    let now = time("2026-01-01T01:00:00Z");
    let views = job_views(&[], &[JOB.pod("mover")], now);
    assert_eq!((views[0].name.as_str(), views[0].state.clone()), ("job", JobState::Deleting(now)));
    assert!(views[0].is_live());
    assert!(job_views(&[], &[pod_with(&terminated(""))], now).is_empty(), "one that has ended does not");
}

/// Jobs that only look like ours are not seen; a Job that can make no pod says why.
#[tokio::test]
async fn only_our_own_jobs_are_read() {
    let server = ApiServer::new();
    let ctx = context(&server);
    server.put(&JOB.job());
    let mut forged = JobOf { name: "forged", ..JOB }.job();
    forged.metadata.annotations = None;
    server.put(&forged);
    server.update::<Job>(SHOP, "job", |job| {
        job.metadata.creation_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    });
    let event: Event = fixtures::object(json!({
        "metadata": {"namespace": SHOP, "name": "refused"},
        "involvedObject": {"kind": "Job", "name": "job", "uid": "uid-job-job"},
        "reason": "FailedCreate", "message": "exceeded quota: pods=0", "lastTimestamp": "2026-01-01T00:00:10Z",
    }));
    server.put(&event);
    let views = read_jobs(&ctx, SHOP, "uid-session").await.unwrap();
    assert_eq!(views.iter().map(|view| view.name.as_str()).collect::<Vec<_>>(), ["job"]);
    assert_eq!(views[0].refusal.as_deref(), Some("exceeded quota: pods=0"));
}

fn record(at: Timestamp) -> Record {
    Record { at, machine_id: "machine".to_owned(), node: "worker".to_owned() }
}

/// Architecture §4.7: what one leader saw the next one knows; a day later it is forgotten.
#[tokio::test]
async fn records_outlive_the_process_for_a_day() {
    let server = ApiServer::new();
    let now = Timestamp::now();
    let first = Records::new(server.client(), HOME);
    first.remember(&BTreeMap::from([("old".to_owned(), record(now - SignedDuration::from_hours(23)))]), now).await.unwrap();
    let second = Records::new(server.client(), HOME);
    second.load().await.unwrap();
    assert!(second.find("old").is_some());
    let later = now + SignedDuration::from_hours(2);
    second.remember(&BTreeMap::from([("new".to_owned(), record(later))]), later).await.unwrap();
    assert_eq!(second.find("old"), None);
    let stored: ConfigMap = server.get(HOME, "orlop-terminated-pods").unwrap();
    assert_eq!(stored.data.unwrap().into_keys().collect::<Vec<_>>(), ["new"]);
    // What somebody scribbled into it is no proof.
    server.update::<ConfigMap>(HOME, "orlop-terminated-pods", |stored| {
        stored.data.get_or_insert_default().insert("scribbled".to_owned(), "dead, I swear".to_owned());
    });
    let third = Records::new(server.client(), HOME);
    third.load().await.unwrap();
    assert_eq!(third.find("scribbled"), None);
}
