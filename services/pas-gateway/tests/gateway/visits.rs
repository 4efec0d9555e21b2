//! Visits that are moved, merged and told of under several identifiers: whatever comes first, the end is the same.

use crate::world::*;
use hearthline_contracts::envelope::Environment;
use hearthline_contracts::hospital::hospital_event::Fact as Pb;
use hearthline_contracts::hospital::{HospitalEvent, VisitClass};
use hearthline_pas_gateway::gateway::Gateway;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const ONE: [u8; 16] = [7; 16];
const OTHER: [u8; 16] = [8; 16];
const HOME: [u8; 16] = [9; 16];

/// A visit as a consumer has it that folds the facts alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    resident: Option<[u8; 16]>,
    home: Vec<u8>,
    classes: Vec<i32>,
    opened_at_us: i64,
    closed_at_us: Option<i64>,
}

/// The visits that were, for all that is told.
async fn told(world: &World) -> Vec<Told> {
    let mut visits: BTreeMap<[u8; 16], Option<Told>> = BTreeMap::new();
    for recorded in world.ports.store.read_all(0, 1_000).await.expect("readable") {
        let visit = visits.entry(*recorded.stream.bytes()).or_default();
        let resident = |r: Option<hearthline_contracts::types::ResidentRef>| r.map(|r| r.resident_id.as_ref().try_into().expect("an id"));
        match (HospitalEvent::decode(recorded.payload).expect("ours").fact.expect("a fact"), visit.as_mut()) {
            (Pb::VisitOpened(o), _) => {
                *visit = Some(Told {
                    classes: vec![o.visit_class],
                    opened_at_us: o.admitted_at_us,
                    home: o.home_id.to_vec(),
                    resident: resident(o.resident),
                    closed_at_us: None,
                });
            }
            (Pb::VisitTransferred(t), Some(told)) if told.classes.last() != Some(&t.visit_class) => told.classes.push(t.visit_class),
            (Pb::VisitClosed(c), Some(told)) => told.closed_at_us = Some(c.discharged_at_us),
            (Pb::VisitReopened(_), Some(told)) => told.closed_at_us = None,
            (Pb::VisitIdentified(i), Some(told)) => {
                told.resident = resident(i.resident);
                told.home = i.home_id.to_vec();
            }
            (Pb::VisitCancelled(_), _) => *visit = None,
            (Pb::VisitTransferred(_) | Pb::VisitReported(_) | Pb::DeathReported(_), _) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
    let mut told: Vec<Told> = visits.into_values().flatten().collect();
    told.sort();
    told
}

async fn with_residents() -> (World, Gateway) {
    let (world, gateway) = with_nobody().await;
    register(&world, &gateway).await;
    (world, gateway)
}

async fn with_nobody() -> (World, Gateway) {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    (world, gateway)
}

async fn register(world: &World, gateway: &Gateway) {
    for (resident, n) in [(ONE, 1), (OTHER, 2)] {
        consume(gateway, &world.registration(resident, &number(n), "1938-04-12", Some(HOME)).await).await;
    }
}

fn text(adt: &Adt) -> String {
    String::from_utf8(adt.write()).expect("ascii")
}

/// A message of a patient who is called `local` by the hospital, and has no NHS number where that is empty.
fn of(adt: &Adt, local: &str) -> String {
    let text = text(adt).replace("|H123^", &format!("|{local}^"));
    if adt.number.is_empty() { text.replace("~^^^NHS^NH", "") } else { text }
}

/// A42 or A45: MRG-1 and MRG-5 come before PV1.
fn merging(adt: &Adt, former: &str, number: &str) -> String {
    text(adt).replace("\rPV1|", &format!("\rMRG|{former}||||{number}\rPV1|"))
}

/// Every order of `n` things.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in orders(n - 1) {
        for at in 0..=shorter.len() {
            let mut order = shorter.clone();
            order.insert(at, n - 1);
            all.push(order);
        }
    }
    all
}

/// When the residents are registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registered {
    First,
    Last,
}

