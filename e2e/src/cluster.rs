//! The Kubernetes API as the scenarios use it: any kind as JSON, and waiting by watching.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Client, Config};
use serde_json::Value;
use tokio::time::timeout;

/// Kind, API group and version, plural; every kind that a scenario touches.
const KINDS: &[(&str, &str, &str, &str)] = &[
    ("Node", "", "v1", "nodes"),
    ("BackupStorage", "storage.kubestash.com", "v1alpha1", "backupstorages"),
    ("Repository", "storage.kubestash.com", "v1alpha1", "repositories"),
    ("RetentionPolicy", "storage.kubestash.com", "v1alpha1", "retentionpolicies"),
    ("Snapshot", "storage.kubestash.com", "v1alpha1", "snapshots"),
    ("BackupConfiguration", "core.kubestash.com", "v1alpha1", "backupconfigurations"),
    ("BackupBatch", "core.kubestash.com", "v1alpha1", "backupbatches"),
    ("BackupSession", "core.kubestash.com", "v1alpha1", "backupsessions"),
    ("RestoreSession", "core.kubestash.com", "v1alpha1", "restoresessions"),
    ("Addon", "addons.kubestash.com", "v1alpha1", "addons"),
    ("Function", "addons.kubestash.com", "v1alpha1", "functions"),
    ("Deployment", "apps", "v1", "deployments"),
    ("Job", "batch", "v1", "jobs"),
    ("CronJob", "batch", "v1", "cronjobs"),
    ("Pod", "", "v1", "pods"),
    ("Secret", "", "v1", "secrets"),
    ("ResourceQuota", "", "v1", "resourcequotas"),
    ("ConfigMap", "", "v1", "configmaps"),
    ("Namespace", "", "v1", "namespaces"),
    ("PersistentVolume", "", "v1", "persistentvolumes"),
    ("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims"),
    ("ServiceAccount", "", "v1", "serviceaccounts"),
    ("Event", "", "v1", "events"),
    ("Lease", "coordination.k8s.io", "v1", "leases"),
    ("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies"),
    ("Role", "rbac.authorization.k8s.io", "v1", "roles"),
    ("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings"),
];

/// A client of the cluster under test.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

impl Cluster {
    /// Connects to the cluster of `KUBECONFIG`, or to the one `make cluster` brought up.
    pub async fn connect() -> Result<Self> {
        // Several tests of one process come here; the first installs the provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let path = std::env::var_os("KUBECONFIG").map_or_else(|| crate::state_dir().join("admin.kubeconfig"), Into::into);
        let kubeconfig = kube::config::Kubeconfig::read_from(&path)
            .with_context(|| format!("no cluster: {} cannot be read", path.display()))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
        Ok(Self { client: Client::try_from(config)? })
    }

