//! Calls over a real socket, on a store and a log in a temporary folder.

mod support;

use hearthline_call_intake::{NAME, Options, TOPIC, build, views};
use hearthline_contracts::directory::{DirectoryEvent, HomeRegistered, HomeWentLive, ResidentRegistered};
use hearthline_contracts::outcome::{OutcomeDecided, OutcomeEvent};
use hearthline_contracts::prescribing::{PrescribingEvent, PrescriptionAccepted, PrescriptionDrafted};
use hearthline_contracts::topics;
use hearthline_nhs::{CallId, OpeningHours};
use hearthline_runtime::auth::Role;
use serde_json::{Value as Json, json};
use std::time::Duration;
use support::{Client, HOME, OTHER_HOME, Stage};

const RESIDENT: [u8; 16] = [3; 16];

fn options(opening: OpeningHours, patience: Duration) -> Options {
    Options { opening, late_entry_days: 30, live: false, patience }
}

/// Call intake at work, with a live home and a resident in it.
async fn at_work<'s>(stage: &'s Stage, opening: OpeningHours, patience: Duration) -> Client<'s> {
    let ports = stage.ports(NAME, TOPIC, views()).await;
    let client = stage.start(build(options(opening, patience), &ports, &stage.shell)).await;
    let directory = stage.peer("directory", &topics::DIRECTORY).await;
    for home in [HOME, OTHER_HOME] {
        let facts = vec![HomeRegistered::default().into(), HomeWentLive { live_from_us: 1 }.into()];
        directory.publish::<DirectoryEvent>(*home.bytes(), 0, facts).await;
        client.here("select 1 from homes where id = $1 and live_from is not null", &[(*home.bytes()).into()]).await;
    }
    let registered = ResidentRegistered { home_id: HOME.bytes().to_vec().into(), ..Default::default() };
    directory.publish::<DirectoryEvent>(RESIDENT, 0, vec![registered.into()]).await;
    client.here("select 1 from identities where id = $1 and registered = 1", &[RESIDENT.into()]).await;
    client
}

async fn open_hub(stage: &Stage) -> Client<'_> {
    at_work(stage, OpeningHours::always(), Duration::from_secs(10)).await
}

fn call_body() -> Json {
    json!({
        "home_id": HOME.to_string(),
        "channel": "telephone",
        "reason": "breathlessness",
        "reason_text": "Mrs Zyxwv cannot catch her breath",
        "restore2_used": true,
        "resident": { "family_name": "Zyxwv", "date_of_birth": "1938-02-11" },
        "observations": {
            "respiratory_rate": 22, "spo2": 95, "on_oxygen": false, "systolic": 128, "pulse": 104, "consciousness": "A",
            "temperature": 38.4, "tool": "restore2", "supplied_total": 3
        },
        "consent": "given"
    })
}

async fn opened(client: &Client<'_>) -> (String, Json) {
    let reply = client.post(Role::CareHome, "/calls", call_body()).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    (reply.body["stream"].as_str().expect("an id").to_owned(), reply.body)
}

async fn with_clinician(client: &Client<'_>) -> String {
    let (id, _) = opened(client).await;
    client.post(Role::CallHandler, &format!("/calls/{id}/answer"), json!({})).await.ok();
    client.post(Role::CallHandler, &format!("/calls/{id}/triage"), json!({ "urgency": "urgent" })).await.ok();
    let join = json!({ "clinician_role": "nurse", "grade": "band_7" });
    client.post(Role::Clinician, &format!("/calls/{id}/join"), join).await.ok();
    id
}

#[tokio::test]
async fn a_home_opens_a_call_and_reads_what_it_wrote() {
    let stage = Stage::open().await;
    let client = open_hub(&stage).await;
    let (id, reply) = opened(&client).await;
    assert_eq!(reply["resident_status"], "provisional");
    assert_eq!(reply["news2"], json!({ "total": 5, "risk": "medium", "supplied_total_wrong": true }));
    assert_eq!(client.timeline(&id).await, ["CallOpened", "ObservationsRecorded", "ConsentRecorded"]);

    let shown = client.get(Role::CareHome, &format!("/calls/{id}")).await.ok();
    assert_eq!((shown["status"].as_str(), shown["version"].as_u64()), (Some("open"), Some(3)));
    assert_eq!(shown["resident"]["registered"], false);
    assert_eq!(shown["observations"][0]["total"], 5);
    assert!(!shown.to_string().contains("Zyxwv"));
    assert_eq!(client.get_as(Role::CareHome, OTHER_HOME, &format!("/calls/{id}")).await.refused(), (404, "not_found"));

    let queue = client.get(Role::CallHandler, "/calls?open=true").await.ok();
    assert_eq!(queue["calls"].as_array().map(Vec::len), Some(1));
    let others = client.get_as(Role::CareHome, OTHER_HOME, "/calls?open=true").await.ok();
    assert_eq!(others["calls"], json!([]));

    let said = client.get(Role::Clinician, &format!("/calls/{id}/narrative")).await.ok();
    assert_eq!(said["narrative"][0]["said"]["resident"]["family_name"], "Zyxwv");
    client.here("select 1 from audit where action = 'call_narrative_read'", &[]).await;
}

