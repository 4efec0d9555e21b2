//! No identifier of a real message is left after scrubbing. The places that identify are listed here, apart from the
//! scrubber's own list, and the samples are read where they lie; without them the test says so and passes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hearthline_interop::hl7v2::{Message, Scrubber, Segment, batch};

fn samples() -> Vec<(String, Vec<u8>)> {
    let root =
        std::env::var_os("HEARTHLINE_SAMPLES").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/interop"), PathBuf::from);
    let folders = ["hl7v2", "hl7v2-malformed", "hl7v2-batch"].map(|kind| root.join(kind));
    let mut names: Vec<PathBuf> = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten().map(|entry| entry.path()).collect();
    if names.is_empty() {
        println!("skipped: no samples at {} (set HEARTHLINE_SAMPLES)", root.display());
    }
    names.sort();
    names.into_iter().map(|name| (name.file_name().unwrap_or_default().to_string_lossy().into_owned(), fs::read(&name).expect("samples can be read"))).collect()
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() >= 3).map(str::to_lowercase)
}

/// A field and, where only some components identify, those.
type Place = (usize, &'static [usize]);

const PERSON: [(&str, &[Place]); 6] = [
    (
        "PID",
        &[
            (2, &[1]),
            (3, &[1]),
            (4, &[1]),
            (5, &[1, 2, 3]),
            (6, &[1, 2]),
            (9, &[1, 2]),
            (11, &[1, 2, 3, 4, 5]),
            (13, &[1, 4, 6, 7]),
            (14, &[1, 4, 6, 7]),
            (18, &[1]),
            (19, &[]),
            (20, &[]),
        ],
    ),
    ("PD1", &[(3, &[]), (4, &[])]),
    ("NK1", &[(2, &[1, 2, 3]), (4, &[1, 2, 3, 4, 5]), (5, &[1, 4, 6, 7]), (6, &[1, 4, 6, 7]), (30, &[]), (32, &[])]),
    ("MRG", &[(1, &[1]), (2, &[1]), (3, &[1]), (4, &[1]), (5, &[1]), (6, &[1]), (7, &[])]),
    ("PV1", &[(7, &[]), (8, &[]), (9, &[]), (17, &[]), (19, &[1]), (50, &[1]), (52, &[])]),
    ("MSH", &[(10, &[])]),
];
const FREE_TEXT: [(&str, usize); 7] = [("OBX", 5), ("NTE", 3), ("AL1", 3), ("AL1", 5), ("DG1", 4), ("PV2", 3), ("TXA", 16)];
/// Fields of which every value is from a table, or the structure of the message.
const CODED: [(&str, &[usize]); 9] = [
    ("MSH", &[9, 11, 12, 15, 16, 17, 18, 19, 20, 21]),
    ("EVN", &[1, 4]),
    ("MSA", &[1]),
    ("ERR", &[1, 2, 3, 4]),
    ("OBX", &[2, 11]),
    ("BTS", &[1]),
    ("FTS", &[1]),
    ("PID", &[1]),
    ("PV1", &[1]),
];
/// Fields of which a value may be a code as well as text.
const CODED_OR_TEXT: [(&str, &[usize]); 9] = [
    ("MSH", &[3, 4, 5, 6]),
    ("EVN", &[7]),
    ("PID", &[3, 4, 8, 11, 13, 14, 18, 21, 30, 31]),
    ("MRG", &[1, 2, 3, 4, 5, 6]),
    ("PV1", &[2, 3, 4, 5, 6, 10, 11, 14, 18, 19, 36, 41, 42, 43, 50]),
    ("PV2", &[7, 38]),
    ("AL1", &[2, 4]),
    ("TXA", &[2, 3, 17, 18, 19]),
    ("OBX", &[5]),
];

fn pieces<'m>(segment: &Segment<'m>, field: usize, components: &[usize]) -> Vec<&'m str> {
    let repetitions = segment.field(field).repetitions();
    let of = |repetition: hearthline_interop::hl7v2::Repetition<'m>| -> Vec<&'m str> {
        if components.is_empty() {
            return repetition.value().text().into_iter().collect();
        }
        components.iter().filter_map(|&number| repetition.component(number).value().text()).collect()
    };
    repetitions.flat_map(of).collect()
}

