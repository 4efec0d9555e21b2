//! Values that stand for others: of the same length and shape, always the same for the same value, and never one that
//! was read.

use std::collections::{HashMap, HashSet};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::hl7v2::message::is_known_segment;

const TRIES: u32 = 64;
/// Values shorter than this say nothing alone and cannot all be told apart.
pub(super) const TOKEN_CHARS_MIN: usize = 3;
/// Longer ones come from documents, where nothing repeats.
const REMEMBERED_CHARS_MAX: usize = 64;

/// All fakes of a run.
pub(super) struct Fakes {
    key: [u8; 32],
    /// Values of persons, in lower case: no fake is one of them.
    pub(super) persons: HashSet<String>,
    /// Words of free text, in lower case.
    pub(super) words: HashSet<String>,
    given: HashMap<String, String>,
    taken: HashSet<String>,
}

impl Fakes {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key, persons: HashSet::new(), words: HashSet::new(), given: HashMap::new(), taken: HashSet::new() }
    }

    pub(super) fn is_source(&self, lower: &str) -> bool {
        self.persons.contains(lower) || self.words.contains(lower)
    }

    /// For a run of letters and digits: case and leading zeros as they were.
    pub(super) fn of_token(&mut self, token: &str) -> String {
        let lower = lower(token);
        let is_number = lower.bytes().all(|b| b.is_ascii_digit());
        let zeros = if is_number { lower.len() - lower.trim_start_matches('0').len() } else { 0 };
        let root = &lower[zeros..];
        if root.is_empty() {
            return token.to_owned();
        }
        // What is left of a short number behind its noughts is not one to be recognised elsewhere.
        let is_short = zeros > 0 && root.len() < TOKEN_CHARS_MIN;
        let known = if is_short { &lower[..] } else { root };
        let fake = match self.given.get(known) {
            Some(given) if is_short || self.fits(given, zeros) => given.clone(),
            _ => self.draw(known, root, zeros),
        };
        let missing = lower.chars().count().saturating_sub(fake.chars().count());
        let prefix = std::iter::repeat_n('0', missing);
        prefix.chain(fake.chars()).zip(token.chars()).map(|(fake, source)| if source.is_uppercase() { upper(fake) } else { fake }).collect()
    }

    /// Whether a fake, with noughts before it, is no value that was read.
    fn fits(&self, fake: &str, zeros: usize) -> bool {
        let is_known = |text: &str| text.chars().count() >= TOKEN_CHARS_MIN && self.is_source(text);
        !is_known(fake) && (zeros == 0 || !is_known(&format!("{}{fake}", "0".repeat(zeros))))
    }

    fn draw(&mut self, known: &str, root: &str, zeros: usize) -> String {
        let mut fake = String::new();
        for attempt in 0..TRIES {
            // Few numbers have many noughts: when they are used up, the noughts go.
            let (root, zeros) = if zeros > 0 && known.len() > root.len() && attempt > TRIES / 2 { (known, 0) } else { (root, zeros) };
            fake = shaped(root, zeros, &mut Stream::new(&self.key, root, attempt));
            let is_name = is_known_segment(fake.to_ascii_uppercase().as_bytes());
            if fake != root && self.fits(&fake, zeros) && !is_name && !self.taken.contains(&fake) {
                break;
            }
        }
        if root.chars().count() <= REMEMBERED_CHARS_MAX {
            if fake.chars().count() > TOKEN_CHARS_MIN {
                self.taken.insert(fake.clone());
            }
            self.given.insert(known.to_owned(), fake.clone());
        }
        fake
    }

    /// For ten digits that may be an NHS number: one of the range that is never issued, valid if the source is, and
    /// otherwise wrong by as much. One digit repeated stays one digit repeated.
    pub(super) fn of_ten_digits(&mut self, source: &str) -> String {
        let given = format!("#{source}");
        if let Some(fake) = self.given.get(&given) {
            return fake.clone();
        }
        let digits: Vec<u8> = source.bytes().map(|b| b - b'0').collect();
        let mut fake = String::new();
        for attempt in 0..TRIES * 8 {
            let mut stream = Stream::new(&self.key, &given, attempt);
            fake = ten_digits_like(&digits, &mut stream);
            if !fake.is_empty() && fake != source && !self.is_source(&fake) && !self.taken.contains(&fake) {
                break;
            }
        }
        if fake.is_empty() {
            fake = self.of_token(source);
        }
        self.taken.insert(fake.clone());
        self.given.insert(given, fake.clone());
        fake
    }

    /// How many days events are moved back: whole weeks, so that days of the week hold.
    pub(super) fn event_days(&self) -> i64 {
        7 * (1 + i64::from(Stream::new(&self.key, "@event", 0).next() % 150))
    }

    /// How many days a birth on that day is moved, forward or back.
    pub(super) fn birth_days(&self, day: &str, attempt: u32) -> i64 {
        let mut stream = Stream::new(&self.key, &format!("@{day}"), attempt);
        let days = 1 + i64::from(stream.next() % 180);
        if stream.next().is_multiple_of(2) { days } else { -days }
    }
}

