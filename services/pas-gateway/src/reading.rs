//! From an HL7 message to what the gateway asks of it, or to the reason why it can never be taken.
//!
//! A message is dispatched on MSH-9.1 and MSH-9.2 alone: EVN-1 and MSH-9.3 contradict them in real feeds. Which field holds what, and
//! what local codes stand for, is the profile's ([`crate::profile`]).

use crate::domain::place::PatientAddress;
use crate::domain::{Arrival, Details, Moment, Order, Report, Reported, VisitClass};
use crate::national::Item;
use crate::peer::Peer;
use crate::profile::{EmergencyA01, Profile};
use hearthline_interop::hl7v2::{
    AckCode, Adt, ErrorCode, ErrorDetail, ErrorLocation, Field, Hl7Time, Hl7TimeError, Message, PatientClass, PatientIdentifier, Precision, ProcessingId,
    TimeSource, Trigger, VisitTime, Zone,
};
use hearthline_nhs::{ArrivalMode, DateOfBirth, NhsNumber, NhsNumberStatus, OdsCode, Postcode, Sctid};
use jiff::civil::Date;
use jiff::tz::TimeZone;

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

    fn is_nhs_number(&self) -> bool {
        NhsNumber::parse(&self.value).is_ok()
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
    fn of(adt: &Adt<'_>, profile: &Profile) -> Self {
        let local = |ids: &mut dyn Iterator<Item = PatientIdentifier<'_>>| ids.map(|id| LocalId::of(&id)).filter(|id| !id.is_nhs_number()).collect();
        Merged {
            nhs_number: nhs_number(adt, profile).0,
            date_of_birth: date_of_birth(adt),
            retired_numbers: adt.discarded_identifiers().filter_map(|id| NhsNumber::parse(id.value).ok()).collect(),
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

    /// SOURCE OF ADMISSION, where the message has one.
    pub fn source(&self) -> &str {
        match &self.matter {
            Matter::Visit(report) => report.details().map_or("", |details| &details.source),
            Matter::Merge | Matter::Person | Matter::Nothing(_) => "",
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
    let wall = wall_clock(peer, profile);
    let clock = Clock { wall: wall.as_ref(), received_at };
    let at = match adt.visit_time() {
        Some(time) => moment(&time, peer, profile, clock),
        None => return Err(Refusal::of(Ae, ErrorCode::DataType, ("EVN", Some(2)), "no field holds a readable time of the event")),
    };
    let coded = Coded { message, profile };
    let death = death(&adt, &coded, wall.as_ref());
    let matter = matter(&adt, &coded, death.as_ref())?;
    let needs_no_patient = matches!(matter, Matter::Nothing(_) | Matter::Person);
    let merges = if matches!(matter, Matter::Merge) { Adt::all(message) } else { Vec::new() };
    let is_nobody = |adt: &Adt<'_>| !adt.identifies_a_person() && adt.external_identifier().is_none();
    if !needs_no_patient && (is_nobody(&adt) || merges.iter().any(is_nobody)) {
        return Err(Refusal::of(Ae, ErrorCode::RequiredFieldMissing, ("PID", Some(3)), "PID-3 is missing"));
    }
    let (nhs_number, status) = nhs_number(&adt, profile);
    let patient = patient(&adt, &coded, nhs_number, death);
    let number = profile.raw(Item::VisitNumber, message);
    let prior = adt.prior_visit_id().map(|id| id.value);
    let is_of_two = matches!(adt.trigger(), Trigger::A42 | Trigger::A45);
    let is_visit = matches!(matter, Matter::Visit(_));
    let admission = admission(&adt, &patient, &matter, &at, wall.as_ref()).filter(|_| is_visit && number.is_none());
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
            Some((key, _)) => adt.identifiers().map(|id| LocalId::of(&id)).filter(|id| !id.is_nhs_number()).map(|id| id.key()).filter(|k| k != key).collect(),
            None => Vec::new(),
        },
        admission,
        merged: merges.iter().map(|merge| Merged::of(merge, profile)).collect(),
        destination: coded.national(Item::DischargeDestination),
        matter,
        unread: unread(&adt, &patient, wall.as_ref()),
        patient,
        at,
        order: order(&adt, clock),
        nhs_number_status: status.map(|s| s.code().to_owned()).unwrap_or_default(),
    })
}

/// A message with the profile that it is read by.
struct Coded<'m> {
    message: &'m Message<'m>,
    profile: &'m Profile,
}

