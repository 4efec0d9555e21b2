//! Composing: a poked share is looked at, and what should be done about it is done in one unit.
//!
//! *poked → nothing | waiting (for the next poke) | withheld | composed(n)*. A poke is a timer due at once on the share's stream. Two more
//! timers count from the record's time: a minute for what the closing names, fifteen minutes for a resident to be identified.

use crate::Options;
use crate::domain::{self, Composed, Composition, Decision, Email, Event, Facts, Kind, Parcel, Retraction, Share, Source, Subject, Withholding, task};
use crate::fhir_document::{self, Sources};
use crate::people;
use crate::reference::{self, CallRow, ConsultationRow, HomeRow, PrescriptionRow};
use crate::wire;
use async_trait::async_trait;
use bytes::Bytes;
use hearthline_eventing::timers::{Due, OnTimer};
use hearthline_eventing::{
    Actor, Cause, Delivery, DeliveryChange, DeliveryMove, DeliveryState, Kernel, NewDelivery, NotNow, TimerChange, Unit, deliveries, identity, trace,
};
use hearthline_interop::fhir::document::document_identifier;
use hearthline_nhs::{CallId, ResidentId, StreamId, TaskId, london_date};
use sha2::{Digest, Sha256};
use tracing::Instrument;
use uuid::Uuid;

const COMPOSE: &str = "compose";
const SOURCES: &str = "sources";
const PROVISIONAL: &str = "provisional";
const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 24 * 60 * MINUTE_US;
/// An upload is given up after this long, µs.
const UPLOAD_EXPIRES_US: i64 = 7 * DAY_US;
/// A mail that is a day late is brought by a person.
const EMAIL_EXPIRES_US: i64 = DAY_US;
/// The name of the mail server as a destination.
pub const MAIL: &str = "mail";

/// The share of a call: one per call, so its id follows from the call's.
pub fn share_of(call: [u8; 16]) -> StreamId {
    StreamId::from_bytes(*Uuid::new_v5(&Uuid::from_bytes(call), b"share").as_bytes())
}

/// A look at a call's share at `due_at`.
pub fn poke(call: [u8; 16], due_at: i64) -> TimerChange {
    TimerChange::Set { stream: share_of(call), name: COMPOSE, due_at, payload: payload(call) }
}

/// A minute for what the closing names.
pub fn patience(call: [u8; 16], now: i64) -> TimerChange {
    TimerChange::Set { stream: share_of(call), name: SOURCES, due_at: now + MINUTE_US, payload: payload(call) }
}

/// The call, and the trace that it hangs on.
fn payload(call: [u8; 16]) -> Bytes {
    let mut bytes = call.to_vec();
    bytes.extend_from_slice(trace::current().unwrap_or_default().as_bytes());
    bytes.into()
}

/// Looks at pokes and deadlines.
pub struct Composing {
    pub kernel: Kernel,
    pub options: Options,
}

/// A call with all that hangs on it, at one moment.
pub struct Situation {
    pub call: [u8; 16],
    pub row: CallRow,
    pub consultation: Option<ConsultationRow>,
    pub prescriptions: Vec<PrescriptionRow>,
    pub home: Option<HomeRow>,
    pub share: Share,
    pub facts: Facts,
}

#[async_trait]
impl OnTimer for Composing {
    async fn due(&self, timer: &Due, now: i64) -> Result<Unit, NotNow> {
        let Some(call) = timer.payload.get(..16).and_then(|id| <[u8; 16]>::try_from(id).ok()) else { return Ok(Unit::default()) };
        let span = tracing::info_span!("compose", otel.name = "shared-record compose", otel.kind = "internal");
        trace::adopt(&span, std::str::from_utf8(&timer.payload[16..]).ok());
        async {
            let Some(situation) = situation(&self.kernel, call, now).await? else { return Ok(Unit::default()) };
            let task = new_task();
            let events = match timer.name.as_str() {
                COMPOSE => return self.review(&situation, now).await,
                SOURCES => domain::sources_too_late(&situation.share, &situation.facts, task, now),
                PROVISIONAL => domain::provisional_too_long(&situation.share, &situation.facts, task, now),
                _ => Vec::new(),
            };
            unit_of(&self.kernel, call, &situation.share, events, now).await
        }
        .instrument(span)
        .await
    }
}

