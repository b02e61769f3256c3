//! Thin binary of the storage-initializer.

use std::process::ExitCode;

use clap::Parser as _;
use storage_initializer::{args::Args, run::run};

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storage-initializer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    service_kit::tls::install_provider()?;
    let args = Args::parse();
    tokio::runtime::Runtime::new()?.block_on(run(args))
}
