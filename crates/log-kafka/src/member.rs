//! A member of a consumer group: one consumer on a thread of its own.
//!
//! *joining → assigned (noted, reported) → reading at the offsets asked for → revoked*. The group's protocol is answered on the
//! thread and at once, whatever the rest of the process does: an assignment takes nothing on by itself, and a revocation ends the
//! partition's lane before it is answered, so that a reader gives no record that may already be another's. `read_from` adds
//! one partition at one offset; nothing is sought, and no queue is split. A full lane pauses its partition while polling goes on.

use crate::lane::{Fullness, Lane, LaneReader};
use crate::options::KafkaOptions;
use crate::reader::{At, Reader};
use crate::record;
use crate::trouble::{Troubles, Voice, Whose, lock};
use async_trait::async_trait;
use hearthline_eventing::{LogError, Member, Membership, PartitionReader, TopicPartition};
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// Served at least so often.
const TICK: Duration = Duration::from_millis(100);
/// Records taken before commands are looked at.
const TURN_RECORDS: usize = 1_000;
/// How often Kafka is told how far we are, for its own tools alone: the store's checkpoints decide.
const LAG_HINT: Duration = Duration::from_secs(5);
/// Rest before a client that ended for good is made anew.
const ANEW: Duration = Duration::from_secs(1);

pub(crate) enum Command {
    /// Something lies in the consumer's queue.
    Arrived,
    ReadFrom(TopicPartition, i64, oneshot::Sender<Result<Arc<Lane>, LogError>>),
    Resume(Arc<Lane>),
    Close(Arc<Lane>),
    Leave,
}

/// The way to the thread.
#[derive(Clone)]
pub(crate) struct Commands(mpsc::Sender<Command>);

impl Commands {
    /// A thread that has ended needs no commands.
    pub(crate) fn send(&self, command: Command) {
        let _ = self.0.send(command);
    }
}

pub(crate) struct KafkaMember {
    commands: Commands,
    changes: UnboundedReceiver<Membership>,
    reader: Arc<Reader>,
}

impl KafkaMember {
    pub(crate) async fn join(
        options: KafkaOptions,
        troubles: Arc<Troubles>,
        reader: Arc<Reader>,
        living: crate::Living,
        group: &str,
        topics: &[&'static str],
    ) -> Result<Self, LogError> {
        let (sender, queue) = mpsc::channel();
        let (changed, changes) = unbounded_channel();
        let (started, start) = oneshot::channel();
        let commands = Commands(sender);
        let seat = Seat { options, troubles, group: group.to_owned(), topics: topics.to_vec(), changed, commands: commands.clone() };
        crate::thread("kafka-member", living, move || seat.hold(&queue, started));
        start.await.map_err(|_| LogError::Unavailable("the member's thread ended".to_owned()))??;
        Ok(KafkaMember { commands, changes, reader })
    }
}

#[async_trait]
impl Member for KafkaMember {
    async fn next(&mut self) -> Result<Membership, LogError> {
        self.changes.recv().await.ok_or(LogError::MembershipLost)
    }

    async fn read_from(&mut self, partition: TopicPartition, offset: i64) -> Result<Box<dyn PartitionReader>, LogError> {
        // Asked of another thread: this member's must answer its group meanwhile.
        let marks = self.reader.watermarks(At { topic: partition.0, partition: partition.1 }).await?;
        if offset < marks.low || offset > marks.high {
            return Err(LogError::OutOfRange { topic: partition.0, partition: partition.1, offset, low: marks.low, high: marks.high });
        }
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::ReadFrom(partition, offset, reply));
        let lane = answer.await.map_err(|_| LogError::MembershipLost)??;
        Ok(Box::new(LaneReader { lane, commands: self.commands.clone() }))
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.commands.send(Command::Leave);
    }
}

/// What a member is made of, once and again.
struct Seat {
    options: KafkaOptions,
    troubles: Arc<Troubles>,
    group: String,
    topics: Vec<&'static str>,
    changed: UnboundedSender<Membership>,
    commands: Commands,
}

/// Why a consumer is let go of.
enum Ended {
    Left,
    /// librdkafka will do nothing more with it.
    Fatal,
}

