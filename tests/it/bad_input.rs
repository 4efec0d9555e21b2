//! What people and machines get wrong: each mistake hears precisely what it was, is counted, tells nobody anything personal, and
//! leaves nothing behind.

use crate::running::{Answer, HUB, Running, SMALL, Sender, grant};
use hearthline_interop::hl7v2::AckCode;
use hearthline_interop::hl7v2::write::{Header, MessageWriter};
use hearthline_runtime::auth::{Issuer, Role};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Stands in everything personal that is sent here; no answer and no log line may hold it.
const RARE: &str = "Zqxjvkwyb";
const NOBODY: &str = "11111111-1111-4111-8111-111111111111";

/// One request that must be refused.
struct Mistake {
    what: &'static str,
    method: Method,
    path: String,
    /// As the metrics name the route; none where no route takes it.
    route: Option<&'static str>,
    token: Option<String>,
    headers: Vec<(&'static str, String)>,
    body: String,
    refused: (u16, &'static str),
    /// The field that the answer names, where it is about one.
    field: Option<&'static str>,
}

impl Mistake {
    fn post(what: &'static str, path: &str, route: &'static str, token: String, body: impl ToString, refused: (u16, &'static str)) -> Self {
        Mistake {
            what,
            method: Method::POST,
            path: path.to_owned(),
            route: Some(route),
            token: Some(token),
            headers: vec![("idempotency-key", uuid::Uuid::new_v4().to_string()), ("content-type", "application/json".to_owned())],
            body: body.to_string(),
            refused,
            field: None,
        }
    }

    fn get(what: &'static str, path: &str, route: &'static str, token: String, refused: (u16, &'static str)) -> Self {
        Mistake { method: Method::GET, headers: Vec::new(), ..Self::post(what, path, route, token, "", refused) }
    }

    fn at(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.retain(|(n, _)| *n != name);
        self.headers.push((name, value.to_string()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| *n != name);
        self
    }

    fn token(mut self, token: Option<String>) -> Self {
        self.token = token;
        self
    }

    fn no_route(mut self) -> Self {
        self.route = None;
        self
    }

    async fn make(&self, hub: &Running) {
        let mut request = hub.request(self.method.clone(), &self.path).body(self.body.clone());
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = Answer::of(request).await;
        assert_eq!((answer.status, answer.code()), self.refused, "{}: {}", self.what, answer.text);
        assert_eq!(answer.body["status"], self.refused.0, "{}", self.what);
        assert_eq!(answer.body["type"], format!("urn:hearthline:problem:{}", self.refused.1), "{}", self.what);
        assert!(answer.body["title"].as_str().is_some_and(|title| !title.is_empty()), "{}", self.what);
        if let Some(field) = self.field {
            assert_eq!(answer.body["errors"][0]["field"], field, "{}: {}", self.what, answer.text);
        }
        assert!(!answer.text.contains(RARE), "{}: the answer repeats what was sent: {}", self.what, answer.text);
    }
}

/// A call that would be taken.
fn opening(home: &str) -> Value {
    json!({ "home_id": home, "channel": "telephone", "reason": "fall", "caller_name": format!("Ada {RARE}"), "reason_text": format!("slipped {RARE}") })
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn days_from_now(days: i64) -> String {
    jiff::Timestamp::now().saturating_add(jiff::SignedDuration::from_hours(24 * days)).expect("in the calendar").to_string()
}

fn mistakes(hub: &Running, home: &str, other_home: &str, call: &str, elsewhere: &Issuer) -> Vec<Mistake> {
    let handler = hub.token(Role::CallHandler);
    let call_with =
        |what, field: &str, value: Value, refused| Mistake::post(what, "/calls", "/calls", handler.clone(), with(opening(home), field, value), refused);
    let invalid = (400, "field_invalid");
    let observed = |value: Value| {
        json!({ "respiratory_rate": 18 }).as_object().cloned().map(|mut all| {
            all.extend(value.as_object().cloned().unwrap_or_default());
            Value::Object(all)
        })
    };
    let resident = |value: Value| json!({ "family_name": RARE, "given_names": "Ada", "nhs_number": value });
    let plain = || Mistake::post("", "/calls", "/calls", handler.clone(), opening(home), (0, ""));
    let answering = |what, refused| Mistake::post(what, &format!("/calls/{call}/answer"), "/calls/{call_id}/answer", handler.clone(), "{}", refused);
    let now = SystemTime::now();
    let hours = |h: u64| Duration::from_secs(h * 3_600);
    let signed = |issuer: &Issuer, from: SystemTime| issuer.token(&grant(Role::CallHandler, None, true), from, Duration::from_secs(3_600)).expect("signed");
    let but = |what, token: Option<String>, refused| Mistake { what, refused, ..plain() }.token(token);
    vec![
        // The body.
        Mistake {
            what: "a body that breaks off",
            body: format!("{{\"home_id\": \"{home}\", \"caller_name\": \"{RARE}"),
            refused: (400, "json_malformed"),
            ..plain()
        },
        Mistake { what: "a body that is no JSON", body: format!("home={home}&caller={RARE}"), refused: (400, "json_malformed"), ..plain() },
        Mistake { what: "a form", refused: (415, "media_type"), ..plain() }.header("content-type", "application/x-www-form-urlencoded"),
        Mistake {
            what: "an oversized body",
            body: with(opening(home), "reason_text", json!(RARE.repeat(4_000))).to_string(),
            refused: (413, "body_too_large"),
            ..plain()
        },
        call_with("an unknown field", "favourite_colour", json!(RARE), (400, "field_unknown")).at("favourite_colour"),
        Mistake { what: "a missing field", body: json!({ "home_id": home, "channel": "video" }).to_string(), refused: (400, "field_missing"), ..plain() }
            .at("reason"),
        call_with("an unknown word", "channel", json!(RARE), invalid).at("channel"),
        call_with("a field of another kind", "restore2_used", json!(RARE), invalid).at("restore2_used"),
        call_with("a text without end", "caller_name", json!(format!("{RARE}{}", "x".repeat(5_000))), invalid).at("caller_name"),
        // What it says.
        Mistake { what: "an unknown home", body: opening(NOBODY).to_string(), refused: (422, "home_unknown"), ..plain() },
        call_with("an impossible observation", "observations", observed(json!({ "systolic": 1_200 })).expect("an object"), invalid).at("observations.systolic"),
        call_with("an impossible temperature", "observations", observed(json!({ "temperature": 98.6 })).expect("an object"), invalid)
            .at("observations.temperature"),
        call_with("a NHS number with a wrong check digit", "resident", resident(json!("999 000 0019")), invalid).at("resident.nhs_number"),
        call_with("a NHS number that is too short", "resident", resident(json!("99900000")), invalid).at("resident.nhs_number"),
        call_with("a birthday to come", "resident", json!({ "family_name": RARE, "date_of_birth": "2199-01-01" }), invalid).at("resident.date_of_birth"),
        call_with("a resident whom nobody has heard of", "resident", json!({ "resident_id": NOBODY }), (503, "not_here_yet")),
        // When.
        call_with("a time to come", "occurred_at", json!(days_from_now(1)), invalid).at("occurred_at"),
        call_with("a time too long ago", "occurred_at", json!(days_from_now(-31)), invalid).at("occurred_at"),
        call_with("a time without its offset", "occurred_at", json!("2026-11-22T02:10:00"), invalid).at("occurred_at"),
        Mistake {
            what: "a home that enters afterwards",
            body: with(opening(home), "occurred_at", json!(days_from_now(-1))).to_string(),
            refused: invalid,
            ..plain()
        }
        .token(Some(hub.token_of(Role::CareHome, Some(home), now)))
        .at("occurred_at"),
        answering("a step before the call", invalid).at("occurred_at").body(json!({ "occurred_at": days_from_now(-1) })),
        // Versions and keys.
        answering("a stale version", (412, "version_conflict")).header("if-match", "\"7\""),
        answering("a version that is none", (400, "if_match_malformed")).header("if-match", "seven"),
        Mistake { what: "no idempotency key", refused: (400, "idempotency_key_missing"), ..plain() }.without("idempotency-key"),
        Mistake { what: "a key with a blank", refused: (400, "idempotency_key_malformed"), ..plain() }.header("idempotency-key", "two words"),
        Mistake { what: "a key without end", refused: (400, "idempotency_key_malformed"), ..plain() }.header("idempotency-key", "k".repeat(201)),
        call_with("the key of another body", "reason", json!("pain"), (422, "key_reused")).header("idempotency-key", "the-first-call"),
        // Who.
        but("no token", None, (401, "token_missing")),
        but("a token that is none", Some(RARE.to_owned()), (401, "token_malformed")),
        but("an expired token", Some(signed(&hub.issuer, now - hours(3))), (401, "token_expired")),
        but("a token for later", Some(signed(&hub.issuer, now + hours(3))), (401, "token_not_yet_valid")),
        but("a token of another issuer's key", Some(signed(elsewhere, now)), (401, "token_key_unknown")),
        but("a role that may not", Some(hub.token(Role::Analyst)), (403, "role_not_allowed")),
        but("another home", Some(hub.token_of(Role::CareHome, Some(other_home), now)), (403, "home_not_own")),
        Mistake::post(
            "signing while away",
            &format!("/prescriptions/{NOBODY}/sign"),
            "/prescriptions/{id}/sign",
            handler.clone(),
            "{}",
            (403, "session_needed"),
        )
        .token(Some(hub.issuer.token(&grant(Role::Prescriber, None, false), now, hours(1)).expect("signed"))),
        // Where.
        Mistake::post("a call that is not there", &format!("/calls/{NOBODY}/answer"), "/calls/{call_id}/answer", handler.clone(), "{}", (404, "not_found")),
        Mistake::get("an id that is none", &format!("/calls/{RARE}"), "/calls/{call_id}", handler.clone(), (404, "not_found")),
        Mistake::get("an address that is none", &format!("/{RARE}"), "", handler.clone(), (404, "not_found")).no_route(),
        Mistake { method: Method::DELETE, ..Mistake::get("a method that is none", "/calls", "", handler.clone(), (405, "method_not_allowed")) }.no_route(),
        Mistake::get("a parameter that is none", &format!("/calls?opne={RARE}"), "/calls", handler.clone(), (400, "query_malformed")),
        Mistake::get("a reading without a reason", &format!("/calls/{call}/narrative"), "/calls/{call_id}/narrative", handler, (400, "reason_missing")),
    ]
}

impl Mistake {
    fn body(mut self, body: Value) -> Self {
        self.body = body.to_string();
        self
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mistake_over_http_is_named_counted_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let foreign = tempfile::tempdir().expect("a temporary folder can be made");
    let elsewhere = Issuer::open(foreign.path(), "hearthline", "hearthline").expect("an issuer");
    let hub = Running::start(SMALL, folder.path(), true).await;
    let homes = hub.homes(&["VN100", "VN101"]).await;
    let first = hub.request(Method::POST, "/calls").bearer_auth(hub.token(Role::CallHandler)).header("idempotency-key", "the-first-call");
    let call = Answer::of(first.json(&opening(&homes[0]))).await.stream();
    hub.settled().await;
    let before = hub.rows().await;
    let counted_before = counted(&hub.metrics().await);

    let mut made: BTreeMap<(String, String, u16), u64> = BTreeMap::new();
    for mistake in mistakes(&hub, &homes[0], &homes[1], &call, &elsewhere) {
        mistake.make(&hub).await;
        if let Some(route) = mistake.route {
            *made.entry((mistake.method.to_string(), route.to_owned(), mistake.refused.0)).or_default() += 1;
        }
        assert_eq!(hub.rows().await, before, "{} left something behind", mistake.what);
    }
    hub.settled().await;
    assert_eq!(hub.rows().await, before);

    let counts = counted(&hub.metrics().await);
    for (which, times) in made {
        let seen = counts.get(&which).copied().unwrap_or(0) - counted_before.get(&which).copied().unwrap_or(0);
        assert_eq!(seen, times, "{which:?} in /metrics");
    }
    assert!(!hub.metrics().await.contains(RARE));
    let log = String::from_utf8_lossy(&hub.log.bytes()).into_owned();
    assert!(!log.contains(RARE), "{log}");
    // The same call, made right, still goes through: nothing holds its key or its stream.
    let answered = hub.post(Role::CallHandler, &format!("/calls/{call}/answer"), &json!({})).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    hub.stop().await;
}

/// Requests by method, route and status, out of the `/metrics` text.
fn counted(metrics: &str) -> BTreeMap<(String, String, u16), u64> {
    let label = |line: &str, name: &str| line.split_once(&format!("{name}=\""))?.1.split('"').next().map(str::to_owned);
    let lines = metrics.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count"));
    lines
        .filter_map(|line| {
            let key = (label(line, "http_request_method")?, label(line, "http_route")?, label(line, "http_response_status_code")?.parse().ok()?);
            Some((key, line.rsplit(' ').next()?.parse().ok()?))
        })
        .collect()
}

/// An admission as a PAS writes it, with one thing wrong where the test wants it so.
struct Adt<'a> {
    kind: &'a str,
    facility: &'a str,
    control_id: &'a str,
    processing_id: &'a str,
    occurred: &'a str,
    pid: bool,
    pv1: bool,
    padding: usize,
}

const GOOD: Adt<'static> =
    Adt { kind: "ADT^A01", facility: "RHM", control_id: "C1", processing_id: "P", occurred: "20261120101500", pid: true, pv1: true, padding: 0 };

impl Adt<'_> {
    fn write(&self) -> Vec<u8> {
        let mut message = MessageWriter::new(&Header {
            sending_application: "PAS",
            sending_facility: self.facility,
            receiving_application: "HEARTHLINE",
            receiving_facility: HUB,
            sent_at: self.occurred,
            message_type: self.kind,
            control_id: self.control_id,
            processing_id: self.processing_id,
            version: "2.4",
        });
        message.segment("EVN").text(2, self.occurred).end();
        let pid = message
            .segment("PID")
            .text(1, "1")
            .components(5, &[RARE, "Ada"])
            .text(7, "19380412")
            .components(11, &[&format!("1 {RARE} Way"), "", "Romsey", "", "SO51 0AA"]);
        let pid = if self.pid { pid.components(3, &["9990000018", "", "", "NHS", "NH"]) } else { pid };
        pid.end();
        if self.pv1 {
            message.segment("PV1").text(2, "I").components(19, &["V1"]).text(44, self.occurred).end();
        }
        if self.padding > 0 {
            message.segment("NTE").text(3, &RARE.repeat(self.padding)).end();
        }
        message.finish()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mistake_of_a_hospital_is_answered_counted_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let hub = Running::start(SMALL, folder.path(), false).await;
    hub.settled().await;
    let before = hub.rows().await;
    let (ar, ae) = (AckCode::ApplicationReject, AckCode::ApplicationError);
    let mistakes: Vec<(&str, Vec<u8>, AckCode, &str)> = vec![
        ("no HL7 at all", format!("{RARE} is no message").into_bytes(), ar, "MSH"),
        ("an unknown facility", Adt { facility: "XYZ", ..GOOD }.write(), ar, "MSH-4"),
        ("another kind of message", Adt { kind: "ORU^R01", ..GOOD }.write(), ar, "MSH-9"),
        ("a frame beyond the limit", Adt { padding: 1_000, ..GOOD }.write(), ar, "larger"),
        ("no control id", Adt { control_id: "", ..GOOD }.write(), ae, "MSH-10"),
        ("no readable time", Adt { occurred: "yesterday", ..GOOD }.write(), ae, "time"),
        ("an admission without a visit", Adt { pv1: false, ..GOOD }.write(), ae, "PV1"),
        ("a patient without an identifier", Adt { pid: false, ..GOOD }.write(), ae, "PID-3"),
    ];
    let mut sender = Sender::connect(hub.mllp).await;
    let mut kept = before.clone();
    for (what, message, code, names) in &mistakes {
        let (reply, text) = sender.exchange(message).await;
        assert_eq!(reply.code, *code, "{what}: {text}");
        assert!(text.contains(names), "{what}: {text}");
        assert!(!text.contains(RARE) && !text.contains("9990000018"), "{what}: the reply repeats what was sent: {text}");
        *kept.get_mut(&("pas-gateway", "inbox")).expect("counted") += 1;
        assert_eq!(hub.rows().await, kept, "{what} left more behind than the frame and its answer");
    }
    let summary = hub.get(Role::Operator, "/pas/summary").await.body;
    let messages = summary["messages"].as_array().cloned().unwrap_or_default();
    assert!(messages.iter().all(|m| m["disposition"] == "refused"), "none of them counts as a message: {summary:#}");
    assert_eq!(messages.iter().filter_map(|m| m["count"].as_u64()).sum::<u64>(), mistakes.len() as u64, "{summary:#}");

    // Text that was never begun as a frame: the line is closed, without an answer to anything.
    let mut careless = Sender::connect(hub.mllp).await;
    careless.write(&[RARE.as_bytes(), &[0x1c, 0x0d]].concat()).await;
    assert!(careless.reply().await.is_none());
    assert_eq!(hub.rows().await, kept);

    // Noise before a frame and a frame begun anew: only the whole one is taken, and the line goes on.
    let good = GOOD.write();
    sender.write(&[RARE.as_bytes(), &[0x0b], &good[..40], &[0x0b], &good, &[0x1c, 0x0d]].concat()).await;
    let (reply, _) = sender.reply().await.expect("the line stays open");
    assert_eq!((reply.code, reply.control_id.as_str()), (AckCode::ApplicationAccept, "C1"));
    hub.settled().await;
    let after = hub.rows().await;
    assert_eq!(after[&("pas-gateway", "inbox")], kept[&("pas-gateway", "inbox")] + 1);
    assert_eq!(after[&("pas-gateway", "events")], before[&("pas-gateway", "events")], "a stranger is no event");
    let log = String::from_utf8_lossy(&hub.log.bytes()).into_owned();
    assert!(!log.contains(RARE), "{log}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_receiver_takes_live_messages_only() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let live = SMALL.replace("environment = \"test\"", "environment = \"live\"");
    let hub = Running::start(&live, folder.path(), false).await;
    hub.settled().await;
    let mut kept = hub.rows().await;
    let mut sender = Sender::connect(hub.mllp).await;
    for processing_id in ["T", "D", ""] {
        let (reply, text) = sender.exchange(&Adt { processing_id, ..GOOD }.write()).await;
        assert_eq!(reply.code, AckCode::ApplicationReject, "{text}");
        assert!(text.contains("MSH-11"), "{text}");
        *kept.get_mut(&("pas-gateway", "inbox")).expect("counted") += 1;
        assert_eq!(hub.rows().await, kept, "{processing_id:?} left more behind than the frame and its answer");
    }
    assert_eq!(sender.exchange(&GOOD.write()).await.0.code, AckCode::ApplicationAccept);
    hub.stop().await;
}
