//! Reads: the queue, one call, and (audited) what was said in it.

use super::Shared;
use super::open::News2Fields;
use crate::domain::CallEvent;
use crate::domain::events::Demographics;
use crate::view::{self, CallRow, Related};
use crate::{Intake, wire};
use axum::Json;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use hearthline_eventing::{Answer, NotNow, Unit, identity, now_us};
use hearthline_nhs::words::Word;
use hearthline_nhs::{CallId, DateOfBirth, HomeId, NhsNumber, Personal};
use hearthline_runtime::auth::{Caller, Role};
use hearthline_runtime::http::{PathOf, Problem, QueryOf, Reason, not_found};
use hearthline_runtime::service::{self, rfc3339, uuid_of};
use hearthline_runtime::tasks::{self, TaskList};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListFields {
    #[serde(default)]
    open: bool,
    home_id: Option<Uuid>,
}

#[derive(Serialize)]
pub(super) struct CallList {
    calls: Vec<Line>,
}

/// A call without its identity resolved.
#[derive(Serialize)]
struct Line {
    id: Uuid,
    version: u64,
    status: &'static str,
    home_id: Uuid,
    channel: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    urgency: Option<String>,
    resident_id: Uuid,
    resident_status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    counterfactual: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    news2_total: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    news2_partial: Option<i64>,
    outcome_to_follow: bool,
    opened_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    triaged_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<String>,
}

impl From<CallRow> for Line {
    fn from(row: CallRow) -> Self {
        Line {
            id: uuid_of(*row.id.bytes()),
            version: row.version,
            status: row.status.as_str(),
            home_id: uuid_of(*row.home.bytes()),
            channel: row.channel,
            reason: row.reason,
            urgency: row.urgency,
            resident_id: uuid_of(*row.resident.bytes()),
            resident_status: row.resident_status,
            counterfactual: row.counterfactual,
            consent: row.consent,
            news2_total: row.news2_total,
            news2_partial: row.news2_partial,
            outcome_to_follow: row.outcome_to_follow,
            opened_at: rfc3339(row.opened_at),
            answered_at: row.answered_at.map(rfc3339),
            triaged_at: row.triaged_at.map(rfc3339),
            joined_at: row.joined_at.map(rfc3339),
            closed_at: row.closed_at.map(rfc3339),
        }
    }
}

pub(super) async fn list(State(intake): State<Shared>, caller: Caller, QueryOf(query): QueryOf<ListFields>) -> Result<Json<CallList>, Problem> {
    let asked = query.home_id.map(|id| HomeId::from_bytes(id.into_bytes()));
    let home = if caller.role == Role::CareHome { caller.home } else { asked };
    if let Some(asked) = asked {
        caller.must_see_home(asked)?;
    }
    let rows = view::list(intake.kernel.store.as_ref(), query.open, home).await?;
    Ok(Json(CallList { calls: rows.into_iter().map(Line::from).collect() }))
}

#[derive(Serialize)]
struct CallReply {
    #[serde(flatten)]
    line: Line,
    resident: ResidentReply,
    observations: Vec<ObservedReply>,
    consultations: Vec<RelatedReply>,
    prescriptions: Vec<RelatedReply>,
    visits: Vec<VisitReply>,
}

/// Who the resident is as far as the directory has said, by pseudonymous id.
#[derive(Serialize)]
struct ResidentReply {
    id: Uuid,
    resolved_id: Uuid,
    registered: bool,
    merge_pending: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    died_at: Option<String>,
}

#[derive(Serialize)]
struct ObservedReply {
    at: String,
    #[serde(flatten)]
    news2: News2Fields,
}

