//! Whom a message is about: identifiers, merges of them, and signals of death.

use super::clock::Clock;
use super::coded::Coded;
use crate::domain::place::{PatientAddress, is_uprn};
use crate::national::Item;
use crate::profile::{NumberRule, Profile};
use hearthline_interop::hl7v2::{Adt, NhsNumberRule, PatientIdentifier, Precision};
use hearthline_nhs::{DateOfBirth, NhsNumber, NhsNumberStatus, Postcode};
use jiff::civil::Date;
use std::collections::HashSet;

/// A death as a message has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    pub on: Option<Date>,
    pub at_us: Option<i64>,
    /// Which field says so, the strongest.
    pub signal: &'static str,
}

/// PID-29 has a time of death and PID-30 denies it: neither is believed, and the row says so.
pub const DEATH_CONTRADICTED: &str = "PID-29 has a time of death and PID-30 is N: a person must reconcile them";

/// An identifier that a facility gives to a patient; personal, in memory only.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalId {
    pub value: String,
    /// CX-4 and CX-5; MRG-1 often lacks what PID-3 has.
    pub authority: Option<String>,
    pub id_type: Option<String>,
}

impl LocalId {
    pub fn of(id: &PatientIdentifier<'_>) -> Self {
        LocalId { value: id.value.to_owned(), authority: id.authority.map(str::to_owned), id_type: id.id_type.map(str::to_owned) }
    }

    /// What tells a patient from others of the facility where no NHS number does: as [`Patient::key`] has it.
    pub fn key(&self) -> String {
        format!("{}\0{}", self.value, self.authority.as_deref().unwrap_or_default())
    }

    /// Same value, and no qualifier that both carry differs.
    pub fn matches(&self, other: &LocalId) -> bool {
        let agree = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        self.value == other.value && agree(&self.authority, &other.authority) && agree(&self.id_type, &other.id_type)
    }
}

impl std::fmt::Debug for LocalId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalId(redacted)")
    }
}

/// What a merge (A34, A40) or a change of identifier (A47) makes one within the facility: PID-3 stays, MRG-1 goes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// Of the record that stays.
    pub nhs_number: Option<NhsNumber>,
    pub date_of_birth: Option<DateOfBirth>,
    pub retired_numbers: Vec<NhsNumber>,
    /// Identifiers that are no NHS number.
    pub survivor: Vec<LocalId>,
    pub retired: Vec<LocalId>,
}

impl std::fmt::Debug for Merged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Merged(redacted)")
    }
}

impl Merged {
    pub(super) fn of(adt: &Adt<'_>, profile: &Profile) -> Self {
        let local =
            |ids: &mut dyn Iterator<Item = PatientIdentifier<'_>>| ids.filter(|id| number_of(id, profile).is_none()).map(|id| LocalId::of(&id)).collect();
        Merged {
            nhs_number: nhs_number(adt, profile).0,
            date_of_birth: date_of_birth(adt),
            retired_numbers: adt.discarded_identifiers().filter_map(|id| number_of(&id, profile)).collect(),
            survivor: local(&mut adt.identifiers()),
            retired: local(&mut adt.discarded_identifiers()),
        }
    }

    /// Alias edges, retired key → surviving key, for visits that are named by patient and admission. MRG-1 without an authority takes
    /// that of PID-3. An identifier into itself is no edge.
    pub fn edges(&self) -> Vec<(String, String)> {
        let numbers = self.nhs_number.iter().flat_map(|survivor| {
            self.retired_numbers.iter().filter(move |number| *number != survivor).map(|number| (number.as_str().to_owned(), survivor.as_str().to_owned()))
        });
        let Some(survivor) = self.survivor.first() else { return numbers.collect() };
        let qualified = |id: &LocalId| LocalId { authority: id.authority.clone().or_else(|| survivor.authority.clone()), ..id.clone() };
        let local = self.retired.iter().map(|id| (qualified(id).key(), survivor.key()));
        local.filter(|(retired, survivor)| retired != survivor).chain(numbers).collect()
    }
}

/// The patient, in memory only.
#[derive(Clone, PartialEq, Eq)]
pub struct Patient {
    pub nhs_number: Option<NhsNumber>,
    pub date_of_birth: Option<DateOfBirth>,
    pub addresses: Vec<PatientAddress>,
    pub death: Option<Death>,
    /// The signals of a death contradict each other: [`DEATH_CONTRADICTED`].
    pub death_contradicted: bool,
    /// What tells the patient from others of the facility: the NHS number, or the first identifier with its authority.
    pub key: String,
}

impl Patient {
    /// By what the homes are looked for where the patient may live (see [`PatientAddress::places`]), each once, postcodes first.
    pub fn places(&self) -> Vec<&str> {
        let mut places: Vec<&str> = self.addresses.iter().flat_map(PatientAddress::places).collect();
        places.sort_by_key(|place| is_uprn(place));
        let mut seen = HashSet::new();
        places.retain(|place| seen.insert(*place));
        places
    }
}

impl std::fmt::Debug for Patient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Patient(redacted)")
    }
}

