#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crd_types::{BackupConfiguration, ConditionStatus, RestorePhase, Snapshot, conditions};
use k8s_openapi::api::batch::v1::Job;
use planner::attempt::{Outcome, Report, TargetReport, Transfer};
use serde_json::json;
use testkit::{ApiServer, Fault, Matcher, fixtures};

use super::*;
use crate::attach::SessionKind;
use crate::test_support::{SHOP, claim_of, context};

/// Everything a restore of `web-repo` into Deployment `web` needs, and the RestoreSession `back`.
struct Scene {
    server: ApiServer,
    controller: RestoreSessions,
}

impl Scene {
    fn new() -> Self {
        let server = ApiServer::new();
        let ctx = context(&server);
        server.put(&fixtures::backup_storage(SHOP, "main"));
        server.put(&fixtures::addon());
        server.put(&fixtures::function("workload-restore", "restore"));
        server.put(&fixtures::deployment(SHOP, "web"));
        server.put(&fixtures::claim(SHOP, "data"));
        server.put(&fixtures::volume("data"));
        server.put(&fixtures::backup_configuration(SHOP, "web-backup"));
        let repository = server.put(&fixtures::repository(SHOP, "web-repo"));
        for (name, day, phase) in [("old", 1, "Succeeded"), ("new", 2, "Succeeded"), ("broken", 3, "Failed")] {
            let mut snapshot = fixtures::snapshot(&repository, name, "web-1");
            snapshot.status = Some(fixtures::object(json!({
                "phase": phase, "snapshotTime": format!("2026-01-0{day}T00:00:00Z"), "totalComponents": 1,
                "conditions": [{"type": "SnapshotMetadataUploaded", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "components": {"dump": {
                    "driver": "Restic", "path": "repository/v1/nightly/dump", "phase": phase,
                    "resticStats": [{"summary": {"id": name.repeat(4), "hostPath": "/data"}}],
                }},
            })));
            server.put(&snapshot);
        }
        server.put(&fixtures::restore_session(SHOP, "back"));
        Self { server, controller: RestoreSessions::new(ctx, OwnWrites::default()) }
    }

    async fn reconcile(&self) -> Result<Next, RestoreError> {
        let session = self.session();
        self.controller.reconcile(Arc::new(session)).await
    }

    fn session(&self) -> RestoreSession {
        self.server.get(SHOP, "back").unwrap()
    }

    fn phase(&self) -> Option<RestorePhase> {
        self.session().status.and_then(|status| status.phase)
    }

    fn message(&self, kind: &str) -> (ConditionStatus, String) {
        let status = self.session().status.unwrap_or_default();
        let condition = conditions::find(&status.conditions, kind).unwrap_or_else(|| panic!("no condition {kind}"));
        (condition.status, condition.message.clone().unwrap_or_default())
    }

    fn edit(&self, change: impl FnOnce(&mut RestoreSession)) {
        self.server.update::<RestoreSession>(SHOP, "back", change);
    }

    /// The mover of the only Job attaches and reports its end.
    fn report(&self, outcome: Outcome, error: &str) -> tokio::sync::mpsc::UnboundedReceiver<crate::attach::Command> {
        let session = self.session();
        let registry = &self.controller.ctx.registry;
        let claim = claim_of(SessionKind::Restore, "back", &session.uid().unwrap(), "dump", 1);
        let (id, commands) = registry.attach(&claim);
        let transfer = Some(Transfer { files_done: 3, files_total: 3, bytes_done: 9, bytes_total: 9, seconds_elapsed: 2 });
        let target = TargetReport { outcome, transfer, ..TargetReport::failed("dump", error) };
        registry.note_outcome(&claim, id, Report { targets: vec![target], ..Report::default() });
        commands
    }
}

/// Specification §2.7: from the manifest to Succeeded.
#[tokio::test]
async fn a_restore_runs_to_its_end() {
    let scene = Scene::new();
    scene.reconcile().await.unwrap();
    assert_eq!(scene.phase(), Some(RestorePhase::Running));
    let session = scene.session();
    assert!(finalize::has(&session, FINALIZER));
    let status = session.status.clone().unwrap();
    assert_eq!(planner::restore::pinned_snapshot(&session), Some("new"), "the newest Succeeded one");
    assert_eq!(status.paused_backups[0].name, "web-backup");
    assert_eq!(status.target_found, Some(true));
    let jobs: Vec<Job> = scene.server.all();
    assert_eq!(jobs.iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>(), ["back"]);
    // Looking again makes nothing more (I11).
    scene.reconcile().await.unwrap();
    assert_eq!(scene.server.all::<Job>().len(), 1);

    let mut commands = scene.report(Outcome::Succeeded, "");
    scene.reconcile().await.unwrap();
    assert_eq!(scene.phase(), Some(RestorePhase::Succeeded));
    let status = scene.session().status.unwrap();
    assert_eq!(status.components["dump"].phase, Some(RestorePhase::Succeeded));
    assert!(status.paused_backups.is_empty());
    assert_eq!(commands.try_recv(), Ok(crate::attach::Command::Ack), "acknowledged once it is written");
}

/// A limit of the session reaches its mover.
#[tokio::test]
async fn limits_follow_the_annotations() {
    let scene = Scene::new();
    scene.reconcile().await.unwrap();
    let claim = claim_of(SessionKind::Restore, "back", &scene.session().uid().unwrap(), "dump", 1);
    let (_, mut commands) = scene.controller.ctx.registry.attach(&claim);
    scene.edit(|session| {
        let annotations = session.metadata.annotations.get_or_insert_default();
        annotations.insert(crd_types::annotations::DOWNLOAD_LIMIT.to_owned(), "10Mi".to_owned());
    });
    scene.reconcile().await.unwrap();
    let limits = planner::bandwidth::Bandwidth { upload: 0, download: 10 << 20 };
    assert_eq!(commands.try_recv(), Ok(crate::attach::Command::Limits(limits)));
}

/// A new Snapshot does not change what a running session restores.
#[tokio::test]
async fn latest_is_chosen_once() {
    let scene = Scene::new();
    scene.reconcile().await.unwrap();
    scene.server.update::<Snapshot>(SHOP, "old", |snapshot| {
        let status = snapshot.status.as_mut().unwrap();
        status.snapshot_time = Some(fixtures::object(json!("2026-02-01T00:00:00Z")));
    });
    scene.reconcile().await.unwrap();
    assert_eq!(planner::restore::pinned_snapshot(&scene.session()), Some("new"));
}

#[tokio::test]
async fn a_failed_component_fails_the_restore_with_its_reason() {
    let scene = Scene::new();
    scene.reconcile().await.unwrap();
    let _commands = scene.report(Outcome::Failed, "no space left on device: /data/big");
    scene.reconcile().await.unwrap();
    assert_eq!(scene.phase(), Some(RestorePhase::Failed));
    let error = scene.session().status.unwrap().components["dump"].error.clone().unwrap();
    assert!(error.contains("no space left"), "{error}");
}

/// Bad input ends in a clear condition, and is looked at again until it is repaired.
#[tokio::test]
async fn an_unknown_snapshot_is_invalid_until_it_is_repaired() {
    let scene = Scene::new();
    scene.edit(|session| session.spec.data_source.as_mut().unwrap().snapshot = Some("gone".to_owned()));
    let next = scene.reconcile().await.unwrap();
    assert!(matches!(next, Next::After(_)), "{next:?}");
    assert_eq!(scene.phase(), Some(RestorePhase::Invalid));
    let (status, message) = scene.message(conditions::VALIDATION_PASSED);
    assert_eq!(status, ConditionStatus::False);
    assert!(message.contains("Snapshot shop/gone does not exist"), "{message}");
    assert!(scene.server.all::<Job>().is_empty());
    scene.edit(|session| session.spec.data_source.as_mut().unwrap().snapshot = Some("old".to_owned()));
    scene.reconcile().await.unwrap();
    assert_eq!(scene.phase(), Some(RestorePhase::Running));
    assert_eq!(planner::restore::pinned_snapshot(&scene.session()), Some("old"));
}

/// A slip in what may remove files or plant programs restores nothing.
#[tokio::test]
async fn an_unknown_policy_is_invalid_until_it_is_repaired() {
    let scene = Scene::new();
    let annotate = |word: &str| {
        scene.edit(|session| {
            let annotations = session.metadata.annotations.get_or_insert_default();
            annotations.insert(crd_types::annotations::PRIVILEGED.to_owned(), word.to_owned());
        });
    };
    annotate("dorp");
    scene.reconcile().await.unwrap();
    assert_eq!(scene.phase(), Some(RestorePhase::Invalid));
    let (_, message) = scene.message(conditions::VALIDATION_PASSED);
    assert!(message.contains("orlop.dev/privileged of RestoreSession shop/back is \"dorp\": write restore or drop"), "{message}");
    assert!(scene.server.all::<Job>().is_empty());
    annotate("drop");
    scene.reconcile().await.unwrap();
    assert_eq!(scene.phase(), Some(RestorePhase::Running));
}

/// Architecture §7: the storage's usage policy is asked at every use.
#[tokio::test]
async fn a_storage_that_does_not_admit_the_namespace_is_refused() {
    let scene = Scene::new();
    scene.server.update::<crd_types::BackupStorage>(SHOP, "main", |storage| {
        storage.spec.usage_policy =
            Some(fixtures::object(json!({"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}})));
    });
    scene.reconcile().await.unwrap();
    let (_, message) = scene.message(conditions::VALIDATION_PASSED);
    assert!(message.contains("BackupStorage shop/main may not be used from namespace shop"), "{message}");
}

#[tokio::test]
async fn a_missing_target_is_waited_for() {
    let scene = Scene::new();
    scene.edit(|session| session.spec.target.as_mut().unwrap().name = "later".to_owned());
    scene.reconcile().await.unwrap();
    assert_eq!(scene.phase(), Some(RestorePhase::Pending));
    assert_eq!(scene.session().status.unwrap().target_found, Some(false));
    let mut later = fixtures::deployment(SHOP, "later");
    later.metadata.uid = None;
    scene.server.put(&later);
    scene.reconcile().await.unwrap();
    assert_eq!(scene.phase(), Some(RestorePhase::Running));
}

/// B15: what the API server refuses for good stands in a condition; no attempt is spent on it.
#[tokio::test]
async fn a_refused_job_is_said_and_costs_no_attempt() {
    let scene = Scene::new();
    scene.server.fail_next(Fault::Status(403, "Forbidden"), Matcher::of("create", "jobs"));
    scene.reconcile().await.unwrap();
    let (status, message) = scene.message(conditions::PROGRESSING);
    assert_eq!(status, ConditionStatus::False, "{message}");
    assert!(planner::restore::begun(&scene.session()).is_empty());
    scene.reconcile().await.unwrap();
    assert_eq!(scene.server.all::<Job>().len(), 1);
    assert_eq!(planner::restore::begun(&scene.session())["dump"], 1);
}

/// B3: a write that fails leaves nothing half done: the next pass finds its way.
#[tokio::test]
async fn a_failing_api_server_is_survived() {
    for resource in ["restoresessions", "jobs", "serviceaccounts", "snapshots", "deployments"] {
        for verb in ["get", "list", "create", "patch"] {
            let scene = Scene::new();
            scene.server.fail_next(Fault::AfterCommit(500), Matcher::of(verb, resource));
            let mut passes = 0;
            while scene.phase() != Some(RestorePhase::Running) || scene.server.all::<Job>().is_empty() {
                passes += 1;
                assert!(passes < 6, "{verb} {resource}: {:?}", scene.phase());
                let _ = scene.reconcile().await;
            }
            assert_eq!(scene.server.all::<Job>().len(), 1, "{verb} {resource}");
            let _commands = scene.report(Outcome::Succeeded, "");
            scene.reconcile().await.unwrap();
            assert_eq!(scene.phase(), Some(RestorePhase::Succeeded), "{verb} {resource}");
        }
    }
}

#[tokio::test]
async fn a_deleted_session_goes() {
    let scene = Scene::new();
    scene.reconcile().await.unwrap();
    scene.server.delete::<RestoreSession>(SHOP, "back");
    let deleting: Option<RestoreSession> = scene.server.get(SHOP, "back");
    scene.controller.reconcile(Arc::new(deleting.expect("its finalizer holds it"))).await.unwrap();
    assert!(scene.server.get::<RestoreSession>(SHOP, "back").is_none());
    assert!(scene.server.get::<BackupConfiguration>(SHOP, "web-backup").is_some());
}
