//! The rules of a call, as tables of state × command.

use super::decide::*;
use super::events::*;
use super::words::*;
use super::{Call, CallEvent, Rejection};
use hearthline_nhs::words::Word;
use hearthline_nhs::{
    CallId, Consciousness, HomeId, InspiredGas, Interval, Observations, OpeningHours, Parameter, Personal, Readings, ResidentId, Risk, StreamId, TaskId,
};

const HOME: HomeId = HomeId::from_bytes([7; 16]);
const CALL: CallId = CallId::from_bytes([1; 16]);
const KNOWN: ResidentId = ResidentId::from_bytes([2; 16]);
const OTHER: ResidentId = ResidentId::from_bytes([3; 16]);
const PROVISIONAL: ResidentId = ResidentId::from_bytes([4; 16]);
const CONSULTATION: StreamVersion = StreamVersion { stream: StreamId::from_bytes([5; 16]), version: 4 };
const PRESCRIPTION: StreamVersion = StreamVersion { stream: StreamId::from_bytes([6; 16]), version: 5 };
const TASK: TaskId = TaskId::from_bytes([8; 16]);
/// Sunday 22 November 2026, 02:10 UTC.
const SUNDAY_NIGHT: i64 = 1_795_313_400_000_000;

fn opened(resident: ResidentRef) -> Opened {
    Opened {
        home: HOME,
        channel: Channel::Telephone,
        reason: CallReason::Breathlessness,
        secondary_reasons: Vec::new(),
        resident,
        restore2_used: true,
        said: None,
    }
}

fn provisional() -> ResidentRef {
    ResidentRef { id: PROVISIONAL, status: IdentityStatus::Provisional }
}

fn identified(id: ResidentId) -> ResidentRef {
    ResidentRef { id, status: IdentityStatus::Identified }
}

fn triaged(retriage: Option<RetriageReason>) -> CallEvent {
    CallEvent::Triaged(Triaged {
        urgency: Urgency::Urgent,
        reason: CallReason::Breathlessness,
        secondary_reasons: Vec::new(),
        referral_source: ReferralSource::HomeDirect,
        retriage,
        note: None,
    })
}

fn joined(after_escalation: bool) -> CallEvent {
    CallEvent::ClinicianJoined(Joined { role: ClinicianRole::Nurse, grade: ClinicianGrade::Band7, after_escalation })
}

fn closed(outcome: Outcome) -> CallEvent {
    CallEvent::Closed(Closed { outcome, prescriptions: Vec::new(), corrected_reason: None })
}

/// The call after an opening with a provisional resident and the events given.
fn call(events: &[CallEvent]) -> Call {
    let first = CallEvent::Opened(opened(provisional()));
    let folded = std::iter::once(&first).chain(events).fold(None, |call, event| Call::evolve(call, event, SUNDAY_NIGHT));
    folded.expect("it was opened")
}

/// One row of a table: given these facts, the command comes to this.
fn check(given: &[CallEvent], command: impl Fn(&Call) -> Result<Vec<CallEvent>, Rejection>, expected: Result<Vec<CallEvent>, Rejection>) {
    assert_eq!(command(&call(given)), expected, "given {given:?}");
}

fn triage_with(retriage: Option<RetriageReason>) -> Triage {
    Triage { urgency: Urgency::Urgent, reason: None, secondary_reasons: Vec::new(), referral_source: ReferralSource::HomeDirect, retriage, note: None }
}

fn open_at(home: Option<Home>, hours: &OpeningHours, at_us: i64) -> Result<Vec<CallEvent>, Rejection> {
    let command = OpenCall { opened: opened(provisional()), observed: None, counterfactual: None, consent: None };
    open(home, hours, at_us, command)
}

#[test]
fn a_home_calls_from_the_moment_it_is_live() {
    let live_from = |from| Some(Home { id: HOME, live_from: from });
    let always = OpeningHours::always();
    let open = vec![CallEvent::Opened(opened(provisional()))];
    assert_eq!(open_at(None, &always, SUNDAY_NIGHT), Err(Rejection::HomeUnknown));
    assert_eq!(open_at(live_from(None), &always, SUNDAY_NIGHT), Err(Rejection::HomeNotLive));
    assert_eq!(open_at(live_from(Some(SUNDAY_NIGHT + 1)), &always, SUNDAY_NIGHT), Err(Rejection::HomeNotLive));
    assert_eq!(open_at(live_from(Some(SUNDAY_NIGHT)), &always, SUNDAY_NIGHT), Ok(open));
}

