//! A hospital's feed is cut for six hours, comes back, and sends what it kept, or never does. At no time is a claim said to stand that
//! the missing messages could still speak against. The feed's own clock is a value here: nobody waits for it.

use crate::people::*;
use crate::system::{FEED_LAG_H, HOSPITAL, System, WINDOW_H};
use hearthline_eventing::timers::Due;
use hearthline_eventing::{Answer, InboxChange, InboxRow, TimerChange, Unit};
use hearthline_nhs::OdsCode;
use hearthline_pas_gateway::Peer;
use hearthline_pas_gateway::feeds::{LISTEN, LISTEN_STREAM};
use hearthline_pas_gateway::gateway::Gateway;
use hearthline_runtime::auth::Role;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::time::Duration;

/// Beside the feed that the hub listens to on its socket: one of the same hospital, whose messages lie in the inbox as if they had come days ago.
const FEED: &str = "portsmouth-wards";

#[tokio::test]
async fn on_a_folder() {
    no_verdict_is_wrong_while_a_feed_is_cut(System::start().await).await;
}

#[tokio::test]
async fn on_servers() {
    let Some(hub) = System::start_on_servers().await else { return };
    no_verdict_is_wrong_while_a_feed_is_cut(hub).await;
}

fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

/// The gateway's look at the feeds, with the time as a value.
struct Watch {
    gateway: Gateway,
    remembered: bytes::Bytes,
}

impl Watch {
    fn on(hub: &System) -> Self {
        let peer = Peer { silence: Some(Duration::from_secs(3_600)), ..Peer::new(FEED, OdsCode::parse(HOSPITAL).expect("a code")) };
        let kernel = hub.kernel("pas-gateway").clone();
        let gateway = Gateway::new(kernel, vec![peer], false, 14).expect("its profile is shipped");
        Watch { gateway, remembered: bytes::Bytes::new() }
    }

    async fn append(&self, unit: Unit) {
        let answer = self.gateway.kernel.store.append(unit).await.expect("appended");
        assert!(matches!(answer, Answer::Committed { .. }), "{answer:?}");
    }

    /// A message every half hour from one moment to another, arriving as it is written, or all at a later one.
    async fn hears(&self, from: Timestamp, until: Timestamp, at: Option<Timestamp>) {
        let mut inbox = Vec::new();
        let mut own = from;
        while own < until {
            let (id, received_at) = (*uuid::Uuid::now_v7().as_bytes(), at.unwrap_or(own).as_microsecond());
            let mut digest = [0; 32];
            digest[..16].copy_from_slice(&id);
            inbox.push(InboxChange::Receive(Box::new(InboxRow {
                id,
                received_at,
                outgoing: false,
                peer: FEED.to_owned(),
                control_id: String::new(),
                kind: "ADT^A08".to_owned(),
                reply: "AA",
                size: 1,
                digest,
                body_tag: None,
                day: crate::system::day(own).to_string(),
                person_tag: None,
                place_tag: None,
                occurred_at: own.as_microsecond(),
                sealed: bytes::Bytes::new(),
                state: "ignored",
                why: String::new(),
                effect: String::new(),
                stream: None,
                resident: None,
                traceparent: None,
            })));
            own += minutes(30);
        }
        self.append(Unit { inbox, ..Unit::default() }).await;
    }

    async fn looks(&mut self, hub: &System, now: Timestamp) {
        let due = Due { stream: LISTEN_STREAM, name: LISTEN.to_owned(), due_at: 0, payload: self.remembered.clone() };
        let mut unit = self.gateway.listen(&due, now.as_microsecond()).await.expect("looked");
        // The running gateway has a timer of its own.
        let set = std::mem::take(&mut unit.timers);
        let [TimerChange::Set { payload, .. }] = &set[..] else { panic!("it looks again") };
        self.remembered = payload.clone();
        self.append(unit).await;
        hub.settled().await;
    }

    async fn record(&self) -> Vec<String> {
        let feed = "select stream from events where name = 'FeedGapOpened' limit 1";
        let rows = self.gateway.kernel.store.query(feed, &[]).await.expect("readable");
        let Some(row) = rows.first() else { return Vec::new() };
        self.gateway.kernel.store.read_stream(row.stream(0), 0).await.expect("readable").into_iter().map(|event| event.name).collect()
    }
}

/// A call on which an ambulance was avoided.
async fn avoided<'h>(hub: &'h System, home: &Home, person: &Person, at: Timestamp) -> Call<'h> {
    let resident = home.resident(hub, person).await;
    let opening = json!({ "reason": "breathlessness", "resident": { "resident_id": resident }, "counterfactual": "999", "consent": "given" });
    let mut call = Call::comes_in(hub, home, at, opening).await;
    call.is_answered_and_triaged("urgent").await;
    call.is_joined_by_a_clinician().await;
    let outcome = json!({
        "disposition": "treated_at_home", "summary": "Chest clear, reassured", "claims": [{ "kind": "conveyance" }],
        "plan": { "text": "Observations every four hours", "actions_for_gp": "Review", "call_back_if": "Worse", "agreed_with_home": true },
    });
    call.is_decided(outcome).await;
    call.is_closed().await;
    call
}

