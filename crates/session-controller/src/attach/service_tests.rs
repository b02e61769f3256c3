#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use crd_types::{BackupSession, labels};
use jiff::Timestamp;
use planner::session::ATTEMPTS_ANNOTATION;
use proto_api::common::v1alpha1::{ObjectRef, TransferProgress};
use proto_api::mover::v1alpha1::mover_service_client::MoverServiceClient;
use proto_api::mover::v1alpha1::mover_service_server::MoverServiceServer;
use proto_api::mover::v1alpha1::{
    Assignment, HolderState, LockHolder, LockSeen, Outcome, Progress, Result as TargetResult, SourceErrorPolicy, TargetOutcome,
    target,
};
use proto_api::storage::v1alpha1::access_subject::Subject;
use proto_api::{PROTOCOL_VERSION, audience};
use serde_json::json;
use testkit::{ApiServer, fixtures};
use tonic::Code;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};

use super::*;
use crate::pods::Record;
use crate::test_support::{CLUSTER, JobOf, SHOP, context};

/// A BackupSession with one open Snapshot, its mover's pod, and the service, over a real connection.
struct Scene {
    server: ApiServer,
    ctx: Context,
    uid: String,
    channel: Channel,
}

impl Scene {
    async fn new() -> Self {
        let server = ApiServer::new();
        let ctx = context(&server);
        server.put(&fixtures::node("worker", "machine-of-worker"));
        let configuration = server.put(&fixtures::backup_configuration(SHOP, "web-backup"));
        let repository = server.put(&fixtures::repository(SHOP, "web-repo"));
        let mut session = fixtures::backup_session(&configuration, "web-1");
        session.metadata.annotations = Some([(ATTEMPTS_ANNOTATION.to_owned(), r#"{"dump":1}"#.to_owned())].into());
        session.status = Some(fixtures::object(json!({"snapshots": [{"name": "web-1", "repository": "web-repo"}]})));
        let uid = server.put(&session).metadata.uid.unwrap();
        let mut snapshot = fixtures::snapshot(&repository, "web-1", "web-1");
        snapshot.metadata.labels.get_or_insert_default().insert(labels::SESSION_UID.to_owned(), uid.clone());
        snapshot.status = Some(fixtures::object(json!({"totalComponents": 1, "components": {
            "dump": {"phase": "Pending", "path": "repository/v1/nightly/dump"}}})));
        server.put(&snapshot);
        let job = JobOf {
            kind: "BackupSession",
            session: "web-1",
            session_uid: &uid,
            name: "job",
            component: "dump",
            attempt: 1,
            work: "backup",
        };
        server.put(&job.job());
        server.put(&job.pod("mover"));
        server.answer_tokens(|token, audiences| {
            let known = token == "token-of-mover" && audiences.iter().any(|wanted| wanted == audience::SESSION);
            known.then(|| fixtures::service_account_user(SHOP, "nobody", "mover", "worker"))
        });
        let channel = serve(ctx.clone()).await;
        Self { server, ctx, uid, channel }
    }

    /// Dials and says Hello.
    async fn dial(&self) -> Result<Mover, Status> {
        let (outbound, requests) = mpsc::channel(16);
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            session: Some(ObjectRef::named("BackupSession", SHOP, "web-1").with_uid(self.uid.clone())),
            component: "dump".to_owned(),
            attempt: 1,
            mover_version: "test".to_owned(),
        };
        outbound.send(AttachRequest { message: Some(attach_request::Message::Hello(hello)) }).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(requests));
        request.metadata_mut().insert("authorization", "Bearer token-of-mover".parse().unwrap());
        let inbound = MoverServiceClient::new(self.channel.clone()).attach(request).await?.into_inner();
        Ok(Mover { outbound, inbound })
    }
}

async fn serve(ctx: Context) -> Channel {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let service = MoverServiceServer::new(MoverServer::new(ctx, CancellationToken::new()));
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// The other end.
struct Mover {
    outbound: mpsc::Sender<AttachRequest>,
    inbound: Streaming<AttachResponse>,
}

impl Mover {
    async fn say(&self, message: attach_request::Message) {
        self.outbound.send(AttachRequest { message: Some(message) }).await.unwrap();
    }

    async fn hear(&mut self) -> attach_response::Message {
        let heard = timeout(Duration::from_secs(5), self.inbound.message()).await.expect("an answer in time");
        heard.unwrap().expect("the stream goes on").message.unwrap()
    }

    async fn assignment(&mut self) -> Assignment {
        match self.hear().await {
            attach_response::Message::Assignment(assignment) => assignment,
            other => panic!("the first message is the assignment, not {other:?}"),
        }
    }
}

fn outcome() -> Outcome {
    let result = TargetResult::Succeeded.into();
    Outcome { targets: vec![TargetOutcome { target_id: "web-repo".into(), result, ..Default::default() }], ..Default::default() }
}

/// Waits for something that another task does.
async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come about");
}

/// Architecture §5: Hello, Assignment, Progress, LockSeen and its verdict, Outcome, and Ack once it is written.
#[tokio::test]
async fn a_conversation_goes_from_hello_to_ack() {
    let scene = Scene::new().await;
    assert_eq!(scene.dial().await.err().unwrap().code(), Code::Unavailable, "not leading yet: the mover passes on");
    scene.ctx.registry.open();
    let mut mover = scene.dial().await.unwrap();

    let assignment = mover.assignment().await;
    assert_eq!((assignment.cluster_uid.as_str(), assignment.machine_id.as_str()), (CLUSTER, "machine-of-worker"));
    assert_eq!(assignment.source_errors(), SourceErrorPolicy::Unspecified);
    let [target] = assignment.targets.as_slice() else { panic!("{assignment:?}") };
    assert_eq!((target.id.as_str(), target.component_path.as_str()), ("web-repo", "repository/v1/nightly/dump"));
    let Some(target::Work::Backup(work)) = &target.work else { panic!("{target:?}") };
    assert_eq!(work.host, "host-0");
    assert_eq!(work.tags, [format!("orlop.dev/session-uid={}", scene.uid), "orlop.dev/component=dump".to_owned()]);
    let Some(Subject::BackupSession(access)) = target.subject.as_ref().and_then(|subject| subject.subject.as_ref()) else {
        panic!("{target:?}");
    };
    assert_eq!(access.repository.as_ref().unwrap().name, "web-repo");

    let transfer = Some(TransferProgress { bytes_done: 5, bytes_total: 9, ..Default::default() });
    mover.say(attach_request::Message::Progress(Progress { target_id: "web-repo".into(), path: "/data".into(), transfer })).await;
    let registry = &scene.ctx.registry;
    until(|| !registry.progress(&scene.uid).is_empty()).await;
    assert_eq!(registry.progress(&scene.uid)[0].paths[0].1.bytes_done, 5);

    let record = Record { at: Timestamp::now(), machine_id: "machine-of-worker".into(), node: "worker".into() };
    scene.ctx.records.remember(&[("dead".to_owned(), record)].into(), Timestamp::now()).await.unwrap();
    let holder = LockHolder {
        lock_id: "lock".into(),
        cluster_uid: CLUSTER.into(),
        pod_uid: "dead".into(),
        machine_id: "machine-of-worker".into(),
        ..Default::default()
    };
    mover.say(attach_request::Message::LockSeen(LockSeen { target_id: "web-repo".into(), holder: Some(holder) })).await;
    let attach_response::Message::LockVerdict(verdict) = mover.hear().await else { panic!("a verdict is due") };
    assert_eq!((verdict.state(), verdict.lock_id.as_str()), (HolderState::Dead, "lock"));

    mover.say(attach_request::Message::Outcome(outcome())).await;
    until(|| !registry.reports(&scene.uid).is_empty()).await;
    registry.recorded(&scene.uid, &registry.reports(&scene.uid));
    assert!(matches!(mover.hear().await, attach_response::Message::Ack(_)));
    drop(mover);
    until(|| !registry.is_attached(&scene.uid, "dump")).await;
}

/// Limits stand in the assignment, and reach a mover that is attached when they change.
#[tokio::test]
async fn limits_are_assigned_and_updated() {
    let scene = Scene::new().await;
    scene.ctx.registry.open();
    scene.server.update::<crd_types::BackupConfiguration>(SHOP, "web-backup", |configuration| {
        let annotations = configuration.metadata.annotations.get_or_insert_default();
        annotations.insert("orlop.dev/upload-limit".into(), "1Mi".into());
        annotations.insert("orlop.dev/download-limit".into(), "3Mi".into());
    });
    scene.server.update::<BackupSession>(SHOP, "web-1", |session| {
        session.metadata.annotations.as_mut().unwrap().insert("orlop.dev/upload-limit".into(), "2Mi".into());
    });
    let mut mover = scene.dial().await.unwrap();
    let limits = mover.assignment().await.limits.unwrap();
    assert_eq!((limits.upload_bytes_per_second, limits.download_bytes_per_second), (2 << 20, 3 << 20));
    until(|| scene.ctx.registry.is_attached(&scene.uid, "dump")).await;
    let faster = planner::bandwidth::Bandwidth { upload: 5 << 20, download: 0 };
    scene.ctx.registry.limit(&scene.uid, faster, &[]);
    let attach_response::Message::UpdateLimits(update) = mover.hear().await else { panic!("new limits are due") };
    let limits = update.limits.unwrap();
    assert_eq!((limits.upload_bytes_per_second, limits.download_bytes_per_second), (5 << 20, 0));
}

#[tokio::test]
async fn a_mover_is_told_to_stop_and_that_the_session_is_over() {
    let scene = Scene::new().await;
    scene.ctx.registry.open();
    let mut mover = scene.dial().await.unwrap();
    mover.assignment().await;
    until(|| scene.ctx.registry.is_attached(&scene.uid, "dump")).await;
    scene.ctx.registry.cancel_jobs(&scene.uid, &["job".to_owned()], "deadline exceeded");
    let attach_response::Message::Cancel(cancel) = mover.hear().await else { panic!("cancel is due") };
    assert_eq!(cancel.reason, "deadline exceeded");
    scene.ctx.registry.forget(&scene.uid);
    assert_eq!(mover.inbound.message().await.unwrap_err().code(), Code::FailedPrecondition);
}

/// What was recorded is not assigned again, and the user's word about unreadable files is passed on.
#[tokio::test]
async fn an_assignment_holds_what_is_open() {
    let scene = Scene::new().await;
    scene.ctx.registry.open();
    scene.server.update::<crd_types::Snapshot>(SHOP, "web-1", |snapshot| {
        let components = &mut snapshot.status.as_mut().unwrap().components;
        components.get_mut("dump").unwrap().phase = Some(crd_types::SnapshotPhase::Succeeded);
    });
    scene.server.update::<BackupSession>(SHOP, "web-1", |session| {
        session.metadata.annotations.as_mut().unwrap().insert("orlop.dev/source-errors".into(), "report".into());
    });
    let assignment = scene.dial().await.unwrap().assignment().await;
    assert!(assignment.targets.is_empty(), "{assignment:?}");
    assert_eq!(assignment.source_errors(), SourceErrorPolicy::Report);
    scene.server.update::<BackupSession>(SHOP, "web-1", |session| {
        session.metadata.annotations.as_mut().unwrap().insert("orlop.dev/source-errors".into(), "fail".into());
    });
    assert_eq!(scene.dial().await.unwrap().assignment().await.source_errors(), SourceErrorPolicy::Fail);
}
