#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crd_types::{
    BackupConfiguration, BackupConfigurationPhase, BackupSessionPhase, RetentionApplyPhase, Snapshot, SnapshotPhase, annotations,
    conditions, labels,
};
use k8s_openapi::api::batch::v1::Job;
use planner::attempt::{Outcome, Report, SnapshotMade, TargetReport};
use planner::bandwidth::Bandwidth;
use planner::session::begun;
use serde_json::json;
use testkit::{ApiServer, Fault, Matcher, fixtures};
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::attach::{Command, SessionKind};
use crate::test_support::{SHOP, claim_of, context};

/// Everything a backup of Deployment `web` into Repository `web-repo` needs, and the BackupSession `web-1`.
struct Scene {
    server: ApiServer,
    controller: BackupSessions,
}

impl Scene {
    fn new() -> Self {
        let server = ApiServer::new();
        let ctx = context(&server);
        server.put(&fixtures::backup_storage(SHOP, "main"));
        server.put(&fixtures::retention_policy(SHOP, "keep"));
        server.put(&fixtures::addon());
        server.put(&fixtures::function("workload-backup", "backup"));
        let deployment = server.put(&fixtures::deployment(SHOP, "web"));
        let (replica_set, pod) = fixtures::pod_of(&deployment, "worker");
        server.put(&replica_set);
        server.put(&pod);
        server.put(&fixtures::claim(SHOP, "data"));
        server.put(&fixtures::repository(SHOP, "web-repo"));
        let mut configuration = fixtures::backup_configuration(SHOP, "web-backup");
        configuration.status.get_or_insert_default().phase = Some(BackupConfigurationPhase::Ready);
        let configuration = server.put(&configuration);
        server.put(&fixtures::backup_session(&configuration, "web-1"));
        Self { server, controller: BackupSessions::new(ctx) }
    }

    async fn reconcile(&self) -> Result<Next, Error> {
        self.controller.reconcile(Arc::new(self.session())).await
    }

    fn session(&self) -> BackupSession {
        self.server.get(SHOP, "web-1").unwrap()
    }

    fn phase(&self) -> Option<BackupSessionPhase> {
        self.session().status.and_then(|status| status.phase)
    }

    fn message(&self, kind: &str) -> String {
        let status = self.session().status.unwrap_or_default();
        let condition = conditions::find(&status.conditions, kind).unwrap_or_else(|| panic!("no condition {kind}"));
        condition.message.clone().unwrap_or_default()
    }

    fn snapshot(&self) -> Snapshot {
        let all: Vec<Snapshot> = self.server.all();
        let uid = self.session().uid().unwrap();
        let mut own = all.into_iter().filter(|snapshot| snapshot.labels().get(labels::SESSION_UID) == Some(&uid));
        own.next().unwrap()
    }

    /// The mover of an attempt attaches and reports its end.
    fn report(&self, component: &str, attempt: u32, targets: Vec<TargetReport>) -> UnboundedReceiver<Command> {
        let session = self.session();
        let registry = &self.controller.shared.ctx.registry;
        let claim = claim_of(SessionKind::Backup, "web-1", &session.uid().unwrap(), component, attempt);
        let (id, commands) = registry.attach(&claim);
        registry.note_outcome(&claim, id, Report { targets, ..Report::default() });
        commands
    }

    /// The storage-initializer uploads the Snapshot's metadata.
    fn upload(&self) {
        self.server.update::<Snapshot>(SHOP, &self.snapshot().name_any(), |snapshot| {
            snapshot.status.get_or_insert_default().conditions.push(fixtures::object(json!({
                "type": "SnapshotMetadataUploaded", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z",
            })));
        });
    }

    async fn run_to_retention(&self) {
        self.reconcile().await.unwrap();
        let _commands = self.report("dump", 1, vec![succeeded("web-repo")]);
        self.reconcile().await.unwrap();
        self.upload();
        self.reconcile().await.unwrap();
    }
}

