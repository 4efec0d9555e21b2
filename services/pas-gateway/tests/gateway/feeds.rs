//! A feed on a real store: its gap, its modes, and what a timer carries from look to look.

use crate::world::*;
use hearthline_contracts::envelope::Environment;
use hearthline_eventing::timers::Due;
use hearthline_eventing::{Answer, InboxChange, InboxRow, TimerChange, Unit};
use hearthline_nhs::OdsCode;
use hearthline_pas_gateway::Peer;
use hearthline_pas_gateway::feeds::{self, FeedRefused};
use hearthline_pas_gateway::gateway::Gateway;
use hearthline_pas_gateway::peer::Mode;
use hearthline_runtime::auth::{Caller, Role};
use std::sync::Arc;
use std::time::Duration;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
/// Monday, 2 March 2026, nine in the morning.
const CUT: i64 = 1_772_442_000_000_000;
const PEER: &str = "southampton";

fn watched(world: &World, mode: Mode) -> Gateway {
    let peer = Peer { silence: Some(Duration::from_secs(3_600)), mode, ..Peer::new(PEER, OdsCode::parse("RHM").expect("valid")) };
    Gateway { peers: Arc::new(vec![peer]), ..world.gateway() }
}

fn operator() -> Caller {
    Caller { subject: [8; 16], role: Role::Operator, org: OdsCode::parse("QRL").expect("valid"), home: None, session: false }
}

/// A message as it lies in the inbox: when it came, and what time it tells of.
async fn came(gateway: &Gateway, state: &'static str, messages: &[(i64, i64)]) {
    let row = |(received_at, occurred_at): (i64, i64)| {
        let id = *uuid::Uuid::now_v7().as_bytes();
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(&id);
        InboxRow {
            id,
            received_at,
            outgoing: false,
            peer: PEER.to_owned(),
            control_id: String::new(),
            kind: "ADT^A01".to_owned(),
            reply: "AA",
            size: 1,
            digest,
            body_tag: None,
            day: hearthline_nhs::london_date(received_at).expect("in range").to_string(),
            person_tag: None,
            place_tag: None,
            occurred_at,
            sealed: vec![1].into(),
            state,
            why: if state == "refused" { "MSH-9 is missing".to_owned() } else { String::new() },
            effect: if state == "shadow" { "VisitOpened".to_owned() } else { String::new() },
            stream: None,
            resident: None,
            traceparent: None,
        }
    };
    let inbox = messages.iter().map(|message| InboxChange::Receive(Box::new(row(*message)))).collect();
    let answer = gateway.kernel.store.append(Unit { inbox, ..Unit::default() }).await.expect("appended");
    assert!(matches!(answer, Answer::Committed { .. }));
}

fn every_half_hour(from: i64, until: i64, at: Option<i64>) -> Vec<(i64, i64)> {
    (0..(until - from) / (30 * MINUTE)).map(|n| from + n * 30 * MINUTE).map(|own| (at.unwrap_or(own), own)).collect()
}

/// Looks at the feeds at an instant, as the timer does, with what the look before left in it.
async fn look(gateway: &Gateway, now: i64) {
    let sql = "select due_at, payload from timers where stream = $1 and name = $2";
    let rows = gateway.kernel.store.query(sql, &[feeds::LISTEN_STREAM.into(), feeds::LISTEN.into()]).await.expect("readable");
    let due = Due { stream: feeds::LISTEN_STREAM, name: feeds::LISTEN.to_owned(), due_at: rows[0].int(0), payload: rows[0].blob(1).clone() };
    let mut unit = gateway.listen(&due, now).await.expect("looked");
    unit.timers.insert(0, TimerChange::Fired { stream: due.stream, name: due.name, due_at: due.due_at });
    let answer = gateway.kernel.store.append(unit).await.expect("appended");
    assert!(matches!(answer, Answer::Committed { .. }), "{answer:?}");
}

