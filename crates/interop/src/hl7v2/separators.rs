//! The delimiters a message declares for itself in MSH-1 and MSH-2.

/// Delimiters of one message. Always ASCII punctuation, always distinct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Separators {
    /// MSH-1, usually `|`.
    pub field: u8,
    /// Usually `^`.
    pub component: u8,
    /// Usually `~`.
    pub repetition: u8,
    /// Usually `\`; a few senders declare none.
    pub escape: Option<u8>,
    /// Usually `&`; a few senders declare none.
    pub subcomponent: Option<u8>,
    /// HL7 2.7 and later, usually `#`.
    pub truncation: Option<u8>,
}

/// Why MSH-1 and MSH-2 could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SeparatorFault {
    /// MSH-1 or MSH-2 is not there, or MSH-2 is shorter than three characters.
    #[error("encoding characters are missing")]
    Missing,
    /// MSH-2 is longer than five characters.
    #[error("too many encoding characters")]
    TooMany,
    /// The same character twice.
    #[error("an encoding character is declared twice")]
    Duplicate,
    /// A letter, digit, space, control character or non-ASCII byte.
    #[error("an encoding character is not punctuation")]
    NotPunctuation,
}

impl Separators {
    /// `|^~\&`
    pub const STANDARD: Self = Self { field: b'|', component: b'^', repetition: b'~', escape: Some(b'\\'), subcomponent: Some(b'&'), truncation: None };

    /// Reads them from a header segment (`MSH`, `FHS` or `BHS`), which begins at the first byte.
    ///
    /// Two oddities of real feeds are understood: a doubled backslash (`^~\\&`), and three characters. In three the
    /// last is the escape character only when it is a backslash: senders that lost the backslash kept the fourth one.
    pub fn from_header(header: &[u8]) -> Result<Self, SeparatorFault> {
        let field = *header.get(3).ok_or(SeparatorFault::Missing)?;
        let declared = &header[4..];
        let end = declared.iter().position(|&b| b == field || b == b'\r' || b == b'\n').unwrap_or(declared.len());
        let separators = match declared[..end] {
            [] | [_] | [_, _] => return Err(SeparatorFault::Missing),
            [component, repetition, b'\\'] => Self { field, component, repetition, escape: Some(b'\\'), subcomponent: None, truncation: None },
            [component, repetition, subcomponent] => Self { field, component, repetition, escape: None, subcomponent: Some(subcomponent), truncation: None },
            [component, repetition, b'\\', b'\\', subcomponent] => {
                Self { field, component, repetition, escape: Some(b'\\'), subcomponent: Some(subcomponent), truncation: None }
            }
            [component, repetition, escape, subcomponent] => {
                Self { field, component, repetition, escape: Some(escape), subcomponent: Some(subcomponent), truncation: None }
            }
            [component, repetition, escape, subcomponent, truncation] => {
                Self { field, component, repetition, escape: Some(escape), subcomponent: Some(subcomponent), truncation: Some(truncation) }
            }
            _ => return Err(SeparatorFault::TooMany),
        };
        separators.check()?;
        Ok(separators)
    }

    /// MSH-2 as it is written out.
    pub fn encoding_characters(&self) -> String {
        let optional = [self.escape, self.subcomponent, self.truncation];
        [self.component, self.repetition].into_iter().chain(optional.into_iter().flatten()).map(char::from).collect()
    }

    /// All declared characters, the field separator first.
    pub(crate) fn declared(&self) -> impl Iterator<Item = u8> {
        let optional = [self.escape, self.subcomponent, self.truncation];
        [self.field, self.component, self.repetition].into_iter().chain(optional.into_iter().flatten())
    }

    fn check(&self) -> Result<(), SeparatorFault> {
        // Nearly every message has these.
        if *self == Self::STANDARD {
            return Ok(());
        }
        if self.declared().any(|byte| !byte.is_ascii_punctuation()) {
            return Err(SeparatorFault::NotPunctuation);
        }
        let repeated = self.declared().enumerate().any(|(at, byte)| self.declared().skip(at + 1).any(|b| b == byte));
        if repeated { Err(SeparatorFault::Duplicate) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Result<String, SeparatorFault> {
        Separators::from_header(header.as_bytes()).map(|s| s.encoding_characters())
    }

    #[test]
    fn delimiters_are_read_from_the_message_itself() {
        assert_eq!(Separators::from_header(b"MSH|^~\\&|x"), Ok(Separators::STANDARD));
        assert_eq!(read("MSH|^~\\&#|x").as_deref(), Ok("^~\\&#"));
        assert_eq!(read("MSH|^~\\}|x").as_deref(), Ok("^~\\}"));
        assert_eq!(read("MSH^~|\\&^x").as_deref(), Ok("~|\\&"));
        assert_eq!(read("MSH|^~\\\\&|x").as_deref(), Ok("^~\\&"));
    }

    #[test]
    fn three_characters_lose_the_escape_unless_the_third_is_a_backslash() {
        let lost = Separators::from_header(b"MSH|^~}|x").expect("readable");
        assert_eq!((lost.escape, lost.subcomponent), (None, Some(b'}')));
        let kept = Separators::from_header(b"MSH|^~\\|x").expect("readable");
        assert_eq!((kept.escape, kept.subcomponent), (Some(b'\\'), None));
    }

    #[test]
    fn missing_duplicate_surplus_and_alphanumeric_delimiters_are_refused() {
        assert_eq!(read("MSH"), Err(SeparatorFault::Missing));
        assert_eq!(read("MSH|"), Err(SeparatorFault::Missing));
        assert_eq!(read("MSH|^|x"), Err(SeparatorFault::Missing));
        assert_eq!(read("MSH|^~^&|x"), Err(SeparatorFault::Duplicate));
        assert_eq!(read("MSH|^~\\&#!|x"), Err(SeparatorFault::TooMany));
        assert_eq!(read("MSH|^~y&|x"), Err(SeparatorFault::NotPunctuation));
        assert_eq!(read("MSHA^~\\&A"), Err(SeparatorFault::NotPunctuation));
    }
}
