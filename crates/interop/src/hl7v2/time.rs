//! HL7 times: `YYYY[MM[DD[HH[MM[SS[.S…]]]]]][±ZZZZ]`.
//!
//! A time without an offset is the wall clock of Europe/London. On the last Sunday of October one hour happens twice:
//! the first (summer time) is taken, unless the receipt tells better, and the reading says so. On the last Sunday of March one hour does not happen: the
//! clock is moved forward by the hour and the reading says so. A date of birth is never read through here: it has no
//! instant.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::london;
use super::part::trimmed;

/// How much of the time was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// `2025`
    Year,
    /// `202503`
    Month,
    /// `20250301`
    Day,
    /// `2025030114`
    Hour,
    /// `202503011405`
    Minute,
    /// `20250301140509`
    Second,
    /// `20250301140509.25`
    Fraction,
}

/// Which clock the time was read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// The message gave the offset from UTC, in minutes east.
    Stated {
        /// Minutes east of UTC.
        offset_minutes: i32,
    },
    /// The message gave none.
    EuropeLondon,
}

/// Whether the wall clock names one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Exactly one.
    Unique,
    /// Two, when the clocks go back; the earlier was taken unless [`Hl7Time::as_received`] knows better.
    Ambiguous,
    /// None, when the clocks go forward; the time after the gap was taken.
    Nonexistent,
}

/// A time from a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hl7Time<'m> {
    /// As it was sent.
    pub raw: &'m str,
    /// Microseconds since 1970-01-01T00:00:00Z; what was not written counts as its beginning.
    pub instant_us: i64,
    /// How much was written.
    pub precision: Precision,
    /// Which clock.
    pub zone: Zone,
    /// Whether that clock names one instant.
    pub clock: Clock,
}

/// Why text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Hl7TimeError {
    /// Wrong length, a character that is no digit, or an offset that cannot be read.
    #[error("the time is malformed")]
    Malformed,
    /// Digits that name no date, no time of day or no offset.
    #[error("the time is out of range")]
    OutOfRange,
}

impl<'m> Hl7Time<'m> {
    /// Reads one time; spaces around it are ignored. For a field, pass its first component.
    pub fn parse(raw: &'m str) -> Result<Self, Hl7TimeError> {
        Self::read(raw, london::instant)
    }

    /// The same, where times without an offset are the wall clock of another zone; [`Zone::EuropeLondon`] then stands for that one.
    pub fn parse_in(raw: &'m str, wall: &TimeZone) -> Result<Self, Hl7TimeError> {
        Self::read(raw, |local| instant_in(wall, local))
    }

    fn read(raw: &'m str, wall: impl FnOnce(DateTime) -> Option<(i64, Clock)>) -> Result<Self, Hl7TimeError> {
        let text = trimmed(raw);
        let (digits, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
        let (fraction, zone) = split_zone(rest)?;
        let mut precision = match digits.len() {
            4 => Precision::Year,
            6 => Precision::Month,
            8 => Precision::Day,
            10 => Precision::Hour,
            12 => Precision::Minute,
            14 => Precision::Second,
            _ => return Err(Hl7TimeError::Malformed),
        };
        let mut nanosecond = 0;
        if !fraction.is_empty() {
            let fraction = fraction.strip_prefix('.').filter(|_| precision == Precision::Second).ok_or(Hl7TimeError::Malformed)?;
            nanosecond = microseconds(fraction)? * 1000;
            precision = Precision::Fraction;
        }
        let local = civil(digits, nanosecond).ok_or(Hl7TimeError::OutOfRange)?;
        let instant = match zone {
            Zone::Stated { offset_minutes } => instant_at(offset_minutes, local),
            Zone::EuropeLondon => wall(local),
        };
        let (instant_us, clock) = instant.ok_or(Hl7TimeError::OutOfRange)?;
        Ok(Self { raw, instant_us, precision, zone, clock })
    }

    /// The same, told of in a message that was received then: of two instants the later, where it had come by then and was not long ago.
    /// Messages are sent soon after what they tell of, and never before. `wall` is London's where there is none.
    pub fn as_received(self, received_us: i64, wall: Option<&TimeZone>) -> Self {
        const SKEW_US: i64 = 5 * 60 * 1_000_000;
        const SOON_US: i64 = 6 * 3_600 * 1_000_000;
        let is_recent = |later: &i64| (*later - SKEW_US..*later + SOON_US).contains(&received_us);
        let later = if self.is_ambiguous() { wall.map_or_else(|| london::later(self.instant_us), |wall| later_in(wall, self.instant_us)) } else { None };
        Self { instant_us: later.filter(is_recent).unwrap_or(self.instant_us), ..self }
    }

    /// Whether the wall clock names two instants.
    pub fn is_ambiguous(&self) -> bool {
        self.clock == Clock::Ambiguous
    }
}

/// A calendar date from the first eight digits, whatever follows: the only safe reading of a date of birth.
pub(crate) fn date_of_first_eight(text: &str) -> Option<Date> {
    let digits = text.trim().get(..8).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    Some(civil(digits, 0)?.date())
}

/// What a zone's wall clock shows, in microseconds since 1970-01-01T00:00:00Z; `None` where that cannot be counted.
pub(super) fn instant_in(zone: &TimeZone, local: DateTime) -> Option<(i64, Clock)> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    let clock = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => Clock::Unique,
        AmbiguousOffset::Fold { .. } => Clock::Ambiguous,
        AmbiguousOffset::Gap { .. } => Clock::Nonexistent,
    };
    Some((ambiguous.compatible().ok()?.as_microsecond(), clock))
}

