use hearthline_nhs::{Interval, OpeningHours, OpeningHoursError};
use jiff::{
    ToSpan,
    civil::{DateTime, Weekday, date},
};
use proptest::prelude::*;

fn interval(text: &str) -> Interval {
    Interval::parse(text).unwrap()
}

fn at(text: &str) -> DateTime {
    text.parse().unwrap()
}

/// Monday to Friday 09:00–12:30 and 13:30–18:00, Saturday night 22:00–02:00.
fn pharmacy() -> OpeningHours {
    let working_days = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
    working_days
        .into_iter()
        .try_fold(OpeningHours::closed(), |hours, weekday| hours.with_weekday(weekday, vec![interval("13:30-18:00"), interval("09:00-12:30")]))
        .and_then(|hours| hours.with_weekday(Weekday::Saturday, vec![interval("22:00-02:00")]))
        .unwrap()
}

#[test]
fn the_minute_of_opening_is_open_and_that_of_closing_is_closed() {
    let hours = pharmacy();
    for (time, is_open) in [
        ("2026-06-15T08:59:59", false),
        ("2026-06-15T09:00:00", true),
        ("2026-06-15T12:29:59", true),
        ("2026-06-15T12:30:00", false),
        ("2026-06-15T13:30:00", true),
        ("2026-06-15T18:00:00", false),
        ("2026-06-21T12:00:00", false),
    ] {
        assert_eq!(hours.is_open(at(time)), is_open, "{time}");
    }
}

#[test]
fn a_night_runs_on_after_midnight() {
    let hours = pharmacy();
    assert!(hours.is_open(at("2026-06-20T23:59:00")));
    assert!(hours.is_open(at("2026-06-21T01:59:00")));
    assert!(!hours.is_open(at("2026-06-21T02:00:00")));
    assert!(!hours.is_open(at("2026-06-20T01:00:00")));
}

#[test]
fn a_dated_exception_replaces_the_hours_of_its_day_only() {
    let hours = pharmacy().with_override(date(2026, 6, 15), vec![]).unwrap().with_override(date(2026, 6, 21), vec![interval("10:00-12:00")]).unwrap();
    assert!(!hours.is_open(at("2026-06-15T10:00:00")));
    assert!(hours.is_open(at("2026-06-16T10:00:00")));
    assert!(hours.is_open(at("2026-06-21T11:00:00")));
    // Saturday night belongs to Saturday
    assert!(hours.is_open(at("2026-06-21T01:00:00")));
    assert_eq!(hours.overrides().count(), 2);
}

#[test]
fn the_next_opening_is_found_over_nights_weekends_and_holidays() {
    let hours = pharmacy().with_override(date(2026, 6, 22), vec![]).unwrap();
    for (from, next) in [
        ("2026-06-15T10:15:30", "2026-06-15T10:15:30"),
        ("2026-06-15T12:45:00", "2026-06-15T13:30:00"),
        ("2026-06-15T18:00:00", "2026-06-16T09:00:00"),
        ("2026-06-19T20:00:00", "2026-06-20T22:00:00"),
        ("2026-06-21T02:00:00", "2026-06-23T09:00:00"),
    ] {
        assert_eq!(hours.opens_next(at(from)), Some(at(next)), "{from}");
    }
}

#[test]
fn a_weekly_opening_closed_for_many_weeks_is_still_found() {
    let mut hours = OpeningHours::closed().with_weekday(Weekday::Monday, vec![interval("09:00-10:00")]).unwrap();
    for week in 0..5_i64 {
        let monday = date(2026, 6, 22).checked_add((week * 7).days()).unwrap();
        hours = hours.with_override(monday, vec![]).unwrap();
    }
    assert_eq!(hours.opens_next(at("2026-06-15T10:00:00")), Some(at("2026-07-27T09:00:00")));
}

#[test]
fn a_lone_exception_far_ahead_is_found_and_otherwise_nothing() {
    let hours = OpeningHours::closed().with_override(date(2027, 1, 4), vec![interval("09:00-10:00")]).unwrap();
    assert_eq!(hours.opens_next(at("2026-06-15T10:00:00")), Some(at("2027-01-04T09:00:00")));
    assert_eq!(hours.opens_next(at("2027-01-04T10:00:00")), None);
    assert_eq!(OpeningHours::closed().opens_next(at("2026-06-15T10:00:00")), None);
}

#[test]
fn what_is_wrong_with_hours_is_said() {
    for (text, error) in [
        ("09:00", OpeningHoursError::Form),
        ("9:00-10:00", OpeningHoursError::Form),
        ("09:60-10:00", OpeningHoursError::Minutes),
        ("24:00-02:00", OpeningHoursError::Minutes),
        ("09:00-24:01", OpeningHoursError::Minutes),
        ("09:00-09:00", OpeningHoursError::NoLength),
    ] {
        assert_eq!(Interval::parse(text), Err(error), "{text}");
    }
    assert_eq!(OpeningHours::closed().with_weekday(Weekday::Monday, vec![interval("09:00-12:00"), interval("11:59-13:00")]), Err(OpeningHoursError::Overlap));
    assert!(OpeningHours::closed().with_weekday(Weekday::Monday, vec![interval("09:00-12:00"), interval("12:00-13:00")]).is_ok());
}

#[test]
fn midnight_ends_a_day_in_either_notation() {
    assert_eq!(interval("22:00-24:00"), interval("22:00-00:00"));
    assert_eq!(interval("22:00-06:00").closes_min(), 1_800);
}

proptest! {
    #[test]
    fn always_is_always(minutes in 0_i64..60_000_000) {
        let time = at("2000-01-01T00:00:00").checked_add(minutes.minutes()).unwrap();
        prop_assert!(OpeningHours::always().is_open(time));
    }

    #[test]
    fn what_opens_next_is_open_and_nothing_is_open_before_it(minutes in 0_i64..60_000, opens in 0_u16..1440, closes in 0_u16..=1440) {
        prop_assume!(opens != closes);
        let hours = OpeningHours::closed()
            .with_weekday(Weekday::Thursday, vec![Interval::new(opens, closes).unwrap()])
            .unwrap();
        let from = at("2026-06-15T00:00:00").checked_add(minutes.minutes()).unwrap();
        let next = hours.opens_next(from).unwrap();
        prop_assert!(hours.is_open(next));
        if next > from {
            prop_assert!(!hours.is_open(from));
            prop_assert!(!hours.is_open(next.checked_sub(1.minute()).unwrap()));
        }
    }

    #[test]
    fn no_text_makes_parsing_panic(text in "\\PC*", near in "[0-9:]{5}-[0-9:]{5}") {
        let _ = Interval::parse(&text);
        let _ = Interval::parse(&near);
    }
}
