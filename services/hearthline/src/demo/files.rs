//! Message files of a real interface, fed beside the made-up week.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hearthline_interop::hl7v2::{Adt, Message, batch};
use hearthline_nhs::OdsCode;

/// What a folder holds.
#[derive(Default)]
pub struct Files {
    pub messages: Vec<Vec<u8>>,
    /// Files in which no message was found, or none that could be told from another.
    pub unreadable: usize,
    /// MSH-4 of the messages, where it is an ODS code.
    pub facilities: BTreeSet<String>,
}

/// Reads every file of a folder, in the order of their names; folders inside it too.
pub fn read(folder: &Path) -> anyhow::Result<Files> {
    let mut paths = Vec::new();
    list(folder, &mut paths)?;
    paths.sort();
    let mut files = Files::default();
    for path in paths {
        let bytes = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        match batch::split(&bytes) {
            Ok(split) => files.messages.extend(split.messages.iter().map(|message| message.to_vec())),
            Err(_) => files.unreadable += 1,
        }
    }
    for bytes in &files.messages {
        let facility = Message::parse(bytes).ok().and_then(|message| Adt::of(&message).sending_facility().map(str::to_owned));
        files.facilities.extend(facility.and_then(|code| OdsCode::parse(&code).ok()).map(|code| code.to_string()));
    }
    Ok(files)
}

fn list(folder: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_files_of_one_and_of_many_with_the_facilities_that_sent_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let message = |facility: &str| format!("MSH|^~\\&|PAS|{facility}|HUB|QRL|20250101||ADT^A01|1|P|2.4\rPID|1\r");
        fs::write(folder.path().join("a.hl7"), message("RZ9")).expect("written");
        let inner = folder.path().join("more");
        fs::create_dir(&inner).expect("made");
        fs::write(inner.join("b.hl7"), format!("{}{}", message("not ods"), message("RZ8"))).expect("written");
        fs::write(folder.path().join("c.txt"), "nothing").expect("written");
        let files = read(folder.path()).expect("readable");
        assert_eq!(files.messages.len(), 3);
        assert_eq!(files.unreadable, 1);
        assert_eq!(files.facilities, BTreeSet::from(["RZ8".to_owned(), "RZ9".to_owned()]));
    }
}
