//! Peers, their modes, and the gaps of their feeds.

use super::State;
use crate::feeds::{FeedRefused, FeedStatus, GapStatus};
use crate::shadow::ShadowReport;
use axum::Json;
use axum::extract::State as Extract;
use hearthline_eventing::now_us;
use hearthline_runtime::auth::Caller;
use hearthline_runtime::http::{Command, PathOf, Problem, QueryOf, invalid_field, not_found, rejected};
use hearthline_runtime::service;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const WEEK_US: i64 = 7 * 24 * 3_600 * 1_000_000;

impl From<FeedRefused> for Problem {
    fn from(refused: FeedRefused) -> Self {
        let said = refused.to_string();
        match refused {
            FeedRefused::UnknownPeer(_) | FeedRefused::UnknownGap => not_found().detail(said),
            FeedRefused::NotAPeriod { .. } | FeedRefused::TooOld { .. } | FeedRefused::Overlaps { .. } | FeedRefused::NotYet { .. } => {
                invalid_field("from", said)
            }
            FeedRefused::AlreadyLive => rejected("already_live", said),
            FeedRefused::AlreadyShadow => rejected("already_shadow", said),
            FeedRefused::NotNow(why) => why.into(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Peers {
    peers: Vec<PeerStatus>,
}

#[derive(Serialize)]
struct PeerStatus {
    name: String,
    facility: String,
    /// What else MSH-4 may say.
    sending_facilities: Vec<String>,
    listener: String,
    profile: String,
    /// From this day on visits of strangers at care-home addresses are kept, without a person.
    home_level_visits_from: Option<String>,
    home_level_visits_purpose: Option<String>,
    home_level_visits_lawful_basis: Option<String>,
    #[serde(flatten)]
    status: FeedStatus,
    /// In a word: `speaking`, `silent`, `gap`, or `unheard`.
    feed: &'static str,
}

pub(super) async fn peers(Extract(state): Extract<State>, caller: Caller) -> Result<Json<Peers>, Problem> {
    let visible = state.visible(&caller);
    let mut peers = Vec::new();
    for status in state.gateway.feeds(now_us()).await? {
        let Some(peer) = visible.iter().find(|peer| peer.name == status.peer) else { continue };
        let agreement = peer.home_level_visits.as_ref();
        peers.push(PeerStatus {
            name: peer.name.clone(),
            facility: peer.facility_ods.to_string(),
            sending_facilities: peer.sending_facilities.clone(),
            listener: peer.listener.clone(),
            profile: peer.profile.clone(),
            home_level_visits_from: agreement.map(|a| a.from.to_string()),
            home_level_visits_purpose: agreement.map(|a| a.purpose.clone()),
            home_level_visits_lawful_basis: agreement.map(|a| a.lawful_basis.clone()),
            feed: in_a_word(&status),
            status,
        });
    }
    Ok(Json(Peers { peers }))
}

/// A gap after which the feed spoke again is of the past, though it may still be filled.
fn in_a_word(status: &FeedStatus) -> &'static str {
    match (&status.last_message_at, &status.silent_since, status.gaps.iter().any(|gap| gap.until.is_none())) {
        (None, ..) => "unheard",
        (Some(_), Some(_), _) => "silent",
        (Some(_), None, true) => "gap",
        (Some(_), None, false) => "speaking",
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Period {
    from: Option<String>,
    to: Option<String>,
}

pub(super) async fn shadow_report(
    Extract(state): Extract<State>,
    caller: Caller,
    PathOf(peer): PathOf<String>,
    QueryOf(period): QueryOf<Period>,
) -> Result<Json<ShadowReport>, Problem> {
    let peer = state.peer(&caller, &peer)?;
    let until = instant("to", period.to.as_deref())?.unwrap_or_else(now_us);
    let from = instant("from", period.from.as_deref())?.unwrap_or(until - WEEK_US);
    if from >= until.min(now_us()) {
        return Err(invalid_field("from", "a time before `to` and before now; without it the seven days before `to`"));
    }
    Ok(Json(state.gateway.shadow_report(&peer.name, from, until).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Promotion {
    from: Option<String>,
    reason: String,
}

pub(super) async fn promote(Extract(state): Extract<State>, PathOf(peer): PathOf<String>, command: Command<Promotion>) -> Result<Json<Value>, Problem> {
    let peer = state.peer(&command.caller, &peer)?.name.clone();
    let from = instant("from", command.body.from.as_deref())?;
    state.gateway.promote(&peer, from, &command.caller, reason(&command.body.reason)?, now_us()).await?;
    Ok(Json(json!({ "peer": peer, "mode": "live" })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Demotion {
    reason: String,
}

pub(super) async fn demote(Extract(state): Extract<State>, PathOf(peer): PathOf<String>, command: Command<Demotion>) -> Result<Json<Value>, Problem> {
    let peer = state.peer(&command.caller, &peer)?.name.clone();
    state.gateway.demote(&peer, &command.caller, reason(&command.body.reason)?, now_us()).await?;
    Ok(Json(json!({ "peer": peer, "mode": "shadow" })))
}

#[derive(Serialize)]
pub(super) struct Gaps {
    gaps: Vec<GapOf>,
}

#[derive(Serialize)]
struct GapOf {
    peer: String,
    #[serde(flatten)]
    gap: GapStatus,
}

pub(super) async fn gaps(Extract(state): Extract<State>, caller: Caller) -> Result<Json<Gaps>, Problem> {
    let visible = state.visible(&caller);
    let mut gaps = Vec::new();
    for status in state.gateway.feeds(now_us()).await? {
        if visible.iter().any(|peer| peer.name == status.peer) {
            gaps.extend(status.gaps.into_iter().map(|gap| GapOf { peer: status.peer.clone(), gap }));
        }
    }
    Ok(Json(Gaps { gaps }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Declaration {
    from: String,
    until: Option<String>,
    reason: String,
}

pub(super) async fn declare_gap(Extract(state): Extract<State>, PathOf(peer): PathOf<String>, command: Command<Declaration>) -> Result<Json<Value>, Problem> {
    let peer = state.peer(&command.caller, &peer)?.name.clone();
    let from = instant("from", Some(&command.body.from))?.ok_or_else(not_found)?;
    let until = instant("until", command.body.until.as_deref())?;
    let gap_id = state.gateway.declare_gap(&peer, from, until, &command.caller, reason(&command.body.reason)?, now_us()).await?;
    Ok(Json(json!({ "peer": peer, "gap_id": gap_id })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Closing {
    until: Option<String>,
    filled: bool,
    reason: String,
}

pub(super) async fn close_gap(
    Extract(state): Extract<State>,
    PathOf((peer, gap_id)): PathOf<(String, String)>,
    command: Command<Closing>,
) -> Result<Json<Value>, Problem> {
    let peer = state.peer(&command.caller, &peer)?.name.clone();
    let until = instant("until", command.body.until.as_deref())?;
    let why = reason(&command.body.reason)?;
    state.gateway.close_gap(&peer, &gap_id, until, command.body.filled, &command.caller, why, now_us()).await?;
    Ok(Json(json!({ "peer": peer, "gap_id": gap_id, "filled": command.body.filled })))
}

pub(super) fn instant(field: &str, text: Option<&str>) -> Result<Option<i64>, Problem> {
    Ok(service::instant(field, text)?.map(|at| at.as_microsecond()))
}

fn reason(text: &str) -> Result<&str, Problem> {
    let text = text.trim();
    if (3..=200).contains(&text.chars().count()) { Ok(text) } else { Err(invalid_field("reason", "3 to 200 characters, without personal data")) }
}
