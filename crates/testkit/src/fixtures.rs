//! Objects that many tests need, as small as they can be while still being complete.
//!
//! Everything lives in namespace `shop` unless said otherwise: a Deployment `web` with a claim `data` at `/data`, a
//! BackupStorage `main` and a RetentionPolicy `keep` that it may use, and a BackupConfiguration `web-backup`.

use crd_types::{
    Addon, BackupConfiguration, BackupSession, BackupStorage, Function, Repository, RestoreSession, RetentionPolicy, Snapshot,
};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    authentication::v1::UserInfo,
    batch::v1::Job,
    core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The namespace of the fixtures.
pub const NAMESPACE: &str = "shop";

/// Any object from its JSON.
///
/// # Panics
/// When it does not parse.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
pub fn object<K: DeserializeOwned>(value: Value) -> K {
    match serde_json::from_value(value.clone()) {
        Ok(object) => object,
        Err(error) => panic!("fixture does not parse: {error}: {value}"),
    }
}

/// A namespace with the label every real one has.
#[must_use]
pub fn namespace(name: &str) -> Namespace {
    object(
        json!({ "metadata": { "name": name, "uid": format!("uid-namespace-{name}"), "labels": { "kubernetes.io/metadata.name": name } } }),
    )
}

/// A node that reports `machine_id`.
#[must_use]
pub fn node(name: &str, machine_id: &str) -> Node {
    object(json!({
        "metadata": { "name": name },
        "status": { "nodeInfo": {
            "machineID": machine_id, "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "",
            "kubeProxyVersion": "", "kubeletVersion": "", "operatingSystem": "linux", "osImage": "", "systemUUID": "",
        } },
    }))
}

/// A Secret with one value.
#[must_use]
pub fn secret(namespace: &str, name: &str, key: &str, value: &str) -> Secret {
    let mut secret: Secret = object(json!({ "metadata": { "namespace": namespace, "name": name } }));
    secret.data = Some([(key.to_owned(), k8s_openapi::ByteString(value.as_bytes().to_vec()))].into());
    secret
}

/// A ready S3 BackupStorage that every namespace may use.
#[must_use]
pub fn backup_storage(namespace: &str, name: &str) -> BackupStorage {
    object(json!({
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "storage": { "provider": "s3", "s3": {
                "bucket": "backups", "endpoint": "https://s3.example.com", "region": "eu", "prefix": name, "secretName": "s3-credentials",
            } },
            "usagePolicy": { "allowedNamespaces": { "from": "All" } },
            "deletionPolicy": "Delete",
        },
        "status": { "phase": "Ready" },
    }))
}

/// A RetentionPolicy that every namespace may use.
#[must_use]
pub fn retention_policy(namespace: &str, name: &str) -> RetentionPolicy {
    object(json!({
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "successfulSnapshots": { "last": 3 }, "usagePolicy": { "allowedNamespaces": { "from": "All" } } },
    }))
}

/// The workload addon with the tasks `logical-backup` and `logical-backup-restore`.
#[must_use]
pub fn addon() -> Addon {
    object(json!({
        "metadata": { "name": "workload-addon" },
        "spec": {
            "backupTasks": [{
                "name": "logical-backup", "driver": "Restic", "executor": "Job", "singleton": false,
                "function": "workload-backup",
                "parameters": [
                    { "name": "paths", "usage": "paths to back up", "required": false },
                    { "name": "exclude", "usage": "patterns to leave out", "required": false },
                    { "name": "enableCache", "usage": "", "required": false, "default": "true" },
                ],
            }],
            "restoreTasks": [{
                "name": "logical-backup-restore", "driver": "Restic", "executor": "Job", "singleton": false,
                "function": "workload-restore",
                "parameters": [],
            }],
        },
    }))
}

