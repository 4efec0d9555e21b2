//! Reading without a group: ends of partitions, last records, pages. One consumer on one thread, asked one thing at a time.

use crate::options::KafkaOptions;
use crate::record;
use crate::trouble::{Troubles, Voice, Whose};
use hearthline_contracts::topics::PARTITIONS;
use hearthline_eventing::{LogError, LogRecord, Watermarks};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often an idle client is served.
const IDLE: Duration = Duration::from_secs(1);
/// How long to wait for a partition's new leader before asking again.
const MOVED: Duration = Duration::from_millis(50);
/// How far before the end a last record is looked for first; what lies between may be no records.
const BACK: i64 = 16;

/// Where something is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) topic: &'static str,
    pub(crate) partition: u16,
}

type Reply<T> = oneshot::Sender<Result<T, LogError>>;

enum Ask {
    Usable(&'static str, Reply<()>),
    Watermarks(At, Reply<Watermarks>),
    Last(At, Reply<Option<LogRecord>>),
    Read(At, i64, usize, Reply<Vec<LogRecord>>),
    Since(At, i64, Reply<i64>),
}

/// The handle: asks and waits.
pub(crate) struct Reader {
    asks: mpsc::Sender<Ask>,
}

impl Reader {
    pub(crate) fn new(options: KafkaOptions, troubles: Arc<Troubles>, living: crate::Living) -> Self {
        let (asks, queue) = mpsc::channel();
        crate::thread("kafka-reader", living, move || serve(&options, &troubles, &queue));
        Reader { asks }
    }

    /// Whether the topic is there, with the partitions it must have, in the cluster it must be in.
    pub(crate) async fn usable(&self, topic: &'static str) -> Result<(), LogError> {
        self.ask(|reply| Ask::Usable(topic, reply)).await
    }

    pub(crate) async fn watermarks(&self, at: At) -> Result<Watermarks, LogError> {
        self.ask(|reply| Ask::Watermarks(at, reply)).await
    }

    pub(crate) async fn last(&self, at: At) -> Result<Option<LogRecord>, LogError> {
        self.ask(|reply| Ask::Last(at, reply)).await
    }

    pub(crate) async fn read(&self, at: At, offset: i64, max: usize) -> Result<Vec<LogRecord>, LogError> {
        self.ask(|reply| Ask::Read(at, offset, max, reply)).await
    }

    /// The first offset whose record is not older than a time in ms; the end where all are older.
    pub(crate) async fn since(&self, at: At, since_ms: i64) -> Result<i64, LogError> {
        self.ask(|reply| Ask::Since(at, since_ms, reply)).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        let ended = || LogError::Unavailable("the log was closed".to_owned());
        self.asks.send(ask(reply)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

fn serve(options: &KafkaOptions, troubles: &Arc<Troubles>, queue: &mpsc::Receiver<Ask>) {
    let mut client: Option<Client> = None;
    loop {
        let ask = match queue.recv_timeout(IDLE) {
            Ok(ask) => ask,
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                // Log lines, and tokens that end.
                if let Some(client) = &client {
                    client.listen();
                }
                continue;
            }
        };
        if client.as_ref().is_some_and(|c| c.consumer.client().fatal_error().is_some()) {
            client = None;
        }
        match &mut client {
            Some(client) => client.answer(ask),
            none => match Client::new(options, troubles) {
                Ok(client) => none.insert(client).answer(ask),
                Err(error) => ask.refuse(error),
            },
        }
    }
}

impl Ask {
    fn refuse(self, error: LogError) {
        // Whoever asked may have gone, here and below.
        let _ = match self {
            Ask::Usable(_, reply) => reply.send(Err(error)).is_ok(),
            Ask::Watermarks(_, reply) => reply.send(Err(error)).is_ok(),
            Ask::Last(_, reply) => reply.send(Err(error)).is_ok(),
            Ask::Read(_, _, _, reply) => reply.send(Err(error)).is_ok(),
            Ask::Since(_, _, reply) => reply.send(Err(error)).is_ok(),
        };
    }
}

struct Client<'a> {
    options: &'a KafkaOptions,
    troubles: &'a Arc<Troubles>,
    consumer: BaseConsumer<Voice>,
    usable: HashSet<&'static str>,
}

impl<'a> Client<'a> {
    fn new(options: &'a KafkaOptions, troubles: &'a Arc<Troubles>) -> Result<Self, LogError> {
        let voice = Voice::new(Whose::Reader, troubles.clone(), options.token_file().map(ToOwned::to_owned));
        let config = options.reader().map_err(|e| LogError::Misconfigured(e.to_string()))?;
        let consumer: BaseConsumer<Voice> = config.create_with_context(voice).map_err(|e| LogError::Misconfigured(options.refused(e).to_string()))?;
        let begun = Instant::now();
        while consumer.context().waits_for_token() && begun.elapsed() < options.answer {
            consumer.poll(Duration::from_millis(20));
        }
        Ok(Client { options, troubles, consumer, usable: HashSet::new() })
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Usable(topic, reply) => {
                let answer = self.usable(topic);
                self.send(reply, answer);
            }
            Ask::Watermarks(at, reply) => {
                let answer = self.watermarks(at);
                self.send(reply, answer);
            }
            Ask::Last(at, reply) => {
                let answer = self.last(at);
                self.send(reply, answer);
            }
            Ask::Read(at, offset, max, reply) => {
                let answer = self.read(at, offset, max);
                self.send(reply, answer);
            }
            Ask::Since(at, since_ms, reply) => {
                let answer = self.since(at, since_ms);
                self.send(reply, answer);
            }
        }
    }

