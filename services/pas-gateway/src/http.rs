//! What trusts and operators see of the feeds: counts, and nothing of any patient.

use crate::gateway::Gateway;
use crate::tags::CONTROL_REUSED;
use axum::Json;
use axum::extract::State as Extract;
use hearthline_runtime::auth::Role;
use hearthline_runtime::http::{Problem, Route, Scope};
use serde::Serialize;

#[derive(Clone)]
pub struct State {
    pub gateway: Gateway,
}

const READERS: &[Role] = &[Role::TrustEngineer, Role::Operator, Role::Analyst];

pub fn routes() -> Vec<Route<State>> {
    vec![Route::get("/pas/summary", READERS, Scope::Any, summary)]
}

#[derive(Serialize)]
struct Summary {
    /// Messages of the last fourteen days.
    messages: Vec<Messages>,
    /// Frames answered AE or AR since this process started.
    refused_since_start: Vec<Refused>,
    /// Messages of the last fourteen days whose control id another message had before.
    control_ids_reused: i64,
}

#[derive(Serialize)]
struct Messages {
    peer: String,
    day: String,
    disposition: String,
    why: String,
    count: i64,
}

#[derive(Serialize)]
struct Refused {
    reply: &'static str,
    count: u64,
}

async fn summary(Extract(state): Extract<State>) -> Result<Json<Summary>, Problem> {
    let store = &state.gateway.kernel.store;
    let rows = store.query("select peer, day, state, why, count(*) from inbox group by peer, day, state, why order by day, peer, state, why", &[]).await?;
    let messages = rows
        .iter()
        .map(|r| Messages {
            peer: r.text(0).to_owned(),
            day: r.text(1).to_owned(),
            disposition: r.text(2).to_owned(),
            why: r.text(3).to_owned(),
            count: r.int(4),
        })
        .collect();
    let reused = store.query("select count(*) from claims where scope = $1", &[CONTROL_REUSED.into()]).await?;
    let refused = state.gateway.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    Ok(Json(Summary {
        messages,
        refused_since_start: refused.into_iter().map(|(reply, count)| Refused { reply, count }).collect(),
        control_ids_reused: reused.first().map_or(0, |r| r.int(0)),
    }))
}
