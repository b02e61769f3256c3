//! What happens to a mover while it works: the stream breaks, somebody cancels, the pod ends, the deadline passes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control_plane;

use std::time::{Duration, Instant};

use control_plane::{ControlPlane, World, random_bytes};
use data_mover::outcome::Exit;
use proto_api::mover::v1alpha1::{Cancel, HolderState, Limits, Outcome, Result as TargetResult, UpdateLimits, attach_response};
use repository::{Control, LockIdentity, LockMode, LockRequest};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A world whose backup takes as long as it is let.
async fn slow_world() -> World {
    let world = World::new().await;
    for number in 0..4 {
        std::fs::write(world.source().join(format!("{number}")), random_bytes(2_000_000, number + 1)).unwrap();
    }
    world.limit_upload(100_000);
    world
}

struct Running {
    task: JoinHandle<Exit>,
    terminated: CancellationToken,
    environment: data_mover::environment::AgentEnvironment,
}

/// Starts a backup and waits until it is under way.
async fn start(world: &World) -> Running {
    let environment = world.control.agent("dump", 1);
    let terminated = CancellationToken::new();
    let task = tokio::spawn(data_mover::run::run(world.backup(&[world.source()]), environment.clone(), terminated.clone()));
    world
        .control
        .until("bytes were read", |state| {
            state.progress.last().is_some_and(|progress| progress.transfer.as_ref().unwrap().bytes_done > 0)
        })
        .await;
    Running { task, terminated, environment }
}

async fn unleash(world: &World) {
    world.limit_upload(0);
    let update = UpdateLimits { limits: Some(Limits::default()) };
    world.control.say(attach_response::Message::UpdateLimits(update)).await;
}

fn result(outcome: &Outcome) -> TargetResult {
    outcome.targets[0].result()
}

/// Architecture §5: work goes on while the stream is down, and new limits are in force at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_is_dialled_again() {
    let world = slow_world().await;
    let running = start(&world).await;
    world.control.drop_streams();
    world.control.until("a second hello", |state| state.hellos.len() == 2).await;
    assert!(!running.task.is_finished());
    let before = Instant::now();
    unleash(&world).await;
    assert_eq!(running.task.await.unwrap(), Exit::Done, "{:?}", world.control.outcome());
    assert!(before.elapsed() < Duration::from_secs(20), "8 MB at the old limit take 80 s");
    assert_eq!(world.control.with(|state| state.hellos.len()), 2);
}

/// Architecture §5: cancel ends the work within seconds, keeps what is uploaded, leaves no lock.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_work_ends_cleanly() {
    let world = slow_world().await;
    let running = start(&world).await;
    let before = Instant::now();
    world.control.say(attach_response::Message::Cancel(Cancel { reason: "asked by a person".to_owned() })).await;
    assert_eq!(running.task.await.unwrap(), Exit::Cancelled);
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    let outcome = world.control.outcome();
    assert_eq!(result(&outcome), TargetResult::Cancelled);
    assert!(outcome.targets[0].error.contains("asked by a person"), "{outcome:?}");
    assert_eq!(world.locks("dump"), 0);
}

/// Reliability C2: SIGTERM is not an answer; the next attempt is worth making and finds no lock in its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_mover_is_worth_another_attempt() {
    let world = slow_world().await;
    let running = start(&world).await;
    let before = Instant::now();
    running.terminated.cancel();
    assert_eq!(running.task.await.unwrap(), Exit::Retryable);
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert_eq!(result(&ControlPlane::last_words(&running.environment)), TargetResult::Retryable);
    assert_eq!(world.locks("dump"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_stops_the_work() {
    let world = slow_world().await;
    let deadline = jiff::Timestamp::now() + Duration::from_secs(3);
    world.control.with(|state| state.assignment.deadline = Some(proto_api::time::to_proto(deadline)));
    let running = start(&world).await;
    assert_eq!(running.task.await.unwrap(), Exit::Failed);
    let outcome = world.control.outcome();
    assert!(outcome.targets[0].error.contains("deadline exceeded"), "{outcome:?}");
    assert_eq!(world.locks("dump"), 0);
}

/// Architecture §4.5: an outcome that nobody acknowledges stands in the termination message.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_outcome_is_in_the_last_words() {
    let world = slow_world().await;
    let running = start(&world).await;
    world.control.with(|state| {
        state.deaf = true;
        state.attach_refusal = Some(tonic::Code::Unavailable);
    });
    unleash(&world).await;
    let words = running.environment.termination_log.clone();
    world.control.until("last words", |_| words.exists()).await;
    world.control.drop_streams();
    running.terminated.cancel();
    assert_eq!(running.task.await.unwrap(), Exit::Done);
    assert!(world.control.with(|state| state.outcomes.is_empty()));
    let outcome = ControlPlane::last_words(&running.environment);
    assert_eq!(result(&outcome), TargetResult::Succeeded);
    assert_eq!(outcome.targets[0].snapshots.len(), 1);
}

/// Architecture §4.5: an older attempt that is fenced off stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_attempt_stops() {
    let world = slow_world().await;
    let running = start(&world).await;
    world.control.with(|state| state.attach_refusal = Some(tonic::Code::FailedPrecondition));
    world.control.drop_streams();
    let words = running.environment.termination_log.clone();
    world.control.until("last words", |_| words.exists()).await;
    running.terminated.cancel();
    assert_eq!(running.task.await.unwrap(), Exit::Cancelled);
    assert_eq!(world.locks("dump"), 0);
}

/// Architecture §4.7: a lock goes on proof of death only; until then the mover waits and asks again.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_holders_lock_is_removed_on_proof() {
    let world = World::new().await;
    control_plane::write_tree(&world.source());
    world.backed_up(1).await;
    let identity = LockIdentity {
        hostname: "old-pod.old-uid".to_owned(),
        pid: 1,
        cluster_uid: "cluster-uid".to_owned(),
        pod_uid: "old-uid".to_owned(),
        machine_id: "machine-id".to_owned(),
        ..LockIdentity::default()
    };
    let repository = world.repository("dump").await;
    let lock = repository.lock(LockRequest::new(LockMode::Exclusive, identity), &Control::default()).await.unwrap();
    // Its holder dies without giving it back.
    std::mem::forget(lock);

    world.control.with(|state| state.verdict = Some((HolderState::Unknown, String::new())));
    let environment = world.control.agent("dump", 2);
    let work = world.backup(&[world.source()]);
    let task = tokio::spawn(data_mover::run::run(work, environment, CancellationToken::new()));
    world.control.until("the lock was asked about twice", |state| state.locks_seen.len() >= 2).await;
    world
        .control
        .until("waiting is visible", |state| {
            state.progress.iter().any(|progress| progress.transfer.as_ref().unwrap().activity.contains("old-pod.old-uid"))
        })
        .await;
    assert!(!task.is_finished());
    world.control.with(|state| {
        let holder = state.locks_seen[0].holder.clone().unwrap();
        assert_eq!((holder.pod_uid.as_str(), holder.machine_id.as_str()), ("old-uid", "machine-id"));
        // A death without a proof is none.
        state.verdict = Some((HolderState::Dead, String::new()));
    });
    let asked = world.control.with(|state| state.locks_seen.len());
    world.control.until("asked again", |state| state.locks_seen.len() > asked).await;
    assert!(!task.is_finished());
    world.control.with(|state| state.verdict = Some((HolderState::Dead, "container terminated at 12:00".to_owned())));
    assert_eq!(task.await.unwrap(), Exit::Done, "{:?}", world.control.outcome());
    assert_eq!(world.locks("dump"), 0);
}
