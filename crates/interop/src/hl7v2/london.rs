//! The wall clock of Europe/London, on which nearly every time of a UK message was read.
//!
//! Asking the time zone database takes longer than reading the digits. So it is asked once when the clocks change, and
//! then only for the two hours of a year in which they do and for times before 1972 or far ahead.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::time::{Clock, instant_in, later_in};

static LONDON: LazyLock<London> = LazyLock::new(|| London::of(TimeZone::get("Europe/London").expect("the time zone database is compiled in")));

/// As [`instant_in`] for Europe/London.
pub(super) fn instant(local: DateTime) -> Option<(i64, Clock)> {
    LONDON.unique(local).map_or_else(|| instant_in(&LONDON.zone, local), |instant_us| Some((instant_us, Clock::Unique)))
}

/// As [`later_in`] for Europe/London.
pub(super) fn later(earlier_us: i64) -> Option<i64> {
    later_in(&LONDON.zone, earlier_us)
}

struct London {
    zone: TimeZone,
    stretches: Vec<Stretch>,
}

/// From one change of the clocks to the next: what the wall shows in it names one instant. All in microseconds.
struct Stretch {
    /// On the wall, read as if it showed UTC.
    begins: i64,
    /// The same, the first no longer in it.
    ends: i64,
    /// How far the wall is ahead of UTC.
    ahead: i64,
}

impl London {
    fn of(zone: TimeZone) -> Self {
        // Two a year.
        let changes = zone.following(Timestamp::UNIX_EPOCH).take(260);
        let changes: Vec<(i64, i64)> = changes.map(|change| (change.timestamp().as_microsecond(), i64::from(change.offset().seconds()) * 1_000_000)).collect();
        let stretches = changes.windows(3).map(|around| {
            let ((_, before), (begins, ahead), (ends, after)) = (around[0], around[1], around[2]);
            // What is shown twice or not at all lies between two stretches.
            Stretch { begins: begins + ahead.max(before), ends: ends + ahead.min(after), ahead }
        });
        Self { stretches: stretches.collect(), zone }
    }

    fn unique(&self, local: DateTime) -> Option<i64> {
        let wall = Offset::UTC.to_timestamp(local).ok()?.as_microsecond();
        let stretch = self.stretches.get(self.stretches.partition_point(|stretch| stretch.ends <= wall))?;
        (stretch.begins <= wall).then_some(wall - stretch.ahead)
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    #[test]
    fn every_quarter_of_an_hour_is_read_as_the_database_has_it() {
        for (from, to) in [((1969, 12), (1974, 1)), ((1995, 1), (1998, 1)), ((2024, 1), (2027, 1)), ((2096, 1), (2104, 1))] {
            let [mut local, end] = [from, to].map(|(year, month)| jiff::civil::date(year, month, 1).at(0, 0, 0, 0));
            while local < end {
                assert_eq!(instant(local), instant_in(&LONDON.zone, local), "{local}");
                local += 15.minutes();
            }
        }
    }

    #[test]
    fn the_last_microsecond_before_a_change_and_the_first_after_it_are_told_apart() {
        for edge in ["2025-03-30T01:00", "2025-03-30T02:00", "2025-10-26T01:00", "2025-10-26T02:00"] {
            let edge: DateTime = edge.parse().expect("a time");
            for local in [edge - 1.microseconds(), edge, edge + 1.microseconds()] {
                assert_eq!(instant(local), instant_in(&LONDON.zone, local), "{local}");
            }
        }
    }

    #[test]
    fn most_times_need_no_database() {
        let unique = |year| LONDON.unique(jiff::civil::date(year, 7, 1).at(12, 0, 0, 0)).is_some();
        assert!((1973..2095).all(unique));
        assert!(!unique(1971) && !unique(2200));
    }
}
