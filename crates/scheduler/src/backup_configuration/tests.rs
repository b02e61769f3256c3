#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crd_types::{
    BackupConfigurationPhase as Phase, BackupSession, BackupStorage, Repository, RepositoryDeletionPolicy, RestorePhase,
    RestoreSession, RestoreSessionStatus, annotations, conditions as types,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::CronJob,
    core::v1::{Namespace, Secret},
    networking::v1::NetworkPolicy,
};
use kube_kit::conditions::is_true;
use testkit::{Fault, Matcher, fixtures};

use super::*;
use crate::test_support::{CONFIGURATION, CRON_JOB, NAMESPACE, World, triggered_by};

const NOON: &str = "2026-03-01T12:00:00Z";

fn phase(world: &World) -> Phase {
    world.configuration().status.unwrap().phase.unwrap()
}

fn message(world: &World, type_: &str) -> String {
    let status = world.configuration().status.unwrap();
    find(&status.conditions, type_).unwrap().message.clone().unwrap_or_default()
}

fn is_suspended(world: &World) -> bool {
    world.cron_job().unwrap().spec.unwrap().suspend.unwrap()
}

#[tokio::test]
async fn a_configuration_becomes_ready_and_gets_its_first_backup() {
    let world = World::new(NOON);
    world.configure(|_| {});
    world.settle().await;

    let status = world.configuration().status.unwrap();
    assert_eq!(status.phase, Some(Phase::Ready));
    assert_eq!(status.target_found, Some(true));
    assert_eq!(status.backends[0].ready, Some(true));
    assert_eq!(status.dependencies[0].found, Some(true));
    assert_eq!(status.sessions[0].next_schedule.as_deref(), Some("2026-03-02T02:00:00Z"));
    assert!(is_true(&status.sessions[0].conditions, types::INITIAL_BACKUP_TRIGGERED));
    assert_eq!(message(&world, types::VALIDATION_PASSED), "Validation has been passed successfully.");

    let repository: Repository = world.server.get(NAMESPACE, "web-repo").unwrap();
    assert_eq!(repository.spec.path.as_deref(), Some("web"));
    assert!(repository.metadata.owner_references.is_none(), "its deletion policy decides about its life");

    let spec = world.cron_job().unwrap().spec.unwrap();
    assert_eq!((spec.schedule.as_str(), spec.time_zone.as_deref()), ("0 2 * * *", Some("Etc/UTC")));
    let pod = spec.job_template.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(pod.containers[0].args.as_deref().unwrap(), ["trigger"]);

    let uid = world.configuration().metadata.uid.unwrap();
    assert!(world.server.get::<NetworkPolicy>(NAMESPACE, &format!("orlop-triggers-{uid}")).is_some());

    let sessions = world.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!(triggered_by(&sessions[0]), "initial");
    assert_eq!(sessions[0].metadata.name.as_deref(), Some("web-backup-nightly-1772366400"));
}

/// The status says Ready before the first session exists; it would be skipped otherwise (specification §2.4 step 1).
#[tokio::test]
async fn the_first_backup_comes_after_ready() {
    let world = World::new(NOON);
    world.configure(|_| {});
    world.reconcile().await.unwrap();
    assert_eq!(phase(&world), Phase::Ready);
    assert!(world.sessions().is_empty());
    world.reconcile().await.unwrap();
    assert_eq!(world.sessions().len(), 1);
}

/// reliability B1, B3, I4, I11: whichever write fails after it took effect, the end is the same and nothing is there twice.
#[tokio::test]
async fn any_write_may_fail_after_it_took_effect() {
    let writes = [
        ("patch", "backupconfigurations", ""),
        ("patch", "backupconfigurations", "status"),
        ("patch", "repositories", ""),
        ("patch", "cronjobs", ""),
        ("create", "backupsessions", ""),
    ];
    for (verb, resource, subresource) in writes {
        let world = World::new(NOON);
        world.configure(|_| {});
        let matcher = Matcher::of(verb, resource).subresource(subresource);
        world.server.fail(Fault::AfterCommit(504), matcher, 2);
        world.settle().await;
        assert_eq!(phase(&world), Phase::Ready, "{verb} {resource}");
        assert_eq!(world.sessions().len(), 1, "{verb} {resource}");
        assert_eq!(world.server.all::<CronJob>().len(), 1, "{verb} {resource}");
        assert_eq!(world.server.all::<Repository>().len(), 1, "{verb} {resource}");
    }
}

