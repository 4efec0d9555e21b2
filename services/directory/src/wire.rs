//! Between the contracts and the domain: the only file here that names protobuf types. Fallible inward.

use crate::domain::events::{Closure, Event, MergeCause, MoveOutReason, RegistrationSource};
use crate::domain::identify::{NumberSaid, Said};
use crate::domain::{Alignment, HomeDetails, HomeType, Person, PharmacyDetails, PracticeDetails, SecureEmail, TaskKind};
use hearthline_contracts::call::CallEvent;
use hearthline_contracts::call::call_event::Fact as CallFactPb;
use hearthline_contracts::directory::directory_event::Fact as Pb;
use hearthline_contracts::directory::{self as pb, DirectoryEvent};
use hearthline_contracts::envelope::ActorRole;
use hearthline_contracts::hospital::HospitalEvent;
use hearthline_contracts::hospital::hospital_event::Fact as HospitalFactPb;
use hearthline_contracts::types::{self, Demographics, IdentityStatus, TaskClosure};
use hearthline_contracts::wire;
use hearthline_eventing::{Fact, NewEvent, Occurred, PersonalBytes};
use hearthline_nhs::{
    Coordinates, CqcLocationId, DateOfBirth, EmailAddress, HomeId, Interval, NhsNumber, OdsCode, OpeningHours, PersonName, Personal, Postcode, PracticeId,
    ResidentId, TaskId,
};
use jiff::civil::{Date, Weekday};
use prost::Message;
use zeroize::Zeroizing;

