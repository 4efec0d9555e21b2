//! The rules of an outcome, as tables of state × command.

use super::decide::*;
use super::events::*;
use super::words::*;
use super::{CallReference, Consultation, OutcomeEvent, Rejection};
use hearthline_nhs::words::Word;
use hearthline_nhs::{CallId, ClaimId, HomeId, Personal, ResidentId};

const CALL: CallId = CallId::from_bytes([1; 16]);
const CLAIM: ClaimId = ClaimId::from_bytes([2; 16]);

fn resident(n: u8) -> ResidentRef {
    ResidentRef { id: ResidentId::from_bytes([n; 16]), status: IdentityStatus::Identified }
}

/// A call with a clinician, its counterfactual recorded.
fn call() -> CallReference {
    CallReference {
        id: CALL,
        version: 6,
        home: HomeId::from_bytes([7; 16]),
        status: CallStatus::WithClinician,
        joined: true,
        counterfactual: Some(Alternative::Emergency999),
        consent: None,
        resident: resident(3),
        opened_at: 0,
    }
}

fn claim(kind: AvoidanceKind, problem: &str) -> ClaimAvoidance {
    let words = ClaimWords { likely_admitting_problem: problem.to_owned(), rationale: "observed at home".to_owned() };
    ClaimAvoidance { id: CLAIM, kind, words: Some(Personal::of(words)) }
}

fn decision(disposition: Disposition, claims: Vec<ClaimAvoidance>) -> DecideOutcome {
    DecideOutcome { call_version: 6, disposition, summary: None, claims, plan: None }
}

/// One row of a table: given this call, the decision comes to this.
fn check(given: &CallReference, command: DecideOutcome, expected: Result<usize, Rejection>) {
    let shown = format!("{command:?}");
    assert_eq!(decide_outcome(given, command).map(|events| events.len()), expected, "given {given:?}, {shown}");
}

#[test]
fn a_clinician_who_has_joined_decides() {
    let treated = || decision(Disposition::TreatedAtHome, vec![]);
    check(&call(), treated(), Ok(1));
    check(&CallReference { status: CallStatus::Closed, ..call() }, treated(), Ok(1));
    check(&CallReference { status: CallStatus::Triaged, joined: false, ..call() }, treated(), Err(Rejection::NotWithClinician));
    check(&CallReference { status: CallStatus::Voided, ..call() }, treated(), Err(Rejection::CallVoided));
    check(&CallReference { status: CallStatus::Abandoned, joined: false, ..call() }, treated(), Err(Rejection::CallAbandoned));
}

#[test]
fn a_claim_rests_on_what_the_home_would_have_done() {
    let claims = || decision(Disposition::TreatedAtHome, vec![claim(AvoidanceKind::Conveyance, "")]);
    check(&call(), claims(), Ok(2));
    check(&CallReference { counterfactual: None, ..call() }, claims(), Err(Rejection::ClaimWithoutCounterfactual));
    check(&CallReference { counterfactual: None, ..call() }, decision(Disposition::TreatedAtHome, vec![]), Ok(1));
}

#[test]
fn what_was_done_cannot_have_been_avoided() {
    use AvoidanceKind::*;
    for disposition in Disposition::EVERY {
        for kind in AvoidanceKind::EVERY {
            let contradicts = matches!(
                (kind, disposition),
                (Conveyance, Disposition::EdByAmbulance | Disposition::Emergency999)
                    | (EdAttendance, Disposition::EdByAmbulance | Disposition::EdOther)
                    | (Admission, Disposition::DirectAdmission)
            );
            let expected = if contradicts { Err(Rejection::ClaimContradictsDisposition) } else { Ok(2) };
            check(&call(), decision(*disposition, vec![claim(*kind, "pneumonia")]), expected);
        }
    }
}

#[test]
fn a_claimed_admission_names_its_problem_and_no_kind_is_claimed_twice() {
    let admission = |problem| claim(AvoidanceKind::Admission, problem);
    check(&call(), decision(Disposition::TreatedAtHome, vec![admission("")]), Err(Rejection::AdmittingProblemMissing));
    check(&call(), decision(Disposition::TreatedAtHome, vec![admission("pneumonia")]), Ok(2));
    let twice = vec![admission("pneumonia"), admission("sepsis")];
    check(&call(), decision(Disposition::TreatedAtHome, twice), Err(Rejection::ClaimedTwice));
}

fn plan() -> AgreePlan {
    AgreePlan { review_on: None, agreed_with_home: true, words: Personal::of(PlanWords::default()) }
}

/// A consultation with one claimed conveyance and a first plan.
fn consultation() -> Consultation {
    let command = DecideOutcome { plan: Some(plan()), ..decision(Disposition::TreatedAtHome, vec![claim(AvoidanceKind::Conveyance, "")]) };
    after(None, &decide_outcome(&call(), command).expect("decided"))
}

fn after(consultation: Option<Consultation>, events: &[OutcomeEvent]) -> Consultation {
    events.iter().fold(consultation, Consultation::evolve).expect("it was decided")
}

fn withdrawn(reason: WithdrawalReason) -> OutcomeEvent {
    OutcomeEvent::AvoidanceWithdrawn { claim: CLAIM, kind: AvoidanceKind::Conveyance, reason }
}

#[test]
fn a_claim_is_withdrawn_once_with_a_reason_of_its_own() {
    let error = WithdrawalReason::ClaimedInError;
    let given = consultation();
    assert_eq!(withdraw(&given, CLAIM, error), Some(Ok(vec![withdrawn(error)])));
    assert_eq!(withdraw(&given, CLAIM, WithdrawalReason::CallVoided), Some(Err(Rejection::ReasonReserved)));
    assert_eq!(withdraw(&given, ClaimId::from_bytes([9; 16]), error), None);
    let given = after(Some(given), &[withdrawn(error)]);
    assert_eq!(withdraw(&given, CLAIM, error), Some(Err(Rejection::AlreadyWithdrawn)));
}

#[test]
fn each_plan_has_the_next_version() {
    let mut given = consultation();
    for version in 2..4 {
        let events = agree_plan(&given, plan()).expect("agreed");
        given = after(Some(given), &events);
        assert_eq!(given.plan_version, version);
    }
}

#[test]
fn a_voided_call_withdraws_its_outcome_and_every_standing_claim_once() {
    let voided = CallReference { status: CallStatus::Voided, version: 9, ..call() };
    let events = follow_call(&consultation(), &voided, true);
    assert!(matches!(
        events.as_slice(),
        [
            OutcomeEvent::Amended(Amended { withdrawn: true, reason: AmendmentReason::CallVoided, call_version: 9, .. }),
            OutcomeEvent::AvoidanceWithdrawn { reason: WithdrawalReason::CallVoided, .. }
        ]
    ));
    let gone = after(Some(consultation()), &events);
    assert_eq!(follow_call(&gone, &voided, true), vec![]);
    assert_eq!(agree_plan(&gone, plan()), Err(Rejection::CallVoided));
}

#[test]
fn an_outcome_follows_its_call_to_another_resident() {
    let now_about = CallReference { resident: resident(4), ..call() };
    assert_eq!(follow_call(&consultation(), &now_about, true), vec![], "two ids of one person");
    let events = follow_call(&consultation(), &now_about, false);
    assert_eq!(after(Some(consultation()), &events).resident, resident(4));
}
