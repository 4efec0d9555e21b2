//! How much a feed says in each hour of the week, and from when its silence is no longer chance.
//!
//! For each of the 168 hours of the local week the mean number of messages is learned, older weeks counting less. Messages of a feed
//! whose rate is known come as a Poisson process does, on the scale of what is expected rather than of the clock (time-rescaling
//! theorem: Brown et al., Neural Computation 14 (2002) 325-346). There, each message is followed by a silence of more than *E* expected
//! messages with probability e^-E; of λ messages a month, λ·e^-E are. So at **E = ln(λ · 12)** chance alone breaks the silence about
//! once a year, whatever the size of the feed.
//!
//! Chosen here, not from a source: a year; half of the learned rate as what is expected, because bank holidays and planned downtime of
//! wards are slower than the weekday that they fall on; four weeks as the half-life of what was learned; fourteen days before anything is
//! concluded, so that each hour of the week was seen twice; never less than a quarter of an hour; never more than a week.

use hearthline_nhs::london_local;

pub const MINUTE_US: i64 = 60_000_000;
pub const HOUR_US: i64 = 60 * MINUTE_US;
pub const DAY_US: i64 = 24 * HOUR_US;
pub const HOURS_OF_WEEK: usize = 168;
/// No silence is told before.
pub const SHORTEST_US: i64 = 15 * MINUTE_US;
/// Every silence is told after, of feeds that say too little for the rule too.
pub const LONGEST_US: i64 = 7 * DAY_US;
/// Hours to be learned before the rule says anything.
pub const HOURS_TO_LEARN: u32 = 14 * 24;
/// Chance alone breaks the silence once in so many months.
const MONTHS: f64 = 12.0;
const HOURS_OF_MONTH: f64 = 730.5;
/// What a week's observation keeps of its weight in the next: half of it after four weeks.
const KEPT: f64 = 0.840_896_415_253_714_5;
/// How much of the learned rate is counted on.
const COUNTED_ON: f64 = 0.5;

/// One hour of the week: how many such hours were seen, and how many messages in them, both by weight.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cell {
    pub hours: f64,
    pub messages: f64,
}

impl Cell {
    fn rate(&self) -> f64 {
        if self.hours > 0.0 { self.messages / self.hours } else { 0.0 }
    }
}

/// What was learned of a feed.
#[derive(Debug, Clone, PartialEq)]
pub struct Rhythm {
    /// From Monday, midnight to one, Europe/London.
    pub cells: Vec<Cell>,
    /// Hours learned, forgotten or not.
    pub hours: u32,
}

impl Default for Rhythm {
    fn default() -> Self {
        Rhythm { cells: vec![Cell::default(); HOURS_OF_WEEK], hours: 0 }
    }
}

impl Rhythm {
    /// Takes in how many messages came in one hour that is over. `hour` is counted since 1970 in UTC; in the zone's own hours London
    /// is a whole number of them away.
    pub fn learn(&mut self, hour: i64, messages: u64) {
        let Some(cell) = cell_of(hour).and_then(|index| self.cells.get_mut(index)) else { return };
        cell.hours = cell.hours * KEPT + 1.0;
        cell.messages = cell.messages * KEPT + messages as f64;
        self.hours = self.hours.saturating_add(1);
    }

    /// Enough is known to tell a silence from chance.
    pub fn is_learned(&self) -> bool {
        self.hours >= HOURS_TO_LEARN && self.a_month() > 0.0
    }

    /// Messages in a month.
    pub fn a_month(&self) -> f64 {
        self.cells.iter().map(Cell::rate).sum::<f64>() / HOURS_OF_WEEK as f64 * HOURS_OF_MONTH
    }

    /// How many messages the learned rates let one expect from one instant to another, µs UTC.
    pub fn expected(&self, from: i64, until: i64) -> f64 {
        spans(from, until).map(|(cell, share)| self.cells.get(cell).map_or(0.0, Cell::rate) * share).sum()
    }

    /// From when silence after a message at `last` is more than chance; `agreed` is what the configuration says of this feed, µs, and
    /// goes over what was learned. `None`: nothing is known yet.
    pub fn silent_from(&self, last: i64, agreed: Option<i64>) -> Option<i64> {
        if let Some(agreed) = agreed {
            return Some(last + agreed);
        }
        if !self.is_learned() {
            return None;
        }
        let wanted = (self.a_month() * MONTHS).ln().max(1.0) / COUNTED_ON;
        let (mut expected, mut at) = (0.0, last);
        while at < last + LONGEST_US {
            let next = next_hour(at);
            let rate = cell_of(at.div_euclid(HOUR_US)).and_then(|index| self.cells.get(index)).map_or(0.0, Cell::rate);
            let more = rate * (next - at) as f64 / HOUR_US as f64;
            if expected + more >= wanted {
                let within = ((wanted - expected) / rate * HOUR_US as f64) as i64;
                return Some((at + within).max(last + SHORTEST_US));
            }
            expected += more;
            at = next;
        }
        Some(last + LONGEST_US)
    }
}

/// The hours of the week between two instants and how much of each.
fn spans(from: i64, until: i64) -> impl Iterator<Item = (usize, f64)> {
    let mut at = from;
    std::iter::from_fn(move || {
        if at >= until {
            return None;
        }
        let next = next_hour(at).min(until);
        let span = (cell_of(at.div_euclid(HOUR_US)).unwrap_or(HOURS_OF_WEEK), (next - at) as f64 / HOUR_US as f64);
        at = next;
        Some(span)
    })
}

fn next_hour(at: i64) -> i64 {
    (at.div_euclid(HOUR_US) + 1) * HOUR_US
}

/// Which hour of the local week an hour since 1970 is. The hour that October repeats is seen twice, the one that March skips not at all.
fn cell_of(hour: i64) -> Option<usize> {
    let local = london_local(hour.checked_mul(HOUR_US)?).ok()?;
    let day = usize::try_from(local.weekday().to_monday_zero_offset()).ok()?;
    Some(day * 24 + usize::try_from(local.hour()).ok()?)
}

#[cfg(test)]
#[path = "rhythm_tests.rs"]
mod tests;
