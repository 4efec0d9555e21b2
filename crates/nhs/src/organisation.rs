//! Codes that name organisations and places of care.
//!
//! Sources: Organisation Data Service (ODS) reference data; Care Quality Commission public API.

use std::fmt;

/// An ODS code: 3 to 10 capital letters and digits (`RCB`, `A83008`, `FA565`).
///
/// The shape does not tell the type of organisation: look that up in the register.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OdsCode(String);

/// Why a text is not an ODS code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OdsCodeError {
    #[error("an ODS code has 3 to 10 characters, this has {characters}")]
    Length { characters: usize },
    #[error("an ODS code holds only letters and digits")]
    Characters,
}

impl OdsCode {
    /// Parses a code, ignoring surrounding spaces and putting letters into upper case.
    pub fn parse(text: &str) -> Result<Self, OdsCodeError> {
        let text = text.trim();
        if !text.chars().all(|character| character.is_ascii_alphanumeric()) {
            return Err(OdsCodeError::Characters);
        }
        if !(3..=10).contains(&text.len()) {
            return Err(OdsCodeError::Length { characters: text.len() });
        }
        Ok(Self(text.to_ascii_uppercase()))
    }

    /// The code in upper case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OdsCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A location registered with the Care Quality Commission: `1-` and 6 to 11 digits, or for NHS trusts a code
/// of ODS shape beginning with R.
///
/// A home gets a new location id when its provider changes, so this is an alias with dates, never the key
/// of a home.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CqcLocationId(String);

/// The text is not a CQC location id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a CQC location id is 1- followed by 6 to 11 digits, or R followed by 2 to 4 letters or digits")]
pub struct CqcLocationIdError;

impl CqcLocationId {
    /// Parses a location id, ignoring surrounding spaces and putting letters into upper case.
    pub fn parse(text: &str) -> Result<Self, CqcLocationIdError> {
        let id = text.trim().to_ascii_uppercase();
        let registered = id.strip_prefix("1-").is_some_and(|digits| (6..=11).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let trust = id.strip_prefix('R').is_some_and(|rest| (2..=4).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if registered || trust { Ok(Self(id)) } else { Err(CqcLocationIdError) }
    }

    /// The id as the CQC publishes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CqcLocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
