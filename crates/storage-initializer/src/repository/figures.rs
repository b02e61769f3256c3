//! What a Repository's Snapshots come to. Pure.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use crd_types::{RepositoryStatus, Snapshot, SnapshotInfo, SnapshotPhase, SnapshotStatus, size};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use crate::limits::RECENT_SNAPSHOTS;

/// The figures of a Repository's status; conditions and phase stay as they are in `before`.
pub(super) fn figures(before: &RepositoryStatus, snapshots: &[Arc<Snapshot>]) -> RepositoryStatus {
    let mut newest_first: Vec<&Snapshot> = snapshots.iter().map(AsRef::as_ref).collect();
    newest_first.sort_by_key(|snapshot| Reverse((taken(snapshot), snapshot.name_any())));

    let succeeded = |snapshot: &&&Snapshot| phase(snapshot) == Some(SnapshotPhase::Succeeded);
    RepositoryStatus {
        component_paths: component_paths(before, snapshots),
        integrity: newest_first.iter().find_map(|snapshot| snapshot.status.as_ref()?.integrity),
        // A backup that retention has removed since was taken all the same.
        last_backup_time: newest_first
            .iter()
            .find(succeeded)
            .and_then(|snapshot| taken(snapshot).map(Time))
            .into_iter()
            .chain(before.last_backup_time.clone())
            .max_by_key(|time| time.0),
        recent_snapshots: newest_first.iter().take(RECENT_SNAPSHOTS).rev().map(|snapshot| info(snapshot)).collect(),
        size: Some(size::format(stored_bytes(&newest_first))),
        snapshot_count: Some(i32::try_from(snapshots.len()).unwrap_or(i32::MAX)),
        conditions: before.conditions.clone(),
        phase: before.phase,
    }
}

/// Paths of restic repositories that are known to exist: those seen before, and those in which a Snapshot has a restic
/// snapshot. A path that a running session only intends does not count; its repository may be initialised yet
/// (architecture §4.6).
fn component_paths(before: &RepositoryStatus, snapshots: &[Arc<Snapshot>]) -> Vec<String> {
    let seen = snapshots.iter().filter_map(|snapshot| snapshot.status.as_ref()).flat_map(paths_with_data);
    let mut paths: Vec<String> = before.component_paths.iter().cloned().chain(seen).collect();
    paths.sort();
    paths.dedup();
    paths
}

fn paths_with_data(status: &SnapshotStatus) -> impl Iterator<Item = String> + '_ {
    status.components.values().filter_map(|component| {
        let has_data = component
            .restic_stats
            .iter()
            .any(|stats| stats.summary.as_ref().and_then(|summary| summary.id.as_deref()).is_some_and(|id| !id.is_empty()));
        component.path.clone().filter(|_| has_data)
    })
}

/// Bytes stored: of each component's restic repository the size that the newest Snapshot measured.
fn stored_bytes(newest_first: &[&Snapshot]) -> u64 {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for snapshot in newest_first {
        let components = snapshot.status.iter().flat_map(|status| status.components.values());
        for component in components {
            let measured = component.size.as_deref().and_then(|text| size::parse(text).ok());
            if let (Some(path), Some(bytes)) = (component.path.as_deref(), measured) {
                sizes.entry(path).or_insert(bytes);
            }
        }
    }
    sizes.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
}

fn info(snapshot: &Snapshot) -> SnapshotInfo {
    SnapshotInfo {
        name: Some(snapshot.name_any()),
        phase: phase(snapshot),
        session: snapshot.spec.session.clone(),
        size: snapshot.status.as_ref().and_then(|status| status.size.clone()),
        snapshot_time: taken(snapshot).map(Time),
    }
}

fn phase(snapshot: &Snapshot) -> Option<SnapshotPhase> {
    snapshot.status.as_ref().and_then(|status| status.phase)
}

/// When a Snapshot was taken; its creation until it says so itself.
pub(crate) fn taken(snapshot: &Snapshot) -> Option<Timestamp> {
    let said = snapshot.status.as_ref().and_then(|status| status.snapshot_time.as_ref());
    said.map(|time| time.0).or_else(|| snapshot.creation_timestamp().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn snapshot(name: &str, second: i64, phase: &str, id: &str, size: &str) -> Arc<Snapshot> {
        let at = Timestamp::from_second(second).unwrap().to_string();
        let value = json!({
            "apiVersion": "storage.kubestash.com/v1alpha1", "kind": "Snapshot",
            "metadata": {"name": name, "namespace": "demo"},
            "spec": {"repository": "web", "session": "nightly"},
            "status": {
                "phase": phase, "snapshotTime": at, "integrity": true, "size": size,
                "components": {"dump": {
                    "path": "repository/v1/nightly/dump", "size": size,
                    "resticStats": [{"summary": {"id": id}}],
                }},
            },
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    /// Specification §2.2: the newest five, oldest first, failed ones included.
    #[test]
    fn recent_snapshots_are_five_and_oldest_first() {
        let snapshots: Vec<_> = (0..7)
            .map(|index| {
                let phase = if index == 6 { "Failed" } else { "Succeeded" };
                snapshot(&format!("s{index}"), 100 + index, phase, "ab", "1.500 MiB")
            })
            .collect();
        let status = figures(&RepositoryStatus::default(), &snapshots);
        let names: Vec<_> = status.recent_snapshots.iter().filter_map(|info| info.name.clone()).collect();
        assert_eq!(names, ["s2", "s3", "s4", "s5", "s6"]);
        assert_eq!(status.last_backup_time.unwrap().0.as_second(), 105, "the failed one is no backup");
        assert_eq!(status.snapshot_count, Some(7));
        assert_eq!(status.size.as_deref(), Some("1.500 MiB"), "one restic repository, measured by the newest");
    }

    /// Architecture §4.6: a path that is only intended must not forbid its initialisation; one that has data stays
    /// known although every Snapshot is gone.
    #[test]
    fn component_paths_are_those_with_data_and_never_shrink() {
        let intended = snapshot("s", 100, "Running", "", "0 B");
        assert!(figures(&RepositoryStatus::default(), &[intended]).component_paths.is_empty());
        let made = snapshot("s", 100, "Succeeded", "ab", "0 B");
        let status = figures(&RepositoryStatus::default(), &[made]);
        assert_eq!(status.component_paths, ["repository/v1/nightly/dump"]);
        let emptied = figures(&status, &[]);
        assert_eq!(emptied.component_paths, status.component_paths);
        assert_eq!(emptied.last_backup_time, status.last_backup_time);
        assert_eq!(emptied.snapshot_count, Some(0));
        assert_eq!(emptied.size.as_deref(), Some("0 B"));
    }
}
