//! What movers report, in the planner's words. The same for an outcome that came over the stream and one that was read
//! from a container's termination message.

use planner::attempt::{FileFindings, Outcome, Report, SnapshotMade, TargetReport, Transfer};
use proto_api::{common::v1alpha1 as common, mover::v1alpha1 as pb, time};

/// A mover's report.
pub fn report(outcome: &pb::Outcome) -> Report {
    let pb::Outcome { targets, error, peak_memory_bytes: _, started, finished } = outcome;
    Report {
        targets: targets.iter().map(target).collect(),
        error: error.clone(),
        started: started.as_ref().and_then(time::from_proto),
        finished: finished.as_ref().and_then(time::from_proto),
    }
}

/// Live figures.
pub fn transfer(figures: &common::TransferProgress) -> Transfer {
    Transfer {
        files_done: figures.files_done,
        files_total: figures.files_total,
        bytes_done: figures.bytes_done,
        bytes_total: figures.bytes_total,
        seconds_elapsed: figures.seconds_elapsed,
    }
}

fn target(outcome: &pb::TargetOutcome) -> TargetReport {
    let pb::TargetOutcome {
        target_id,
        result: _,
        error,
        snapshots,
        file_errors,
        file_error_count,
        repository_bytes,
        integrity: _,
        removed_snapshot_ids,
        transfer: figures,
        changed_files,
        changed_file_count,
        vanished_files,
        vanished_file_count,
    } = outcome;
    let findings = |files: &[pb::FileError], count: u64| {
        let named = files.iter().map(|file| file.path.clone()).collect();
        FileFindings { named, count }
    };
    TargetReport {
        id: target_id.clone(),
        outcome: match outcome.result() {
            pb::Result::Succeeded => Outcome::Succeeded,
            pb::Result::Retryable => Outcome::Retryable,
            pb::Result::Cancelled => Outcome::Cancelled,
            // A result that this version does not know is no success.
            pb::Result::Failed | pb::Result::Unspecified => Outcome::Failed,
        },
        error: error.clone(),
        snapshots: snapshots.iter().map(snapshot).collect(),
        file_errors: file_errors.iter().map(|file| (file.path.clone(), file.error.clone())).collect(),
        file_error_count: *file_error_count,
        changed: findings(changed_files, *changed_file_count),
        vanished: findings(vanished_files, *vanished_file_count),
        repository_bytes: (*repository_bytes > 0).then_some(*repository_bytes),
        integrity: match outcome.integrity() {
            pb::Integrity::Intact => Some(true),
            pb::Integrity::Damaged => Some(false),
            pb::Integrity::Unspecified => None,
        },
        removed: removed_snapshot_ids.clone(),
        transfer: figures.as_ref().map(transfer),
    }
}

fn snapshot(made: &pb::SnapshotMade) -> SnapshotMade {
    let pb::SnapshotMade { id, path, bytes_processed, bytes_added, files, bytes_read, started, finished, adopted: _ } = made;
    SnapshotMade {
        id: id.clone(),
        path: path.clone(),
        bytes_processed: *bytes_processed,
        bytes_added: *bytes_added,
        files: *files,
        bytes_read: *bytes_read,
        started: started.as_ref().and_then(time::from_proto),
        finished: finished.as_ref().and_then(time::from_proto),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I2: what a newer mover calls something this build does not know is never taken for success.
    #[test]
    fn an_unknown_result_is_no_success() {
        let outcome = pb::Outcome {
            targets: vec![pb::TargetOutcome {
                target_id: "web".into(),
                result: 99,
                integrity: 99,
                ..pb::TargetOutcome::default()
            }],
            ..pb::Outcome::default()
        };
        let report = report(&outcome);
        assert_eq!(report.targets[0].outcome, Outcome::Failed);
        assert_eq!(report.targets[0].integrity, None);
    }

    #[test]
    fn figures_and_evidence_are_carried_over() {
        let outcome = pb::Outcome {
            targets: vec![pb::TargetOutcome {
                target_id: "web".into(),
                result: pb::Result::Succeeded.into(),
                snapshots: vec![pb::SnapshotMade {
                    id: "a".into(),
                    path: "/data".into(),
                    files: 3,
                    ..pb::SnapshotMade::default()
                }],
                repository_bytes: 7,
                integrity: pb::Integrity::Intact.into(),
                removed_snapshot_ids: vec!["b".into()],
                changed_files: vec![pb::FileError { path: "/data/log".into(), error: "changed".into() }],
                changed_file_count: 4,
                ..pb::TargetOutcome::default()
            }],
            finished: Some(prost_types_timestamp(5)),
            ..pb::Outcome::default()
        };
        let report = report(&outcome);
        let target = &report.targets[0];
        assert_eq!((target.outcome, target.repository_bytes, target.integrity), (Outcome::Succeeded, Some(7), Some(true)));
        assert_eq!((target.snapshots[0].files, target.removed.as_slice()), (3, ["b".to_owned()].as_slice()));
        assert_eq!(target.changed, FileFindings { named: vec!["/data/log".to_owned()], count: 4 });
        assert_eq!(report.finished.map(jiff::Timestamp::as_second), Some(5));
    }

    fn prost_types_timestamp(seconds: i64) -> prost_types::Timestamp {
        time::to_proto(jiff::Timestamp::from_second(seconds).unwrap_or_default())
    }
}
