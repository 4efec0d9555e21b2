//! What an ADT message says about the person: PID, PD1, MRG.

use std::borrow::Cow;

use jiff::civil::Date;

use super::adt::Adt;
use super::codes::AdministrativeSex;
use super::nhs_number::status_code;
use super::part::{Field, Repetition, Value};
use super::time::date_of_first_eight;

/// One CX identifier, `id^check^scheme^authority^type`. Values are trimmed, escapes unresolved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PatientIdentifier<'m> {
    /// CX-1.
    pub value: &'m str,
    /// CX-2: a check digit by the standard, the tracing status in some Welsh feeds.
    pub check_digit: Option<&'m str>,
    /// CX-4, first subcomponent.
    pub authority: Option<&'m str>,
    /// CX-5.
    pub id_type: Option<&'m str>,
}

impl<'m> PatientIdentifier<'m> {
    fn of(repetition: Repetition<'m>) -> Option<Self> {
        let [value, check_digit, _, authority, id_type] = repetition.codes();
        Some(Self { value: value?, check_digit, authority, id_type })
    }

    pub(super) fn first_of(field: Field<'m>) -> Option<Self> {
        Self::of(field.first())
    }

    /// Same value, and no qualifier that both carry differs: a merge often leaves out the authority or type that PID-3
    /// had.
    pub fn matches(&self, other: &Self) -> bool {
        let agree = |a: Option<&str>, b: Option<&str>| a.is_none() || b.is_none() || a == b;
        self.value == other.value && agree(self.authority, other.authority) && agree(self.id_type, other.id_type)
    }
}

impl std::fmt::Debug for PatientIdentifier<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PatientIdentifier({:?}, {:?})", self.authority, self.id_type)
    }
}

/// One XPN name, escapes resolved.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonName<'m> {
    /// XPN-1, first subcomponent.
    pub family: Option<Cow<'m, str>>,
    /// XPN-2.
    pub given: Option<Cow<'m, str>>,
    /// XPN-3.
    pub middle: Option<Cow<'m, str>>,
    /// XPN-5.
    pub prefix: Option<Cow<'m, str>>,
    /// XPN-7: none or `L` for the legal name; ITK adds `PREFERRED`, `PREVIOUS` and others.
    pub type_code: Option<&'m str>,
}

/// One XAD address, escapes resolved.
#[derive(Clone, PartialEq, Eq)]
pub struct Address<'m> {
    /// Components 1 to 4 that are not empty: street, other designation, town, county.
    pub lines: Vec<Cow<'m, str>>,
    /// Component 5, trimmed, otherwise as sent.
    pub postcode: Option<&'m str>,
    /// Component 6.
    pub country: Option<&'m str>,
    /// Component 7.
    pub type_code: Option<&'m str>,
}

macro_rules! opaque_debug {
    ($($part:ident),+) => {$(
        impl std::fmt::Debug for $part<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($part), "(..)"))
            }
        }
    )+};
}

opaque_debug!(PersonName, Address);

/// Everything in a message that says the patient has died. The three places contradict each other in real feeds (a
/// time of death beside an indicator of N), so any one of them is a signal that a person must reconcile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeathSignal<'m> {
    /// PID-29 as sent.
    pub time: Option<&'m str>,
    /// PID-30: `Y` or `N`.
    pub indicator: Option<bool>,
    /// PV1-36 is 79, died or stillborn.
    pub discharged_as_died: bool,
}

impl<'m> Adt<'m> {
    /// PID-3, every repetition that has a value.
    pub fn identifiers(&self) -> impl Iterator<Item = PatientIdentifier<'m>> + use<'m> {
        self.pid(3).repetitions().filter_map(PatientIdentifier::of)
    }