impl Seat {
    fn hold(self, queue: &mpsc::Receiver<Command>, started: oneshot::Sender<Result<(), LogError>>) {
        let mut started = Some(started);
        loop {
            let consumer = match self.consumer() {
                Ok(consumer) => consumer,
                Err(error) => match started.take() {
                    Some(started) => return drop(started.send(Err(error))),
                    None => {
                        tracing::error!(%error, group = self.group, "the group cannot be joined again; it is tried");
                        if self.rest(queue) {
                            continue;
                        }
                        return;
                    }
                },
            };
            if let Some(started) = started.take() {
                // Whoever joined may have gone, in which case the command to leave waits already.
                let _ = started.send(Ok(()));
            }
            let mut turn = Turn { consumer, seat: &self, paused: Vec::new(), hinted: Instant::now() };
            let ended = turn.serve(queue);
            turn.consumer.context().lose_all();
            // Leaves the group, answering the last revocation; may wait on a broker, which nobody waits for here.
            drop(turn);
            match ended {
                Ended::Left => return,
                Ended::Fatal if self.rest(queue) => {}
                Ended::Fatal => return,
            }
        }
    }

    /// Without a consumer nothing is owned. False when the member is to leave.
    fn rest(&self, queue: &mpsc::Receiver<Command>) -> bool {
        let until = Instant::now() + ANEW;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match queue.recv_timeout(left) {
                Ok(Command::Leave) | Err(mpsc::RecvTimeoutError::Disconnected) => return false,
                Ok(Command::ReadFrom(_, _, reply)) => drop(reply.send(Err(LogError::MembershipLost))),
                Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
        true
    }

    fn consumer(&self) -> Result<BaseConsumer<Chair>, LogError> {
        let config = self.options.member(&self.group).map_err(|e| LogError::Misconfigured(e.to_string()))?;
        let chair = Chair {
            voice: Voice::new(Whose::Member, self.troubles.clone(), self.options.token_file().map(ToOwned::to_owned)),
            options: self.options.clone(),
            owned: Mutex::default(),
            changed: self.changed.clone(),
            arrived: AtomicBool::new(false),
        };
        let mut consumer: BaseConsumer<Chair> = config.create_with_context(chair).map_err(|e| LogError::Misconfigured(self.options.refused(e).to_string()))?;
        let (context, commands) = (consumer.context().clone(), self.commands.clone());
        consumer.set_nonempty_callback(move || {
            if !context.arrived.swap(true, Ordering::AcqRel) {
                commands.send(Command::Arrived);
            }
        });
        let wire: Vec<String> = self.topics.iter().map(|t| self.options.wire_topic(t)).collect();
        let names: Vec<&str> = wire.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|e| self.troubles.failed(Whose::Member, &e, &self.group))?;
        Ok(consumer)
    }
}

/// The consumer's context: what the group has given us. Used by the member's thread alone, inside and outside of callbacks.
struct Chair {
    voice: Voice,
    options: KafkaOptions,
    owned: Mutex<HashMap<TopicPartition, Option<Reading>>>,
    changed: UnboundedSender<Membership>,
    arrived: AtomicBool,
}

/// A partition that is being read.
struct Reading {
    lane: Arc<Lane>,
    next: i64,
    hinted: i64,
}

impl Chair {
    fn places(&self, list: &TopicPartitionList) -> Vec<TopicPartition> {
        let place = |e: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            Some((self.options.catalogue_topic(e.topic())?, u16::try_from(e.partition()).ok()?))
        };
        list.elements().iter().filter_map(place).collect()
    }

    fn list<'a>(&self, places: impl IntoIterator<Item = &'a TopicPartition>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in places {
            list.add_partition(&self.options.wire_topic(topic), i32::from(*partition));
        }
        list
    }

    /// Ends the lanes of `gone` and gives those that were read, which alone librdkafka knows to be assigned.
    fn lose(&self, gone: &[TopicPartition]) -> Vec<TopicPartition> {
        let mut owned = lock(&self.owned);
        let mut read = Vec::new();
        for at in gone {
            if let Some(Some(reading)) = owned.remove(at) {
                reading.lane.end(LogError::MembershipLost);
                read.push(*at);
            }
        }
        read
    }

    fn lose_all(&self) {
        let mut all: Vec<TopicPartition> = lock(&self.owned).keys().copied().collect();
        all.sort_unstable();
        self.lose(&all);
        self.report(Membership::Revoked, all);
    }

    /// Nobody listens to a member that is leaving.
    fn report(&self, change: fn(Vec<TopicPartition>) -> Membership, places: Vec<TopicPartition>) {
        if !places.is_empty() {
            let _ = self.changed.send(change(places));
        }
    }
}

