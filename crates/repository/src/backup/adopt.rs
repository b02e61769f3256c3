//! Adopting the snapshot of an earlier attempt that did not live to tell (architecture §4.5).

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    report::{BackupReport, Changes},
    request::{BackupRequest, INCOMPLETE_TAG},
    tally::Counts,
    verify::{self, Extent},
    view::RepositoryView,
};
use crate::{
    Control, Repository, SnapshotId,
    control::Event,
    error::{Error, Result},
    format::{Snapshot, SnapshotSummary},
    index::Index,
    lock::LockHandle,
    source::Problems,
};

/// The report of the attempt that has made a snapshot with the tags to adopt, if there is one.
pub(super) async fn earlier(
    repository: &Repository,
    view: &RepositoryView,
    request: &BackupRequest,
    clock: Instant,
    control: &Control,
) -> Result<Option<BackupReport>> {
    match find(&view.snapshots.snapshots, &request.adopt) {
        Some((id, snapshot)) => read_back(repository, &view.index, (*id, snapshot), request, clock, control).await,
        None => Ok(None),
    }
}

/// The same of an attempt that has come to its end since the view was opened. An attempt is taken for dead when its node says
/// so, and may yet wake up: a process that was asleep, a machine that was cut off. Whoever is second keeps the work of the first
/// (failure C3).
pub(super) async fn meanwhile(
    repository: &Repository,
    lock: &LockHandle,
    view: &RepositoryView,
    request: &BackupRequest,
    clock: Instant,
    control: &Control,
) -> Result<Option<BackupReport>> {
    if request.adopt.is_empty() {
        return Ok(None);
    }
    let known: HashSet<SnapshotId> = view.snapshots.snapshots.iter().map(|(id, _)| *id).collect();
    let fresh = repository.snapshots_besides(&known, control).await?;
    let Some((id, snapshot)) = find(&fresh.snapshots, &request.adopt) else { return Ok(None) };
    // What it refers to is in packs and index files that came after ours were read.
    let index = repository.load_index(control).await?;
    repository.reconcile(&index, lock, control).await?;
    read_back(repository, &index, (*id, snapshot), request, clock, control).await
}

/// The latest complete snapshot that carries all the tags, if there are any tags.
fn find<'a>(snapshots: &'a [(SnapshotId, Snapshot)], tags: &[String]) -> Option<&'a (SnapshotId, Snapshot)> {
    if tags.is_empty() {
        return None;
    }
    snapshots
        .iter()
        .filter(|(_, snapshot)| !snapshot.has_tag(INCOMPLETE_TAG) && tags.iter().all(|tag| snapshot.has_tag(tag)))
        .max_by_key(|(id, snapshot)| (snapshot.time, *id))
}

/// Reads a snapshot back in whole. One that does not hold what it says is of no use, and no reason to fail: the data is still
/// there to be backed up, so another snapshot is made.
async fn read_back(
    repository: &Repository,
    index: &Arc<Index>,
    (id, snapshot): (SnapshotId, &Snapshot),
    request: &BackupRequest,
    clock: Instant,
    control: &Control,
) -> Result<Option<BackupReport>> {
    let reader = repository.blob_reader(Arc::clone(index), control);
    let workers = request.worker_count();
    let counted = verify::count(reader, Arc::clone(index), snapshot.tree, Extent::Whole, workers, control).await;
    match counted.and_then(|counts| report(id, snapshot, &counts, clock.elapsed())) {
        Ok(report) => Ok(Some(report)),
        Err(error) if error.is_damage() || matches!(error, Error::StoreLied { .. }) => {
            tracing::warn!(snapshot = %id, %error, "the snapshot of an earlier attempt is damaged, another one is made");
            control.emit(Event::Damaged { key: format!("snapshots/{id}"), reason: error.to_string() });
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The report that the earlier attempt would have given.
///
/// # Errors
/// If the snapshot does not hold what its summary says.
fn report(id: SnapshotId, snapshot: &Snapshot, counts: &Counts, duration: Duration) -> Result<BackupReport> {
    let summary = snapshot.summary.clone().unwrap_or(SnapshotSummary {
        files_unmodified: counts.files,
        dirs_unmodified: counts.dirs,
        total_files_processed: counts.files,
        total_bytes_processed: counts.bytes,
        ..SnapshotSummary::default()
    });
    if (summary.total_files_processed, summary.total_bytes_processed) != (counts.files, counts.bytes) {
        return Err(Error::StoreLied {
            key: format!("snapshots/{id}"),
            reason: format!(
                "reading it back gives {counts}, while its summary says {} files with {} bytes",
                summary.total_files_processed, summary.total_bytes_processed
            ),
        });
    }
    Ok(BackupReport {
        snapshot: id,
        tree: snapshot.tree,
        parent: snapshot.parent,
        adopted: true,
        files: Changes { new: summary.files_new, changed: summary.files_changed, unmodified: summary.files_unmodified },
        dirs: Changes { new: summary.dirs_new, changed: summary.dirs_changed, unmodified: summary.dirs_unmodified },
        others: counts.others,
        bytes_processed: summary.total_bytes_processed,
        bytes_read: 0,
        bytes_added: summary.data_added,
        bytes_stored: summary.data_added_packed,
        blobs_new_data: summary.data_blobs,
        blobs_new_tree: summary.tree_blobs,
        errors: Problems::default(),
        changed_while_read: Problems::default(),
        vanished: Problems::default(),
        warnings: Problems::default(),
        started: snapshot.time,
        duration,
    })
}