    fn send<T>(&mut self, reply: Reply<T>, answer: Result<T, LogError>) {
        if answer.is_err() {
            // A topic may have been made anew.
            self.usable.clear();
        }
        let _ = reply.send(answer);
    }

    /// Serves what is no record: log lines, complaints, tokens that end.
    fn listen(&self) {
        while self.consumer.poll(Duration::ZERO).is_some() || self.consumer.context().served.swap(false, Ordering::AcqRel) {}
    }

    fn failed(&self, error: &KafkaError, about: &str) -> LogError {
        // What the broker complained of waits in the queue.
        self.listen();
        self.troubles.failed(Whose::Reader, error, about)
    }

    fn usable(&mut self, topic: &'static str) -> Result<(), LogError> {
        if self.usable.contains(topic) {
            return Ok(());
        }
        let wire = self.options.wire_topic(topic);
        let failed = |e: KafkaError| self.failed(&e, &wire);
        let metadata = self.consumer.fetch_metadata(Some(&wire), self.options.answer).map_err(failed)?;
        let Some(found) = metadata.topics().iter().find(|t| t.name() == wire) else {
            return Err(self.troubles.error(Whose::Reader, RDKafkaErrorCode::UnknownTopicOrPartition, &wire));
        };
        if let Some(error) = found.error() {
            return Err(self.troubles.error(Whose::Reader, error.into(), &wire));
        }
        let partitions = found.partitions().len();
        if partitions != usize::from(PARTITIONS) {
            return Err(LogError::Misconfigured(format!(
                "{wire} has {partitions} partitions and must have {PARTITIONS}, or the events of one stream would lie in two; make the topic anew while nothing is written"
            )));
        }
        if let Some(expected) = &self.options.cluster_id {
            let found = self.consumer.client().fetch_cluster_id(self.options.answer).unwrap_or_default();
            if &found != expected {
                return Err(LogError::Misconfigured(format!(
                    "the brokers belong to cluster {found:?} and not to {expected:?}; correct kafka.brokers or kafka.cluster_id"
                )));
            }
        }
        self.usable.insert(topic);
        self.troubles.over(Whose::Reader);
        Ok(())
    }

    fn watermarks(&mut self, at: At) -> Result<Watermarks, LogError> {
        self.usable(at.topic)?;
        let wire = self.options.wire_topic(at.topic);
        let begun = Instant::now();
        loop {
            match self.consumer.fetch_watermarks(&wire, i32::from(at.partition), self.options.answer) {
                Ok((low, high)) => return Ok(Watermarks { low, high }),
                Err(error) if moving(&error) && begun.elapsed() < self.options.answer => std::thread::sleep(MOVED),
                Err(error) => return Err(self.failed(&error, &format!("ends of {wire}/{}", at.partition))),
            }
        }
    }