#[derive(Serialize)]
struct RelatedReply {
    stream: Uuid,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

#[derive(Serialize)]
struct VisitReply {
    stream: Uuid,
    admitted_at: String,
}

pub(super) async fn show(State(intake): State<Shared>, PathOf(id): PathOf<Uuid>, caller: Caller) -> Result<Response, Problem> {
    let id = CallId::from_bytes(id.into_bytes());
    let store = intake.kernel.store.as_ref();
    let row = view::call(store, id).await?.ok_or_else(not_found)?;
    caller.must_see_home(row.home)?;
    let who = identity::resolve(store, *row.resident.bytes()).await?;
    let visits = view::visits(store, &identity::names_of(store, who.id).await?).await?;
    let related = view::related(store, id).await?;
    let of_kind = |kind: &str| related.iter().filter(|r| r.kind == kind).map(related_reply).collect();
    let reply = CallReply {
        resident: ResidentReply {
            id: uuid_of(*row.resident.bytes()),
            resolved_id: uuid_of(who.id),
            registered: who.registered,
            merge_pending: who.merge_pending,
            died_at: who.died_at.map(rfc3339),
        },
        observations: observations(&intake, id).await?,
        consultations: of_kind("consultation"),
        prescriptions: of_kind("prescription"),
        visits: visits.into_iter().map(|(stream, at)| VisitReply { stream: uuid_of(*stream.bytes()), admitted_at: rfc3339(at) }).collect(),
        line: row.into(),
    };
    Ok(([(ETAG, format!("\"{}\"", reply.line.version))], Json(reply)).into_response())
}

fn related_reply(related: &Related) -> RelatedReply {
    RelatedReply { stream: uuid_of(*related.named.stream.bytes()), version: related.named.version, state: related.state.clone() }
}

async fn observations(intake: &Intake, id: CallId) -> Result<Vec<ObservedReply>, Problem> {
    let mut observed = Vec::new();
    for fact in intake.kernel.facts(id.into()).await? {
        let event = wire::inward(&fact, None).map_err(|e| NotNow::Other(e.to_string()))?;
        if let CallEvent::ObservationsRecorded(e) = event {
            observed.push(ObservedReply { at: rfc3339(fact.envelope.occurred_at_us), news2: News2Fields::of(&e) });
        }
    }
    Ok(observed)
}

/// What was said in a call, in the order of its facts. Audited before it leaves.
pub(super) async fn narrative(State(intake): State<Shared>, PathOf(id): PathOf<Uuid>, caller: Caller, reason: Reason) -> Result<Json<Value>, Problem> {
    let id = CallId::from_bytes(id.into_bytes());
    let (mut said, mut resident) = (Vec::new(), None);
    for opened in intake.kernel.load(id.into()).await? {
        let event = wire::inward(&opened.fact, opened.personal.as_ref()).map_err(|e| NotNow::Other(e.to_string()))?;
        match &event {
            CallEvent::Opened(e) => resident = Some(e.resident.id),
            CallEvent::ResidentIdentified(e) => resident = Some(e.resident.id),
            _ => {}
        }
        if let Some(words) = words(&event) {
            said.push(json!({ "version": opened.fact.version(), "at": rfc3339(opened.fact.envelope.occurred_at_us), "said": words }));
        }
    }
    let resident = resident.ok_or_else(not_found)?;
    let row = service::audit(&caller, "call_narrative_read", Some(*resident.bytes()), reason.0, now_us());
    match intake.kernel.store.append(Unit { audit: vec![row], ..Unit::default() }).await? {
        Answer::Committed { .. } => Ok(Json(json!({ "call": uuid_of(*id.bytes()), "narrative": said }))),
        Answer::VersionConflict { .. } | Answer::Claimed(_) | Answer::Fenced(_) => Err(NotNow::Other("the read could not be recorded".to_owned()).into()),
    }
}

/// The personal part of a fact as JSON; `None` where it has none.
fn words(event: &CallEvent) -> Option<Value> {
    match event {
        CallEvent::Opened(e) => e.said.as_ref().map(|said| {
            shown(said, |words| {
                json!({
                    "reason_text": words.reason_text,
                    "caller_name": words.caller_name,
                    "resident": words.resident.as_ref().map(demographics),
                })
            })
        }),
        CallEvent::Triaged(e) => e.note.as_ref().map(|note| shown(note, |note| json!({ "triage_note": note }))),
        CallEvent::CounterfactualRecorded(e) => e.text.as_ref().map(|text| shown(text, |text| json!({ "counterfactual": text }))),
        CallEvent::ConsentRecorded(e) => e.note.as_ref().map(|note| shown(note, |note| json!({ "consent_note": note }))),
        CallEvent::ResidentIdentified(e) => e.said.as_ref().map(|said| shown(said, |said| json!({ "resident": demographics(said) }))),
        CallEvent::Voided(e) => e.note.as_ref().map(|note| shown(note, |note| json!({ "void_note": note }))),
        CallEvent::Answered
        | CallEvent::ObservationsRecorded(_)
        | CallEvent::ClinicianJoined(_)
        | CallEvent::Closed(_)
        | CallEvent::AttemptedOutsideHours { .. }
        | CallEvent::Abandoned { .. }
        | CallEvent::TaskOpened(_)
        | CallEvent::TaskClosed { .. }
        | CallEvent::PersonalDataDestroyed => None,
    }
}

fn shown<T: Zeroize>(said: &Personal<T>, show: impl Fn(&T) -> Value) -> Value {
    match said {
        Personal::Known(said) => show(said.expose()),
        Personal::Destroyed => json!("destroyed"),
        Personal::Withheld => json!("withheld"),
    }
}

fn demographics(said: &Demographics) -> Value {
    json!({
        "family_name": said.family_name,
        "given_names": said.given_names,
        "date_of_birth": said.date_of_birth.as_ref().map(DateOfBirth::to_iso),
        "nhs_number": said.nhs_number.as_ref().map(NhsNumber::as_str),
    })
}

pub(super) async fn tasks(State(intake): State<Shared>) -> Result<Json<TaskList>, Problem> {
    Ok(Json(tasks::list(intake.kernel.store.as_ref()).await?))
}
