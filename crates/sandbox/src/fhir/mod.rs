//! A shared care record that takes documents over FHIR R4 (4.0.1).
//!
//! 1. `POST /` a transaction bundle, all or nothing, with `ifNoneExist` per entry (IHE MHD ITI-65 sends such).
//! 2. `POST /{type}`, and `POST /Bundle` for a FHIR document; `If-None-Exist: identifier=system|value` makes it
//!    conditional: nothing there 201, one there 200 and nothing written, several 412.
//! 3. `PUT /{type}/{id}` with `If-Match`, or `PUT /{type}?identifier=…`.
//! 4. `GET /{type}?identifier=system|value` and `GET /{type}/{id}`.
//!
//! Without a condition it creates as often as it is asked to: a sender that repeats itself shows. What a new
//! document names by `relatesTo` `replaces` is marked superseded.
//!
//! Operations for faults: `transaction`, `create`, `update`, `search`, `read`; a fault that names none waits
//! for one of the first three, so that a sender's look before a repeat does not use it up.
//!
//! Control: `GET /_sandbox/documents[?identifier=system|value]`, `/_sandbox/resources`, `/_sandbox/counts`,
//! `/_sandbox/faults`.

mod store;
mod transaction;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::control;
use crate::fault::Faults;
use crate::http::{HangUp, HttpServer, StartError, perform};
use crate::json::{fhir, is_json, outcome, text};
use crate::kept::Kept;
use store::{Match, Store, Token};

pub use store::{Counts, Identifier, Stored};

/// How the record behaves from the start.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What is to go wrong first.
    pub faults: Faults,
}

/// The server; see the module.
#[derive(Debug)]
pub struct SharedRecord;

impl SharedRecord {
    /// Listens on `addr`, a loopback address; port 0 takes any free one.
    ///
    /// # Errors
    /// [`StartError`] when the address is not loopback or taken.
    pub async fn start(addr: SocketAddr, options: Options) -> Result<Handle, StartError> {
        let record = Record { store: Kept::default(), faults: options.faults };
        let router = Router::new()
            .route("/", post(transaction))
            .route("/{resource_type}", post(create).put(update_found).get(search))
            .route("/{resource_type}/{id}", get(read).put(update))
            .route("/_sandbox/documents", get(documents))
            .route("/_sandbox/resources", get(resources))
            .route("/_sandbox/counts", get(counts))
            .with_state(record.clone())
            .merge(control::faults(record.faults.clone()));
        Ok(Handle { server: HttpServer::start(addr, router).await?, record })
    }
}

/// A running record. Dropping it stops it.
#[derive(Debug)]
pub struct Handle {
    server: HttpServer,
    record: Record,
}

impl Handle {
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The FHIR base URL, without a trailing slash.
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn faults(&self) -> &Faults {
        &self.record.faults
    }

    /// Every document bundle and DocumentReference, in order of creation, superseded ones included.
    pub fn documents(&self) -> Vec<Stored> {
        self.record.documents(None)
    }

    /// The documents found by an identifier, `system|value` or the value alone.
    pub fn documents_by(&self, identifier: &str) -> Vec<Stored> {
        self.record.documents(Some(identifier))
    }

    /// How often a document of this identifier was created: 1 is what a careful sender achieves.
    pub fn times_created(&self, identifier: &str) -> usize {
        self.documents_by(identifier).len()
    }

    /// Every resource held, in order of creation.
    pub fn resources(&self) -> Vec<Stored> {
        self.record.store.read(|store| store.all().to_vec())
    }

    pub fn counts(&self) -> Counts {
        self.record.store.read(Store::counts)
    }

    /// Waits until `enough` holds of the counts; false when `deadline` passes first.
    pub async fn wait_until(&self, deadline: Duration, enough: impl Fn(&Counts) -> bool) -> bool {
        self.record.store.wait_until(deadline, |store| enough(&store.counts())).await
    }

    /// Frees the port; what was held is gone with the handle.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

#[derive(Debug, Clone)]
struct Record {
    store: Kept<Store>,
    faults: Faults,
}

impl Record {
    fn documents(&self, identifier: Option<&str>) -> Vec<Stored> {
        let token = identifier.map(Token::parse);
        self.store.read(|store| match token {
            Some(token) => ["Bundle", "DocumentReference"].into_iter().flat_map(|kind| store.search(kind, &token)).map(|at| store.get(at).clone()).collect(),
            None => store.all().iter().filter(|stored| matches!(stored.resource_type.as_str(), "Bundle" | "DocumentReference")).cloned().collect(),
        })
    }
}

/// Why a request is not carried out. Free of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Invalid(&'static str),
    Ambiguous,
    VersionConflict,
    NotFound,
}

