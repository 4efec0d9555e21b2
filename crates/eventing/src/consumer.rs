//! Consuming: each record of each subscribed topic is taken once, in order per stream, and given a disposition.
//!
//! One task follows the membership of the consumer group. For every partition it is assigned it takes the checkpoint row over
//! (the epoch rises, so that a former owner's commits are refused), compares it with the log's watermarks and starts a task that
//! reads from there: *taking over → reading → fenced or revoked*. A partition's task splits, deduplicates and triages records; those that
//! only project are committed in runs, one that makes the service act is committed alone. Every commit begins with a compare-and-set on
//! (next offset, epoch). Back-off pauses one partition while the others go on.

use crate::event::Fact;
use crate::kernel::{ATTEMPTS_MAX, Kernel, NotNow};
use crate::parking;
use crate::ports::{Log, LogError, LogRecord, Membership, PartitionReader, StoreError, TopicPartition};
use crate::trace;
use crate::unit::{Answer, CheckpointChange, ClaimHolder, Consumed, Disposition, ParkedChange, ParkedOf, ParkedRow, Unit};
use async_trait::async_trait;
use bytes::Bytes;
use hearthline_contracts::topics::{self, Topic};
use hearthline_contracts::{facts, wire};
use hearthline_nhs::StreamId;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::instrument::WithSubscriber;
use tracing::{Instrument, Span};

const RUN_RECORDS_MAX: usize = 2_000;
/// More distinct parked keys than this in one partition is a broken schema, not a poison record.
const PARKED_KEYS_MAX: usize = 50;
const SEEN_CACHE_MAX: usize = 50_000;

/// What a fact needs here, judged without IO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Triage {
    Ignore(&'static str),
    /// Views take it; nothing else happens.
    Project,
    /// The service does something: [`Inbound::act`] is asked, with everything before it committed.
    Act,
}