#[tokio::test]
async fn six_hours_of_silence_and_the_backlog_are_one_gap() {
    let world = World::new(Environment::Test).await;
    let gateway = watched(&world, Mode::Live);
    feeds::arm(gateway.kernel.store.as_ref(), CUT).await.expect("armed");
    came(&gateway, "interpreted", &every_half_hour(CUT - 12 * HOUR, CUT + 1, None)).await;
    for minute in [0, 30, 59, 61, 90, 200, 359] {
        look(&gateway, CUT + minute * MINUTE).await;
    }
    assert_eq!(world.events().await, ["FeedGapOpened", "TaskOpened"]);
    let status = gateway.feeds(CUT + 359 * MINUTE).await.expect("readable").remove(0);
    assert_eq!(status.gaps.len(), 1);
    assert!(status.silent_since.is_some() && status.gaps[0].until.is_none(), "{status:?}");
    // Refused messages and repeated ones are no sign of life.
    came(&gateway, "refused", &[(CUT + 359 * MINUTE, 0)]).await;
    came(&gateway, "duplicate", &[(CUT + 359 * MINUTE, CUT)]).await;
    look(&gateway, CUT + 6 * HOUR - 1).await;
    assert!(gateway.feeds(CUT + 6 * HOUR).await.expect("readable")[0].silent_since.is_some());
    // It is back; what it brings waits to be interpreted.
    let back = CUT + 6 * HOUR;
    came(&gateway, "received", &every_half_hour(CUT, back, Some(back))).await;
    came(&gateway, "interpreted", &every_half_hour(back, back + 2 * HOUR, None)).await;
    look(&gateway, back + MINUTE).await;
    look(&gateway, back + 100 * MINUTE).await;
    assert_eq!(world.events().await.len(), 2, "closed before what came was interpreted");
    let rows = gateway.kernel.store.query("select id from inbox where state = 'received'", &[]).await.expect("readable");
    let settle = |id| hearthline_eventing::Settled::new(id, "received", "interpreted", String::new());
    let inbox = rows.iter().map(|row| InboxChange::Settle(Box::new(settle(row.id(0))))).collect();
    gateway.kernel.store.append(Unit { inbox, ..Unit::default() }).await.expect("appended");
    for minute in [101, 102, 110] {
        look(&gateway, back + minute * MINUTE).await;
    }
    assert_eq!(world.events().await, ["FeedGapOpened", "TaskOpened", "FeedGapClosed", "TaskClosed"]);
    assert!(gateway.feeds(back + 110 * MINUTE).await.expect("readable")[0].gaps.is_empty());
}

#[tokio::test]
async fn what_was_learned_outlives_the_sweep_of_the_messages() {
    let world = World::new(Environment::Test).await;
    let gateway = watched(&world, Mode::Live);
    feeds::arm(gateway.kernel.store.as_ref(), CUT).await.expect("armed");
    came(&gateway, "ignored", &every_half_hour(CUT - 48 * HOUR, CUT, None)).await;
    look(&gateway, CUT).await;
    let before = gateway.feeds(CUT).await.expect("readable");
    assert_eq!(before[0].hours_learned, 46);
    let days = gateway.kernel.store.query("select distinct day from inbox", &[]).await.expect("readable");
    let inbox = days.iter().map(|row| InboxChange::Sweep { day: row.text(0).to_owned() }).collect();
    gateway.kernel.store.append(Unit { inbox, ..Unit::default() }).await.expect("appended");
    look(&gateway, CUT + MINUTE).await;
    came(&gateway, "ignored", &every_half_hour(CUT, CUT + 2 * HOUR, None)).await;
    look(&gateway, CUT + 2 * HOUR).await;
    let after = gateway.feeds(CUT + 2 * HOUR).await.expect("readable");
    assert_eq!(after[0].hours_learned, 48);
}

