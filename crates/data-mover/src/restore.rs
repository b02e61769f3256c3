//! Restoring: the snapshots in order, to the paths they were taken from, below the root.

use std::path::PathBuf;

use proto_api::mover::v1alpha1::{OwnershipPolicy, RestoreWork, Result as TargetResult, TargetOutcome};
use repository::restore::{Ownership, RestoreReport, RestoreRequest};
use repository::{Id, LockMode, SnapshotId};
use tracing::Instrument as _;

use crate::args::RestoreArguments;
use crate::failure::Failure;
use crate::target::{Job, Opened};
use crate::{file_errors, lock};

/// Restores; the lock keeps a prune from taking the data away meanwhile (reliability G11).
pub(crate) async fn run(
    job: &Job<'_>,
    work: &RestoreWork,
    arguments: &RestoreArguments,
    outcome: &mut TargetOutcome,
) -> Result<(), Failure> {
    outcome.file_errors.clear();
    outcome.file_error_count = 0;
    let snapshots = snapshot_ids(&work.snapshot_ids)?;
    if snapshots.is_empty() {
        return Err(Failure::answer(
            "the session names no restic snapshot to restore; choose a Snapshot whose component succeeded",
        ));
    }
    let Opened { repository, guard, place } = job.open(LockMode::Shared, false).await?;
    let handle = guard.handle();
    let mut ended = Ok(());
    for snapshot in snapshots {
        job.reporter.activity("restoring");
        let request = request(job, work, arguments, snapshot);
        let span = tracing::info_span!("restore_snapshot", otel.name = "mover.restore", %snapshot);
        match repository::restore::restore(&repository, &handle, request, job.reporter.control()).instrument(span).await {
            Ok(report) => {
                log(&report);
                file_errors::add(outcome, &report.errors);
            }
            Err(error) => {
                ended = Err(job.failure(&error, &place));
                break;
            }
        }
    }
    lock::give_back(guard).await;
    ended?;
    if outcome.file_error_count > 0 {
        outcome.result = TargetResult::Failed.into();
        outcome.error = format!(
            "{place}: {}; everything else was restored",
            file_errors::sentence(outcome, "entries could not be restored as they were")
        );
    }
    Ok(())
}

fn request(job: &Job<'_>, work: &RestoreWork, arguments: &RestoreArguments, snapshot: SnapshotId) -> RestoreRequest {
    let root = if work.root.is_empty() { "/" } else { &work.root };
    let mut request = RestoreRequest::new(snapshot, PathBuf::from(root));
    request.include = arguments.include_list();
    request.exclude = arguments.exclude_list();
    request.paths = arguments.path_list().into_iter().map(PathBuf::from).collect();
    request.ownership = match job.context.assignment.ownership() {
        OwnershipPolicy::Report => Ownership::BestEffort,
        OwnershipPolicy::Fail | OwnershipPolicy::Unspecified => Ownership::Required,
    };
    request
}

/// Parses the ids of an assignment.
pub(crate) fn snapshot_ids(texts: &[String]) -> Result<Vec<SnapshotId>, Failure> {
    texts
        .iter()
        .map(|text| {
            text.parse::<Id>()
                .map_err(|_| Failure::answer(format!("{text:?} is not a restic snapshot id of 64 hexadecimal digits")))
        })
        .collect()
}

fn log(report: &RestoreReport) {
    tracing::info!(
        snapshot = %report.snapshot,
        files_restored = report.files_restored,
        files_unchanged = report.files_unchanged,
        bytes_total = report.bytes_total,
        bytes_written = report.bytes_written,
        errors = report.errors.total,
        warnings = report.warnings.total,
        seconds = report.duration.as_secs_f64(),
        "snapshot restored",
    );
    for warning in report.warnings.listed.iter().take(20) {
        tracing::warn!(reason = warning.reason, class = warning.class, "restored with a difference");
    }
}
