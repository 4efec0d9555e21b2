//! The message store: looking for messages, at one, and judging them again.

use super::State;
use super::feeds::instant;
use crate::gateway::{DUPLICATE, HELD, IGNORED, INTERPRETED, RECEIVED, REFUSED, SHADOW};
use crate::reprocess::{Now, Reprocessed};
use crate::search::{Direction, LIMIT_MAX, MessageDetail, MessageQuery, MessageSummary, Shown};
use crate::send::{SENDING, SENT, UNCONFIRMED, UNSENT};
use axum::Json;
use axum::extract::State as Extract;
use hearthline_eventing::now_us;
use hearthline_nhs::NhsNumber;
use hearthline_runtime::auth::Caller;
use hearthline_runtime::http::{Command, PathOf, Problem, QueryOf, Reason, Search, invalid_field, not_found};
use hearthline_runtime::service::{audit, rfc3339, uuid_of};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// What may have become of a message, received or sent.
const OUTCOMES: [&str; 11] = [RECEIVED, INTERPRETED, HELD, IGNORED, REFUSED, DUPLICATE, SHADOW, SENDING, SENT, UNCONFIRMED, UNSENT];

/// What a search says; a page ends with `next`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sought {
    from: Option<String>,
    to: Option<String>,
    peer: Option<String>,
    kind: Option<String>,
    control_id: Option<String>,
    nhs_number: Option<String>,
    outcome: Option<String>,
    direction: Option<String>,
    before: Option<i64>,
    limit: Option<u32>,
}

#[derive(Serialize)]
pub(super) struct Found {
    messages: Vec<Listed>,
    /// `before` of the next page; none where this was the last.
    next: Option<i64>,
}

#[derive(Serialize)]
struct Listed {
    id: Uuid,
    received_at: String,
    /// By the sender's clock.
    occurred_at: String,
    direction: &'static str,
    peer: String,
    #[serde(rename = "type")]
    kind: String,
    control_id: String,
    reply: String,
    bytes: i64,
    outcome: String,
    why: String,
    effect: String,
    stream: Option<String>,
    resident_id: Option<Uuid>,
}

impl Listed {
    fn of(m: MessageSummary) -> Self {
        Listed {
            id: uuid_of(m.id),
            received_at: rfc3339(m.received_at),
            occurred_at: rfc3339(m.occurred_at),
            direction: match m.direction {
                Direction::In => "in",
                Direction::Out => "out",
            },
            peer: m.peer,
            kind: m.kind,
            control_id: m.control_id,
            reply: m.reply,
            bytes: m.size,
            outcome: m.state,
            why: m.why,
            effect: m.effect,
            stream: m.stream.map(|s| s.to_string()),
            resident_id: m.resident.map(uuid_of),
        }
    }
}

fn parsed(sought: Sought) -> Result<MessageQuery, Problem> {
    let limit = sought.limit.unwrap_or(50);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid_field("limit", format!("1 to {LIMIT_MAX}")));
    }
    if let Some(outcome) = &sought.outcome
        && !OUTCOMES.contains(&outcome.as_str())
    {
        return Err(invalid_field("outcome", format!("one of {}", OUTCOMES.join(", "))));
    }
    let direction = match sought.direction.as_deref() {
        None => None,
        Some("in") => Some(Direction::In),
        Some("out") => Some(Direction::Out),
        Some(_) => return Err(invalid_field("direction", "in or out")),
    };
    let nhs_number = sought.nhs_number.as_deref().map(|n| NhsNumber::parse(n).map_err(|e| invalid_field("nhs_number", e.to_string()))).transpose()?;
    Ok(MessageQuery {
        from: instant("from", sought.from.as_deref())?,
        until: instant("to", sought.to.as_deref())?,
        peer: sought.peer,
        kind: sought.kind,
        control_id: sought.control_id,
        nhs_number,
        state: sought.outcome,
        direction,
        before_seq: sought.before,
        limit: Some(limit),
    })
}

/// Alike for what is another trust's, so that nobody learns that it is there.
fn no_message() -> Problem {
    not_found().detail("no message has this id: `hearthline pas messages` shows those that are kept")
}

async fn found(state: &State, caller: &Caller, query: MessageQuery) -> Result<Json<Found>, Problem> {
    let limit = query.limit.unwrap_or(50);
    // One more tells whether there are any; a page of the largest size only says that there may be.
    let query = MessageQuery { limit: Some((limit + 1).min(LIMIT_MAX)), ..query };
    let mut messages = state.gateway.messages(&query, &state.messages_of(caller)).await?;
    let is_more = messages.len() >= (limit + 1).min(LIMIT_MAX) as usize;
    messages.truncate(limit as usize);
    let next = messages.last().map(|m| m.seq).filter(|_| is_more);
    Ok(Json(Found { messages: messages.into_iter().map(Listed::of).collect(), next }))
}

