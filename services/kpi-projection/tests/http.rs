//! The figures over a real socket: who may read them, in which shapes, and what the page may do.

mod support;

use hearthline_contracts::outcome::AvoidanceKind;
use hearthline_kpi_projection::{self as kpi, Options};
use hearthline_nhs::{HomeId, OdsCode};
use hearthline_runtime::auth::{Grant, Issuer, Role, Verifier};
use hearthline_runtime::config::Coverage;
use hearthline_runtime::http::{self, Shell};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use support::{DAY, HOUR, MONDAY, Telling, connected, id, project};
use tokio_util::sync::{CancellationToken, DropGuard};

struct Served {
    address: String,
    issuer: Issuer,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
    _stop: DropGuard,
}

impl Served {
    fn token(&self, role: Role) -> String {
        let grant = Grant {
            subject: format!("somebody in the role {role}"),
            role,
            org: OdsCode::parse("VL001").expect("valid"),
            home: (role == Role::CareHome).then_some(HomeId::from_bytes([7; 16])),
            session: false,
        };
        self.issuer.token(&grant, SystemTime::now(), Duration::from_secs(600)).expect("a token")
    }

    async fn public(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.address)).send().await.expect("an answer")
    }

    async fn get(&self, role: Role, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.address));
        request.bearer_auth(self.token(role)).send().await.expect("an answer")
    }
}

/// One live home; a claim that held, and one whose resident came to the emergency department 40 hours later.
async fn served() -> Served {
    let folder = tempfile::tempdir().expect("a folder");
    let (_backend, connected) = connected(folder.path()).await;
    let mut telling = Telling::default();
    let home = id(b'H', 1);
    telling.home(home, "VL1AA", MONDAY - 30 * DAY);
    for n in [1, 2] {
        telling.resident(id(b'R', n), MONDAY - 40 * DAY);
        telling.call(id(b'C', n), home, id(b'R', n), true, MONDAY + HOUR);
        let claims = [(id(b'1', n), AvoidanceKind::Conveyance), (id(b'2', n), AvoidanceKind::EdAttendance)];
        telling.consultation(id(b'O', n), id(b'C', n), MONDAY + HOUR, &claims);
    }
    telling.visit(id(b'V', 1), Some(id(b'R', 2)), home, MONDAY + 42 * HOUR, false);
    project(connected.ports.store.as_ref(), telling.facts).await;

    let issuer = Issuer::open(folder.path(), "hearthline-test", "hearthline").expect("an issuer");
    let verifier = Arc::new(Verifier::new(issuer.verifier_options(5)).expect("a verifier"));
    let shell = Shell::builder(verifier).build();
    let options = Options {
        window_h: 72,
        feed_lag_h: 24,
        coverage: vec![Coverage {
            trust_ods: OdsCode::parse("RHM").expect("valid"),
            facilities: Vec::new(),
            homes: Vec::new(),
            postcode_areas: Vec::new(),
            from: "2026-01-01".parse().expect("a day"),
            until: None,
            arrival_mode: true,
        }],
    };
    let built = kpi::build(options, &connected.ports, &shell);
    let (listener, address) = http::bind(([127, 0, 0, 1], 0).into()).await.expect("bound");
    let stop = CancellationToken::new();
    tokio::spawn(http::serve(listener, shell.finish(built.router), stop.clone(), Duration::from_secs(5)));
    Served {
        address: format!("http://{address}"),
        issuer,
        client: hearthline_runtime::client::build(|c| c).expect("a client"),
        _folder: folder,
        _stop: stop.drop_guard(),
    }
}

const WEEK: &str = "from=2026-06-01&to=2026-06-08&as_of=2026-07-01T00:00:00Z";

async fn json(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.expect("a body")).expect("JSON")
}

fn measure<'v>(answer: &'v Value, id: &str) -> &'v Value {
    let measures = answer["measures"].as_array().expect("measures");
    measures.iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("no measure {id}"))
}

