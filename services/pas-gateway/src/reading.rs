//! From an HL7 message to what the gateway asks of it, or to the reason why it can never be taken.
//!
//! A message is dispatched on MSH-9.1 and MSH-9.2 alone: EVN-1 and MSH-9.3 contradict them in real feeds. Which field holds what, and
//! what local codes stand for, is the profile's ([`crate::profile`]).

mod clock;
mod coded;
mod patient;

pub(crate) use clock::zone;
pub use coded::{attendance_source, code};
pub use patient::{DEATH_CONTRADICTED, Death, LocalId, Merged, Patient, chosen_number};

use crate::domain::{Details, Moment, Order, Report, Reported, VisitClass};
use crate::national::Item;
use crate::peer::Peer;
use crate::profile::Profile;
use clock::Clock;
use coded::Coded;
use hearthline_interop::hl7v2::{AckCode, Adt, ErrorCode, ErrorDetail, ErrorLocation, Field, Message, ProcessingId, Trigger};
use hearthline_nhs::{DateOfBirth, NhsNumber, london_date};
use jiff::civil::Date;

/// Why a message is answered AE or AR: it would be refused again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub code: AckCode,
    pub error: ErrorDetail,
    /// Without personal data: senders log it.
    pub text: &'static str,
}

impl Refusal {
    pub const fn of(code: AckCode, error: ErrorCode, at: (&'static str, Option<u16>), text: &'static str) -> Self {
        Refusal { code, error: ErrorDetail { code: error, location: Some(ErrorLocation { segment: at.0, sequence: 1, field: at.1 }) }, text }
    }
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matter {
    Visit(Report),
    /// A34, A40, A47: [`Reading::merged`].
    Merge,
    /// An update of the person that says they died.
    Person,
    /// Nothing that is interpreted here; the reason for counts.
    Nothing(&'static str),
}

/// A message as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub peer: Peer,
    pub control_id: String,
    pub trigger: String,
    pub matter: Matter,
    pub patient: Patient,
    /// What tells the visit from others: its number, or patient and time of admission. Not for logs.
    pub visit: Option<VisitName>,
    /// A42, A45: the visit (MRG-5) that becomes part of `visit`, or goes by another number from now on.
    pub retired_visit: Option<VisitName>,
    /// A visit without a number is named by these: the key of the patient, which merges may have changed, and the admission in µs UTC.
    pub admission: Option<(String, i64)>,
    /// What else the patient of such a visit is called: another message may name it by that.
    pub also_called: Vec<String>,
    /// A40 may merge several.
    pub merged: Vec<Merged>,
    /// DISCHARGE DESTINATION; empty when not sent or not a national code.
    pub destination: String,
    pub at: Moment,
    pub order: Order,
    pub nhs_number_status: String,
    /// Which fields were passed over because they do not hold what they should; for the row.
    pub unread: Vec<&'static str>,
}

/// A visit's name within its facility; personal, in memory only.
#[derive(Clone, PartialEq, Eq)]
pub struct VisitName(pub String);

impl VisitName {
    pub fn numbered(number: &str) -> Self {
        VisitName(format!("number\0{number}"))
    }

    /// By patient, whatever stands for them once merges are followed, and time of admission in µs UTC.
    pub fn by_admission(patient_key: &str, at_us: i64) -> Self {
        VisitName(format!("admission\0{patient_key}\0{at_us}"))
    }
}

impl std::fmt::Debug for VisitName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VisitName(redacted)")
    }
}

impl Reading {
    /// The report on the visit, where there is one.
    pub fn reported(&self) -> Option<Reported> {
        let Matter::Visit(report) = &self.matter else { return None };
        Some(Reported {
            feed: self.peer.name.clone(),
            facility: self.peer.facility_ods.to_string(),
            trigger: self.trigger.clone(),
            at: self.at.clone(),
            order: self.order,
            nhs_number_status: self.nhs_number_status.clone(),
            report: report.clone(),
        })
    }

