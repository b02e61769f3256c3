//! Looking after a repository: check it, prune what no snapshot needs, measure it, repair its index.

mod check;
mod check_data;
mod decide;
mod prune;
mod prune_plan;
mod repair;
mod stats;
mod usage;
mod walk;

pub use check::{CheckError, CheckOptions, CheckReport, ReadData};
pub use prune::PruneReport;
pub use prune_plan::{Fate, PackDecision, PruneOptions, PrunePlan, Reason};
pub use repair::RepairReport;
pub use stats::{RepositoryStats, StatsDepth};