/// Takes the messages in every order, one by one and as a page, the residents known before and registered late; gives what is told in
/// the end, which is always the same.
async fn in_every_order(messages: &[String]) -> Vec<Told> {
    let mut first: Option<Vec<Told>> = None;
    let ways = [(false, Registered::First), (true, Registered::Last), (true, Registered::First), (false, Registered::Last)];
    for (n, order) in orders(messages.len()).into_iter().enumerate().flat_map(|(n, order)| [(n, order.clone()), (n + 1, order)]) {
        // Each order in two of the ways, and each way with half of the orders.
        let (as_page, registered) = ways[n % ways.len()];
        let (world, gateway) = if registered == Registered::First { with_residents().await } else { with_nobody().await };
        for at in &order {
            assert!(receive(&gateway, messages[*at].as_bytes()).await.code.is_accept());
            if !as_page {
                interpret(&gateway).await;
            }
        }
        interpret(&gateway).await;
        if registered == Registered::Last {
            register(&world, &gateway).await;
            tick(&gateway).await;
        }
        let told = told(&world).await;
        let rows = world.rows().await;
        assert_eq!(*first.get_or_insert_with(|| told.clone()), told, "{order:?} {as_page} {registered:?}: {:?} {rows:?}", world.events().await);
    }
    first.expect("one order at least")
}

#[tokio::test]
async fn a_visit_that_is_moved_to_another_resident_is_theirs_whichever_message_comes_first() {
    let moved = Adt { at: "20260302090000", ..Adt::new("A45", "2", &number(2)) };
    let messages = [
        text(&Adt::new("A01", "1", &number(1))),
        merging(&moved, &format!("{}^^^NHS^NH", number(1)), "V1"),
        text(&Adt { at: "20260303120000", ..Adt::new("A03", "3", &number(2)) }),
    ];
    let told = in_every_order(&messages).await;
    assert_eq!((told.len(), told[0].resident, told[0].closed_at_us.is_some()), (1, Some(OTHER), true));
}

#[tokio::test]
async fn a_visit_that_is_moved_to_a_stranger_is_the_residents_no_more_and_the_strangers_once_they_are_known() {
    let moved = Adt { at: "20260302090000", ..Adt::new("A45", "2", &number(3)) };
    let messages = [
        text(&Adt::new("A01", "1", &number(1))),
        merging(&moved, &format!("{}^^^NHS^NH", number(1)), "V1"),
        text(&Adt { at: "20260303120000", ..Adt::new("A03", "3", &number(3)) }),
    ];
    assert_eq!(in_every_order(&messages).await, []);
    for order in orders(3) {
        let (world, gateway) = with_residents().await;
        for at in &order {
            take(&gateway, messages[*at].as_bytes()).await;
        }
        let kept = world.ports.store.query("select count(*) from inbox where moved = 1 and kind = 'ADT^A45'", &[]).await.expect("readable");
        assert_eq!(kept[0].int(0), 0, "{order:?}: a stranger's message does not outlive its day");
        consume(&gateway, &world.registration([6; 16], &number(3), "1938-04-12", None).await).await;
        tick(&gateway).await;
        let told = told(&world).await;
        assert_eq!((told.len(), told[0].resident, told[0].closed_at_us.is_some()), (1, Some([6; 16]), true), "{order:?}: {:?}", world.rows().await);
    }
}

#[tokio::test]
async fn a_visit_that_is_moved_from_a_stranger_to_a_resident_is_theirs_from_its_opening() {
    let moved = Adt { at: "20260302090000", visit: "V2", ..Adt::new("A45", "2", &number(1)) };
    let messages = [
        text(&Adt { address: ("", ""), ..Adt::new("A01", "1", &number(3)) }),
        merging(&moved, &format!("{}^^^NHS^NH", number(3)), "V1"),
        text(&Adt { at: "20260303120000", visit: "V2", ..Adt::new("A03", "3", &number(1)) }),
    ];
    let told = in_every_order(&messages).await;
    assert_eq!((told.len(), told[0].resident, told[0].closed_at_us.is_some()), (1, Some(ONE), true));
}