    /// The NHS numbers of all whom it names.
    pub fn numbers(&self) -> impl Iterator<Item = &NhsNumber> {
        let merged = self.merged.iter().flat_map(|merged| merged.nhs_number.iter().chain(&merged.retired_numbers));
        self.patient.nhs_number.iter().chain(merged)
    }

    /// The day of a death: a discharge as died that has no date of death happened on the day of the discharge.
    pub fn died_on(&self) -> Option<Date> {
        let of_discharge = matches!(&self.matter, Matter::Visit(Report::Discharge { died: true, .. }));
        let discharged = of_discharge.then(|| london_date(self.at.at_us).ok()).flatten();
        self.patient.death.and_then(|death| death.on.or(discharged))
    }

    /// SOURCE OF ADMISSION, where the message has one.
    pub fn source(&self) -> &str {
        match &self.matter {
            Matter::Visit(report) => report.details().map_or("", |details| &details.source),
            Matter::Merge | Matter::Person | Matter::Nothing(_) => "",
        }
    }
}

/// MSH-4 names nobody who may send.
pub const UNKNOWN_FACILITY: Refusal = Refusal::of(
    AckCode::ApplicationReject,
    ErrorCode::TableValueNotFound,
    ("MSH", Some(4)),
    "MSH-4 names no facility that this receiver knows: send the ODS code that was agreed on",
);

/// HL7 2.5.1, chapter 2.14.9.10; up to 2.4 it is 20, which few keep to.
const CONTROL_ID_CHARACTERS: usize = 199;

/// Whether MSH-11 is the environment's.
pub fn environment(message: &Message<'_>, live_only: bool) -> Result<(), Refusal> {
    if live_only && Adt::of(message).processing_id() != ProcessingId::Production {
        let text = "MSH-11 must be P: this receiver takes live messages only";
        return Err(Refusal::of(AckCode::ApplicationReject, ErrorCode::UnsupportedProcessingId, ("MSH", Some(11)), text));
    }
    Ok(())
}

/// Reads a message of a peer, whatever facility it names, by a profile.
pub fn read_by(message: &Message<'_>, peer: &Peer, profile: &Profile) -> Result<Reading, Refusal> {
    read_received(message, peer, profile, None)
}

