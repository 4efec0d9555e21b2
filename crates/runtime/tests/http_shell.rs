//! The HTTP shell over real sockets.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use hearthline_nhs::HomeId;
use hearthline_runtime::auth::{Caller, Role};
use hearthline_runtime::http::{
    AccessRow, Command, Gate, IfMatch, Kind, PathOf, Problem, QueryOf, Reason, Receipt, Route, Scope, Search, Shell, access_table, codes, not_found,
    not_here_yet, rejected,
};
use reqwest::{Method, RequestBuilder, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::{HOME, Keys, Server, keys, serve};
use tokio::sync::{Notify, Semaphore};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenCall {
    home: uuid::Uuid,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(rename = "limit")]
    _limit: Option<u32>,
}

struct Desk {
    entered: Notify,
    release: Semaphore,
    finished: Notify,
}

impl Default for Desk {
    fn default() -> Self {
        Self { entered: Notify::new(), release: Semaphore::new(0), finished: Notify::new() }
    }
}

async fn open_call(command: Command<OpenCall>) -> Result<axum::response::Response, Problem> {
    command.caller.must_act_for_home(HomeId::from_bytes(command.body.home.into_bytes()))?;
    if command.body.reason == "fire" {
        return Err(rejected("home_not_live", "the home is not live"));
    }
    let receipt = Receipt { stream: uuid::Uuid::from_bytes([9; 16]), version: 2, position: 41 };
    Ok(receipt.created("/calls/09090909-0909-0909-0909-090909090909"))
}

async fn show_call(PathOf(id): PathOf<uuid::Uuid>, caller: Caller, QueryOf(_): QueryOf<Page>) -> Result<String, Problem> {
    caller.must_see_home(HOME)?;
    if id.is_nil() { Err(not_found()) } else { Ok(id.to_string()) }
}

async fn close_call(seen: IfMatch, _: Command<Value>) -> Result<StatusCode, Problem> {
    seen.check(3)?;
    Ok(StatusCode::OK)
}

async fn search(reason: Reason, Search(_): Search<OpenCall>) -> String {
    reason.0
}

async fn wait(State(desk): State<Arc<Desk>>, _: Command<Value>) -> StatusCode {
    desk.entered.notify_one();
    let _permit = desk.release.acquire().await.expect("open");
    desk.finished.notify_one();
    StatusCode::OK
}

async fn fall_over(_: Command<Value>) -> StatusCode {
    panic!("Zyxwv")
}

const STAFF: &[Role] = &[Role::CareHome, Role::CallHandler, Role::Clinician];

fn routes() -> Vec<Route<Arc<Desk>>> {
    vec![
        Route::post("/calls", &[Role::CareHome, Role::CallHandler], Scope::OwnHome, open_call),
        Route::get("/calls/{call_id}", STAFF, Scope::OwnHome, show_call),
        Route::post("/calls/{call_id}/close", &[Role::Clinician], Scope::Any, close_call),
        Route::post("/late", &[Role::Clinician], Scope::Any, |_: Command<Value>| async { not_here_yet() }),
        Route::post("/wait", &[Role::Clinician], Scope::Any, wait),
        Route::post("/panic", &[Role::Clinician], Scope::Any, fall_over),
        Route::search("/residents/search", &[Role::Clinician], Scope::Any, search).reads_personal(),
        Route::public("/notice", || async { "take care" }),
    ]
}

struct Fixture {
    keys: Keys,
    server: Server,
    desk: Arc<Desk>,
    gate: Gate,
    client: reqwest::Client,
    shell: Shell,
}

async fn fixture() -> Fixture {
    fixture_with(0).await
}

async fn fixture_with(requests_per_second: u32) -> Fixture {
    let keys = keys();
    let shell = Shell::builder(keys.verifier.clone()).body_limit(2_000).requests_per_second(requests_per_second).build();
    let (desk, gate) = (Arc::new(Desk::default()), Gate::open());
    let router = shell.mount_behind(routes(), desk.clone(), gate.clone());
    let server = serve(&shell, router).await;
    Fixture { keys, server, desk, gate, client: hearthline_runtime::client::build(|c| c).expect("a client"), shell }
}