#[tokio::test]
async fn a_retired_visit_number_finds_the_visit_that_was_moved() {
    let moved = Adt { at: "20260302090000", visit: "V2", ..Adt::new("A45", "2", &number(2)) };
    let messages = [
        text(&Adt::new("A01", "1", &number(1))),
        merging(&moved, &format!("{}^^^NHS^NH", number(1)), "V1"),
        text(&Adt { at: "20260303120000", ..Adt::new("A03", "3", "") }),
        text(&Adt { at: "20260303130000", visit: "V2", ..Adt::new("A13", "4", &number(2)) }),
    ];
    let told = in_every_order(&messages).await;
    assert_eq!((told.len(), told[0].resident, told[0].closed_at_us), (1, Some(OTHER), None), "closed under the old number, open again under the new one");
}

#[tokio::test]
async fn of_two_merged_visits_one_is_left_with_the_reports_of_both_whichever_message_comes_first() {
    let merge = Adt { at: "20260303090000", visit: "V2", method: "", ..Adt::new("A42", "4", &number(1)) };
    let messages = [
        text(&Adt { class: "E", method: "", at: "20260301090000", ..Adt::new("A04", "1", &number(1)) }),
        text(&Adt { at: "20260301120000", visit: "V2", ..Adt::new("A01", "2", &number(1)) }),
        merging(&merge, "H123^^^RHM^MR", "V1"),
        text(&Adt { at: "20260304120000", visit: "V1", ..Adt::new("A03", "5", &number(1)) }),
    ];
    let told = in_every_order(&messages).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let (emergency, inpatient) = (VisitClass::Emergency.into(), VisitClass::Inpatient.into());
    assert_eq!((&told[0].classes[..], told[0].closed_at_us.is_some()), (&[emergency, inpatient][..], true));
}

#[tokio::test]
async fn a_chain_of_merged_visits_ends_in_the_last_and_every_number_finds_it() {
    let merge = |control: &str, at, visit, number_: &str| merging(&Adt { at, visit, ..Adt::new("A42", control, &number(1)) }, "H123^^^RHM^MR", number_);
    for order in [["3", "4"], ["4", "3"]] {
        let (world, gateway) = with_residents().await;
        for (visit, hour) in [("V1", "20260301090000"), ("V2", "20260301100000"), ("V3", "20260301110000")] {
            take(&gateway, text(&Adt { visit, at: hour, ..Adt::new("A01", visit, &number(1)) }).as_bytes()).await;
        }
        for control in order {
            let merge = if control == "3" { merge("3", "20260302090000", "V2", "V1") } else { merge("4", "20260302100000", "V3", "V2") };
            take(&gateway, merge.as_bytes()).await;
        }
        take(&gateway, text(&Adt { at: "20260303120000", ..Adt::new("A03", "9", &number(1)) }).as_bytes()).await;
        let told = told(&world).await;
        assert_eq!((told.len(), told.iter().all(|t| t.closed_at_us.is_some())), (1, true), "{order:?}: {told:?} {:?}", world.events().await);
        let names = world.ports.store.query("select count(distinct owner) from claims where scope = 'visit'", &[]).await.expect("readable");
        assert_eq!(names[0].int(0), 1, "{order:?}");
    }
}

#[tokio::test]
async fn a_visit_that_is_told_of_without_an_nhs_number_first_is_the_residents_once_one_message_has_it() {
    let without = |trigger, control: &str, at| of(&Adt { at, ..Adt::new(trigger, control, "") }, "H1");
    let messages = [
        without("A01", "1", "20260301101500"),
        of(&Adt { at: "20260302090000", ..Adt::new("A08", "2", &number(1)) }, "H1"),
        without("A03", "3", "20260303120000"),
    ];
    let told = in_every_order(&messages).await;
    assert_eq!((told.len(), told[0].resident, told[0].closed_at_us.is_some()), (1, Some(ONE), true));
}

/// A message of a visit that has no number, of a patient who is called `local`.
fn unnumbered(adt: &Adt, local: &str, admitted: &str) -> String {
    of(&Adt { visit: "", ..adt.clone() }, local).replace("|I||21\r", &format!("|I||21{}{admitted}\r", "|".repeat(40)))
}