/// The later of the two instants at which a zone's wall clock shows what it shows at the earlier.
pub(super) fn later_in(zone: &TimeZone, earlier_us: i64) -> Option<i64> {
    let shown = zone.to_datetime(Timestamp::from_microsecond(earlier_us).ok()?);
    Some(zone.to_ambiguous_timestamp(shown).later().ok()?.as_microsecond())
}

fn instant_at(offset_minutes: i32, local: DateTime) -> Option<(i64, Clock)> {
    let offset = Offset::from_seconds(offset_minutes * 60).ok()?;
    Some((offset.to_timestamp(local).ok()?.as_microsecond(), Clock::Unique))
}

/// From digits only.
fn civil(digits: &str, nanosecond: i32) -> Option<DateTime> {
    let digits = digits.as_bytes();
    let two = |from: usize, otherwise: i8| match digits.get(from..from + 2) {
        // The value of a digit is below ten.
        Some(two) => two.iter().fold(0, |value, digit| value * 10 + (digit & 0xF) as i8),
        None => otherwise,
    };
    let year = digits.get(..4)?.iter().fold(0, |value, digit| value * 10 + i16::from(digit & 0xF));
    let date = Date::new(year, two(4, 1), two(6, 1)).ok().filter(|_| year > 0)?;
    let time = Time::new(two(8, 0), two(10, 0), two(12, 0), nanosecond).ok()?;
    Some(DateTime::from_parts(date, time))
}

fn microseconds(fraction: &str) -> Result<i32, Hl7TimeError> {
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Hl7TimeError::Malformed);
    }
    let kept = &fraction[..fraction.len().min(6)];
    let missing = 6 - u32::try_from(kept.len()).map_err(|_| Hl7TimeError::Malformed)?;
    kept.parse::<i32>().map(|value| value * 10_i32.pow(missing)).map_err(|_| Hl7TimeError::Malformed)
}