/// The same of a message that was received then, in µs: it says which hour is meant where the clocks show one twice.
pub fn read_received(message: &Message<'_>, peer: &Peer, profile: &Profile, received_at: Option<i64>) -> Result<Reading, Refusal> {
    use AckCode::{ApplicationError as Ae, ApplicationReject as Ar};
    let adt = Adt::of(message);
    if !adt.is_adt() {
        return Err(Refusal::of(Ar, ErrorCode::UnsupportedMessageType, ("MSH", Some(9)), "MSH-9 must be ADT: this receiver takes nothing else"));
    }
    let control_id = adt.control_id().ok_or(Refusal::of(Ae, ErrorCode::RequiredFieldMissing, ("MSH", Some(10)), "MSH-10 is missing"))?;
    if control_id.chars().count() > CONTROL_ID_CHARACTERS || control_id.chars().any(char::is_control) {
        let text = "MSH-10 is longer than 199 characters, or holds control characters";
        return Err(Refusal::of(Ae, ErrorCode::DataType, ("MSH", Some(10)), text));
    }
    if trigger_code(&adt).is_empty() {
        return Err(Refusal::of(Ae, ErrorCode::RequiredFieldMissing, ("MSH", Some(9)), "MSH-9.2 is missing: nothing says what happened"));
    }
    let clock = Clock::of(peer, profile, received_at);
    let at = match adt.visit_time() {
        Some(time) => clock.moment(&time),
        None => return Err(Refusal::of(Ae, ErrorCode::DataType, ("EVN", Some(2)), "no field holds a readable time of the event")),
    };
    let coded = Coded { message, profile };
    let death = patient::death(&adt, &coded, &clock);
    let matter = matter(&adt, &coded, death.as_ref())?;
    let needs_no_patient = matches!(matter, Matter::Nothing(_) | Matter::Person);
    let merges = if matches!(matter, Matter::Merge) { Adt::all(message) } else { Vec::new() };
    let is_nobody = |adt: &Adt<'_>| !adt.identifies_a_person() && adt.external_identifier().is_none();
    if !needs_no_patient && (is_nobody(&adt) || merges.iter().any(is_nobody)) {
        return Err(Refusal::of(Ae, ErrorCode::RequiredFieldMissing, ("PID", Some(3)), "PID-3 is missing"));
    }
    let (nhs_number, status) = patient::nhs_number(&adt, profile);
    let patient = patient::patient(&adt, &coded, nhs_number, death);
    let number = profile.raw(Item::VisitNumber, message);
    let prior = adt.prior_visit_id().map(|id| id.value);
    let is_of_two = matches!(adt.trigger(), Trigger::A42 | Trigger::A45);
    let is_visit = matches!(matter, Matter::Visit(_));
    let admission = admission(&adt, &patient, &matter, &at, &clock).filter(|_| is_visit && number.is_none());
    Ok(Reading {
        peer: peer.clone(),
        control_id: control_id.to_owned(),
        trigger: trigger_code(&adt),
        visit: match (number.or(prior.filter(|_| is_of_two)), &admission) {
            _ if !is_visit => None,
            (Some(number), _) => Some(VisitName::numbered(number)),
            (None, Some((key, at_us))) => Some(VisitName::by_admission(key, *at_us)),
            (None, None) => None,
        },
        retired_visit: prior.filter(|prior| is_of_two && number.is_some_and(|number| number != *prior)).map(VisitName::numbered),
        also_called: match &admission {
            Some((key, _)) => {
                let local = adt.identifiers().filter(|id| patient::number_of(id, profile).is_none());
                local.map(|id| LocalId::of(&id).key()).filter(|k| k != key).collect()
            }
            None => Vec::new(),
        },
        admission,
        merged: merges.iter().map(|merge| Merged::of(merge, profile)).collect(),
        destination: coded.national(Item::DischargeDestination),
        matter,
        unread: unread(&adt, &patient, &clock),
        patient,
        at,
        order: clock.order(&adt),
        nhs_number_status: status.map(|s| s.code().to_owned()).unwrap_or_default(),
    })
}

fn matter(adt: &Adt<'_>, coded: &Coded<'_>, death: Option<&Result<Death, ()>>) -> Result<Matter, Refusal> {
    let code = trigger_code(adt);
    if let Some(why) = coded.profile.ignored.get(&code) {
        return Ok(Matter::Nothing(why));
    }
    let has_visit = coded.message.segment("PV1").is_some();
    let visit = |report: Report| {
        if has_visit {
            Ok(Matter::Visit(report))
        } else {
            Err(Refusal::of(AckCode::ApplicationError, ErrorCode::RequiredFieldMissing, ("PV1", None), "PV1 is missing"))
        }
    };
    let details = || coded.details(adt);
    let of_class = |class: VisitClass| {
        let said = coded.details(adt);
        Details { class: said.class.or(Some(class)), ..said }
    };
    Ok(match adt.trigger() {
        Trigger::A01 | Trigger::A04 if coded.is_pre_admission() => visit(Report::PreAdmission(details()))?,
        Trigger::A01 | Trigger::A04 => visit(Report::Opening(details()))?,
        Trigger::A05 => visit(Report::PreAdmission(Details { class: None, ..details() }))?,
        Trigger::A02 => visit(Report::Transfer(details()))?,
        Trigger::A06 => visit(Report::Change(of_class(VisitClass::Inpatient)))?,
        Trigger::A07 => visit(Report::Change(of_class(VisitClass::Outpatient)))?,
        Trigger::A08 if has_visit && coded.profile.raw(Item::VisitNumber, coded.message).is_some() => Matter::Visit(Report::Change(details())),
        Trigger::A12 => visit(Report::CancelTransfer(details()))?,
        Trigger::A03 => {
            let destination = coded.national(Item::DischargeDestination);
            let method = coded.national(Item::DischargeMethod);
            let died = destination == "79" || method == "4" || matches!(death, Some(Ok(_)));
            visit(Report::Discharge { destination, method, died })?
        }
        Trigger::A11 => visit(Report::CancelAdmission)?,
        Trigger::A13 => visit(Report::CancelDischarge)?,
        Trigger::A38 => visit(Report::CancelPreAdmission)?,
        Trigger::A42 if adt.prior_visit_id().is_none() => return Err(missing_prior("MRG-5 is missing: it names the visit that goes", 5)),
        Trigger::A42 => visit(Report::Change(details()))?,
        Trigger::A45 => visit(Report::Move)?,
        Trigger::A34 | Trigger::A40 | Trigger::A47 => {
            if Adt::all(coded.message).iter().any(|merge| merge.discarded_identifiers().next().is_none()) {
                return Err(missing_prior("MRG-1 is missing: it names the identifiers that go", 1));
            }
            Matter::Merge
        }
        Trigger::A08 | Trigger::A28 | Trigger::A31 => match death {
            Some(Ok(_)) => Matter::Person,
            Some(Err(())) => Matter::Nothing(DEATH_CONTRADICTED),
            None if adt.trigger() == Trigger::A08 => Matter::Nothing("a person's details, and no visit that has a number"),
            None => Matter::Nothing("a person's details, which the directory keeps"),
        },
        Trigger::Other(_) => Matter::Nothing(match code.as_str() {
            "A09" | "A10" => "a departure or an arrival, which changes no visit here",
            "A14" | "A15" | "A16" | "A25" | "A26" | "A27" => "something that is only expected",
            "A20" => "a bed, and nobody's visit",
            "A21" | "A22" | "A52" | "A53" => "leave, which ends no visit",
            "A24" | "A37" => "a link between records, which is no merge",
            _ => "an event that is not interpreted",
        }),
    })
}