#[tokio::test]
async fn a_visit_without_a_number_is_known_by_each_of_its_names() {
    let (world, gateway) = with_residents().await;
    for (trigger, at) in [("A01", "20260301101500"), ("A03", "20260303120000")] {
        for n in 10..30 {
            let adt = Adt { at, ..Adt::new(trigger, &format!("{trigger}{n}"), &number(1)) };
            receive(&gateway, unnumbered(&adt, &format!("H{n}"), &format!("2026030110{n}00")).as_bytes()).await;
        }
        interpret(&gateway).await;
    }
    let told = told(&world).await;
    assert_eq!((told.len(), told.iter().filter(|visit| visit.closed_at_us.is_some()).count()), (20, 20), "{:?}", world.rows().await);
}

#[tokio::test]
async fn a_visit_that_opens_on_one_page_goes_on_under_another_name_on_the_next() {
    const PAGE: usize = 1_000;
    const VISITS: usize = 20;
    let (world, gateway) = with_residents().await;
    consume(&gateway, &world.home(HOME, "Oak Lodge", "12 High Street", POSTCODE).await).await;
    let of_visit = |trigger, n: usize, number: &str, at| {
        let adt = Adt { at, ..Adt::new(trigger, &format!("{trigger}{n}"), number) };
        unnumbered(&adt, &format!("H{n}"), &format!("2026030110{n:02}00")).replace("1 Nowhere Lane", "Oak Lodge").replace("PO1 1AA", POSTCODE)
    };
    let strangers = (0..PAGE - VISITS).map(|n| text(&Adt::new("A31", &format!("S{n}"), &number(3))));
    let first = (0..VISITS).map(|n| of_visit("A04", n, "", "20260301101500"));
    let next = (0..VISITS).map(|n| of_visit("A01", n, &number(1), "20260301120000"));
    for message in strangers.chain(first).chain(next) {
        assert!(receive(&gateway, message.as_bytes()).await.code.is_accept());
    }
    interpret(&gateway).await;
    tick(&gateway).await;
    let told = told(&world).await;
    assert_eq!((told.len(), told.iter().filter(|visit| visit.resident == Some(ONE)).count()), (VISITS, VISITS));
}

#[tokio::test]
async fn a_visit_without_a_number_is_one_visit_under_every_identifier_of_its_patient() {
    let of_visit = |trigger, control: &str, number: &str, at| unnumbered(&Adt { at, ..Adt::new(trigger, control, number) }, "H1", "20260301101500");
    let messages = [of_visit("A01", "1", "", "20260301101500"), of_visit("A02", "2", &number(1), "20260302090000"), of_visit("A03", "3", "", "20260303120000")];
    let told = in_every_order(&messages).await;
    assert_eq!((told.len(), told[0].resident, told[0].closed_at_us.is_some()), (1, Some(ONE), true));
    // A stranger at a home's address, whom a later message names.
    for order in orders(3) {
        let (world, gateway) = with_residents().await;
        consume(&gateway, &world.home(HOME, "Oak Lodge", "12 High Street", POSTCODE).await).await;
        for at in &order {
            take(&gateway, messages[*at].replace("1 Nowhere Lane", "Oak Lodge").replace("PO1 1AA", POSTCODE).as_bytes()).await;
        }
        let told = self::told(&world).await;
        assert_eq!((told.len(), told[0].resident, told[0].closed_at_us.is_some()), (1, Some(ONE), true), "{order:?}: {:?}", world.rows().await);
    }
}

