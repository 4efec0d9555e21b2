//! The message store: what is kept of every frame, how it is found, shown and judged again, and when it goes.

use crate::world::*;
use bytes::Bytes;
use hearthline_contracts::envelope::Environment;
use hearthline_eventing::{AuditRow, now_us};
use hearthline_interop::hl7v2::{AckCode, Message};
use hearthline_nhs::NhsNumber;
use hearthline_pas_gateway::Peer;
use hearthline_pas_gateway::gateway::Gateway;
use hearthline_pas_gateway::peer::{Accepts, Acknowledgement, Mode};
use hearthline_pas_gateway::receive::reply_code;
use hearthline_pas_gateway::reprocess::{Now, Reprocessed};
use hearthline_pas_gateway::search::{MessageQuery, MessageSummary, Shown, Visible};
use std::sync::Arc;

const RESIDENT: [u8; 16] = [7; 16];
const DAY_US: i64 = 86_400_000_000;

fn looks(action: &'static str) -> AuditRow {
    AuditRow { at: now_us(), role: "operator", pseudonym: [5; 16], organisation: "QRL".into(), action, whose: None, why: "a test".into() }
}

async fn find(gateway: &Gateway, query: MessageQuery) -> Vec<MessageSummary> {
    gateway.messages(&query, &Visible::All).await.expect("searched")
}

/// Control ids, oldest first.
async fn found(gateway: &Gateway, query: MessageQuery) -> Vec<String> {
    find(gateway, query).await.into_iter().rev().map(|m| m.control_id).collect()
}

fn with_peer(gateway: Gateway, change: impl Fn(Peer) -> Peer) -> Gateway {
    Gateway { peers: Arc::new(gateway.peers.iter().cloned().map(change).collect()), ..gateway }
}

#[tokio::test]
async fn what_is_refused_is_kept_with_the_text_that_was_answered() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("ascii");
    let plain = || text(Adt::new("A01", "1", &number(1)).write());
    for (frame, code, names) in [
        ("nothing of HL7".to_owned(), "AR", "MSH"),
        (plain().replace("ADT^A01", "ORU^R01"), "AR", "MSH-9"),
        (plain().replace("|RHM|HUB", "|XYZ|HUB"), "AR", "MSH-4"),
        (plain().replace("|1|P|", "||P|"), "AE", "MSH-10"),
        (plain().replace("ADT^A01", "ADT"), "AE", "MSH-9.2"),
        (plain().replace("ADT^A01", "ADT^^ADT_A01"), "AE", "MSH-9.2"),
        (plain().replace("ADT^A01", "TESTPERSON ADA 9434765919^X"), "AR", "MSH-9"),
        (plain().split("PV1").next().expect("before").to_owned(), "AE", "PV1"),
        (format!("{}{}", plain(), plain()), "AR", "MSH"),
    ] {
        let reply = receive(&gateway, frame.as_bytes()).await;
        let newest = find(&gateway, MessageQuery { limit: Some(1), ..MessageQuery::default() }).await.remove(0);
        assert_eq!((reply.code.code(), newest.state.as_str(), newest.reply.as_str()), (code, "refused", code), "{frame}");
        assert_eq!(Some(&newest.why), reply.text.as_ref());
        assert!(newest.why.contains(names), "{} names {names}", newest.why);
        let detail = gateway.message(newest.id, &Visible::All, true, looks("read_message")).await.expect("read").expect("there");
        let Shown::Revealed(shown) = detail.shown else { panic!("its bytes are kept: {:?}", detail.shown) };
        assert_eq!(shown.replace(['\n', '\r'], "").trim(), frame.replace('\r', "").trim());
    }
    interpret(&gateway).await;
    assert_eq!(world.states().await, ["refused"; 9]);
    let kinds = world.ports.store.query("select distinct kind from inbox order by kind", &[]).await.expect("readable");
    let kinds: Vec<&str> = kinds.iter().map(|row| row.text(0)).collect();
    assert_eq!(kinds, ["", "ADT", "ADT^A01", "ADT^^ADT_A01", "ORU^R01"], "what is no message type is kept in the bytes alone");
}

