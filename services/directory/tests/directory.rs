//! The directory over a real socket, with its workers running and calls arriving on the log.

use hearthline_contracts::call::{self, CallEvent};
use hearthline_contracts::envelope::Environment;
use hearthline_contracts::types::{Demographics, IdentityStatus, ResidentRef};
use hearthline_contracts::{topics, wire};
use hearthline_directory::{NAME, Options, TOPIC, build, views};
use hearthline_eventing::{Actor, Answer, Cause, Kernel, NewEvent, Occurred, Ports, Unit, Workers, now_us};
use hearthline_nhs::{NhsNumber, OdsCode, StreamId};
use hearthline_runtime::auth::{Grant, Issuer, Role, Verifier};
use hearthline_runtime::connect::Backend;
use hearthline_runtime::http::{self, Shell};
use prost::Message;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

const HEADER: &str = "ods_code,cqc_location_id,name,address_line_1,address_line_2,town,postcode,uprn,beds,home_type,controller_ods,latitude,longitude,live_from,secure_email,secure_email_verified_on,practice_ods\n";
const OAK: &str = "VL1A2,,Oak Lodge,12 High Street,,Southampton,SO16 6YD,,40,nursing,QRL,,,2026-03-01,oak@nhs.net,2026-02-20,J82001\n";

struct Directory {
    url: String,
    issuer: Issuer,
    ports: Ports,
    calls: Kernel,
    folder: tempfile::TempDir,
    _stop: DropGuard,
}

async fn directory() -> Directory {
    let folder = tempfile::tempdir().expect("temporary folder");
    let backend = Backend::open(folder.path(), None, Environment::Test, "QRL").await.expect("backend");
    let ports = backend.connect(NAME, TOPIC, views()).await.expect("store").ports;
    let theirs = backend.connect("call-intake", &topics::CALL, Vec::new()).await.expect("store").ports;
    let calls = Kernel::new("call-intake", &topics::CALL, &theirs);
    let issuer = Issuer::open(folder.path(), "test", "hearthline").expect("issuer");
    let shell = Shell::builder(Arc::new(Verifier::new(issuer.verifier_options(5)).expect("verifier"))).build();
    let built = build(Options { late_entry_days: 30 }, &ports, &shell).await.expect("built");
    // The relays open them once they have compared them with the log.
    for store in [&ports.store, &calls.store] {
        store.set_open(Err("nobody is at work yet".to_owned()));
    }
    let stop = CancellationToken::new();
    let (listener, address) = http::bind(([127, 0, 0, 1], 0).into()).await.expect("bound");
    tokio::spawn(http::serve(listener, shell.finish(built.router), stop.clone(), Duration::from_secs(1)));
    tokio::spawn(built.workers.run(stop.clone()));
    tokio::spawn(Workers { kernel: calls.clone(), inbound: None, on_timer: None, couriers: Vec::new(), leading: Vec::new() }.run(stop.clone()));
    until("the stores are open", || async { ports.store.opened().is_ok() && calls.store.opened().is_ok() }).await;
    Directory { url: format!("http://{address}"), issuer, ports, calls, folder, _stop: stop.drop_guard() }
}

impl Directory {
    async fn request(&self, role: Role, method: &str, path: &str, body: Value, key: &str) -> (u16, Value) {
        self.send(role, method, path, "application/json", body.to_string(), key).await
    }