impl Fixture {
    fn request(&self, method: Method, path: &str, role: Role) -> RequestBuilder {
        self.client.request(method, self.server.url(path)).bearer_auth(self.keys.token(role))
    }

    fn command(&self, path: &str, role: Role, key: &str) -> RequestBuilder {
        self.request(Method::POST, path, role).header("Idempotency-Key", key)
    }

    async fn open(&self, body: &str) -> Response {
        let request = self.command("/calls", Role::CareHome, "k1");
        let request = request.header("Content-Type", "application/json").body(body.to_owned());
        request.send().await.expect("answered")
    }
}

async fn refused(response: Response) -> (u16, String, Value) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.expect("a problem");
    assert_eq!(problem["status"], status);
    let code = problem["code"].as_str().expect("code").to_owned();
    assert_eq!(problem["type"], format!("urn:hearthline:problem:{code}"));
    (status, code, problem)
}

async fn code_of(request: RequestBuilder) -> (u16, String) {
    let (status, code, _) = refused(request.send().await.expect("answered")).await;
    (status, code)
}

fn call_of(home: HomeId) -> Value {
    json!({ "home": home.to_string(), "reason": "breathless" })
}

#[tokio::test]
async fn a_command_is_answered_with_its_receipt() {
    let fixture = fixture().await;
    let response = fixture.open(&call_of(HOME).to_string()).await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["etag"], "\"2\"");
    let receipt: Receipt = response.json().await.expect("receipt");
    assert_eq!((receipt.version, receipt.position), (2, 41));
}

#[tokio::test]
async fn without_a_token_nothing_but_public_routes_answers() {
    let fixture = fixture().await;
    let bare = fixture.client.post(fixture.server.url("/calls"));
    let response = bare.send().await.expect("answered");
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(refused(response).await.1, "token_missing");
    let notice = fixture.client.get(fixture.server.url("/notice")).send().await.expect("answered");
    assert_eq!(notice.text().await.expect("text"), "take care");
}

#[tokio::test]
async fn every_route_takes_exactly_the_roles_of_its_table() {
    let fixture = fixture().await;
    for row in access_table(&routes()) {
        if row.kind == Kind::Public || row.path == "/wait" {
            continue;
        }
        let role: Role = row.role.parse().expect("role");
        let path = row.path.replace("{call_id}", "09090909-0909-0909-0909-090909090909");
        let method: Method = row.method.parse().expect("method");
        let response = fixture.request(method, &path, role).send().await.expect("answered");
        assert_eq!(response.status() != 403, row.allowed, "{row:?}: {}", response.status());
    }
}

#[tokio::test]
async fn the_access_table_names_every_route_and_role() {
    let table: Vec<AccessRow> = access_table(&routes());
    assert_eq!(table.len(), routes().len() * Role::ALL.len());
    let may_open: BTreeSet<_> = table.iter().filter(|row| row.path == "/calls" && row.allowed).map(|row| row.role).collect();
    assert_eq!(may_open, BTreeSet::from(["care_home", "call_handler"]));
}

#[tokio::test]
async fn the_role_is_refused_before_the_body_is_read() {
    let fixture = fixture().await;
    // The body never ends: an answer proves that nobody waited for it.
    let token = fixture.keys.token(Role::Analyst);
    let head = format!("POST /calls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: k\r\nContent-Length: 100\r\n\r\n");
    let mut stream = tokio::net::TcpStream::connect(fixture.server.address).await.expect("connect");
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.expect("write");
    let mut answer = vec![0; 12];
    let reading = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer);
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("in time").expect("read");
    assert_eq!(&answer, b"HTTP/1.1 403");
}

#[tokio::test]
async fn a_home_names_itself_only_and_other_things_are_not_found() {
    let fixture = fixture().await;
    let (status, code, _) = refused(fixture.open(&call_of(HomeId::from_bytes([8; 16])).to_string()).await).await;
    assert_eq!((status, code.as_str()), (403, "home_not_own"));
    let nil = fixture.request(Method::GET, "/calls/00000000-0000-0000-0000-000000000000", Role::Clinician);
    assert_eq!(code_of(nil).await, (404, "not_found".to_owned()));
    let garbled = fixture.request(Method::GET, "/calls/xyz", Role::Clinician);
    assert_eq!(code_of(garbled).await, (404, "not_found".to_owned()));
}