#[tokio::test]
async fn an_analyst_reads_figures_with_every_status_beside_the_declared() {
    let served = served().await;
    let response = served.get(Role::Analyst, &format!("/kpi?{WEEK}")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let answer = json(response).await;
    assert_eq!(answer["from"], "2026-06-01");
    assert_eq!(answer["to"], "2026-06-08");
    assert_eq!(answer["as_of"], "2026-07-01T00:00:00Z");
    assert_eq!(answer["weeks"][0], "2026-W23");
    assert_eq!(measure(&answer, "calls_total")["value"], 2);
    assert_eq!(measure(&answer, "calls_total")["by"]["telephone"], 2);
    let avoided = measure(&answer, "ed_attendances_avoided");
    for (word, n) in [("value", 2), ("declared", 2), ("sustained", 1), ("contradicted", 1), ("unverifiable", 0), ("pending", 0)] {
        assert_eq!(avoided[word], n, "{word}");
        assert_eq!(avoided["weeks"][0][word], n, "{word} in the week");
    }
    let ids: Vec<&str> = answer["contradicted"].as_array().expect("a list").iter().filter_map(|one| one["visit_id"].as_str()).collect();
    let visit = uuid::Uuid::from_bytes(id(b'V', 1)).to_string();
    assert_eq!(ids, [&visit, &visit]);
    assert_eq!(answer["contradicted"][0]["hours_after"], 40);
    assert_eq!(measure(&answer, "prescription_electronic_rate")["value"], Value::Null);
    assert_eq!(measure(&answer, "feed_coverage")["value"], 100.0);
}

#[tokio::test]
async fn only_analysts_and_operators_read_figures() {
    let served = served().await;
    for path in ["/kpi", "/kpi.csv", "/kpi/table"] {
        assert_eq!(served.public(path).await.status(), StatusCode::UNAUTHORIZED, "{path}");
        for role in Role::ALL {
            let expected = match role {
                Role::Analyst | Role::Operator => StatusCode::OK,
                _ => StatusCode::FORBIDDEN,
            };
            assert_eq!(served.get(role, path).await.status(), expected, "{role} {path}");
        }
    }
}

#[tokio::test]
async fn wrong_dates_are_a_problem_that_names_the_field() {
    let served = served().await;
    for (query, field) in
        [("from=yesterday", "from"), ("from=2026-06-08&to=2026-06-01", "to"), ("from=1990-01-01&to=2026-06-01", "to"), ("as_of=2026-06-01", "as_of")]
    {
        let response = served.get(Role::Analyst, &format!("/kpi?{query}")).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query}");
        let problem = json(response).await;
        assert_eq!(problem["errors"][0]["field"], field, "{query}");
    }
    assert_eq!(served.get(Role::Analyst, "/kpi?until=2026").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_csv_quotes_what_holds_a_comma_and_ends_lines_as_the_standard_says() {
    let served = served().await;
    let response = served.get(Role::Operator, &format!("/kpi.csv?{WEEK}")).await;
    assert_eq!(response.headers()["content-type"], "text/csv; charset=utf-8; header=present");
    assert!(response.headers()["content-disposition"].to_str().expect("text").contains("hearthline-2026-06-01-2026-06-08.csv"));
    let text = response.text().await.expect("text");
    assert!(text.starts_with("measure,title,period,from,to,breakdown,value,"));
    assert!(text.contains("\r\nconveyance_avoidance_sustained,\"Conveyances avoided, sustained\",total,"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let records: Vec<csv::StringRecord> = reader.records().map(|record| record.expect("a record")).collect();
    let value = |measure: &str, period: &str, breakdown: &str| {
        let found = records.iter().find(|one| &one[0] == measure && &one[2] == period && &one[5] == breakdown);
        found.unwrap_or_else(|| panic!("no {measure} {period} {breakdown}"))[6].to_owned()
    };
    assert_eq!(value("ed_attendances_avoided", "total", "contradicted"), "1");
    assert_eq!(value("ed_attendances_avoided", "2026-W23", "declared"), "2");
    assert_eq!(value("ed_avoidance_sustained", "total", "72 h"), "50.0");
    assert_eq!(value("prescription_electronic_rate", "total", ""), "");
}

#[tokio::test]
async fn the_table_shows_tiles_and_names_contradicting_visits() {
    let served = served().await;
    let response = served.get(Role::Analyst, &format!("/kpi/table?{WEEK}")).await;
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    let html = response.text().await.expect("text");
    for tile in ["calls_total", "ambulance_conveyances_avoided", "ed_attendances_avoided", "admissions_avoided"] {
        assert!(html.contains(&format!("id=\"tile-{tile}\"")), "{tile}");
    }
    assert!(html.contains(&uuid::Uuid::from_bytes(id(b'V', 1)).to_string()));
    assert!(!html.contains("style=") && !html.contains("<script"), "the policy of the page allows neither");
}

#[tokio::test]
async fn the_page_is_public_holds_no_figures_and_runs_only_its_own_files() {
    let served = served().await;
    for (path, media_type) in [("/", "text/html"), ("/kpi.css", "text/css"), ("/kpi.js", "text/javascript")] {
        let response = served.public(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert!(response.headers()["content-type"].to_str().expect("text").starts_with(media_type));
        let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        let body = response.text().await.expect("text");
        assert!(!body.contains("http://") && !body.contains("https://"), "{path} loads nothing from elsewhere");
    }
    let page = served.public("/").await.text().await.expect("text");
    assert!(page.contains("<html lang=\"en-GB\">") && !page.contains("class=\"tile\""));
}
