//! Backs up file trees into a repository.
//!
//! [`backup`] reads like the course of a backup: look for a snapshot to adopt, choose a parent, walk the paths with several
//! threads, upload what is new, write the snapshot, read it back and count.

mod adopt;
mod directory;
mod file;
mod parent;
mod queue;
mod report;
mod request;
mod session;
mod tally;
mod targets;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verify;
mod walk;

use std::sync::Arc;

use jiff::Timestamp;
pub use report::{BackupReport, Changes};
pub use request::{BackupRequest, INCOMPLETE_TAG, ParentChoice};

use crate::{
    control::{Control, Event},
    error::{Error, Result},
    format::{Snapshot, SnapshotSummary, Time},
    lock::LockHandle,
    pack::SaverOptions,
    repository::Repository,
};
use session::{Session, Walked};
use targets::TargetTree;

/// Backs up the request's paths as one snapshot.
///
/// Files that cannot be read are left out, listed in the report, and the snapshot carries [`INCOMPLETE_TAG`]; whether that counts as
/// a failure is the caller's policy. The snapshot is written after everything it refers to was acknowledged by the store, and is
/// then read back and counted. If another attempt has made one with the tags to adopt in the meantime, that one is adopted instead.
///
/// # Errors
/// If a path of the request does not exist or a pattern is malformed; if the store fails; if the lock is lost; if the counts differ;
/// [`Error::Cancelled`], after what was packed so far has been uploaded and indexed, so that the next run finds it.
pub async fn backup(
    repository: &Repository,
    lock: &LockHandle,
    request: BackupRequest,
    control: &Control,
) -> Result<BackupReport> {
    let start = Time::from(request.time.unwrap_or_else(Timestamp::now));
    let clock = std::time::Instant::now();
    // Snapshots are listed before the index is loaded: then every blob that they refer to is in it.
    let snapshots = repository.snapshots(control).await?;
    let index = repository.load_index(control).await?;
    if let Some((id, snapshot)) = adopt::find(&snapshots.snapshots, &request.adopt) {
        let reader = repository.blob_reader(index.clone(), control);
        let counts = verify::count(reader, index, snapshot.tree, request.worker_count(), control).await?;
        return adopt::report(*id, snapshot, &counts, clock.elapsed());
    }

    let targets = TargetTree::of(&request.paths)?;
    let parent = parent::choose(&snapshots.snapshots, &request, start);
    let saver = repository.blob_saver(index.clone(), lock.clone(), SaverOptions::default(), control)?;
    let reader = repository.blob_reader(index.clone(), control);
    control.emit(Event::PhaseStarted("walk"));
    let session = Arc::new(Session::new(repository, saver.clone(), reader.clone(), index.clone(), &request, control)?);
    let walked = session::run(session, targets, parent.as_ref().map(|(_, snapshot)| snapshot.tree), request.worker_count()).await;

    // Also after a failure or a cancellation: what is packed is worth keeping.
    control.emit(Event::PhaseStarted("flush"));
    let flushed = saver.flush().await;
    let Walked { tree, tally, errors, changed, vanished, warnings } = walked?;
    let saved = flushed?;
    lock.check()?;
    control.check()?;
    if let Some((id, snapshot)) = adopt::made_meanwhile(repository, &snapshots, &request.adopt, control).await? {
        let index = repository.load_index(control).await?;
        let reader = repository.blob_reader(index.clone(), control);
        let counts = verify::count(reader, index, snapshot.tree, request.worker_count(), control).await?;
        return adopt::report(id, &snapshot, &counts, clock.elapsed());
    }

    let summary = SnapshotSummary {
        backup_start: start,
        backup_end: Time::now(),
        files_new: tally.files.new,
        files_changed: tally.files.changed,
        files_unmodified: tally.files.unmodified,
        dirs_new: tally.dirs.new,
        dirs_changed: tally.dirs.changed,
        dirs_unmodified: tally.dirs.unmodified,
        data_blobs: saved.data_blobs,
        tree_blobs: saved.tree_blobs,
        data_added: saved.bytes_added,
        data_added_packed: saved.bytes_stored,
        total_files_processed: tally.files.total(),
        total_bytes_processed: tally.bytes_processed,
    };
    let mut tags = request.tags.clone();
    if !errors.is_empty() {
        tags.push(INCOMPLETE_TAG.to_owned());
    }
    let snapshot = Snapshot {
        time: start,
        parent: parent.as_ref().map(|(id, _)| *id),
        tree,
        paths: request.path_texts(),
        hostname: request.hostname.clone(),
        username: request.username.clone(),
        uid: request.uid,
        gid: request.gid,
        excludes: request.excludes.clone(),
        tags,
        original: None,
        program_version: request.program_version.clone(),
        summary: Some(summary),
    };
    let id = repository.save_snapshot(lock, &snapshot, control).await?;

    control.emit(Event::PhaseStarted("verify"));
    let counts = verify::count(reader, index, tree, request.worker_count(), control).await?;
    let expected = tally.expected_counts();
    if counts != expected {
        return Err(Error::StoreLied {
            key: format!("snapshots/{id}"),
            reason: format!("reading it back gives {counts}, while {expected} were walked"),
        });
    }
    Ok(BackupReport {
        snapshot: id,
        tree,
        parent: parent.map(|(id, _)| id),
        adopted: false,
        files: tally.files,
        dirs: tally.dirs,
        others: tally.others,
        bytes_processed: tally.bytes_processed,
        bytes_read: tally.bytes_read,
        bytes_added: saved.bytes_added,
        bytes_stored: saved.bytes_stored,
        blobs_new_data: saved.data_blobs,
        blobs_new_tree: saved.tree_blobs,
        errors,
        changed_while_read: changed,
        vanished,
        warnings,
        started: start,
        duration: clock.elapsed(),
    })
}
