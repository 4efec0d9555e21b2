use super::*;
use crate::domain::feed::{Feed, GapCause, Heard, follow};

/// Monday, 2 March 2026, midnight in London.
const MONDAY: i64 = 1_772_409_600_000_000;
const TERMS: Terms = Terms { agreed: None, back_fill_us: 14 * DAY_US };

/// Messages as a queue hands them over: when each came and what time it tells of.
fn arrived(messages: &[(i64, i64)]) -> Vec<Arrivals> {
    messages
        .iter()
        .map(|(at, own)| Arrivals { minute: at.div_euclid(MINUTE_US), slot: own.div_euclid(SLOT_US), count: 1, first_at: *at, last_at: *at, newest: *own })
        .collect()
}

/// One message each minute, told at once.
fn each_minute(from: i64, until: i64) -> Vec<Arrivals> {
    arrived(&(0..(until - from) / MINUTE_US).map(|n| (from + n * MINUTE_US, from + n * MINUTE_US)).collect::<Vec<_>>())
}

/// A feed under watch: looked at each minute, as the timer does.
struct Watched {
    activity: Activity,
    feed: Feed,
    /// Everything on record, with when.
    record: Vec<(i64, FeedEvent)>,
    ids: u32,
}

impl Watched {
    /// Three weeks of a message a minute up to this Monday.
    fn taught() -> Self {
        let mut watched = Watched { activity: Activity::default(), feed: Feed::default(), record: Vec::new(), ids: 0 };
        watched.look(&each_minute(MONDAY - 21 * DAY_US, MONDAY), MONDAY);
        assert!(watched.activity.rhythm().is_learned());
        watched
    }

    fn look(&mut self, arrivals: &[Arrivals], now: i64) {
        let ids = &mut self.ids;
        let mut fresh = || {
            *ids += 1;
            u128::from(*ids).to_be_bytes()
        };
        self.activity.hear(arrivals, now, TERMS, &mut fresh);
        let (silences, rhythm) = (self.activity.silences(now), self.activity.rhythm());
        let heard = Heard {
            rhythm: &rhythm,
            agreed: None,
            back_fill_us: TERMS.back_fill_us,
            newest: self.activity.newest,
            lately: self.activity.lately(now),
            silences: &silences,
        };
        let events = follow(&self.feed, &heard, now, [200; 16], fresh());
        self.activity.settle(&events);
        // Whatever is kept goes through a timer's payload.
        let memory = Memory { seq: 1, feeds: BTreeMap::from([("p".to_owned(), self.activity.clone())]) };
        assert!(Memory::read(&memory.write()) == memory, "it is not read as it was written");
        for event in events {
            self.feed = std::mem::take(&mut self.feed).evolve(&event);
            self.record.push((now, event));
        }
    }

    /// Looks each minute from one instant to another, hearing what came.
    fn watch(&mut self, arrivals: &[Arrivals], from: i64, until: i64) {
        let mut at = from;
        while at < until {
            let next = at + MINUTE_US;
            let came: Vec<Arrivals> = arrivals.iter().filter(|a| a.first_at >= at && a.first_at < next).copied().collect();
            self.look(&came, next);
            at = next;
        }
    }

    fn gaps(&self) -> Vec<(&'static str, i64)> {
        self.record
            .iter()
            .filter_map(|(_, event)| match event {
                FeedEvent::GapOpened { from, .. } => Some(("opened", (from - MONDAY) / MINUTE_US)),
                FeedEvent::Resumed { until, .. } => Some(("resumed", (until - MONDAY) / MINUTE_US)),
                FeedEvent::GapClosed { until, filled: true, .. } => Some(("filled", (until - MONDAY) / MINUTE_US)),
                FeedEvent::GapClosed { until, filled: false, .. } => Some(("lost", (until - MONDAY) / MINUTE_US)),
                _ => None,
            })
            .collect()
    }
}

/// Six hours' messages, ten a second as a queue is emptied, beginning at an instant.
fn backlog(from: i64, until: i64, back: i64) -> Vec<Arrivals> {
    arrived(&(0..(until - from) / MINUTE_US).map(|n| (back + n * 100_000, from + n * MINUTE_US)).collect::<Vec<_>>())
}

