//! The agent in the Job pod: attaches to its session, is issued access, moves the bytes, reports. And the trigger in the
//! CronJob's pod. And the mover [`by_hand`], for a person with a repository and no cluster.
//!
//! A mover holds no Kubernetes permission. It learns *what* to do from its arguments, *where and how fast* from the session's
//! Assignment, and gets at the store by what the storage-initializer issues for the time of the session (architecture §5).
//! Nothing of that stands in the pod. The rooms: [`attach`] is the stream, [`access`] the store, [`run`] the course of it all.

pub mod access;
pub mod args;
pub mod attach;
mod backoff;
mod backup;
pub mod by_hand;
pub mod environment;
mod failure;
mod file_errors;
mod lock;
mod manners;
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
use std::time::Duration;

pub use args::{Arguments, Command, Work};
use environment::{AgentEnvironment, TriggerEnvironment, Variables};
use outcome::{Exit, leave_last_words};
use proto_api::environment::TERMINATION_LOG_PATH;
use proto_api::mover::v1alpha1::Outcome;
use service_kit::args::LogArgs;
use service_kit::telemetry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the telemetry of a pod calls this process.
const NAME: &str = "orlop-data-mover";

/// Longest wait for the last spans of a mover that was stopped.
const LAST_SPANS: Duration = Duration::from_millis(250);

/// Runs the command line to its end. Whatever goes wrong before there is a session to tell goes to the termination message.
pub fn start(arguments: Result<Arguments, clap::Error>) -> ExitCode {
    let arguments = match arguments {
        Ok(arguments) => arguments,
        // Help and version are asked for, and no failure.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) if by_hand::is_meant(std::env::args_os()) => return ExitCode::from(by_hand::refuse(&error)),
        Err(error) => return refuse(&format!("the Function's arguments cannot be understood: {error}")),
    };
    let manners = manners::adopt(&Variables(&|name| std::env::var(name).ok()));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("no threads to work with: {error}")),
    };
    let ended = runtime.block_on(run_command(arguments, manners));
    // A thread that hangs in a read from a dead file system, or waits for somebody to read its output, must not keep the process:
    // what counts is done.
    runtime.shutdown_background();
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => refuse(&error.to_string()),
    }
}

async fn run_command(arguments: Arguments, manners: Vec<String>) -> anyhow::Result<u8> {
    let Arguments { log, common, command } = arguments;
    match command {
        Command::Agent { work } => Ok(agent(work, &log, manners).await?.code()),
        Command::Trigger => Ok(trigger(&log).await?.code()),
        Command::ByHand(command) => Ok(by_hand::run(command, common).await),
    }
}

async fn agent(work: Work, log: &LogArgs, manners: Vec<String>) -> anyhow::Result<Exit> {
    let telemetry = telemetry::init(NAME, log)?;
    for complaint in manners {
        tracing::warn!("{complaint}");
    }
    let terminated = terminated()?;
    let exit = run::run(work, AgentEnvironment::read(&Variables(&variable))?, terminated.clone()).await;
    let stopped = exit == Exit::Cancelled || terminated.is_cancelled();
    if tokio::time::timeout(if stopped { LAST_SPANS } else { Duration::MAX }, telemetry.shutdown()).await.is_err() {
        tracing::debug!("the last spans were not sent in time");
    }
    Ok(exit)
}

async fn trigger(log: &LogArgs) -> anyhow::Result<Exit> {
    let telemetry = telemetry::init(NAME, log)?;
    let terminated = terminated()?;
    let exit = trigger::run(TriggerEnvironment::read(&Variables(&variable))?, terminated).await;
    telemetry.shutdown().await;
    Ok(exit)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
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
