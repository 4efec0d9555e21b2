//! What clinical outcome does with others' facts.
//!
//! | heard | done |
//! |---|---|
//! | call: every version | the call as reference for the rules |
//! | call: `CallVoided` | the outcome and its claims are withdrawn; no consultation can be opened any more |
//! | call: `ResidentIdentified` in place of another resident | the outcome goes over to that resident |
//! | directory: residents, alias edges | reference rows |
//!
//! The last two of calls set a timer due now, on the call: it looks at call and consultation when the fact is projected, so that no
//! order of events between the two can be missed.

use crate::domain::decide;
use crate::wire::{self, CallChange};
use crate::{CONSULTATION_OF_CALL, Outcomes, view};
use async_trait::async_trait;
use bytes::Bytes;
use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::consumer::{Inbound, Reaction, Triage};
use hearthline_eventing::timers::{Due, OnTimer};
use hearthline_eventing::{Actor, Cause, Claim, ClaimRule, Fact, NotNow, Occurred, TimerChange, Unit, identity, now_us, trace};
use hearthline_nhs::CallId;
use std::sync::Arc;

/// Asks, by the call's id, whether its consultation must follow what became of the call.
const FOLLOW_TIMER: &str = "follow_call";

/// The policies of clinical outcome.
pub struct Policies(pub Arc<Outcomes>);

#[async_trait]
impl Inbound for Policies {
    fn topics(&self) -> &'static [&'static Topic] {
        const { topics::read_by(crate::NAME) }
    }

    fn triage(&self, fact: &Fact) -> Triage {
        if fact.topic != topics::CALL.name {
            return Triage::Project;
        }
        match wire::call_change(fact) {
            Ok(CallChange::Voided | CallChange::Identified { replaced: true, .. }) => Triage::Act,
            // What cannot be read is parked by the view that meets it.
            Ok(_) | Err(_) => Triage::Project,
        }
    }

    async fn act(&self, fact: &Fact) -> Result<Reaction, NotNow> {
        let now = now_us();
        let follow = TimerChange::Set { stream: fact.stream(), name: FOLLOW_TIMER, due_at: now, payload: Bytes::new() };
        let mut unit = Unit { timers: vec![follow], ..Unit::default() };
        if let Ok(CallChange::Voided) = wire::call_change(fact) {
            // Where no consultation holds it, the voided call itself does: none can be opened from here on.
            unit.claims.push(Claim {
                scope: CONSULTATION_OF_CALL,
                key: Bytes::copy_from_slice(fact.stream().bytes()),
                digest: Bytes::new(),
                owner: fact.stream(),
                version: fact.version(),
                expires_at: None,
                rule: ClaimRule::KeepFirst,
            });
        }
        Ok(Reaction::Apply(Box::new(unit)))
    }
}

#[async_trait]
impl OnTimer for Policies {
    async fn due(&self, timer: &Due, now: i64) -> Result<Unit, NotNow> {
        let store = self.0.kernel.store.as_ref();
        let call_id = CallId::of_stream(timer.stream);
        let (Some(call), Some(id)) = (view::call(store, call_id).await?, view::of_call(store, call_id).await?) else {
            return Ok(Unit::default());
        };
        let Some((consultation, version)) = self.0.load(id).await? else {
            return Ok(Unit::default());
        };
        let before = identity::resolve(store, *consultation.resident.id.bytes()).await?;
        let after = identity::resolve(store, *call.resident.id.bytes()).await?;
        let events = decide::follow_call(&consultation, &call, before.id == after.id);
        if events.is_empty() {
            return Ok(Unit::default());
        }
        let cause = Cause { actor: Actor::SYSTEM, causation: None, correlation: *call_id.bytes(), traceparent: trace::current() };
        let events = events.into_iter().map(|event| wire::outward(event, &Occurred::at(now))).collect();
        let write = self.0.kernel.composer.write(id.into(), version, events, &cause, now).await?;
        Ok(Unit { writes: vec![write], ..Unit::default() })
    }
}
