//! The call's facts ⇄ protobuf, and what is read of other contexts' facts. The only place that names the contracts' types.
//!
//! Outwards cannot fail. Inwards can: the bytes may be another writer's.

mod codes;
mod foreign;
mod observations;
#[cfg(test)]
mod tests;

pub use foreign::{Reference, reference};

use crate::domain::events::*;
use hearthline_contracts::call::{self as pb, call_event::Fact as PbFact};
use hearthline_contracts::envelope::ActorRole;
use hearthline_contracts::types;
use hearthline_contracts::wire::{Coded, UnknownCode, fact_bytes};
use hearthline_eventing::{Fact, NewEvent, Occurred, PersonalBytes};
use hearthline_nhs::words::Word;
use hearthline_nhs::{DateOfBirth, IdentifierError, NhsNumber, Personal, ResidentId};
use prost::Message;
use zeroize::{Zeroize, Zeroizing};

/// Schema revision of every fact that this service writes.
const REVISION: u32 = 1;

/// Bytes that are not the fact they should be; says which, never what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be read")]
pub struct Unreadable(pub &'static str);

impl From<UnknownCode> for Unreadable {
    fn from(unknown: UnknownCode) -> Self {
        Unreadable(unknown.0)
    }
}

impl From<IdentifierError> for Unreadable {
    fn from(_: IdentifierError) -> Self {
        Unreadable("an identifier")
    }
}

/// A decided event, encoded; its personal part still in clear, in memory.
pub fn outward(event: CallEvent, occurred: &Occurred) -> NewEvent {
    let (name, fact, personal) = match event {
        CallEvent::Opened(e) => {
            let personal = sealed(&e.said, |said| pb::CallOpenedPersonal {
                reason_text: said.reason_text.clone(),
                caller_name: said.caller_name.clone(),
                provisional_resident: said.resident.as_ref().map(demographics),
            });
            let fact = pb::CallOpened {
                home_id: id(e.home.bytes()),
                channel: e.channel.code(),
                reason: e.reason.code(),
                secondary_reasons: all(e.secondary_reasons),
                resident: Some(resident(e.resident)),
                restore2_used: e.restore2_used,
            };
            ("CallOpened", PbFact::from(fact), personal)
        }
        CallEvent::Answered => ("CallAnswered", pb::CallAnswered {}.into(), None),
        CallEvent::ObservationsRecorded(e) => ("ObservationsRecorded", observations::outward(&e).into(), None),
        CallEvent::Triaged(e) => {
            let personal = sealed(&e.note, |note| pb::CallTriagedPersonal { note: note.clone() });
            let fact = pb::CallTriaged {
                urgency: e.urgency.code(),
                reason: e.reason.code(),
                secondary_reasons: all(e.secondary_reasons),
                referral_source: e.referral_source.code(),
                retriage: e.retriage.is_some(),
                retriage_reason: opt_code(e.retriage),
            };
            ("CallTriaged", fact.into(), personal)
        }
        CallEvent::ClinicianJoined(e) => {
            let fact = pb::ClinicianJoined { role: e.role.code(), grade: e.grade.code(), after_escalation: e.after_escalation };
            ("ClinicianJoined", fact.into(), None)
        }
        CallEvent::CounterfactualRecorded(e) => {
            let personal = sealed(&e.text, |text| pb::CounterfactualRecordedPersonal { text: text.clone() });
            let fact = pb::CounterfactualRecorded { alternative: e.alternative.code(), escort_expected: e.escort_expected, escort_minutes: e.escort_minutes };
            ("CounterfactualRecorded", fact.into(), personal)
        }
        CallEvent::ConsentRecorded(e) => {
            let personal = sealed(&e.note, |note| pb::ConsentRecordedPersonal { note: note.clone() });
            ("ConsentRecorded", pb::ConsentRecorded { basis: e.basis.code() }.into(), personal)
        }
        CallEvent::ResidentIdentified(e) => {
            let personal = sealed(&e.said, |said| pb::ResidentIdentifiedPersonal { provisional_resident: Some(demographics(said)) });
            let fact = pb::ResidentIdentified {
                resident: Some(resident(e.resident)),
                closed_provisional_id: opt_resident(e.closed_provisional),
                replaced_resident_id: opt_resident(e.replaced),
            };
            ("ResidentIdentified", fact.into(), personal)
        }
        CallEvent::Closed(e) => ("CallClosed", closed(e).into(), None),
        CallEvent::AttemptedOutsideHours { home, channel, reason } => {
            let fact = pb::CallAttemptedOutsideHours { home_id: id(home.bytes()), channel: channel.code(), reason: reason.code() };
            ("CallAttemptedOutsideHours", fact.into(), None)
        }
        CallEvent::Abandoned { waited_seconds } => ("CallAbandoned", pb::CallAbandoned { waited_seconds }.into(), None),
        CallEvent::Voided(e) => {
            let personal = sealed(&e.note, |note| pb::CallVoidedPersonal { note: note.clone() });
            let fact = pb::CallVoided { reason: e.reason.code(), duplicate_of_call_id: e.duplicate_of.map(|call| id(call.bytes())).unwrap_or_default() };
            ("CallVoided", fact.into(), personal)
        }
        CallEvent::TaskOpened(task) => {
            let fact = types::TaskOpened {
                task_id: id(task.id.bytes()),
                kind: task.kind.as_str().to_owned(),
                role: ActorRole::Clinician as i32,
                due_at_us: task.due_at,
                overdue: false,
                subject_id: bytes::Bytes::new(),
            };
            ("TaskOpened", fact.into(), None)
        }
        CallEvent::TaskClosed { task, kind, closure } => {
            let fact = types::TaskClosed { task_id: id(task.bytes()), kind: kind.as_str().to_owned(), closure: closure.code() };
            ("TaskClosed", fact.into(), None)
        }
        CallEvent::PersonalDataDestroyed => ("PersonalDataDestroyed", types::PersonalDataDestroyed::default().into(), None),
    };
    NewEvent { name, fact: fact_bytes::<pb::CallEvent>(fact), personal, occurred: occurred.clone(), revision: REVISION }
}

/// A recorded fact of a call. `personal` is its sealed part as far as it was opened; a part that nobody opened is `Withheld`.
pub fn inward(fact: &Fact, personal: Option<&PersonalBytes>) -> Result<CallEvent, Unreadable> {
    let event = pb::CallEvent::decode(fact.payload.clone()).map_err(|_| Unreadable("a call event"))?;
    let part = Part { sealed: fact.sealed.is_some(), opened: personal };
    Ok(match event.fact.ok_or(Unreadable("a call event"))? {
        PbFact::CallOpened(e) => CallEvent::Opened(Opened {
            home: e.home_id.as_ref().try_into()?,
            channel: Coded::of_code(e.channel)?,
            reason: Coded::of_code(e.reason)?,
            secondary_reasons: every(&e.secondary_reasons)?,
            resident: resident_of(e.resident)?,
            restore2_used: e.restore2_used,
            said: part.open(|m: &mut pb::CallOpenedPersonal| {
                Ok(OpeningWords {
                    reason_text: std::mem::take(&mut m.reason_text),
                    caller_name: std::mem::take(&mut m.caller_name),
                    resident: m.provisional_resident.take().map(demographics_of).transpose()?,
                })
            })?,
        }),
        PbFact::CallAnswered(_) => CallEvent::Answered,
        PbFact::ObservationsRecorded(e) => CallEvent::ObservationsRecorded(Box::new(observations::inward(e)?)),
        PbFact::CallTriaged(e) => CallEvent::Triaged(Triaged {
            urgency: Coded::of_code(e.urgency)?,
            reason: Coded::of_code(e.reason)?,
            secondary_reasons: every(&e.secondary_reasons)?,
            referral_source: Coded::of_code(e.referral_source)?,
            retriage: e.retriage.then(|| Coded::of_code(e.retriage_reason)).transpose()?,
            note: part.open(|m: &mut pb::CallTriagedPersonal| Ok(std::mem::take(&mut m.note)))?,
        }),
        PbFact::ClinicianJoined(e) => {
            CallEvent::ClinicianJoined(Joined { role: Coded::of_code(e.role)?, grade: Coded::of_code(e.grade)?, after_escalation: e.after_escalation })
        }
        PbFact::CounterfactualRecorded(e) => CallEvent::CounterfactualRecorded(Counterfactual {
            alternative: Coded::of_code(e.alternative)?,
            escort_expected: e.escort_expected,
            escort_minutes: e.escort_minutes,
            text: part.open(|m: &mut pb::CounterfactualRecordedPersonal| Ok(std::mem::take(&mut m.text)))?,
        }),
        PbFact::ConsentRecorded(e) => CallEvent::ConsentRecorded(Consent {
            basis: Coded::of_code(e.basis)?,
            note: part.open(|m: &mut pb::ConsentRecordedPersonal| Ok(std::mem::take(&mut m.note)))?,
        }),
        PbFact::ResidentIdentified(e) => CallEvent::ResidentIdentified(Identified {
            resident: resident_of(e.resident)?,
            closed_provisional: opt_resident_of(&e.closed_provisional_id)?,
            replaced: opt_resident_of(&e.replaced_resident_id)?,
            said: part.open(|m: &mut pb::ResidentIdentifiedPersonal| demographics_of(m.provisional_resident.take().unwrap_or_default()))?,
        }),
        PbFact::CallClosed(e) => CallEvent::Closed(closed_of(e)?),
        PbFact::CallAttemptedOutsideHours(e) => {
            CallEvent::AttemptedOutsideHours { home: e.home_id.as_ref().try_into()?, channel: Coded::of_code(e.channel)?, reason: Coded::of_code(e.reason)? }
        }
        PbFact::CallAbandoned(e) => CallEvent::Abandoned { waited_seconds: e.waited_seconds },
        PbFact::CallVoided(e) => CallEvent::Voided(Voided {
            reason: Coded::of_code(e.reason)?,
            duplicate_of: some_id(&e.duplicate_of_call_id).map(TryInto::try_into).transpose()?,
            note: part.open(|m: &mut pb::CallVoidedPersonal| Ok(std::mem::take(&mut m.note)))?,
        }),
        PbFact::TaskOpened(e) => CallEvent::TaskOpened(Task { id: e.task_id.as_ref().try_into()?, kind: task_kind(&e.kind)?, due_at: e.due_at_us }),
        PbFact::TaskClosed(e) => CallEvent::TaskClosed { task: e.task_id.as_ref().try_into()?, kind: task_kind(&e.kind)?, closure: Coded::of_code(e.closure)? },
        PbFact::PersonalDataDestroyed(_) => CallEvent::PersonalDataDestroyed,
    })
}

/// A fact's personal part on its way in.
struct Part<'a> {
    sealed: bool,
    opened: Option<&'a PersonalBytes>,
}

