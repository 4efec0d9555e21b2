//! Makes real messages safe to keep as tests: persons, staff, places, numbers and free text replaced, everything that
//! makes a feed peculiar left as it was.
//!
//! Kept: structure, delimiters, line ends, character set, lengths, case, spaces, leading zeros, escapes, codes of
//! national and HL7 tables, names of sending and receiving systems, intervals between events. Replaced by a fake of the
//! same shape, the same for the same value in every file of a run: all else. NHS numbers become numbers of the range
//! 999 that is never issued, valid where the source was valid. Dates of events move by one interval per run, dates of
//! birth each by its own.
//!
//! What is replaced is decided by what is *known to be harmless* (`rule.rs`), so an unknown segment or field loses its
//! content and never keeps it. A value of a person that also stands in a harmless place is replaced there too.

mod code;
mod dates;
mod fake;
mod rule;

use std::borrow::Cow;
use std::collections::HashSet;

use encoding_rs::Encoding;

use super::batch;
use super::charset::{Charset, decode_in};
use super::message::{Message, begins_segment};
use super::separators::Separators;
pub use code::looks_like_code;
use fake::{Fakes, TOKEN_CHARS_MIN, lower};
use rule::{Rule, rule};

/// A name is looked for within another word from this length on; shorter ones stand in too many.
const PART_BYTES_MIN: usize = 5;
const PART_BYTES_MAX: usize = 32;

/// One run of scrubbing. Give each file to [`Scrubber::learn`] first, then each to [`Scrubber::scrub`]: then no fake of
/// one file is a value of another.
pub struct Scrubber {
    fakes: Fakes,
    /// Eight-digit days on which somebody was born.
    births: HashSet<String>,
    /// Values of persons in the file learned last: what is a name in one trust's file is a code in another's.
    here: HashSet<String>,
    charset: Option<Charset>,
    pass: Pass,
}

enum Pass {
    Learn,
    Write,
    Check(Vec<String>),
}

impl Scrubber {
    /// A run under a random key. The key makes the same fakes again: whoever has it can test a guess, so forget it.
    pub fn new(key: [u8; 32]) -> Self {
        Self { fakes: Fakes::new(key), births: HashSet::new(), here: HashSet::new(), charset: None, pass: Pass::Learn }
    }

    /// With the character set that holds where MSH-18 names none.
    pub fn in_charset(mut self, charset: Option<Charset>) -> Self {
        self.charset = charset;
        self
    }

    /// Notes what is to be replaced in a file, so that it is no fake in another.
    pub fn learn(&mut self, raw: &[u8]) {
        self.pass = Pass::Learn;
        self.here.clear();
        self.walk(raw);
    }

    /// The file with everything replaced. One message, a batch, or messages strung together; of what is none of these,
    /// every word and number is replaced.
    pub fn scrub(&mut self, raw: &[u8]) -> Vec<u8> {
        self.learn(raw);
        self.pass = Pass::Write;
        self.walk(raw)
    }

    /// Values that were replaced, in lower case, of three characters and more. Personal data.
    pub fn identifiers(&self) -> impl Iterator<Item = &str> {
        self.fakes.persons.iter().map(String::as_str)
    }

    /// Values learned that still stand in the file that was scrubbed last: of persons outside the message structure, and of
    /// free text outside codes. Must be none before a file is handed on. Numbers of three digits are not looked for: in
    /// a long run every one of them is somebody's. Personal data.
    pub fn found_in(&mut self, scrubbed: &[u8]) -> Vec<String> {
        self.pass = Pass::Check(Vec::new());
        self.walk(scrubbed);
        match std::mem::replace(&mut self.pass, Pass::Learn) {
            Pass::Check(found) => found,
            Pass::Learn | Pass::Write => Vec::new(),
        }
    }

