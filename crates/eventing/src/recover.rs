//! Recovery of a store that came apart from the log: a restored older copy, a topic made anew or cut short, a checkpoint outside
//! what its topic holds.
//!
//! Under the lease, and with every other process of the service stopped: *begun* (the incarnation rises, and no process opens the
//! store) → *re-importing* what the topic holds and the store does not, with its own bytes, ids and versions → *unfinished deliveries
//! unconfirmed*, since nobody knows what the lost store had sent → *over*. Each step can be repeated: a recovery that was cut off is run
//! again. What only the lost store held stays lost; the report says what that is.

use crate::event::EventRow;
use crate::kernel::Kernel;
use crate::lease::{Lease, RENEW};
use crate::ports::{LogError, LogRecord, StoreError};
use crate::relay::{Relay, RelayStopped, StepError, known_events};
use crate::unit::{Answer, CheckpointChange, DeliveryChange, DeliveryMove, DeliveryState, Unit, Write};
use crate::upkeep::{self, Upkeep};
use crate::{deliveries, ports};
use hearthline_contracts::cloudevents::TRACEPARENT;
use hearthline_contracts::topics::{self, PARTITIONS};
use hearthline_contracts::{facts, wire};
use hearthline_nhs::StreamId;
use std::collections::{BTreeMap, HashMap, HashSet};
use tokio::time::Instant;

const PAGE_RECORDS: usize = 500;
const STREAMS_AT_ONCE: usize = 500;
const DELIVERIES_AT_ONCE: usize = 500;

/// Why a recovery does not take place, or did not end.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("another process holds the lease of {service}: stop every process of {service}, then recover")]
    LeaseHeld { service: String },
    #[error("{n} processes of {service} are at work ({instances}): stop them, or wait half a minute where they were killed, then recover")]
    AtWork { service: String, n: usize, instances: String },
    #[error("the store of {service} changed under the recovery: a process still writes to it; stop it, then recover again")]
    Disturbed { service: String },
    #[error(
        "Forked: {forks} streams went on differently in store and log, the first from version {version} of stream {stream}; the store took commands as the older copy it was, and a person must choose"
    )]
    Forked { forks: usize, stream: StreamId, version: u64 },
    #[error("store and log are still apart: {0}")]
    StillApart(RelayStopped),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Versions of a stream that neither the store nor any topic holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    pub stream: StreamId,
    pub from: u64,
    pub to: u64,
}

/// A checkpoint that lay outside its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedCheckpoint {
    pub topic: String,
    pub partition: u16,
    pub from: i64,
    pub to: i64,
}

/// Rows that no topic holds: those that the copy lacks are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotInTopics {
    pub what: &'static str,
    /// How many the copy has.
    pub rows: i64,
    /// Its newest one, µs UTC.
    pub newest_at: Option<i64>,
    /// What follows from it.
    pub so: &'static str,
}

/// What a recovery found and did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub dry_run: bool,
    /// Why the store did not open; none where store and log agreed.
    pub found: Option<String>,
    /// The incarnation that events carry from now on.
    pub incarnation: u32,
    /// Events of the topic that the store did not know.
    pub reimported: u64,
    pub holes: Vec<Hole>,
    /// Records of the topic that are not events: partition and offset.
    pub unreadable: Vec<(u16, i64)>,
    /// Every event goes out again.
    pub publishes_from_start: bool,
    pub checkpoints: Vec<MovedCheckpoint>,
    pub deliveries_unconfirmed: u64,
    pub not_in_topics: Vec<NotInTopics>,
}

impl Report {
    /// There was nothing to mend.
    pub fn agreed(&self) -> bool {
        self.found.is_none() && self.checkpoints.is_empty()
    }
}

/// Mends the store of a service. With `dry_run` it only looks.
pub async fn recover(kernel: &Kernel, dry_run: bool) -> Result<Report, RecoverError> {
    let recovery = Recovery {
        kernel,
        lease: Lease::new(kernel.store.clone(), kernel.instance).alone(kernel.alone),
        relay: Relay::new(kernel.store.clone(), kernel.log.clone(), kernel.composer.topic, kernel.instance),
        dry_run,
    };
    recovery.alone().await?;
    let outcome = recovery.run().await;
    if !dry_run {
        kernel.store.set_open(Err("it was recovered; the next start compares it with the log".to_owned()));
        recovery.lease.give_up().await;
    }
    outcome
}

struct Recovery<'a> {
    kernel: &'a Kernel,
    lease: Lease,
    relay: Relay,
    dry_run: bool,
}

