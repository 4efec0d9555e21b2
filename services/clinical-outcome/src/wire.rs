//! The outcome's facts ⇄ protobuf, and what is read of calls. The only file that names the contracts' types.
//!
//! Outwards cannot fail. Inwards can: the bytes may be another writer's.

use crate::domain::events::*;
use crate::domain::words::*;
use bytes::Bytes;
use hearthline_contracts::call::{self, CallEvent, call_event::Fact as CallFact};
use hearthline_contracts::outcome::{self as pb, outcome_event::Fact as PbFact};
use hearthline_contracts::wire::{Coded, UnknownCode, fact_bytes};
use hearthline_contracts::{coded, types};
use hearthline_eventing::{Fact, NewEvent, Occurred, PersonalBytes};
use hearthline_nhs::{HomeId, IdentifierError, Personal};
use prost::Message;
use zeroize::{Zeroize, Zeroizing};

/// Schema revision of every fact that this service writes.
const REVISION: u32 = 1;

coded! {
    Disposition = pb::Disposition {
        AdviceOnly = AdviceOnly, TreatedAtHome = TreatedAtHome, Referred = Referred, GpReview = GpReview, EdByAmbulance = EdByAmbulance,
        EdOther = EdOther, DirectAdmission = DirectAdmission, Emergency999 = Emergency999, Died = Died, Other = Other,
    }
    AvoidanceKind = pb::AvoidanceKind { Conveyance = Conveyance, EdAttendance = EdAttendance, Admission = Admission }
    WithdrawalReason = pb::WithdrawalReason {
        ClaimedInError = ClaimedInError, ConveyanceArranged = ConveyanceArranged, CallVoided = CallVoided, Reviewed = Reviewed,
    }
    AmendmentReason = pb::AmendmentReason {
        NewInformation = NewInformation, Correction = Correction, CallVoided = CallVoided, OtherResident = OtherResident,
    }
    Alternative = types::Alternative {
        Emergency999 = Emergency999, Nhs111 = Nhs111, OutOfHours = OutOfHours, GpCallOut = GpCallOut, Wait = Wait, Other = Other,
    }
    ConsentBasis = call::ConsentBasis { Given = Given, Refused = Refused, BestInterests = BestInterests }
    IdentityStatus = types::IdentityStatus { Identified = Identified, Provisional = Provisional }
}

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
pub fn outward(event: OutcomeEvent, occurred: &Occurred) -> NewEvent {
    let (name, fact, personal) = match event {
        OutcomeEvent::Decided(e) => {
            let personal = sealed(&e.summary, |summary| pb::OutcomeDecidedPersonal { summary: summary.clone() });
            let fact = pb::OutcomeDecided {
                call_id: id(e.call.bytes()),
                call_version: e.call_version,
                resident: Some(resident(e.resident)),
                disposition: e.disposition.code(),
            };
            ("OutcomeDecided", PbFact::from(fact), personal)
        }
        OutcomeEvent::Amended(e) => {
            let personal = sealed(&e.summary, |summary| pb::OutcomeAmendedPersonal { summary: summary.clone() });
            let fact = pb::OutcomeAmended {
                call_id: id(e.call.bytes()),
                call_version: e.call_version,
                resident: Some(resident(e.resident)),
                disposition: e.disposition.code(),
                reason: e.reason.code(),
                withdrawn: e.withdrawn,
            };
            ("OutcomeAmended", fact.into(), personal)
        }
        OutcomeEvent::AvoidanceClaimed(e) => {
            let personal = sealed(&e.words, |words| pb::AvoidanceClaimedPersonal {
                likely_admitting_problem: words.likely_admitting_problem.clone(),
                rationale: words.rationale.clone(),
            });
            let fact = pb::AvoidanceClaimed {
                call_id: id(e.call.bytes()),
                claim_id: id(e.claim.bytes()),
                kind: e.kind.code(),
                would_have_happened: e.would_have_happened.code(),
                resident: Some(resident(e.resident)),
            };
            ("AvoidanceClaimed", fact.into(), personal)
        }
        OutcomeEvent::AvoidanceWithdrawn { claim, kind, reason } => {
            let fact = pb::AvoidanceWithdrawn { claim_id: id(claim.bytes()), reason: reason.code(), kind: kind.code() };
            ("AvoidanceWithdrawn", fact.into(), None)
        }
        OutcomeEvent::PlanAgreed(e) => {
            let personal = sealed(&e.words, |words| pb::TreatmentPlanAgreedPersonal {
                plan: words.plan.clone(),
                gp_actions: words.gp_actions.clone(),
                call_back_if: words.call_back_if.clone(),
            });
            let fact = pb::TreatmentPlanAgreed {
                call_id: id(e.call.bytes()),
                resident: Some(resident(e.resident)),
                plan_version: e.plan_version,
                review_on: e.review_on.map(|date| date.to_string()).unwrap_or_default(),
                agreed_with_home: e.agreed_with_home,
            };
            ("TreatmentPlanAgreed", fact.into(), personal)
        }
    };
    NewEvent { name, fact: fact_bytes::<pb::OutcomeEvent>(fact), personal, occurred: occurred.clone(), revision: REVISION }
}

