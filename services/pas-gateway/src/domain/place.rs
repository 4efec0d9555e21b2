//! Whether a patient lives in a care home, and how that is known.
//!
//! In this order: the home where the directory has a resident; an address that is a home's, by UPRN or by postcode and the home's name
//! or first line; a postcode that is one home's beside a code for a care home (NHS Data Dictionary: 54, 65, 85). A postcode alone is not
//! enough: it covers some fifteen addresses. Many residents are coded 19, usual residence, so the absence of such a code says nothing.

use super::{Confidence, ResolverRule, Subject};
use hearthline_nhs::{DischargeDestination, HomeId, Postcode, SourceOfAdmission};

/// A home as far as addresses go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeAddress {
    pub id: HomeId,
    pub name: String,
    pub first_line: String,
    pub postcode: Postcode,
    /// Unique property reference number without leading noughts, which some leave out; empty where the directory has none.
    pub uprn: String,
}

/// An address out of a message.
#[derive(Clone, PartialEq, Eq)]
pub struct PatientAddress {
    pub lines: Vec<String>,
    pub postcode: Option<Postcode>,
    /// Where the profile names a field for it, without leading noughts.
    pub uprn: Option<String>,
}

impl PatientAddress {
    /// By what a home at this address is looked for: the postcode, which no UPRN equals, and the UPRN.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.postcode.iter().filter(|postcode| !postcode.is_pseudo()).map(Postcode::as_str).chain(self.uprn.as_deref())
    }
}

/// Which of the two a place is.
pub fn is_uprn(place: &str) -> bool {
    place.bytes().all(|byte| byte.is_ascii_digit())
}

impl std::fmt::Debug for PatientAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PatientAddress(redacted)")
    }
}

/// The home of a patient, and on what ground.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub home: HomeId,
    pub rule: ResolverRule,
    pub confidence: Confidence,
    /// What agreed, without a value of the message.
    pub evidence: &'static str,
}

impl Place {
    /// For a visit that is kept without a person.
    pub fn subject(&self) -> Subject {
        Subject::Home { home: self.home, rule: self.rule, confidence: self.confidence }
    }
}

/// What of a message says where its patient lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signs<'a> {
    pub addresses: &'a [PatientAddress],
    /// SOURCE OF ADMISSION and DISCHARGE DESTINATION; empty when not sent.
    pub source: &'a str,
    pub destination: &'a str,
}

/// The home of a patient, by the first ground that holds. `registered`: the home where the directory has them, if they are a resident.
pub fn place(registered: Option<HomeId>, signs: &Signs<'_>, homes: &[HomeAddress]) -> Option<Place> {
    if let Some(home) = registered {
        return Some(Place { home, rule: ResolverRule::NhsNumber, confidence: Confidence::High, evidence: "the directory has the resident there" });
    }
    let mut found: Vec<Place> = signs.addresses.iter().filter_map(|address| place_at(address, signs, homes)).collect();
    // The strongest rule; of equal ones the address that was sent first.
    found.sort_by_key(|place| place.rule);
    found.into_iter().next()
}

fn place_at(address: &PatientAddress, signs: &Signs<'_>, homes: &[HomeAddress]) -> Option<Place> {
    let by_uprn: Vec<&HomeAddress> = homes.iter().filter(|home| address.uprn.as_ref() == Some(&home.uprn)).collect();
    if let [home] = by_uprn.as_slice() {
        return Some(Place { home: home.id, rule: ResolverRule::HomeUprn, confidence: Confidence::High, evidence: "the UPRN is the home's" });
    }
    let postcode = address.postcode.as_ref().filter(|p| !p.is_pseudo())?;
    let there: Vec<&HomeAddress> = homes.iter().filter(|home| home.postcode == *postcode).collect();
    let words = comparable(&address.lines.join(" "));
    let agrees = |home: &&&HomeAddress| [&home.name, &home.first_line].into_iter().any(|line| holds(&words, &comparable(line)));
    let agreeing: Vec<&&HomeAddress> = there.iter().filter(agrees).collect();
    let from_a_home = SourceOfAdmission::parse(signs.source).is_ok_and(SourceOfAdmission::is_care_home);
    let to_a_home = DischargeDestination::parse(signs.destination).is_ok_and(DischargeDestination::is_care_home);
    match (agreeing.as_slice(), there.as_slice()) {
        ([home], _) => Some(Place {
            home: home.id,
            rule: ResolverRule::HomeAddress,
            confidence: Confidence::High,
            evidence: "postcode and name or first line of PID-11 are the home's",
        }),
        ([], [home]) if from_a_home => Some(Place {
            home: home.id,
            rule: ResolverRule::CareHomeCode,
            confidence: Confidence::Medium,
            evidence: "the postcode of PID-11 is the home's, and the source of admission is a care home",
        }),
        ([], [home]) if to_a_home => Some(Place {
            home: home.id,
            rule: ResolverRule::HomePostcode,
            confidence: Confidence::Low,
            evidence: "the postcode of PID-11 is the home's, and the discharge destination is a care home",
        }),
        _ => None,
    }
}

/// Upper case, letters and digits only, words parted by one space: `Oak Lodge, 12 High St.` → `OAK LODGE 12 HIGH ST`.
fn comparable(text: &str) -> String {
    let spaced: String = text.replace(['\'', '’'], "").chars().map(|c| if c.is_alphanumeric() { c.to_ascii_uppercase() } else { ' ' }).collect();
    spaced
        .split_whitespace()
        .map(|word| {
            if word == "STREET" {
                "ST"
            } else if word == "ROAD" {
                "RD"
            } else {
                word
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whole words only, so that `12 HIGH ST` is not found in `112 HIGH ST`.
fn holds(words: &str, line: &str) -> bool {
    line.len() >= 4 && format!(" {words} ").contains(&format!(" {line} "))
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
