//! Deliveries to the outside: rows that units insert, worked off per destination and subject in order.
//!
//! `due → sending → confirmed | refused | retry_at | unconfirmed | needs_user | expired`. `sending` is committed before the first byte goes out,
//! with its sender and a deadline beyond the client's total time-out. Past the deadline, or once its sender is known to have
//! ended, the row is `unconfirmed`, and is never sent again by itself: where the protocol can be asked, the receiver is asked;
//! otherwise a person decides. A late answer is still recorded, by compare-and-set on the attempt.

use crate::kernel::{Kernel, NotNow};
use crate::ports::{self, StoreError};
use crate::trace;
use crate::unit::{Answer, Delivery, DeliveryChange, DeliveryMove, DeliveryState, Unit};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use hearthline_nhs::StreamId;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

const AT_ONCE: usize = 8;
const SEARCH_AGAIN_US: i64 = 30_000_000;
const WAIT_AGAIN_US: i64 = 15_000_000;

/// The code of a delivery that a recovery left unconfirmed: what that brings with it (events, a task) is still to be written.
pub const RECOVERED: &str = "recovered";

/// Whether a delivery may go out now, judged at send time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    Send,
    /// Not yet, for a reason that time or people change.
    Wait {
        why: &'static str,
    },
    /// Never: it is overtaken, refused or no longer wanted.
    Drop {
        code: &'static str,
    },
}

/// What the receiver said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    Confirmed {
        reference: String,
    },
    Refused {
        code: String,
    },
    /// Nothing was taken, for certain; later again.
    Retry {
        code: String,
    },
    /// It may or may not have been taken.
    Unconfirmed {
        code: String,
    },
}

/// What a search at the receiver found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    There {
        reference: String,
    },
    NotThere,
    /// The protocol cannot be asked: a person decides.
    CannotAsk,
}

/// One kind of delivery: its guard, its client, its search, and what its outcome means in events.
#[async_trait]
pub trait Courier: Send + Sync {
    fn kind(&self) -> &'static str;
    /// Beyond the client's total time-out, µs.
    fn deadline_us(&self) -> i64 {
        60_000_000
    }
    /// A user's session sends it; the worker only notices when its sender has ended.
    fn attended(&self) -> bool {
        false
    }
    async fn guard(&self, delivery: &Delivery, now: i64) -> Result<Guard, NotNow>;
    async fn send(&self, delivery: &Delivery) -> Result<Sent, NotNow>;
    async fn search(&self, _delivery: &Delivery) -> Result<Found, NotNow> {
        Ok(Found::CannotAsk)
    }
    /// Events, tasks and timers that a new state brings with it (`delivery` is as before; `to` as it will be).
    async fn settled(&self, delivery: &Delivery, to: DeliveryState, code: Option<&str>, reference: Option<&str>, now: i64) -> Result<Unit, NotNow>;
}

/// Runs until `shutdown`.
pub async fn run(kernel: Kernel, couriers: Vec<Arc<dyn Courier>>, alone: bool, shutdown: CancellationToken) -> Result<(), StoreError> {
    let mut committed = kernel.store.committed();
    while !shutdown.is_cancelled() {
        let work = committed.borrow_and_update().work;
        let now = crate::now_us();
        let next = match step(&kernel, &couriers, alone, now).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "deliveries are tried again");
                now + 1_000_000
            }
        };
        let wait = Duration::from_micros(u64::try_from(next - crate::now_us()).unwrap_or(0)).min(Duration::from_secs(5));
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            changed = committed.wait_for(|c| c.work != work) => if changed.is_err() { break },
            () = tokio::time::sleep(wait) => {}
        }
    }
    Ok(())
}

