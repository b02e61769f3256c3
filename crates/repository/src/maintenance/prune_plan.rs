//! What a prune would do, as a value: each pack's fate with its reason. Making the plan changes nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::compare::{Disagreement, Suspect, suspects};
use super::decide::{PackView, decide};
use super::usage::Usage;
use super::walk::{Missing, UsedBlobs, walk};
use crate::control::{Control, Event};
use crate::error::{Error, Result};
use crate::index::Index;
use crate::limits;
use crate::lock::LockHandle;
use crate::objects::{FileType, Listed};
use crate::{IndexId, PackId, Repository, SnapshotId};

/// How thorough a prune is.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// Unused bytes that may stay, as a part of the used ones: packs are rewritten only to get below. restic's default is 0.05.
    pub max_unused: f64,
    /// Packs below this size are joined, once there are enough of them.
    pub small_pack: u64,
    /// Joins small packs when there are at least this many of a type.
    pub small_packs: usize,
    /// Size of the packs that are written.
    pub pack_size: u32,
    /// Packs that no index names are removed only if they are older than this by the store's clock: they may be a killed
    /// backup's work that the next run takes up.
    pub unindexed_age: Duration,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            max_unused: 0.05,
            small_pack: u64::from(limits::DEFAULT_PACK_SIZE) / 4,
            small_packs: 16,
            pack_size: limits::DEFAULT_PACK_SIZE,
            unindexed_age: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// What becomes of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It stays as it is.
    Keep,
    /// Its used blobs move to new packs, then it is removed.
    Repack,
    /// It is removed.
    Drop,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// All of it is used.
    AllUsed,
    /// What is unused in it is within the allowance.
    WithinAllowance,
    /// It is small, and so are not enough others.
    FewSmall,
    /// Too much of it is unused.
    PartlyUnused,
    /// It is small, and so are many others.
    Small,
    /// It holds data and trees.
    Mixed,
    /// No snapshot needs anything of it.
    NothingUsed,
    /// No index names it.
    NotIndexed,
    /// No index names it, but it is young.
    NotIndexedYoung,
    /// It is not what the index says; what snapshots need of it is left where it is.
    Damaged,
}

/// A pack's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackDecision {
    /// The pack.
    pub pack: PackId,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of it that stay in use.
    pub used_bytes: u64,
    /// What becomes of it.
    pub fate: Fate,
    /// Why.
    pub reason: Reason,
}

/// What a prune will do. It holds for the repository as it was; executing it looks again before anything is deleted.
#[derive(Debug)]
pub struct PrunePlan {
    /// Each pack's fate.
    pub packs: Vec<PackDecision>,
    /// Packs that the index names, that are not there, and that nothing needs: they leave the index.
    pub forgotten: Vec<PackId>,
    /// Whether it was made under an exclusive lock; another one is only to be shown.
    pub(super) may_be_carried_out: bool,
    pub(super) options: PruneOptions,
    pub(super) index: Arc<Index>,
    pub(super) used: Arc<UsedBlobs>,
    pub(super) usage: Usage,
    pub(super) snapshots: BTreeSet<SnapshotId>,
    pub(super) index_files: BTreeSet<IndexId>,
}

impl PrunePlan {
    /// Bytes that will be freed.
    #[must_use]
    pub fn freed_bytes(&self) -> u64 {
        self.packs.iter().filter(|pack| pack.fate != Fate::Keep).map(|pack| pack.size.saturating_sub(pack.used_bytes)).sum()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.forgotten.is_empty() && self.packs.iter().all(|pack| pack.fate == Fate::Keep)
    }

    /// The packs with this fate.
    pub fn with_fate(&self, fate: Fate) -> impl Iterator<Item = &PackDecision> {
        self.packs.iter().filter(move |pack| pack.fate == fate)
    }
}

impl Repository {
    /// Plans a prune.
    ///
    /// # Errors
    /// [`Error::NotExclusive`] without an exclusive lock; [`Error::PruneRefused`] if any snapshot, index or tree cannot be read,
    /// or the index and the listing of packs disagree on something that is needed: what is not known in full is not pruned. A
    /// pack that is there with another size is no such thing: it is kept as it is.
    pub async fn plan_prune(&self, lock: &LockHandle, options: &PruneOptions, control: &Control) -> Result<PrunePlan> {
        lock.require_exclusive("prune")?;
        let plan = control.finish(self.make_plan(lock, options, control)).await?;
        Ok(PrunePlan { may_be_carried_out: true, ..plan })
    }

    /// Plans a prune under any lock, to show it: backups go on beside it. It is of the repository as it was when it was looked at,
    /// and cannot be carried out.
    ///
    /// # Errors
    /// As [`Self::plan_prune`], but for the lock's mode.
    pub async fn preview_prune(&self, lock: &LockHandle, options: &PruneOptions, control: &Control) -> Result<PrunePlan> {
        lock.check()?;
        control.run(self.make_plan(lock, options, control)).await
    }

