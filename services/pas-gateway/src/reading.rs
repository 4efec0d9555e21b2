//! From an HL7 message to what the gateway asks of it, or to the reason why it can never be taken.

use crate::domain::place::PatientAddress;
use crate::domain::{Arrival, Details, Moment, Order, Report, Reported, VisitClass};
use crate::peer::Peer;
use hearthline_interop::hl7v2::{
    AckCode, Adt, ErrorCode, ErrorDetail, ErrorLocation, Hl7Time, Hl7TimeError, Message, PatientClass, Precision, ProcessingId, Trigger, VisitTime, Zone,
};
use hearthline_nhs::{AdmissionMethod, ArrivalMode, DateOfBirth, DischargeDestination, NhsNumber, NhsNumberStatus, OdsCode, Postcode, SourceOfAdmission};
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
    const fn of(code: AckCode, error: ErrorCode, at: (&'static str, Option<u16>), text: &'static str) -> Self {
        Refusal { code, error: ErrorDetail { code: error, location: Some(ErrorLocation { segment: at.0, sequence: 1, field: at.1 }) }, text }
    }
}

/// A death as a message has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    pub on: Option<Date>,
    pub at_us: Option<i64>,
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matter {
    Visit(Report),
    /// A40, A34: the numbers of the record that goes.
    Merge {
        retired: Vec<NhsNumber>,
    },
    /// An update of the person that says they died.
    Person,
    /// Nothing that is interpreted here; the reason for counts.
    Nothing(&'static str),
}

/// The patient, in memory only.
#[derive(Clone, PartialEq, Eq)]
pub struct Patient {
    pub nhs_number: Option<NhsNumber>,
    pub date_of_birth: Option<DateOfBirth>,
    pub addresses: Vec<PatientAddress>,
    pub death: Option<Death>,
    /// What tells the patient from others of the facility: the NHS number, or the first identifier with its authority.
    pub key: String,
}

impl std::fmt::Debug for Patient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Patient(redacted)")
    }
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
    pub at: Moment,
    pub order: Order,
    pub nhs_number_status: String,
}

/// A visit's name within its facility; personal, in memory only.
#[derive(Clone, PartialEq, Eq)]
pub struct VisitName(pub String);

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

    /// SOURCE OF ADMISSION, where the message has one.
    pub fn source(&self) -> &str {
        match &self.matter {
            Matter::Visit(Report::Opening(details) | Report::Change(details)) => &details.source,
            _ => "",
        }
    }
}

/// Messages of one visit, or one patient, are taken in the order they came: this is what tells them apart, before any is read in full.
pub fn sequence_key(message: &Message<'_>) -> String {
    let adt = Adt::of(message);
    let facility = adt.sending_facility().unwrap_or_default();
    match adt.visit_id() {
        Some(visit) => format!("{facility}\0v\0{}", visit.value),
        None => format!("{facility}\0p\0{}", adt.pid(3).value().text().unwrap_or_default()),
    }
}

/// Reads a message of one of `peers`; `live_only` takes MSH-11 `P` and nothing else.
pub fn read(message: &Message<'_>, peers: &[Peer], live_only: bool) -> Result<Reading, Refusal> {
    use AckCode::{ApplicationError as Ae, ApplicationReject as Ar};
    let adt = Adt::of(message);
    if live_only && adt.processing_id() != ProcessingId::Production {
        return Err(Refusal::of(Ar, ErrorCode::UnsupportedProcessingId, ("MSH", Some(11)), "MSH-11 must be P: this receiver takes live messages only"));
    }
    let peer = adt.sending_facility().and_then(|facility| peer_of(facility, peers)).ok_or(Refusal::of(
        Ar,
        ErrorCode::TableValueNotFound,
        ("MSH", Some(4)),
        "MSH-4 names no facility that this receiver knows",
    ))?;
    if !adt.is_adt() {
        return Err(Refusal::of(Ar, ErrorCode::UnsupportedMessageType, ("MSH", Some(9)), "MSH-9 must be ADT: this receiver takes nothing else"));
    }
    let control_id = adt.control_id().ok_or(Refusal::of(Ae, ErrorCode::RequiredFieldMissing, ("MSH", Some(10)), "MSH-10 is missing"))?;
    let at = match when(&adt) {
        Some(time) => moment(&time),
        None => return Err(Refusal::of(Ae, ErrorCode::DataType, ("EVN", Some(2)), "no field holds a readable time of the event")),
    };
    let matter = matter(&adt, message)?;
    if matches!(matter, Matter::Visit(_) | Matter::Merge { .. }) && !adt.identifies_a_person() && adt.external_identifier().is_none() {
        return Err(Refusal::of(Ae, ErrorCode::RequiredFieldMissing, ("PID", Some(3)), "PID-3 is missing"));
    }
    let candidate = adt.nhs_number(|digits| NhsNumber::parse(digits).is_ok());
    let nhs_number = candidate.as_ref().and_then(|c| NhsNumber::parse(c.digits.as_str()).ok());
    let status = candidate.and_then(|c| c.tracing_status).or(adt.nhs_number_status());
    let patient = patient(&adt, nhs_number);
    let visit = visit_name(&adt, &patient, &matter, &at);
    Ok(Reading {
        peer: peer.clone(),
        control_id: control_id.to_owned(),
        trigger: trigger_code(&adt),
        matter,
        visit,
        patient,
        at,
        order: order(&adt),
        nhs_number_status: status.and_then(|s| NhsNumberStatus::parse(s).ok()).map(|s| s.code().to_owned()).unwrap_or_default(),
    })
}

