//! Figures of a small service: one live home, a week of June 2026.

use super::*;
use crate::codes::{Arrival, Channel, Disposition, HomeType, Reason, VisitClass};
use crate::reconcile::HOUR_US;
use crate::rows::AliasEdge;
use hearthline_nhs::{ConsultationId, OdsCode, PrescriptionId, ShareId};
use jiff::civil::date;

/// Monday 1 June 2026, 00:00 in London.
const MONDAY: i64 = 1_780_268_400_000_000;
const WEEK_US: i64 = 7 * 24 * HOUR_US;

fn hour(h: i64) -> i64 {
    MONDAY + h * HOUR_US
}

fn resident(n: u8) -> ResidentId {
    ResidentId::from_bytes([n; 16])
}

fn call_id(n: u8) -> CallId {
    CallId::from_bytes([n; 16])
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
        live_from: Some(MONDAY - WEEK_US),
    }
}

fn call(n: u8, person: u8, h: i64) -> Call {
    Call {
        call_id: call_id(n),
        home_id: Some(home().home_id),
        resident_id: Some(resident(person)),
        identified: true,
        channel: Channel::Telephone,
        reason: Reason::Breathlessness,
        alternative: None,
        opened_at: hour(h),
        answered_at: Some(hour(h)),
        closed_at: Some(hour(h + 1)),
        voided: false,
        late_entry: false,
        news2: Some(6),
        restore2_used: true,
        opened_on: String::new(),
        local_week: String::new(),
    }
}

fn consultation(of: u8) -> Consultation {
    Consultation {
        consultation_id: ConsultationId::from_bytes([of; 16]),
        call_id: Some(call_id(of)),
        disposition: Some(Disposition::TreatedAtHome),
        decided_at: Some(MONDAY),
        withdrawn: false,
        plan_agreed_at: Some(MONDAY),
        began_at: MONDAY,
    }
}

fn claim(n: u8, of: u8, kind: ClaimKind) -> Claim {
    Claim {
        consultation_id: ConsultationId::from_bytes([of; 16]),
        claim_id: ClaimId::from_bytes([n; 16]),
        call_id: Some(call_id(of)),
        kind,
        alternative: None,
        claimed_at: MONDAY + HOUR_US,
        withdrawn_at: None,
        claimed_on: String::new(),
        local_week: String::new(),
    }
}

fn attendance(n: u8, person: Option<u8>, h: i64) -> Visit {
    Visit {
        visit_id: VisitId::from_bytes([n; 16]),
        resident_id: person.map(resident),
        home_id: Some(home().home_id),
        feed: "south".to_owned(),
        facility_ods: "RHM".to_owned(),
        site_ods: String::new(),
        trigger_event: "A04".to_owned(),
        opened_class: VisitClass::Emergency,
        visit_class: VisitClass::Emergency,
        arrival: Arrival::Ambulance,
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

fn coverage() -> Vec<Coverage> {
    vec![Coverage {
        trust_ods: OdsCode::parse("RHM").expect("valid"),
        facilities: Vec::new(),
        homes: Vec::new(),
        postcode_areas: Vec::new(),
        from: date(2026, 1, 1),
        until: None,
        arrival_mode: true,
    }]
}

fn taken_of(rows: &Rows, from: &str, to: &str, as_of_h: i64) -> Figures {
    let window = Window::parse(Some(from), Some(to), hour(as_of_h)).expect("a window");
    let coverage = coverage();
    let terms = Terms { window_h: 72, feed_lag_h: 24, coverage: &coverage, as_of: hour(as_of_h) };
    figures(rows, &window, &terms)
}

fn week(rows: &Rows) -> Figures {
    taken_of(rows, "2026-06-01", "2026-06-08", 24 * 30)
}

fn cell<'f>(figures: &'f Figures, id: &str) -> &'f Cell {
    let taken = figures.taken.iter().find(|taken| taken.measure.id == id);
    &taken.unwrap_or_else(|| panic!("no measure {id}")).whole
}

