//! `pas scrub`: files of real messages made safe to keep as tests.
//!
//! Names of files name people too, so that of a folder's files nothing of the names is kept: what is written is numbered.

use anyhow::{Context, bail};
use hearthline_interop::hl7v2::Scrubber;
use std::fs;
use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a file of messages may be called at its end; anything else may say whose it is.
const EXTENSIONS: [&str; 6] = ["hl7", "txt", "dat", "msg", "er7", "adt"];

pub(super) fn scrub(input: &Path, output: &Path) -> anyhow::Result<ExitCode> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    let mut scrubber = Scrubber::new(key);
    let pairs = pairs(input, output)?;
    let read = |file: &Path| fs::read(file).with_context(|| format!("{} cannot be read", file.display()));
    for (file, _) in &pairs {
        scrubber.learn(&read(file)?);
    }
    let left = scrubber.found_in_name(&named(output));
    if !left.is_empty() {
        bail!("the name {} has {} identifying values in it: name another output; nothing was written", output.display(), left.len());
    }
    if input.is_dir() {
        fs::create_dir_all(output).with_context(|| format!("{} cannot be made", output.display()))?;
    }
    for (file, target) in &pairs {
        let scrubbed = scrubber.scrub(&read(file)?);
        let left = scrubber.found_in(&scrubbed);
        if !left.is_empty() {
            bail!("{}: {} identifying values would be left in it; nothing was written for this file", file.display(), left.len());
        }
        fs::write(target, scrubbed).with_context(|| format!("{} cannot be written", target.display()))?;
        // For who is at the screen alone: kept anywhere it would undo the numbering.
        if stdout().is_terminal() {
            println!("{} is {}", file.display(), target.display());
        }
    }
    let scrubbed = if pairs.len() == 1 { "1 file".to_owned() } else { format!("{} files", pairs.len()) };
    println!("{scrubbed} scrubbed: read before you pass on, free text may name people in ways that no program knows");
    Ok(ExitCode::SUCCESS)
}

/// Each file with where it is written to.
fn pairs(input: &Path, output: &Path) -> anyhow::Result<Vec<(PathBuf, PathBuf)>> {
    let place = fs::canonicalize(input).with_context(|| format!("{} cannot be read", input.display()))?;
    if !input.is_dir() {
        if fs::canonicalize(output).is_ok_and(|output| output == place) {
            bail!("{} would be written over: name another output", input.display());
        }
        return Ok(vec![(input.to_owned(), output.to_owned())]);
    }
    let there = std::path::absolute(output)?.ancestors().find_map(|folder| fs::canonicalize(folder).ok()).unwrap_or_default();
    if there.starts_with(&place) {
        bail!("{} lies in {}: name an output beside it", output.display(), input.display());
    }
    // Each run makes other people up: its files and those of another do not belong together.
    if fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty: name a new folder", output.display());
    }
    let mut files = Vec::new();
    list(input, &mut files)?;
    if files.is_empty() {
        bail!("{} holds no file", input.display());
    }
    files.sort();
    let digits = files.len().to_string().len().max(4);
    Ok(files
        .into_iter()
        .enumerate()
        .map(|(n, file)| {
            let target = output.join(format!("{:0digits$}.{}", n + 1, extension(&file).unwrap_or(EXTENSIONS[0])));
            (file, target)
        })
        .collect())
}

/// The files of a folder and of those in it. What is left out is said.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let unread = || format!("{} cannot be read", folder.display());
    for entry in fs::read_dir(folder).with_context(unread)? {
        let entry = entry.with_context(unread)?;
        let path = entry.path();
        if entry.file_type().with_context(unread)?.is_dir() {
            list(&path, files)?;
        } else if path.is_file() {
            files.push(path);
        } else {
            eprintln!("hearthline: {} is left out: it is no file", path.display());
        }
    }
    Ok(())
}

fn extension(file: &Path) -> Option<&'static str> {
    let extension = file.extension()?.to_str()?;
    EXTENSIONS.into_iter().find(|known| extension.eq_ignore_ascii_case(known))
}

/// What the last part of a path says.
fn named(path: &Path) -> String {
    let name = if extension(path).is_some() { path.file_stem() } else { path.file_name() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "MSH|^~\\&|PAS|RN1|H|Q|20260301121000||ADT^A01|1|P|2.4\rPID|1||9434765919^^^NHS^NH||FEATHERSTONEHAUGH^ADA\r";

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, MESSAGE).expect("written");
        }
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder).expect("there").map(|e| e.expect("read").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_of_the_names_of_files_is_kept_and_those_of_inner_folders_are_taken_too() {
        let real = folder(&["9434765919_A01.HL7", "Featherstonehaugh 9434765919.hl7", "in/9434765919.txt", "x.9434765919"]);
        let safe = tempfile::tempdir().expect("a folder");
        let output = safe.path().join("safe");
        scrub(real.path(), &output).expect("scrubbed");
        assert_eq!(names(&output), ["0001.hl7", "0002.hl7", "0003.txt", "0004.hl7"]);
        for name in names(&output) {
            let text = fs::read_to_string(output.join(name)).expect("read");
            assert!(text.starts_with("MSH|^~\\&|PAS|RN1|") && !text.contains("9434765919") && !text.contains("FEATHER"), "{text}");
        }
    }

    #[test]
    fn an_output_that_names_somebody_or_lies_in_the_way_is_refused() {
        let real = folder(&["a.hl7", "b/b.hl7"]);
        let file = real.path().join("a.hl7");
        let safe = folder(&["kept"]);
        for (input, output, why) in [
            (real.path(), safe.path().join("Featherstonehaughs"), "identifying values"),
            (&file, safe.path().join("9434765919_safe.hl7"), "identifying values"),
            (real.path(), safe.path().to_owned(), "not empty"),
            (real.path(), real.path().join("safe"), "lies in"),
            (real.path(), real.path().to_owned(), "lies in"),
            (&file, real.path().join("b/../a.hl7"), "written over"),
        ] {
            let refused = scrub(input, &output).expect_err(why).to_string();
            assert!(refused.contains(why), "{refused}");
        }
        assert_eq!((names(safe.path()), names(real.path())), (vec!["kept".to_owned()], vec!["a.hl7".to_owned(), "b".to_owned()]));
        scrub(&file, &safe.path().join("safe.hl7")).expect("scrubbed");
    }
}