/// The number by the profile's own rules, then by those that hold for all, with how far it is traced.
pub(super) fn nhs_number(adt: &Adt<'_>, profile: &Profile) -> (Option<NhsNumber>, Option<NhsNumberStatus>) {
    let (number, _, status) = chosen_number(adt, profile);
    (number, status)
}

/// The same, and which rule chose it.
pub fn chosen_number(adt: &Adt<'_>, profile: &Profile) -> (Option<NhsNumber>, &'static str, Option<NhsNumberStatus>) {
    let status = |text: Option<&str>| text.and_then(|s| NhsNumberStatus::parse(s).ok());
    for rule in &profile.nhs_number {
        if let Some(number) = adt.identifiers().filter(|id| is_named(rule, id)).find_map(|id| NhsNumber::parse(id.value).ok()) {
            return (Some(number), "PID-3, by authority and type that the profile names", status(adt.nhs_number_status()));
        }
    }
    match adt.nhs_number(|digits| NhsNumber::parse(digits).is_ok()) {
        Some(candidate) => {
            let why = match candidate.rule {
                NhsNumberRule::Type => "PID-3, by its type",
                NhsNumberRule::Authority => "PID-3, by its authority",
                NhsNumberRule::ExternalId => "PID-2",
            };
            (NhsNumber::parse(candidate.digits.as_str()).ok(), why, status(candidate.tracing_status.or(adt.nhs_number_status())))
        }
        None => (None, "no identifier is an NHS number", status(adt.nhs_number_status())),
    }
}

/// The NHS number that one identifier is, by the same rules.
pub(super) fn number_of(id: &PatientIdentifier<'_>, profile: &Profile) -> Option<NhsNumber> {
    let is_one = id.nhs_number_rule().is_some() || profile.nhs_number.iter().any(|rule| is_named(rule, id));
    NhsNumber::parse(id.value).ok().filter(|_| is_one)
}

fn is_named(rule: &NumberRule, id: &PatientIdentifier<'_>) -> bool {
    let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_ref().is_none_or(|w| found.is_some_and(|f| f.eq_ignore_ascii_case(w)));
    is(&rule.authority, id.authority) && is(&rule.id_type, id.id_type) && !id.is_of_another_space()
}

/// `Err`: the signals contradict each other.
pub(super) fn death(adt: &Adt<'_>, coded: &Coded<'_>, clock: &Clock<'_>) -> Option<Result<Death, ()>> {
    let signal = adt.death();
    let sent = signal.and_then(|s| s.time);
    let denied = adt.pid(30).component(1).code().is_some_and(|code| code.eq_ignore_ascii_case("N"));
    let of_destination = coded.national(Item::DischargeDestination) == "79";
    let of_method = coded.national(Item::DischargeMethod) == "4";
    let which = match (sent.is_some(), signal.and_then(|s| s.indicator) == Some(true)) {
        (true, _) if denied => return Some(Err(())),
        (true, _) => "PID-29 has a time of death",
        (false, true) => "PID-30 is Y",
        (false, false) if of_destination => "PV1-36 is 79",
        (false, false) if of_method => "DISCHARGE METHOD is 4",
        (false, false) => return None,
    };
    let time = sent.and_then(|time| clock.parse(time).ok());
    let on = sent.and_then(|time| DateOfBirth::parse(time).ok()).map(|day| day.date());
    Some(Ok(Death { on, at_us: time.filter(|t| t.precision > Precision::Day).map(|t| t.instant_us), signal: which }))
}

pub(super) fn patient(adt: &Adt<'_>, coded: &Coded<'_>, nhs_number: Option<NhsNumber>, death: Option<Result<Death, ()>>) -> Patient {
    let first = adt.identifiers().next().or_else(|| adt.external_identifier());
    let local = first.map(|id| LocalId::of(&id).key()).unwrap_or_default();
    let uprn = coded.profile.raw(Item::Uprn, coded.message).filter(|uprn| uprn.len() <= 12 && uprn.bytes().all(|b| b.is_ascii_digit()));
    let uprn = uprn.map(|uprn| uprn.trim_start_matches('0')).filter(|uprn| !uprn.is_empty());
    Patient {
        key: nhs_number.as_ref().map_or(local, |number| number.as_str().to_owned()),
        nhs_number,
        date_of_birth: date_of_birth(adt),
        addresses: adt
            .addresses()
            .enumerate()
            .map(|(n, a)| PatientAddress {
                lines: a.lines.iter().map(|line| line.to_string()).collect(),
                postcode: a.postcode.and_then(|p| Postcode::parse(p).ok()),
                // It is one field and says where the patient lives: the first address.
                uprn: uprn.filter(|_| n == 0).map(str::to_owned),
            })
            .collect(),
        death_contradicted: death == Some(Err(())),
        death: death.and_then(Result::ok),
    }
}

pub(super) fn date_of_birth(adt: &Adt<'_>) -> Option<DateOfBirth> {
    adt.birth_date().and_then(|date| DateOfBirth::from_date(date).ok())
}
