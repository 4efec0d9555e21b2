use super::*;
use crate::domain::rhythm::DAY_US;

/// The hour at which the feed fell silent.
const CUT: i64 = 1_772_445_600_000_000;
const AGREED: i64 = 60 * MINUTE_US;
const BACK_FILL: i64 = 14 * DAY_US;
const GAP: [u8; 16] = [1; 16];
const NEXT: [u8; 16] = [2; 16];
const TASK: [u8; 16] = [3; 16];

fn min(n: i64) -> i64 {
    CUT + n * MINUTE_US
}

/// A feed with what is given on record.
fn feed(events: &[FeedEvent]) -> Feed {
    events.iter().fold(Feed::default(), Feed::evolve)
}

fn opened() -> Vec<FeedEvent> {
    vec![
        FeedEvent::GapOpened { gap: GAP, cause: GapCause::Silence, from: CUT, back_fill_until: CUT + BACK_FILL },
        FeedEvent::TaskOpened { task: TASK, due_at: min(61) + TASK_WITHIN_US },
    ]
}

/// A silence after which the feed spoke again at a minute, with messages of those minutes.
fn silence(back: Option<i64>, times: &[i64]) -> Silence {
    let mut slots = BTreeMap::new();
    for time in times {
        *slots.entry(min(*time).div_euclid(SLOT_US)).or_insert(0) += 1;
    }
    Silence { gap: GAP, from: CUT, back: back.map(min), backlog: Backlog { slots, lately: 0, waits: false } }
}

/// Every half hour, as long as the feed was cut.
const WHOLE: [i64; 12] = [15, 45, 75, 105, 135, 165, 195, 225, 255, 285, 315, 345];

fn check(given: &[FeedEvent], silences: &[Silence], newest: i64, now: i64, expected: &[FeedEvent]) {
    let rhythm = Rhythm::default();
    let heard = Heard { rhythm: &rhythm, agreed: Some(AGREED), back_fill_us: BACK_FILL, newest: Some(newest), lately: 0, silences };
    assert_eq!(follow(&feed(given), &heard, now, TASK, NEXT), expected);
}

#[test]
fn a_silence_opens_one_gap_and_one_task() {
    check(&[], &[], CUT, min(30), &[]);
    check(&[], &[silence(None, &[])], CUT, min(61), &opened());
    check(&opened(), &[silence(None, &[])], CUT, min(62), &[]);
    check(&opened(), &[silence(None, &[])], CUT, min(5_000), &[]);
}

#[test]
fn a_gap_whose_backlog_came_is_closed_as_filled_with_its_task() {
    let closed = [FeedEvent::GapClosed { gap: GAP, until: min(360), filled: true }, FeedEvent::TaskClosed { task: TASK }];
    check(&opened(), &[silence(Some(360), &WHOLE)], min(374), min(375), &closed);
}

#[test]
fn a_backlog_still_coming_closes_nothing() {
    // A quarter of an hour has not passed.
    check(&opened(), &[silence(Some(360), &WHOLE)], min(374), min(374), &[]);
    // What came last is hours old.
    check(&opened(), &[silence(Some(360), &WHOLE)], min(300), min(375), &[]);
    let still = |lately, waits| {
        let mut coming = silence(Some(360), &WHOLE);
        coming.backlog = Backlog { lately, waits, ..coming.backlog };
        coming
    };
    check(&opened(), &[still(1, false)], min(374), min(375), &[]);
    check(&opened(), &[still(0, true)], min(374), min(375), &[]);
}

#[test]
fn a_gap_without_its_backlog_ends_and_stays_open_up_to_the_limit() {
    let resumed = FeedEvent::Resumed { gap: GAP, until: min(360) };
    check(&opened(), &[silence(Some(360), &[])], min(374), min(375), std::slice::from_ref(&resumed));
    let given: Vec<_> = opened().into_iter().chain([resumed]).collect();
    check(&given, &[silence(Some(360), &[])], min(800), min(801), &[]);
    // Sent again days later.
    let closed = |filled| [FeedEvent::GapClosed { gap: GAP, until: min(360), filled }, FeedEvent::TaskClosed { task: TASK }];
    check(&given, &[silence(Some(360), &WHOLE)], CUT + 3 * DAY_US, CUT + 3 * DAY_US, &closed(true));
    check(&given, &[silence(Some(360), &[])], CUT + BACK_FILL - 1, CUT + BACK_FILL - 1, &[]);
    check(&given, &[silence(Some(360), &[])], CUT + BACK_FILL, CUT + BACK_FILL, &closed(false));
}

