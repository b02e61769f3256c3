//! Arguments of the repairs.

use clap::{Args, Subcommand};
use repository::PackId;

use super::Filter;

/// What can be repaired.
#[derive(Clone, Debug, Subcommand)]
pub enum Repair {
    /// Make the index agree with the packs that are there, by their own headers, and remove index files that cannot be read.
    Index(RepairIndex),
    /// Copy what can be read of damaged packs into new ones.
    Packs(RepairPacks),
    /// Write snapshots anew without what is lost.
    Snapshots(RepairSnapshots),
}

/// Arguments of `repair index`.
#[derive(Args, Clone, Debug, Default)]
pub struct RepairIndex {
    /// Read the headers of all packs, not only of those that the index does not name as they are.
    #[arg(long)]
    pub read_all_packs: bool,
}

/// Arguments of `repair packs`.
#[derive(Args, Clone, Debug, Default)]
pub struct RepairPacks {
    /// Full ids of damaged packs, as `check` tells them.
    #[arg(required = true, value_name = "PACK")]
    pub packs: Vec<PackId>,
    /// Remove the damaged packs when what they still hold was copied; what cannot be read in them is then given up.
    #[arg(long)]
    pub remove: bool,
}

/// Arguments of `repair snapshots`.
#[derive(Args, Clone, Debug, Default)]
pub struct RepairSnapshots {
    /// Snapshots: ids or their first digits. All if none is given.
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Say what would be done, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Remove the snapshots that new ones took the place of, and those of which nothing is left.
    #[arg(long)]
    pub forget: bool,
    /// Which snapshots are repaired.
    #[command(flatten)]
    pub filter: Filter,
}