/// A fact that this version cannot take: says which part, never its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fact cannot be read: {0}")]
pub struct Unreadable(pub &'static str);

const REVISION: u32 = 1;

/// An event ready to be composed.
pub fn encode(event: &Event, occurred: Occurred) -> NewEvent {
    let (name, fact, personal) = match event {
        Event::HomeRegistered(d) => ("HomeRegistered", home(d).into(), None),
        Event::HomeWentLive { live_from_us } => ("HomeWentLive", pb::HomeWentLive { live_from_us: *live_from_us }.into(), None),
        Event::SecureEmailVerified(e) => {
            ("SecureEmailVerified", pb::SecureEmailVerified { email: e.address.as_str().to_owned(), verified_on: e.verified_on.to_string() }.into(), None)
        }
        Event::GpAligned { home, alignment, from } => (
            "GpAligned",
            pb::GpAligned {
                home_id: id(home.bytes()),
                practice_id: id(alignment.practice.bytes()),
                practice_ods: alignment.ods.to_string(),
                aligned_from: from.to_string(),
            }
            .into(),
            None,
        ),
        Event::PracticeListed(d) => {
            ("PracticeListed", pb::PracticeListed { ods_code: d.ods.to_string(), name: d.name.clone(), postcode: d.postcode.as_str().to_owned() }.into(), None)
        }
        Event::PharmacyListed(d) => ("PharmacyListed", pharmacy(d).into(), None),
        Event::ResidentRegistered { home, source, practice, has_nhs_number, person } => (
            "ResidentRegistered",
            pb::ResidentRegistered {
                home_id: home.map(|h| id(h.bytes())).unwrap_or_default(),
                source: source_out(*source).into(),
                has_nhs_number: *has_nhs_number,
                practice_ods: practice.as_ref().map(ToString::to_string).unwrap_or_default(),
            }
            .into(),
            person.known().map(|p| Zeroizing::new(pb::ResidentRegisteredPersonal { demographics: Some(demographics(p)) }.encode_to_vec())),
        ),
        Event::ResidentMovedIn { home, on } => ("ResidentMovedIn", pb::ResidentMovedIn { home_id: id(home.bytes()), moved_in_on: day(*on) }.into(), None),
        Event::ResidentMovedOut { home, on, reason } => (
            "ResidentMovedOut",
            pb::ResidentMovedOut { home_id: id(home.bytes()), moved_out_on: day(*on), reason: move_out_reason(*reason).into() }.into(),
            None,
        ),
        Event::ResidentDied { on, at_us } => (
            "ResidentDied",
            pb::ResidentDied { died_on: on.to_string(), died_at_us: at_us.unwrap_or(0), place: pb::PlaceOfDeath::Hospital.into(), expected: None }.into(),
            None,
        ),
        Event::ResidentsMerged { from, into, cause } => {
            ("ResidentsMerged", pb::ResidentsMerged { from_id: id(from.bytes()), into_id: id(into.bytes()), cause: cause_out(*cause).into() }.into(), None)
        }
        Event::MergeReversed { from, into } => ("MergeReversed", pb::MergeReversed { from_id: id(from.bytes()), into_id: id(into.bytes()) }.into(), None),
        Event::MergeProposed { from, into, cause } => {
            ("MergeProposed", pb::MergeProposed { from_id: id(from.bytes()), into_id: id(into.bytes()), cause: cause_out(*cause).into() }.into(), None)
        }
        Event::MergeDeclined { from, into } => ("MergeDeclined", pb::MergeDeclined { from_id: id(from.bytes()), into_id: id(into.bytes()) }.into(), None),
        Event::TaskOpened { id: task, kind, due_at_us, subject } => (
            "TaskOpened",
            types::TaskOpened {
                task_id: id(task.bytes()),
                kind: kind.as_str().to_owned(),
                role: task_role(*kind).into(),
                due_at_us: *due_at_us,
                overdue: false,
                subject_id: subject.map(|s| id(s.bytes())).unwrap_or_default(),
            }
            .into(),
            None,
        ),
        Event::TaskClosed { id: task, kind, closure } => {
            ("TaskClosed", types::TaskClosed { task_id: id(task.bytes()), kind: kind.as_str().to_owned(), closure: closure_out(*closure).into() }.into(), None)
        }
        Event::PersonalDataDestroyed => ("PersonalDataDestroyed", types::PersonalDataDestroyed::default().into(), None),
    };
    let fact: Pb = fact;
    NewEvent { name, fact: wire::fact_bytes::<DirectoryEvent>(fact), personal, occurred, revision: REVISION }
}

/// One of our own events. `None`: a fact that this version keeps and does not act on.
pub fn decode(fact: &Fact, personal: Option<&PersonalBytes>) -> Result<Option<Event>, Unreadable> {
    let event = DirectoryEvent::decode(fact.payload.clone()).map_err(|_| Unreadable("a directory event"))?;
    let Some(fact) = event.fact else { return Ok(None) };
    Ok(Some(match fact {
        Pb::HomeRegistered(h) => Event::HomeRegistered(home_in(h)?),
        Pb::HomeWentLive(h) => Event::HomeWentLive { live_from_us: h.live_from_us },
        Pb::SecureEmailVerified(e) => Event::SecureEmailVerified(SecureEmail {
            address: EmailAddress::parse(&e.email).map_err(|_| Unreadable("an email address"))?,
            verified_on: date(&e.verified_on)?.ok_or(Unreadable("a day"))?,
        }),
        Pb::GpAligned(a) => Event::GpAligned {
            home: HomeId::try_from(a.home_id.as_ref()).map_err(|_| Unreadable("a home's id"))?,
            alignment: Alignment {
                practice: PracticeId::try_from(a.practice_id.as_ref()).map_err(|_| Unreadable("a practice's id"))?,
                ods: ods(&a.practice_ods)?,
            },
            from: date(&a.aligned_from)?.ok_or(Unreadable("a day"))?,
        },
        Pb::PracticeListed(p) => Event::PracticeListed(PracticeDetails { ods: ods(&p.ods_code)?, postcode: postcode(&p.postcode)?, name: p.name }),
        Pb::PharmacyListed(p) => Event::PharmacyListed(pharmacy_in(p)?),
        Pb::ResidentRegistered(r) => Event::ResidentRegistered {
            home: optional_home(&r.home_id)?,
            source: source_in(r.source()),
            has_nhs_number: r.has_nhs_number,
            practice: if r.practice_ods.is_empty() { None } else { Some(ods(&r.practice_ods)?) },
            person: person_in(personal)?,
        },
        Pb::ResidentMovedIn(m) => Event::ResidentMovedIn { home: some_home(&m.home_id)?, on: date(&m.moved_in_on)? },
        Pb::ResidentMovedOut(m) => Event::ResidentMovedOut { home: some_home(&m.home_id)?, on: date(&m.moved_out_on)?, reason: move_out_reason_in(m.reason()) },
        Pb::ResidentDied(d) => Event::ResidentDied { on: date(&d.died_on)?.ok_or(Unreadable("a day"))?, at_us: (d.died_at_us != 0).then_some(d.died_at_us) },
        Pb::ResidentsMerged(m) => Event::ResidentsMerged { from: resident(&m.from_id)?, into: resident(&m.into_id)?, cause: cause_in(m.cause()) },
        Pb::MergeReversed(m) => Event::MergeReversed { from: resident(&m.from_id)?, into: resident(&m.into_id)? },
        Pb::MergeProposed(m) => Event::MergeProposed { from: resident(&m.from_id)?, into: resident(&m.into_id)?, cause: cause_in(m.cause()) },
        Pb::MergeDeclined(m) => Event::MergeDeclined { from: resident(&m.from_id)?, into: resident(&m.into_id)? },
        Pb::TaskOpened(t) => Event::TaskOpened {
            id: task(&t.task_id)?,
            kind: TaskKind::parse(&t.kind).ok_or(Unreadable("a task's kind"))?,
            due_at_us: t.due_at_us,
            subject: if t.subject_id.is_empty() { None } else { Some(resident(&t.subject_id)?) },
        },
        Pb::TaskClosed(t) => {
            Event::TaskClosed { id: task(&t.task_id)?, kind: TaskKind::parse(&t.kind).ok_or(Unreadable("a task's kind"))?, closure: closure_in(t.closure()) }
        }
        Pb::PersonalDataDestroyed(_) => Event::PersonalDataDestroyed,
        Pb::IdentifierAdded(_) | Pb::IdentifierCorrected(_) => return Ok(None),
    }))
}

/// Whom a call names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    pub id: ResidentId,
    pub provisional: bool,
}