impl Coded<'_> {
    /// The national code: the profile's table first, then the value itself where it is one. Local text must not travel.
    fn national(&self, item: Item) -> String {
        let Some(raw) = self.profile.raw(item, self.message) else { return String::new() };
        code(self.profile, item, raw).unwrap_or_default()
    }

    fn details(&self, adt: &Adt<'_>) -> Details {
        let arrival = self.profile.raw(Item::ArrivalMode, self.message).unwrap_or_default();
        let site = self.profile.raw(Item::Site, self.message).and_then(|site| OdsCode::parse(site).ok());
        Details {
            class: self.class(adt),
            admission_method: self.national(Item::AdmissionMethod),
            source: self.national(Item::SourceOfAdmission),
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

    fn is_pre_admission(&self) -> bool {
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
            "" => "MSH-9.2 is empty: nothing says what happened",
            _ => "an event that is not interpreted",
        }),
    })
}

fn missing_prior(text: &'static str, field: u16) -> Refusal {
    Refusal::of(AckCode::ApplicationError, ErrorCode::RequiredFieldMissing, ("MRG", Some(field)), text)
}

/// The number by the profile's own rules, then by those that hold for all, with how far it is traced.
fn nhs_number(adt: &Adt<'_>, profile: &Profile) -> (Option<NhsNumber>, Option<NhsNumberStatus>) {
    let (number, _, status) = chosen_number(adt, profile);
    (number, status)
}

/// The same, and which rule chose it.
pub fn chosen_number(adt: &Adt<'_>, profile: &Profile) -> (Option<NhsNumber>, &'static str, Option<NhsNumberStatus>) {
    use hearthline_interop::hl7v2::NhsNumberRule;
    let status = |text: Option<&str>| text.and_then(|s| NhsNumberStatus::parse(s).ok());
    let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_ref().is_none_or(|w| found.is_some_and(|f| f.eq_ignore_ascii_case(w)));
    for rule in &profile.nhs_number {
        for id in adt.identifiers().filter(|id| is(&rule.authority, id.authority) && is(&rule.id_type, id.id_type)) {
            let is_another_space = id.authority.is_some_and(|a| a.eq_ignore_ascii_case("CHI") || a.eq_ignore_ascii_case("HSNI"));
            if let (false, Ok(number)) = (is_another_space, NhsNumber::parse(id.value)) {
                return (Some(number), "PID-3, by authority and type that the profile names", status(adt.nhs_number_status()));
            }
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

/// `Err`: the signals contradict each other.
fn death(adt: &Adt<'_>, coded: &Coded<'_>, wall: Option<&TimeZone>) -> Option<Result<Death, ()>> {
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
    let time = sent.and_then(|time| parsed(time, wall).ok());
    let on = sent.and_then(|time| DateOfBirth::parse(time).ok()).map(|day| day.date());
    Some(Ok(Death { on, at_us: time.filter(|t| t.precision > Precision::Day).map(|t| t.instant_us), signal: which }))
}

fn patient(adt: &Adt<'_>, coded: &Coded<'_>, nhs_number: Option<NhsNumber>, death: Option<Result<Death, ()>>) -> Patient {
    let first = adt.identifiers().next().or_else(|| adt.external_identifier());
    let local = first.map(|id| LocalId::of(&id).key()).unwrap_or_default();
    let uprn = coded.profile.raw(Item::Uprn, coded.message).filter(|uprn| uprn.len() <= 12 && uprn.bytes().all(|b| b.is_ascii_digit()));
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

fn date_of_birth(adt: &Adt<'_>) -> Option<DateOfBirth> {
    adt.birth_date().and_then(|date| DateOfBirth::from_date(date).ok())
}

/// Patient and time of admission. An opening without PV1-44 began when it says it happened.
fn admission(adt: &Adt<'_>, patient: &Patient, matter: &Matter, at: &Moment, wall: Option<&TimeZone>) -> Option<(String, i64)> {
    let admitted = adt.pv1(44).component(1).code().and_then(|raw| parsed(raw, wall).ok()).map(|t| t.instant_us);
    let admitted = admitted.or(matches!(matter, Matter::Visit(Report::Opening(_))).then_some(at.at_us));
    admitted.filter(|_| !patient.key.is_empty()).map(|at_us| (patient.key.clone(), at_us))
}

/// The clock of times without an offset, where that is not London's: the peer's, then the profile's.
fn wall_clock(peer: &Peer, profile: &Profile) -> Option<TimeZone> {
    let name = zone_name(peer, profile);
    if name == LONDON { None } else { TimeZone::get(name).ok() }
}

const LONDON: &str = "Europe/London";

fn zone_name<'p>(peer: &'p Peer, profile: &'p Profile) -> &'p str {
    if peer.time_zone == LONDON { profile.time_zone.as_deref().unwrap_or(LONDON) } else { &peer.time_zone }
}

fn parsed<'m>(raw: &'m str, wall: Option<&TimeZone>) -> Result<Hl7Time<'m>, Hl7TimeError> {
    wall.map_or_else(|| Hl7Time::parse(raw), |wall| Hl7Time::parse_in(raw, wall))
}

/// Names fields and never values.
fn unread(adt: &Adt<'_>, patient: &Patient, wall: Option<&TimeZone>) -> Vec<&'static str> {
    let is_no_time = |field: Field<'_>| field.component(1).code().is_some_and(|raw| parsed(raw, wall).is_err());
    let is_no_death = adt.pid(29).component(1).code().is_some_and(|raw| parsed(raw, wall).is_err() && DateOfBirth::parse(raw).is_err());
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

/// The wall clock and the receipt by which the times of events are read. PV1-44 is read by the wall clock alone: it names the visit, in
/// messages of any day.
#[derive(Clone, Copy)]
struct Clock<'z> {
    wall: Option<&'z TimeZone>,
    received_at: Option<i64>,
}

impl Clock<'_> {
    fn read<'m>(&self, raw: &'m str) -> Result<Hl7Time<'m>, Hl7TimeError> {
        let time = parsed(raw, self.wall)?;
        Ok(self.received_at.map_or(time, |received_at| time.as_received(received_at, self.wall)))
    }
}

