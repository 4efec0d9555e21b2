use super::*;
use crate::domain::{Arrival, Confidence, Moment, Order, VisitClass};
use hearthline_nhs::{HomeId, ResidentId};

const RESIDENT: ResidentId = ResidentId::from_bytes([1; 16]);
const OTHER: ResidentId = ResidentId::from_bytes([2; 16]);
const HOME: HomeId = HomeId::from_bytes([9; 16]);

fn details(class: VisitClass, method: &str) -> Details {
    Details {
        class: Some(class),
        admission_method: method.into(),
        source: String::new(),
        site: String::new(),
        arrival: Arrival::Ambulance,
        arrival_code: "A".into(),
    }
}

fn admission() -> Report {
    Report::Opening(details(VisitClass::Inpatient, "21"))
}

fn attendance() -> Report {
    Report::Opening(details(VisitClass::Emergency, ""))
}

fn discharge() -> Report {
    Report::Discharge { destination: "19".into(), method: String::new(), died: false }
}

fn resident(id: ResidentId) -> Option<Subject> {
    Some(Subject::Resident { id, home: Some(HOME), confidence: Confidence::High })
}

fn home() -> Option<Subject> {
    Some(Subject::Home { home: HOME, rule: ResolverRule::HomeAddress, confidence: Confidence::High })
}

fn reported(report: Report) -> Reported {
    Reported {
        feed: "rhm".into(),
        facility: "RHM".into(),
        trigger: "A01".into(),
        at: Moment { at_us: 5, zone: "Europe/London".into(), ambiguous: false },
        order: Order { occurred_us: Some(5), recorded_us: None, sent_us: None },
        nhs_number_status: "01".into(),
        report,
    }
}

fn after(given: &[(Report, Option<Subject>)]) -> Visit {
    given.iter().fold(Visit::default(), |visit, (report, subject)| {
        let events = decide(&visit, &reported(report.clone()), subject.as_ref()).expect("the given reports are taken");
        events.iter().fold(visit, Visit::evolve)
    })
}

fn names(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(Event::name).collect()
}

fn check(given: &[(Report, Option<Subject>)], report: Report, subject: Option<Subject>, expected: Result<&[&'static str], Rejection>) {
    let got = decide(&after(given), &reported(report.clone()), subject.as_ref());
    assert_eq!(got.as_deref().map(names), expected.as_ref().map(|names| names.to_vec()), "{given:?} then {report:?}");
}

#[test]
fn a_visit_is_opened_moved_closed_and_reopened() {
    let open = [(admission(), resident(RESIDENT))];
    let closed = [(admission(), resident(RESIDENT)), (discharge(), resident(RESIDENT))];
    check(&[], admission(), resident(RESIDENT), Ok(&["VisitOpened"]));
    check(&open, discharge(), resident(RESIDENT), Ok(&["VisitClosed"]));
    check(&open, Report::CancelAdmission, None, Ok(&["VisitCancelled"]));
    check(&closed, Report::CancelDischarge, None, Ok(&["VisitReopened"]));
    check(&open, Report::Change(details(VisitClass::Inpatient, "28")), None, Ok(&["VisitTransferred"]));
}

#[test]
fn an_attendance_that_becomes_an_admission_is_one_visit() {
    check(&[(attendance(), resident(RESIDENT))], admission(), resident(RESIDENT), Ok(&["VisitTransferred"]));
}

#[test]
fn what_comes_before_its_opening_is_not_taken() {
    for report in [discharge(), Report::CancelAdmission, Report::CancelDischarge, Report::Change(details(VisitClass::Inpatient, "21"))] {
        check(&[], report, resident(RESIDENT), Err(Rejection::NotOpened));
    }
    check(&[], admission(), None, Err(Rejection::NotOpened));
}

#[test]
fn saying_the_same_again_changes_nothing_and_what_has_no_effect_yet_is_remembered() {
    let open = [(admission(), resident(RESIDENT))];
    let closed = [(admission(), resident(RESIDENT)), (discharge(), None)];
    let cancelled = [(admission(), resident(RESIDENT)), (Report::CancelAdmission, None)];
    check(&open, admission(), resident(RESIDENT), Err(Rejection::NothingNew));
    check(&closed, discharge(), None, Err(Rejection::NothingNew));
    check(&open, Report::Change(Details::NONE), resident(RESIDENT), Err(Rejection::NothingNew));
    check(&open, Report::CancelDischarge, None, Ok(&["VisitReported"]));
    check(&cancelled, discharge(), None, Ok(&["VisitReported"]));
    check(&closed, Report::CancelAdmission, None, Ok(&["VisitCancelled"]));
}

#[test]
fn an_admission_made_again_after_it_was_cancelled_is_opened_again() {
    let visit = after(&[(admission(), resident(RESIDENT)), (Report::CancelAdmission, None)]);
    let again = Reported { order: Order { occurred_us: Some(6), ..Order::default() }, ..reported(admission()) };
    assert_eq!(names(&decide(&visit, &again, resident(RESIDENT).as_ref()).expect("taken")), ["VisitOpened"]);
}

#[test]
fn a_home_level_visit_gets_its_resident_and_is_not_opened_twice() {
    let open = [(admission(), home())];
    check(&open, admission(), resident(RESIDENT), Ok(&["VisitIdentified"]));
    check(&open, discharge(), resident(RESIDENT), Ok(&["VisitIdentified", "VisitClosed"]));
    check(&[(admission(), home()), (discharge(), home())], admission(), resident(RESIDENT), Ok(&["VisitIdentified"]));
    check(&[(admission(), home()), (admission(), resident(RESIDENT))], admission(), resident(RESIDENT), Err(Rejection::NothingNew));
    check(&[(admission(), home()), (admission(), resident(RESIDENT))], admission(), home(), Err(Rejection::NothingNew));
}

#[test]
fn a_visit_of_the_wrong_resident_gets_the_right_one() {
    let visit = after(&[(admission(), resident(RESIDENT))]);
    let events = decide(&visit, &reported(admission()), resident(OTHER).as_ref()).expect("taken");
    assert!(matches!(events.as_slice(), [Event::VisitIdentified { resident: OTHER, home: Some(HOME), replaced: Some(RESIDENT), .. }]), "{events:?}");
}

#[test]
fn an_address_does_not_take_a_resident_away() {
    check(&[(admission(), resident(RESIDENT))], admission(), home(), Err(Rejection::NothingNew));
}
