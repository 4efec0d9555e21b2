//! What trusts' engineers and operators see and ask of the feeds.
//!
//! An engineer is scoped to the trust of their token: another trust's peers, messages and feeds do not exist for them (404, and no
//! row in a list). Nothing personal is shown but in a message's content, with a reason, on record.

mod feeds;
mod messages;

use crate::connections::ConnectionReport;
use crate::gateway::Gateway;
use crate::peer::Peer;
use crate::search::Visible;
use crate::tags::CONTROL_REUSED;
use axum::Json;
use axum::extract::State as Extract;
use hearthline_eventing::query_among;
use hearthline_runtime::auth::{Caller, Role};
use hearthline_runtime::http::{Problem, Route, Scope, not_found};
use serde::Serialize;

#[derive(Clone)]
pub struct State {
    pub gateway: Gateway,
}

const READERS: &[Role] = &[Role::TrustEngineer, Role::Operator, Role::Analyst];
const ENGINEERS: &[Role] = &[Role::TrustEngineer, Role::Operator];
/// Who may see what a message says of a patient: whose system sent it, and who answers for its use.
const SEERS: &[Role] = &[Role::TrustEngineer, Role::PrivacyOfficer];
const OPERATORS: &[Role] = &[Role::Operator];

pub fn routes() -> Vec<Route<State>> {
    vec![
        Route::get("/pas/summary", READERS, Scope::OwnOrganisation, summary),
        Route::get("/pas/connections", ENGINEERS, Scope::OwnOrganisation, connections),
        Route::get("/pas/peers", ENGINEERS, Scope::OwnOrganisation, feeds::peers),
        Route::get("/pas/peers/{peer}/shadow-report", ENGINEERS, Scope::OwnOrganisation, feeds::shadow_report),
        Route::post("/pas/peers/{peer}/promote", OPERATORS, Scope::Any, feeds::promote),
        Route::post("/pas/peers/{peer}/demote", OPERATORS, Scope::Any, feeds::demote),
        Route::get("/pas/gaps", READERS, Scope::OwnOrganisation, feeds::gaps),
        Route::post("/pas/peers/{peer}/gaps", OPERATORS, Scope::Any, feeds::declare_gap),
        Route::post("/pas/peers/{peer}/gaps/{gap_id}/close", OPERATORS, Scope::Any, feeds::close_gap),
        Route::get("/pas/messages", ENGINEERS, Scope::OwnOrganisation, messages::list),
        Route::search("/pas/messages/search", ENGINEERS, Scope::OwnOrganisation, messages::search).reads_personal(),
        Route::get("/pas/messages/{id}", ENGINEERS, Scope::OwnOrganisation, messages::show),
        Route::get("/pas/messages/{id}/content", SEERS, Scope::OwnOrganisation, messages::content).reads_personal(),
        Route::post("/pas/reprocess", ENGINEERS, Scope::OwnOrganisation, messages::reprocess),
    ]
}

impl State {
    /// The peers that a caller may see.
    fn visible(&self, caller: &Caller) -> Vec<&Peer> {
        self.gateway.peers.iter().filter(|peer| sees(caller, peer)).collect()
    }

    /// Whose messages a caller may see: beside those of peers, nobody's are for operators.
    fn messages_of(&self, caller: &Caller) -> Visible {
        if caller.role != Role::TrustEngineer {
            return Visible::All;
        }
        Visible::Of(self.visible(caller).into_iter().map(|peer| peer.name.clone()).collect())
    }

    /// A peer by name, if there is one for this caller; what else they see is said where there is none.
    fn peer(&self, caller: &Caller, name: &str) -> Result<&Peer, Problem> {
        let visible = self.visible(caller);
        let names: Vec<&str> = visible.iter().map(|peer| peer.name.as_str()).collect();
        let there_are = if names.is_empty() { "there are none".to_owned() } else { format!("there are: {}", names.join(", ")) };
        visible.into_iter().find(|peer| peer.name == name).ok_or_else(|| not_found().detail(format!("no peer is called so; {there_are}")))
    }
}

/// An engineer sees the peers of their own trust and its sites.
fn sees(caller: &Caller, peer: &Peer) -> bool {
    caller.role != Role::TrustEngineer || peer.is_of(&caller.org)
}

#[derive(Serialize)]
struct Summary {
    /// Messages that are still kept.
    messages: Vec<Messages>,
    /// Messages whose control id another message had before.
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

async fn summary(Extract(state): Extract<State>, caller: Caller) -> Result<Json<Summary>, Problem> {
    let store = &state.gateway.kernel.store;
    let names: Vec<&str> = state.visible(&caller).iter().map(|peer| peer.name.as_str()).collect();
    let (head, tail) = ("select peer, day, state, why, count(*) from inbox", "group by peer, day, state, why order by day, peer, state, why");
    let rows = match state.messages_of(&caller) {
        Visible::All => store.query(&format!("{head} {tail}"), &[]).await?,
        Visible::Of(peers) => query_among(store.as_ref(), &format!("{head} where peer"), &[], &peers, tail).await?,
    };
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
    let mut control_ids_reused = 0;
    for name in names {
        let reused =
            store.query("select count(*) from claims where scope = $1 and digest = $2", &[CONTROL_REUSED.into(), name.as_bytes().to_vec().into()]).await?;
        control_ids_reused += reused.first().map_or(0, |r| r.int(0));
    }
    Ok(Json(Summary { messages, control_ids_reused }))
}

#[derive(Serialize)]
struct Connections {
    connections: Vec<ConnectionReport>,
}

/// Those of this process; who has not said whose they are is for operators.
async fn connections(Extract(state): Extract<State>, caller: Caller) -> Json<Connections> {
    let mut connections = state.gateway.connections();
    if let Visible::Of(names) = state.messages_of(&caller) {
        connections.retain(|c| c.peer.as_ref().is_some_and(|peer| names.contains(peer)));
    }
    Json(Connections { connections })
}
