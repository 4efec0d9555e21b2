//! The relay: the one place that publishes.
//!
//! States: *comparing* (store closed to commands) → *waiting for the lease* → *relaying* → stopped, by name. It reads `position > cursor`, asserts that
//! there is no hole, writes to the log and moves the cursor. A failed write is repeated from the cursor, so that a key is never
//! reordered; others may see an event twice, never out of order.
//!
//! Every take-over of the lease compares anew and reads the cursor anew. The cursor moves under the lease: a relay that slept while
//! another took over is refused and goes back to waiting. A store that falls behind what this process saw committed is closed at
//! once and compared before it opens again. Between pages of new events, a page of old ones goes out where an operator asked for
//! a republish.

use crate::lease::{self, Lease, RENEW};
use crate::ports::{Log, LogError, LogRecord, Outgoing, Store, StoreError};
use crate::unit::{Answer, Unit};
use crate::upkeep::{self, Upkeep};
use bytes::Bytes;
use hearthline_contracts::topics::{PARTITIONS, Topic};
use hearthline_contracts::{cloudevents, facts, wire};
use hearthline_nhs::StreamId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const PAGE_EVENTS: u32 = 500;
/// Old events between two pages of new ones.
const REPUBLISH_EVENTS: u32 = 200;
/// Records read back in one go.
const READ_BACK_RECORDS: usize = 1_000;
const IDLE: Duration = Duration::from_millis(500);
const FIRST_PATIENCE: Duration = Duration::from_millis(50);

