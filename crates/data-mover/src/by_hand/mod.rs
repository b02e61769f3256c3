//! The mover by hand: what a person with a repository and no cluster needs, with restic's commands, flags and exit codes where
//! restic has them.
//!
//! [`run`] opens the repository as its command asks, runs the engine, and says what came of it: in words on a terminal, in JSON
//! for programs. An interruption stops the engine, and the lock is given back.

mod arguments;
mod backup;
mod check;
mod credentials;
mod diff;
mod dump;
mod excludes;
mod failure;
mod find;
mod forget;
mod holder;
mod init;
mod interrupt;
mod key;
mod location;
mod lockless;
mod ls;
mod output;
mod password;
mod progress;
mod prune;
mod repair;
mod restore;
mod session;
mod snapshots;
mod stats;
mod text;
mod unlock;
mod values;

use std::path::Path;

pub use arguments::{Command, Common};
use failure::Failure;
use output::Output;
use proto_api::environment::TERMINATION_LOG_PATH;
use proto_api::mover::v1alpha1::Outcome;
use session::Session;

use crate::outcome::leave_last_words;

/// Runs a command to its end and returns the process's exit code.
pub async fn run(command: Command, common: Common) -> u8 {
    if common.verbose {
        // A second subscriber would only be refused; then the first one logs.
        let _ = tracing_subscriber::fmt().with_writer(std::io::stderr).try_init();
    }
    let output = Output::new(&common);
    match begin(command, common, output.clone()).await {
        Ok(()) => 0,
        Err(failure) => {
            output.failed(&failure);
            failure.code()
        }
    }
}

async fn begin(command: Command, common: Common, output: Output) -> Result<(), Failure> {
    let session = Session::new(common, output, interrupt::token()?)?;
    match command {
        Command::Init => init::run(&session).await,
        Command::Backup(arguments) => backup::run(&session, &arguments).await,
        Command::Restore(arguments) => restore::run(&session, &arguments).await,
        Command::Check(arguments) => check::run(&session, &arguments).await,
        Command::Prune(arguments) => prune::run(&session, &arguments).await,
        Command::Forget(arguments) => forget::run(&session, &arguments).await,
        Command::Snapshots(arguments) => snapshots::run(&session, &arguments).await,
        Command::Ls(arguments) => ls::run(&session, arguments).await,
        Command::Find(arguments) => find::run(&session, arguments).await,
        Command::Diff(arguments) => diff::run(&session, arguments).await,
        Command::Dump(arguments) => dump::run(&session, arguments).await,
        Command::Repair { what } => repair::run(&session, what).await,
        Command::Stats(arguments) => stats::run(&session, &arguments).await,
        Command::Unlock => unlock::run(&session).await,
        Command::Key { what } => key::run(&session, &what).await,
    }
}

/// Whether a command line that is not understood was meant for a person's command rather than for a pod's.
#[must_use]
pub fn is_meant(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    !arguments.any(|argument| argument == "agent" || argument == "trigger")
}

/// Says what is wrong with a command line. In a pod, where somebody forgot to write `agent`, the last words say it too.
pub fn refuse(error: &clap::Error) -> u8 {
    // Nobody may be there to read it; the exit code still tells.
    let _ = error.print();
    let last_words = Path::new(TERMINATION_LOG_PATH);
    if last_words.exists() {
        leave_last_words(last_words, &Outcome { error: error.to_string(), ..Outcome::default() });
    }
    Failure::Usage(String::new()).code()
}
