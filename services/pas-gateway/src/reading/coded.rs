//! Local codes and words as the national ones, by the profile.

use crate::domain::{Arrival, DELETED, Details, VisitClass};
use crate::national::Item;
use crate::profile::{EmergencyA01, Profile};
use hearthline_interop::hl7v2::{Adt, Message, PatientClass, Trigger};
use hearthline_nhs::{ArrivalMode, OdsCode, Sctid};

/// A message with the profile that it is read by.
pub(super) struct Coded<'m> {
    pub(super) message: &'m Message<'m>,
    pub(super) profile: &'m Profile,
}

impl Coded<'_> {
    /// The national code: the profile's table first, then the value itself where it is one. Local text must not travel.
    pub(super) fn national(&self, item: Item) -> String {
        let Some(raw) = self.profile.raw(item, self.message) else { return String::new() };
        code(self.profile, item, raw).unwrap_or_default()
    }

    /// The same; or that the sender deletes what it said before.
    fn changed(&self, item: Item) -> String {
        if self.profile.deletes(item, self.message) { DELETED.to_owned() } else { self.national(item) }
    }

    pub(super) fn details(&self, adt: &Adt<'_>) -> Details {
        let arrival = self.profile.raw(Item::ArrivalMode, self.message).unwrap_or_default();
        let site = self.profile.raw(Item::Site, self.message).and_then(|site| OdsCode::parse(site).ok());
        Details {
            class: self.class(adt),
            admission_method: self.changed(Item::AdmissionMethod),
            source: self.changed(Item::SourceOfAdmission),
            site: site.map(|site| site.to_string()).unwrap_or_default(),
            arrival: arrival_of(self.profile, arrival),
            // A SNOMED id or a code of a few characters; no sentence.
            arrival_code: if arrival.len() <= 18 && arrival.bytes().all(|b| b.is_ascii_alphanumeric()) { arrival.to_owned() } else { String::new() },
        }
    }

    fn class(&self, adt: &Adt<'_>) -> Option<VisitClass> {
        match class_word(self.profile, self.profile.raw(Item::Class, self.message)?)? {
            "emergency" if adt.trigger() == Trigger::A01 && self.profile.emergency_a01 == EmergencyA01::Admission => Some(VisitClass::Inpatient),
            "emergency" => Some(VisitClass::Emergency),
            "inpatient" => Some(VisitClass::Inpatient),
            "outpatient" => Some(VisitClass::Outpatient),
            "other" => Some(VisitClass::Other),
            _ => None,
        }
    }

    pub(super) fn is_pre_admission(&self) -> bool {
        self.profile.raw(Item::Class, self.message).and_then(|raw| class_word(self.profile, raw)) == Some("pre-admission")
    }
}

/// The national code that a value is or stands for.
pub fn code(profile: &Profile, item: Item, raw: &str) -> Option<String> {
    if let Some(mapped) = profile.mapped(item, raw) {
        return Some(mapped.to_owned());
    }
    match item {
        Item::Class => class_word(profile, raw).map(str::to_owned),
        Item::ArrivalMode => match arrival_of(profile, raw) {
            Arrival::Ambulance => Some("ambulance".to_owned()),
            Arrival::Other => Some("other".to_owned()),
            Arrival::Unknown => None,
        },
        Item::Site => OdsCode::parse(raw).ok().map(|site| site.to_string()),
        Item::AdmissionMethod | Item::SourceOfAdmission | Item::DischargeDestination | Item::DischargeMethod => {
            let upper = raw.trim().to_ascii_uppercase();
            item.codes().iter().find(|code| **code == upper).map(|code| (*code).to_owned())
        }
        Item::VisitNumber | Item::Uprn => Some(raw.to_owned()),
    }
}

fn class_word<'p>(profile: &'p Profile, raw: &str) -> Option<&'p str> {
    if let Some(mapped) = profile.mapped(Item::Class, raw) {
        return Some(mapped);
    }
    match PatientClass::of(raw) {
        PatientClass::Emergency => Some("emergency"),
        PatientClass::Inpatient | PatientClass::DayCase | PatientClass::Obstetrics => Some("inpatient"),
        PatientClass::Outpatient | PatientClass::Recurring => Some("outpatient"),
        PatientClass::Preadmit | PatientClass::WaitingList => Some("pre-admission"),
        PatientClass::Commercial | PatientClass::NotApplicable | PatientClass::Unknown | PatientClass::Unmapped(_) => None,
    }
}

fn arrival_of(profile: &Profile, raw: &str) -> Arrival {
    match profile.mapped(Item::ArrivalMode, raw) {
        Some("ambulance") => Arrival::Ambulance,
        Some("other") => Arrival::Other,
        Some(_) => Arrival::Unknown,
        None => match ArrivalMode::from_pv2_38(raw) {
            ArrivalMode::Ambulance => Arrival::Ambulance,
            ArrivalMode::Other => Arrival::Other,
            ArrivalMode::Unknown => Arrival::Unknown,
        },
    }
}

/// PV1-14 where an emergency department sends the ECDS attendance source there: a SNOMED CT id.
pub fn attendance_source<'m>(message: &'m Message<'_>, profile: &Profile) -> Option<&'m str> {
    profile.raw(Item::SourceOfAdmission, message).filter(|raw| raw.len() >= 6 && Sctid::parse(raw).is_ok())
}
