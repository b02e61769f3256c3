//! `restore`.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use repository::restore::{Existing, Ownership, RestoreReport, RestoreRequest, restore};
use repository::source::Problems;
use repository::{LockHandle, Repository};
use rustix::process::geteuid;
use serde::Serialize;

use super::arguments::Restore;
use super::failure::Failure;
use super::output::Output;
use super::progress::Work;
use super::session::{Access, Meant, Session};
use super::text;

pub async fn run(session: &Session, arguments: &Restore) -> Result<(), Failure> {
    let output = session.output.for_transfers();
    let (report, read_back) = session
        .with_repository(Access::Read, async |repository, lock| {
            let request = request(session, repository, arguments).await?;
            make_target(&arguments.target)?;
            let _progress = session.progress(&output, Work::Restore);
            let report = restore(repository, &lock, request.clone(), &session.control).await?;
            let read_back = if arguments.verify { Some(compare(session, repository, &lock, request).await?) } else { None };
            Ok((report, read_back))
        })
        .await?;
    tell_problems(&output, "error", "restore", &report.errors);
    tell_problems(&output, "warning", "restore", &report.warnings);
    if let Some(read_back) = &read_back {
        // Its warnings are the restore's once more.
        tell_problems(&output, "error", "verify", &read_back.errors);
    }
    if output.json {
        output.message(&Summary::of(&report))?;
    } else {
        summarise(&output, &report, &arguments.target)?;
    }
    ending(&report, read_back.as_ref())
}

/// What a restore and the reading back after it come to. What could not be read back is not verified.
fn ending(report: &RestoreReport, read_back: Option<&RestoreReport>) -> Result<(), Failure> {
    let mut faults = Vec::new();
    if let Some(read_back) = read_back {
        let (differing, unread) = (read_back.files_restored, read_back.errors.total);
        if differing > 0 {
            faults.push(format!(
                "{differing} files were not as in the snapshot when they were read back; look at the disk and the memory of this \
                 machine"
            ));
        }
        if unread > 0 {
            faults.push(format!("{unread} entries could not be verified, because reading them back failed"));
        }
    }
    if !report.is_complete() {
        faults.push(format!("{} entries could not be restored as they were; everything else was", report.errors.total));
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::Faults(faults.join("; "))) }
}

async fn request(session: &Session, repository: &Repository, arguments: &Restore) -> Result<RestoreRequest, Failure> {
    let meant = Meant::find(session, repository, &arguments.snapshot, &arguments.filter).await?;
    if !meant.folder.is_empty() {
        return Err(Failure::Usage(format!(
            "a part of a snapshot is restored with --include {} and not with a folder after the snapshot",
            meant.folder
        )));
    }
    if arguments.delete && arguments.target == Path::new("/") && arguments.include.is_empty() && arguments.exclude.is_empty() {
        return Err(Failure::Usage(
            "--delete with --target / could empty a running system; say with --include or --exclude what is meant".to_owned(),
        ));
    }
    let mut request = RestoreRequest::new(meant.id, arguments.target.clone());
    request.existing = if arguments.delete { Existing::Replace } else { Existing::Merge };
    request.include.clone_from(&arguments.include);
    request.exclude.clone_from(&arguments.exclude);
    // Only root may give files away; others restore what they can, as with any copy.
    request.ownership = if geteuid().is_root() { Ownership::Required } else { Ownership::BestEffort };
    Ok(request)
}

fn make_target(target: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(target);
    made.map_err(|error| Failure::Usage(format!("cannot make directory {}: {error}", target.display())))
}

/// Restores once more: every file is compared by its hashes, so what has to be written now was not as it should be.
async fn compare(
    session: &Session,
    repository: &Repository,
    lock: &LockHandle,
    mut request: RestoreRequest,
) -> Result<RestoreReport, Failure> {
    request.existing = Existing::Merge;
    Ok(restore(repository, lock, request, &session.control).await?)
}

