//! The number printed on a prescription.
//!
//! Source: NHS Electronic Prescription Service (EPS) FHIR API, prescription order number (short form);
//! ISO 7064 MOD 37-2 with `+` in place of `*`.

use std::fmt;

use crate::organisation::OdsCode;

const ALPHABET: &[u8; 37] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ+";

/// Sequences wrap after `FFFFF`.
const SEQUENCE_MASK: u32 = 0xF_FFFF;

/// The short-form prescription id `RRRRRR-OOOOOO-SSSSSC`: six random hexadecimal digits, the ODS code padded
/// on the left with zeros, a five-digit hexadecimal sequence and a check character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrescriptionOrderNumber(String);

/// Why a text is not a prescription order number, or why none can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrescriptionOrderNumberError {
    #[error("a prescription order number is three groups of six characters joined by hyphens")]
    Shape,
    #[error("the first group of a prescription order number is six hexadecimal digits")]
    Random,
    #[error("the second group of a prescription order number is an ODS code padded with zeros")]
    Organisation,
    #[error("the third group of a prescription order number is five hexadecimal digits and a check character")]
    Sequence,
    #[error("the check character of the prescription order number does not agree")]
    CheckCharacter,
    #[error("an ODS code of {characters} characters does not fit the six of a prescription order number")]
    OdsCodeTooLong { characters: usize },
}

impl PrescriptionOrderNumber {
    /// Parses the 20 characters, ignoring surrounding spaces and putting letters into upper case.
    pub fn parse(text: &str) -> Result<Self, PrescriptionOrderNumberError> {
        let number = text.trim().to_ascii_uppercase();
        let mut groups = number.split('-');
        let (Some(random), Some(organisation), Some(sequence), None) = (groups.next(), groups.next(), groups.next(), groups.next()) else {
            return Err(PrescriptionOrderNumberError::Shape);
        };
        if [random, organisation, sequence].iter().any(|group| group.len() != 6 || !group.is_ascii()) {
            return Err(PrescriptionOrderNumberError::Shape);
        }
        if !is_hexadecimal(random) {
            return Err(PrescriptionOrderNumberError::Random);
        }
        if !organisation.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(PrescriptionOrderNumberError::Organisation);
        }
        let (digits, check) = sequence.split_at(5);
        if !is_hexadecimal(digits) || !check.bytes().all(|byte| ALPHABET.contains(&byte)) {
            return Err(PrescriptionOrderNumberError::Sequence);
        }
        if check_character(random, organisation, digits) != char::from(check.as_bytes()[0]) {
            return Err(PrescriptionOrderNumberError::CheckCharacter);
        }
        Ok(Self(number))
    }

    /// Makes a number from random bytes, the prescribing organisation and its running sequence, which wraps
    /// after `FFFFF`.
    pub fn generate(random: [u8; 3], ods: &OdsCode, sequence: u32) -> Result<Self, PrescriptionOrderNumberError> {
        let code = ods.as_str();
        if code.len() > 6 {
            return Err(PrescriptionOrderNumberError::OdsCodeTooLong { characters: code.len() });
        }
        let random = format!("{:02X}{:02X}{:02X}", random[0], random[1], random[2]);
        let organisation = format!("{code:0>6}");
        let digits = format!("{:05X}", sequence & SEQUENCE_MASK);
        let check = check_character(&random, &organisation, &digits);
        Ok(Self(format!("{random}-{organisation}-{digits}{check}")))
    }

    /// The 20 characters with hyphens.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The second group: the ODS code still padded with zeros, because a code may itself begin with one.
    pub fn padded_organisation(&self) -> &str {
        &self.0[7..13]
    }
}

impl fmt::Display for PrescriptionOrderNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_hexadecimal(group: &str) -> bool {
    group.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The MOD 37-2 check character of the 17 characters before it.
fn check_character(random: &str, organisation: &str, digits: &str) -> char {
    let total = [random, organisation, digits]
        .iter()
        .flat_map(|group| group.chars())
        .fold(0, |total, character| (total + character.to_digit(36).expect("only letters and digits come here")) * 2 % 37);
    char::from(ALPHABET[((38 - total) % 37) as usize])
}
