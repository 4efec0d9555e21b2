//! A FHIR transaction: all of its entries, or none (FHIR R4, http.html#transaction).
//!
//! First every entry is resolved against the store and what cannot be done is refused; only then is anything
//! written, and nothing after that can fail.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::store::{Match, Store};
use super::{Refused, condition};
use crate::json::{list, text};

enum Step<'a> {
    Create { resource_type: &'a str, id: String, resource: &'a Value },
    Matched { at: usize },
    Update { at: usize, resource: &'a Value },
}

/// Carries the bundle out and returns the `transaction-response`.
pub(super) fn transact(store: &mut Store, bundle: &Value) -> Result<Value, Refused> {
    let mut steps = Vec::new();
    let mut references = BTreeMap::new();
    for entry in list(bundle, "entry") {
        let step = resolve(store, entry)?;
        if let Some(full_url) = text(entry, "/fullUrl") {
            let reference = match &step {
                Step::Create { resource_type, id, .. } => format!("{resource_type}/{id}"),
                Step::Matched { at } | Step::Update { at, .. } => store.get(*at).reference(),
            };
            references.insert(full_url.to_owned(), reference);
        }
        steps.push(step);
    }
    let entries: Vec<Value> = steps.into_iter().map(|step| carry_out(store, step, &references)).collect();
    Ok(json!({ "resourceType": "Bundle", "type": "transaction-response", "entry": entries }))
}

fn resolve<'a>(store: &mut Store, entry: &'a Value) -> Result<Step<'a>, Refused> {
    let resource = &entry["resource"];
    let resource_type = text(resource, "/resourceType").ok_or(Refused::invalid("an entry has no resource"))?;
    let url = text(entry, "/request/url").unwrap_or_default();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    match text(entry, "/request/method") {
        Some("POST") if path == resource_type => {
            let found = match text(entry, "/request/ifNoneExist") {
                Some(query) => store.matching(resource_type, &condition(query)?),
                None => Match::None,
            };
            match found {
                Match::None => Ok(Step::Create { resource_type, id: store.new_id(), resource }),
                Match::One(at) => Ok(Step::Matched { at }),
                Match::Several => Err(Refused::Ambiguous),
            }
        }
        Some("PUT") => {
            let found = match path.split_once('/') {
                Some((kind, id)) if kind == resource_type => store.by_id(kind, id).map_or(Match::None, Match::One),
                None if path == resource_type => store.matching(path, &condition(query)?),
                _ => return Err(Refused::invalid("request.url does not fit the resource")),
            };
            match found {
                Match::One(at) => Ok(Step::Update { at, resource }),
                Match::None => Ok(Step::Create { resource_type, id: store.new_id(), resource }),
                Match::Several => Err(Refused::Ambiguous),
            }
        }
        _ => Err(Refused::invalid("an entry is neither a POST to its type nor a PUT")),
    }
}

fn carry_out(store: &mut Store, step: Step<'_>, references: &BTreeMap<String, String>) -> Value {
    let (at, status) = match step {
        Step::Create { resource_type, id, resource } => (store.create(resource_type, id, resolved(resource, references)), StatusCode::CREATED),
        Step::Matched { at } => {
            store.submitted_again(at);
            (at, StatusCode::OK)
        }
        Step::Update { at, resource } => {
            store.update(at, resolved(resource, references));
            (at, StatusCode::OK)
        }
    };
    let stored = store.get(at);
    json!({ "response": {
        "status": status.to_string(),
        "location": format!("{}/_history/{}", stored.reference(), stored.version),
        "etag": format!("W/\"{}\"", stored.version),
    } })
}

/// The resource with every mention of a `fullUrl` (references and attachment URLs) replaced by what it became.
fn resolved(value: &Value, references: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => json!(references.get(text).unwrap_or(text)),
        Value::Array(elements) => elements.iter().map(|element| resolved(element, references)).collect(),
        Value::Object(members) => members.iter().map(|(name, member)| (name.clone(), resolved(member, references))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}
