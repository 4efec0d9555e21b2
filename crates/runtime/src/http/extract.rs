//! What a handler can ask for. All of these refuse with a [`Problem`]. Those that read the body ([`Command`],
//! [`CommandBytes`], [`Search`]) come last in a handler's arguments.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::codes;
use super::json;
use super::problem::{Problem, internal, not_found, version_conflict};
use crate::auth::Caller;

/// A body must have arrived within this time.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// The `Idempotency-Key` of a command and the digest under which it is claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key as sent: 1 to 200 visible ASCII characters.
    pub key: String,
    /// SHA-256 over method, path, caller and key: what the store claims.
    pub digest: [u8; 32],
}

impl IdempotencyKey {
    /// Reads the header and binds it to method, path and caller.
    pub(super) fn read(headers: &HeaderMap, method: &str, path: &str, caller: &Caller) -> Result<Self, Problem> {
        let value = headers.get("idempotency-key").ok_or_else(|| Problem::of(codes::IDEMPOTENCY_KEY_MISSING))?;
        let key = value
            .to_str()
            .ok()
            .filter(|key| (1..=200).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()))
            .ok_or_else(|| Problem::of(codes::IDEMPOTENCY_KEY_MALFORMED))?;
        let mut hash = Sha256::new();
        for part in [method.as_bytes(), path.as_bytes(), &caller.subject, key.as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Ok(Self { key: key.to_owned(), digest: hash.finalize().into() })
    }
}

/// What the guard found, left for the extractors.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    pub(super) caller: Option<Caller>,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) reason: Option<Reason>,
    pub(super) body_limit_bytes: usize,
}

/// A command: the parsed JSON body with all that its claim needs. `T` should deny unknown fields. `occurred_at` and
/// other rules are the service's.
#[derive(Debug, Clone)]
pub struct Command<T> {
    /// Who.
    pub caller: Caller,
    /// Under which key.
    pub key: IdempotencyKey,
    /// SHA-256 of the body as sent: the same key with another digest is refused (422 `key_reused`).
    pub body_digest: [u8; 32],
    /// What.
    pub body: T,
}

/// A command whose body is not JSON (a register as CSV).
#[derive(Debug, Clone)]
pub struct CommandBytes {
    /// Who.
    pub caller: Caller,
    /// Under which key.
    pub key: IdempotencyKey,
    /// SHA-256 of the body.
    pub body_digest: [u8; 32],
    /// The media type, in lower case and without parameters; empty where none was sent.
    pub media_type: String,
    /// The body.
    pub body: Bytes,
}

/// A JSON body of a [`Kind::Query`](super::Kind::Query) route made by [`Route::search`](super::Route::search).
#[derive(Debug, Clone)]
pub struct Search<T>(pub T);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        admitted(parts)?.caller.clone().ok_or_else(not_mounted)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        admitted(parts)?.key.clone().ok_or_else(not_mounted)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Command<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let command = CommandBytes::from_request(request, state).await?;
        must_be_json(&command.media_type, &command.body)?;
        Ok(Self { body: json::parse(&command.body)?, caller: command.caller, key: command.key, body_digest: command.body_digest })
    }
}

impl<S: Send + Sync> FromRequest<S> for CommandBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let found = admitted(&parts)?;
        let (caller, key) = found.caller.clone().zip(found.key.clone()).ok_or_else(not_mounted)?;
        let body = read_body(body, found.body_limit_bytes).await?;
        Ok(Self { caller, key, body_digest: Sha256::digest(&body).into(), media_type: media_type(&parts.headers), body })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Search<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let limit = admitted(&parts)?.body_limit_bytes;
        let body = read_body(body, limit).await?;
        must_be_json(&media_type(&parts.headers), &body)?;
        json::parse(&body).map(Self)
    }
}

/// The version that `If-Match` names; `None` without the header or with `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IfMatch(pub Option<u64>);

