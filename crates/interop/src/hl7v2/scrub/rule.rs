//! What becomes of each place in a message. What is not listed is replaced: only codes that say nothing of a person
//! alone, and dates of events, are known here.

use super::code::looks_like_code;
use crate::hl7v2::charset::is_label;
use crate::hl7v2::nhs_number::status_code;

/// What becomes of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Without which it would be no message of its kind: left as it is.
    Frame,
    /// Message structure: left, unless a value of a person stands in it.
    Structure,
    /// A code from a national or HL7 table, or the name of an organisation's system: left, unless a value of a person
    /// stands in it.
    Code,
    /// The date of an event: moved by the run's own interval.
    Event,
    /// A date of birth: moved by an interval of its own.
    Birth,
    /// Names, addresses, numbers, staff: replaced.
    Person,
    /// Anything else: replaced, with dates in it moved.
    Text,
}

const USES: [&str; 23] = [
    "PRN", "ORN", "WPN", "VHN", "ASN", "EMR", "NET", "BPN", "PRS", "PH", "FX", "MD", "CP", "SAT", "BP", "TDD", "TTY", "INTERNET", "X.400", "M", "H", "W", "EM",
];
const DOCUMENT_WORDS: [&str; 14] = ["APPLICATION", "TEXT", "IMAGE", "PDF", "RTF", "HTML", "PLAIN", "JPEG", "PNG", "TIFF", "BASE64", "HEX", "A", "OCTET-STREAM"];

/// The rule for one component. Numbers count from 1.
pub(super) fn rule(segment: &[u8], field: usize, component: usize, value: &str) -> Rule {
    use Rule::{Birth, Code, Event, Frame, Person, Structure, Text};
    if field == 1 && is_set_id(segment, value) {
        return Frame;
    }
    match (segment, field, component) {
        (b"MSH", 9 | 12, _) if looks_like_code(value) => Frame,
        (b"MSH", 18, _) if is_label(value) => Frame,
        (b"BTS" | b"FTS", 1, _) if value.trim().bytes().all(|b| b.is_ascii_digit()) => Frame,
        (b"MSH", 9 | 11 | 12 | 15..=21, _) => table(value),
        (b"MSH" | b"FHS" | b"BHS", 3..=6, _) => Code,
        (b"MSH" | b"FHS" | b"BHS", 7, _) => Event,
        (b"MSH" | b"FHS" | b"BHS", _, _) => Person,
        (b"MSA", 1, _) | (b"EVN", 1 | 4, _) => table(value),
        (b"ERR", 1..=4, _) => Structure,
        (b"MSA", 2, _) | (b"EVN", 5, _) => Person,
        (b"EVN", 2 | 3 | 6, _) => Event,
        (b"EVN", 7, _) => Code,
        (b"PID", 2..=4 | 18 | 21, n) | (b"MRG", 1..=6, n) | (b"PV1", 5 | 19 | 50, n) => identifier(n, value),
        (b"PID", 7, _) | (b"NK1", 16, _) | (b"IN1", 18, _) | (b"GT1", 8, _) => Birth,
        (b"PID", 8 | 30 | 31, _) => table(value),
        (b"PID", 29 | 33, _) | (b"NK1", 8 | 9, _) => Event,
        (b"PID", 32, _) if status_code(value.trim()).is_some() => Code,
        (b"PID", 5 | 6 | 9, 7 | 8) | (b"NK1", 2, 7) | (b"PID", 11, 7) | (b"NK1", 4, 7) => table(value),
        (b"PID", 11, 6) if value.len() == 3 && value.bytes().all(|b| b.is_ascii_alphabetic()) => Code,
        (b"PID", 13 | 14, 2 | 3) | (b"NK1", 5 | 6, 2 | 3) if is_any(value, &USES) => Code,
        (b"PID" | b"PD1" | b"NK1" | b"MRG" | b"GT1" | b"IN1" | b"IN2" | b"STF", _, _) => Person,
        (b"PV1", 2 | 4 | 10 | 14 | 18 | 36 | 41, _) => table(value),
        (b"PV1", 3 | 6 | 11 | 42 | 43, 4) if !value.contains(' ') => Code,
        (b"PV1", 3 | 6 | 11 | 42 | 43, 4..=6) => table(value),
        (b"PV1", 7..=9 | 17 | 52, _) => Person,
        (b"PV1", 44 | 45, _) | (b"PV1", 37, 2) | (b"PV2", 8 | 9, _) => Event,
        (b"PV2", 7 | 38, _) | (b"AL1", 2 | 4, 1) => table(value),
        (b"OBX", 2 | 11, _) => table(value),
        (b"OBX", 5, 2..=4) if is_any(value, &DOCUMENT_WORDS) => Structure,
        (b"OBX", 14 | 19, _) | (b"OBR", 6..=8 | 14 | 22, _) | (b"DG1", 5, _) | (b"PR1", 5, _) | (b"AL1", 6, _) => Event,
        (b"OBX", 16, _) | (b"OBR", 10 | 16 | 28 | 32..=35, _) | (b"ORC", 10..=12, _) | (b"DG1", 16, _) | (b"PR1", 8 | 11 | 12, _) => Person,
        (b"TXA", 2 | 3 | 17..=19, _) => table(value),
        (b"TXA", 4 | 6..=8, _) => Event,
        (b"TXA", 5 | 9..=16 | 22, _) | (b"ORC" | b"OBR", 2..=4, _) => Person,
        (b"ZU1", 2 | 6 | 7 | 13 | 22 | 24 | 27, _) | (b"ZU3", 3 | 4, _) | (b"ZU8", 1..=4, _) => table(value),
        _ => Text,
    }
}