#[tokio::test]
async fn a_feed_in_shadow_says_nothing_until_it_is_promoted_and_what_was_kept_takes_effect() {
    let world = World::new(Environment::Test).await;
    let gateway = watched(&world, Mode::Shadow);
    let by = operator();
    feeds::arm(gateway.kernel.store.as_ref(), CUT).await.expect("armed");
    came(&gateway, "shadow", &every_half_hour(CUT - 4 * HOUR, CUT, None)).await;
    came(&gateway, "refused", &[(CUT - HOUR, 0)]).await;
    for hour in 0..6 {
        look(&gateway, CUT + hour * HOUR).await;
    }
    assert!(world.events().await.is_empty(), "a feed in shadow emits nothing");
    let report = gateway.shadow_report(PEER, CUT - 5 * HOUR, CUT).await.expect("a report");
    assert_eq!((report.messages, report.mode, report.events[0].what.as_str(), report.events[0].count), (9, "shadow", "VisitOpened", 8));
    assert_eq!((report.refused[0].what.as_str(), report.days.len()), ("MSH-9 is missing", 1));

    let peer = gateway.peers[0].clone();
    assert_eq!(gateway.mode(&peer).await.expect("readable"), Mode::Shadow);
    let now = CUT + 6 * HOUR;
    assert!(matches!(gateway.promote("nobody", None, &by, "go", now).await, Err(FeedRefused::UnknownPeer(_))));
    assert!(matches!(gateway.promote(PEER, Some(now + 1), &by, "go", now).await, Err(FeedRefused::NotYet { .. })));
    assert!(matches!(gateway.demote(PEER, &by, "stop", now).await, Err(FeedRefused::AlreadyShadow)));
    gateway.promote(PEER, Some(CUT - 2 * HOUR), &by, "signed off", now).await.expect("promoted");
    assert!(matches!(gateway.promote(PEER, None, &by, "again", now).await, Err(FeedRefused::AlreadyLive)));
    assert_eq!(gateway.mode(&peer).await.expect("readable"), Mode::Live);
    assert_eq!(world.events().await, ["FeedPromoted"]);
    let audit = gateway.kernel.store.query("select action, why from audit", &[]).await.expect("readable");
    assert_eq!((audit[0].text(0), audit[0].text(1)), ("promote_feed", "signed off"));
    // What lay there since two hours before is handed over; what came earlier stays as it is.
    tick(&gateway).await;
    let states = world.states().await;
    let count = |state: &str| states.iter().filter(|s| *s == state).count();
    assert_eq!((count("received"), count("shadow")), (4, 4));
}

#[tokio::test]
async fn a_demotion_begins_a_gap_that_a_promotion_reaching_back_fills() {
    let world = World::new(Environment::Test).await;
    let gateway = watched(&world, Mode::Live);
    let by = operator();
    gateway.demote(PEER, &by, "wrong codes", CUT).await.expect("demoted");
    came(&gateway, "shadow", &every_half_hour(CUT, CUT + 2 * HOUR, None)).await;
    gateway.promote(PEER, Some(CUT), &by, "codes mended", CUT + 2 * HOUR).await.expect("promoted");
    assert_eq!(world.events().await, ["FeedDemoted", "FeedGapOpened", "FeedPromoted", "FeedResumed"]);
    let stream = world.ports.store.read_all(0, 10).await.expect("readable").remove(0).stream;
    let mut now = CUT + 2 * HOUR;
    for round in 0..4 {
        let rows = gateway.kernel.store.query("select due_at, payload from timers where name = $1", &[feeds::RELEASE.into()]).await.expect("readable");
        assert_eq!(world.events().await.len(), 4, "filled before it was interpreted");
        let due = Due { stream, name: feeds::RELEASE.to_owned(), due_at: rows[0].int(0), payload: rows[0].blob(1).clone() };
        let mut unit = gateway.release(&due, now).await.expect("released");
        unit.timers.insert(0, TimerChange::Fired { stream, name: due.name, due_at: due.due_at });
        gateway.kernel.store.append(unit).await.expect("appended");
        now += MINUTE;
        if round == 2 {
            let rows = gateway.kernel.store.query("select id from inbox where state = 'received'", &[]).await.expect("readable");
            assert_eq!(rows.len(), 4);
            let settle = |id| hearthline_eventing::Settled::new(id, "received", "ignored", String::new());
            let inbox = rows.iter().map(|row| InboxChange::Settle(Box::new(settle(row.id(0))))).collect();
            gateway.kernel.store.append(Unit { inbox, ..Unit::default() }).await.expect("appended");
        }
    }
    assert_eq!(world.events().await.last().map(String::as_str), Some("FeedGapClosed"));
    let left = gateway.kernel.store.query("select 1 from timers where name = $1", &[feeds::RELEASE.into()]).await.expect("readable");
    assert!(left.is_empty());
}

