use super::*;

/// Monday, 2 March 2026, midnight in London.
const MONDAY: i64 = 1_772_409_600_000_000;

/// Four weeks of a feed that says so much by day (eight to eight) and so much by night.
fn taught(by_day: u64, by_night: u64) -> Rhythm {
    let mut rhythm = Rhythm::default();
    let first = MONDAY / HOUR_US - 4 * 168;
    for hour in first..first + 4 * 168 {
        let of_day = hour.rem_euclid(24);
        rhythm.learn(hour, if (8..20).contains(&of_day) { by_day } else { by_night });
    }
    rhythm
}

#[test]
fn the_mean_of_each_hour_of_the_week_is_learned() {
    let rhythm = taught(60, 6);
    assert_eq!(rhythm.hours, 672);
    let expected = |from_h: i64, hours: i64| rhythm.expected(MONDAY + from_h * HOUR_US, MONDAY + (from_h + hours) * HOUR_US).round();
    assert_eq!((expected(9, 1), expected(2, 1), expected(0, 24)), (60.0, 6.0, 792.0));
    // Two half hours on either side of eight.
    assert_eq!(rhythm.expected(MONDAY + 15 * HOUR_US / 2, MONDAY + 17 * HOUR_US / 2).round(), 33.0);
    assert_eq!(rhythm.expected(MONDAY, MONDAY), 0.0);
    assert_eq!(rhythm.a_month().round(), (33.0 * 730.5_f64).round());
}

#[test]
fn older_weeks_count_less() {
    let mut rhythm = taught(60, 60);
    let hour = MONDAY / HOUR_US;
    for week in 0..4 {
        rhythm.learn(hour + week * 168, 0);
    }
    let cell = rhythm.cells[0];
    // Four weeks of sixty and four weeks of none after them: the latter weigh twice as much.
    assert_eq!((cell.messages / cell.hours).round(), 20.0);
}

#[test]
fn nothing_is_silence_before_each_hour_was_seen_twice() {
    let mut rhythm = Rhythm::default();
    for hour in 0..i64::from(HOURS_TO_LEARN) - 1 {
        rhythm.learn(hour, 60);
    }
    assert_eq!(rhythm.silent_from(MONDAY, None), None);
    rhythm.learn(i64::from(HOURS_TO_LEARN), 60);
    assert!(rhythm.silent_from(MONDAY, None).is_some());
}

#[test]
fn a_feed_that_never_spoke_has_no_silence() {
    assert!(!taught(0, 0).is_learned());
    assert_eq!(taught(0, 0).silent_from(MONDAY, None), None);
}

#[test]
fn what_is_agreed_goes_over_what_was_learned_and_needs_no_learning() {
    let agreed = Some(7 * MINUTE_US);
    for rhythm in [Rhythm::default(), taught(60, 6)] {
        assert_eq!(rhythm.silent_from(MONDAY, agreed), Some(MONDAY + 7 * MINUTE_US));
    }
}

#[test]
fn silence_is_what_chance_brings_about_once_a_year() {
    let rhythm = taught(60, 6);
    for hour in [2, 9, 19, 23] {
        let last = MONDAY + hour * HOUR_US + 11 * MINUTE_US;
        let silent = rhythm.silent_from(last, None).expect("learned");
        // Of a month's messages, with half of what was learned coming, a twelfth of one is followed by so much silence.
        let a_year = rhythm.a_month() * 12.0 * (-0.5 * rhythm.expected(last, silent)).exp();
        assert!((0.99..1.01).contains(&a_year), "{a_year} at {hour}");
    }
    // By night the same feed may be silent for hours.
    let by_night = rhythm.silent_from(MONDAY + HOUR_US, None).expect("learned") - (MONDAY + HOUR_US);
    let by_day = rhythm.silent_from(MONDAY + 9 * HOUR_US, None).expect("learned") - (MONDAY + 9 * HOUR_US);
    assert!(by_night > 4 * HOUR_US && by_day < HOUR_US, "{by_night} {by_day}");
}

#[test]
fn no_silence_is_shorter_than_a_quarter_of_an_hour_or_longer_than_a_week() {
    assert_eq!(taught(100_000, 100_000).silent_from(MONDAY, None), Some(MONDAY + SHORTEST_US));
    let mut rare = taught(0, 0);
    rare.learn(MONDAY / HOUR_US, 1);
    assert_eq!(rare.silent_from(MONDAY + DAY_US, None), Some(MONDAY + DAY_US + LONGEST_US));
}

#[test]
fn the_hour_that_october_repeats_is_seen_twice_and_the_one_that_march_skips_not_at_all() {
    let cells = |day: &str| {
        let from = hearthline_nhs::london_instant(day.parse::<jiff::civil::Date>().expect("a day").at(0, 0, 0, 0)).expect("in range") / HOUR_US;
        (from..from + 4).map(|hour| cell_of(hour).expect("in range") - 6 * 24).collect::<Vec<_>>()
    };
    assert_eq!(cells("2026-10-25"), [0, 1, 1, 2]);
    assert_eq!(cells("2026-03-29"), [0, 2, 3, 4]);
}
