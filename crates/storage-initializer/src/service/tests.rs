//! `IssueAccess` and `RecordRepository` against a simulated API server: one world in which everything is right, and one
//! thing wrong at a time.

#![allow(clippy::unwrap_used, clippy::panic)]

use crd_types::{BackupSession, BackupSessionPhase, BackupStorage, Repository, RestoreSession, Snapshot};
use k8s_openapi::{
    ByteString,
    api::{
        batch::v1::Job,
        core::v1::{ConfigMap, Namespace, Pod, Secret},
    },
};
use kube::ResourceExt as _;
use kube_kit::events::Events;
use planner::{access::SecretRule, names::Owner};
use proto_api::{
    common::v1alpha1::ObjectRef,
    storage::v1alpha1::{
        AccessSubject, BackupSessionAccess, RestoreSessionAccess, RetentionAccess, Verb, access_grant::Grant,
        access_subject::Subject as Wire,
    },
};
use serde_json::json;
use service_kit::job_proof::{JobClaims, ProofKey};
use testkit::{ApiServer, Fault, Matcher, fixtures};
use tonic::Code;

use super::*;
use crate::{
    args::SharedStorageKeys,
    backends::{Ambient, Backends},
    context::Policy,
    metrics::InitializerMetrics,
};

const ORLOP: &str = "orlop-system";
const SHOP: &str = "shop";
const VAULT: &str = "vault";
const TOKEN: &str = "token-of-the-mover";
const PROOF_KEY: [u8; 32] = [7; 32];
const PATH: &str = "repository/v1/nightly/dump";

struct World {
    server: ApiServer,
    api: StorageApi,
    session: BackupSession,
    policy: Policy,
}

impl World {
    fn new() -> Self {
        let server = ApiServer::new();
        for name in [SHOP, VAULT, ORLOP] {
            server.put(&fixtures::namespace(name));
        }
        server.put(&fixtures::backup_storage(VAULT, "main"));
        let mut credentials = fixtures::secret(VAULT, "s3-credentials", "AWS_ACCESS_KEY_ID", "key-id");
        let secret_key = ByteString(b"storage-secret".to_vec());
        credentials.data.as_mut().unwrap().insert("AWS_SECRET_ACCESS_KEY".to_owned(), secret_key);
        server.put(&credentials);
        server.put(&fixtures::secret(SHOP, "encryption", "RESTIC_PASSWORD", "restic-password"));
        let mut proof = fixtures::secret(ORLOP, "orlop-job-proof", "key", "");
        proof.data.as_mut().unwrap().insert("key".to_owned(), ByteString(PROOF_KEY.to_vec()));
        server.put(&proof);

        let mut repository = fixtures::repository(SHOP, "web-repo");
        repository.spec.storage_ref.as_mut().unwrap().namespace = Some(VAULT.to_owned());
        let repository = server.put(&repository);
        let configuration = server.put(&fixtures::backup_configuration(SHOP, "web-backup"));
        let session = server.put(&fixtures::backup_session(&configuration, "web-backup-nightly-1"));
        put_snapshot(&server, &repository, &session);
        put_mover(&server, "BackupSession", &session.name_any(), &session.uid().unwrap(), "dump", "backup");
        server.answer_tokens(|token, audiences| {
            let is_right = token == TOKEN && audiences == ["orlop-storage"];
            is_right.then(|| fixtures::service_account_user(SHOP, "mover", "mover-pod", "node-1"))
        });
        let policy = Policy { shared_storage_keys: SharedStorageKeys::Allow, cross_namespace_secrets: SecretRule::Consent };
        let api = api(&server, policy);
        Self { server, api, session, policy }
    }

    fn with_policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self.api = api(&self.server, self.policy);
        self
    }

    fn subject(&self) -> AccessSubject {
        backup_subject(&self.session, "web-repo", "dump")
    }

    async fn issue(&self) -> Result<IssueAccessResponse, Status> {
        self.issue_for(self.subject(), TOKEN).await
    }

    async fn issue_for(&self, subject: AccessSubject, token: &str) -> Result<IssueAccessResponse, Status> {
        let request = with_token(IssueAccessRequest { subject: Some(subject) }, token);
        self.api.issue_access(request).await.map(Response::into_inner)
    }

    async fn record(&self, path: &str, id: &str) -> Result<String, Status> {
        let request = RecordRepositoryRequest {
            subject: Some(self.subject()),
            component_path: path.to_owned(),
            repository_id: id.to_owned(),
        };
        let answer = self.api.record_repository(with_token(request, TOKEN)).await?;
        Ok(answer.into_inner().repository_id)
    }

    async fn refusal(&self) -> (Code, String) {
        let status = self.issue().await.unwrap_err();
        (status.code(), status.message().to_owned())
    }
}