    async fn make_plan(&self, lock: &LockHandle, options: &PruneOptions, control: &Control) -> Result<PrunePlan> {
        lock.verify().await?;
        control.emit(Event::PhaseStarted("finding used blobs"));
        let list = self.snapshots(control).await?;
        let index = self.load_index_with_ids(control).await?;
        if let Some(damage) = list.damaged.first().or(index.damaged().first()) {
            return refuse(format!("{} is damaged: {}", damage.key, damage.reason));
        }
        let roots: Vec<_> = list.snapshots.iter().map(|(_, snapshot)| snapshot.tree).collect();
        let reader = self.blob_reader(Arc::clone(&index), control);
        let walked = walk(&reader, &roots, control).await?;
        if let Some(missing) = walked.missing.iter().find(|missing| !matches!(missing, Missing::Entry { .. })) {
            return refuse(describe(missing));
        }
        if walked.missing_omitted > 0 {
            return refuse(format!("the trees have {} faults", walked.missing.len() as u64 + walked.missing_omitted));
        }
        control.emit(Event::PhaseStarted("planning"));
        let listed = self.objects().list(FileType::Pack, control).await?;
        let (suspects, listed) = suspects(&index, listed).await?;
        let damaged = self.packs_of_wrong_size(suspects, control).await?;
        let now = self.time_of_lock(lock).await?;
        let seen = Seen { index, used: walked.used, listed, damaged, now };
        let snapshots = list.snapshots.iter().map(|(id, _)| *id).collect();
        let options = options.clone();
        // Seconds of work for the processor with many blobs: not on a thread that drives I/O, and not waited for after a
        // cancellation.
        let planning = tokio::task::spawn_blocking(move || plan(seen, snapshots, options));
        control.run(async { planning.await.map_err(Error::internal)? }).await
    }

    /// Packs that are listed with another size than the index says, and have it when they are looked at.
    async fn packs_of_wrong_size(&self, mut suspects: Vec<Suspect>, control: &Control) -> Result<HashSet<PackId>> {
        suspects.retain(|suspect| suspect.listed.is_some());
        let looked = self.look_at(suspects, control).await?;
        Ok(looked.into_iter().filter(|(_, found)| matches!(found, Disagreement::Size { .. })).map(|(pack, _)| pack).collect())
    }

    /// The time by the store's clock: our lock was written or refreshed a few minutes ago at most.
    async fn time_of_lock(&self, lock: &LockHandle) -> Result<jiff::Timestamp> {
        let listed = self.objects().head(FileType::Lock, &lock.current_id()).await?;
        Ok(listed.map_or(jiff::Timestamp::UNIX_EPOCH, |listed| listed.modified))
    }
}

/// What a plan is made from.
struct Seen {
    index: Arc<Index>,
    used: Arc<UsedBlobs>,
    listed: Vec<Listed>,
    damaged: HashSet<PackId>,
    now: jiff::Timestamp,
}

/// Each pack's fate, from what is in use and what is there.
fn plan(seen: Seen, snapshots: BTreeSet<SnapshotId>, options: PruneOptions) -> Result<PrunePlan> {
    let Seen { index, used, listed, damaged, now } = seen;
    let usage = Usage::measure(&index, &used, &listed.iter().map(|pack| (pack.id, pack.size)).collect());
    let is_young =
        |pack: &Listed| Duration::try_from(now.duration_since(pack.modified)).unwrap_or_default() < options.unindexed_age;
    let young: HashSet<PackId> = listed.iter().filter(|pack| is_young(pack)).map(|pack| pack.id).collect();
    let (views, forgotten) = compare(&index, &usage, listed, &damaged)?;
    let mut packs = decide(&views, &options);
    for decision in packs.iter_mut().filter(|decision| decision.reason == Reason::NotIndexed) {
        if young.contains(&decision.pack) {
            (decision.fate, decision.reason) = (Fate::Keep, Reason::NotIndexedYoung);
        }
    }
    let index_files = index.files().iter().map(|(id, _)| *id).collect();
    Ok(PrunePlan { packs, forgotten, may_be_carried_out: false, options, used, usage, snapshots, index_files, index })
}

/// Compares what the index says of packs with the packs that are there.
fn compare(index: &Index, usage: &Usage, listed: Vec<Listed>, damaged: &HashSet<PackId>) -> Result<(Vec<PackView>, Vec<PackId>)> {
    let mut by_id: HashMap<PackId, Listed> = listed.into_iter().map(|pack| (pack.id, pack)).collect();
    let (mut views, mut forgotten) = (Vec::new(), Vec::new());
    for (id, usage) in index.pack_ids().iter().zip(&usage.packs) {
        let is_damaged = damaged.contains(id);
        match by_id.remove(id) {
            Some(listed) if listed.size != usage.size() && usage.used_blobs > 0 && !is_damaged => {
                return refuse(format!(
                    "pack {id} is listed with {} bytes, but has {} as the index says",
                    listed.size,
                    usage.size()
                ));
            }
            Some(listed) => views.push(PackView { listed, usage: Some(*usage), is_damaged }),
            None if usage.used_blobs > 0 => return refuse(format!("pack {id} is in the index and in use, but not in the store")),
            None => forgotten.push(*id),
        }
    }
    let mut unindexed: Vec<Listed> = by_id.into_values().collect();
    unindexed.sort_by_key(|listed| listed.id);
    views.extend(unindexed.into_iter().map(|listed| PackView { listed, usage: None, is_damaged: false }));
    Ok((views, forgotten))
}

fn refuse<T>(reason: String) -> Result<T> {
    Err(Error::PruneRefused { reason })
}

fn describe(missing: &Missing) -> String {
    match missing {
        Missing::Tree { id, error } => format!("tree {id} cannot be read: {error}"),
        Missing::Data { id, tree, name } => {
            format!("blob {id} of file {:?} in tree {tree} is not in the index", String::from_utf8_lossy(name))
        }
        Missing::Entry { tree, name, reason } => format!("entry {:?} of tree {tree}: {reason}", String::from_utf8_lossy(name)),
    }
}