    /// The client itself.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Every object of a kind, in a namespace or, with an empty one, in the cluster.
    pub fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (kind, group, version, plural) = KINDS
            .iter()
            .find(|(name, ..)| *name == kind)
            .copied()
            .unwrap_or_else(|| panic!("{kind} is missing in the table of kinds"));
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        if namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        }
    }

    /// Applies one manifest, as `kubectl apply --server-side` would.
    pub async fn apply(&self, manifest: Value) -> Result<Value> {
        let kind = text(&manifest, "/kind");
        let (name, namespace) = (text(&manifest, "/metadata/name"), text(&manifest, "/metadata/namespace"));
        let parameters = PatchParams::apply("orlop-e2e").force();
        let applied = self
            .api(&kind, &namespace)
            .patch(&name, &parameters, &Patch::Apply(&manifest))
            .await
            .with_context(|| format!("{kind} {namespace}/{name} was not accepted"))?;
        Ok(serde_json::to_value(applied)?)
    }

    /// Reads an object.
    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Value> {
        let object = self.api(kind, namespace).get(name).await.with_context(|| format!("{kind} {namespace}/{name}"))?;
        Ok(serde_json::to_value(object)?)
    }

    /// Reads an object that may be absent.
    pub async fn find(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>> {
        Ok(self.api(kind, namespace).get_opt(name).await?.map(serde_json::to_value).transpose()?)
    }

    /// Lists objects that a label selector picks; an empty selector picks all.
    pub async fn list(&self, kind: &str, namespace: &str, selector: &str) -> Result<Vec<Value>> {
        let list = self.api(kind, namespace).list(&ListParams::default().labels(selector)).await?;
        list.items.into_iter().map(|item| Ok(serde_json::to_value(item)?)).collect()
    }

    /// Merges a patch into an object.
    pub async fn merge(&self, kind: &str, namespace: &str, name: &str, patch: Value) -> Result<()> {
        self.api(kind, namespace).patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// Asks for an object's deletion; fine if it is gone.
    pub async fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<()> {
        match self.api(kind, namespace).delete(name, &DeleteParams::background()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until an object exists and satisfies a condition. `what` completes the sentence "waited for …".
    pub async fn until(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        limit: Duration,
        what: &str,
        condition: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let holds = |object: Option<&DynamicObject>| {
            object.and_then(|object| serde_json::to_value(object).ok()).is_some_and(|value| condition(&value))
        };
        match timeout(limit, await_condition(self.api(kind, namespace), name, holds)).await {
            Ok(Ok(Some(object))) => Ok(serde_json::to_value(object)?),
            Ok(Ok(None)) => bail!("{kind} {namespace}/{name} went away while waiting for {what}"),
            Ok(Err(error)) => Err(anyhow!(error).context(format!("watching {kind} {namespace}/{name}"))),
            Err(_) => {
                let seen = self.find(kind, namespace, name).await?.map_or("not there".to_owned(), |value| short_status(&value));
                bail!("waited {limit:?} in vain for {what}: {kind} {namespace}/{name} is {seen}")
            }
        }
    }

    /// Waits until an object is gone.
    pub async fn until_gone(&self, kind: &str, namespace: &str, name: &str, limit: Duration) -> Result<()> {
        let gone = |object: Option<&DynamicObject>| object.is_none();
        match timeout(limit, await_condition(self.api(kind, namespace), name, gone)).await {
            Ok(result) => result.map(drop).map_err(Into::into),
            Err(_) => bail!("{kind} {namespace}/{name} is still there after {limit:?}"),
        }
    }

    /// Waits until a list of objects satisfies a condition and returns what the condition picks out.
    pub async fn until_list<T>(
        &self,
        kind: &str,
        namespace: &str,
        selector: &str,
        limit: Duration,
        what: &str,
        pick: impl Fn(&[Value]) -> Option<T>,
    ) -> Result<T> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut interval = tokio::time::interval(Duration::from_millis(200));
        loop {
            interval.tick().await;
            let items = self.list(kind, namespace, selector).await?;
            if let Some(found) = pick(&items) {
                return Ok(found);
            }
            if tokio::time::Instant::now() > deadline {
                let seen: Vec<String> =
                    items.iter().map(|item| format!("{}: {}", text(item, "/metadata/name"), short_status(item))).collect();
                bail!("waited {limit:?} in vain for {what}; {kind}s in {namespace}: {seen:#?}");
            }
        }
    }
}

/// The string at a JSON pointer, or an empty one.
pub fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// `status.phase`.
pub fn phase(object: &Value) -> String {
    text(object, "/status/phase")
}

/// A condition's (status, reason, message).
pub fn condition(object: &Value, kind: &str) -> Option<(String, String, String)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| text(condition, "/type") == kind)?;
    Some((text(found, "/status"), text(found, "/reason"), text(found, "/message")))
}

/// Phase, conditions that are not True, component errors: what a failure should show of an object.
pub fn short_status(object: &Value) -> String {
    let mut parts = vec![format!("phase '{}'", phase(object))];
    for condition in object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten() {
        parts.push(format!("{}={} ({})", text(condition, "/type"), text(condition, "/status"), text(condition, "/message")));
    }
    for (name, component) in object.pointer("/status/components").and_then(Value::as_object).into_iter().flatten() {
        parts.push(format!("component {name}: {} {}", text(component, "/phase"), text(component, "/error")));
    }
    parts.join("; ")
}