fn api(server: &ApiServer, policy: Policy) -> StorageApi {
    let client = server.client();
    StorageApi::new(Context {
        backends: Backends::new(client.clone(), Ambient::from_environment()),
        events: Events::new(client.clone(), "orlop-storage-initializer", None),
        client,
        namespace: ORLOP.to_owned(),
        policy,
        metrics: InitializerMetrics::default(),
    })
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

fn backup_subject(session: &BackupSession, repository: &str, component: &str) -> AccessSubject {
    AccessSubject {
        subject: Some(Wire::BackupSession(BackupSessionAccess {
            backup_session: Some(ObjectRef::of(session)),
            repository: Some(ObjectRef::named("Repository", SHOP, repository)),
            component: component.to_owned(),
        })),
    }
}

fn put_snapshot(server: &ApiServer, repository: &Repository, session: &BackupSession) -> Snapshot {
    let owner = |name: String, uid: Option<String>| Owner::new(SHOP, name, uid.unwrap_or_default());
    let name =
        planner::names::snapshot(&owner(repository.name_any(), repository.uid()), &owner(session.name_any(), session.uid()));
    let mut snapshot = fixtures::snapshot(repository, &name.preferred(), &session.name_any());
    snapshot.metadata.owner_references = kube_kit::owners::owner_reference(repository).map(|owner| vec![owner]);
    server.put(&snapshot)
}

/// A Job and its running pod, as the session-controller and the Job controller make them.
fn put_mover(server: &ApiServer, kind: &str, session: &str, uid: &str, component: &str, work: &str) {
    let owner = ["core.kubestash.com/v1alpha1", kind, session, uid];
    let mut job = fixtures::job(SHOP, "mover-job", Some(owner));
    let labels = [
        ("orlop.dev/session-uid", uid),
        ("orlop.dev/session-kind", kind),
        ("orlop.dev/component", component),
        ("orlop.dev/attempt", "1"),
        ("orlop.dev/work", work),
    ];
    job.metadata.labels = Some(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
    let proof = ProofKey::new(&PROOF_KEY).sign(&JobClaims {
        namespace: SHOP,
        job: "mover-job",
        session_kind: kind,
        session_uid: uid,
        component,
        attempt: "1",
        work,
    });
    job.metadata.annotations = Some([("orlop.dev/job-proof".to_owned(), proof)].into());
    server.put(&job);
    let mut pod = fixtures::pod(SHOP, "mover-pod", "node-1", Some(["batch/v1", "Job", "mover-job", "uid-job-mover-job"]));
    let controller = ("batch.kubernetes.io/controller-uid".to_owned(), "uid-job-mover-job".to_owned());
    pod.metadata.labels = Some([controller].into());
    server.put(&pod);
}

/// The one case in which everything is right.
#[tokio::test]
async fn a_running_backup_is_granted_what_it_needs() {
    let world = World::new();
    let granted = world.issue().await.unwrap();
    assert_eq!(granted.repository_password, "restic-password");
    let repository = granted.repositories.first().unwrap();
    assert_eq!(repository.component_path, PATH);
    assert_eq!(repository.key_prefix, format!("main/web/{PATH}"));
    assert!(repository.may_initialise);
    assert_eq!(repository.expected_repository_id, "");
    let Some(Grant::StorageKey(key)) = granted.grant.unwrap().grant else { panic!("not the storage's key") };
    assert_eq!(key.values.get("AWS_SECRET_ACCESS_KEY").map(String::as_str), Some("storage-secret"));
    assert_eq!(key.values.get("AWS_ACCESS_KEY_ID").map(String::as_str), Some("key-id"));
    assert!(!granted.verbs.contains(&i32::from(Verb::DeleteData)), "a backup removes no data");
}

/// The callers that scenario "IssueAccess refuses" names, one by one (I12).
#[tokio::test]
async fn foreign_expired_and_unbound_tokens_are_refused() {
    let world = World::new();
    let status = world.issue_for(world.subject(), "expired").await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let unbound = world.api.issue_access(Request::new(IssueAccessRequest { subject: Some(world.subject()) })).await;
    assert_eq!(unbound.unwrap_err().code(), Code::Unauthenticated);

    world.server.answer_tokens(|_, _| {
        let mut user = fixtures::service_account_user(SHOP, "app", "mover-pod", "node-1");
        user.extra = None;
        Some(user)
    });
    let (code, message) = world.refusal().await;
    assert_eq!(code, Code::PermissionDenied);
    assert!(message.contains("not bound to a pod"), "{message}");

    world.server.put(&fixtures::pod(SHOP, "app-pod", "node-1", None));
    world.server.answer_tokens(|_, _| Some(fixtures::service_account_user(SHOP, "app", "app-pod", "node-1")));
    let (code, message) = world.refusal().await;
    assert_eq!(code, Code::PermissionDenied);
    assert!(message.contains("not controlled by a Job"), "{message}");
}

#[tokio::test]
async fn a_forged_owner_chain_is_refused() {
    // A tenant's Job with all the right labels and owners, but no proof; and one with a proof for other claims.
    for change in [
        (|job: &mut Job| job.metadata.annotations = None) as fn(&mut Job),
        |job| {
            job.metadata.labels.as_mut().unwrap().insert("orlop.dev/component".to_owned(), "dump-pod-1".to_owned());
        },
        |job| {
            job.metadata.annotations.as_mut().unwrap().insert("orlop.dev/job-proof".to_owned(), "00".repeat(32));
        },
    ] {
        let world = World::new();
        world.server.update::<Job>(SHOP, "mover-job", change);
        let (code, message) = world.refusal().await;
        assert_eq!(code, Code::PermissionDenied);
        assert!(message.contains("no valid proof"), "{message}");
    }
    // A proven Job to which somebody gave another owner.
    let world = World::new();
    world.server.update::<Job>(SHOP, "mover-job", |job| {
        job.metadata.owner_references.as_mut().unwrap()[0].uid = "another".to_owned();
    });
    assert_eq!(world.refusal().await.0, Code::PermissionDenied);
}

/// A pod that a tenant adds to a proven Job is not the one that the Job runs.
#[tokio::test]
async fn a_second_pod_of_the_job_is_refused() {
    let world = World::new();
    let owner = Some(["batch/v1", "Job", "mover-job", "uid-job-mover-job"]);
    let mut intruder = fixtures::pod(SHOP, "zz-intruder", "node-1", owner);
    intruder.metadata.labels = Some([("batch.kubernetes.io/controller-uid".to_owned(), "uid-job-mover-job".to_owned())].into());
    world.server.put(&intruder);
    world.server.answer_tokens(|_, _| Some(fixtures::service_account_user(SHOP, "mover", "zz-intruder", "node-1")));
    let (code, message) = world.refusal().await;
    assert_eq!(code, Code::PermissionDenied);
    assert!(message.contains("not the one"), "{message}");
}

#[tokio::test]
async fn a_finished_pod_is_refused() {
    let world = World::new();
    world.server.update::<Pod>(SHOP, "mover-pod", |pod| {
        pod.status.as_mut().unwrap().phase = Some("Succeeded".to_owned());
    });
    assert_eq!(world.refusal().await.0, Code::PermissionDenied);
}

#[tokio::test]
async fn another_session_and_a_finished_session_are_refused() {
    let world = World::new();
    let configuration = fixtures::backup_configuration(SHOP, "other");
    let other = world.server.put(&fixtures::backup_session(&configuration, "other-nightly-1"));
    let status = world.issue_for(backup_subject(&other, "web-repo", "dump"), TOKEN).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);

    world.server.update::<BackupSession>(SHOP, "web-backup-nightly-1", |session| {
        session.status.get_or_insert_default().phase = Some(BackupSessionPhase::Succeeded);
    });
    let (code, message) = world.refusal().await;
    assert_eq!(code, Code::PermissionDenied);
    assert!(message.contains("is complete"), "{message}");
}

#[tokio::test]
async fn a_repository_that_is_not_the_sessions_is_refused() {
    let world = World::new();
    world.server.put(&fixtures::repository(SHOP, "private"));
    let status = world.issue_for(backup_subject(&world.session, "private", "dump"), TOKEN).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("has no Snapshot"), "{}", status.message());
}

