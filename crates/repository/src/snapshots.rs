//! Snapshots: list, read, save, forget.

use std::collections::HashSet;

use futures::StreamExt;

use crate::control::{Control, Event};
use crate::error::{Error, Result};
use crate::format::{Id, Snapshot};
use crate::limits;
use crate::lock::LockHandle;
use crate::objects::FileType;
use crate::{Repository, SnapshotId};

/// An object that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Its key in the store.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The snapshots of a repository at one moment. Take the list *before* the index is loaded: all that it names is indexed by then.
#[derive(Debug, Clone, Default)]
pub struct SnapshotList {
    /// The readable snapshots, oldest first.
    pub snapshots: Vec<(SnapshotId, Snapshot)>,
    /// Snapshot objects that could not be read.
    pub damaged: Vec<Damage>,
}

impl SnapshotList {
    /// The snapshots that carry all these tags, oldest first.
    pub fn with_tags<'a>(&'a self, tags: &'a [&'a str]) -> impl Iterator<Item = &'a (SnapshotId, Snapshot)> {
        self.snapshots.iter().filter(move |(_, snapshot)| tags.iter().all(|tag| snapshot.has_tag(tag)))
    }
}

/// What [`Repository::forget`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgetReport {
    /// Removed now.
    pub removed: Vec<SnapshotId>,
    /// Were not there; an earlier attempt may have removed them.
    pub absent: Vec<SnapshotId>,
}

impl Repository {
    /// Reads all snapshots. One damaged snapshot costs only itself (reliability D8); it is listed and told to the listener.
    ///
    /// # Errors
    /// Of the store: a listing that fails is never taken for an empty one.
    pub async fn snapshots(&self, control: &Control) -> Result<SnapshotList> {
        self.snapshots_besides(&HashSet::new(), control).await
    }

    /// The same without those that are known already, which are not read again.
    ///
    /// # Errors
    /// As [`Self::snapshots`].
    pub async fn snapshots_besides(&self, known: &HashSet<SnapshotId>, control: &Control) -> Result<SnapshotList> {
        let listed = self.objects().list(FileType::Snapshot, control).await?;
        let mut loads = futures::stream::iter(listed.into_iter().filter(|listed| !known.contains(&listed.id)))
            .map(|listed| async move { (listed.id, self.load_json::<Snapshot>(FileType::Snapshot, &listed.id, control).await) })
            .buffer_unordered(limits::PARALLEL_READS);
        let mut list = SnapshotList::default();
        while let Some((id, loaded)) = loads.next().await {
            match loaded {
                Ok(snapshot) => list.snapshots.push((id, snapshot)),
                // One that is too large to be a snapshot must not hide the others either.
                Err(error @ (Error::Damaged { .. } | Error::BeyondLimit { .. })) => {
                    let (key, reason) = match error {
                        Error::Damaged { key, reason } => (key, reason),
                        other => (FileType::Snapshot.key(&id), other.to_string()),
                    };
                    control.emit(Event::Damaged { key: key.clone(), reason: reason.clone() });
                    list.damaged.push(Damage { key, reason });
                }
                // Forgotten by somebody between the listing and now.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        list.snapshots.sort_by(|(a_id, a), (b_id, b)| (a.time, a_id).cmp(&(b.time, b_id)));
        Ok(list)
    }

    /// Reads one snapshot.
    ///
    /// # Errors
    /// [`Error::SnapshotMissing`] if it does not exist, [`Error::Damaged`] if it is unreadable.
    pub async fn snapshot(&self, id: &SnapshotId, control: &Control) -> Result<Snapshot> {
        self.load_json(FileType::Snapshot, id, control)
            .await
            .map_err(|error| if error.is_not_found() { Error::SnapshotMissing { id: *id } } else { error })
    }

    /// Writes a snapshot, after everything it needs was flushed, and reads it back.
    ///
    /// The lock is looked for in the store before and after: if somebody removed it, a prune may have taken packs that this
    /// snapshot needs, and no snapshot is better than a broken one (reliability §8.1).
    ///
    /// # Errors
    /// [`Error::LockLost`], [`Error::StoreLied`] if it does not read back, else of the store.
    pub async fn save_snapshot(&self, lock: &LockHandle, snapshot: &Snapshot, control: &Control) -> Result<SnapshotId> {
        if !planted!(LostLockUnnoticed) {
            lock.verify().await?;
        }
        let id = self.save_json(FileType::Snapshot, snapshot).await?;
        // And again: writing may have taken long, or the process slept. What was written stays, for the next attempt may have
        // adopted it already.
        if !planted!(LostLockUnnoticed) {
            lock.verify().await?;
        }
        let reread: Snapshot = self.load_json(FileType::Snapshot, &id, &Control::default()).await?;
        if reread != *snapshot {
            return Err(Error::StoreLied { key: FileType::Snapshot.key(&id), reason: "it reads back differently".into() });
        }
        control.emit(Event::PhaseStarted("snapshot saved"));
        Ok(id)
    }

    /// Removes the named snapshots. Their data stays until a prune.
    ///
    /// # Errors
    /// [`Error::NotExclusive`] without an exclusive lock, else of the store.
    pub async fn forget(&self, lock: &LockHandle, ids: &[SnapshotId], control: &Control) -> Result<ForgetReport> {
        lock.require_exclusive("forget")?;
        control.finish(self.forget_some(lock, ids, control)).await
    }

    async fn forget_some(&self, lock: &LockHandle, ids: &[SnapshotId], control: &Control) -> Result<ForgetReport> {
        lock.verify().await?;
        let listed: HashSet<Id> =
            self.objects().list(FileType::Snapshot, control).await?.into_iter().map(|object| object.id).collect();
        let mut report = ForgetReport::default();
        for id in ids {
            lock.check()?;
            control.check()?;
            // A listing may miss what is there; only the object itself tells that it is not (invariant I8).
            if listed.contains(id) || self.objects().head(FileType::Snapshot, id).await?.is_some() {
                self.objects().delete(FileType::Snapshot, id).await?;
                report.removed.push(*id);
            } else {
                report.absent.push(*id);
            }
        }
        Ok(report)
    }
}