fn succeeded(target: &str) -> TargetReport {
    TargetReport {
        outcome: Outcome::Succeeded,
        snapshots: vec![SnapshotMade { id: "ab".repeat(32), path: "/data".to_owned(), files: 3, ..SnapshotMade::default() }],
        integrity: Some(true),
        ..TargetReport::failed(target, "")
    }
}

/// Architecture §5, `UpdateLimits`: an annotation that changes while a mover works is in force at once; one that cannot be
/// understood is told and fails nothing.
#[tokio::test]
async fn limits_follow_the_annotations() {
    let scene = Scene::new();
    scene.reconcile().await.unwrap();
    let uid = scene.session().uid().unwrap();
    let (_, mut commands) = scene.controller.shared.ctx.registry.attach(&claim_of(SessionKind::Backup, "web-1", &uid, "dump", 1));
    scene.reconcile().await.unwrap();
    assert!(commands.try_recv().is_err(), "there is no limit");
    let limit = |text: &str| {
        let text = text.to_owned();
        scene.server.update::<BackupSession>(SHOP, "web-1", |session| {
            session.metadata.annotations.get_or_insert_default().insert(annotations::UPLOAD_LIMIT.to_owned(), text);
        });
    };
    limit("2Mi");
    scene.reconcile().await.unwrap();
    assert_eq!(commands.try_recv(), Ok(Command::Limits(Bandwidth { upload: 2 << 20, download: 0 })));
    limit("fast");
    scene.reconcile().await.unwrap();
    assert_eq!(commands.try_recv(), Ok(Command::Limits(Bandwidth::default())));
    let events: Vec<k8s_openapi::api::events::v1::Event> = scene.server.all();
    let note = events.iter().find(|event| event.reason.as_deref() == Some("LimitIgnored")).and_then(|event| event.note.clone());
    let note = note.expect("an event says what is wrong");
    assert!(note.contains("orlop.dev/upload-limit") && note.contains("BackupSession") && note.contains("10Mi"), "{note}");
    assert_eq!(scene.phase(), Some(BackupSessionPhase::Running));
}

/// Specification §2.4 from the object to Succeeded, with what the API server holds on the way.
#[tokio::test]
async fn a_backup_runs_to_its_end() {
    let scene = Scene::new();
    scene.reconcile().await.unwrap();
    assert_eq!(scene.phase(), Some(BackupSessionPhase::Running));
    let session = scene.session();
    assert!(finalize::has(&session, FINALIZER));
    assert_eq!(begun(&session)["dump"], 1);
    let snapshot = scene.snapshot();
    assert_eq!(snapshot.spec.backup_session.as_deref(), Some("web-1"));
    assert_eq!(snapshot.spec.snapshot_id.as_ref().map(String::len), Some(26));
    let status = snapshot.status.clone().unwrap();
    assert_eq!(status.components["dump"].path.as_deref(), Some("repository/v1/nightly/dump"));
    let jobs: Vec<Job> = scene.server.all();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].owner_references()[0].uid, session.uid().unwrap());
    assert!(jobs[0].annotations().contains_key(annotations::JOB_PROOF));
    // Looking again makes nothing more (I11).
    scene.reconcile().await.unwrap();
    assert_eq!(scene.server.all::<Job>().len(), 1);

    let mut commands = scene.report("dump", 1, vec![succeeded("web-repo")]);
    scene.reconcile().await.unwrap();
    assert_eq!(commands.try_recv(), Ok(Command::Ack), "acknowledged once it is written");
    assert_eq!(scene.snapshot().status.unwrap().components["dump"].phase, Some(SnapshotPhase::Succeeded));
    assert_eq!(scene.phase(), Some(BackupSessionPhase::Running));
    scene.upload();
    scene.reconcile().await.unwrap();
    assert_eq!(scene.phase(), Some(BackupSessionPhase::Succeeded));
    let status = scene.session().status.unwrap();
    assert_eq!(status.snapshots[0].phase, Some(SnapshotPhase::Succeeded));
    assert_eq!(status.retention_policy[0].phase, Some(RetentionApplyPhase::Applied));
    assert_eq!(scene.snapshot().status.unwrap().phase, Some(SnapshotPhase::Succeeded));
}

