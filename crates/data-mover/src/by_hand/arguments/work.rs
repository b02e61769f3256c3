//! Arguments of the commands that move data or remove it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::super::values::{self, MaxUnused, ReadSubset, TagList};
use super::Filter;

/// Arguments of `backup`.
#[derive(Args, Clone, Debug, Default)]
pub struct Backup {
    /// Files and directories.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Pattern of what is left out; may be given several times.
    #[arg(short, long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// File with such patterns, one a line; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub exclude_file: Vec<PathBuf>,
    /// Do not enter other file systems.
    #[arg(short = 'x', long)]
    pub one_file_system: bool,
    /// Tags of the snapshot, separated by commas; may be given several times.
    #[arg(long = "tag", value_parser = values::tag_list, value_name = "TAGS")]
    pub tags: Vec<TagList>,
    /// Host of the snapshot; this machine's name if it is not given.
    #[arg(short = 'H', long, env = "RESTIC_HOST")]
    pub host: Option<String>,
    /// Snapshot that unchanged files are taken over from; the latest of the same host and paths if it is not given.
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "force")]
    pub parent: Option<String>,
    /// Read all files again.
    #[arg(short, long)]
    pub force: bool,
}

/// Arguments of `restore`.
#[derive(Args, Clone, Debug, Default)]
pub struct Restore {
    /// Snapshot: an id, its first digits, or `latest`.
    pub snapshot: String,
    /// Directory below which the snapshot's paths are restored; it is made if it is not there.
    #[arg(short, long, value_name = "DIRECTORY")]
    pub target: PathBuf,
    /// Pattern of what alone is restored; may be given several times.
    #[arg(short, long, value_name = "PATTERN")]
    pub include: Vec<String>,
    /// Pattern of what is left out; may be given several times.
    #[arg(short, long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Remove what the snapshot does not have, when everything else is restored: below the snapshot's own paths, and neither what the
    /// patterns leave out nor what is on other file systems that are mounted there.
    #[arg(long)]
    pub delete: bool,
    /// Compare everything with the snapshot once more when it is restored.
    #[arg(long)]
    pub verify: bool,
    /// Which snapshots `latest` is of.
    #[command(flatten)]
    pub filter: Filter,
}

/// Arguments of `check`.
#[derive(Args, Clone, Debug, Default)]
pub struct Check {
    /// Read and verify all data.
    #[arg(long, conflicts_with = "read_data_subset")]
    pub read_data: bool,
    /// Read and verify a part of the data: `2/5` is the second of five parts, `10%` at least that much by chance.
    #[arg(long, value_name = "PART")]
    pub read_data_subset: Option<ReadSubset>,
}

/// Arguments of `prune`.
#[derive(Args, Clone, Debug, Default)]
pub struct Prune {
    /// Show what would be done with each pack and why, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// How the data is removed.
    #[command(flatten)]
    pub manner: PruneManner,
}

/// How data is removed.
#[derive(Args, Clone, Debug, Default)]
pub struct PruneManner {
    /// Unused data that may stay: a part of all (`5%`), a size (`200M`) or `unlimited`.
    #[arg(long, value_name = "LIMIT", default_value = "5%")]
    pub max_unused: MaxUnused,
    /// How old a pack must be that no index names to be removed: it may be a killed backup's work, which the next backup takes up.
    #[arg(long, value_parser = values::duration, value_name = "DURATION", default_value = "24h")]
    pub unindexed_age: Duration,
}

/// Arguments of `forget`.
#[derive(Args, Clone, Debug, Default)]
pub struct Forget {
    /// Snapshots: ids or their first digits.
    #[arg(required = true, value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Say what would be removed, and remove nothing.
    #[arg(short = 'n', long, conflicts_with = "prune")]
    pub dry_run: bool,
    /// Prune afterwards.
    #[arg(long)]
    pub prune: bool,
    /// How the data is removed.
    #[command(flatten)]
    pub manner: PruneManner,
}