/// Splits `+0100`, `-05:00` or `Z` from the end of what stands behind the digits.
fn split_zone(text: &str) -> Result<(&str, Zone), Hl7TimeError> {
    if text.is_empty() {
        return Ok((text, Zone::EuropeLondon));
    }
    if let Some(clock) = text.strip_suffix('Z') {
        return Ok((clock, Zone::Stated { offset_minutes: 0 }));
    }
    let Some(at) = text.bytes().position(|b| matches!(b, b'+' | b'-')) else {
        return Ok((text, Zone::EuropeLondon));
    };
    let (mut number, mut count) = (0, 0);
    for byte in text[at + 1..].bytes().filter(|&b| b != b':') {
        if !byte.is_ascii_digit() || count == 4 {
            return Err(Hl7TimeError::Malformed);
        }
        (number, count) = (number * 10 + i32::from(byte - b'0'), count + 1);
    }
    if count != 4 || text.len() - at > 6 {
        return Err(Hl7TimeError::Malformed);
    }
    let (hours, minutes) = (number / 100, number % 100);
    if hours > 14 || minutes > 59 {
        return Err(Hl7TimeError::OutOfRange);
    }
    let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
    Ok((&text[..at], Zone::Stated { offset_minutes: sign * (hours * 60 + minutes) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(raw: &str) -> String {
        let time = Hl7Time::parse(raw).expect("a time");
        jiff::Timestamp::from_microsecond(time.instant_us).expect("in range").to_string()
    }

    #[test]
    fn of_a_time_that_is_shown_twice_the_receipt_says_which() {
        let new_york = TimeZone::get("America/New_York").expect("a zone");
        let us = |instant: &str| instant.parse::<Timestamp>().expect("an instant").as_microsecond();
        for (raw, received, wall, expected) in [
            ("20251026015000", "2025-10-26T00:50:30Z", None, "2025-10-26T00:50:00Z"),
            ("20251026011000", "2025-10-26T01:10:05Z", None, "2025-10-26T01:10:00Z"),
            // Not yet, but for a clock that is a little slow.
            ("20251026011000", "2025-10-26T01:04:00Z", None, "2025-10-26T00:10:00Z"),
            ("20251026011000", "2025-10-26T01:06:00Z", None, "2025-10-26T01:10:00Z"),
            // Sent again the day after: nothing tells which.
            ("20251026011000", "2025-10-27T01:10:00Z", None, "2025-10-26T00:10:00Z"),
            ("20251026031000", "2025-10-26T03:10:00Z", None, "2025-10-26T03:10:00Z"),
            ("20251026011000+0100", "2025-10-26T01:10:05Z", None, "2025-10-26T00:10:00Z"),
            ("20251102011000", "2025-11-02T06:10:05Z", Some(&new_york), "2025-11-02T06:10:00Z"),
        ] {
            let time = wall.map_or_else(|| Hl7Time::parse(raw), |wall| Hl7Time::parse_in(raw, wall)).expect("a time");
            let received = time.as_received(us(received), wall);
            assert_eq!((received.instant_us, received.clock), (us(expected), time.clock), "{raw}");
        }
    }

    #[test]
    fn every_precision_is_read() {
        for (raw, precision, instant) in [
            ("2025", Precision::Year, "2025-01-01T00:00:00Z"),
            ("202502", Precision::Month, "2025-02-01T00:00:00Z"),
            ("20250203", Precision::Day, "2025-02-03T00:00:00Z"),
            ("2025020304", Precision::Hour, "2025-02-03T04:00:00Z"),
            ("202502030405", Precision::Minute, "2025-02-03T04:05:00Z"),
            ("20250203040506", Precision::Second, "2025-02-03T04:05:06Z"),
            ("20250203040506.7", Precision::Fraction, "2025-02-03T04:05:06.7Z"),
        ] {
            assert_eq!(Hl7Time::parse(raw).map(|t| t.precision), Ok(precision), "{raw}");
            assert_eq!(utc(raw), instant);
        }
    }

    #[test]
    fn a_stated_offset_is_used() {
        assert_eq!(utc("20140529080238.241+0100"), "2014-05-29T07:02:38.241Z");
        assert_eq!(utc("20120918173931-0500"), "2012-09-18T22:39:31Z");
        assert_eq!(utc("202501011200Z"), "2025-01-01T12:00:00Z");
        assert_eq!(Hl7Time::parse("202501011200+0215").map(|t| t.zone), Ok(Zone::Stated { offset_minutes: 135 }));
    }

    #[test]
    fn without_an_offset_the_wall_clock_is_london() {
        assert_eq!(utc("20250701120000"), "2025-07-01T11:00:00Z");
        assert_eq!(utc("20250101120000"), "2025-01-01T12:00:00Z");
        assert_eq!(Hl7Time::parse("20250701").map(|t| (t.zone, t.clock)), Ok((Zone::EuropeLondon, Clock::Unique)));
    }

    #[test]
    fn the_repeated_october_hour_is_taken_as_the_first_and_flagged() {
        let time = Hl7Time::parse("20251026013000").expect("a time");
        assert!(time.is_ambiguous());
        assert_eq!(utc("20251026013000"), "2025-10-26T00:30:00Z");
        assert_eq!(Hl7Time::parse("20251026020000").map(|t| t.clock), Ok(Clock::Unique));
        assert_eq!(Hl7Time::parse("20251026013000+0000").map(|t| t.clock), Ok(Clock::Unique));
    }

    #[test]
    fn the_missing_march_hour_is_moved_forward_and_flagged() {
        assert_eq!(Hl7Time::parse("20250330013000").map(|t| t.clock), Ok(Clock::Nonexistent));
        assert_eq!(utc("20250330013000"), "2025-03-30T01:30:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for raw in ["", "%s", "19760121+", "1994050216163360", "2025-01-01", "202", "20250101120000.", "2025010112.5"] {
            assert_eq!(Hl7Time::parse(raw), Err(Hl7TimeError::Malformed), "{raw}");
        }
        for raw in ["20251301", "20250230", "2025010124", "202501011260", "00000000", "20250101+1500", "20250101120060"] {
            assert_eq!(Hl7Time::parse(raw), Err(Hl7TimeError::OutOfRange), "{raw}");
        }
    }

    #[test]
    fn a_date_of_birth_is_its_first_eight_digits() {
        let written = |text| date_of_first_eight(text).map(|date| date.to_string());
        assert_eq!(written("19780701000000").as_deref(), Some("1978-07-01"));
        assert_eq!(written("19760121+").as_deref(), Some("1976-01-21"));
        assert_eq!(written("01/10/1948"), None);
        assert_eq!(written("19780230"), None);
        assert_eq!(written("197807"), None);
    }
}