impl Refused {
    fn invalid(rule: &'static str) -> Self {
        Self::Invalid(rule)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Invalid(rule) => outcome(StatusCode::BAD_REQUEST, "invalid", rule),
            Self::Ambiguous => outcome(StatusCode::PRECONDITION_FAILED, "multiple-matches", "the condition fits several resources"),
            Self::VersionConflict => outcome(StatusCode::PRECONDITION_FAILED, "conflict", "the resource has another version"),
            Self::NotFound => outcome(StatusCode::NOT_FOUND, "not-found", "no such resource"),
        }
    }
}

async fn transaction(State(record): State<Record>, ConnectInfo(line): ConnectInfo<HangUp>, headers: HeaderMap, body: Bytes) -> Response {
    respond(&record, &line, "transaction", || {
        let bundle = resource(&headers, &body, "Bundle")?;
        if text(&bundle, "/type") != Some("transaction") {
            return Err(Refused::invalid("only a Bundle of type transaction is posted to the base"));
        }
        let answer = record.store.change(|store| transaction::transact(store, &bundle))?;
        Ok(fhir(StatusCode::OK, &answer))
    })
    .await
}

async fn create(State(record): State<Record>, ConnectInfo(line): ConnectInfo<HangUp>, Path(kind): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    respond(&record, &line, "create", || {
        let new = resource(&headers, &body, &kind)?;
        if kind == "Bundle" {
            check_document(&new)?;
        }
        let condition = match headers.get("if-none-exist") {
            Some(query) => {
                let query = query.to_str().map_err(|_| Refused::invalid("If-None-Exist is not readable"))?;
                Some(condition(query)?)
            }
            None => None,
        };
        record.store.change(|store| {
            let found = condition.map_or(Match::None, |token| store.matching(&kind, &token));
            match found {
                Match::None => {
                    let id = store.new_id();
                    let at = store.create(&kind, id, new);
                    Ok(stored(StatusCode::CREATED, store.get(at)))
                }
                Match::One(at) => {
                    store.submitted_again(at);
                    Ok(stored(StatusCode::OK, store.get(at)))
                }
                Match::Several => Err(Refused::Ambiguous),
            }
        })
    })
    .await
}

async fn update(
    State(record): State<Record>,
    ConnectInfo(line): ConnectInfo<HangUp>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    respond(&record, &line, "update", || {
        let new = resource(&headers, &body, &kind)?;
        record.store.change(|store| {
            let at = store.by_id(&kind, &id).ok_or(Refused::NotFound)?;
            put(store, at, &headers, new)
        })
    })
    .await
}

async fn update_found(
    State(record): State<Record>,
    ConnectInfo(line): ConnectInfo<HangUp>,
    Path(kind): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    respond(&record, &line, "update", || {
        let new = resource(&headers, &body, &kind)?;
        let token = condition(uri.query().unwrap_or_default())?;
        record.store.change(|store| match store.matching(&kind, &token) {
            Match::One(at) => put(store, at, &headers, new),
            Match::None => {
                let id = store.new_id();
                let at = store.create(&kind, id, new);
                Ok(stored(StatusCode::CREATED, store.get(at)))
            }
            Match::Several => Err(Refused::Ambiguous),
        })
    })
    .await
}

fn put(store: &mut Store, at: usize, headers: &HeaderMap, new: Value) -> Result<Response, Refused> {
    let current = format!("W/\"{}\"", store.get(at).version);
    if headers.get(header::IF_MATCH).is_some_and(|wanted| wanted.as_bytes() != current.as_bytes()) {
        return Err(Refused::VersionConflict);
    }
    store.update(at, new);
    Ok(stored(StatusCode::OK, store.get(at)))
}

