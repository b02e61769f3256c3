//! Restores file trees from a repository.
//!
//! [`restore`] walks the snapshot's trees, makes directories and special entries on the way, and collects files. Files are restored
//! in batches, one while the next is collected: what is there already is compared by its hashes, then every pack that is needed is
//! read once and its blobs are written to all the places that want them. Hard links follow, and last comes the metadata of the
//! directories that the walk has left for good: whatever is in them is done, so nothing is remembered of them after their batch.
//!
//! The rules:
//! * Nothing is written outside of the root, whatever names the repository holds and whatever links stand in the target: everything
//!   is opened relative to a directory handle, one name at a time, beneath and without links (architecture §4.10).
//! * Directories above the paths that were backed up are made if they are missing, with the metadata of the snapshot. Those that are
//!   there keep theirs: they belong to an image or to other volumes.
//! * Entries of the target that the snapshot does not have are left alone, unless they are to be removed
//!   ([`Existing::Replace`]): that comes last, and only if everything else is as it should be. An entry of another type than the
//!   snapshot's is replaced, a directory with all that is in it; but nothing is removed from a file system that is mounted there.
//! * A file is written in place if it has one name only; else it is replaced, because another name may stand outside of the root.
//! * What cannot be restored is named, and everything else is restored.

mod batch;
mod damage;
mod directories;
mod empty;
mod fetch;
mod file;
mod links;
mod maker;
mod pack_room;
mod report;
mod request;
mod restorer;
mod room;
mod select;
mod settle;
mod special;
mod strangers;
mod surplus;
mod target;
#[cfg(test)]
mod tests;
mod walk;
mod written;

use std::sync::Arc;

pub use report::RestoreReport;
pub use request::{Existing, Ownership, Privileged, RestoreRequest};

use crate::{
    control::{Control, Event},
    error::{Error, Result},
    lock::LockHandle,
    repository::Repository,
};
use restorer::Restorer;
use room::Announced;

/// Restores a snapshot, or what the request chooses of it. The lock keeps a prune from taking the data away meanwhile.
///
/// # Errors
/// If the root cannot be opened, the target certainly has no room or is not empty though it should be, a pattern is malformed, the
/// snapshot does not exist or its root tree cannot be read, the store cannot be reached, the lock is lost, or it is cancelled.
/// Entries that could not be restored are in the report.
pub async fn restore(
    repository: &Repository,
    lock: &LockHandle,
    request: RestoreRequest,
    control: &Control,
) -> Result<RestoreReport> {
    let clock = std::time::Instant::now();
    let snapshot = repository.snapshot(&request.snapshot, control).await?;
    if request.existing == Existing::RefuseIfNotEmpty {
        empty::look(&request, &snapshot, control).await?;
    }
    let index = repository.load_index(control).await?;
    let reader = repository.blob_reader(index.clone(), control);
    control.emit(Event::PhaseStarted("restore"));
    let restorer = Arc::new(Restorer::new(&request, &snapshot, index, reader, lock.clone(), control)?);
    let span = tracing::Span::current();
    let worker = restorer.clone();
    let announced = Announced {
        bytes: snapshot.summary.as_ref().map(|summary| summary.total_bytes_processed),
        is_ours: snapshot.program_version.starts_with("orlop "),
    };
    let work = tokio::task::spawn_blocking(move || {
        span.in_scope(|| {
            worker.refuse_without_room(snapshot.tree, &announced)?;
            worker.run(snapshot.tree)
        })
    });
    // Threads that hang in the file system are left behind after a cancellation; they ask before each step whether to go on.
    control.finish(async { work.await.map_err(Error::internal)? }).await?;
    lock.check()?;
    if planted!(RestoreErrorsForgotten) {
        drop(restorer.errors.take());
    }
    Ok(restorer.report(request.snapshot, clock.elapsed()))
}

/// Looks whether the target is empty, as [`restore`] does for [`Existing::RefuseIfNotEmpty`]. It is for whoever restores several
/// snapshots or may have to begin again: later, what was restored already stands in the target.
///
/// # Errors
/// [`Error::TargetNotEmpty`]; [`Error::File`] if the target cannot be looked at; if the snapshot cannot be read, or it is cancelled.
pub async fn expect_empty(repository: &Repository, request: &RestoreRequest, control: &Control) -> Result<()> {
    let snapshot = repository.snapshot(&request.snapshot, control).await?;
    empty::look(request, &snapshot, control).await
}
