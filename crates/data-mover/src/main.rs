//! The agent in the Job pod, and the trigger in the CronJob's pod.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    if let Err(error) = service_kit::tls::install_provider() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    data_mover::start(data_mover::Arguments::try_parse())
}
