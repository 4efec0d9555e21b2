//! Names and dates of birth, and when two of them agree.

use std::fmt;

use jiff::civil::Date;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::personal::Sensitive;

/// Nobody living was born before this year; such dates are placeholders (1800-01-01, 1753-01-01, 1841-…).
const BIRTH_YEAR_EARLIEST: i16 = 1890;

/// A date of birth: a calendar date, not an instant, so no time zone can shift it.
///
/// Kept as zero-based parts so that the wiped state is a date too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Zeroize, ZeroizeOnDrop)]
pub struct DateOfBirth {
    year: i16,
    month0: i8,
    day0: i8,
}

/// Why a text is not a date of birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DateOfBirthError {
    #[error("a date of birth is written YYYY-MM-DD, or begins with the eight digits YYYYMMDD")]
    Form,
    #[error("the date of birth is not a day of the calendar")]
    NotACalendarDate,
    #[error("the date of birth lies before {BIRTH_YEAR_EARLIEST}")]
    TooEarly,
    #[error("the date of birth lies in the future")]
    InTheFuture,
}

impl DateOfBirth {
    /// Parses `YYYY-MM-DD`, or an HL7 date or time of which the first eight digits count
    /// (`196512131515`, `19760121+`). The year is at least 1890; see [`DateOfBirth::not_after`] for the future.
    pub fn parse(text: &str) -> Result<Self, DateOfBirthError> {
        let text = text.trim();
        let bytes = text.as_bytes();
        let digits: Vec<u8> = if bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-' {
            [&bytes[..4], &bytes[5..7], &bytes[8..]].concat()
        } else {
            bytes.get(..8).ok_or(DateOfBirthError::Form)?.to_vec()
        };
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(DateOfBirthError::Form);
        }
        let number = |digits: &[u8]| digits.iter().fold(0_i16, |number, digit| number * 10 + i16::from(digit - b'0'));
        let (year, month, day) = (number(&digits[..4]), number(&digits[4..6]) as i8, number(&digits[6..]) as i8);
        let date = Date::new(year, month, day).map_err(|_| DateOfBirthError::NotACalendarDate)?;
        Self::from_date(date)
    }

    /// A date of birth from a calendar date; the year is at least 1890.
    pub fn from_date(date: Date) -> Result<Self, DateOfBirthError> {
        if date.year() < BIRTH_YEAR_EARLIEST {
            return Err(DateOfBirthError::TooEarly);
        }
        Ok(Self { year: date.year(), month0: date.month() - 1, day0: date.day() - 1 })
    }

    /// This date, refused if it lies after `today` (the day in Europe/London on which it was given).
    pub fn not_after(self, today: Date) -> Result<Self, DateOfBirthError> {
        if self.date() > today {
            return Err(DateOfBirthError::InTheFuture);
        }
        Ok(self)
    }

    /// The calendar date.
    pub fn date(&self) -> Date {
        Date::new(self.year, self.month0 + 1, self.day0 + 1).expect("the parts came from a date")
    }

    /// `YYYY-MM-DD`, as FHIR writes it.
    pub fn to_iso(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month0 + 1, self.day0 + 1)
    }

    /// `YYYYMMDD`, as HL7 v2 writes it.
    pub fn to_hl7(&self) -> String {
        format!("{:04}{:02}{:02}", self.year, self.month0 + 1, self.day0 + 1)
    }

    /// Completed years of age on a date; 0 before birth. Someone born on 29 February turns a year older on
    /// 1 March of a common year.
    pub fn age_on(&self, date: Date) -> u16 {
        let birthday_to_come = (date.month(), date.day()) < (self.month0 + 1, self.day0 + 1);
        let years = date.year() - self.year - i16::from(birthday_to_come);
        u16::try_from(years).unwrap_or(0)
    }
}

impl fmt::Debug for DateOfBirth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DateOfBirth(redacted)")
    }
}

/// A person's family and given name. The given name may be empty, as hospital messages leave it.
#[derive(Clone, PartialEq, Eq, Hash, Zeroize, ZeroizeOnDrop)]
pub struct PersonName {
    family: String,
    given: String,
}

/// Why texts are not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PersonNameError {
    #[error("a family name has at least one letter")]
    NoFamilyName,
    #[error("a name holds a control character")]
    ControlCharacter,
    #[error("a name part has at most 100 characters")]
    TooLong,
}

