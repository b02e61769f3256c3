//! Writing snapshots anew without what is lost, as restic's `repair snapshots` does: with the same names, the tag `repaired`, and the
//! snapshot that each was made from.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;

use super::super::compare::{Disagreement, suspects};
use super::losses::{Losses, LostPart};
use super::require_whole;
use super::trees::TreeRewriter;
use crate::control::{Control, Event};
use crate::error::{Error, Result};
use crate::format::Snapshot;
use crate::index::Index;
use crate::limits;
use crate::lock::LockHandle;
use crate::objects::FileType;
use crate::pack::{BlobReader, BlobSaver, SaverOptions, read_pack_header};
use crate::{PackId, Repository, SnapshotId, TreeId};

/// The tag of a snapshot that stands beside the one it was made from.
const REPAIRED: &str = "repaired";

/// How snapshots are repaired.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepairSnapshotsOptions {
    /// Removes the snapshots that others took the place of, and those of which nothing is left.
    pub forget: bool,
    /// Only looks; any lock will do.
    pub dry_run: bool,
}

/// What became of a snapshot of which something is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotRepair {
    /// Another one holds what is left.
    Rewritten {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The other one; `None` if it was only looked.
        new: Option<SnapshotId>,
    },
    /// Its root cannot be read: nothing is left.
    NothingLeft {
        /// The snapshot.
        snapshot: SnapshotId,
    },
}

impl SnapshotRepair {
    /// The snapshot of which something is lost.
    #[must_use]
    pub fn snapshot(&self) -> SnapshotId {
        match self {
            Self::Rewritten { snapshot, .. } | Self::NothingLeft { snapshot } => *snapshot,
        }
    }
}

/// What a repair of snapshots did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairSnapshotsReport {
    /// Snapshots that were looked at.
    pub snapshots: usize,
    /// Those of which something is lost.
    pub repaired: Vec<SnapshotRepair>,
    /// What is lost; the first thousand parts.
    pub lost: Vec<LostPart>,
    /// All parts.
    pub lost_total: u64,
    /// Snapshots that were removed.
    pub removed: Vec<SnapshotId>,
}

/// A snapshot with the tree that it should have.
struct Outcome {
    id: SnapshotId,
    snapshot: Snapshot,
    /// `None` if nothing is left.
    tree: Option<TreeId>,
}

impl Repository {
    /// Writes the named snapshots anew where something of them is lost; the originals stay unless they are to be forgotten.
    ///
    /// # Errors
    /// [`Error::NotExclusive`] without an exclusive lock, but for a look; [`Error::RepairRefused`] if the index and the packs
    /// disagree, for then nothing can be said to be lost: repair the index first. Of the store.
    pub async fn repair_snapshots(
        &self,
        lock: &LockHandle,
        ids: &[SnapshotId],
        options: RepairSnapshotsOptions,
        control: &Control,
    ) -> Result<RepairSnapshotsReport> {
        if options.dry_run {
            lock.check()?;
        } else {
            lock.require_exclusive("repairing snapshots")?;
        }
        control.finish(self.rewrite_snapshots(lock, ids, options, control)).await
    }

    async fn rewrite_snapshots(
        &self,
        lock: &LockHandle,
        ids: &[SnapshotId],
        options: RepairSnapshotsOptions,
        control: &Control,
    ) -> Result<RepairSnapshotsReport> {
        lock.verify().await?;
        let list = self.snapshots(control).await?;
        // With ids: what looks known by accident would be taken for stored, and the original may go.
        let index = self.load_index_with_ids(control).await?;
        require_whole(&index)?;
        control.emit(Event::PhaseStarted("comparing the index with the packs"));
        self.require_agreement(&index, control).await?;
        control.emit(Event::PhaseStarted("looking for what is lost"));
        let saver = if options.dry_run {
            None
        } else {
            Some(self.blob_saver(Arc::clone(&index), lock.clone(), SaverOptions::default(), control)?)
        };
        let wanted: HashSet<SnapshotId> = ids.iter().copied().collect();
        let snapshots: Vec<_> = list.snapshots.iter().filter(|(id, _)| wanted.contains(id)).cloned().collect();
        let mut report = RepairSnapshotsReport { snapshots: snapshots.len(), ..RepairSnapshotsReport::default() };
        let reader = self.blob_reader(index, control);
        let (outcomes, looked) = rewrite_trees(snapshots, reader, saver.clone(), control).await?;
        (report.lost, report.lost_total) = (looked.named, looked.total);
        if let Some(saver) = saver {
            // The trees are in the store and in the index before a snapshot names them.
            saver.flush().await?;
        }
        for outcome in outcomes {
            let repair = self.replace_snapshot(outcome, &list.snapshots, lock, options, control).await?;
            report.repaired.push(repair);
        }
        if options.forget && !options.dry_run && !report.repaired.is_empty() {
            let old: Vec<SnapshotId> = report.repaired.iter().map(SnapshotRepair::snapshot).collect();
            report.removed = self.forget(lock, &old, control).await?.removed;
        }
        Ok(report)
    }

