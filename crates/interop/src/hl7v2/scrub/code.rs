//! Whether a value has the shape of a code, so that it may be shown or kept where a code belongs: senders also write names there.

/// Words of admission and discharge, of which no person is named.
const WORDS: [&str; 34] = [
    "ACUTE",
    "ADMISSION",
    "ADMITTED",
    "AMBULANCE",
    "BOOKED",
    "CASE",
    "CLINIC",
    "DAY",
    "DAYCASE",
    "DISCHARGE",
    "DISCHARGED",
    "ELECTIVE",
    "EMERG",
    "EMERGENCY",
    "GENERAL",
    "HOME",
    "HOSPITAL",
    "INPATIENT",
    "LIST",
    "MATERNITY",
    "NHS",
    "OTHER",
    "OUTPATIENT",
    "PATIENT",
    "PLANNED",
    "REFERRAL",
    "REGULAR",
    "ROUTINE",
    "TRANSFER",
    "UNKNOWN",
    "URGENT",
    "WAITING",
    "WALKIN",
    "WARD",
];
const CHARS_MAX: usize = 12;
const RUN_MAX: usize = 4;
const DIGITS_MAX: usize = 4;

/// Whether a value looks like a code and not like text about somebody: at most twelve characters without a blank, of runs of at most
/// four letters of one case or digits, with at most four digits in all; or a SNOMED CT concept, an NHS site, or nothing but words of
/// administration. A short name cannot be told from a code.
pub fn looks_like_code(value: &str) -> bool {
    let value = value.trim();
    let runs = || value.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty());
    if is_snomed(value) || is_site(value) || runs().all(|run| run.len() == 1 || WORDS.iter().any(|word| run.eq_ignore_ascii_case(word))) {
        return true;
    }
    let is_of_one_case = |run: &str| !(run.bytes().any(|b| b.is_ascii_uppercase()) && run.bytes().any(|b| b.is_ascii_lowercase()));
    value.len() <= CHARS_MAX
        && value.bytes().all(|b| b.is_ascii_graphic())
        && value.bytes().filter(u8::is_ascii_digit).count() <= DIGITS_MAX
        && runs().all(|run| run.len() <= RUN_MAX && is_of_one_case(run))
}

/// A trust's site: `RHM01`.
fn is_site(value: &str) -> bool {
    let bytes = value.as_bytes();
    bytes.len() == 5
        && matches!(bytes[0], b'R' | b'T')
        && bytes[1..3].iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && bytes[1..3].iter().any(u8::is_ascii_uppercase)
        && bytes[3..].iter().all(u8::is_ascii_digit)
}

/// A concept of SNOMED CT: six to eighteen digits with its partition and a Verhoeff check digit, and neither a day nor an NHS number.
fn is_snomed(value: &str) -> bool {
    /// Products in the dihedral group of order 10 for the elements 0 to 4; the others follow by reflection.
    fn product(a: u8, b: u8) -> u8 {
        match (a < 5, b < 5) {
            (true, true) => (a + b) % 5,
            (true, false) => 5 + (a + b) % 5,
            (false, true) => 5 + (a + 5 - b) % 5,
            (false, false) => (a + 5 - b) % 5,
        }
    }
    const STEP: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    if !(6..=18).contains(&value.len()) || !value.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let is_concept = matches!(&value[value.len() - 3..value.len() - 1], "00" | "10");
    if !is_concept || super::dates::stamp_length(value) == Some(value.len()) || (value.len() == 10 && super::is_valid(value)) {
        return false;
    }
    let digits = value.bytes().rev().map(|b| b - b'0').enumerate();
    digits.fold(0, |sum, (place, digit)| product(sum, (0..place % 8).fold(digit, |digit, _| STEP[usize::from(digit)]))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_sites_concepts_and_words_of_administration_are_told_from_text() {
        for code in ["", "21", "2A", "EMER", "EMER-ED", "ADT_A01", "2.4", "INPATIENT", "Emerg Other", "Emerg A&E", "DAY CASE", "RHM01", "NHS"] {
            assert!(looks_like_code(code), "{code}");
        }
        for concept in ["1048071000000103", "507291000000100", "306689006", "183919006"] {
            assert!(looks_like_code(concept), "{concept}");
        }
        for text in [
            "SMITH",
            "Khan",
            "SMITH JOHN",
            "LEE ANN",
            "Home of Mrs X",
            "Zo\u{eb}",
            "9434765919",
            "943-476-5919",
            "19400701",
            "01/07/40",
            "V0012",
            "RHM77123",
            "1048071000000104",
        ] {
            assert!(!looks_like_code(text), "{text}");
        }
    }
}
