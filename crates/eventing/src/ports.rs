//! The ports: what the kernel needs of a store, a log and a keyring. Each has an embedded and a distributed adapter; one
//! contract suite fixes what they mean.

use crate::event::Recorded;
use crate::unit::{Answer, Delivery, Unit};
use crate::value::{Row, Value};
use async_trait::async_trait;
use bytes::Bytes;
use hearthline_nhs::StreamId;
use std::sync::Arc;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// A failure of the store: ours, never the caller's.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Set up wrongly; a person must mend it.
    #[error("{0}")]
    Misconfigured(String),
    /// The commit's answer was lost and could not be looked up: repeat with the same key.
    #[error("outcome unknown, repeat with the same key")]
    OutcomeUnknown,
    /// The relay found store and log apart, or has not compared them yet.
    #[error("the store takes no commands: {0}")]
    Closed(String),
    /// An event over 512 KiB, a row that its table refuses: a programmer's error.
    #[error("the store refused the unit: {0}")]
    Refused(String),
}

/// The largest event payload in bytes; documents go to blobs.
pub const EVENT_BYTES_MAX: usize = 512 * 1024;

/// Changes that wake the workers of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Committed {
    /// The newest position.
    pub position: u64,
    /// Rises with every commit that set a timer, inserted or moved a delivery, or made an operator's request.
    pub work: u64,
    /// Rises with every commit of this process that received messages.
    pub received: u64,
}

/// A blob as stored.
#[derive(Debug, Clone)]
pub struct StoredBlob {
    pub stream: StreamId,
    pub media_type: String,
    pub sealed: Bytes,
    pub digest: [u8; 32],
}

/// One service's own store: events, claims, checkpoints, views.
#[async_trait]
pub trait Store: Send + Sync {
    fn service(&self) -> &str;
    /// The only write.
    async fn append(&self, unit: Unit) -> Result<Answer, StoreError>;
    /// A stream's events with version above `after`, in version order.
    async fn read_stream(&self, stream: StreamId, after: u64) -> Result<Vec<Recorded>, StoreError>;
    /// Events with position above `after`, in position order.
    async fn read_all(&self, after: u64, limit: u32) -> Result<Vec<Recorded>, StoreError>;
    /// A read of committed rows with `$n` parameters.
    async fn query(&self, sql: &str, args: &[Value]) -> Result<Vec<Row>, StoreError>;
    async fn blob(&self, id: [u8; 16]) -> Result<Option<StoredBlob>, StoreError>;
    /// What was last committed; changes wake relay, timers and deliveries.
    fn committed(&self) -> watch::Receiver<Committed>;
    /// Opens or closes the store to units that write events (the relay's read-back decides).
    fn set_open(&self, open: Result<(), String>);
    /// Whether units that write events are taken, or why not.
    fn opened(&self) -> Result<(), String>;
}

/// Keys in one query: below every engine's limit of bound values.
const KEYS_AT_ONCE: usize = 1_000;

/// Rows whose key is among `keys`; `head` ends with the key's column (`select … where k`). The order that `tail` asks for holds
/// within a thousand keys.
pub async fn query_among<K: Clone + Into<Value>>(store: &dyn Store, head: &str, args: &[Value], keys: &[K], tail: &str) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    for keys in keys.chunks(KEYS_AT_ONCE) {
        let places = (1..=keys.len()).map(|n| format!("${}", args.len() + n)).collect::<Vec<_>>().join(",");
        let all: Vec<Value> = args.iter().cloned().chain(keys.iter().cloned().map(Into::into)).collect();
        rows.extend(store.query(&format!("{head} in ({places}) {tail}"), &all).await?);
    }
    Ok(rows)
}

/// Rows that `sql` finds for `pairs`, which it reads as a table of that name with columns `a` and `b`.
pub async fn query_pairs(store: &dyn Store, sql: &str, args: &[Value], pairs: &[([u8; 16], [u8; 16])]) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    for pairs in pairs.chunks(KEYS_AT_ONCE) {
        let places = (0..pairs.len()).map(|n| args.len() + 2 * n + 1).map(|n| format!("(${n},${})", n + 1)).collect::<Vec<_>>().join(",");
        let all: Vec<Value> = args.iter().cloned().chain(pairs.iter().flat_map(|(a, b)| [(*a).into(), (*b).into()])).collect();
        rows.extend(store.query(&format!("with pairs (a, b) as (values {places}) {sql}"), &all).await?);
    }
    Ok(rows)
}

/// Deliveries matching a condition written in SQL (`where …`), in sequence.
pub async fn deliveries(store: &dyn Store, condition: &str, args: &[Value]) -> Result<Vec<Delivery>, StoreError> {
    let sql = format!(
        "select id,seq,kind,destination,subject,stream,payload,state,attempt,sender,deadline_at,next_at,expires_at,code,reference,traceparent,created_at,updated_at from deliveries where {condition}"
    );
    let rows = store.query(&sql, args).await?;
    Ok(rows
        .iter()
        .map(|r| Delivery {
            id: r.id(0),
            seq: r.int(1),
            kind: r.text(2).to_owned(),
            destination: r.text(3).to_owned(),
            subject: r.stream(4),
            stream: r.stream(5),
            payload: r.blob(6).clone(),
            state: crate::unit::DeliveryState::parse(r.text(7)).expect("only known states are stored"),
            attempt: u32::try_from(r.int(8)).unwrap_or(u32::MAX),
            sender: r.opt_id(9),
            deadline_at: r.opt_int(10),
            next_at: r.int(11),
            expires_at: r.opt_int(12),
            code: r.opt_text(13).map(str::to_owned),
            reference: r.opt_text(14).map(str::to_owned),
            traceparent: r.opt_text(15).map(str::to_owned),
            created_at: r.int(16),
            updated_at: r.int(17),
        })
        .collect())
}

