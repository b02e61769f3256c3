//! Thin binary: see the library for what the scheduler does.

use std::process::ExitCode;

use clap::Parser as _;
use scheduler::{args::Args, run};

fn main() -> ExitCode {
    match run::start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "scheduler ended");
            eprintln!("scheduler: {error:#}");
            ExitCode::FAILURE
        }
    }
}