#[test]
fn an_attempt_outside_hours_is_recorded_and_nothing_else() {
    let days = Interval::parse("08:00-20:00").expect("valid");
    let hours = OpeningHours::closed().with_weekday(jiff::civil::Weekday::Sunday, vec![days]).expect("valid");
    let home = Some(Home { id: HOME, live_from: Some(0) });
    let attempted = CallEvent::AttemptedOutsideHours { home: HOME, channel: Channel::Telephone, reason: CallReason::Breathlessness };
    assert_eq!(open_at(home, &hours, SUNDAY_NIGHT), Ok(vec![attempted]));
    let at_eight = SUNDAY_NIGHT + (5 * 60 + 50) * 60_000_000;
    assert_eq!(open_at(home, &hours, at_eight - 1).map(|e| e.len()), Ok(1));
    assert!(matches!(open_at(home, &hours, at_eight).as_deref(), Ok([CallEvent::Opened(_)])));
}

#[test]
fn what_is_said_with_the_call_follows_its_opening() {
    let command = OpenCall {
        opened: opened(provisional()),
        observed: Some(observe(Some(6))),
        counterfactual: Some(Alternative::Emergency999),
        consent: Some(ConsentBasis::BestInterests),
    };
    let events = open(Some(Home { id: HOME, live_from: Some(0) }), &OpeningHours::always(), SUNDAY_NIGHT, command).expect("open");
    assert!(matches!(
        events.as_slice(),
        [CallEvent::Opened(_), CallEvent::ObservationsRecorded(_), CallEvent::CounterfactualRecorded(_), CallEvent::ConsentRecorded(_)]
    ));
}

fn observe(supplied_total: Option<u8>) -> Observe {
    // 2 + 1 + 0 + 0 + 1 + 0 + 1 = 5, medium (RCP 2017, charts 1 and 2).
    let observations = Observations::parse(Readings {
        respiratory_rate: Some(22),
        oxygen_saturation: Some(95),
        inspired_gas: Some(InspiredGas::Air),
        systolic_blood_pressure: Some(128),
        pulse: Some(104),
        consciousness: Some(Consciousness::Alert),
        temperature: Some(38.4),
        ..Readings::default()
    });
    Observe { observations: observations.expect("possible"), tool: ObservationTool::Restore2, supplied_total, usual_news2: None }
}

fn recorded(observe: Observe) -> Observed {
    match record_observations(&call(&[]), observe).expect("open").remove(0) {
        CallEvent::ObservationsRecorded(observed) => *observed,
        other => panic!("not observations: {other:?}"),
    }
}

#[test]
fn a_stated_total_is_compared_and_never_used() {
    for (supplied, wrong) in [(None, false), (Some(5), false), (Some(3), true)] {
        let observed = recorded(observe(supplied));
        assert_eq!((observed.score.total, observed.score.risk), (Some(5), Risk::Medium));
        assert_eq!(observed.supplied_total_wrong, wrong, "{supplied:?}");
    }
}

#[test]
fn observations_with_gaps_give_a_floor_and_no_total() {
    let seen = Observations::parse(Readings { respiratory_rate: Some(26), ..Readings::default() }).expect("possible");
    let observed = recorded(Observe { observations: seen, tool: ObservationTool::None, supplied_total: Some(3), usual_news2: None });
    assert_eq!((observed.score.total, observed.score.partial, observed.score.risk), (None, Some(3), Risk::LowMedium));
    assert_eq!(observed.score.missing.len(), Parameter::ALL.len() - 1);
    assert!(observed.supplied_total_wrong, "what was not measured was taken as normal");
}

#[test]
fn a_call_is_answered_once() {
    check(&[], answer, Ok(vec![CallEvent::Answered]));
    check(&[CallEvent::Answered], answer, Err(Rejection::AlreadyAnswered));
}

#[test]
fn triage_again_needs_a_reason() {
    let again = Some(RetriageReason::ConditionChanged);
    check(&[], |c| triage(c, triage_with(None)), Ok(vec![triaged(None)]));
    check(&[], |c| triage(c, triage_with(again)), Err(Rejection::NotTriaged));
    for given in [vec![triaged(None)], vec![triaged(None), joined(false)]] {
        check(&given, |c| triage(c, triage_with(None)), Err(Rejection::AlreadyTriaged));
        check(&given, |c| triage(c, triage_with(again)), Ok(vec![triaged(again)]));
    }
    assert_eq!(call(&[triaged(None), joined(false), triaged(again)]).status, Status::WithClinician);
}

