//! `POST /consultations`: the outcome, what is claimed to have been avoided, and the plan, in one unit.

use super::fields::{self, PlanFields};
use super::{Shared, occurred, unit};
use crate::domain::decide::{self, ClaimAvoidance, DecideOutcome};
use crate::domain::events::ClaimWords;
use crate::domain::{CallReference, OutcomeEvent, Rejection};
use crate::{CONSULTATION_OF_CALL, Outcomes, view, wire};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{ETAG, LOCATION};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hearthline_eventing::{Attempted, Claim, ClaimHolder, ClaimRule, NotNow, now_us, retrying};
use hearthline_nhs::words::Word;
use hearthline_nhs::{CallId, ClaimId, ConsultationId, Personal, StreamId};
use hearthline_runtime::http::{Command, Problem, Receipt, invalid_field, not_here_yet};
use hearthline_runtime::service;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutcomeFields {
    call_id: Uuid,
    /// The version of the call that the clinician saw.
    call_version: u64,
    disposition: String,
    summary: Option<String>,
    #[serde(default)]
    claims: Vec<ClaimFields>,
    plan: Option<PlanFields>,
    occurred_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimFields {
    kind: String,
    rationale: Option<String>,
    likely_admitting_problem: Option<String>,
}

impl fmt::Debug for OutcomeFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutcomeFields(redacted)")
    }
}

pub(super) async fn decide_outcome(State(outcomes): State<Shared>, command: Command<OutcomeFields>) -> Result<Response, Problem> {
    let decision = parse(&command.body)?;
    match decided(&outcomes, &command, decision).await {
        Err(problem) if problem.status().is_client_error() => {
            let earlier = service::earlier(outcomes.kernel.store.as_ref(), &command.key, command.body_digest).await?;
            again(&outcomes, earlier.ok_or(problem)?).await
        }
        answered => answered,
    }
}

async fn decided(outcomes: &Outcomes, command: &Command<OutcomeFields>, decision: DecideOutcome) -> Result<Response, Problem> {
    let store = outcomes.kernel.store.as_ref();
    let call_id = CallId::from_bytes(command.body.call_id.into_bytes());
    call_at(outcomes, call_id, decision.call_version).await?;
    let attempt = retrying(store, || {
        // A fresh stream each time: only a claim can stand in the way.
        let id = ConsultationId::from_bytes(service::fresh_id());
        let decision = decision.clone();
        async move {
            let call = view::call(store, call_id).await?.ok_or_else(not_here_yet)?;
            let now = now_us();
            let occurred = occurred(outcomes, &command.caller, command.body.occurred_at.as_deref(), Some(call.opened_at), now)?;
            let events = decide::decide_outcome(&call, decision)?;
            let (reply, version) = (claims_of(&events), events.len() as u64);
            let mut unit = unit(outcomes, &command.caller, call_id, (id, 0), events, &occurred, now).await?;
            unit.claims.push(service::idempotent(&command.key, command.body_digest, id.into(), version, now));
            unit.claims.push(only_one(call_id, id, version));
            Ok::<_, Problem>((unit, (id, version, reply)))
        }
    })
    .await?;
    match attempt {
        Attempted::Committed { position, value: (id, version, claims) } => Ok(reply(service::receipt(id.into(), version, position), claims)),
        Attempted::Claimed(holder) if holder.scope == CONSULTATION_OF_CALL => Err(taken(&holder, call_id).into()),
        Attempted::Claimed(holder) => again(outcomes, service::repeated(&holder, command.body_digest)?).await,
    }
}

/// Waits until the call is here in the version that the clinician saw.
async fn call_at(outcomes: &Outcomes, id: CallId, version: u64) -> Result<CallReference, Problem> {
    let store = outcomes.kernel.store.as_ref();
    let here = service::wait_for(outcomes.options.patience, || async { Ok(view::call(store, id).await?.filter(|call| call.version >= version)) });
    here.await?.ok_or_else(not_here_yet)
}

/// A call has one consultation for ever.
fn only_one(call: CallId, consultation: ConsultationId, version: u64) -> Claim {
    Claim {
        scope: CONSULTATION_OF_CALL,
        key: Bytes::copy_from_slice(call.bytes()),
        digest: Bytes::new(),
        owner: consultation.into(),
        version,
        expires_at: None,
        rule: ClaimRule::Unique,
    }
}

/// The call itself holds the claim once it was voided.
fn taken(holder: &ClaimHolder, call: CallId) -> Rejection {
    if holder.owner == StreamId::from(call) { Rejection::CallVoided } else { Rejection::AlreadyDecided }
}

/// The reply of the first time, rebuilt from the facts.
async fn again(outcomes: &Outcomes, receipt: Receipt) -> Result<Response, Problem> {
    let mut events = Vec::new();
    for fact in outcomes.kernel.facts(StreamId::from_bytes(receipt.stream.into_bytes())).await? {
        if fact.version() <= receipt.version {
            events.extend(wire::inward(&fact, None).map_err(|e| NotNow::Other(e.to_string()))?);
        }
    }
    Ok(reply(receipt, claims_of(&events)))
}

fn parse(body: &OutcomeFields) -> Result<DecideOutcome, Problem> {
    if body.call_version == 0 {
        return Err(invalid_field("call_version", "the version of the call that was seen, from 1"));
    }
    let summary = fields::text("summary", body.summary.as_deref())?;
    let claims: Result<Vec<ClaimAvoidance>, Problem> = body.claims.iter().enumerate().map(|(n, claim)| claim.parse(n)).collect();
    Ok(DecideOutcome {
        call_version: body.call_version,
        disposition: service::word("disposition", &body.disposition)?,
        summary: (!summary.is_empty()).then(|| Personal::of(summary)),
        claims: claims?,
        plan: body.plan.as_ref().map(|plan| plan.parse("plan.")).transpose()?,
    })
}

impl ClaimFields {
    fn parse(&self, n: usize) -> Result<ClaimAvoidance, Problem> {
        let words = ClaimWords {
            likely_admitting_problem: fields::text(&format!("claims.{n}.likely_admitting_problem"), self.likely_admitting_problem.as_deref())?,
            rationale: fields::text(&format!("claims.{n}.rationale"), self.rationale.as_deref())?,
        };
        Ok(ClaimAvoidance {
            id: ClaimId::from_bytes(service::fresh_id()),
            kind: service::word(&format!("claims.{n}.kind"), &self.kind)?,
            words: (words != ClaimWords::default()).then(|| Personal::of(words)),
        })
    }
}

#[derive(Serialize)]
struct ClaimReply {
    claim_id: Uuid,
    kind: &'static str,
}

#[derive(Serialize)]
struct OutcomeReply {
    #[serde(flatten)]
    receipt: Receipt,
    claims: Vec<ClaimReply>,
}

fn claims_of(events: &[OutcomeEvent]) -> Vec<ClaimReply> {
    let claims = events.iter().filter_map(|event| match event {
        OutcomeEvent::AvoidanceClaimed(e) => Some(ClaimReply { claim_id: service::uuid_of(*e.claim.bytes()), kind: e.kind.as_str() }),
        _ => None,
    });
    claims.collect()
}

fn reply(receipt: Receipt, claims: Vec<ClaimReply>) -> Response {
    let headers = [(LOCATION, format!("/consultations/{}", receipt.stream)), (ETAG, format!("\"{}\"", receipt.version))];
    (StatusCode::CREATED, headers, Json(OutcomeReply { receipt, claims })).into_response()
}
