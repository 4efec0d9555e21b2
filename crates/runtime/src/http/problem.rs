//! RFC 9457 problem details: the one shape in which a request is refused.
//!
//! A problem never repeats what the caller sent except the *names* of fields, and never says whether something that
//! belongs to another organisation exists.

use std::borrow::Cow;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::codes::{self, Code};
use crate::trace;

/// One field that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where in the body, as a path (`observations.0.value`); empty for the whole body.
    pub field: String,
    /// What is allowed there. Never the value that was sent.
    pub detail: String,
}

/// A refusal in the words of RFC 9457, with a stable `code` to match on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Members>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Members {
    #[serde(rename = "type")]
    kind: String,
    title: Cow<'static, str>,
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    code: Cow<'static, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip)]
    headers: Vec<(HeaderName, String)>,
}

impl Problem {
    /// A problem of the shell's own table, without detail.
    pub fn of(code: Code) -> Self {
        Self(Box::new(Members {
            kind: kind_of(code.code),
            title: Cow::Borrowed(code.title),
            status: code.status,
            detail: String::new(),
            instance: trace::current_trace_id().map(|id| format!("urn:hearthline:trace:{id}")),
            code: Cow::Borrowed(code.code),
            errors: Vec::new(),
            headers: Vec::new(),
        }))
    }

    /// Adds what is particular to this occurrence. Must hold no personal data.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// Adds one field that could not be taken.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, detail: impl Into<String>) -> Self {
        self.0.errors.push(FieldError { field: field.into(), detail: detail.into() });
        self
    }

    /// Says when to try again, in seconds (`Retry-After`).
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.headers.push((header::RETRY_AFTER, seconds.to_string()));
        self
    }

    /// Adds a header to the answer. A value that is no header value is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The fields that could not be taken.
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }
}

/// 422: the rule named by `code` refuses. `code` is a service's own stable word (`already_signed`).
pub fn rejected(code: &'static str, detail: impl Into<String>) -> Problem {
    let base = Code { code, status: 422, title: "A rule refuses this", remedy: "" };
    Problem::of(base).detail(detail)
}

/// 400: a field whose value cannot be taken; for values that parse as JSON but not as what they should be.
pub fn invalid_field(field: impl Into<String>, allowed: impl Into<String>) -> Problem {
    let (field, allowed) = (field.into(), allowed.into());
    Problem::of(codes::FIELD_INVALID).detail(format!("{field}: {allowed}")).field(field, allowed)
}

/// 404, alike for what does not exist and for what belongs to somebody else.
pub fn not_found() -> Problem {
    Problem::of(codes::NOT_FOUND)
}

/// 503 with `Retry-After: 1`: a fact that the request names has not arrived here yet.
pub fn not_here_yet() -> Problem {
    Problem::of(codes::NOT_HERE_YET).retry_after(1)
}

/// 412: the version that the caller saw is no longer the current one.
pub fn version_conflict(current: u64) -> Problem {
    Problem::of(codes::VERSION_CONFLICT).detail(format!("the current version is {current}")).header(header::ETAG, format!("\"{current}\""))
}

/// 422: the same `Idempotency-Key` with another body.
pub fn key_reused() -> Problem {
    Problem::of(codes::KEY_REUSED)
}

/// 503 with `Retry-After: 1`: the answer to COMMIT was lost.
pub fn outcome_unknown() -> Problem {
    Problem::of(codes::OUTCOME_UNKNOWN).retry_after(1)
}

/// 503 with `Retry-After`: a dependency is away. `what` names it for an operator.
pub fn unavailable(what: impl Into<String>, retry_after_s: u64) -> Problem {
    Problem::of(codes::UNAVAILABLE).detail(what).retry_after(retry_after_s)
}

/// 500. The cause is logged where it is handled, by the caller of this; it never goes to the client.
pub fn internal() -> Problem {
    Problem::of(codes::INTERNAL)
}

fn kind_of(code: &str) -> String {
    format!("urn:hearthline:problem:{code}")
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        // A problem holds only strings and numbers; serialising it cannot fail.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.0.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name.clone(), value);
            }
        }
        response.extensions_mut().insert(ProblemCode(self.0.code));
        response
    }
}

/// The code of the problem that a response carries, for the shell's metrics and span.
#[derive(Debug, Clone)]
pub(crate) struct ProblemCode(pub(crate) Cow<'static, str>);
