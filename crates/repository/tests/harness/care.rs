//! What a careful owner does with a repository: prune, check, mend.

use std::time::Duration;

use repository::limits::MIN_PACK_SIZE;
use repository::maintenance::{CheckOptions, Fate, PruneOptions, ReadData};
use repository::{Control, Id, LockHandle, LockMode, Repository, Result, SnapshotId};

use super::{alone, locked};

/// Leaves nothing unused.
pub fn thorough() -> PruneOptions {
    PruneOptions { max_unused: 0.0, pack_size: MIN_PACK_SIZE, unindexed_age: Duration::ZERO, ..PruneOptions::default() }
}

pub async fn prune(repository: &Repository, lock: &LockHandle, options: &PruneOptions, control: &Control) -> Result<()> {
    let plan = repository.plan_prune(lock, options, control).await?;
    repository.prune(lock, plan, control).await.map(drop)
}

/// Prunes thoroughly; how many packs another prune would still touch.
pub async fn prune_thoroughly(repository: &Repository, lock: &LockHandle, control: &Control) -> Result<usize> {
    prune(repository, lock, &thorough(), control).await?;
    let again = repository.plan_prune(lock, &thorough(), control).await?;
    Ok(again.packs.iter().filter(|pack| pack.fate != Fate::Keep).count() + again.forgotten.len())
}

/// Snapshots of which only a part is there were never acknowledged: they are forgotten. The index is repaired.
pub async fn mend(repository: &Repository, lock: &LockHandle, control: &Control) -> Result<()> {
    let damaged = repository.snapshots(control).await?.damaged;
    let ids: Vec<SnapshotId> = damaged.iter().filter_map(|damage| damage.key.rsplit('/').next()?.parse::<Id>().ok()).collect();
    repository.forget(lock, &ids, control).await?;
    repository.repair_index(lock, control).await.map(drop)
}

/// What a check by somebody who is alone complains of.
pub async fn complaints(repository: &Repository, read: ReadData) -> Result<Vec<String>> {
    let control = Control::default();
    let look = async |lock: &LockHandle| repository.check(lock, CheckOptions { read }, &control).await;
    let report = locked(repository, alone(LockMode::Shared), &control, look).await?;
    Ok(report.errors.iter().map(ToString::to_string).collect())
}
