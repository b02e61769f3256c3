#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;
use testkit::{ApiServer, fixtures};

use super::*;

fn bound(name: &str) -> BoundPod {
    BoundPod { name: name.to_owned(), uid: format!("uid-pod-{name}") }
}

fn cluster() -> ApiServer {
    let server = ApiServer::new();
    server.put::<CronJob>(&fixtures::object(json!({
        "metadata": { "namespace": "shop", "name": "trigger", "uid": "uid-cron" },
        "spec": { "schedule": "* * * * *", "jobTemplate": {} },
    })));
    server.put(&fixtures::job("shop", "trigger-1", Some(["batch/v1", "CronJob", "trigger", "uid-cron"])));
    server.put(&pod("trigger-1-a"));
    server
}

fn pod(name: &str) -> Pod {
    let mut pod = fixtures::pod("shop", name, "node-a", Some(["batch/v1", "Job", "trigger-1", "uid-job-trigger-1"]));
    pod.metadata.labels = Some([(CONTROLLER_UID.to_owned(), "uid-job-trigger-1".to_owned())].into());
    pod
}

#[tokio::test]
async fn the_chain_is_walked_by_uid() {
    let client = cluster().client();
    let pod = running_pod(&client, "shop", &bound("trigger-1-a")).await.unwrap();
    let job = job_of_pod(&client, &pod).await.unwrap();
    let cron_job = cron_job_of_job(&client, &job).await.unwrap();
    assert_eq!(cron_job.metadata.name.as_deref(), Some("trigger"));
    assert!(is_oldest_unfinished_pod(&client, &job, &pod).await.unwrap());
}

/// A namesake is not the owner: names are reused, UIDs are not.
#[tokio::test]
async fn a_replaced_link_breaks_the_chain() {
    let server = cluster();
    let client = server.client();
    let stranger = BoundPod { name: "trigger-1-a".to_owned(), uid: "another".to_owned() };
    let refusal = running_pod(&client, "shop", &stranger).await.unwrap_err();
    assert_eq!(refusal.to_string(), "Pod shop/trigger-1-a was replaced by another of the same name");
    let pod = server.get::<Pod>("shop", "trigger-1-a").unwrap();
    server.update("shop", "trigger-1", |job: &mut Job| job.metadata.uid = Some("new-life".to_owned()));
    assert!(matches!(job_of_pod(&client, &pod).await.unwrap_err(), OwnerError::Broken { .. }));
}

#[tokio::test]
async fn finished_and_dying_pods_do_not_count() {
    let server = cluster();
    let client = server.client();
    server.update("shop", "trigger-1-a", |pod: &mut Pod| {
        pod.status.as_mut().unwrap().phase = Some("Succeeded".to_owned());
    });
    let refusal = running_pod(&client, "shop", &bound("trigger-1-a")).await.unwrap_err();
    assert_eq!(refusal.to_string(), "Pod shop/trigger-1-a has finished");
    server.put(&{
        let mut pod = pod("trigger-1-b");
        pod.metadata.finalizers = Some(vec!["orlop.dev/test".to_owned()]);
        pod
    });
    server.delete::<Pod>("shop", "trigger-1-b");
    let refusal = running_pod(&client, "shop", &bound("trigger-1-b")).await.unwrap_err();
    assert_eq!(refusal.to_string(), "Pod shop/trigger-1-b is being deleted");
}

/// The contract of proofs: a second pod that somebody adopted into the Job is not the Job's pod.
#[tokio::test]
async fn only_the_first_unfinished_pod_speaks_for_its_job() {
    let server = cluster();
    let client = server.client();
    let mut younger = pod("trigger-1-0-forged");
    younger.metadata.creation_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2090-01-01T00:00:00Z".parse().unwrap()));
    let younger = server.put(&younger);
    let job = server.get::<Job>("shop", "trigger-1").unwrap();
    assert!(!is_oldest_unfinished_pod(&client, &job, &younger).await.unwrap());
}

#[tokio::test]
async fn a_pod_without_a_job_is_refused() {
    let server = ApiServer::new();
    let pod = server.put(&fixtures::pod("shop", "alone", "node-a", None));
    let refusal = job_of_pod(&server.client(), &pod).await.unwrap_err();
    assert_eq!(refusal.to_string(), "Pod shop/alone is not controlled by a Job");
}
