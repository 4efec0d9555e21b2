//! Looking into FHIR R4 resources as plain JSON, and answering in it.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

pub(crate) const FHIR_JSON: &str = "application/fhir+json";

/// A resource with the URL by which its bundle knows it.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) full_url: &'a str,
    pub(crate) resource: &'a Value,
}

/// The elements of `value[name]`; none when it is absent or no list.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The text at a JSON pointer.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// The bundle's entries of one resource type, in order.
pub(crate) fn entries<'a>(bundle: &'a Value, resource_type: &str) -> Vec<Entry<'a>> {
    list(bundle, "entry")
        .iter()
        .filter(|entry| text(entry, "/resource/resourceType") == Some(resource_type))
        .map(|entry| Entry { full_url: text(entry, "/fullUrl").unwrap_or_default(), resource: &entry["resource"] })
        .collect()
}

/// The extension whose URL ends in `/name`: older and newer EPS releases differ in what comes before.
pub(crate) fn extension<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    list(value, "extension").iter().find(|extension| text(extension, "/url").is_some_and(|url| url.rsplit('/').next() == Some(name)))
}

/// The value of the identifier of `system` in a list of identifiers.
pub(crate) fn identifier<'a>(resource: &'a Value, system: &str) -> Option<&'a str> {
    list(resource, "identifier").iter().find(|identifier| text(identifier, "/system") == Some(system)).and_then(|identifier| text(identifier, "/value"))
}

/// Whether the text has the shape of a UUID.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(at, char)| match at {
            8 | 13 | 18 | 23 => char == '-',
            _ => char.is_ascii_hexdigit(),
        })
}

/// Whether the body is declared as FHIR JSON, plain JSON or nothing at all.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_none_or(|declared| {
        declared.to_str().is_ok_and(|declared| {
            let media = declared.split(';').next().unwrap_or_default().trim();
            media.eq_ignore_ascii_case(FHIR_JSON) || media.eq_ignore_ascii_case("application/json")
        })
    })
}

/// A resource as a response.
pub(crate) fn fhir(status: StatusCode, resource: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, FHIR_JSON)], resource.to_string()).into_response()
}

/// An `OperationOutcome` with a single error of a FHIR issue type.
pub(crate) fn outcome(status: StatusCode, issue_type: &str, diagnostics: &str) -> Response {
    fhir(
        status,
        &json!({
            "resourceType": "OperationOutcome",
            "issue": [{ "severity": "error", "code": issue_type, "diagnostics": diagnostics }],
        }),
    )
}