/// Works off what is open at `now`; gives the time of the next look, µs.
pub async fn step(kernel: &Kernel, couriers: &[Arc<dyn Courier>], alone: bool, now: i64) -> Result<i64, NotNow> {
    let open = ports::deliveries(kernel.store.as_ref(), "state not in ('confirmed', 'refused', 'expired') order by seq limit 5000", &[]).await?;
    let mut next = now + 60_000_000;
    let mut busy: HashSet<(String, StreamId)> = HashSet::new();
    let mut ready = Vec::new();
    for delivery in open {
        let Some(courier) = couriers.iter().find(|c| c.kind() == delivery.kind) else { continue };
        // Attended kinds do not queue behind one another: the person sees the order.
        let first = courier.attended() || busy.insert((delivery.destination.clone(), delivery.subject));
        match delivery.state {
            DeliveryState::Sending => {
                let ended = alone && delivery.sender != Some(kernel.instance);
                let deadline = delivery.deadline_at.unwrap_or(now);
                if ended || deadline <= now {
                    ready.push((delivery, courier.clone()));
                } else {
                    next = next.min(deadline);
                }
            }
            DeliveryState::Due | DeliveryState::RetryAt if first && !courier.attended() => {
                if delivery.next_at <= now {
                    ready.push((delivery, courier.clone()));
                } else {
                    next = next.min(delivery.next_at);
                }
            }
            // What a recovery left is said at once, whatever it waits behind.
            DeliveryState::Unconfirmed if first || delivery.code.as_deref() == Some(RECOVERED) => {
                if delivery.next_at <= now {
                    ready.push((delivery, courier.clone()));
                } else {
                    next = next.min(delivery.next_at);
                }
            }
            _ => {}
        }
    }
    let jobs: Vec<BoxFuture<'_, Result<(), NotNow>>> = ready.into_iter().map(|(delivery, courier)| traced(kernel, courier, delivery, now).boxed()).collect();
    let outcomes: Vec<Result<(), NotNow>> = futures_util::stream::iter(jobs).buffer_unordered(AT_ONCE).collect().await;
    for outcome in outcomes {
        if let Err(error) = outcome {
            tracing::warn!(%error, "a delivery could not be worked on; it is tried again");
            next = next.min(now + 1_000_000);
        }
    }
    Ok(next)
}

async fn traced(kernel: &Kernel, courier: Arc<dyn Courier>, delivery: Delivery, now: i64) -> Result<(), NotNow> {
    let name = format!("{} deliver {}", kernel.store.service(), delivery.kind);
    let span = tracing::info_span!("deliver", otel.name = name, otel.kind = "client", service = kernel.store.service());
    trace::adopt(&span, delivery.traceparent.as_deref());
    work(kernel, courier.as_ref(), &delivery, now).instrument(span).await
}

async fn work(kernel: &Kernel, courier: &dyn Courier, delivery: &Delivery, now: i64) -> Result<(), NotNow> {
    match delivery.state {
        DeliveryState::Sending => {
            // Its sender ended, or its deadline is past: nobody knows whether it arrived.
            settle(kernel, courier, delivery, DeliveryState::Unconfirmed, Some("no_answer".to_owned()), None, now).await.map(drop)
        }
        DeliveryState::Unconfirmed if delivery.code.as_deref() == Some(RECOVERED) => {
            settle(kernel, courier, delivery, DeliveryState::Unconfirmed, Some("no_answer".to_owned()), None, now).await.map(drop)
        }
        DeliveryState::Unconfirmed => match courier.search(delivery).await? {
            Found::There { reference } => settle(kernel, courier, delivery, DeliveryState::Confirmed, None, Some(reference), now).await.map(drop),
            Found::NotThere => settle(kernel, courier, delivery, DeliveryState::Due, Some("not_there".to_owned()), None, now).await.map(drop),
            Found::CannotAsk => postpone(kernel, delivery, DeliveryState::Unconfirmed, "awaiting_person", now + 3_600_000_000, now).await,
        },
        _ => {
            if delivery.expires_at.is_some_and(|at| at <= now) {
                return settle(kernel, courier, delivery, DeliveryState::Expired, Some("expired".to_owned()), None, now).await.map(drop);
            }
            match courier.guard(delivery, now).await? {
                Guard::Drop { code } => settle(kernel, courier, delivery, DeliveryState::Expired, Some(code.to_owned()), None, now).await.map(drop),
                Guard::Wait { why } => postpone(kernel, delivery, DeliveryState::Due, why, now + WAIT_AGAIN_US, now).await,
                Guard::Send => send(kernel, courier, delivery, now).await,
            }
        }
    }
}