/// The facility itself, or a site of it: NHS site codes are the trust's three characters and two more.
fn peer_of<'p>(facility: &str, peers: &'p [Peer]) -> Option<&'p Peer> {
    let facility = OdsCode::parse(facility).ok()?;
    let is = |peer: &&Peer| peer.facility_ods == facility;
    let is_site_of = |peer: &&Peer| {
        let trust = peer.facility_ods.as_str();
        trust.len() == 3 && facility.as_str().len() == 5 && facility.as_str().starts_with(trust)
    };
    peers.iter().find(is).or_else(|| peers.iter().find(is_site_of))
}

fn matter(adt: &Adt<'_>, message: &Message<'_>) -> Result<Matter, Refusal> {
    let has_visit = message.segment("PV1").is_some();
    let visit = |report: Report| {
        if has_visit {
            Ok(Matter::Visit(report))
        } else {
            Err(Refusal::of(AckCode::ApplicationError, ErrorCode::RequiredFieldMissing, ("PV1", None), "PV1 is missing"))
        }
    };
    let died = adt.death().is_some();
    match adt.trigger() {
        Trigger::A01 | Trigger::A04 => match adt.patient_class() {
            Some(PatientClass::Preadmit | PatientClass::WaitingList) => Ok(Matter::Nothing("not a visit yet")),
            _ => visit(Report::Opening(details(adt))),
        },
        Trigger::A02 | Trigger::A06 | Trigger::A07 => visit(Report::Change(details(adt))),
        Trigger::A08 if has_visit && adt.visit_id().is_some() => Ok(Matter::Visit(Report::Change(details(adt)))),
        Trigger::A03 => visit(Report::Discharge {
            destination: national(adt.discharge_destination(), |code| DischargeDestination::parse(code).map(|d| d.as_str().to_owned())),
            method: String::new(),
            died,
        }),
        Trigger::A11 => visit(Report::CancelAdmission),
        Trigger::A13 => visit(Report::CancelDischarge),
        Trigger::A34 | Trigger::A40 => {
            Ok(Matter::Merge { retired: adt.discarded_identifiers().filter_map(|identifier| NhsNumber::parse(identifier.value).ok()).collect() })
        }
        Trigger::A08 | Trigger::A28 | Trigger::A31 if died => Ok(Matter::Person),
        Trigger::A05
        | Trigger::A08
        | Trigger::A12
        | Trigger::A28
        | Trigger::A31
        | Trigger::A38
        | Trigger::A42
        | Trigger::A45
        | Trigger::A47
        | Trigger::Other(_) => Ok(Matter::Nothing("an event that is not interpreted")),
    }
}