#[tokio::test]
async fn every_reply_has_a_control_id_of_its_own_of_at_most_twenty_characters() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    let mut ids = std::collections::HashSet::new();
    for n in 0..500 {
        let frame = Bytes::from(Adt { facility: "XYZ", ..Adt::new("A01", &n.to_string(), &number(1)) }.write());
        let reply = gateway.receive(&frame, &arrival()).await.expect("answered").expect("a reply");
        let id = Message::parse(&reply).expect("readable").field("MSH", 10).value().text().expect("an id").to_owned();
        assert!(id.len() <= 20);
        ids.insert(id);
    }
    assert_eq!(ids.len(), 500);
}

#[tokio::test]
async fn repeats_are_answered_as_the_first_was_and_a_new_control_id_does_not_make_it_new() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    let first = Adt::new("A01", "1", &number(1));
    for (message, state, why) in [
        (first.clone(), "interpreted", ""),
        // Sender, control id and body.
        (first.clone(), "duplicate", "the same message came before"),
        // The body alone, a moment later.
        (Adt { control: "2".into(), ..first.clone() }, "duplicate", "the same body came before under another control id"),
        // The control id alone.
        (Adt { class: "E", ..first.clone() }, "interpreted", "its control id came before with another body"),
    ] {
        assert_eq!(receive(&gateway, &message.write()).await.code, AckCode::ApplicationAccept);
        interpret(&gateway).await;
        let newest = find(&gateway, MessageQuery { limit: Some(1), ..MessageQuery::default() }).await.remove(0);
        assert_eq!((newest.state.as_str(), newest.why.as_str()), (state, why));
    }
    assert_eq!(world.events().await, ["VisitOpened", "VisitTransferred"]);
    let repeat = find(&gateway, MessageQuery { state: Some("duplicate".into()), ..MessageQuery::default() }).await.pop().expect("one");
    let shown = gateway.message(repeat.id, &Visible::All, true, looks("read_message")).await.expect("read").expect("there").shown;
    let opened = found(&gateway, MessageQuery { state: Some("interpreted".into()), ..MessageQuery::default() }).await;
    assert_eq!(opened, ["1", "1"]);
    assert!(matches!(shown, Shown::SameAs(_)));
}

#[test]
fn replies_are_in_the_words_that_were_agreed_on() {
    let own = gateway_peer();
    let says = |fields: &str| format!("MSH|^~\\&|PAS|RHM|HUB|QRL|20260301||ADT^A01|1|P|2.4|||{fields}\r");
    let code = |peer: &Peer, fields: &str, plain| {
        let text = says(fields);
        let message = Message::parse(text.as_bytes()).expect("readable");
        reply_code(Some(peer), &message, plain).map_or("", AckCode::code)
    };
    use AckCode::{ApplicationAccept as Aa, ApplicationError as Ae, ApplicationReject as Ar};
    let ca = Peer { accepts: Accepts::Ca, ..own.clone() };
    let original = Peer { acknowledgement: Acknowledgement::Original, ..ca.clone() };
    let enhanced = Peer { acknowledgement: Acknowledgement::Enhanced, ..ca.clone() };
    for (peer, fields, plain, expected) in [
        (&own, "|", Aa, "AA"),
        (&own, "AL|NE", Aa, "AA"),
        (&own, "NE|NE", Aa, ""),
        (&own, "ER|NE", Aa, ""),
        (&own, "ER|NE", Ae, "AE"),
        (&own, "SU|NE", Aa, "AA"),
        (&own, "SU|NE", Ar, ""),
        (&own, "NE|AL", Aa, "AA"),
        (&ca, "|", Aa, "AA"),
        (&ca, "AL|NE", Aa, "CA"),
        (&ca, "AL|NE", Ae, "CE"),
        (&ca, "AL|NE", Ar, "CR"),
        (&original, "NE|NE", Aa, "AA"),
        (&enhanced, "|", Aa, "CA"),
        (&enhanced, "NE|NE", Aa, ""),
    ] {
        assert_eq!(code(peer, fields, plain), expected, "{fields} to {:?} {:?}", peer.acknowledgement, peer.accepts);
    }
}

