//! What call intake does with others' facts, and with its own timer.
//!
//! | heard | done |
//! |---|---|
//! | directory: homes, residents, alias edges | reference rows |
//! | outcome, prescribing: every version | reference rows, so that a closing finds what it names |
//! | outcome: `OutcomeDecided` of a call closed with its outcome to follow | the call's timer is due now: it ends the task |
//! | hospital: visits | reference rows, shown with calls |

use crate::domain::decide;
use crate::wire::{self, Reference};
use crate::{Intake, view};
use async_trait::async_trait;
use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::consumer::{Inbound, Reaction, Triage};
use hearthline_eventing::timers::{Due, OnTimer};
use hearthline_eventing::{Actor, Cause, Fact, NotNow, Occurred, TimerChange, Unit, now_us, trace};
use hearthline_nhs::{CallId, TaskId};
use std::sync::Arc;

/// Asks, on a call's stream, whether the outcome that was to follow has come.
pub const OUTCOME_TIMER: &str = "outcome_to_follow";

/// The policies of call intake.
pub struct Policies(pub Arc<Intake>);

#[async_trait]
impl Inbound for Policies {
    fn topics(&self) -> &'static [&'static Topic] {
        const { topics::read_by(crate::NAME) }
    }

    fn triage(&self, fact: &Fact) -> Triage {
        match wire::reference(fact) {
            Ok(Some(Reference::Consultation { .. })) => Triage::Act,
            // What cannot be read is parked by the view that meets it.
            Ok(Some(_)) | Err(_) => Triage::Project,
            // Residents and alias edges go to the identities.
            Ok(None) if fact.topic == topics::DIRECTORY.name => Triage::Project,
            Ok(None) => Triage::Ignore("nothing that a call refers to"),
        }
    }

    async fn act(&self, fact: &Fact) -> Result<Reaction, NotNow> {
        let Ok(Some(Reference::Consultation { call })) = wire::reference(fact) else {
            return Ok(Reaction::Project);
        };
        let awaited = view::call(self.0.kernel.store.as_ref(), call).await?.is_some_and(|row| row.outcome_to_follow);
        if !awaited {
            return Ok(Reaction::Project);
        }
        let poke = TimerChange::Set { stream: call.into(), name: OUTCOME_TIMER, due_at: now_us(), payload: bytes::Bytes::new() };
        Ok(Reaction::Apply(Box::new(Unit { timers: vec![poke], ..Unit::default() })))
    }
}

#[async_trait]
impl OnTimer for Policies {
    async fn due(&self, timer: &Due, now: i64) -> Result<Unit, NotNow> {
        let id = CallId::of_stream(timer.stream);
        let Some((call, version)) = self.0.load(id).await? else {
            return Ok(Unit::default());
        };
        let outcome_here = view::has_outcome(self.0.kernel.store.as_ref(), id).await?;
        let fresh = TaskId::from_bytes(hearthline_runtime::service::fresh_id());
        let events = decide::follow_up(&call, outcome_here, fresh, now);
        if events.is_empty() {
            return Ok(Unit::default());
        }
        let cause = Cause { actor: Actor::SYSTEM, causation: None, correlation: *id.bytes(), traceparent: trace::current() };
        let events = events.into_iter().map(|event| wire::outward(event, &Occurred::at(now))).collect();
        let write = self.0.kernel.composer.write(timer.stream, version, events, &cause, now).await?;
        Ok(Unit { writes: vec![write], ..Unit::default() })
    }
}
