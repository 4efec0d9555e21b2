//! The NHS number and how far it has been traced.
//!
//! Source: NHS Data Dictionary, "NHS NUMBER" and "NHS NUMBER STATUS INDICATOR CODE".

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A ten-digit NHS number whose modulus 11 check digit agrees.
///
/// Proof of form only: whether it belongs to the person is for [`NhsNumberStatus`]. `Debug` is redacted and
/// there is no `Display`; the digits are wiped on drop.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Zeroize, ZeroizeOnDrop)]
pub struct NhsNumber([u8; 10]);

/// Why a text is not an NHS number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NhsNumberError {
    #[error("an NHS number holds only digits, spaces and hyphens")]
    NotDigits,
    #[error("an NHS number has 10 digits, this has {digits}")]
    Length { digits: usize },
    /// 0000000000 … 9999999999 all satisfy modulus 11 and fill test feeds, so they are refused by name.
    #[error("an NHS number is never one digit repeated")]
    RepeatedDigit,
    #[error("the check digit of the NHS number does not agree")]
    CheckDigit,
    /// One leading part in eleven has no check digit and is never issued.
    #[error("these nine digits have no NHS number check digit")]
    NoCheckDigit,
}

impl NhsNumber {
    /// Parses ten digits, ignoring spaces and hyphens (`943 476 5919`). Leading zeros are legal.
    pub fn parse(text: &str) -> Result<Self, NhsNumberError> {
        let mut digits = [0_u8; 10];
        let mut count = 0_usize;
        for character in text.chars() {
            match character {
                ' ' | '-' => {}
                '0'..='9' => {
                    if let Some(slot) = digits.get_mut(count) {
                        *slot = character as u8;
                    }
                    count += 1;
                }
                _ => return Err(NhsNumberError::NotDigits),
            }
        }
        if count != 10 {
            return Err(NhsNumberError::Length { digits: count });
        }
        if digits.iter().all(|digit| *digit == digits[0]) {
            return Err(NhsNumberError::RepeatedDigit);
        }
        match check_digit(&digits[..9]) {
            Some(check) if check == digits[9] => Ok(Self(digits)),
            _ => Err(NhsNumberError::CheckDigit),
        }
    }

    /// Completes nine leading digits with their check digit. For generators of test data; see
    /// [`NhsNumber::is_test_range`].
    pub fn complete(first_nine: u32) -> Result<Self, NhsNumberError> {
        if first_nine > 999_999_999 {
            return Err(NhsNumberError::Length { digits: 11 });
        }
        let mut digits = [b'0'; 10];
        let mut rest = first_nine;
        for slot in digits[..9].iter_mut().rev() {
            *slot = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        digits[9] = check_digit(&digits[..9]).ok_or(NhsNumberError::NoCheckDigit)?;
        if digits.iter().all(|digit| *digit == digits[0]) {
            return Err(NhsNumberError::RepeatedDigit);
        }
        Ok(Self(digits))
    }

    /// The ten digits without separators, as messages carry them.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the digits are ASCII")
    }

    /// The digits as people read them aloud: `943 476 5919`.
    pub fn formatted(&self) -> String {
        let digits = self.as_str();
        format!("{} {} {}", &digits[..3], &digits[3..6], &digits[6..])
    }

    /// Whether the number lies in the range 999…, which is kept for tests and never issued to anyone.
    pub fn is_test_range(&self) -> bool {
        self.0.starts_with(b"999")
    }
}

impl fmt::Debug for NhsNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NhsNumber(redacted)")
    }
}

/// The modulus 11 check digit of nine ASCII digits (weights 10 to 2), or `None` where it would be 10.
fn check_digit(first_nine: &[u8]) -> Option<u8> {
    let sum: u32 = first_nine.iter().zip((2..=10_u32).rev()).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    match 11 - sum % 11 {
        11 => Some(b'0'),
        10 => None,
        remainder => Some(b'0' + remainder as u8),
    }
}

/// How far an NHS number has been traced against the Personal Demographics Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NhsNumberStatus {
    /// 01: present and verified.
    Verified,
    /// 02: present but not traced.
    PresentNotTraced,
    /// 03: trace required.
    TraceRequired,
    /// 04: trace attempted, no match or several.
    NoOrMultipleMatch,
    /// 05: trace needs to be resolved, number or details in conflict.
    Conflict,
    /// 06: trace in progress.
    InProgress,
    /// 07: not present and not required.
    NotRequired,
    /// 08: trace postponed (baby under six weeks).
    Postponed,
}

/// The text is not a status code 01 to 08.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an NHS number status is a code from 01 to 08")]
pub struct NhsNumberStatusError;

impl NhsNumberStatus {
    /// Parses the two-digit code, alone or as HL7 field PID-32 carries it (`NSTS02`).
    pub fn parse(text: &str) -> Result<Self, NhsNumberStatusError> {
        let text = text.trim();
        match text.strip_prefix("NSTS").unwrap_or(text) {
            "01" => Ok(Self::Verified),
            "02" => Ok(Self::PresentNotTraced),
            "03" => Ok(Self::TraceRequired),
            "04" => Ok(Self::NoOrMultipleMatch),
            "05" => Ok(Self::Conflict),
            "06" => Ok(Self::InProgress),
            "07" => Ok(Self::NotRequired),
            "08" => Ok(Self::Postponed),
            _ => Err(NhsNumberStatusError),
        }
    }

    /// The two-digit national code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Verified => "01",
            Self::PresentNotTraced => "02",
            Self::TraceRequired => "03",
            Self::NoOrMultipleMatch => "04",
            Self::Conflict => "05",
            Self::InProgress => "06",
            Self::NotRequired => "07",
            Self::Postponed => "08",
        }
    }

    /// Only status 01 makes a number one to act upon.
    pub fn is_verified(self) -> bool {
        matches!(self, Self::Verified)
    }
}