impl Composing {
    async fn review(&self, s: &Situation, now: i64) -> Result<Unit, NotNow> {
        match domain::review(&s.share, &s.facts) {
            Decision::Nothing | Decision::Wait => Ok(Unit::default()),
            Decision::Withhold { why, retracts } => self.withhold(s, why, retracts, now).await,
            Decision::Compose(composition) => self.compose(s, &composition, now).await,
        }
    }

    async fn withhold(&self, s: &Situation, why: Withholding, retracts: Option<Retraction>, now: i64) -> Result<Unit, NotNow> {
        let rows = rows(&self.kernel, s.call).await?;
        let code = match why {
            Withholding::ConsentRefused => "consent_refused",
            Withholding::CallVoided => "call_voided",
            Withholding::ClinicianDecision => "outcome_withdrawn",
        };
        let mut events = vec![Event::Withheld { call: CallId::from_bytes(s.call), why }];
        events.extend(retraction(s, &rows, retracts, now));
        events.extend(domain::close(&s.share, &[task::SOURCES_MISSING, task::RESIDENT_PROVISIONAL, task::NO_SECURE_EMAIL]));
        let mut unit = unit_of(&self.kernel, s.call, &s.share, events, now).await?;
        unit.deliveries.extend(rows.iter().filter(|d| not_sent(d)).map(|d| give_up(d, code, now)));
        unit.timers.push(TimerChange::Cancel { stream: share_of(s.call), name: PROVISIONAL });
        Ok(unit)
    }

    async fn compose(&self, s: &Situation, composition: &Composition, now: i64) -> Result<Unit, NotNow> {
        let (Some(consultation), Some(home)) = (&s.consultation, &s.home) else {
            return Err(NotNow::Other("the home of a call is not here yet".to_owned()));
        };
        let kernel = &self.kernel;
        let share = share_of(s.call);
        let rows = rows(kernel, s.call).await?;
        let person = match composition.subject.is_provisional {
            true => people::described(kernel, &s.row.described).await?,
            false => people::registered(kernel, *composition.subject.resident.bytes()).await?,
        };
        let sources = Sources {
            call: s.call,
            row: &s.row,
            consultation,
            prescriptions: &s.prescriptions,
            home,
            person: &person,
            composition,
            replaces: rows.iter().filter(|d| d.kind == Kind::RecordUpload.as_str() && may_be_there(d)).filter_map(version_of).max(),
            custodian: (&kernel.composer.deployment.controller_ods, &self.options.organisation_name),
            now,
        };
        let (document, text) = fhir_document::compose(kernel, &sources).await?;
        let document_id = document_identifier(Uuid::from_bytes(s.call), composition.version);
        let blob_id = *Uuid::new_v5(&document_id, b"document").as_bytes();
        let mail_id = *Uuid::new_v5(&document_id, b"care plan mail").as_bytes();
        let parcel =
            Parcel { call: CallId::from_bytes(s.call), document: *document_id.as_bytes(), version: composition.version, home: s.row.home, blob: blob_id };

        let mut events: Vec<Event> = retraction(s, &rows, composition.retracts, now);
        events.push(Event::Composed(Composed {
            call: parcel.call,
            call_version: s.row.version,
            subject: composition.subject,
            home: s.row.home,
            document: parcel.document,
            version: parcel.version,
            consultation: composition.consultation,
            prescriptions: composition.prescriptions.clone(),
            digest: Sha256::digest(&document).into(),
            blob: blob_id,
        }));
        let mut settled = vec![task::SOURCES_MISSING];
        if !composition.subject.is_provisional {
            settled.push(task::RESIDENT_PROVISIONAL);
        }
        if composition.email == Email::Send {
            settled.push(task::NO_SECURE_EMAIL);
        }
        events.extend(domain::close(&s.share, &settled));
        let has_task = s.share.open_tasks.iter().any(|t| t.kind == task::NO_SECURE_EMAIL);
        if composition.email == Email::NoAddress && !has_task {
            events.push(domain::open(task::NO_SECURE_EMAIL, new_task(), parcel.document, now));
        }

        let mut unit = unit_of(kernel, s.call, &s.share, events, now).await?;
        unit.blobs.push(kernel.composer.blob(blob_id, share, "application/fhir+json", &document, now).await?);
        let overtaken = |kind: Kind| rows.iter().filter(move |d| d.kind == kind.as_str() && not_sent(d)).map(|d| give_up(d, "superseded", now));
        unit.deliveries.extend(overtaken(Kind::RecordUpload));
        unit.deliveries.push(insert(Kind::RecordUpload, &self.options.destination, share, share, &parcel, UPLOAD_EXPIRES_US, now));
        if composition.email == Email::Send {
            unit.blobs.push(kernel.composer.blob(mail_id, share, "text/plain", text.as_bytes(), now).await?);
            unit.deliveries.extend(overtaken(Kind::CarePlanEmail));
            // Each version is a mail of its own: one that nobody can confirm must not hold the next one back.
            let subject = StreamId::from_bytes(parcel.document);
            unit.deliveries.push(insert(Kind::CarePlanEmail, MAIL, subject, share, &Parcel { blob: mail_id, ..parcel }, EMAIL_EXPIRES_US, now));
        }
        if composition.subject.is_provisional {
            unit.timers.push(TimerChange::Set { stream: share, name: PROVISIONAL, due_at: now + 15 * MINUTE_US, payload: payload(s.call) });
        }
        Ok(unit)
    }
}