#[tokio::test]
async fn a_repeated_opening_is_the_same_call() {
    let stage = Stage::open().await;
    let client = open_hub(&stage).await;
    let first = client.post_as(Role::CareHome, HOME, "/calls", "k1", call_body()).await;
    let again = client.post_as(Role::CareHome, HOME, "/calls", "k1", call_body()).await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.body, again.body);
    let other = client.post_as(Role::CareHome, HOME, "/calls", "k1", json!({ "home_id": HOME.to_string(), "channel": "web", "reason": "fall" }));
    assert_eq!(other.await.refused(), (422, "key_reused"));
}

#[tokio::test]
async fn what_cannot_be_is_refused_precisely() {
    let stage = Stage::open().await;
    let client = at_work(&stage, OpeningHours::always(), Duration::from_millis(50)).await;
    let with = |field: &str, value: Json| {
        let mut body = call_body();
        body[field] = value;
        body
    };
    let elsewhere = with("home_id", json!(OTHER_HOME.to_string()));
    assert_eq!(client.post(Role::CareHome, "/calls", elsewhere).await.refused(), (403, "home_not_own"));
    let unknown = with("home_id", json!("00000000-0000-4000-8000-000000000000"));
    assert_eq!(client.post(Role::CallHandler, "/calls", unknown).await.refused(), (422, "home_unknown"));
    let stranger = with("resident", json!({ "resident_id": "00000000-0000-4000-8000-000000000000" }));
    assert_eq!(client.post(Role::CallHandler, "/calls", stranger).await.refused(), (503, "not_here_yet"));
    let impossible = client.post(Role::CareHome, "/calls", with("observations", json!({ "spo2": 9 }))).await;
    assert_eq!(impossible.refused(), (400, "field_invalid"));
    assert_eq!(
        impossible.body["errors"][0],
        json!({
            "field": "observations.spo2", "detail": "impossible oxygen saturation: it lies outside 30-100 %"
        })
    );
    let number = client.post(Role::CareHome, "/calls", with("resident", json!({ "nhs_number": "9434765918" }))).await;
    assert_eq!(number.body["errors"][0]["field"], "resident.nhs_number");
    assert!(!number.body.to_string().contains("9434765918"));
    let late = with("occurred_at", json!("2026-01-01T00:00:00Z"));
    assert_eq!(client.post(Role::CareHome, "/calls", late).await.refused(), (400, "field_invalid"));
    assert_eq!(client.post(Role::Analyst, "/calls", call_body()).await.refused(), (403, "role_not_allowed"));
}

#[tokio::test]
async fn a_closed_hub_gives_advice_and_remembers_the_attempt() {
    let stage = Stage::open().await;
    let client = at_work(&stage, OpeningHours::closed(), Duration::from_secs(10)).await;
    let reply = client.post_as(Role::CareHome, HOME, "/calls", "k1", call_body()).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body["attempted_outside_hours"], true);
    assert_eq!(client.timeline(reply.body["stream"].as_str().expect("an id")).await, ["CallAttemptedOutsideHours"]);
    let again = client.post_as(Role::CareHome, HOME, "/calls", "k1", call_body()).await;
    assert_eq!(again.body, reply.body);
    assert_eq!(client.get(Role::CallHandler, "/calls").await.ok()["calls"], json!([]));
}

