//! The command line. What to do stands here; where and how fast comes with the Assignment (architecture §3).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use service_kit::args::LogArgs;

use crate::by_hand;

/// Moves the bytes of one component, or triggers one session. By hand: backs up, restores and looks after a repository.
#[derive(Debug, Parser)]
#[command(name = "data-mover", version)]
pub struct Arguments {
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
    /// Where the repository of a command by hand is, and how it answers.
    #[command(flatten)]
    pub common: by_hand::Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The lives of this binary.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Attach to the session that the environment names and do its work.
    Agent {
        /// The work.
        #[command(subcommand)]
        work: Work,
    },
    /// Ask the scheduler to start the session that the environment names.
    Trigger,
    /// What a person asks for.
    #[command(flatten)]
    ByHand(by_hand::Command),
}

/// What an agent does. Paths and patterns come from the Function's resolved arguments.
#[derive(Clone, Debug, Subcommand)]
pub enum Work {
    /// Back up paths, one restic snapshot each.
    Backup(BackupArguments),
    /// Restore snapshots to the paths they were taken from.
    Restore(RestoreArguments),
    /// Forget snapshots and prune.
    Retention(Tolerated),
}

/// Arguments of a backup.
#[derive(Args, Clone, Debug, Default)]
pub struct BackupArguments {
    /// Absolute paths, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = trimmed)]
    pub paths: Vec<String>,
    /// Patterns of files to leave out, with restic's meaning, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = trimmed)]
    pub exclude: Vec<String>,
    /// Settings of KubeStash that this engine does not need.
    #[command(flatten)]
    pub tolerated: Tolerated,
}

/// Arguments of a restore.
#[derive(Args, Clone, Debug, Default)]
pub struct RestoreArguments {
    /// Patterns of files to restore, separated by commas; everything if there is none.
    #[arg(long, value_delimiter = ',', value_parser = trimmed)]
    pub include: Vec<String>,
    /// Patterns of files to leave out, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = trimmed)]
    pub exclude: Vec<String>,
    /// Only what lies at or below these paths, separated by commas; everything if there is none.
    #[arg(long, value_delimiter = ',', value_parser = trimmed)]
    pub paths: Vec<String>,
    /// Settings of KubeStash that this engine does not need.
    #[command(flatten)]
    pub tolerated: Tolerated,
}

/// KubeStash's Functions pass these to restic's wrapper. The engine streams and keeps no cache on disk, so they are accepted
/// and change nothing.
#[derive(Args, Clone, Debug, Default)]
pub struct Tolerated {
    /// Directory for temporary files.
    #[arg(long)]
    pub scratch_dir: Option<PathBuf>,
    /// Whether to cache repository metadata.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub enable_cache: Option<String>,
    /// Names of the session's objects. Which session this is, the environment says; what is asked of it, the Assignment.
    #[arg(long, hide = true)]
    pub namespace: Option<String>,
    /// See [`Self::namespace`].
    #[arg(long, hide = true)]
    pub backupsession: Option<String>,
    /// See [`Self::namespace`].
    #[arg(long, hide = true)]
    pub restoresession: Option<String>,
    /// See [`Self::namespace`].
    #[arg(long, hide = true)]
    pub snapshot: Option<String>,
}

/// Spaces around commas are not part of a path.
#[allow(clippy::unnecessary_wraps, reason = "the signature that clap asks for")]
fn trimmed(value: &str) -> Result<String, std::convert::Infallible> {
    Ok(value.trim().to_owned())
}

impl BackupArguments {
    /// The paths, without empty entries, each once and in the order given.
    #[must_use]
    pub fn path_list(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for path in non_empty(&self.paths) {
            let path = if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path };
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    /// The patterns, without empty entries.
    #[must_use]
    pub fn exclude_list(&self) -> Vec<String> {
        non_empty(&self.exclude)
    }
}

impl RestoreArguments {
    /// The paths to confine the restore to, without empty entries.
    #[must_use]
    pub fn path_list(&self) -> Vec<String> {
        non_empty(&self.paths)
    }

    /// The patterns to restore, without empty entries.
    #[must_use]
    pub fn include_list(&self) -> Vec<String> {
        non_empty(&self.include)
    }

    /// The patterns to leave out, without empty entries.
    #[must_use]
    pub fn exclude_list(&self) -> Vec<String> {
        non_empty(&self.exclude)
    }
}

fn non_empty(values: &[String]) -> Vec<String> {
    values.iter().filter(|value| !value.is_empty()).cloned().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn work(arguments: &[&str]) -> Work {
        let line = ["data-mover", "agent"].iter().chain(arguments);
        match Arguments::try_parse_from(line).unwrap().command {
            Command::Agent { work } => work,
            Command::Trigger | Command::ByHand(_) => panic!("not an agent"),
        }
    }

    /// Specification §4.2: lists are separated by commas, and what is not set arrives empty.
    #[test]
    fn a_functions_arguments_are_understood() {
        let Work::Backup(backup) =
            work(&["backup", "--paths=/source/data/, /var/lib", "--exclude=", "--scratch-dir=/tmp", "--enable-cache=false"])
        else {
            panic!("not a backup");
        };
        assert_eq!(backup.path_list(), ["/source/data", "/var/lib"]);
        assert!(backup.exclude_list().is_empty());
        let Work::Restore(restore) = work(&["restore", "--include", "*.txt,*.md", "--enable-cache"]) else {
            panic!("not a restore");
        };
        assert_eq!(restore.include_list(), ["*.txt", "*.md"]);
        assert!(matches!(work(&["retention", "--scratch-dir=/kubestash-tmp"]), Work::Retention(_)));
        // The specification's own Functions (§4.1) with our image behind them.
        work(&["restore", "--namespace=demo", "--restoresession=r", "--snapshot=s", "--enable-cache=", "--exclude="]);
    }

    #[test]
    fn unknown_arguments_are_refused() {
        assert!(Arguments::try_parse_from(["data-mover", "agent", "backup", "--password=x"]).is_err());
    }
}