    async fn send(&self, role: Role, method: &str, path: &str, kind: &str, body: String, key: &str) -> (u16, Value) {
        let grant = Grant { subject: format!("somebody in the role {role}"), role, org: OdsCode::parse("QRL").expect("valid"), home: None, session: false };
        let token = self.issuer.token(&grant, SystemTime::now(), Duration::from_secs(600)).expect("token");
        let request = hearthline_runtime::client::build(|c| c)
            .expect("a client")
            .request(method.parse().expect("a method"), format!("{}{path}", self.url))
            .bearer_auth(token)
            .header("idempotency-key", key)
            .header("content-type", kind)
            .header("x-access-reason", "a test of the directory")
            .body(body);
        let response = request.send().await.expect("answered");
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.expect("whole")).unwrap_or(Value::Null))
    }

    async fn home(&self) -> String {
        let practices = "ods_code,name,postcode\nJ82001,The Surgery,SO16 4XE\n";
        let (status, _) = self.send(Role::Operator, "POST", "/registers/practices", "text/csv", practices.to_owned(), "practices").await;
        assert_eq!(status, 200);
        let (status, loaded) = self.send(Role::Operator, "POST", "/registers/homes", "text/csv", format!("{HEADER}{OAK}"), "homes").await;
        assert_eq!((status, &loaded["rows"][0]["outcome"]), (200, &json!("registered")), "{loaded}");
        loaded["rows"][0]["id"].as_str().expect("an id").to_owned()
    }

    /// A call opens about somebody whom the caller describes.
    async fn call(&self, home: &str, said: Demographics) -> Uuid {
        let provisional = Uuid::new_v4();
        let fact = call::CallOpened {
            home_id: Uuid::parse_str(home).expect("a home").as_bytes().to_vec().into(),
            resident: Some(ResidentRef { resident_id: provisional.as_bytes().to_vec().into(), status: IdentityStatus::Provisional.into() }),
            ..Default::default()
        };
        let personal = call::CallOpenedPersonal { provisional_resident: Some(said), ..Default::default() }.encode_to_vec();
        self.say(Uuid::new_v4(), 0, "CallOpened", wire::fact_bytes::<CallEvent>(fact), Some(personal)).await;
        provisional
    }

    async fn say(&self, call: Uuid, expected: u64, name: &'static str, fact: bytes::Bytes, personal: Option<Vec<u8>>) {
        let (now, stream) = (now_us(), StreamId::from_bytes(*call.as_bytes()));
        let event = NewEvent { name, fact, personal: personal.map(Into::into), occurred: Occurred::at(now), revision: 1 };
        let cause = Cause { actor: Actor::SYSTEM, causation: None, correlation: *call.as_bytes(), traceparent: None };
        let write = self.calls.composer.write(stream, expected, vec![event], &cause, now).await.expect("composed");
        let answer = self.calls.store.append(Unit { writes: vec![write], ..Unit::default() }).await.expect("appended");
        assert!(matches!(answer, Answer::Committed { .. }));
    }

    async fn identity(&self, id: Uuid) -> Value {
        self.request(Role::CallHandler, "GET", &format!("/residents/{id}/identity"), Value::Null, "").await.1
    }

    async fn tasks(&self) -> Vec<Value> {
        let (_, body) = self.request(Role::CallHandler, "GET", "/tasks/directory", Value::Null, "").await;
        body["tasks"].as_array().cloned().unwrap_or_default()
    }
}

fn number(n: u32) -> String {
    (999_000_100 + 20 * n..).find_map(|first_nine| NhsNumber::complete(first_nine).ok()).expect("one in eleven has none").as_str().to_owned()
}

fn said(nhs_number: &str, born: &str) -> Demographics {
    Demographics {
        family_name: "Testperson".into(),
        given_names: vec!["Ada".into()],
        date_of_birth: born.into(),
        nhs_number: nhs_number.into(),
        ..Default::default()
    }
}