impl Part<'_> {
    fn open<M, T>(&self, read: impl FnOnce(&mut M) -> Result<T, Unreadable>) -> Result<Option<Personal<T>>, Unreadable>
    where
        M: Message + Default,
        T: Zeroize,
    {
        match (self.opened, self.sealed) {
            (Some(bytes), _) => {
                let read = |bytes: &Vec<u8>| {
                    let mut message = M::decode(bytes.as_slice()).map_err(|_| Unreadable("a personal part"))?;
                    read(&mut message)
                };
                bytes.try_map(read).map(Some)
            }
            (None, true) => Ok(Some(Personal::Withheld)),
            (None, false) => Ok(None),
        }
    }
}

/// Only what is known is ever written.
fn sealed<T: Zeroize, M: Message>(said: &Option<Personal<T>>, message: impl Fn(&T) -> M) -> Option<Zeroizing<Vec<u8>>> {
    let said = said.as_ref()?.known()?;
    Some(Zeroizing::new(message(said).encode_to_vec()))
}

fn closed(e: Closed) -> pb::CallClosed {
    let version = |named: StreamVersion| types::StreamVersion { stream_id: id(named.stream.bytes()), version: named.version };
    let (consultation, to_follow) = match e.outcome {
        Outcome::Consultation(named) => (Some(version(named)), None),
        Outcome::ToFollow(reason) => (None, Some(reason)),
    };
    pb::CallClosed {
        consultation,
        prescriptions: e.prescriptions.into_iter().map(version).collect(),
        outcome_to_follow: to_follow.is_some(),
        outcome_to_follow_reason: opt_code(to_follow),
        corrected_reason: opt_code(e.corrected_reason),
    }
}

