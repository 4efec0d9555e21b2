//! Between the contracts and the domain: the only file here that names protobuf types. Fallible inward.

pub mod feed;

use crate::domain::events::{Event, Opening};
use crate::domain::{Arrival, Confidence, Details, Moment, Order, Report, ResolverRule, Statement, Subject, VisitClass};
use hearthline_contracts::directory::directory_event::Fact as DirectoryFactPb;
use hearthline_contracts::directory::{self as dir, DirectoryEvent};
use hearthline_contracts::hospital::hospital_event::Fact as Pb;
use hearthline_contracts::hospital::{self as pb, HospitalEvent};
use hearthline_contracts::types::{IdentityStatus, ResidentRef};
use hearthline_contracts::wire;
use hearthline_eventing::{Fact, NewEvent, Occurred, PersonalBytes};
use hearthline_nhs::{DateOfBirth, HomeId, NhsNumber, Personal, Postcode, ResidentId};
use jiff::civil::Date;
use prost::Message;

/// A fact that this version cannot take: says which part, never its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fact cannot be read: {0}")]
pub struct Unreadable(pub &'static str);

const REVISION: u32 = 1;

/// The sender's account of when.
pub fn occurred(at: &Moment) -> Occurred {
    Occurred { at_us: at.at_us, zone: at.zone.clone(), ambiguous: at.ambiguous, late_entry: false }
}

/// An event ready to be composed. None has a personal part: the message itself is kept as a sealed blob.
pub fn encode(event: &Event, occurred: Occurred) -> NewEvent {
    let fact: Pb = match event {
        Event::VisitOpened(o, report) => pb::VisitOpened { report: report.as_deref().map(statement_out), ..opened(o) }.into(),
        Event::VisitTransferred { class, admission_method, source, site, at_us, trigger, report } => pb::VisitTransferred {
            visit_class: class_out(*class).into(),
            admission_method: admission_method.clone(),
            transferred_at_us: *at_us,
            site_ods: site.clone(),
            trigger: trigger.clone(),
            source_of_admission: source.clone(),
            report: report.as_deref().map(statement_out),
        }
        .into(),
        Event::VisitClosed { at_us, destination, method, died, trigger, report } => pb::VisitClosed {
            discharged_at_us: *at_us,
            discharge_destination: destination.clone(),
            discharge_method: method.clone(),
            died: *died,
            trigger: trigger.clone(),
            report: report.as_deref().map(statement_out),
        }
        .into(),
        Event::VisitIdentified { resident, home, confidence, replaced, report } => pb::VisitIdentified {
            resident: Some(identified(*resident)),
            resolver_rule: pb::ResolverRule::NhsNumber.into(),
            confidence: confidence_out(*confidence).into(),
            replaced_resident_id: replaced.map(|r| id(r.bytes())).unwrap_or_default(),
            home_id: home.map(|h| id(h.bytes())).unwrap_or_default(),
            report: report.as_deref().map(statement_out),
        }
        .into(),
        Event::VisitCancelled { at_us, trigger, report } => {
            pb::VisitCancelled { cancelled_at_us: *at_us, trigger: trigger.clone(), report: report.as_deref().map(statement_out) }.into()
        }
        Event::VisitReopened { at_us, trigger, report } => {
            pb::VisitReopened { reopened_at_us: *at_us, trigger: trigger.clone(), report: report.as_deref().map(statement_out) }.into()
        }
        Event::VisitReported(statement) => pb::VisitReported { report: Some(statement_out(statement)) }.into(),
        Event::PatientsMerged { survivor, retired, feed, facility, trigger } => pb::PatientsMerged {
            survivor_resident_id: id(survivor.bytes()),
            retired_resident_id: id(retired.bytes()),
            feed: feed.clone(),
            facility_ods: facility.clone(),
            trigger: trigger.clone(),
        }
        .into(),
        Event::DeathReported { resident, feed, facility, on, at_us, trigger } => pb::DeathReported {
            resident_id: id(resident.bytes()),
            feed: feed.clone(),
            facility_ods: facility.clone(),
            died_at_us: at_us.unwrap_or(0),
            died_on: on.map(|d| d.to_string()).unwrap_or_default(),
            trigger: trigger.clone(),
        }
        .into(),
    };
    NewEvent { name: event.name(), fact: wire::fact_bytes::<HospitalEvent>(fact), personal: None, occurred, revision: REVISION }
}

/// One of our own events about a visit or a person. `None`: a fact that says nothing of either.
pub fn decode(fact: &Fact) -> Result<Option<Event>, Unreadable> {
    let event = HospitalEvent::decode(fact.payload.clone()).map_err(|_| Unreadable("a hospital event"))?;
    let Some(fact) = event.fact else { return Ok(None) };
    Ok(Some(match fact {
        Pb::VisitOpened(mut o) => {
            let report = o.report.take().map(statement_in).transpose()?.map(Box::new);
            Event::VisitOpened(Box::new(opened_in(o)?), report)
        }
        Pb::VisitTransferred(t) => Event::VisitTransferred {
            class: class_in(t.visit_class()),
            admission_method: t.admission_method,
            source: t.source_of_admission,
            site: t.site_ods,
            at_us: t.transferred_at_us,
            trigger: t.trigger,
            report: t.report.map(statement_in).transpose()?.map(Box::new),
        },
        Pb::VisitClosed(c) => Event::VisitClosed {
            at_us: c.discharged_at_us,
            destination: c.discharge_destination,
            method: c.discharge_method,
            died: c.died,
            trigger: c.trigger,
            report: c.report.map(statement_in).transpose()?.map(Box::new),
        },
        Pb::VisitIdentified(i) => Event::VisitIdentified {
            confidence: confidence_in(i.confidence()),
            resident: resident(&i.resident.ok_or(Unreadable("whose visit it is"))?.resident_id)?,
            home: home(&i.home_id)?,
            replaced: if i.replaced_resident_id.is_empty() { None } else { Some(resident(&i.replaced_resident_id)?) },
            report: i.report.map(statement_in).transpose()?.map(Box::new),
        },
        Pb::VisitCancelled(c) => {
            Event::VisitCancelled { at_us: c.cancelled_at_us, trigger: c.trigger, report: c.report.map(statement_in).transpose()?.map(Box::new) }
        }
        Pb::VisitReopened(r) => {
            Event::VisitReopened { at_us: r.reopened_at_us, trigger: r.trigger, report: r.report.map(statement_in).transpose()?.map(Box::new) }
        }
        Pb::VisitReported(r) => Event::VisitReported(Box::new(statement_in(r.report.ok_or(Unreadable("what was reported of a visit"))?)?)),
        Pb::PatientsMerged(m) => Event::PatientsMerged {
            survivor: resident(&m.survivor_resident_id)?,
            retired: resident(&m.retired_resident_id)?,
            feed: m.feed,
            facility: m.facility_ods,
            trigger: m.trigger,
        },
        Pb::DeathReported(d) => Event::DeathReported {
            resident: resident(&d.resident_id)?,
            feed: d.feed,
            facility: d.facility_ods,
            on: day(&d.died_on)?,
            at_us: (d.died_at_us != 0).then_some(d.died_at_us),
            trigger: d.trigger,
        },
        _ => return Ok(None),
    }))
}

/// What of the directory concerns the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryFact {
    /// A home, as far as addresses go.
    Home { name: String, first_line: String, postcode: Postcode, uprn: String },
    /// A resident's identifiers may have changed: the sealed part says how.
    Identifiers,
    /// Others were found to be the resident of the stream.
    Merged,
    /// A resident's personal data is gone.
    Destroyed,
}