fn missing_prior(text: &'static str, field: u16) -> Refusal {
    Refusal::of(AckCode::ApplicationError, ErrorCode::RequiredFieldMissing, ("MRG", Some(field)), text)
}

/// Patient and time of admission. An opening without PV1-44 began when it says it happened.
fn admission(adt: &Adt<'_>, patient: &Patient, matter: &Matter, at: &Moment, clock: &Clock<'_>) -> Option<(String, i64)> {
    let admitted = adt.pv1(44).component(1).code().and_then(|raw| clock.parse(raw).ok()).map(|t| t.instant_us);
    let admitted = admitted.or(matches!(matter, Matter::Visit(Report::Opening(_))).then_some(at.at_us));
    admitted.filter(|_| !patient.key.is_empty()).map(|at_us| (patient.key.clone(), at_us))
}

/// Names fields and never values.
fn unread(adt: &Adt<'_>, patient: &Patient, clock: &Clock<'_>) -> Vec<&'static str> {
    let is_no_time = |field: Field<'_>| field.component(1).code().is_some_and(|raw| clock.parse(raw).is_err());
    let is_no_death = adt.pid(29).component(1).code().is_some_and(|raw| clock.parse(raw).is_err() && DateOfBirth::parse(raw).is_err());
    [
        ("MSH-7 holds no time", is_no_time(adt.msh(7))),
        ("EVN-2 holds no time", is_no_time(adt.evn(2))),
        ("EVN-6 holds no time", is_no_time(adt.evn(6))),
        ("PV1-44 holds no time", is_no_time(adt.pv1(44))),
        ("PV1-45 holds no time", is_no_time(adt.pv1(45))),
        ("PV2-8 holds no time", is_no_time(adt.pv2(8))),
        ("PID-29 holds no time", is_no_death),
        ("PID-7 holds no date of birth", adt.pid(7).component(1).code().is_some() && patient.date_of_birth.is_none()),
        ("the check digit of the NHS number is wrong (PID-3, PID-2)", patient.nhs_number.is_none() && !adt.nhs_number_candidates().is_empty()),
    ]
    .into_iter()
    .filter_map(|(text, is_so)| is_so.then_some(text))
    .collect()
}

/// Three characters at most travel on: MSH-9.2 may hold anything.
pub(crate) fn trigger_code(adt: &Adt<'_>) -> String {
    adt.trigger().code().chars().filter(char::is_ascii_alphanumeric).take(3).collect()
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