/// A recorded fact of a consultation; `None` where it says nothing about the outcome (a task, the end of a key). `personal` is its
/// sealed part as far as it was opened; a part that nobody opened is `Withheld`.
pub fn inward(fact: &Fact, personal: Option<&PersonalBytes>) -> Result<Option<OutcomeEvent>, Unreadable> {
    let event = pb::OutcomeEvent::decode(fact.payload.clone()).map_err(|_| Unreadable("an outcome event"))?;
    let part = Part { sealed: fact.sealed.is_some(), opened: personal };
    Ok(Some(match event.fact.ok_or(Unreadable("an outcome event"))? {
        PbFact::OutcomeDecided(e) => OutcomeEvent::Decided(Decided {
            call: e.call_id.as_ref().try_into()?,
            call_version: e.call_version,
            resident: resident_of(e.resident)?,
            disposition: Coded::of_code(e.disposition)?,
            summary: part.open(|m: &mut pb::OutcomeDecidedPersonal| std::mem::take(&mut m.summary))?,
        }),
        PbFact::OutcomeAmended(e) => OutcomeEvent::Amended(Amended {
            call: e.call_id.as_ref().try_into()?,
            call_version: e.call_version,
            resident: resident_of(e.resident)?,
            disposition: Coded::of_code(e.disposition)?,
            reason: Coded::of_code(e.reason)?,
            withdrawn: e.withdrawn,
            summary: part.open(|m: &mut pb::OutcomeAmendedPersonal| std::mem::take(&mut m.summary))?,
        }),
        PbFact::AvoidanceClaimed(e) => OutcomeEvent::AvoidanceClaimed(Claimed {
            call: e.call_id.as_ref().try_into()?,
            claim: e.claim_id.as_ref().try_into()?,
            kind: Coded::of_code(e.kind)?,
            would_have_happened: Coded::of_code(e.would_have_happened)?,
            resident: resident_of(e.resident)?,
            words: part.open(|m: &mut pb::AvoidanceClaimedPersonal| ClaimWords {
                likely_admitting_problem: std::mem::take(&mut m.likely_admitting_problem),
                rationale: std::mem::take(&mut m.rationale),
            })?,
        }),
        PbFact::AvoidanceWithdrawn(e) => {
            OutcomeEvent::AvoidanceWithdrawn { claim: e.claim_id.as_ref().try_into()?, kind: Coded::of_code(e.kind)?, reason: Coded::of_code(e.reason)? }
        }
        PbFact::TreatmentPlanAgreed(e) => OutcomeEvent::PlanAgreed(PlanAgreed {
            call: e.call_id.as_ref().try_into()?,
            resident: resident_of(e.resident)?,
            plan_version: e.plan_version,
            review_on: (!e.review_on.is_empty()).then(|| e.review_on.parse()).transpose().map_err(|_| Unreadable("a day of review"))?,
            agreed_with_home: e.agreed_with_home,
            words: part.open(|m: &mut pb::TreatmentPlanAgreedPersonal| PlanWords {
                plan: std::mem::take(&mut m.plan),
                gp_actions: std::mem::take(&mut m.gp_actions),
                call_back_if: std::mem::take(&mut m.call_back_if),
            })?,
        }),
        PbFact::TaskOpened(_) | PbFact::TaskClosed(_) | PbFact::PersonalDataDestroyed(_) => return Ok(None),
    }))
}

