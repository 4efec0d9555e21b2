//! Whether a patient's address is a care home's.
//!
//! A postcode alone is not enough: it covers some fifteen addresses. It counts with the home's name or first line beside it, or
//! with a source of admission that says "care home" (NHS Data Dictionary: 54, 65, 85). Many residents are coded 19, usual
//! residence, so the absence of such a code says nothing.

use super::{Confidence, ResolverRule, Subject};
use hearthline_nhs::{HomeId, Postcode, SourceOfAdmission};

/// A home as far as addresses go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeAddress {
    pub id: HomeId,
    pub name: String,
    pub first_line: String,
    pub postcode: Postcode,
}

/// An address out of a message.
#[derive(Clone, PartialEq, Eq)]
pub struct PatientAddress {
    pub lines: Vec<String>,
    pub postcode: Option<Postcode>,
}

impl std::fmt::Debug for PatientAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PatientAddress(redacted)")
    }
}

/// The one home that an address is, if it is one's.
pub fn home_at(address: &PatientAddress, source: &str, homes: &[HomeAddress]) -> Option<Subject> {
    let postcode = address.postcode.as_ref().filter(|p| !p.is_pseudo())?;
    let there: Vec<&HomeAddress> = homes.iter().filter(|home| home.postcode == *postcode).collect();
    let words = comparable(&address.lines.join(" "));
    let agrees = |home: &&&HomeAddress| [&home.name, &home.first_line].into_iter().any(|line| holds(&words, &comparable(line)));
    let agreeing: Vec<&&HomeAddress> = there.iter().filter(agrees).collect();
    let is_care_home = SourceOfAdmission::parse(source).is_ok_and(SourceOfAdmission::is_care_home);
    match (agreeing.as_slice(), there.as_slice()) {
        ([home], _) => Some(Subject::Home { home: home.id, rule: ResolverRule::HomeAddress, confidence: Confidence::High }),
        ([], [home]) if is_care_home => Some(Subject::Home { home: home.id, rule: ResolverRule::CareHomeCode, confidence: Confidence::Medium }),
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