impl PersonName {
    /// Parses the parts of a name, ignoring surrounding spaces.
    pub fn parse(family: &str, given: &str) -> Result<Self, PersonNameError> {
        let (family, given) = (family.trim(), given.trim());
        for part in [family, given] {
            if part.chars().any(char::is_control) {
                return Err(PersonNameError::ControlCharacter);
            }
            if part.chars().count() > 100 {
                return Err(PersonNameError::TooLong);
            }
        }
        if !family.chars().any(char::is_alphabetic) {
            return Err(PersonNameError::NoFamilyName);
        }
        Ok(Self { family: family.to_owned(), given: given.to_owned() })
    }

    pub fn family(&self) -> &str {
        &self.family
    }

    pub fn given(&self) -> &str {
        &self.given
    }

    /// The normal form in which names are compared: upper case, letters only, Latin accents dropped, family
    /// and given name parted by one space. Hospital feeds are plain ASCII, so `Zoë O'Neill-Smith` must equal
    /// `ZOE ONEILL SMITH`.
    pub fn comparable(&self) -> Sensitive<String> {
        Sensitive::new(format!("{} {}", letters(&self.family), letters(&self.given)))
    }

    /// Whether the name stands for a person not identified: HL7 UK A.3 writes the family name "Unknown".
    pub fn is_unknown(&self) -> bool {
        letters(&self.family) == "UNKNOWN"
    }

    /// Whether both names are known and equal in normal form. A missing given name agrees with nothing.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let is_complete = |name: &Self| !name.is_unknown() && name.given.chars().any(char::is_alphabetic);
        is_complete(self) && is_complete(other) && self.comparable() == other.comparable()
    }
}

impl fmt::Debug for PersonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonName(redacted)")
    }
}

/// The letters of a text in upper case without Latin accents. Combining marks are not letters and drop out.
fn letters(text: &str) -> String {
    let mut letters = String::with_capacity(text.len());
    for letter in text.chars().flat_map(char::to_uppercase) {
        match letter {
            'À'..='Å' | 'Ā' | 'Ă' | 'Ą' => letters.push('A'),
            'Æ' => letters.push_str("AE"),
            'Ç' | 'Ć' | 'Ĉ' | 'Ċ' | 'Č' => letters.push('C'),
            'Ď' | 'Đ' | 'Ð' => letters.push('D'),
            'È'..='Ë' | 'Ē' | 'Ĕ' | 'Ė' | 'Ę' | 'Ě' => letters.push('E'),
            'Ĝ' | 'Ğ' | 'Ġ' | 'Ģ' => letters.push('G'),
            'Ĥ' | 'Ħ' => letters.push('H'),
            'Ì'..='Ï' | 'Ĩ' | 'Ī' | 'Ĭ' | 'Į' | 'İ' => letters.push('I'),
            'Ĵ' => letters.push('J'),
            'Ķ' => letters.push('K'),
            'Ĺ' | 'Ļ' | 'Ľ' | 'Ŀ' | 'Ł' => letters.push('L'),
            'Ñ' | 'Ń' | 'Ņ' | 'Ň' => letters.push('N'),
            'Ò'..='Ö' | 'Ø' | 'Ō' | 'Ŏ' | 'Ő' => letters.push('O'),
            'Œ' => letters.push_str("OE"),
            'Ŕ' | 'Ŗ' | 'Ř' => letters.push('R'),
            'Ś' | 'Ŝ' | 'Ş' | 'Š' | 'Ș' => letters.push('S'),
            'Ţ' | 'Ť' | 'Ŧ' | 'Ț' => letters.push('T'),
            'Þ' => letters.push_str("TH"),
            'Ù'..='Ü' | 'Ũ' | 'Ū' | 'Ŭ' | 'Ů' | 'Ű' | 'Ų' => letters.push('U'),
            'Ŵ' => letters.push('W'),
            'Ý' | 'Ŷ' | 'Ÿ' => letters.push('Y'),
            'Ź' | 'Ż' | 'Ž' => letters.push('Z'),
            letter if letter.is_alphabetic() => letters.push(letter),
            _ => {}
        }
    }
    letters
}
