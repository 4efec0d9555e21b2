//! One partition's consumption: judge, dedup, set aside, commit with the checkpoint.

use super::{ConsumerStopped, Inbound, Reaction, Triage, fact_name, is_final};
use crate::event::Fact;
use crate::kernel::{ATTEMPTS_MAX, Kernel, NotNow};
use crate::parking::{self, Parked};
use crate::ports::{LogError, LogRecord, PartitionReader, StoreError, TopicPartition};
use crate::trace;
use crate::unit::{Answer, CheckpointChange, Consumed, Disposition, ParkedChange, ParkedOf, ParkedRow, Unit};
use bytes::Bytes;
use hearthline_contracts::cloudevents::TRACEPARENT;
use hearthline_contracts::{facts, topics, wire};
use hearthline_nhs::StreamId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

const RUN_RECORDS_MAX: usize = 2_000;
/// More distinct parked keys than this in one partition is a broken schema, not a poison record.
const PARKED_KEYS_MAX: usize = 50;
const SEEN_CACHE_MAX: usize = 50_000;
/// How often a record that a policy held is asked about again.
const HELD_AGAIN: Duration = Duration::from_secs(2);

pub(super) enum Ended {
    Stopped,
    Fenced,
}

/// The newest version of a stream that took effect, with its event. An id of zeros: nobody knows which event that version was
/// (an unreadable record was discarded), so that version may still come.
type Seen = (u64, [u8; 16]);
const NOBODY_KNOWS: [u8; 16] = [0; 16];

/// A record set aside, as far as judging needs it.
struct Waiting {
    offset: i64,
    /// None where the record cannot be read.
    event: Option<Seen>,
    held: bool,
}

impl Waiting {
    fn new(offset: i64, held: bool, payload: &Bytes) -> Self {
        Waiting { offset, held, event: wire::split(payload).ok().map(|p| (p.envelope.stream_version, p.event_id)) }
    }
}

pub(super) struct Partition {
    kernel: Kernel,
    inbound: Arc<dyn Inbound>,
    subscription: String,
    topic: &'static str,
    partition: u16,
    epoch: i64,
    next: i64,
    seen: HashMap<StreamId, Seen>,
    /// Records set aside, by key.
    waiting: HashMap<Bytes, Vec<Waiting>>,
    held_again: Instant,
}

/// Records taken and not yet committed.
#[derive(Default)]
struct Run {
    facts: Vec<Fact>,
    tally: BTreeMap<(&'static str, String), u64>,
    seen: HashMap<StreamId, Seen>,
    parked: Vec<ParkedChange>,
    aside: Vec<(Bytes, Waiting)>,
    next: Option<i64>,
    records: usize,
    /// Ends when the run is committed.
    spans: Vec<Span>,
}

impl Run {
    fn tally(&mut self, d: &Disposition) {
        *self.tally.entry((d.kind(), d.why().to_owned())).or_default() += 1;
    }

    fn read_past(&mut self, offset: i64) {
        self.next = Some(offset + 1);
        self.records += 1;
    }
}

/// A record judged before any policy is asked.
enum Judged {
    Fact(Box<Fact>),
    Done(Disposition),
    Aside { held: bool, why: String },
}

/// Where a fact comes from that a policy is asked about.
#[derive(Clone, Copy)]
enum Source<'a> {
    Log(&'a LogRecord),
    /// A record set aside before.
    Row(&'a Parked),
}

/// What became of a fact, or of a row set aside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Taken,
    Aside,
    Fenced,
}

impl Partition {
    pub(super) fn new(kernel: Kernel, inbound: Arc<dyn Inbound>, subscription: String, (topic, partition): TopicPartition, epoch: i64, next: i64) -> Self {
        Partition { kernel, inbound, subscription, topic, partition, epoch, next, seen: HashMap::new(), waiting: HashMap::new(), held_again: Instant::now() }
    }

