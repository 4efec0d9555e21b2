//! What a message would become, and why: for engineers who write a profile, without a store. And the interface sheet of a peer.
//!
//! Nothing personal is shown: numbers are masked, of a date of birth the year is kept, text that does not look like a code is counted, not shown.

use crate::domain::decide::decide;
use crate::domain::state::Visit;
use crate::domain::{Confidence, Report, Subject, VisitClass};
use crate::national::Item;
use crate::peer::Peer;
use crate::profile::{Profile, ProfileStatus};
use crate::reading::{self, DEATH_CONTRADICTED, Matter, Reading, Refusal};
use crate::receive::reply_code;
use hearthline_interop::hl7v2::{AckCode, Adt, Clock, ErrorCode, Hl7Time, Message, TimeSource, looks_like_code};
use hearthline_nhs::{NhsNumber, ResidentId};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a profile's tests may expect something of.
pub const KEYS: &[&str] = &[
    "acknowledgement",
    "admission-method",
    "arrival-mode",
    "at",
    "at-from",
    "attendance-source",
    "class",
    "date-of-birth",
    "death",
    "discharge-destination",
    "discharge-method",
    "events",
    "matter",
    "nhs-number",
    "nhs-number-status",
    "site",
    "source-of-admission",
    "trigger",
    "visit",
    "why",
];

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub profile: String,
    /// Says so where no message of such a system was ever tried.
    pub profile_status: ProfileStatus,
    pub header: Header,
    pub who: Who,
    /// What the trigger means.
    pub meaning: &'static str,
    /// attendance, admission, pre-admission, transfer, …; refused or nothing.
    pub matter: &'static str,
    /// Why it is refused, or why nothing is made of it; empty otherwise.
    pub why: String,
    pub time: Option<Time>,
    pub fields: Vec<FieldRead>,
    /// What tells the visit from others.
    pub visit: &'static str,
    pub death: String,
    /// The events of a visit of which nothing else is known, were the patient a resident.
    pub events: Vec<&'static str>,
    pub warnings: Vec<String>,
    /// MSA-1 and what goes with it.
    pub acknowledgement: String,
    pub error: Option<String>,
    /// Not shown: for a profile's tests, whose patients are made up.
    #[serde(skip)]
    pub date_of_birth: String,
    #[serde(skip)]
    pub attendance_source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Header {
    pub message_type: String,
    pub trigger: String,
    pub control_id: String,
    pub sending_application: String,
    pub sending_facility: String,
    pub processing_id: String,
    pub version: String,
    pub character_set: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Who {
    /// Masked: its last four digits.
    pub nhs_number: String,
    pub chosen_by: &'static str,
    /// NHS NUMBER STATUS INDICATOR CODE; only 01 is verified.
    pub nhs_number_status: String,
    pub born_in: String,
    /// How many identifiers PID-3 has.
    pub identifiers: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Time {
    pub at: String,
    pub zone: String,
    pub from: &'static str,
    pub raw: String,
    pub why: &'static str,
    pub ambiguous: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldRead {
    pub item: Item,
    pub path: String,
    pub raw: String,
    /// The national code; empty where the value is none and no table knows it.
    pub code: String,
    pub how: &'static str,
}

impl Explanation {
    /// What tests compare, by the names of [`KEYS`].
    pub fn facts(&self) -> BTreeMap<&'static str, String> {
        let mut facts: BTreeMap<&'static str, String> = self.fields.iter().map(|field| (field.item.name(), field.code.clone())).collect();
        facts.extend([
            ("acknowledgement", self.acknowledgement.clone()),
            ("matter", self.matter.to_owned()),
            ("why", self.why.clone()),
            ("trigger", self.header.trigger.clone()),
            ("nhs-number", self.who.nhs_number.clone()),
            ("nhs-number-status", self.who.nhs_number_status.clone()),
            ("date-of-birth", self.date_of_birth.clone()),
            ("attendance-source", self.attendance_source.clone()),
            ("visit", self.visit.to_owned()),
            ("death", self.death.clone()),
            ("events", self.events.join(", ")),
        ]);
        if let Some(time) = &self.time {
            facts.insert("at", time.at.clone());
            facts.insert("at-from", time.from.to_owned());
        }
        facts
    }
}

/// What a message of a peer would become. Environment and store are not asked.
pub fn explain(raw: &[u8], peer: &Peer, profile: &Profile) -> Explanation {
    let mut explanation = Explanation {
        profile: profile.name.clone(),
        profile_status: profile.status,
        header: Header::default(),
        who: Who::default(),
        meaning: "",
        matter: "refused",
        why: String::new(),
        time: None,
        fields: Vec::new(),
        visit: "",
        death: String::new(),
        events: Vec::new(),
        warnings: Vec::new(),
        acknowledgement: String::new(),
        error: None,
        date_of_birth: String::new(),
        attendance_source: String::new(),
    };
    if profile.status == ProfileStatus::Unverified {
        explanation.warnings.push(format!("profile {} is unverified: it was never tried with a message of such a system", profile.name));
    }
    let message = match peer.parse(raw) {
        Ok(message) => message,
        Err(why) => {
            explanation.why = why.to_string();
            explanation.acknowledgement = AckCode::ApplicationReject.code().to_owned();
            return explanation;
        }
    };
    let adt = Adt::of(&message);
    explanation.header = header(&adt, &message);
    explanation.meaning = meaning(&explanation.header.trigger);
    explanation.fields = fields(&message, profile, &mut explanation.warnings);
    explanation.attendance_source = reading::attendance_source(&message, profile).unwrap_or_default().to_owned();
    explanation.who = who(&adt, profile);
    explanation.date_of_birth = adt.birth_date().map(|date| date.to_string()).unwrap_or_default();
    if message.is_mislabelled() {
        explanation.warnings.push("MSH-18 and the bytes disagree on the character set".to_owned());
    }
    let facility = adt.sending_facility().unwrap_or_default();
    let is_named = peer.is_sender(facility) || peer.sending_facilities.iter().any(|named| named == facility);
    let read = if is_named { reading::read_by(&message, peer, profile) } else { Err(reading::UNKNOWN_FACILITY) };
    match read {
        Ok(reading) => accepted(&mut explanation, &message, &reading, peer),
        Err(refusal) => refused(&mut explanation, &message, &refusal, peer),
    }
    explanation
}

fn refused(explanation: &mut Explanation, message: &Message<'_>, refusal: &Refusal, peer: &Peer) {
    refusal.text.clone_into(&mut explanation.why);
    explanation.acknowledgement = reply(peer, message, refusal.code).to_owned();
    let at = refusal.error.location.map(|at| at.field.map_or(at.segment.to_owned(), |field| format!("{}-{field}", at.segment)));
    explanation.error = Some(format!("{} at {}", error_number(refusal.error.code), at.unwrap_or_default()));
}

fn accepted(explanation: &mut Explanation, message: &Message<'_>, reading: &Reading, peer: &Peer) {
    explanation.acknowledgement = reply(peer, message, AckCode::ApplicationAccept).to_owned();
    explanation.matter = matter(&reading.matter, &reading.trigger);
    explanation.warnings.extend(reading.unread.iter().map(|unread| format!("{unread}: it is left out")));
    explanation.time = time(&Adt::of(message), reading, &mut explanation.warnings);
    let resident = Subject::Resident { id: ResidentId::from_bytes([1; 16]), home: None, confidence: Confidence::High };
    match &reading.matter {
        Matter::Nothing(why) => (*why).clone_into(&mut explanation.why),
        Matter::Person => explanation.events = vec!["DeathReported"],
        Matter::Merge => explanation.why = "PatientsMerged follows where both records are residents'".to_owned(),
        Matter::Visit(_) => {
            explanation.visit = match (&reading.visit, &reading.admission) {
                (Some(_), Some(_)) => "patient and time of admission",
                (Some(_), None) => "visit number",
                (None, _) => "nothing",
            };
            if let Some(reported) = reading.reported() {
                match decide(&Visit::default(), &reported, Some(&resident)) {
                    Ok(events) => explanation.events = events.iter().map(crate::domain::events::Event::name).collect(),
                    Err(rejection) => rejection.why().clone_into(&mut explanation.why),
                }
            }
            if explanation.visit != "visit number" {
                let what = if reading.visit.is_some() { "the visit goes by patient, facility and time of admission" } else { "the message names no visit" };
                explanation.warnings.push(format!("no visit number was sent: {what}"));
            }
        }
    }
    if reading.patient.death_contradicted {
        DEATH_CONTRADICTED.clone_into(&mut explanation.death);
        explanation.warnings.push(DEATH_CONTRADICTED.to_owned());
    } else if let Some(death) = reading.patient.death {
        death.signal.clone_into(&mut explanation.death);
    }
}

fn header(adt: &Adt<'_>, message: &Message<'_>) -> Header {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    Header {
        message_type: text(adt.message_code()),
        trigger: reading::trigger_code(adt),
        control_id: text(adt.control_id()),
        sending_application: text(adt.sending_application()),
        sending_facility: text(adt.sending_facility()),
        processing_id: text(message.field("MSH", 11).component(1).code()),
        version: text(adt.version()),
        character_set: message.charset().to_owned(),
    }
}

fn who(adt: &Adt<'_>, profile: &Profile) -> Who {
    let (number, chosen_by, status) = reading::chosen_number(adt, profile);
    Who {
        nhs_number: number.as_ref().map(masked).unwrap_or_default(),
        chosen_by,
        nhs_number_status: status.map(|s| s.code().to_owned()).unwrap_or_default(),
        born_in: adt.birth_date().map(|date| date.year().to_string()).unwrap_or_default(),
        identifiers: adt.identifiers().count(),
    }
}

fn masked(number: &NhsNumber) -> String {
    format!("*** *** {}", &number.as_str()[6..])
}

fn fields(message: &Message<'_>, profile: &Profile, warnings: &mut Vec<String>) -> Vec<FieldRead> {
    let mut read = Vec::new();
    for item in Item::ALL {
        let (Some(path), Some(raw)) = (profile.path(item), profile.raw(item, message)) else { continue };
        let code = reading::code(profile, item, raw).unwrap_or_default();
        let is_snomed_source = item == Item::SourceOfAdmission && reading::attendance_source(message, profile).is_some();
        let is_mapped = profile.mapped(item, raw).is_some();
        let is_known = is_mapped || (!code.is_empty() && !item.codes().is_empty());
        let how = match (is_mapped, code.is_empty()) {
            (true, _) => "the profile's table",
            (false, false) if item.codes().is_empty() => "as sent",
            (false, false) => "a national code",
            (false, true) if is_snomed_source => "an ECDS attendance source, which is no source of admission",
            (false, true) => {
                warnings.push(format!(
                    "{} {} holds a value that is no {} and that no table knows: it is left out",
                    path.as_str(),
                    shown(item, raw, false),
                    item.name()
                ));
                "not known"
            }
        };
        let code = match item.is_personal() {
            true => String::new(),
            false if is_known => code,
            false => code_or_length(&code),
        };
        read.push(FieldRead { item, path: path.as_str().to_owned(), raw: shown(item, raw, is_known), code, how });
    }
    read
}

/// What does not look like a code may be about a person, unless a table knows it.
pub(crate) fn shown(item: Item, raw: &str, is_known: bool) -> String {
    if item.is_personal() {
        let end: String = raw.chars().rev().take(2).collect::<Vec<_>>().into_iter().rev().collect();
        return format!("…{end}");
    }
    if is_known { raw.to_owned() } else { code_or_length(raw) }
}

/// A value in the place of a code: as it is where it looks like one.
pub(crate) fn code_or_length(raw: &str) -> String {
    if looks_like_code(raw) { raw.to_owned() } else { of_length(raw) }
}

pub(crate) fn of_length(raw: &str) -> String {
    format!("(text of {} characters)", raw.chars().count())
}

fn time(adt: &Adt<'_>, reading: &Reading, warnings: &mut Vec<String>) -> Option<Time> {
    let found = adt.visit_time()?;
    let (from, why) = match found.source {
        TimeSource::Admitted => ("PV1-44", "the time of admission, which this trigger goes by"),
        TimeSource::Discharged => ("PV1-45", "the time of discharge, which this trigger goes by"),
        TimeSource::ExpectedAdmission => ("PV2-8", "the expected admission, which this trigger goes by"),
        TimeSource::EventOccurred => ("EVN-6", "when the event occurred"),
        TimeSource::EventRecorded => ("EVN-2", "when the event was recorded: nothing nearer to it was sent"),
        TimeSource::MessageSent => ("MSH-7", "when the message was sent: nothing nearer to the event was"),
    };
    if reading.at.ambiguous {
        warnings.push(format!("{from} lies in the hour that the clock showed twice and states no offset: the first of the two is taken"));
    }
    if Hl7Time::parse(found.time.raw).is_ok_and(|time| time.clock == Clock::Nonexistent) && reading.at.zone == "Europe/London" {
        warnings.push(format!("{from} lies in the hour that the clock left out: it is taken as an hour later"));
    }
    if found.passed_over_malformed {
        warnings.push(format!("a field that goes before {from} holds something that is no time"));
    }
    let at = jiff::Timestamp::from_microsecond(reading.at.at_us).map(|at| at.to_string()).unwrap_or_default();
    Some(Time { at, zone: reading.at.zone.clone(), from, raw: found.time.raw.to_owned(), why, ambiguous: reading.at.ambiguous })
}

fn matter(matter: &Matter, trigger: &str) -> &'static str {
    match matter {
        Matter::Visit(report) => match report {
            Report::Opening(details) if details.class == Some(VisitClass::Emergency) => "attendance",
            Report::Opening(details) if details.class == Some(VisitClass::Outpatient) => "registration",
            Report::Opening(_) => "admission",
            Report::PreAdmission(_) => "pre-admission",
            Report::Change(_) if trigger == "A42" => "merge of visits",
            Report::Change(_) => "change",
            Report::Transfer(_) => "transfer",
            Report::CancelTransfer(_) => "cancelled transfer",
            Report::Discharge { .. } => "discharge",
            Report::CancelAdmission => "cancelled admission",
            Report::CancelPreAdmission => "cancelled pre-admission",
            Report::CancelDischarge => "cancelled discharge",
            Report::Move => "visit of another patient",
            Report::MergedAway => "merge of visits",
        },
        Matter::Merge => "merge",
        Matter::Person => "death",
        Matter::Nothing(_) => "nothing",
    }
}

/// HL7 UK A.3 (2010), as far as it matters here.
pub(crate) fn meaning(trigger: &str) -> &'static str {
    match trigger {
        "A01" => "admit to a bed, or an attendance where the class says so",
        "A02" => "transfer to another place",
        "A03" => "discharge, or the end of a visit",
        "A04" => "register somebody who is not admitted",
        "A05" => "pre-admit",
        "A06" => "an outpatient becomes an inpatient",
        "A07" => "an inpatient becomes an outpatient",
        "A08" => "update of a visit",
        "A11" => "the admission or attendance is cancelled",
        "A12" => "the transfer is cancelled: the place before holds again",
        "A13" => "the discharge is cancelled: the visit is open again",
        "A28" => "a person is added",
        "A31" => "a person is updated",
        "A34" | "A40" => "records of one person are merged: PID-3 stays, MRG-1 goes",
        "A38" => "the pre-admission is cancelled",
        "A42" => "visits are merged: PV1-19 stays, MRG-5 goes",
        "A45" => "a visit is moved to the patient of PID-3",
        "A47" => "an identifier changes: PID-3 stands for MRG-1",
        _ => "not interpreted here",
    }
}

/// MSA-1 of the reply, or `none`.
fn reply(peer: &Peer, message: &Message<'_>, plain: AckCode) -> &'static str {
    reply_code(Some(peer), message, plain).map_or("none", AckCode::code)
}

/// Table 0357.
fn error_number(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::SegmentSequence => "100 segment sequence error",
        ErrorCode::RequiredFieldMissing => "101 required field missing",
        ErrorCode::DataType => "102 data type error",
        ErrorCode::TableValueNotFound => "103 table value not found",
        ErrorCode::UnsupportedMessageType => "200 unsupported message type",
        ErrorCode::UnsupportedEvent => "201 unsupported event code",
        ErrorCode::UnsupportedProcessingId => "202 unsupported processing id",
        ErrorCode::UnsupportedVersion => "203 unsupported version id",
        ErrorCode::UnknownKey => "204 unknown key identifier",
        ErrorCode::DuplicateKey => "205 duplicate key identifier",
        ErrorCode::RecordLocked => "206 application record locked",
        ErrorCode::ApplicationInternal => "207 application internal error",
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