#[test]
fn a_clinician_joins_after_triage_and_another_after_an_escalation() {
    let join = |c: &Call| join(c, ClinicianRole::Nurse, ClinicianGrade::Band7);
    check(&[], join, Err(Rejection::NotTriaged));
    check(&[triaged(None)], join, Ok(vec![joined(false)]));
    check(&[triaged(None), joined(false)], join, Ok(vec![joined(true)]));
}

fn identification(resident: ResidentRef, closed: Option<ResidentId>, replaced: Option<ResidentId>) -> CallEvent {
    CallEvent::ResidentIdentified(Identified { resident, closed_provisional: closed, replaced, said: None })
}

#[test]
fn a_known_resident_closes_a_provisional_one_and_replaces_an_identified_one() {
    let known = |id| move |c: &Call| identify(c, Identify::Known(id));
    let first = identification(identified(KNOWN), Some(PROVISIONAL), None);
    check(&[], known(KNOWN), Ok(vec![first.clone()]));
    check(&[], known(PROVISIONAL), Ok(vec![identification(identified(PROVISIONAL), None, None)]));
    check(std::slice::from_ref(&first), known(KNOWN), Err(Rejection::AlreadyIdentified));
    check(&[first], known(OTHER), Ok(vec![identification(identified(OTHER), None, Some(KNOWN))]));
}

#[test]
fn a_described_resident_keeps_the_provisional_id_or_gets_a_fresh_one() {
    let said = Some(Personal::of(Demographics { family_name: "Zyxwv".to_owned(), given_names: Vec::new(), date_of_birth: None, nhs_number: None }));
    let describe = |c: &Call| identify(c, Identify::Described { fresh: OTHER, said: said.clone() });
    let event = |id, replaced| {
        let resident = ResidentRef { id, status: IdentityStatus::Provisional };
        CallEvent::ResidentIdentified(Identified { resident, closed_provisional: None, replaced, said: said.clone() })
    };
    check(&[], describe, Ok(vec![event(PROVISIONAL, None)]));
    let known = identification(identified(KNOWN), Some(PROVISIONAL), None);
    check(&[known], describe, Ok(vec![event(OTHER, Some(KNOWN))]));
}

fn close_with(consultation: Option<StreamVersion>, prescriptions: Vec<StreamVersion>, to_follow: Option<OutcomeToFollow>) -> Close {
    Close { call: CALL, consultation, prescriptions, outcome_to_follow: to_follow, corrected_reason: None }
}

#[test]
fn a_call_is_closed_with_what_was_seen_or_a_reason_why_not() {
    let with_clinician = [triaged(None), joined(false)];
    let seen = [Seen { stream: CONSULTATION.stream, call: CALL }, Seen { stream: PRESCRIPTION.stream, call: CALL }];
    let elsewhere = [Seen { stream: CONSULTATION.stream, call: CALL }, Seen { stream: PRESCRIPTION.stream, call: CallId::from_bytes([9; 16]) }];
    let interrupted = Some(OutcomeToFollow::CallInterrupted);
    let named = || close_with(Some(CONSULTATION), vec![PRESCRIPTION], None);

    let repeats = CallEvent::Closed(Closed { outcome: Outcome::Consultation(CONSULTATION), prescriptions: vec![PRESCRIPTION], corrected_reason: None });
    check(&with_clinician, |c| close(c, named(), &seen), Ok(vec![repeats]));
    check(&with_clinician, |c| close(c, close_with(None, vec![], None), &seen), Err(Rejection::OutcomeMissing));
    let to_follow = closed(Outcome::ToFollow(OutcomeToFollow::CallInterrupted));
    check(&with_clinician, |c| close(c, close_with(None, vec![], interrupted), &[]), Ok(vec![to_follow]));
    check(&with_clinician, |c| close(c, named(), &elsewhere), Err(Rejection::PrescriptionOfAnotherCall));
    check(&with_clinician, |c| close(c, named(), &elsewhere[1..]), Err(Rejection::ConsultationOfAnotherCall));
    check(&[triaged(None)], |c| close(c, named(), &seen), Err(Rejection::NotWithClinician));
}

