//! The log of the one-machine edition: topics, partitions and offsets in one SQLite file, in one process.
//!
//! It is not a small Kafka and does not speak its protocol. It promises what the kernel asks of a log (order per partition,
//! durable before `publish` returns, reading from any kept offset) and nothing about a second process or machine.
//!
//! Writes are a group commit: publishers queue to one task, which writes all that wait in one transaction. Readers are woken in
//! memory and take fresh records from memory; older ones come from the file.

use async_trait::async_trait;
use bytes::Bytes;
use hearthline_contracts::partition::partition_of;
use hearthline_contracts::topics::{ALL, PARTITIONS};
use hearthline_eventing::{Log, LogError, LogRecord, Member, Membership, Outgoing, PartitionReader, TopicPartition, Watermarks, now_us};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection, SqlitePool};
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

const SCHEMA: &str = "
create table if not exists records (
  topic integer not null,
  partition integer not null,
  record_offset integer not null,
  key blob not null,
  headers text not null,
  payload blob not null,
  at integer not null,
  primary key (topic, partition, record_offset)
) without rowid;
";
/// Fresh records kept in memory per partition.
const TAIL_RECORDS: usize = 1_024;
const TAIL_BYTES: usize = 1 << 20;
/// Published bytes after which the writer itself moves what its companion has left.
const UNMOVED_BYTES_MAX: usize = 8 << 20;
const RETENTION_US: i64 = 30 * 24 * 3_600 * 1_000_000;

/// The embedded log. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    mover: Arc<tokio::sync::Mutex<tokio::task::JoinHandle<()>>>,
}

struct Shared {
    readers: SqlitePool,
    partitions: HashMap<TopicPartition, Partition>,
    groups: Mutex<HashSet<String>>,
    closed: watch::Sender<bool>,
}

struct Partition {
    low: i64,
    high: watch::Sender<i64>,
    tail: Mutex<Tail>,
}

/// The newest records, contiguous up to the high watermark.
#[derive(Default)]
struct Tail {
    records: VecDeque<LogRecord>,
    bytes: usize,
}

enum Job {
    Publish { topic: &'static str, records: Vec<Outgoing>, reply: oneshot::Sender<Result<(), LogError>> },
    Close(oneshot::Sender<()>),
}

impl EmbeddedLog {
    /// Opens or creates the log file and lets go of records past their thirty days (each partition keeps its last one, which
    /// remembers its offset).
    pub async fn open(file: &Path) -> Result<Self, LogError> {
        let mut conn = options(file).create_if_missing(true).connect().await.map_err(unavailable)?;
        sqlx::raw_sql(AssertSqlSafe(SCHEMA.to_owned())).execute(&mut conn).await.map_err(unavailable)?;
        sqlx::query(AssertSqlSafe(
            "delete from records where at < ? and record_offset < (select max(r.record_offset) from records r where r.topic = records.topic and r.partition = records.partition)".to_owned(),
        ))
        .bind(now_us() - RETENTION_US)
        .execute(&mut conn)
        .await
        .map_err(unavailable)?;
        let rows =
            sqlx::query(AssertSqlSafe("select topic, partition, min(record_offset), max(record_offset) from records group by topic, partition".to_owned()))
                .fetch_all(&mut conn)
                .await
                .map_err(unavailable)?;
        let mut marks: HashMap<(i64, i64), (i64, i64)> = HashMap::new();
        for row in rows {
            marks.insert((row.get(0), row.get(1)), (row.get(2), row.get(3)));
        }
        let mut partitions = HashMap::new();
        for (n, topic) in (0i64..).zip(ALL.iter()) {
            for partition in 0..PARTITIONS {
                let (low, high) = marks.get(&(n, i64::from(partition))).map_or((0, 0), |(min, max)| (*min, max + 1));
                partitions.insert((topic.name, partition), Partition { low, high: watch::channel(high).0, tail: Mutex::default() });
            }
        }
        let readers = SqlitePoolOptions::new().max_connections(3).connect_with(options(file).read_only(true)).await.map_err(unavailable)?;
        let shared = Arc::new(Shared { readers, partitions, groups: Mutex::default(), closed: watch::channel(false).0 });
        let (jobs, queue) = mpsc::channel(1_024);
        tokio::spawn(write(conn, shared.clone(), queue));
        let mover = Arc::new(tokio::sync::Mutex::new(tokio::spawn(move_wal(file.to_owned(), shared.clone(), jobs.downgrade()))));
        Ok(EmbeddedLog { shared, jobs, mover })
    }