/// A broken path ends in a sentence that names it.
#[tokio::test]
async fn a_path_outside_of_every_volume_is_refused() {
    let scene = Scene::new();
    scene.server.update::<BackupConfiguration>(SHOP, "web-backup", |configuration| {
        let addon = configuration.spec.sessions[0].addon.as_mut().unwrap();
        addon.tasks[0].params.insert("paths".to_owned(), json!("/wrong/data"));
    });
    scene.reconcile().await.unwrap();
    assert_eq!(scene.phase(), Some(BackupSessionPhase::Failed));
    let message = scene.message(conditions::BACKUP_EXECUTOR_ENSURED);
    assert!(message.contains("/wrong/data") && message.contains("/data (volume data)"), "{message}");
    assert!(scene.server.all::<Job>().is_empty());
    assert!(scene.server.all::<Snapshot>().is_empty());
}

#[tokio::test]
async fn a_missing_function_is_waited_for() {
    let scene = Scene::new();
    scene.server.delete::<crd_types::Function>("", "workload-backup");
    let next = scene.reconcile().await.unwrap();
    assert!(matches!(next, Next::After(_)), "{next:?}");
    assert_eq!(scene.phase(), Some(BackupSessionPhase::Pending));
    scene.server.put(&fixtures::function("workload-backup", "backup"));
    scene.reconcile().await.unwrap();
    assert_eq!(scene.phase(), Some(BackupSessionPhase::Running));
}

/// B15: a quota's answer stands in the status, costs no attempt, and is tried again.
#[tokio::test]
async fn a_refused_job_is_told() {
    let scene = Scene::new();
    scene.server.fail_next(Fault::Status(403, "Forbidden"), Matcher::of("create", "jobs"));
    let next = scene.reconcile().await.unwrap();
    assert!(matches!(next, Next::After(_)), "{next:?}");
    assert!(scene.message(conditions::PROGRESSING).contains("Job"), "{}", scene.message(conditions::PROGRESSING));
    assert!(begun(&scene.session()).is_empty());
    scene.reconcile().await.unwrap();
    assert_eq!(scene.server.all::<Job>().len(), 1);
    assert_eq!(begun(&scene.session())["dump"], 1);
}

/// B1 and B3: whatever write of the first pass fails, and whether or not it was applied, the next one finds its way.
#[tokio::test]
async fn every_failed_write_is_survived() {
    let writes = [
        ("patch", "backupsessions", ""),
        ("create", "snapshots", ""),
        ("patch", "snapshots", "status"),
        ("create", "jobs", ""),
        ("patch", "backupsessions", "status"),
    ];
    for (verb, plural, subresource) in writes {
        for fault in [Fault::Status(500, "InternalError"), Fault::Status(409, "Conflict"), Fault::AfterCommit(500)] {
            let scene = Scene::new();
            let mut matcher = Matcher::of(verb, plural);
            if !subresource.is_empty() {
                matcher = matcher.subresource(subresource);
            }
            scene.server.fail_next(fault, matcher);
            for _ in 0..4 {
                let _ = scene.reconcile().await;
            }
            let jobs: Vec<Job> = scene.server.all();
            assert_eq!(jobs.len(), 1, "{verb} {plural}/{subresource}: one Job");
            assert_eq!(scene.server.all::<Snapshot>().len(), 1, "{verb} {plural}/{subresource}: one Snapshot");
            assert_eq!(scene.phase(), Some(BackupSessionPhase::Running), "{verb} {plural}/{subresource}");
        }
    }
}

