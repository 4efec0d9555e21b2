//! Consultations over a real socket, on a store and a log in a temporary folder.

#[path = "../../call-intake/tests/support/mod.rs"]
mod support;

use hearthline_clinical_outcome::{NAME, Options, TOPIC, build, views};
use hearthline_contracts::call::{
    CallEvent, CallOpened, CallTriaged, CallVoided, ClinicianJoined, CounterfactualRecorded, ResidentIdentified, call_event::Fact,
};
use hearthline_contracts::topics;
use hearthline_contracts::types::{Alternative, IdentityStatus, ResidentRef};
use hearthline_runtime::auth::Role;
use serde_json::{Value as Json, json};
use std::time::Duration;
use support::{Client, HOME, Peer, Stage, until};

const CALL: [u8; 16] = [1; 16];

async fn at_work(stage: &Stage, patience: Duration) -> (Client<'_>, Peer) {
    let ports = stage.ports(NAME, TOPIC, views()).await;
    let options = Options { late_entry_days: 30, live: false, patience };
    let client = stage.start(build(options, &ports, &stage.shell)).await;
    (client, stage.peer("call-intake", &topics::CALL).await)
}

fn resident(n: u8) -> Option<ResidentRef> {
    Some(ResidentRef { resident_id: vec![n; 16].into(), status: IdentityStatus::Identified.into() })
}

/// A call as its context publishes it: opened, triaged, with a clinician, and what the home would have done.
fn call(counterfactual: bool) -> Vec<Fact> {
    let opened = CallOpened { home_id: HOME.bytes().to_vec().into(), resident: resident(3), ..Default::default() };
    let mut facts: Vec<Fact> = vec![opened.into(), CallTriaged::default().into(), ClinicianJoined::default().into()];
    if counterfactual {
        facts.push(CounterfactualRecorded { alternative: Alternative::Emergency999.into(), ..Default::default() }.into());
    }
    facts
}

fn outcome(version: u64) -> Json {
    json!({
        "call_id": uuid::Uuid::from_bytes(CALL).to_string(),
        "call_version": version,
        "disposition": "treated_at_home",
        "summary": "Zyxwv: lower respiratory tract infection",
        "claims": [{ "kind": "conveyance" }, { "kind": "admission", "likely_admitting_problem": "pneumonia" }],
        "plan": { "text": "antibiotic by mouth", "review_on": "2026-11-25", "agreed_with_home": true }
    })
}

#[tokio::test]
async fn an_outcome_waits_for_the_call_that_was_seen_and_is_decided_once() {
    let stage = Stage::open().await;
    let (client, calls) = at_work(&stage, Duration::from_secs(10)).await;
    // Sent before the call is here.
    let deciding = client.post_as(Role::Clinician, HOME, "/consultations", "k1", outcome(4));
    let (decided, ()) = tokio::join!(deciding, calls.publish::<CallEvent>(CALL, 0, call(true)));
    assert_eq!(decided.status, 201, "{}", decided.body);
    let id = decided.body["stream"].as_str().expect("an id").to_owned();
    let whole = ["OutcomeDecided", "AvoidanceClaimed", "AvoidanceClaimed", "TreatmentPlanAgreed"];
    assert_eq!(client.timeline(&id).await, whole);

    let again = client.post_as(Role::Clinician, HOME, "/consultations", "k1", outcome(4)).await;
    assert_eq!((again.status, again.body), (201, decided.body.clone()));
    let second = client.post(Role::Clinician, "/consultations", outcome(4)).await;
    assert_eq!(second.refused(), (422, "already_decided"));

    let shown = client.get(Role::CallHandler, &format!("/consultations/{id}")).await.ok();
    assert_eq!(shown["claims"][0]["would_have_happened"], "999");
    assert_eq!(shown["plan"], json!({ "version": 1, "review_on": "2026-11-25", "agreed_with_home": true }));
    assert!(!shown.to_string().contains("Zyxwv"));
    let written = client.get(Role::Clinician, &format!("/consultations/{id}/narrative")).await.ok();
    assert_eq!(written["narrative"][0]["written"]["summary"], "Zyxwv: lower respiratory tract infection");

    let claim = decided.body["claims"][0]["claim_id"].as_str().expect("an id").to_owned();
    let withdraw = format!("/consultations/{id}/claims/{claim}/withdraw");
    client.post(Role::Clinician, &withdraw, json!({ "reason": "claimed_in_error" })).await.ok();
    let plan = json!({ "text": "and fluids", "agreed_with_home": false });
    let planned = client.post(Role::Clinician, &format!("/consultations/{id}/plan"), plan).await.ok();
    assert_eq!(planned["version"], 6);
    let shown = client.get(Role::CallHandler, &format!("/consultations/{id}")).await.ok();
    assert_eq!((&shown["claims"][0]["withdrawn"], &shown["plan"]["version"]), (&json!("claimed_in_error"), &json!(2)));
    let nowhere = format!("/consultations/{id}/claims/{id}/withdraw");
    assert_eq!(client.post(Role::Clinician, &nowhere, json!({ "reason": "reviewed" })).await.refused(), (404, "not_found"));
}