    /// Values of persons of every file learned that stand in the name of a file, also within a word, and NHS numbers of whomever.
    /// Personal data.
    pub fn found_in_name(&self, name: &str) -> Vec<String> {
        let is_person = |part: &str| self.fakes.persons.contains(part) || self.fakes.persons.contains(part.trim_start_matches('0'));
        let is_number = |word: &str| ten_digits(word).is_some_and(|(_, digits)| is_valid(&digits));
        let starts = name.char_indices().filter(|(at, _)| !name[..*at].ends_with(|c: char| c.is_ascii_digit()));
        let mut found: Vec<String> = starts.filter(|(at, _)| is_number(number_at(&name[*at..]))).map(|(at, _)| number_at(&name[at..]).to_owned()).collect();
        found.extend(words_of(name).map(lower).filter(|word| is_person(word) || parts_of(word).any(is_person)));
        found
    }

    fn walk(&mut self, raw: &[u8]) -> Vec<u8> {
        if let Some(whole) = self.message(raw) {
            return whole;
        }
        let Ok(split) = batch::split(raw) else {
            return self.opaque(raw);
        };
        let mut out = Vec::with_capacity(raw.len());
        let mut at = 0;
        for message in split.messages {
            let start = message.as_ptr() as usize - raw.as_ptr() as usize;
            out.extend(self.wrapper(&raw[at..start]));
            at = start + message.len();
            let written = self.message(message).unwrap_or_else(|| self.opaque(message));
            out.extend(written);
        }
        out.extend(self.wrapper(&raw[at..]));
        out
    }

    fn message(&mut self, raw: &[u8]) -> Option<Vec<u8>> {
        let charset = decode_in(raw, self.charset).charset;
        let message = Message::parse_in(raw, self.charset).ok()?;
        let separators = message.separators();
        let (text, segments) = message.into_parts();
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for (start, end) in segments {
            out.push_str(&text[at..start]);
            let segment = &text[start..end];
            // Broken text is usual in these; elsewhere a line that begins no segment may be anything.
            let is_text = segment.starts_with("OBX") || segment.starts_with("NTE");
            let line = segment.find(['\r', '\n']).filter(|_| !is_text).unwrap_or(segment.len());
            self.segment(&segment[..line], separators, &mut out);
            self.tokens(&segment[line..], separators.escape, Rule::Person, &mut out);
            at = end;
        }
        out.push_str(&text[at..]);
        Some(encode(&out, charset, raw))
    }

    /// What stands around the messages of a file: headers, trailers, framing.
    fn wrapper(&mut self, raw: &[u8]) -> Vec<u8> {
        let decoded = decode_in(raw, None);
        let mut out = String::with_capacity(decoded.text.len());
        for line in decoded.text.split_inclusive(['\r', '\n']) {
            let content = line.trim_start_matches(['\u{B}', '\u{1C}', '\u{FEFF}']);
            out.push_str(&line[..line.len() - content.len()]);
            let separators = Separators::from_header(content.as_bytes()).unwrap_or(Separators::STANDARD);
            if ["FHS", "BHS", "BTS", "FTS"].iter().any(|name| content.starts_with(name)) && begins_segment(content.trim_end().as_bytes(), separators.field) {
                self.segment(content, separators, &mut out);
            } else {
                self.tokens(content, None, Rule::Text, &mut out);
            }
        }
        encode(&out, decoded.charset, raw)
    }

    /// Bytes that cannot be read as HL7: only names of segments at the beginning of lines are left.
    fn opaque(&mut self, raw: &[u8]) -> Vec<u8> {
        let decoded = decode_in(raw, self.charset);
        let mut out = String::with_capacity(decoded.text.len());
        for line in decoded.text.split_inclusive(['\r', '\n']) {
            let is_segment = line.as_bytes().get(3).is_some_and(|&field| field.is_ascii_punctuation() && begins_segment(line.as_bytes(), field));
            let name = if is_segment { 3 } else { 0 };
            out.push_str(&line[..name]);
            self.tokens(&line[name..], None, Rule::Text, &mut out);
        }
        encode(&out, decoded.charset, raw)
    }

    fn segment(&mut self, text: &str, separators: Separators, out: &mut String) {
        let id = &text.as_bytes()[..3];
        let field = char::from(separators.field);
        let is_header = matches!(id, b"MSH" | b"FHS" | b"BHS");
        for (number, content) in text.split(field).enumerate() {
            if number > 0 {
                out.push(field);
            }
            if number == 0 || (is_header && number == 1) {
                out.push_str(content);
            } else {
                self.field(id, number + usize::from(is_header), content, separators, out);
            }
        }
    }