/// All that is known of a call; none before it was opened here.
pub async fn situation(kernel: &Kernel, call: [u8; 16], now: i64) -> Result<Option<Situation>, NotNow> {
    let store = kernel.store.as_ref();
    let Some(row) = reference::call_row(store, call).await? else { return Ok(None) };
    let share = load(kernel, call).await?;
    let consultation = reference::consultation_of(store, call).await?;
    let prescriptions = reference::prescriptions_of(store, call).await?;
    let home = reference::home_row(store, row.home).await?;
    let who = identity::resolve(store, *row.resident.bytes()).await?;
    let former = match share.newest() {
        Some(newest) => Some(identity::resolve(store, *newest.composed.subject.resident.bytes()).await?.id),
        None => None,
    };
    let today = london_date(now).map_err(|_| NotNow::Other("the clock is out of range".to_owned()))?;
    let facts = Facts {
        call: CallId::from_bytes(call),
        home: row.home,
        subject: Subject { resident: ResidentId::from_bytes(who.id), is_provisional: !who.registered },
        former_subject: former.map(ResidentId::from_bytes),
        is_closed: row.closed_at.is_some(),
        is_voided: row.is_voided,
        is_consent_refused: row.is_consent_refused,
        named_consultation: row.named_consultation,
        named_prescriptions: row.named_prescriptions.clone(),
        consultation: consultation.as_ref().map(|c| c.source),
        content_version: consultation.as_ref().map_or(0, |c| c.content_version),
        is_outcome_withdrawn: consultation.as_ref().is_some_and(|c| c.is_withdrawn),
        has_outcome: consultation.as_ref().is_some_and(|c| c.decided.is_some() && !c.is_withdrawn),
        prescriptions: prescriptions.iter().map(|p| p.source).collect(),
        accepted: prescriptions.iter().filter(|p| p.is_accepted).map(|p| p.source).collect::<Vec<Source>>(),
        has_secure_email: home.as_ref().is_some_and(|h| h.secure_email(today).is_some()),
    };
    Ok(Some(Situation { call, row, consultation, prescriptions, home, share, facts }))
}

