//! Repairs, from the least to the most: the index, packs, snapshots.
//!
//! Each makes the next one possible: the index is made to agree with the packs that are there, then what damaged packs still hold
//! is copied out of them, then snapshots that need what is lost are written anew without it. All work under an exclusive lock, write
//! packs before the index and the index before snapshots, and delete nothing before its replacement is in the store.

mod index;
mod large_trees;
mod losses;
mod packs;
mod snapshots;
#[cfg(test)]
mod tests;
mod trees;

pub use index::{RepairIndexOptions, RepairReport};
pub use losses::{Loss, LostPart};
pub use packs::{PackState, RepairPacksReport, SalvagedPack};
pub use snapshots::{RepairSnapshotsOptions, RepairSnapshotsReport, SnapshotRepair};

use crate::error::{Error, Result};
use crate::index::Index;

/// Refuses to go on with an index of which a part is unknown: what only that part names would be taken for lost.
fn require_whole(index: &Index) -> Result<()> {
    match index.damaged().first() {
        None => Ok(()),
        Some(damage) => Err(Error::RepairRefused { reason: format!("{} is damaged: {}", damage.key, damage.reason) }),
    }
}
