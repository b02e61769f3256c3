//! `cargo xtask`: what is generated, and what is checked about the workspace itself.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    xtask::run(xtask::Args::parse())
}
