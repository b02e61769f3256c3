#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crd_types::{BackupConfiguration, BackupSession};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube_kit::controller::Reconciler as _;
use proto_api::{
    audience,
    common::v1alpha1::{ObjectRef, PageRequest},
    schedule::v1alpha1::{schedule_service_server::ScheduleService, *},
};
use std::sync::Arc;
use testkit::fixtures;
use tonic::{Code, Request, Status};

use super::*;
use crate::{
    cron_job,
    test_support::{CONFIGURATION, CRON_JOB, NAMESPACE, World, triggered_by},
    watchdog::Watchdog,
};

const SLOT: &str = "2026-03-02T02:00:00Z";

/// Tokens: `pod:<name>` is bound to that pod for audience `orlop-schedule`; `tool` and `nobody` are platform callers,
/// of which only the first has rights.
async fn world() -> World {
    let world = World::new("2026-03-01T20:00:00Z");
    world.ready().await;
    world.at("2026-03-02T02:00:02Z");
    world.server.answer_tokens(|token, audiences| match token.split_once(':') {
        Some(("pod", pod)) if audiences == [audience::SCHEDULE] => {
            Some(fixtures::service_account_user(NAMESPACE, "default", pod, "node-a"))
        }
        None if audiences == [audience::PLATFORM] => Some(fixtures::service_account_user("platform", token, "unbound", "")),
        _ => None,
    });
    world.server.answer_access(|spec| spec.user.as_deref().is_some_and(|user| user.ends_with(":tool")));
    world
}

fn call<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request.metadata_mut().insert("grpc-timeout", "30S".parse().unwrap());
    request
}

fn configuration() -> Option<ObjectRef> {
    Some(ObjectRef::named("BackupConfiguration", NAMESPACE, CONFIGURATION))
}

fn asks(key: &str) -> TriggerRequest {
    TriggerRequest { backup_configuration: configuration(), session: "nightly".to_owned(), idempotency_key: key.to_owned() }
}

async fn trigger(world: &World, token: &str, request: TriggerRequest) -> Result<TriggerResponse, Status> {
    let server = ScheduleServer::new(world.context.clone());
    server.trigger(call(token, request)).await.map(tonic::Response::into_inner)
}

/// reliability A1, I4: two triggers for one slot make one session, whoever comes first and however late.
#[tokio::test]
async fn one_slot_makes_one_session() {
    let world = world().await;
    world.fire("one", Some(SLOT));
    world.fire("two", Some(SLOT));
    let first = trigger(&world, "pod:one-pod", asks("")).await.unwrap();
    assert!(first.created);
    let second = trigger(&world, "pod:two-pod", asks("")).await.unwrap();
    assert!(!second.created && second.reason.contains("is served"), "{}", second.reason);
    let sessions = world.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!(triggered_by(&sessions[0]), "cronjob");
    assert_eq!(sessions[0].metadata.name.as_deref(), Some("web-backup-nightly-1772416800"));

    // The session is trimmed from history; a late duplicate still makes nothing, nor does the watchdog.
    let name = sessions[0].metadata.name.clone().unwrap();
    world.server.update(NAMESPACE, &name, |session: &mut BackupSession| session.metadata.finalizers = None);
    world.server.delete::<BackupSession>(NAMESPACE, &name);
    world.at("2026-03-02T03:00:00Z");
    assert!(!trigger(&world, "pod:two-pod", asks("")).await.unwrap().created);
    Watchdog::new(world.context.clone()).reconcile(Arc::new(world.cron_job().unwrap())).await.unwrap();
    assert!(world.sessions().is_empty());
}

/// Both replicas serve: the same call at the same time makes one session.
#[tokio::test]
async fn two_replicas_that_serve_one_slot_make_one_session() {
    let world = world().await;
    world.fire("one", Some(SLOT));
    let answers = tokio::join!(
        trigger(&world, "pod:one-pod", asks("")),
        trigger(&world, "pod:one-pod", asks("")),
        trigger(&world, "pod:one-pod", asks(""))
    );
    let answers = [answers.0.unwrap(), answers.1.unwrap(), answers.2.unwrap()];
    assert_eq!(answers.iter().filter(|answer| answer.created).count(), 1);
    assert_eq!(world.sessions().len(), 1);
    assert_eq!(cron_job::served(&world.cron_job().unwrap()).unwrap().to_string(), SLOT);
}

/// After a suspension Kubernetes fires the slot that fell into it; it makes nothing.
#[tokio::test]
async fn a_slot_of_a_suspension_makes_nothing() {
    let world = world().await;
    let pause = |paused: bool| {
        world.server.update(NAMESPACE, CONFIGURATION, |configuration: &mut BackupConfiguration| {
            configuration.spec.paused = Some(paused);
        });
    };
    pause(true);
    world.settle().await;
    world.fire("one", Some(SLOT));
    let answer = trigger(&world, "pod:one-pod", asks("")).await.unwrap();
    assert!(!answer.created && answer.reason.contains("is paused"), "{}", answer.reason);
    world.at("2026-03-02T02:10:00Z");
    pause(false);
    world.settle().await;
    let answer = trigger(&world, "pod:one-pod", asks("")).await.unwrap();
    assert!(!answer.created && answer.reason.contains("fell into a suspension"), "{}", answer.reason);
    assert!(world.sessions().is_empty());
}

#[tokio::test]
async fn a_job_made_by_hand_is_a_manual_trigger() {
    let world = world().await;
    world.fire("by-hand", None);
    let answer = trigger(&world, "pod:by-hand-pod", asks("")).await.unwrap();
    assert!(answer.created);
    assert!(!trigger(&world, "pod:by-hand-pod", asks("")).await.unwrap().created, "its creation names the session");
    assert_eq!(triggered_by(&world.sessions()[0]), "manual");
    assert_eq!(cron_job::served(&world.cron_job().unwrap()), None, "no slot was served");
}

