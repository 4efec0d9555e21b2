//! What becomes of messages, by whatever road the knowledge comes.

use crate::world::*;
use bytes::Bytes;
use hearthline_contracts::envelope::Environment;
use hearthline_contracts::hospital::HospitalEvent;
use hearthline_contracts::hospital::hospital_event::Fact as Pb;
use hearthline_eventing::now_us;
use hearthline_interop::hl7v2::AckCode;
use prost::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const RESIDENT: [u8; 16] = [7; 16];
const HOME: [u8; 16] = [9; 16];

#[tokio::test]
async fn a_residents_admission_is_a_visit_and_its_bytes_are_sealed_under_the_visits_key() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", Some(HOME)).await).await;
    take(&gateway, &Adt::new("A01", "1", &number(1)).write()).await;
    assert_eq!((world.events().await, world.states().await), (vec!["VisitOpened".to_owned()], vec!["interpreted".to_owned()]));
    let recorded = world.ports.store.read_all(0, 10).await.expect("readable").remove(0);
    let event = HospitalEvent::decode(recorded.payload).expect("ours");
    let envelope = event.envelope.expect("an envelope");
    assert_eq!(envelope.correlation_id, envelope.stream_id);
    assert_eq!(envelope.occurred_zone, "Europe/London");
    let Some(Pb::VisitOpened(opened)) = event.fact else { panic!("an opening") };
    assert_eq!(opened.resident.expect("a resident").resident_id.as_ref(), RESIDENT);
    assert_eq!((opened.home_id.as_ref(), opened.admission_method.as_str(), opened.feed.as_str()), (&HOME[..], "21", "southampton"));
    let rows = world.ports.store.query("select id, stream from inbox", &[]).await.expect("readable");
    let blob = world.ports.store.blob(rows[0].id(0)).await.expect("readable").expect("the bytes are kept");
    assert_eq!(blob.stream, rows[0].stream(1));
    let plain = gateway.kernel.composer.open_blob(rows[0].id(0), &blob).await.expect("opens");
    assert_eq!(plain.known().expect("known"), &Adt::new("A01", "1", &number(1)).write());
}

#[tokio::test]
async fn nothing_personal_lies_in_clear_in_any_file() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", Some(HOME)).await).await;
    for n in 1..=3 {
        take(&gateway, &Adt::new("A01", &n.to_string(), &number(n)).write()).await;
    }
    world.backend.close().await;
    for file in std::fs::read_dir(world.folder.path()).expect("listed") {
        let bytes = std::fs::read(file.expect("listed").path()).expect("readable");
        for needle in [number(1), number(2), "TESTPERSON".to_owned(), "Nowhere Lane".to_owned()] {
            assert!(!bytes.windows(needle.len()).any(|w| w == needle.as_bytes()), "personal data in clear");
        }
    }
}

#[tokio::test]
async fn the_same_message_again_is_accepted_and_has_no_second_effect() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    let message = Adt::new("A01", "1", &number(1)).write();
    let both = tokio::join!(receive(&gateway, &message), receive(&gateway, &message));
    assert!(both.0.code.is_accept() && both.1.code.is_accept());
    interpret(&gateway).await;
    take(&gateway, &message).await;
    assert_eq!((world.events().await.len(), world.states().await), (1, vec!["interpreted".to_owned(), "duplicate".to_owned(), "duplicate".to_owned()]));
    // The control id alone does not make it the same message.
    take(&gateway, &Adt { at: "20260302090000", ..Adt::new("A03", "1", &number(1)) }.write()).await;
    assert_eq!(world.events().await, ["VisitOpened", "VisitClosed"]);
    let reused = world.ports.store.query("select count(*) from claims where scope = 'control-reused'", &[]).await.expect("readable");
    assert_eq!(reused[0].int(0), 1);
}

#[tokio::test]
async fn what_another_interpreter_settled_in_mid_page_stays_and_happens_once() {
    let world = World::new(Environment::Test).await;
    let plain = world.gateway();
    for (resident, n) in [(RESIDENT, 1), ([8; 16], 2)] {
        consume(&plain, &world.registration(resident, &number(n), "1938-04-12", None).await).await;
    }
    let merge = String::from_utf8(Adt { at: "20260302090000", ..Adt::new("A40", "2", &number(1)) }.write()).expect("ascii");
    let merge = format!("{}MRG|{}^^^NHS^NH\r", merge.split("PV1").next().expect("before the visit"), number(2));
    for message in [Adt::new("A01", "1", &number(1)).write(), merge.into_bytes(), Adt { visit: "V2", ..Adt::new("A03", "3", &number(3)) }.write()] {
        assert!(receive(&plain, &message).await.code.is_accept());
    }
    let (other, done) = (plain.clone(), Arc::new(AtomicBool::new(false)));
    let store = Interrupted::new(world.ports.store.clone(), move |stage| {
        let (other, done) = (other.clone(), done.clone());
        Box::pin(async move {
            if stage == Stage::BeforeSettling && !done.swap(true, Ordering::SeqCst) {
                interpret(&other).await;
            }
            Ok(())
        })
    });
    interpret(&world.gateway_on(Arc::new(store))).await;
    let (mut events, mut states) = (world.events().await, world.states().await);
    events.sort_unstable();
    states.sort_unstable();
    assert_eq!(
        (&events[..], &states[..]),
        (&["PatientsMerged", "VisitOpened"].map(str::to_owned)[..], &["held", "interpreted", "interpreted"].map(str::to_owned)[..])
    );
}

