//! A scenario's own world: namespace, bucket, secrets, storage, workload with files. Nothing is shared between scenarios
//! but the cluster and Orlop itself, so they run side by side.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, condition, phase, short_status, text};
use crate::object_store::{ACCESS_KEY, Bucket, endpoint, secret_key};
use crate::restic::Restic;
use crate::state_dir;

/// Long enough for a session of a few megabytes on two busy cores; a scenario that needs it all is already suspect.
pub const SESSION_LIMIT: Duration = Duration::from_secs(120);
/// For what the controllers do by themselves.
pub const READY_LIMIT: Duration = Duration::from_secs(60);
/// Password of every scenario's repositories: a canary that must show up nowhere.
pub const REPOSITORY_PASSWORD: &str = "e2e-canary-password-7f3a9c";
/// A schedule that never comes due while a test runs, so that only the scenario's own triggers count.
pub const NEVER: &str = "0 0 29 2 *";

/// One scenario's world.
pub struct Tenant {
    /// The cluster.
    pub cluster: Cluster,
    /// The namespace of workload, configuration and, unless the scenario says otherwise, storage.
    pub namespace: String,
    /// The bucket.
    pub bucket: Bucket,
}

/// How a BackupConfiguration differs from the usual one.
pub struct Backup {
    /// Cron expression; [`NEVER`] unless the scenario is about the schedule.
    pub schedule: String,
    /// Value of the task's `paths` parameter.
    pub paths: String,
    /// Directory of the Repository.
    pub directory: String,
    /// Name of the workload that is backed up.
    pub workload: String,
    /// Merged into the session.
    pub session: Value,
    /// Merged into the spec.
    pub spec: Value,
}

impl Default for Backup {
    fn default() -> Self {
        Self {
            schedule: NEVER.into(),
            paths: "/data".into(),
            directory: "/app".into(),
            workload: "app".into(),
            session: json!({}),
            spec: json!({}),
        }
    }
}

impl Tenant {
    /// A namespace and a bucket of the scenario's name.
    pub async fn create(scenario: &str) -> Result<Self> {
        Self::create_with_labels(scenario, json!({})).await
    }

