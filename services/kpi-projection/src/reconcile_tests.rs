//! Every row of the rule, as tables. Hours count from the close of the claiming call; it is closed on a Monday at noon.

use super::*;
use crate::codes::HomeType;
use hearthline_nhs::{HomeId, OdsCode, StreamId};
use jiff::civil::date;

const CLAIM: i64 = 1_780_315_200_000_000;
const LAG_H: u32 = 24;
const BACK_FILL_H: i64 = 14 * 24;

fn hour(h: i64) -> i64 {
    CLAIM + h * HOUR_US
}

fn home() -> Home {
    Home {
        home_id: HomeId::from_bytes([9; 16]),
        ods_code: "VL1AA".to_owned(),
        cqc_location_id: String::new(),
        postcode: "SO14 7DU".to_owned(),
        beds: 40,
        home_type: HomeType::Nursing,
        registered_at: 0,
        live_from: Some(0),
    }
}

fn feed(trust: &str) -> Coverage {
    Coverage {
        trust_ods: OdsCode::parse(trust).expect("valid"),
        facilities: Vec::new(),
        homes: Vec::new(),
        postcode_areas: vec!["SO".to_owned()],
        from: date(2026, 1, 1),
        until: None,
        arrival_mode: true,
    }
}

/// A walk-in at an emergency department, so many hours after the call.
fn ed(n: u8, h: i64) -> Visit {
    Visit {
        visit_id: VisitId::from_bytes([n; 16]),
        resident_id: None,
        home_id: None,
        feed: "south".to_owned(),
        facility_ods: "RHM".to_owned(),
        site_ods: String::new(),
        trigger_event: "A04".to_owned(),
        opened_class: VisitClass::Emergency,
        visit_class: VisitClass::Emergency,
        arrival: Arrival::Other,
        admission_method: String::new(),
        source_of_admission: String::new(),
        resolver_rule: "nhs_number".to_owned(),
        opened_at: hour(h),
        inpatient_at: None,
        transferred_at: None,
        closed_at: None,
        cancelled_at: None,
        opened_on: String::new(),
        local_week: String::new(),
    }
}

fn by_ambulance(visit: Visit) -> Visit {
    Visit { arrival: Arrival::Ambulance, ..visit }
}

fn inpatient(n: u8, h: i64, method: &str) -> Visit {
    Visit {
        trigger_event: "A01".to_owned(),
        opened_class: VisitClass::Inpatient,
        visit_class: VisitClass::Inpatient,
        admission_method: method.to_owned(),
        inpatient_at: Some(hour(h)),
        ..ed(n, h)
    }
}

fn gap(from: i64, until: Option<i64>, filled: bool) -> FeedGap {
    FeedGap {
        feed_stream: StreamId::from_bytes([5; 16]),
        gap_id: StreamId::from_bytes([6; 16]),
        feed: "south".to_owned(),
        facility_ods: "RHM".to_owned(),
        from_at: hour(from),
        until_at: until.map(hour),
        closed_at: until.map(hour),
        filled,
        back_fill_until: Some(hour(from + BACK_FILL_H)),
    }
}

/// A gap after which the feed speaks again, without what it left out.
fn resumed(from: i64, until: i64) -> FeedGap {
    FeedGap { closed_at: None, ..gap(from, Some(until), false) }
}

/// What a case may say beside its kind.
#[derive(Clone)]
struct Given {
    kind: ClaimKind,
    last_h: i64,
    call_open: bool,
    identified: bool,
    visits: Vec<Visit>,
    outcomes: Vec<(CallId, i64, Disposition)>,
    died_h: Option<i64>,
    left_h: Vec<i64>,
    coverage: Vec<Coverage>,
    gaps: Vec<FeedGap>,
    as_of_h: i64,
}

fn claim(kind: ClaimKind) -> Given {
    Given {
        kind,
        last_h: 0,
        call_open: false,
        identified: true,
        visits: Vec::new(),
        outcomes: Vec::new(),
        died_h: None,
        left_h: Vec::new(),
        coverage: vec![feed("RHM")],
        gaps: Vec::new(),
        as_of_h: 24 * 30,
    }
}