impl ClientContext for Chair {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, fac: &str, line: &str) {
        self.voice.log(level, fac, line);
    }
    fn stats_raw(&self, statistics: &[u8]) {
        self.voice.stats_raw(statistics);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.voice.error(error, reason);
    }
    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.voice.generate_oauth_token(config)
    }
}

impl ConsumerContext for Chair {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, change: RDKafkaRespErr, places: &mut TopicPartitionList) {
        self.voice.served.store(true, Ordering::Release);
        let listed = self.places(places);
        let answered = match change {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                tracing::debug!(partitions = listed.len(), "partitions were assigned");
                self.voice.troubles.over(Whose::Member);
                lock(&self.owned).extend(listed.iter().map(|at| (*at, None)));
                self.report(Membership::Assigned, listed);
                // Answers the group. What is read, and from where, is asked for later.
                consumer.incremental_assign(&TopicPartitionList::new())
            }
            _ => {
                tracing::debug!(partitions = listed.len(), lost = consumer.assignment_lost(), "partitions were revoked");
                let read = self.lose(&listed);
                let answered = consumer.incremental_unassign(&self.list(&read));
                self.report(Membership::Revoked, listed);
                answered
            }
        };
        if let Err(error) = answered {
            tracing::warn!(%error, "the group's change could not be answered");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.voice.served.store(true, Ordering::Release);
        if let Err(error) = result {
            tracing::debug!(%error, "Kafka was not told how far we are");
        }
    }
}

/// A consumer's time on the thread.
struct Turn<'a> {
    consumer: BaseConsumer<Chair>,
    seat: &'a Seat,
    /// To be paused before the thread waits.
    paused: Vec<Arc<Lane>>,
    hinted: Instant,
}

