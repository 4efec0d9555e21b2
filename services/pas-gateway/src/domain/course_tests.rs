//! Reports in every order of arrival come to the same visit, for the gateway and for whoever folds its events.

use super::*;
use crate::domain::decide::{absorb, decide};
use crate::domain::events::Event;
use crate::domain::rejection::Rejection;
use crate::domain::state::Visit;
use crate::domain::{Confidence, Moment, Order, Reported};

const RESIDENT: ResidentId = ResidentId::from_bytes([1; 16]);
const OTHER: ResidentId = ResidentId::from_bytes([2; 16]);
const HOME: HomeId = HomeId::from_bytes([9; 16]);

/// One message: its trigger, when, and whom it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said(&'static str, i64, ResidentId);

fn details(class: Option<VisitClass>, method: &str, site: &str) -> Details {
    Details { class, admission_method: method.into(), site: site.into(), ..Details::NONE }
}

impl Said {
    fn report(self) -> Report {
        let inpatient = Some(VisitClass::Inpatient);
        match self.0 {
            "A01" => Report::Opening(details(inpatient, "21", "RHM01")),
            "A04" => Report::Opening(Details { arrival: Arrival::Ambulance, ..details(Some(VisitClass::Emergency), "", "RHM01") }),
            "A05" => Report::PreAdmission(details(None, "11", "")),
            "A02" => Report::Transfer(details(None, "", "RHM02")),
            "A12" => Report::CancelTransfer(Details::NONE),
            "A07" => Report::Change(details(Some(VisitClass::Outpatient), "", "")),
            "A08" => Report::Change(details(inpatient, "28", "")),
            "A03" => Report::Discharge { destination: "19".into(), method: String::new(), died: false },
            "A11" => Report::CancelAdmission,
            "A13" => Report::CancelDischarge,
            "A38" => Report::CancelPreAdmission,
            "A45" => Report::Move,
            other => panic!("{other}"),
        }
    }

    fn reported(self) -> Reported {
        Reported {
            feed: "rhm".into(),
            facility: "RHM".into(),
            trigger: self.0.into(),
            at: Moment { at_us: self.1, zone: "Europe/London".into(), ambiguous: false },
            order: Order { occurred_us: Some(self.1), recorded_us: Some(self.1), sent_us: Some(self.1) },
            nhs_number_status: "01".into(),
            report: self.report(),
        }
    }
}

/// What a consumer keeps of a visit that folds its events as they come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Row {
    stands: bool,
    resident: Option<ResidentId>,
    opened_at: i64,
    class: Option<VisitClass>,
    inpatient_at: Option<i64>,
    method: String,
    site: String,
    arrival: Option<Arrival>,
    closed_at: Option<i64>,
}

fn fold(mut row: Row, event: &Event) -> Row {
    match event {
        Event::VisitOpened(o, _) => Row {
            stands: true,
            resident: o.resident,
            opened_at: o.admitted_at_us,
            class: Some(o.class),
            inpatient_at: (o.class == VisitClass::Inpatient).then_some(o.admitted_at_us),
            method: o.admission_method.clone(),
            site: o.site.clone(),
            arrival: Some(o.arrival),
            closed_at: None,
        },
        Event::VisitTransferred { class, admission_method, site, at_us, .. } => {
            if *class == VisitClass::Inpatient {
                row.inpatient_at.get_or_insert(*at_us);
            }
            Row { class: Some(*class), method: admission_method.clone(), site: site.clone(), ..row }
        }
        Event::VisitClosed { at_us, .. } => Row { closed_at: Some(*at_us), ..row },
        Event::VisitReopened { .. } => Row { closed_at: None, ..row },
        Event::VisitIdentified { resident, .. } => Row { resident: Some(*resident), ..row },
        // Whatever else is kept of it, it does not count.
        Event::VisitCancelled { .. } => Row::default(),
        Event::VisitReported(_) => row,
        Event::PatientsMerged { .. } | Event::DeathReported { .. } => panic!("of a person"),
    }
}

/// As the gateway does: what comes before the visit began waits, and is taken in the order of its times once it has.
fn taken(arrivals: &[Said]) -> (Visit, Row) {
    let (mut visit, mut row) = (Visit::default(), Row::default());
    let mut waiting: Vec<Said> = Vec::new();
    for said in arrivals {
        let mut next = vec![*said];
        while let Some(said) = (!next.is_empty()).then(|| next.remove(0)) {
            let subject = Subject::Resident { id: said.2, home: Some(HOME), confidence: Confidence::High };
            match decide(&visit, &said.reported(), Some(&subject)) {
                Ok(events) => {
                    assert!(events[0].statement().is_some() && events[1..].iter().all(|e| e.statement().is_none()), "{events:?}");
                    for event in &events {
                        visit = visit.evolve(event);
                        row = fold(row, event);
                    }
                    waiting.sort_by_key(|said| said.1);
                    next.append(&mut waiting);
                }
                Err(Rejection::NotOpened) => waiting.push(said),
                Err(rejection) => assert_eq!(rejection, Rejection::NothingNew, "{arrivals:?}"),
            }
        }
    }
    (visit, row)
}