async fn send(kernel: &Kernel, courier: &dyn Courier, delivery: &Delivery, now: i64) -> Result<(), NotNow> {
    let attempt = delivery.attempt + 1;
    let begin = DeliveryMove {
        id: delivery.id,
        from: delivery.state,
        from_attempt: delivery.attempt,
        to: DeliveryState::Sending,
        attempt,
        sender: Some(kernel.instance),
        deadline_at: Some(now + courier.deadline_us()),
        next_at: now,
        code: None,
        reference: None,
        at: now,
    };
    if !matches!(kernel.store.append(Unit { deliveries: vec![DeliveryChange::Move(begin)], ..Unit::default() }).await?, Answer::Committed { .. }) {
        return Ok(());
    }
    let sending = Delivery { state: DeliveryState::Sending, attempt, sender: Some(kernel.instance), ..delivery.clone() };
    let sent = match courier.send(&sending).await {
        Ok(sent) => sent,
        // Before the first byte: keys or blobs were not to be had.
        Err(error) => {
            tracing::warn!(%error, kind = delivery.kind, "a delivery could not be prepared; it is tried again");
            Sent::Retry { code: "not_prepared".to_owned() }
        }
    };
    // The answer is all that tells whether it arrived: it is not lost because the store fails for a moment.
    let mut patience = Duration::from_millis(20);
    loop {
        match record(kernel, courier, &sending, sent.clone(), crate::now_us()).await {
            Ok(_) => return Ok(()),
            Err(error) if crate::now_us() > now + courier.deadline_us() => return Err(error),
            Err(error) => tracing::warn!(%error, kind = delivery.kind, "a receiver's answer could not be recorded; it is tried again"),
        }
        tokio::time::sleep(patience).await;
        patience = (patience * 2).min(Duration::from_secs(2));
    }
}

/// Records what the receiver said to a `sending` delivery, even if its deadline passed meanwhile. False if it had moved on.
pub async fn record(kernel: &Kernel, courier: &dyn Courier, sending: &Delivery, sent: Sent, now: i64) -> Result<bool, NotNow> {
    let (to, code, reference) = match sent {
        Sent::Confirmed { reference } => (DeliveryState::Confirmed, None, Some(reference)),
        Sent::Refused { code } => (DeliveryState::Refused, Some(code), None),
        Sent::Retry { code } => (DeliveryState::RetryAt, Some(code), None),
        Sent::Unconfirmed { code } => (DeliveryState::Unconfirmed, Some(code), None),
    };
    if settle(kernel, courier, sending, to, code.clone(), reference.clone(), now).await? {
        return Ok(true);
    }
    // The deadline made it unconfirmed before the answer came, and a search or a person perhaps due again; the same attempt, so
    // the answer still counts.
    if matches!(to, DeliveryState::Confirmed | DeliveryState::Refused) {
        for state in [DeliveryState::Unconfirmed, DeliveryState::Due] {
            let late = Delivery { state, ..sending.clone() };
            if settle(kernel, courier, &late, to, code.clone(), reference.clone(), now).await? {
                return Ok(true);
            }
        }
    }
    Ok(to == DeliveryState::Unconfirmed)
}