    /// Saves a snapshot with what is left, unless an earlier repair did.
    async fn replace_snapshot(
        &self,
        outcome: Outcome,
        known: &[(SnapshotId, Snapshot)],
        lock: &LockHandle,
        options: RepairSnapshotsOptions,
        control: &Control,
    ) -> Result<SnapshotRepair> {
        let Outcome { id, mut snapshot, tree } = outcome;
        let Some(tree) = tree else { return Ok(SnapshotRepair::NothingLeft { snapshot: id }) };
        if options.dry_run {
            return Ok(SnapshotRepair::Rewritten { snapshot: id, new: None });
        }
        let earlier = known.iter().find(|(_, other)| other.original == Some(id) && other.tree == tree);
        if let Some((earlier, _)) = earlier {
            return Ok(SnapshotRepair::Rewritten { snapshot: id, new: Some(*earlier) });
        }
        snapshot.tree = tree;
        snapshot.original = Some(id);
        if !options.forget && !snapshot.has_tag(REPAIRED) {
            snapshot.tags.push(REPAIRED.to_owned());
        }
        let new = self.save_snapshot(lock, &snapshot, control).await?;
        Ok(SnapshotRepair::Rewritten { snapshot: id, new: Some(new) })
    }

    /// Makes sure that what the index does not have is nowhere, and that what it has is there.
    async fn require_agreement(&self, index: &Arc<Index>, control: &Control) -> Result<()> {
        let refuse = |reason: String| Err(Error::RepairRefused { reason });
        let listed = self.objects().list(FileType::Pack, control).await?;
        let (suspects, listed) = suspects(index, listed).await?;
        let looked = self.look_at(suspects, control).await?;
        if let Some((pack, disagreement)) = looked.iter().min_by_key(|(pack, _)| **pack) {
            return refuse(match disagreement {
                Disagreement::Absent => format!("pack {pack} is in the index but not in the store; repair the index"),
                Disagreement::Size { expected, found } => {
                    format!("pack {pack} has {found} bytes instead of {expected}; repair the index, or that pack")
                }
            });
        }
        let named: HashSet<PackId> = index.pack_ids().into_iter().collect();
        let mut headers = futures::stream::iter(listed.into_iter().filter(|pack| !named.contains(&pack.id)))
            .map(|pack| async move { (pack.id, read_pack_header(self, &pack.id, pack.size, control).await) })
            .buffer_unordered(limits::PARALLEL_HEADERS);
        while let Some((pack, header)) = headers.next().await {
            match header {
                Ok(header) if header.blobs.iter().any(|blob| !index.contains(blob.blob_type, &blob.id)) => {
                    return refuse(format!("pack {pack} holds blobs that no index names; repair the index"));
                }
                Ok(_) => {}
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes the trees of snapshots anew. Those that came out differently, and what is lost.
async fn rewrite_trees(
    snapshots: Vec<(SnapshotId, Snapshot)>,
    reader: BlobReader,
    saver: Option<BlobSaver>,
    control: &Control,
) -> Result<(Vec<Outcome>, Losses)> {
    let control = control.clone();
    let rewriting = tokio::task::spawn_blocking(move || {
        let mut rewriter = TreeRewriter::new(&reader, saver.as_ref(), &control);
        let mut outcomes = Vec::new();
        for (id, snapshot) in snapshots {
            let tree = rewriter.rewrite(&snapshot.tree)?;
            if tree != Some(snapshot.tree) {
                outcomes.push(Outcome { id, snapshot, tree });
            }
        }
        Ok::<_, Error>((outcomes, rewriter.losses))
    });
    rewriting.await.map_err(Error::internal)?
}