    /// Writes what is queued and closes the file.
    pub async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.jobs.send(Job::Close(reply)).await.is_ok() {
            // An error here says that the writer is gone, which is what was asked for.
            let _ = done.await;
        }
        self.shared.readers.close().await;
        self.shared.closed.send_replace(true);
        let mut mover = self.mover.lock().await;
        if !mover.is_finished() {
            // As the last to close it empties the write-ahead file.
            let _ = (&mut *mover).await;
        }
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn publish(&self, topic: &'static str, records: Vec<Outgoing>) -> Result<(), LogError> {
        self.shared.partition(topic, 0)?;
        let (reply, done) = oneshot::channel();
        self.jobs.send(Job::Publish { topic, records, reply }).await.map_err(unavailable)?;
        done.await.map_err(unavailable)?
    }

    async fn last(&self, topic: &'static str, partition: u16) -> Result<Option<LogRecord>, LogError> {
        let high = *self.shared.partition(topic, partition)?.high.borrow();
        if high == 0 {
            return Ok(None);
        }
        Ok(self.shared.read(topic, partition, high - 1, 1).await?.pop())
    }

    async fn watermarks(&self, topic: &'static str, partition: u16) -> Result<Watermarks, LogError> {
        let p = self.shared.partition(topic, partition)?;
        Ok(Watermarks { low: p.low, high: *p.high.borrow() })
    }

    async fn read(&self, topic: &'static str, partition: u16, offset: i64, max: usize) -> Result<Vec<LogRecord>, LogError> {
        let p = self.shared.partition(topic, partition)?;
        let (low, high) = (p.low, *p.high.borrow());
        if offset < low || offset > high {
            return Err(LogError::OutOfRange { topic, partition, offset, low, high });
        }
        self.shared.read(topic, partition, offset, max).await
    }

    async fn join(&self, group: &str, topics: &[&'static str]) -> Result<Box<dyn Member>, LogError> {
        if !lock(&self.shared.groups).insert(group.to_owned()) {
            return Err(LogError::Unavailable(format!("group {group} has a member already; the embedded log serves one process")));
        }
        let assigned = topics.iter().flat_map(|t| (0..PARTITIONS).map(move |p| (*t, p))).collect();
        Ok(Box::new(Sole { shared: self.shared.clone(), group: group.to_owned(), assigned: Some(assigned) }))
    }
}

/// The sole member of its group.
struct Sole {
    shared: Arc<Shared>,
    group: String,
    assigned: Option<Vec<TopicPartition>>,
}

#[async_trait]
impl Member for Sole {
    async fn next(&mut self) -> Result<Membership, LogError> {
        match self.assigned.take() {
            Some(all) => Ok(Membership::Assigned(all)),
            None => std::future::pending().await,
        }
    }

    async fn read_from(&mut self, (topic, partition): TopicPartition, offset: i64) -> Result<Box<dyn PartitionReader>, LogError> {
        let p = self.shared.partition(topic, partition)?;
        let (low, high) = (p.low, *p.high.borrow());
        if offset < low || offset > high {
            return Err(LogError::OutOfRange { topic, partition, offset, low, high });
        }
        let wake = p.high.subscribe();
        Ok(Box::new(Reader { shared: self.shared.clone(), topic, partition, next: offset, wake }))
    }
}

impl Drop for Sole {
    fn drop(&mut self) {
        lock(&self.shared.groups).remove(&self.group);
    }
}

struct Reader {
    shared: Arc<Shared>,
    topic: &'static str,
    partition: u16,
    next: i64,
    wake: watch::Receiver<i64>,
}

#[async_trait]
impl PartitionReader for Reader {
    async fn read(&mut self, max: usize) -> Result<Vec<LogRecord>, LogError> {
        let next = self.next;
        self.wake.wait_for(|high| *high > next).await.map_err(unavailable)?;
        let records = self.shared.read(self.topic, self.partition, next, max).await?;
        if let Some(last) = records.last() {
            self.next = last.offset + 1;
        }
        Ok(records)
    }
}

impl Shared {
    fn partition(&self, topic: &'static str, partition: u16) -> Result<&Partition, LogError> {
        self.partitions.get(&(topic, partition)).ok_or_else(|| LogError::Unavailable(format!("{topic}/{partition} is not in the topic catalogue")))
    }

