//! What every sample message is read as: a table, so that a change of mind shows. The files are read where they lie and are not
//! part of the project; without them the test says so and passes.

use std::fs;
use std::path::{Path, PathBuf};

use hearthline_interop::hl7v2::{Message, batch};

/// File, message type, segments; or the file and why it is refused.
const EXPECTED: &str = include_str!("samples.txt");

fn files(kind: &str) -> Vec<(String, Vec<u8>)> {
    let root =
        std::env::var_os("HEARTHLINE_SAMPLES").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/interop"), PathBuf::from);
    let folder = root.join(kind);
    let mut names: Vec<PathBuf> = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    if names.is_empty() {
        println!("skipped: no samples at {} (set HEARTHLINE_SAMPLES)", folder.display());
    }
    names.sort();
    names.into_iter().map(|name| (name.file_name().unwrap_or_default().to_string_lossy().into_owned(), fs::read(&name).expect("samples can be read"))).collect()
}

fn described(raw: &[u8]) -> String {
    match Message::parse(raw) {
        Ok(message) => {
            let kind = message.field("MSH", 9).value().text().unwrap_or("no type").to_owned();
            let quirks: Vec<&str> = message.quirks().map(|quirk| quirk.name()).collect();
            let quirks = if quirks.is_empty() { String::new() } else { format!("; {}", quirks.join(", ")) };
            format!("{kind}, {} segments{quirks}", message.segments().count())
        }
        Err(error) => format!("refused: {error}"),
    }
}

#[test]
fn every_sample_is_read_as_the_table_says() {
    let mut lines = Vec::new();
    for kind in ["hl7v2", "hl7v2-malformed"] {
        for (name, raw) in files(kind) {
            lines.push(format!("{name}: {}", described(&raw)));
        }
    }
    for (name, raw) in files("hl7v2-batch") {
        match batch::split(&raw) {
            Ok(split) => {
                let messages: Vec<String> = split.messages.iter().map(|message| described(message)).collect();
                lines.push(format!("{name}: {} [{}] {:?}", messages.len(), messages.join("] ["), split.warnings));
            }
            Err(error) => lines.push(format!("{name}: refused: {error}")),
        }
    }
    if lines.is_empty() {
        return;
    }
    let expected: Vec<&str> = EXPECTED.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, expected, "as it is now:\n{}", lines.join("\n"));
}
