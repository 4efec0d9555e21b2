//! Changes of a consultation that is there: DTO → domain types → rule → receipt.

use super::fields::PlanFields;
use super::{Shared, change};
use crate::domain::decide;
use axum::extract::State;
use hearthline_nhs::{ClaimId, ConsultationId};
use hearthline_runtime::http::{Command, IfMatch, PathOf, Problem, Receipt};
use hearthline_runtime::service;
use serde::Deserialize;
use uuid::Uuid;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WithdrawFields {
    reason: String,
    occurred_at: Option<String>,
}

pub(super) async fn withdraw(
    State(outcomes): State<Shared>,
    PathOf((id, claim)): PathOf<(Uuid, Uuid)>,
    seen: IfMatch,
    command: Command<WithdrawFields>,
) -> Result<Receipt, Problem> {
    let (id, claim) = (ConsultationId::from_bytes(id.into_bytes()), ClaimId::from_bytes(claim.into_bytes()));
    let reason = service::word("reason", &command.body.reason)?;
    change(&outcomes, id, seen, &command, command.body.occurred_at.as_deref(), |consultation| decide::withdraw(consultation, claim, reason)).await
}

pub(super) async fn plan(State(outcomes): State<Shared>, PathOf(id): PathOf<Uuid>, seen: IfMatch, command: Command<PlanFields>) -> Result<Receipt, Problem> {
    let plan = command.body.parse("")?;
    let id = ConsultationId::from_bytes(id.into_bytes());
    change(&outcomes, id, seen, &command, command.body.occurred_at.as_deref(), |consultation| Some(decide::agree_plan(consultation, plan.clone()))).await
}