/// What of a call concerns the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFact {
    Opened { home: HomeId, resident: Named },
    Identified { resident: Named, closed_provisional: Option<ResidentId> },
}

/// A fact of the call topic; `None` where it does not concern the directory.
pub fn call_fact(fact: &Fact) -> Result<Option<CallFact>, Unreadable> {
    let event = CallEvent::decode(fact.payload.clone()).map_err(|_| Unreadable("a call event"))?;
    Ok(match event.fact {
        Some(CallFactPb::CallOpened(c)) => match c.resident {
            Some(r) => Some(CallFact::Opened { home: some_home(&c.home_id)?, resident: named(&r)? }),
            None => None,
        },
        Some(CallFactPb::ResidentIdentified(i)) => {
            let resident = named(&i.resident.ok_or(Unreadable("whom a call names"))?)?;
            let closed = &i.closed_provisional_id;
            Some(CallFact::Identified { resident, closed_provisional: if closed.is_empty() { None } else { Some(self::resident(closed)?) } })
        }
        _ => None,
    })
}

/// What the sealed part of a call's fact says about the provisional resident.
pub fn said(fact: &Fact, personal: Option<&PersonalBytes>) -> Result<Said, Unreadable> {
    use hearthline_contracts::call::{CallOpenedPersonal, ResidentIdentifiedPersonal};
    let Some(bytes) = personal.and_then(Personal::known) else { return Ok(Said::default()) };
    let event = CallEvent::decode(fact.payload.clone()).map_err(|_| Unreadable("a call event"))?;
    let demographics = match event.fact {
        Some(CallFactPb::CallOpened(_)) => CallOpenedPersonal::decode(bytes.as_slice()).map(|p| p.provisional_resident),
        Some(CallFactPb::ResidentIdentified(_)) => ResidentIdentifiedPersonal::decode(bytes.as_slice()).map(|p| p.provisional_resident),
        _ => Ok(None),
    }
    .map_err(|_| Unreadable("what a caller said"))?;
    let Some(d) = demographics else { return Ok(Said::default()) };
    let number = match (d.nhs_number.trim(), NhsNumber::parse(&d.nhs_number)) {
        ("", _) => NumberSaid::Nothing,
        (_, Ok(number)) => NumberSaid::Number(number),
        (_, Err(_)) => NumberSaid::Unusable,
    };
    Ok(Said {
        name: PersonName::parse(&d.family_name, &d.given_names.join(" ")).ok(),
        date_of_birth: DateOfBirth::parse(&d.date_of_birth).ok(),
        nhs_number: number,
    })
}

