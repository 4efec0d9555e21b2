//! Europe/London civil time: what clocks in the homes and hospitals show.
//!
//! Instants are microseconds since 1970-01-01T00:00Z everywhere; civil time is only ever derived here. The
//! zone rules are compiled in, so every machine answers alike.

use std::{fmt, sync::LazyLock};

use jiff::{
    Timestamp,
    civil::{Date, DateTime, ISOWeekDate, Weekday},
    tz::{TimeZone, TimeZoneDatabase},
};

static LONDON: LazyLock<TimeZone> =
    LazyLock::new(|| TimeZoneDatabase::bundled().get("Europe/London").expect("the compiled-in zone database has Europe/London"));

/// The instant or date lies outside the years -9999 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time lies outside the calendar")]
pub struct InstantOutOfRange;

/// The date and time a clock in London shows at an instant (µs UTC).
pub fn london_local(instant_us: i64) -> Result<DateTime, InstantOutOfRange> {
    let timestamp = Timestamp::from_microsecond(instant_us).map_err(|_| InstantOutOfRange)?;
    Ok(LONDON.to_datetime(timestamp))
}

/// The day in London at an instant (µs UTC).
pub fn london_date(instant_us: i64) -> Result<Date, InstantOutOfRange> {
    london_local(instant_us).map(DateTime::date)
}

/// The instant (µs UTC) at which a clock in London shows this time. In the hour that October repeats the
/// first is meant; in the hour that March skips the time is moved on by one hour.
pub fn london_instant(local: DateTime) -> Result<i64, InstantOutOfRange> {
    LONDON.to_ambiguous_timestamp(local).compatible().map(Timestamp::as_microsecond).map_err(|_| InstantOutOfRange)
}

/// A week from Monday to Sunday in London (ISO 8601), named after the year that holds its Thursday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IsoWeek {
    monday: Date,
}

impl IsoWeek {
    /// The week in which an instant (µs UTC) falls in London.
    pub fn of_instant(instant_us: i64) -> Result<Self, InstantOutOfRange> {
        Self::of_date(london_date(instant_us)?)
    }

    /// The week in which a day falls.
    pub fn of_date(date: Date) -> Result<Self, InstantOutOfRange> {
        let week = date.iso_week_date();
        ISOWeekDate::new(week.year(), week.week(), Weekday::Monday).map(|monday| Self { monday: monday.date() }).map_err(|_| InstantOutOfRange)
    }

    /// The Monday.
    pub fn monday(self) -> Date {
        self.monday
    }

    /// The ISO year, which differs from the Monday's around New Year.
    pub fn year(self) -> i16 {
        self.monday.iso_week_date().year()
    }

    /// The number of the week, 1 to 53.
    pub fn number(self) -> i8 {
        self.monday.iso_week_date().week()
    }

    /// The instant (µs UTC) of midnight at the start of the Monday in London.
    pub fn starts_at(self) -> Result<i64, InstantOutOfRange> {
        london_instant(self.monday.to_datetime(jiff::civil::Time::midnight()))
    }
}

/// `2026-W47`.
impl fmt::Display for IsoWeek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-W{:02}", self.year(), self.number())
    }
}
