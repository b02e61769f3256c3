//! `backup`.

use std::path::{Component, Path, PathBuf};

use repository::backup::{BackupReport, BackupRequest, ParentChoice};
use repository::browse::SnapshotFilter;
use repository::format::Time;
use repository::source::Problems;
use repository::{Id, Repository};
use serde::Serialize;

use super::arguments::Backup;
use super::credentials::environment;
use super::excludes;
use super::failure::Failure;
use super::holder::{hostname, username};
use super::output::Output;
use super::progress::Work;
use super::session::{Access, Session};
use super::text;

pub async fn run(session: &Session, arguments: &Backup) -> Result<(), Failure> {
    let output = session.output.for_transfers();
    let mut request = request(arguments)?;
    let report = session
        .with_repository(Access::Append, async |repository, lock| {
            request.parent = parent(session, repository, arguments, &request).await?;
            let _progress = session.progress(&output, Work::Backup);
            Ok(repository::backup::backup(repository, &lock, request, &session.control).await?)
        })
        .await?;
    tell_problems(&output, &report);
    if output.json {
        output.message(&Summary::of(&report))?;
    } else {
        summarise(&output, &report)?;
    }
    if report.is_complete() {
        return Ok(());
    }
    Err(Failure::Incomplete(format!(
        "{} files could not be read; snapshot {} holds everything else",
        report.errors.total,
        report.snapshot.short()
    )))
}

fn request(arguments: &Backup) -> Result<BackupRequest, Failure> {
    let paths = arguments.paths.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?;
    let mut request = BackupRequest::new(paths);
    request.excludes.clone_from(&arguments.exclude);
    request.excludes.extend(excludes::read(&arguments.exclude_file, &environment)?);
    request.one_file_system = arguments.one_file_system;
    request.hostname = arguments.host.clone().unwrap_or_else(hostname);
    request.username = username();
    request.tags = arguments.tags.iter().flat_map(|list| list.0.clone()).filter(|tag| !tag.is_empty()).collect();
    Ok(request)
}

/// The path from the root, with every `..` taken back as it is written.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let full = std::path::absolute(path).map_err(|error| Failure::Usage(format!("cannot find {}: {error}", path.display())))?;
    let mut clean = PathBuf::new();
    for component in full.components() {
        if component == Component::ParentDir {
            clean.pop();
        } else {
            clean.push(component);
        }
    }
    Ok(clean)
}

async fn parent(
    session: &Session,
    repository: &Repository,
    arguments: &Backup,
    request: &BackupRequest,
) -> Result<ParentChoice, Failure> {
    if arguments.force {
        return Ok(ParentChoice::None);
    }
    let Some(wanted) = &arguments.parent else { return Ok(ParentChoice::Auto) };
    let paths = request.paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let filter = SnapshotFilter { hosts: vec![request.hostname.clone()], paths, ..SnapshotFilter::default() };
    let (id, _) = repository.find_snapshot(wanted, &filter, &session.control).await?;
    Ok(ParentChoice::Snapshot(id))
}

fn tell_problems(output: &Output, report: &BackupReport) {
    tell(output, "error", &report.errors);
    tell(output, "warning", &report.changed_while_read);
    tell(output, "warning", &report.vanished);
    tell(output, "warning", &report.warnings);
}

fn tell(output: &Output, kind: &str, problems: &Problems) {
    for problem in &problems.listed {
        output.problem(kind, "archival", &problem.path, &problem.reason);
    }
    let more = problems.total.saturating_sub(problems.listed.len() as u64);
    if more > 0 {
        output.warn(format_args!("and {more} more like the last one"));
    }
}

fn summarise(output: &Output, report: &BackupReport) -> Result<(), Failure> {
    let parent = report.parent.map_or_else(
        || "no parent snapshot, all files were read".to_owned(),
        |parent| format!("unchanged files were taken over from snapshot {}", parent.short()),
    );
    let (added, stored) = (text::bytes(report.bytes_added), text::bytes(report.bytes_stored));
    let processed = text::bytes(report.bytes_processed);
    let count = |changes: repository::backup::Changes| {
        format!("{} new, {} changed, {} unmodified", changes.new, changes.changed, changes.unmodified)
    };
    output.note(parent)?;
    output.note(format_args!("Files: {}", count(report.files)))?;
    output.note(format_args!("Dirs:  {}", count(report.dirs)))?;
    output.note(format_args!("Added to the repository: {added} ({stored} stored)"))?;
    let took = text::duration(report.duration);
    output.note(format_args!("processed {} files, {processed} in {took}", report.files.total()))?;
    output.note(format_args!("snapshot {} saved", report.snapshot.short()))
}

/// restic's summary message of a backup.
#[derive(Serialize)]
struct Summary {
    message_type: &'static str,
    files_new: u64,
    files_changed: u64,
    files_unmodified: u64,
    dirs_new: u64,
    dirs_changed: u64,
    dirs_unmodified: u64,
    data_blobs: u64,
    tree_blobs: u64,
    data_added: u64,
    data_added_packed: u64,
    total_files_processed: u64,
    total_bytes_processed: u64,
    total_duration: f64,
    backup_start: Time,
    backup_end: Time,
    snapshot_id: Id,
}

impl Summary {
    fn of(report: &BackupReport) -> Self {
        Self {
            message_type: "summary",
            files_new: report.files.new,
            files_changed: report.files.changed,
            files_unmodified: report.files.unmodified,
            dirs_new: report.dirs.new,
            dirs_changed: report.dirs.changed,
            dirs_unmodified: report.dirs.unmodified,
            data_blobs: report.blobs_new_data,
            tree_blobs: report.blobs_new_tree,
            data_added: report.bytes_added,
            data_added_packed: report.bytes_stored,
            total_files_processed: report.files.total(),
            total_bytes_processed: report.bytes_processed,
            total_duration: report.duration.as_secs_f64(),
            backup_start: report.started,
            backup_end: Time::now(),
            snapshot_id: report.snapshot,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_taken_from_where_the_person_stands() {
        assert_eq!(absolute(Path::new("/a/b/../c/")).unwrap(), Path::new("/a/c"));
        assert_eq!(absolute(Path::new("/..")).unwrap(), Path::new("/"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute(Path::new("./x")).unwrap(), here.join("x"));
        assert_eq!(absolute(Path::new("..")).unwrap(), here.parent().unwrap());
    }
}