/// A fact of the directory topic; `None` where only the identities view takes it, or nobody.
pub fn directory_fact(fact: &Fact) -> Result<Option<DirectoryFact>, Unreadable> {
    let event = DirectoryEvent::decode(fact.payload.clone()).map_err(|_| Unreadable("a directory event"))?;
    Ok(match event.fact {
        Some(DirectoryFactPb::HomeRegistered(h)) => Some(DirectoryFact::Home {
            postcode: Postcode::parse(&h.postcode).map_err(|_| Unreadable("a postcode"))?,
            first_line: h.address_lines.into_iter().next().unwrap_or_default(),
            name: h.name,
            uprn: h.uprn.trim_start_matches('0').to_owned(),
        }),
        Some(DirectoryFactPb::ResidentRegistered(r)) if r.has_nhs_number => Some(DirectoryFact::Identifiers),
        Some(DirectoryFactPb::IdentifierAdded(i)) if i.kind() == dir::IdentifierKind::NhsNumber => Some(DirectoryFact::Identifiers),
        Some(DirectoryFactPb::IdentifierCorrected(i)) if i.kind() == dir::IdentifierKind::NhsNumber || i.demographics_corrected => {
            Some(DirectoryFact::Identifiers)
        }
        Some(DirectoryFactPb::ResidentsMerged(_)) => Some(DirectoryFact::Merged),
        Some(DirectoryFactPb::PersonalDataDestroyed(_)) => Some(DirectoryFact::Destroyed),
        _ => None,
    })
}