    /// The same with labels on the namespace.
    pub async fn create_with_labels(scenario: &str, labels: Value) -> Result<Self> {
        let cluster = Cluster::connect().await?;
        let namespace = format!("e2e-{scenario}");
        cluster.delete("Namespace", "", &namespace).await?;
        cluster.until_gone("Namespace", "", &namespace, READY_LIMIT).await?;
        cluster
            .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}))
            .await?;
        // What an earlier, failed run left.
        let _ = std::fs::remove_dir_all(state_dir().join("s3/data").join(format!("e2e-{scenario}")));
        let bucket = Bucket::create(&format!("e2e-{scenario}"))?;
        let tenant = Self { cluster, namespace, bucket };
        tenant.secret("s3-credentials", json!({"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": secret_key()?})).await?;
        tenant.secret("repository-password", json!({"RESTIC_PASSWORD": REPOSITORY_PASSWORD})).await?;
        Ok(tenant)
    }

    /// A Secret in the namespace.
    pub async fn secret(&self, name: &str, values: Value) -> Result<()> {
        let manifest = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": self.namespace}, "stringData": values});
        self.cluster.apply(manifest).await.map(drop)
    }

    /// A BackupStorage manifest for the scenario's bucket.
    pub fn storage_manifest(&self, endpoint: &str) -> Value {
        json!({
            "apiVersion": "storage.kubestash.com/v1alpha1", "kind": "BackupStorage",
            "metadata": {"name": "storage", "namespace": self.namespace},
            "spec": {"storage": {"provider": "s3", "s3": {
                "endpoint": endpoint, "bucket": self.bucket.name, "region": "us-east-1", "prefix": "root", "secretName": "s3-credentials"}}}
        })
    }

    /// Storage and retention policy as most scenarios want them, Ready.
    pub async fn storage(&self) -> Result<()> {
        self.storage_at(&endpoint()).await
    }

    /// The same through another endpoint.
    pub async fn storage_at(&self, endpoint: &str) -> Result<()> {
        self.cluster.apply(self.storage_manifest(endpoint)).await?;
        self.retention(json!({"maxRetentionPeriod": "2mo", "successfulSnapshots": {"last": 10}})).await?;
        self.until_phase("BackupStorage", "storage", "Ready", READY_LIMIT).await.map(drop)
    }

    /// The RetentionPolicy.
    pub async fn retention(&self, spec: Value) -> Result<()> {
        let manifest = json!({
            "apiVersion": "storage.kubestash.com/v1alpha1", "kind": "RetentionPolicy",
            "metadata": {"name": "retention", "namespace": self.namespace}, "spec": spec
        });
        self.cluster.apply(manifest).await.map(drop)
    }

    /// The folder behind a workload's volume.
    pub fn volume(&self, claim: &str) -> PathBuf {
        state_dir().join("volumes").join(format!("{}-{claim}", self.namespace))
    }

    /// A claim with a volume of its own on a node.
    pub async fn claim(&self, claim: &str, node: &str) -> Result<PathBuf> {
        let on_node = |folder: &Path| {
            json!({
                "local": {"path": folder},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}
            })
        };
        self.claim_of(claim, "ReadWriteOnce", on_node).await
    }

    async fn claim_of(&self, claim: &str, mode: &str, place: impl Fn(&Path) -> Value) -> Result<PathBuf> {
        let folder = self.volume(claim);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        let name = format!("{}-{claim}", self.namespace);
        self.cluster.delete("PersistentVolume", "", &name).await?;
        self.cluster.until_gone("PersistentVolume", "", &name, READY_LIMIT).await?;
        let mut volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": [mode], "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "e2e", "claimRef": {"namespace": self.namespace, "name": claim}
            }
        });
        merge(&mut volume["spec"], &place(&folder));
        self.cluster.apply(volume).await?;
        self.cluster
            .apply(json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim, "namespace": self.namespace},
                "spec": {"accessModes": [mode], "storageClassName": "e2e", "volumeName": name,
                         "resources": {"requests": {"storage": "1Gi"}}}
            }))
            .await?;
        Ok(folder)
    }

    /// A claim that pods of every node may use at once: both nodes of the cluster see this machine's folders.
    pub async fn shared_claim(&self, claim: &str) -> Result<PathBuf> {
        self.claim_of(claim, "ReadWriteMany", |folder| json!({"hostPath": {"path": folder}})).await
    }

    /// A Deployment of one pod that mounts a claim at `/data`, running as root. Returns the folder behind the claim.
    pub async fn workload(&self, name: &str, node: &str) -> Result<PathBuf> {
        self.workload_with(name, node, json!({}), json!({})).await
    }

    /// The same with a pod and a container security context.
    pub async fn workload_with(&self, name: &str, node: &str, pod_security: Value, container_security: Value) -> Result<PathBuf> {
        let folder = self.claim(name, node).await?;
        self.deployment(name, pod_security, container_security).await?;
        Ok(folder)
    }

    /// A Deployment of one pod that mounts the claim of its name at `/data`.
    pub async fn deployment(&self, name: &str, pod_security: Value, container_security: Value) -> Result<()> {
        self.cluster
            .apply(json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "replicas": 1, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": {"app": name}},
                    "template": {"metadata": {"labels": {"app": name}}, "spec": {
                        "terminationGracePeriodSeconds": 0, "securityContext": pod_security,
                        "containers": [{
                            "name": "app", "image": "orlop.local/busybox:e2e", "imagePullPolicy": "Never",
                            "command": ["/bin/sleep", "1000000"], "securityContext": container_security,
                            "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]}}
                }
            }))
            .await?;
        let available = |object: &Value| object.pointer("/status/readyReplicas").and_then(Value::as_i64) == Some(1);
        self.cluster.until("Deployment", &self.namespace, name, READY_LIMIT, "the workload's pod", available).await.map(drop)
    }

    /// A BackupConfiguration manifest named `backup` with one session `full` into Repository `repository`.
    pub fn backup_manifest(&self, backup: &Backup) -> Value {
        let mut session = json!({
            "name": "full",
            "scheduler": {"schedule": backup.schedule, "jobTemplate": {"backoffLimit": 1}},
            "sessionHistoryLimit": 10,
            "repositories": [{
                "name": "repository", "backend": "backend", "directory": backup.directory,
                "encryptionSecret": {"name": "repository-password", "namespace": self.namespace}}],
            "addon": {"name": "workload-addon", "tasks": [{"name": "logical-backup", "params": {"paths": backup.paths}}]}
        });
        merge(&mut session, &backup.session);
        let mut spec = json!({
            "target": {"apiGroup": "apps", "kind": "Deployment", "name": backup.workload, "namespace": self.namespace},
            "backends": [{
                "name": "backend", "storageRef": {"name": "storage", "namespace": self.namespace},
                "retentionPolicy": {"name": "retention", "namespace": self.namespace}}],
            "sessions": [session]
        });
        merge(&mut spec, &backup.spec);
        json!({"apiVersion": "core.kubestash.com/v1alpha1", "kind": "BackupConfiguration",
               "metadata": {"name": "backup", "namespace": self.namespace}, "spec": spec})
    }

    /// Applies the configuration, waits until it is Ready and returns its initial session's name.
    pub async fn backup(&self, backup: &Backup) -> Result<String> {
        self.cluster.apply(self.backup_manifest(backup)).await?;
        self.until_phase("BackupConfiguration", "backup", "Ready", READY_LIMIT).await?;
        self.session_triggered_by("initial").await
    }

    /// Applies the configuration and waits until its initial session succeeded; returns that session.
    pub async fn backed_up(&self, backup: &Backup) -> Result<Value> {
        let session = self.backup(backup).await?;
        self.succeeded("BackupSession", &session).await
    }

    /// Name of the newest session with that trigger, once there is one.
    pub async fn session_triggered_by(&self, trigger: &str) -> Result<String> {
        let what = format!("a BackupSession triggered by {trigger}");
        let pick = |items: &[Value]| {
            let mut names: Vec<(String, String)> = items
                .iter()
                .filter(|item| trigger_of(item) == trigger)
                .map(|item| (text(item, "/metadata/creationTimestamp"), text(item, "/metadata/name")))
                .collect();
            names.sort();
            names.pop().map(|(_, name)| name)
        };
        self.cluster.until_list("BackupSession", &self.namespace, "", Duration::from_secs(150), &what, pick).await
    }

    /// Starts a session now, as `kubectl create job --from=cronjob/…` does, and returns its name.
    pub async fn trigger(&self) -> Result<String> {
        let before: Vec<String> = self.sessions().await?.iter().map(|item| text(item, "/metadata/name")).collect();
        let cron_job = self.cluster.get("CronJob", &self.namespace, "trigger-backup-full").await?;
        let unique = format!("manual-{}", before.len());
        let manifest = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": unique, "namespace": self.namespace, "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob", "controller": true,
                                     "name": text(&cron_job, "/metadata/name"), "uid": text(&cron_job, "/metadata/uid")}]},
            "spec": cron_job.pointer("/spec/jobTemplate/spec")
        });
        self.cluster.apply(manifest).await?;
        let fresh = |items: &[Value]| items.iter().map(|item| text(item, "/metadata/name")).find(|name| !before.contains(name));
        self.cluster.until_list("BackupSession", &self.namespace, "", READY_LIMIT, "the triggered BackupSession", fresh).await
    }

    /// Triggers a session and waits until it succeeded.
    pub async fn back_up_again(&self) -> Result<Value> {
        let session = self.trigger().await?;
        self.succeeded("BackupSession", &session).await
    }

    /// Every BackupSession of the namespace.
    pub async fn sessions(&self) -> Result<Vec<Value>> {
        self.cluster.list("BackupSession", &self.namespace, "").await
    }

    /// A RestoreSession of a Snapshot into a workload of this namespace.
    pub async fn restore(&self, name: &str, workload: &str, snapshot: &str) -> Result<()> {
        self.cluster.apply(self.restore_manifest(name, workload, snapshot)).await.map(drop)
    }

    /// Its manifest.
    pub fn restore_manifest(&self, name: &str, workload: &str, snapshot: &str) -> Value {
        json!({
            "apiVersion": "core.kubestash.com/v1alpha1", "kind": "RestoreSession",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "target": {"apiGroup": "apps", "kind": "Deployment", "name": workload, "namespace": self.namespace},
                "dataSource": {"repository": "repository", "snapshot": snapshot,
                               "encryptionSecret": {"name": "repository-password", "namespace": self.namespace}},
                "addon": {"name": "workload-addon", "tasks": [{"name": "logical-backup-restore"}]}}
        })
    }

    /// Waits for a phase.
    pub async fn until_phase(&self, kind: &str, name: &str, wanted: &str, limit: Duration) -> Result<Value> {
        self.cluster.until(kind, &self.namespace, name, limit, &format!("phase {wanted}"), |object| phase(object) == wanted).await
    }

    /// Waits until a session is complete and fails unless it succeeded.
    pub async fn succeeded(&self, kind: &str, name: &str) -> Result<Value> {
        let object = self.complete(kind, name, SESSION_LIMIT).await?;
        ensure!(phase(&object) == "Succeeded", "{kind} {}/{name}: {}", self.namespace, short_status(&object));
        Ok(object)
    }

    /// Waits until a session is complete and fails unless it failed; returns all that its status says.
    pub async fn failed(&self, kind: &str, name: &str, limit: Duration) -> Result<String> {
        let object = self.complete(kind, name, limit).await?;
        ensure!(phase(&object) == "Failed", "{kind} {}/{name} should have failed: {}", self.namespace, short_status(&object));
        let mut told = short_status(&object);
        for snapshot in object.pointer("/status/snapshots").and_then(Value::as_array).into_iter().flatten() {
            if let Some(snapshot) = self.cluster.find("Snapshot", &self.namespace, &text(snapshot, "/name")).await? {
                told += &format!("; Snapshot: {}", short_status(&snapshot));
            }
        }
        Ok(told)
    }

    /// Waits until a session's phase is final.
    pub async fn complete(&self, kind: &str, name: &str, limit: Duration) -> Result<Value> {
        let is_final = |object: &Value| matches!(phase(object).as_str(), "Succeeded" | "Failed" | "Skipped");
        self.cluster.until(kind, &self.namespace, name, limit, "the end", is_final).await
    }

    /// Waits until a condition of an object is False with a message that names every one of `words`.
    pub async fn complains(&self, kind: &str, name: &str, condition_type: &str, words: &[&str]) -> Result<String> {
        let says = |object: &Value| {
            condition(object, condition_type)
                .is_some_and(|(status, _, message)| status == "False" && words.iter().all(|word| message.contains(word)))
        };
        let what = format!("{condition_type} to be False and to say {words:?}");
        let object = self.cluster.until(kind, &self.namespace, name, READY_LIMIT, &what, says).await?;
        let Some((_, _, message)) = condition(&object, condition_type) else { bail!("{condition_type} went away") };
        Ok(message)
    }

    /// Name of the Snapshot that a BackupSession made.
    pub fn snapshot_of(session: &Value) -> String {
        text(session, "/status/snapshots/0/name")
    }

    /// Stock restic on the repository of component `dump`.
    pub fn restic(&self) -> Restic {
        self.restic_in("app")
    }

    /// The same for another directory.
    pub fn restic_in(&self, directory: &str) -> Restic {
        Restic::new(&self.bucket, &format!("root/{directory}/repository/v1/full/dump"), REPOSITORY_PASSWORD)
    }

    /// The pod of the session's Job for that work, once it runs.
    pub async fn mover_pod(&self, session: &Value) -> Result<Value> {
        let selector = format!("orlop.dev/session-uid={}", text(session, "/metadata/uid"));
        // A pod on its way out is still listed for as long as a finalizer of the Job controller holds it.
        let is_alive = |pod: &Value| phase(pod) == "Running" && pod.pointer("/metadata/deletionTimestamp").is_none();
        let running = |items: &[Value]| items.iter().find(|item| is_alive(item)).cloned();
        self.cluster.until_list("Pod", &self.namespace, &selector, READY_LIMIT, "a running mover pod", running).await
    }

    /// Deletes the scenario's namespace and volumes and waits until they are gone.
    pub async fn remove(self) -> Result<()> {
        self.cluster.delete("Namespace", "", &self.namespace).await?;
        self.cluster.until_gone("Namespace", "", &self.namespace, READY_LIMIT).await?;
        for volume in self.cluster.list("PersistentVolume", "", "").await? {
            if text(&volume, "/spec/claimRef/namespace") == self.namespace {
                self.cluster.delete("PersistentVolume", "", &text(&volume, "/metadata/name")).await?;
            }
        }
        Ok(())
    }
}

/// What started a BackupSession.
pub fn trigger_of(session: &Value) -> String {
    session
        .pointer("/metadata/annotations/orlop.dev~1triggered-by")
        .or_else(|| session.pointer("/metadata/labels/orlop.dev~1triggered-by"))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// Merges `patch` into `value`: objects member by member, all else by replacement.
pub fn merge(value: &mut Value, patch: &Value) {
    match (value, patch) {
        (Value::Object(value), Value::Object(patch)) => {
            for (key, item) in patch {
                merge(value.entry(key.clone()).or_insert(Value::Null), item);
            }
        }
        (value, patch) => *value = patch.clone(),
    }
}
