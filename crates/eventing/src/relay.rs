//! The relay: the one place that publishes.
//!
//! States: *comparing* (store closed to commands) → *waiting for the lease* → *relaying* → stopped, by name. It reads `position > cursor`, asserts that
//! there is no hole, writes to the log and moves the cursor. A failed write is repeated from the cursor, so that a key is never
//! reordered; others may see an event twice, never out of order.

use crate::ports::{Log, LogError, Outgoing, Store, StoreError};
use crate::unit::{Answer, Unit};
use bytes::Bytes;
use hearthline_contracts::topics::{PARTITIONS, Topic};
use hearthline_contracts::{cloudevents, facts, wire};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PAGE_EVENTS: u32 = 500;
const LEASE_US: i64 = 15_000_000;
const IDLE: Duration = Duration::from_millis(500);

/// Why the relay stops, by name.
#[derive(Debug, thiserror::Error)]
pub enum RelayStopped {
    #[error(
        "StoreBehindLog: {topic}/{partition} holds a record of stream {stream} version {version} that the store does not know; the store was restored from an older copy: recover it before it takes commands"
    )]
    StoreBehindLog { topic: &'static str, partition: u16, stream: String, version: u64 },
    #[error("TopicRecreated: {topic} is empty although {cursor} events were published to it")]
    TopicRecreated { topic: &'static str, cursor: u64 },
    #[error("HoleInStore: position {missing} is missing from the store of {service}")]
    HoleInStore { service: String, missing: u64 },
    #[error("UnreadableRecord: the last record of {topic}/{partition} is not an event")]
    UnreadableRecord { topic: &'static str, partition: u16 },
    #[error("LeaseLost: another process took over the lease of {service}")]
    LeaseLost { service: String },
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Published(usize),
    Idle,
}

/// A step's trouble: to be tried again, or the end.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Stop(#[from] RelayStopped),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Publishes one service's events.
pub struct Relay {
    store: Arc<dyn Store>,
    log: Arc<dyn Log>,
    topic: &'static Topic,
    instance: [u8; 16],
    alone: bool,
}

impl Relay {
    pub fn new(store: Arc<dyn Store>, log: Arc<dyn Log>, topic: &'static Topic, instance: [u8; 16]) -> Self {
        Relay { store, log, topic, instance, alone: false }
    }

    /// No other process can be at work on this store: a lease that another holds is one that a process left behind.
    pub fn alone(mut self, alone: bool) -> Self {
        self.alone = alone;
        self
    }

    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RelayStopped> {
        let mut committed = self.store.committed();
        let mut patience = Duration::from_millis(50);
        let mut compared = false;
        let mut relaying = None;
        let mut leased_until = 0;
        while !shutdown.is_cancelled() {
            // Registered before looking, so that a commit in between wakes us.
            committed.mark_unchanged();
            let stepped = async {
                if !compared {
                    self.compare().await?;
                    compared = true;
                }
                let now = crate::now_us();
                if now > leased_until - LEASE_US / 2 {
                    if !self.hold_lease(now).await? {
                        return match relaying {
                            None => Ok(Step::Idle),
                            Some(_) => Err(RelayStopped::LeaseLost { service: self.store.service().to_owned() }.into()),
                        };
                    }
                    leased_until = now + LEASE_US;
                }
                let at = match &mut relaying {
                    Some(at) => at,
                    // Whoever held the lease before moved the cursor.
                    none => none.insert(self.compare().await?),
                };
                self.step(at).await
            }
            .await;
            let wait = match stepped {
                Ok(Step::Published(_)) => {
                    patience = Duration::from_millis(50);
                    continue;
                }
                Ok(Step::Idle) => IDLE,
                Err(StepError::Stop(stop)) => {
                    self.store.set_open(Err(stop.to_string()));
                    return Err(stop);
                }
                Err(error) => {
                    tracing::warn!(%error, topic = self.topic.name, "publishing is tried again from the cursor");
                    patience = (patience * 2).min(Duration::from_secs(10));
                    patience
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                // Without a store there is nothing to publish, ever again.
                changed = committed.changed(), if wait == IDLE => if changed.is_err() { break },
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(())
    }

    /// True if the lease is ours until `now` + [`LEASE_US`].
    async fn hold_lease(&self, now: i64) -> Result<bool, StepError> {
        let at = if self.alone { i64::MAX } else { now };
        let answer = self.store.append(Unit { lease: Some((self.instance, now + LEASE_US, at)), ..Unit::default() }).await?;
        Ok(matches!(answer, Answer::Committed { .. }))
    }

    /// Reads back the last record of each partition; every one must be known to the store. Opens the store to commands and
    /// gives the cursor.
    pub async fn compare(&self) -> Result<u64, StepError> {
        let cursor = self.store.query("select cursor from relay", &[]).await?.first().map_or(0, |r| r.int(0).unsigned_abs());
        let mut empty = true;
        for partition in 0..PARTITIONS {
            // A topic whose records are all past their time still has its ends.
            empty &= self.log.watermarks(self.topic.name, partition).await?.high == 0;
            let Some(last) = self.log.last(self.topic.name, partition).await? else { continue };
            let parts = wire::split(&last.payload).map_err(|_| RelayStopped::UnreadableRecord { topic: self.topic.name, partition })?;
            let stream = hearthline_nhs::StreamId::from_bytes(parts.stream_id);
            let version = parts.envelope.stream_version;
            let known = self.store.query("select event_id from events where stream = $1 and version = $2", &[stream.into(), version.into()]).await?;
            if known.first().map(|r| r.id(0)) != Some(parts.event_id) {
                return Err(RelayStopped::StoreBehindLog { topic: self.topic.name, partition, stream: stream.to_string(), version }.into());
            }
        }
        if empty && cursor > 0 {
            return Err(RelayStopped::TopicRecreated { topic: self.topic.name, cursor }.into());
        }
        self.store.set_open(Ok(()));
        Ok(cursor)
    }

    /// Publishes the next page behind `cursor` and moves it.
    pub async fn step(&self, cursor: &mut u64) -> Result<Step, StepError> {
        let events = self.store.read_all(*cursor, PAGE_EVENTS).await?;
        let Some(last) = events.last().map(|e| e.position) else { return Ok(Step::Idle) };
        for (expected, event) in (*cursor + 1..).zip(&events) {
            if event.position != expected {
                return Err(RelayStopped::HoleInStore { service: self.store.service().to_owned(), missing: expected }.into());
            }
        }
        let n = events.len();
        let records = events.into_iter().map(|e| self.record(e)).collect();
        self.log.publish(self.topic.name, records).await?;
        self.store.append(Unit { relayed: Some(last), ..Unit::default() }).await?;
        *cursor = last;
        Ok(Step::Published(n))
    }

    fn record(&self, event: crate::event::Recorded) -> Outgoing {
        let headers = match wire::split(&event.payload) {
            Ok(parts) => cloudevents::headers(
                self.topic.context,
                facts::fact_name(self.topic.context, parts.fact_number).unwrap_or("Unknown"),
                &parts.envelope,
                event.traceparent.as_deref(),
            ),
            Err(_) => Vec::new(),
        };
        Outgoing { key: *event.stream.bytes(), headers: headers.into_iter().map(|(k, v)| (k.to_owned(), Bytes::from(v))).collect(), payload: event.payload }
    }
}