pub(super) async fn list(Extract(state): Extract<State>, caller: Caller, QueryOf(sought): QueryOf<Sought>) -> Result<Json<Found>, Problem> {
    if sought.nhs_number.is_some() {
        return Err(invalid_field("nhs_number", "in the body of POST /pas/messages/search: addresses are written down in many places"));
    }
    found(&state, &caller, parsed(sought)?).await
}

/// By NHS number too; that somebody looked for one is on record.
pub(super) async fn search(
    Extract(state): Extract<State>,
    caller: Caller,
    Reason(why): Reason,
    Search(sought): Search<Sought>,
) -> Result<Json<Found>, Problem> {
    let query = parsed(sought)?;
    let unit = hearthline_eventing::Unit { audit: vec![audit(&caller, "search_hospital_messages", None, why, now_us())], ..Default::default() };
    match state.gateway.kernel.store.append(unit).await? {
        hearthline_eventing::Answer::Committed { .. } => found(&state, &caller, query).await,
        _ => Err(hearthline_eventing::NotNow::Other("an audit row was not taken".to_owned()).into()),
    }
}

pub(super) async fn show(Extract(state): Extract<State>, caller: Caller, PathOf(id): PathOf<Uuid>) -> Result<Json<Value>, Problem> {
    detail(&state, &caller, id, false, "masked".to_owned()).await
}

pub(super) async fn content(Extract(state): Extract<State>, caller: Caller, Reason(why): Reason, PathOf(id): PathOf<Uuid>) -> Result<Json<Value>, Problem> {
    detail(&state, &caller, id, true, why).await
}

async fn detail(state: &State, caller: &Caller, id: Uuid, reveal: bool, why: String) -> Result<Json<Value>, Problem> {
    let audit = audit(caller, if reveal { "read_hospital_message" } else { "look_at_hospital_message" }, None, why, now_us());
    let MessageDetail { summary, shown } = state.gateway.message(*id.as_bytes(), &state.messages_of(caller), reveal, audit).await?.ok_or_else(no_message)?;
    let mut body = serde_json::to_value(Listed::of(summary)).unwrap_or_default();
    let segments = |text: &str| text.split(['\r', '\n']).filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    match shown {
        Shown::Revealed(text) => body["segments"] = json!(segments(&text)),
        Shown::Masked(text) => {
            body["masked"] = json!(true);
            body["segments"] = json!(segments(&text));
        }
        Shown::Unreadable => body["note"] = json!("it cannot be read as HL7; who may see all of a message sees its bytes"),
        Shown::SameAs(other) => body["same_as"] = json!(uuid_of(other)),
        Shown::Gone => body["note"] = json!("its bytes are kept no longer, or none were"),
    }
    Ok(Json(body))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Again {
    #[serde(default)]
    ids: Vec<Uuid>,
    select: Option<Sought>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize)]
pub(super) struct Reprocessing {
    dry_run: bool,
    messages: Vec<Judged>,
}

#[derive(Serialize)]
struct Judged {
    id: Uuid,
    peer: String,
    #[serde(rename = "type")]
    kind: String,
    control_id: String,
    /// What it was, and what followed.
    was: String,
    followed: String,
    becomes: String,
    /// Events that are new.
    events: Vec<String>,
    why: String,
}

impl Judged {
    fn of(r: Reprocessed) -> Self {
        let (becomes, events, why) = match r.now {
            Now::Becomes { state, why, events } => (state.to_owned(), events.iter().map(|e| format!("{} {}", e.name, rfc3339(e.at_us))).collect(), why),
            Now::Not(why) => (r.state.clone(), Vec::new(), why),
        };
        Judged { id: uuid_of(r.id), peer: r.peer, kind: r.kind, control_id: r.control_id, was: r.state, followed: r.effect, becomes, events, why }
    }
}

pub(super) async fn reprocess(Extract(state): Extract<State>, command: Command<Again>) -> Result<Json<Reprocessing>, Problem> {
    let caller = &command.caller;
    let visible = state.messages_of(caller);
    let mut ids: Vec<[u8; 16]> = command.body.ids.iter().map(|id| *id.as_bytes()).collect();
    match (ids.is_empty(), command.body.select) {
        (false, None) => {}
        (true, Some(select)) => {
            if select.nhs_number.is_some() {
                return Err(invalid_field("select.nhs_number", "ids that a search for the number found"));
            }
            let query = parsed(Sought { direction: Some("in".to_owned()), ..select })?;
            ids = state.gateway.messages(&query, &visible).await?.into_iter().map(|m| m.id).collect();
        }
        _ => return Err(invalid_field("ids", "either ids, or select with what a search takes")),
    }
    let action = if command.body.dry_run { "reprocess_hospital_messages_dry" } else { "reprocess_hospital_messages" };
    let done = state.gateway.reprocess(&ids, &visible, command.body.dry_run, audit(caller, action, None, format!("{} messages", ids.len()), now_us())).await?;
    if done.is_empty() && !command.body.ids.is_empty() {
        return Err(no_message());
    }
    Ok(Json(Reprocessing { dry_run: command.body.dry_run, messages: done.into_iter().map(Judged::of).collect() }))
}