/// What a resident's sealed part says of their NHS number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbers {
    pub number: Option<NhsNumber>,
    pub former: Option<NhsNumber>,
    pub date_of_birth: Option<DateOfBirth>,
}

/// Nothing where the part does not open to us, or is destroyed.
pub fn numbers(fact: &Fact, personal: Option<&PersonalBytes>) -> Result<Numbers, Unreadable> {
    let Some(bytes) = personal.and_then(Personal::known) else { return Ok(Numbers::default()) };
    let event = DirectoryEvent::decode(fact.payload.clone()).map_err(|_| Unreadable("a directory event"))?;
    let sealed = |_| Unreadable("a resident's sealed part");
    Ok(match event.fact {
        Some(DirectoryFactPb::ResidentRegistered(_)) => {
            let d = dir::ResidentRegisteredPersonal::decode(bytes.as_slice()).map_err(sealed)?.demographics.unwrap_or_default();
            Numbers { number: NhsNumber::parse(&d.nhs_number).ok(), former: None, date_of_birth: DateOfBirth::parse(&d.date_of_birth).ok() }
        }
        Some(DirectoryFactPb::IdentifierAdded(_)) => {
            let p = dir::IdentifierAddedPersonal::decode(bytes.as_slice()).map_err(sealed)?;
            Numbers { number: NhsNumber::parse(&p.value).ok(), ..Numbers::default() }
        }
        Some(DirectoryFactPb::IdentifierCorrected(_)) => {
            let p = dir::IdentifierCorrectedPersonal::decode(bytes.as_slice()).map_err(sealed)?;
            let d = p.demographics.unwrap_or_default();
            Numbers {
                number: NhsNumber::parse(&p.value).or_else(|_| NhsNumber::parse(&d.nhs_number)).ok(),
                former: NhsNumber::parse(&p.former_value).ok(),
                date_of_birth: DateOfBirth::parse(&d.date_of_birth).ok(),
            }
        }
        _ => Numbers::default(),
    })
}

fn opened(o: &Opening) -> pb::VisitOpened {
    pb::VisitOpened {
        feed: o.feed.clone(),
        facility_ods: o.facility.clone(),
        site_ods: o.site.clone(),
        visit_class: class_out(o.class).into(),
        resident: o.resident.map(identified),
        home_id: o.home.map(|h| id(h.bytes())).unwrap_or_default(),
        arrival_mode: arrival_out(o.arrival).into(),
        arrival_mode_code: o.arrival_code.clone(),
        admission_method: o.admission_method.clone(),
        source_of_admission: o.source.clone(),
        admitted_at_us: o.admitted_at_us,
        resolver_rule: rule_out(o.rule).into(),
        confidence: confidence_out(o.confidence).into(),
        trigger: o.trigger.clone(),
        nhs_number_status: o.nhs_number_status.clone(),
        report: None,
    }
}

fn opened_in(o: pb::VisitOpened) -> Result<Opening, Unreadable> {
    Ok(Opening {
        class: class_in(o.visit_class()),
        resident: o.resident.as_ref().map(|r| resident(&r.resident_id)).transpose()?,
        home: home(&o.home_id)?,
        arrival: arrival_in(o.arrival_mode()),
        rule: rule_in(o.resolver_rule()),
        confidence: confidence_in(o.confidence()),
        feed: o.feed,
        facility: o.facility_ods,
        site: o.site_ods,
        arrival_code: o.arrival_mode_code,
        admission_method: o.admission_method,
        source: o.source_of_admission,
        admitted_at_us: o.admitted_at_us,
        trigger: o.trigger,
        nhs_number_status: o.nhs_number_status,
    })
}