fn closed_of(e: pb::CallClosed) -> Result<Closed, Unreadable> {
    let version = |named: types::StreamVersion| -> Result<StreamVersion, Unreadable> {
        Ok(StreamVersion { stream: named.stream_id.as_ref().try_into()?, version: named.version })
    };
    let outcome = match e.consultation {
        Some(named) => Outcome::Consultation(version(named)?),
        None => Outcome::ToFollow(Coded::of_code(e.outcome_to_follow_reason)?),
    };
    Ok(Closed {
        outcome,
        prescriptions: e.prescriptions.into_iter().map(version).collect::<Result<_, _>>()?,
        corrected_reason: (e.corrected_reason != 0).then(|| Coded::of_code(e.corrected_reason)).transpose()?,
    })
}

fn demographics(said: &Demographics) -> types::Demographics {
    types::Demographics {
        family_name: said.family_name.clone(),
        given_names: said.given_names.clone(),
        date_of_birth: said.date_of_birth.as_ref().map(DateOfBirth::to_iso).unwrap_or_default(),
        nhs_number: said.nhs_number.as_ref().map(|n| n.as_str().to_owned()).unwrap_or_default(),
        ..Default::default()
    }
}

fn demographics_of(said: types::Demographics) -> Result<Demographics, Unreadable> {
    let unreadable = Unreadable("demographics");
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(Demographics {
        date_of_birth: some(&said.date_of_birth).map(|t| DateOfBirth::parse(&t)).transpose().map_err(|_| unreadable)?,
        nhs_number: some(&said.nhs_number).map(|t| NhsNumber::parse(&t)).transpose().map_err(|_| unreadable)?,
        family_name: said.family_name,
        given_names: said.given_names,
    })
}