    fn field(&mut self, segment: &[u8], number: usize, text: &str, separators: Separators, out: &mut String) {
        let (repetition, component) = (char::from(separators.repetition), char::from(separators.component));
        for (at, one) in text.split(repetition).enumerate() {
            if at > 0 {
                out.push(repetition);
            }
            for (at, value) in one.split(component).enumerate() {
                if at > 0 {
                    out.push(component);
                }
                self.component(rule(segment, number, at + 1, value), value, separators, out);
            }
        }
    }

    fn component(&mut self, rule: Rule, value: &str, separators: Separators, out: &mut String) {
        let blanks = value.len() - value.trim_start().len();
        let moved = match rule {
            Rule::Frame => Some(value.to_owned()),
            Rule::Event => self.event(&value[blanks..]).map(|moved| format!("{}{moved}", &value[..blanks])),
            Rule::Birth => self.birth(&value[blanks..]).map(|moved| format!("{}{moved}", &value[..blanks])),
            Rule::Structure | Rule::Code => (!self.holds_person(value)).then(|| value.to_owned()),
            Rule::Person | Rule::Text => None,
        };
        match moved {
            Some(value) => out.push_str(&value),
            None if matches!(rule, Rule::Structure | Rule::Code) => {
                let names: Vec<String> = words_of(value).map(lower).filter(|word| !self.here.contains(word) && self.holds_name(word)).collect();
                if let Pass::Check(found) = &mut self.pass {
                    found.extend(names);
                }
                self.tokens(value, separators.escape, Rule::Person, out);
            }
            None => self.tokens(value, separators.escape, if rule == Rule::Text { Rule::Text } else { Rule::Person }, out),
        }
    }

    fn event(&mut self, value: &str) -> Option<String> {
        let days = -self.fakes.event_days();
        dates::moved(value, |_| days)
    }

    fn birth(&mut self, value: &str) -> Option<String> {
        if matches!(self.pass, Pass::Check(_)) {
            return None;
        }
        if matches!(self.pass, Pass::Learn) && dates::moved(value, |_| 1).is_some() {
            self.births.extend(value.get(..8).filter(|day| day.bytes().all(|b| b.is_ascii_digit())).map(str::to_owned));
            // Not the year alone, nor the zone.
            words_of(value).filter(|word| word.len() >= 6).for_each(|word| self.note(word, Rule::Person));
        }
        let mut last = None;
        for attempt in 0..16 {
            last = dates::moved(value, |day| self.fakes.birth_days(day, attempt));
            if last.as_deref().is_none_or(|moved| !words_of(moved).any(|word| self.fakes.persons.contains(&lower(word)))) {
                break;
            }
        }
        last
    }

    /// Whether a code is none: it holds a value of a person, or is a valid NHS number.
    fn holds_person(&mut self, value: &str) -> bool {
        if matches!(self.pass, Pass::Learn) {
            return ten_digits(value).is_some_and(|(_, digits)| is_valid(&digits));
        }
        words_of(value).any(|word| self.holds_name(&lower(word))) || ten_digits(value).is_some_and(|(_, digits)| is_valid(&digits))
    }

    /// Whether a word in lower case is a value of a person, or has one of some length in it.
    fn holds_name(&self, word: &str) -> bool {
        self.here.contains(word) || parts_of(word).any(|part| self.here.contains(part))
    }

