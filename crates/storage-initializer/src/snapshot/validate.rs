//! When a Snapshot's copy is due. Pure.

use crd_types::{Repository, Snapshot, SnapshotPhase, SnapshotStatus, conditions};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::limits::{METADATA_UPLOAD_PATIENCE, RECENT_SNAPSHOTS};

/// Whether the copy is to be uploaded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Upload {
    /// Components still run.
    NotYet,
    /// Everything is done but this.
    Now {
        /// Whether a failure now is final: `SnapshotMetadataUploaded` False makes the Snapshot Failed (architecture §4.1).
        patience_is_over: bool,
    },
    /// It is settled.
    Done,
}

pub(super) fn upload(snapshot: &Snapshot, now: Timestamp) -> Upload {
    let Some(status) = &snapshot.status else { return Upload::NotYet };
    if conditions::exists(&status.conditions, conditions::SNAPSHOT_METADATA_UPLOADED) {
        return Upload::Done;
    }
    if !components_ended(status) {
        return Upload::NotYet;
    }
    let waited = now.duration_since(ended(snapshot, status).unwrap_or(now));
    Upload::Now { patience_is_over: waited.unsigned_abs() >= METADATA_UPLOAD_PATIENCE && waited.is_positive() }
}

/// Whether no component will change any more. Stricter than the components' phase, which is Failed as soon as one
/// failed: the copy should tell how the others ended.
fn components_ended(status: &SnapshotStatus) -> bool {
    if conditions::is_true(&status.conditions, conditions::BACKUP_INCOMPLETE) {
        return true;
    }
    let ended = status.components.values().filter(|component| component.phase.is_some_and(SnapshotPhase::is_completed));
    let expected = status.total_components.and_then(|total| usize::try_from(total).ok()).unwrap_or_default();
    expected > 0 && ended.count() >= expected
}

/// When the last component ended, as far as it is said.
fn ended(snapshot: &Snapshot, status: &SnapshotStatus) -> Option<Timestamp> {
    let stats = status.components.values().flat_map(|component| &component.restic_stats);
    let ends = stats.filter_map(|stats| stats.summary.as_ref()?.end_time.as_ref()).map(|time| time.0);
    ends.chain(status.last_update_time.as_ref().map(|time| time.0))
        .max()
        .or_else(|| snapshot.creation_timestamp().map(|time| time.0))
}

/// Whether the Repository's list of recent Snapshots is up to date with this one: it names it, or is full of newer ones.
pub(super) fn is_listed(snapshot: &Snapshot, repository: &Repository) -> bool {
    let Some(status) = &repository.status else { return false };
    let name = snapshot.name_any();
    let is_named = status.recent_snapshots.iter().any(|recent| recent.name.as_deref() == Some(&name));
    let own = crate::repository::taken(snapshot);
    let is_older_than_all = status.recent_snapshots.len() >= RECENT_SNAPSHOTS
        && status.recent_snapshots.iter().all(|recent| recent.snapshot_time.as_ref().map(|time| time.0) > own);
    is_named || is_older_than_all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const END: &str = "2026-01-01T00:00:00Z";

    fn snapshot(status: &Value) -> Snapshot {
        serde_json::from_value(json!({
            "apiVersion": "storage.kubestash.com/v1alpha1", "kind": "Snapshot",
            "metadata": {"name": "s", "namespace": "demo"}, "status": status,
        }))
        .unwrap()
    }

    fn component(phase: &str) -> Value {
        json!({"phase": phase, "resticStats": [{"summary": {"id": "ab", "endTime": END}}]})
    }

    fn uploaded(status: &str) -> Value {
        json!([{"type": "SnapshotMetadataUploaded", "status": status, "lastTransitionTime": END}])
    }

    fn incomplete() -> Value {
        json!([{"type": "BackupIncomplete", "status": "True", "lastTransitionTime": END}])
    }

    #[rstest]
    #[case(json!({"totalComponents": 1}), Upload::NotYet)]
    #[case(json!({"totalComponents": 1, "components": {"dump": component("Running")}}), Upload::NotYet)]
    #[case(json!({"totalComponents": 1, "components": {"dump": component("Succeeded")}}), Upload::Now { patience_is_over: false })]
    // The components' phase is Failed here although one still runs; the copy waits for it.
    #[case(json!({"totalComponents": 2, "components": {"a": component("Failed"), "b": component("Running")}}), Upload::NotYet)]
    #[case(json!({"totalComponents": 2, "components": {"a": component("Failed"), "b": component("Succeeded")}}), Upload::Now { patience_is_over: false })]
    #[case(json!({"totalComponents": 2, "components": {}, "conditions": incomplete()}), Upload::Now { patience_is_over: false })]
    #[case(json!({"totalComponents": 1, "components": {"a": component("Succeeded")}, "conditions": uploaded("True")}), Upload::Done)]
    // I10: what is final stays.
    #[case(json!({"totalComponents": 1, "components": {"a": component("Succeeded")}, "conditions": uploaded("False")}), Upload::Done)]
    fn the_copy_is_due_when_everything_has_ended(#[case] status: Value, #[case] expected: Upload) {
        let soon: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(upload(&snapshot(&status), soon), expected);
    }

    #[test]
    fn patience_ends() {
        let late: Timestamp = "2026-01-01T00:21:00Z".parse().unwrap();
        let status = json!({"totalComponents": 1, "components": {"dump": component("Succeeded")}});
        assert_eq!(upload(&snapshot(&status), late), Upload::Now { patience_is_over: true });
    }

    #[test]
    fn a_snapshot_counts_as_listed_when_named_or_pushed_out() {
        let own = snapshot(&json!({"snapshotTime": END}));
        let repository = |recent: Value| -> Repository {
            serde_json::from_value(json!({"metadata": {"name": "r"}, "status": {"recentSnapshots": recent}})).unwrap()
        };
        let newer = json!({"name": "n", "snapshotTime": "2026-02-01T00:00:00Z"});
        assert!(!is_listed(&own, &repository(json!([]))));
        assert!(is_listed(&own, &repository(json!([{"name": "s"}]))));
        assert!(!is_listed(&own, &repository(json!([newer]))));
        assert!(is_listed(&own, &repository(json!([newer, newer, newer, newer, newer]))));
    }
}