fn gateway_peer() -> Peer {
    peers().remove(0)
}

#[tokio::test]
async fn a_message_is_found_by_each_of_its_marks_and_by_nobody_whose_it_is_not() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    let before = now_us();
    take(&gateway, &Adt::new("A01", "resident", &number(1)).write()).await;
    take(&gateway, &Adt { visit: "V2", ..Adt::new("A01", "stranger", &number(2)) }.write()).await;
    take(&gateway, &Adt { facility: "RHU", visit: "V3", ..Adt::new("A31", "other", &number(2)) }.write()).await;
    let query = MessageQuery::default;
    let nhs = |n| Some(NhsNumber::parse(&number(n)).expect("valid"));
    for (by, expected) in [
        (query(), &["resident", "stranger", "other"][..]),
        (MessageQuery { control_id: Some("stranger".into()), ..query() }, &["stranger"]),
        (MessageQuery { nhs_number: nhs(1), ..query() }, &["resident"]),
        (MessageQuery { nhs_number: nhs(2), ..query() }, &["stranger", "other"]),
        (MessageQuery { nhs_number: nhs(2), peer: Some("portsmouth".into()), ..query() }, &["other"]),
        (MessageQuery { nhs_number: nhs(3), ..query() }, &[]),
        (MessageQuery { kind: Some("ADT^A31".into()), ..query() }, &["other"]),
        (MessageQuery { kind: Some("ADT^A01".into()), state: Some("held".into()), ..query() }, &["stranger"]),
        (MessageQuery { state: Some("interpreted".into()), ..query() }, &["resident"]),
        (MessageQuery { from: Some(before), until: Some(now_us()), ..query() }, &["resident", "stranger", "other"]),
        (MessageQuery { until: Some(before), ..query() }, &[]),
        (MessageQuery { limit: Some(1), ..query() }, &["other"]),
    ] {
        assert_eq!(found(&gateway, by.clone()).await, expected, "{by:?}");
    }
    let all = find(&gateway, query()).await;
    assert_eq!(found(&gateway, MessageQuery { before_seq: Some(all[0].seq), ..query() }).await, ["resident", "stranger"]);
    // Engineers of one trust: the others' messages are not there, listed or by id.
    let theirs = Visible::Of(vec!["portsmouth".into()]);
    let listed = gateway.messages(&query(), &theirs).await.expect("searched");
    assert_eq!(listed.iter().map(|m| m.control_id.as_str()).collect::<Vec<_>>(), ["other"]);
    for message in &all {
        let shown = gateway.message(message.id, &theirs, true, looks("read_message")).await.expect("read");
        assert_eq!(shown.is_some(), message.peer == "portsmouth");
        let again = gateway.reprocess(&[message.id], &theirs, true, looks("reprocess")).await.expect("judged");
        assert_eq!(again.len(), usize::from(message.peer == "portsmouth"));
    }
    assert!(gateway.messages(&query(), &Visible::Of(Vec::new())).await.expect("searched").is_empty());
}