/// What of a hospital's reports concerns the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HospitalFact {
    PatientsMerged { survivor: ResidentId, retired: ResidentId },
    DeathReported { resident: ResidentId, on: Option<Date>, at_us: Option<i64> },
}

/// A fact of the hospital topic; `None` where it does not concern the directory.
pub fn hospital_fact(fact: &Fact) -> Result<Option<HospitalFact>, Unreadable> {
    let event = HospitalEvent::decode(fact.payload.clone()).map_err(|_| Unreadable("a hospital event"))?;
    Ok(match event.fact {
        Some(HospitalFactPb::PatientsMerged(m)) => {
            Some(HospitalFact::PatientsMerged { survivor: resident(&m.survivor_resident_id)?, retired: resident(&m.retired_resident_id)? })
        }
        Some(HospitalFactPb::DeathReported(d)) => {
            Some(HospitalFact::DeathReported { resident: resident(&d.resident_id)?, on: date(&d.died_on)?, at_us: (d.died_at_us != 0).then_some(d.died_at_us) })
        }
        _ => None,
    })
}

/// The role that a kind of task waits for.
fn task_role(kind: TaskKind) -> ActorRole {
    match kind {
        TaskKind::IdentifyResident | TaskKind::IdentityDisagrees | TaskKind::ConfirmDeath => ActorRole::CallHandler,
        TaskKind::DecideMerge => ActorRole::PrivacyOfficer,
    }
}

/// The word of that role, as tokens have it.
pub fn task_role_word(kind: TaskKind) -> &'static str {
    match task_role(kind) {
        ActorRole::PrivacyOfficer => "privacy_officer",
        _ => "call_handler",
    }
}

fn home(d: &HomeDetails) -> pb::HomeRegistered {
    pb::HomeRegistered {
        ods_code: d.ods.to_string(),
        cqc_location_id: d.cqc.as_ref().map(ToString::to_string).unwrap_or_default(),
        name: d.name.clone(),
        address_lines: d.address.clone(),
        postcode: d.postcode.as_str().to_owned(),
        uprn: d.uprn.clone().unwrap_or_default(),
        beds: d.beds,
        home_type: match d.home_type {
            HomeType::Nursing => pb::HomeType::Nursing,
            HomeType::Residential => pb::HomeType::Residential,
            HomeType::Specialist => pb::HomeType::Specialist,
        }
        .into(),
        controller_ods: d.controller.to_string(),
        latitude_microdegrees: d.position.map(Coordinates::latitude),
        longitude_microdegrees: d.position.map(Coordinates::longitude),
    }
}

