//! The agent in the Job pod: attaches to its session, is issued access, moves the bytes, reports. And the trigger in the
//! CronJob's pod.
//!
//! A mover holds no Kubernetes permission. It learns *what* to do from its arguments, *where and how fast* from the session's
//! Assignment, and gets at the store by what the storage-initializer issues for the time of the session (architecture §5).
//! Nothing of that stands in the pod. The rooms: [`attach`] is the stream, [`access`] the store, [`run`] the course of it all.

pub mod access;
pub mod args;
pub mod attach;
mod backoff;
mod backup;
pub mod environment;
mod failure;
mod file_errors;
mod lock;
mod memory;
mod open;
pub mod outcome;
mod progress;
mod restore;
mod retention;
pub mod run;
mod stop;
mod target;
pub mod trigger;

use std::path::Path;
use std::process::ExitCode;

pub use args::{Arguments, Command, Work};
use environment::{AgentEnvironment, TriggerEnvironment, Variables};
use outcome::{Exit, leave_last_words};
use proto_api::environment::TERMINATION_LOG_PATH;
use proto_api::mover::v1alpha1::Outcome;
use service_kit::telemetry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs the command line to its end. Whatever goes wrong before there is a session to tell goes to the termination message.
pub fn start(arguments: Result<Arguments, clap::Error>) -> ExitCode {
    let arguments = match arguments {
        Ok(arguments) => arguments,
        // Help and version are asked for, and no failure.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => return refuse(&format!("the Function's arguments cannot be understood: {error}")),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("no threads to work with: {error}")),
    };
    match runtime.block_on(run_command(arguments)) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => refuse(&error.to_string()),
    }
}

async fn run_command(arguments: Arguments) -> anyhow::Result<Exit> {
    let telemetry = telemetry::init("orlop-data-mover", &arguments.log)?;
    let terminated = terminated()?;
    let variables = |name: &str| std::env::var(name).ok();
    let variables = Variables(&variables);
    let exit = match arguments.command {
        Command::Agent { work } => run::run(work, AgentEnvironment::read(&variables)?, terminated).await,
        Command::Trigger => trigger::run(TriggerEnvironment::read(&variables)?, terminated).await,
    };
    telemetry.shutdown().await;
    Ok(exit)
}

/// Cancelled when the process is told to end. As the first process of its container it would ignore signals otherwise.
fn terminated() -> std::io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(token)
}

fn refuse(error: &str) -> ExitCode {
    eprintln!("{error}");
    leave_last_words(Path::new(TERMINATION_LOG_PATH), &Outcome { error: error.to_owned(), ..Outcome::default() });
    ExitCode::from(Exit::Failed.code())
}