/// S-04: the usage policy counts at every use, with the labels of today.
#[tokio::test]
async fn the_usage_policy_is_checked_at_use() {
    let world = World::new();
    let selector = json!({"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"backup": "yes"}}}});
    world.server.update::<BackupStorage>(VAULT, "main", |storage| {
        storage.spec.usage_policy = serde_json::from_value(selector).unwrap();
    });
    let (code, message) = world.refusal().await;
    assert_eq!(code, Code::PermissionDenied);
    assert!(message.contains("BackupStorage vault/main"), "{message}");

    world.server.update::<Namespace>("", SHOP, |namespace| {
        namespace.metadata.labels.get_or_insert_default().insert("backup".to_owned(), "yes".to_owned());
    });
    world.issue().await.unwrap();
}

#[tokio::test]
async fn keys_are_not_shared_where_the_installation_says_so() {
    let world = World::new().with_policy(|policy| policy.shared_storage_keys = SharedStorageKeys::Deny);
    let (code, message) = world.refusal().await;
    assert_eq!(code, Code::PermissionDenied);
    assert!(message.contains("sharedStorageKeys"), "{message}");
}

/// S-01: another namespace's Secret needs its owner's consent.
#[tokio::test]
async fn another_namespaces_password_needs_consent() {
    let world = World::new();
    world.server.update::<Repository>(SHOP, "web-repo", |repository| {
        repository.spec.encryption_secret.as_mut().unwrap().namespace = Some(VAULT.to_owned());
    });
    world.server.put(&fixtures::secret(VAULT, "encryption", "RESTIC_PASSWORD", "of the vault"));
    let (code, message) = world.refusal().await;
    assert_eq!(code, Code::PermissionDenied);
    assert!(message.contains("orlop.dev/allow-namespaces"), "{message}");

    world.server.update::<Secret>(VAULT, "encryption", |secret| {
        secret.metadata.annotations = Some([("orlop.dev/allow-namespaces".to_owned(), SHOP.to_owned())].into());
    });
    assert_eq!(world.issue().await.unwrap().repository_password, "of the vault");
}

#[tokio::test]
async fn missing_objects_are_named_with_a_remedy() {
    let world = World::new();
    world.server.delete::<Secret>(SHOP, "encryption");
    let (code, message) = world.refusal().await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(message.contains("Secret shop/encryption") && message.contains("RESTIC_PASSWORD"), "{message}");

    let world = World::new();
    world.server.delete::<BackupStorage>(VAULT, "main");
    assert_eq!(world.refusal().await.0, Code::NotFound);
}

/// An unanswered question is never a yes, and the mover may try again.
#[tokio::test]
async fn an_unreachable_api_server_is_unavailable() {
    for (verb, resource) in [("get", "backupsessions"), ("get", "configmaps"), ("get", "namespaces"), ("get", "secrets")] {
        let world = World::new();
        world.server.fail_next(Fault::Status(500, "InternalError"), Matcher::of(verb, resource));
        assert_eq!(world.refusal().await.0, Code::Unavailable, "{verb} {resource}");
    }
}

/// Architecture §4.6: a repository that once existed is never initialised again.
#[tokio::test]
async fn a_recorded_repository_is_never_initialised_again() {
    let world = World::new();
    let (first, second) = ("a0".repeat(32), "b1".repeat(32));
    assert_eq!(world.record(PATH, &first).await.unwrap(), first);
    assert_eq!(world.record(PATH, &second).await.unwrap(), first, "the first mover's stands");
    let access = world.issue().await.unwrap().repositories.remove(0);
    assert!(!access.may_initialise);
    assert_eq!(access.expected_repository_id, first);

    // Even when the record is lost, what the Repository has seen counts.
    world.server.delete::<ConfigMap>(ORLOP, &world.server.all::<ConfigMap>()[0].name_any());
    world.server.update::<Repository>(SHOP, "web-repo", |repository| {
        repository.status.get_or_insert_default().component_paths = vec![PATH.to_owned()];
    });
    assert!(!world.issue().await.unwrap().repositories.remove(0).may_initialise);
    assert_eq!(world.record(PATH, &second).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn only_ids_of_granted_paths_are_recorded() {
    let world = World::new();
    let id = "a0".repeat(32);
    let foreign = world.record("repository/v1/weekly/dump", &id).await.unwrap_err();
    assert_eq!(foreign.code(), Code::InvalidArgument);
    assert_eq!(world.record(PATH, "short").await.unwrap_err().code(), Code::InvalidArgument);
    assert!(world.server.all::<ConfigMap>().is_empty());
}

fn retention_subject(session: &BackupSession, paths: &[&str]) -> AccessSubject {
    AccessSubject {
        subject: Some(Wire::Retention(RetentionAccess {
            backup_session: Some(ObjectRef::of(session)),
            repository: Some(ObjectRef::named("Repository", SHOP, "web-repo")),
            component_paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        })),
    }
}

#[tokio::test]
async fn retention_reaches_its_own_sessions_data_only() {
    let world = World::new();
    let uid = world.session.uid().unwrap();
    put_mover(&world.server, "BackupSession", "web-backup-nightly-1", &uid, "retention", "retention");
    let granted = world.issue_for(retention_subject(&world.session, &[PATH]), TOKEN).await.unwrap();
    assert!(granted.verbs.contains(&i32::from(Verb::DeleteData)));
    assert!(!granted.repositories[0].may_initialise, "retention makes nothing");
    for wrong in [&["repository/v1/weekly/dump"][..], &["../elsewhere"], &[]] {
        assert!(world.issue_for(retention_subject(&world.session, wrong), TOKEN).await.is_err(), "{wrong:?}");
    }
    // A backup's pod may not call itself retention.
    put_mover(&world.server, "BackupSession", "web-backup-nightly-1", &uid, "dump", "backup");
    let status = world.issue_for(retention_subject(&world.session, &[PATH]), TOKEN).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_restore_reads_what_its_data_source_means() {
    let world = World::new();
    let snapshot = world.server.all::<Snapshot>().remove(0);
    world.server.update::<Snapshot>(SHOP, &snapshot.name_any(), |snapshot| {
        snapshot.status = serde_json::from_value(json!({"components": {"dump": {"path": PATH}}})).unwrap();
    });
    let session = world.server.put(&fixtures::restore_session(SHOP, "undo"));
    put_mover(&world.server, "RestoreSession", "undo", &session.uid().unwrap(), "dump", "restore");
    let subject = |snapshot: &str| AccessSubject {
        subject: Some(Wire::RestoreSession(RestoreSessionAccess {
            restore_session: Some(ObjectRef::of(&session)),
            snapshot: Some(ObjectRef::named("Snapshot", SHOP, snapshot)),
            component: "dump".to_owned(),
        })),
    };
    let granted = world.issue_for(subject(&snapshot.name_any()), TOKEN).await.unwrap();
    assert_eq!(granted.repositories[0].key_prefix, format!("main/web/{PATH}"));
    assert!(!granted.repositories[0].may_initialise, "a restore makes nothing");

    let stranger = fixtures::snapshot(&fixtures::repository(SHOP, "private"), "private-1", "x");
    world.server.put(&stranger);
    let status = world.issue_for(subject("private-1"), TOKEN).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);

    world.server.update::<RestoreSession>(SHOP, "undo", |session| {
        session.status = serde_json::from_value(json!({"phase": "Failed"})).unwrap();
    });
    let status = world.issue_for(subject(&snapshot.name_any()), TOKEN).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

/// Architecture §6: gRPC never grants more than kubectl, and asks for a deadline.
#[tokio::test]
async fn platform_callers_need_the_rights_that_kubectl_needs() {
    let world = World::new();
    world.server.answer_tokens(|_, audiences| {
        (audiences == ["orlop"]).then(|| fixtures::service_account_user(SHOP, "tool", "tool-pod", "node-1"))
    });
    let request = |deadline: bool| {
        let repository = Some(ObjectRef::named("Repository", SHOP, "web-repo"));
        let mut request = with_token(ListSnapshotsRequest { repository, page: None }, TOKEN);
        if deadline {
            request.metadata_mut().insert("grpc-timeout", "30S".parse().unwrap());
        }
        request
    };
    let status = world.api.list_snapshots(request(false)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = world.api.list_snapshots(request(true)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    world.server.answer_access(|review| {
        review.resource_attributes.as_ref().is_some_and(|wanted| wanted.namespace.as_deref() == Some(SHOP))
    });
    let listed = world.api.list_snapshots(request(true)).await.unwrap().into_inner();
    assert_eq!(listed.snapshots.len(), 1);
}
