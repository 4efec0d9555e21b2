use hearthline_nhs::{InstantOutOfRange, IsoWeek, london_date, london_instant, london_local};
use jiff::{
    Timestamp,
    civil::{Weekday, date},
};
use proptest::prelude::*;

fn instant(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

#[test]
fn clocks_follow_summer_time() {
    assert_eq!(london_local(instant("2026-01-15T02:10:00Z")), Ok(date(2026, 1, 15).at(2, 10, 0, 0)));
    assert_eq!(london_local(instant("2026-07-15T23:30:00Z")), Ok(date(2026, 7, 16).at(0, 30, 0, 0)));
    assert_eq!(london_date(instant("2026-07-15T23:30:00Z")), Ok(date(2026, 7, 16)));
}

#[test]
fn the_repeated_hour_means_its_first_pass_and_the_skipped_hour_moves_on() {
    assert_eq!(london_instant(date(2026, 10, 25).at(1, 30, 0, 0)), Ok(instant("2026-10-25T00:30:00Z")));
    assert_eq!(london_instant(date(2026, 3, 29).at(1, 30, 0, 0)), Ok(instant("2026-03-29T01:30:00Z")));
}

#[test]
fn the_week_begins_on_monday_at_midnight_in_london() {
    // half past midnight on Monday in London, still Sunday in UTC
    let week = IsoWeek::of_instant(instant("2026-06-28T23:30:00Z")).unwrap();
    assert_eq!(week.monday(), date(2026, 6, 29));
    assert_eq!(week.to_string(), "2026-W27");
    assert_eq!(week.starts_at(), Ok(instant("2026-06-28T23:00:00Z")));
}

#[test]
fn a_week_is_named_after_the_year_of_its_thursday() {
    let week = IsoWeek::of_date(date(2027, 1, 3)).unwrap();
    assert_eq!((week.year(), week.number()), (2026, 53));
    assert_eq!(week.monday(), date(2026, 12, 28));
    let week = IsoWeek::of_date(date(2024, 12, 30)).unwrap();
    assert_eq!((week.year(), week.number()), (2025, 1));
}

#[test]
fn an_instant_outside_the_calendar_is_refused() {
    assert_eq!(london_local(i64::MAX), Err(InstantOutOfRange));
    assert_eq!(IsoWeek::of_instant(i64::MIN), Err(InstantOutOfRange));
}

proptest! {
    #[test]
    fn a_week_holds_the_instant_it_was_made_of(seconds in -2_000_000_000_i64..4_000_000_000) {
        let instant = seconds * 1_000_000;
        let week = IsoWeek::of_instant(instant).unwrap();
        prop_assert_eq!(week.monday().weekday(), Weekday::Monday);
        let starts_at = week.starts_at().unwrap();
        // a week with a clock change has 167 or 169 hours
        prop_assert!((0..169 * 3_600_000_000).contains(&(instant - starts_at)));
        prop_assert_eq!(IsoWeek::of_instant(starts_at).unwrap(), week);
    }

    #[test]
    fn no_instant_panics(instant: i64) {
        let _ = london_local(instant);
        let _ = IsoWeek::of_instant(instant).map(IsoWeek::starts_at);
    }
}