fn count(figures: &Figures, id: &str) -> u64 {
    match cell(figures, id).value {
        Amount::Count(n) => n,
        other => panic!("{id} is {other:?}"),
    }
}

fn split(figures: &Figures, id: &str) -> [u64; 5] {
    let split = cell(figures, id).split.expect("a claim's figure");
    [split.declared, split.sustained, split.contradicted, split.unverifiable, split.pending]
}

fn rows() -> Rows {
    Rows { homes: vec![home()], ..Rows::default() }
}

#[test]
fn measure_ids_are_unique() {
    let ids: HashSet<&str> = MEASURES.iter().map(|measure| measure.id).collect();
    assert_eq!(ids.len(), MEASURES.len());
}

#[test]
fn only_answered_calls_of_live_homes_that_were_not_voided_count() {
    let unanswered = Call { answered_at: None, ..call(2, 1, 2) };
    let voided = Call { voided: true, ..call(3, 1, 3) };
    let not_live = Call { opened_at: MONDAY - 2 * WEEK_US, ..call(4, 1, 4) };
    let elsewhere = Call { home_id: Some(HomeId::from_bytes([8; 16])), ..call(5, 1, 5) };
    let video = Call { channel: Channel::Video, ..call(6, 2, 100) };
    let figures = week(&Rows { calls: vec![call(1, 1, 1), unanswered, voided, not_live, elsewhere, video], ..rows() });
    assert_eq!(count(&figures, "calls_total"), 2);
    assert_eq!(count(&figures, "video_calls"), 1);
    assert_eq!(count(&figures, "telephone_calls"), 1);
    assert_eq!(count(&figures, "residents_supported"), 2);
    assert_eq!(cell(&figures, "video_share").value, Amount::Rate(50.0));
    assert_eq!(cell(&figures, "calls_per_week").value, Amount::Rate(2.0));
}

#[test]
fn a_call_counts_in_the_london_week_in_which_it_was_opened() {
    // Sunday 7 June 23:30 in London is 22:30 UTC; the next call is on Monday at 00:30 in London.
    let calls = vec![Call { opened_at: hour(7 * 24) - HOUR_US / 2, ..call(1, 1, 0) }, Call { opened_at: hour(7 * 24) + HOUR_US / 2, ..call(2, 2, 0) }];
    let figures = taken_of(&Rows { calls, ..rows() }, "2026-06-01", "2026-06-15", 24 * 30);
    let calls = figures.taken.iter().find(|taken| taken.measure.id == "calls_total").expect("is there");
    let weeks: Vec<Amount> = calls.weeks.iter().map(|cell| cell.value).collect();
    assert_eq!(weeks, [Amount::Count(1), Amount::Count(1)]);
    assert_eq!(calls.whole.value, Amount::Count(2));
}

#[test]
fn one_episode_declares_a_kind_once_and_three_kinds_side_by_side() {
    let rows = Rows {
        calls: vec![call(1, 1, 1), call(2, 1, 20)],
        consultations: vec![consultation(1), consultation(2)],
        claims: vec![
            claim(1, 1, ClaimKind::Conveyance),
            claim(2, 2, ClaimKind::Conveyance),
            claim(3, 1, ClaimKind::EdAttendance),
            claim(4, 1, ClaimKind::Admission),
        ],
        ..rows()
    };
    let figures = week(&rows);
    for id in ["ambulance_conveyances_avoided", "ed_attendances_avoided", "admissions_avoided"] {
        assert_eq!(split(&figures, id), [1, 1, 0, 0, 0], "{id}");
    }
    assert!(figures.ed_arrivals_only);
    assert_eq!(cell(&figures, "avoidance_rate").of, Some((1, 1)));
}

