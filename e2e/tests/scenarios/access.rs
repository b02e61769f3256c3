//! Who is granted what: usage policies, consent, tokens, and nothing secret where it could be read.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use e2e::cluster::{Cluster, text};
use e2e::files;
use e2e::object_store::secret_key;
use e2e::platform;
use e2e::processes::{Stopped, pids_of_pod};
use e2e::proxy::{Behaviour, Proxy};
use e2e::tenant::{Backup, REPOSITORY_PASSWORD, SESSION_LIMIT, Tenant};
use e2e::{SYSTEM_NAMESPACE, state_dir};
use k8s_openapi::ByteString;
use kube::api::{Patch, PatchParams};
use proto_api::storage::v1alpha1 as pb;
use proto_api::storage::v1alpha1::storage_service_client::StorageServiceClient;
use serde_json::{Value, json};
use tokio::process::Command;
use tonic::Code;
use tonic::transport::Channel;

/// A storage admits only the namespaces of its usage policy, at every use (S-04, specification §1.2.1).
#[tokio::test]
async fn usage_policy_is_checked() {
    // Before any mover runs: what it moves slowly must not be done when the turn comes.
    let _undisturbed = platform::undisturbed().await;
    let proxy = Proxy::start().await.unwrap();
    let owner = Tenant::create("policy-owner").await.unwrap();
    owner.storage_at(proxy.endpoint()).await.unwrap();
    let guest = Tenant::create("policy-guest").await.unwrap();
    guest.retention(json!({"maxRetentionPeriod": "2mo", "successfulSnapshots": {"last": 3}})).await.unwrap();
    let volume = guest.workload("app", "node1").await.unwrap();
    files::make_tree(&volume).unwrap();
    let mut manifest = guest.backup_manifest(&Backup::default());
    manifest["spec"]["backends"][0]["storageRef"]["namespace"] = json!(owner.namespace);
    guest.cluster.apply(manifest).await.unwrap();
    guest.complains("BackupConfiguration", "backup", "ValidationPassed", &["storage", &guest.namespace]).await.unwrap();

    let admit_all = json!({"spec": {"usagePolicy": {"allowedNamespaces": {"from": "All"}}}});
    owner.cluster.merge("BackupStorage", &owner.namespace, "storage", admit_all).await.unwrap();
    let session = guest.session_triggered_by("initial").await.unwrap();
    guest.succeeded("BackupSession", &session).await.unwrap();

    let (mover, session) = running_mover(&guest, &proxy, &volume).await;
    let same_only = json!({"spec": {"usagePolicy": {"allowedNamespaces": {"from": "Same"}}}});
    owner.cluster.merge("BackupStorage", &owner.namespace, "storage", same_only).await.unwrap();
    let words = ["BackupStorage e2e-policy-owner/storage", "e2e-policy-guest", "its own namespace only"];
    until_refused(&guest, &mover, &session, &words).await;
    guest.complains("BackupConfiguration", "backup", "ValidationPassed", &["storage", &guest.namespace]).await.unwrap();
    guest.remove().await.unwrap();
    owner.remove().await.unwrap();
}

/// The mover of a session that takes its time, and the session.
async fn running_mover(tenant: &Tenant, proxy: &Proxy, volume: &Path) -> (Value, Value) {
    files::random_file(&volume.join("big"), 48 << 20).unwrap();
    proxy.set(Behaviour::Throttled(500_000));
    let name = tenant.trigger().await.unwrap();
    let session = tenant.until_phase("BackupSession", &name, "Running", SESSION_LIMIT).await.unwrap();
    (tenant.mover_pod(&session).await.unwrap(), session)
}