#[tokio::test]
async fn commands_need_an_idempotency_key_of_visible_characters() {
    let fixture = fixture().await;
    let without = fixture.request(Method::POST, "/calls", Role::CareHome).json(&call_of(HOME));
    assert_eq!(code_of(without).await, (400, "idempotency_key_missing".to_owned()));
    for key in ["with space", "", &"k".repeat(201)] {
        let request = fixture.command("/calls", Role::CareHome, key).json(&call_of(HOME));
        assert_eq!(code_of(request).await, (400, "idempotency_key_malformed".to_owned()), "{key:?}");
    }
}

#[tokio::test]
async fn bodies_are_refused_precisely_and_never_quoted() {
    let fixture = fixture().await;
    for (body, status, code) in [
        ("{\"home\": Zyxwv}", 400, "json_malformed"),
        ("{\"home\":\"Zyxwv\",\"reason\":\"x\"}", 400, "field_invalid"),
        ("{\"reason\":\"Zyxwv\"}", 400, "field_missing"),
        ("{\"reason\":\"Zyxwv\",\"nmae\":1}", 400, "field_unknown"),
    ] {
        let (got, got_code, problem) = refused(fixture.open(body).await).await;
        assert_eq!((got, got_code.as_str()), (status, code));
        assert!(!problem.to_string().contains("Zyxwv"), "{problem}");
    }
    let plain = fixture.command("/calls", Role::CareHome, "k").body("home=1");
    assert_eq!(code_of(plain).await, (415, "media_type".to_owned()));
    let (status, code, _) = refused(fixture.open(&format!("{{\"reason\":\"{}\"}}", "x".repeat(3_000))).await).await;
    assert_eq!((status, code.as_str()), (413, "body_too_large"));
}

#[tokio::test]
async fn a_body_of_unknown_length_is_cut_at_the_limit() {
    let fixture = fixture().await;
    let token = fixture.keys.token(Role::CareHome);
    let chunk = format!("{:x}\r\n{}\r\n", 3_000, "x".repeat(3_000));
    let request = format!(
        "POST /calls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: k\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
    );
    let mut stream = tokio::net::TcpStream::connect(fixture.server.address).await.expect("connect");
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.expect("write");
    let mut answer = vec![0; 12];
    let reading = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer);
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("in time").expect("read");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn rules_versions_and_lag_have_their_own_answers() {
    let fixture = fixture().await;
    let (status, code, _) = refused(fixture.open(&json!({"home": HOME.to_string(), "reason": "fire"}).to_string()).await).await;
    assert_eq!((status, code.as_str()), (422, "home_not_live"));
    let close = |version: &str| {
        let path = "/calls/09090909-0909-0909-0909-090909090909/close";
        let request = fixture.command(path, Role::Clinician, "k2").json(&json!({}));
        request.header("If-Match", version.to_owned())
    };
    assert_eq!(code_of(close("\"2\"")).await, (412, "version_conflict".to_owned()));
    assert_eq!(code_of(close("two")).await, (400, "if_match_malformed".to_owned()));
    assert_eq!(close("\"3\"").send().await.expect("answered").status(), 200);
    assert_eq!(close("*").send().await.expect("answered").status(), 200);
    let late = fixture.command("/late", Role::Clinician, "k3").json(&json!({})).send().await.expect("answered");
    assert_eq!(late.headers()["retry-after"], "1");
    assert_eq!(refused(late).await.1, "not_here_yet");
}

