//! One feed: what has been said of it, and what follows from what was heard.
//!
//! State story of a gap: *silent* (nothing comes) → *resumed* (the feed speaks again, the backlog is not all there) → *closed*, filled or
//! not; *silent* → *closed* where the backlog came at once. A gap that has reached the feed's back-fill limit is closed as not filled; if the
//! feed is silent still, a gap of its own begins there, which can still be filled. A person is told of a silence once, when it begins,
//! and the task stands until no such gap is open.

use super::rhythm::{HOUR_US, MINUTE_US, Rhythm};
use std::collections::BTreeMap;

/// How long nothing of the past must have come before a backlog counts as all there.
pub const DRAIN_US: i64 = 15 * MINUTE_US;
/// Messages of a gap are told apart no finer than this, by their own time.
pub const SLOT_US: i64 = 5 * MINUTE_US;
/// Within which an operator looks at a silent feed.
pub const TASK_WITHIN_US: i64 = 4 * HOUR_US;
/// Of what was expected in a gap, the share that must have come.
const FILLED_SHARE: f64 = 0.5;
pub const TASK_SILENT: &str = "feed_silent";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapCause {
    Silence,
    /// An operator said so.
    Declared,
    /// The feed was put back into shadow: what it said had no effect.
    Demoted,
}

/// What is on record of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedEvent {
    GapOpened {
        gap: [u8; 16],
        cause: GapCause,
        from: i64,
        back_fill_until: i64,
    },
    Resumed {
        gap: [u8; 16],
        until: i64,
    },
    GapClosed {
        gap: [u8; 16],
        until: i64,
        filled: bool,
    },
    /// `from`: since when kept messages take effect too.
    Promoted {
        from: Option<i64>,
    },
    Demoted,
    TaskOpened {
        task: [u8; 16],
        due_at: i64,
    },
    TaskClosed {
        task: [u8; 16],
    },
}

/// A gap of which it is not yet said whether it was filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub id: [u8; 16],
    pub cause: GapCause,
    pub from: i64,
    pub back_fill_until: i64,
    /// From then on the feed speaks again.
    pub until: Option<i64>,
}

/// A feed as its stream says it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Feed {
    pub open: Vec<Gap>,
    pub task: Option<[u8; 16]>,
    /// What an operator decided last: whether its messages take effect. `None`: as configured.
    pub promoted: Option<bool>,
}

impl Feed {
    #[must_use]
    pub fn evolve(mut self, event: &FeedEvent) -> Self {
        match *event {
            FeedEvent::GapOpened { gap, cause, from, back_fill_until } => self.open.push(Gap { id: gap, cause, from, back_fill_until, until: None }),
            FeedEvent::Resumed { gap, until } => self.open.iter_mut().filter(|g| g.id == gap).for_each(|g| g.until = Some(until)),
            FeedEvent::GapClosed { gap, .. } => self.open.retain(|g| g.id != gap),
            FeedEvent::Promoted { .. } => self.promoted = Some(true),
            FeedEvent::Demoted => self.promoted = Some(false),
            FeedEvent::TaskOpened { task, .. } => self.task = Some(task),
            FeedEvent::TaskClosed { task } => self.task = self.task.filter(|open| *open != task),
        }
        self
    }

    pub fn gap(&self, id: [u8; 16]) -> Option<&Gap> {
        self.open.iter().find(|gap| gap.id == id)
    }
}

/// What has come of a time that a gap left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Messages by their own time, in slots of [`SLOT_US`] since 1970.
    pub slots: BTreeMap<i64, u64>,
    /// How many came in the last [`DRAIN_US`].
    pub lately: u64,
    /// Some of them were taken and not interpreted yet: what they say is not known to others.
    pub waits: bool,
}

impl Backlog {
    /// The sender has sent what it kept: a while has passed since the feed spoke again, and for as long nothing of the gap has come, or
    /// no more in all than is usual.
    fn is_drained(&self, back: i64, all_lately: u64, rhythm: &Rhythm, now: i64) -> bool {
        if self.waits || now < back + DRAIN_US {
            return false;
        }
        let usual = rhythm.expected(now - DRAIN_US, now);
        // Three standard deviations above the mean of a Poisson count.
        let is_usual = rhythm.is_learned() && all_lately as f64 <= usual + 3.0 * usual.sqrt();
        self.lately == 0 || is_usual
    }

