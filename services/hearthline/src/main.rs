//! The `hearthline` command: args → config → telemetry → run.

use clap::Parser;
use hearthline::cli::{Cli, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hearthline: {error:#}");
            ExitCode::FAILURE
        }
    }
}
