//! The window that figures are for: whole ISO weeks in Europe/London.

use hearthline_nhs::{InstantOutOfRange, IsoWeek};
use jiff::ToSpan;
use jiff::civil::Date;

/// The longest window, in weeks: five years.
pub const WEEKS_MAX: usize = 261;

/// One week, from its Monday's midnight up to and not including the next one's, µs UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Week {
    pub week: IsoWeek,
    pub from: i64,
    pub to: i64,
}

/// Whole weeks one after the other; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub weeks: Vec<Week>,
}

/// A date of the request that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {allowed}")]
pub struct WrongDate {
    pub field: &'static str,
    pub allowed: String,
}

impl Window {
    /// Every week that has a day in `[from, to)`. Without `from`, the last week that is complete at `now` (µs UTC); without `to`,
    /// one week.
    pub fn parse(from: Option<&str>, to: Option<&str>, now: i64) -> Result<Self, WrongDate> {
        let from = match from {
            Some(text) => day("from", text)?,
            None => last_complete(now).map_err(|_| out_of_range("from"))?,
        };
        let first = IsoWeek::of_date(from).map_err(|_| out_of_range("from"))?;
        let to = match to {
            Some(text) => day("to", text)?,
            None => first.monday().checked_add(7.days()).map_err(|_| out_of_range("to"))?,
        };
        if to <= from {
            return Err(WrongDate { field: "to", allowed: "a day after from".to_owned() });
        }
        Self::of(first, to)
    }

    fn of(first: IsoWeek, to: Date) -> Result<Self, WrongDate> {
        let mut weeks = Vec::new();
        let mut monday = first.monday();
        while monday < to {
            if weeks.len() == WEEKS_MAX {
                return Err(WrongDate { field: "to", allowed: format!("at most {WEEKS_MAX} weeks after from") });
            }
            let next = monday.checked_add(7.days()).map_err(|_| out_of_range("to"))?;
            let week = IsoWeek::of_date(monday).map_err(|_| out_of_range("from"))?;
            let after = IsoWeek::of_date(next).map_err(|_| out_of_range("to"))?;
            weeks.push(Week { week, from: week.starts_at().map_err(|_| out_of_range("from"))?, to: after.starts_at().map_err(|_| out_of_range("to"))? });
            monday = next;
        }
        Ok(Window { weeks })
    }

    /// µs UTC, included.
    pub fn from(&self) -> i64 {
        self.weeks[0].from
    }

    /// µs UTC, not included.
    pub fn to(&self) -> i64 {
        self.weeks[self.weeks.len() - 1].to
    }

    /// The first Monday.
    pub fn first_day(&self) -> Date {
        self.weeks[0].week.monday()
    }

    /// The Monday after the last week.
    pub fn end_day(&self) -> Date {
        let last = self.weeks[self.weeks.len() - 1].week.monday();
        last.saturating_add(7.days())
    }
}

fn last_complete(now: i64) -> Result<Date, InstantOutOfRange> {
    let this = IsoWeek::of_instant(now)?.monday();
    this.checked_sub(7.days()).map_err(|_| InstantOutOfRange)
}

/// A day written YYYY-MM-DD and nothing else.
fn day(field: &'static str, text: &str) -> Result<Date, WrongDate> {
    let plain = text.len() == 10;
    text.parse().ok().filter(|day: &Date| plain && (1900..=2200).contains(&day.year())).ok_or(WrongDate { field, allowed: "a day, YYYY-MM-DD".to_owned() })
}

fn out_of_range(field: &'static str) -> WrongDate {
    WrongDate { field, allowed: "a day of this calendar".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wednesday 3 June 2026, 12:00 UTC.
    const NOW: i64 = 1_780_488_000_000_000;

    #[test]
    fn without_dates_it_is_the_last_complete_week() {
        let window = Window::parse(None, None, NOW).expect("a window");
        assert_eq!(window.weeks.len(), 1);
        assert_eq!(window.weeks[0].week.to_string(), "2026-W22");
        assert_eq!(window.first_day().to_string(), "2026-05-25");
        assert_eq!(window.end_day().to_string(), "2026-06-01");
    }

    #[test]
    fn days_inside_weeks_widen_to_whole_weeks() {
        let window = Window::parse(Some("2026-06-03"), Some("2026-06-09"), NOW).expect("a window");
        assert_eq!(window.first_day().to_string(), "2026-06-01");
        assert_eq!(window.end_day().to_string(), "2026-06-15");
        assert_eq!(window.weeks.len(), 2);
    }

    #[test]
    fn the_week_in_which_clocks_change_has_an_hour_more_or_less() {
        let hours = |from| {
            let window = Window::parse(Some(from), None, NOW).expect("a window");
            (window.to() - window.from()) / 3_600_000_000
        };
        assert_eq!(hours("2026-03-23"), 167);
        assert_eq!(hours("2026-10-19"), 169);
        assert_eq!(hours("2026-06-01"), 168);
    }

    #[test]
    fn wrong_dates_are_refused_by_field() {
        for (from, to, field) in [
            (Some("01/06/2026"), None, "from"),
            (Some("2026-02-30"), None, "from"),
            (Some("2026-06-01T00:00"), None, "from"),
            (Some("2026-06-01"), Some("never"), "to"),
            (Some("2026-06-08"), Some("2026-06-08"), "to"),
            (Some("2000-01-01"), Some("2026-06-08"), "to"),
        ] {
            let error = Window::parse(from, to, NOW).expect_err("refused");
            assert_eq!(error.field, field);
        }
    }
}
