//! Gauges about BackupStorages, Repositories and Snapshots: KubeStash's names exactly (specification §5.1), and Orlop's
//! own where it has none (reliability §5.2). Computed from the caches when they are asked for.

use std::sync::Arc;

use crd_types::{BackupStorage, BackupStoragePhase, Condition, Repository, RepositoryPhase, Snapshot, SnapshotPhase, size};
use kube::{Resource, ResourceExt as _};
use kube_kit::controller::Store;
use service_kit::metrics::{GaugeFamily, Metrics, Sample};

use crate::references;

type Labels = Vec<(&'static str, String)>;

/// The caches that gauges are computed from.
#[derive(Clone)]
pub struct Objects {
    /// BackupStorages.
    pub storages: Store<BackupStorage>,
    /// Repositories.
    pub repositories: Store<Repository>,
    /// Snapshots.
    pub snapshots: Store<Snapshot>,
}

/// Registers all gauges about objects. Only the leader's caches hold anything, so each series is there once.
pub fn register(metrics: &mut Metrics, objects: &Objects) {
    let read = objects.clone();
    metrics.kubestash_registry().register_collector(Box::new(service_kit::metrics::GaugeSnapshot::new(move || {
        let mut families = storage_families(&read.storages.all());
        families.extend(repository_families(&read.repositories.all()));
        families.extend(snapshot_families(&read.snapshots.all()));
        families
    })));
    let read = objects.clone();
    metrics.registry().register_collector(Box::new(service_kit::metrics::GaugeSnapshot::new(move || {
        own_families(&read.storages.all(), &read.repositories.all())
    })));
}

/// Series of one kind, being put together.
struct Families {
    families: Vec<GaugeFamily>,
}

impl Families {
    fn new() -> Self {
        Self { families: Vec::new() }
    }

    fn add(&mut self, name: &'static str, help: &'static str, samples: Vec<Sample>) {
        self.families.push(GaugeFamily { name, help, samples });
    }
}

fn storage_families(storages: &[Arc<BackupStorage>]) -> Vec<GaugeFamily> {
    let mut families = Families::new();
    let each = |sample: &dyn Fn(&BackupStorage) -> Vec<Sample>| storages.iter().flat_map(|storage| sample(storage)).collect();
    let status = |storage: &BackupStorage| storage.status.clone().unwrap_or_default();
    families.add(
        "storage_kubestash_com_backupstorage_created",
        "When the BackupStorage was created, in seconds since 1970",
        each(&|storage| vec![(common(storage), created(storage))]),
    );
    families.add(
        "storage_kubestash_com_backupstorage_info",
        "What the BackupStorage is",
        each(&|storage| {
            let provider = storage.spec.storage.as_ref().and_then(|backend| backend.provider.clone());
            let mut labels = common(storage);
            labels.push(("provider", provider.unwrap_or_default()));
            labels.push(("default", storage.spec.default.unwrap_or_default().to_string()));
            labels.push(("deletionPolicy", text(storage.spec.deletion_policy)));
            labels.push(("phase", text(status(storage).phase)));
            vec![(labels, 1.0)]
        }),
    );
    families.add(
        "storage_kubestash_com_backupstorage_repository_size_bytes",
        "Size of a Repository on the BackupStorage",
        each(&|storage| {
            let sized = |entry: crd_types::RepositoryStorageStatus| {
                let mut labels = common(storage);
                labels.push(("repo_name", entry.name.unwrap_or_default()));
                labels.push(("repo_namespace", entry.namespace.unwrap_or_default()));
                labels.push(("repo_path", entry.path.unwrap_or_default()));
                Some((labels, bytes(entry.size.as_deref())?))
            };
            status(storage).repositories.into_iter().filter_map(sized).collect()
        }),
    );
    families.add(
        "storage_kubestash_com_backupstorage_phase",
        "1 for the phase that the BackupStorage is in",
        each(&|storage| phases(&common(storage), BackupStoragePhase::ALL, status(storage).phase)),
    );
    families.add(
        "storage_kubestash_com_backupstorage_size_bytes",
        "Size of all Repositories on the BackupStorage",
        each(&|storage| one(common(storage), bytes(status(storage).total_size.as_deref()))),
    );
    families.add(
        "storage_kubestash_com_backupstorage_conditions",
        "Conditions of the BackupStorage",
        each(&|storage| conditions(&common(storage), &status(storage).conditions)),
    );
    families.families
}

fn repository_families(repositories: &[Arc<Repository>]) -> Vec<GaugeFamily> {
    let mut families = Families::new();
    let each =
        |sample: &dyn Fn(&Repository) -> Vec<Sample>| repositories.iter().flat_map(|repository| sample(repository)).collect();
    let status = |repository: &Repository| repository.status.clone().unwrap_or_default();
    let labels = |repository: &Repository| with_target(common(repository), repository.spec.app_ref.as_ref());
    families.add(
        "storage_kubestash_com_repository_created",
        "When the Repository was created, in seconds since 1970",
        each(&|repository| vec![(labels(repository), created(repository))]),
    );
    families.add(
        "storage_kubestash_com_repository_info",
        "What the Repository is",
        each(&|repository| {
            let mut labels = labels(repository);
            labels.push(("path", repository.spec.path.clone().unwrap_or_default()));
            labels.push(("phase", text(status(repository).phase)));
            labels.push(("integrity", text(status(repository).integrity)));
            vec![(labels, 1.0)]
        }),
    );
    families.add(
        "storage_kubestash_com_repository_last_successful_backup",
        "When the last successful backup was taken, in seconds since 1970",
        each(&|repository| {
            let last = status(repository).last_backup_time.map(|time| seconds(time.0));
            one(labels(repository), last)
        }),
    );
    families.add(
        "storage_kubestash_com_repository_size_bytes",
        "Bytes stored in the Repository",
        each(&|repository| one(labels(repository), bytes(status(repository).size.as_deref()))),
    );
    families.add(
        "storage_kubestash_com_repository_snapshot_count_total",
        "Snapshots in the Repository",
        each(&|repository| one(labels(repository), status(repository).snapshot_count.map(f64::from))),
    );
    families.add(
        "storage_kubestash_com_repository_conditions",
        "Conditions of the Repository",
        each(&|repository| conditions(&labels(repository), &status(repository).conditions)),
    );
    families.families
}

fn snapshot_families(snapshots: &[Arc<Snapshot>]) -> Vec<GaugeFamily> {
    let mut families = Families::new();
    let each = |sample: &dyn Fn(&Snapshot) -> Vec<Sample>| snapshots.iter().flat_map(|snapshot| sample(snapshot)).collect();
    let status = |snapshot: &Snapshot| snapshot.status.clone().unwrap_or_default();
    let labels = |snapshot: &Snapshot| with_target(common(snapshot), snapshot.spec.app_ref.as_ref());
    families.add(
        "storage_kubestash_com_snapshot_created",
        "When the Snapshot was created, in seconds since 1970",
        each(&|snapshot| vec![(labels(snapshot), created(snapshot))]),
    );
    families.add(
        "storage_kubestash_com_snapshot_info",
        "What the Snapshot is",
        each(&|snapshot| {
            let spec = snapshot.spec.clone();
            let mut labels = labels(snapshot);
            labels.push(("snapshot_type", spec.type_.unwrap_or_default()));
            labels.push(("repository", spec.repository.unwrap_or_default()));
            labels.push(("session", spec.session.unwrap_or_default()));
            labels.push(("backupsession", spec.backup_session.unwrap_or_default()));
            labels.push(("version", spec.version.unwrap_or_default()));
            labels.push(("phase", text(status(snapshot).phase)));
            labels.push(("integrity", text(status(snapshot).integrity)));
            vec![(labels, 1.0)]
        }),
    );
    families.add(
        "storage_kubestash_com_snapshot_phase",
        "1 for the phase that the Snapshot is in",
        each(&|snapshot| phases(&labels(snapshot), SnapshotPhase::ALL, status(snapshot).phase)),
    );
    families.add(
        "storage_kubestash_com_snapshot_size_bytes",
        "Size of the Snapshot",
        each(&|snapshot| one(labels(snapshot), bytes(status(snapshot).size.as_deref()))),
    );
    families.add(
        "storage_kubestash_com_snapshot_time_seconds",
        "When the Snapshot was taken, in seconds since 1970",
        each(&|snapshot| one(labels(snapshot), crate::repository::taken(snapshot).map(seconds))),
    );
    families.add(
        "storage_kubestash_com_snapshot_component_count_total",
        "Components that the Snapshot should have",
        each(&|snapshot| one(labels(snapshot), status(snapshot).total_components.map(f64::from))),
    );
    families.add(
        "storage_kubestash_com_snapshot_conditions",
        "Conditions of the Snapshot",
        each(&|snapshot| conditions(&labels(snapshot), &status(snapshot).conditions)),
    );
    families.families
}

fn own_families(storages: &[Arc<BackupStorage>], repositories: &[Arc<Repository>]) -> Vec<GaugeFamily> {
    let mut families = Families::new();
    let up = |storage: &Arc<BackupStorage>| {
        let is_ready = storage.status.as_ref().and_then(|status| status.phase) == Some(BackupStoragePhase::Ready);
        let labels = vec![("namespace", references::namespace(storage.as_ref())), ("storage", storage.name_any())];
        (labels, f64::from(u8::from(is_ready)))
    };
    families.add("storage_up", "Whether the BackupStorage can be used", storages.iter().map(up).collect());
    let of = |value: &dyn Fn(&Repository) -> Option<f64>| {
        let sample = |repository: &Arc<Repository>| {
            let labels = vec![("namespace", references::namespace(repository.as_ref())), ("repository", repository.name_any())];
            Some((labels, value(repository)?))
        };
        repositories.iter().filter_map(sample).collect()
    };
    families.add(
        "repository_up",
        "Whether the Repository can be used",
        of(&|repository| {
            let is_ready = repository.status.as_ref()?.phase == Some(RepositoryPhase::Ready);
            Some(f64::from(u8::from(is_ready)))
        }),
    );
    families.add(
        "repository_size_bytes",
        "Bytes stored in the Repository",
        of(&|repository| bytes(repository.status.as_ref()?.size.as_deref())),
    );
    families.add(
        "repository_snapshots",
        "Snapshots in the Repository",
        of(&|repository| repository.status.as_ref()?.snapshot_count.map(f64::from)),
    );
    families.add(
        "repository_last_success_timestamp_seconds",
        "When the last successful backup into the Repository was taken",
        of(&|repository| Some(seconds(repository.status.as_ref()?.last_backup_time.as_ref()?.0))),
    );
    families.families
}

fn common<K>(object: &K) -> Labels
where
    K: Resource<DynamicType = ()>,
{
    vec![
        ("namespace", references::namespace(object)),
        ("invoker_kind", K::kind(&()).into_owned()),
        ("invoker_name", object.name_any()),
    ]
}

fn with_target(mut labels: Labels, target: Option<&crd_types::TypedObjectReference>) -> Labels {
    let target = target.cloned().unwrap_or_default();
    labels.push(("target_kind", target.kind.unwrap_or_default()));
    labels.push(("target_name", target.name));
    labels.push(("target_namespace", target.namespace.unwrap_or_default()));
    labels
}

fn phases<P>(labels: &Labels, all: &[P], current: Option<P>) -> Vec<Sample>
where
    P: Copy + PartialEq + ToString,
{
    all.iter()
        .map(|phase| {
            let mut labels = labels.clone();
            labels.push(("phase", phase.to_string()));
            (labels, f64::from(u8::from(current == Some(*phase))))
        })
        .collect()
}

fn conditions(labels: &Labels, conditions: &[Condition]) -> Vec<Sample> {
    conditions
        .iter()
        .map(|condition| {
            let mut labels = labels.clone();
            labels.push(("condition", condition.type_.clone()));
            labels.push(("status", condition.status.to_string()));
            (labels, 1.0)
        })
        .collect()
}

fn one(labels: Labels, value: Option<f64>) -> Vec<Sample> {
    value.map(|value| (labels, value)).into_iter().collect()
}

fn created<K: Resource>(object: &K) -> f64 {
    object.creation_timestamp().map_or(0.0, |time| seconds(time.0))
}

fn seconds(at: jiff::Timestamp) -> f64 {
    // Exact until the year 285,000,000.
    at.as_second() as f64
}

fn bytes(text: Option<&str>) -> Option<f64> {
    text.and_then(|text| size::parse(text).ok()).map(|bytes| bytes as f64)
}

fn text<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    /// Specification §5.1: dashboards made for KubeStash find their series.
    #[test]
    fn a_repository_has_kubestashs_series() {
        let repository: Repository = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "demo", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"path": "/web", "appRef": {"kind": "Deployment", "name": "web", "namespace": "demo"}},
            "status": {"phase": "Ready", "size": "1.500 KiB", "snapshotCount": 2, "integrity": true},
        }))
        .unwrap();
        let families = repository_families(&[Arc::new(repository)]);
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name == name).unwrap();
            family.samples.first().map(|(_, value)| *value)
        };
        assert_eq!(value("storage_kubestash_com_repository_size_bytes"), Some(1536.0));
        assert_eq!(value("storage_kubestash_com_repository_snapshot_count_total"), Some(2.0));
        assert_eq!(value("storage_kubestash_com_repository_last_successful_backup"), None);
        let info = families.iter().find(|family| family.name == "storage_kubestash_com_repository_info").unwrap();
        let labels = &info.samples.first().unwrap().0;
        for (name, expected) in [("target_kind", "Deployment"), ("path", "/web"), ("integrity", "true")] {
            assert!(labels.contains(&(name, expected.to_owned())), "{labels:?}");
        }
    }
}