/// A number of the same validity; empty when this draw gives none.
fn ten_digits_like(digits: &[u8], stream: &mut Stream<'_>) -> String {
    if digits.iter().all(|&digit| digit == digits[0]) {
        let other = (u32::from(digits[0]) + 1 + stream.next() % 9) % 10;
        return other.to_string().repeat(10);
    }
    let mut fake = vec![9, 9, 9];
    fake.extend((0..6).map(|_| (stream.next() % 10) as u8));
    let last = match (check_digit(&digits[..9]), check_digit(&fake)) {
        (Some(right), Some(check)) => (check + 10 + digits[9] - right) % 10,
        (None, None) => (stream.next() % 10) as u8,
        _ => return String::new(),
    };
    fake.push(last);
    fake.iter().map(|&digit| char::from(b'0' + digit)).collect()
}

/// Modulus 11 over nine digits; some have none.
pub(super) fn check_digit(nine: &[u8]) -> Option<u8> {
    let sum: u32 = nine.iter().zip((2..=10).rev()).map(|(&digit, weight)| u32::from(digit) * weight).sum();
    u8::try_from((11 - sum % 11) % 11).ok().filter(|&check| check < 10)
}

/// Letters alone become something that can be said; telephone numbers come from the ranges kept for drama, postcodes
/// from areas that do not exist; everything else keeps letters and digits where they were.
fn shaped(root: &str, zeros: usize, stream: &mut Stream<'_>) -> String {
    const CONSONANTS: &[u8] = b"bdfghklmnprstvwz";
    const VOWELS: &[u8] = b"aeiou";
    let only_letters = root.chars().all(char::is_alphabetic);
    let only_digits = root.bytes().all(|b| b.is_ascii_digit());
    if only_digits && zeros == 1 && root.len() == 10 && matches!(root.as_bytes()[0], b'1' | b'2' | b'7') && stream.attempt < TRIES / 2 {
        let range = if root.starts_with('7') { "7700900" } else { "1632960" };
        return format!("{range}{:03}", stream.next() % 1_000);
    }
    let first = stream.next();
    let mut fake = String::with_capacity(root.len());
    for (at, source) in root.chars().enumerate() {
        let number = stream.next();
        let pick = |from: &[u8]| char::from(from[number as usize % from.len()]);
        fake.push(match source {
            '0'..='9' if at == 0 && only_digits => pick(b"123456789"),
            '0'..='9' => pick(b"0123456789"),
            'a'..='z' if only_letters => pick(if (first as usize + at).is_multiple_of(2) { CONSONANTS } else { VOWELS }),
            'a'..='z' if at == 0 && is_outward_code(root) => pick(b"qvx"),
            'a'..='z' => pick(b"abcdefghijklmnopqrstuvwxyz"),
            '\u{C0}'..='\u{FF}' => char::from_u32(0xE0 + number % 23).unwrap_or('\u{E9}'),
            other => near(other, number),
        });
    }
    fake
}

/// Another letter of the same script, as long in UTF-8.
fn near(source: char, number: u32) -> char {
    let block = u32::from(source) & !31;
    let is_alike = |&c: &char| c.is_alphanumeric() && !c.is_uppercase() && c.is_alphabetic() == source.is_alphabetic();
    (0..32).filter_map(|step| char::from_u32(block + (number + step) % 32)).find(is_alike).unwrap_or(source)
}

/// `so16`, `w1a`: the first half of a postcode.
fn is_outward_code(root: &str) -> bool {
    let letters = root.bytes().take_while(u8::is_ascii_alphabetic).count();
    let digits = root.bytes().skip(letters).take_while(u8::is_ascii_digit).count();
    (1..=2).contains(&letters) && (1..=2).contains(&digits) && root.len() <= 4
}

/// Lower case, character by character, so that nothing changes its length.
pub(super) fn lower(text: &str) -> String {
    text.chars().map(|c| one(c, c.to_lowercase())).collect()
}

fn upper(c: char) -> char {
    one(c, c.to_uppercase())
}

fn one(source: char, mut changed: impl Iterator<Item = char>) -> char {
    match (changed.next(), changed.next()) {
        (Some(only), None) if only.len_utf8() == source.len_utf8() => only,
        _ => source,
    }
}

/// Numbers that follow from the run's key, a value and the number of the attempt alone.
struct Stream<'k> {
    key: &'k [u8; 32],
    value: String,
    attempt: u32,
    block: [u8; 32],
    used: usize,
    blocks: u32,
}

impl<'k> Stream<'k> {
    fn new(key: &'k [u8; 32], value: &str, attempt: u32) -> Self {
        Self { key, value: value.to_owned(), attempt, block: [0; 32], used: 32, blocks: 0 }
    }

    fn next(&mut self) -> u32 {
        if self.used == 32 {
            let mut mac = Hmac::<Sha256>::new_from_slice(self.key).expect("HMAC takes a key of any length");
            mac.update(&self.attempt.to_be_bytes());
            mac.update(&self.blocks.to_be_bytes());
            mac.update(self.value.as_bytes());
            self.block = mac.finalize().into_bytes().into();
            (self.used, self.blocks) = (0, self.blocks + 1);
        }
        let pair = [self.block[self.used], self.block[self.used + 1]];
        self.used += 2;
        u32::from(u16::from_be_bytes(pair))
    }
}