fn identifiers(message: &Message<'_>) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut person, mut text) = (BTreeSet::new(), BTreeSet::new());
    for segment in message.segments() {
        for (_, fields) in PERSON.iter().filter(|(id, _)| *id == segment.id()) {
            for (field, components) in *fields {
                person.extend(pieces(&segment, *field, components).into_iter().flat_map(|piece| words(piece).collect::<Vec<_>>()));
            }
        }
        // The day of birth; a year or a zone alone says nothing.
        if segment.id() == "PID" {
            person.extend(pieces(&segment, 7, &[1]).into_iter().flat_map(words).filter(|word| word.len() >= 6));
        }
        for (_, field) in FREE_TEXT.iter().filter(|(id, _)| *id == segment.id()) {
            text.extend(pieces(&segment, *field, &[]).into_iter().flat_map(|piece| words(piece).collect::<Vec<_>>()));
        }
    }
    // Noughts say nothing, and delimiter escapes are no words.
    let says_something = |word: &String| word.chars().any(|c| c != '0');
    (person.into_iter().filter(says_something).collect(), text.into_iter().filter(says_something).collect())
}

/// Words of the output outside its structure; those in places that may hold codes apart.
fn left(message: &Message<'_>) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut plain, mut coded) = (BTreeSet::new(), BTreeSet::new());
    for segment in message.segments() {
        let is_in = |table: &[(&str, &[usize])], number: usize| table.iter().any(|(id, fields)| *id == segment.id() && fields.contains(&number));
        for number in 1..80 {
            let Some(value) = segment.field(number).value().text().filter(|_| !(is_in(&CODED, number) || segment.id() == "MSH" && number < 3)) else {
                continue;
            };
            if is_in(&CODED_OR_TEXT, number) { coded.extend(words(value)) } else { plain.extend(words(value)) }
        }
    }
    (plain, coded)
}

fn check(name: &str, source: &[u8], output: &[u8]) {
    let (Ok(before), Ok(after)) = (Message::parse(source), Message::parse(output)) else { return };
    let (person, text) = identifiers(&before);
    let (plain, coded) = left(&after);
    let shared = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.intersection(b).cloned().collect::<Vec<_>>();
    assert_eq!(shared(&person, &plain), Vec::<String>::new(), "{name}: values of a person are left");
    assert_eq!(shared(&person, &coded), Vec::<String>::new(), "{name}: values of a person are left among codes");
    assert_eq!(shared(&text, &plain), Vec::<String>::new(), "{name}: words of free text are left");
    let shape = |message: &Message<'_>| message.segments().map(|s| (s.id().to_owned(), s.raw().chars().count())).collect::<Vec<_>>();
    assert_eq!(shape(&before), shape(&after), "{name}: the shape changed");
    // A line that begins no segment is replaced whole.
    let is_torn = |place: &str| before.segments().any(|s| place.starts_with(s.id()) && s.raw().contains(['\r', '\n']));
    for place in ["MSH-9", "MSH-12", "PID-8", "PV1-2"].into_iter().filter(|place| !is_torn(place)) {
        let path = hearthline_interop::hl7v2::Path::parse(place).expect("a path");
        if !words(before.value(&path).text().unwrap_or_default()).any(|word| person.contains(&word)) {
            assert!(before.value(&path) == after.value(&path), "{name}: {place} changed");
        }
    }
}

#[test]
fn no_identifier_of_any_sample_is_left() {
    let files = samples();
    for key in [3, 4] {
        let mut scrubber = Scrubber::new([key; 32]);
        files.iter().for_each(|(_, raw)| scrubber.learn(raw));
        for (name, raw) in &files {
            let output = scrubber.scrub(raw);
            assert_eq!(scrubber.found_in(&output), Vec::<String>::new(), "{name}");
            assert_eq!(output.len(), raw.len(), "{name}: the length changed");
            check(name, raw, &output);
            if let (Ok(before), Ok(after)) = (batch::split(raw), batch::split(&output)) {
                before.messages.iter().zip(&after.messages).for_each(|(before, after)| check(name, before, after));
            }
        }
    }
}
