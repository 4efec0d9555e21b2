//! Prescribing over HTTP: parse, decide, append, answer.

use crate::Options;
use crate::domain::{self, CallSeen, Event, Item, Override, PharmacyChoice, PrescriberType, Prescription, Quantity, Rejection, open_by_distance};
use crate::eps::{self, Eps, EpsClient};
use crate::reference::{self, CallRow};
use crate::sign::{self, SignRequest};
use crate::signer::Signer;
use crate::wire;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use hearthline_contracts::envelope::Environment;
use hearthline_eventing::{Attempted, Kernel, NotNow, Occurred, Unit, deliveries, now_us, retrying};
use hearthline_nhs::{CallId, HomeId, Personal, PharmacyId, Sctid, StreamId};
use hearthline_runtime::auth::{Caller, Role};
use hearthline_runtime::http::{Command, IfMatch, PathOf, Problem, QueryOf, Receipt, Route, Scope, invalid_field, not_found, not_here_yet, rejected};
use hearthline_runtime::service::{NAMED_FACTS_WAIT, cause, earlier, idempotent, occurred, receipt, repeated, wait_for};
use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::Arc;
use uuid::Uuid;

const TEXT_CHARS_MAX: usize = 1_000;

/// What the handlers work with.
#[derive(Clone)]
pub struct Desk {
    pub(crate) kernel: Kernel,
    pub(crate) options: Options,
    pub(crate) eps: Option<Arc<EpsClient>>,
    pub(crate) courier: Arc<Eps>,
    pub(crate) signer: Arc<dyn Signer>,
}

const READERS: &[Role] = &[Role::Prescriber, Role::Clinician, Role::CallHandler, Role::Operator];
const PRESCRIBERS: &[Role] = &[Role::Prescriber];

/// Every route of prescribing.
pub fn routes() -> Vec<Route<Desk>> {
    vec![
        Route::post("/prescriptions", PRESCRIBERS, Scope::Any, draft),
        Route::get("/prescriptions/{id}", READERS, Scope::Any, show),
        Route::post("/prescriptions/{id}/pharmacy", PRESCRIBERS, Scope::Any, choose),
        Route::post("/prescriptions/{id}/sign", PRESCRIBERS, Scope::Any, sign_order),
        Route::get("/pharmacies/open", READERS, Scope::Any, open_pharmacies),
        Route::get("/tasks/prescribing", READERS, Scope::Any, tasks),
    ]
}

/// A rejection as a problem.
pub(crate) fn refuse(rejection: Rejection) -> Problem {
    rejected(rejection.code(), rejection.to_string())
}

impl Desk {
    /// When a command's facts occurred, by the rules of late entry.
    pub(crate) async fn occurred(&self, caller: &Caller, at: Option<Timestamp>, prescription: &Prescription, now: i64) -> Result<Occurred, Problem> {
        let call = reference::call_row(self.kernel.store.as_ref(), *prescription.draft.call.bytes()).await?;
        self.occurred_since(caller, at, call.map(|c| c.opened_at), now)
    }

    fn occurred_since(&self, caller: &Caller, at: Option<Timestamp>, opened_at: Option<i64>, now: i64) -> Result<Occurred, Problem> {
        occurred(caller, at, opened_at, now, self.options.late_entry_days, self.is_live())
    }

    fn is_live(&self) -> bool {
        self.kernel.composer.deployment.environment == Environment::Live
    }