fn tell_problems(output: &Output, kind: &str, during: &str, problems: &Problems) {
    for problem in &problems.listed {
        output.problem(kind, during, &problem.path, &problem.reason);
    }
    let more = problems.total.saturating_sub(problems.listed.len() as u64);
    if more > 0 {
        output.warn(format_args!("and {more} more like the last one"));
    }
}

fn summarise(output: &Output, report: &RestoreReport, target: &Path) -> Result<(), Failure> {
    let files = report.files_restored + report.files_unchanged + report.hard_links;
    output.note(format_args!("restored snapshot {} to {}", report.snapshot.short(), target.display()))?;
    output.note(format_args!("Files:  {} restored, {} as they were already", report.files_restored, report.files_unchanged))?;
    output.note(format_args!("Dirs:   {}", report.dirs))?;
    output.note(format_args!("Links:  {} further names of files", report.hard_links))?;
    output.note(format_args!("Others: {}", report.others))?;
    if report.removed > 0 {
        output.note(format_args!("Removed: {} entries that the snapshot does not have", report.removed))?;
    }
    let (total, written) = (text::bytes(report.bytes_total), text::bytes(report.bytes_written));
    output.note(format_args!("{files} files, {total} ({written} written) in {}", text::duration(report.duration)))
}

/// restic's summary message of a restore. Like there, everything that is not skipped counts as a restored file.
#[derive(Serialize)]
struct Summary {
    message_type: &'static str,
    seconds_elapsed: u64,
    total_files: u64,
    files_restored: u64,
    files_skipped: u64,
    /// Like there, whatever was removed counts as a file, and none is not told.
    #[serde(skip_serializing_if = "is_none")]
    files_deleted: u64,
    total_bytes: u64,
    bytes_restored: u64,
    bytes_skipped: u64,
}

/// With the signature that serde asks for.
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Summary {
    fn of(report: &RestoreReport) -> Self {
        let restored = report.files_restored + report.hard_links + report.dirs + report.others;
        Self {
            message_type: "summary",
            seconds_elapsed: report.duration.as_secs(),
            total_files: restored + report.files_unchanged,
            files_restored: restored,
            files_skipped: report.files_unchanged,
            files_deleted: report.removed,
            total_bytes: report.bytes_total,
            bytes_restored: report.bytes_total.saturating_sub(report.bytes_unchanged),
            bytes_skipped: report.bytes_unchanged,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use repository::SnapshotId;

    use super::*;

    fn report(files_restored: u64, errors: u64) -> RestoreReport {
        RestoreReport {
            snapshot: SnapshotId::of(b"snapshot"),
            files_restored,
            files_unchanged: 0,
            hard_links: 0,
            dirs: 0,
            others: 0,
            removed: 0,
            bytes_total: 0,
            bytes_written: 0,
            bytes_unchanged: 0,
            errors: Problems { total: errors, listed: Vec::new() },
            warnings: Problems::default(),
            duration: Duration::ZERO,
        }
    }

    fn told(report: &RestoreReport, read_back: Option<&RestoreReport>) -> String {
        ending(report, read_back).map_or_else(|failure| failure.to_string(), |()| String::new())
    }

    /// Invariant I2: what could not be compared is not called verified.
    #[test]
    fn reading_back_that_fails_is_no_success() {
        let restored = report(3, 0);
        assert_eq!(told(&restored, None), "");
        assert_eq!(told(&restored, Some(&report(0, 0))), "");
        let unread = told(&restored, Some(&report(0, 2)));
        assert!(unread.contains("2 entries could not be verified") && !unread.contains("not as in the snapshot"), "{unread}");
        let differing = told(&restored, Some(&report(1, 0)));
        assert!(differing.starts_with("1 files were not as in the snapshot"), "{differing}");
        let all = told(&report(3, 4), Some(&report(1, 2)));
        assert!(["1 files", "2 entries", "4 entries"].iter().all(|number| all.contains(number)), "{all}");
    }
}