#[tokio::test]
async fn an_invalid_schedule_is_said_and_makes_no_cron_job() {
    let world = World::new(NOON);
    world.configure(|configuration| {
        configuration.spec.sessions[0].scheduler.as_mut().unwrap().schedule = "61 * * * *".to_owned();
    });
    world.settle().await;
    assert_eq!(phase(&world), Phase::Invalid);
    assert!(message(&world, types::VALIDATION_PASSED).contains("use values from 0 to 59"));
    assert!(world.cron_job().is_none());
    assert!(world.sessions().is_empty());

    world.server.update(NAMESPACE, CONFIGURATION, |configuration: &mut BackupConfiguration| {
        configuration.spec.sessions[0].scheduler.as_mut().unwrap().schedule = "1 * * * *".to_owned();
    });
    world.settle().await;
    assert_eq!(phase(&world), Phase::Ready);
    assert_eq!(world.sessions().len(), 1);
}

/// What is missing is named, with what to do, and what comes later is found.
#[tokio::test]
async fn missing_objects_are_named_and_found_when_they_come() {
    type Remove = fn(&World);
    type Restore = fn(&World);
    let cases: [(Remove, Restore, Phase, &str, &str); 6] = [
        (
            |world| world.server.delete::<crd_types::Addon>("", "workload-addon"),
            |world| drop(world.server.put(&fixtures::addon())),
            Phase::Invalid,
            types::VALIDATION_PASSED,
            "Addon workload-addon of session \"nightly\" does not exist; install it or correct the name",
        ),
        (
            |world| world.server.delete::<crd_types::Function>("", "workload-backup"),
            |world| drop(world.server.put(&fixtures::function("workload-backup", "backup"))),
            Phase::Invalid,
            types::VALIDATION_PASSED,
            "workload-backup",
        ),
        (
            |world| world.server.delete::<Secret>(NAMESPACE, "encryption"),
            |world| drop(world.server.put(&fixtures::secret(NAMESPACE, "encryption", "RESTIC_PASSWORD", "x"))),
            Phase::Invalid,
            types::VALIDATION_PASSED,
            "Secret shop/encryption of Repository web-repo does not exist",
        ),
        (
            |world| world.server.delete::<BackupStorage>(NAMESPACE, "main"),
            |world| drop(world.server.put(&fixtures::backup_storage(NAMESPACE, "main"))),
            Phase::NotReady,
            types::PROGRESSING,
            "BackupStorage shop/main does not exist; create it or correct storageRef",
        ),
        (
            |world| world.server.delete::<crd_types::RetentionPolicy>(NAMESPACE, "keep"),
            |world| drop(world.server.put(&fixtures::retention_policy(NAMESPACE, "keep"))),
            Phase::NotReady,
            types::PROGRESSING,
            "RetentionPolicy shop/keep does not exist; create it or correct retentionPolicy",
        ),
        (
            |world| world.server.delete::<Deployment>(NAMESPACE, "web"),
            |world| drop(world.server.put(&fixtures::deployment(NAMESPACE, "web"))),
            Phase::NotReady,
            types::PROGRESSING,
            "Deployment shop/web does not exist; create it or correct spec.target",
        ),
    ];
    for (remove, restore, expected, type_, words) in cases {
        let world = World::new(NOON);
        remove(&world);
        world.configure(|_| {});
        world.settle().await;
        assert_eq!(phase(&world), expected, "{words}");
        assert!(message(&world, type_).contains(words), "{words}: {}", message(&world, type_));
        assert!(world.sessions().is_empty(), "{words}");
        let next = world.reconcile().await.unwrap();
        assert!(matches!(next, Next::After(pause) if pause <= Duration::from_secs(60)), "{words}: {next:?}");
        restore(&world);
        world.settle().await;
        assert_eq!(phase(&world), Phase::Ready, "{words}");
        assert_eq!(world.sessions().len(), 1, "{words}");
    }
}

