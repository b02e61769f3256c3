//! Adopting the snapshot of an earlier attempt that did not live to tell (architecture §4.5).

use std::{collections::HashSet, time::Duration};

use super::{
    report::{BackupReport, Changes},
    request::INCOMPLETE_TAG,
    tally::Counts,
};
use crate::{
    Control, Repository, SnapshotId, SnapshotList,
    error::{Error, Result},
    format::{Snapshot, SnapshotSummary},
    source::Problems,
};

/// The latest complete snapshot that carries all the tags, if there are any tags.
pub(super) fn find<'a>(snapshots: &'a [(SnapshotId, Snapshot)], tags: &[String]) -> Option<&'a (SnapshotId, Snapshot)> {
    if tags.is_empty() {
        return None;
    }
    snapshots
        .iter()
        .filter(|(_, snapshot)| !snapshot.has_tag(INCOMPLETE_TAG) && tags.iter().all(|tag| snapshot.has_tag(tag)))
        .max_by_key(|(id, snapshot)| (snapshot.time, *id))
}

/// A complete snapshot with all the tags that was not among the `known` ones: another attempt of the same work has come to
/// its end meanwhile. An attempt is taken for dead when its node says so, and may yet wake up: a process that was asleep, a
/// machine that was cut off. Whoever is second keeps the work of the first (failure C3).
pub(super) async fn made_meanwhile(
    repository: &Repository,
    known: &SnapshotList,
    tags: &[String],
    control: &Control,
) -> Result<Option<(SnapshotId, Snapshot)>> {
    if tags.is_empty() {
        return Ok(None);
    }
    let known: HashSet<SnapshotId> = known.snapshots.iter().map(|(id, _)| *id).collect();
    let fresh = repository.snapshots_besides(&known, control).await?;
    Ok(find(&fresh.snapshots, tags).cloned())
}

/// The report that the earlier attempt would have given.
///
/// # Errors
/// If the snapshot does not hold what its summary says.
pub(super) fn report(id: SnapshotId, snapshot: &Snapshot, counts: &Counts, duration: Duration) -> Result<BackupReport> {
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
