//! The rules of an outcome: what a command comes to. Nothing here reads a clock, a random number or a table.

use super::events::*;
use super::rejection::Rejection;
use super::state::{CallReference, Claim, Consultation};
use super::words::*;
use hearthline_nhs::{ClaimId, Personal};
use jiff::civil::Date;

/// Decides the outcome of a call, with what goes along with it.
#[derive(Debug, Clone)]
pub struct DecideOutcome {
    pub call_version: u64,
    pub disposition: Disposition,
    pub summary: Option<Personal<String>>,
    pub claims: Vec<ClaimAvoidance>,
    pub plan: Option<AgreePlan>,
}

/// Claims that something was avoided. `id` is fresh.
#[derive(Debug, Clone)]
pub struct ClaimAvoidance {
    pub id: ClaimId,
    pub kind: AvoidanceKind,
    pub words: Option<Personal<ClaimWords>>,
}

/// Agrees a plan of care.
#[derive(Debug, Clone)]
pub struct AgreePlan {
    pub review_on: Option<Date>,
    pub agreed_with_home: bool,
    pub words: Personal<PlanWords>,
}

impl AgreePlan {
    fn agreed(self, call: hearthline_nhs::CallId, resident: ResidentRef, plan_version: u32) -> OutcomeEvent {
        OutcomeEvent::PlanAgreed(PlanAgreed {
            call,
            resident,
            plan_version,
            review_on: self.review_on,
            agreed_with_home: self.agreed_with_home,
            words: Some(self.words),
        })
    }
}

/// A clinician who has joined the call decides; also after the call was closed with its outcome to follow. That a call has
/// one consultation only is kept by a claim.
pub fn decide_outcome(call: &CallReference, command: DecideOutcome) -> Result<Vec<OutcomeEvent>, Rejection> {
    match call.status {
        CallStatus::Voided => return Err(Rejection::CallVoided),
        CallStatus::Abandoned => return Err(Rejection::CallAbandoned),
        CallStatus::Open | CallStatus::Triaged | CallStatus::WithClinician | CallStatus::Closed => {}
    }
    if !call.joined {
        return Err(Rejection::NotWithClinician);
    }
    let DecideOutcome { call_version, disposition, summary, claims, plan } = command;
    let mut events = vec![OutcomeEvent::Decided(Decided { call: call.id, call_version, resident: call.resident, disposition, summary })];
    for (n, claim) in claims.iter().enumerate() {
        if claims[..n].iter().any(|before| before.kind == claim.kind) {
            return Err(Rejection::ClaimedTwice);
        }
        events.push(claimed(call, disposition, claim.clone())?);
    }
    events.extend(plan.map(|plan| plan.agreed(call.id, call.resident, 1)));
    Ok(events)
}

fn claimed(call: &CallReference, disposition: Disposition, claim: ClaimAvoidance) -> Result<OutcomeEvent, Rejection> {
    let would_have_happened = call.counterfactual.ok_or(Rejection::ClaimWithoutCounterfactual)?;
    if contradicts(claim.kind, disposition) {
        return Err(Rejection::ClaimContradictsDisposition);
    }
    let names_problem = |words: &Personal<ClaimWords>| words.known().is_some_and(|w| !w.likely_admitting_problem.is_empty());
    if claim.kind == AvoidanceKind::Admission && !claim.words.as_ref().is_some_and(names_problem) {
        return Err(Rejection::AdmittingProblemMissing);
    }
    Ok(OutcomeEvent::AvoidanceClaimed(Claimed {
        call: call.id,
        claim: claim.id,
        kind: claim.kind,
        would_have_happened,
        resident: call.resident,
        words: claim.words,
    }))
}

/// What was done cannot have been avoided.
fn contradicts(kind: AvoidanceKind, disposition: Disposition) -> bool {
    use Disposition::*;
    match kind {
        AvoidanceKind::Conveyance => matches!(disposition, EdByAmbulance | Emergency999),
        AvoidanceKind::EdAttendance => matches!(disposition, EdByAmbulance | EdOther),
        AvoidanceKind::Admission => matches!(disposition, DirectAdmission),
    }
}

/// A claim was a mistake, or does not hold any more. `None`: the consultation has no such claim.
pub fn withdraw(consultation: &Consultation, claim: ClaimId, reason: WithdrawalReason) -> Option<Result<Vec<OutcomeEvent>, Rejection>> {
    let claim = consultation.claims.iter().find(|c| c.id == claim)?;
    Some(if claim.withdrawn.is_some() {
        Err(Rejection::AlreadyWithdrawn)
    } else if reason == WithdrawalReason::CallVoided {
        Err(Rejection::ReasonReserved)
    } else {
        Ok(vec![withdrawn(claim, reason)])
    })
}

/// The plan is agreed, or agreed anew.
pub fn agree_plan(consultation: &Consultation, plan: AgreePlan) -> Result<Vec<OutcomeEvent>, Rejection> {
    if consultation.withdrawn {
        return Err(Rejection::CallVoided);
    }
    Ok(vec![plan.agreed(consultation.call, consultation.resident, consultation.plan_version + 1)])
}

/// What has become of the call makes the outcome follow: a voided call withdraws it with every claim, another resident takes it
/// over. `call` is the call as it is now; `same_person` says whether its resident and the consultation's resolve to one.
pub fn follow_call(consultation: &Consultation, call: &CallReference, same_person: bool) -> Vec<OutcomeEvent> {
    if consultation.withdrawn {
        return Vec::new();
    }
    let amended = |reason: AmendmentReason, resident: ResidentRef| {
        OutcomeEvent::Amended(Amended {
            call: consultation.call,
            call_version: call.version,
            resident,
            disposition: consultation.disposition,
            reason,
            withdrawn: reason == AmendmentReason::CallVoided,
            summary: None,
        })
    };
    if call.status == CallStatus::Voided {
        let standing = consultation.claims.iter().filter(|claim| claim.withdrawn.is_none());
        let mut events = vec![amended(AmendmentReason::CallVoided, consultation.resident)];
        events.extend(standing.map(|claim| withdrawn(claim, WithdrawalReason::CallVoided)));
        return events;
    }
    if same_person { Vec::new() } else { vec![amended(AmendmentReason::OtherResident, call.resident)] }
}

fn withdrawn(claim: &Claim, reason: WithdrawalReason) -> OutcomeEvent {
    OutcomeEvent::AvoidanceWithdrawn { claim: claim.id, kind: claim.kind, reason }
}
