#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use testkit::{ApiServer, Fault, Matcher};
use tokio::task::JoinHandle;

use super::*;

struct Candidate {
    state: watch::Receiver<Leadership>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), LeaseError>>,
}

fn candidate(server: &ApiServer, identity: &str) -> Candidate {
    let elector = Elector::new(server.client(), LeaseConfig::new("orlop-system", "orlop-test", identity));
    let (state, shutdown) = (elector.leadership(), CancellationToken::new());
    Candidate { state, shutdown: shutdown.clone(), task: tokio::spawn(elector.run(shutdown)) }
}

fn holder(server: &ApiServer) -> String {
    let lease = server.get::<Lease>("orlop-system", "orlop-test").unwrap();
    lease.spec.unwrap().holder_identity.unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_hands_over_on_shutdown() {
    let server = ApiServer::new();
    let mut one = candidate(&server, "one");
    assert_eq!(wait_until_leading(&mut one.state).await, Some(1));
    let mut two = candidate(&server, "two");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(*two.state.borrow(), Leadership::Waiting);
    one.shutdown.cancel();
    one.task.await.unwrap().unwrap();
    let before = Instant::now();
    assert_eq!(wait_until_leading(&mut two.state).await, Some(2), "the epoch grows with every leader");
    assert!(before.elapsed() <= Duration::from_secs(2), "a released lease is taken at the next look");
}

/// A leader that was killed does not release; others wait for the lease to run out as they saw it.
#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_followed_after_its_lease_and_not_before() {
    let server = ApiServer::new();
    let mut one = candidate(&server, "one");
    wait_until_leading(&mut one.state).await.unwrap();
    let mut two = candidate(&server, "two");
    sleep(Duration::from_secs(20)).await;
    one.task.abort();
    let before = Instant::now();
    wait_until_leading(&mut two.state).await.unwrap();
    let waited = before.elapsed();
    assert!(waited > Duration::from_secs(13) && waited < Duration::from_secs(22), "{waited:?}");
    assert_eq!(holder(&server), "two");
}

/// reliability B2: cut off from the API server, a leader stops by its own clock before another one starts.
#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_in_time() {
    let server = ApiServer::new();
    let mut one = candidate(&server, "one");
    wait_until_leading(&mut one.state).await.unwrap();
    server.fail(Fault::Hang, Matcher::of("patch", "leases"), 1000);
    let before = Instant::now();
    let lost = one.task.await.unwrap().unwrap_err();
    assert!(before.elapsed() <= Duration::from_secs(10), "{:?}", before.elapsed());
    assert_eq!(*one.state.borrow(), Leadership::Lost);
    assert!(lost.to_string().contains("not renewed for 10 s"), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn errors_shorter_than_the_deadline_are_survived() {
    let server = ApiServer::new();
    let mut one = candidate(&server, "one");
    wait_until_leading(&mut one.state).await.unwrap();
    server.fail(Fault::Status(500, "InternalError"), Matcher::of("patch", "leases"), 2);
    server.fail(Fault::AfterCommit(504), Matcher::of("patch", "leases"), 1);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(*one.state.borrow(), Leadership::Leading { epoch: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_lease_taken_by_force_ends_the_old_leader_at_once() {
    let server = ApiServer::new();
    let mut one = candidate(&server, "one");
    wait_until_leading(&mut one.state).await.unwrap();
    server.update("orlop-system", "orlop-test", |lease: &mut Lease| {
        lease.spec.as_mut().unwrap().holder_identity = Some("thief".to_owned());
    });
    let lost = one.task.await.unwrap().unwrap_err();
    assert!(lost.to_string().contains("thief holds it"), "{lost}");
    assert_eq!(holder(&server), "thief", "and it does not fight for it");
}

/// Two candidates that see the same expired lease: the resourceVersion lets one through.
#[tokio::test(start_paused = true)]
async fn of_many_candidates_one_leads() {
    let server = ApiServer::new();
    let many: Vec<Candidate> = (0..5).map(|index| candidate(&server, &format!("candidate-{index}"))).collect();
    sleep(Duration::from_secs(30)).await;
    let leading = many.iter().filter(|one| matches!(*one.state.borrow(), Leadership::Leading { .. })).count();
    assert_eq!(leading, 1);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_made_again_by_its_holder() {
    let server = ApiServer::new();
    let mut one = candidate(&server, "one");
    wait_until_leading(&mut one.state).await.unwrap();
    server.delete::<Lease>("orlop-system", "orlop-test");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(*one.state.borrow(), Leadership::Leading { epoch: 1 });
    assert_eq!(holder(&server), "one");
}