fn details(adt: &Adt<'_>) -> Details {
    let code = adt.mode_of_arrival().filter(|code| code.len() <= 18 && code.bytes().all(|b| b.is_ascii_alphanumeric())).unwrap_or_default();
    Details {
        class: match adt.patient_class() {
            Some(PatientClass::Emergency) => Some(VisitClass::Emergency),
            Some(PatientClass::Inpatient | PatientClass::DayCase | PatientClass::Obstetrics) => Some(VisitClass::Inpatient),
            Some(PatientClass::Outpatient | PatientClass::Recurring) => Some(VisitClass::Outpatient),
            Some(
                PatientClass::Preadmit
                | PatientClass::WaitingList
                | PatientClass::Commercial
                | PatientClass::NotApplicable
                | PatientClass::Unknown
                | PatientClass::Unmapped(_),
            )
            | None => None,
        },
        admission_method: national(adt.admission_method(), |code| AdmissionMethod::parse(code).map(|m| m.as_str().to_owned())),
        source: national(adt.source_of_admission(), |code| SourceOfAdmission::parse(code).map(|s| s.as_str().to_owned())),
        site: adt.location().and_then(|l| l.facility).and_then(|f| OdsCode::parse(f).ok()).map(|o| o.to_string()).unwrap_or_default(),
        arrival: match ArrivalMode::from_pv2_38(code) {
            ArrivalMode::Ambulance => Arrival::Ambulance,
            ArrivalMode::Other => Arrival::Other,
            ArrivalMode::Unknown => Arrival::Unknown,
        },
        arrival_code: code.to_owned(),
    }
}

/// A code where it is a national one; systems put local text there, which must not travel.
fn national<E>(code: Option<&str>, parse: impl Fn(&str) -> Result<String, E>) -> String {
    code.and_then(|code| parse(code).ok()).unwrap_or_default()
}

fn patient(adt: &Adt<'_>, nhs_number: Option<NhsNumber>) -> Patient {
    let first = adt.identifiers().next().or_else(|| adt.external_identifier());
    let local = first.map(|id| format!("{}\0{}", id.value, id.authority.unwrap_or_default())).unwrap_or_default();
    let death = adt.death().map(|signal| {
        let time = signal.time.and_then(|time| Hl7Time::parse(time).ok());
        let on = signal.time.and_then(|time| DateOfBirth::parse(time).ok()).map(|day| day.date());
        Death { on, at_us: time.filter(|t| t.precision > Precision::Day).map(|t| t.instant_us) }
    });
    Patient {
        key: nhs_number.as_ref().map_or(local, |number| number.as_str().to_owned()),
        nhs_number,
        date_of_birth: adt.birth_date().and_then(|date| DateOfBirth::from_date(date).ok()),
        addresses: adt
            .addresses()
            .map(|a| PatientAddress {
                lines: a.lines.iter().map(|line| line.to_string()).collect(),
                postcode: a.postcode.and_then(|p| Postcode::parse(p).ok()),
            })
            .collect(),
        death,
    }
}

/// The visit number; without one, patient and time of admission. An opening without PV1-44 began when it says it happened.
fn visit_name(adt: &Adt<'_>, patient: &Patient, matter: &Matter, at: &Moment) -> Option<VisitName> {
    if !matches!(matter, Matter::Visit(_)) {
        return None;
    }
    if let Some(visit) = adt.visit_id() {
        return Some(VisitName(format!("number\0{}", visit.value)));
    }
    let admitted = adt.admitted_at().ok().flatten().map(|t| t.instant_us);
    let admitted = admitted.or(matches!(matter, Matter::Visit(Report::Opening(_))).then_some(at.at_us));
    admitted.filter(|_| !patient.key.is_empty()).map(|at_us| VisitName(format!("admission\0{}\0{at_us}", patient.key)))
}

fn order(adt: &Adt<'_>) -> Order {
    let exact = |time: Result<Option<Hl7Time<'_>>, Hl7TimeError>| time.ok().flatten().filter(|t| t.precision > Precision::Day).map(|t| t.instant_us);
    Order { occurred_us: exact(adt.occurred_at()), recorded_us: exact(adt.recorded_at()), sent_us: exact(adt.sent_at()) }
}

fn when<'m>(adt: &Adt<'m>) -> Option<VisitTime<'m>> {
    adt.visit_time()
}

fn moment(time: &VisitTime<'_>) -> Moment {
    let zone = match time.time.zone {
        Zone::EuropeLondon => "Europe/London".to_owned(),
        Zone::Stated { offset_minutes } => {
            let sign = if offset_minutes < 0 { '-' } else { '+' };
            format!("{sign}{:02}:{:02}", offset_minutes.abs() / 60, offset_minutes.abs() % 60)
        }
    };
    Moment { at_us: time.time.instant_us, zone, ambiguous: time.time.is_ambiguous() }
}

/// Three characters at most travel on: MSH-9.2 may hold anything.
fn trigger_code(adt: &Adt<'_>) -> String {
    adt.trigger().code().chars().filter(char::is_ascii_alphanumeric).take(3).collect()
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
