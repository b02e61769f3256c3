//! Backs up file trees into a repository.
//!
//! [`backup_onto`] reads like the course of a backup: look for a snapshot to adopt, choose a parent, walk the paths with several
//! threads, upload what is new, read it back and count, write the snapshot.

mod adopt;
mod chunks;
mod directory;
mod file;
#[cfg(test)]
mod huge_tests;
mod parent;
mod queue;
mod report;
mod request;
mod session;
mod streamed;
mod tally;
mod targets;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verify;
mod view;
mod walk;
mod window;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
pub use report::{BackupReport, Changes};
pub use request::{BackupRequest, INCOMPLETE_TAG, ParentChoice};
pub use streamed::Streaming;
pub use view::RepositoryView;
pub use window::WindowBounds;

use crate::{
    SnapshotId,
    control::{Control, Event},
    error::{Error, Result},
    format::{Snapshot, SnapshotSummary, Time},
    index::Index,
    lock::LockHandle,
    pack::{SaveTotals, SaverOptions},
    repository::Repository,
};
use session::{Session, Walked};
use tally::Counts;
use targets::TargetTree;
use verify::Extent;

/// Backs up the request's paths as one snapshot, onto a view of its own.
///
/// # Errors
/// As [`backup_onto`], and as [`RepositoryView::open`].
pub async fn backup(
    repository: &Repository,
    lock: &LockHandle,
    request: BackupRequest,
    control: &Control,
) -> Result<BackupReport> {
    let mut view = RepositoryView::open(repository, lock, control).await?;
    backup_onto(repository, lock, &mut view, request, control).await
}

/// Backs up the request's paths as one snapshot.
///
/// Files that cannot be read are left out, listed in the report, and the snapshot carries [`INCOMPLETE_TAG`]; whether that counts as
/// a failure is the caller's policy. The snapshot is written after everything it refers to was acknowledged by the store, found
/// there, and as far as it is new read back and counted. If another attempt has made one with the tags to adopt in the
/// meantime, that one is adopted instead, provided that it reads back.
///
/// # Errors
/// If a path of the request does not exist or a pattern is malformed; if the store fails; if the lock is lost; if the counts differ;
/// [`Error::Cancelled`], after what was packed so far has been uploaded and indexed, so that the next run finds it.
pub async fn backup_onto(
    repository: &Repository,
    lock: &LockHandle,
    view: &mut RepositoryView,
    request: BackupRequest,
    control: &Control,
) -> Result<BackupReport> {
    control.finish(course(repository, lock, view, request, control)).await
}

async fn course(
    repository: &Repository,
    lock: &LockHandle,
    view: &mut RepositoryView,
    request: BackupRequest,
    control: &Control,
) -> Result<BackupReport> {
    let start = Time::from(request.time.unwrap_or_else(Timestamp::now));
    let clock = std::time::Instant::now();
    if let Some(report) = adopt::earlier(repository, view, &request, clock, control).await? {
        return Ok(report);
    }
    let parent = parent::choose(&view.snapshots.snapshots, &request, start);
    let stored = store(repository, lock, &view.index, &request, parent.as_ref(), control).await?;
    lock.check()?;
    control.check()?;
    if let Some(report) = adopt::meanwhile(repository, lock, view, &request, clock, control).await? {
        return Ok(report);
    }
    let snapshot = stored.snapshot(&request, parent.as_ref().map(|(id, _)| *id), start);
    let id = repository.save_snapshot(lock, &snapshot, control).await?;
    view.add(id, snapshot.clone(), stored.saved.pack_bytes);
    Ok(stored.into_report(id, &snapshot, clock.elapsed()))
}

/// What stands in the store but for the snapshot.
struct Stored {
    walked: Walked,
    saved: SaveTotals,
}

/// Walks the paths and uploads what is new, then reads that back.
async fn store(
    repository: &Repository,
    lock: &LockHandle,
    index: &Arc<Index>,
    request: &BackupRequest,
    parent: Option<&(SnapshotId, Snapshot)>,
    control: &Control,
) -> Result<Stored> {
    let targets = TargetTree::of(&request.paths)?;
    // The saver comes last: it can do with what is left.
    let threads = request.threads(repository.memory());
    let reader = repository.blob_reader(Arc::clone(index), control).with_whole_trees(request.streaming.bytes);
    let saver = repository.blob_saver(Arc::clone(index), lock.clone(), SaverOptions::default(), control)?;
    control.emit(Event::PhaseStarted("walk"));
    let session = Session::new(repository, saver.clone(), reader.clone(), Arc::clone(index), request, control)?;
    let known_packs = session.known_packs;
    let previous_tree = parent.map(|(_, snapshot)| snapshot.tree);
    let walked = session::run(Arc::new(session), targets, previous_tree, threads.count).await;

    // Also after a failure or a cancellation: what is packed is worth keeping.
    control.emit(Event::PhaseStarted("flush"));
    let flushed = saver.flush().await;
    let walked = walked?;
    let saved = flushed?;

    control.emit(Event::PhaseStarted("verify"));
    let count = |extent| verify::count(reader.clone(), Arc::clone(index), walked.tree, extent, request.worker_count(), control);
    read_back(&walked, known_packs, count).await?;
    Ok(Stored { walked, saved })
}

/// Compares what is read back with what was walked, before any snapshot refers to it.
///
/// Below an old tree nothing new is looked for. There may be something if the repository was damaged: a tree is known, one below
/// it was lost and is stored anew. Then the counts differ, and all is read before anything is said.
async fn read_back<F>(walked: &Walked, known_packs: u32, count: impl Fn(Extent) -> F) -> Result<()>
where
    F: Future<Output = Result<Counts>>,
{
    let lied = |reason: String| Error::StoreLied { key: format!("tree {}", walked.tree), reason };
    // What this run has stored is not damaged but was never kept.
    let counted = |counts: Result<Counts>| {
        counts.map_err(|error| if error.is_damage() { lied(format!("it does not read back: {error}")) } else { error })
    };
    if counted(count(Extent::NewerThan(known_packs)).await)? == walked.tally.in_new_trees {
        return Ok(());
    }
    let (counts, expected) = (counted(count(Extent::Whole).await)?, walked.tally.expected_counts());
    if counts == expected {
        return Ok(());
    }
    Err(lied(format!("reading it back gives {counts}, while {expected} were walked")))
}

impl Stored {
    fn snapshot(&self, request: &BackupRequest, parent: Option<SnapshotId>, start: Time) -> Snapshot {
        let Self { walked, saved } = self;
        let tally = &walked.tally;
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
        if !walked.errors.is_empty() {
            tags.push(INCOMPLETE_TAG.to_owned());
        }
        Snapshot {
            time: start,
            parent,
            tree: walked.tree,
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
        }
    }

    fn into_report(self, id: SnapshotId, snapshot: &Snapshot, duration: Duration) -> BackupReport {
        let Self { walked, saved } = self;
        BackupReport {
            snapshot: id,
            tree: walked.tree,
            parent: snapshot.parent,
            adopted: false,
            files: walked.tally.files,
            dirs: walked.tally.dirs,
            others: walked.tally.others,
            bytes_processed: walked.tally.bytes_processed,
            bytes_read: walked.tally.bytes_read,
            bytes_added: saved.bytes_added,
            bytes_stored: saved.bytes_stored,
            blobs_new_data: saved.data_blobs,
            blobs_new_tree: saved.tree_blobs,
            errors: walked.errors,
            changed_while_read: walked.changed,
            vanished: walked.vanished,
            warnings: walked.warnings,
            started: snapshot.time,
            duration,
        }
    }
}
