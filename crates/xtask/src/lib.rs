//! Generation and checks of the workspace: `cargo xtask --help`.
//!
//! Nothing that runs in a cluster depends on this crate.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Parser, Subcommand};

mod arrows;
mod crds;
mod layout;
mod yaml;

/// Generation and checks of the workspace.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write everything that is generated.
    Generate,
    /// Write the CustomResourceDefinitions into the chart.
    Crds,
    /// Fail when the chart's CustomResourceDefinitions are not those of the Rust types.
    CheckCrds,
    /// Fail when a crate depends on one that it may not depend on.
    CheckArrows,
    /// Fail when a file is too long, a controller lacks a room or a mark of unfinished work is left.
    CheckLayout,
    /// Run all checks.
    Check,
}

/// Runs one command. Problems go to standard error, and the exit status says whether there were any.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    let root = workspace_root();
    let Args { command } = args;
    let result = match command {
        Command::Generate | Command::Crds => crds::write(&root),
        Command::CheckCrds => crds::check(&root),
        Command::CheckArrows => arrows::check(&root),
        Command::CheckLayout => layout::check(&root),
        Command::Check => [crds::check, arrows::check, layout::check].into_iter().try_for_each(|check| check(&root)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace that this binary was built in.
fn workspace_root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

/// Reads a file, naming it when that fails.
fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Problems found by a check, as one error; none is success.
fn verdict(what: &str, problems: &[String]) -> anyhow::Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    anyhow::bail!("{what}:\n  {}", problems.join("\n  "))
}

/// A path as it reads from the workspace's root.
fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