    /// The call at `version` or later; 503 where it has not arrived within two seconds.
    async fn call_at(&self, id: CallId, version: u64) -> Result<CallRow, Problem> {
        let look = || async { Ok(reference::call_row(self.kernel.store.as_ref(), *id.bytes()).await?.filter(|c| c.version >= version)) };
        wait_for(NAMED_FACTS_WAIT, look).await?.ok_or_else(not_here_yet)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DraftBody {
    call_id: Uuid,
    call_version: u64,
    prescriber_type: String,
    items: Vec<ItemBody>,
    #[serde(default)]
    indication: Option<String>,
    #[serde(default, deserialize_with = "instant")]
    occurred_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemBody {
    dmd_code: String,
    display: String,
    quantity: serde_json::Number,
    unit_code: String,
    /// What the prescriber's screen called the unit; the order names it by its code.
    #[serde(default)]
    unit: Option<String>,
    dosage: String,
}

impl std::fmt::Debug for ItemBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ItemBody").finish_non_exhaustive()
    }
}

impl ItemBody {
    fn parse(self, at: usize) -> Result<Item, Problem> {
        let field = |name: &str| format!("items[{at}].{name}");
        let medicine = Sctid::parse(&self.dmd_code).map_err(|e| invalid_field(field("dmd_code"), e.to_string()))?;
        if !medicine.can_name_medicine() {
            return Err(invalid_field(field("dmd_code"), "a dm+d product (VMP or AMP)"));
        }
        let unit = Sctid::parse(&self.unit_code).map_err(|e| invalid_field(field("unit_code"), e.to_string()))?;
        let quantity = Quantity::parse(&self.quantity.to_string()).map_err(|e| invalid_field(field("quantity"), e.to_string()))?;
        if self.unit.is_some_and(|unit| unit.chars().count() > 100) {
            return Err(invalid_field(field("unit"), "at most 100 characters"));
        }
        Ok(Item {
            id: hearthline_runtime::service::fresh_id(),
            medicine,
            quantity,
            unit,
            display: Personal::of(words(self.display, &field("display"))?),
            dosage: Personal::of(words(self.dosage, &field("dosage"))?),
        })
    }
}

fn words(text: String, field: &str) -> Result<String, Problem> {
    let trimmed = text.trim();
    if (1..=TEXT_CHARS_MAX).contains(&trimmed.chars().count()) { Ok(trimmed.to_owned()) } else { Err(invalid_field(field, "1 to 1000 characters")) }
}

async fn draft(State(desk): State<Desk>, command: Command<DraftBody>) -> Result<Response, Problem> {
    let Command { caller, key, body_digest, body } = command;
    if let Some(receipt) = earlier(desk.kernel.store.as_ref(), &key, body_digest).await? {
        return Ok(created(receipt));
    }
    let prescriber_type = PrescriberType::parse(&body.prescriber_type).map_err(|e| invalid_field("prescriber_type", e.to_string()))?;
    if !(1..=4).contains(&body.items.len()) {
        return Err(invalid_field("items", "one to four items"));
    }
    let items = body.items.into_iter().enumerate().map(|(at, item)| item.parse(at)).collect::<Result<Vec<_>, _>>()?;
    let indication = body.indication.unwrap_or_default();
    if indication.chars().count() > TEXT_CHARS_MAX {
        return Err(invalid_field("indication", "at most 1000 characters"));
    }
    let call = CallId::from_bytes(*body.call_id.as_bytes());
    let row = desk.call_at(call, body.call_version).await?;
    let now = now_us();
    let occurred = desk.occurred_since(&caller, body.occurred_at, Some(row.opened_at), now)?;
    let seen = CallSeen { id: call, version: body.call_version, resident: row.resident, is_provisional: row.is_provisional, is_voided: row.is_voided };
    let drafted = domain::draft(&seen, prescriber_type, items, indication).map_err(refuse)?;
    let stream = StreamId::from_bytes(hearthline_runtime::service::fresh_id());
    let cause = cause(&caller, *call.bytes());
    let attempted = retrying(desk.kernel.store.as_ref(), || async {
        let events = vec![wire::encode(&drafted, occurred.clone())];
        let write = desk.kernel.composer.write(stream, 0, events, &cause, now).await.map_err(NotNow::from)?;
        let claims = vec![idempotent(&key, body_digest, stream, 1, now)];
        Ok::<_, Problem>((Unit { writes: vec![write], claims, ..Unit::default() }, ()))
    })
    .await?;
    let receipt = match attempted {
        Attempted::Committed { position, .. } => receipt(stream, 1, position),
        Attempted::Claimed(holder) => repeated(&holder, body_digest)?,
    };
    Ok(created(receipt))
}

fn created(receipt: Receipt) -> Response {
    let location = format!("/prescriptions/{}", receipt.stream);
    receipt.created(&location)
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OverrideBody {
    HomePreference,
    Stock,
    Delivery,
    Collection,
    Other,
}

impl From<OverrideBody> for Override {
    fn from(reason: OverrideBody) -> Self {
        match reason {
            OverrideBody::HomePreference => Override::HomePreference,
            OverrideBody::Stock => Override::Stock,
            OverrideBody::Delivery => Override::Delivery,
            OverrideBody::Collection => Override::Collection,
            OverrideBody::Other => Override::Other,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChoiceBody {
    pharmacy_id: Uuid,
    #[serde(default)]
    override_reason: Option<OverrideBody>,
    #[serde(default, deserialize_with = "instant")]
    occurred_at: Option<Timestamp>,
}

async fn choose(State(desk): State<Desk>, PathOf(id): PathOf<Uuid>, seen: IfMatch, command: Command<ChoiceBody>) -> Result<Response, Problem> {
    let Command { caller, key, body_digest, body } = command;
    let stream = StreamId::from_bytes(*id.as_bytes());
    let (store, now) = (desk.kernel.store.as_ref(), now_us());
    // A repeat of what was done already is answered, whatever has happened since.
    if let Some(receipt) = earlier(store, &key, body_digest).await? {
        return Ok(receipt.into_response());
    }
    let attempted = retrying(store, || async {
        let prescription = eps::load(&desk.kernel, stream).await?.ok_or_else(not_found)?;
        seen.check(prescription.version)?;
        let (event, occurred) = decide_pharmacy(&desk, &caller, &prescription, &body, now).await?;
        let version = prescription.version + 1;
        let cause = cause(&caller, *prescription.draft.call.bytes());
        let write = desk.kernel.composer.write(stream, prescription.version, vec![wire::encode(&event, occurred)], &cause, now).await.map_err(NotNow::from)?;
        let claims = vec![idempotent(&key, body_digest, stream, version, now)];
        Ok::<_, Problem>((Unit { writes: vec![write], claims, ..Unit::default() }, version))
    })
    .await?;
    Ok(match attempted {
        Attempted::Committed { position, value } => receipt(stream, value, position).into_response(),
        Attempted::Claimed(holder) => repeated(&holder, body_digest)?.into_response(),
    })
}

async fn decide_pharmacy(desk: &Desk, caller: &Caller, prescription: &Prescription, body: &ChoiceBody, now: i64) -> Result<(Event, Occurred), Problem> {
    let store = desk.kernel.store.as_ref();
    let occurred = desk.occurred(caller, body.occurred_at, prescription, now).await?;
    let call = reference::call_row(store, *prescription.draft.call.bytes()).await?.ok_or_else(not_here_yet)?;
    let home = reference::home_place(store, call.home).await?.flatten();
    let choice = PharmacyChoice {
        pharmacy: PharmacyId::from_bytes(*body.pharmacy_id.as_bytes()),
        override_reason: body.override_reason.map(Into::into),
        at: occurred.at_us,
    };
    let event = domain::choose_pharmacy(prescription, &reference::pharmacies(store).await?, home, choice).map_err(refuse)?;
    Ok((event, occurred))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignBody {
    #[serde(default, deserialize_with = "instant")]
    occurred_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct SignReply {
    stream: Uuid,
    version: u64,
    position: u64,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_number: Option<String>,
}

async fn sign_order(State(desk): State<Desk>, PathOf(id): PathOf<Uuid>, headers: HeaderMap, command: Command<SignBody>) -> Result<Json<SignReply>, Problem> {
    command.caller.must_be_in_session()?;
    // The guard has verified it, so it is there.
    let mut bearer = headers.get(header::AUTHORIZATION).cloned().ok_or_else(not_found)?;
    bearer.set_sensitive(true);
    let request = SignRequest {
        caller: &command.caller,
        key: &command.key,
        body_digest: command.body_digest,
        stream: StreamId::from_bytes(*id.as_bytes()),
        occurred_at: command.body.occurred_at,
        bearer: &bearer,
    };
    let done = sign::sign(&desk, request).await?;
    Ok(Json(SignReply { stream: id, version: done.version, position: done.position, status: done.status, code: done.code, order_number: done.order_number }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenQuery {
    home_id: Uuid,
    #[serde(default, deserialize_with = "instant")]
    at: Option<Timestamp>,
}

async fn open_pharmacies(State(desk): State<Desk>, QueryOf(query): QueryOf<OpenQuery>) -> Result<Json<serde_json::Value>, Problem> {
    let store = desk.kernel.store.as_ref();
    let at = query.at.map_or_else(now_us, Timestamp::as_microsecond);
    let home = reference::home_place(store, HomeId::from_bytes(*query.home_id.as_bytes())).await?.ok_or_else(not_found)?;
    let listed = reference::pharmacies(store).await?;
    let open: Vec<serde_json::Value> = open_by_distance(&listed, home, at)
        .into_iter()
        .enumerate()
        .map(|(n, p)| {
            serde_json::json!({
                "id": Uuid::from_bytes(*p.pharmacy.id.bytes()),
                "ods_code": p.pharmacy.ods.as_str(),
                "name": p.pharmacy.name,
                "postcode": p.pharmacy.postcode,
                "distance_m": p.distance_m,
                "nearest": n == 0 && p.distance_m.is_some(),
            })
        })
        .collect();
    Ok(Json(serde_json::json!({ "pharmacies": open })))
}

async fn show(State(desk): State<Desk>, PathOf(id): PathOf<Uuid>) -> Result<Json<serde_json::Value>, Problem> {
    let stream = StreamId::from_bytes(*id.as_bytes());
    let p = eps::load(&desk.kernel, stream).await?.ok_or_else(not_found)?;
    let delivery = match p.submission {
        Some(s) => deliveries(desk.kernel.store.as_ref(), "id = $1", &[(*s.delivery.bytes()).into()]).await?.into_iter().next(),
        None => None,
    };
    let items: Vec<_> = p
        .draft
        .items
        .iter()
        .map(|i| serde_json::json!({ "item_id": Uuid::from_bytes(i.id), "dmd_code": i.medicine.to_string(), "quantity": i.quantity.as_str(), "unit_code": i.unit.to_string() }))
        .collect();
    let tasks: Vec<_> =
        p.open_tasks.iter().map(|t| serde_json::json!({ "id": Uuid::from_bytes(*t.id.bytes()), "kind": t.kind, "due_at": time(t.due_at) })).collect();
    Ok(Json(serde_json::json!({
        "id": id,
        "version": p.version,
        "call_id": Uuid::from_bytes(*p.draft.call.bytes()),
        "resident_id": Uuid::from_bytes(*p.draft.resident.bytes()),
        "status": p.status.as_str(),
        "prescriber_type": p.draft.prescriber_type.code(),
        "items": items,
        "pharmacy": p.pharmacy.as_ref().map(|c| serde_json::json!({
            "id": Uuid::from_bytes(*c.pharmacy.bytes()), "ods_code": c.ods.as_str(), "distance_m": c.distance_m, "nearest_open": c.nearest_open,
        })),
        "order_number": p.signed.as_ref().map(|s| s.order_number.to_string()),
        "rejected_for": p.rejected_for,
        "delivery": delivery.map(|d| serde_json::json!({
            "id": Uuid::from_bytes(d.id), "state": d.state.as_str(), "attempt": d.attempt, "code": d.code, "reference": d.reference,
        })),
        "tasks": tasks,
    })))
}

async fn tasks(State(desk): State<Desk>) -> Result<Json<serde_json::Value>, Problem> {
    let rows = reference::open_tasks(desk.kernel.store.as_ref()).await?;
    let tasks: Vec<_> = rows
        .iter()
        .map(|r| {
            serde_json::json!({
                "stream": Uuid::from_bytes(r.id(0)), "id": Uuid::from_bytes(r.id(1)), "kind": r.text(2), "role": r.text(3),
                "due_at": time(r.int(4)), "overdue": r.flag(5) || r.int(4) < now_us(), "opened_at": time(r.int(7)),
            })
        })
        .collect();
    Ok(Json(serde_json::json!({ "tasks": tasks })))
}

/// An RFC 3339 instant, or null.
fn instant<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| text.parse().map_err(|_| D::Error::custom("expected an RFC 3339 time such as 2026-03-01T02:10:00Z"))).transpose()
}

fn time(us: i64) -> Option<String> {
    Timestamp::from_microsecond(us).ok().map(|t| t.to_string())
}