    pub(super) async fn run(&mut self, mut reader: Box<dyn PartitionReader>, stop: CancellationToken) -> Result<Ended, ConsumerStopped> {
        let mut patience = Patience::new();
        let mut committed = self.kernel.store.committed();
        let mut looked = None;
        while !stop.is_cancelled() {
            let work = committed.borrow_and_update().work;
            if looked != Some(work) || (self.holds_any() && self.held_again <= Instant::now()) {
                match self.revisit(looked.is_none()).await {
                    Ok(Outcome::Fenced) => return Ok(Ended::Fenced),
                    Ok(_) => {
                        looked = Some(work);
                        patience = Patience::new();
                    }
                    Err(Trouble::Stop(stopped)) => return Err(*stopped),
                    Err(Trouble::NotNow(error)) => {
                        tracing::warn!(%error, topic = self.topic, partition = self.partition, "records set aside are tried again");
                        patience.wait(&stop).await;
                        continue;
                    }
                }
            }
            let records = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                records = reader.read(RUN_RECORDS_MAX) => match records {
                    Ok(records) => records,
                    // The partition was revoked; the change of membership that says so is on its way.
                    Err(LogError::MembershipLost) => break,
                    Err(error) if is_final(&error) => return Err(error.into()),
                    Err(error) => {
                        tracing::warn!(%error, topic = self.topic, partition = self.partition, "the log is tried again");
                        patience.wait(&stop).await;
                        continue;
                    }
                },
                // Only an operator's request matters here; most work is others'.
                lives = async { committed.wait_for(|c| c.work != work).await.is_ok() }, if !self.waiting.is_empty() => if lives {
                    continue;
                } else {
                    // The store has ended, and with it everything here.
                    break;
                },
                () = tokio::time::sleep_until(self.held_again), if self.holds_any() => continue,
            };
            let mut from = 0;
            while from < records.len() && !stop.is_cancelled() {
                match self.step(&records[from..]).await {
                    Ok(Some(n)) => {
                        from += n;
                        patience = Patience::new();
                    }
                    Ok(None) => return Ok(Ended::Fenced),
                    Err(Trouble::Stop(stopped)) => return Err(*stopped),
                    Err(Trouble::NotNow(error)) => {
                        tracing::warn!(%error, topic = self.topic, partition = self.partition, "records are tried again");
                        patience.wait(&stop).await;
                    }
                }
                self.not_too_many_parked()?;
            }
        }
        Ok(Ended::Stopped)
    }

    fn not_too_many_parked(&self) -> Result<(), ConsumerStopped> {
        let parked = self.waiting.values().filter(|rows| rows.iter().any(|r| !r.held)).count();
        if parked > PARKED_KEYS_MAX {
            return Err(ConsumerStopped::TooManyParked { topic: self.topic, partition: self.partition, parked });
        }
        Ok(())
    }

    /// A policy, rather than a missing version, keeps some record waiting.
    fn holds_any(&self) -> bool {
        self.waiting.iter().any(|(key, rows)| self.held_first(key, rows))
    }

    fn held_first(&self, key: &Bytes, rows: &[Waiting]) -> bool {
        StreamId::try_from(key.as_ref())
            .is_ok_and(|stream| rows.iter().any(|r| r.held && r.event.is_some_and(|(version, _)| version <= self.last(stream).0 + 1)))
    }

    fn last(&self, stream: StreamId) -> Seen {
        self.seen.get(&stream).copied().unwrap_or((0, NOBODY_KNOWS))
    }

    /// Takes a run of records: up to the first that makes the service act, or that one alone. Gives how many were committed;
    /// `None` = fenced.
    async fn step(&mut self, records: &[LogRecord]) -> Result<Option<usize>, Trouble> {
        self.load_seen(records.iter().map(|r| &r.key)).await?;
        let mut run = Run::default();
        for record in records {
            let span = self.span();
            match self.judge(record, &run)? {
                Judged::Done(disposition) => {
                    run.tally(&disposition);
                    run.read_past(record.offset);
                }
                Judged::Aside { held, why } => self.aside(&mut run, record, held, why),
                Judged::Fact(fact) => {
                    self.dress(&span, record, &fact);
                    match self.inbound.triage(&fact) {
                        Triage::Act if run.records > 0 => break,
                        Triage::Act => return self.act(*fact, record, span).await,
                        Triage::Project => self.take(&mut run, *fact, Some(record.offset), Disposition::Applied, span),
                        Triage::Ignore(why) => self.take(&mut run, *fact, Some(record.offset), Disposition::Ignored(why), span),
                    }
                }
            }
        }
        let taken = run.records;
        let streams: Vec<StreamId> = run.seen.keys().copied().collect();
        match self.commit(run, Unit::default()).await {
            Ok(Answer::Committed { .. }) => {}
            Ok(_) => return Ok(None),
            Err(StoreError::Refused(why)) if taken > 1 => {
                tracing::warn!(why, "a run was refused; its records are tried one by one");
                return self.singly(&records[..taken]).await;
            }
            Err(StoreError::Refused(why)) => return self.park_one(&records[0], why).await,
            Err(error) => return Err(NotNow::from(error).into()),
        }
        for stream in streams {
            if self.release(stream).await? == Outcome::Fenced {
                return Ok(None);
            }
        }
        Ok(Some(taken))
    }