async fn search(State(record): State<Record>, ConnectInfo(line): ConnectInfo<HangUp>, Path(kind): Path<String>, uri: Uri) -> Response {
    respond(&record, &line, "search", || {
        let token = condition(uri.query().unwrap_or_default())?;
        let entry: Vec<Value> = record.store.read(|store| {
            let found = store.search(&kind, &token).map(|at| store.get(at));
            found
                .map(|stored| {
                    json!({
                        "fullUrl": stored.reference(),
                        "resource": stored.resource,
                        "search": { "mode": "match" },
                    })
                })
                .collect()
        });
        let bundle = json!({ "resourceType": "Bundle", "type": "searchset", "total": entry.len(), "entry": entry });
        Ok(fhir(StatusCode::OK, &bundle))
    })
    .await
}

async fn read(State(record): State<Record>, ConnectInfo(line): ConnectInfo<HangUp>, Path((kind, id)): Path<(String, String)>) -> Response {
    respond(&record, &line, "read", || {
        record.store.read(|store| {
            let at = store.by_id(&kind, &id).ok_or(Refused::NotFound)?;
            Ok(stored(StatusCode::OK, store.get(at)))
        })
    })
    .await
}

/// Runs `act` under the fault that waits for `operation`. A scripted `refuse` is answered 422 with its code.
async fn respond(record: &Record, line: &HangUp, operation: &str, act: impl FnOnce() -> Result<Response, Refused>) -> Response {
    let fault = match operation {
        "search" | "read" => record.faults.take_named(operation),
        _ => record.faults.take(operation),
    };
    perform(fault, line, |code| match code {
        Some(code) => outcome(StatusCode::UNPROCESSABLE_ENTITY, code, "refused as scripted"),
        None => act().unwrap_or_else(Refused::into_response),
    })
    .await
}

fn resource(headers: &HeaderMap, body: &[u8], kind: &str) -> Result<Value, Refused> {
    if !is_json(headers) {
        return Err(Refused::invalid("the body must be application/fhir+json"));
    }
    let resource: Value = serde_json::from_slice(body).map_err(|_| Refused::invalid("the body is not JSON"))?;
    if text(&resource, "/resourceType") != Some(kind) {
        return Err(Refused::invalid("the resource is of another type than the address"));
    }
    Ok(resource)
}

/// What makes a bundle a FHIR document (FHIR R4, documents.html).
fn check_document(bundle: &Value) -> Result<(), Refused> {
    if text(bundle, "/type") != Some("document") {
        return Err(Refused::invalid("only a Bundle of type document is kept as such"));
    }
    if text(bundle, "/identifier/system").is_none() || text(bundle, "/identifier/value").is_none() {
        return Err(Refused::invalid("a document needs an identifier with system and value"));
    }
    if text(bundle, "/timestamp").is_none() {
        return Err(Refused::invalid("a document needs a timestamp"));
    }
    if text(bundle, "/entry/0/resource/resourceType") != Some("Composition") {
        return Err(Refused::invalid("a document's first entry must be its Composition"));
    }
    Ok(())
}

/// Reads `identifier=…`, percent-encoded or not, out of a search query; a leading `?` does no harm.
fn condition(query: &str) -> Result<Token, Refused> {
    let unreadable = |_| Refused::invalid("the search query is not readable");
    let uri: Uri = format!("/?{}", query.trim_start_matches('?')).parse().map_err(|_| Refused::invalid("the search query is not readable"))?;
    let Query(parameters) = Query::<BTreeMap<String, String>>::try_from_uri(&uri).map_err(unreadable)?;
    match parameters.get("identifier") {
        Some(identifier) if parameters.len() == 1 && !identifier.is_empty() => Ok(Token::parse(identifier)),
        _ => Err(Refused::invalid("only a search by identifier is understood here")),
    }
}

fn stored(status: StatusCode, stored: &Stored) -> Response {
    let place = [(header::LOCATION, format!("/{}/_history/{}", stored.reference(), stored.version)), (header::ETAG, format!("W/\"{}\"", stored.version))];
    (place, fhir(status, &stored.resource)).into_response()
}

async fn documents(State(record): State<Record>, Query(parameters): Query<BTreeMap<String, String>>) -> Json<Vec<Stored>> {
    Json(record.documents(parameters.get("identifier").map(String::as_str)))
}

async fn resources(State(record): State<Record>) -> Json<Vec<Stored>> {
    Json(record.store.read(|store| store.all().to_vec()))
}

async fn counts(State(record): State<Record>) -> Json<Counts> {
    Json(record.store.read(Store::counts))
}