    /// Replaces each run of letters and digits. Delimiters, blanks and escape sequences stay. Among a person's values only
    /// what has a zone is a time and no number of somebody.
    fn tokens(&mut self, text: &str, escape: Option<u8>, rule: Rule, out: &mut String) {
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let length = if escape.is_some_and(|escape| next == char::from(escape)) {
                match escape_sequence(rest, next) {
                    Some((length, hidden)) => {
                        let written = hidden.map_or_else(|| rest[..length].to_owned(), |hidden| self.hidden(&hidden, next));
                        out.push_str(&written);
                        length
                    }
                    None => {
                        out.push(next);
                        1
                    }
                }
            } else if !next.is_alphanumeric() {
                out.push(next);
                next.len_utf8()
            } else if let Some(length) = dates::stamp_length(rest).filter(|&length| rule == Rule::Text || rest[..length].contains('+')) {
                let stamp = &rest[..length];
                let moved = if self.births.contains(&stamp[..8]) { self.birth(stamp) } else { self.event(stamp) };
                out.push_str(&moved.unwrap_or_else(|| "0".repeat(length)));
                length
            } else if let Some((length, digits)) = ten_digits(rest) {
                self.number(&rest[..length], &digits, rule, out);
                length
            } else {
                let length = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
                let fake = self.word(&rest[..length], rule);
                out.push_str(&fake);
                length
            };
            rest = &rest[length..];
        }
    }

    fn word(&mut self, word: &str, rule: Rule) -> String {
        match &mut self.pass {
            Pass::Learn => self.note(word, rule),
            Pass::Write => return self.fakes.of_token(word),
            Pass::Check(found) => {
                let lower = lower(word);
                let is_short_number = lower.len() == TOKEN_CHARS_MIN && lower.bytes().all(|b| b.is_ascii_digit());
                if lower.chars().count() >= TOKEN_CHARS_MIN && !is_short_number && self.fakes.is_source(&lower) {
                    found.push(lower);
                }
            }
        }
        word.to_owned()
    }

    /// Ten digits, perhaps in groups, which stay.
    fn number(&mut self, written: &str, digits: &str, rule: Rule, out: &mut String) {
        let digits = match &mut self.pass {
            Pass::Learn => {
                self.note(digits, rule);
                digits.to_owned()
            }
            Pass::Write => self.fakes.of_ten_digits(digits),
            Pass::Check(found) => {
                if self.fakes.is_source(digits) {
                    found.push(digits.to_owned());
                }
                digits.to_owned()
            }
        };
        let mut digits = digits.chars();
        out.extend(written.chars().map(|c| if c.is_ascii_digit() { digits.next().unwrap_or(c) } else { c }));
    }

    /// Text in a hexadecimal escape.
    fn hidden(&mut self, bytes: &[u8], escape: char) -> String {
        let text: Cow<'_, str> = match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
        };
        let mut fake = String::new();
        self.tokens(&text, None, Rule::Person, &mut fake);
        let bytes = if std::str::from_utf8(bytes).is_ok() { fake.into_bytes() } else { encode(&fake, "windows-1252", &[]) };
        let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        format!("{escape}X{digits}{escape}")
    }

    fn note(&mut self, word: &str, rule: Rule) {
        let lower = lower(word);
        let set = if rule == Rule::Text { &mut self.fakes.words } else { &mut self.fakes.persons };
        let root = lower.trim_start_matches('0');
        if root.len() < lower.len() && root.chars().count() >= TOKEN_CHARS_MIN && root.bytes().all(|b| b.is_ascii_digit()) {
            set.insert(root.to_owned());
        }
        // A run of noughts says nothing.
        if lower.chars().count() >= TOKEN_CHARS_MIN && !root.is_empty() {
            if rule != Rule::Text {
                self.here.insert(lower.clone());
            }
            set.insert(lower);
        }
    }
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() >= TOKEN_CHARS_MIN)
}

/// What stands within a word and is long enough to be looked for.
fn parts_of(word: &str) -> impl Iterator<Item = &str> {
    let starts = word.char_indices().map(|(at, _)| at);
    starts.flat_map(move |start| {
        let ends = word.char_indices().map(|(at, _)| at).skip(1).chain([word.len()]);
        ends.filter(move |end| *end >= start + PART_BYTES_MIN).take(PART_BYTES_MAX).map(move |end| &word[start..end])
    })
}

/// The digits at the beginning of a text, with the gaps between them.
fn number_at(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != ' ' && c != '-').unwrap_or(text.len());
    text[..end].trim_end_matches([' ', '-'])
}