impl Recovery<'_> {
    fn service(&self) -> String {
        self.kernel.store.service().to_owned()
    }

    /// Nobody else is at work on the store.
    async fn alone(&self) -> Result<(), RecoverError> {
        let store = self.kernel.store.as_ref();
        let now = crate::now_us();
        let free = if self.dry_run {
            let rows = store.query("select holder, until from lease", &[]).await?;
            self.kernel.alone || rows.first().is_none_or(|r| r.id(0) == self.kernel.instance || r.int(1) <= now)
        } else {
            self.lease.step(now).await?
        };
        if !free {
            return Err(RecoverError::LeaseHeld { service: self.service() });
        }
        if self.kernel.alone {
            return Ok(());
        }
        let living: Vec<_> = upkeep::processes(store, now).await?.into_iter().filter(|p| p.instance != self.kernel.instance).collect();
        if !living.is_empty() {
            if !self.dry_run {
                self.lease.give_up().await;
            }
            let instances = living.iter().map(|p| uuid::Uuid::from_bytes(p.instance).to_string()).collect::<Vec<_>>().join(", ");
            return Err(RecoverError::AtWork { service: self.service(), n: living.len(), instances });
        }
        Ok(())
    }

    async fn run(&self) -> Result<Report, RecoverError> {
        let store = self.kernel.store.as_ref();
        let state = upkeep::deployment_state(store).await?;
        let mut report = Report { dry_run: self.dry_run, incarnation: state.incarnation, ..Report::default() };
        let apart = match self.relay.compare_records().await {
            Ok(_) => None,
            Err(StepError::Stop(stop)) => Some(stop),
            Err(StepError::Store(error)) => return Err(error.into()),
            Err(StepError::Log(error)) => return Err(error.into()),
            Err(StepError::LeaseLost) => return Err(RecoverError::LeaseHeld { service: self.service() }),
        };
        report.found = match &apart {
            Some(stop) => Some(stop.to_string()),
            None if state.recovering => Some(RelayStopped::RecoveryUnfinished { service: self.service() }.to_string()),
            None => None,
        };
        if report.found.is_some() {
            report.not_in_topics = self.not_in_topics().await?;
            if !self.dry_run {
                store.set_open(Ok(()));
                self.write(Unit { upkeep: vec![Upkeep::Begin { level: 1 }, Upkeep::Recovering], ..Unit::default() }).await?;
                report.incarnation = upkeep::deployment_state(store).await?.incarnation;
            } else if !state.recovering {
                report.incarnation += 1;
            }
            self.reimport(&mut report).await?;
            self.deliveries(&mut report).await?;
            report.publishes_from_start = matches!(apart, Some(RelayStopped::TopicRecreated { .. } | RelayStopped::PartitionLost { .. }));
            if report.publishes_from_start {
                self.write(Unit { upkeep: vec![Upkeep::PublishFromStart], ..Unit::default() }).await?;
            }
        }
        self.checkpoints(&mut report).await?;
        if report.found.is_some() && !self.dry_run {
            match self.relay.compare_records().await {
                Ok(_) => self.write(Unit { upkeep: vec![Upkeep::Recovered], ..Unit::default() }).await?,
                Err(StepError::Stop(stop)) => return Err(RecoverError::StillApart(stop)),
                Err(StepError::Store(error)) => return Err(error.into()),
                Err(StepError::Log(error)) => return Err(error.into()),
                Err(StepError::LeaseLost) => return Err(RecoverError::LeaseHeld { service: self.service() }),
            }
        }
        Ok(report)
    }

    /// Appends under the lease; nothing where it only looks.
    async fn write(&self, unit: Unit) -> Result<(), RecoverError> {
        if self.dry_run {
            return Ok(());
        }
        match self.kernel.store.append(Unit { lease: self.lease.fence(), ..unit }).await? {
            Answer::Committed { .. } => Ok(()),
            Answer::Fenced(_) | Answer::VersionConflict { .. } | Answer::Claimed(_) => Err(RecoverError::Disturbed { service: self.service() }),
        }
    }

    /// Takes in, partition by partition, what lies behind the ends that the store has noted.
    async fn reimport(&self, report: &mut Report) -> Result<(), RecoverError> {
        let topic = self.kernel.composer.topic.name;
        let noted = self.relay.noted().await?;
        let mut renewed = Instant::now();
        let mut forks = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let marks = self.kernel.log.watermarks(topic, partition).await?;
            let mut next = noted.get(&partition).copied().filter(|n| *n <= marks.high).unwrap_or(0).max(marks.low);
            let mut tail = Tail::default();
            while next < marks.high {
                let records = self.kernel.log.read(topic, partition, next, PAGE_RECORDS).await?;
                let Some(last) = records.last() else { break };
                next = last.offset + 1;
                self.page(records, &mut tail, report, &mut forks).await?;
                if !self.dry_run && renewed.elapsed() > RENEW {
                    renewed = Instant::now();
                    if !self.lease.step(crate::now_us()).await? {
                        return Err(RecoverError::LeaseHeld { service: self.service() });
                    }
                }
            }
            self.behind_holes(tail, report).await?;
        }
        match forks.first_key_value() {
            None => Ok(()),
            Some((stream, version)) => Err(RecoverError::Forked { forks: forks.len(), stream: *stream, version: *version }),
        }
    }

    async fn page(&self, records: Vec<LogRecord>, tail: &mut Tail, report: &mut Report, forks: &mut BTreeMap<StreamId, u64>) -> Result<(), RecoverError> {
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            match self.row(&record) {
                Some(row) => rows.push(row),
                None => report.unreadable.push((record.partition, record.offset)),
            }
        }
        self.load_heads(&rows, tail).await?;
        let wanted: Vec<(StreamId, u64)> = rows.iter().filter(|r| r.version <= tail.heads[&r.stream]).map(|r| (r.stream, r.version)).collect();
        let mut known = known_events(self.kernel.store.as_ref(), &wanted).await?;
        let mut fresh: BTreeMap<StreamId, Vec<EventRow>> = BTreeMap::new();
        for row in rows {
            // What follows a fork belongs to the other side of it.
            if forks.contains_key(&row.stream) {
                continue;
            }
            let at = (row.stream, row.version);
            let head = tail.heads.get_mut(&row.stream).expect("heads were loaded");
            if row.version <= *head {
                // A dry run has not written what it counted before.
                if known.get(&at).or_else(|| tail.counted.get(&at)).is_some_and(|id| *id != row.event_id) {
                    forks.insert(row.stream, row.version);
                }
                continue;
            }
            let early = tail.early.entry(row.stream).or_default();
            if early.entry(row.version).or_insert_with(|| row.clone()).event_id != row.event_id {
                forks.insert(row.stream, row.version);
                continue;
            }
            while let Some(row) = early.remove(&(*head + 1)) {
                *head += 1;
                known.insert((row.stream, row.version), row.event_id);
                if self.dry_run {
                    tail.counted.insert((row.stream, row.version), row.event_id);
                }
                fresh.entry(row.stream).or_default().push(row);
            }
        }
        tail.early.retain(|_, rows| !rows.is_empty());
        self.take_in(fresh, report).await
    }

    async fn load_heads(&self, rows: &[EventRow], tail: &mut Tail) -> Result<(), StoreError> {
        let missing: HashSet<StreamId> = rows.iter().map(|r| r.stream).filter(|s| !tail.heads.contains_key(s)).collect();
        let heads = self.stored_heads(missing.iter().copied().collect()).await?;
        tail.heads.extend(missing.into_iter().map(|s| (s, heads.get(&s).copied().unwrap_or(0))));
        Ok(())
    }

    /// Appends events of streams; each stream's follow on its head.
    async fn take_in(&self, streams: BTreeMap<StreamId, Vec<EventRow>>, report: &mut Report) -> Result<(), RecoverError> {
        let n: usize = streams.values().map(Vec::len).sum();
        if n == 0 {
            return Ok(());
        }
        let heads = self.stored_heads(streams.keys().copied().collect()).await?;
        let writes = streams.into_iter().map(|(stream, events)| Write { stream, expected: heads.get(&stream).copied().unwrap_or(0), events }).collect();
        self.write(Unit { writes, reimport: true, ..Unit::default() }).await?;
        report.reimported += n as u64;
        Ok(())
    }

    async fn stored_heads(&self, streams: Vec<StreamId>) -> Result<HashMap<StreamId, u64>, StoreError> {
        let mut heads = HashMap::with_capacity(streams.len());
        for chunk in streams.chunks(STREAMS_AT_ONCE) {
            let places = (1..=chunk.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(",");
            let args: Vec<_> = chunk.iter().map(|s| (*s).into()).collect();
            let sql = format!("select stream, max(version) from events where stream in ({places}) group by stream");
            heads.extend(self.kernel.store.query(&sql, &args).await?.iter().map(|r| (r.stream(0), r.int(1).unsigned_abs())));
        }
        Ok(heads)
    }

    /// What came behind versions that no topic holds any more is taken in all the same: others have it.
    async fn behind_holes(&self, tail: Tail, report: &mut Report) -> Result<(), RecoverError> {
        for (stream, rows) in tail.early {
            let mut head = tail.heads.get(&stream).copied().unwrap_or(0);
            for version in rows.keys() {
                if *version > head + 1 {
                    report.holes.push(Hole { stream, from: head + 1, to: version - 1 });
                }
                head = *version;
            }
            let rows: Vec<EventRow> = rows.into_values().collect();
            for chunk in rows.chunks(PAGE_RECORDS) {
                self.take_in(BTreeMap::from([(stream, chunk.to_vec())]), report).await?;
            }
        }
        Ok(())
    }

    /// The record as the event it was; none where it is not one.
    fn row(&self, record: &LogRecord) -> Option<EventRow> {
        let parts = wire::split(&record.payload).ok().filter(|p| p.stream_id.as_slice() == record.key)?;
        let traceparent = record.headers.iter().find(|(k, _)| k == TRACEPARENT).and_then(|(_, v)| String::from_utf8(v.to_vec()).ok());
        Some(EventRow {
            stream: StreamId::from_bytes(parts.stream_id),
            version: parts.envelope.stream_version,
            event_id: parts.event_id,
            name: facts::fact_name(self.kernel.composer.topic.context, parts.fact_number).unwrap_or("Unknown"),
            envelope: parts.envelope,
            payload: record.payload.clone(),
            traceparent,
        })
    }

    /// Nobody knows what the lost store had sent: whatever is open is looked for at its receiver, or by a person.
    async fn deliveries(&self, report: &mut Report) -> Result<(), RecoverError> {
        let now = crate::now_us();
        let open = ports::deliveries(self.kernel.store.as_ref(), "state in ('due', 'sending', 'retry_at', 'needs_user') order by seq", &[]).await?;
        report.deliveries_unconfirmed = open.len() as u64;
        for chunk in open.chunks(DELIVERIES_AT_ONCE) {
            let moves = chunk.iter().map(|d| {
                DeliveryChange::Move(DeliveryMove {
                    id: d.id,
                    from: d.state,
                    from_attempt: d.attempt,
                    to: DeliveryState::Unconfirmed,
                    attempt: d.attempt,
                    sender: d.sender,
                    deadline_at: None,
                    next_at: now,
                    code: Some(deliveries::RECOVERED.to_owned()),
                    reference: None,
                    at: now,
                })
            });
            self.write(Unit { deliveries: moves.collect(), ..Unit::default() }).await?;
        }
        Ok(())
    }

    /// A checkpoint outside what its topic holds goes to the topic's beginning: what was taken before is known again by its version.
    async fn checkpoints(&self, report: &mut Report) -> Result<(), RecoverError> {
        let rows = self.kernel.store.query("select subscription, topic, partition, next_offset, epoch from checkpoints", &[]).await?;
        for row in rows {
            let (Some(topic), Ok(partition)) = (topics::by_name(row.text(1)), u16::try_from(row.int(2))) else { continue };
            let (next, epoch) = (row.int(3), row.int(4));
            let marks = self.kernel.log.watermarks(topic.name, partition).await?;
            if (marks.low..=marks.high).contains(&next) {
                continue;
            }
            let change = CheckpointChange::Advance { subscription: row.text(0).to_owned(), topic: topic.name, partition, epoch, from: next, to: marks.low };
            self.write(Unit { checkpoint: Some(change), ..Unit::default() }).await?;
            report.checkpoints.push(MovedCheckpoint { topic: topic.name.to_owned(), partition, from: next, to: marks.low });
        }
        Ok(())
    }

    async fn not_in_topics(&self) -> Result<Vec<NotInTopics>, StoreError> {
        let store = self.kernel.store.as_ref();
        let mut all = Vec::new();
        for (what, sql, so) in [
            ("audit rows", "select count(*), max(at) from audit", "who saw or touched what after that is not known from here"),
            (
                "claims (idempotency keys, unique keys)",
                "select count(*), null from claims",
                "a request repeated across the loss may take effect again, and a key may be taken twice",
            ),
            ("hospital messages received", "select count(*), max(received_at) from inbox", "ask the hospital to send again what it sent after that"),
            ("documents beside the events", "select count(*), max(at) from blobs", "events that name later ones point to nothing"),
            ("timers", "select count(*), null from timers", "those set later do not fire; those done later may fire again"),
            ("deliveries to the outside", "select count(*), max(created_at) from deliveries", "those begun later are not known here"),
        ] {
            let rows = store.query(sql, &[]).await?;
            if let Some(row) = rows.first() {
                all.push(NotInTopics { what, rows: row.int(0), newest_at: row.opt_int(1), so });
            }
        }
        let newest = store.query("select position, payload from events order by position desc limit 1", &[]).await?;
        let recorded_at = newest.first().and_then(|r| wire::split(r.blob(1)).ok()).map(|p| p.envelope.recorded_at_us);
        let position = newest.first().map_or(0, |r| r.int(0));
        all.push(NotInTopics {
            what: "events committed and not yet published when the store was lost",
            rows: position,
            newest_at: recorded_at,
            so: "whoever heard \"accepted\" for one of them must be asked to repeat it",
        });
        Ok(all)
    }
}

/// What is known of the streams of one partition on the way.
#[derive(Default)]
struct Tail {
    heads: HashMap<StreamId, u64>,
    /// Beyond a version that did not come yet.
    early: BTreeMap<StreamId, BTreeMap<u64, EventRow>>,
    /// What a dry run would have taken in.
    counted: HashMap<(StreamId, u64), [u8; 16]>,
}