    async fn read(&self, topic: &'static str, partition: u16, offset: i64, max: usize) -> Result<Vec<LogRecord>, LogError> {
        {
            let tail = lock(&self.partition(topic, partition)?.tail);
            if let Some(first) = tail.records.front()
                && first.offset <= offset
            {
                let skip = usize::try_from(offset - first.offset).expect("the tail is short");
                return Ok(tail.records.iter().skip(skip).take(max).cloned().collect());
            }
        }
        let rows = sqlx::query(AssertSqlSafe(
            "select record_offset, key, headers, payload from records where topic = ? and partition = ? and record_offset >= ? order by record_offset limit ?"
                .to_owned(),
        ))
        .bind(number(topic))
        .bind(i64::from(partition))
        .bind(offset)
        .bind(i64::try_from(max).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        Ok(rows
            .into_iter()
            .map(|row| LogRecord {
                topic,
                partition,
                offset: row.get(0),
                key: Bytes::from(row.get::<Vec<u8>, _>(1)),
                headers: parse_headers(row.get(2)),
                payload: Bytes::from(row.get::<Vec<u8>, _>(3)),
            })
            .collect())
    }

    fn published(&self, records: Vec<LogRecord>) {
        for record in records {
            let Some(partition) = self.partitions.get(&(record.topic, record.partition)) else { continue };
            let high = record.offset + 1;
            let mut tail = lock(&partition.tail);
            tail.bytes += record.payload.len();
            tail.records.push_back(record);
            while tail.records.len() > TAIL_RECORDS || tail.bytes > TAIL_BYTES {
                if let Some(gone) = tail.records.pop_front() {
                    tail.bytes -= gone.payload.len();
                }
            }
            drop(tail);
            partition.high.send_replace(high);
        }
    }
}

async fn write(mut conn: SqliteConnection, shared: Arc<Shared>, mut queue: mpsc::Receiver<Job>) {
    let mut jobs = Vec::new();
    let mut unmoved_bytes = 0;
    while queue.recv_many(&mut jobs, 64).await > 0 {
        let mut publishes = Vec::new();
        let mut close = None;
        for job in jobs.drain(..) {
            match job {
                Job::Publish { topic, records, reply } => publishes.push((topic, records, reply)),
                Job::Close(reply) => close = Some(reply),
            }
        }
        let (mut placed, mut replies) = (Vec::new(), Vec::new());
        let mut next: HashMap<TopicPartition, i64> = HashMap::new();
        for (topic, records, reply) in publishes {
            for record in records {
                let partition = partition_of(&record.key);
                let offset = next.entry((topic, partition)).or_insert_with(|| shared.partitions.get(&(topic, partition)).map_or(0, |p| *p.high.borrow()));
                placed.push(LogRecord {
                    topic,
                    partition,
                    offset: *offset,
                    key: Bytes::copy_from_slice(&record.key),
                    headers: record.headers,
                    payload: record.payload,
                });
                *offset += 1;
            }
            replies.push(reply);
        }
        let done = insert(&mut conn, &placed).await;
        if done.is_ok() {
            unmoved_bytes += placed.iter().map(|r| r.payload.len()).sum::<usize>();
            shared.published(placed);
        } else {
            if let Err(error) = sqlx::raw_sql("rollback").execute(&mut conn).await {
                // Fails where the transaction had not begun.
                tracing::debug!(%error, "nothing to roll back");
            }
            // The failed answer may have been that of a commit: what lies in the file counts.
            if let Err(error) = resume(&mut conn, &shared).await {
                tracing::warn!(%error, "the log's ends could not be read");
            }
        }
        for reply in replies {
            // The relay that asked may be stopping.
            let _ = reply.send(done.clone());
        }
        if unmoved_bytes > UNMOVED_BYTES_MAX {
            unmoved_bytes = 0;
            // Nobody writes meanwhile, so the write-ahead file can begin anew; beside a writer that never rests it only grows.
            if let Err(error) = sqlx::raw_sql("pragma wal_checkpoint(passive)").execute(&mut conn).await {
                tracing::warn!(%error, "the log's write-ahead file was not moved; it is tried again");
            }
        }
        if let Some(reply) = close {
            if let Err(error) = conn.close().await {
                tracing::warn!(%error, "the log file did not close cleanly");
            }
            let _ = reply.send(());
            return;
        }
    }
}

/// Sets every partition's end to what the file holds.
async fn resume(conn: &mut SqliteConnection, shared: &Shared) -> Result<(), LogError> {
    let rows = sqlx::query(AssertSqlSafe("select topic, partition, max(record_offset) from records group by topic, partition".to_owned()))
        .fetch_all(conn)
        .await
        .map_err(unavailable)?;
    for row in rows {
        let (topic, partition, last): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let Some(topic) = usize::try_from(topic).ok().and_then(|n| ALL.get(n)) else { continue };
        let Some(partition) = u16::try_from(partition).ok().and_then(|p| shared.partitions.get(&(topic.name, p))) else { continue };
        if *partition.high.borrow() <= last {
            // The tail in memory is contiguous up to the end, so it starts anew.
            *lock(&partition.tail) = Tail::default();
            partition.high.send_replace(last + 1);
        }
    }
    Ok(())
}

/// One call a batch: each statement would be a hop to the driver's thread.
async fn insert(conn: &mut SqliteConnection, records: &[LogRecord]) -> Result<(), LogError> {
    if records.is_empty() {
        return Ok(());
    }
    let mut sql = "begin immediate".to_owned();
    let mut args = SqliteArguments::default();
    let at = now_us();
    for chunk in records.chunks(2_000) {
        sql.push_str(";\ninsert into records (topic, partition, record_offset, key, headers, payload, at) values ");
        for (n, r) in chunk.iter().enumerate() {
            sql.push_str(if n == 0 { "(?,?,?,?,?,?,?)" } else { ",(?,?,?,?,?,?,?)" });
            let bound = args
                .add(number(r.topic))
                .and_then(|()| args.add(i64::from(r.partition)))
                .and_then(|()| args.add(r.offset))
                .and_then(|()| args.add(r.key.to_vec()))
                .and_then(|()| args.add(format_headers(&r.headers)))
                .and_then(|()| args.add(r.payload.to_vec()))
                .and_then(|()| args.add(at));
            bound.map_err(|e| LogError::Unavailable(e.to_string()))?;
        }
    }
    sql.push_str(";\ncommit");
    sqlx::query_with(AssertSqlSafe(sql), args).persistent(records.len() <= 8).execute(conn).await.map(drop).map_err(unavailable)
}

/// Moves committed pages into the file away from the writer.
async fn move_wal(file: std::path::PathBuf, shared: Arc<Shared>, alive: mpsc::WeakSender<Job>) {
    let Ok(mut conn) = options(&file).connect().await else { return };
    let mut moved = 0;
    let mut closed = shared.closed.subscribe();
    while alive.upgrade().is_some_and(|jobs| !jobs.is_closed()) {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            _ = closed.wait_for(|closed| *closed) => break,
        }
        let total: i64 = shared.partitions.values().map(|p| *p.high.borrow()).sum();
        if total != moved {
            moved = total;
            if let Err(error) = sqlx::raw_sql("pragma wal_checkpoint(passive)").execute(&mut conn).await {
                tracing::warn!(%error, "the log's write-ahead file was not moved; it is tried again");
            }
        }
    }
    if let Err(error) = conn.close().await {
        tracing::warn!(%error, "the log file did not close cleanly");
    }
}

/// Pages that a connection brings to those which all connections of the process share. Negative: KiB, not pages.
const CACHE_KIB: &str = "-512";

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10))
        .pragma("wal_autocheckpoint", "0")
        .pragma("cache_size", CACHE_KIB)
        .disable_statement_logging()
}

/// The topic's place in the catalogue, as rows name it.
fn number(topic: &str) -> i64 {
    (0..).zip(ALL.iter()).find(|(_, t)| t.name == topic).map_or(-1, |(n, _)| n)
}

fn format_headers(headers: &[(String, Bytes)]) -> String {
    headers.iter().map(|(k, v)| format!("{k}: {}", String::from_utf8_lossy(v))).collect::<Vec<_>>().join("\n")
}

fn parse_headers(text: &str) -> Vec<(String, Bytes)> {
    text.lines().filter_map(|l| l.split_once(": ")).map(|(k, v)| (k.to_owned(), Bytes::copy_from_slice(v.as_bytes()))).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(e: impl std::fmt::Display) -> LogError {
    LogError::Unavailable(e.to_string())
}
