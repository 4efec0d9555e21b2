//! The `hearthline` command: args → config → telemetry → run.

use clap::Parser;
use hearthline::cli::{Cli, run};
use std::process::ExitCode;

/// A batch is built on one thread and freed on another; the system's allocator spent a tenth of the time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hearthline: {error:#}");
            ExitCode::FAILURE
        }
    }
}
