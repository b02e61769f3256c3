//! Arguments of the commands that look into a repository.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::values::PointInTime;
use super::Filter;

/// Arguments of `snapshots`.
#[derive(Args, Clone, Debug, Default)]
pub struct Snapshots {
    /// Only these.
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Only the latest of each host and paths, this many.
    #[arg(long, value_name = "N")]
    pub latest: Option<usize>,
    /// Which are listed.
    #[command(flatten)]
    pub filter: Filter,
}

/// Arguments of `ls`.
#[derive(Args, Clone, Debug, Default)]
pub struct Ls {
    /// Snapshot, `:FOLDER` after it for a part: an id, its first digits, or `latest`.
    pub snapshot: String,
    /// Absolute paths; only what stands at and directly in them is listed.
    #[arg(value_name = "DIRECTORY")]
    pub directories: Vec<PathBuf>,
    /// List everything below the directories.
    #[arg(long)]
    pub recursive: bool,
    /// Also write mode, owner, size and time.
    #[arg(short, long)]
    pub long: bool,
    /// Write sizes for people.
    #[arg(long)]
    pub human_readable: bool,
    /// Which snapshots `latest` is of.
    #[command(flatten)]
    pub filter: Filter,
}

/// Arguments of `find`.
#[derive(Args, Clone, Debug, Default)]
pub struct Find {
    /// Patterns; what one of them matches is found.
    #[arg(required = true, value_name = "PATTERN")]
    pub patterns: Vec<String>,
    /// Snapshot to search in; may be given several times. All if it is not given.
    #[arg(short, long = "snapshot", value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Take capitals and small letters for the same.
    #[arg(short, long)]
    pub ignore_case: bool,
    /// Only what was changed at this time or later.
    #[arg(short = 'O', long, value_name = "TIME")]
    pub oldest: Option<PointInTime>,
    /// Only what was changed at this time or earlier.
    #[arg(short = 'N', long, value_name = "TIME")]
    pub newest: Option<PointInTime>,
    /// Also write mode, owner, size and time.
    #[arg(short, long)]
    pub long: bool,
    /// Begin with the oldest snapshot.
    #[arg(short = 'R', long)]
    pub reverse: bool,
    /// Which snapshots are searched.
    #[command(flatten)]
    pub filter: Filter,
}

/// Arguments of `diff`.
#[derive(Args, Clone, Debug, Default)]
pub struct Diff {
    /// First snapshot, `:FOLDER` after it for a part.
    pub first: String,
    /// Second snapshot, `:FOLDER` after it for a part.
    pub second: String,
    /// Also tell what differs in metadata only.
    #[arg(long)]
    pub metadata: bool,
}

/// Arguments of `dump`.
#[derive(Args, Clone, Debug, Default)]
pub struct Dump {
    /// Snapshot, `:FOLDER` after it for a part: an id, its first digits, or `latest`.
    pub snapshot: String,
    /// Path in the snapshot; `/` is all of it.
    pub path: PathBuf,
    /// Format in which directories are written.
    #[arg(short, long, value_enum, default_value_t)]
    pub archive: Archive,
    /// Write into this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub target: Option<PathBuf>,
    /// Which snapshots `latest` is of.
    #[command(flatten)]
    pub filter: Filter,
}

/// Formats of archives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Archive {
    /// POSIX tar.
    #[default]
    Tar,
}

/// Arguments of `stats`.
#[derive(Args, Clone, Debug, Default)]
pub struct Stats {
    /// Only these snapshots.
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// What is counted.
    #[arg(long, value_enum, default_value_t)]
    pub mode: CountMode,
    /// Which snapshots are measured.
    #[command(flatten)]
    pub filter: Filter,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CountMode {
    /// What a restore of each snapshot would write.
    #[default]
    RestoreSize,
    /// Blobs in the repository, each once.
    RawData,
}