/// A Function that runs the mover.
#[must_use]
pub fn function(name: &str, verb: &str) -> Function {
    object(json!({
        "metadata": { "name": name },
        "spec": {
            "image": "example.com/orlop-data-mover:test",
            "args": ["agent", verb, "--paths=${paths:=}", "--exclude=${exclude:=}"],
        },
    }))
}

/// A Deployment that mounts the claim `data` at `/data`.
#[must_use]
pub fn deployment(namespace: &str, name: &str) -> Deployment {
    object(json!({
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": {
                    "containers": [{ "name": "app", "image": "example.com/app", "volumeMounts": [{ "name": "data", "mountPath": "/data" }] }],
                    "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }],
                },
            },
        },
    }))
}

/// The ReplicaSet of a Deployment that the API server holds, and the pod of it that runs on `node`.
#[must_use]
pub fn pod_of(deployment: &Deployment, node: &str) -> (ReplicaSet, Pod) {
    let [namespace, name, uid] = [&deployment.metadata.namespace, &deployment.metadata.name, &deployment.metadata.uid]
        .map(|part| part.as_deref().unwrap_or_default());
    let replica_set_uid = format!("uid-replica-set-{name}");
    let replica_set = object(json!({
        "metadata": {
            "namespace": namespace, "name": format!("{name}-1"), "uid": replica_set_uid,
            "annotations": { "deployment.kubernetes.io/revision": "1" },
            "ownerReferences": owners(Some(["apps/v1", "Deployment", name, uid])),
        },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "app": name } } },
    }));
    let owner = ["apps/v1", "ReplicaSet", &format!("{name}-1"), &replica_set_uid];
    (replica_set, pod(namespace, &format!("{name}-1-0"), node, Some(owner)))
}

/// A bound ReadWriteOnce claim of the volume `pv-<name>`.
#[must_use]
pub fn claim(namespace: &str, name: &str) -> PersistentVolumeClaim {
    object(json!({
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "accessModes": ["ReadWriteOnce"], "volumeName": format!("pv-{name}"), "volumeMode": "Filesystem" },
        "status": { "phase": "Bound" },
    }))
}

/// The volume behind [`claim`].
#[must_use]
pub fn volume(claim: &str) -> PersistentVolume {
    object(json!({
        "metadata": { "name": format!("pv-{claim}") },
        "spec": { "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Gi" }, "volumeMode": "Filesystem" },
    }))
}

/// A running pod on `node`, controlled by `owner` (apiVersion, kind, name, uid) if there is one.
#[must_use]
pub fn pod(namespace: &str, name: &str, node: &str, owner: Option<[&str; 4]>) -> Pod {
    object(json!({
        "metadata": { "namespace": namespace, "name": name, "uid": format!("uid-pod-{name}"), "ownerReferences": owners(owner) },
        "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "example.com/app" }] },
        "status": { "phase": "Running" },
    }))
}