#[tokio::test]
async fn an_identifier_that_a_visit_without_a_number_gets_later_finds_it_as_well() {
    let unnumbered = |trigger, control: &str, identifiers: &str, at| {
        let text = text(&Adt { at, visit: "", ..Adt::new(trigger, control, "") }).replace("H123^^^RHM^MR~^^^NHS^NH", identifiers);
        text.replace("|I||21\r", &format!("|I||21{}20260301101500\r", "|".repeat(40)))
    };
    let (nhs, local) = (format!("{}^^^NHS^NH", number(1)), "H2^^^RHM^MR".to_owned());
    let messages = [
        unnumbered("A01", "1", &nhs, "20260301101500"),
        unnumbered("A02", "2", &format!("{nhs}~{local}"), "20260302090000"),
        unnumbered("A03", "3", &local, "20260303120000"),
    ];
    let told = in_every_order(&messages).await;
    assert_eq!((told.len(), told[0].resident, told[0].closed_at_us.is_some()), (1, Some(ONE), true));
}

#[tokio::test]
async fn a_message_that_waits_is_not_forgotten_when_its_patient_is_registered_before_the_opening_comes() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    take(&gateway, text(&Adt { at: "20260303120000", ..Adt::new("A03", "2", &number(1)) }).as_bytes()).await;
    consume(&gateway, &world.registration(ONE, &number(1), "1938-04-12", None).await).await;
    tick(&gateway).await;
    assert_eq!(world.rows().await, [("held".to_owned(), "its visit has not been opened here".to_owned())]);
    take(&gateway, text(&Adt::new("A01", "1", &number(1))).as_bytes()).await;
    assert_eq!(world.events().await, ["VisitOpened", "VisitClosed"]);
}

#[tokio::test]
async fn of_two_opposite_merges_on_one_page_the_second_is_listed_as_a_merge_cycle() {
    let merge = |control: &str, into: &str, from: &str, at| {
        let text = text(&Adt { at, ..Adt::new("A40", control, "") });
        text.split("PV1").next().expect("before the visit").replace("H123^^^RHM^MR~^^^NHS^NH", into) + &format!("MRG|{from}\r")
    };
    let nhs = |n| format!("{}^^^NHS^NH", number(n));
    for (a, b) in [("A^^^RHM^MR".to_owned(), "B^^^RHM^MR".to_owned()), (nhs(1), nhs(2))] {
        let (world, gateway) = with_residents().await;
        for (control, into, from, at) in [("1", &b, &a, "20260301090000"), ("2", &a, &b, "20260301090001")] {
            assert!(receive(&gateway, merge(control, into, from, at).as_bytes()).await.code.is_accept());
        }
        interpret(&gateway).await;
        let rows = world.rows().await;
        assert!(rows[1].0 == "held" && rows[1].1.starts_with("a merge cycle"), "{rows:?}");
        assert!(!rows[0].1.contains("cycle"), "{rows:?}");
        let merged = world.ports.store.query("select count(*) from events", &[]).await.expect("readable")[0].int(0);
        assert_eq!(merged, i64::from(a == nhs(1)), "{rows:?}");
    }
}