    /// PID-2.
    pub fn external_identifier(&self) -> Option<PatientIdentifier<'m>> {
        PatientIdentifier::of(self.pid(2).first())
    }

    /// MRG-1, every repetition that has a value: the identifiers that PID-3 replaces.
    pub fn discarded_identifiers(&self) -> impl Iterator<Item = PatientIdentifier<'m>> + use<'m> {
        self.mrg(1).repetitions().filter_map(PatientIdentifier::of)
    }

    /// PID-5, every repetition that has a part.
    pub fn names(&self) -> impl Iterator<Item = PersonName<'m>> + use<'m> {
        self.pid(5).repetitions().filter_map(|name| {
            let [family, given, middle, _, prefix, _, type_code] = name.components();
            let read = PersonName {
                family: family.decoded(),
                given: given.decoded(),
                middle: middle.decoded(),
                prefix: prefix.decoded(),
                type_code: type_code.code(),
            };
            (read.family.is_some() || read.given.is_some()).then_some(read)
        })
    }

    /// The name to use: the first without a type, else of type `L` or `CURRENT`, else the first.
    pub fn legal_name(&self) -> Option<PersonName<'m>> {
        let rank = |name: &PersonName<'_>| match name.type_code {
            None => 0,
            Some("L" | "CURRENT") => 1,
            Some(_) => 2,
        };
        self.names().min_by_key(rank)
    }

    /// PID-7, first eight digits only: a time of day behind them must not shift the date.
    pub fn birth_date(&self) -> Option<Date> {
        self.pid(7).value().text().and_then(date_of_first_eight)
    }

    /// PID-8.
    pub fn sex(&self) -> Option<AdministrativeSex<'m>> {
        self.pid(8).code().map(AdministrativeSex::of)
    }

    /// PID-11, every repetition that has a part.
    pub fn addresses(&self) -> impl Iterator<Item = Address<'m>> + use<'m> {
        self.pid(11).repetitions().filter_map(|address| {
            let read = Address {
                lines: (1..=4).filter_map(|number| address.component(number).decoded()).collect(),
                postcode: address.component(5).code(),
                country: address.component(6).code(),
                type_code: address.component(7).code(),
            };
            (!read.lines.is_empty() || read.postcode.is_some()).then_some(read)
        })
    }

    /// PID-29, PID-30 and PV1-36 together; `None` when none of them says so.
    pub fn death(&self) -> Option<DeathSignal<'m>> {
        let signal = DeathSignal {
            time: self.pid(29).code(),
            indicator: self.pid(30).code().and_then(yes_or_no),
            discharged_as_died: self.discharge_destination() == Some("79"),
        };
        let present = signal.time.is_some() || signal.indicator == Some(true) || signal.discharged_as_died;
        present.then_some(signal)
    }

    /// PID-31 is `Y`: a pseudo person, never to be matched on demographics.
    pub fn is_pseudo_person(&self) -> bool {
        self.pid(31).code().and_then(yes_or_no) == Some(true)
    }

    /// PID-32: two-digit tracing status of the NHS number, out of `NSTS02`, `PDS01` or `02`.
    pub fn nhs_number_status(&self) -> Option<&'m str> {
        self.pid(32).repetitions().find_map(|status| status.component(1).code().and_then(status_code))
    }

    /// The practice the patient is registered with: the first ODS practice code (a letter and five digits) in PD1-3 or
    /// PD1-4, which some systems swap.
    pub fn registered_practice(&self) -> Option<&'m str> {
        [(3, 3), (3, 1), (4, 3), (4, 1)].into_iter().filter_map(|(field, component)| self.pd1(field).component(component).code()).find(|code| {
            let bytes = code.as_bytes();
            bytes.len() == 6 && bytes[0].is_ascii_uppercase() && bytes[1..].iter().all(u8::is_ascii_digit)
        })
    }

    /// Whether PID-3 was sent at all, and with something in it.
    pub fn identifies_a_person(&self) -> bool {
        matches!(self.pid(3).value(), Value::Text(_))
    }
}

fn yes_or_no(code: &str) -> Option<bool> {
    match code {
        "Y" | "y" => Some(true),
        "N" | "n" => Some(false),
        _ => None,
    }
}