/// Ten digits at the beginning of a text, in a row or as 3-3-4, with their length as written.
fn ten_digits(text: &str) -> Option<(usize, String)> {
    let bytes = text.as_bytes();
    let is_digits = |range: std::ops::Range<usize>| bytes.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let length = match bytes.get(3) {
        Some(&gap @ (b' ' | b'-')) if is_digits(0..3) && is_digits(4..7) && bytes.get(7) == Some(&gap) && is_digits(8..12) => 12,
        _ if is_digits(0..10) => 10,
        _ => return None,
    };
    let ends = text[length..].chars().next().is_none_or(|next| !next.is_alphanumeric());
    ends.then(|| (length, text[..length].chars().filter(char::is_ascii_digit).collect()))
}

fn is_valid(ten: &str) -> bool {
    let digits: Vec<u8> = ten.bytes().map(|b| b - b'0').collect();
    digits.iter().any(|&digit| digit != digits[0]) && fake::check_digit(&digits[..9]) == Some(digits[9])
}

/// The length of the escape sequence at the beginning of a text, with the bytes it hides when it is hexadecimal and they
/// are more than control characters.
fn escape_sequence(text: &str, escape: char) -> Option<(usize, Option<Vec<u8>>)> {
    let body = &text[1..];
    let body = &body[..body.find(escape)?];
    let length = body.len() + 2;
    let is_plain = matches!(body, "F" | "S" | "T" | "R" | "E" | "P" | "H" | "N");
    let is_format =
        body.strip_prefix('.').is_some_and(|rest| matches!(rest.get(..2), Some("br" | "sp" | "in" | "ti" | "fi" | "nf" | "ce" | "sk")) && rest.len() <= 6);
    if is_plain || is_format {
        return Some((length, None));
    }
    let digits = body.strip_prefix('X').filter(|digits| !digits.is_empty() && digits.len().is_multiple_of(2) && digits.is_ascii())?;
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect();
    let bytes = bytes?;
    let is_control = bytes.iter().all(|byte| *byte < 0x20);
    Some((length, (!is_control).then_some(bytes)))
}

/// Text in the character set its source was read in, with the source's byte order mark.
fn encode(text: &str, charset: &str, source: &[u8]) -> Vec<u8> {
    let marked = |mark: &'static [u8]| if source.starts_with(mark) { mark.to_vec() } else { Vec::new() };
    match charset {
        "UTF-8" => [marked(b"\xEF\xBB\xBF"), text.as_bytes().to_vec()].concat(),
        "UTF-16LE" => text.encode_utf16().flat_map(u16::to_le_bytes).fold(marked(b"\xFF\xFE"), pushed),
        "UTF-16BE" => text.encode_utf16().flat_map(u16::to_be_bytes).fold(marked(b"\xFE\xFF"), pushed),
        "UTF-32LE" => text.chars().flat_map(|c| u32::from(c).to_le_bytes()).fold(marked(b"\xFF\xFE\0\0"), pushed),
        "UTF-32BE" => text.chars().flat_map(|c| u32::from(c).to_be_bytes()).fold(marked(b"\0\0\xFE\xFF"), pushed),
        other => {
            let encoding = Encoding::for_label(other.as_bytes()).unwrap_or(encoding_rs::WINDOWS_1252);
            let mut out = marked(b"\xEF\xBB\xBF");
            match encoding.encode(text) {
                (bytes, _, false) => out.extend_from_slice(&bytes),
                // What cannot be written stands for a byte that could not be read, or for a letter.
                (_, _, true) => text.chars().for_each(|c| {
                    let mut buffer = [0; 4];
                    let (bytes, _, failed) = encoding.encode(c.encode_utf8(&mut buffer));
                    let instead: &[u8] = if c == char::REPLACEMENT_CHARACTER { b"?" } else { b"x" };
                    out.extend_from_slice(if failed { instead } else { &bytes });
                }),
            }
            out
        }
    }
}

fn pushed(mut out: Vec<u8>, byte: u8) -> Vec<u8> {
    out.push(byte);
    out
}

#[cfg(test)]
#[path = "scrub_tests.rs"]
mod tests;
