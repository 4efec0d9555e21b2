//! Changes of a call that is there: DTO → domain types → rule → receipt.

use super::fields::{self, Named, ObservationFields, ResidentFields, StreamVersionFields};
use super::{Shared, change};
use crate::domain::decide::{self, Close, Identify, Seen, Triage};
use crate::domain::events::{Consent, Counterfactual, StreamVersion, Voided};
use crate::domain::words::*;
use crate::{Intake, view};
use axum::extract::State;
use hearthline_nhs::{CallId, ResidentId};
use hearthline_runtime::http::{Command, IfMatch, PathOf, Problem, Receipt, invalid_field, not_here_yet};
use hearthline_runtime::service;
use serde::Deserialize;
use uuid::Uuid;

type Changed = Result<Receipt, Problem>;

fn call_id(id: Uuid) -> CallId {
    CallId::from_bytes(id.into_bytes())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerFields {
    occurred_at: Option<String>,
}

pub(super) async fn answer(State(intake): State<Shared>, PathOf(id): PathOf<Uuid>, seen: IfMatch, command: Command<AnswerFields>) -> Changed {
    change(&intake, call_id(id), seen, &command, command.body.occurred_at.as_deref(), decide::answer).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TriageFields {
    urgency: String,
    reason: Option<String>,
    #[serde(default)]
    secondary_reasons: Vec<String>,
    referral_source: Option<String>,
    retriage_reason: Option<String>,
    note: Option<String>,
    occurred_at: Option<String>,
}

pub(super) async fn triage(State(intake): State<Shared>, PathOf(id): PathOf<Uuid>, seen: IfMatch, command: Command<TriageFields>) -> Changed {
    let body = &command.body;
    let secondary: Result<Vec<CallReason>, Problem> =
        body.secondary_reasons.iter().enumerate().map(|(n, text)| service::word(&format!("secondary_reasons.{n}"), text)).collect();
    let triage = Triage {
        urgency: service::word("urgency", &body.urgency)?,
        reason: service::opt_word("reason", body.reason.as_deref())?,
        secondary_reasons: secondary?,
        referral_source: service::opt_word("referral_source", body.referral_source.as_deref())?.unwrap_or(ReferralSource::HomeDirect),
        retriage: service::opt_word("retriage_reason", body.retriage_reason.as_deref())?,
        note: fields::free_text("note", body.note.as_deref())?,
    };
    change(&intake, call_id(id), seen, &command, body.occurred_at.as_deref(), |call| decide::triage(call, triage.clone())).await
}

pub(super) async fn observations(State(intake): State<Shared>, PathOf(id): PathOf<Uuid>, seen: IfMatch, command: Command<ObservationFields>) -> Changed {
    let observe = command.body.parse("")?;
    change(&intake, call_id(id), seen, &command, command.body.occurred_at.as_deref(), |call| decide::record_observations(call, observe)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CounterfactualFields {
    alternative: String,
    #[serde(default)]
    escort_expected: bool,
    escort_minutes: Option<u32>,
    text: Option<String>,
    occurred_at: Option<String>,
}

pub(super) async fn counterfactual(State(intake): State<Shared>, PathOf(id): PathOf<Uuid>, seen: IfMatch, command: Command<CounterfactualFields>) -> Changed {
    let body = &command.body;
    let counterfactual = Counterfactual {
        alternative: service::word("alternative", &body.alternative)?,
        escort_expected: body.escort_expected,
        escort_minutes: body.escort_minutes,
        text: fields::free_text("text", body.text.as_deref())?,
    };
    change(&intake, call_id(id), seen, &command, body.occurred_at.as_deref(), |call| decide::record_counterfactual(call, counterfactual.clone())).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsentFields {
    basis: String,
    note: Option<String>,
    occurred_at: Option<String>,
}

pub(super) async fn consent(State(intake): State<Shared>, PathOf(id): PathOf<Uuid>, seen: IfMatch, command: Command<ConsentFields>) -> Changed {
    let body = &command.body;
    let consent = Consent { basis: service::word("basis", &body.basis)?, note: fields::free_text("note", body.note.as_deref())? };
    change(&intake, call_id(id), seen, &command, body.occurred_at.as_deref(), |call| decide::record_consent(call, consent.clone())).await
}

pub(super) async fn resident(State(intake): State<Shared>, PathOf(id): PathOf<Uuid>, seen: IfMatch, command: Command<ResidentFields>) -> Changed {
    let identify = match command.body.parse("")? {
        Named::Known(resident) => {
            fields::known_resident(&intake, &command.caller, resident).await?;
            Identify::Known(resident)
        }
        Named::Described(None) => return Err(invalid_field("resident_id", "a resident's id, or what is known of the resident")),
        Named::Described(said) => Identify::Described { fresh: ResidentId::from_bytes(service::fresh_id()), said },
    };
    change(&intake, call_id(id), seen, &command, command.body.occurred_at.as_deref(), |call| decide::identify(call, identify.clone())).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinFields {
    clinician_role: String,
    grade: String,
    occurred_at: Option<String>,
}

pub(super) async fn join(State(intake): State<Shared>, PathOf(id): PathOf<Uuid>, seen: IfMatch, command: Command<JoinFields>) -> Changed {
    let body = &command.body;
    let role = service::word("clinician_role", &body.clinician_role)?;
    let grade = service::word("grade", &body.grade)?;
    change(&intake, call_id(id), seen, &command, body.occurred_at.as_deref(), |call| decide::join(call, role, grade)).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseFields {
    consultation: Option<StreamVersionFields>,
    #[serde(default)]
    prescriptions: Vec<StreamVersionFields>,
    outcome_to_follow: Option<String>,
    corrected_reason: Option<String>,
    occurred_at: Option<String>,
}

pub(super) async fn close(State(intake): State<Shared>, PathOf(id): PathOf<Uuid>, seen: IfMatch, command: Command<CloseFields>) -> Changed {
    let body = &command.body;
    let close = Close {
        call: call_id(id),
        consultation: body.consultation.map(StreamVersionFields::parse),
        prescriptions: body.prescriptions.iter().map(|named| named.parse()).collect(),
        outcome_to_follow: service::opt_word("outcome_to_follow", body.outcome_to_follow.as_deref())?,
        corrected_reason: service::opt_word("corrected_reason", body.corrected_reason.as_deref())?,
    };
    if close.consultation.is_some() && close.outcome_to_follow.is_some() {
        return Err(invalid_field("outcome_to_follow", "left out where a consultation is named"));
    }
    let here = named_streams(&intake, &close).await?;
    change(&intake, close.call, seen, &command, body.occurred_at.as_deref(), |call| decide::close(call, close.clone(), &here)).await
}

/// Waits until every stream that the closing names is here in the version that was seen, all within one patience.
async fn named_streams(intake: &Intake, close: &Close) -> Result<Vec<Seen>, Problem> {
    let store = intake.kernel.store.as_ref();
    let consultation = close.consultation.iter().map(|named| (named, "consultation"));
    let named: Vec<(&StreamVersion, &str)> = consultation.chain(close.prescriptions.iter().map(|named| (named, "prescription"))).collect();
    let all = service::wait_for(intake.options.patience, || async {
        let mut here = Vec::with_capacity(named.len());
        for (version, kind) in &named {
            match view::seen(store, **version, kind).await? {
                Some(seen) => here.push(seen),
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    });
    all.await?.ok_or_else(not_here_yet)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AbandonFields {
    waited_seconds: u32,
    occurred_at: Option<String>,
}

pub(super) async fn abandon(State(intake): State<Shared>, PathOf(id): PathOf<Uuid>, seen: IfMatch, command: Command<AbandonFields>) -> Changed {
    let waited = command.body.waited_seconds;
    change(&intake, call_id(id), seen, &command, command.body.occurred_at.as_deref(), |call| decide::abandon(call, waited)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VoidFields {
    reason: String,
    duplicate_of: Option<Uuid>,
    note: Option<String>,
    occurred_at: Option<String>,
}

pub(super) async fn void(State(intake): State<Shared>, PathOf(id): PathOf<Uuid>, seen: IfMatch, command: Command<VoidFields>) -> Changed {
    let body = &command.body;
    let voided = Voided {
        reason: service::word("reason", &body.reason)?,
        duplicate_of: body.duplicate_of.map(call_id),
        note: fields::free_text("note", body.note.as_deref())?,
    };
    let id = call_id(id);
    change(&intake, id, seen, &command, body.occurred_at.as_deref(), |call| decide::void(id, call, voided.clone())).await
}