async fn until<F, Fut>(what: &str, mut look: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let deadline = Instant::now() + Duration::from_secs(60);
    while !look().await {
        assert!(Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_register_loaded_twice_changes_nothing_and_a_changed_row_changes_its_home() {
    let directory = directory().await;
    let id = directory.home().await;
    let (_, again) = directory.send(Role::Operator, "POST", "/registers/homes", "text/csv", format!("{HEADER}{OAK}"), "again").await;
    assert_eq!((&again["rows"][0]["outcome"], &again["rows"][0]["id"]), (&json!("unchanged"), &json!(id)));
    let more = format!("{HEADER}{}{}", OAK.replace(",40,", ",42,"), OAK.replace("VL1A2", "VL9Z9").replace("J82001", "J99999"));
    let (_, changed) = directory.send(Role::Operator, "POST", "/registers/homes", "text/csv", more, "more").await;
    assert_eq!((&changed["rows"][0]["outcome"], &changed["rows"][1]["outcome"]), (&json!("changed"), &json!("refused")), "{changed}");
    let (_, home) = directory.request(Role::Operator, "GET", &format!("/homes/{id}"), Value::Null, "").await;
    assert_eq!((&home["beds"], &home["live_from"], &home["practice_ods"]), (&json!(42), &json!("2026-03-01T00:00:00Z"), &json!("J82001")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resident_is_registered_once_found_by_number_and_every_read_is_audited() {
    let directory = directory().await;
    let home = directory.home().await;
    let body = json!({"home_id": home, "family_name": "Testperson", "given_names": "Ada", "date_of_birth": "1938-04-12", "nhs_number": number(1), "moved_in_on": "2026-01-01"});
    let (status, receipt) = directory.request(Role::Operator, "POST", "/residents", body.clone(), "r1").await;
    assert_eq!(status, 201, "{receipt}");
    assert_eq!(directory.request(Role::Operator, "POST", "/residents", body.clone(), "r1").await.1, receipt);
    let (status, problem) = directory.request(Role::Operator, "POST", "/residents", body.clone(), "r2").await;
    assert_eq!((status, &problem["code"]), (422, &json!("identifier_taken")));
    for (field, value) in [("nhs_number", json!("9434765918")), ("date_of_birth", json!("2938-04-12")), ("moved_in_on", json!("soon"))] {
        let mut wrong = body.clone();
        wrong[field] = value;
        let (status, problem) = directory.request(Role::Operator, "POST", "/residents", wrong, field).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!(field)), "{problem}");
    }
    let criteria = json!({"nhs_number": number(1), "date_of_birth": "1938-04-12"});
    let (_, found) = directory.request(Role::Clinician, "POST", "/residents/search", criteria, "").await;
    assert_eq!(found["residents"][0]["id"], receipt["stream"]);
    let other = json!({"nhs_number": number(1), "date_of_birth": "1938-04-13"});
    assert_eq!(directory.request(Role::Clinician, "POST", "/residents/search", other, "").await.1["residents"], json!([]));
    let (_, in_home) = directory.request(Role::Clinician, "POST", "/residents/search", json!({"home_id": home}), "").await;
    assert_eq!(in_home["residents"][0]["family_name"], json!("Testperson"));
    let id = receipt["stream"].as_str().expect("an id");
    let (status, resident) = directory.request(Role::Prescriber, "GET", &format!("/residents/{id}"), Value::Null, "").await;
    assert_eq!((status, &resident["nhs_number"]), (200, &json!(number(1))));
    let audit = directory.ports.store.query("select action from audit order by at", &[]).await.expect("readable");
    assert_eq!(audit.iter().map(|r| r.text(0).to_owned()).collect::<Vec<_>>(), ["search_residents", "search_residents", "search_residents", "read_resident"]);
    for file in std::fs::read_dir(directory.folder.path()).expect("listed") {
        let bytes = std::fs::read(file.expect("listed").path()).expect("readable");
        for needle in [number(1), "Testperson".to_owned()] {
            assert!(!bytes.windows(needle.len()).any(|w| w == needle.as_bytes()), "personal data in clear");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_about_one_unknown_person_register_them_once_and_the_others_become_aliases() {
    let directory = directory().await;
    let home = directory.home().await;
    let mut provisional = Vec::new();
    for _ in 0..4 {
        provisional.push(directory.call(&home, said(&number(2), "1940-05-06")).await);
    }
    until("all are resolved", || async {
        let mut resolved = 0;
        for id in &provisional {
            resolved += usize::from(directory.identity(*id).await["registered"] == json!(true));
        }
        resolved == provisional.len()
    })
    .await;
    let mut ids = Vec::new();
    for id in &provisional {
        ids.push(directory.identity(*id).await["resolved_id"].clone());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let registered = directory.ports.store.query("select count(*) from identities where registered = 1", &[]).await.expect("readable");
    assert_eq!(registered[0].int(0), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_says_too_little_or_something_else_is_a_persons_task_until_it_is_settled() {
    let directory = directory().await;
    let home = directory.home().await;
    let body = json!({"home_id": home, "family_name": "Testperson", "given_names": ["Ada"], "date_of_birth": "1938-04-12", "nhs_number": number(1), "moved_in_on": "2026-01-01"});
    let (_, receipt) = directory.request(Role::CallHandler, "POST", "/residents", body, "r1").await;
    let known: Uuid = receipt["stream"].as_str().expect("an id").parse().expect("a uuid");
    let unknown = directory.call(&home, said("", "1938-04-12")).await;
    directory.call(&home, said(&number(1), "1938-04-21")).await;
    until("both tasks", || async { directory.tasks().await.len() == 2 }).await;
    let mut kinds: Vec<_> = directory.tasks().await.iter().map(|t| t["kind"].as_str().unwrap_or_default().to_owned()).collect();
    kinds.sort();
    assert_eq!(kinds, ["identify_resident", "identity_disagrees"]);
    // A privacy officer says who the first one is.
    let merge = json!({"into": known});
    let (status, reply) = directory.request(Role::PrivacyOfficer, "POST", &format!("/residents/{unknown}/merge"), merge.clone(), "m1").await;
    assert_eq!(status, 200, "{reply}");
    assert_eq!(directory.request(Role::PrivacyOfficer, "POST", &format!("/residents/{unknown}/merge"), merge.clone(), "m1").await.1, reply);
    let (status, problem) = directory.request(Role::PrivacyOfficer, "POST", &format!("/residents/{unknown}/merge"), merge, "m2").await;
    assert_eq!((status, &problem["code"]), (422, &json!("already_merged")));
    assert_eq!(directory.identity(unknown).await["resolved_id"], json!(known));
    assert_eq!(directory.tasks().await.len(), 1, "its task went with it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resident_found_by_search_closes_the_provisional_one() {
    let directory = directory().await;
    let home = directory.home().await;
    let body = json!({"home_id": home, "family_name": "Testperson", "given_names": ["Ada"], "date_of_birth": "1938-04-12", "nhs_number": number(1), "moved_in_on": "2026-01-01"});
    let (_, receipt) = directory.request(Role::CallHandler, "POST", "/residents", body, "r1").await;
    let known: Uuid = receipt["stream"].as_str().expect("an id").parse().expect("a uuid");
    for (born, agrees) in [("1938-04-12", true), ("1950-01-01", false)] {
        let (call, provisional) = (Uuid::new_v4(), Uuid::new_v4());
        let opened = call::CallOpened {
            home_id: Uuid::parse_str(&home).expect("a home").as_bytes().to_vec().into(),
            resident: Some(ResidentRef { resident_id: provisional.as_bytes().to_vec().into(), status: IdentityStatus::Provisional.into() }),
            ..Default::default()
        };
        let personal = call::CallOpenedPersonal { provisional_resident: Some(said("", born)), ..Default::default() }.encode_to_vec();
        directory.say(call, 0, "CallOpened", wire::fact_bytes::<CallEvent>(opened), Some(personal)).await;
        let identified = call::ResidentIdentified {
            resident: Some(ResidentRef { resident_id: known.as_bytes().to_vec().into(), status: IdentityStatus::Identified.into() }),
            closed_provisional_id: provisional.as_bytes().to_vec().into(),
            ..Default::default()
        };
        directory.say(call, 1, "ResidentIdentified", wire::fact_bytes::<CallEvent>(identified), None).await;
        if agrees {
            until("the alias", || async { directory.identity(provisional).await["resolved_id"] == json!(known) }).await;
        } else {
            until("the task", || async { directory.tasks().await.iter().any(|t| t["kind"] == json!("identity_disagrees")) }).await;
            assert_eq!(directory.identity(provisional).await["resolved_id"], json!(provisional));
        }
    }
}