#[tokio::test]
async fn a_look_is_masked_unless_it_may_see_and_is_on_record_first() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    for (control, person) in [("resident", 1), ("stranger", 2)] {
        take(&gateway, &Adt { visit: control_visit(control), ..Adt::new("A01", control, &number(person)) }.write()).await;
    }
    for message in find(&gateway, MessageQuery::default()).await {
        let masked = gateway.message(message.id, &Visible::All, false, looks("look_at_message")).await.expect("read").expect("there");
        let Shown::Masked(text) = masked.shown else { panic!("readable") };
        for needle in [number(1), number(2), "TESTPERSON".into(), "Nowhere".into(), "19380412".into(), "PO1".into()] {
            assert!(!text.contains(&needle), "{needle} is shown in {text}");
        }
        assert!(text.contains("ADT^A01") && text.contains("PID|||••••") && text.contains("20260301101500"), "{text}");
        let all = gateway.message(message.id, &Visible::All, true, looks("read_message")).await.expect("read").expect("there");
        let Shown::Revealed(text) = all.shown else { panic!("readable") };
        assert!(text.contains("TESTPERSON"));
    }
    let audited = world.ports.store.query("select action, whose from audit order by seq", &[]).await.expect("readable");
    let audited: Vec<(String, bool)> = audited.iter().map(|r| (r.text(0).to_owned(), r.opt_id(1) == Some(RESIDENT))).collect();
    let look = |what: &str, whose| (what.to_owned(), whose);
    assert_eq!(audited, [look("look_at_message", false), look("read_message", false), look("look_at_message", true), look("read_message", true)]);
}

fn control_visit(control: &str) -> &'static str {
    if control == "resident" { "V1" } else { "V2" }
}

#[tokio::test]
async fn a_feed_in_shadow_is_judged_alike_and_nothing_follows() {
    let world = World::new(Environment::Test).await;
    let gateway = with_peer(world.gateway(), |peer| Peer { mode: Mode::Shadow, ..peer });
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    let story = [
        Adt { at: "20260301120000", ..Adt::new("A01", "1", &number(1)) },
        Adt { at: "20260303120000", ..Adt::new("A03", "2", &number(1)) },
        Adt { visit: "V2", ..Adt::new("A01", "3", &number(2)) },
    ];
    for message in &story {
        assert!(receive(&gateway, &message.write()).await.code.is_accept());
    }
    interpret(&gateway).await;
    let rows = find(&gateway, MessageQuery::default()).await;
    let effects: Vec<(&str, &str, &str)> = rows.iter().rev().map(|m| (m.state.as_str(), m.effect.as_str(), m.why.as_str())).collect();
    assert_eq!(effects, [("shadow", "VisitOpened", ""), ("shadow", "VisitClosed", ""), ("shadow", "", "nobody of the directory")]);
    tick(&gateway).await;
    assert!(world.events().await.is_empty());
    let ids: Vec<_> = rows.iter().map(|m| m.id).collect();
    let again = gateway.reprocess(&ids, &Visible::All, false, looks("reprocess")).await.expect("judged");
    assert!(again.iter().all(|one| one.now == Now::Not("its peer is in shadow".into())));
    // Once it is live, what came before can be taken up.
    let live = world.gateway();
    live.reprocess(&ids, &Visible::All, false, looks("reprocess")).await.expect("judged");
    assert_eq!(world.events().await, ["VisitOpened", "VisitClosed"]);
}

#[tokio::test]
async fn a_shadow_report_lists_what_to_mend_before_the_feed_is_live() {
    let world = World::new(Environment::Test).await;
    let gateway = with_peer(world.gateway(), |peer| Peer { mode: Mode::Shadow, ..peer });
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    for (n, method, class) in [(1, "EMER", "I"), (2, "EMER", "I"), (3, "21", "DAY CASE!"), (4, "an elderly lady who fell", "I")] {
        let message = Adt { method, class, visit: "V9", ..Adt::new("A01", &n.to_string(), &number(n)) };
        assert!(receive(&gateway, &message.write()).await.code.is_accept());
    }
    // Of no visit; of a visit that is not open; of another peer.
    for message in [
        Adt { class: "?", ..Adt::new("A31", "5", &number(1)) },
        Adt { visit: "V2", ..Adt::new("A03", "6", &number(1)) },
        Adt { facility: "RHU", method: "OTHER", ..Adt::new("A01", "7", &number(5)) },
    ] {
        assert!(receive(&gateway, &message.write()).await.code.is_accept());
    }
    interpret(&gateway).await;
    let report = gateway.shadow_report("southampton", 0, now_us()).await.expect("a report");
    let unmapped: Vec<(&str, &str, &str, u64)> = report.unmapped.iter().map(|u| (u.table, u.field.as_str(), u.value.as_str(), u.count)).collect();
    assert_eq!(
        unmapped,
        [("admission-method", "PV1-4", "EMER", 2), ("admission-method", "PV1-4", "(text of 24 characters)", 1), ("class", "PV1-2", "DAY CASE!", 1),]
    );
    assert!(report.notes.iter().any(|note| note.starts_with("quirks are counted from 20")), "{:?}", report.notes);
    assert!(report.notes.iter().any(|note| note.contains("the least that would have been")), "{:?}", report.notes);
    assert!(report.without_effect.iter().any(|why| why.what.contains("not been opened")), "{:?}", report.without_effect);
    let json = serde_json::to_string(&report).expect("plain");
    for needle in [number(1), number(2), "TESTPERSON".into(), "Nowhere".into(), "elderly".into()] {
        assert!(!json.contains(&needle), "{needle} is in the report");
    }
}

