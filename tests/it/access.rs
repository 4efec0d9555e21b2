//! Who may do what: every route with every role over a real socket, against the table; and the table against `docs/access.md`.

use crate::running::{Answer, Running, SMALL};
use hearthline_runtime::auth::Role;
use hearthline_runtime::http::{AccessRow, Kind, Scope};
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;

/// A path that names nothing that exists.
fn filled(path: &str) -> String {
    let mut filled = String::new();
    for part in path.split('/').skip(1) {
        filled.push('/');
        match part {
            "{partition}" | "{offset}" => filled.push('0'),
            _ if part.starts_with('{') => filled.push_str("11111111-1111-4111-8111-111111111111"),
            _ => filled.push_str(part),
        }
    }
    filled
}

async fn ask(hub: &Running, row: &AccessRow, token: Option<&str>) -> Answer {
    let method: Method = row.method.parse().expect("a method");
    let mut request = hub.request(method.clone(), &filled(row.path)).header("x-access-reason", "a look at the doors");
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if method == Method::POST {
        request = request.header("idempotency-key", uuid::Uuid::new_v4().to_string()).json(&json!({}));
    }
    Answer::of(request).await
}

fn role(word: &str) -> Role {
    word.parse().expect("the table names roles")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_lets_in_the_roles_of_the_table_and_nobody_else() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let hub = Running::start(SMALL, folder.path(), true).await;
    assert!(hub.access.len() >= 50 * Role::ALL.len(), "the table has every service's routes");
    let tokens: BTreeMap<Role, String> = Role::ALL.into_iter().map(|role| (role, hub.token(role))).collect();
    for row in &hub.access {
        let what = format!("{} {} as {}", row.method, row.path, row.role);
        let answer = ask(&hub, row, tokens.get(&role(row.role)).map(String::as_str)).await;
        match (row.kind, row.allowed) {
            (Kind::Public, _) => assert_eq!(answer.status, 200, "{what}"),
            (Kind::Command | Kind::Query, false) => assert_eq!((answer.status, answer.code()), (403, "role_not_allowed"), "{what}: {}", answer.text),
            (Kind::Command | Kind::Query, true) => {
                assert!(!matches!(answer.status, 401 | 403 | 405), "{what}: {} {}", answer.status, answer.text);
                assert!(answer.status < 500 || answer.code() == "not_here_yet", "{what}: {} {}", answer.status, answer.text);
            }
        }
        if row.role == Role::ALL[0].as_str() {
            let stranger = ask(&hub, row, None).await;
            match row.kind {
                Kind::Public => assert_eq!(stranger.status, 200, "{what}"),
                Kind::Command | Kind::Query => assert_eq!((stranger.status, stranger.code()), (401, "token_missing"), "{what}: {}", stranger.text),
            }
        }
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_of_who_may_do_what_is_the_table() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let hub = Running::start(SMALL, folder.path(), false).await;
    let written = document(&hub.access);
    hub.stop().await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/access.md");
    if std::env::var_os("HEARTHLINE_BLESS").is_some() {
        std::fs::write(&file, &written).expect("written");
    }
    let committed = std::fs::read_to_string(&file).expect("docs/access.md is there");
    assert!(committed == written, "docs/access.md is not the table of the routes; HEARTHLINE_BLESS=1 writes it anew");
}

/// The table as a document: one line a route.
fn document(access: &[AccessRow]) -> String {
    let mut text = "# Who may do what\n\n\
        Every route of the HTTP interface with the roles that may use it. The guard before each handler, this page and the tests read the same\n\
        table. A role that is not named is answered 403 `role_not_allowed`; without a token the answer is 401 `token_missing`.\n\n\
        *Scope*: `own home` – a `care_home` reaches things of its own home only: another home's thing in the path is 404 as if it did not exist,\n\
        another home in a body is 403 `home_not_own`. *Reason*: personal data is read, so `X-Access-Reason` is needed and the read is\n\
        audited. Commands need an `Idempotency-Key`.\n\n\
        `/livez`, `/readyz` and `/metrics` need no token and hold nothing about anybody.\n\n\
        | | Route | Kind | Scope | Reason | Roles |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for rows in access.chunk_by(|a, b| (a.path, &a.method) == (b.path, &b.method)) {
        let route = &rows[0];
        let kind = match route.kind {
            Kind::Command => "command",
            Kind::Query => "query",
            Kind::Public => "public",
        };
        let scope = match route.scope {
            Scope::Any => "any",
            Scope::OwnOrganisation => "own organisation",
            Scope::OwnHome => "own home",
        };
        let roles: Vec<&str> = rows.iter().filter(|row| row.allowed).map(|row| row.role).collect();
        let roles = if route.kind == Kind::Public { "everybody, without a token".to_owned() } else { roles.join(", ") };
        let reason = if route.reads_personal { "needed" } else { "" };
        let _ = writeln!(text, "| {} | `{}` | {kind} | {scope} | {reason} | {roles} |", route.method, route.path);
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_sees_and_acts_for_itself_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let hub = Running::start(SMALL, folder.path(), true).await;
    let homes = hub.homes(&["VN100", "VN101"]).await;
    let person = json!({ "home_id": homes[0], "family_name": "Marsh", "given_names": "Edna", "date_of_birth": "1935-03-02", "moved_in_on": "2024-01-01" });
    let resident = hub.post(Role::Operator, "/residents", &person).await.stream();
    let opening = json!({ "home_id": homes[0], "channel": "video", "reason": "fall", "resident": { "resident_id": resident } });
    let token = |home: &str| hub.token_of(Role::CareHome, Some(home), SystemTime::now());
    let (own, other) = (token(&homes[0]), token(&homes[1]));
    let get = async |path: &str, token: &str| Answer::of(hub.request(Method::GET, path).bearer_auth(token).header("x-access-reason", "our resident")).await;
    let post = async |path: &str, token: &str, body: &serde_json::Value| {
        hearthline_tests::until("it is not asked to come again", async || {
            let key = uuid::Uuid::new_v4().to_string();
            let answer = Answer::of(hub.request(Method::POST, path).bearer_auth(token).header("idempotency-key", key).json(body)).await;
            (answer.status != 503).then_some(answer)
        })
        .await
    };

    let refused = post("/calls", &other, &opening).await;
    assert_eq!((refused.status, refused.code()), (403, "home_not_own"), "another home in a body");
    let call = post("/calls", &own, &opening).await.stream();

    // Each thing of the call, seen by its own home and by another.
    assert_eq!(get(&format!("/calls/{call}"), &own).await.status, 200);
    assert_eq!(get(&format!("/homes/{}", homes[0]), &own).await.status, 200);
    for path in [format!("/calls/{call}"), format!("/homes/{}", homes[0]), format!("/calls?home_id={}", homes[0])] {
        let hidden = get(&path, &other).await;
        assert_eq!((hidden.status, hidden.code()), (404, "not_found"), "{path}: {}", hidden.text);
    }
    let absent = get("/calls/11111111-1111-4111-8111-111111111111", &other).await;
    assert_eq!(absent.body["detail"], get(&format!("/calls/{call}"), &other).await.body["detail"], "what is hidden and what is absent answer alike");
    let observed = json!({ "respiratory_rate": 18 });
    for (path, body) in [
        ("observations", observed.clone()),
        ("counterfactual", json!({ "alternative": "999" })),
        ("consent", json!({ "basis": "given" })),
        ("resident", json!({ "family_name": "Marsh" })),
    ] {
        let hidden = post(&format!("/calls/{call}/{path}"), &other, &body).await;
        assert_eq!((hidden.status, hidden.code()), (404, "not_found"), "{path}: {}", hidden.text);
    }
    assert_eq!(post(&format!("/calls/{call}/observations"), &own, &observed).await.status, 200);

    let listed = async |token: &str| get("/calls", token).await.body["calls"].as_array().expect("calls").len();
    assert_eq!((listed(&own).await, listed(&other).await), (1, 0));
    let homes_seen = get("/homes", &other).await.body["homes"].clone();
    assert_eq!(homes_seen.as_array().expect("homes").len(), 1);
    assert_eq!(homes_seen[0]["id"], homes[1].as_str());

    // The share exists once the call is closed.
    let clinician = hub.token(Role::Clinician);
    let handler = hub.token(Role::CallHandler);
    assert_eq!(post(&format!("/calls/{call}/answer"), &handler, &json!({})).await.status, 200);
    assert_eq!(post(&format!("/calls/{call}/triage"), &handler, &json!({ "urgency": "routine" })).await.status, 200);
    let joined = post(&format!("/calls/{call}/join"), &clinician, &json!({ "clinician_role": "advanced_clinical_practitioner", "grade": "band_8" })).await;
    let decision = json!({ "call_id": call, "call_version": joined.body["version"], "disposition": "treated_at_home", "claims": [] });
    let decided = post("/consultations", &clinician, &decision).await;
    // What the decision set off has looked in vain by then.
    hub.settled().await;
    let closing = json!({ "consultation": { "stream": decided.stream(), "version": decided.body["version"] } });
    assert_eq!(post(&format!("/calls/{call}/close"), &clinician, &closing).await.status, 200);
    hub.settled().await;
    for path in [format!("/shares/{call}"), format!("/shares/{call}/document")] {
        let hidden = get(&path, &other).await;
        assert_eq!((hidden.status, hidden.code()), (404, "not_found"), "{path}: {}", hidden.text);
    }
    assert_eq!(get(&format!("/shares/{call}"), &own).await.status, 200);
    assert_eq!(get(&format!("/shares/{call}/document"), &own).await.status, 200);
    hub.stop().await;
}