/// A time without a time of day would come before everything else of its day.
fn order(adt: &Adt<'_>, clock: Clock<'_>) -> Order {
    let exact =
        |field: Field<'_>| field.component(1).code().and_then(|raw| clock.read(raw).ok().filter(|t| t.precision > Precision::Day).map(|t| t.instant_us));
    Order { occurred_us: exact(adt.evn(6)), recorded_us: exact(adt.evn(2)), sent_us: exact(adt.msh(7)) }
}

fn moment(time: &VisitTime<'_>, peer: &Peer, profile: &Profile, clock: Clock<'_>) -> Moment {
    let read = match time.source {
        TimeSource::Admitted | TimeSource::ExpectedAdmission => parsed(time.time.raw, clock.wall),
        TimeSource::Discharged | TimeSource::EventOccurred | TimeSource::EventRecorded | TimeSource::MessageSent => clock.read(time.time.raw),
    };
    let time = read.unwrap_or(time.time);
    let zone = match time.zone {
        Zone::EuropeLondon => zone_name(peer, profile).to_owned(),
        Zone::Stated { offset_minutes } => {
            let sign = if offset_minutes < 0 { '-' } else { '+' };
            format!("{sign}{:02}:{:02}", offset_minutes.abs() / 60, offset_minutes.abs() % 60)
        }
    };
    Moment { at_us: time.instant_us, zone, ambiguous: time.is_ambiguous() }
}

/// PV1-14 where an emergency department sends the ECDS attendance source there: a SNOMED CT id.
pub fn attendance_source<'m>(message: &'m Message<'_>, profile: &Profile) -> Option<&'m str> {
    profile.raw(Item::SourceOfAdmission, message).filter(|raw| raw.len() >= 6 && Sctid::parse(raw).is_ok())
}

/// Three characters at most travel on: MSH-9.2 may hold anything.
pub(crate) fn trigger_code(adt: &Adt<'_>) -> String {
    adt.trigger().code().chars().filter(char::is_ascii_alphanumeric).take(3).collect()
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