/// A mover that is granted access is refused it once what admitted it is withdrawn; caches may take a moment to hear of that.
async fn until_refused(tenant: &Tenant, mover: &Value, session: &Value, words: &[&str]) {
    let service = StorageService::find(&tenant.cluster).await;
    let token = token(tenant, mover).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let refusal = loop {
        match service.issue(&token, subject(tenant, session)).await {
            Err(refusal) => break refusal,
            Ok(_) => assert!(tokio::time::Instant::now() < deadline, "access is still granted"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(refusal.code(), Code::PermissionDenied, "{refusal}");
    assert!(words.iter().all(|word| refusal.message().contains(word)), "{words:?}: {refusal}");
}

/// Another namespace's Secret serves only with its owner's consent, at every use (S-01, architecture §7).
#[tokio::test]
async fn secret_of_another_namespace_needs_consent() {
    // Before any mover runs: what it moves slowly must not be done when the turn comes.
    let _undisturbed = platform::undisturbed().await;
    let proxy = Proxy::start().await.unwrap();
    let owner = Tenant::create("secret-owner").await.unwrap();
    let tenant = Tenant::create("secret-guest").await.unwrap();
    tenant.storage_at(proxy.endpoint()).await.unwrap();
    let volume = tenant.workload("app", "node1").await.unwrap();
    files::make_tree(&volume).unwrap();
    let mut manifest = tenant.backup_manifest(&Backup::default());
    manifest["spec"]["sessions"][0]["repositories"][0]["encryptionSecret"]["namespace"] = json!(owner.namespace);
    tenant.cluster.apply(manifest).await.unwrap();
    tenant
        .complains("BackupConfiguration", "backup", "ValidationPassed", &["repository-password", &owner.namespace])
        .await
        .unwrap();

    let consent = json!({"metadata": {"annotations": {"orlop.dev/allow-namespaces": tenant.namespace}}});
    owner.cluster.merge("Secret", &owner.namespace, "repository-password", consent).await.unwrap();
    let session = tenant.session_triggered_by("initial").await.unwrap();
    tenant.succeeded("BackupSession", &session).await.unwrap();

    let (mover, session) = running_mover(&tenant, &proxy, &volume).await;
    let withdrawn = json!({"metadata": {"annotations": {"orlop.dev/allow-namespaces": null}}});
    owner.cluster.merge("Secret", &owner.namespace, "repository-password", withdrawn).await.unwrap();
    let words = ["Secret e2e-secret-owner/repository-password", "e2e-secret-guest", "orlop.dev/allow-namespaces"];
    until_refused(&tenant, &mover, &session, &words).await;
    tenant.remove().await.unwrap();
    owner.remove().await.unwrap();
}

/// IssueAccess answers the session's own mover and nobody else: not a foreign pod, not an expired token, not a forged owner
/// chain, not another session's id, not a finished session (architecture §5, S-51).
#[tokio::test]
async fn issue_access_refuses_everybody_else() {
    // Before any mover runs: what it moves slowly must not be done when the turn comes.
    let _undisturbed = platform::undisturbed().await;
    let proxy = Proxy::start().await.unwrap();
    let tenant = Tenant::create("issue-access").await.unwrap();
    tenant.storage_at(proxy.endpoint()).await.unwrap();
    let volume = tenant.workload("app", "node1").await.unwrap();
    files::random_file(&volume.join("big"), 48 << 20).unwrap();
    proxy.set(Behaviour::Throttled(500_000));
    let name = tenant.backup(&Backup::default()).await.unwrap();
    let session = tenant.until_phase("BackupSession", &name, "Running", SESSION_LIMIT).await.unwrap();
    let mover = tenant.mover_pod(&session).await.unwrap();
    let other = session_of_another_configuration(&tenant).await;
    let service = StorageService::find(&tenant.cluster).await;

    let genuine = token(&tenant, &mover).await;
    let granted = service.issue(&genuine, subject(&tenant, &session)).await.expect("the mover itself is answered");
    assert_eq!(granted.repositories.len(), 1);
    assert!(!granted.repositories[0].may_initialise || granted.repositories[0].expected_repository_id.is_empty());

    let bystander = tenant.cluster.list("Pod", &tenant.namespace, "app=app").await.unwrap().remove(0);
    let foreign = token(&tenant, &bystander).await;
    let own = subject(&tenant, &session);
    refused(&service, &foreign, own.clone(), "a foreign pod's token", Code::PermissionDenied, "is not controlled by").await;
    // The same token, minted by this test with its end in the future, is good: it is the end that makes the other bad.
    service.issue(&reissued(&genuine, 600).await, own.clone()).await.expect("a token that has not expired");
    refused(&service, &reissued(&genuine, -600).await, own.clone(), "an expired token", Code::Unauthenticated, "").await;
    let others = subject(&tenant, &other);
    refused(&service, &genuine, others, "another session's id", Code::PermissionDenied, "was not made for").await;
    let forged = token(&tenant, &forged_pod(&tenant, &mover).await).await;
    refused(&service, &forged, own.clone(), "a forged owner chain", Code::PermissionDenied, "no valid proof").await;

    // The mover sleeps, so that it is the session that has ended and not the pod.
    let asleep = Stopped::process(pids_of_pod(&text(&mover, "/metadata/uid"), "data-mover")[0]).await.unwrap();
    let over = json!({"status": {"phase": "Failed"}});
    let sessions = tenant.cluster.api("BackupSession", &tenant.namespace);
    sessions.patch_status(&name, &PatchParams::default(), &Patch::Merge(&over)).await.unwrap();
    refused(&service, &genuine, own, "a finished session", Code::PermissionDenied, "is complete").await;
    drop(asleep);
    tenant.remove().await.unwrap();
}

/// A session that exists and runs beside the scenario's own.
async fn session_of_another_configuration(tenant: &Tenant) -> Value {
    let mut manifest = tenant.backup_manifest(&Backup { directory: "/other".into(), ..Backup::default() });
    manifest["metadata"]["name"] = json!("other");
    manifest["spec"]["sessions"][0]["repositories"][0]["name"] = json!("other");
    tenant.cluster.apply(manifest).await.unwrap();
    let of_other = |items: &[Value]| items.iter().find(|item| text(item, "/metadata/name").starts_with("other")).cloned();
    let what = "the other configuration's session";
    tenant.cluster.until_list("BackupSession", &tenant.namespace, "", SESSION_LIMIT, what, of_other).await.unwrap()
}

fn subject(tenant: &Tenant, session: &Value) -> pb::AccessSubject {
    let reference = |kind: &str, name: String, uid: String| {
        Some(proto_api::common::v1alpha1::ObjectRef { kind: kind.into(), namespace: tenant.namespace.clone(), name, uid })
    };
    pb::AccessSubject {
        subject: Some(pb::access_subject::Subject::BackupSession(pb::BackupSessionAccess {
            backup_session: reference("BackupSession", text(session, "/metadata/name"), text(session, "/metadata/uid")),
            repository: reference("Repository", "repository".into(), String::new()),
            component: "dump".into(),
        })),
    }
}

/// A token of a pod's own, as kubelet would project it.
async fn token(tenant: &Tenant, pod: &Value) -> String {
    let (name, uid) = (text(pod, "/metadata/name"), text(pod, "/metadata/uid"));
    let bound = ["--bound-object-kind", "Pod", "--bound-object-name", &name, "--bound-object-uid", &uid];
    platform::token(&tenant.namespace, &text(pod, "/spec/serviceAccountName"), "orlop-storage", &bound).await.unwrap()
}

/// The same token with an end so many seconds from now, signed with the test cluster's own key: TokenRequest gives none that
/// has ended.
async fn reissued(token: &str, seconds: i64) -> String {
    let script = r#"
set -euo pipefail
encode() { base64 -w0 | tr '+/' '-_' | tr -d '='; }
decode() { local text; text=$(tr -- '-_' '+/'); printf '%s%s' "$text" "$(printf '%*s' $(((4 - ${#text} % 4) % 4)) '' | tr ' ' '=')" | base64 -d; }
header=$(cut -d. -f1 <<<"$1" | tr -d '\n')
claims=$(cut -d. -f2 <<<"$1" | tr -d '\n' | decode | jq -c --argjson until "$(($(date +%s) + $3))" '.iat -= 7200 | .nbf -= 7200 | .exp = $until' | tr -d '\n' | encode)
signature=$(printf '%s.%s' "$header" "$claims" | openssl dgst -sha256 -sign "$2/pki/service-account.key" -binary | encode)
printf '%s.%s.%s' "$header" "$claims" "$signature"
"#;
    let output = Command::new("bash")
        .args(["-c", script, "mint", token])
        .arg(state_dir())
        .arg(seconds.to_string())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A pod that claims to belong to a Job of the session's, made by somebody who may create pods and Jobs.
async fn forged_pod(tenant: &Tenant, mover: &Value) -> Value {
    let owner = text(mover, "/metadata/ownerReferences/0/name");
    let job = tenant.cluster.get("Job", &tenant.namespace, &owner).await.unwrap();
    let mut forged_job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {
        "name": "forged", "namespace": tenant.namespace, "labels": job["metadata"]["labels"], "annotations": job["metadata"]["annotations"],
        "ownerReferences": job["metadata"]["ownerReferences"]}});
    if let Some(labels) = forged_job.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.retain(|key, _| !key.contains("batch.kubernetes.io") && key != "controller-uid" && key != "job-name");
    }
    forged_job["spec"] = json!({"backoffLimit": 0, "template": {"metadata": {"labels": {"forged": "yes"}}, "spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "orlop.local/busybox:e2e", "imagePullPolicy": "Never", "command": ["/bin/sleep", "600"]}]}}});
    tenant.cluster.apply(forged_job).await.unwrap();
    let running = |pods: &[Value]| pods.iter().find(|pod| text(pod, "/status/phase") == "Running").cloned();
    tenant.cluster.until_list("Pod", &tenant.namespace, "forged=yes", SESSION_LIMIT, "the forged pod", running).await.unwrap()
}

async fn refused(service: &StorageService, token: &str, subject: pb::AccessSubject, who: &str, code: Code, why: &str) {
    let status = service.issue(token, subject).await.expect_err(who);
    assert_eq!(status.code(), code, "{who}: {status}");
    assert!(status.message().contains(why), "{who} is refused for another reason: {status}");
}

struct StorageService(Channel);

impl StorageService {
    async fn find(cluster: &Cluster) -> Self {
        Self(platform::dial(cluster, "storage-initializer").await.unwrap())
    }

    async fn issue(&self, token: &str, subject: pb::AccessSubject) -> Result<pb::IssueAccessResponse, tonic::Status> {
        let request = platform::call(token, pb::IssueAccessRequest { subject: Some(subject) }).expect("a token is text");
        StorageServiceClient::new(self.0.clone()).issue_access(request).await.map(tonic::Response::into_inner)
    }
}

/// No credential and no password stands in a pod, event, log, environment, argument list or custom resource (S-60).
#[tokio::test]
async fn nothing_secret_is_shown() {
    let proxy = Proxy::start().await.unwrap();
    let tenant = Tenant::create("secrets").await.unwrap();
    tenant.storage_at(proxy.endpoint()).await.unwrap();
    let volume = tenant.workload("app", "node1").await.unwrap();
    files::random_file(&volume.join("big"), 16 << 20).unwrap();
    proxy.set(Behaviour::Throttled(1_500_000));
    let name = tenant.backup(&Backup::default()).await.unwrap();
    let session = tenant.until_phase("BackupSession", &name, "Running", SESSION_LIMIT).await.unwrap();
    let mover = tenant.mover_pod(&session).await.unwrap();

    let mut places: BTreeMap<String, String> = BTreeMap::new();
    places.extend(process(&mover, "the backup's mover"));
    proxy.set(Behaviour::Faithful);
    let session = tenant.succeeded("BackupSession", &name).await.unwrap();
    proxy.set(Behaviour::Throttled(1_500_000));
    tenant.restore("restore", "app", &Tenant::snapshot_of(&session)).await.unwrap();
    let restore = tenant.until_phase("RestoreSession", "restore", "Running", SESSION_LIMIT).await.unwrap();
    places.extend(process(&tenant.mover_pod(&restore).await.unwrap(), "the restore's mover"));
    proxy.set(Behaviour::Faithful);
    tenant.succeeded("RestoreSession", "restore").await.unwrap();
    // With a trigger pod.
    tenant.back_up_again().await.unwrap();

    let kinds = [
        "Pod",
        "Job",
        "CronJob",
        "ConfigMap",
        "Event",
        "BackupStorage",
        "Repository",
        "Snapshot",
        "BackupConfiguration",
        "BackupSession",
        "RestoreSession",
    ];
    for namespace in [tenant.namespace.as_str(), SYSTEM_NAMESPACE] {
        for kind in kinds {
            places.insert(
                format!("{kind}s of {namespace}"),
                json!(tenant.cluster.list(kind, namespace, "").await.unwrap()).to_string(),
            );
        }
        for pod in tenant.cluster.list("Pod", namespace, "").await.unwrap() {
            let program = text(&pod, "/spec/containers/0/image");
            let log = e2e::processes::log_of_pod(&pod).unwrap();
            let pod = text(&pod, "/metadata/name");
            assert!(!log.is_empty() || !program.contains("orlop-"), "{pod} of {program} has logged nothing");
            if !log.is_empty() {
                places.insert(format!("log of {namespace}/{pod}"), log);
            }
        }
    }
    places.insert("audit log".into(), std::fs::read_to_string(state_dir().join("log/audit.log")).unwrap());
    assert!(places.keys().any(|place| place.contains("/manual-")), "no trigger pod was looked at: {:?}", places.keys());
    let canaries = [("the storage's key", secret_key().unwrap()), ("the repository's password", REPOSITORY_PASSWORD.to_owned())];
    for (what, canary) in canaries {
        let encoded = json!(ByteString(canary.clone().into_bytes())).as_str().unwrap().to_owned();
        for (place, content) in &places {
            assert!(!content.is_empty(), "{place} could not be looked at");
            assert!(!content.contains(&canary), "{what} stands in {place}");
            assert!(!content.contains(&encoded), "{what} stands in {place}, encoded");
        }
    }
    tenant.remove().await.unwrap();
}

/// Environment and arguments of a mover that runs.
fn process(pod: &Value, whose: &str) -> Vec<(String, String)> {
    let pids = pids_of_pod(&text(pod, "/metadata/uid"), "data-mover");
    assert_eq!(pids.len(), 1, "the process of {whose}");
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", pids[0])).unwrap();
    ["environ", "cmdline"].map(|file| (format!("{file} of {whose}"), read(file))).to_vec()
}