fn statement_out(s: &Statement) -> pb::VisitReport {
    let nothing = Details::NONE;
    let d = s.report.details().unwrap_or(&nothing);
    let (destination, method, died) = match &s.report {
        Report::Discharge { destination, method, died } => (destination.clone(), method.clone(), *died),
        _ => (String::new(), String::new(), false),
    };
    let (resident, home, rule, confidence) = match s.subject {
        Some(Subject::Resident { id, home, confidence }) => (Some(id), home, pb::ResolverRule::NhsNumber, confidence_out(confidence)),
        Some(Subject::Home { home, rule, confidence }) => (None, Some(home), rule_out(rule), confidence_out(confidence)),
        None => (None, None, pb::ResolverRule::Unspecified, pb::Confidence::Unspecified),
    };
    pb::VisitReport {
        kind: match &s.report {
            Report::Opening(_) => pb::ReportKind::Opening,
            Report::PreAdmission(_) => pb::ReportKind::PreAdmission,
            Report::Change(_) => pb::ReportKind::Change,
            Report::Transfer(_) => pb::ReportKind::Transfer,
            Report::Discharge { .. } => pb::ReportKind::Discharge,
            Report::CancelAdmission => pb::ReportKind::CancelAdmission,
            Report::CancelPreAdmission => pb::ReportKind::CancelPreAdmission,
            Report::CancelTransfer(_) => pb::ReportKind::CancelTransfer,
            Report::CancelDischarge => pb::ReportKind::CancelDischarge,
            Report::Move => pb::ReportKind::Move,
            Report::MergedAway => pb::ReportKind::MergedAway,
        }
        .into(),
        trigger: s.trigger.clone(),
        happened_at_us: s.at_us,
        event_occurred_at_us: s.order.occurred_us.unwrap_or(0),
        event_recorded_at_us: s.order.recorded_us.unwrap_or(0),
        message_sent_at_us: s.order.sent_us.unwrap_or(0),
        visit_class: d.class.map_or(pb::VisitClass::Unspecified, class_out).into(),
        admission_method: d.admission_method.clone(),
        source_of_admission: d.source.clone(),
        site_ods: d.site.clone(),
        arrival_mode: arrival_out(d.arrival).into(),
        arrival_mode_code: d.arrival_code.clone(),
        discharge_destination: destination,
        discharge_method: method,
        died,
        resident_id: resident.map(|r| id(r.bytes())).unwrap_or_default(),
        home_id: home.map(|h| id(h.bytes())).unwrap_or_default(),
        resolver_rule: rule.into(),
        confidence: confidence.into(),
        nhs_number_status: s.nhs_number_status.clone(),
    }
}

fn statement_in(s: pb::VisitReport) -> Result<Statement, Unreadable> {
    let sent = |at_us: i64| (at_us != 0).then_some(at_us);
    let confidence = confidence_in(s.confidence());
    let subject = match (s.resident_id.is_empty(), home(&s.home_id)?) {
        (false, home) => Some(Subject::Resident { id: resident(&s.resident_id)?, home, confidence }),
        (true, Some(home)) => Some(Subject::Home { home, rule: rule_in(s.resolver_rule()), confidence }),
        (true, None) => None,
    };
    let details = Details {
        class: if s.visit_class() == pb::VisitClass::Unspecified { None } else { Some(class_in(s.visit_class())) },
        arrival: arrival_in(s.arrival_mode()),
        admission_method: s.admission_method.clone(),
        source: s.source_of_admission.clone(),
        site: s.site_ods.clone(),
        arrival_code: s.arrival_mode_code.clone(),
    };
    Ok(Statement {
        report: match s.kind() {
            pb::ReportKind::Opening => Report::Opening(details),
            pb::ReportKind::PreAdmission => Report::PreAdmission(details),
            pb::ReportKind::Change => Report::Change(details),
            pb::ReportKind::Transfer => Report::Transfer(details),
            pb::ReportKind::Discharge => Report::Discharge { destination: s.discharge_destination, method: s.discharge_method, died: s.died },
            pb::ReportKind::CancelAdmission => Report::CancelAdmission,
            pb::ReportKind::CancelPreAdmission => Report::CancelPreAdmission,
            pb::ReportKind::CancelTransfer => Report::CancelTransfer(details),
            pb::ReportKind::CancelDischarge => Report::CancelDischarge,
            pb::ReportKind::Move => Report::Move,
            pb::ReportKind::MergedAway => Report::MergedAway,
            pb::ReportKind::Unspecified => return Err(Unreadable("what was reported of a visit")),
        },
        trigger: s.trigger,
        at_us: s.happened_at_us,
        order: Order { occurred_us: sent(s.event_occurred_at_us), recorded_us: sent(s.event_recorded_at_us), sent_us: sent(s.message_sent_at_us) },
        nhs_number_status: s.nhs_number_status,
        subject,
    })
}

