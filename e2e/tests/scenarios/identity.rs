//! Who the mover runs as, and what it may do.

use e2e::cluster::text;
use e2e::files;
use e2e::tenant::{Backup, READY_LIMIT, SESSION_LIMIT, Tenant};
use serde_json::{Value, json};

/// A workload that is not root, with fsGroup, in a namespace that enforces Pod Security `restricted`. Scaled to zero
/// between two sessions, the second, unchanged run reads no byte of any file: no mount changed an owner or a ctime.
#[tokio::test]
async fn restricted_and_unchanged() {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let tenant = Tenant::create_with_labels("restricted", labels).await.unwrap();
    tenant.storage().await.unwrap();
    let pod = json!({"runAsNonRoot": true, "runAsUser": 12345, "fsGroup": 23456, "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}});
    let container = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let volume = tenant.workload_with("app", "node1", pod, container).await.unwrap();
    files::make_tree(&volume).unwrap();
    let owner = std::process::Command::new("chown").args(["-R", "12345:23456"]).arg(&volume).status().unwrap();
    assert!(owner.success());

    let session = tenant.backed_up(&Backup::default()).await.unwrap();
    let jobs = tenant
        .cluster
        .list("Job", &tenant.namespace, &format!("orlop.dev/session-uid={}", text(&session, "/metadata/uid")))
        .await
        .unwrap();
    let security = jobs[0].pointer("/spec/template/spec/securityContext").cloned().unwrap_or_default();
    let container_security = jobs[0].pointer("/spec/template/spec/containers/0/securityContext").cloned().unwrap_or_default();
    let user = security.pointer("/runAsUser").or_else(|| container_security.pointer("/runAsUser")).and_then(Value::as_i64);
    assert_eq!(user, Some(12345), "the mover does not run as the workload's user: {security} {container_security}");

    tenant.cluster.merge("Deployment", &tenant.namespace, "app", json!({"spec": {"replicas": 0}})).await.unwrap();
    let none = |pods: &[Value]| pods.iter().all(|pod| text(pod, "/metadata/labels/app") != "app").then_some(());
    tenant.cluster.until_list("Pod", &tenant.namespace, "", READY_LIMIT, "the workload's pods to go", none).await.unwrap();
    let second = tenant.back_up_again().await.unwrap();
    let snapshot = tenant.until_phase("Snapshot", &Tenant::snapshot_of(&second), "Succeeded", SESSION_LIMIT).await.unwrap();
    let (_, _, measured) = e2e::cluster::condition(&snapshot, "orlop.dev/Transfer").expect("condition orlop.dev/Transfer");
    assert!(measured.contains(", 0 bytes read"), "the unchanged run read file content: {measured}");
    tenant.remove().await.unwrap();
}

/// Movers and trigger pods hold no Kubernetes permission: none of their pods mounts a token for the API server.
#[tokio::test]
async fn movers_hold_no_permission() {
    let tenant = Tenant::create("no-permission").await.unwrap();
    tenant.storage().await.unwrap();
    files::make_tree(&tenant.workload("app", "node1").await.unwrap()).unwrap();
    tenant.backed_up(&Backup::default()).await.unwrap();
    tenant.back_up_again().await.unwrap();
    let pods = tenant.cluster.list("Pod", &tenant.namespace, "app.kubernetes.io/managed-by=kubestash.com").await.unwrap();
    assert!(!pods.is_empty());
    for pod in &pods {
        let name = text(pod, "/metadata/name");
        assert_eq!(pod.pointer("/spec/automountServiceAccountToken"), Some(&json!(false)), "{name}");
        for volume in pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten() {
            for source in volume.pointer("/projected/sources").and_then(Value::as_array).into_iter().flatten() {
                if let Some(token) = source.get("serviceAccountToken") {
                    assert!(text(token, "/audience").starts_with("orlop-"), "{name} has a token for {token}");
                }
            }
        }
    }
    // Where the administrator wants it, each session brings leave to speak for its own movers.
    let sessions = tenant.sessions().await.unwrap();
    for session in &sessions {
        let uid = text(session, "/metadata/uid");
        let policy = tenant.cluster.get("NetworkPolicy", &tenant.namespace, &format!("orlop-movers-{uid}")).await.unwrap();
        assert_eq!(policy.pointer("/spec/podSelector"), Some(&json!({"matchLabels": {"orlop.dev/session-uid": uid}})));
    }
    let configuration = text(&sessions[0], "/metadata/ownerReferences/0/uid");
    let policy = format!("orlop-triggers-{configuration}");
    tenant.cluster.get("NetworkPolicy", &tenant.namespace, &policy).await.unwrap();
    let account = text(&pods[0], "/spec/serviceAccountName");
    let answer = tokio::process::Command::new(e2e::tools_dir().join("kubectl"))
        .args(["auth", "can-i", "--list", "--namespace", &tenant.namespace])
        .arg(format!("--as=system:serviceaccount:{}:{account}", tenant.namespace))
        .output()
        .await
        .unwrap();
    let rules = String::from_utf8_lossy(&answer.stdout);
    for resource in ["secrets", "pods ", "jobs", "kubestash"] {
        assert!(!rules.contains(resource), "ServiceAccount {account} may touch {resource}:\n{rules}");
    }
    tenant.remove().await.unwrap();
}
