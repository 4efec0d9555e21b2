//! Writes `proto/released.binpb`: from then on what the contracts hold may only be added to. Refuses when something
//! that was released before would be broken; `--anew` starts over, which is right only before the first release.

#[path = "../tests/support/compatibility.rs"]
mod compatibility;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use hearthline_contracts::DESCRIPTORS;
use prost::Message;
use prost_types::FileDescriptorSet;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/released.binpb");
    let anew = env::args().skip(1).any(|argument| argument == "--anew");
    if !anew && path.exists() {
        let released = FileDescriptorSet::decode(fs::read(&path)?.as_slice())?;
        let found = compatibility::breaks(&released, &FileDescriptorSet::decode(DESCRIPTORS)?);
        if !found.is_empty() {
            eprintln!("not released, because this would break:\n{}", found.join("\n"));
            return Ok(ExitCode::FAILURE);
        }
    }
    fs::write(&path, DESCRIPTORS)?;
    println!("released: {}", path.display());
    Ok(ExitCode::SUCCESS)
}