#[tokio::test]
async fn a_second_session_is_skipped_while_one_runs() {
    let scene = Scene::new();
    scene.reconcile().await.unwrap();
    let configuration: BackupConfiguration = scene.server.get(SHOP, "web-backup").unwrap();
    scene.server.put(&fixtures::backup_session(&configuration, "web-2"));
    let second: BackupSession = scene.server.get(SHOP, "web-2").unwrap();
    scene.controller.reconcile(Arc::new(second)).await.unwrap();
    let second: BackupSession = scene.server.get(SHOP, "web-2").unwrap();
    assert_eq!(second.status.unwrap().phase, Some(BackupSessionPhase::Skipped));
}

/// I6 and B8: a deleted session stops its movers, takes its unfinished Snapshot along, and goes.
#[tokio::test]
async fn a_deleted_session_leaves_nothing() {
    let scene = Scene::new();
    scene.reconcile().await.unwrap();
    scene.server.delete::<BackupSession>(SHOP, "web-1");
    scene.reconcile().await.unwrap();
    let snapshots: Vec<Snapshot> = scene.server.all();
    assert!(snapshots.iter().all(|snapshot| snapshot.metadata.deletion_timestamp.is_some()));
    for job in scene.server.all::<Job>() {
        assert!(job.metadata.deletion_timestamp.is_some());
        scene.server.update::<Job>(SHOP, &job.name_any(), |job| job.metadata.finalizers = None);
    }
    if scene.server.get::<BackupSession>(SHOP, "web-1").is_some() {
        scene.reconcile().await.unwrap();
    }
    assert!(scene.server.get::<BackupSession>(SHOP, "web-1").is_none());
}

/// Specification §2.9: what the policy no longer keeps is forgotten by a Job, then its Snapshot is marked and deleted.
#[tokio::test]
async fn retention_goes_by_a_job() {
    let scene = Scene::new();
    let repository: crd_types::Repository = scene.server.get(SHOP, "web-repo").unwrap();
    for day in 1..=9 {
        let mut old = fixtures::snapshot(&repository, &format!("old-{day}"), "earlier");
        old.status = Some(fixtures::object(json!({
            "phase": "Succeeded", "snapshotTime": format!("2020-01-0{day}T00:00:00Z"), "totalComponents": 1,
            "conditions": [{"type": "SnapshotMetadataUploaded", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}],
            "components": {"dump": {
                "driver": "Restic", "path": "repository/v1/nightly/dump", "phase": "Succeeded",
                "resticStats": [{"summary": {"id": format!("{day}").repeat(64), "hostPath": "/data"}}],
            }},
        })));
        scene.server.put(&old);
    }
    scene.run_to_retention().await;
    let retention = |scene: &Scene| {
        let jobs: Vec<Job> = scene.server.all();
        jobs.into_iter().find(|job| job.labels()[labels::WORK] == labels::work::RETENTION)
    };
    let job = retention(&scene).expect("a retention Job");
    assert_eq!(job.name_any(), "retention-policy-web-1");
    assert_eq!(begun(&scene.session())["retention"], 1);

    let views = crate::retention::views(&scene.controller.shared.ctx, &scene.session()).await.unwrap();
    let planner::session::RetentionVerdict::Remove(removals) = &views[0].verdict else { panic!("{views:?}") };
    assert!(!removals.is_empty());
    let mut done = succeeded(&planner::session::target_id("web-repo", "repository/v1/nightly/dump"));
    done.removed = removals.iter().flat_map(|removal| removal.data.iter().map(|(_, id)| id.clone())).collect();
    let gone: Vec<String> = removals.iter().map(|removal| removal.snapshot.clone()).collect();
    let _commands = scene.report("retention", 1, vec![done]);
    scene.reconcile().await.unwrap();
    assert_eq!(scene.phase(), Some(BackupSessionPhase::Succeeded));
    for snapshot in scene.server.all::<Snapshot>() {
        assert_eq!(gone.contains(&snapshot.name_any()), snapshot.annotations().contains_key(annotations::DATA_REMOVED));
        if gone.contains(&snapshot.name_any()) {
            assert!(snapshot.metadata.deletion_timestamp.is_some());
        }
    }
}
