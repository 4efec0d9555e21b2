//! Between a store and the next one: the relay, the way from a commit to a consumer, and consuming.

use super::bed::Bed;
use super::rebuild::a_call;
use super::{Figure, Options, histogram, ms};
use anyhow::{Context, bail};
use async_trait::async_trait;
use hearthline_contracts::envelope::ActorRole;
use hearthline_contracts::outcome::{OutcomeEvent, TreatmentPlanAgreed};
use hearthline_contracts::topics::{self, Topic};
use hearthline_contracts::wire;
use hearthline_eventing::consumer::{self, Inbound, Reaction, Triage};
use hearthline_eventing::lease::Lease;
use hearthline_eventing::relay::{Relay, Step};
use hearthline_eventing::{Actor, Cause, ClaimHolder, Fact, Kernel, Log, Membership, NewEvent, NotNow, Occurred, Outgoing, StoreError, Unit, now_us};
use hearthline_nhs::StreamId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const EVENTS_A_UNIT: u64 = 10;
const CAUSE: Cause = Cause { actor: Actor { role: ActorRole::System, pseudonym: [7; 16] }, causation: None, correlation: [1; 16], traceparent: None };

/// How fast stored events reach the log, and how soon one that comes alone is seen by a consumer.
pub async fn relay(options: &Options, events: u64) -> anyhow::Result<Vec<Figure>> {
    let bed = Bed::make(options).await?;
    let connected = bed.connect(hearthline_call_intake::NAME, &topics::CALL, Vec::new()).await?;
    let kernel = Kernel::new(hearthline_call_intake::NAME, &topics::CALL, &connected.ports);
    let (store, log) = (connected.ports.store.clone(), connected.ports.log.clone());
    let mut adding = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (kernel, mine) = (kernel.clone(), events / EVENTS_A_UNIT / 64);
        adding.spawn(async move {
            for _ in 0..mine {
                append(&kernel, EVENTS_A_UNIT).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = adding.join_next().await {
        done??;
    }
    let relay = Relay::new(store.clone(), log.clone(), &topics::CALL, connected.ports.instance);
    let lease = Lease::new(store.clone(), connected.ports.instance);
    lease.step(now_us()).await?;
    let mut cursor = relay.compare().await?;
    let (mut sent, begun) = (0, Instant::now());
    while let Step::Published(n) = relay.step(&mut cursor).await? {
        sent += n;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let figure = |what: String, per_second: f64, p50_ms: f64, p99_ms: f64| Figure { what, callers: 1, per_second, p50_ms, p99_ms };
    let mut figures = vec![figure(format!("relay, {} to {}, events", bed.named(), bed.log_named()), sent as f64 / seconds, 0.0, 0.0)];

    // One at a time, with pauses, from the commit's answer to the reader.
    let stop = CancellationToken::new();
    let (leasing, relaying) = (lease.clone(), stop.clone());
    let running = tokio::spawn(async move { tokio::join!(relay.run(lease, relaying.clone()), leasing.run(relaying)) });
    let underway: Arc<Mutex<HashMap<[u8; 16], Instant>>> = Arc::default();
    let seen = Arc::new(Mutex::new(histogram()));
    let reading = read_all(&log, underway.clone(), seen.clone()).await?;
    let until = Instant::now() + options.seconds.max(Duration::from_secs(6));
    while Instant::now() < until {
        let stream = match append(&kernel, 1).await {
            // The relay compares store and log before it leads.
            Err(error) if matches!(error.downcast_ref(), Some(StoreError::Closed(_))) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            appended => appended?,
        };
        underway.lock().expect("nobody panicked").insert(*stream.bytes(), Instant::now());
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    {
        let seen = seen.lock().expect("nobody panicked");
        if seen.is_empty() {
            bail!("nothing was seen; the measurement says nothing");
        }
        figures.push(figure("idle commit → visible to a consumer".to_owned(), 0.0, ms(seen.value_at_quantile(0.5)), ms(seen.value_at_quantile(0.99))));
    }
    drop(reading);
    stop.cancel();
    let (ended, leased) = running.await?;
    ended?;
    leased?;
    connected.store.close().await;
    bed.clear().await?;
    Ok(figures)
}

async fn append(kernel: &Kernel, events: u64) -> anyhow::Result<StreamId> {
    let stream = StreamId::from_bytes(*uuid::Uuid::now_v7().as_bytes());
    let now = now_us();
    let fact = wire::fact_bytes::<hearthline_contracts::call::CallEvent>(hearthline_contracts::call::CallAnswered {});
    let event = |_| NewEvent { name: "CallAnswered", fact: fact.clone(), personal: None, occurred: Occurred::at(now), revision: 1 };
    let write = kernel.composer.write(stream, 0, (0..events).map(event).collect(), &CAUSE, now).await?;
    kernel.store.append(Unit { writes: vec![write], ..Unit::default() }).await?;
    Ok(stream)
}

/// A group of one that reads everything new and notes how long it took.
async fn read_all(
    log: &Arc<dyn Log>,
    underway: Arc<Mutex<HashMap<[u8; 16], Instant>>>,
    seen: Arc<Mutex<hdrhistogram::Histogram<u64>>>,
) -> anyhow::Result<tokio::task::JoinSet<()>> {
    let mut member = log.join("bench-visible", &[topics::CALL.name]).await?;
    let Membership::Assigned(places) = member.next().await? else { bail!("nothing was assigned") };
    let mut readers = tokio::task::JoinSet::new();
    for at in places {
        let end = log.watermarks(at.0, at.1).await?.high;
        let mut reader = member.read_from(at, end).await?;
        let (underway, seen) = (underway.clone(), seen.clone());
        readers.spawn(async move {
            while let Ok(records) = reader.read(100).await {
                for record in records {
                    let key: [u8; 16] = record.key.as_ref().try_into().expect("keys have 16 bytes");
                    let began = underway.lock().expect("nobody panicked").remove(&key);
                    // One that is seen before its writer noted the answer took no time that could be measured.
                    let us = began.map_or(1, |began| u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX).max(1));
                    seen.lock().expect("nobody panicked").saturating_record(us);
                }
            }
        });
    }
    readers.spawn(async move { while member.next().await.is_ok() {} });
    Ok(readers)
}

/// A service that takes calls: into its projections, or by a policy that writes an event for each.
struct Takes {
    acts: Option<Kernel>,
}

#[async_trait]
impl Inbound for Takes {
    fn topics(&self) -> &'static [&'static Topic] {
        &[&topics::CALL]
    }
    fn triage(&self, _: &Fact) -> Triage {
        if self.acts.is_some() { Triage::Act } else { Triage::Project }
    }
    async fn act(&self, fact: &Fact) -> Result<Reaction, NotNow> {
        let Some(kernel) = &self.acts else { return Ok(Reaction::Project) };
        let now = now_us();
        let agreed = wire::fact_bytes::<OutcomeEvent>(TreatmentPlanAgreed { call_id: fact.envelope.stream_id.clone(), plan_version: 1, ..Default::default() });
        let event = NewEvent { name: "TreatmentPlanAgreed", fact: agreed, personal: None, occurred: Occurred::at(now), revision: 1 };
        let stream = StreamId::from_bytes(*uuid::Uuid::now_v7().as_bytes());
        let write = kernel.composer.write(stream, 0, vec![event], &CAUSE, now).await.map_err(|e| NotNow::Other(e.to_string()))?;
        Ok(Reaction::Apply(Box::new(Unit { writes: vec![write], ..Unit::default() })))
    }
    fn claimed(&self, _: &Fact, _: &ClaimHolder) -> Reaction {
        Reaction::Ignore("done before")
    }
    fn archives(&self) -> bool {
        self.acts.is_none()
    }
}

/// Events a second from the log into a service: by a policy, and into the KPI projections with their archive.
pub async fn consume(options: &Options, events: u64) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for acts in [true, false] {
        let events = if acts { events / 4 } else { events };
        let bed = Bed::make(options).await?;
        let connected = if acts {
            bed.connect(hearthline_clinical_outcome::NAME, hearthline_clinical_outcome::TOPIC, Vec::new()).await?
        } else {
            bed.connect(hearthline_kpi_projection::NAME, hearthline_kpi_projection::TOPIC, hearthline_kpi_projection::views()).await?
        };
        let name = connected.ports.store.service().to_owned();
        let topic = if acts { hearthline_clinical_outcome::TOPIC } else { hearthline_kpi_projection::TOPIC };
        let kernel = Kernel::new(&name, topic, &connected.ports);
        let (store, log) = (connected.ports.store.clone(), connected.ports.log.clone());
        let mut made = 0;
        while made < events {
            let mut page = Vec::new();
            while page.len() < 2_000 {
                for fact in a_call(made + page.len() as u64).into_iter().filter(|f| f.topic == topics::CALL.name) {
                    page.push(Outgoing { key: *fact.stream().bytes(), headers: Vec::new(), payload: fact.payload });
                }
            }
            made += page.len() as u64;
            log.publish(topics::CALL.name, page).await?;
        }
        let stop = CancellationToken::new();
        let inbound = Arc::new(Takes { acts: acts.then(|| kernel.clone()) });
        let begun = Instant::now();
        let running = tokio::spawn(consumer::run(kernel, log, inbound, stop.clone()));
        loop {
            let taken = store.query("select cast(coalesce(sum(count), 0) as bigint) from dispositions where kind = 'applied'", &[]).await?;
            if taken.first().is_some_and(|r| u64::try_from(r.int(0)).is_ok_and(|n| n >= made)) {
                break;
            }
            if running.is_finished() || begun.elapsed() > Duration::from_secs(120) {
                bail!("consuming does not come to its end");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let seconds = begun.elapsed().as_secs_f64();
        stop.cancel();
        running.await.context("the consumer panicked")??;
        let what = format!("consume → applied, {}, {}", bed.named(), if acts { "policy" } else { "projection" });
        figures.push(Figure { what, callers: 1, per_second: made as f64 / seconds, p50_ms: 0.0, p99_ms: 0.0 });
        connected.store.close().await;
        bed.clear().await?;
    }
    Ok(figures)
}
