//! What the tests of the projection share: facts as other services write them, and a store in a temporary folder.
#![allow(dead_code, reason = "each test binary uses its part")]

use bytes::Bytes;
use hearthline_contracts::envelope::{Envelope, Environment};
use hearthline_contracts::wire::{self, ContextEvent};
use hearthline_contracts::{call, directory, hospital, outcome, prescribing, shared_record, types};
use hearthline_eventing::{Answer, Consumed, Fact, Store, Unit};
use hearthline_kpi_projection as kpi;
use hearthline_runtime::connect::{Backend, Connected};
use std::collections::HashMap;

pub const HOUR: i64 = 3_600_000_000;
pub const DAY: i64 = 24 * HOUR;
/// Monday 1 June 2026, 00:00 in London.
pub const MONDAY: i64 = 1_780_268_400_000_000;

pub type Id = [u8; 16];

/// An id that nothing else has: a letter and a number.
pub fn id(kind: u8, n: u32) -> Id {
    let mut id = [kind; 16];
    id[12..].copy_from_slice(&n.to_be_bytes());
    id
}

fn bytes(id: Id) -> Bytes {
    Bytes::copy_from_slice(&id)
}

fn resident(id: Id, identified: bool) -> Option<types::ResidentRef> {
    let status = if identified { types::IdentityStatus::Identified } else { types::IdentityStatus::Provisional };
    Some(types::ResidentRef { resident_id: bytes(id), status: status.into() })
}

/// Facts in the order in which they were told, each stream's versions without gaps.
#[derive(Default)]
pub struct Telling {
    pub facts: Vec<Fact>,
    versions: HashMap<Id, u64>,
}

impl Telling {
    pub fn tell<E: ContextEvent>(&mut self, stream: Id, at: i64, fact: impl Into<E::Fact>) {
        let version = self.versions.entry(stream).or_insert(0);
        *version += 1;
        let mut event_id = stream;
        event_id[..8].copy_from_slice(&version.to_be_bytes());
        let envelope = Envelope {
            event_id: bytes(event_id),
            stream_id: bytes(stream),
            stream_version: *version,
            incarnation: 1,
            occurred_at_us: at,
            recorded_at_us: at,
            environment: Environment::Test.into(),
            schema_revision: 1,
            least_reader_revision: 1,
            ..Default::default()
        };
        let payload = wire::compose(&envelope, None, &wire::fact_bytes::<E>(fact));
        self.facts.push(Fact { topic: E::CONTEXT.topic().name, envelope, sealed: None, payload });
    }

    pub fn home(&mut self, home: Id, ods: &str, live_from: i64) {
        let registered = directory::HomeRegistered {
            ods_code: ods.to_owned(),
            postcode: "SO14 7DU".to_owned(),
            beds: 40,
            home_type: directory::HomeType::Nursing.into(),
            ..Default::default()
        };
        self.tell::<directory::DirectoryEvent>(home, live_from - DAY, registered);
        let live = directory::HomeWentLive { live_from_us: live_from };
        self.tell::<directory::DirectoryEvent>(home, live_from, live);
    }

    pub fn resident(&mut self, resident: Id, at: i64) {
        let registered = directory::ResidentRegistered { has_nhs_number: true, ..Default::default() };
        self.tell::<directory::DirectoryEvent>(resident, at, registered);
    }

    pub fn merged(&mut self, from: Id, into: Id, at: i64) {
        let merged = directory::ResidentsMerged { from_id: bytes(from), into_id: bytes(into), ..Default::default() };
        self.tell::<directory::DirectoryEvent>(into, at, merged);
    }

    /// A call from opening to close; open for an hour.
    pub fn call(&mut self, call: Id, home: Id, person: Id, identified: bool, at: i64) {
        let opened = call::CallOpened {
            home_id: bytes(home),
            channel: call::Channel::Telephone.into(),
            reason: call::CallReason::Breathlessness.into(),
            resident: resident(person, identified),
            restore2_used: true,
            ..Default::default()
        };
        self.tell::<call::CallEvent>(call, at, opened);
        let observed = call::ObservationsRecorded { news2_total: Some(6), ..Default::default() };
        self.tell::<call::CallEvent>(call, at + 1, observed);
        self.tell::<call::CallEvent>(call, at + 60_000_000, call::CallAnswered {});
        let counterfactual = call::CounterfactualRecorded { alternative: types::Alternative::Emergency999.into(), ..Default::default() };
        self.tell::<call::CallEvent>(call, at + 120_000_000, counterfactual);
        self.tell::<call::CallEvent>(call, at + HOUR, call::CallClosed::default());
    }

