//! What others' facts mean here: reference rows, and a poke of the share of every call that they concern. The poke is a timer due at
//! once; what it comes to is decided when everything is committed.

use crate::composing;
use crate::reference;
use async_trait::async_trait;
use hearthline_contracts::call::CallEvent;
use hearthline_contracts::call::call_event::Fact as Call;
use hearthline_contracts::directory::directory_event::Fact as Directory;
use hearthline_contracts::directory::{DirectoryEvent, RegistrationSource};
use hearthline_contracts::outcome::OutcomeEvent;
use hearthline_contracts::outcome::outcome_event::Fact as Outcome;
use hearthline_contracts::prescribing::PrescribingEvent;
use hearthline_contracts::prescribing::prescribing_event::Fact as Prescribing;
use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::consumer::{Inbound, Reaction, Triage};
use hearthline_eventing::{Fact, Kernel, NotNow, TimerChange, Unit, identity, now_us};
use prost::Message;

/// Outcome, claims and plan are one unit of their service and arrive one after the other.
const UNIT_ARRIVES_US: i64 = 250_000;

/// The subscription of sharing.
pub struct Listening {
    pub kernel: Kernel,
}

#[async_trait]
impl Inbound for Listening {
    fn topics(&self) -> &'static [&'static Topic] {
        const { topics::read_by(crate::NAME) }
    }

    fn triage(&self, fact: &Fact) -> Triage {
        let payload = fact.payload.clone();
        let acts = match fact.topic {
            t if t == topics::CALL.name => matches!(
                CallEvent::decode(payload).map(|e| e.fact),
                Ok(Some(Call::CallClosed(_) | Call::ConsentRecorded(_) | Call::CallVoided(_) | Call::ResidentIdentified(_)))
            ),
            t if t == topics::OUTCOME.name => true,
            t if t == topics::PRESCRIBING.name => {
                !matches!(PrescribingEvent::decode(payload).map(|e| e.fact), Ok(Some(Prescribing::PrescriptionDrafted(_) | Prescribing::PharmacyChosen(_))))
            }
            t if t == topics::DIRECTORY.name => match DirectoryEvent::decode(payload).map(|e| e.fact) {
                Ok(Some(Directory::ResidentsMerged(_) | Directory::MergeReversed(_))) => true,
                // Others are registered before anybody calls about them.
                Ok(Some(Directory::ResidentRegistered(registered))) => registered.source() == RegistrationSource::Call,
                _ => false,
            },
            _ => false,
        };
        if acts { Triage::Act } else { Triage::Project }
    }

    async fn act(&self, fact: &Fact) -> Result<Reaction, NotNow> {
        let now = now_us();
        let timers = match fact.topic {
            t if t == topics::CALL.name => self.call(fact, now),
            t if t == topics::DIRECTORY.name => self.directory(fact, now).await?,
            _ => self.of_call(fact, now).await?,
        };
        if timers.is_empty() {
            return Ok(Reaction::Project);
        }
        Ok(Reaction::Apply(Box::new(Unit { timers, ..Unit::default() })))
    }
}

impl Listening {
    fn call(&self, fact: &Fact, now: i64) -> Vec<TimerChange> {
        let call = *fact.stream().bytes();
        let mut timers = vec![composing::poke(call, now)];
        if let Ok(Some(Call::CallClosed(_))) = CallEvent::decode(fact.payload.clone()).map(|e| e.fact) {
            timers.push(composing::patience(call, now));
        }
        timers
    }

    /// Facts of a consultation or a prescription.
    async fn of_call(&self, fact: &Fact, now: i64) -> Result<Vec<TimerChange>, NotNow> {
        let named = match OutcomeEvent::decode(fact.payload.clone()).map(|e| e.fact) {
            Ok(Some(Outcome::OutcomeDecided(f))) if fact.topic == topics::OUTCOME.name => f.call_id.as_ref().try_into().ok(),
            Ok(Some(Outcome::OutcomeAmended(f))) if fact.topic == topics::OUTCOME.name => f.call_id.as_ref().try_into().ok(),
            _ => None,
        };
        let call = match named {
            Some(call) => Some(call),
            None => reference::call_of(self.kernel.store.as_ref(), fact.stream()).await?,
        };
        Ok(call.map(|call| composing::poke(call, now + UNIT_ARRIVES_US)).into_iter().collect())
    }

    /// An identity edge: every call that hangs on it.
    async fn directory(&self, fact: &Fact, now: i64) -> Result<Vec<TimerChange>, NotNow> {
        let changed: Option<[u8; 16]> = match DirectoryEvent::decode(fact.payload.clone()).map(|e| e.fact) {
            Ok(Some(Directory::ResidentsMerged(m))) => m.from_id.as_ref().try_into().ok(),
            Ok(Some(Directory::MergeReversed(m))) => m.from_id.as_ref().try_into().ok(),
            Ok(Some(Directory::ResidentRegistered(_))) => Some(*fact.stream().bytes()),
            _ => None,
        };
        let Some(changed) = changed else { return Ok(Vec::new()) };
        let store = self.kernel.store.as_ref();
        let names = identity::names_of(store, changed).await?;
        let calls = reference::calls_of(store, &names).await?;
        Ok(calls.into_iter().map(|call| composing::poke(call, now)).collect())
    }
}