/// A record on its way into the log.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The 16 bytes of the stream id.
    pub key: [u8; 16],
    pub headers: Vec<(String, Bytes)>,
    pub payload: Bytes,
}

/// A record out of the log.
#[derive(Debug, Clone)]
pub struct LogRecord {
    pub topic: &'static str,
    pub partition: u16,
    pub offset: i64,
    pub key: Bytes,
    pub headers: Vec<(String, Bytes)>,
    pub payload: Bytes,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    #[error("the log is not available: {0}")]
    Unavailable(String),
    /// Something is set up wrongly, outside or here: tried again like the above, because it may be mended without a restart.
    #[error("the log is not set up rightly: {0}")]
    Misconfigured(String),
    /// The consumer's offset lies outside what the log holds.
    #[error("offset {offset} of {topic}/{partition} is outside what the log holds ({low}..{high})")]
    OutOfRange { topic: &'static str, partition: u16, offset: i64, low: i64, high: i64 },
    #[error("the membership was lost")]
    MembershipLost,
}

/// First kept offset, and the offset the next record will get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    pub low: i64,
    pub high: i64,
}

pub type TopicPartition = (&'static str, u16);

/// What happens to a member of a consumer group.
#[derive(Debug, Clone)]
pub enum Membership {
    Assigned(Vec<TopicPartition>),
    /// Answered already; the partitions' readers are dead.
    Revoked(Vec<TopicPartition>),
}

/// The log between services.
#[async_trait]
pub trait Log: Send + Sync {
    /// Writes records to the partition of their keys, in order, durable when it returns.
    async fn publish(&self, topic: &'static str, records: Vec<Outgoing>) -> Result<(), LogError>;
    /// The last record of a partition.
    async fn last(&self, topic: &'static str, partition: u16) -> Result<Option<LogRecord>, LogError>;
    async fn watermarks(&self, topic: &'static str, partition: u16) -> Result<Watermarks, LogError>;
    /// Up to `max` kept records from `offset` on, in no group; none where nothing lies there yet.
    async fn read(&self, topic: &'static str, partition: u16, offset: i64, max: usize) -> Result<Vec<LogRecord>, LogError>;
    /// Joins a consumer group.
    async fn join(&self, group: &str, topics: &[&'static str]) -> Result<Box<dyn Member>, LogError>;
}

/// One member of a consumer group.
#[async_trait]
pub trait Member: Send {
    /// Waits for the next change of assignment. Cancel-safe.
    async fn next(&mut self) -> Result<Membership, LogError>;
    /// Starts reading an assigned partition at an offset.
    async fn read_from(&mut self, partition: TopicPartition, offset: i64) -> Result<Box<dyn PartitionReader>, LogError>;
}

/// Reads one partition in order.
#[async_trait]
pub trait PartitionReader: Send {
    /// Waits for at least one record and gives up to `max`. Cancel-safe.
    async fn read(&mut self, max: usize) -> Result<Vec<LogRecord>, LogError>;
}

/// A data key of 32 bytes.
#[derive(Clone)]
pub struct DataKey(pub Arc<Zeroizing<[u8; 32]>>);

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(…)")
    }
}

/// What a keyring holds under an id.
#[derive(Debug, Clone)]
pub enum KeyState {
    Key {
        context: String,
        key: DataKey,
    },
    Destroyed {
        context: String,
    },
    /// There is one, and the keyring itself keeps it from this reader.
    Withheld {
        context: String,
    },
    /// Never made: a fault wherever an event names it.
    Missing,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyringError {
    /// Try again later.
    #[error("the keyring is not available: {0}")]
    Unavailable(String),
    /// Set up wrongly; a person must mend it.
    #[error("{0}")]
    Misconfigured(String),
    /// An event names a key that was never made: the keyring is not the one that belongs to this store.
    #[error("a key is missing from the keyring")]
    Missing,
    #[error("the key was destroyed")]
    Destroyed,
    #[error("{reader} has no grant for keys of {context}")]
    NotGranted { reader: String, context: String },
}

/// Where data keys lie, wrapped under a key-encryption key, apart from every event store.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Makes a key, durable when it returns; gives the existing one if the id has one already.
    async fn create(&self, context: &str, id: [u8; 16]) -> Result<KeyState, KeyringError>;
    async fn open(&self, id: [u8; 16]) -> Result<KeyState, KeyringError>;
    /// Final. True if there was a living key.
    async fn destroy(&self, id: [u8; 16]) -> Result<bool, KeyringError>;
}
