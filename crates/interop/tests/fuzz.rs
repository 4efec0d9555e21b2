//! The fuzz targets' checks over what is written here and over samples, mutated by a fixed seed: a bounded run that needs no tool.

#[path = "../fuzz/exercise.rs"]
mod exercise;

use std::fs;
use std::path::{Path, PathBuf};

fn folder_of(files: &Path) -> Vec<Vec<u8>> {
    let mut names: Vec<PathBuf> = fs::read_dir(files).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    names.sort();
    names.iter().filter_map(|name| fs::read(name).ok()).collect()
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let found = folder_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target));
    assert!(found.len() > 5, "the seeds of {target} are missing");
    found
}

fn malformed_samples() -> Vec<Vec<u8>> {
    let root =
        std::env::var_os("HEARTHLINE_SAMPLES").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/interop"), PathBuf::from);
    let found = folder_of(&root.join("hl7v2-malformed"));
    if found.is_empty() {
        println!("skipped: no malformed samples at {} (set HEARTHLINE_SAMPLES)", root.display());
    }
    found
}

/// Numbers that are the same on every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % limit.max(1) as u64).expect("below a usize")
    }
}

const TOKENS: [&[u8]; 16] = [
    b"\x0B",
    b"\x1C\x0D",
    b"\x1C",
    b"\rMSH|^~\\&|",
    b"\rPID|",
    b"| PV1|",
    b"\\",
    b"\\X",
    b"\\E\\",
    b"~",
    b"^",
    b"&",
    b"\"\"",
    b"\r\n",
    b"\xEF\xBB\xBF",
    b"\xFF",
];

/// A few edits: bytes changed, removed, doubled, tokens put in, tails of others taken over.
fn mutate(input: &[u8], others: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..=dice.below(6) {
        let at = dice.below(out.len() + 1);
        let to = (at + dice.below(12)).min(out.len());
        match dice.below(6) {
            0 if at < out.len() => out[at] = u8::try_from(dice.below(256)).expect("below 256"),
            1 => drop(out.drain(at..to)),
            2 => {
                let piece = out[at..to].to_vec();
                out.splice(at..at, piece);
            }
            3 => out.truncate(at),
            4 => {
                let other = &others[dice.below(others.len())];
                out.truncate(at);
                out.extend_from_slice(&other[dice.below(other.len() + 1)..]);
            }
            _ => drop(out.splice(at..at, TOKENS[dice.below(TOKENS.len())].iter().copied())),
        }
        out.truncate(4_096);
    }
    out
}

fn run(corpus: &[Vec<u8>], rounds: usize, seed: u64, check: fn(&[u8])) {
    let mut dice = Dice(seed);
    corpus.iter().for_each(|input| check(input));
    for round in 0..rounds {
        let input = mutate(&corpus[dice.below(corpus.len())], corpus, &mut dice);
        let outcome = std::panic::catch_unwind(|| check(&input));
        assert!(outcome.is_ok(), "round {round} failed on {:?}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn mutated_streams_are_framed_alike_however_they_are_cut() {
    run(&seeds("frame"), 4_000, 1, exercise::frame);
}

#[test]
fn mutated_messages_are_read_answered_and_written_without_a_panic() {
    let corpus: Vec<Vec<u8>> = seeds("message").into_iter().chain(malformed_samples()).collect();
    run(&corpus, 3_000, 2, exercise::message);
}

/// Found by the fuzzer: a NUL as the field separator was looked for behind the end of the text; and a batch header inside a message.
#[test]
fn what_the_fuzzer_found_stays_found() {
    exercise::message(b"MSH|^~\\&#|A\rBHS|^~\\&2\xec||ADT^A31|1|P|2.8\rPID|||7\\\0\08#\r");
    exercise::message(b"M;\0\0\0\0\0\0\0\0\0\0\xac||\0\x1c\0\0\xac|||00|||2.18");
    exercise::message(b"MSH\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
}