/// A Job, controlled by `owner` (apiVersion, kind, name, uid) if there is one.
#[must_use]
pub fn job(namespace: &str, name: &str, owner: Option<[&str; 4]>) -> Job {
    object(json!({
        "metadata": { "namespace": namespace, "name": name, "uid": format!("uid-job-{name}"), "ownerReferences": owners(owner) },
        "spec": { "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "main", "image": "example.com/app" }] } } },
    }))
}

fn owners(owner: Option<[&str; 4]>) -> Value {
    match owner {
        Some([api_version, kind, name, uid]) => {
            json!([{ "apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true }])
        }
        None => Value::Null,
    }
}

/// A BackupConfiguration of the Deployment `web`: storage `main`, policy `keep`, one session `nightly`, Repository
/// `web-repo` in directory `web`, password in Secret `encryption`.
#[must_use]
pub fn backup_configuration(namespace: &str, name: &str) -> BackupConfiguration {
    object(json!({
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "target": { "apiGroup": "apps", "kind": "Deployment", "name": "web", "namespace": namespace },
            "backends": [{ "name": "s3", "storageRef": { "name": "main", "namespace": namespace }, "retentionPolicy": { "name": "keep", "namespace": namespace } }],
            "sessions": [{
                "name": "nightly",
                "scheduler": { "schedule": "0 2 * * *", "jobTemplate": { "backoffLimit": 1 } },
                "repositories": [{ "name": "web-repo", "backend": "s3", "directory": "web", "encryptionSecret": { "name": "encryption", "namespace": namespace } }],
                "addon": { "name": "workload-addon", "tasks": [{ "name": "logical-backup", "params": { "paths": "/data" } }] },
            }],
        },
    }))
}

/// The ready Repository of [`backup_configuration`].
#[must_use]
pub fn repository(namespace: &str, name: &str) -> Repository {
    object(json!({
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "appRef": { "apiGroup": "apps", "kind": "Deployment", "name": "web", "namespace": namespace },
            "storageRef": { "name": "main", "namespace": namespace },
            "path": "web",
            "encryptionSecret": { "name": "encryption", "namespace": namespace },
            "deletionPolicy": "Delete",
        },
        "status": { "phase": "Ready", "conditions": [{
            "type": "RepositoryInitialized", "status": "True", "reason": "RepositoryInitializationSucceeded", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }] },
    }))
}

/// A BackupSession of session `nightly` of the BackupConfiguration `owner`.
#[must_use]
pub fn backup_session(owner: &BackupConfiguration, name: &str) -> BackupSession {
    object(json!({
        "metadata": {
            "namespace": owner.metadata.namespace, "name": name,
            "labels": { "kubestash.com/invoker-name": owner.metadata.name },
            "ownerReferences": [{
                "apiVersion": "core.kubestash.com/v1alpha1", "kind": "BackupConfiguration", "name": owner.metadata.name,
                "uid": owner.metadata.uid.as_deref().unwrap_or_default(), "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "invoker": { "apiGroup": "core.kubestash.com", "kind": "BackupConfiguration", "name": owner.metadata.name },
            "session": "nightly",
            "retryLeft": 0,
        },
    }))
}

/// A RestoreSession of the newest Snapshot of `web-repo` into the Deployment `web`.
#[must_use]
pub fn restore_session(namespace: &str, name: &str) -> RestoreSession {
    object(json!({
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "target": { "apiGroup": "apps", "kind": "Deployment", "name": "web", "namespace": namespace },
            "dataSource": { "repository": "web-repo", "snapshot": "latest", "encryptionSecret": { "name": "encryption", "namespace": namespace } },
            "addon": { "name": "workload-addon", "tasks": [{ "name": "logical-backup-restore" }] },
        },
    }))
}

/// A Snapshot in `repository` made by `backup_session`.
#[must_use]
pub fn snapshot(repository: &Repository, name: &str, backup_session: &str) -> Snapshot {
    object(json!({
        "metadata": {
            "namespace": repository.metadata.namespace, "name": name,
            "labels": { "kubestash.com/repo-name": repository.metadata.name },
        },
        "spec": {
            "appRef": repository.spec.app_ref,
            "backupSession": backup_session,
            "repository": repository.metadata.name,
            "session": "nightly",
            "snapshotID": "01K7EXAMPXE000000000000000",
            "deletionPolicy": "Delete",
            "type": "FullBackup",
            "version": "v1",
        },
    }))
}

/// The user behind a ServiceAccount token that is bound to a pod.
#[must_use]
pub fn service_account_user(namespace: &str, account: &str, pod: &str, node: &str) -> UserInfo {
    object(json!({
        "username": format!("system:serviceaccount:{namespace}:{account}"),
        "uid": format!("uid-account-{account}"),
        "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}")],
        "extra": {
            "authentication.kubernetes.io/pod-name": [pod],
            "authentication.kubernetes.io/pod-uid": [format!("uid-pod-{pod}")],
            "authentication.kubernetes.io/node-name": [node],
        },
    }))
}
