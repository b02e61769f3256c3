//! The real binary, as its own process: told by its environment, killed, run by a user without rights.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control_plane;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use control_plane::{World, random_bytes, write_tree};
use proto_api::environment as names;
use proto_api::mover::v1alpha1::{HolderState, Result as TargetResult};

const NOBODY: u32 = 65_534;

/// A backup of the world's source by the real binary; its paths follow.
fn mover(world: &World, attempt: u32) -> Command {
    let agent = world.control.agent("dump", attempt);
    // A copy beside the world: who has no rights may not even enter the folder that it was built in.
    let program = world.folder.path().join("data-mover");
    std::fs::copy(env!("CARGO_BIN_EXE_data-mover"), &program).unwrap();
    let mut command = Command::new(program);
    command
        .args(["agent", "backup", "--exclude=", "--paths"])
        .arg(world.source())
        .env_clear()
        .env(names::SESSION_SERVICE, &agent.session_service.address)
        .env(names::SESSION_SERVER_NAME, &agent.session_service.tls.server_name)
        .env(names::SESSION_TOKEN_FILE, &agent.session_service.token_file)
        .env(names::STORAGE_SERVICE, &agent.storage_service.address)
        .env(names::STORAGE_SERVER_NAME, &agent.storage_service.tls.server_name)
        .env(names::STORAGE_TOKEN_FILE, &agent.storage_service.token_file)
        .env(names::CA_BUNDLE, &agent.session_service.tls.ca_pem)
        .env(names::SESSION_KIND, &agent.session.kind)
        .env(names::SESSION_NAMESPACE, &agent.session.namespace)
        .env(names::SESSION_NAME, &agent.session.name)
        .env(names::SESSION_UID, &agent.session.uid)
        .env(names::COMPONENT, &agent.component)
        .env(names::ATTEMPT, attempt.to_string())
        .env(names::POD_NAME, &agent.pod_name)
        .env(names::POD_UID, &agent.pod_uid)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

async fn finished(child: Child) -> (Option<i32>, String) {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let log = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), log)
}

/// Architecture §4.9: what could not be read fails the component and is listed, and the rest is kept. No secret is logged.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_files_fail_the_component() {
    let world = World::new().await;
    write_tree(&world.source());
    let secret = world.source().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = mover(&world, 1);
    if rustix::process::getuid().is_root() {
        for (folder, mode) in [(world.folder.path(), 0o755), (world.control.folder(), 0o755), (&world.storage(), 0o777)] {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        command.uid(NOBODY).gid(NOBODY);
    }
    let (code, log) = finished(command.spawn().unwrap()).await;
    let outcome = world.control.outcome();
    assert_eq!(code, Some(1), "{outcome:?}");
    let target = &outcome.targets[0];
    assert_eq!((target.result(), target.file_error_count), (TargetResult::Failed, 1));
    assert_eq!(target.file_errors[0].path, secret.to_str().unwrap());
    assert!(target.error.contains("Repository demo/web") && target.error.contains("secret"), "{target:?}");
    assert_eq!(target.snapshots[0].files, 4, "the rest is kept");
    assert!(!log.contains(control_plane::PASSWORD) && !log.contains(control_plane::TOKEN), "{log}");
    assert!(log.lines().next().unwrap().starts_with('{'), "logs are JSON: {log}");
}

/// After a mover was killed the next attempt finishes its work: nothing is stored twice, and no lock stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_movers_work_is_taken_up() {
    let world = World::new().await;
    for number in 0..8 {
        std::fs::write(world.source().join(format!("{number}")), random_bytes(4_000_000, number + 1)).unwrap();
    }
    world.limit_upload(8_000_000);
    let mut child = mover(&world, 1).spawn().unwrap();
    world
        .control
        .until("something was uploaded", |state| {
            state.progress.last().is_some_and(|progress| progress.transfer.as_ref().unwrap().bytes_transferred > 0)
        })
        .await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(world.locks("dump"), 1, "a killed process leaves its lock");
    world.limit_upload(0);
    world.control.with(|state| state.verdict = Some((HolderState::Dead, "container terminated: exit code 137".to_owned())));
    let (code, log) = finished(mover(&world, 2).spawn().unwrap()).await;
    assert_eq!(code, Some(0), "{log}");
    let outcome = world.control.outcome();
    assert_eq!(world.control.with(|state| state.locks_seen[0].holder.clone().unwrap().pod_uid), "pod-uid-1");
    assert_eq!(outcome.targets[0].snapshots[0].files, 8);
    assert_eq!(world.locks("dump"), 0);
    let repository = world.repository("dump").await;
    let snapshots = repository.snapshots(&repository::Control::default()).await.unwrap();
    assert_eq!(snapshots.snapshots.len(), 1, "nothing twice");
}

#[tokio::test]
async fn a_mover_run_by_hand_says_what_it_lacks() {
    let output = Command::new(env!("CARGO_BIN_EXE_data-mover")).args(["agent", "retention"]).env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(names::SESSION_SERVICE), "{text}");
}
