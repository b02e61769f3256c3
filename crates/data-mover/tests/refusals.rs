//! Bad input ends in a result and a sentence that names the object and the remedy.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control_plane;

use control_plane::{ControlPlane, World, write_tree};
use data_mover::outcome::Exit;
use proto_api::mover::v1alpha1::{Result as TargetResult, TargetOutcome};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Runs a backup that must fail and returns its sentence.
async fn failing(world: &World, exit: Exit) -> String {
    let (ended, _) = world.run(world.backup(&[world.source()]), 1).await;
    let outcome = world.control.outcome();
    assert_eq!(ended, exit, "{outcome:?}");
    outcome.targets[0].error.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_names_the_repository() {
    let world = World::new().await;
    world.backed_up(1).await;
    world.grant("dump", |grant| grant.password = "wrong".to_owned());
    let error = failing(&world, Exit::Failed).await;
    assert!(error.contains("Repository demo/web") && error.contains("password"), "{error}");
    assert!(!error.contains("wrong\""), "{error}");
}

/// Architecture §4.6, I8: a repository that vanished is never initialised again.
#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_repository_is_not_made_anew() {
    let world = World::new().await;
    world.backed_up(1).await;
    let id = world.control.with(|state| state.recorded["dump"].clone());
    std::fs::remove_dir_all(world.storage().join("demo/web")).unwrap();
    // Even a control plane that forgot to say so is not believed against an id on record.
    for may_initialise in [false, true] {
        world.grant("dump", |grant| {
            grant.may_initialise = may_initialise;
            grant.expected_repository_id.clone_from(&id);
        });
        let error = failing(&world, Exit::Failed).await;
        assert!(error.contains("Repository demo/web") && error.contains("gone"), "{error}");
    }
    assert!(!world.storage().join("demo/web/dump/config").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_repository_in_its_place_is_refused() {
    let world = World::new().await;
    world.backed_up(1).await;
    let id = "ab".repeat(32);
    world.grant("dump", |grant| grant.expected_repository_id.clone_from(&id));
    let error = failing(&world, Exit::Failed).await;
    assert!(error.contains("another restic repository") && error.contains(&id), "{error}");
}

/// A mover that made a repository while another one is on record writes nothing into it.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_not_the_recorded_one_is_not_written() {
    let world = World::new().await;
    world.control.with(|state| state.recorded.insert("dump".to_owned(), "cd".repeat(32)));
    let error = failing(&world, Exit::Failed).await;
    assert!(error.contains(&"cd".repeat(32)), "{error}");
    assert_eq!(std::fs::read_dir(world.storage().join("demo/web/dump/data")).map_or(0, Iterator::count), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_path_is_named() {
    let world = World::new().await;
    std::fs::remove_dir(world.source()).unwrap();
    let error = failing(&world, Exit::Failed).await;
    assert!(error.contains(world.source().to_str().unwrap()), "{error}");
    assert_eq!(world.locks("dump"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_snapshot_fails_the_restore() {
    let world = World::new().await;
    world.backed_up(1).await;
    let unknown = "ef".repeat(32);
    world.assign(vec![world.restore_target("dump", vec![unknown.clone()], world.folder.path())]);
    let (exit, _) = world.run(world.restore(), 1).await;
    let outcome = world.control.outcome();
    assert_eq!(exit, Exit::Failed, "{outcome:?}");
    assert!(outcome.targets[0].error.contains(&unknown), "{outcome:?}");
}

/// Architecture §3 row 15: with several Repositories each target succeeds or fails alone.
#[tokio::test(flavor = "multi_thread")]
async fn one_targets_failure_is_its_own() {
    let world = World::new().await;
    write_tree(&world.source());
    world.backed_up(1).await;
    world.grant("dump", |grant| grant.password = "wrong".to_owned());
    world.grant("other", |_| {});
    world.assign(vec![world.backup_target("dump"), world.backup_target("other")]);
    let (exit, _) = world.run(world.backup(&[world.source()]), 1).await;
    assert_eq!(exit, Exit::Failed);
    let results: Vec<_> = world.control.outcome().targets.iter().map(TargetOutcome::result).collect();
    assert_eq!(results, [TargetResult::Failed, TargetResult::Succeeded]);
}

/// A refusal of access is the component's answer; a service that is away for a moment is not.
#[tokio::test(flavor = "multi_thread")]
async fn access_is_asked_for_again_or_refused() {
    let world = World::new().await;
    write_tree(&world.source());
    world.control.with(|state| state.access_refusals = vec![Status::unavailable("no leader yet"); 3]);
    world.backed_up(1).await;
    world
        .control
        .with(|state| state.access_refusals = vec![Status::failed_precondition("Secret demo/s3 is missing: create it"); 50]);
    let error = failing(&world, Exit::Failed).await;
    assert!(error.contains("Repository demo/web") && error.contains("Secret demo/s3 is missing"), "{error}");
}

/// Architecture §5: a mover that cannot attach says which service it could not reach.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_attach_says_so() {
    let control = ControlPlane::start().await;
    control.with(|state| state.attach_refusal = Some(tonic::Code::Unavailable));
    let environment = control.agent("dump", 1);
    let work = data_mover::Work::Retention(data_mover::args::Tolerated::default());
    let exit = data_mover::run::run(work.clone(), environment.clone(), CancellationToken::new()).await;
    assert_eq!(exit, Exit::NotAttached);
    let words = ControlPlane::last_words(&environment);
    assert!(words.error.contains(&environment.session_service.address), "{words:?}");
    assert!(words.error.contains("BackupSession demo/web-1"), "{words:?}");

    control.with(|state| state.attach_refusal = Some(tonic::Code::FailedPrecondition));
    let exit = data_mover::run::run(work, environment.clone(), CancellationToken::new()).await;
    assert_eq!(exit, Exit::NotAttached);
    assert!(ControlPlane::last_words(&environment).error.contains("refused"), "{:?}", ControlPlane::last_words(&environment));
}
