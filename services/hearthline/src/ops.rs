//! What operators see and ask of a running process, over HTTP: status, deliveries, parked records, rebuild. The command line
//! speaks these routes; so may a console.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hearthline_contracts::{LEVEL, facts, topics, wire};
use hearthline_eventing::{DeliveryState, Kernel, Log, Requested, Store, StoreError, deliveries, now_us, parking, republishing, request_republish, upgrade};
use hearthline_nhs::DeliveryId;
use hearthline_runtime::auth::Role;
use hearthline_runtime::http::{Command, PathOf, Problem, QueryOf, Route, Scope, invalid_field, not_found, rejected, unavailable};
use hearthline_runtime::service::{audit, rfc3339, uuid_of};
use hearthline_store::Managed;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// One service as operators see it.
pub struct Operated {
    pub name: &'static str,
    pub kernel: Kernel,
    pub store: Arc<dyn Managed>,
    pub couriers: Vec<Arc<dyn deliveries::Courier>>,
}

/// The services of this process and the log between them.
#[derive(Clone)]
pub struct Ops {
    pub services: Arc<Vec<Operated>>,
    pub log: Arc<dyn Log>,
}

const OPERATORS: &[Role] = &[Role::Operator];

/// Every route of operators.
pub fn routes() -> Vec<Route<Ops>> {
    vec![
        Route::get("/ops/status", OPERATORS, Scope::Any, status),
        Route::get("/ops/deliveries", OPERATORS, Scope::Any, list_deliveries),
        Route::post("/ops/deliveries/{delivery_id}/confirm", OPERATORS, Scope::Any, confirm),
        Route::post("/ops/deliveries/{delivery_id}/resend", OPERATORS, Scope::Any, resend),
        Route::get("/ops/parked", OPERATORS, Scope::Any, list_parked),
        Route::get("/ops/parked/{service}/{topic}/{partition}/{offset}", OPERATORS, Scope::Any, show_parked),
        Route::post("/ops/parked/retry", OPERATORS, Scope::Any, retry_parked),
        Route::post("/ops/parked/discard", OPERATORS, Scope::Any, discard_parked),
        Route::post("/ops/rebuild", OPERATORS, Scope::Any, rebuild),
        Route::post("/ops/republish", OPERATORS, Scope::Any, republish),
        Route::get("/ops/upgrade", OPERATORS, Scope::Any, upgrade_status),
        Route::post("/ops/upgrade/finalise", OPERATORS, Scope::Any, upgrade_finalise),
    ]
}

/// Where every service stands. `settled` = nothing is on its way: no message to be interpreted, no lag, no due timer, no delivery that will move by itself.
async fn status(State(ops): State<Ops>) -> Result<Json<Value>, Problem> {
    Ok(Json(ops.status().await?))
}