    /// Takes refused records one by one. Trouble on the way is reported as what was done so far.
    async fn singly(&mut self, records: &[LogRecord]) -> Result<Option<usize>, Trouble> {
        for (done, record) in records.iter().enumerate() {
            match Box::pin(self.step(std::slice::from_ref(record))).await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(Trouble::NotNow(error)) if done > 0 => {
                    tracing::warn!(%error, topic = self.topic, partition = self.partition, "a record is tried again");
                    return Ok(Some(done));
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(Some(records.len()))
    }

    async fn park_one(&mut self, record: &LogRecord, why: String) -> Result<Option<usize>, Trouble> {
        let mut run = Run::default();
        self.aside(&mut run, record, false, why);
        Ok(self.settle(run).await?.then_some(1))
    }

    fn span(&self) -> Span {
        tracing::info_span!("consume", otel.name = tracing::field::Empty, otel.kind = "consumer", topic = self.topic, service = self.subscription)
    }

    /// Names the record's span and hangs it under the trace it came with.
    fn dress(&self, span: &Span, record: &LogRecord, fact: &Fact) {
        let name = fact_name(fact);
        span.record("otel.name", format!("{} consume {name}", self.subscription));
        let parent = record.headers.iter().find(|(k, _)| k == TRACEPARENT).and_then(|(_, v)| std::str::from_utf8(v).ok());
        trace::adopt(span, parent);
    }

    /// Decodes, and looks at version, environment and reader revision.
    fn judge(&self, record: &LogRecord, run: &Run) -> Result<Judged, Trouble> {
        let aside = |held, why: &str| Ok(Judged::Aside { held, why: why.to_owned() });
        let Ok(parts) = wire::split(&record.payload) else {
            return aside(false, "the record is not an event of this context");
        };
        if record.key.as_ref() != parts.stream_id.as_slice() {
            return aside(false, "the record's key is not its stream");
        }
        let stream = StreamId::from_bytes(parts.stream_id);
        let version = parts.envelope.stream_version;
        let forked =
            || Trouble::Stop(Box::new(ConsumerStopped::Forked { topic: self.topic, partition: self.partition, offset: record.offset, stream, version }));
        let (last, last_id) = run.seen.get(&stream).copied().unwrap_or_else(|| self.last(stream));
        if version < last || (version == last && last_id == parts.event_id) {
            return Ok(Judged::Done(Disposition::Duplicate));
        }
        if version == last && last_id != NOBODY_KNOWS {
            return Err(forked());
        }
        // The same event again while it waits.
        let before = self.waiting.get(&record.key).into_iter().flatten();
        let in_run = run.aside.iter().filter(|(key, _)| *key == record.key).map(|(_, w)| w);
        for (other, id) in before.chain(in_run).filter(|w| w.offset != record.offset).filter_map(|w| w.event) {
            if other == version {
                return if id == parts.event_id { Ok(Judged::Done(Disposition::Duplicate)) } else { Err(forked()) };
            }
        }
        if version > last + 1 {
            return Ok(Judged::Aside { held: true, why: format!("version {} of its stream is not here yet", last + 1) });
        }
        if parts.envelope.least_reader_revision > self.kernel.composer.deployment.level.highest() {
            return aside(false, "it needs a newer reader: upgrade this service");
        }
        let Some(topic) = topics::by_name(self.topic) else {
            return aside(false, "the topic is not in the catalogue");
        };
        if facts::fact_name(topic.context, parts.fact_number).is_none() {
            return aside(false, "this version does not know the fact: upgrade this service");
        }
        Ok(Judged::Fact(Box::new(Fact { topic: self.topic, envelope: parts.envelope, sealed: parts.sealed, payload: record.payload.clone() })))
    }

    fn foreign(&self, fact: &Fact) -> bool {
        fact.envelope.environment != self.kernel.composer.deployment.environment as i32
    }

    /// `offset` is none for a row set aside before: the partition does not move on with it.
    fn take(&self, run: &mut Run, fact: Fact, offset: Option<i64>, disposition: Disposition, span: Span) {
        let disposition = if self.foreign(&fact) { Disposition::Ignored("another environment") } else { disposition };
        run.tally(&disposition);
        run.seen.insert(fact.stream(), (fact.version(), fact.event_id()));
        if let Some(offset) = offset {
            run.read_past(offset);
        }
        if disposition == Disposition::Applied {
            run.facts.push(fact);
            run.spans.push(span);
        }
    }

    fn aside(&self, run: &mut Run, record: &LogRecord, held: bool, why: String) {
        run.tally(&if held { Disposition::Held("waits for an earlier version or a policy") } else { Disposition::Parked(why.clone()) });
        tracing::warn!(topic = self.topic, partition = self.partition, offset = record.offset, held, why, "a record is set aside");
        run.aside.push((record.key.clone(), Waiting::new(record.offset, held, &record.payload)));
        run.parked.push(ParkedChange::Add(ParkedRow {
            offset: record.offset,
            key: record.key.clone(),
            held,
            why,
            payload: record.payload.clone(),
            headers: record.headers.clone(),
            parked_at: crate::now_us(),
        }));
        run.read_past(record.offset);
    }

    /// Asks the service about one fact and commits what it says with it.
    async fn act(&mut self, fact: Fact, record: &LogRecord, span: Span) -> Result<Option<usize>, Trouble> {
        let stream = fact.stream();
        let outcome = self.react(&fact, Source::Log(record), &span).instrument(span.clone()).await?;
        if outcome == Outcome::Fenced || self.release(stream).await? == Outcome::Fenced {
            return Ok(None);
        }
        Ok(Some(1))
    }

    /// Runs the policy and commits what it says.
    async fn react(&mut self, fact: &Fact, source: Source<'_>, span: &Span) -> Result<Outcome, Trouble> {
        let mut claimed = None;
        for _ in 0..ATTEMPTS_MAX {
            let reaction = match claimed.take() {
                _ if self.foreign(fact) => Reaction::Ignore("another environment"),
                Some(holder) => self.inbound.claimed(fact, &holder),
                None => match self.inbound.triage(fact) {
                    Triage::Act => self.inbound.act(fact).await?,
                    Triage::Project => Reaction::Project,
                    Triage::Ignore(why) => Reaction::Ignore(why),
                },
            };
            let (disposition, unit) = match reaction {
                Reaction::Again => continue,
                Reaction::Apply(unit) => (Disposition::Applied, *unit),
                Reaction::Project => (Disposition::Applied, Unit::default()),
                Reaction::Ignore(why) => (Disposition::Ignored(why), Unit::default()),
                Reaction::Hold(why) => return self.set_aside(source, true, why.to_owned()).await,
                Reaction::Park(why) => return self.set_aside(source, false, why).await,
            };
            let mut run = Run::default();
            let offset = match source {
                Source::Log(record) => Some(record.offset),
                Source::Row(row) => {
                    run.parked.push(ParkedChange::Remove { offset: row.offset });
                    None
                }
            };
            self.take(&mut run, fact.clone(), offset, disposition, span.clone());
            match self.commit(run, unit).await {
                Ok(Answer::Committed { .. }) => return Ok(Outcome::Taken),
                Ok(Answer::Claimed(holder)) => claimed = Some(holder),
                Ok(Answer::VersionConflict { .. }) => {}
                Ok(Answer::Fenced(_)) => return Ok(Outcome::Fenced),
                Err(StoreError::Refused(why)) => return self.set_aside(source, false, why).await,
                Err(error) => return Err(NotNow::from(error).into()),
            }
        }
        Err(NotNow::Other("a policy kept meeting a stream that changed".to_owned()).into())
    }

    /// Sets a record aside, or says why a row stays there.
    async fn set_aside(&mut self, source: Source<'_>, held: bool, why: String) -> Result<Outcome, Trouble> {
        let mut run = Run::default();
        match source {
            Source::Log(record) => self.aside(&mut run, record, held, why),
            Source::Row(row) if row.held == held && row.why == why && row.request.is_none() => return Ok(Outcome::Aside),
            Source::Row(row) => run.parked.push(ParkedChange::Reason { offset: row.offset, held, why }),
        }
        Ok(if self.settle(run).await? { Outcome::Aside } else { Outcome::Fenced })
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
        unit.parked.extend(run.parked.iter().cloned().map(|change| ParkedOf {
            subscription: self.subscription.clone(),
            topic: self.topic.to_owned(),
            partition: self.partition,
            change,
        }));
        let answer = self.kernel.store.append(unit).await?;
        if matches!(answer, Answer::Committed { .. }) {
            self.next = to;
            self.seen.extend(run.seen);
            self.remember(run.aside, &run.parked);
        }
        Ok(answer)
    }

    fn remember(&mut self, added: Vec<(Bytes, Waiting)>, changes: &[ParkedChange]) {
        for (key, row) in added {
            self.waiting.entry(key).or_default().push(row);
        }
        for change in changes {
            match change {
                ParkedChange::Remove { offset } => {
                    for rows in self.waiting.values_mut() {
                        rows.retain(|r| r.offset != *offset);
                    }
                }
                ParkedChange::Reason { offset, held, .. } => {
                    for row in self.waiting.values_mut().flatten().filter(|r| r.offset == *offset) {
                        row.held = *held;
                    }
                }
                ParkedChange::Add(_) | ParkedChange::Request { .. } => {}
            }
        }
        self.waiting.retain(|_, rows| !rows.is_empty());
    }

    async fn settle(&mut self, run: Run) -> Result<bool, Trouble> {
        Ok(matches!(self.commit(run, Unit::default()).await.map_err(NotNow::from)?, Answer::Committed { .. }))
    }

    async fn load_seen(&mut self, keys: impl Iterator<Item = &Bytes>) -> Result<(), NotNow> {
        let mut missing: Vec<StreamId> = keys.filter_map(|k| StreamId::try_from(k.as_ref()).ok()).filter(|s| !self.seen.contains_key(s)).collect();
        missing.sort_unstable();
        missing.dedup();
        if self.seen.len() + missing.len() > SEEN_CACHE_MAX {
            // What waits stays known: it is asked about between records.
            let waiting = &self.waiting;
            self.seen.retain(|s, _| waiting.contains_key(s.bytes().as_slice()));
            return Box::pin(self.load_streams(missing)).await;
        }
        self.load_streams(missing).await
    }

    async fn load_streams(&mut self, missing: Vec<StreamId>) -> Result<(), NotNow> {
        for chunk in missing.chunks(500) {
            let places = (2..chunk.len() + 2).map(|i| format!("${i}")).collect::<Vec<_>>().join(",");
            let mut args = vec![self.subscription.as_str().into()];
            args.extend(chunk.iter().map(|s| (*s).into()));
            let sql = format!("select stream, version, event_id from seen where subscription = $1 and stream in ({places})");
            for row in self.kernel.store.query(&sql, &args).await? {
                self.seen.insert(row.stream(0), (row.int(1).unsigned_abs(), row.id(2)));
            }
            for stream in chunk {
                self.seen.entry(*stream).or_insert((0, NOBODY_KNOWS));
            }
        }
        Ok(())
    }

    /// Takes what was held behind a stream, in version order, as far as it goes.
    async fn release(&mut self, stream: StreamId) -> Result<Outcome, Trouble> {
        while let Some(offset) = self.next_held(stream) {
            let rows = parking::of_key(self.kernel.store.as_ref(), &self.subscription, self.topic, self.partition, stream.bytes()).await?;
            let Some(row) = rows.into_iter().find(|r| r.offset == offset) else {
                return Err(NotNow::Other("a record set aside is not in the store that was asked".to_owned()).into());
            };
            match self.reprocess(&row).await? {
                Outcome::Taken => {}
                other => return Ok(other),
            }
        }
        Ok(Outcome::Taken)
    }

    /// The held row of a stream that can go next, or that came too late.
    fn next_held(&self, stream: StreamId) -> Option<i64> {
        let (last, _) = self.last(stream);
        let rows = self.waiting.get(stream.bytes().as_slice())?;
        rows.iter().filter(|r| r.held).filter_map(|r| Some((r.event?.0, r.offset))).filter(|(version, _)| *version <= last + 1).min().map(|(_, offset)| offset)
    }

    /// Runs today's code on a row set aside; the row goes in the unit that takes it.
    async fn reprocess(&mut self, row: &Parked) -> Result<Outcome, Trouble> {
        let record = LogRecord {
            topic: self.topic,
            partition: self.partition,
            offset: row.offset,
            key: row.key.clone(),
            headers: parking::headers(&row.headers),
            payload: row.payload.clone(),
        };
        self.load_seen([&row.key].into_iter()).await?;
        match self.judge(&record, &Run::default())? {
            Judged::Done(_) => {
                let run = Run { parked: vec![ParkedChange::Remove { offset: row.offset }], ..Run::default() };
                Ok(if self.settle(run).await? { Outcome::Taken } else { Outcome::Fenced })
            }
            Judged::Aside { held, why } => self.set_aside(Source::Row(row), held, why).await,
            Judged::Fact(fact) => {
                let span = self.span();
                self.dress(&span, &record, &fact);
                self.react(&fact, Source::Row(row), &span).instrument(span.clone()).await
            }
        }
    }

    /// Executes operators' requests on this partition, and asks again about what policies held.
    async fn revisit(&mut self, first: bool) -> Result<Outcome, Trouble> {
        let store = self.kernel.store.clone();
        if first {
            let rows = parking::of_partition(store.as_ref(), &self.subscription, self.topic, self.partition).await?;
            self.load_seen(rows.iter().map(|r| &r.key)).await?;
            self.waiting.clear();
            for row in rows {
                self.waiting.entry(row.key.clone()).or_default().push(Waiting::new(row.offset, row.held, &row.payload));
            }
        }
        if self.waiting.is_empty() {
            return Ok(Outcome::Taken);
        }
        for row in parking::requested(store.as_ref(), &self.subscription, self.topic, self.partition).await? {
            let outcome = match row.request.as_deref() {
                Some("retry") => self.reprocess(&row).await?,
                Some("discard") => self.discard(&row).await?,
                _ => continue,
            };
            if outcome == Outcome::Fenced {
                return Ok(Outcome::Fenced);
            }
            if let Ok(stream) = StreamId::try_from(row.key.as_ref())
                && outcome == Outcome::Taken
                && self.release(stream).await? == Outcome::Fenced
            {
                return Ok(Outcome::Fenced);
            }
        }
        if self.held_again <= Instant::now() {
            self.held_again = Instant::now() + HELD_AGAIN;
            let held: Vec<StreamId> =
                self.waiting.iter().filter(|(key, rows)| self.held_first(key, rows)).filter_map(|(key, _)| StreamId::try_from(key.as_ref()).ok()).collect();
            for stream in held {
                if self.release(stream).await? == Outcome::Fenced {
                    return Ok(Outcome::Fenced);
                }
            }
        }
        // After the requests: they are the way out.
        self.not_too_many_parked().map_err(|stopped| Trouble::Stop(Box::new(stopped)))?;
        Ok(Outcome::Taken)
    }

    /// Lets a record go for good: its version counts as seen, so that the stream goes on behind it. One that came early stays,
    /// because the versions before it would be lost with it.
    async fn discard(&mut self, row: &Parked) -> Result<Outcome, Trouble> {
        self.load_seen([&row.key].into_iter()).await?;
        let mut run = Run::default();
        if let Ok(stream) = StreamId::try_from(row.key.as_ref()) {
            let (last, _) = self.last(stream);
            match wire::split(&row.payload) {
                Ok(parts) if parts.envelope.stream_version > last + 1 => {
                    let why = format!("version {} of its stream is not here yet; republish it, then this one can be discarded", last + 1);
                    return self.set_aside(Source::Row(row), true, why).await;
                }
                Ok(parts) if parts.envelope.stream_version == last + 1 => {
                    run.seen.insert(stream, (parts.envelope.stream_version, parts.event_id));
                }
                Ok(_) => {}
                // Whatever version it was, the stream goes on with the one behind it.
                Err(_) => {
                    run.seen.insert(stream, (last + 1, NOBODY_KNOWS));
                }
            }
        }
        run.tally(&Disposition::Ignored("discarded by an operator"));
        run.parked.push(ParkedChange::Remove { offset: row.offset });
        tracing::warn!(
            topic = self.topic,
            partition = self.partition,
            offset = row.offset,
            reason = row.request_reason.as_deref().unwrap_or(""),
            "a parked record was discarded by an operator"
        );
        Ok(if self.settle(run).await? { Outcome::Taken } else { Outcome::Fenced })
    }
}

enum Trouble {
    NotNow(NotNow),
    Stop(Box<ConsumerStopped>),
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