/// reliability S-04: a usage policy that no longer admits the namespace stops the backups, and says so.
#[tokio::test]
async fn a_usage_policy_is_checked_again_and_again() {
    let world = World::new(NOON);
    world.ready().await;
    assert!(!is_suspended(&world));
    world.server.put(&fixtures::backup_storage("vault", "main"));
    world.server.update("vault", "main", |storage: &mut BackupStorage| storage.spec.usage_policy = None);
    world.server.update(NAMESPACE, CONFIGURATION, |configuration: &mut BackupConfiguration| {
        configuration.spec.backends[0].storage_ref.as_mut().unwrap().namespace = Some("vault".to_owned());
    });
    world.settle().await;
    assert_eq!(phase(&world), Phase::Invalid);
    let told = message(&world, types::VALIDATION_PASSED);
    assert!(told.contains("BackupStorage vault/main may not be used from namespace shop"), "{told}");
    assert!(is_suspended(&world), "no slot runs meanwhile");
}

/// reliability S-01: another namespace's Secret needs its owner's consent.
#[tokio::test]
async fn a_foreign_secret_needs_consent() {
    let world = World::new(NOON);
    world.server.put(&fixtures::secret("vault", "encryption", "RESTIC_PASSWORD", "x"));
    world.configure(|configuration| {
        let entry = &mut configuration.spec.sessions[0].repositories[0];
        entry.encryption_secret.as_mut().unwrap().namespace = Some("vault".to_owned());
    });
    world.settle().await;
    assert!(message(&world, types::VALIDATION_PASSED).contains("orlop.dev/allow-namespaces: shop"));
    world.server.update("vault", "encryption", |secret: &mut Secret| {
        secret.metadata.annotations = Some([(annotations::ALLOW_NAMESPACES.to_owned(), "shop".to_owned())].into());
    });
    world.settle().await;
    assert_eq!(phase(&world), Phase::Ready);
}

#[tokio::test]
async fn pausing_holds_the_slots_and_resuming_makes_none_up() {
    let world = World::new(NOON);
    world.ready().await;
    let pause = |paused: bool| {
        world.server.update(NAMESPACE, CONFIGURATION, |configuration: &mut BackupConfiguration| {
            configuration.spec.paused = Some(paused);
        });
    };
    pause(true);
    world.settle().await;
    assert!(is_suspended(&world));
    assert_eq!(world.configuration().status.unwrap().sessions[0].next_schedule, None);
    assert!(message(&world, types::PROGRESSING).contains("is paused"));

    world.at("2026-03-05T12:00:00Z");
    pause(false);
    world.settle().await;
    assert!(!is_suspended(&world));
    let settled = world.cron_job().unwrap().metadata.annotations.unwrap()[annotations::SETTLED_SLOT].clone();
    assert_eq!(settled, "2026-03-05T12:00:00Z");
    world.at("2026-03-05T13:00:00Z");
    world.reconcile().await.unwrap();
    let kept = world.cron_job().unwrap().metadata.annotations.unwrap()[annotations::SETTLED_SLOT].clone();
    assert_eq!(kept, settled, "remembered from one reconcile to the next");
}

/// architecture §3: backups of a target are held while it is restored, without touching `spec.paused`.
#[tokio::test]
async fn a_restore_of_the_target_holds_the_slots() {
    let world = World::new(NOON);
    world.ready().await;
    world.server.put(&fixtures::restore_session(NAMESPACE, "back"));
    world.settle().await;
    assert!(is_suspended(&world));
    assert_eq!(phase(&world), Phase::Ready);
    assert_eq!(world.configuration().spec.paused, None);
    world.server.update(NAMESPACE, "back", |restore: &mut RestoreSession| {
        restore.status = Some(RestoreSessionStatus { phase: Some(RestorePhase::Succeeded), ..Default::default() });
    });
    world.settle().await;
    assert!(!is_suspended(&world));
}