#[test]
fn a_visit_contradicts_and_is_named() {
    let rows = Rows {
        calls: vec![call(1, 1, 1)],
        claims: vec![claim(1, 1, ClaimKind::EdAttendance), claim(2, 1, ClaimKind::Admission)],
        visits: vec![attendance(5, Some(1), 42)],
        ..rows()
    };
    let figures = week(&rows);
    assert_eq!(split(&figures, "ed_attendances_avoided"), [1, 0, 1, 0, 0]);
    assert_eq!(split(&figures, "admissions_avoided"), [1, 1, 0, 0, 0]);
    assert_eq!(count(&figures, "avoidance_contradicted"), 1);
    let [one] = &figures.contradicted[..] else { panic!("one is contradicted") };
    assert_eq!(one.claims, [ClaimId::from_bytes([1; 16])]);
    assert_eq!((one.call, one.at - one.anchor), (call_id(1), 40 * HOUR_US));
    assert_eq!(one.by, ContradictedBy::Visit { visit: VisitId::from_bytes([5; 16]), facility_ods: "RHM".to_owned() });
    // By hours: within 24 it had held, within 48 not.
    let by_hours = &cell(&figures, "ed_avoidance_sustained").by;
    assert_eq!(by_hours[0], ("24 h".to_owned(), Amount::Rate(100.0)));
    assert_eq!(by_hours[1], ("48 h".to_owned(), Amount::Rate(0.0)));
}

#[test]
fn a_cancelled_visit_restores_the_claim() {
    let cancelled = Visit { cancelled_at: Some(hour(43)), ..attendance(5, Some(1), 42) };
    let rows = Rows { calls: vec![call(1, 1, 1)], claims: vec![claim(1, 1, ClaimKind::EdAttendance)], visits: vec![cancelled], ..rows() };
    let figures = week(&rows);
    assert_eq!(split(&figures, "ed_attendances_avoided"), [1, 1, 0, 0, 0]);
    assert_eq!(count(&figures, "ed_attendances"), 0);
}

#[test]
fn visits_meet_calls_through_alias_edges() {
    let provisional = Call { identified: false, ..call(1, 1, 1) };
    let merged = AliasEdge { from_id: resident(1), into_id: resident(2), standing: true, merged_at: MONDAY };
    let known = Resident { resident_id: resident(2), registered: true, died_on: None, died_by: None };
    let mut rows = Rows {
        calls: vec![provisional],
        claims: vec![claim(1, 1, ClaimKind::EdAttendance)],
        visits: vec![attendance(5, Some(2), 42)],
        residents: vec![known],
        ..rows()
    };
    assert_eq!(split(&week(&rows), "ed_attendances_avoided"), [1, 0, 0, 1, 0]);
    assert_eq!(cell(&week(&rows), "avoidance_unverifiable").by, [("identity unmatched".to_owned(), Amount::Count(1))]);
    rows.people = People::of(&[merged]);
    assert_eq!(split(&week(&rows), "ed_attendances_avoided"), [1, 0, 1, 0, 0]);
    assert_eq!(cell(&week(&rows), "resident_match_rate").value, Amount::Rate(100.0));
}

#[test]
fn withdrawn_claims_and_claims_of_voided_calls_do_not_stand() {
    let withdrawn = Claim { withdrawn_at: Some(hour(5)), ..claim(1, 1, ClaimKind::EdAttendance) };
    let mut rows = Rows { calls: vec![call(1, 1, 1)], claims: vec![withdrawn], ..rows() };
    assert_eq!(split(&week(&rows), "ed_attendances_avoided"), [0; 5]);
    assert_eq!(cell(&week(&rows), "avoidance_claims_withdrawn").of, Some((1, 1)));
    rows.claims = vec![claim(1, 1, ClaimKind::EdAttendance)];
    rows.consultations = vec![Consultation { withdrawn: true, ..consultation(1) }];
    assert_eq!(split(&week(&rows), "ed_attendances_avoided"), [0; 5]);
    rows.consultations = vec![consultation(1)];
    rows.calls[0].voided = true;
    assert_eq!(split(&week(&rows), "ed_attendances_avoided"), [0; 5]);
    assert_eq!(week(&rows).claims_left_out, 1);
}