impl Ops {
    /// The body of `/ops/status`.
    pub async fn status(&self) -> Result<Value, Problem> {
        let now = now_us();
        let mut settled = true;
        let mut services = Vec::new();
        for s in self.services.iter() {
            let store = s.kernel.store.as_ref();
            // What this process has heard of may be a moment behind what another has committed.
            // First: what is interpreted after this look counts by its events.
            let received = store.query("select count(*) from inbox where state = 'received'", &[]).await?.first().map_or(0, |r| r.int(0));
            let position = store.query("select coalesce(max(position), 0) from events", &[]).await?.first().map_or(0, |r| r.int(0));
            let relayed = store.query("select cursor from relay", &[]).await?.first().map_or(0, |r| r.int(0));
            let rows = store.query("select topic, partition, next_offset from checkpoints", &[]).await?;
            let mut subscriptions: Vec<(&'static str, i64)> = Vec::new();
            for topic in topics::flow_of(s.name).map_or(&[][..], |flow| flow.reads) {
                let mut lag = 0;
                for partition in 0..topics::PARTITIONS {
                    let marks = self.log.watermarks(topic.name, partition).await.map_err(|e| unavailable(e.to_string(), 2))?;
                    // A partition that nobody has taken up yet is behind by all that it holds.
                    let next = rows.iter().find(|r| r.text(0) == topic.name && r.int(1) == i64::from(partition)).map_or(marks.low, |r| r.int(2));
                    lag += (marks.high - next).max(0);
                }
                subscriptions.push((topic.name, lag));
            }
            let one = async |sql: &str, args: &[hearthline_eventing::Value]| -> Result<i64, Problem> {
                Ok(store.query(sql, args).await?.first().map_or(0, |r| r.int(0)))
            };
            let timers_due = one("select count(*) from timers where due_at <= $1", &[now.into()]).await?;
            let deliveries_open = one("select count(*) from deliveries where state in ('due', 'sending', 'retry_at')", &[]).await?;
            let unconfirmed = one("select count(*) from deliveries where state in ('unconfirmed', 'needs_user')", &[]).await?;
            let parked = one("select count(*) from parked", &[]).await?;
            let republish = republishing(store).await?;
            let lag: i64 = subscriptions.iter().map(|(_, lag)| lag).sum();
            settled &= received == 0 && relayed == position && lag == 0 && timers_due == 0 && deliveries_open == 0 && republish.is_none();
            let dispositions: Vec<Value> = store
                .query("select topic, kind, why, count from dispositions order by topic, kind, why", &[])
                .await?
                .iter()
                .map(|r| json!({ "topic": r.text(0), "kind": r.text(1), "why": r.text(2), "count": r.int(3) }))
                .collect();
            services.push(json!({
                "name": s.name,
                "position": position,
                "relayed": relayed,
                "subscriptions": subscriptions.iter().map(|(topic, lag)| json!({ "topic": topic, "lag": lag })).collect::<Vec<_>>(),
                "messages_received": received,
                "timers_due": timers_due,
                "deliveries_open": deliveries_open,
                "deliveries_unconfirmed": unconfirmed,
                "parked": parked,
                "republish": republish.map(|(next, until)| json!({ "sent": next, "of": until })),
                "dispositions": dispositions,
            }));
        }
        Ok(json!({ "services": services, "settled": settled, "ready": true, "as_of": rfc3339(now) }))
    }

    fn stores(&self) -> Vec<(&'static str, Arc<dyn hearthline_eventing::Store>)> {
        self.services.iter().map(|s| (s.name, s.kernel.store.clone())).collect()
    }

    fn find(&self, service: &str) -> Result<&Operated, Problem> {
        self.services.iter().find(|s| s.name == service).ok_or_else(not_found)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeliveryFilter {
    state: Option<String>,
}

async fn list_deliveries(State(ops): State<Ops>, QueryOf(filter): QueryOf<DeliveryFilter>) -> Result<Json<Value>, Problem> {
    let state = filter
        .state
        .map(|s| DeliveryState::parse(&s).ok_or_else(|| invalid_field("state", DeliveryState::ALL.map(DeliveryState::as_str).join(", "))))
        .transpose()?;
    let mut rows = Vec::new();
    for s in ops.services.iter() {
        let found = match state {
            Some(state) => hearthline_eventing::deliveries(s.kernel.store.as_ref(), "state = $1 order by seq desc limit 500", &[state.as_str().into()]).await?,
            None => hearthline_eventing::deliveries(s.kernel.store.as_ref(), "1 = 1 order by seq desc limit 500", &[]).await?,
        };
        rows.extend(found.into_iter().map(|d| {
            json!({
                "id": DeliveryId::from_bytes(d.id).to_string(),
                "service": s.name,
                "kind": d.kind,
                "destination": d.destination,
                "stream": d.stream.to_string(),
                "state": d.state.as_str(),
                "attempt": d.attempt,
                "code": d.code,
                "reference": d.reference,
                "created_at": rfc3339(d.created_at),
                "updated_at": rfc3339(d.updated_at),
            })
        }));
    }
    Ok(Json(json!({ "deliveries": rows })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn confirm(State(ops): State<Ops>, PathOf(id): PathOf<String>, command: Command<Confirmation>) -> Result<Response, Problem> {
    if command.body.reference.is_empty() || command.body.reference.len() > 200 {
        return Err(invalid_field("reference", "1 to 200 characters: what the receiver calls it"));
    }
    settle(&ops, &id, &command.caller, Some(&command.body.reference)).await
}

async fn resend(State(ops): State<Ops>, PathOf(id): PathOf<String>, command: Command<Nothing>) -> Result<Response, Problem> {
    settle(&ops, &id, &command.caller, None).await
}

async fn settle(ops: &Ops, id: &str, caller: &hearthline_runtime::auth::Caller, confirmed_as: Option<&str>) -> Result<Response, Problem> {
    let id = DeliveryId::parse(id).map_err(|e| invalid_field("delivery_id", e.to_string()))?;
    let now = now_us();
    for s in ops.services.iter() {
        let settled = match confirmed_as {
            Some(reference) => deliveries::confirm(&s.kernel, &s.couriers, *id.bytes(), reference, now).await?,
            None => deliveries::resend(&s.kernel, &s.couriers, *id.bytes(), now).await?,
        };
        match settled {
            deliveries::Settled::NotFound => {}
            deliveries::Settled::Done => {
                let row =
                    audit(caller, if confirmed_as.is_some() { "delivery_confirmed" } else { "delivery_resent" }, Some(*id.bytes()), "settled by hand", now);
                s.kernel.store.append(hearthline_eventing::Unit { audit: vec![row], ..Default::default() }).await?;
                return Ok(Json(json!({ "id": id.to_string(), "state": if confirmed_as.is_some() { "confirmed" } else { "due" } })).into_response());
            }
            deliveries::Settled::NotUnconfirmed(state) => {
                return Err(rejected("not_unconfirmed", format!("only an unconfirmed delivery is settled by hand; this one is {}", state.as_str())));
            }
            deliveries::Settled::Attended => {
                return Err(rejected("attended", "the user who sent it repeats the request, with the same idempotency key; nothing else sends it again"));
            }
        }
    }
    Err(not_found())
}

fn parked_json(service: &str, p: &parking::Parked) -> Value {
    let name = wire::split(&p.payload).ok().and_then(|parts| facts::fact_name(topics::by_name(&p.topic)?.context, parts.fact_number));
    json!({
        "service": service,
        "topic": p.topic,
        "partition": p.partition,
        "offset": p.offset,
        "held": p.held,
        "why": p.why,
        "fact": name,
        "parked_at": rfc3339(p.parked_at),
        "request": p.request,
    })
}

async fn list_parked(State(ops): State<Ops>) -> Result<Json<Value>, Problem> {
    let mut records = Vec::new();
    for s in ops.services.iter() {
        records.extend(parking::list(s.kernel.store.as_ref()).await?.iter().map(|p| parked_json(s.name, p)));
    }
    Ok(Json(json!({ "records": records })))
}

/// One record: where it is, why, its envelope in clear; never its sealed part, opened or not.
async fn show_parked(State(ops): State<Ops>, PathOf((service, topic, partition, offset)): PathOf<(String, String, u16, i64)>) -> Result<Json<Value>, Problem> {
    let s = ops.find(&service)?;
    let all = parking::list(s.kernel.store.as_ref()).await?;
    let p = all.iter().find(|p| p.topic == topic && p.partition == partition && p.offset == offset).ok_or_else(not_found)?;
    let mut shown = parked_json(s.name, p);
    if let Ok(parts) = wire::split(&p.payload) {
        let e = &parts.envelope;
        shown["envelope"] = json!({
            "stream": hearthline_nhs::StreamId::from_bytes(parts.stream_id).to_string(),
            "version": e.stream_version,
            "occurred_at": rfc3339(e.occurred_at_us),
            "recorded_at": rfc3339(e.recorded_at_us),
            "schema_revision": e.schema_revision,
            "least_reader_revision": e.least_reader_revision,
        });
    }
    shown["bytes"] = p.payload.len().into();
    Ok(Json(shown))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Select {
    service: Option<String>,
    topic: Option<String>,
    partition: Option<u16>,
    offset: Option<i64>,
    #[serde(default)]
    dry_run: bool,
    reason: Option<String>,
}

async fn retry_parked(State(ops): State<Ops>, command: Command<Select>) -> Result<Json<Value>, Problem> {
    request(&ops, &command, "retry").await
}

async fn discard_parked(State(ops): State<Ops>, command: Command<Select>) -> Result<Json<Value>, Problem> {
    if command.body.reason.as_deref().is_none_or(|r| r.trim().is_empty() || r.len() > 200) {
        return Err(invalid_field("reason", "1 to 200 characters, without personal data: why these records are let go"));
    }
    request(&ops, &command, "discard").await
}

async fn request(ops: &Ops, command: &Command<Select>, action: &'static str) -> Result<Json<Value>, Problem> {
    let select = &command.body;
    let mut records = Vec::new();
    for s in ops.services.iter().filter(|s| select.service.as_deref().is_none_or(|n| n == s.name)) {
        let store = s.kernel.store.as_ref();
        for p in parking::list(store).await? {
            let matches = select.topic.as_deref().is_none_or(|t| t == p.topic)
                && select.partition.is_none_or(|n| n == p.partition)
                && select.offset.is_none_or(|o| o == p.offset);
            if !matches {
                continue;
            }
            if !select.dry_run {
                parking::request(store, &p.topic, p.partition, p.offset, action, select.reason.as_deref().unwrap_or("")).await?;
            }
            records.push(parked_json(s.name, &p));
        }
        if !select.dry_run && !records.is_empty() {
            let row = audit(
                &command.caller,
                if action == "retry" { "parked_retry" } else { "parked_discard" },
                None,
                select.reason.clone().unwrap_or_default(),
                now_us(),
            );
            store.append(hearthline_eventing::Unit { audit: vec![row], ..Default::default() }).await?;
        }
    }
    Ok(Json(json!({ "action": action, "dry_run": select.dry_run, "records": records })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Republish {
    service: String,
}

/// Every event of one service goes out again, in the background; `/ops/status` shows how far it is.
async fn republish(State(ops): State<Ops>, command: Command<Republish>) -> Result<Json<Value>, Problem> {
    let s = ops.find(&command.body.service)?;
    let row = audit(&command.caller, "republish", None, "every event of the service is published again", now_us());
    let unit = hearthline_eventing::Unit { audit: vec![row], ..Default::default() };
    Ok(Json(republished(s.name, request_republish(s.kernel.store.as_ref(), unit).await?)))
}

/// The body of a request for a republish.
pub fn republished(service: &str, requested: Requested) -> Value {
    let (state, sent, of) = match requested {
        Requested::Begun { until } => ("begun", 0, until),
        Requested::UnderWay { next, until } => ("under_way", next, until),
        Requested::Nothing => ("nothing_published", 0, 0),
    };
    json!({ "service": service, "state": state, "sent": sent, "of": of })
}

fn process_json(p: &hearthline_eventing::Process) -> Value {
    json!({
        "instance": uuid_of(p.instance).to_string(),
        "release": p.release,
        "level": p.level,
        "started_at": rfc3339(p.started_at),
        "seen_at": rfc3339(p.seen_at),
    })
}

/// The schema level of every living process, and the one up to which events are written.
async fn upgrade_status(State(ops): State<Ops>) -> Result<Json<Value>, Problem> {
    Ok(Json(standing(&ops.stores()).await?))
}

/// The body of `/ops/upgrade`.
pub async fn standing(stores: &[(&str, Arc<dyn Store>)]) -> Result<Value, StoreError> {
    let services: Vec<Value> = upgrade::status(stores, now_us())
        .await?
        .iter()
        .map(|s| json!({ "name": s.service, "finalised": s.finalised, "processes": s.processes.iter().map(process_json).collect::<Vec<_>>() }))
        .collect();
    Ok(json!({ "level": LEVEL, "services": services }))
}

/// The processes that do not know this release's level, in words.
pub fn who_is_behind(behind: &[(String, hearthline_eventing::Process)]) -> String {
    let who: Vec<String> = behind.iter().map(|(service, p)| format!("{service} {} (release {}, level {})", uuid_of(p.instance), p.release, p.level)).collect();
    format!("level {LEVEL} is not known to every process: upgrade or stop {}", who.join(", "))
}

/// Lets events of this release's level be written, if every living process knows it.
async fn upgrade_finalise(State(ops): State<Ops>, command: Command<Nothing>) -> Result<Json<Value>, Problem> {
    if ops.services.len() < crate::up::SERVICES.len() {
        let how =
            "this process runs some of the services, and every service must agree: run `hearthline upgrade finalise` with the configuration of the servers";
        return Err(rejected("upgrade_partial", how));
    }
    let now = now_us();
    let state = match upgrade::finalise(&ops.stores(), LEVEL, now).await? {
        upgrade::Finalised::Behind(behind) => {
            return Err(rejected("upgrade_behind", who_is_behind(&behind)));
        }
        upgrade::Finalised::Already => "already",
        upgrade::Finalised::Done => {
            for s in ops.services.iter() {
                s.kernel.composer.deployment.level.finalise(LEVEL);
                let row = audit(&command.caller, "upgrade_finalised", None, format!("level {LEVEL}"), now);
                s.kernel.store.append(hearthline_eventing::Unit { audit: vec![row], ..Default::default() }).await?;
            }
            "done"
        }
    };
    Ok(Json(json!({ "level": LEVEL, "state": state })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rebuild {
    swap: bool,
}

async fn rebuild(State(ops): State<Ops>, command: Command<Rebuild>) -> Result<Json<Value>, Problem> {
    let s = ops.find(hearthline_kpi_projection::NAME)?;
    let done = s.store.rebuild(command.body.swap).await?;
    Ok(Json(json!({ "facts": done.facts, "live": done.live, "rebuilt": done.rebuilt, "swapped": done.swapped })))
}