fn home_in(h: pb::HomeRegistered) -> Result<HomeDetails, Unreadable> {
    Ok(HomeDetails {
        ods: ods(&h.ods_code)?,
        cqc: if h.cqc_location_id.is_empty() { None } else { Some(CqcLocationId::parse(&h.cqc_location_id).map_err(|_| Unreadable("a CQC location"))?) },
        postcode: postcode(&h.postcode)?,
        beds: h.beds,
        home_type: match h.home_type() {
            pb::HomeType::Nursing => HomeType::Nursing,
            pb::HomeType::Specialist => HomeType::Specialist,
            pb::HomeType::Residential | pb::HomeType::Unspecified => HomeType::Residential,
        },
        controller: ods(&h.controller_ods)?,
        position: position(h.latitude_microdegrees, h.longitude_microdegrees)?,
        name: h.name,
        address: h.address_lines,
        uprn: Some(h.uprn).filter(|u| !u.is_empty()),
    })
}

fn pharmacy(d: &PharmacyDetails) -> pb::PharmacyListed {
    let opening = WEEKDAYS
        .iter()
        .flat_map(|(weekday, wire)| {
            d.opening.weekday(*weekday).iter().map(|interval| pb::OpeningInterval {
                weekday: (*wire).into(),
                opens_minute: interval.opens_min().into(),
                // A stretch past midnight closes at a minute of the next day, below the one at which it opens.
                closes_minute: u32::from(if interval.closes_min() > 1_440 { interval.closes_min() - 1_440 } else { interval.closes_min() }),
            })
        })
        .collect();
    pb::PharmacyListed {
        ods_code: d.ods.to_string(),
        name: d.name.clone(),
        postcode: d.postcode.as_str().to_owned(),
        latitude_microdegrees: d.position.map(Coordinates::latitude),
        longitude_microdegrees: d.position.map(Coordinates::longitude),
        opening,
        listed_from: day(d.listed_from),
        address_lines: Vec::new(),
    }
}

fn pharmacy_in(p: pb::PharmacyListed) -> Result<PharmacyDetails, Unreadable> {
    let mut opening = OpeningHours::closed();
    for (weekday, wire) in WEEKDAYS {
        let intervals = p.opening.iter().filter(|i| i.weekday() == wire).map(|i| {
            let minute = |n: u32| u16::try_from(n).map_err(|_| Unreadable("a minute"));
            Interval::new(minute(i.opens_minute)?, minute(i.closes_minute)?).map_err(|_| Unreadable("opening hours"))
        });
        opening = opening.with_weekday(weekday, intervals.collect::<Result<_, _>>()?).map_err(|_| Unreadable("opening hours"))?;
    }
    Ok(PharmacyDetails {
        ods: ods(&p.ods_code)?,
        postcode: postcode(&p.postcode)?,
        position: position(p.latitude_microdegrees, p.longitude_microdegrees)?,
        opening,
        listed_from: date(&p.listed_from)?,
        name: p.name,
    })
}

const WEEKDAYS: [(Weekday, pb::Weekday); 7] = [
    (Weekday::Monday, pb::Weekday::Monday),
    (Weekday::Tuesday, pb::Weekday::Tuesday),
    (Weekday::Wednesday, pb::Weekday::Wednesday),
    (Weekday::Thursday, pb::Weekday::Thursday),
    (Weekday::Friday, pb::Weekday::Friday),
    (Weekday::Saturday, pb::Weekday::Saturday),
    (Weekday::Sunday, pb::Weekday::Sunday),
];

fn demographics(p: &Person) -> Demographics {
    Demographics {
        family_name: p.name.family().to_owned(),
        given_names: p.name.given().split_whitespace().map(str::to_owned).collect(),
        date_of_birth: p.date_of_birth.to_iso(),
        nhs_number: p.nhs_number.as_ref().map(|n| n.as_str().to_owned()).unwrap_or_default(),
        ..Demographics::default()
    }
}