/// architecture §6: a trigger pod is authorised by its owner chain and by nothing else.
#[tokio::test]
async fn strangers_trigger_nothing() {
    let world = world().await;
    world.fire("one", Some(SLOT));
    let refused = async |token: &str, request: TriggerRequest| trigger(&world, token, request).await.unwrap_err();
    assert_eq!(refused("unknown:token", asks("")).await.code(), Code::Unauthenticated);
    assert_eq!(refused("pod:no-such-pod", asks("")).await.code(), Code::PermissionDenied);
    let other = TriggerRequest { session: "hourly".to_owned(), ..asks("") };
    assert_eq!(refused("pod:one-pod", other).await.code(), Code::PermissionDenied);

    // A Job whose CronJob was replaced by a namesake.
    world.server.update(NAMESPACE, "one", |job: &mut Job| {
        job.metadata.owner_references.as_mut().unwrap()[0].uid = "another-life".to_owned();
    });
    assert_eq!(refused("pod:one-pod", asks("")).await.code(), Code::PermissionDenied);

    // A CronJob that somebody made to look like ours.
    let forged: CronJob = fixtures::object(serde_json::json!({
        "metadata": { "namespace": NAMESPACE, "name": "forged", "uid": "uid-forged", "ownerReferences": [{
            "apiVersion": "core.kubestash.com/v1alpha1", "kind": "BackupConfiguration", "name": CONFIGURATION,
            "uid": world.configuration().metadata.uid, "controller": true,
        }] },
        "spec": { "schedule": "* * * * *", "jobTemplate": {} },
    }));
    world.server.put(&forged);
    world.server.update(NAMESPACE, "one", |job: &mut Job| {
        let owner = &mut job.metadata.owner_references.as_mut().unwrap()[0];
        (owner.name, owner.uid) = ("forged".to_owned(), "uid-forged".to_owned());
    });
    assert_eq!(refused("pod:one-pod", asks("")).await.code(), Code::PermissionDenied);
    assert!(world.sessions().is_empty());
}

/// One forged slot far in the future would settle all slots until then.
#[tokio::test]
async fn a_slot_in_the_future_is_refused() {
    let world = world().await;
    world.fire("one", Some("2036-03-02T02:00:00Z"));
    assert_eq!(trigger(&world, "pod:one-pod", asks("")).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(cron_job::served(&world.cron_job().unwrap()), None);
}

#[tokio::test]
async fn platform_tooling_needs_the_right_and_may_repeat_itself() {
    let world = world().await;
    let denied = trigger(&world, "nobody", asks("")).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert!(denied.message().contains("may not create backupsessions.core.kubestash.com in namespace shop"), "{denied}");

    let first = trigger(&world, "tool", asks("deploy-17")).await.unwrap();
    world.at("2026-03-02T02:30:00Z");
    let again = trigger(&world, "tool", asks("deploy-17")).await.unwrap();
    assert!(first.created && !again.created);
    assert_eq!(first.backup_session.unwrap().name, again.backup_session.unwrap().name);
    assert!(trigger(&world, "tool", asks("deploy-18")).await.unwrap().created);
    assert_eq!(world.sessions().len(), 2);

    let unknown = TriggerRequest { session: "weekly".to_owned(), ..asks("") };
    assert_eq!(trigger(&world, "tool", unknown).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn schedules_are_listed_paused_and_resumed() {
    let world = world().await;
    let server = ScheduleServer::new(world.context.clone());
    let list = async || {
        let request = ListRequest { namespace: NAMESPACE.to_owned(), page: Some(PageRequest::default()) };
        server.list(call("tool", request)).await.unwrap().into_inner().schedules.remove(0)
    };
    let listed = list().await;
    assert_eq!(
        (listed.session.as_str(), listed.schedule.as_str(), listed.time_zone.as_str()),
        ("nightly", "0 2 * * *", "Etc/UTC")
    );
    assert!(listed.next_run.is_some() && listed.suspended_because.is_empty());

    server.pause(call("tool", PauseRequest { backup_configuration: configuration() })).await.unwrap();
    assert_eq!(world.configuration().spec.paused, Some(true));
    let listed = list().await;
    assert!(listed.next_run.is_none() && listed.suspended_because.contains("is paused"));
    server.resume(call("tool", ResumeRequest { backup_configuration: configuration() })).await.unwrap();
    assert_eq!(world.configuration().spec.paused, Some(false));

    let denied = server.pause(call("nobody", PauseRequest { backup_configuration: configuration() })).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let _ = CRON_JOB;
}

#[tokio::test]
async fn runs_are_previewed_and_bad_expressions_refused() {
    let world = world().await;
    let server = ScheduleServer::new(world.context.clone());
    let preview = async |schedule: &str, zone: &str| {
        let request = PreviewRequest { schedule: schedule.to_owned(), time_zone: zone.to_owned(), count: 2, after: None };
        server.preview(call("tool", request)).await.map(|answer| answer.into_inner().runs)
    };
    let runs = preview("30 2 * * *", "Europe/Berlin").await.unwrap();
    assert_eq!(runs.iter().map(|run| run.seconds).collect::<Vec<_>>(), [1_772_501_400, 1_772_587_800]);
    assert_eq!(preview("0 0 * * 7", "").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(preview("@daily", "Mars/Olympus").await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn calls_without_a_deadline_are_refused() {
    let world = world().await;
    let mut request = Request::new(ListRequest::default());
    request.metadata_mut().insert("authorization", "Bearer tool".parse().unwrap());
    let refused = ScheduleServer::new(world.context.clone()).list(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