fn identified(resident: ResidentId) -> ResidentRef {
    ResidentRef { resident_id: id(resident.bytes()), status: IdentityStatus::Identified.into() }
}

fn class_out(class: VisitClass) -> pb::VisitClass {
    match class {
        VisitClass::Inpatient => pb::VisitClass::Inpatient,
        VisitClass::Emergency => pb::VisitClass::Emergency,
        VisitClass::Outpatient => pb::VisitClass::Outpatient,
        VisitClass::Other => pb::VisitClass::Other,
    }
}

fn class_in(class: pb::VisitClass) -> VisitClass {
    match class {
        pb::VisitClass::Inpatient => VisitClass::Inpatient,
        pb::VisitClass::Emergency => VisitClass::Emergency,
        pb::VisitClass::Outpatient => VisitClass::Outpatient,
        pb::VisitClass::Other | pb::VisitClass::Unspecified => VisitClass::Other,
    }
}

fn arrival_out(arrival: Arrival) -> pb::ArrivalMode {
    match arrival {
        Arrival::Ambulance => pb::ArrivalMode::Ambulance,
        Arrival::Other => pb::ArrivalMode::Other,
        Arrival::Unknown => pb::ArrivalMode::Unknown,
    }
}

fn arrival_in(arrival: pb::ArrivalMode) -> Arrival {
    match arrival {
        pb::ArrivalMode::Ambulance => Arrival::Ambulance,
        pb::ArrivalMode::Other => Arrival::Other,
        pb::ArrivalMode::Unknown | pb::ArrivalMode::Unspecified => Arrival::Unknown,
    }
}

fn rule_out(rule: ResolverRule) -> pb::ResolverRule {
    match rule {
        ResolverRule::NhsNumber => pb::ResolverRule::NhsNumber,
        ResolverRule::HomeUprn => pb::ResolverRule::HomeUprn,
        ResolverRule::HomeAddress => pb::ResolverRule::HomeAddress,
        ResolverRule::CareHomeCode => pb::ResolverRule::CareHomeCode,
        ResolverRule::HomePostcode => pb::ResolverRule::HomePostcode,
    }
}

fn rule_in(rule: pb::ResolverRule) -> ResolverRule {
    match rule {
        pb::ResolverRule::HomeUprn => ResolverRule::HomeUprn,
        pb::ResolverRule::HomeAddress => ResolverRule::HomeAddress,
        pb::ResolverRule::CareHomeCode => ResolverRule::CareHomeCode,
        pb::ResolverRule::HomePostcode => ResolverRule::HomePostcode,
        pb::ResolverRule::Unspecified
        | pb::ResolverRule::NhsNumber
        | pb::ResolverRule::LocalIdentifier
        | pb::ResolverRule::Demographics
        | pb::ResolverRule::Person => ResolverRule::NhsNumber,
    }
}

fn confidence_out(confidence: Confidence) -> pb::Confidence {
    match confidence {
        Confidence::High => pb::Confidence::High,
        Confidence::Medium => pb::Confidence::Medium,
        Confidence::Low => pb::Confidence::Low,
    }
}

fn confidence_in(confidence: pb::Confidence) -> Confidence {
    match confidence {
        pb::Confidence::High => Confidence::High,
        pb::Confidence::Low => Confidence::Low,
        pb::Confidence::Medium | pb::Confidence::Unspecified => Confidence::Medium,
    }
}

fn id(bytes: &[u8; 16]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes)
}

fn resident(bytes: &[u8]) -> Result<ResidentId, Unreadable> {
    ResidentId::try_from(bytes).map_err(|_| Unreadable("a resident's id"))
}

fn home(bytes: &[u8]) -> Result<Option<HomeId>, Unreadable> {
    if bytes.is_empty() { Ok(None) } else { HomeId::try_from(bytes).map(Some).map_err(|_| Unreadable("a home's id")) }
}

fn day(text: &str) -> Result<Option<Date>, Unreadable> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| Unreadable("a day")) }
}