fn person_in(personal: Option<&PersonalBytes>) -> Result<Personal<Person>, Unreadable> {
    let Some(personal) = personal else { return Ok(Personal::Withheld) };
    personal.try_map(|bytes| {
        let d = pb::ResidentRegisteredPersonal::decode(bytes.as_slice()).ok().and_then(|p| p.demographics).ok_or(Unreadable("a resident's demographics"))?;
        Ok(Person {
            name: PersonName::parse(&d.family_name, &d.given_names.join(" ")).map_err(|_| Unreadable("a resident's name"))?,
            date_of_birth: DateOfBirth::parse(&d.date_of_birth).map_err(|_| Unreadable("a date of birth"))?,
            nhs_number: if d.nhs_number.is_empty() { None } else { Some(NhsNumber::parse(&d.nhs_number).map_err(|_| Unreadable("an NHS number"))?) },
        })
    })
}

fn named(r: &types::ResidentRef) -> Result<Named, Unreadable> {
    Ok(Named { id: resident(&r.resident_id)?, provisional: r.status() == IdentityStatus::Provisional })
}

fn id(bytes: &[u8; 16]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes)
}

fn resident(bytes: &[u8]) -> Result<ResidentId, Unreadable> {
    ResidentId::try_from(bytes).map_err(|_| Unreadable("a resident's id"))
}

fn task(bytes: &[u8]) -> Result<TaskId, Unreadable> {
    TaskId::try_from(bytes).map_err(|_| Unreadable("a task's id"))
}

fn some_home(bytes: &[u8]) -> Result<HomeId, Unreadable> {
    HomeId::try_from(bytes).map_err(|_| Unreadable("a home's id"))
}

fn optional_home(bytes: &[u8]) -> Result<Option<HomeId>, Unreadable> {
    if bytes.is_empty() { Ok(None) } else { some_home(bytes).map(Some) }
}

fn ods(text: &str) -> Result<OdsCode, Unreadable> {
    OdsCode::parse(text).map_err(|_| Unreadable("an ODS code"))
}

fn postcode(text: &str) -> Result<Postcode, Unreadable> {
    Postcode::parse(text).map_err(|_| Unreadable("a postcode"))
}

fn position(latitude: Option<i32>, longitude: Option<i32>) -> Result<Option<Coordinates>, Unreadable> {
    latitude.zip(longitude).map(|(north, east)| Coordinates::from_micro_degrees(north, east).map_err(|_| Unreadable("a position"))).transpose()
}

fn day(on: Option<Date>) -> String {
    on.map(|d| d.to_string()).unwrap_or_default()
}

fn date(text: &str) -> Result<Option<Date>, Unreadable> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| Unreadable("a day")) }
}

macro_rules! both_ways {
    ($out:ident, $in:ident, $domain:ty, $wire:ty, $other:ident; $($name:ident = $theirs:ident),* $(,)?) => {
        fn $out(value: $domain) -> $wire {
            match value { $(<$domain>::$name => <$wire>::$theirs,)* }
        }
        fn $in(value: $wire) -> $domain {
            match value { $(<$wire>::$theirs => <$domain>::$name,)* <$wire>::Unspecified => <$domain>::$other }
        }
    };
}

both_ways!(source_out, source_in, RegistrationSource, pb::RegistrationSource, Person; Register = Register, Person = Person, Call = Call);
both_ways!(cause_out, cause_in, MergeCause, pb::MergeCause, Person; ProvisionalMatched = ProvisionalMatched, FoundBySearch = FoundBySearch, Hospital = Hospital, Person = Person);
both_ways!(closure_out, closure_in, Closure, TaskClosure, Done; Done = Done, Overtaken = Overtaken, Dismissed = Dismissed);
both_ways!(move_out_reason, move_out_reason_in, MoveOutReason, pb::MoveOutReason, Other;
    OtherHome = OtherHome, OwnHome = OwnHome, OutOfArea = OutOfArea, Died = Died, Other = Other);