#[tokio::test]
async fn what_was_said_in_shadow_is_no_reason_to_leave_out_what_is_said_live() {
    let world = World::new(Environment::Test).await;
    consume(&world.gateway(), &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    let shadow = with_peer(world.gateway(), |peer| Peer { mode: Mode::Shadow, ..peer });
    take(&shadow, &Adt::new("A01", "1", &number(1)).write()).await;
    assert!(world.events().await.is_empty());
    // The same body under another control id, minutes later.
    take(&world.gateway(), &Adt::new("A01", "2", &number(1)).write()).await;
    assert_eq!(world.events().await, ["VisitOpened"]);
    assert_eq!(world.states().await, ["shadow", "interpreted"]);
}

#[tokio::test]
async fn judging_again_says_first_what_it_would_do_and_then_adds_only_what_is_new() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    take(&gateway, &Adt::new("A01", "1", &number(1)).write()).await;
    take(&gateway, &Adt { born: "19400101", visit: "V2", ..Adt::new("A01", "2", &number(1)) }.write()).await;
    assert!(!receive(&gateway, &Adt { facility: "XYZ", ..Adt::new("A01", "3", &number(1)) }.write()).await.code.is_accept());
    let ids: Vec<_> = find(&gateway, MessageQuery::default()).await.iter().map(|m| m.id).collect();
    // The registered date of birth was the wrong one.
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1940-01-01", None).await).await;
    let events = |all: &[Reprocessed]| -> Vec<(String, Vec<&'static str>)> {
        all.iter()
            .map(|one| match &one.now {
                Now::Becomes { events, .. } => (one.control_id.clone(), events.iter().map(|event| event.name).collect()),
                Now::Not(why) => (why.clone(), Vec::new()),
            })
            .collect()
    };
    let dry = gateway.reprocess(&ids, &Visible::All, true, looks("reprocess")).await.expect("judged");
    let expected = [("1".to_owned(), vec![]), ("2".to_owned(), vec!["VisitOpened"]), ("it was refused, and its sender was told so".to_owned(), vec![])];
    let mut sorted = events(&dry);
    sorted.sort();
    assert_eq!(sorted, expected);
    assert_eq!(world.events().await, ["VisitOpened"], "a dry run changes nothing");
    for _ in 0..2 {
        gateway.reprocess(&ids, &Visible::All, false, looks("reprocess")).await.expect("judged");
        assert_eq!(world.events().await, ["VisitOpened", "VisitOpened"]);
    }
    tick(&gateway).await;
    assert_eq!(world.events().await, ["VisitOpened", "VisitOpened"]);
}

