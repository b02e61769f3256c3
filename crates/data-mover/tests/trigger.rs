//! The trigger in a CronJob's pod.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control_plane;

use control_plane::ControlPlane;
use data_mover::outcome::Exit;
use data_mover::trigger;
use tokio_util::sync::CancellationToken;
use tonic::Status;

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_is_away_is_asked_again() {
    let control = ControlPlane::start().await;
    control.with(|state| state.trigger_refusals = vec![Status::unavailable("no leader yet"); 2]);
    assert_eq!(trigger::run(control.trigger(), CancellationToken::new()).await, Exit::Done);
    assert_eq!(control.with(|state| state.triggered.clone()), ["nightly"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_left_as_last_words() {
    let control = ControlPlane::start().await;
    control.with(|state| state.trigger_refusals = vec![Status::permission_denied("this pod belongs to no CronJob"); 100]);
    let environment = control.trigger();
    assert_eq!(trigger::run(environment.clone(), CancellationToken::new()).await, Exit::Failed);
    let words = std::fs::read_to_string(environment.termination_log).unwrap();
    let words = proto_api::termination::decode(&words).unwrap().outcome;
    assert!(words.error.contains("belongs to no CronJob") && words.error.contains("demo/web"), "{words:?}");
}