    /// Had these messages come at their own times, nobody would have been told of a silence, and they are no fewer than half of what was
    /// expected. Where no rule says what silence is, nothing shows it.
    pub fn fills(&self, from: i64, until: i64, rhythm: &Rhythm, agreed: Option<i64>) -> bool {
        let mut last = from;
        let inside = self.slots.range(from.div_euclid(SLOT_US)..).map(|(slot, count)| (slot * SLOT_US, count)).take_while(|(at, _)| *at < until);
        let mut messages = 0;
        for (at, count) in inside {
            messages += count;
            if rhythm.silent_from(last, agreed).is_none_or(|silent| silent < at) {
                return false;
            }
            last = last.max(at);
        }
        let is_dense = !rhythm.is_learned() || messages as f64 >= rhythm.expected(from, until) * FILLED_SHARE;
        messages > 0 && is_dense && rhythm.silent_from(last, agreed).is_some_and(|silent| silent >= until)
    }
}

/// A silence as heard: still going on, or over with what has come since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// The gap's id.
    pub gap: [u8; 16],
    /// The newest own time that had been heard of.
    pub from: i64,
    /// When the first message after it came.
    pub back: Option<i64>,
    pub backlog: Backlog,
}

/// What a feed let hear up to now.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'h> {
    pub rhythm: &'h Rhythm,
    /// Silence agreed in the configuration, µs.
    pub agreed: Option<i64>,
    pub back_fill_us: i64,
    /// The newest own time of any message, none later than its arrival.
    pub newest: Option<i64>,
    /// Messages that came in the last [`DRAIN_US`].
    pub lately: u64,
    pub silences: &'h [Silence],
}

impl Heard<'_> {
    /// What is newest is no older than a normal pause.
    fn has_caught_up(&self, now: i64) -> bool {
        self.newest.is_some_and(|newest| self.rhythm.silent_from(newest, self.agreed).is_none_or(|silent| now <= silent))
    }
}

/// What follows from what was heard; `task` names a task that may have to be opened, `next` the gap that may have to follow another.
pub fn follow(feed: &Feed, heard: &Heard<'_>, now: i64, task: [u8; 16], next: [u8; 16]) -> Vec<FeedEvent> {
    let mut events = Vec::new();
    for silence in heard.silences {
        let known = feed.gap(silence.gap).copied();
        let gap = known.unwrap_or(Gap {
            id: silence.gap,
            cause: GapCause::Silence,
            from: silence.from,
            back_fill_until: silence.from + heard.back_fill_us,
            until: None,
        });
        if known.is_none() {
            events.push(FeedEvent::GapOpened { gap: gap.id, cause: gap.cause, from: gap.from, back_fill_until: gap.back_fill_until });
        }
        let is_over = now >= gap.back_fill_until;
        let resumed = gap.until.or(silence.back.filter(|back| heard.has_caught_up(now) && silence.backlog.is_drained(*back, heard.lately, heard.rhythm, now)));
        match resumed {
            Some(until) => {
                let is_drained = silence.backlog.is_drained(until, heard.lately, heard.rhythm, now);
                let filled = is_drained && silence.backlog.fills(gap.from, until, heard.rhythm, heard.agreed);
                if filled || is_over {
                    events.push(FeedEvent::GapClosed { gap: gap.id, until, filled });
                } else if gap.until.is_none() {
                    events.push(FeedEvent::Resumed { gap: gap.id, until });
                }
            }
            None if is_over => {
                events.push(FeedEvent::GapClosed { gap: gap.id, until: gap.back_fill_until, filled: false });
                let from = gap.back_fill_until;
                events.push(FeedEvent::GapOpened { gap: next, cause: GapCause::Silence, from, back_fill_until: from + heard.back_fill_us });
            }
            None => {}
        }
    }
    // What an operator declared ends by an operator, or by its limit.
    for gap in feed.open.iter().filter(|gap| gap.cause != GapCause::Silence && now >= gap.back_fill_until) {
        if let Some(until) = gap.until {
            events.push(FeedEvent::GapClosed { gap: gap.id, until, filled: false });
        }
    }
    events.extend(told(feed, &events, now, task));
    events
}

/// A person is told when the first silence begins; the task ends with the last gap that silence left.
pub fn told(feed: &Feed, events: &[FeedEvent], now: i64, task: [u8; 16]) -> Option<FeedEvent> {
    let after = events.iter().fold(feed.clone(), Feed::evolve);
    let is_silent = after.open.iter().any(|gap| gap.cause == GapCause::Silence);
    let begins = events.iter().any(|event| matches!(event, FeedEvent::GapOpened { cause: GapCause::Silence, .. }));
    match after.task {
        None if begins && is_silent => Some(FeedEvent::TaskOpened { task, due_at: now + TASK_WITHIN_US }),
        Some(task) if !is_silent => Some(FeedEvent::TaskClosed { task }),
        _ => None,
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