const CUT: i64 = MONDAY + 9 * HOUR_US;
const BACK: i64 = CUT + 6 * HOUR_US;

#[test]
fn six_hours_cut_and_back_with_the_backlog_is_one_gap_opened_once_and_filled_once() {
    let mut watched = Watched::taught();
    let mut arrivals = each_minute(MONDAY, CUT);
    arrivals.extend(backlog(CUT, BACK, BACK));
    arrivals.extend(each_minute(BACK + MINUTE_US, BACK + 12 * HOUR_US));
    watched.watch(&arrivals, MONDAY, BACK + 12 * HOUR_US);
    assert_eq!(watched.gaps(), [("opened", 539), ("filled", 900)]);
    let at: Vec<i64> = watched.record.iter().map(|(at, _)| (at - CUT) / MINUTE_US).collect();
    // Told within the hour; closed once it has spoken for as long as would be a silence.
    assert!(at[0] < 60 && (386..390).contains(&at[3]), "{at:?}");
    let names: Vec<bool> = watched.record.iter().map(|(_, event)| matches!(event, FeedEvent::TaskOpened { .. } | FeedEvent::TaskClosed { .. })).collect();
    assert_eq!(names, [false, true, false, true]);
    // The hours of the gap taught nothing.
    assert_eq!(watched.activity.rhythm().expected(CUT, CUT + HOUR_US).round(), 60.0);
}

#[test]
fn a_backlog_that_was_there_at_the_first_look_after_our_own_downtime_fills_a_gap_too() {
    let mut watched = Watched::taught();
    watched.watch(&each_minute(MONDAY, CUT), MONDAY, CUT);
    let mut arrivals = backlog(CUT, BACK, BACK);
    arrivals.extend(each_minute(BACK + MINUTE_US, BACK + HOUR_US));
    let (at_once, later): (Vec<_>, Vec<_>) = arrivals.into_iter().partition(|a| a.first_at < BACK + 3 * MINUTE_US);
    watched.look(&at_once, BACK + 3 * MINUTE_US);
    watched.watch(&later, BACK + 3 * MINUTE_US, BACK + HOUR_US);
    assert_eq!(watched.gaps(), [("opened", 539), ("filled", 900)]);
}

#[test]
fn a_feed_that_is_back_without_its_backlog_is_resumed_and_filled_when_it_is_sent_days_later() {
    let mut watched = Watched::taught();
    let mut arrivals = each_minute(MONDAY, CUT);
    arrivals.extend(each_minute(BACK, BACK + 2 * DAY_US));
    watched.watch(&arrivals, MONDAY, BACK + 2 * DAY_US);
    assert_eq!(watched.gaps(), [("opened", 539), ("resumed", 900)]);
    let again = BACK + 2 * DAY_US;
    let mut arrivals = backlog(CUT, BACK, again);
    arrivals.extend(each_minute(again, again + HOUR_US));
    arrivals.sort_by_key(|a| a.first_at);
    watched.watch(&arrivals, again, again + HOUR_US);
    assert_eq!(watched.gaps().last(), Some(&("filled", 900)));
    assert!(watched.feed.open.is_empty() && watched.feed.task.is_none());
}

#[test]
fn a_backlog_that_never_comes_is_lost_at_the_limit() {
    let mut watched = Watched::taught();
    let end = MONDAY + 539 * MINUTE_US + TERMS.back_fill_us;
    let mut arrivals = each_minute(MONDAY, CUT);
    arrivals.extend(each_minute(BACK, BACK + DAY_US));
    watched.watch(&arrivals, MONDAY, BACK + DAY_US);
    watched.look(&each_minute(BACK + DAY_US, end - HOUR_US), end - HOUR_US);
    assert_eq!(watched.gaps(), [("opened", 539), ("resumed", 900)]);
    watched.look(&each_minute(end - HOUR_US, end), end);
    assert_eq!(watched.gaps(), [("opened", 539), ("resumed", 900), ("lost", 900)]);
}