fn verdict(given: &Given, window_h: u32) -> Verdict {
    let home = home();
    let case = Case {
        kind: given.kind,
        anchor: CLAIM,
        last: hour(given.last_h),
        call_open: given.call_open,
        identified: given.identified,
        home: Some(&home),
        visits: given.visits.iter().collect(),
        outcomes: given.outcomes.clone(),
        died_by: given.died_h.map(hour),
        left_area: given.left_h.iter().copied().map(hour).collect(),
    };
    let rule = Rule { feed_lag_h: LAG_H, coverage: &given.coverage, gaps: &given.gaps, as_of: hour(given.as_of_h) };
    judge(&case, &rule, window_h)
}

fn check(given: &Given, expected: Status) {
    assert_eq!(verdict(given, 72).status, expected);
}

fn by_visit(n: u8, h: i64) -> Status {
    Status::Contradicted { by: Evidence::Visit(VisitId::from_bytes([n; 16])), at: hour(h) }
}

use ClaimKind::{Admission, Conveyance, EdAttendance};
use Status::{Pending, Sustained, Unverifiable};

#[test]
fn nothing_seen_in_a_covered_window_is_sustained() {
    for kind in [Conveyance, EdAttendance, Admission] {
        check(&claim(kind), Sustained);
    }
}

#[test]
fn a_claim_is_pending_until_the_window_and_the_lag_are_over() {
    for (as_of_h, expected) in [(0, Pending(Wait::Window)), (72, Pending(Wait::Window)), (95, Pending(Wait::Window)), (96, Sustained)] {
        check(&Given { as_of_h, ..claim(EdAttendance) }, expected);
    }
}

#[test]
fn a_claim_of_a_call_that_is_still_open_is_pending() {
    let open = Given { call_open: true, ..claim(EdAttendance) };
    check(&open, Pending(Wait::Call));
    check(&Given { visits: vec![ed(1, 2)], ..open }, by_visit(1, 2));
}

#[test]
fn the_window_begins_after_the_close_and_includes_its_last_moment() {
    for (h, expected) in [(-1, Sustained), (0, Sustained), (1, by_visit(1, 1)), (72, by_visit(1, 72)), (73, Sustained)] {
        check(&Given { visits: vec![ed(1, h)], ..claim(EdAttendance) }, expected);
    }
}

#[test]
fn contradicted_at_24_hours_stays_contradicted_at_48_and_72() {
    let early = Given { visits: vec![ed(1, 20)], ..claim(EdAttendance) };
    for window_h in [24, 48, 72] {
        assert_eq!(verdict(&early, window_h).status, by_visit(1, 20));
    }
    let late = Given { visits: vec![ed(1, 60)], ..claim(EdAttendance) };
    assert_eq!(verdict(&late, 24).status, Sustained);
    assert_eq!(verdict(&late, 48).status, Sustained);
    assert_eq!(verdict(&late, 72).status, by_visit(1, 60));
}

#[test]
fn the_earliest_of_several_visits_is_named() {
    let given = Given { visits: vec![ed(1, 50), ed(2, 10), ed(3, 30)], ..claim(EdAttendance) };
    check(&given, by_visit(2, 10));
}

#[test]
fn a_later_claim_of_the_episode_stretches_the_window() {
    let given = Given { last_h: 48, visits: vec![ed(1, 110)], ..claim(EdAttendance) };
    check(&given, by_visit(1, 110));
    let waiting = Given { last_h: 48, as_of_h: 100, ..claim(EdAttendance) };
    check(&waiting, Pending(Wait::Window));
}

#[test]
fn a_contradiction_needs_no_waiting_and_no_coverage() {
    let given = Given { visits: vec![ed(1, 40)], as_of_h: 41, coverage: Vec::new(), ..claim(EdAttendance) };
    check(&given, by_visit(1, 40));
    // As of a moment before the visit it was not known.
    let before = Given { as_of_h: 39, coverage: vec![feed("RHM")], ..given };
    check(&before, Pending(Wait::Window));
}