#[tokio::test]
async fn after_the_agreed_days_strangers_rows_and_keys_are_gone_and_residents_stay() {
    let world = World::new(Environment::Test).await;
    let gateway = Gateway { kept_days: 3, ..world.gateway() };
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    take(&gateway, &Adt::new("A01", "resident", &number(1)).write()).await;
    take(&gateway, &Adt::new("A01", "resident", &number(1)).write()).await;
    take(&gateway, &Adt { visit: "V2", ..Adt::new("A01", "stranger", &number(2)) }.write()).await;
    // Of the resident's visit, although it does not say whose that is.
    take(&gateway, &Adt { at: "20260303090000", number: String::new(), ..Adt::new("A03", "unnamed", &number(1)) }.write()).await;
    let claims = world.ports.store.query("select min(expires_at) from claims where scope = 'inbox'", &[]).await.expect("readable")[0].int(0);
    assert!(claims > now_us() + 4 * DAY_US - 60_000_000, "a repeat is known a day longer than the message");
    assert!(gateway.sweep(noon_after(&world, 3).await).await.expect("swept").inbox.is_empty());
    let stranger = find(&gateway, MessageQuery { control_id: Some("stranger".into()), ..MessageQuery::default() }).await.remove(0);
    let unit = gateway.sweep(noon_after(&world, 4).await).await.expect("swept");
    let again = gateway.reprocess(&[stranger.id], &Visible::All, true, looks("reprocess")).await.expect("judged");
    assert_eq!(again[0].now, Now::Not("its key is destroyed".into()));
    world.ports.store.append(unit).await.expect("appended");
    assert_eq!(found(&gateway, MessageQuery::default()).await, ["resident", "unnamed"]);
    let resident = find(&gateway, MessageQuery { nhs_number: NhsNumber::parse(&number(1)).ok(), ..MessageQuery::default() }).await.remove(0);
    let shown = gateway.message(resident.id, &Visible::All, true, looks("read_message")).await.expect("read").expect("there").shown;
    assert!(matches!(shown, Shown::Revealed(_)), "its bytes are sealed under the visit's key");
    assert!(gateway.sweep(now_us() + 40 * DAY_US).await.expect("swept").inbox.is_empty(), "nothing is left to sweep");
}

#[tokio::test]
async fn what_a_process_left_undone_is_found_by_the_next() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    // Received, and the process ended.
    let frame = Bytes::from(Adt::new("A01", "1", &number(1)).write());
    gateway.receive(&frame, &arrival()).await.expect("answered").expect("a reply");
    assert_eq!(world.states().await, ["received"]);
    let next = world.gateway();
    interpret(&next).await;
    assert_eq!((world.events().await, world.states().await), (vec!["VisitOpened".to_owned()], vec!["interpreted".to_owned()]));
}

#[tokio::test]
async fn a_visit_that_goes_by_another_number_from_now_on_is_the_same_visit() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    let merge = Adt { visit: "V2", at: "20260302120000", ..Adt::new("A42", "2", &number(1)) };
    let merge = String::from_utf8(merge.write()).expect("ascii").replace("\rPV1|", "\rMRG|H123^^^RHM^MR||||V1\rPV1|");
    take(&gateway, &Adt::new("A01", "1", &number(1)).write()).await;
    take(&gateway, merge.as_bytes()).await;
    for (control, visit, at) in [("3", "V2", "20260303120000"), ("4", "V1", "20260304120000")] {
        take(&gateway, &Adt { visit, at, ..Adt::new("A03", control, &number(1)) }.write()).await;
    }
    let streams = world.ports.store.query("select count(distinct stream), count(*) from events", &[]).await.expect("readable");
    assert_eq!((streams[0].int(0), streams[0].int(1) >= 2), (1, true), "{:?} {:?}", world.events().await, world.rows().await);
}

/// A stranger's message without NHS number and without visit number: local id, home's address, time of admission.
fn unnumbered(trigger: &str, control: &str, patient: &str, at: &str) -> String {
    format!(
        "MSH|^~\\&|PAS|RHM|HUB|QRL|{at}||ADT^{trigger}|{control}|P|2.4\rEVN||{at}|||{at}\rPID|||{patient}^^^RHM^MR||TESTPERSON^Ada||19380412||||Oak Lodge^^SOUTHAMPTON^^{POSTCODE}\r\
         PV1||I||21||||||||||||||||||||||||||||||||||||||||20260301101500\r"
    )
}