#[test]
fn a_backlog_with_a_hole_as_long_as_a_silence_does_not_fill() {
    let resumed = [FeedEvent::Resumed { gap: GAP, until: min(360) }];
    for missing in [0..3, 5..8, 9..12] {
        let times: Vec<i64> = WHOLE.iter().enumerate().filter(|(n, _)| !missing.contains(n)).map(|(_, time)| *time).collect();
        check(&opened(), &[silence(Some(360), &times)], min(374), min(375), &resumed);
    }
}

#[test]
fn a_backlog_of_less_than_half_does_not_fill() {
    let mut rhythm = Rhythm::default();
    for hour in 0..400 {
        rhythm.learn(CUT.div_euclid(crate::domain::rhythm::HOUR_US) - 400 + hour, 60);
    }
    let fills = |each: u64| {
        let slots = (0..72).map(|n| (CUT.div_euclid(SLOT_US) + n, each)).collect();
        Backlog { slots, ..Backlog::default() }.fills(CUT, min(360), &rhythm, None)
    };
    // Five are expected in each slot.
    assert_eq!((fills(5), fills(3), fills(2)), (true, true, false));
}

#[test]
fn after_a_backlog_the_usual_trickle_of_late_entries_does_not_keep_a_gap_open() {
    let mut rhythm = Rhythm::default();
    for hour in 0..400 {
        rhythm.learn(CUT.div_euclid(crate::domain::rhythm::HOUR_US) - 400 + hour, 60);
    }
    let backlog = Backlog { lately: 2, ..Backlog::default() };
    // Fifteen are usual in a quarter of an hour.
    assert!(backlog.is_drained(min(360), 20, &rhythm, min(380)));
    assert!(!backlog.is_drained(min(360), 200, &rhythm, min(380)));
    assert!(!backlog.is_drained(min(360), 20, &Rhythm::default(), min(380)));
}

#[test]
fn a_feed_that_stays_silent_past_the_limit_begins_another_gap_under_the_same_task() {
    let limit = CUT + BACK_FILL;
    let expected = [
        FeedEvent::GapClosed { gap: GAP, until: limit, filled: false },
        FeedEvent::GapOpened { gap: NEXT, cause: GapCause::Silence, from: limit, back_fill_until: limit + BACK_FILL },
    ];
    check(&opened(), &[silence(None, &[])], CUT, limit, &expected);
}

#[test]
fn two_gaps_have_one_task_which_ends_with_the_last() {
    let resumed = FeedEvent::Resumed { gap: GAP, until: min(360) };
    let given: Vec<_> = opened().into_iter().chain([resumed]).collect();
    let second = Silence { gap: NEXT, from: min(600), ..silence(None, &[]) };
    let opened_again = [FeedEvent::GapOpened { gap: NEXT, cause: GapCause::Silence, from: min(600), back_fill_until: min(600) + BACK_FILL }];
    check(&given, &[silence(Some(360), &[]), second.clone()], min(600), min(661), &opened_again);
    let given: Vec<_> = given.into_iter().chain(opened_again).collect();
    let closed = [FeedEvent::GapClosed { gap: GAP, until: min(360), filled: true }];
    check(&given, &[silence(Some(360), &WHOLE), second.clone()], min(600), min(700), &closed);
    let given: Vec<_> = given.into_iter().chain(closed).collect();
    let back = Silence { back: Some(min(720)), backlog: silence(None, &[630, 680]).backlog, ..second };
    let ended = [FeedEvent::GapClosed { gap: NEXT, until: min(720), filled: true }, FeedEvent::TaskClosed { task: TASK }];
    check(&given, &[back], min(735), min(736), &ended);
}

#[test]
fn a_declared_gap_ends_by_its_limit_and_opens_no_task() {
    let declared = |until: Option<i64>| {
        let opened = FeedEvent::GapOpened { gap: GAP, cause: GapCause::Declared, from: CUT, back_fill_until: CUT + BACK_FILL };
        std::iter::once(opened).chain(until.map(|until| FeedEvent::Resumed { gap: GAP, until })).collect::<Vec<_>>()
    };
    assert_eq!(told(&Feed::default(), &declared(None), CUT, TASK), None);
    let limit = CUT + BACK_FILL;
    check(&declared(Some(min(60))), &[], limit - 1, limit - 1, &[]);
    check(&declared(Some(min(60))), &[], limit, limit, &[FeedEvent::GapClosed { gap: GAP, until: min(60), filled: false }]);
    // Nobody has said when it ends.
    check(&declared(None), &[], limit, limit, &[]);
}

#[test]
fn an_operators_decision_goes_over_the_one_before() {
    assert_eq!(feed(&[]).promoted, None);
    assert_eq!(feed(&[FeedEvent::Promoted { from: None }]).promoted, Some(true));
    assert_eq!(feed(&[FeedEvent::Promoted { from: None }, FeedEvent::Demoted]).promoted, Some(false));
}