/// Why the relay stops, by name.
#[derive(Debug, thiserror::Error)]
pub enum RelayStopped {
    #[error(
        "StoreBehindLog: {topic}/{partition} holds a record of stream {stream} version {version} that the store does not know; the store was restored from an older copy: `hearthline recover` mends it"
    )]
    StoreBehindLog { topic: &'static str, partition: u16, stream: String, version: u64 },
    #[error("TopicRecreated: {topic} is empty although {cursor} events were published to it; `hearthline recover` publishes them again")]
    TopicRecreated { topic: &'static str, cursor: u64 },
    #[error("PartitionLost: {topic}/{partition} ends at {high} although it reached {reached}; `hearthline recover` publishes every event again")]
    PartitionLost { topic: &'static str, partition: u16, high: i64, reached: i64 },
    #[error("RecoveryUnfinished: a recovery of {service} was begun and did not end; run `hearthline recover` again")]
    RecoveryUnfinished { service: String },
    #[error("HoleInStore: position {missing} is missing from the store of {service}")]
    HoleInStore { service: String, missing: u64 },
    #[error("UnreadableRecord: {topic}/{partition} holds a record at offset {offset} that is not an event")]
    UnreadableRecord { topic: &'static str, partition: u16, offset: i64 },
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
    #[error("another process has the lease")]
    LeaseLost,
}

/// Publishes one service's events.
pub struct Relay {
    store: Arc<dyn Store>,
    log: Arc<dyn Log>,
    topic: &'static Topic,
    instance: [u8; 16],
    /// The newest position fell.
    fell: AtomicBool,
}

/// Where a run stands.
#[derive(Debug)]
enum At {
    Comparing,
    Waiting,
    Relaying(Term),
}

/// What a relay knows under one term of the lease.
#[derive(Debug)]
struct Term {
    number: u64,
    cursor: u64,
    /// When something was first published after the ends were noted.
    unnoted_since: Option<Instant>,
    ends: BTreeMap<u16, i64>,
    republish_looked_at: Option<Instant>,
}

impl Relay {
    pub fn new(store: Arc<dyn Store>, log: Arc<dyn Log>, topic: &'static Topic, instance: [u8; 16]) -> Self {
        Relay { store, log, topic, instance, fell: AtomicBool::new(false) }
    }

    /// Runs until `shutdown`.
    pub async fn run(self, lease: Lease, shutdown: CancellationToken) -> Result<(), RelayStopped> {
        tokio::select! {
            biased;
            stopped = self.relay(&lease, &shutdown) => stopped,
            // Without a store there is nothing to publish, ever again.
            () = self.watch_position(&lease) => Ok(()),
        }
    }

    async fn relay(&self, lease: &Lease, shutdown: &CancellationToken) -> Result<(), RelayStopped> {
        let mut committed = self.store.committed();
        let mut leased = lease.changes();
        let mut patience = FIRST_PATIENCE;
        let mut at = At::Comparing;
        while !shutdown.is_cancelled() {
            // Registered before looking, so that a change in between wakes us.
            committed.mark_unchanged();
            leased.mark_unchanged();
            let wait = match self.advance(&mut at, lease).await {
                Ok(true) => {
                    patience = FIRST_PATIENCE;
                    continue;
                }
                Ok(false) => IDLE,
                Err(StepError::Stop(stop)) => {
                    lease.stand_back();
                    self.store.set_open(Err(stop.to_string()));
                    return Err(stop);
                }
                Err(StepError::LeaseLost) => {
                    lease.lose();
                    at = At::Waiting;
                    IDLE
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
                changed = committed.changed(), if wait == IDLE => if changed.is_err() { break },
                _ = leased.changed(), if wait == IDLE => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        if let At::Relaying(term) = &mut at
            && term.unnoted_since.is_some()
            && let Err(error) = self.note_ends(term).await
        {
            tracing::debug!(%error, "the topic's ends were not noted; the next start reads more of it back");
        }
        Ok(())
    }

    /// One step in whatever state it is. True if the next may follow at once.
    async fn advance(&self, at: &mut At, lease: &Lease) -> Result<bool, StepError> {
        if self.fell.swap(false, Ordering::SeqCst) {
            *at = At::Comparing;
        }
        match at {
            // Known first, so that whoever holds it compares once.
            At::Comparing => match lease.decided().await {
                Some(number) => *at = At::Relaying(self.take_over(lease, number).await?),
                None => {
                    self.agree().await?;
                    *at = At::Waiting;
                }
            },
            At::Waiting => {
                let Some(number) = lease.term() else { return Ok(false) };
                *at = At::Relaying(self.take_over(lease, number).await?);
            }
            At::Relaying(term) if lease.term() != Some(term.number) => *at = At::Waiting,
            At::Relaying(term) => return self.relay_once(term).await,
        }
        Ok(true)
    }

    /// A page of new events, a page of a republish, the ends of the topic: each where it is due.
    async fn relay_once(&self, term: &mut Term) -> Result<bool, StepError> {
        let mut published = self.step(&mut term.cursor).await? != Step::Idle;
        if term.republish_looked_at.is_none_or(|then| then.elapsed() >= IDLE) {
            let again = self.republish_step().await? != Step::Idle;
            term.republish_looked_at = (!again).then(Instant::now);
            published |= again;
        }
        if published {
            term.unnoted_since.get_or_insert_with(Instant::now);
        }
        if term.unnoted_since.is_some_and(|since| since.elapsed() > RENEW) {
            self.note_ends(term).await?;
        }
        Ok(published)
    }

    /// Closes the store at once when its newest position falls below what this process saw committed. Ends with the store.
    async fn watch_position(&self, lease: &Lease) {
        let mut committed = self.store.committed();
        let mut seen = committed.borrow_and_update().position;
        while committed.changed().await.is_ok() {
            let position = committed.borrow_and_update().position;
            if position < seen {
                self.store.set_open(Err(format!("its newest event fell from {seen} to {position}; it is compared with the log again")));
                lease.stand_back();
                self.fell.store(true, Ordering::SeqCst);
                tracing::error!(
                    service = self.store.service(),
                    seen,
                    position,
                    "the store fell behind what was committed; events may be lost that no topic holds"
                );
            }
            seen = position;
        }
    }

    /// Compares and opens. A store that was open stays so while the log is away: a broker that goes away does not stop intake.
    async fn agree(&self) -> Result<u64, StepError> {
        let opened = self.store.opened();
        if opened.is_ok() {
            self.store.set_open(Err("it is compared with the log again".to_owned()));
        }
        let compared = self.compare().await;
        if let Err(StepError::Log(error)) = &compared {
            match opened {
                Ok(()) if !self.fell.load(Ordering::SeqCst) => self.store.set_open(Ok(())),
                _ => self.store.set_open(Err(format!("its store is not compared with the log yet: {error}"))),
            }
        }
        compared
    }

    /// Whoever held the lease before moved the cursor, and perhaps lost the store.
    async fn take_over(&self, lease: &Lease, number: u64) -> Result<Term, StepError> {
        let cursor = self.agree().await?;
        let mut term = Term { number, cursor, unnoted_since: None, ends: BTreeMap::new(), republish_looked_at: None };
        self.note_ends(&mut term).await?;
        // A producer takes its time to be known to the brokers: it is made before there is something to write.
        self.log.publish(self.topic.name, Vec::new()).await?;
        lease.lead(number);
        Ok(term)
    }

    /// Reads back what the log holds behind what was noted, and the last record of each partition; every record must be known to the
    /// store. Opens the store to commands and gives the cursor.
    pub async fn compare(&self) -> Result<u64, StepError> {
        if upkeep::deployment_state(self.store.as_ref()).await?.recovering {
            return Err(RelayStopped::RecoveryUnfinished { service: self.store.service().to_owned() }.into());
        }
        let cursor = self.compare_records().await?;
        // It may have fallen while it was read.
        if !self.fell.load(Ordering::SeqCst) {
            self.store.set_open(Ok(()));
        }
        Ok(cursor)
    }

    /// As [`Relay::compare`], and the store stays as closed as it is.
    pub(crate) async fn compare_records(&self) -> Result<u64, StepError> {
        let cursor = self.store.query("select cursor from relay", &[]).await?.first().map_or(0, |r| r.int(0).unsigned_abs());
        // Before the log: whoever leads notes only what the log already has.
        let noted = self.noted().await?;
        let mut marks = Vec::new();
        for partition in 0..PARTITIONS {
            marks.push((partition, self.log.watermarks(self.topic.name, partition).await?));
        }
        // A topic whose records are all past their time still has its ends.
        if cursor > 0 && marks.iter().all(|(_, m)| m.high == 0) {
            return Err(RelayStopped::TopicRecreated { topic: self.topic.name, cursor }.into());
        }
        for (partition, marks) in &marks {
            if let Some(reached) = noted.get(partition).filter(|reached| **reached > marks.high) {
                return Err(RelayStopped::PartitionLost { topic: self.topic.name, partition: *partition, high: marks.high, reached: *reached }.into());
            }
        }
        for (partition, marks) in marks {
            // A republish may have put old records behind the newest, so that the last alone proves nothing.
            if let Some(noted) = noted.get(&partition) {
                let mut next = (*noted).max(marks.low);
                while next < marks.high {
                    let records = self.log.read(self.topic.name, partition, next, READ_BACK_RECORDS).await?;
                    let Some(last) = records.last() else { break };
                    next = last.offset + 1;
                    self.assert_known(&records).await?;
                }
            }
            if let Some(last) = self.log.last(self.topic.name, partition).await? {
                self.assert_known(&[last]).await?;
            }
        }
        Ok(cursor)
    }

    /// The ends of the topic's partitions as the store has noted them.
    pub(crate) async fn noted(&self) -> Result<BTreeMap<u16, i64>, StoreError> {
        let rows = self.store.query("select partition, next_offset from relayed_ends", &[]).await?;
        Ok(rows.iter().map(|r| (u16::try_from(r.int(0)).unwrap_or(u16::MAX), r.int(1))).collect())
    }

    async fn assert_known(&self, records: &[LogRecord]) -> Result<(), StepError> {
        let mut parts = Vec::with_capacity(records.len());
        for record in records {
            let split = wire::split(&record.payload);
            parts.push(split.map_err(|_| RelayStopped::UnreadableRecord { topic: self.topic.name, partition: record.partition, offset: record.offset })?);
        }
        let wanted: Vec<(StreamId, u64)> = parts.iter().map(|p| (StreamId::from_bytes(p.stream_id), p.envelope.stream_version)).collect();
        let known = known_events(self.store.as_ref(), &wanted).await?;
        for ((at, parts), record) in wanted.iter().zip(&parts).zip(records) {
            if known.get(at) != Some(&parts.event_id) {
                let (stream, version) = (at.0.to_string(), at.1);
                return Err(RelayStopped::StoreBehindLog { topic: self.topic.name, partition: record.partition, stream, version }.into());
            }
        }
        Ok(())
    }

    /// Notes how far the topic reaches: everything in it is known to the store, since nobody else publishes to it.
    async fn note_ends(&self, term: &mut Term) -> Result<(), StepError> {
        let mut moved = Vec::new();
        for partition in 0..PARTITIONS {
            let high = self.log.watermarks(self.topic.name, partition).await?.high;
            if high > 0 && term.ends.get(&partition) != Some(&high) {
                moved.push((partition, high));
            }
        }
        if !moved.is_empty() {
            self.under_lease(Unit { upkeep: vec![Upkeep::Ends(moved.clone())], ..Unit::default() }).await?;
            term.ends.extend(moved);
        }
        term.unnoted_since = None;
        Ok(())
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
        self.under_lease(Unit { relayed: Some(last), ..Unit::default() }).await?;
        *cursor = last;
        Ok(Step::Published(n))
    }

    /// Publishes the next page of a republish; the cursor stays where it is.
    pub async fn republish_step(&self) -> Result<Step, StepError> {
        let Some((next, until)) = upkeep::republishing(self.store.as_ref()).await? else { return Ok(Step::Idle) };
        let mut events = self.store.read_all(next, REPUBLISH_EVENTS).await?;
        events.retain(|e| e.position <= until);
        let n = events.len();
        let next = events.last().map_or(until, |e| e.position);
        let records = events.into_iter().map(|e| self.record(e)).collect();
        self.log.publish(self.topic.name, records).await?;
        self.under_lease(Unit { upkeep: vec![Upkeep::Republished { next }], ..Unit::default() }).await?;
        if next >= until {
            tracing::info!(topic = self.topic.name, until, "every event has gone out again");
        }
        Ok(Step::Published(n))
    }

    /// A unit that counts only while no other process has taken the lease.
    async fn under_lease(&self, unit: Unit) -> Result<(), StepError> {
        match self.store.append(Unit { lease: lease::fence_of(self.instance), ..unit }).await? {
            Answer::Committed { .. } => Ok(()),
            _ => Err(StepError::LeaseLost),
        }
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

/// Which of these versions of streams a store has, with their events.
pub(crate) async fn known_events(store: &dyn Store, wanted: &[(StreamId, u64)]) -> Result<HashMap<(StreamId, u64), [u8; 16]>, StoreError> {
    const AT_ONCE: usize = 200;
    let mut known = HashMap::with_capacity(wanted.len());
    for chunk in wanted.chunks(AT_ONCE) {
        let places: Vec<String> = (0..chunk.len()).map(|n| format!("(stream = ${} and version = ${})", 2 * n + 1, 2 * n + 2)).collect();
        let args: Vec<_> = chunk.iter().flat_map(|(stream, version)| [(*stream).into(), (*version).into()]).collect();
        let sql = format!("select stream, version, event_id from events where {}", places.join(" or "));
        for row in store.query(&sql, &args).await? {
            known.insert((row.stream(0), row.int(1).unsigned_abs()), row.id(2));
        }
    }
    Ok(known)
}