#[tokio::test]
async fn a_backlog_of_several_pages_is_as_if_each_message_had_come_alone() {
    const VISITS: usize = 700;
    const LATE: usize = 10;
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    let told = |trigger: &'static str, at: &'static str, visits: std::ops::Range<usize>| {
        visits.map(move |visit| {
            let message = Adt { at, ..Adt::new(trigger, &format!("{trigger}{visit}"), &number(1)) }.write();
            Bytes::from(String::from_utf8(message).expect("ascii").replace("|V1", &format!("|V{visit}")))
        })
    };
    // Each visit is told of in several pages, and of some the discharge comes two pages before the admission.
    let (admitted, moved, left) = ("20260301101500", "20260302101500", "20260303101500");
    let backlog = told("A03", left, 0..LATE)
        .chain(told("A01", admitted, LATE..VISITS))
        .chain(told("A02", moved, LATE..VISITS))
        .chain(told("A01", admitted, 0..LATE))
        .chain(told("A03", left, LATE..VISITS))
        .chain(told("A02", moved, 0..LATE));
    for message in backlog {
        gateway.receive(&message, &arrival()).await.expect("answered");
    }
    interpret(&gateway).await;
    let count = |sql: &'static str| async { world.ports.store.query(sql, &[]).await.expect("readable")[0].int(0).unsigned_abs() as usize };
    assert_eq!(count("select count(*) from inbox where state = 'interpreted'").await, 3 * VISITS);
    for name in ["VisitOpened", "VisitClosed"] {
        let of = |what: &str| format!("select count({what}) from events where name = '{name}'");
        let row = world.ports.store.query(&format!("select ({}), ({})", of("*"), of("distinct stream")), &[]).await.expect("readable").remove(0);
        assert_eq!((row.int(0), row.int(1)), (VISITS as i64, VISITS as i64), "{name}");
    }
    assert_eq!(count("select count(*) from inbox_bytes").await, 0, "the bytes of each lie with its visit");
}

#[tokio::test]
async fn a_control_id_that_no_table_takes_is_refused_and_kept_without_what_is_wrong() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    for control in ["A\u{0}B".to_owned(), "A\u{7}B".to_owned(), "9".repeat(200)] {
        let message = String::from_utf8(Adt::new("A01", "CONTROL", &number(1)).write()).expect("ascii").replace("CONTROL", &control);
        let reply = receive(&gateway, message.as_bytes()).await;
        assert_eq!(reply.code, AckCode::ApplicationError);
    }
    assert!(receive(&gateway, &Adt::new("A01", &"9".repeat(199), &number(1)).write()).await.code.is_accept());
    let kept = world.ports.store.query("select control_id from inbox where state = 'refused' order by seq", &[]).await.expect("readable");
    assert_eq!(kept.iter().map(|row| row.text(0).to_owned()).collect::<Vec<_>>(), ["AB".to_owned(), "AB".to_owned(), "9".repeat(199)]);
}

#[tokio::test]
async fn no_frame_is_answered_or_kept_while_store_and_log_are_apart() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    world.ports.store.set_open(Err("the log knows an event that the store does not".to_owned()));
    assert!(gateway.receive(&Adt::new("A01", "1", &number(1)).write().into(), &arrival()).await.is_err());
    assert!(world.rows().await.is_empty());
}

#[tokio::test]
async fn a_number_with_another_date_of_birth_is_not_the_resident() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    take(&gateway, &Adt { born: "19400101", ..Adt::new("A01", "1", &number(1)) }.write()).await;
    assert_eq!(world.rows().await, [("held".to_owned(), "the date of birth is not the resident's".to_owned())]);
    assert!(world.events().await.is_empty());
}

