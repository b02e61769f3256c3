//! Thin binary: see the library for what the session-controller does.

use std::process::ExitCode;

use clap::Parser as _;
use session_controller::{args::Args, run};

fn main() -> ExitCode {
    match run::start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "session-controller ended");
            eprintln!("session-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}
