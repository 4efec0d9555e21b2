//! What was heard of each feed: when, how much, and about which times.
//!
//! Read from the inbox once a minute by the one process that holds the service's lease, never on a message's way. What was learned
//! goes with the timer that comes back each minute, in the unit that sets it anew: so it outlives the sweep of the messages and every
//! restart, and each message is counted once. Only messages that were taken count: a feed whose every message is refused says nothing.

use crate::domain::feed::{Backlog, DRAIN_US, FeedEvent, SLOT_US, Silence};
use crate::domain::rhythm::{Cell, DAY_US, HOUR_US, MINUTE_US, Rhythm, SHORTEST_US};
use bytes::Bytes;
use hearthline_eventing::{Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Inbox rows looked at in one step.
const PAGE_ROWS: i64 = 200_000;

/// What is kept from one look to the next.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Rows of the inbox up to here are counted.
    pub seq: i64,
    pub feeds: BTreeMap<String, Activity>,
}

impl Memory {
    /// What a timer carried. Unreadable: nothing is known, and it is learned anew.
    pub fn read(payload: &[u8]) -> Self {
        if payload.is_empty() {
            return Memory::default();
        }
        serde_json::from_slice(payload).unwrap_or_else(|_| {
            tracing::warn!("what was learned of the feeds cannot be read; it is learned anew");
            Memory::default()
        })
    }

    pub fn write(&self) -> Bytes {
        serde_json::to_vec(self).expect("numbers and names are JSON").into()
    }
}

/// What was heard of one feed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Activity {
    /// Weight of hours and of messages for each hour of the week.
    cells: Vec<(f64, f64)>,
    hours: u32,
    /// The next hour (since 1970) to be learned; none while the feed is silent, whose hours teach nothing.
    learn_next: Option<i64>,
    /// Messages of hours not yet learned.
    pending: BTreeMap<i64, u64>,
    /// When the last message came.
    pub last_at: Option<i64>,
    /// The newest own time of any message, none later than its arrival.
    pub newest: Option<i64>,
    /// Messages by minute of arrival, as long as a backlog takes to be judged.
    minutes: BTreeMap<i64, u64>,
    silences: Vec<Kept>,
}

/// A silence that is not closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    gap: [u8; 16],
    from: i64,
    back: Option<i64>,
    /// It is on record that the feed speaks again.
    resumed: bool,
    slots: BTreeMap<i64, u64>,
    /// Messages of the gap's time by minute of arrival, as `minutes`.
    late: BTreeMap<i64, u64>,
}

/// Messages that came in the same minute and tell of the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrivals {
    /// Minute of arrival and slot of their own time, since 1970.
    pub minute: i64,
    pub slot: i64,
    pub count: u64,
    pub first_at: i64,
    pub last_at: i64,
    pub newest: i64,
}

/// By what a feed's silence is judged.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Silence agreed in the configuration, µs.
    pub agreed: Option<i64>,
    pub back_fill_us: i64,
}

impl Activity {
    pub fn rhythm(&self) -> Rhythm {
        if self.cells.is_empty() {
            return Rhythm::default();
        }
        Rhythm { cells: self.cells.iter().map(|(hours, messages)| Cell { hours: *hours, messages: *messages }).collect(), hours: self.hours }
    }

    /// Takes in what came, in the order in which it came, and looks at `now` whether too little did. `fresh` makes ids of gaps.
    pub fn hear(&mut self, arrivals: &[Arrivals], now: i64, terms: Terms, fresh: &mut dyn FnMut() -> [u8; 16]) {
        for arrived in arrivals {
            self.look(arrived.first_at, terms, fresh);
            self.take(arrived);
        }
        self.look(now, terms, fresh);
        self.learn();
        let oldest = now.max(self.last_at.unwrap_or(now)) - DRAIN_US;
        let is_late = |minute: &i64, _: &mut u64| (minute + 1) * MINUTE_US > oldest;
        self.minutes.retain(is_late);
        self.silences.iter_mut().for_each(|silence| silence.late.retain(is_late));
    }

    /// Whether the silence up to an instant is one.
    fn look(&mut self, at: i64, terms: Terms, fresh: &mut dyn FnMut() -> [u8; 16]) {
        let Some(last) = self.last_at else { return };
        if at <= last + terms.agreed.unwrap_or(SHORTEST_US) || self.rhythm().silent_from(last, terms.agreed).is_none_or(|silent| at <= silent) {
            return;
        }
        match self.silences.iter_mut().find(|silence| !silence.resumed) {
            // A few messages, and silence again: the same one.
            Some(silence) => silence.back = None,
            None => {
                self.learn();
                let from = self.newest.unwrap_or(last).clamp(last - DAY_US, last);
                self.silences.push(Kept { gap: fresh(), from, back: None, resumed: false, slots: BTreeMap::new(), late: BTreeMap::new() });
                self.pending.clear();
                self.learn_next = None;
            }
        }
    }