/// A call's share.
pub async fn load(kernel: &Kernel, call: [u8; 16]) -> Result<Share, NotNow> {
    let facts = kernel.facts(share_of(call)).await?;
    let events = facts.iter().map(wire::decode).collect::<Result<Vec<Event>, _>>().map_err(|e| NotNow::Other(e.to_string()))?;
    Ok(Share::fold(events))
}

/// A unit of these events on the share's stream; empty where there are none.
pub async fn unit_of(kernel: &Kernel, call: [u8; 16], share: &Share, events: Vec<Event>, now: i64) -> Result<Unit, NotNow> {
    if events.is_empty() {
        return Ok(Unit::default());
    }
    let cause = Cause { actor: Actor::SYSTEM, causation: None, correlation: call, traceparent: trace::current() };
    let events = events.iter().map(|e| wire::encode(e, now)).collect();
    let write = kernel.composer.write(share_of(call), share.version, events, &cause, now).await?;
    Ok(Unit { writes: vec![write], ..Unit::default() })
}

/// Every delivery of a call's share, in sequence.
pub async fn rows(kernel: &Kernel, call: [u8; 16]) -> Result<Vec<Delivery>, NotNow> {
    Ok(deliveries(kernel.store.as_ref(), "stream = $1 order by seq", &[share_of(call).into()]).await?)
}

/// A fresh id for a task.
pub fn new_task() -> TaskId {
    TaskId::from_bytes(hearthline_runtime::service::fresh_id())
}

fn version_of(delivery: &Delivery) -> Option<u32> {
    wire::parcel_in(&delivery.payload).ok().map(|p| p.version)
}

/// Nothing of it has left since it was last known to have not arrived.
fn not_sent(delivery: &Delivery) -> bool {
    matches!(delivery.state, DeliveryState::Due | DeliveryState::RetryAt)
}

/// The receiver has it, or may have it.
fn may_be_there(delivery: &Delivery) -> bool {
    matches!(delivery.state, DeliveryState::Sending | DeliveryState::Unconfirmed | DeliveryState::Confirmed)
}

/// What stood no longer stands; where it may have arrived, somebody has it taken back.
fn retraction(s: &Situation, rows: &[Delivery], why: Option<Retraction>, now: i64) -> Vec<Event> {
    let (Some(why), Some(document)) = (why, s.share.standing()) else { return Vec::new() };
    let c = &document.composed;
    let mut events = vec![Event::Retracted { document: c.document, version: c.version, why, subject: c.subject }];
    if rows.iter().any(may_be_there) {
        events.push(domain::open(task::TAKE_BACK, new_task(), c.document, now));
    }
    events
}

/// A compare-and-set: where the row was sent meanwhile, the whole unit is decided anew.
fn give_up(delivery: &Delivery, code: &str, now: i64) -> DeliveryChange {
    DeliveryChange::Move(DeliveryMove {
        id: delivery.id,
        from: delivery.state,
        from_attempt: delivery.attempt,
        to: DeliveryState::Expired,
        attempt: delivery.attempt,
        sender: delivery.sender,
        deadline_at: None,
        next_at: now,
        code: Some(code.to_owned()),
        reference: None,
        at: now,
    })
}

fn insert(kind: Kind, destination: &str, subject: StreamId, stream: StreamId, parcel: &Parcel, lasts_us: i64, now: i64) -> DeliveryChange {
    DeliveryChange::Insert(NewDelivery {
        id: hearthline_runtime::service::fresh_id(),
        kind: kind.as_str(),
        destination: destination.to_owned(),
        subject,
        stream,
        payload: wire::parcel_out(parcel),
        state: DeliveryState::Due,
        sender: None,
        deadline_at: None,
        next_at: now,
        expires_at: Some(now + lasts_us),
        traceparent: trace::current(),
        created_at: now,
    })
}
