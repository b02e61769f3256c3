#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use futures::stream;
use parking_lot::Mutex;

use super::*;

type Log = Arc<Mutex<Vec<&'static str>>>;

fn record(supervisor: &mut Supervisor, stage: Stage, name: &'static str, log: &Log) {
    let (token, log) = (supervisor.token(stage), log.clone());
    supervisor.spawn(stage, name, async move {
        token.cancelled().await;
        log.lock().push(name);
        Ok::<(), BoxError>(())
    });
}

/// Style §5: controllers and servers end first, then the lease is released, then health goes.
#[tokio::test(start_paused = true)]
async fn stages_end_in_order() {
    let readiness = Readiness::new();
    let mut supervisor = Supervisor::new(readiness.clone());
    let log = Log::default();
    record(&mut supervisor, Stage::Observe, "http", &log);
    record(&mut supervisor, Stage::Lease, "lease", &log);
    record(&mut supervisor, Stage::Work, "controller", &log);
    supervisor.run_until(stream::once(async {})).await.unwrap();
    assert_eq!(*log.lock(), ["controller", "lease", "http"]);
    assert_eq!(readiness.pending(), ["shutting down"]);
}

/// Half a process is worse than none: one task's end ends them all, with an error.
#[tokio::test(start_paused = true)]
async fn an_unexpected_end_ends_the_rest() {
    let mut supervisor = Supervisor::new(Readiness::new());
    let log = Log::default();
    record(&mut supervisor, Stage::Observe, "http", &log);
    supervisor.spawn(Stage::Work, "watch", async { Err::<(), BoxError>("no such kind".into()) });
    let error = supervisor.run_until(stream::pending()).await.unwrap_err();
    assert_eq!(error.to_string(), "task watch ended unexpectedly: no such kind");
    assert_eq!(*log.lock(), ["http"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_counts_as_an_end() {
    let mut supervisor = Supervisor::new(Readiness::new());
    supervisor.spawn(Stage::Work, "watch", async {
        if true {
            panic!("boom");
        }
        Ok::<(), BoxError>(())
    });
    let error = supervisor.run_until(stream::pending()).await.unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}

/// A lost lease leaves no time: another replica may lead already.
#[tokio::test(start_paused = true)]
async fn a_lost_lease_aborts_at_once() {
    let mut supervisor = Supervisor::new(Readiness::new());
    let log = Log::default();
    record(&mut supervisor, Stage::Work, "controller", &log);
    supervisor.spawn(Stage::Lease, "lease", async { Err::<(), BoxError>("lease lost".into()) });
    let started = Instant::now();
    supervisor.run_until(stream::pending()).await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(log.lock().is_empty(), "no controller was given time to act");
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_cuts_the_shutdown_short() {
    let mut supervisor = Supervisor::new(Readiness::new());
    supervisor.spawn(Stage::Work, "stubborn", std::future::pending::<Result<(), BoxError>>());
    let error = supervisor.run_until(stream::iter([(), ()])).await.unwrap_err();
    assert!(matches!(error, SuperviseError::Aborted));
}

#[tokio::test(start_paused = true)]
async fn a_stubborn_task_is_left_behind() {
    let mut supervisor = Supervisor::new(Readiness::new());
    let log = Log::default();
    supervisor.spawn(Stage::Work, "stubborn", std::future::pending::<Result<(), BoxError>>());
    record(&mut supervisor, Stage::Lease, "lease", &log);
    let started = Instant::now();
    supervisor.run_until(stream::once(async {})).await.unwrap();
    assert_eq!(started.elapsed(), GRACE);
    assert_eq!(*log.lock(), ["lease"]);
}