/// CX: the number, its tracing status where a check digit would be, who gave it out, its type.
fn identifier(component: usize, value: &str) -> Rule {
    match component {
        2 if status_code(value.trim()).is_some() => Rule::Code,
        4 | 6 if !value.contains(' ') => Rule::Code,
        4..=6 => table(value),
        7 | 8 => Rule::Event,
        _ => Rule::Person,
    }
}

/// A code only where it looks like one: anything else in such a place may be about somebody, or a number of the trust's own.
fn table(value: &str) -> Rule {
    if looks_like_code(value) { Rule::Code } else { Rule::Person }
}

fn is_set_id(segment: &[u8], value: &str) -> bool {
    let is_short_number = !value.is_empty() && value.len() <= 4 && value.bytes().all(|b| b.is_ascii_digit());
    is_short_number && !matches!(segment, b"MRG" | b"ORC" | b"PD1" | b"PV2")
}

fn is_any(value: &str, words: &[&str]) -> bool {
    words.iter().any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_code_is_one() {
        for code in ["21", "2A", "INPATIENT", "Emerg Other", "A\\T\\E", "1048071000000103", "507291000000100", ""] {
            assert_eq!(table(code), Rule::Code, "{code}");
        }
        for other in ["V0012", "1048071000000104", "12345", "123456", "RHM77123", "SMITH", "Home of Mrs X"] {
            assert_eq!(table(other), Rule::Person, "{other}");
        }
    }

    #[test]
    fn what_is_not_listed_is_replaced() {
        assert_eq!(rule(b"ZPD", 2, 1, "x"), Rule::Text);
        assert_eq!(rule(b"PID", 40, 1, "x"), Rule::Person);
        assert_eq!(rule(b"MSH", 10, 1, "x"), Rule::Person);
        assert_eq!(rule(b"PV1", 3, 1, "WARD"), Rule::Text);
        assert_eq!(rule(b"PID", 3, 4, "RHM"), Rule::Code);
        assert_eq!(rule(b"PID", 13, 2, "PRN"), Rule::Code);
        assert_eq!(rule(b"PID", 13, 2, "ann@example.org"), Rule::Person);
    }
}
