//! The bytes of every version of every fact: they decode for ever, and to the same values.

#[path = "support/samples.rs"]
mod samples;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use hearthline_contracts::Context;
use prost::Message;
use samples::{Subject, corpus, subjects};

const COMMAND: &str = "cargo run -p hearthline-contracts --example wire_corpus";

#[test]
fn every_fact_has_an_entry_with_all_of_its_fields() {
    for subject in subjects() {
        let newest = subject.newest();
        assert!(newest > 0, "no bytes of {}/{}: {COMMAND}", subject.folder, subject.stem);
        let kept = fs::read(subject.path(newest, "bin")).expect("the entry");
        assert!(kept == subject.sample(), "{}/{} has new fields: {COMMAND}", subject.folder, subject.stem);
    }
}

#[test]
fn every_entry_means_what_it_meant() {
    for (subject, version) in entries() {
        let bytes = fs::read(subject.path(version, "bin")).expect("the entry");
        let expected = fs::read_to_string(subject.path(version, "txt")).expect("its text");
        let text = subject.text(&bytes).expect("readable bytes");
        assert_eq!(text, expected, "{}/{} version {version}", subject.folder, subject.stem);
    }
}

#[test]
fn the_types_that_services_use_lose_nothing_of_any_entry() {
    for (subject, version) in entries() {
        let bytes = fs::read(subject.path(version, "bin")).expect("the entry");
        let again = match subject.stem.strip_suffix(".personal") {
            Some(field) => personal_again(subject.folder, field, &bytes),
            None => fact_again(subject.folder, &bytes),
        };
        let again = again.expect("a type for it").expect("readable bytes");
        assert!(again == bytes, "{}/{} version {version}", subject.folder, subject.stem);
    }
}

#[test]
fn every_event_of_the_corpus_comes_apart_into_its_parts() {
    for (subject, version) in entries().filter(|(subject, _)| !subject.stem.ends_with(".personal")) {
        let bytes = fs::read(subject.path(version, "bin")).expect("the entry").into();
        let parts = hearthline_contracts::wire::split(&bytes).expect("an event");
        let context = Context::ALL.into_iter().find(|context| context.package() == subject.folder).expect("a context");
        let fact = hearthline_contracts::facts::facts_of(context).find(|fact| fact.number == parts.fact_number);
        assert_eq!(fact.map(|fact| fact.field), Some(subject.stem.as_str()));
        assert!(parts.sealed.is_some());
    }
}

#[test]
fn nothing_lies_in_the_corpus_that_no_fact_owns() {
    let owned: BTreeSet<PathBuf> = entries().flat_map(|(subject, version)| [subject.path(version, "bin"), subject.path(version, "txt")]).collect();
    for folder in fs::read_dir(corpus()).expect("the corpus") {
        let folder = folder.expect("a folder").path();
        if folder.is_dir() {
            for file in fs::read_dir(folder).expect("a folder") {
                let path = file.expect("a file").path();
                assert!(owned.contains(&path), "{} belongs to no fact", path.display());
            }
        }
    }
}

fn entries() -> impl Iterator<Item = (Rc<Subject>, u32)> {
    subjects().into_iter().map(Rc::new).flat_map(|subject| (1..=subject.newest()).map(move |version| (Rc::clone(&subject), version)))
}

/// Decodes with the generated type and encodes again.
fn decode<M: Message + Default>(bytes: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    M::decode(bytes).map(|message| message.encode_to_vec())
}

include!(concat!(env!("OUT_DIR"), "/corpus.rs"));