#[test]
fn a_claim_withdrawn_while_a_gap_is_open_is_in_no_figure_however_the_gap_ends() {
    let gap = |closed: Option<(i64, bool)>| FeedGap {
        feed_stream: hearthline_nhs::StreamId::from_bytes([1; 16]),
        gap_id: hearthline_nhs::StreamId::from_bytes([2; 16]),
        feed: "south".to_owned(),
        facility_ods: "RHM".to_owned(),
        from_at: hour(10),
        until_at: Some(hour(16)),
        closed_at: closed.map(|(h, _)| hour(h)),
        filled: closed.is_some_and(|(_, filled)| filled),
        back_fill_until: Some(hour(10 + 14 * 24)),
    };
    let stands = |gap: FeedGap, withdrawn: Option<i64>, as_of_h: i64| {
        let claim = Claim { withdrawn_at: withdrawn.map(hour), ..claim(1, 1, ClaimKind::EdAttendance) };
        let rows = Rows { calls: vec![call(1, 1, 1)], claims: vec![claim], gaps: vec![gap], ..rows() };
        split(&taken_of(&rows, "2026-06-01", "2026-06-08", as_of_h), "ed_attendances_avoided")
    };
    assert_eq!(stands(gap(None), None, 120), [1, 0, 0, 0, 1]);
    for closed in [None, Some((130, true)), Some((130, false))] {
        assert_eq!(stands(gap(closed), Some(110), 120), [0; 5]);
        assert_eq!(stands(gap(closed), Some(110), 24 * 30), [0; 5]);
    }
    for (closed, expected) in [(Some((130, true)), [1, 1, 0, 0, 0]), (Some((130, false)), [1, 0, 0, 1, 0]), (None, [1, 0, 0, 1, 0])] {
        assert_eq!(stands(gap(closed), None, 24 * 30), expected);
    }
}

#[test]
fn the_four_statuses_add_up_to_the_declared_and_bound_the_truth() {
    let stranger = Call { identified: false, ..call(3, 3, 1) };
    let rows = Rows {
        calls: vec![call(1, 1, 1), call(2, 2, 1), stranger, call(4, 4, 24 * 6)],
        claims: (1..=4).map(|n| claim(n, n, ClaimKind::EdAttendance)).collect(),
        visits: vec![attendance(5, Some(2), 10)],
        ..rows()
    };
    let figures = taken_of(&rows, "2026-06-01", "2026-06-08", 24 * 7);
    assert_eq!(split(&figures, "ed_attendances_avoided"), [4, 1, 1, 1, 1]);
    assert_eq!(cell(&figures, "ed_avoidance_sustained").of, Some((1, 2)));
    let bounds = &cell(&figures, "avoidance_bounds").by;
    let low = bounds.iter().find(|(word, _)| word == "ed_attendance low").expect("is there");
    let high = bounds.iter().find(|(word, _)| word == "ed_attendance high").expect("is there");
    assert!(matches!(low.1, Amount::Rate(rate) if (33.0..34.0).contains(&rate)));
    assert!(matches!(high.1, Amount::Rate(rate) if (66.0..67.0).contains(&rate)));
}

#[test]
fn nothing_to_divide_by_is_not_known() {
    let figures = week(&Rows::default());
    for id in ["video_share", "ed_avoidance_sustained", "feed_coverage", "prescription_electronic_rate"] {
        assert_eq!(cell(&figures, id).value, Amount::NotKnown, "{id}");
    }
    assert_eq!(count(&figures, "calls_total"), 0);
}