    fn take(&mut self, arrived: &Arrivals) {
        let is_silent = self.silences.iter().any(|silence| !silence.resumed);
        for silence in &mut self.silences {
            let back = *silence.back.get_or_insert(arrived.first_at);
            if arrived.slot >= silence.from.div_euclid(SLOT_US) {
                *silence.slots.entry(arrived.slot).or_default() += arrived.count;
                if arrived.slot * SLOT_US < back {
                    *silence.late.entry(arrived.minute).or_default() += arrived.count;
                }
            }
        }
        if !is_silent {
            let hour = arrived.first_at.div_euclid(HOUR_US);
            // The hour in which it begins is not whole.
            self.learn_next.get_or_insert(hour + 1);
            *self.pending.entry(hour).or_default() += arrived.count;
        }
        *self.minutes.entry(arrived.minute).or_default() += arrived.count;
        self.last_at = Some(self.last_at.map_or(arrived.last_at, |last| last.max(arrived.last_at)));
        let newest = arrived.newest.min(arrived.last_at);
        self.newest = Some(self.newest.map_or(newest, |known| known.max(newest)));
    }

    /// Hours that are over and after which something came: what ends in silence is not known to be quiet.
    fn learn(&mut self) {
        let (Some(next), Some(last)) = (self.learn_next, self.last_at) else { return };
        let until = last.div_euclid(HOUR_US);
        if next >= until {
            return;
        }
        let mut rhythm = self.rhythm();
        for hour in next..until {
            rhythm.learn(hour, self.pending.get(&hour).copied().unwrap_or(0));
        }
        self.pending.retain(|hour, _| *hour >= until);
        self.learn_next = Some(until);
        self.hours = rhythm.hours;
        self.cells = rhythm.cells.iter().map(|cell| (cell.hours, cell.messages)).collect();
    }

    /// The silences that are not closed, with what has come of their time.
    pub fn silences(&self, now: i64) -> Vec<Silence> {
        let lately = |minutes: &BTreeMap<i64, u64>| lately(minutes, now);
        self.silences
            .iter()
            .map(|kept| Silence {
                gap: kept.gap,
                from: kept.from,
                back: kept.back,
                backlog: Backlog { slots: kept.slots.clone(), lately: lately(&kept.late), waits: false },
            })
            .collect()
    }

    /// Messages of the last quarter of an hour.
    pub fn lately(&self, now: i64) -> u64 {
        lately(&self.minutes, now)
    }

    /// Since when nothing has come, where that is more than chance.
    pub fn silent_since(&self) -> Option<i64> {
        self.silences.iter().find(|silence| silence.back.is_none()).map(|silence| silence.from)
    }

    /// Takes over what was decided of its silences.
    pub fn settle(&mut self, events: &[FeedEvent]) {
        for event in events {
            match *event {
                FeedEvent::Resumed { gap, .. } => self.silences.iter_mut().filter(|s| s.gap == gap).for_each(|s| s.resumed = true),
                FeedEvent::GapClosed { gap, until, filled } => {
                    let Some(at) = self.silences.iter().position(|s| s.gap == gap) else { continue };
                    let closed = self.silences.remove(at);
                    // Silent up to the limit and beyond: the next gap goes on from there.
                    let follows = events.iter().find_map(|e| match *e {
                        FeedEvent::GapOpened { gap: next, from, .. } if !filled && from == until && next != gap => Some(next),
                        _ => None,
                    });
                    if let Some(next) = follows.filter(|_| !closed.resumed) {
                        let slots = closed.slots.into_iter().filter(|(slot, _)| *slot >= until.div_euclid(SLOT_US)).collect();
                        self.silences.push(Kept { gap: next, from: until, slots, ..closed });
                    }
                }
                _ => {}
            }
        }
    }

    /// Forgets silences of a feed that is in shadow once it speaks again: nothing is on record of them.
    pub fn forget_ended_silences(&mut self) {
        self.silences.retain(|silence| silence.back.is_none());
    }
}

fn lately(minutes: &BTreeMap<i64, u64>, now: i64) -> u64 {
    minutes.range((now - DRAIN_US).div_euclid(MINUTE_US)..).map(|(_, count)| count).sum()
}

/// What came since the last look, by peer and in the order of arrival, and up to which row; `true`: there is more.
pub async fn arrivals(store: &dyn Store, seq: i64) -> Result<(BTreeMap<String, Vec<Arrivals>>, i64, bool), StoreError> {
    let newest = store.query("select max(seq) from inbox", &[]).await?.first().and_then(|row| row.opt_int(0)).unwrap_or(0);
    // Where the newest rows were swept their numbers may be given again.
    let after = seq.min(newest);
    let until = newest.min(after + PAGE_ROWS);
    let mut peers: BTreeMap<String, Vec<Arrivals>> = BTreeMap::new();
    if until > after {
        let sql = format!(
            "select peer, received_at / {MINUTE_US}, occurred_at / {SLOT_US}, count(*), min(received_at), max(received_at), max(occurred_at) from inbox \
             where seq > $1 and seq <= $2 and outgoing = 0 and state not in ('refused', 'duplicate') group by 1, 2, 3 order by 2, 5, 3"
        );
        for row in store.query(&sql, &[after.into(), until.into()]).await? {
            peers.entry(row.text(0).to_owned()).or_default().push(Arrivals {
                minute: row.int(1),
                slot: row.int(2),
                count: row.int(3).unsigned_abs(),
                first_at: row.int(4),
                last_at: row.int(5),
                newest: row.int(6),
            });
        }
    }
    Ok((peers, until, until < newest))
}

#[cfg(test)]
#[path = "activity_tests.rs"]
mod tests;