/// Moves a delivery with everything the new state brings. False if it had moved on.
pub async fn settle(
    kernel: &Kernel,
    courier: &dyn Courier,
    delivery: &Delivery,
    to: DeliveryState,
    code: Option<String>,
    reference: Option<String>,
    now: i64,
) -> Result<bool, NotNow> {
    let next_at = match to {
        DeliveryState::RetryAt => now + backoff_us(delivery.attempt),
        DeliveryState::Unconfirmed if delivery.state == DeliveryState::Unconfirmed => now + SEARCH_AGAIN_US,
        _ => now,
    };
    for _ in 0..crate::kernel::ATTEMPTS_MAX {
        let mut unit = courier.settled(delivery, to, code.as_deref(), reference.as_deref(), now).await?;
        unit.deliveries.push(DeliveryChange::Move(DeliveryMove {
            id: delivery.id,
            from: delivery.state,
            from_attempt: delivery.attempt,
            to,
            attempt: delivery.attempt,
            sender: delivery.sender,
            deadline_at: None,
            next_at,
            code: code.clone(),
            reference: reference.clone(),
            at: now,
        }));
        match kernel.store.append(unit).await? {
            Answer::Committed { .. } => return Ok(true),
            Answer::Fenced(_) => return Ok(false),
            Answer::VersionConflict { .. } | Answer::Claimed(_) => {}
        }
    }
    Err(NotNow::Other("the stream kept changing under a delivery".to_owned()))
}

async fn postpone(kernel: &Kernel, delivery: &Delivery, to: DeliveryState, why: &str, next_at: i64, now: i64) -> Result<(), NotNow> {
    let change = DeliveryMove {
        id: delivery.id,
        from: delivery.state,
        from_attempt: delivery.attempt,
        to,
        attempt: delivery.attempt,
        sender: delivery.sender,
        deadline_at: None,
        next_at,
        code: Some(why.to_owned()),
        reference: None,
        at: now,
    };
    kernel.store.append(Unit { deliveries: vec![DeliveryChange::Move(change)], ..Unit::default() }).await?;
    Ok(())
}

/// 1 s doubling to 5 min, with a quarter of jitter.
fn backoff_us(attempt: u32) -> i64 {
    let base = 1_000_000i64 << attempt.min(8);
    let base = base.min(300_000_000);
    let mut byte = [0u8];
    // Without random bytes the jitter is none.
    let _ = getrandom::fill(&mut byte);
    base + base / 4 * i64::from(byte[0]) / 255
}

/// What an operator's word on a delivery came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    Done,
    NotFound,
    /// Only an unconfirmed delivery is settled by hand; this one is in another state.
    NotUnconfirmed(DeliveryState),
    /// The user's own repeated request sends it again, nothing else does.
    Attended,
}

/// A person says that an unconfirmed delivery arrived.
pub async fn confirm(kernel: &Kernel, couriers: &[Arc<dyn Courier>], id: [u8; 16], reference: &str, now: i64) -> Result<Settled, NotNow> {
    by_hand(kernel, couriers, id, DeliveryState::Confirmed, Some(reference.to_owned()), now).await
}

/// A person says that an unconfirmed delivery did not arrive and is to go out again.
pub async fn resend(kernel: &Kernel, couriers: &[Arc<dyn Courier>], id: [u8; 16], now: i64) -> Result<Settled, NotNow> {
    by_hand(kernel, couriers, id, DeliveryState::Due, None, now).await
}

async fn by_hand(
    kernel: &Kernel,
    couriers: &[Arc<dyn Courier>],
    id: [u8; 16],
    to: DeliveryState,
    reference: Option<String>,
    now: i64,
) -> Result<Settled, NotNow> {
    let found = ports::deliveries(kernel.store.as_ref(), "id = $1", &[id.into()]).await?;
    let Some(delivery) = found.first() else { return Ok(Settled::NotFound) };
    let Some(courier) = couriers.iter().find(|c| c.kind() == delivery.kind) else { return Ok(Settled::NotFound) };
    if delivery.state != DeliveryState::Unconfirmed {
        return Ok(Settled::NotUnconfirmed(delivery.state));
    }
    if courier.attended() && to == DeliveryState::Due {
        return Ok(Settled::Attended);
    }
    if settle(kernel, courier.as_ref(), delivery, to, Some("by_hand".to_owned()), reference, now).await? {
        Ok(Settled::Done)
    } else {
        Ok(Settled::NotUnconfirmed(DeliveryState::Sending))
    }
}
