//! The command line of a person. Flags are restic's where restic has them.

mod look;
mod repair;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use repository::browse::SnapshotFilter;

use super::values::{self, TagList};
pub use look::{Archive, CountMode, Diff, Dump, Find, Ls, Snapshots, Stats};
pub use repair::{Repair, RepairIndex, RepairPacks, RepairSnapshots};
pub use work::{Backup, Check, Forget, Prune, PruneManner, Restore};

/// What all commands share; may stand before or after the command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "By hand")]
pub struct Common {
    /// Repository: a directory, `s3:https://host/bucket/prefix`, `s3:host/bucket/prefix`, `gs:bucket:/prefix` or
    /// `azure:container:/prefix`.
    #[arg(short, long, env = "RESTIC_REPOSITORY", hide_env_values = true, global = true)]
    pub repo: Option<String>,
    /// File with the repository's password; else RESTIC_PASSWORD holds it, or it is asked for on the terminal.
    #[arg(short, long, env = "RESTIC_PASSWORD_FILE", global = true)]
    pub password_file: Option<PathBuf>,
    /// Write JSON for programs.
    #[arg(long, global = true)]
    pub json: bool,
    /// Write no progress and no summaries.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Write what the engine logs, to standard error.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Take no lock; for commands that only read, on stores where nothing can be written.
    #[arg(long, global = true)]
    pub no_lock: bool,
    /// How long to wait for other holders of locks, such as `5m` or `1h30m`.
    #[arg(long, value_parser = values::duration, default_value = "0s", global = true)]
    pub retry_lock: Duration,
    /// Most KiB a second to the store.
    #[arg(long, value_name = "KIB", global = true)]
    pub limit_upload: Option<u64>,
    /// Most KiB a second from the store.
    #[arg(long, value_name = "KIB", global = true)]
    pub limit_download: Option<u64>,
    /// File with certificate authorities (PEM) to trust beside the system's.
    #[arg(long, env = "RESTIC_CACERT", value_name = "FILE", global = true)]
    pub cacert: Option<PathBuf>,
    /// Do not verify the store's certificate.
    #[arg(long, global = true)]
    pub insecure_tls: bool,
}

/// What a person can do with a repository, without a cluster.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make a repository where there is none.
    Init,
    /// Back up files and directories as one snapshot.
    Backup(Backup),
    /// Restore a snapshot below a directory.
    Restore(Restore),
    /// Look for faults of the repository.
    Check(Check),
    /// Remove data that no snapshot needs.
    Prune(Prune),
    /// Remove snapshots by their ids; their data goes with the next prune.
    Forget(Forget),
    /// List snapshots.
    Snapshots(Snapshots),
    /// List what a snapshot holds.
    Ls(Ls),
    /// Search snapshots for names.
    Find(Find),
    /// Compare two snapshots.
    Diff(Diff),
    /// Write a file of a snapshot, or a directory as a tar archive, to standard output.
    Dump(Dump),
    /// Repair a repository.
    Repair {
        /// What to repair.
        #[command(subcommand)]
        what: Repair,
    },
    /// Measure snapshots.
    Stats(Stats),
    /// Remove locks whose holders are proven dead or that nobody refreshes, and say why the others stay.
    ///
    /// Proven is the death of a process of this machine. Of a lock that only looks dead, because it is half an hour old by the
    /// store's clock, or because this machine has no process of its id and it was not refreshed in time, there is a second look
    /// after five and a half minutes: a holder that lives has refreshed it by then.
    Unlock,
    /// List, add and remove the passwords that open the repository.
    Key {
        /// What to do with keys.
        #[command(subcommand)]
        what: Key,
    },
}

/// Which snapshots are meant.
#[derive(Args, Clone, Debug, Default)]
pub struct Filter {
    /// Only snapshots of this host; may be given several times.
    #[arg(short = 'H', long = "host", env = "RESTIC_HOST", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Only snapshots with all of these tags, separated by commas; given several times, one of the lists is enough.
    #[arg(long = "tag", value_parser = values::tag_list, value_name = "TAGS")]
    pub tags: Vec<TagList>,
    /// Only snapshots that were taken of this absolute path; given several times, of all of them.
    #[arg(long = "path", value_name = "PATH")]
    pub paths: Vec<String>,
}

impl Filter {
    /// The filter as the engine takes it.
    #[must_use]
    pub fn meaning(&self) -> SnapshotFilter {
        SnapshotFilter {
            hosts: self.hosts.clone(),
            tags: self.tags.iter().map(|list| list.0.clone()).collect(),
            paths: self.paths.clone(),
        }
    }
}

/// What can be done with keys.
#[derive(Clone, Debug, Subcommand)]
pub enum Key {
    /// List the keys.
    List,
    /// Let another password open the repository.
    Add(NewPassword),
    /// Remove a key.
    Remove {
        /// Id of the key, or its first digits.
        id: String,
    },
    /// Replace the password that the repository was opened with.
    Passwd(NewPassword),
}

/// Where a new password comes from.
#[derive(Args, Clone, Debug, Default)]
pub struct NewPassword {
    /// File with the new password; else it is asked for on the terminal.
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
    /// User noted in the key.
    #[arg(long)]
    pub user: Option<String>,
    /// Host noted in the key.
    #[arg(long)]
    pub host: Option<String>,
}
