//! What the gateway does in its own time: looks at held messages once somebody or some home is known, and sweeps once a day.

use crate::feeds;
use crate::gateway::Gateway;
use crate::inbound::{HOME_KNOWN, PERSON_KNOWN, RESIDENTS_MERGED};
use crate::inbox::Looked;
use crate::wire;
use async_trait::async_trait;
use hearthline_contracts::topics;
use hearthline_eventing::timers::{Due, OnTimer};
use hearthline_eventing::{Fact, NotNow, Store, StoreError, TimerChange, Unit};
use hearthline_nhs::{StreamId, london_date, london_instant};

/// Days that are over are swept.
pub const SWEEP: &str = "sweep";
/// The stream whose timer the sweep is; nothing is ever appended to it.
pub const SWEEP_STREAM: StreamId = StreamId::from_bytes(*b"inbox-sweep\0\0\0\0\0");

/// Between two looks, while messages of a person or a home are being interpreted.
const LOOK_AGAIN_US: i64 = 50_000;

/// The gateway's timers.
pub struct Clock {
    pub gateway: Gateway,
}

#[async_trait]
impl OnTimer for Clock {
    async fn due(&self, timer: &Due, now: i64) -> Result<Unit, NotNow> {
        match timer.name.as_str() {
            SWEEP => {
                let mut unit = self.gateway.sweep(now).await?;
                unit.timers.push(TimerChange::Set { stream: SWEEP_STREAM, name: SWEEP, due_at: next_sweep(now), payload: Default::default() });
                return Ok(unit);
            }
            PERSON_KNOWN => return self.person(timer).await.map(|looked| after(looked, timer, PERSON_KNOWN, now)),
            RESIDENTS_MERGED => match timer.payload.as_ref().try_into() {
                Ok(resident) => self.gateway.examine_merged(resident).await?,
                Err(_) => tracing::error!("a timer that names no resident is dropped"),
            },
            feeds::LISTEN => return self.gateway.listen(timer, now).await,
            feeds::RELEASE => return self.gateway.release(timer, now).await,
            HOME_KNOWN => {
                let places: Vec<&str> = std::str::from_utf8(&timer.payload).unwrap_or_default().lines().collect();
                return self.gateway.examine_places(&places).await.map(|looked| after(looked, timer, HOME_KNOWN, now));
            }
            other => tracing::error!(timer = other, "a timer that nobody knows is dropped"),
        }
        Ok(Unit::default())
    }
}

impl Clock {
    async fn person(&self, timer: &Due) -> Result<Looked, NotNow> {
        let parts = hearthline_contracts::wire::split(&timer.payload).map_err(|_| NotNow::Other("a kept directory event does not decode".to_owned()))?;
        let fact = Fact { topic: topics::DIRECTORY.name, envelope: parts.envelope, sealed: parts.sealed, payload: timer.payload.clone() };
        let personal = self.gateway.kernel.composer.personal(&fact).await?;
        let numbers = wire::numbers(&fact, personal.as_ref()).map_err(|e| NotNow::Other(e.to_string()))?;
        match numbers.number {
            Some(number) => self.gateway.examine_person(&number).await,
            None => Ok(Looked::Over),
        }
    }
}

/// A look that met messages which are being interpreted is repeated (see [`crate::inbox`]).
fn after(looked: Looked, timer: &Due, name: &'static str, now: i64) -> Unit {
    let again = TimerChange::Set { stream: timer.stream, name, due_at: now + LOOK_AGAIN_US, payload: timer.payload.clone() };
    Unit { timers: if looked == Looked::Again { vec![again] } else { Vec::new() }, ..Unit::default() }
}

/// Makes sure, at start, that the sweep and the look at the feeds are set.
pub async fn arm(store: &dyn Store, now: i64) -> Result<(), StoreError> {
    let armed = store.query("select 1 from timers where stream = $1 and name = $2", &[SWEEP_STREAM.into(), SWEEP.into()]).await?;
    if armed.is_empty() {
        let set = TimerChange::Set { stream: SWEEP_STREAM, name: SWEEP, due_at: now, payload: Default::default() };
        store.append(Unit { timers: vec![set], ..Unit::default() }).await?;
    }
    feeds::arm(store, now).await
}

/// Half past three of the next morning in London: a quiet hour that is in every day.
fn next_sweep(now: i64) -> i64 {
    const DAY_US: i64 = 24 * 3_600 * 1_000_000;
    let next = london_date(now).ok().and_then(|today| today.tomorrow().ok()).and_then(|day| london_instant(day.at(3, 30, 0, 0)).ok());
    next.unwrap_or(now + DAY_US)
}
