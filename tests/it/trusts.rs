//! Trusts do not see each other: for an engineer another trust's peers, messages and feeds do not exist.

use crate::running::{Answer, Running, Sender};
use hearthline_interop::hl7v2::AckCode;
use hearthline_nhs::OdsCode;
use hearthline_runtime::auth::{Grant, Role};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

const HUB: &str = r#"
controller_ods = "ZH100"
[server]
listen = "127.0.0.1:0"
[mllp]
listen = "127.0.0.1:0"
[[mllp.peer]]
name = "Southampton"
facility_ods = "RHM"
[[mllp.peer]]
name = "Portsmouth"
facility_ods = "RHU"
"#;

fn engineer(hub: &Running, org: &str) -> String {
    let grant =
        Grant { subject: format!("an engineer of {org}"), role: Role::TrustEngineer, org: OdsCode::parse(org).expect("a code"), home: None, session: true };
    hub.issuer.token(&grant, SystemTime::now(), Duration::from_secs(600)).expect("signed")
}

async fn ask(hub: &Running, token: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
    let request = hub.request(method, path).bearer_auth(token).header("x-access-reason", "a look at our own feed");
    let request = request.header("idempotency-key", uuid::Uuid::new_v4().to_string());
    Answer::of(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

async fn admit(hub: &Running, facility: &str, control_id: &str) {
    let mut sender = Sender::connect(hub.mllp).await;
    let message = format!(
        "MSH|^~\\&|PAS|{facility}|HL|ZH100|20260302100000||ADT^A01|{control_id}|P|2.4\rEVN||20260302100000\rPID|||{control_id}^^^{facility}^MR||Nobody^Here||19400101\r\
         PV1||I|W^^^{facility}01||||||||||||||||V{control_id}|||||||||||||||||||||||||20260302095500\r"
    );
    let (reply, said) = sender.exchange(message.as_bytes()).await;
    assert_eq!(reply.code, AckCode::ApplicationAccept, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_trusts_feed_does_not_exist_for_an_engineer() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let hub = Running::start(HUB, folder.path(), false).await;
    admit(&hub, "RHM", "S1").await;
    admit(&hub, "RHU", "P1").await;
    hub.settled().await;
    let (ours, theirs) = (engineer(&hub, "RHM"), engineer(&hub, "RHU"));
    let messages = async |token: &str| {
        let answer = ask(&hub, token, Method::GET, "/pas/messages", None).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.body["messages"].as_array().expect("a list").clone()
    };
    let (seen, hidden) = (messages(&ours).await, messages(&theirs).await);
    assert_eq!((seen.len(), hidden.len()), (1, 1));
    assert_eq!((seen[0]["control_id"].as_str(), hidden[0]["control_id"].as_str()), (Some("S1"), Some("P1")));
    let other = hidden[0]["id"].as_str().expect("an id");

    // Every route of the gateway that an engineer may use, with what is the other trust's.
    let routes: BTreeSet<(String, &str)> = hub
        .access
        .iter()
        .filter(|row| row.path.starts_with("/pas/") && row.role == Role::TrustEngineer.as_str() && row.allowed)
        .map(|row| (row.method.clone(), row.path))
        .collect();
    assert!(routes.len() >= 8, "{routes:?}");
    for (method, path) in &routes {
        let method: Method = method.parse().expect("a method");
        let filled = path.replace("{peer}", "Portsmouth").replace("{id}", other);
        let body = match *path {
            "/pas/messages/search" => Some(json!({ "control_id": "P1" })),
            "/pas/reprocess" => Some(json!({ "ids": [other], "dry_run": true })),
            _ => None,
        };
        let answer = ask(&hub, &ours, method, &filled, body).await;
        let names_another = path.contains('{') || *path == "/pas/reprocess";
        assert_eq!(answer.status, if names_another { 404 } else { 200 }, "{path}: {}", answer.text);
        assert!(!answer.text.contains("Portsmouth") && !answer.text.contains("RHU") && !answer.text.contains("P1"), "{path}: {}", answer.text);
    }
    // And what is theirs, they see: masked without a reason to see more, whole with one, on record.
    let mine = seen[0]["id"].as_str().expect("an id");
    let masked = ask(&hub, &ours, Method::GET, &format!("/pas/messages/{mine}"), None).await;
    assert!(masked.status == 200 && !masked.text.contains("Nobody"), "{}", masked.text);
    let whole = ask(&hub, &ours, Method::GET, &format!("/pas/messages/{mine}/content"), None).await;
    assert!(whole.status == 200 && whole.text.contains("Nobody^Here"), "{}", whole.text);
    let gateway = hub.ops.services.iter().find(|s| s.name == "pas-gateway").expect("the gateway").kernel.store.clone();
    let looks = gateway.query("select count(*) from audit where action = 'read_hospital_message'", &[]).await.expect("counted");
    assert_eq!(looks[0].int(0), 1);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_said_with_what_there_is_and_a_page_tells_whether_more_follow() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let hub = Running::start(HUB, folder.path(), false).await;
    admit(&hub, "RHM", "S1").await;
    admit(&hub, "RHM", "S2").await;
    admit(&hub, "RHU", "P1").await;
    hub.settled().await;
    let ours = engineer(&hub, "RHM");
    let next = async |limit: u32| ask(&hub, &ours, Method::GET, &format!("/pas/messages?limit={limit}"), None).await.body["next"].clone();
    assert!(next(1).await.is_i64());
    assert!(next(2).await.is_null(), "all were shown");

    let unknown = ask(&hub, &ours, Method::GET, "/pas/messages?outcome=bogus", None).await;
    assert!(unknown.status == 400 && unknown.text.contains("interpreted, held"), "{}", unknown.text);
    // Nobody's and another trust's are told of alike.
    let report = async |peer: &str| {
        let answer = ask(&hub, &ours, Method::GET, &format!("/pas/peers/{peer}/shadow-report"), None).await;
        (answer.status, answer.body["detail"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(report("Portsmouth").await, (404, "no peer is called so; there are: Southampton".to_owned()));
    assert_eq!(report("Nobody").await, report("Portsmouth").await);
    for (period, status) in [("from=2999-01-01T00:00:00Z", 400), ("from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", 400), ("from=2026-03-02T00:00:00Z", 200)]
    {
        let answer = ask(&hub, &ours, Method::GET, &format!("/pas/peers/Southampton/shadow-report?{period}"), None).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(status == 200 || answer.text.contains("before now"), "{}", answer.text);
    }

    let summary = ask(&hub, &ours, Method::GET, "/pas/summary", None).await;
    let counted: Vec<(&str, i64)> = summary.body["messages"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| (row["peer"].as_str().unwrap_or_default(), row["count"].as_i64().unwrap_or_default()))
        .collect();
    assert_eq!(counted, [("Southampton", 2)]);
    hub.stop().await;
}