#[tokio::test]
async fn merges_of_local_records_keep_a_visit_one_visit_whichever_comes_first() {
    let merge = |control: &str, into: &str, from: &str| {
        format!("MSH|^~\\&|PAS|RHM|HUB|QRL|20260302110000||ADT^A40|{control}|P|2.4\rEVN||20260302110000\rPID|||{into}^^^RHM^MR\rMRG|{from}^^^RHM^MR\r")
    };
    // A goes into B and B into C; told in either order, before the discharge under the last name.
    for order in [[("B", "A"), ("C", "B")], [("C", "B"), ("B", "A")]] {
        let world = World::new(Environment::Test).await;
        let gateway = world.gateway();
        consume(&gateway, &world.home([3; 16], "Oak Lodge", "12 High Street", POSTCODE).await).await;
        take(&gateway, unnumbered("A01", "1", "A", "20260301101500").as_bytes()).await;
        for (n, (into, from)) in order.into_iter().enumerate() {
            take(&gateway, merge(&format!("M{n}"), into, from).as_bytes()).await;
        }
        // Back again is a circle: it is listed and changes nothing.
        take(&gateway, merge("M9", "A", "C").as_bytes()).await;
        take(&gateway, unnumbered("A03", "9", "C", "20260304120000").as_bytes()).await;
        let streams = world.ports.store.query("select count(distinct stream) from events", &[]).await.expect("readable");
        assert_eq!(streams[0].int(0), 1, "{order:?}: {:?} {:?}", world.events().await, world.rows().await);
        assert!(world.events().await.contains(&"VisitClosed".to_owned()), "{order:?}: {:?}", world.rows().await);
    }
}

#[tokio::test]
async fn every_sample_is_kept_answered_and_settled() {
    let samples = match std::env::var_os("HEARTHLINE_SAMPLES") {
        Some(folder) => std::path::PathBuf::from(folder),
        None => std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/interop"),
    };
    let mut files = Vec::new();
    for folder in ["hl7v2", "hl7v2-batch", "hl7v2-malformed"] {
        let Ok(entries) = std::fs::read_dir(samples.join(folder)) else {
            println!("skipped: the samples are not at {}", samples.display());
            return;
        };
        files.extend(entries.map(|entry| entry.expect("listed").path()));
    }
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    let (mut taken, mut said) = (0, std::collections::BTreeMap::new());
    for file in &files {
        let raw = std::fs::read(file).expect("read");
        // As it is, from a sender that nobody knows; and from one that is known.
        let text = String::from_utf8_lossy(&raw).into_owned();
        let known = text.split_once('|').filter(|(name, _)| name.ends_with("MSH")).map(|(_, rest)| {
            let mut fields: Vec<&str> = rest.splitn(5, '|').collect();
            if fields.len() > 3 {
                fields[2] = "RHM";
            }
            format!("MSH|{}", fields.join("|"))
        });
        for raw in std::iter::once(raw).chain(known.map(String::into_bytes)) {
            let reply = gateway.receive(&Bytes::from(raw), &arrival()).await.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            taken += 1;
            if let Some(reply) = reply {
                let message = Message::parse(&reply).expect("a reply is readable");
                let reply = hearthline_interop::hl7v2::Reply::of(&message).expect("a reply has an MSA");
                *said.entry(reply.code.code()).or_insert(0) += 1;
            }
        }
    }
    interpret(&gateway).await;
    let kept = world.ports.store.query("select count(*), sum(case when state = 'received' then 1 else 0 end), sum(case when state in ('interpreted', 'held', 'ignored') then 1 else 0 end) from inbox", &[]).await.expect("counted");
    assert_eq!((kept[0].int(0), kept[0].int(1)), (taken, 0), "each frame has its row and its outcome");
    assert!(kept[0].int(2) >= 30, "the admissions among them were judged: {said:?}");
}