#[test]
fn a_few_messages_and_silence_again_are_one_gap() {
    let mut watched = Watched::taught();
    let mut arrivals = each_minute(MONDAY, CUT);
    arrivals.extend(arrived(&[(CUT + 2 * HOUR_US, CUT + 2 * HOUR_US), (CUT + 2 * HOUR_US + 1, CUT)]));
    arrivals.extend(backlog(CUT, BACK, BACK));
    arrivals.extend(each_minute(BACK + MINUTE_US, BACK + HOUR_US));
    watched.watch(&arrivals, MONDAY, BACK + HOUR_US);
    assert_eq!(watched.gaps(), [("opened", 539), ("filled", 900)]);
}

#[test]
fn two_silences_are_two_gaps() {
    let mut watched = Watched::taught();
    let mut arrivals = each_minute(MONDAY, CUT);
    arrivals.extend(each_minute(BACK, BACK + 2 * HOUR_US));
    let again = BACK + 4 * HOUR_US;
    arrivals.extend(backlog(BACK + 2 * HOUR_US, again, again));
    arrivals.extend(each_minute(again + MINUTE_US, again + HOUR_US));
    watched.watch(&arrivals, MONDAY, again + HOUR_US);
    assert_eq!(watched.gaps(), [("opened", 539), ("resumed", 900), ("opened", 1_019), ("filled", 1_140)]);
    assert!(watched.feed.task.is_some(), "the first gap is open still");
}

#[test]
fn a_feed_silent_past_its_limit_has_a_second_gap_that_its_backlog_fills() {
    let mut watched = Watched::taught();
    watched.watch(&each_minute(MONDAY, CUT), MONDAY, CUT + DAY_US);
    let limit = CUT - MINUTE_US + TERMS.back_fill_us;
    watched.look(&[], limit);
    assert_eq!(watched.gaps(), [("opened", 539), ("lost", 539 + 14 * 1_440), ("opened", 539 + 14 * 1_440)]);
    let back = limit + DAY_US;
    let mut arrivals = backlog(limit, back, back);
    arrivals.extend(each_minute(back + 3 * MINUTE_US, back + HOUR_US));
    watched.watch(&arrivals, back, back + HOUR_US);
    assert_eq!(watched.gaps().last(), Some(&("filled", 539 + 15 * 1_440)));
    assert!(watched.feed.task.is_none());
    assert_eq!(watched.record.iter().filter(|(_, event)| matches!(event, FeedEvent::TaskOpened { .. })).count(), 1);
    assert!(watched.record.iter().all(|(_, event)| !matches!(event, FeedEvent::GapOpened { cause: GapCause::Declared, .. })));
}

#[test]
fn a_feed_in_shadow_is_learned_and_its_silences_are_forgotten_when_they_end() {
    let mut activity = Activity::default();
    activity.hear(&each_minute(MONDAY - 21 * DAY_US, MONDAY), MONDAY, TERMS, &mut || [9; 16]);
    activity.hear(&[], MONDAY + 6 * HOUR_US, TERMS, &mut || [9; 16]);
    assert_eq!(activity.silent_since(), Some(MONDAY - MINUTE_US));
    activity.hear(&each_minute(MONDAY + 6 * HOUR_US, MONDAY + 7 * HOUR_US), MONDAY + 7 * HOUR_US, TERMS, &mut || [9; 16]);
    activity.forget_ended_silences();
    assert_eq!((activity.silent_since(), activity.silences(MONDAY + 7 * HOUR_US).len()), (None, 0));
}

#[test]
fn a_gap_begins_at_the_newest_own_time_but_no_more_than_a_day_before_the_last_message_and_an_agreed_silence_may_be_short() {
    let five = Terms { agreed: Some(5 * MINUTE_US), ..TERMS };
    for (own, from) in [(CUT - HOUR_US, CUT - HOUR_US), (CUT - 30 * DAY_US, CUT - DAY_US), (CUT + HOUR_US, CUT)] {
        let mut activity = Activity::default();
        activity.hear(&arrived(&[(CUT, own)]), CUT + 5 * MINUTE_US, five, &mut || [9; 16]);
        assert_eq!(activity.silent_since(), None, "{own}");
        activity.hear(&[], CUT + 6 * MINUTE_US, five, &mut || [9; 16]);
        assert_eq!(activity.silent_since(), Some(from), "{own}");
    }
}

#[test]
fn what_cannot_be_read_is_learned_anew() {
    assert_eq!(Memory::read(b""), Memory::default());
    assert_eq!(Memory::read(b"{"), Memory::default());
}
