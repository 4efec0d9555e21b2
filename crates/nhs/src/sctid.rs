//! SNOMED CT identifiers.
//!
//! Source: SNOMED International, Release File Specification, "SNOMED CT Identifiers" (partition identifier,
//! namespace, Verhoeff check digit). Dictionary of medicines and devices (dm+d) concepts live in the UK drug
//! extension, namespace 1000001.

use std::fmt;

/// The namespace of the UK drug extension (dm+d).
const DMD_NAMESPACE: u32 = 1_000_001;

/// A SNOMED CT identifier: 6 to 18 digits, no leading zero, Verhoeff check digit agreeing, known partition.
///
/// Write it as a string in JSON: 18 digits do not fit a double.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sctid(u64);

/// What kind of component an identifier names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Component {
    Concept,
    Description,
    Relationship,
}

/// Why a text is not a SNOMED CT identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SctidError {
    #[error("a SNOMED CT identifier holds only digits")]
    NotDigits,
    #[error("a SNOMED CT identifier has 6 to 18 digits, this has {digits}")]
    Length { digits: usize },
    #[error("a SNOMED CT identifier does not begin with 0")]
    LeadingZero,
    #[error("the partition of the SNOMED CT identifier is not one of 00, 01, 02, 10, 11, 12")]
    Partition,
    #[error("an extension identifier is too short to hold its namespace")]
    NoNamespace,
    #[error("the check digit of the SNOMED CT identifier does not agree")]
    CheckDigit,
}

impl Sctid {
    /// Parses an identifier, ignoring surrounding spaces.
    pub fn parse(text: &str) -> Result<Self, SctidError> {
        let text = text.trim();
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SctidError::NotDigits);
        }
        if !(6..=18).contains(&text.len()) {
            return Err(SctidError::Length { digits: text.len() });
        }
        if text.starts_with('0') {
            return Err(SctidError::LeadingZero);
        }
        if !verhoeff_agrees(text.as_bytes()) {
            return Err(SctidError::CheckDigit);
        }
        let partition = &text[text.len() - 3..text.len() - 1];
        match partition {
            "00" | "01" | "02" => {}
            // item identifier (at least one digit), namespace (7), partition (2), check digit (1)
            "10" | "11" | "12" if text.len() >= 11 => {}
            "10" | "11" | "12" => return Err(SctidError::NoNamespace),
            _ => return Err(SctidError::Partition),
        }
        text.parse().map(Self).map_err(|_| SctidError::NotDigits)
    }

    /// The identifier as a number.
    pub fn value(self) -> u64 {
        self.0
    }

    /// What the identifier names, from the second digit of the partition.
    pub fn component(self) -> Component {
        match self.0 / 10 % 10 {
            0 => Component::Concept,
            1 => Component::Description,
            _ => Component::Relationship,
        }
    }

    /// The namespace of an extension identifier; `None` for the international release.
    pub fn namespace(self) -> Option<u32> {
        let is_extension = self.0 / 100 % 10 == 1;
        is_extension.then_some((self.0 / 1_000 % 10_000_000) as u32)
    }

    /// Whether this is a concept of the UK drug extension. That proves neither that it exists nor that it is a
    /// product (VMP or AMP): only the dm+d release does.
    pub fn is_dmd(self) -> bool {
        self.component() == Component::Concept && self.namespace() == Some(DMD_NAMESPACE)
    }

    /// Whether the identifier can stand for a medicine at all. Older virtual products, such as paracetamol
    /// 500 mg tablets, keep an international concept, so the namespace alone must not refuse one.
    pub fn can_name_medicine(self) -> bool {
        self.component() == Component::Concept && matches!(self.namespace(), None | Some(DMD_NAMESPACE))
    }
}

impl fmt::Display for Sctid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether the last digit is the Verhoeff check digit of the others: the product in the dihedral group of
/// order ten, of digits permuted by position from the right, is the identity.
fn verhoeff_agrees(digits: &[u8]) -> bool {
    let product = digits.iter().rev().enumerate().fold(0_u8, |product, (position, digit)| dihedral(product, permuted(digit - b'0', position % 8)));
    product == 0
}

/// Multiplication in D5: 0–4 are rotations, 5–9 reflections.
fn dihedral(left: u8, right: u8) -> u8 {
    let (a, b) = (left % 5, right % 5);
    match (left < 5, right < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b) % 5,
        (false, true) => 5 + (a + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

/// Verhoeff's permutation applied `times` over.
fn permuted(digit: u8, times: usize) -> u8 {
    const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    (0..times).fold(digit, |digit, _| PERMUTATION[usize::from(digit)])
}
