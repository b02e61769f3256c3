//! Backing up: one restic snapshot per path, verified, all onto one view of the repository, which also tells its health.

use proto_api::mover::v1alpha1::{BackupWork, Integrity, Result as TargetResult, SnapshotMade, TargetOutcome};
use repository::backup::{BackupReport, BackupRequest, RepositoryView, backup_onto};
use repository::maintenance::{CheckReport, Rotation};
use repository::{Damage, LockHandle, LockMode, Repository};
use tracing::Instrument as _;

use crate::args::BackupArguments;
use crate::failure::{Failure, Place};
use crate::file_errors;
use crate::lock;
use crate::target::{Job, Opened};

/// Tag that tells the paths of one component apart.
const PATH_TAG: &str = "orlop.dev/path=";
/// Damaged objects that are named in the outcome.
pub(crate) const NAMED_DAMAGES: usize = 3;

/// Backs up; findings go to `outcome` as they are made, so that a later failure does not lose them.
pub(crate) async fn run(
    job: &Job<'_>,
    work: &BackupWork,
    arguments: &BackupArguments,
    outcome: &mut TargetOutcome,
) -> Result<(), Failure> {
    outcome.snapshots.clear();
    file_errors::clear(outcome);
    let paths = arguments.path_list();
    if paths.is_empty() {
        return Err(Failure::answer("the Function passes no --paths; set the task's parameter `paths` or mount a volume"));
    }
    let Opened { repository, guard, place } = job.open(LockMode::Shared, true).await?;
    let ended = under_lock(job, work, arguments, &paths, &repository, &guard.handle(), &place, outcome).await;
    lock::give_back(guard, &job.context.stop).await;
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
    let control = job.reporter.control();
    job.reporter.activity("reading the repository's index");
    let mut view = RepositoryView::open(repository, lock, control)
        .instrument(tracing::info_span!("view", otel.name = "mover.view"))
        .await
        .map_err(|error| job.failure(&error, place))?;
    log(&view);
    for path in paths {
        job.reporter.path(path);
        let request = request(work, arguments, path);
        let span = tracing::info_span!("backup_path", otel.name = "mover.backup_path", path);
        let report = backup_onto(repository, lock, &mut view, request, control)
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
        file_errors::add_changes(outcome, &report.changed_while_read, &report.vanished);
        outcome.snapshots.push(made(&report, path));
    }
    let read_back = read_back(job, work, repository, lock, &view).await;
    tell_health(&view, read_back.as_ref(), outcome);
    if let Some(failure) = file_errors::failure(outcome, job.context.assignment.source_errors()) {
        outcome.result = TargetResult::Failed.into();
        outcome.error = beside_damage(format!("{place}: {failure}"), &outcome.error);
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

fn log(view: &RepositoryView) {
    let found = view.reconciliation();
    tracing::info!(
        packs = found.packs,
        pack_bytes = found.pack_bytes,
        lost_packs = found.lost.total,
        lost_blobs = view.lost_blobs(),
        packs_taken_up = found.taken_up.len(),
        packs_unreadable = found.unreadable.total,
        "index compared with the packs",
    );
}

/// The time since the last look at the stored data, and the time in which all of it is to be read.
fn rotation(work: &BackupWork) -> Option<Rotation> {
    let check = work.data_check.as_ref()?;
    let since = check.since.as_ref().and_then(proto_api::time::from_proto)?;
    let until = check.until.as_ref().and_then(proto_api::time::from_proto)?;
    let seconds = |time: jiff::Timestamp| u64::try_from(time.as_second()).ok();
    Some(Rotation { since: seconds(since)?, until: seconds(until)?, period: check.period_seconds })
}

/// Reads back the stored data whose turn it is. The new snapshots are verified already, so what cannot be found out here is no
/// failure: `None`, and the next backup reads it.
async fn read_back(
    job: &Job<'_>,
    work: &BackupWork,
    repository: &Repository,
    lock: &LockHandle,
    view: &RepositoryView,
) -> Option<CheckReport> {
    let Some(rotation) = rotation(work) else { return Some(CheckReport::default()) };
    job.reporter.activity("reading back the stored data whose turn it is");
    let reading = view.check_share(repository, lock, rotation, job.reporter.control());
    match reading.instrument(tracing::info_span!("check", otel.name = "mover.check")).await {
        Ok(report) => {
            tracing::info!(
                packs = report.packs_read,
                bytes = report.bytes_read,
                faults = report.errors.len(),
                "stored data read back"
            );
            Some(report)
        }
        Err(error) => {
            tracing::warn!(%error, "the stored data whose turn it is could not be read back");
            None
        }
    }
}

/// Says how large the repository is and whether it is well.
fn tell_health(view: &RepositoryView, read_back: Option<&CheckReport>, outcome: &mut TargetOutcome) {
    outcome.repository_bytes = view.pack_bytes();
    let (integrity, error) = health(&view.damage(), read_back);
    outcome.integrity = integrity.into();
    outcome.error = error;
}

/// A failure for another cause does not hide what is known of the repository.
fn beside_damage(failure: String, damage: &str) -> String {
    if damage.is_empty() { failure } else { format!("{failure}; {damage}") }
}

/// Whether the repository is well, as far as [`RepositoryView`] looks and by what was read back, and what is to be said of it. The
/// new snapshots do not rely on anything that is damaged, or they would not have been made; so this is no failure, and what older
/// ones miss is said. Where the turn of data came and it was not read, the integrity stays open, also beside damage that was seen:
/// the next backup would take that data for read.
fn health(damage: &[Damage], read_back: Option<&CheckReport>) -> (Integrity, String) {
    let number = damage.len() as u64 + read_back.map_or(0, |report| report.errors.len() as u64 + report.errors_omitted);
    let (integrity, remark) = match read_back {
        None => (Integrity::Unspecified, "; the data whose turn it is could not be read back, the next backup does it"),
        Some(_) if number == 0 => (Integrity::Intact, ""),
        Some(_) => (Integrity::Damaged, ""),
    };
    if number == 0 {
        return (integrity, String::new());
    }
    let lost = damage.iter().map(|damage| format!("{}: {}", damage.key, damage.reason));
    let spoilt = read_back.into_iter().flat_map(|report| &report.errors).map(ToString::to_string);
    let named: Vec<String> = lost.chain(spoilt).take(NAMED_DAMAGES).collect();
    let error = format!(
        "the repository is damaged, {number} objects: {}; what the new snapshot added was verified; older ones may miss data: check \
         the repository{remark}",
        named.join("; ")
    );
    (integrity, error)
}

#[cfg(test)]
mod tests {
    use repository::PackId;
    use repository::maintenance::CheckError;

    use super::*;

    fn lost() -> [Damage; 1] {
        [Damage { key: "data/ab/abcd".to_owned(), reason: "it is gone".to_owned() }]
    }

    /// Reliability E9: what was due and could not be read is not taken for read, whatever else was found.
    #[test]
    fn the_integrity_stays_open_until_what_is_due_is_read() {
        assert_eq!(health(&[], None), (Integrity::Unspecified, String::new()));
        let (integrity, told) = health(&lost(), None);
        assert_eq!(integrity, Integrity::Unspecified);
        assert!(told.contains("1 objects: data/ab/abcd: it is gone") && told.contains("could not be read back"), "{told}");
    }

    #[test]
    fn damage_is_counted_and_the_first_of_it_named() {
        let well = CheckReport::default();
        assert_eq!(health(&[], Some(&well)), (Integrity::Intact, String::new()));
        assert_eq!(health(&lost(), Some(&well)).0, Integrity::Damaged);
        let fault = |number: u8| CheckError::PackDamaged { pack: PackId::of(&[number]), reason: format!("fault {number}") };
        let spoilt = CheckReport { errors: (0..5).map(fault).collect(), errors_omitted: 7, ..CheckReport::default() };
        let (integrity, told) = health(&lost(), Some(&spoilt));
        assert_eq!(integrity, Integrity::Damaged);
        assert!(told.contains("13 objects: data/ab/abcd") && told.contains("fault 1") && !told.contains("fault 2"), "{told}");
        assert!(!told.contains("could not be read back"), "{told}");
        assert_eq!(beside_damage("2 files could not be read".to_owned(), &told), format!("2 files could not be read; {told}"));
        assert_eq!(beside_damage("2 files could not be read".to_owned(), ""), "2 files could not be read");
    }
}