impl Turn<'_> {
    fn serve(&mut self, queue: &mpsc::Receiver<Command>) -> Ended {
        loop {
            let more = match self.poll() {
                Ok(more) => more,
                Err(ended) => return ended,
            };
            if !more {
                self.pause();
            }
            let wait = if more { Duration::ZERO } else { TICK };
            let mut command = match queue.recv_timeout(wait) {
                Ok(command) => Some(command),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ended::Left,
            };
            while let Some(next) = command {
                match next {
                    Command::Arrived => self.consumer.context().arrived.store(false, Ordering::Release),
                    Command::ReadFrom(at, offset, reply) => drop(reply.send(self.read_from(at, offset))),
                    Command::Resume(lane) => self.resume(&lane),
                    Command::Close(lane) => self.close(&lane),
                    Command::Leave => return Ended::Left,
                }
                command = queue.try_recv().ok();
            }
            if self.hinted.elapsed() >= LAG_HINT {
                self.hinted = Instant::now();
                self.hint();
            }
        }
    }

    /// Serves what has arrived. True where there may be more.
    fn poll(&mut self) -> Result<bool, Ended> {
        for _ in 0..TURN_RECORDS {
            let mut beyond = false;
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    if let Some((lane, fullness)) = route(self.consumer.context(), &message) {
                        match fullness {
                            Fullness::Room => {}
                            Fullness::Full if self.paused.iter().any(|l| Arc::ptr_eq(l, &lane)) => {}
                            Fullness::Full => self.paused.push(lane),
                            Fullness::Brimming => {
                                self.paused.retain(|l| !Arc::ptr_eq(l, &lane));
                                self.paused.push(lane);
                                beyond = true;
                            }
                        }
                    }
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    tracing::error!(code = ?code, group = self.seat.group, "the group's client has ended; it is made anew");
                    return Err(Ended::Fatal);
                }
                Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => self.name_out_of_range(),
                // Told by the context; what is wrong with a broker or a topic is tried again by librdkafka.
                Some(Err(_)) => {}
                None if self.consumer.context().voice.served.swap(false, Ordering::AcqRel) => {}
                None => return Ok(false),
            }
            if beyond {
                self.pause();
            }
        }
        Ok(true)
    }

    fn read_from(&mut self, at: TopicPartition, offset: i64) -> Result<Arc<Lane>, LogError> {
        let failed = |e: KafkaError| LogError::Unavailable(format!("{}/{} from {offset}: {e}", at.0, at.1));
        let context = self.consumer.context().clone();
        match lock(&context.owned).get_mut(&at) {
            None => return Err(LogError::MembershipLost),
            Some(reading) => {
                if let Some(former) = reading.take() {
                    former.lane.end(LogError::MembershipLost);
                    self.consumer.incremental_unassign(&context.list([&at])).map_err(failed)?;
                }
            }
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.seat.options.wire_topic(at.0), i32::from(at.1), Offset::Offset(offset)).map_err(failed)?;
        self.consumer.incremental_assign(&list).map_err(failed)?;
        let lane = Lane::new(at, offset);
        lock(&context.owned).insert(at, Some(Reading { lane: lane.clone(), next: offset, hinted: offset }));
        Ok(lane)
    }

    /// The lane's reader is gone; what it would have read is not fetched.
    fn close(&mut self, lane: &Arc<Lane>) {
        let context = self.consumer.context().clone();
        let mut owned = lock(&context.owned);
        let Some(reading) = owned.get_mut(&lane.at).filter(|r| r.as_ref().is_some_and(|r| Arc::ptr_eq(&r.lane, lane))) else { return };
        *reading = None;
        drop(owned);
        if let Err(error) = self.consumer.incremental_unassign(&context.list([&lane.at])) {
            tracing::debug!(%error, "a partition could not be given up");
        }
    }

    fn living(&self, lane: &Arc<Lane>) -> bool {
        lock(&self.consumer.context().owned).get(&lane.at).is_some_and(|r| r.as_ref().is_some_and(|r| Arc::ptr_eq(&r.lane, lane)))
    }

    fn pause(&mut self) {
        for lane in std::mem::take(&mut self.paused) {
            if !self.living(&lane) || !lane.rest() {
                continue;
            }
            if let Err(error) = self.consumer.pause(&self.consumer.context().list([&lane.at])) {
                tracing::warn!(%error, topic = lane.at.0, partition = lane.at.1, "a partition could not be paused");
            }
        }
    }

    fn resume(&self, lane: &Arc<Lane>) {
        if self.living(lane)
            && let Err(error) = self.consumer.resume(&self.consumer.context().list([&lane.at]))
        {
            tracing::warn!(%error, topic = lane.at.0, partition = lane.at.1, "a partition could not be resumed");
        }
    }

    /// librdkafka says that some partition's offset is outside the log, and not which.
    fn name_out_of_range(&self) {
        let context = self.consumer.context();
        let read: Vec<(TopicPartition, i64)> = lock(&context.owned).iter().filter_map(|(at, r)| Some((*at, r.as_ref()?.next))).collect();
        for ((topic, partition), offset) in read {
            let wire = self.seat.options.wire_topic(topic);
            match self.consumer.fetch_watermarks(&wire, i32::from(partition), self.seat.options.answer) {
                Ok((low, high)) if offset < low || offset > high => {
                    if let Some(Some(reading)) = lock(&context.owned).get(&(topic, partition)) {
                        reading.lane.end(LogError::OutOfRange { topic, partition, offset, low, high });
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, topic, partition, "the ends of a partition could not be read"),
            }
        }
    }

    fn hint(&self) {
        let context = self.consumer.context();
        let mut list = TopicPartitionList::new();
        for ((topic, partition), reading) in lock(&context.owned).iter_mut() {
            if let Some(reading) = reading
                && reading.lane.taken() != reading.hinted
            {
                reading.hinted = reading.lane.taken();
                // Fails for no offset that a record can have.
                let _ = list.add_partition_offset(&self.seat.options.wire_topic(topic), i32::from(*partition), Offset::Offset(reading.hinted));
            }
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "Kafka was not told how far we are");
        }
    }
}

/// Puts a record into the lane of its partition.
fn route(context: &Chair, message: &BorrowedMessage<'_>) -> Option<(Arc<Lane>, Fullness)> {
    let topic = context.options.catalogue_topic(message.topic())?;
    let at = (topic, u16::try_from(message.partition()).ok()?);
    let mut owned = lock(&context.owned);
    let reading = owned.get_mut(&at)?.as_mut()?;
    if message.offset() < reading.next {
        return None;
    }
    reading.next = message.offset() + 1;
    let lane = reading.lane.clone();
    drop(owned);
    let fullness = lane.push(record::owned(message, topic));
    Some((lane, fullness))
}
