//! Whose hospital visits the feeds show. A home's catchment is every trust that the configuration names for it; a claim can
//! be checked only where each of them was covered on every day of its window.

use crate::rows::{FeedGap, Home};
use hearthline_nhs::{london_date, london_instant};
use hearthline_runtime::config::{Coverage, HomeCode};
use jiff::ToSpan;
use jiff::civil::Date;

/// Why the feeds cannot show what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blind {
    /// No feed is configured for the home.
    NoFeed,
    /// A feed of the catchment covers only a part of the window.
    PartlyCovered,
}

/// The feeds that cover a home through a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Sight<'c> {
    entries: Vec<&'c Coverage>,
}

impl Sight<'_> {
    /// Every feed says how patients arrived.
    pub fn arrival_mode(&self) -> bool {
        self.entries.iter().all(|entry| entry.arrival_mode)
    }

    /// Whether a gap of this facility's feed concerns the home.
    pub fn concerns(&self, gap: &FeedGap) -> bool {
        self.entries.iter().any(|entry| of_entry(entry, gap))
    }
}

fn of_entry(entry: &Coverage, gap: &FeedGap) -> bool {
    let facility = gap.facility_ods.as_str();
    entry.trust_ods.as_str() == facility || entry.facilities.iter().any(|site| site.as_str() == facility)
}

/// The entries that hold for a home at any time.
pub fn catchment<'c>(coverage: &'c [Coverage], home: Option<&Home>) -> Vec<&'c Coverage> {
    coverage.iter().filter(|entry| holds_for(entry, home)).collect()
}

/// What the feeds show of a home from one instant to another (µs UTC), by local days, both included.
pub fn sight<'c>(coverage: &'c [Coverage], home: Option<&Home>, from: i64, until: i64) -> Result<Sight<'c>, Blind> {
    let catchment = catchment(coverage, home);
    if catchment.is_empty() {
        return Err(Blind::NoFeed);
    }
    let (Ok(first), Ok(last)) = (london_date(from), london_date(until)) else {
        return Err(Blind::PartlyCovered);
    };
    let entries: Vec<&Coverage> = catchment.iter().copied().filter(|entry| entry.from <= last && entry.until.is_none_or(|until| until >= first)).collect();
    let each_covered = catchment.iter().all(|trust| {
        let of_trust: Vec<&Coverage> = entries.iter().copied().filter(|entry| entry.trust_ods == trust.trust_ods).collect();
        cover(&of_trust, first, last)
    });
    if each_covered { Ok(Sight { entries }) } else { Err(Blind::PartlyCovered) }
}

/// Whether the entries together leave out no day.
fn cover(entries: &[&Coverage], first: Date, last: Date) -> bool {
    let mut needed = first;
    loop {
        let reaching = entries.iter().filter(|entry| entry.from <= needed).map(|entry| entry.until.unwrap_or(Date::MAX)).max();
        match reaching {
            Some(until) if until >= last => return true,
            Some(until) if until >= needed => match until.checked_add(1.day()) {
                Ok(next) => needed = next,
                Err(_) => return true,
            },
            _ => return false,
        }
    }
}

fn holds_for(entry: &Coverage, home: Option<&Home>) -> bool {
    if entry.homes.is_empty() && entry.postcode_areas.is_empty() {
        return true;
    }
    let Some(home) = home else { return false };
    let named = entry.homes.iter().any(|code| match code {
        HomeCode::Ods(ods) => ods.as_str() == home.ods_code,
        HomeCode::Cqc(cqc) => cqc.as_str() == home.cqc_location_id,
    });
    named || entry.postcode_areas.iter().any(|area| lies_in(&home.postcode, area))
}

/// Whether a postcode lies in an area (`NE`) or district (`NE8`).
fn lies_in(postcode: &str, area: &str) -> bool {
    let compact: String = postcode.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_uppercase();
    // The inward code has three characters.
    let outward = compact.len().checked_sub(3).and_then(|length| compact.get(..length)).unwrap_or(&compact);
    if area.bytes().any(|b| b.is_ascii_digit()) {
        return outward == area;
    }
    outward.split(|c: char| c.is_ascii_digit()).next().is_some_and(|letters| letters == area)
}

/// Home-days on which every feed of the home's catchment was there and no gap lay, and all home-days on which the homes were live,
/// from the first day to the last. Gaps that were filled do not count as gaps.
pub fn home_days(coverage: &[Coverage], homes: &[Home], gaps: &[FeedGap], first: Date, last: Date) -> (u64, u64) {
    let days: Vec<(Date, i64, i64)> = first
        .series(1.day())
        .take_while(|day| *day <= last)
        .filter_map(|day| {
            let begins = london_instant(day.at(0, 0, 0, 0)).ok()?;
            let ends = london_instant(day.tomorrow().ok()?.at(0, 0, 0, 0)).ok()?;
            Some((day, begins, ends))
        })
        .collect();
    let (mut covered, mut all) = (0, 0);
    for home in homes {
        let entries = catchment(coverage, Some(home));
        let gaps: Vec<&FeedGap> = gaps.iter().filter(|gap| !gap.filled && entries.iter().any(|entry| of_entry(entry, gap))).collect();
        for (day, begins, ends) in &days {
            if home.live_from.is_none_or(|live| live >= *ends) {
                continue;
            }
            all += 1;
            let fed = !entries.is_empty()
                && entries.iter().all(|needed| {
                    entries.iter().any(|entry| entry.trust_ods == needed.trust_ods && entry.from <= *day && entry.until.is_none_or(|until| until >= *day))
                });
            let gap = gaps.iter().any(|gap| overlaps(gap, *begins, *ends - 1));
            covered += u64::from(fed && !gap);
        }
    }
    (covered, all)
}