    /// An offset may hold the end of another's transaction instead of a record, so the last record is looked for ever further back.
    fn last(&mut self, at: At) -> Result<Option<LogRecord>, LogError> {
        let Watermarks { low, high } = self.watermarks(at)?;
        let mut back = 1;
        loop {
            let from = high.saturating_sub(back).max(low);
            if from >= high {
                return Ok(None);
            }
            let mut last = None;
            self.fetch(at, from, high, |record| {
                last = Some(record);
                true
            })?;
            if last.is_some() || from == low {
                return Ok(last);
            }
            back *= BACK;
        }
    }

    fn read(&mut self, at: At, offset: i64, max: usize) -> Result<Vec<LogRecord>, LogError> {
        let Watermarks { low, high } = self.watermarks(at)?;
        if offset < low || offset > high {
            return Err(LogError::OutOfRange { topic: at.topic, partition: at.partition, offset, low, high });
        }
        let mut records = Vec::new();
        if offset < high && max > 0 {
            self.fetch(at, offset, high, |record| {
                records.push(record);
                records.len() < max
            })?;
        }
        Ok(records)
    }

    fn since(&mut self, at: At, since_ms: i64) -> Result<i64, LogError> {
        let Watermarks { high, .. } = self.watermarks(at)?;
        let wire = self.options.wire_topic(at.topic);
        let failed = |e: KafkaError| self.failed(&e, &format!("times of {wire}/{}", at.partition));
        let asked = list(&wire, at.partition, Offset::Offset(since_ms)).map_err(failed)?;
        let found = self.consumer.offsets_for_times(asked, self.options.answer).map_err(failed)?;
        Ok(match found.find_partition(&wire, i32::from(at.partition)).map(|e| e.offset()) {
            Some(Offset::Offset(offset)) => offset,
            _ => high,
        })
    }

    /// Gives `take` the records from `from` on until it has enough or `high` is reached.
    fn fetch(&self, at: At, from: i64, high: i64, mut take: impl FnMut(LogRecord) -> bool) -> Result<(), LogError> {
        let wire = self.options.wire_topic(at.topic);
        let about = || format!("{wire}/{} from {from}", at.partition);
        let failed = |e: KafkaError| self.failed(&e, &about());
        self.consumer.assign(&list(&wire, at.partition, Offset::Offset(from)).map_err(failed)?).map_err(failed)?;
        let begun = Instant::now();
        loop {
            let Some(left) = self.options.answer.checked_sub(begun.elapsed()) else {
                return Err(failed(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)));
            };
            match self.consumer.poll(left.min(Duration::from_millis(100))) {
                None => {}
                Some(Ok(message)) => {
                    let record = record::owned(&message, at.topic);
                    let offset = record.offset;
                    if offset >= from && !take(record) || offset + 1 >= high {
                        break;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::AutoOffsetReset) => {
                        let (low, high) = self.consumer.fetch_watermarks(&wire, i32::from(at.partition), self.options.answer).map_err(failed)?;
                        return Err(LogError::OutOfRange { topic: at.topic, partition: at.partition, offset: from, low, high });
                    }
                    // The group is only a name here, and a broker that comes back is waited for.
                    Some(
                        RDKafkaErrorCode::GroupAuthorizationFailed
                        | RDKafkaErrorCode::BrokerTransportFailure
                        | RDKafkaErrorCode::AllBrokersDown
                        | RDKafkaErrorCode::Resolve,
                    ) => {}
                    _ => return Err(failed(error)),
                },
            }
        }
        self.consumer.unassign().map_err(failed)
    }
}

/// The partition's leader is not there yet, or no longer.
fn moving(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::NotLeaderForPartition | Code::LeaderNotAvailable | Code::FencedLeaderEpoch | Code::UnknownLeaderEpoch | Code::OffsetNotAvailable)
    )
}

fn list(wire: &str, partition: u16, offset: Offset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(wire, i32::from(partition), offset)?;
    Ok(list)
}
