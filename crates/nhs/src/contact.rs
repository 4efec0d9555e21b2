//! Postcodes and email addresses.
//!
//! Both can point at a person, so `Debug` is redacted and neither has a `Display`.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A UK postcode in its normal form: upper case, one space before the last three characters (`SO16 6YD`).
///
/// The form is checked (BS 7666), not whether Royal Mail has issued it. The NHS's own ZZ99 postcodes, which
/// stand for no fixed abode, unknown or abroad, are accepted: see [`Postcode::is_pseudo`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Zeroize, ZeroizeOnDrop)]
pub struct Postcode(String);

/// Why a text is not a postcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostcodeError {
    #[error("a postcode holds only letters, digits and a space")]
    Characters,
    #[error("a postcode has 5 to 7 letters and digits, this has {characters}")]
    Length { characters: usize },
    #[error("the first part of the postcode is not of a form in use")]
    Outward,
    #[error("the second part of a postcode is a digit and two letters, without C, I, K, M, O and V")]
    Inward,
}

impl Postcode {
    /// Parses a postcode however it is spaced or cased.
    pub fn parse(text: &str) -> Result<Self, PostcodeError> {
        let mut compact = String::with_capacity(8);
        for character in text.chars().filter(|character| *character != ' ') {
            if !character.is_ascii_alphanumeric() {
                return Err(PostcodeError::Characters);
            }
            compact.push(character.to_ascii_uppercase());
        }
        if !(5..=7).contains(&compact.len()) {
            return Err(PostcodeError::Length { characters: compact.len() });
        }
        let (outward, inward) = compact.split_at(compact.len() - 3);
        let is_pseudo = outward == "ZZ99";
        let inward_bytes = inward.as_bytes();
        let inward_holds =
            inward_bytes[0].is_ascii_digit() && inward_bytes[1..].iter().all(|byte| byte.is_ascii_uppercase() && (is_pseudo || !b"CIKMOV".contains(byte)));
        if !inward_holds {
            return Err(PostcodeError::Inward);
        }
        if !is_pseudo && !is_outward(outward.as_bytes()) && compact != "GIR0AA" {
            return Err(PostcodeError::Outward);
        }
        compact.insert(compact.len() - 3, ' ');
        Ok(Self(compact))
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the space, coarse enough to speak of a district (`SO16`).
    pub fn outward(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }

    /// Whether this is an NHS pseudo postcode (ZZ99), which names no place.
    pub fn is_pseudo(&self) -> bool {
        self.outward() == "ZZ99"
    }
}

impl fmt::Debug for Postcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Postcode(redacted)")
    }
}

/// One or two letters (not Q, V, X first; not I, J, Z second), then a digit, two digits, or a digit and a letter.
fn is_outward(outward: &[u8]) -> bool {
    let letters = outward.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let (area, district) = outward.split_at(letters);
    let area_holds = match area {
        [first] => !b"QVX".contains(first),
        [first, second] => !b"QVX".contains(first) && !b"IJZ".contains(second),
        _ => false,
    };
    let district_holds = match district {
        [digit] => digit.is_ascii_digit(),
        [digit, last] => digit.is_ascii_digit() && last.is_ascii_alphanumeric(),
        _ => false,
    };
    area_holds && district_holds
}

/// An email address that is safe to put into an SMTP envelope and header: ASCII, one `@`, a dotted domain.
///
/// A light check of form (a subset of RFC 5321): quoted local parts and address literals are refused, and so
/// is anything that could break out of a header. Whether the mailbox is secure or exists is another matter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Zeroize, ZeroizeOnDrop)]
pub struct EmailAddress(String);

/// Why a text is not an email address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmailAddressError {
    #[error("an email address has at most 254 characters, 64 of them before the @")]
    TooLong,
    #[error("an email address has exactly one @")]
    NotOneAt,
    #[error("the part before the @ is empty, misplaces a dot or holds a character not allowed there")]
    LocalPart,
    #[error("the part after the @ is not a domain name with at least one dot")]
    Domain,
}

impl EmailAddress {
    /// Parses an address, ignoring surrounding spaces and putting the domain into lower case.
    pub fn parse(text: &str) -> Result<Self, EmailAddressError> {
        let text = text.trim_matches(' ');
        let mut parts = text.split('@');
        let (Some(local), Some(domain), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(EmailAddressError::NotOneAt);
        };
        if text.len() > 254 || local.len() > 64 {
            return Err(EmailAddressError::TooLong);
        }
        if !local.split('.').all(is_atom) {
            return Err(EmailAddressError::LocalPart);
        }
        if !domain.contains('.') || !domain.split('.').all(is_label) {
            return Err(EmailAddressError::Domain);
        }
        Ok(Self(format!("{local}@{}", domain.to_ascii_lowercase())))
    }

    /// The address with its domain in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain in lower case, for policies such as "secure domains only".
    pub fn domain(&self) -> &str {
        self.0.split('@').nth(1).unwrap_or_default()
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(redacted)")
    }
}

fn is_atom(atom: &str) -> bool {
    !atom.is_empty() && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
