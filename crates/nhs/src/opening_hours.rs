//! When a service or pharmacy is open, by the clock on its wall.
//!
//! Everything here is civil time; derive it with [`crate::london_local`]. An interval belongs to the day on
//! which it opens: a night that began before a bank holiday runs to its end.

use std::collections::BTreeMap;

use jiff::{
    ToSpan,
    civil::{Date, DateTime, Time, Weekday},
};

const DAY_MIN: u16 = 1_440;

/// One stretch of being open, in minutes since midnight of the day it opens. It ends after midnight where it
/// closes before it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    opens_min: u16,
    /// Past 1440 where the interval runs into the next day.
    closes_min: u16,
}

/// Why hours are not opening hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpeningHoursError {
    #[error("an interval is written HH:MM-HH:MM")]
    Form,
    #[error("an interval opens between 00:00 and 23:59 and closes between 00:01 and 24:00")]
    Minutes,
    #[error("an interval that opens and closes at the same time could be empty or a whole day")]
    NoLength,
    #[error("two intervals of one day overlap")]
    Overlap,
}

impl Interval {
    /// An interval from minutes since midnight: `opens` 0 to 1439, `closes` 0 to 1440. `closes` below `opens`
    /// is on the next day. A whole day is 0 to 1440.
    pub fn new(opens_min: u16, closes_min: u16) -> Result<Self, OpeningHoursError> {
        if opens_min >= DAY_MIN || closes_min > DAY_MIN {
            return Err(OpeningHoursError::Minutes);
        }
        if opens_min == closes_min {
            return Err(OpeningHoursError::NoLength);
        }
        let closes_min = if closes_min < opens_min { closes_min + DAY_MIN } else { closes_min };
        Ok(Self { opens_min, closes_min })
    }

    /// Parses `09:00-17:30`, `22:00-06:00` or `00:00-24:00`.
    pub fn parse(text: &str) -> Result<Self, OpeningHoursError> {
        let (opens, closes) = text.trim().split_once('-').ok_or(OpeningHoursError::Form)?;
        Self::new(minutes(opens)?, minutes(closes)?)
    }

    /// Minutes since midnight, 0 to 1439.
    pub fn opens_min(self) -> u16 {
        self.opens_min
    }

    /// Minutes since midnight of the day it opened; past 1440 on the next day.
    pub fn closes_min(self) -> u16 {
        self.closes_min
    }

    fn holds(self, minute: u16) -> bool {
        (self.opens_min..self.closes_min).contains(&minute)
    }
}

/// Weekly hours with dated exceptions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpeningHours {
    /// From Monday.
    weekly: [Vec<Interval>; 7],
    overrides: BTreeMap<Date, Vec<Interval>>,
}

impl OpeningHours {
    /// Never open, until [`OpeningHours::with_weekday`] and [`OpeningHours::with_override`] say otherwise.
    pub fn closed() -> Self {
        Self::default()
    }

    /// Open day and night.
    pub fn always() -> Self {
        let whole_day = Interval { opens_min: 0, closes_min: DAY_MIN };
        Self { weekly: std::array::from_fn(|_| vec![whole_day]), overrides: BTreeMap::new() }
    }

    /// Sets the hours of one weekday.
    pub fn with_weekday(mut self, weekday: Weekday, intervals: Vec<Interval>) -> Result<Self, OpeningHoursError> {
        self.weekly[index(weekday)] = in_order(intervals)?;
        Ok(self)
    }

    /// Replaces the hours of one date, such as a bank holiday; no intervals means closed.
    pub fn with_override(mut self, date: Date, intervals: Vec<Interval>) -> Result<Self, OpeningHoursError> {
        self.overrides.insert(date, in_order(intervals)?);
        Ok(self)
    }

    /// The weekly hours of a weekday, earliest first.
    pub fn weekday(&self, weekday: Weekday) -> &[Interval] {
        &self.weekly[index(weekday)]
    }

    /// The dated exceptions, earliest first.
    pub fn overrides(&self) -> impl Iterator<Item = (Date, &[Interval])> {
        self.overrides.iter().map(|(date, intervals)| (*date, intervals.as_slice()))
    }

    /// Whether it is open at a civil time. The minute of closing is closed.
    pub fn is_open(&self, at: DateTime) -> bool {
        let minute = minute_of_day(at);
        let today = self.on(at.date()).iter().any(|interval| interval.holds(minute));
        today || at.date().yesterday().is_ok_and(|yesterday| self.on(yesterday).iter().any(|interval| interval.holds(minute + DAY_MIN)))
    }

    /// The earliest time from `at` on when it is open: `at` itself if it is open now, `None` if it never will be.
    pub fn opens_next(&self, at: DateTime) -> Option<DateTime> {
        if self.is_open(at) {
            return Some(at);
        }
        // Each exception can take away at most one opening of the week, so this many days are enough to meet
        // the next regular one; a lone exception may lie beyond them.
        let days = 7 * (self.overrides.len() as i64 + 1);
        let within_days = (0..=days).map_while(|days| at.date().checked_add(days.days()).ok()).find_map(|date| self.first_opening(date, at));
        let by_override = self.overrides.range(at.date()..).find_map(|(date, _)| self.first_opening(*date, at));
        [within_days, by_override].into_iter().flatten().min()
    }

    /// The hours in force for intervals that open on a date.
    fn on(&self, date: Date) -> &[Interval] {
        match self.overrides.get(&date) {
            Some(intervals) => intervals,
            None => self.weekday(date.weekday()),
        }
    }

    fn first_opening(&self, date: Date, from: DateTime) -> Option<DateTime> {
        self.on(date).iter().map(|interval| date.to_datetime(time_of_minute(interval.opens_min))).find(|opening| *opening >= from)
    }
}

fn in_order(mut intervals: Vec<Interval>) -> Result<Vec<Interval>, OpeningHoursError> {
    intervals.sort_unstable();
    let overlap = intervals.windows(2).any(|pair| pair[1].opens_min < pair[0].closes_min);
    if overlap {
        return Err(OpeningHoursError::Overlap);
    }
    Ok(intervals)
}

fn index(weekday: Weekday) -> usize {
    weekday.to_monday_zero_offset() as usize
}

fn minute_of_day(at: DateTime) -> u16 {
    at.hour() as u16 * 60 + at.minute() as u16
}

fn time_of_minute(minute: u16) -> Time {
    Time::new((minute / 60) as i8, (minute % 60) as i8, 0, 0).expect("an opening minute lies within a day")
}

fn minutes(text: &str) -> Result<u16, OpeningHoursError> {
    let [h1, h2, b':', m1, m2] = text.trim().as_bytes() else {
        return Err(OpeningHoursError::Form);
    };
    if ![h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()) {
        return Err(OpeningHoursError::Form);
    }
    let number = |tens: &u8, ones: &u8| u16::from(tens - b'0') * 10 + u16::from(ones - b'0');
    let (hour, minute) = (number(h1, h2), number(m1, m2));
    if minute > 59 {
        return Err(OpeningHoursError::Minutes);
    }
    Ok(hour * 60 + minute)
}