#[test]
fn an_ed_claim_is_contradicted_by_a04_or_the_emergency_class_and_by_nothing_else() {
    let a01_emergency = Visit { trigger_event: "A01".to_owned(), ..ed(1, 5) };
    let a04_without_class = Visit { opened_class: VisitClass::Other, visit_class: VisitClass::Other, ..ed(1, 5) };
    let clinic = Visit { opened_class: VisitClass::Outpatient, visit_class: VisitClass::Outpatient, ..ed(1, 5) };
    for (visit, expected) in [
        (ed(1, 5), by_visit(1, 5)),
        (a01_emergency, by_visit(1, 5)),
        (a04_without_class, by_visit(1, 5)),
        (clinic, Sustained),
        (inpatient(1, 5, "22"), Sustained),
    ] {
        check(&Given { visits: vec![visit], ..claim(EdAttendance) }, expected);
    }
}

#[test]
fn an_admission_claim_is_contradicted_by_an_emergency_admission_only() {
    for (method, contradicts) in [
        ("21", true),
        ("22", true),
        ("2A", true),
        ("2d", true),
        ("28", true),
        ("2C", false),
        ("11", false),
        ("12", false),
        ("13", false),
        ("31", false),
        ("32", false),
        ("81", false),
        ("", false),
        ("Emerg Other", false),
    ] {
        let given = Given { visits: vec![inpatient(1, 5, method)], ..claim(Admission) };
        let expected = if contradicts { by_visit(1, 5) } else { Sustained };
        assert_eq!(verdict(&given, 72).status, expected, "method {method}");
    }
    let attended = Given { visits: vec![ed(1, 5)], ..claim(Admission) };
    check(&attended, Sustained);
}

#[test]
fn an_attendance_that_became_an_admission_contradicts_each_claim_at_its_own_time() {
    let admitted = Visit {
        visit_class: VisitClass::Inpatient,
        admission_method: "21".to_owned(),
        inpatient_at: Some(hour(9)),
        transferred_at: Some(hour(9)),
        ..by_ambulance(ed(1, 5))
    };
    for (kind, h) in [(Conveyance, 5), (EdAttendance, 5), (Admission, 9)] {
        check(&Given { visits: vec![admitted.clone()], ..claim(kind) }, by_visit(1, h));
    }
}

#[test]
fn a_transfer_counts_only_if_the_spell_that_it_continues_is_not_held() {
    let transfer = inpatient(2, 10, "2B");
    check(&Given { visits: vec![transfer.clone()], ..claim(Admission) }, by_visit(2, 10));
    let first = Visit { closed_at: Some(hour(9)), ..inpatient(1, -50, "21") };
    check(&Given { visits: vec![first.clone(), transfer.clone()], ..claim(Admission) }, Sustained);
    check(&Given { visits: vec![first, by_ambulance(transfer)], ..claim(Conveyance) }, Sustained);
}

#[test]
fn a_conveyance_claim_is_contradicted_by_a_visit_that_came_by_ambulance() {
    let to_clinic = Visit { opened_class: VisitClass::Outpatient, visit_class: VisitClass::Outpatient, ..by_ambulance(ed(1, 5)) };
    for (visit, expected) in [
        (by_ambulance(ed(1, 5)), by_visit(1, 5)),
        (by_ambulance(inpatient(1, 5, "22")), by_visit(1, 5)),
        (ed(1, 5), Sustained),
        (to_clinic, Sustained),
        (by_ambulance(inpatient(1, 5, "11")), Sustained),
        (by_ambulance(inpatient(1, 5, "13")), Sustained),
    ] {
        check(&Given { visits: vec![visit], ..claim(Conveyance) }, expected);
    }
}