impl IfMatch {
    /// 412 where the header names another version than the current one.
    pub fn check(self, current: u64) -> Result<(), Problem> {
        match self.0 {
            Some(seen) if seen != current => Err(version_conflict(current)),
            Some(_) | None => Ok(()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let version = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).and_then(|digits| digits.parse().ok());
        version.map(|version| Self(Some(version))).ok_or_else(|| Problem::of(codes::IF_MATCH_MALFORMED))
    }
}

/// Why personal data is read, for the audit row. Present on every route that reads personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(pub String);

impl Reason {
    /// The header `X-Access-Reason`, else the parameter `reason`: 3 to 200 characters.
    pub(super) fn read(headers: &HeaderMap, query: Option<&str>) -> Result<Self, Problem> {
        let from_header = headers.get("x-access-reason").and_then(|value| value.to_str().ok());
        let text = match from_header {
            Some(text) => text.to_owned(),
            None => reason_of_query(query).unwrap_or_default(),
        };
        let text = text.trim();
        let fits = (3..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        fits.then(|| Self(text.to_owned())).ok_or_else(|| Problem::of(codes::REASON_MISSING))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Reason {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        admitted(parts)?.reason.clone().ok_or_else(not_mounted)
    }
}

/// Path parameters. What cannot be parsed names nothing that exists: 404.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathOf<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(value) = Path::<T>::from_request_parts(parts, state).await.map_err(|_| not_found())?;
        Ok(Self(value))
    }
}

/// Query parameters. `T` should deny unknown fields. `reason` is read by the shell and should be a field of `T`, or
/// travel in the header, where unknown fields are denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryOf<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(query_problem(&rejection.body_text())),
        }
    }
}

/// The answer to a command: where the fact stands. A client that hands `version` back in `If-Match` or in a later
/// command is not overtaken by lag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The stream's id.
    pub stream: uuid::Uuid,
    /// The stream's version after the command.
    pub version: u64,
    /// The service's position after the command.
    pub position: u64,
}

impl Receipt {
    /// 201 with `Location`, `ETag` and this body.
    pub fn created(self, location: &str) -> Response {
        let mut response = self.with_status(StatusCode::CREATED);
        if let Ok(value) = HeaderValue::from_str(location) {
            response.headers_mut().insert(header::LOCATION, value);
        }
        response
    }

    /// The given status with `ETag` and this body.
    pub fn with_status(self, status: StatusCode) -> Response {
        let etag = HeaderValue::from_str(&format!("\"{}\"", self.version));
        let mut response = (status, axum::Json(self)).into_response();
        if let Ok(etag) = etag {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }
}

impl IntoResponse for Receipt {
    fn into_response(self) -> Response {
        self.with_status(StatusCode::OK)
    }
}

fn admitted(parts: &Parts) -> Result<&Admitted, Problem> {
    parts.extensions.get::<Admitted>().ok_or_else(not_mounted)
}

/// A handler asks for what its route does not provide (a `Command` on a query). The access tests would have met it.
fn not_mounted() -> Problem {
    tracing::error!("a handler asks for something that its route does not provide");
    internal()
}

async fn read_body(body: Body, limit_bytes: usize) -> Result<Bytes, Problem> {
    let collected = tokio::time::timeout(BODY_DEADLINE, Limited::new(body, limit_bytes).collect()).await.map_err(|_| Problem::of(codes::BODY_TIMEOUT))?;
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(limit_bytes)),
        Err(_) => Err(Problem::of(codes::BODY_UNREADABLE)),
    }
}

pub(super) fn too_large(limit_bytes: usize) -> Problem {
    Problem::of(codes::BODY_TOO_LARGE).detail(format!("the limit is {limit_bytes} bytes"))
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

fn must_be_json(media_type: &str, body: &[u8]) -> Result<(), Problem> {
    if body.is_empty() || media_type == "application/json" {
        return Ok(());
    }
    Err(Problem::of(codes::MEDIA_TYPE).detail("send Content-Type: application/json"))
}

fn reason_of_query(query: Option<&str>) -> Option<String> {
    #[derive(Deserialize)]
    struct WithReason {
        reason: Option<String>,
    }
    let address: axum::http::Uri = format!("/?{}", query?).parse().ok()?;
    let Query(found) = Query::<WithReason>::try_from_uri(&address).ok()?;
    found.reason
}

/// axum's text is serde's message behind a fixed front; only names that are ours or the parameter's go out.
fn query_problem(text: &str) -> Problem {
    let name_after = |marker: &str| {
        let (_, rest) = text.split_once(marker)?;
        let (name, _) = rest.split_once('`')?;
        Some(name.chars().take(64).filter(|c| !c.is_control()).collect::<String>())
    };
    if let Some(name) = name_after("missing field `") {
        return Problem::of(codes::QUERY_MALFORMED).detail(format!("the parameter {name} is missing")).field(name, "is needed");
    }
    if let Some(name) = name_after("unknown field `") {
        return Problem::of(codes::QUERY_MALFORMED).detail(format!("{name} is not a parameter of this query")).field(name, "not a parameter of this query");
    }
    Problem::of(codes::QUERY_MALFORMED)
}
