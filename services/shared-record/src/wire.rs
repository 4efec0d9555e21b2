//! Domain events as the contracts have them, and back; and what a delivery row carries. No fact of sharing has a personal part: the
//! documents lie in sealed blobs.

use crate::domain::{Composed, Confirmation, Event, Parcel, Retraction, Source, Subject, Task, Withholding, task};
use bytes::Bytes;
use hearthline_contracts::envelope::ActorRole;
use hearthline_contracts::shared_record as pb;
use hearthline_contracts::shared_record::shared_record_event::Fact as Pb;
use hearthline_contracts::types as ty;
use hearthline_contracts::wire;
use hearthline_eventing::{Fact, NewEvent, Occurred};
use hearthline_nhs::{CallId, DeliveryId, HomeId, ResidentId, StreamId, TaskId};
use prost::Message;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A stored fact is not what this version takes it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a shared-record fact has a {0} that cannot be read")]
pub struct Unreadable(&'static str);

/// A domain event, encoded. All occur when they are recorded.
pub fn encode(event: &Event, now: i64) -> NewEvent {
    let (name, fact): (_, Pb) = match event {
        Event::Composed(c) => ("DocumentComposed", composed_out(c).into()),
        Event::Uploaded { delivery, parcel, destination, location, how } => (
            "RecordUploaded",
            pb::RecordUploaded {
                delivery_id: id(delivery.bytes()),
                document_id: id(&parcel.document),
                document_version: parcel.version,
                destination: destination.clone(),
                location: location.clone(),
                confirmation: confirmation_out(*how).into(),
            }
            .into(),
        ),
        Event::UploadFailed { delivery, parcel, destination, code } => (
            "RecordUploadFailed",
            pb::RecordUploadFailed {
                delivery_id: id(delivery.bytes()),
                document_id: id(&parcel.document),
                document_version: parcel.version,
                destination: destination.clone(),
                code: code.clone(),
            }
            .into(),
        ),
        Event::Emailed { delivery, parcel, how } => (
            "CarePlanEmailed",
            pb::CarePlanEmailed {
                delivery_id: id(delivery.bytes()),
                document_id: id(&parcel.document),
                document_version: parcel.version,
                home_id: id(parcel.home.bytes()),
                confirmation: confirmation_out(*how).into(),
            }
            .into(),
        ),
        Event::EmailFailed { delivery, parcel, code } => (
            "CarePlanEmailFailed",
            pb::CarePlanEmailFailed {
                delivery_id: id(delivery.bytes()),
                document_id: id(&parcel.document),
                document_version: parcel.version,
                home_id: id(parcel.home.bytes()),
                code: code.clone(),
            }
            .into(),
        ),
        Event::Withheld { call, why } => ("ShareWithheld", pb::ShareWithheld { call_id: id(call.bytes()), reason: withholding_out(*why).into() }.into()),
        Event::Retracted { document, version, why, subject } => (
            "DocumentRetracted",
            pb::DocumentRetracted {
                document_id: id(document),
                document_version: *version,
                reason: retraction_out(*why).into(),
                resident: Some(subject_out(*subject)),
            }
            .into(),
        ),
        Event::TaskOpened(t) => (
            "TaskOpened",
            ty::TaskOpened {
                task_id: id(t.id.bytes()),
                kind: t.kind.clone(),
                role: role_of(&t.kind).into(),
                due_at_us: t.due_at,
                overdue: false,
                subject_id: id(&t.subject),
            }
            .into(),
        ),
        Event::TaskClosed { id: task, kind, overtaken } => {
            let closure = if *overtaken { ty::TaskClosure::Overtaken } else { ty::TaskClosure::Done };
            ("TaskClosed", ty::TaskClosed { task_id: id(task.bytes()), kind: kind.clone(), closure: closure.into() }.into())
        }
        Event::PersonalDataDestroyed => ("PersonalDataDestroyed", ty::PersonalDataDestroyed::default().into()),
    };
    NewEvent { name, fact: wire::fact_bytes::<pb::SharedRecordEvent>(fact), personal: None, occurred: Occurred::at(now), revision: 1 }
}

/// A stored fact as a domain event. What only outsiders need of it (homes of mails, the share's own call) is not carried back.
pub fn decode(fact: &Fact) -> Result<Event, Unreadable> {
    let event = pb::SharedRecordEvent::decode(fact.payload.clone()).map_err(|_| Unreadable("payload"))?;
    let correlation = id_in(&fact.envelope.correlation_id, "correlation")?;
    let parcel = |document: &[u8], version: u32, home: &[u8]| -> Result<Parcel, Unreadable> {
        let home = if home.is_empty() { [0; 16] } else { id_in(home, "home")? };
        Ok(Parcel { call: CallId::from_bytes(correlation), document: id_in(document, "document")?, version, home: HomeId::from_bytes(home), blob: [0; 16] })
    };
    Ok(match event.fact.ok_or(Unreadable("kind"))? {
        Pb::DocumentComposed(c) => Event::Composed(composed_in(c)?),
        Pb::RecordUploaded(u) => Event::Uploaded {
            delivery: delivery_in(&u.delivery_id)?,
            parcel: parcel(&u.document_id, u.document_version, &[])?,
            how: confirmation_in(u.confirmation()),
            destination: u.destination,
            location: u.location,
        },
        Pb::RecordUploadFailed(u) => Event::UploadFailed {
            delivery: delivery_in(&u.delivery_id)?,
            parcel: parcel(&u.document_id, u.document_version, &[])?,
            destination: u.destination,
            code: u.code,
        },
        Pb::CarePlanEmailed(m) => Event::Emailed {
            delivery: delivery_in(&m.delivery_id)?,
            parcel: parcel(&m.document_id, m.document_version, &m.home_id)?,
            how: confirmation_in(m.confirmation()),
        },
        Pb::CarePlanEmailFailed(m) => {
            Event::EmailFailed { delivery: delivery_in(&m.delivery_id)?, parcel: parcel(&m.document_id, m.document_version, &m.home_id)?, code: m.code }
        }
        Pb::ShareWithheld(w) => Event::Withheld {
            call: CallId::from_bytes(id_in(&w.call_id, "call")?),
            why: match w.reason() {
                pb::WithholdingReason::ConsentRefused => Withholding::ConsentRefused,
                pb::WithholdingReason::CallVoided => Withholding::CallVoided,
                pb::WithholdingReason::ClinicianDecision => Withholding::ClinicianDecision,
                pb::WithholdingReason::Unspecified => return Err(Unreadable("reason")),
            },
        },
        Pb::DocumentRetracted(r) => Event::Retracted {
            document: id_in(&r.document_id, "document")?,
            version: r.document_version,
            why: match r.reason() {
                pb::RetractionReason::CallVoided => Retraction::CallVoided,
                pb::RetractionReason::WrongPerson => Retraction::WrongPerson,
                pb::RetractionReason::ConsentRefused => Retraction::ConsentRefused,
                pb::RetractionReason::OutcomeWithdrawn => Retraction::OutcomeWithdrawn,
                pb::RetractionReason::Unspecified => return Err(Unreadable("reason")),
            },
            subject: subject_in(r.resident)?,
        },
        Pb::TaskOpened(t) => Event::TaskOpened(Task {
            id: TaskId::from_bytes(id_in(&t.task_id, "task")?),
            kind: t.kind,
            due_at: t.due_at_us,
            subject: id_in(&t.subject_id, "task subject")?,
        }),
        Pb::TaskClosed(t) => {
            Event::TaskClosed { overtaken: t.closure() == ty::TaskClosure::Overtaken, id: TaskId::from_bytes(id_in(&t.task_id, "task")?), kind: t.kind }
        }
        Pb::PersonalDataDestroyed(_) => Event::PersonalDataDestroyed,
    })
}

/// Who looks after a task.
fn role_of(kind: &str) -> ActorRole {
    match kind {
        task::RESIDENT_PROVISIONAL => ActorRole::CallHandler,
        task::NO_SECURE_EMAIL | task::EMAIL_FAILED | task::TAKE_BACK => ActorRole::Clinician,
        _ => ActorRole::Operator,
    }
}

fn composed_out(c: &Composed) -> pb::DocumentComposed {
    pb::DocumentComposed {
        call_id: id(c.call.bytes()),
        call_version: c.call_version,
        resident: Some(subject_out(c.subject)),
        home_id: id(c.home.bytes()),
        document_id: id(&c.document),
        document_version: c.version,
        consultation: Some(source_out(&c.consultation)),
        prescriptions: c.prescriptions.iter().map(source_out).collect(),
        digest: id(&c.digest),
        blob_id: id(&c.blob),
    }
}

fn composed_in(c: pb::DocumentComposed) -> Result<Composed, Unreadable> {
    Ok(Composed {
        call: CallId::from_bytes(id_in(&c.call_id, "call")?),
        call_version: c.call_version,
        subject: subject_in(c.resident)?,
        home: HomeId::from_bytes(id_in(&c.home_id, "home")?),
        document: id_in(&c.document_id, "document")?,
        version: c.document_version,
        consultation: source_in(&c.consultation.ok_or(Unreadable("consultation"))?)?,
        prescriptions: c.prescriptions.iter().map(source_in).collect::<Result<_, _>>()?,
        digest: c.digest.as_ref().try_into().map_err(|_| Unreadable("digest"))?,
        blob: id_in(&c.blob_id, "blob")?,
    })
}

/// A version of another stream, as the contracts have it.
fn source_out(s: &Source) -> ty::StreamVersion {
    ty::StreamVersion { stream_id: id(s.stream.bytes()), version: s.version }
}

/// A version of another stream that a fact names.
pub fn source_in(s: &ty::StreamVersion) -> Result<Source, Unreadable> {
    Ok(Source { stream: StreamId::from_bytes(id_in(&s.stream_id, "stream")?), version: s.version })
}

fn subject_out(s: Subject) -> ty::ResidentRef {
    let status = if s.is_provisional { ty::IdentityStatus::Provisional } else { ty::IdentityStatus::Identified };
    ty::ResidentRef { resident_id: id(s.resident.bytes()), status: status.into() }
}

fn subject_in(r: Option<ty::ResidentRef>) -> Result<Subject, Unreadable> {
    let r = r.ok_or(Unreadable("resident"))?;
    Ok(Subject { is_provisional: r.status() == ty::IdentityStatus::Provisional, resident: ResidentId::from_bytes(id_in(&r.resident_id, "resident")?) })
}

fn confirmation_out(how: Confirmation) -> ty::Confirmation {
    match how {
        Confirmation::Reply => ty::Confirmation::Reply,
        Confirmation::AlreadyHeld => ty::Confirmation::AlreadyHeld,
        Confirmation::LookedUp => ty::Confirmation::LookedUp,
        Confirmation::Person => ty::Confirmation::Person,
    }
}

fn confirmation_in(how: ty::Confirmation) -> Confirmation {
    match how {
        ty::Confirmation::Unspecified | ty::Confirmation::Reply => Confirmation::Reply,
        ty::Confirmation::AlreadyHeld => Confirmation::AlreadyHeld,
        ty::Confirmation::LookedUp => Confirmation::LookedUp,
        ty::Confirmation::Person => Confirmation::Person,
    }
}

fn withholding_out(why: Withholding) -> pb::WithholdingReason {
    match why {
        Withholding::ConsentRefused => pb::WithholdingReason::ConsentRefused,
        Withholding::CallVoided => pb::WithholdingReason::CallVoided,
        Withholding::ClinicianDecision => pb::WithholdingReason::ClinicianDecision,
    }
}

fn retraction_out(why: Retraction) -> pb::RetractionReason {
    match why {
        Retraction::CallVoided => pb::RetractionReason::CallVoided,
        Retraction::WrongPerson => pb::RetractionReason::WrongPerson,
        Retraction::ConsentRefused => pb::RetractionReason::ConsentRefused,
        Retraction::OutcomeWithdrawn => pb::RetractionReason::OutcomeWithdrawn,
    }
}

fn delivery_in(bytes: &[u8]) -> Result<DeliveryId, Unreadable> {
    id_in(bytes, "delivery").map(DeliveryId::from_bytes)
}

fn id(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn id_in(bytes: &[u8], what: &'static str) -> Result<[u8; 16], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable(what))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ParcelRow {
    call: Uuid,
    document: Uuid,
    version: u32,
    home: Uuid,
    blob: Uuid,
}

/// A parcel as a delivery row carries it: ids only.
pub fn parcel_out(p: &Parcel) -> Bytes {
    let uuid = Uuid::from_bytes;
    let row = ParcelRow { call: uuid(*p.call.bytes()), document: uuid(p.document), version: p.version, home: uuid(*p.home.bytes()), blob: uuid(p.blob) };
    serde_json::to_vec(&row).expect("ids and numbers always serialise").into()
}

/// A parcel out of its delivery row.
pub fn parcel_in(payload: &[u8]) -> Result<Parcel, Unreadable> {
    let row: ParcelRow = serde_json::from_slice(payload).map_err(|_| Unreadable("delivery"))?;
    Ok(Parcel {
        call: CallId::from_bytes(row.call.into_bytes()),
        document: row.document.into_bytes(),
        version: row.version,
        home: HomeId::from_bytes(row.home.into_bytes()),
        blob: row.blob.into_bytes(),
    })
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
