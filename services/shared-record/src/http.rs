//! Sharing over HTTP: where a call's documents stand, and what they say.

use crate::composing::{self, share_of};
use crate::reference;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hearthline_eventing::{Kernel, NotNow, Unit, now_us};
use hearthline_nhs::Personal;
use hearthline_runtime::auth::{Caller, Role};
use hearthline_runtime::http::{PathOf, Problem, Reason, Route, Scope, internal, not_found, rejected};
use hearthline_runtime::service::audit;
use jiff::Timestamp;
use uuid::Uuid;

/// What the handlers work with.
#[derive(Clone)]
pub struct Desk {
    pub(crate) kernel: Kernel,
}

const READERS: &[Role] = &[Role::CareHome, Role::CallHandler, Role::Clinician, Role::Prescriber, Role::Operator];
const DOCUMENT_READERS: &[Role] = &[Role::CareHome, Role::CallHandler, Role::Clinician, Role::Prescriber];
const TASK_READERS: &[Role] = &[Role::CallHandler, Role::Clinician, Role::Prescriber, Role::Operator];

/// Every route of sharing.
pub fn routes() -> Vec<Route<Desk>> {
    vec![
        Route::get("/shares/{call_id}", READERS, Scope::OwnHome, show),
        Route::get("/shares/{call_id}/document", DOCUMENT_READERS, Scope::OwnHome, document).reads_personal(),
        Route::get("/tasks/shared-record", TASK_READERS, Scope::Any, tasks),
    ]
}

async fn show(State(desk): State<Desk>, PathOf(call): PathOf<Uuid>, caller: Caller) -> Result<Json<serde_json::Value>, Problem> {
    // Deliveries first: what their states brought with them is then in the share.
    let rows = composing::rows(&desk.kernel, call.into_bytes()).await?;
    let s = composing::situation(&desk.kernel, call.into_bytes(), now_us()).await?.ok_or_else(not_found)?;
    caller.must_see_home(s.row.home)?;
    let status = match (&s.share.withheld, s.share.newest()) {
        (Some(_), _) => "withheld",
        (None, Some(d)) if d.is_retracted => "retracted",
        (None, Some(_)) => "composed",
        (None, None) => "waiting",
    };
    let documents: Vec<_> = s
        .share
        .documents
        .iter()
        .map(|d| {
            serde_json::json!({
                "document_id": Uuid::from_bytes(d.composed.document),
                "version": d.composed.version,
                "resident_id": Uuid::from_bytes(*d.composed.subject.resident.bytes()),
                "resident_status": if d.composed.subject.is_provisional { "provisional" } else { "identified" },
                "uploaded": d.is_uploaded,
                "emailed": d.is_emailed,
                "retracted": d.is_retracted,
            })
        })
        .collect();
    let deliveries: Vec<_> = rows
        .iter()
        .map(|d| {
            let version = crate::wire::parcel_in(&d.payload).ok().map(|p| p.version);
            serde_json::json!({
                "id": Uuid::from_bytes(d.id), "kind": d.kind, "destination": d.destination, "document_version": version, "state": d.state.as_str(),
                "attempt": d.attempt, "code": d.code, "reference": d.reference,
            })
        })
        .collect();
    let tasks: Vec<_> =
        s.share.open_tasks.iter().map(|t| serde_json::json!({ "id": Uuid::from_bytes(*t.id.bytes()), "kind": t.kind, "due_at": time(t.due_at) })).collect();
    Ok(Json(serde_json::json!({
        "call_id": call,
        "stream": Uuid::from_bytes(*share_of(call.into_bytes()).bytes()),
        "version": s.share.version,
        "status": status,
        "documents": documents,
        "deliveries": deliveries,
        "tasks": tasks,
    })))
}

async fn document(State(desk): State<Desk>, PathOf(call): PathOf<Uuid>, caller: Caller, Reason(reason): Reason) -> Result<Response, Problem> {
    let now = now_us();
    let s = composing::situation(&desk.kernel, call.into_bytes(), now).await?.ok_or_else(not_found)?;
    caller.must_see_home(s.row.home)?;
    let newest = &s.share.standing().ok_or_else(not_found)?.composed;
    let stored = desk.kernel.store.blob(newest.blob).await?.ok_or_else(internal)?;
    let opened = desk.kernel.composer.open_blob(newest.blob, &stored).await.map_err(NotNow::from)?;
    let Personal::Known(bytes) = opened else {
        return Err(rejected("personal_data_not_readable", "the document's personal data was destroyed or is withheld"));
    };
    let read = audit(&caller, "document_read", Some(*newest.subject.resident.bytes()), reason, now);
    desk.kernel.store.append(Unit { audit: vec![read], ..Unit::default() }).await?;
    let headers = [(header::CONTENT_TYPE, "application/fhir+json"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, bytes.expose().clone()).into_response())
}

async fn tasks(State(desk): State<Desk>) -> Result<Json<serde_json::Value>, Problem> {
    let now = now_us();
    let rows = reference::open_tasks(desk.kernel.store.as_ref()).await?;
    let tasks: Vec<_> = rows
        .iter()
        .map(|r| {
            serde_json::json!({
                "stream": Uuid::from_bytes(r.id(0)), "id": Uuid::from_bytes(r.id(1)), "kind": r.text(2), "role": r.text(3),
                "due_at": time(r.int(4)), "overdue": r.flag(5) || r.int(4) < now, "opened_at": time(r.int(6)), "call_id": Uuid::from_bytes(r.id(7)),
            })
        })
        .collect();
    Ok(Json(serde_json::json!({ "tasks": tasks })))
}

fn time(us: i64) -> Option<String> {
    Timestamp::from_microsecond(us).ok().map(|t| t.to_string())
}
