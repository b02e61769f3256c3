//! Backing up: one restic snapshot per path, verified, then the repository's structure checked and measured.

use proto_api::mover::v1alpha1::{BackupWork, Integrity, Result as TargetResult, SnapshotMade, SourceErrorPolicy, TargetOutcome};
use repository::backup::{BackupReport, BackupRequest};
use repository::maintenance::{CheckOptions, StatsDepth};
use repository::{LockHandle, LockMode, Repository};
use tracing::Instrument as _;

use crate::args::BackupArguments;
use crate::failure::{Failure, Place};
use crate::file_errors;
use crate::lock;
use crate::target::{Job, Opened};

/// Tag that tells the paths of one component apart.
const PATH_TAG: &str = "orlop.dev/path=";
/// Errors of a check that are named in the outcome.
const NAMED_ERRORS: usize = 3;

/// Backs up; findings go to `outcome` as they are made, so that a later failure does not lose them.
pub(crate) async fn run(
    job: &Job<'_>,
    work: &BackupWork,
    arguments: &BackupArguments,
    outcome: &mut TargetOutcome,
) -> Result<(), Failure> {
    outcome.snapshots.clear();
    outcome.file_errors.clear();
    outcome.file_error_count = 0;
    let paths = arguments.path_list();
    if paths.is_empty() {
        return Err(Failure::answer("the Function passes no --paths; set the task's parameter `paths` or mount a volume"));
    }
    let Opened { repository, guard, place } = job.open(LockMode::Shared, true).await?;
    let ended = under_lock(job, work, arguments, &paths, &repository, &guard.handle(), &place, outcome).await;
    lock::give_back(guard).await;
    ended
}

#[allow(clippy::too_many_arguments, reason = "the parts of one job, each used once")]
async fn under_lock(
    job: &Job<'_>,
    work: &BackupWork,
    arguments: &BackupArguments,
    paths: &[String],
    repository: &Repository,
    lock: &LockHandle,
    place: &Place,
    outcome: &mut TargetOutcome,
) -> Result<(), Failure> {
    for path in paths {
        job.reporter.path(path);
        let request = request(work, arguments, path);
        let span = tracing::info_span!("backup_path", otel.name = "mover.backup_path", path);
        let report = repository::backup::backup(repository, lock, request, job.reporter.control())
            .instrument(span)
            .await
            .map_err(|error| job.failure(&error, place).of_path(path))?;
        tracing::info!(
            snapshot = %report.snapshot,
            adopted = report.adopted,
            files = report.files.total(),
            bytes_processed = report.bytes_processed,
            bytes_read = report.bytes_read,
            bytes_stored = report.bytes_stored,
            errors = report.errors.total,
            changed_while_read = report.changed_while_read.total,
            seconds = report.duration.as_secs_f64(),
            "path backed up",
        );
        file_errors::add(outcome, &report.errors);
        outcome.snapshots.push(made(&report, path));
    }
    inspect(job, repository, lock, outcome).await;
    let policy = job.context.assignment.source_errors();
    if outcome.file_error_count > 0 && policy != SourceErrorPolicy::Report {
        outcome.result = TargetResult::Failed.into();
        outcome.error = format!(
            "{place}: {}; the snapshot holds everything else; let the Job's user read these files, or exclude them",
            file_errors::sentence(outcome, "files could not be read")
        );
    }
    Ok(())
}

fn request(work: &BackupWork, arguments: &BackupArguments, path: &str) -> BackupRequest {
    let mut tags = work.tags.clone();
    tags.push(format!("{PATH_TAG}{path}"));
    let mut request = BackupRequest::new(vec![path.into()]);
    request.excludes = arguments.exclude_list();
    request.hostname.clone_from(&work.host);
    "orlop".clone_into(&mut request.username);
    // Without the session's own tags every snapshot of the path would look like this session's.
    if !work.tags.is_empty() {
        request.adopt.clone_from(&tags);
    }
    request.tags = tags;
    request
}

fn made(report: &BackupReport, path: &str) -> SnapshotMade {
    let started = jiff::Timestamp::new(report.started.seconds, i32::try_from(report.started.nanos).unwrap_or_default())
        .unwrap_or_else(|_| jiff::Timestamp::now());
    SnapshotMade {
        id: report.snapshot.to_string(),
        path: path.to_owned(),
        bytes_processed: report.bytes_processed,
        bytes_added: report.bytes_stored,
        files: report.files.total(),
        bytes_read: report.bytes_read,
        started: Some(proto_api::time::to_proto(started)),
        finished: Some(proto_api::time::to_proto(jiff::Timestamp::now())),
        adopted: report.adopted,
    }
}

/// Checks the structure and measures the size. The snapshots are verified already, so what cannot be found out here is left
/// unsaid rather than made a failure.
async fn inspect(job: &Job<'_>, repository: &Repository, lock: &LockHandle, outcome: &mut TargetOutcome) {
    let control = job.reporter.control();
    job.reporter.activity("checking the repository's structure");
    let check = repository
        .check(lock, CheckOptions::default(), control)
        .instrument(tracing::info_span!("check", otel.name = "mover.check"))
        .await;
    match check {
        Ok(report) if report.errors.is_empty() => outcome.integrity = Integrity::Intact.into(),
        Ok(report) => {
            outcome.integrity = Integrity::Damaged.into();
            let named: Vec<_> = report.errors.iter().take(NAMED_ERRORS).map(ToString::to_string).collect();
            outcome.error = format!(
                "the repository is damaged, {} errors: {}; the new snapshot itself was verified",
                report.errors.len(),
                named.join("; ")
            );
        }
        Err(error) => tracing::warn!(%error, "the repository's structure could not be checked"),
    }
    match repository.stats(StatsDepth::Quick, control).await {
        Ok(stats) => outcome.repository_bytes = stats.pack_bytes,
        Err(error) => tracing::warn!(%error, "the repository could not be measured"),
    }
}