#[test]
fn a_visit_without_arrival_mode_makes_a_conveyance_claim_unverifiable_and_no_other() {
    let silent = Visit { arrival: Arrival::Unknown, ..ed(1, 5) };
    let given = |kind| Given { visits: vec![silent.clone()], ..claim(kind) };
    check(&given(Conveyance), Unverifiable(Cause::ArrivalModeMissing));
    check(&given(EdAttendance), by_visit(1, 5));
    check(&given(Admission), Sustained);
    // Another one that did say so contradicts.
    let both = Given { visits: vec![silent.clone(), by_ambulance(ed(2, 60))], ..claim(Conveyance) };
    check(&both, by_visit(2, 60));
    let outside = Given { visits: vec![Visit { opened_at: hour(80), ..silent }], ..claim(Conveyance) };
    check(&outside, Sustained);
}

#[test]
fn feeds_without_arrival_mode_cannot_sustain_a_conveyance_claim() {
    let coverage = vec![Coverage { arrival_mode: false, ..feed("RHM") }];
    let given = |kind| Given { coverage: coverage.clone(), ..claim(kind) };
    check(&given(Conveyance), Unverifiable(Cause::NoArrivalMode));
    check(&given(EdAttendance), Sustained);
    check(&Given { visits: vec![by_ambulance(ed(1, 5))], ..given(Conveyance) }, by_visit(1, 5));
}

#[test]
fn an_unmatched_identity_is_unverifiable() {
    let given = Given { identified: false, as_of_h: 1, ..claim(EdAttendance) };
    check(&given, Unverifiable(Cause::IdentityUnmatched));
}

#[test]
fn leaving_the_area_inside_the_window_is_unverifiable() {
    let left = |h| Given { left_h: vec![h], ..claim(EdAttendance) };
    check(&left(48), Unverifiable(Cause::MovedOutOfArea));
    check(&left(73), Sustained);
    check(&left(-100), Sustained);
}

#[test]
fn a_home_without_coverage_has_no_feed() {
    check(&Given { coverage: Vec::new(), ..claim(Admission) }, Unverifiable(Cause::NoFeed));
    let elsewhere = Coverage { postcode_areas: vec!["PO".to_owned()], ..feed("RHU") };
    check(&Given { coverage: vec![elsewhere], ..claim(Admission) }, Unverifiable(Cause::NoFeed));
}

#[test]
fn every_hospital_within_reach_must_be_covered_for_the_whole_window() {
    let ends = Coverage { until: Some(date(2026, 6, 2)), ..feed("RN5") };
    check(&Given { coverage: vec![feed("RHM"), ends], ..claim(EdAttendance) }, Unverifiable(Cause::FeedIncomplete));
}

#[test]
fn an_open_gap_is_pending_a_filled_one_is_none_and_an_unfilled_one_is_unverifiable() {
    for (gap, expected) in [
        (gap(10, None, false), Pending(Wait::Gap)),
        (gap(10, Some(20), true), Sustained),
        (gap(10, Some(20), false), Unverifiable(Cause::GapNotFilled)),
        (gap(-20, Some(-10), false), Sustained),
        (gap(80, None, false), Sustained),
        (gap(-20, None, false), Pending(Wait::Gap)),
    ] {
        check(&Given { gaps: vec![gap], as_of_h: 240, ..claim(EdAttendance) }, expected);
    }
    let elsewhere = FeedGap { facility_ods: "RXX".to_owned(), ..gap(10, None, false) };
    check(&Given { gaps: vec![elsewhere], ..claim(EdAttendance) }, Sustained);
}

#[test]
fn a_gap_is_pending_up_to_its_back_fill_limit_and_lost_from_it_on() {
    let limit = 10 + BACK_FILL_H;
    for gap in [gap(10, None, false), resumed(10, 16)] {
        for (as_of_h, expected) in [(limit - 1, Pending(Wait::Gap)), (limit, Unverifiable(Cause::GapNotFilled))] {
            check(&Given { gaps: vec![gap.clone()], as_of_h, ..claim(EdAttendance) }, expected);
        }
        // Nobody said until when: it stays open.
        let unlimited = FeedGap { back_fill_until: None, ..gap };
        check(&Given { gaps: vec![unlimited], as_of_h: limit * 10, ..claim(EdAttendance) }, Pending(Wait::Gap));
    }
}

