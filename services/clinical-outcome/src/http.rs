//! The routes of clinical outcome, and what all of its changes have in common.

mod commands;
mod decide_outcome;
mod fields;
mod queries;

use crate::domain::{Consultation, OutcomeEvent, Rejection};
use crate::{Outcomes, view, wire};
use hearthline_eventing::{Attempted, NewEvent, NotNow, Occurred, Unit, now_us, retrying};
use hearthline_nhs::{CallId, ConsultationId};
use hearthline_runtime::auth::{Caller, Role};
use hearthline_runtime::http::{Command, IfMatch, Problem, Receipt, Route, Scope, not_found, rejected};
use hearthline_runtime::service;
use std::sync::Arc;

type Shared = Arc<Outcomes>;

const CLINICIANS: &[Role] = &[Role::Clinician];
const WATCHERS: &[Role] = &[Role::CallHandler, Role::Clinician, Role::Prescriber, Role::Operator];
const READERS: &[Role] = &[Role::CallHandler, Role::Clinician, Role::Prescriber];

/// Every route, with who may use it.
pub fn routes() -> Vec<Route<Shared>> {
    vec![
        Route::post("/consultations", CLINICIANS, Scope::Any, decide_outcome::decide_outcome),
        Route::get("/consultations/{consultation_id}", WATCHERS, Scope::Any, queries::show),
        Route::get("/consultations/{consultation_id}/narrative", READERS, Scope::Any, queries::narrative).reads_personal(),
        Route::post("/consultations/{consultation_id}/claims/{claim_id}/withdraw", CLINICIANS, Scope::Any, commands::withdraw),
        Route::post("/consultations/{consultation_id}/plan", CLINICIANS, Scope::Any, commands::plan),
        Route::get("/tasks/clinical-outcome", WATCHERS, Scope::Any, queries::tasks),
    ]
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        rejected(rejection.code(), rejection.to_string())
    }
}

/// One change of one consultation: load, decide, append; anew if somebody was faster. A repeat hears the receipt of the first
/// time, also where the rules would now say no. `decide` gives `None` where the address names nothing.
async fn change<T>(
    outcomes: &Outcomes,
    id: ConsultationId,
    seen: IfMatch,
    command: &Command<T>,
    occurred_at: Option<&str>,
    decide: impl Fn(&Consultation) -> Option<Result<Vec<OutcomeEvent>, Rejection>>,
) -> Result<Receipt, Problem> {
    let store = outcomes.kernel.store.as_ref();
    let attempt = retrying(store, || async {
        let (consultation, version) = outcomes.load(id).await?.ok_or_else(not_found)?;
        seen.check(version)?;
        let opened_at = view::call(store, consultation.call).await?.map(|call| call.opened_at);
        let now = now_us();
        let occurred = occurred(outcomes, &command.caller, occurred_at, opened_at, now)?;
        let events = decide(&consultation).ok_or_else(not_found)??;
        let version_after = version + events.len() as u64;
        let mut unit = unit(outcomes, &command.caller, consultation.call, (id, version), events, &occurred, now).await?;
        unit.claims.push(service::idempotent(&command.key, command.body_digest, id.into(), version_after, now));
        Ok::<_, Problem>((unit, version_after))
    })
    .await;
    match attempt {
        Ok(Attempted::Committed { position, value }) => Ok(service::receipt(id.into(), value, position)),
        Ok(Attempted::Claimed(holder)) => service::repeated(&holder, command.body_digest),
        Err(problem) if problem.status().is_client_error() => service::earlier(store, &command.key, command.body_digest).await?.ok_or(problem),
        Err(problem) => Err(problem),
    }
}

/// The unit that appends decided events to a consultation at a version.
async fn unit(
    outcomes: &Outcomes,
    caller: &Caller,
    call: CallId,
    (id, version): (ConsultationId, u64),
    events: Vec<OutcomeEvent>,
    occurred: &Occurred,
    now: i64,
) -> Result<Unit, NotNow> {
    let events: Vec<NewEvent> = events.into_iter().map(|event| wire::outward(event, occurred)).collect();
    let cause = service::cause(caller, *call.bytes());
    let write = outcomes.kernel.composer.write(id.into(), version, events, &cause, now).await?;
    Ok(Unit { writes: vec![write], ..Unit::default() })
}

fn occurred(outcomes: &Outcomes, caller: &Caller, occurred_at: Option<&str>, opened_at: Option<i64>, now: i64) -> Result<Occurred, Problem> {
    let at = service::instant("occurred_at", occurred_at)?;
    service::occurred(caller, at, opened_at, now, outcomes.options.late_entry_days, outcomes.options.live)
}