#[tokio::test]
async fn an_attendance_becomes_an_admission_and_ends_whatever_order_it_is_told_in() {
    let story = |number: &str| {
        [
            Adt { class: "E", method: "", at: "20260301090000", ..Adt::new("A04", "1", number) },
            Adt { at: "20260301120000", ..Adt::new("A01", "2", number) },
            Adt { at: "20260303120000", ..Adt::new("A03", "3", number) },
        ]
    };
    for order in [[0, 1, 2], [2, 0, 1], [2, 1, 0], [1, 2, 0], [0, 2, 1], [1, 0, 2]] {
        let world = World::new(Environment::Test).await;
        let gateway = world.gateway();
        consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
        for n in order {
            take(&gateway, &story(&number(1))[n].write()).await;
        }
        let events = world.events().await;
        // An opening that is told late opens the visit again and closes it again; an admission told after the discharge is a change of
        // the stay that ended.
        let last = |name: &str| events.iter().rposition(|event| event == name);
        assert_eq!(events.first().map(String::as_str), Some("VisitOpened"), "{order:?}");
        assert!(last("VisitClosed") > last("VisitOpened") && last("VisitReopened").is_none(), "{order:?}: {events:?}");
        assert!(!world.states().await.contains(&"held".to_owned()), "{order:?}");
    }
}

#[tokio::test]
async fn strangers_are_held_and_a_home_level_visit_needs_address_and_agreement() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.home(HOME, "Oak Lodge", "12 High Street", POSTCODE).await).await;
    take(&gateway, &Adt::new("A01", "1", &number(1)).write()).await;
    take(&gateway, &Adt { address: ("Oak Lodge", POSTCODE), facility: "RHU", visit: "V2", ..Adt::new("A01", "2", &number(2)) }.write()).await;
    assert!(world.events().await.is_empty());
    take(&gateway, &Adt { address: ("Oak Lodge", POSTCODE), visit: "V3", ..Adt::new("A01", "3", &number(3)) }.write()).await;
    take(&gateway, &Adt { address: ("", ""), visit: "V3", at: "20260302090000", ..Adt::new("A03", "4", &number(3)) }.write()).await;
    assert_eq!(world.events().await, ["VisitOpened", "VisitClosed"]);
    assert_eq!(world.states().await, ["held"; 4]);
    let blobs = world.ports.store.query("select count(*) from blobs", &[]).await.expect("readable");
    assert_eq!(blobs[0].int(0), 0, "nothing of a stranger's message lies on the visit");
    // Somebody finds out who it was: the same visit, not a second one.
    consume(&gateway, &world.registration(RESIDENT, &number(3), "1938-04-12", Some(HOME)).await).await;
    tick(&gateway).await;
    assert_eq!(world.events().await, ["VisitOpened", "VisitClosed", "VisitIdentified"]);
    assert_eq!(world.states().await, ["held", "held", "interpreted", "ignored"]);
}

#[tokio::test]
async fn a_home_that_is_registered_late_finds_its_visits() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    take(&gateway, &Adt { address: ("Room 3, Oak Lodge", POSTCODE), ..Adt::new("A01", "1", &number(1)) }.write()).await;
    assert!(world.events().await.is_empty());
    consume(&gateway, &world.home(HOME, "Oak Lodge", "12 High Street", POSTCODE).await).await;
    tick(&gateway).await;
    assert_eq!((world.events().await, world.states().await), (vec!["VisitOpened".to_owned()], vec!["held".to_owned()]));
}

#[tokio::test]
async fn a_resident_registered_late_gets_every_held_message_in_its_own_order() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    take(&gateway, &Adt { at: "20260303120000", ..Adt::new("A03", "2", &number(1)) }.write()).await;
    take(&gateway, &Adt { at: "20260301120000", ..Adt::new("A01", "1", &number(1)) }.write()).await;
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    tick(&gateway).await;
    assert_eq!((world.events().await, world.states().await), (vec!["VisitOpened".to_owned(), "VisitClosed".to_owned()], vec!["interpreted".to_owned(); 2]));
}

#[tokio::test]
async fn a_death_is_reported_once_and_its_day_once_and_two_records_of_residents_are_proposed_as_one() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    consume(&gateway, &world.registration([8; 16], &number(2), "1938-04-12", None).await).await;
    let mut died = String::from_utf8(Adt::new("A31", "1", &number(1)).write()).expect("ascii");
    died = died.replace("PO1 1AA", &format!("PO1 1AA{}Y", "|".repeat(19)));
    take(&gateway, died.as_bytes()).await;
    take(&gateway, died.replace("|1|P|", "|2|P|").as_bytes()).await;
    // The day is news, once.
    for control in ["4", "5"] {
        let dated = died.replace(&format!("{}Y", "|".repeat(19)), &format!("{}20260228|Y", "|".repeat(18)));
        take(&gateway, dated.replace("|1|P|", &format!("|{control}|P|")).as_bytes()).await;
    }
    let merge = String::from_utf8(Adt::new("A40", "3", &number(1)).write()).expect("ascii");
    let merge = format!("{}MRG|{}^^^NHS^NH\r", merge.split("PV1").next().expect("before the visit"), number(2));
    take(&gateway, merge.as_bytes()).await;
    assert_eq!(world.events().await, ["DeathReported", "DeathReported", "PatientsMerged"]);
}