/// What a call's fact says that matters to its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallChange {
    Opened {
        home: HomeId,
        resident: ResidentRef,
    },
    Triaged,
    ClinicianJoined,
    Counterfactual(Alternative),
    Consent(ConsentBasis),
    /// `replaced`: the call was about another resident before.
    Identified {
        resident: ResidentRef,
        replaced: bool,
    },
    Closed,
    Abandoned,
    Voided,
    /// Nothing but a higher version.
    MovedOn,
}

/// A fact of a call.
pub fn call_change(fact: &Fact) -> Result<CallChange, Unreadable> {
    let event = CallEvent::decode(fact.payload.clone()).map_err(|_| Unreadable("a call event"))?;
    Ok(match event.fact.ok_or(Unreadable("a call event"))? {
        CallFact::CallOpened(e) => CallChange::Opened { home: e.home_id.as_ref().try_into()?, resident: resident_of(e.resident)? },
        CallFact::CallTriaged(_) => CallChange::Triaged,
        CallFact::ClinicianJoined(_) => CallChange::ClinicianJoined,
        CallFact::CounterfactualRecorded(e) => CallChange::Counterfactual(Coded::of_code(e.alternative)?),
        CallFact::ConsentRecorded(e) => CallChange::Consent(Coded::of_code(e.basis)?),
        CallFact::ResidentIdentified(e) => CallChange::Identified { resident: resident_of(e.resident)?, replaced: !e.replaced_resident_id.is_empty() },
        CallFact::CallClosed(_) => CallChange::Closed,
        CallFact::CallAbandoned(_) => CallChange::Abandoned,
        CallFact::CallVoided(_) => CallChange::Voided,
        CallFact::CallAnswered(_)
        | CallFact::ObservationsRecorded(_)
        | CallFact::CallAttemptedOutsideHours(_)
        | CallFact::TaskOpened(_)
        | CallFact::TaskClosed(_)
        | CallFact::PersonalDataDestroyed(_) => CallChange::MovedOn,
    })
}

/// A fact's personal part on its way in.
struct Part<'a> {
    sealed: bool,
    opened: Option<&'a PersonalBytes>,
}

impl Part<'_> {
    fn open<M, T>(&self, read: impl FnOnce(&mut M) -> T) -> Result<Option<Personal<T>>, Unreadable>
    where
        M: Message + Default,
        T: Zeroize,
    {
        let decode = |bytes: &Vec<u8>| {
            let mut message = M::decode(bytes.as_slice()).map_err(|_| Unreadable("a personal part"))?;
            Ok(read(&mut message))
        };
        match (self.opened, self.sealed) {
            (Some(bytes), _) => bytes.try_map(decode).map(Some),
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

fn resident(resident: ResidentRef) -> types::ResidentRef {
    types::ResidentRef { resident_id: id(resident.id.bytes()), status: resident.status.code() }
}

fn resident_of(resident: Option<types::ResidentRef>) -> Result<ResidentRef, Unreadable> {
    let resident = resident.ok_or(Unreadable("a resident"))?;
    Ok(ResidentRef { id: resident.resident_id.as_ref().try_into()?, status: Coded::of_code(resident.status)? })
}

fn id(bytes: &[u8; 16]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
