#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crd_types::RestoreSession;
use serde_json::json;
use testkit::fixtures;

use super::*;
use crate::test_support::{CONFIGURATION, CRON_JOB, NAMESPACE, World, triggered_by};

const EVENING: &str = "2026-03-01T20:00:00Z";
const SLOT: &str = "2026-03-02T02:00:00Z";

async fn world() -> World {
    let world = World::new(EVENING);
    world.ready().await;
    world
}

async fn look(world: &World) -> Next {
    look_at(world, world.cron_job().unwrap()).await
}

async fn look_at(world: &World, cron_job: CronJob) -> Next {
    Watchdog::new(world.context.clone()).reconcile(Arc::new(cron_job)).await.unwrap()
}

fn schedule(world: &World, change: impl FnOnce(&mut crd_types::SchedulerSpec)) {
    world.server.update(NAMESPACE, CONFIGURATION, |configuration: &mut BackupConfiguration| {
        change(configuration.spec.sessions[0].scheduler.as_mut().unwrap());
    });
}

/// architecture §3 row 10: the trigger has 30 seconds, then the slot is served without it, once.
#[tokio::test]
async fn a_slot_without_trigger_is_made_up_for_once() {
    let world = world().await;
    world.at("2026-03-02T01:00:00Z");
    assert_eq!(look(&world).await, Next::After(Duration::from_secs(3630)));
    world.at("2026-03-02T02:00:10Z");
    assert_eq!(look(&world).await, Next::After(Duration::from_secs(20)));
    assert!(world.sessions().is_empty());

    world.at("2026-03-02T02:00:31Z");
    let stale = world.cron_job().unwrap();
    look(&world).await;
    let sessions = world.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!(triggered_by(&sessions[0]), "watchdog");
    assert_eq!(sessions[0].metadata.annotations.as_ref().unwrap()[annotations::SLOT], SLOT);
    assert_eq!(cron_job::served(&world.cron_job().unwrap()).unwrap().to_string(), SLOT);

    look(&world).await;
    look_at(&world, stale).await;
    assert_eq!(world.sessions().len(), 1);
}

/// reliability A2: after an outage of many slots there is one catch-up session, the latest slot's.
#[tokio::test]
async fn an_outage_is_made_up_for_with_one_session() {
    let world = world().await;
    world.at("2026-05-30T12:00:00Z");
    look(&world).await;
    look(&world).await;
    let sessions = world.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].metadata.annotations.as_ref().unwrap()[annotations::SLOT], "2026-05-30T02:00:00Z");
}

#[tokio::test]
async fn suspended_slots_are_not_made_up_for_then_or_later() {
    let world = world().await;
    let pause = |paused: bool| {
        world.server.update(NAMESPACE, CONFIGURATION, |configuration: &mut BackupConfiguration| {
            configuration.spec.paused = Some(paused);
        });
    };
    pause(true);
    world.settle().await;
    world.at("2026-03-02T02:05:00Z");
    look(&world).await;
    assert!(world.sessions().is_empty());
    pause(false);
    world.settle().await;
    look(&world).await;
    assert!(world.sessions().is_empty(), "not after it was resumed either");
    world.at("2026-03-03T02:00:31Z");
    look(&world).await;
    assert_eq!(world.sessions().len(), 1, "later slots count again");
}

#[tokio::test]
async fn slots_held_by_a_restore_are_not_made_up_for() {
    let world = world().await;
    world.server.put(&fixtures::restore_session(NAMESPACE, "back"));
    world.settle().await;
    world.at("2026-03-02T02:05:00Z");
    look(&world).await;
    world.server.delete::<RestoreSession>(NAMESPACE, "back");
    world.settle().await;
    look(&world).await;
    assert!(world.sessions().is_empty());
}

/// A schedule that is changed does not run the new schedule's past slots.
#[tokio::test]
async fn a_changed_schedule_counts_from_its_change() {
    let world = world().await;
    schedule(&world, |scheduler| scheduler.schedule = "0 * * * *".to_owned());
    world.at("2026-03-01T20:30:00Z");
    world.settle().await;
    look(&world).await;
    assert!(world.sessions().is_empty());
    world.at("2026-03-01T21:00:31Z");
    look(&world).await;
    assert_eq!(world.sessions().len(), 1);
}

#[tokio::test]
async fn a_slot_past_its_starting_deadline_is_missed_once() {
    let world = world().await;
    schedule(&world, |scheduler| scheduler.starting_deadline_seconds = Some(60));
    world.settle().await;
    world.at("2026-03-02T02:02:00Z");
    look(&world).await;
    assert!(world.sessions().is_empty());
    assert_eq!(cron_job::settled(&world.cron_job().unwrap()).unwrap().to_string(), SLOT);
    let events = world.server.requests().iter().filter(|request| request.resource == "events").count();
    look(&world).await;
    assert_eq!(world.server.requests().iter().filter(|request| request.resource == "events").count(), events, "said once");
}

#[tokio::test]
async fn forbid_waits_for_the_running_trigger() {
    let world = world().await;
    schedule(&world, |scheduler| scheduler.concurrency_policy = Some("Forbid".to_owned()));
    world.settle().await;
    let active = |names: serde_json::Value| {
        world.server.update(NAMESPACE, CRON_JOB, |cron_job: &mut CronJob| {
            cron_job.status = Some(fixtures::object(json!({ "active": names })));
        });
    };
    active(json!([{ "name": "earlier" }]));
    world.at("2026-03-02T02:05:00Z");
    look(&world).await;
    assert!(world.sessions().is_empty());
    active(json!([]));
    look(&world).await;
    assert_eq!(world.sessions().len(), 1);
}

/// The slots of `@every` lie where Kubernetes puts them: whole intervals after the CronJob's creation.
#[tokio::test]
async fn intervals_count_from_where_kubernetes_counts() {
    let world = World::new("2026-03-01T20:00:07Z");
    world.configure(|configuration| {
        configuration.spec.sessions[0].scheduler.as_mut().unwrap().schedule = "@every 1h".to_owned();
    });
    world.settle().await;
    let initial = world.sessions().len();
    world.at("2026-03-01T21:00:40Z");
    look(&world).await;
    assert_eq!(world.sessions().len(), initial + 1);
    assert_eq!(cron_job::served(&world.cron_job().unwrap()).unwrap().to_string(), "2026-03-01T21:00:07Z");
    // Its Job runs at the next slot, but the pod never comes.
    world.fire("late", Some("2026-03-01T22:00:07Z"));
    world.at("2026-03-01T22:00:40Z");
    look(&world).await;
    assert_eq!(cron_job::served(&world.cron_job().unwrap()).unwrap().to_string(), "2026-03-01T22:00:07Z");
}

#[tokio::test]
async fn a_cron_job_of_nobody_is_left_alone() {
    let world = world().await;
    world.server.update(NAMESPACE, CRON_JOB, |cron_job: &mut CronJob| cron_job.metadata.owner_references = None);
    world.at("2026-03-02T02:05:00Z");
    assert_eq!(look(&world).await, Next::Changed);
    assert!(world.sessions().is_empty());
}