fn resident(resident: ResidentRef) -> types::ResidentRef {
    types::ResidentRef { resident_id: id(resident.id.bytes()), status: resident.status.code() }
}

fn resident_of(resident: Option<types::ResidentRef>) -> Result<ResidentRef, Unreadable> {
    let resident = resident.ok_or(Unreadable("a resident"))?;
    Ok(ResidentRef { id: resident.resident_id.as_ref().try_into()?, status: Coded::of_code(resident.status)? })
}

fn opt_resident(resident: Option<ResidentId>) -> bytes::Bytes {
    resident.map(|r| id(r.bytes())).unwrap_or_default()
}

fn opt_resident_of(bytes: &[u8]) -> Result<Option<ResidentId>, Unreadable> {
    Ok(some_id(bytes).map(TryInto::try_into).transpose()?)
}

fn task_kind(kind: &str) -> Result<TaskKind, Unreadable> {
    TaskKind::parse(kind).map_err(|_| Unreadable("a task"))
}

fn some_id(bytes: &[u8]) -> Option<&[u8]> {
    (!bytes.is_empty()).then_some(bytes)
}

fn id(bytes: &[u8; 16]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes)
}

fn opt_code<T: Coded>(value: Option<T>) -> i32 {
    value.map_or(0, Coded::code)
}

fn all<T: Coded>(values: Vec<T>) -> Vec<i32> {
    values.into_iter().map(Coded::code).collect()
}

fn every<T: Coded>(codes: &[i32]) -> Result<Vec<T>, Unreadable> {
    Ok(codes.iter().map(|code| T::of_code(*code)).collect::<Result<_, _>>()?)
}