async fn no_verdict_is_wrong_while_a_feed_is_cut(hub: System) {
    const CLAIMS: &str = "ambulance_conveyances_avoided";
    let home = Home::rosewood(&hub).await;
    let (ada, ben, cleo) =
        (Person::new("Ada", "Ashdown", "1938-04-12", 1), Person::new("Ben", "Birch", "1931-01-02", 2), Person::new("Cleo", "Cole", "1940-06-07", 3));
    let mut watch = Watch::on(&hub);
    let first_day = days_ago(10);
    let stood = async |as_of: Timestamp| stands(&hub.kpi(first_day, as_of).await, CLAIMS);

    // Two claims; two hours before their windows end the feed is cut.
    let call = avoided(&hub, &home, &ada, first_day).await;
    let second = avoided(&hub, &home, &ben, first_day).await;
    let cut = call.ended() + hours(WINDOW_H - 2);
    let over = call.ended().max(second.ended()) + hours(WINDOW_H + FEED_LAG_H);
    watch.hears(cut - hours(12), cut + minutes(1), None).await;
    watch.looks(&hub, cut + minutes(30)).await;
    assert_eq!((watch.record().await, stood(cut + minutes(30)).await), (vec![], [2, 0, 0, 0, 2]));

    // An hour of silence is a gap, once, dated from the last message; nobody says that the claims stand, now or when time is up.
    for minute in [61, 62, 200, 359] {
        watch.looks(&hub, cut + minutes(minute)).await;
        assert_eq!((watch.record().await, stood(cut + minutes(minute)).await), (vec!["FeedGapOpened".to_owned(), "TaskOpened".to_owned()], [2, 0, 0, 0, 2]));
    }
    assert_eq!(stood(over).await, [2, 0, 0, 0, 2]);

    // It speaks again after six hours, without what it left out.
    let back = cut + hours(6);
    watch.hears(back, back + hours(24), None).await;
    watch.looks(&hub, back + hours(2)).await;
    assert_eq!(watch.record().await.last().map(String::as_str), Some("FeedResumed"));
    assert_eq!(stood(over).await, [2, 0, 0, 0, 2]);

    // A day later the backlog comes, and in it the ambulance that fetched Ben.
    let sent = back + hours(24);
    assert_eq!(hub.hospital_sends(&Adt::admission(&ben, cut + hours(1)).write()).await, "AA");
    watch.hears(cut, back, Some(sent)).await;
    watch.hears(sent, sent + minutes(1), None).await;
    watch.looks(&hub, sent + minutes(1)).await;
    assert_eq!((watch.record().await.len(), stood(sent + minutes(1)).await), (3, [2, 0, 1, 0, 1]));
    let filled = sent + minutes(30);
    watch.hears(filled, filled + minutes(1), None).await;
    watch.looks(&hub, filled).await;
    watch.looks(&hub, filled + minutes(1)).await;
    let once = ["FeedGapOpened", "TaskOpened", "FeedResumed", "FeedGapClosed", "TaskClosed"];
    assert_eq!(watch.record().await, once);
    assert_eq!(stood(filled).await, [2, 1, 1, 0, 0]);
    // As it was when time was up: Ada's claim had to wait.
    assert_eq!(stood(over).await, [2, 0, 1, 0, 1]);

    watch.hears(filled + minutes(30), sent + hours(22), None).await;

    // The feed is cut again, in the window of a third claim, and what it left out never comes.
    let third = avoided(&hub, &home, &cleo, days_ago(6)).await;
    let cut = sent + hours(22) - minutes(30);
    assert!(third.ended() < cut && cut < third.ended() + hours(WINDOW_H));
    watch.looks(&hub, cut + hours(2)).await;
    watch.hears(cut + hours(6), cut + hours(8), None).await;
    watch.looks(&hub, cut + hours(8)).await;
    let over = third.ended() + hours(WINDOW_H + FEED_LAG_H);
    let limit = cut + hours(24 * 14);
    for (as_of, expected) in [(over, [3, 1, 1, 0, 1]), (limit - minutes(1), [3, 1, 1, 0, 1]), (limit, [3, 1, 1, 1, 0])] {
        assert_eq!(stood(as_of).await, expected, "as of {as_of}, before anybody said so");
    }
    watch.hears(cut + hours(8), limit, None).await;
    watch.looks(&hub, limit + minutes(1)).await;
    assert_eq!(watch.record().await[5..], ["FeedGapOpened", "TaskOpened", "FeedResumed", "FeedGapClosed", "TaskClosed"]);
    assert_eq!(stood(limit + hours(1)).await, [3, 1, 1, 1, 0]);
    let kpi = hub.get(Role::Analyst, "/kpi").await;
    assert_eq!(kpi.status, 200);
    hub.stop().await;
}