#[test]
fn nothing_is_recorded_after_the_end_of_a_call() {
    let ends = [
        (vec![triaged(None), joined(false), closed(Outcome::Consultation(CONSULTATION))], Rejection::CallClosed),
        (vec![CallEvent::Abandoned { waited_seconds: 90 }], Rejection::CallAbandoned),
        (vec![voided(VoidReason::NotACall, None)], Rejection::CallVoided),
    ];
    for (given, refusal) in ends {
        check(&given, answer, Err(refusal));
        check(&given, |c| triage(c, triage_with(None)), Err(refusal));
        check(&given, |c| join(c, ClinicianRole::Gp, ClinicianGrade::Gp), Err(refusal));
        check(&given, |c| record_observations(c, observe(None)), Err(refusal));
        check(&given, |c| record_consent(c, Consent { basis: ConsentBasis::Given, note: None }), Err(refusal));
        check(&given, |c| identify(c, Identify::Known(KNOWN)), Err(refusal));
        check(&given, |c| close(c, close_with(None, vec![], None), &[]), Err(refusal));
        check(&given, |c| abandon(c, 1), Err(refusal));
    }
}

#[test]
fn a_call_that_a_person_answered_is_not_abandoned() {
    check(&[], |c| abandon(c, 90), Ok(vec![CallEvent::Abandoned { waited_seconds: 90 }]));
    check(&[CallEvent::Answered], |c| abandon(c, 90), Err(Rejection::AlreadyAnswered));
}

fn voided(reason: VoidReason, duplicate_of: Option<CallId>) -> CallEvent {
    CallEvent::Voided(Voided { reason, duplicate_of, note: None })
}

#[test]
fn only_a_duplicate_names_another_call() {
    let another = Some(CallId::from_bytes([9; 16]));
    let void = |reason, duplicate_of| move |c: &Call| void(CALL, c, Voided { reason, duplicate_of, note: None });
    check(&[], void(VoidReason::Duplicate, another), Ok(vec![voided(VoidReason::Duplicate, another)]));
    check(&[], void(VoidReason::Duplicate, None), Err(Rejection::NotADuplicate));
    check(&[], void(VoidReason::Duplicate, Some(CALL)), Err(Rejection::NotADuplicate));
    check(&[], void(VoidReason::WrongHome, another), Err(Rejection::NotADuplicate));
    check(&[voided(VoidReason::WrongHome, None)], void(VoidReason::WrongHome, None), Err(Rejection::CallVoided));
}

#[test]
fn an_outcome_that_does_not_follow_becomes_a_task_and_one_that_does_ends_it() {
    let to_follow = vec![triaged(None), joined(false), closed(Outcome::ToFollow(OutcomeToFollow::AwaitingSenior))];
    let opened = CallEvent::TaskOpened(Task { id: TASK, kind: TaskKind::OutcomeMissing, due_at: 5 });
    let done = CallEvent::TaskClosed { task: TASK, kind: TaskKind::OutcomeMissing, closure: Closure::Done };
    let with_task = [to_follow.clone(), vec![opened.clone()]].concat();
    let ended = [with_task.clone(), vec![done.clone()]].concat();
    assert_eq!(follow_up(&call(&to_follow), false, TASK, 5), vec![opened]);
    assert_eq!(follow_up(&call(&to_follow), true, TASK, 5), vec![]);
    assert_eq!(follow_up(&call(&with_task), false, TASK, 6), vec![], "one task is enough");
    assert_eq!(follow_up(&call(&with_task), true, TASK, 6), vec![done]);
    assert_eq!(follow_up(&call(&ended), true, TASK, 7), vec![]);
    assert_eq!(follow_up(&call(&[triaged(None)]), false, TASK, 5), vec![], "nothing was to follow");
}

#[test]
fn every_word_reads_back() {
    fn all<T: Word + std::fmt::Debug + PartialEq>() {
        for word in T::EVERY {
            assert_eq!(T::parse(word.as_str()), Ok(*word));
        }
        assert!(T::parse("no such word").is_err());
    }
    all::<Channel>();
    all::<CallReason>();
    all::<Urgency>();
    all::<ReferralSource>();
    all::<ClinicianRole>();
    all::<ClinicianGrade>();
    all::<Alternative>();
    all::<Status>();
}
