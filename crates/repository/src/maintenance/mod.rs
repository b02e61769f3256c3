//! Looking after a repository: check it, prune what no snapshot needs, measure it, repair it.
//!
//! Memory grows with the number of blobs by the index itself and a bit for each; what is done pack by pack is done in groups of
//! bounded size (see `groups`).

mod check;
mod check_data;
mod compare;
mod damaged_blobs;
mod decide;
mod extent;
mod groups;
mod prune;
mod prune_plan;
mod repair;
mod replace;
mod rewrite;
mod rotation;
mod stats;
#[cfg(test)]
mod streamed_tests;
mod subtrees;
#[cfg(test)]
mod testing;
mod trace;
mod usage;
mod walk;

pub use check::{CheckError, CheckOptions, CheckReport, ReadData};
pub use prune::PruneReport;
pub use prune_plan::{Fate, PackDecision, PruneOptions, PrunePlan, Reason};
pub use repair::{
    Loss, LostPart, PackState, RepairIndexOptions, RepairPacksReport, RepairReport, RepairSnapshotsOptions,
    RepairSnapshotsReport, SalvagedPack, SnapshotRepair,
};
pub use rotation::Rotation;
pub use stats::{RepositoryStats, StatsDepth};
pub use trace::{DamagedBlob, DamagedPlace};
