#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crd_types::annotations;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use proto_api::common::v1alpha1::ObjectRef;
use proto_api::status::{ErrorCode, ServiceError as _};
use testkit::{ApiServer, fixtures};

use super::*;
use crate::test_support::{JobOf, SHOP, context};

/// A running BackupSession with one Job and its pod, whose token is `token-of-<pod>`.
struct Scene {
    server: ApiServer,
    uid: String,
}

impl Scene {
    fn new() -> Self {
        let server = ApiServer::new();
        let configuration = server.put(&fixtures::backup_configuration(SHOP, "web-backup"));
        let mut session = fixtures::backup_session(&configuration, "web-1");
        session.metadata.annotations = Some([(session::ATTEMPTS_ANNOTATION.to_owned(), r#"{"dump":1}"#.to_owned())].into());
        let session = server.put(&session);
        let scene = Self { uid: session.metadata.uid.clone().unwrap(), server };
        scene.add(&scene.job("job", 1), "mover");
        scene.server.answer_tokens(|token, audiences| {
            let pod = token.strip_prefix("token-of-")?;
            audiences
                .iter()
                .any(|wanted| wanted == audience::SESSION)
                .then(|| fixtures::service_account_user(SHOP, "nobody", pod, "worker"))
        });
        scene
    }

    fn job<'a>(&'a self, name: &'a str, attempt: u32) -> JobOf<'a> {
        let kind = "BackupSession";
        JobOf { kind, session: "web-1", session_uid: &self.uid, name, component: "dump", attempt, work: "backup" }
    }

    fn add(&self, job: &JobOf<'_>, pod: &str) {
        self.server.put(&job.job());
        self.server.put(&job.pod(pod));
    }

    fn hello(&self) -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            session: Some(ObjectRef::named("BackupSession", SHOP, "web-1").with_uid(self.uid.clone())),
            component: "dump".to_owned(),
            attempt: 1,
            mover_version: "test".to_owned(),
        }
    }

    async fn ask(&self, token: &str, hello: Hello) -> Result<Claim, AttachError> {
        authorise(&context(&self.server), token, &hello).await.map(|(claim, _)| claim)
    }

    async fn refusal(&self, token: &str, hello: Hello) -> (ErrorCode, String) {
        let error = self.ask(token, hello).await.expect_err("must be refused");
        (error.code(), error.to_string())
    }
}

#[tokio::test]
async fn the_pod_of_the_job_is_attached() {
    let scene = Scene::new();
    let claim = scene.ask("token-of-mover", scene.hello()).await.unwrap();
    assert_eq!((claim.job.as_str(), claim.pod.as_str(), claim.node.as_str()), ("job", "mover", "worker"));
    assert_eq!((claim.kind, claim.work, claim.attempt), (SessionKind::Backup, Work::Backup, 1));
}

/// I12, architecture §5: whatever a pod claims that its token, Job and session do not bear out is refused.
#[tokio::test]
async fn what_cannot_be_proven_is_refused() {
    let scene = Scene::new();
    let hello = || scene.hello();
    let denied = ErrorCode::PermissionDenied;
    let other_session = Hello { session: Some(ObjectRef::named("BackupSession", SHOP, "web-1").with_uid("another")), ..hello() };
    let elsewhere =
        Hello { session: Some(ObjectRef::named("BackupSession", "other", "web-1").with_uid(scene.uid.clone())), ..hello() };
    let of_no_kind = Hello { session: Some(ObjectRef::named("Pod", SHOP, "web-1").with_uid(scene.uid.clone())), ..hello() };
    assert_eq!(scene.refusal("stolen", hello()).await.0, ErrorCode::Unauthenticated);
    assert_eq!(scene.refusal("token-of-mover", other_session).await.0, denied);
    assert_eq!(scene.refusal("token-of-mover", elsewhere).await.0, denied);
    assert_eq!(scene.refusal("token-of-mover", of_no_kind).await.0, denied);
    assert_eq!(scene.refusal("token-of-mover", Hello { component: "dump-pod-0".into(), ..hello() }).await.0, denied);
    assert_eq!(scene.refusal("token-of-mover", Hello { attempt: 2, ..hello() }).await.0, denied);
    assert_eq!(scene.refusal("token-of-nobody", hello()).await.0, denied, "a pod that does not exist");
    let newer = Hello { protocol_version: PROTOCOL_VERSION + 1, ..hello() };
    assert_eq!(scene.refusal("token-of-mover", newer).await.0, ErrorCode::FailedPrecondition);
}

/// A Job with all labels and owners right, made by somebody in the namespace.
#[tokio::test]
async fn a_forged_job_is_refused() {
    let scene = Scene::new();
    let forged = scene.job("forged", 1);
    let mut job = forged.job();
    job.metadata.annotations = Some([(annotations::JOB_PROOF.to_owned(), "00".repeat(32))].into());
    scene.server.put(&job);
    scene.server.put(&forged.pod("forger"));
    let (code, message) = scene.refusal("token-of-forger", scene.hello()).await;
    assert_eq!(code, ErrorCode::PermissionDenied);
    assert!(message.contains("was not made by Orlop"), "{message}");
    // A genuine proof, copied to another Job.
    scene.server.update::<Job>(SHOP, "forged", |job| {
        job.metadata.annotations.clone_from(&scene.job("job", 1).job().metadata.annotations);
    });
    assert_eq!(scene.refusal("token-of-forger", scene.hello()).await.0, ErrorCode::PermissionDenied);
    // A bare pod that names the genuine Job as its owner, beside the Job's own.
    scene.server.put(&scene.job("job", 1).pod("zz-second"));
    assert_eq!(scene.refusal("token-of-zz-second", scene.hello()).await.0, ErrorCode::PermissionDenied);
}

/// Architecture §4.4: an earlier attempt is fenced off; work that is over is over.
#[tokio::test]
async fn what_is_over_ends_the_mover() {
    let scene = Scene::new();
    let over = ErrorCode::FailedPrecondition;
    scene.server.update::<BackupSession>(SHOP, "web-1", |session| {
        session.metadata.annotations = Some([(session::ATTEMPTS_ANNOTATION.to_owned(), r#"{"dump":2}"#.to_owned())].into());
    });
    let (code, message) = scene.refusal("token-of-mover", scene.hello()).await;
    assert_eq!(code, over);
    assert!(message.contains("attempt 2"), "{message}");
    scene.server.update::<BackupSession>(SHOP, "web-1", |session| {
        session.metadata.annotations = None;
        let ended = r#"{"conditions":[{"type":"BackupSkipped","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]}"#;
        session.status = Some(serde_json::from_str(ended).unwrap());
    });
    assert_eq!(scene.refusal("token-of-mover", scene.hello()).await.0, over);
}

/// A token outlives its pod by minutes; what it may do does not.
#[tokio::test]
async fn a_pod_that_has_ended_is_refused() {
    let scene = Scene::new();
    scene.server.update::<Pod>(SHOP, "mover", |pod| {
        pod.status.get_or_insert_default().phase = Some("Succeeded".to_owned());
    });
    assert_eq!(scene.refusal("token-of-mover", scene.hello()).await.0, ErrorCode::PermissionDenied);
}
