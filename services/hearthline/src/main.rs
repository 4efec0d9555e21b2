//! The `hearthline` command: args → config → telemetry → run.

use clap::Parser;
use hearthline::cli::{Cli, run};
use std::any::Any;
use std::panic::{catch_unwind, resume_unwind, set_hook, take_hook};
use std::process::ExitCode;

/// A batch is built on one thread and freed on another; the system's allocator spent a tenth of the time on that. Without transparent huge
/// pages, which more than doubled what the process holds and made nothing faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let told = take_hook();
    set_hook(Box::new(move |panic| {
        if !is_unread(panic.payload()) {
            told(panic);
        }
    }));
    match catch_unwind(|| run(Cli::parse())) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            eprintln!("hearthline: {error:#}");
            ExitCode::FAILURE
        }
        Err(panic) if is_unread(panic.as_ref()) => ExitCode::SUCCESS,
        Err(panic) => resume_unwind(panic),
    }
}

/// Whoever read what is printed reads no more of it, as `head` does: `println!` panics then, and there is nobody to tell.
fn is_unread(panic: &(dyn Any + Send)) -> bool {
    panic.downcast_ref::<String>().is_some_and(|said| said.starts_with("failed printing to stdout") && said.contains("Broken pipe"))
}