/// What a service makes of a fact.
#[derive(Debug)]
pub enum Reaction {
    /// Append this with the checkpoint; the fact is projected too.
    Apply(Box<Unit>),
    /// Projected, nothing else.
    Project,
    Ignore(&'static str),
    /// Not yet: kept, and retried when an operator or `retry_held` says so.
    Hold(&'static str),
    /// Cannot be taken.
    Park(String),
}

/// A service's policies on others' facts (`inbound.rs`).
#[async_trait]
pub trait Inbound: Send + Sync {
    fn topics(&self) -> &'static [&'static Topic];
    fn triage(&self, fact: &Fact) -> Triage;
    async fn act(&self, fact: &Fact) -> Result<Reaction, NotNow>;
    /// A unique claim of the reaction is held: by default it was done before.
    fn claimed(&self, _fact: &Fact, _holder: &ClaimHolder) -> Reaction {
        Reaction::Ignore("done before")
    }
    /// Keep every taken fact, without its sealed part, for rebuilds.
    fn archives(&self) -> bool {
        false
    }
}

/// Why consuming stops, by name.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerStopped {
    #[error("TopicTrimmed: {topic}/{partition} begins at {low} but {subscription} stands at {next}; records are missing: republish them")]
    TopicTrimmed { subscription: String, topic: &'static str, partition: u16, next: i64, low: i64 },
    #[error("TopicRecreated: {topic}/{partition} ends at {high} but {subscription} stands at {next}; the topic was made anew")]
    TopicRecreated { subscription: String, topic: &'static str, partition: u16, next: i64, high: i64 },
    #[error("Forked: {topic}/{partition} offset {offset} has another event as version {version} of stream {stream}; a person must choose")]
    Forked { topic: &'static str, partition: u16, offset: i64, stream: StreamId, version: u64 },
    #[error("TooManyParked: {parked} keys of {topic}/{partition} are parked at once; this is a broken schema, not a poison record")]
    TooManyParked { topic: &'static str, partition: u16, parked: usize },
    #[error("the log failed: {0}")]
    Log(#[from] LogError),
    #[error("a partition's task panicked")]
    Panicked,
}

/// Runs until `shutdown`.
pub async fn run(kernel: Kernel, log: Arc<dyn Log>, inbound: Arc<dyn Inbound>, shutdown: CancellationToken) -> Result<(), ConsumerStopped> {
    let subscription = kernel.store.service().to_owned();
    let names: Vec<&'static str> = inbound.topics().iter().map(|t| t.name).collect();
    let mut member = log.join(&subscription, &names).await?;
    let mut partitions: JoinSet<(TopicPartition, Result<Ended, ConsumerStopped>)> = JoinSet::new();
    let mut living: HashMap<TopicPartition, CancellationToken> = HashMap::new();
    let mut again: Vec<TopicPartition> = Vec::new();
    let outcome = loop {
        let change = if again.is_empty() {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ok(()),
                Some(ended) = partitions.join_next(), if !partitions.is_empty() => match ended {
                    Ok((at, Ok(Ended::Fenced))) => {
                        // Lost to another owner, or only its answer was: taken over anew while it is still assigned.
                        if living.remove(&at).is_some_and(|t| !t.is_cancelled()) {
                            again.push(at);
                        }
                        continue;
                    }
                    Ok((at, Ok(Ended::Stopped))) => {
                        living.remove(&at);
                        continue;
                    }
                    Ok((_, Err(stopped))) => break Err(stopped),
                    Err(_) => break Err(ConsumerStopped::Panicked),
                },
                change = member.next() => match change {
                    Ok(change) => change,
                    Err(error) => break Err(error.into()),
                },
            }
        } else {
            Membership::Assigned(std::mem::take(&mut again))
        };
        match change {
            Membership::Revoked(gone) => {
                for at in gone {
                    if let Some(token) = living.remove(&at) {
                        token.cancel();
                    }
                }
            }
            Membership::Assigned(new) => {
                let mut failed = None;
                for at in new {
                    let (token, checkpoint) = (shutdown.child_token(), take_over(&kernel, log.as_ref(), &subscription, at).await);
                    let (epoch, next) = match checkpoint {
                        Ok(Some(taken)) => taken,
                        Ok(None) => {
                            again.push(at);
                            continue;
                        }
                        Err(stopped) => {
                            failed = Some(stopped);
                            break;
                        }
                    };
                    let reader = match member.read_from(at, next).await {
                        Ok(reader) => reader,
                        Err(error) => {
                            failed = Some(error.into());
                            break;
                        }
                    };
                    living.insert(at, token.clone());
                    let mut partition = Partition::new(kernel.clone(), inbound.clone(), subscription.clone(), at, epoch, next);
                    let dispatch = tracing::dispatcher::get_default(Clone::clone);
                    partitions.spawn(async move { (at, partition.run(reader, token).await) }.with_subscriber(dispatch));
                }
                if let Some(stopped) = failed {
                    break Err(stopped);
                }
                if !again.is_empty() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    for token in living.values() {
        token.cancel();
    }
    while partitions.join_next().await.is_some() {}
    outcome
}

/// Raises the epoch of a checkpoint and compares it with the log. `None` = try again.
async fn take_over(kernel: &Kernel, log: &dyn Log, subscription: &str, (topic, partition): TopicPartition) -> Result<Option<(i64, i64)>, ConsumerStopped> {
    let rows = kernel
        .store
        .query(
            "select epoch, next_offset from checkpoints where subscription = $1 and topic = $2 and partition = $3",
            &[subscription.into(), topic.into(), u32::from(partition).into()],
        )
        .await;
    let (known, from_epoch, next) = match rows {
        Ok(rows) => rows.first().map_or((false, 0, 0), |r| (true, r.int(0), r.int(1))),
        Err(error) => {
            tracing::warn!(%error, "a checkpoint could not be read; it is tried again");
            return Ok(None);
        }
    };
    let marks = log.watermarks(topic, partition).await?;
    let next = if known { next } else { marks.low };
    if next < marks.low {
        return Err(ConsumerStopped::TopicTrimmed { subscription: subscription.to_owned(), topic, partition, next, low: marks.low });
    }
    if next > marks.high {
        return Err(ConsumerStopped::TopicRecreated { subscription: subscription.to_owned(), topic, partition, next, high: marks.high });
    }
    let take = CheckpointChange::Take { subscription: subscription.to_owned(), topic, partition, from_epoch, next_offset: next };
    match kernel.store.append(Unit { checkpoint: Some(take), ..Unit::default() }).await {
        Ok(Answer::Committed { .. }) => Ok(Some((from_epoch + 1, next))),
        Ok(_) => Ok(None),
        Err(error) => {
            tracing::warn!(%error, "a partition could not be taken over; it is tried again");
            Ok(None)
        }
    }
}

enum Ended {
    Stopped,
    Fenced,
}

/// One partition's consumption.
struct Partition {
    kernel: Kernel,
    inbound: Arc<dyn Inbound>,
    subscription: String,
    topic: &'static str,
    partition: u16,
    epoch: i64,
    next: i64,
    seen: HashMap<StreamId, (u64, [u8; 16])>,
    /// Keys with parked or held records.
    waiting: HashSet<Bytes>,
}

/// Records taken and not yet committed.
#[derive(Default)]
struct Run {
    facts: Vec<Fact>,
    tally: BTreeMap<(&'static str, String), u64>,
    seen: HashMap<StreamId, (u64, [u8; 16])>,
    parked: Vec<ParkedChange>,
    next: Option<i64>,
    records: usize,
    /// Ends when the run is committed.
    spans: Vec<Span>,
}

impl Run {
    fn tally(&mut self, d: &Disposition) {
        *self.tally.entry((d.kind(), d.why().to_owned())).or_default() += 1;
    }
}

/// A record judged before any policy is asked.
enum Judged {
    Fact(Box<Fact>),
    Done(Disposition),
    Aside { held: bool, why: String },
}

impl Partition {
    fn new(kernel: Kernel, inbound: Arc<dyn Inbound>, subscription: String, (topic, partition): TopicPartition, epoch: i64, next: i64) -> Self {
        Partition { kernel, inbound, subscription, topic, partition, epoch, next, seen: HashMap::new(), waiting: HashSet::new() }
    }

    async fn run(&mut self, mut reader: Box<dyn PartitionReader>, stop: CancellationToken) -> Result<Ended, ConsumerStopped> {
        let mut patience = Patience::new();
        let mut committed = self.kernel.store.committed();
        let mut requests = None;
        while !stop.is_cancelled() {
            let work = committed.borrow_and_update().work;
            if requests != Some(work) {
                match self.requests(requests.is_none()).await {
                    Ok(Some(ended)) => return Ok(ended),
                    Ok(None) => requests = Some(work),
                    Err(Trouble::Stop(stopped)) => return Err(stopped),
                    Err(Trouble::NotNow(error)) => {
                        tracing::warn!(%error, topic = self.topic, partition = self.partition, "operators' requests are tried again");
                        patience.wait(&stop).await;
                        continue;
                    }
                }
            }
            let records = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                records = reader.read(RUN_RECORDS_MAX) => records?,
                // Only an operator's request matters here; most work is others'.
                _ = committed.wait_for(|c| c.work != work), if !self.waiting.is_empty() => continue,
            };
            let mut from = 0;
            while from < records.len() && !stop.is_cancelled() {
                match self.step(&records[from..]).await {
                    Ok(Some(n)) => {
                        from += n;
                        patience = Patience::new();
                    }
                    Ok(None) => return Ok(Ended::Fenced),
                    Err(Trouble::Stop(stopped)) => return Err(stopped),
                    Err(Trouble::NotNow(error)) => {
                        tracing::warn!(%error, topic = self.topic, partition = self.partition, "records are tried again");
                        patience.wait(&stop).await;
                    }
                }
            }
        }
        Ok(Ended::Stopped)
    }

    /// Takes a run of records: up to the first that makes the service act, or that one alone. Gives how many were committed;
    /// `None` = fenced.
    async fn step(&mut self, records: &[LogRecord]) -> Result<Option<usize>, Trouble> {
        self.load_seen(records).await?;
        let mut run = Run::default();
        for record in records {
            let span = tracing::info_span!("consume", otel.name = tracing::field::Empty, otel.kind = "consumer", topic = self.topic, service = self.subscription);
            let judged = self.judge(record, &run)?;
            match judged {
                Judged::Done(disposition) => {
                    run.tally(&disposition);
                    run.next = Some(record.offset + 1);
                    run.records += 1;
                }
                Judged::Aside { held, why } => {
                    self.aside(&mut run, record, held, why);
                }
                Judged::Fact(fact) => {
                    self.dress(&span, record, &fact);
                    match self.inbound.triage(&fact) {
                        Triage::Act if run.records > 0 => break,
                        Triage::Act => return self.act(*fact, record, span).await,
                        Triage::Project => self.take(&mut run, *fact, record.offset, Disposition::Applied, span),
                        Triage::Ignore(why) => self.take(&mut run, *fact, record.offset, Disposition::Ignored(why), span),
                    }
                }
            }
            if !self.waiting.is_empty() {
                break;
            }
        }
        let records_taken = run.records;
        let streams: Vec<StreamId> = run.seen.keys().copied().collect();
        match self.commit(run, Unit::default()).await {
            Ok(Answer::Committed { .. }) => {}
            Ok(_) => return Ok(None),
            Err(StoreError::Refused(why)) if records_taken > 1 => {
                tracing::warn!(why, "a run was refused; its records are tried one by one");
                return self.singly(&records[..records_taken]).await;
            }
            Err(StoreError::Refused(why)) => return self.park_one(&records[0], why).await,
            Err(error) => return Err(NotNow::from(error).into()),
        }
        for stream in streams {
            if self.waiting.contains(stream.bytes().as_slice()) && !self.release(stream).await? {
                return Ok(None);
            }
        }
        Ok(Some(records_taken))
    }

    async fn singly(&mut self, records: &[LogRecord]) -> Result<Option<usize>, Trouble> {
        for record in records {
            if Box::pin(self.step(std::slice::from_ref(record))).await?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(records.len()))
    }

    async fn park_one(&mut self, record: &LogRecord, why: String) -> Result<Option<usize>, Trouble> {
        let mut run = Run::default();
        self.aside(&mut run, record, false, why);
        match self.commit(run, Unit::default()).await.map_err(NotNow::from)? {
            Answer::Committed { .. } => Ok(Some(1)),
            _ => Ok(None),
        }
    }

    /// Names the record's span and hangs it under the trace it came with.
    fn dress(&self, span: &Span, record: &LogRecord, fact: &Fact) {
        let name = fact_name(fact);
        span.record("otel.name", format!("{} consume {name}", self.subscription));
        let parent = record.headers.iter().find(|(k, _)| k == cloudevents_traceparent()).and_then(|(_, v)| std::str::from_utf8(v).ok());
        trace::adopt(span, parent);
    }

    /// Decodes, and looks at environment, reader revision and version.
    fn judge(&self, record: &LogRecord, run: &Run) -> Result<Judged, Trouble> {
        let Ok(parts) = wire::split(&record.payload) else {
            return Ok(Judged::Aside { held: false, why: "the record is not an event of this context".to_owned() });
        };
        if record.key.as_ref() != parts.stream_id.as_slice() {
            return Ok(Judged::Aside { held: false, why: "the record's key is not its stream".to_owned() });
        }
        let stream = StreamId::from_bytes(parts.stream_id);
        let version = parts.envelope.stream_version;
        let (last, last_id) = run.seen.get(&stream).or_else(|| self.seen.get(&stream)).copied().unwrap_or((0, [0; 16]));
        if version <= last {
            if version == last && parts.event_id != last_id {
                return Err(Trouble::Stop(ConsumerStopped::Forked { topic: self.topic, partition: self.partition, offset: record.offset, stream, version }));
            }
            return Ok(Judged::Done(Disposition::Duplicate));
        }
        if version > last + 1 {
            return Ok(Judged::Aside { held: true, why: format!("version {} of its stream is not here yet", last + 1) });
        }
        if parts.envelope.least_reader_revision > crate::compose::READER_REVISION {
            return Ok(Judged::Aside { held: false, why: "it needs a newer reader: upgrade this service".to_owned() });
        }
        let Some(topic) = topics::by_name(self.topic) else {
            return Ok(Judged::Aside { held: false, why: "the topic is not in the catalogue".to_owned() });
        };
        if facts::fact_name(topic.context, parts.fact_number).is_none() {
            return Ok(Judged::Aside { held: false, why: "this version does not know the fact: upgrade this service".to_owned() });
        }
        Ok(Judged::Fact(Box::new(Fact { topic: self.topic, envelope: parts.envelope, sealed: parts.sealed, payload: record.payload.clone() })))
    }

    fn foreign(&self, fact: &Fact) -> bool {
        fact.envelope.environment != self.kernel.composer.deployment.environment as i32
    }

    fn take(&mut self, run: &mut Run, fact: Fact, offset: i64, disposition: Disposition, span: Span) {
        let disposition = if self.foreign(&fact) { Disposition::Ignored("another environment") } else { disposition };
        run.tally(&disposition);
        run.seen.insert(fact.stream(), (fact.version(), fact.event_id()));
        run.next = Some(offset + 1);
        run.records += 1;
        if disposition == Disposition::Applied {
            run.facts.push(fact);
            run.spans.push(span);
        }
    }

    fn aside(&mut self, run: &mut Run, record: &LogRecord, held: bool, why: String) {
        run.tally(&if held { Disposition::Held("an earlier version is missing") } else { Disposition::Parked(why.clone()) });
        tracing::warn!(topic = self.topic, partition = self.partition, offset = record.offset, held, why, "a record is set aside");
        run.parked.push(ParkedChange::Add(ParkedRow {
            offset: record.offset,
            key: record.key.clone(),
            held,
            why,
            payload: record.payload.clone(),
            headers: record.headers.clone(),
            parked_at: crate::now_us(),
        }));
        run.next = Some(record.offset + 1);
        run.records += 1;
        self.waiting.insert(record.key.clone());
    }

    /// Asks the service about one fact and commits what it says with it.
    async fn act(&mut self, fact: Fact, record: &LogRecord, span: Span) -> Result<Option<usize>, Trouble> {
        if self.foreign(&fact) {
            let mut run = Run::default();
            self.take(&mut run, fact, record.offset, Disposition::Applied, span);
            return Ok(matches!(self.commit(run, Unit::default()).await.map_err(NotNow::from)?, Answer::Committed { .. }).then_some(1));
        }
        let stream = fact.stream();
        let outcome = self.react(&fact, Some(record), &span).instrument(span.clone()).await?;
        if !outcome {
            return Ok(None);
        }
        if self.waiting.contains(stream.bytes().as_slice()) && !self.release(stream).await? {
            return Ok(None);
        }
        Ok(Some(1))
    }

    /// Runs the policy and commits; `record` is none when a parked row is released. False = fenced.
    async fn react(&mut self, fact: &Fact, record: Option<&LogRecord>, span: &Span) -> Result<bool, Trouble> {
        let mut claimed = None;
        for _ in 0..ATTEMPTS_MAX {
            let reaction = match claimed.take() {
                Some(holder) => self.inbound.claimed(fact, &holder),
                None if self.inbound.triage(fact) == Triage::Act => self.inbound.act(fact).await?,
                None => Reaction::Project,
            };
            let mut run = Run::default();
            let offset = record.map_or(self.next - 1, |r| r.offset);
            let mut unit = Unit::default();
            match reaction {
                Reaction::Apply(made) => {
                    unit = *made;
                    self.take(&mut run, fact.clone(), offset, Disposition::Applied, span.clone());
                }
                Reaction::Project => self.take(&mut run, fact.clone(), offset, Disposition::Applied, span.clone()),
                Reaction::Ignore(why) => self.take(&mut run, fact.clone(), offset, Disposition::Ignored(why), span.clone()),
                Reaction::Hold(_) | Reaction::Park(_) if record.is_none() => return Ok(true),
                Reaction::Hold(why) => self.aside(&mut run, record.expect("checked above"), true, why.to_owned()),
                Reaction::Park(why) => self.aside(&mut run, record.expect("checked above"), false, why),
            }
            match self.commit(run, unit).await {
                Ok(Answer::Committed { .. }) => return Ok(true),
                Ok(Answer::Claimed(holder)) => claimed = Some(holder),
                Ok(Answer::VersionConflict { .. }) => {}
                Ok(Answer::Fenced(_)) => return Ok(false),
                Err(StoreError::Refused(why)) => match record {
                    Some(record) => return Ok(self.park_one(record, why).await?.is_some()),
                    None => return Ok(true),
                },
                Err(error) => return Err(NotNow::from(error).into()),
            }
        }
        Err(NotNow::Other("a policy kept meeting a stream that changed".to_owned()).into())
    }

    /// Commits a run together with what a policy made of it.
    async fn commit(&mut self, run: Run, mut unit: Unit) -> Result<Answer, StoreError> {
        let to = run.next.unwrap_or(self.next).max(self.next);
        unit.checkpoint = Some(CheckpointChange::Advance {
            subscription: self.subscription.clone(),
            topic: self.topic,
            partition: self.partition,
            epoch: self.epoch,
            from: self.next,
            to,
        });
        unit.consumed = Some(Consumed {
            subscription: self.subscription.clone(),
            facts: run.facts,
            tally: run.tally.into_iter().map(|((kind, why), n)| (self.topic, kind, why, n)).collect(),
            seen: run.seen.iter().map(|(s, (v, id))| (*s, *v, *id)).collect(),
            archive: self.inbound.archives(),
        });
        unit.parked.extend(run.parked.into_iter().map(|change| ParkedOf {
            subscription: self.subscription.clone(),
            topic: self.topic.to_owned(),
            partition: self.partition,
            change,
        }));
        let answer = self.kernel.store.append(unit).await?;
        if matches!(answer, Answer::Committed { .. }) {
            self.next = to;
            self.seen.extend(run.seen);
        }
        Ok(answer)
    }

    async fn load_seen(&mut self, records: &[LogRecord]) -> Result<(), NotNow> {
        if self.seen.len() > SEEN_CACHE_MAX {
            self.seen.clear();
        }
        let mut missing: Vec<StreamId> = records
            .iter()
            .filter_map(|r| StreamId::try_from(r.key.as_ref()).ok())
            .filter(|s| !self.seen.contains_key(s))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        for chunk in missing.chunks(500) {
            let places = (2..chunk.len() + 2).map(|i| format!("${i}")).collect::<Vec<_>>().join(",");
            let mut args = vec![self.subscription.as_str().into()];
            args.extend(chunk.iter().map(|s| (*s).into()));
            let sql = format!("select stream, version, event_id from seen where subscription = $1 and stream in ({places})");
            for row in self.kernel.store.query(&sql, &args).await? {
                self.seen.insert(row.stream(0), (row.int(1).unsigned_abs(), row.id(2)));
            }
            for stream in chunk {
                self.seen.entry(*stream).or_insert((0, [0; 16]));
            }
        }
        Ok(())
    }

    /// Takes what was held behind a stream, in version order, as far as it goes. False = fenced.
    async fn release(&mut self, stream: StreamId) -> Result<bool, Trouble> {
        loop {
            let mut rows = parking::of_key(self.kernel.store.as_ref(), &self.subscription, self.topic, self.partition, stream.bytes()).await?;
            if rows.is_empty() {
                self.waiting.remove(stream.bytes().as_slice());
                return Ok(true);
            }
            rows.retain(|r| r.held);
            let (last, _) = self.seen.get(&stream).copied().unwrap_or((0, [0; 16]));
            let Some(row) = rows.into_iter().find(|r| wire::split(&r.payload).is_ok_and(|p| p.envelope.stream_version <= last + 1)) else {
                return Ok(true);
            };
            if !self.reprocess(row).await? {
                return Ok(false);
            }
        }
    }

    /// Runs today's code on a row set aside; the row goes if it is taken. False = fenced.
    async fn reprocess(&mut self, row: parking::Parked) -> Result<bool, Trouble> {
        let record = LogRecord {
            topic: self.topic,
            partition: self.partition,
            offset: row.offset,
            key: row.key.clone(),
            headers: parking::headers(&row.headers),
            payload: row.payload.clone(),
        };
        self.load_seen(std::slice::from_ref(&record)).await?;
        let span = tracing::info_span!("consume", otel.name = tracing::field::Empty, otel.kind = "consumer", topic = self.topic, service = self.subscription);
        let remove = ParkedOf { subscription: self.subscription.clone(), topic: self.topic.to_owned(), partition: self.partition, change: ParkedChange::Remove { offset: row.offset } };
        match self.judge(&record, &Run::default())? {
            Judged::Done(_) => self.settle(Unit { parked: vec![remove], ..Unit::default() }).await,
            Judged::Aside { held, why } => {
                let change = ParkedOf { change: ParkedChange::Reason { offset: row.offset, held, why }, ..remove };
                self.settle(Unit { parked: vec![change], ..Unit::default() }).await
            }
            Judged::Fact(fact) => {
                self.dress(&span, &record, &fact);
                let before = self.seen.get(&fact.stream()).copied();
                if !self.react(&fact, None, &span).instrument(span.clone()).await? {
                    return Ok(false);
                }
                if self.seen.get(&fact.stream()).copied() == before {
                    let change = ParkedOf { change: ParkedChange::Reason { offset: row.offset, held: false, why: "tried again, and still not taken".to_owned() }, ..remove };
                    return self.settle(Unit { parked: vec![change], ..Unit::default() }).await;
                }
                self.settle(Unit { parked: vec![remove], ..Unit::default() }).await
            }
        }
    }

    async fn settle(&mut self, unit: Unit) -> Result<bool, Trouble> {
        Ok(matches!(self.commit(Run::default(), unit).await.map_err(NotNow::from)?, Answer::Committed { .. }))
    }

    /// Executes operators' requests on this partition, and refreshes which keys wait.
    async fn requests(&mut self, first: bool) -> Result<Option<Ended>, Trouble> {
        if !first && self.waiting.is_empty() {
            return Ok(None);
        }
        let rows = parking::of_partition(self.kernel.store.as_ref(), &self.subscription, self.topic, self.partition).await?;
        self.waiting = rows.iter().map(|r| r.key.clone()).collect();
        let parked: HashSet<&Bytes> = rows.iter().filter(|r| !r.held).map(|r| &r.key).collect();
        if parked.len() > PARKED_KEYS_MAX {
            return Err(Trouble::Stop(ConsumerStopped::TooManyParked { topic: self.topic, partition: self.partition, parked: parked.len() }));
        }
        for row in rows {
            let key = StreamId::try_from(row.key.as_ref()).ok();
            let going_on = match row.request.as_deref() {
                Some("retry") => self.reprocess(row).await?,
                Some("discard") => self.discard(row).await?,
                _ => continue,
            };
            if !going_on {
                return Ok(Some(Ended::Fenced));
            }
            if let Some(stream) = key
                && !self.release(stream).await?
            {
                return Ok(Some(Ended::Fenced));
            }
        }
        Ok(None)
    }

    /// Lets a record go for good: its version counts as seen, so that the stream goes on behind it.
    async fn discard(&mut self, row: parking::Parked) -> Result<bool, Trouble> {
        let mut run = Run::default();
        let stream = StreamId::try_from(row.key.as_ref()).ok();
        if let Some(stream) = stream {
            let version = match wire::split(&row.payload) {
                Ok(parts) => Some((parts.envelope.stream_version, parts.event_id)),
                // No version can be read: the stream goes on with the first that waits.
                Err(_) => parking::of_key(self.kernel.store.as_ref(), &self.subscription, self.topic, self.partition, stream.bytes())
                    .await?
                    .iter()
                    .filter_map(|r| wire::split(&r.payload).ok())
                    .map(|p| (p.envelope.stream_version - 1, [0; 16]))
                    .min(),
            };
            let last = self.seen.get(&stream).map_or(0, |(v, _)| *v);
            if let Some((version, id)) = version.filter(|(v, _)| *v > last) {
                run.seen.insert(stream, (version, id));
            }
        }
        run.tally(&Disposition::Ignored("discarded by an operator"));
        run.parked.push(ParkedChange::Remove { offset: row.offset });
        tracing::warn!(topic = self.topic, partition = self.partition, offset = row.offset, reason = row.request_reason.as_deref().unwrap_or(""), "a parked record was discarded by an operator");
        Ok(matches!(self.commit(run, Unit::default()).await.map_err(NotNow::from)?, Answer::Committed { .. }))
    }
}

enum Trouble {
    NotNow(NotNow),
    Stop(ConsumerStopped),
}

impl From<NotNow> for Trouble {
    fn from(e: NotNow) -> Self {
        Trouble::NotNow(e)
    }
}
impl From<StoreError> for Trouble {
    fn from(e: StoreError) -> Self {
        Trouble::NotNow(e.into())
    }
}

/// Back-off with a ceiling.
struct Patience(Duration);

impl Patience {
    fn new() -> Self {
        Patience(Duration::from_millis(20))
    }
    async fn wait(&mut self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(self.0) => {}
        }
        self.0 = (self.0 * 2).min(Duration::from_secs(10));
    }
}

/// A fact's name, for spans and logs.
pub fn fact_name(fact: &Fact) -> &'static str {
    wire::split(&fact.payload)
        .ok()
        .and_then(|parts| facts::fact_name(topics::by_name(fact.topic)?.context, parts.fact_number))
        .unwrap_or("Unknown")
}

fn cloudevents_traceparent() -> &'static str {
    hearthline_contracts::cloudevents::TRACEPARENT
}