/// Whether what a gap left out is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapState {
    /// The sender sent it afterwards.
    Filled,
    /// It may still come.
    MayFill,
    /// It did not come and counts as never coming.
    Lost,
}

impl FeedGap {
    /// How the gap stood at an instant: what was said of it later does not count yet. One whose limit has passed is lost even
    /// where nobody has said so.
    pub fn state(&self, as_of: i64) -> GapState {
        match self.closed_at {
            Some(closed) if closed <= as_of && self.filled => GapState::Filled,
            Some(closed) if closed <= as_of => GapState::Lost,
            Some(_) | None if self.back_fill_until.is_some_and(|limit| limit <= as_of) => GapState::Lost,
            Some(_) | None => GapState::MayFill,
        }
    }
}

/// Whether a gap reaches into the time from one instant to another, both included.
pub fn overlaps(gap: &FeedGap, from: i64, until: i64) -> bool {
    gap.from_at <= until && gap.until_at.is_none_or(|ended| ended > from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::HomeType;
    use hearthline_nhs::{HomeId, OdsCode};
    use jiff::civil::date;

    fn home(postcode: &str) -> Home {
        Home {
            home_id: HomeId::from_bytes([1; 16]),
            ods_code: "VL1AA".to_owned(),
            cqc_location_id: "1-123456789".to_owned(),
            postcode: postcode.to_owned(),
            beds: 40,
            home_type: HomeType::Nursing,
            registered_at: 0,
            live_from: Some(0),
        }
    }

    fn entry(trust: &str, areas: &[&str], from: Date, until: Option<Date>) -> Coverage {
        Coverage {
            trust_ods: OdsCode::parse(trust).expect("valid"),
            facilities: Vec::new(),
            homes: Vec::new(),
            postcode_areas: areas.iter().map(|area| (*area).to_owned()).collect(),
            from,
            until,
            arrival_mode: true,
        }
    }

    fn at(day: Date) -> i64 {
        hearthline_nhs::london_instant(day.at(12, 0, 0, 0)).expect("in range")
    }

    #[test]
    fn an_area_is_the_letters_and_a_district_the_outward_code() {
        for (postcode, area, expected) in [
            ("SO14 7DU", "SO", true),
            ("SO14 7DU", "S", false),
            ("SO14 7DU", "SO14", true),
            ("SO14 7DU", "SO1", false),
            ("W1A 1AA", "W", true),
            ("w1a1aa", "W1A", true),
            ("", "SO", false),
        ] {
            assert_eq!(lies_in(postcode, area), expected, "{postcode} in {area}");
        }
    }

    #[test]
    fn a_home_without_an_entry_has_no_feed() {
        let coverage = [entry("RHM", &["SO"], date(2026, 1, 1), None)];
        let day = at(date(2026, 6, 1));
        assert!(sight(&coverage, Some(&home("SO14 7DU")), day, day).is_ok());
        assert_eq!(sight(&coverage, Some(&home("PO1 1AA")), day, day), Err(Blind::NoFeed));
        assert_eq!(sight(&coverage, None, day, day), Err(Blind::NoFeed));
        assert_eq!(sight(&[], Some(&home("SO14 7DU")), day, day), Err(Blind::NoFeed));
    }

    #[test]
    fn every_trust_of_the_catchment_must_cover_every_day() {
        let (from, until) = (at(date(2026, 6, 1)), at(date(2026, 6, 4)));
        let here = home("SO14 7DU");
        let check = |coverage: &[Coverage]| sight(coverage, Some(&here), from, until).map(|_| ());
        let whole = entry("RHM", &[], date(2026, 1, 1), None);
        let late = entry("RN5", &[], date(2026, 6, 3), None);
        let ended = entry("RHM", &[], date(2026, 1, 1), Some(date(2026, 6, 2)));
        let again = entry("RHM", &[], date(2026, 6, 3), None);
        let after_a_day = entry("RHM", &[], date(2026, 6, 4), None);
        assert_eq!(check(std::slice::from_ref(&whole)), Ok(()));
        assert_eq!(check(&[whole, late]), Err(Blind::PartlyCovered));
        assert_eq!(check(std::slice::from_ref(&ended)), Err(Blind::PartlyCovered));
        assert_eq!(check(&[ended.clone(), again]), Ok(()));
        assert_eq!(check(&[ended, after_a_day]), Err(Blind::PartlyCovered));
    }

    #[test]
    fn home_days_leave_out_unfilled_gaps_and_days_before_the_home_was_live() {
        let coverage = [entry("RHM", &[], date(2026, 1, 1), None)];
        let mut here = home("SO14 7DU");
        here.live_from = Some(at(date(2026, 6, 2)));
        let homes = [here];
        let gap = |filled| FeedGap {
            feed_stream: hearthline_nhs::StreamId::from_bytes([1; 16]),
            gap_id: hearthline_nhs::StreamId::from_bytes([2; 16]),
            feed: "south".to_owned(),
            facility_ods: "RHM".to_owned(),
            from_at: at(date(2026, 6, 3)),
            until_at: Some(at(date(2026, 6, 3)) + 1),
            closed_at: Some(at(date(2026, 6, 3)) + 1),
            filled,
            back_fill_until: None,
        };
        let (first, last) = (date(2026, 6, 1), date(2026, 6, 7));
        assert_eq!(home_days(&coverage, &homes, &[], first, last), (6, 6));
        assert_eq!(home_days(&coverage, &homes, &[gap(false)], first, last), (5, 6));
        assert_eq!(home_days(&coverage, &homes, &[gap(true)], first, last), (6, 6));
        assert_eq!(home_days(&[], &homes, &[], first, last), (0, 6));
    }
}