#[tokio::test]
async fn a_call_goes_from_opening_to_closing_with_what_the_clinician_saw() {
    let stage = Stage::open().await;
    let client = open_hub(&stage).await;
    let id = with_clinician(&client).await;
    let call = *CallId::parse(&id).expect("an id").bytes();
    let known = json!({ "resident_id": uuid::Uuid::from_bytes(RESIDENT).to_string() });
    client.post(Role::CallHandler, &format!("/calls/{id}/resident"), known.clone()).await.ok();
    let twice = client.post(Role::CallHandler, &format!("/calls/{id}/resident"), known).await;
    assert_eq!(twice.refused(), (422, "already_identified"));

    let (consultation, prescription) = ([5; 16], [6; 16]);
    let uuid = |id: [u8; 16]| uuid::Uuid::from_bytes(id).to_string();
    let close = json!({
        "consultation": { "stream": uuid(consultation), "version": 1 },
        "prescriptions": [{ "stream": uuid(prescription), "version": 2 }],
    });
    // The closing is sent before what it names is here: it waits.
    let path = format!("/calls/{id}/close");
    let closing = client.post_as(Role::Clinician, HOME, &path, "k1", close.clone());
    let arriving = async {
        let outcome = stage.peer("clinical-outcome", &topics::OUTCOME).await;
        let decided = OutcomeDecided { call_id: call.to_vec().into(), call_version: 6, ..Default::default() };
        outcome.publish::<OutcomeEvent>(consultation, 0, vec![decided.into()]).await;
        let prescribing = stage.peer("prescribing", &topics::PRESCRIBING).await;
        let drafted = PrescriptionDrafted { call_id: call.to_vec().into(), ..Default::default() };
        prescribing.publish::<PrescribingEvent>(prescription, 0, vec![drafted.into()]).await;
        prescribing.publish::<PrescribingEvent>(prescription, 1, vec![PrescriptionAccepted::default().into()]).await;
    };
    let (closed, ()) = tokio::join!(closing, arriving);
    let closed = closed.ok();
    let again = client.post_as(Role::Clinician, HOME, &path, "k1", close).await.ok();
    assert_eq!(closed, again, "a repeat hears its receipt, not that the call is closed");

    let shown = client.get(Role::Clinician, &format!("/calls/{id}")).await.ok();
    assert_eq!(shown["status"], "closed");
    assert_eq!(shown["resident"]["registered"], true);
    assert_eq!(shown["prescriptions"][0], json!({ "stream": uuid(prescription), "version": 2, "state": "accepted" }));
    let late = client.post(Role::Clinician, &format!("/calls/{id}/consent"), json!({ "basis": "given" })).await;
    assert_eq!(late.refused(), (422, "call_closed"));
}

#[tokio::test]
async fn a_closing_that_names_what_never_comes_is_told_to_try_again() {
    let stage = Stage::open().await;
    let client = at_work(&stage, OpeningHours::always(), Duration::from_millis(50)).await;
    let id = with_clinician(&client).await;
    let close = json!({ "consultation": { "stream": "00000000-0000-4000-8000-000000000000", "version": 1 } });
    assert_eq!(client.post(Role::Clinician, &format!("/calls/{id}/close"), close).await.refused(), (503, "not_here_yet"));
    let neither = client.post(Role::Clinician, &format!("/calls/{id}/close"), json!({})).await;
    assert_eq!(neither.refused(), (422, "outcome_missing"));
    let triage = client.post(Role::CallHandler, &format!("/calls/{id}/triage"), json!({ "urgency": "routine" })).await;
    assert_eq!(triage.refused(), (422, "already_triaged"));
}

#[tokio::test]
async fn an_outcome_to_follow_sets_a_timer_that_its_arrival_ends() {
    let stage = Stage::open().await;
    let client = open_hub(&stage).await;
    let id = with_clinician(&client).await;
    let call = *CallId::parse(&id).expect("an id").bytes();
    let close = json!({ "outcome_to_follow": "awaiting_senior" });
    client.post(Role::Clinician, &format!("/calls/{id}/close"), close).await.ok();
    let timer = "select due_at from timers where stream = $1 and name = 'outcome_to_follow'";
    client.here(timer, &[call.into()]).await;

    let outcome = stage.peer("clinical-outcome", &topics::OUTCOME).await;
    let decided = OutcomeDecided { call_id: call.to_vec().into(), call_version: 6, ..Default::default() };
    outcome.publish::<OutcomeEvent>([5; 16], 0, vec![decided.into()]).await;
    support::until("the timer has fired", || async { client.store.query(timer, &[call.into()]).await.expect("query").is_empty() }).await;
    assert_eq!(client.get(Role::Clinician, "/tasks/call-intake").await.ok()["tasks"], json!([]), "no task: the outcome came in time");
}
