//! Makes a week out of a seed: the same seed, week and options give the same bytes.
//!
//! 1. `register`: homes, practices, pharmacies and hospital sites of a county that does not exist;
//! 2. `people`: residents and strangers with NHS numbers of the range 999, which is kept for tests;
//! 3. `calls`: fifteen calls, each a clinical story with what was decided in it;
//! 4. `hospital`: who truly came to hospital, and the messages that say so.
//!
//! The calls keep the rates of the scoping guide (a week of 104 homes: 15 calls; 8 conveyances, 6 attendances and 4 admissions
//! avoided as declared); hospital truth then sustains or contradicts them.

mod calls;
mod hospital;
mod people;
mod register;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use hearthline_nhs::{IsoWeek, london_instant};
use jiff::ToSpan;
use jiff::civil::Date;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::week::Week;

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// How a week is made.
#[derive(Debug, Clone)]
pub struct Make {
    pub seed: u64,
    /// Its Monday.
    pub monday: Date,
    /// How many hospital messages there are in all.
    pub messages: usize,
    /// A rare word that every personal value shall hold (numbers and dates cannot).
    pub marker: Option<String>,
}

/// The calendar has no such week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutsideCalendar;

impl fmt::Display for OutsideCalendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the week lies outside the calendar")
    }
}

impl std::error::Error for OutsideCalendar {}

/// The last whole week (ISO, Europe/London) that had ended five days before `now` (µs UTC).
pub fn last_settled_week(now: i64) -> Result<Date, OutsideCalendar> {
    let week = IsoWeek::of_instant(now - 5 * DAY_US).map_err(|_| OutsideCalendar)?;
    week.monday().checked_sub(7.days()).map_err(|_| OutsideCalendar)
}

/// Makes the week.
pub fn generate(make: &Make) -> Result<Week, OutsideCalendar> {
    let midnight = |date: Date| london_instant(date.to_datetime(jiff::civil::Time::midnight())).map_err(|_| OutsideCalendar);
    let next_monday = make.monday.checked_add(7.days()).map_err(|_| OutsideCalendar)?;
    let mut maker = Maker {
        random: StdRng::seed_from_u64(make.seed),
        marker: make.marker.clone(),
        personal: BTreeSet::new(),
        numbers_used: BTreeSet::new(),
        week: Week {
            monday: make.monday,
            starts_at: midnight(make.monday)?,
            ends_at: midnight(next_monday)?,
            practices: Vec::new(),
            pharmacies: Vec::new(),
            homes: Vec::new(),
            sites: register::SITES.to_vec(),
            residents: Vec::new(),
            calls: Vec::new(),
            visits: Vec::new(),
            messages: Vec::new(),
            personal: BTreeSet::new(),
        },
    };
    maker.registers();
    maker.residents();
    maker.calls()?;
    maker.hospital(make.messages);
    maker.week.personal = maker.personal;
    Ok(maker.week)
}

/// What is at hand while a week is made.
struct Maker {
    random: StdRng,
    marker: Option<String>,
    personal: BTreeSet<String>,
    numbers_used: BTreeSet<u32>,
    week: Week,
}

impl Maker {
    /// A name of a person, marked and remembered as personal.
    fn name(&mut self, base: &str) -> String {
        let name = match &self.marker {
            Some(marker) => format!("{base}{marker}"),
            None => base.to_owned(),
        };
        self.personal(name)
    }

    /// A personal text of several words, marked and remembered.
    fn text(&mut self, base: &str) -> String {
        let text = match &self.marker {
            Some(marker) => format!("{base} {marker}"),
            None => base.to_owned(),
        };
        self.personal(text)
    }

    fn personal(&mut self, value: String) -> String {
        self.personal.insert(value.clone());
        value
    }
}
