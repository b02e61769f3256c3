#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crd_types::{HookInfo, Repository};
use planner::access::SecretRule;
use testkit::fixtures;

use super::*;
use crate::args::TriggerArgs;

fn settings() -> Settings {
    let trigger = TriggerArgs {
        mover_image: "mover".to_owned(),
        mover_image_pull_policy: String::new(),
        mover_image_pull_secrets: Vec::new(),
        trigger_service_account: "default".to_owned(),
        mover_network_policy: false,
        time_zone: "Etc/UTC".to_owned(),
        trigger_grace_seconds: 30,
    };
    Settings::new("orlop-system", &trigger, SecretRule::Consent).unwrap()
}

/// Everything that the fixtures' configuration names.
fn found(configuration: &BackupConfiguration) -> Dereferenced {
    let place = |name: &str| ("shop".to_owned(), name.to_owned());
    Dereferenced {
        backends: configuration
            .spec
            .backends
            .iter()
            .map(|backend| Backend {
                name: backend.name.clone().unwrap_or_default(),
                storage: backend.storage_ref.clone(),
                retention_policy: backend.retention_policy.clone(),
            })
            .collect(),
        storages: [(place("main"), fixtures::backup_storage("shop", "main"))].into(),
        policies: [(place("keep"), fixtures::retention_policy("shop", "keep"))].into(),
        addons: [("workload-addon".to_owned(), fixtures::addon())].into(),
        functions: [("workload-backup".to_owned(), fixtures::function("workload-backup", "backup"))].into(),
        secrets: [(place("encryption"), fixtures::secret("shop", "encryption", "RESTIC_PASSWORD", "x").metadata)].into(),
        target_found: true,
        ..Dereferenced::default()
    }
}

fn problems(change: impl FnOnce(&mut BackupConfiguration, &mut Vec<Repository>)) -> Vec<(&'static str, String)> {
    let mut configuration = fixtures::backup_configuration("shop", "web-backup");
    let mut repositories = Vec::new();
    change(&mut configuration, &mut repositories);
    let found = Dereferenced { repositories, ..found(&configuration) };
    let checked = validate(&configuration, &found, &settings());
    checked.problems.into_iter().map(|problem| (problem.reason, problem.message)).collect()
}

fn only(change: impl FnOnce(&mut BackupConfiguration, &mut Vec<Repository>)) -> (&'static str, String) {
    let problems = problems(change);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn the_fixture_is_valid() {
    assert_eq!(problems(|_, _| {}), []);
}

#[test]
fn directories_are_apart_and_stay_inside() {
    let (reason, _) = only(|configuration, _| {
        configuration.spec.sessions[0].repositories[0].directory = Some("/a/../../b".to_owned());
    });
    assert_eq!(reason, "DirectoryInvalid");
    let (reason, message) = only(|configuration, _| {
        let mut twin = configuration.spec.sessions[0].repositories[0].clone();
        twin.name = Some("twin".to_owned());
        twin.directory = Some("/web/".to_owned());
        configuration.spec.sessions[0].repositories.push(twin);
    });
    assert_eq!(reason, "DirectoryTaken");
    assert!(message.contains("`web`"), "{message}");
    let (reason, message) = only(|_, repositories| {
        let mut other = fixtures::repository("bank", "theirs");
        other.spec.path = Some("web/inner".to_owned());
        other.spec.storage_ref.as_mut().unwrap().namespace = Some("shop".to_owned());
        repositories.push(other);
    });
    assert_eq!(reason, "DirectoryTaken");
    assert!(message.contains("Repository bank/theirs"), "{message}");
}

/// Specification §1.6: an existing Repository of that name has to be for the same target and in the same place.
#[test]
fn a_repository_is_not_taken_from_another_target_or_place() {
    assert_eq!(problems(|_, repositories| repositories.push(fixtures::repository("shop", "web-repo"))), []);
    let (reason, _) = only(|_, repositories| {
        let mut other = fixtures::repository("shop", "web-repo");
        other.spec.app_ref.as_mut().unwrap().name = "database".to_owned();
        repositories.push(other);
    });
    assert_eq!(reason, "RepositoryOfAnother");
    let (reason, _) = only(|_, repositories| {
        let mut other = fixtures::repository("shop", "web-repo");
        other.spec.path = Some("elsewhere".to_owned());
        repositories.push(other);
    });
    assert_eq!(reason, "RepositoryElsewhere");
}

#[test]
fn one_repository_for_two_sessions_is_one_place() {
    let second = |configuration: &mut BackupConfiguration, directory: &str| {
        let mut session = configuration.spec.sessions[0].clone();
        session.name = Some("hourly".to_owned());
        session.repositories[0].directory = Some(directory.to_owned());
        configuration.spec.sessions.push(session);
    };
    assert_eq!(problems(|configuration, _| second(configuration, "/web")), []);
    assert_eq!(only(|configuration, _| second(configuration, "/other")).0, "RepositoryDiffers");
}

#[test]
fn words_that_mean_nothing_are_named() {
    type Change = fn(&mut BackupConfiguration);
    let cases: [(&str, Change); 9] = [
        ("ConcurrencyPolicyInvalid", |configuration| {
            configuration.spec.sessions[0].scheduler.as_mut().unwrap().concurrency_policy = Some("Perhaps".to_owned());
        }),
        ("DurationInvalid", |configuration| configuration.spec.sessions[0].backup_timeout = Some("soon".to_owned())),
        ("BackendUnknown", |configuration| {
            configuration.spec.sessions[0].repositories[0].backend = Some("nowhere".to_owned());
        }),
        ("EncryptionSecretMissing", |configuration| {
            configuration.spec.sessions[0].repositories[0].encryption_secret = None;
        }),
        ("TaskUnknown", |configuration| {
            configuration.spec.sessions[0].addon.as_mut().unwrap().tasks[0].name = Some("no-such-task".to_owned());
        }),
        ("HooksNotSupported", |configuration| {
            let hooks = crd_types::BackupHooks { pre_backup: vec![HookInfo::default()], ..Default::default() };
            configuration.spec.sessions[0].hooks = Some(hooks);
        }),
        ("TargetNotSupported", |configuration| configuration.spec.target.as_mut().unwrap().kind = Some("StatefulSet".to_owned())),
        ("TargetNotSupported", |configuration| configuration.spec.target.as_mut().unwrap().namespace = Some("bank".to_owned())),
        ("NoSession", |configuration| configuration.spec.sessions.clear()),
    ];
    for (reason, change) in cases {
        let (found, message) = only(|configuration, _| change(configuration));
        assert_eq!(found, reason, "{message}");
    }
}

/// What is not supported and changes nothing about the backups is said, and does not stop them.
#[test]
fn remarks_do_not_invalidate() {
    let mut configuration = fixtures::backup_configuration("shop", "web-backup");
    let entry = &mut configuration.spec.sessions[0].repositories[0];
    entry.deletion_policy = Some(crd_types::RepositoryDeletionPolicy::WipeOut);
    entry.backup_verifier = Some(ObjectReference { name: "verifier".to_owned(), namespace: None });
    let found = found(&configuration);
    let checked = validate(&configuration, &found, &settings());
    assert!(checked.is_valid());
    assert_eq!(checked.remarks.len(), 2);
}
