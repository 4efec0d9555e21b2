//! Adds to `tests/wire-corpus` the bytes of each fact that has none yet, and a further version of each fact that has new
//! fields. What lies there is never touched; `--anew` starts over, which is right only before the first release.

#[path = "../tests/support/samples.rs"]
mod samples;

use std::error::Error;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    if env::args().skip(1).any(|argument| argument == "--anew") {
        for folder in fs::read_dir(samples::corpus())? {
            let folder = folder?.path();
            if folder.is_dir() {
                fs::remove_dir_all(folder)?;
            }
        }
    }
    let mut added = 0;
    for subject in samples::subjects() {
        let sample = subject.sample();
        let newest = subject.newest();
        if newest > 0 && fs::read(subject.path(newest, "bin"))? == sample {
            continue;
        }

        fs::create_dir_all(samples::corpus().join(subject.folder))?;
        fs::write(subject.path(newest + 1, "bin"), &sample)?;
        fs::write(subject.path(newest + 1, "txt"), subject.text(&sample)?)?;
        added += 1;
    }
    println!("{added} added");
    Ok(())
}