#[tokio::test]
async fn the_same_command_twice_at_once_is_still_running_and_ends_without_its_caller() {
    let fixture = fixture().await;
    let send = || fixture.command("/wait", Role::Clinician, "same").json(&json!({})).send();
    let first = tokio::spawn(send());
    fixture.desk.entered.notified().await;
    let (status, code, _) = refused(send().await.expect("answered")).await;
    assert_eq!((status, code.as_str()), (409, "still_running"));
    // The caller hangs up; the command is still running and still ends.
    first.abort();
    let _ = first.await;
    let (status, _, _) = refused(send().await.expect("answered")).await;
    assert_eq!(status, 409);
    fixture.desk.release.add_permits(2);
    fixture.desk.finished.notified().await;
    fixture.shell.drain().await;
}

#[tokio::test]
async fn a_panic_is_a_500_without_its_message_and_frees_the_key() {
    let fixture = fixture().await;
    for _ in 0..2 {
        let request = fixture.command("/panic", Role::Clinician, "same").json(&json!({}));
        let (status, code, problem) = refused(request.send().await.expect("answered")).await;
        assert_eq!((status, code.as_str()), (500, "internal"));
        assert!(!problem.to_string().contains("Zyxwv"));
    }
}

#[tokio::test]
async fn reading_personal_data_needs_a_reason() {
    let fixture = fixture().await;
    let search = |path: &str| fixture.request(Method::POST, path, Role::Clinician).json(&call_of(HOME));
    assert_eq!(code_of(search("/residents/search")).await, (400, "reason_missing".to_owned()));
    let given = search("/residents/search").header("X-Access-Reason", "call 12").send().await.expect("answered");
    assert_eq!(given.text().await.expect("text"), "call 12");
    let in_query = search("/residents/search?reason=the%20call").send().await.expect("answered");
    assert_eq!(in_query.text().await.expect("text"), "the call");
}

#[tokio::test]
async fn unknown_addresses_methods_and_parameters_are_problems() {
    let fixture = fixture().await;
    let nowhere = fixture.request(Method::GET, "/nowhere", Role::Clinician);
    assert_eq!(code_of(nowhere).await, (404, "not_found".to_owned()));
    let wrong = fixture.request(Method::DELETE, "/calls", Role::Clinician).send().await.expect("answered");
    assert_eq!(wrong.headers()["allow"], "POST");
    assert_eq!(refused(wrong).await.1, "method_not_allowed");
    let path = "/calls/09090909-0909-0909-0909-090909090909?lmit=3";
    let parameter = fixture.request(Method::GET, path, Role::Clinician).send().await.expect("answered");
    let (status, code, problem) = refused(parameter).await;
    assert_eq!((status, code.as_str()), (400, "query_malformed"));
    assert_eq!(problem["errors"][0]["field"], "lmit");
}

#[tokio::test]
async fn one_caller_over_its_limit_waits_and_others_do_not() {
    let fixture = fixture_with(1).await;
    let path = "/calls/09090909-0909-0909-0909-090909090909";
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let response = fixture.request(Method::GET, path, Role::Clinician).send().await.expect("answered");
        statuses.push(response.status().as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    let other = fixture.request(Method::GET, path, Role::CallHandler).send().await.expect("answered");
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn a_closed_gate_pauses_commands_and_lets_queries_pass() {
    let fixture = fixture().await;
    fixture.gate.close("store and log have come apart");
    let (status, code, _) = refused(fixture.open(&call_of(HOME).to_string()).await).await;
    assert_eq!((status, code.as_str()), (503, "commands_paused"));
    let path = "/calls/09090909-0909-0909-0909-090909090909";
    let query = fixture.request(Method::GET, path, Role::Clinician).send().await.expect("answered");
    assert_eq!(query.status(), 200);
    fixture.gate.reopen();
    assert_eq!(fixture.open(&call_of(HOME).to_string()).await.status(), 201);
}

#[test]
fn the_documented_codes_are_the_codes_of_the_shell() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/error-codes.md");
    let text = std::fs::read_to_string(path).expect("docs/error-codes.md");
    for code in codes::CODES {
        let row = format!("| {} | `{}` | {} | {} |", code.status, code.code, code.title, code.remedy);
        assert!(text.contains(&row), "docs/error-codes.md lacks the row\n{row}");
    }
    let names: BTreeSet<_> = codes::CODES.iter().map(|code| code.code).collect();
    assert_eq!(names.len(), codes::CODES.len(), "a code is there twice");
}