fn permutations(of: &[Said]) -> Vec<Vec<Said>> {
    if of.len() < 2 {
        return vec![of.to_vec()];
    }
    (0..of.len())
        .flat_map(|n| {
            let mut rest = of.to_vec();
            let first = rest.remove(n);
            permutations(&rest).into_iter().map(move |mut tail| {
                tail.insert(0, first);
                tail
            })
        })
        .collect()
}

fn same_in_every_order(sequence: &[Said]) -> (Course, Row) {
    let (in_order, row) = taken(sequence);
    for arrivals in permutations(sequence) {
        let (visit, out_of_order) = taken(&arrivals);
        assert_eq!(visit.course(), in_order.course(), "{arrivals:?}");
        assert_eq!(out_of_order, row, "what consumers have after {arrivals:?}");
    }
    (in_order.course(), row)
}

fn of(triggers: &[&'static str]) -> Vec<Said> {
    triggers.iter().enumerate().map(|(n, trigger)| Said(trigger, 10 * (n as i64 + 1), RESIDENT)).collect()
}

#[test]
fn every_order_of_arrival_comes_to_the_same_visit() {
    use Status::{Cancelled, Closed, Open};
    for (triggers, status) in [
        (&["A01", "A11", "A01"][..], Open),
        (&["A01", "A02", "A12"], Open),
        (&["A01", "A03", "A13", "A03"], Closed),
        (&["A08", "A01"], Open),
        (&["A04", "A01"], Open),
        (&["A04", "A01", "A03"], Closed),
        (&["A05", "A38"], Cancelled),
        (&["A05", "A38", "A01"], Open),
        (&["A05", "A01", "A38", "A03"], Closed),
        (&["A01", "A03", "A11"], Cancelled),
        (&["A04", "A01", "A11"], Open),
        (&["A04", "A01", "A11", "A11"], Cancelled),
        (&["A04", "A08", "A11"], Open),
        (&["A04", "A08", "A11", "A11"], Cancelled),
        (&["A04", "A08", "A07", "A11"], Cancelled),
        (&["A01", "A07", "A03"], Closed),
        (&["A01", "A03", "A01"], Open),
    ] {
        let sequence = of(triggers);
        let (course, row) = same_in_every_order(&sequence);
        assert_eq!(course.status, status, "{triggers:?}");
        assert_eq!(row.stands, matches!(status, Open | Closed), "{triggers:?}");
        // Each message comes once more, with its own times.
        for repeated in &sequence {
            let again: Vec<Said> = sequence.iter().copied().chain([*repeated]).collect();
            assert_eq!(same_in_every_order(&again), (course.clone(), row.clone()), "{again:?}");
        }
    }
}

#[test]
fn what_the_sequences_say_is_what_consumers_have() {
    let row = |triggers: &[&'static str]| taken(&of(triggers)).1;
    let admitted = row(&["A04", "A01"]);
    assert_eq!((admitted.opened_at, admitted.class, admitted.inpatient_at), (10, Some(VisitClass::Inpatient), Some(20)));
    let not_admitted = row(&["A04", "A01", "A11"]);
    assert_eq!((not_admitted.class, not_admitted.inpatient_at, not_admitted.arrival), (Some(VisitClass::Emergency), None, Some(Arrival::Ambulance)));
    assert_eq!(row(&["A01", "A02"]).site, "RHM02");
    assert_eq!(row(&["A01", "A02", "A12"]).site, "RHM01");
    assert_eq!(row(&["A01", "A03", "A13"]).closed_at, None);
    assert_eq!(row(&["A01", "A03", "A13", "A03"]).closed_at, Some(40));
    assert_eq!(row(&["A01", "A11", "A01"]).opened_at, 30);
    assert_eq!((row(&["A08", "A01"]).method, row(&["A01", "A08"]).method), ("21".to_owned(), "28".to_owned()));
}

#[test]
fn a_visit_that_was_moved_is_the_other_patients_whenever_that_is_heard() {
    let sequence = [Said("A01", 10, RESIDENT), Said("A45", 20, OTHER), Said("A03", 30, OTHER), Said("A08", 15, RESIDENT)];
    let (course, row) = same_in_every_order(&sequence);
    assert_eq!((course.resident(), row.resident, row.closed_at), (Some(OTHER), Some(OTHER), Some(30)));
    let (visit, _) = taken(&of(&["A01"]));
    let away = decide(&visit, &Said("A45", 20, OTHER).reported(), None).expect("taken");
    assert_eq!(away.iter().map(Event::name).collect::<Vec<_>>(), ["VisitCancelled"], "it is no resident's any more");
}

/// Seeded sequences of up to seven messages, some twice, in seeded orders.
#[test]
fn random_sequences_come_to_the_same_visit_in_any_order() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or_default() % below
    };
    let triggers = ["A01", "A04", "A05", "A02", "A12", "A07", "A08", "A03", "A11", "A13", "A38", "A45"];
    for _ in 0..2_000 {
        let length = 2 + random(6);
        let mut sequence: Vec<Said> =
            (0..length).map(|n| Said(triggers[random(triggers.len())], 10 * (n as i64 + 1), if random(4) == 0 { OTHER } else { RESIDENT })).collect();
        let twice = sequence[random(sequence.len())];
        let (in_order, row) = taken(&sequence);
        sequence.push(twice);
        for _ in 0..6 {
            for n in (1..sequence.len()).rev() {
                sequence.swap(n, random(n + 1));
            }
            let (visit, out_of_order) = taken(&sequence);
            assert_eq!(visit.course(), in_order.course(), "{sequence:?}");
            assert_eq!(out_of_order, row, "{sequence:?}");
        }
    }
}