#[test]
fn a_gap_that_is_over_leaves_later_windows_alone_before_it_is_filled() {
    check(&Given { gaps: vec![resumed(-20, -10)], as_of_h: 97, ..claim(EdAttendance) }, Sustained);
    check(&Given { gaps: vec![resumed(-20, 1)], as_of_h: 97, ..claim(EdAttendance) }, Pending(Wait::Gap));
}

#[test]
fn what_was_said_of_a_gap_counts_from_when_it_was_said() {
    let filled_at = |h: i64| FeedGap { closed_at: Some(hour(h)), ..gap(10, Some(16), true) };
    for (as_of_h, expected) in [(97, Pending(Wait::Gap)), (119, Pending(Wait::Gap)), (120, Sustained)] {
        check(&Given { gaps: vec![filled_at(120)], as_of_h, ..claim(EdAttendance) }, expected);
    }
}

#[test]
fn of_two_gaps_the_worse_decides() {
    let (filled, open) = (gap(10, Some(16), true), resumed(30, 36));
    let lost = gap(50, Some(56), false);
    check(&Given { gaps: vec![filled.clone(), open.clone()], as_of_h: 120, ..claim(EdAttendance) }, Pending(Wait::Gap));
    check(&Given { gaps: vec![filled, open, lost], as_of_h: 120, ..claim(EdAttendance) }, Unverifiable(Cause::GapNotFilled));
}

#[test]
fn a_visit_that_the_backlog_brings_contradicts_whatever_the_gap_is() {
    for gap in [gap(10, None, false), resumed(10, 16), gap(10, Some(16), true), gap(10, Some(16), false)] {
        check(&Given { gaps: vec![gap], visits: vec![ed(1, 12)], as_of_h: 97, ..claim(EdAttendance) }, by_visit(1, 12));
    }
}

#[test]
fn death_closes_the_window_and_is_flagged() {
    let died = Given { died_h: Some(10), as_of_h: 34, ..claim(EdAttendance) };
    assert_eq!(verdict(&died, 72), Verdict { status: Sustained, died_in_window: true });
    // Before the lag after the death is over, messages may still arrive.
    assert_eq!(verdict(&Given { as_of_h: 33, ..died.clone() }, 72).status, Pending(Wait::Window));
    let in_hospital = Given { visits: vec![ed(1, 8)], ..died };
    assert_eq!(verdict(&in_hospital, 72), Verdict { status: by_visit(1, 8), died_in_window: true });
    let later = Given { died_h: Some(100), ..claim(EdAttendance) };
    assert!(!verdict(&later, 72).died_in_window);
}

#[test]
fn a_later_call_that_sends_the_resident_in_contradicts() {
    let sent = CallId::from_bytes([7; 16]);
    let by_call = Status::Contradicted { by: Evidence::Call(sent), at: hour(30) };
    for (disposition, kind, expected) in [
        (Disposition::EdByAmbulance, Conveyance, by_call),
        (Disposition::EdByAmbulance, EdAttendance, by_call),
        (Disposition::EdByAmbulance, Admission, Sustained),
        (Disposition::Emergency999, Conveyance, by_call),
        (Disposition::EdOther, EdAttendance, by_call),
        (Disposition::EdOther, Conveyance, Sustained),
        (Disposition::DirectAdmission, Admission, by_call),
        (Disposition::TreatedAtHome, EdAttendance, Sustained),
    ] {
        let given = Given { outcomes: vec![(sent, hour(30), disposition)], ..claim(kind) };
        check(&given, expected);
    }
    // The claiming call itself was opened before its own close.
    let own = Given { outcomes: vec![(sent, hour(-1), Disposition::EdByAmbulance)], ..claim(Conveyance) };
    check(&own, Sustained);
}
