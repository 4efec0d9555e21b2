//! Reads: one consultation, and (audited) what was written in it.

use super::Shared;
use crate::domain::events::{PlanAgreed, ResidentRef};
use crate::domain::state::Claim;
use crate::domain::{Consultation, OutcomeEvent};
use crate::wire;
use axum::Json;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use hearthline_eventing::{Answer, NotNow, Unit, identity, now_us};
use hearthline_nhs::words::Word;
use hearthline_nhs::{ConsultationId, Personal};
use hearthline_runtime::auth::Caller;
use hearthline_runtime::http::{PathOf, Problem, Reason, not_found};
use hearthline_runtime::service::{self, rfc3339, uuid_of};
use hearthline_runtime::tasks::{self, TaskList};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroize;

#[derive(Serialize)]
struct ConsultationReply {
    id: Uuid,
    version: u64,
    call_id: Uuid,
    call_version: u64,
    disposition: &'static str,
    /// No outcome stands any more.
    withdrawn: bool,
    decided_at: String,
    resident: ResidentReply,
    claims: Vec<ClaimReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanReply>,
}

/// Who the resident is as far as the directory has said, by pseudonymous id.
#[derive(Serialize)]
struct ResidentReply {
    id: Uuid,
    status: &'static str,
    resolved_id: Uuid,
    registered: bool,
    merge_pending: bool,
}

#[derive(Serialize)]
struct ClaimReply {
    claim_id: Uuid,
    kind: &'static str,
    would_have_happened: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawn: Option<&'static str>,
}

#[derive(Serialize)]
struct PlanReply {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    review_on: Option<String>,
    agreed_with_home: bool,
}

pub(super) async fn show(State(outcomes): State<Shared>, PathOf(id): PathOf<Uuid>) -> Result<Response, Problem> {
    let id = ConsultationId::from_bytes(id.into_bytes());
    let (mut consultation, mut plan, mut version, mut decided_at) = (None, None, 0, 0);
    for fact in outcomes.kernel.facts(id.into()).await? {
        version = fact.version();
        let Some(event) = wire::inward(&fact, None).map_err(|e| NotNow::Other(e.to_string()))? else { continue };
        match &event {
            OutcomeEvent::Decided(_) => decided_at = fact.envelope.occurred_at_us,
            OutcomeEvent::PlanAgreed(agreed) => plan = Some(plan_reply(agreed)),
            OutcomeEvent::Amended(_) | OutcomeEvent::AvoidanceClaimed(_) | OutcomeEvent::AvoidanceWithdrawn { .. } => {}
        }
        consultation = Consultation::evolve(consultation, &event);
    }
    let consultation = consultation.ok_or_else(not_found)?;
    let reply = ConsultationReply {
        id: uuid_of(*id.bytes()),
        version,
        call_id: uuid_of(*consultation.call.bytes()),
        call_version: consultation.call_version,
        disposition: consultation.disposition.as_str(),
        withdrawn: consultation.withdrawn,
        decided_at: rfc3339(decided_at),
        resident: resident(&outcomes, consultation.resident).await?,
        claims: consultation.claims.iter().map(claim_reply).collect(),
        plan,
    };
    Ok(([(ETAG, format!("\"{version}\""))], Json(reply)).into_response())
}

async fn resident(outcomes: &Shared, resident: ResidentRef) -> Result<ResidentReply, Problem> {
    let who = identity::resolve(outcomes.kernel.store.as_ref(), *resident.id.bytes()).await?;
    Ok(ResidentReply {
        id: uuid_of(*resident.id.bytes()),
        status: resident.status.as_str(),
        resolved_id: uuid_of(who.id),
        registered: who.registered,
        merge_pending: who.merge_pending,
    })
}

fn claim_reply(claim: &Claim) -> ClaimReply {
    ClaimReply {
        claim_id: uuid_of(*claim.id.bytes()),
        kind: claim.kind.as_str(),
        would_have_happened: claim.would_have_happened.as_str(),
        withdrawn: claim.withdrawn.map(Word::as_str),
    }
}

fn plan_reply(plan: &PlanAgreed) -> PlanReply {
    PlanReply { version: plan.plan_version, review_on: plan.review_on.map(|day| day.to_string()), agreed_with_home: plan.agreed_with_home }
}

/// What was written in a consultation, in the order of its facts. Audited before it leaves.
pub(super) async fn narrative(State(outcomes): State<Shared>, PathOf(id): PathOf<Uuid>, caller: Caller, reason: Reason) -> Result<Json<Value>, Problem> {
    let id = ConsultationId::from_bytes(id.into_bytes());
    let (mut written, mut consultation) = (Vec::new(), None);
    for opened in outcomes.kernel.load(id.into()).await? {
        let event = wire::inward(&opened.fact, opened.personal.as_ref()).map_err(|e| NotNow::Other(e.to_string()))?;
        let Some(event) = event else { continue };
        if let Some(words) = words(&event) {
            let at = rfc3339(opened.fact.envelope.occurred_at_us);
            written.push(json!({ "version": opened.fact.version(), "at": at, "written": words }));
        }
        consultation = Consultation::evolve(consultation, &event);
    }
    let whose = *consultation.ok_or_else(not_found)?.resident.id.bytes();
    let row = service::audit(&caller, "consultation_narrative_read", Some(whose), reason.0, now_us());
    match outcomes.kernel.store.append(Unit { audit: vec![row], ..Unit::default() }).await? {
        Answer::Committed { .. } => Ok(Json(json!({ "consultation": uuid_of(*id.bytes()), "narrative": written }))),
        Answer::VersionConflict { .. } | Answer::Claimed(_) | Answer::Fenced(_) => Err(NotNow::Other("the read could not be recorded".to_owned()).into()),
    }
}

/// The personal part of a fact as JSON; `None` where it has none.
fn words(event: &OutcomeEvent) -> Option<Value> {
    match event {
        OutcomeEvent::Decided(e) => e.summary.as_ref().map(|summary| shown(summary, |summary| json!({ "summary": summary }))),
        OutcomeEvent::Amended(e) => e.summary.as_ref().map(|summary| shown(summary, |summary| json!({ "summary": summary }))),
        OutcomeEvent::AvoidanceClaimed(e) => e
            .words
            .as_ref()
            .map(|words| shown(words, |words| json!({ "likely_admitting_problem": words.likely_admitting_problem, "rationale": words.rationale }))),
        OutcomeEvent::PlanAgreed(e) => e
            .words
            .as_ref()
            .map(|words| shown(words, |words| json!({ "plan": words.plan, "actions_for_gp": words.gp_actions, "call_back_if": words.call_back_if }))),
        OutcomeEvent::AvoidanceWithdrawn { .. } => None,
    }
}

fn shown<T: Zeroize>(written: &Personal<T>, show: impl Fn(&T) -> Value) -> Value {
    match written {
        Personal::Known(written) => show(written.expose()),
        Personal::Destroyed => json!("destroyed"),
        Personal::Withheld => json!("withheld"),
    }
}

pub(super) async fn tasks(State(outcomes): State<Shared>) -> Result<Json<TaskList>, Problem> {
    Ok(Json(tasks::list(outcomes.kernel.store.as_ref()).await?))
}