#[tokio::test]
async fn a_session_that_leaves_the_spec_takes_its_cron_job_along() {
    let world = World::new(NOON);
    world.configure(|configuration| {
        let mut second = configuration.spec.sessions[0].clone();
        second.name = Some("hourly".to_owned());
        configuration.spec.sessions.push(second);
    });
    world.settle().await;
    assert_eq!(world.server.all::<CronJob>().len(), 2);
    world.server.update(NAMESPACE, CONFIGURATION, |configuration: &mut BackupConfiguration| {
        configuration.spec.sessions.pop();
    });
    world.settle().await;
    let left = world.server.all::<CronJob>();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].metadata.name.as_deref(), Some(CRON_JOB));
    assert_eq!(world.configuration().status.unwrap().sessions.len(), 1);
}

/// architecture §4 rule 2: a CronJob of somebody else is left alone, and ours gets another name.
#[tokio::test]
async fn a_foreign_cron_job_of_the_same_name_is_not_taken_over() {
    let world = World::new(NOON);
    let foreign: CronJob = world.server.put(&fixtures::object(serde_json::json!({
        "metadata": { "namespace": NAMESPACE, "name": CRON_JOB }, "spec": { "schedule": "@daily", "jobTemplate": {} },
    })));
    world.configure(|_| {});
    world.settle().await;
    assert_eq!(phase(&world), Phase::Ready);
    assert_eq!(world.cron_job().unwrap(), foreign);
    assert_eq!(world.server.all::<CronJob>().len(), 2);
}

#[tokio::test]
async fn deletion_does_what_each_repository_says() {
    for (policy, is_kept) in
        [(None, false), (Some(RepositoryDeletionPolicy::Delete), false), (Some(RepositoryDeletionPolicy::Retain), true)]
    {
        let world = World::new(NOON);
        world.configure(|configuration| configuration.spec.sessions[0].repositories[0].deletion_policy = policy);
        world.settle().await;
        world.server.delete::<BackupConfiguration>(NAMESPACE, CONFIGURATION);
        world.settle().await;
        assert!(world.server.all::<BackupConfiguration>().is_empty(), "{policy:?}");
        assert_eq!(world.server.get::<Repository>(NAMESPACE, "web-repo").is_some(), is_kept, "{policy:?}");
        assert!(world.server.all::<CronJob>().is_empty(), "{policy:?}: owned objects follow");
    }
}

/// A Repository that another configuration still writes to stays.
#[tokio::test]
async fn a_shared_repository_stays_until_its_last_user_goes() {
    let world = World::new(NOON);
    world.configure(|_| {});
    world.settle().await;
    world.server.put(&fixtures::backup_configuration(NAMESPACE, "second"));
    world.server.delete::<BackupConfiguration>(NAMESPACE, CONFIGURATION);
    world.settle().await;
    assert!(world.server.get::<Repository>(NAMESPACE, "web-repo").is_some());
}

/// reliability B8: the deletion of a namespace never waits for us.
#[tokio::test]
async fn a_namespace_that_goes_takes_the_configuration_along() {
    let world = World::new(NOON);
    world.configure(|_| {});
    world.settle().await;
    world.server.update("", NAMESPACE, |namespace: &mut Namespace| {
        namespace.metadata.finalizers = Some(vec!["kubernetes".to_owned()]);
    });
    world.server.delete::<Namespace>("", NAMESPACE);
    world.server.delete::<BackupConfiguration>(NAMESPACE, CONFIGURATION);
    world.server.fail(Fault::Status(500, "InternalError"), Matcher::of("delete", "repositories"), 100);
    world.settle().await;
    assert!(world.server.all::<BackupConfiguration>().is_empty());
}

#[tokio::test]
async fn a_second_session_gets_its_own_first_backup() {
    let world = World::new(NOON);
    world.configure(|_| {});
    world.settle().await;
    world.server.update(NAMESPACE, CONFIGURATION, |configuration: &mut BackupConfiguration| {
        let mut second = configuration.spec.sessions[0].clone();
        second.name = Some("hourly".to_owned());
        configuration.spec.sessions.push(second);
    });
    world.settle().await;
    let names: Vec<String> = world.sessions().into_iter().map(|session: BackupSession| session.metadata.name.unwrap()).collect();
    assert_eq!(names, ["web-backup-hourly-1772366400", "web-backup-nightly-1772366400"]);
}
