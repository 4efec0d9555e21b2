//! Whole append units: expected version, idempotency claim, sealed personal part, key creation for each new stream; ten
//! events a stream.

use super::bed::Bed;
use super::{Figure, Options, histogram, ms};
use anyhow::anyhow;
use hearthline_contracts::call::{CallEvent, CallOpened, CallOpenedPersonal};
use hearthline_contracts::envelope::ActorRole;
use hearthline_contracts::{topics, wire};
use hearthline_eventing::{Actor, Answer, Cause, Claim, ClaimRule, Composer, NewEvent, Occurred, Store, Unit, now_us};
use hearthline_nhs::StreamId;
use std::sync::Arc;
use std::time::Instant;

const EVENTS_A_STREAM: u64 = 10;

/// Units per second at each number of callers.
pub async fn append(options: &Options, callers: &[usize]) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for &callers in callers {
        let bed = Bed::make(options).await?;
        let connected = bed.connect("call-intake", &topics::CALL, Vec::new()).await?;
        let kernel = hearthline_eventing::Kernel::new("call-intake", &topics::CALL, &connected.ports);
        let until = Instant::now() + options.seconds;
        let mut tasks = tokio::task::JoinSet::new();
        let begun = Instant::now();
        for _ in 0..callers {
            let (store, composer) = (kernel.store.clone(), kernel.composer.clone());
            tasks.spawn(async move { caller(store, composer, until).await });
        }
        let mut all = histogram();
        while let Some(done) = tasks.join_next().await {
            all.add(done??)?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        figures.push(Figure {
            what: format!("append unit, {}", bed.named()),
            callers,
            per_second: all.len() as f64 / seconds,
            p50_ms: ms(all.value_at_quantile(0.5)),
            p99_ms: ms(all.value_at_quantile(0.99)),
        });
        connected.store.close().await;
        bed.clear().await?;
    }
    Ok(figures)
}

async fn caller(store: Arc<dyn Store>, composer: Composer, until: Instant) -> anyhow::Result<hdrhistogram::Histogram<u64>> {
    let mut times = histogram();
    let cause = Cause { actor: Actor { role: ActorRole::CallHandler, pseudonym: [7; 16] }, causation: None, correlation: [1; 16], traceparent: None };
    let fact = wire::fact_bytes::<CallEvent>(CallOpened { home_id: vec![3; 16].into(), channel: 1, reason: 5, ..Default::default() });
    let personal = prost::Message::encode_to_vec(&CallOpenedPersonal { reason_text: "x".repeat(120), ..Default::default() });
    while Instant::now() < until {
        let stream = StreamId::from_bytes(*uuid::Uuid::now_v7().as_bytes());
        for version in 0..EVENTS_A_STREAM {
            let begun = Instant::now();
            let now = now_us();
            let event = NewEvent { name: "CallOpened", fact: fact.clone(), personal: Some(personal.clone().into()), occurred: Occurred::at(now), revision: 1 };
            let write = composer.write(stream, version, vec![event], &cause, now).await?;
            let claim = Claim {
                scope: "idempotency",
                key: uuid::Uuid::new_v4().as_bytes().to_vec().into(),
                digest: vec![9; 32].into(),
                owner: stream,
                version: version + 1,
                expires_at: Some(now + 1_000_000_000),
                rule: ClaimRule::Unique,
            };
            match store.append(Unit { writes: vec![write], claims: vec![claim], ..Unit::default() }).await? {
                Answer::Committed { .. } => {}
                other => return Err(anyhow!("the store answered {other:?}")),
            }
            times.record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX).max(1))?;
            if Instant::now() >= until {
                break;
            }
        }
    }
    Ok(times)
}