#[tokio::test]
async fn operators_declare_gaps_and_close_them() {
    let world = World::new(Environment::Test).await;
    let gateway = watched(&world, Mode::Live);
    let by = operator();
    let declare = async |from, until| gateway.declare_gap(PEER, from, until, &by, "interface engine down", CUT).await;
    assert!(matches!(declare(CUT, None).await, Err(FeedRefused::NotAPeriod { .. })));
    assert!(matches!(declare(CUT - HOUR, Some(CUT - 2 * HOUR)).await, Err(FeedRefused::NotAPeriod { .. })));
    assert!(matches!(declare(CUT - HOUR, Some(CUT + 1)).await, Err(FeedRefused::NotAPeriod { .. })));
    assert!(matches!(declare(CUT - 15 * 24 * HOUR, None).await, Err(FeedRefused::TooOld { .. })));
    let gap = declare(CUT - 2 * HOUR, Some(CUT - HOUR)).await.expect("declared");
    assert_eq!(world.events().await, ["FeedGapOpened", "FeedResumed"]);
    assert!(matches!(declare(CUT - 3 * HOUR, Some(CUT - HOUR - 1)).await, Err(FeedRefused::Overlaps { .. })));
    assert!(matches!(declare(CUT - HOUR - 1, None).await, Err(FeedRefused::Overlaps { .. })));
    let close = async |gap: &str, until| gateway.close_gap(PEER, gap, until, true, &by, "sent again", CUT).await;
    assert!(matches!(close("nonsense", None).await, Err(FeedRefused::UnknownGap)));
    assert!(matches!(close(&gap, Some(CUT - 3 * HOUR)).await, Err(FeedRefused::NotAPeriod { .. })));
    close(&gap, None).await.expect("closed");
    assert!(matches!(close(&gap, None).await, Err(FeedRefused::UnknownGap)));
    assert_eq!(world.events().await, ["FeedGapOpened", "FeedResumed", "FeedGapClosed"]);
    let audit = gateway.kernel.store.query("select action from audit order by at", &[]).await.expect("readable");
    assert_eq!(audit.iter().map(|row| row.text(0)).collect::<Vec<_>>(), ["declare_feed_gap", "close_feed_gap"]);
}

#[tokio::test]
async fn what_came_in_shadow_and_is_sent_again_to_a_live_peer_takes_effect_once() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    let by = operator();
    consume(&gateway, &world.registration([7; 16], &number(1), "1938-04-12", None).await).await;
    let now = hearthline_eventing::now_us();
    gateway.demote(PEER, &by, "wrong codes", now).await.expect("demoted");
    let message = Adt::new("A01", "1", &number(1)).write();
    take(&gateway, &message).await;
    take(&gateway, &message).await;
    assert_eq!(world.states().await, ["shadow", "duplicate"], "it is in shadow still");
    gateway.promote(PEER, None, &by, "codes mended", now).await.expect("promoted");
    let both = tokio::join!(receive(&gateway, &message), receive(&gateway, &message));
    assert!(both.0.code.is_accept() && both.1.code.is_accept());
    interpret(&gateway).await;
    take(&gateway, &message).await;
    assert_eq!(world.states().await, ["interpreted", "duplicate", "duplicate", "duplicate", "duplicate"]);
    assert_eq!(world.events().await.iter().filter(|event| *event == "VisitOpened").count(), 1);
}