#[tokio::test]
async fn a_day_that_is_over_leaves_neither_rows_nor_keys() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    take(&gateway, &Adt::new("A01", "1", &number(1)).write()).await;
    let keep = gateway.sweep(noon_after(&world, 14).await).await.expect("swept");
    assert!(keep.inbox.is_empty(), "the fourteenth day is kept");
    let sweep = gateway.sweep(noon_after(&world, 15).await).await.expect("swept");
    world.ports.store.append(sweep).await.expect("appended");
    assert!(world.rows().await.is_empty());
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    tick(&gateway).await;
    assert!(world.events().await.is_empty());
}

#[tokio::test]
async fn a_day_that_is_over_stays_whole_until_everything_of_it_is_interpreted() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    take(&gateway, &Adt { visit: "V2", ..Adt::new("A01", "1", &number(2)) }.write()).await;
    assert!(receive(&gateway, &Adt::new("A01", "2", &number(1)).write()).await.code.is_accept());
    let late = now_us() + 40 * 86_400_000_000;
    let sweep = gateway.sweep(late).await.expect("looked");
    assert!(sweep.inbox.is_empty(), "one of the day's messages was not interpreted");
    interpret(&gateway).await;
    assert_eq!((world.events().await, world.states().await), (vec!["VisitOpened".to_owned()], vec!["held".to_owned(), "interpreted".to_owned()]));
    let sweep = gateway.sweep(late).await.expect("swept");
    world.ports.store.append(sweep).await.expect("appended");
    assert_eq!(world.states().await, ["interpreted"]);
}

/// When, as seen by a message, the resident's registration commits its tag and looks for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registered {
    Before,
    /// Before the row is there: both the tag and its look.
    BeforeReceipt,
    /// Between the row's commit and the interpreter's reading of the tags.
    AfterReceipt,
    /// Between the interpreter's reading of the tags and the commit of what it made of the row: the tag, and a look that must not be
    /// the last.
    BeforeSettling,
    /// The tag while the interpreter works, the look afterwards.
    TagBeforeSettling,
    After,
}

#[tokio::test]
async fn a_registration_and_an_admission_that_race_come_to_the_same_whichever_is_first() {
    use Registered::*;
    for when in [Before, BeforeReceipt, AfterReceipt, BeforeSettling, TagBeforeSettling, After] {
        let world = World::new(Environment::Test).await;
        let plain = world.gateway();
        let fact = world.registration(RESIDENT, &number(1), "1938-04-12", Some(HOME)).await;
        let (other, news, done) = (plain.clone(), fact.clone(), Arc::new(AtomicBool::new(false)));
        let store = Interrupted::new(world.ports.store.clone(), move |stage| {
            let (other, news, done) = (other.clone(), news.clone(), done.clone());
            Box::pin(async move {
                let is_now = matches!(
                    (when, stage),
                    (BeforeReceipt, Stage::BeforeReceipt) | (AfterReceipt, Stage::AfterReceipt) | (BeforeSettling | TagBeforeSettling, Stage::BeforeSettling)
                );
                if is_now && !done.swap(true, Ordering::SeqCst) {
                    consume(&other, &news).await;
                    if when != TagBeforeSettling {
                        fire(&other).await;
                    }
                }
                Ok(())
            })
        });
        let gateway = world.gateway_on(Arc::new(store));
        if when == Before {
            consume(&plain, &fact).await;
        }
        take(&gateway, &Adt::new("A01", "1", &number(1)).write()).await;
        if when == After {
            consume(&plain, &fact).await;
        }
        tick(&plain).await;
        let blobs = world.ports.store.query("select count(*) from blobs", &[]).await.expect("readable")[0].int(0);
        let result = (world.events().await, world.states().await, blobs);
        assert_eq!(result, (vec!["VisitOpened".to_owned()], vec!["interpreted".to_owned()], 1), "{when:?}");
        let timers = world.ports.store.query("select count(*) from timers", &[]).await.expect("readable")[0].int(0);
        assert_eq!(timers, 0, "{when:?}: the look is over");
    }
}

#[tokio::test]
async fn a_row_says_which_field_could_not_be_read() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    let message = Adt { born: "19381399", ..Adt::new("A01", "1", &number(1)) }.write();
    let message = String::from_utf8(message).expect("ascii").replace("EVN||20260301101500", "EVN||NOTADATE");
    take(&gateway, message.as_bytes()).await;
    assert_eq!(world.rows().await, [("interpreted".to_owned(), "EVN-2 holds no time; PID-7 holds no date of birth".to_owned())]);
}