    pub fn consultation(&mut self, consultation: Id, call: Id, at: i64, claims: &[(Id, outcome::AvoidanceKind)]) {
        let decided = outcome::OutcomeDecided { call_id: bytes(call), disposition: outcome::Disposition::TreatedAtHome.into(), ..Default::default() };
        self.tell::<outcome::OutcomeEvent>(consultation, at, decided);
        for (claim, kind) in claims {
            let claimed = outcome::AvoidanceClaimed {
                call_id: bytes(call),
                claim_id: bytes(*claim),
                kind: (*kind).into(),
                would_have_happened: types::Alternative::Emergency999.into(),
                ..Default::default()
            };
            self.tell::<outcome::OutcomeEvent>(consultation, at, claimed);
        }
        let plan = outcome::TreatmentPlanAgreed { call_id: bytes(call), plan_version: 1, ..Default::default() };
        self.tell::<outcome::OutcomeEvent>(consultation, at, plan);
    }

    pub fn withdrawn(&mut self, consultation: Id, claim: Id, at: i64) {
        let withdrawn = outcome::AvoidanceWithdrawn { claim_id: bytes(claim), ..Default::default() };
        self.tell::<outcome::OutcomeEvent>(consultation, at, withdrawn);
    }

    pub fn prescription(&mut self, prescription: Id, call: Id, at: i64) {
        let drafted = prescribing::PrescriptionDrafted { call_id: bytes(call), items: vec![prescribing::PrescribedItem::default(); 2], ..Default::default() };
        type E = prescribing::PrescribingEvent;
        self.tell::<E>(prescription, at, drafted);
        let pharmacy = prescribing::PharmacyChosen { nearest_open: true, ..Default::default() };
        self.tell::<E>(prescription, at, pharmacy);
        self.tell::<E>(prescription, at, prescribing::PrescriptionSigned::default());
        self.tell::<E>(prescription, at, prescribing::PrescriptionSubmitted::default());
        self.tell::<E>(prescription, at, prescribing::PrescriptionAccepted::default());
    }

    pub fn share(&mut self, share: Id, call: Id, at: i64) {
        type E = shared_record::SharedRecordEvent;
        let composed = shared_record::DocumentComposed { call_id: bytes(call), document_version: 1, ..Default::default() };
        self.tell::<E>(share, at, composed);
        self.tell::<E>(share, at, shared_record::RecordUploaded::default());
        self.tell::<E>(share, at, shared_record::CarePlanEmailed::default());
    }

    /// An attendance by ambulance; four hours later an emergency admission where `admitted`.
    pub fn visit(&mut self, visit: Id, person: Option<Id>, home: Id, at: i64, admitted: bool) {
        type E = hospital::HospitalEvent;
        let opened = hospital::VisitOpened {
            feed: "south".to_owned(),
            facility_ods: "RHM".to_owned(),
            visit_class: hospital::VisitClass::Emergency.into(),
            resident: person.and_then(|person| resident(person, true)),
            home_id: bytes(home),
            arrival_mode: hospital::ArrivalMode::Ambulance.into(),
            admitted_at_us: at,
            trigger: "A01".to_owned(),
            resolver_rule: hospital::ResolverRule::NhsNumber.into(),
            ..Default::default()
        };
        self.tell::<E>(visit, at, opened);
        if admitted {
            let transferred = hospital::VisitTransferred {
                visit_class: hospital::VisitClass::Inpatient.into(),
                admission_method: "21".to_owned(),
                transferred_at_us: at + 4 * HOUR,
                ..Default::default()
            };
            self.tell::<E>(visit, at + 4 * HOUR, transferred);
        }
    }

    pub fn cancelled(&mut self, visit: Id, at: i64) {
        let cancelled = hospital::VisitCancelled { cancelled_at_us: at, trigger: "A11".to_owned(), report: None };
        self.tell::<hospital::HospitalEvent>(visit, at, cancelled);
    }

    pub fn gap(&mut self, feed: Id, gap: Id, from: i64, until: Option<i64>) {
        let opened =
            hospital::FeedGapOpened { gap_id: bytes(gap), feed: "south".to_owned(), facility_ods: "RHM".to_owned(), from_us: from, ..Default::default() };
        self.tell::<hospital::HospitalEvent>(feed, from, opened);
        if let Some(until) = until {
            let closed = hospital::FeedGapClosed { gap_id: bytes(gap), until_us: until, filled: true, ..Default::default() };
            self.tell::<hospital::HospitalEvent>(feed, until, closed);
        }
    }
}

/// Opens the projection's store in a folder.
pub async fn connected(folder: &std::path::Path) -> (Backend, Connected) {
    let backend = Backend::open(folder, None, Environment::Test, "VL001").await.expect("a backend");
    let connected = backend.connect(kpi::NAME, kpi::TOPIC, kpi::views()).await.expect("a store");
    (backend, connected)
}

/// Projects facts as the consumer does, in one unit.
pub async fn project(store: &dyn Store, facts: Vec<Fact>) {
    let consumed = Consumed { subscription: kpi::NAME.to_owned(), facts, archive: true, ..Default::default() };
    let unit = Unit { consumed: Some(consumed), ..Unit::default() };
    let answer = store.append(unit).await.expect("appended");
    assert!(matches!(answer, Answer::Committed { .. }), "{answer:?}");
}
