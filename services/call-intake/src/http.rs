//! The routes of call intake, and what all of its commands have in common.

mod commands;
mod fields;
mod open;
mod queries;

use crate::domain::events::Outcome;
use crate::domain::{Call, CallEvent, Rejection, decide};
use crate::inbound::OUTCOME_TIMER;
use crate::{Intake, wire};
use hearthline_eventing::{Attempted, NewEvent, NotNow, Occurred, TimerChange, Unit, now_us, retrying};
use hearthline_nhs::{CallId, StreamId};
use hearthline_runtime::auth::{Caller, Role};
use hearthline_runtime::http::{Command, IfMatch, Problem, Receipt, Route, Scope, not_found, rejected};
use hearthline_runtime::service;
use std::sync::Arc;

type Shared = Arc<Intake>;

const OPENERS: &[Role] = &[Role::CareHome, Role::CallHandler];
const RECORDERS: &[Role] = &[Role::CareHome, Role::CallHandler, Role::Clinician];
const HUB: &[Role] = &[Role::CallHandler, Role::Clinician];
const CLINICIANS: &[Role] = &[Role::Clinician];
const WATCHERS: &[Role] = &[Role::CareHome, Role::CallHandler, Role::Clinician, Role::Prescriber, Role::Operator];
const READERS: &[Role] = &[Role::CallHandler, Role::Clinician, Role::Prescriber];
const WORKERS: &[Role] = &[Role::CallHandler, Role::Clinician, Role::Operator];

/// Every route, with who may use it.
pub fn routes() -> Vec<Route<Shared>> {
    vec![
        Route::post("/calls", OPENERS, Scope::OwnHome, open::open_call),
        Route::get("/calls", WATCHERS, Scope::OwnHome, queries::list),
        Route::get("/calls/{call_id}", WATCHERS, Scope::OwnHome, queries::show),
        Route::get("/calls/{call_id}/narrative", READERS, Scope::Any, queries::narrative).reads_personal(),
        Route::post("/calls/{call_id}/answer", HUB, Scope::Any, commands::answer),
        Route::post("/calls/{call_id}/triage", HUB, Scope::Any, commands::triage),
        Route::post("/calls/{call_id}/observations", RECORDERS, Scope::OwnHome, commands::observations),
        Route::post("/calls/{call_id}/counterfactual", RECORDERS, Scope::OwnHome, commands::counterfactual),
        Route::post("/calls/{call_id}/consent", RECORDERS, Scope::OwnHome, commands::consent),
        Route::post("/calls/{call_id}/resident", RECORDERS, Scope::OwnHome, commands::resident),
        Route::post("/calls/{call_id}/join", CLINICIANS, Scope::Any, commands::join),
        Route::post("/calls/{call_id}/close", CLINICIANS, Scope::Any, commands::close),
        Route::post("/calls/{call_id}/abandon", HUB, Scope::Any, commands::abandon),
        Route::post("/calls/{call_id}/void", HUB, Scope::Any, commands::void),
        Route::get("/tasks/call-intake", WORKERS, Scope::Any, queries::tasks),
    ]
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        rejected(rejection.code(), rejection.to_string())
    }
}

/// One change of one call: load, decide, append; anew if somebody was faster. A repeat hears the receipt of the first time, also
/// where the rules would now say no.
async fn change<T>(
    intake: &Intake,
    id: CallId,
    seen: IfMatch,
    command: &Command<T>,
    occurred_at: Option<&str>,
    decide: impl Fn(&Call) -> Result<Vec<CallEvent>, Rejection>,
) -> Result<Receipt, Problem> {
    let store = intake.kernel.store.as_ref();
    let attempt = retrying(store, || async {
        let (call, version) = intake.load(id).await?.ok_or_else(not_found)?;
        command.caller.must_see_home(call.home)?;
        seen.check(version)?;
        let now = now_us();
        let occurred = occurred(intake, &command.caller, occurred_at, Some(call.opened_at), now)?;
        let events = decide(&call)?;
        let version_after = version + events.len() as u64;
        let mut unit = unit(intake, &command.caller, id, version, events, &occurred, now).await?;
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

/// The unit that appends decided events to a call, with the timers that they set.
async fn unit(intake: &Intake, caller: &Caller, id: CallId, version: u64, events: Vec<CallEvent>, occurred: &Occurred, now: i64) -> Result<Unit, NotNow> {
    let timers = events.iter().filter_map(|event| timer(id.into(), event, now)).collect();
    let events: Vec<NewEvent> = events.into_iter().map(|event| wire::outward(event, occurred)).collect();
    let cause = service::cause(caller, *id.bytes());
    let write = intake.kernel.composer.write(id.into(), version, events, &cause, now).await?;
    Ok(Unit { writes: vec![write], timers, ..Unit::default() })
}

/// An outcome that is to follow is asked after a day from now, whenever the call took place.
fn timer(stream: StreamId, event: &CallEvent, now: i64) -> Option<TimerChange> {
    let CallEvent::Closed(closed) = event else { return None };
    matches!(closed.outcome, Outcome::ToFollow(_)).then(|| TimerChange::Set {
        stream,
        name: OUTCOME_TIMER,
        due_at: now + decide::OUTCOME_FOLLOWS_WITHIN_US,
        payload: bytes::Bytes::new(),
    })
}

fn occurred(intake: &Intake, caller: &Caller, occurred_at: Option<&str>, not_before: Option<i64>, now: i64) -> Result<Occurred, Problem> {
    let at = service::instant("occurred_at", occurred_at)?;
    service::occurred(caller, at, not_before, now, intake.options.late_entry_days, intake.options.live)
}