#[test]
fn of_two_visits_that_are_one_the_survivor_has_everything_and_the_other_never_was() {
    let (attendance, _) = taken(&of(&["A04"]));
    let (admission, row) = taken(&[Said("A01", 20, RESIDENT), Said("A03", 30, RESIDENT)]);
    let merge = Reported { trigger: "A42".into(), ..Said("A08", 40, RESIDENT).reported() };
    let (kept, gone) = absorb(&admission, &attendance, &merge).expect("taken");
    let row = kept.iter().fold(row, fold);
    assert_eq!((row.opened_at, row.inpatient_at, row.closed_at), (10, Some(20), Some(30)));
    assert_eq!(kept.iter().fold(admission, |visit, event| visit.evolve(event)).course(), taken(&of(&["A04", "A01", "A03"])).0.course());
    assert_eq!(gone.iter().map(Event::name).collect::<Vec<_>>(), ["VisitCancelled"]);
    let gone = gone.iter().fold(attendance, |visit, event| visit.evolve(event));
    assert!(!gone.course().stands());
    let later = decide(&gone, &Said("A01", 50, RESIDENT).reported(), None).expect("remembered");
    assert_eq!(later.iter().map(Event::name).collect::<Vec<_>>(), ["VisitReported"], "nothing makes it a visit again");
}

#[test]
fn what_was_recorded_without_statements_goes_on_as_it_was() {
    let (_, events) = {
        let mut visit = Visit::default();
        let mut events = Vec::new();
        for said in of(&["A04", "A01", "A03"]) {
            let subject = Subject::Resident { id: RESIDENT, home: Some(HOME), confidence: Confidence::High };
            for event in decide(&visit, &said.reported(), Some(&subject)).expect("taken") {
                visit = visit.evolve(&event);
                events.push(without_statement(event));
            }
        }
        (visit, events)
    };
    let visit = events.iter().fold(Visit::default(), |visit, event| visit.evolve(event));
    let course = visit.course();
    assert_eq!((course.status, course.stages.len(), course.resident()), (Status::Closed, 2, Some(RESIDENT)));
    let reopened = decide(&visit, &Said("A13", 40, RESIDENT).reported(), None).expect("taken");
    assert_eq!(reopened.iter().map(Event::name).collect::<Vec<_>>(), ["VisitReopened"]);
}

fn without_statement(mut event: Event) -> Event {
    match &mut event {
        Event::VisitOpened(_, report) | Event::VisitTransferred { report, .. } | Event::VisitClosed { report, .. } => *report = None,
        other => panic!("{other:?}"),
    }
    event
}

#[test]
fn times_are_taken_in_their_rank_and_a_contradiction_is_named() {
    let order = |occurred, recorded, sent| Order { occurred_us: occurred, recorded_us: recorded, sent_us: sent }.key();
    assert!(order(Some(1), Some(9), Some(9)) < order(Some(2), Some(1), Some(1)));
    assert!(order(Some(1), Some(1), Some(9)) < order(Some(1), Some(2), Some(1)));
    assert!(order(None, Some(1), Some(9)) < order(Some(2), None, None));
    assert!(order(None, None, Some(1)) < order(None, None, Some(2)));
    let (visit, _) = taken(&of(&["A01"]));
    let contradiction = |said: Said| visit.contradiction(&said.reported().statement(None));
    assert_eq!(contradiction(Said("A13", 20, RESIDENT)), Some("the visit is not closed by then"));
    assert_eq!(contradiction(Said("A03", 5, RESIDENT)), Some("the visit is not open by then"));
    assert_eq!(contradiction(Said("A03", 20, RESIDENT)), None);
}