#[tokio::test]
async fn a_call_that_never_comes_and_rules_that_refuse() {
    let stage = Stage::open().await;
    let (client, calls) = at_work(&stage, Duration::from_millis(50)).await;
    assert_eq!(client.post(Role::Clinician, "/consultations", outcome(4)).await.refused(), (503, "not_here_yet"));
    calls.publish::<CallEvent>(CALL, 0, call(false)).await;
    client.here("select 1 from calls where version = 3", &[]).await;
    assert_eq!(client.post(Role::Clinician, "/consultations", outcome(4)).await.refused(), (503, "not_here_yet"));
    assert_eq!(client.post(Role::Clinician, "/consultations", outcome(3)).await.refused(), (422, "claim_without_counterfactual"));
    assert_eq!(client.post(Role::CallHandler, "/consultations", outcome(3)).await.refused(), (403, "role_not_allowed"));
    let mut early = outcome(3);
    early["occurred_at"] = json!((jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2)).to_string());
    assert_eq!(client.post(Role::Clinician, "/consultations", early).await.refused(), (400, "field_invalid"));
}

#[tokio::test]
async fn a_voided_call_withdraws_its_outcome_and_takes_no_other() {
    let stage = Stage::open().await;
    let (client, calls) = at_work(&stage, Duration::from_secs(10)).await;
    calls.publish::<CallEvent>(CALL, 0, call(true)).await;
    let decided = client.post(Role::Clinician, "/consultations", outcome(4)).await.ok();
    let id = decided["stream"].as_str().expect("an id");
    let identified = ResidentIdentified { resident: resident(4), replaced_resident_id: vec![3; 16].into(), ..Default::default() };
    calls.publish::<CallEvent>(CALL, 4, vec![identified.into()]).await;
    until("the outcome is about the other resident", || async { client.timeline(id).await.len() == 5 }).await;
    let shown = client.get(Role::Clinician, &format!("/consultations/{id}")).await.ok();
    assert_eq!(shown["resident"]["id"], uuid::Uuid::from_bytes([4; 16]).to_string());

    calls.publish::<CallEvent>(CALL, 5, vec![CallVoided::default().into()]).await;
    until("the outcome is withdrawn", || async { client.timeline(id).await.len() == 8 }).await;
    let end = ["OutcomeAmended", "OutcomeAmended", "AvoidanceWithdrawn", "AvoidanceWithdrawn"];
    assert_eq!(client.timeline(id).await[4..], end);
    assert_eq!(client.get(Role::Clinician, &format!("/consultations/{id}")).await.ok()["withdrawn"], true);

    let another = [2; 16];
    let mut facts = call(true);
    facts.push(CallVoided::default().into());
    calls.publish::<CallEvent>(another, 0, facts).await;
    let mut late = outcome(5);
    late["call_id"] = json!(uuid::Uuid::from_bytes(another).to_string());
    assert_eq!(client.post(Role::Clinician, "/consultations", late).await.refused(), (422, "call_voided"));
}