#[test]
fn orders_and_plans_count_with_their_call() {
    let order = |n, signed, rejected| Prescription {
        prescription_id: PrescriptionId::from_bytes([n; 16]),
        call_id: Some(call_id(1)),
        items: 2,
        // Drafted in the week after the call's.
        drafted_at: hour(24 * 8),
        signed_at: signed,
        accepted_at: if rejected { None } else { signed },
        rejected_at: rejected.then_some(hour(24 * 8)),
        nearest_open: Some(n == 1),
        drafted_on: String::new(),
        local_week: String::new(),
    };
    let share = |n, emailed, retracted| Share {
        share_id: ShareId::from_bytes([n; 16]),
        call_id: Some(call_id(1)),
        home_id: None,
        began_at: hour(2),
        composed_at: Some(hour(2)),
        emailed_at: emailed,
        email_failed_at: None,
        uploaded_at: Some(hour(3)),
        upload_failed_at: None,
        withheld_at: None,
        retracted_at: retracted,
    };
    let rows = Rows {
        calls: vec![call(1, 1, 1)],
        consultations: vec![consultation(1)],
        prescriptions: vec![order(1, Some(hour(24 * 8)), false), order(2, None, false), order(3, Some(hour(24 * 8)), true)],
        shares: vec![share(1, Some(hour(3)), None), share(2, None, None), share(3, Some(hour(3)), Some(hour(4)))],
        ..rows()
    };
    let figures = week(&rows);
    assert_eq!(count(&figures, "prescriptions_issued"), 1);
    assert_eq!(count(&figures, "medication_items_prescribed"), 2);
    assert_eq!(cell(&figures, "prescription_electronic_rate").of, Some((1, 2)));
    assert_eq!(cell(&figures, "care_plans_emailed").of, Some((1, 2)));
    assert_eq!(cell(&figures, "shared_record_uploads").of, Some((2, 2)));
    assert_eq!(count(&figures, "treatment_plans_created"), 1);
    assert_eq!(cell(&figures, "call_dispositions").by, [("treated_at_home".to_owned(), Amount::Count(1))]);
}

#[test]
fn visits_without_a_person_count_for_the_home_and_contradict_nobody() {
    let admitted = Visit {
        opened_class: VisitClass::Inpatient,
        visit_class: VisitClass::Inpatient,
        trigger_event: "A01".to_owned(),
        admission_method: "22".to_owned(),
        inpatient_at: Some(hour(12)),
        ..attendance(6, None, 12)
    };
    let rows =
        Rows { calls: vec![call(1, 1, 1)], claims: vec![claim(1, 1, ClaimKind::EdAttendance)], visits: vec![attendance(5, None, 10), admitted], ..rows() };
    let figures = week(&rows);
    assert_eq!(cell(&figures, "ed_attendances").by, [("home_level".to_owned(), Amount::Count(1))]);
    assert_eq!(count(&figures, "emergency_admissions"), 1);
    assert_eq!(split(&figures, "ed_attendances_avoided"), [1, 1, 0, 0, 0]);
}

#[test]
fn attempts_of_one_home_within_half_an_hour_are_one() {
    let attempt = |n: u8, minutes: i64| Attempt {
        attempt_id: hearthline_nhs::StreamId::from_bytes([n; 16]),
        home_id: Some(home().home_id),
        channel: Channel::Telephone,
        reason: Reason::Fall,
        attempted_at: MONDAY + minutes * 60_000_000,
        attempted_on: String::new(),
        local_week: String::new(),
    };
    let figures = week(&Rows { attempts: vec![attempt(1, 0), attempt(2, 20), attempt(3, 31), attempt(4, 60)], ..rows() });
    assert_eq!(count(&figures, "calls_outside_opening"), 2);
}

#[test]
fn as_of_leaves_out_what_had_not_happened() {
    let rows = Rows {
        calls: vec![call(1, 1, 1), call(2, 2, 100)],
        claims: vec![claim(1, 1, ClaimKind::EdAttendance)],
        visits: vec![attendance(5, Some(1), 42)],
        ..rows()
    };
    let figures = taken_of(&rows, "2026-06-01", "2026-06-08", 30);
    assert_eq!(count(&figures, "calls_total"), 1);
    assert_eq!(split(&figures, "ed_attendances_avoided"), [1, 0, 0, 0, 1]);
    assert_eq!(figures.incomplete_weeks, ["2026-W23"]);
    assert_eq!(cell(&figures, "calls_per_week").value, Amount::NotKnown);
}
