//! Restoring: the snapshots in order, to the paths they were taken from, below the root.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

use proto_api::mover::v1alpha1::{
    ExistingPolicy, OwnershipPolicy, PrivilegedPolicy, RestoreWork, Result as TargetResult, TargetOutcome,
};
use repository::restore::{Existing, Ownership, Privileged, RestoreReport, RestoreRequest, expect_empty, restore};
use repository::{Id, LockHandle, LockMode, Repository, SnapshotId};
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
    file_errors::clear(outcome);
    let snapshots = snapshot_ids(&work.snapshot_ids)?;
    if snapshots.is_empty() {
        return Err(Failure::answer(
            "the session names no restic snapshot to restore; choose a Snapshot whose component succeeded",
        ));
    }
    let Opened { repository, guard, place } = job.open(LockMode::Shared, false).await?;
    let handle = guard.handle();
    let requests = snapshots.into_iter().map(|snapshot| request(job, work, arguments, snapshot)).collect();
    let ended = restore_all(job, &repository, &handle, requests, outcome).await;
    lock::give_back(guard, &job.context.stop).await;
    ended.map_err(|error| job.failure(&error, &place))?;
    if outcome.file_error_count > 0 {
        outcome.result = TargetResult::Failed.into();
        outcome.error = format!(
            "{place}: {}; everything else was restored",
            file_errors::sentence(outcome, "entries could not be restored as they were")
        );
    }
    Ok(())
}

async fn restore_all(
    job: &Job<'_>,
    repository: &Repository,
    handle: &LockHandle,
    mut requests: Vec<RestoreRequest>,
    outcome: &mut TargetOutcome,
) -> repository::Result<()> {
    job.reporter.activity("restoring");
    refuse_what_is_not_empty(job, repository, &mut requests).await?;
    for request in requests {
        job.reporter.activity("restoring");
        let span = tracing::info_span!("restore_snapshot", otel.name = "mover.restore", snapshot = %request.snapshot);
        let report = restore(repository, handle, request, job.reporter.control()).instrument(span).await?;
        log(&report);
        file_errors::add(outcome, &report.errors);
    }
    Ok(())
}

/// Looks at everything that has to be empty before anything is written, and once only: what stands there later is ours.
async fn refuse_what_is_not_empty(
    job: &Job<'_>,
    repository: &Repository,
    requests: &mut [RestoreRequest],
) -> repository::Result<()> {
    for request in requests {
        if request.existing != Existing::RefuseIfNotEmpty {
            continue;
        }
        if !job.was_empty.load(Relaxed) {
            expect_empty(repository, request, job.reporter.control()).await?;
        }
        request.existing = Existing::Merge;
    }
    job.was_empty.store(true, Relaxed);
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
    request.existing = match job.context.assignment.existing() {
        ExistingPolicy::Merge | ExistingPolicy::Unspecified => Existing::Merge,
        ExistingPolicy::Replace => Existing::Replace,
        ExistingPolicy::Refuse => Existing::RefuseIfNotEmpty,
    };
    request.privileged = match job.context.assignment.privileged() {
        PrivilegedPolicy::Restore | PrivilegedPolicy::Unspecified => Privileged::Restore,
        PrivilegedPolicy::Drop => Privileged::Drop,
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
        removed = report.removed,
        errors = report.errors.total,
        warnings = report.warnings.total,
        seconds = report.duration.as_secs_f64(),
        "snapshot restored",
    );
    for warning in report.warnings.listed.iter().take(20) {
        tracing::warn!(reason = warning.reason, class = warning.class, "restored with a difference");
    }
}