#[tokio::test]
async fn a_message_that_names_another_patient_than_the_visits_is_held_and_changes_nothing() {
    const ANOTHERS: &str = "it names another patient than the visit's";
    for (trigger, n) in [("A03", 3), ("A11", 3), ("A01", 3), ("A04", 2), ("A03", 2), ("A42", 2)] {
        for order in [[0, 1], [1, 0]] {
            for as_page in [false, true] {
                let (world, gateway) = with_residents().await;
                let theirs = text(&Adt { at: "20260302090000", born: "19400101", ..Adt::new(trigger, "2", &number(n)) });
                let theirs = if n == 2 { theirs.replace("19400101", BORN) } else { theirs };
                let theirs = if trigger == "A42" { theirs.replace("\rPV1|", "\rMRG|H123||||V1\rPV1|").replace("|V1\rPV2", "|V2\rPV2") } else { theirs };
                let messages = [text(&Adt::new("A01", "1", &number(1))), theirs];
                // Of a resident's own opening nobody can know that the number is another's.
                if order == [1, 0] && n == 2 {
                    continue;
                }
                for at in order {
                    assert!(receive(&gateway, messages[at].as_bytes()).await.code.is_accept());
                    if !as_page {
                        interpret(&gateway).await;
                    }
                }
                interpret(&gateway).await;
                let case = format!("{trigger} of {n}, {order:?}, {as_page}");
                assert_eq!(world.events().await, ["VisitOpened"], "{case}");
                let told = told(&world).await;
                assert_eq!((told.len(), told[0].resident, told[0].closed_at_us), (1, Some(ONE), None), "{case}");
                let rows = world.rows().await;
                assert_eq!((rows[0].0.as_str(), rows[1].0.as_str()), ("interpreted", "held"), "{case}");
                assert!(rows[1].1 == ANOTHERS || order == [1, 0], "{case}: {rows:?}");
                let blobs = world.ports.store.query("select count(*) from blobs", &[]).await.expect("readable");
                assert_eq!(blobs[0].int(0), 1, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn what_names_another_patient_takes_effect_once_the_facility_or_the_directory_makes_the_two_one() {
    let discharge = text(&Adt { at: "20260303120000", ..Adt::new("A03", "3", &number(2)) });
    let merge = text(&Adt { at: "20260302090000", ..Adt::new("A40", "2", &number(2)) });
    let merge = format!("{}MRG|{}^^^NHS^NH\r", merge.split("PV1").next().expect("before the visit"), number(1));
    for order in orders(3) {
        for as_page in [false, true] {
            let (world, gateway) = with_residents().await;
            let messages = [text(&Adt::new("A01", "1", &number(1))), merge.clone(), discharge.clone()];
            for at in &order {
                assert!(receive(&gateway, messages[*at].as_bytes()).await.code.is_accept());
                if !as_page {
                    interpret(&gateway).await;
                }
            }
            interpret(&gateway).await;
            assert_eq!(world.states().await, ["interpreted"; 3], "{order:?} {as_page}: {:?}", world.rows().await);
        }
    }
    // The directory's word: before or after the message, in one step or several, and after a process ended between the two.
    let several = vec![(OTHER, [9; 16]), ([9; 16], ONE)];
    for (merges, begins_with_them, ended_between) in [
        (vec![(OTHER, ONE)], false, false),
        (vec![(OTHER, ONE)], true, false),
        (vec![(ONE, OTHER)], false, false),
        (several, false, false),
        (vec![(OTHER, ONE)], false, true),
    ] {
        let (world, gateway) = with_residents().await;
        tick(&gateway).await;
        take(&gateway, text(&Adt::new("A01", "1", &number(1))).as_bytes()).await;
        let merged = async || {
            for (from, into) in &merges {
                consume(&gateway, &world.residents_merged(*from, *into).await).await;
            }
            match ended_between {
                true => gateway.examine_heard_of().await.expect("looked"),
                false => tick(&gateway).await,
            }
        };
        if begins_with_them {
            merged().await;
        }
        take(&gateway, discharge.as_bytes()).await;
        if !begins_with_them {
            assert_eq!(world.states().await, ["interpreted", "held"]);
            merged().await;
        }
        assert_eq!(world.states().await, ["interpreted"; 2], "{merges:?} {begins_with_them}: {:?}", world.rows().await);
        assert_eq!(world.events().await.last().map(String::as_str), Some("VisitClosed"));
    }
}

#[tokio::test]
async fn an_identifier_of_a_merge_is_an_nhs_number_by_what_it_is_called_alone() {
    // Another resident's digits, as an identifier of Scotland, of the hospital, and of nobody who is named.
    for other in ["CHI^NH", "RHM^MR", "NHS^HospitalNumber", "^"] {
        let (world, gateway) = with_residents().await;
        let merge = text(&Adt { at: "20260302090000", ..Adt::new("A40", "1", &number(1)) });
        let merge = format!("{}MRG|{}^^^{other}\r", merge.split("PV1").next().expect("before the visit"), number(2));
        take(&gateway, merge.as_bytes()).await;
        assert!(world.events().await.is_empty(), "{other}: {:?}", world.rows().await);
    }
    // Hospital numbers that pass modulus 11 join a patient's visits as others do.
    let (world, gateway) = with_residents().await;
    let (old, new) = (number(77), number(78));
    let unnumbered = |trigger, control, at, pid3: &str| {
        let message = text(&Adt { at, ..Adt::new(trigger, control, "") });
        let (head, patient) = message.split_once("PID|").expect("a PID");
        let patient: Vec<&str> = patient.split('\r').next().expect("a segment").split('|').collect();
        format!("{head}PID|||{pid3}|{}\rPV1||I||21{}20260301090000\r", patient[3..].join("|"), "|".repeat(40))
    };
    take(&gateway, unnumbered("A01", "1", "20260301090000", &format!("{old}^^^RHM^MR")).as_bytes()).await;
    let both = format!("{new}^^^RHM^MR~{}^^^NHS^NH", number(1));
    let merge = unnumbered("A40", "2", "20260302090000", &both);
    take(&gateway, format!("{}MRG|{old}^^^RHM^MR\r", merge.split("PV1").next().expect("before the visit")).as_bytes()).await;
    take(&gateway, unnumbered("A03", "3", "20260303090000", &both).as_bytes()).await;
    assert_eq!(world.events().await, ["VisitOpened", "VisitClosed"], "{:?}", world.rows().await);
    assert_eq!(told(&world).await[0].resident, Some(ONE));
}

#[tokio::test]
async fn a_visit_is_of_the_home_in_which_the_resident_lived_when_it_began() {
    const NEXT: [u8; 16] = [10; 16];
    let (world, gateway) = with_residents().await;
    // Registered on the day they came from hospital; half a year later they move to another home.
    for fact in
        [world.moved(ONE, HOME, true, "2026-03-02").await, world.moved(ONE, HOME, false, "2026-09-01").await, world.moved(ONE, NEXT, true, "2026-09-01").await]
    {
        project(&gateway, &fact).await;
    }
    let of = |trigger, visit: &'static str, at: &'static str| text(&Adt { visit, at, ..Adt::new(trigger, &format!("{visit}{trigger}"), &number(1)) });
    for (visit, admitted, discharged) in [
        ("V1", "20260228101500", "20260303101500"),
        ("V2", "20260302101500", "20260310101500"),
        ("V3", "20260831101500", "20260901101500"),
        ("V4", "20260902101500", "20260903101500"),
    ] {
        for message in [of("A01", visit, admitted), of("A08", visit, discharged), of("A03", visit, discharged)] {
            take(&gateway, message.as_bytes()).await;
        }
    }
    let mut told = told(&world).await;
    assert!(told.iter().all(|visit| visit.resident == Some(ONE)));
    told.sort_by_key(|visit| visit.opened_at_us);
    assert_eq!(told.iter().map(|visit| visit.home.as_slice()).collect::<Vec<_>>(), [&[][..], &HOME, &HOME, &NEXT]);
}

#[tokio::test]
async fn an_empty_field_changes_nothing_and_a_deleted_one_takes_back_what_was_said() {
    let (world, gateway) = with_residents().await;
    let update = |control: &str, at, method: &str, source: &str| {
        let text = text(&Adt { at, ..Adt::new("A08", control, &number(1)) });
        let (head, _) = text.split_once("PV1|").expect("a PV1");
        format!("{head}PV1||I||{method}||||||||||{source}|||||V1\r")
    };
    take(&gateway, text(&Adt::new("A01", "1", &number(1))).as_bytes()).await;
    for (control, at, method, source) in
        [("2", "20260301110000", "", "54"), ("3", "20260301120000", "", ""), ("4", "20260301130000", "\"\"", "\"\""), ("5", "20260301140000", "28", "")]
    {
        take(&gateway, update(control, at, method, source).as_bytes()).await;
    }
    let mut said = Vec::new();
    for recorded in world.ports.store.read_all(0, 1_000).await.expect("readable") {
        match HospitalEvent::decode(recorded.payload).expect("ours").fact.expect("a fact") {
            Pb::VisitOpened(o) => said.push((o.admission_method, o.source_of_admission)),
            Pb::VisitTransferred(t) => said.push((t.admission_method, t.source_of_admission)),
            Pb::VisitReported(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let said: Vec<(&str, &str)> = said.iter().map(|(method, source)| (method.as_str(), source.as_str())).collect();
    assert_eq!(said, [("21", ""), ("21", "54"), ("\"\"", "\"\""), ("28", "\"\"")]);
}

#[tokio::test]
async fn updates_of_a_visit_that_is_not_open_cost_the_same_however_many_wait() {
    let (world, _) = with_residents().await;
    let store = Arc::new(Interrupted::new(world.ports.store.clone(), |_| Box::pin(async { Ok(()) })));
    let gateway = world.gateway_on(store.clone());
    let update = |n: usize| text(&Adt::new("A08", &format!("U{n}"), &number(1))).replace("20260301101500", &format!("2026030110{:02}{:02}", n / 60, n % 60));
    let mut read = Vec::new();
    for page in 0..6 {
        for n in page * 50..(page + 1) * 50 {
            assert!(receive(&gateway, update(n).as_bytes()).await.code.is_accept());
        }
        let before = store.read.load(Ordering::SeqCst);
        interpret(&gateway).await;
        read.push(store.read.load(Ordering::SeqCst) - before);
    }
    // Looking at all that wait for each one that comes to wait, the last page would read many times as much as the first.
    assert!(read[5] < 2 * read[0], "{read:?}");
    take(&gateway, text(&Adt { at: "20260301090000", ..Adt::new("A01", "A", &number(1)) }).as_bytes()).await;
    assert!(world.states().await.iter().all(|state| state == "interpreted"));
}

/// A40 with one part per patient: who stays, and MRG-1.
fn merges(control: &str, groups: &[(u32, &[u32])]) -> String {
    let text = text(&Adt { at: "20260302090000", ..Adt::new("A40", control, "") });
    let (head, _) = text.split_once("PID|").expect("a PID");
    let nhs = |n: &u32| format!("{}^^^NHS^NH", number(*n));
    let group = |(stays, go): &(u32, &[u32])| format!("PID|||{}||||{BORN}\rMRG|{}\r", nhs(stays), go.iter().map(nhs).collect::<Vec<_>>().join("~"));
    head.to_owned() + &groups.iter().map(group).collect::<String>()
}

#[tokio::test]
async fn every_patient_and_every_retired_number_of_a_merge_is_told_of_once() {
    let (world, gateway) = with_residents().await;
    for n in 3..=6 {
        consume(&gateway, &world.registration([n; 16], &number(n.into()), "1938-04-12", None).await).await;
    }
    take(&gateway, merges("1", &[(1, &[2, 3, 2]), (4, &[5])]).as_bytes()).await;
    assert_eq!(world.events().await, ["PatientsMerged"; 3]);
    take(&gateway, merges("2", &[(4, &[5]), (6, &[3])]).as_bytes()).await;
    assert_eq!(world.events().await, ["PatientsMerged"; 4]);
    // MRG alone is repeated.
    let repeated = merges("3", &[(6, &[1]), (6, &[4])]).replacen("PID", "1PID", 1);
    let (before, after) = repeated.split_once("\rPID").expect("two parts");
    let repeated = before.replace("1PID", "PID") + "\rMRG" + after.split_once("\rMRG").expect("a part").1;
    take(&gateway, repeated.as_bytes()).await;
    assert_eq!((world.events().await, world.states().await), (vec!["PatientsMerged".to_owned(); 6], vec!["interpreted".to_owned(); 3]));
}

#[tokio::test]
async fn a_merge_is_held_until_all_whom_it_names_are_registered_in_whatever_order_they_are() {
    for order in orders(4) {
        let (world, gateway) = with_nobody().await;
        take(&gateway, merges("1", &[(1, &[2]), (3, &[4])]).as_bytes()).await;
        for n in &order {
            assert_eq!(world.states().await, ["held"]);
            let n = u8::try_from(*n).expect("few") + 1;
            consume(&gateway, &world.registration([n; 16], &number(n.into()), "1938-04-12", None).await).await;
            tick(&gateway).await;
        }
        assert_eq!((world.events().await, world.states().await), (vec!["PatientsMerged".to_owned(); 2], vec!["interpreted".to_owned()]), "{order:?}");
    }
}
