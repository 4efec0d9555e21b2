//! The requests under `/_sandbox/` that every server answers alike. Faults never touch them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::fault::{Fault, Faults};

/// `GET` lists the faults waiting, `POST {"next": [..]}` adds to them, `DELETE` forgets them.
pub(crate) fn faults(faults: Faults) -> Router {
    Router::new().route("/_sandbox/faults", get(waiting).post(script).delete(clear)).with_state(faults)
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    next: Vec<Fault>,
}

async fn waiting(State(faults): State<Faults>) -> Json<Script> {
    Json(Script { next: faults.waiting() })
}

async fn script(State(faults): State<Faults>, Json(script): Json<Script>) -> Response {
    match faults.script_all(script.next) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(invalid) => (StatusCode::BAD_REQUEST, Json(json!({ "error": invalid.to_string() }))).into_response(),
    }
}

async fn clear(State(faults): State<Faults>) -> StatusCode {
    faults.clear();
    StatusCode::NO_CONTENT
}
