//! A seeded hostile wrapper around any log or store, because the embedded ones alone are too well behaved: duplicates, delays,
//! rebalances, spurious fences, failed and unanswered commits. What it does is within what a distributed log and database may do.

use crate::event::Recorded;
use crate::ports::*;
use crate::unit::{Answer, Unit};
use crate::value::{Row, Value};
use async_trait::async_trait;
use hearthline_nhs::StreamId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// One seeded source of trouble.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }
    /// True `n` times in a hundred.
    fn percent(&self, n: u32) -> bool {
        self.below(100) < n
    }
    fn below(&self, n: u32) -> u32 {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).random_range(0..n)
    }
    async fn delay(&self, percent: u32) {
        if self.percent(percent) {
            tokio::time::sleep(Duration::from_millis(u64::from(self.below(4)))).await;
        }
    }
}

/// A store whose commits fail before, or lose their answer after, they take place.
pub struct HostileStore {
    inner: Arc<dyn Store>,
    dice: Dice,
}

impl HostileStore {
    pub fn new(inner: Arc<dyn Store>, seed: u64) -> Self {
        HostileStore { inner, dice: Dice::new(seed) }
    }
}

#[async_trait]
impl Store for HostileStore {
    fn service(&self) -> &str {
        self.inner.service()
    }
    async fn append(&self, unit: Unit) -> Result<Answer, StoreError> {
        self.dice.delay(10).await;
        if self.dice.percent(4) {
            return Err(StoreError::Unavailable("hostile: crashed before the commit".to_owned()));
        }
        if unit.checkpoint.is_some() && self.dice.percent(2) {
            return Ok(Answer::Fenced("hostile: another owner"));
        }
        let answer = self.inner.append(unit).await?;
        if matches!(answer, Answer::Committed { .. }) && self.dice.percent(4) {
            return Err(StoreError::OutcomeUnknown);
        }
        Ok(answer)
    }
    async fn read_stream(&self, stream: StreamId, after: u64) -> Result<Vec<Recorded>, StoreError> {
        self.inner.read_stream(stream, after).await
    }
    async fn read_all(&self, after: u64, limit: u32) -> Result<Vec<Recorded>, StoreError> {
        self.inner.read_all(after, 1 + self.dice.below(limit.max(1))).await
    }
    async fn query(&self, sql: &str, args: &[Value]) -> Result<Vec<Row>, StoreError> {
        if self.dice.percent(1) {
            return Err(StoreError::Unavailable("hostile: the connection was cut".to_owned()));
        }
        self.inner.query(sql, args).await
    }
    async fn blob(&self, id: [u8; 16]) -> Result<Option<StoredBlob>, StoreError> {
        self.inner.blob(id).await
    }
    fn committed(&self) -> watch::Receiver<Committed> {
        self.inner.committed()
    }
    fn set_open(&self, open: Result<(), String>) {
        self.inner.set_open(open);
    }
    fn opened(&self) -> Result<(), String> {
        self.inner.opened()
    }
}

/// A log that repeats records, delays partitions against one another, and moves partitions away and back.
pub struct HostileLog {
    inner: Arc<dyn Log>,
    dice: Dice,
}

impl HostileLog {
    pub fn new(inner: Arc<dyn Log>, seed: u64) -> Self {
        HostileLog { inner, dice: Dice::new(seed) }
    }
}

#[async_trait]
impl Log for HostileLog {
    async fn publish(&self, topic: &'static str, records: Vec<Outgoing>) -> Result<(), LogError> {
        if self.dice.percent(5) {
            return Err(LogError::Unavailable("hostile: the broker went away".to_owned()));
        }
        if self.dice.percent(5) && !records.is_empty() {
            // The broker went away in mid-batch: each partition has a beginning of its records.
            let most = records.len();
            let some = records.into_iter().take(self.dice.below(u32::try_from(most).unwrap_or(u32::MAX)) as usize).collect();
            self.inner.publish(topic, some).await?;
            return Err(LogError::Unavailable("hostile: the broker went away in mid-batch".to_owned()));
        }
        self.inner.publish(topic, records.clone()).await?;
        if self.dice.percent(8) {
            // Written, but the answer was lost: the relay will write them again.
            return Err(LogError::Unavailable("hostile: the broker's answer was lost".to_owned()));
        }
        Ok(())
    }
    async fn last(&self, topic: &'static str, partition: u16) -> Result<Option<LogRecord>, LogError> {
        self.inner.last(topic, partition).await
    }
    async fn watermarks(&self, topic: &'static str, partition: u16) -> Result<Watermarks, LogError> {
        self.inner.watermarks(topic, partition).await
    }
    async fn read(&self, topic: &'static str, partition: u16, offset: i64, max: usize) -> Result<Vec<LogRecord>, LogError> {
        self.inner.read(topic, partition, offset, max).await
    }
    async fn join(&self, group: &str, topics: &[&'static str]) -> Result<Box<dyn Member>, LogError> {
        let inner = self.inner.join(group, topics).await?;
        Ok(Box::new(HostileMember { inner, dice: self.dice.clone(), assigned: HashSet::new(), away: Vec::new(), due: Instant::now() + MOVES_AFTER }))
    }
}

struct HostileMember {
    inner: Box<dyn Member>,
    dice: Dice,
    assigned: HashSet<TopicPartition>,
    away: Vec<TopicPartition>,
    /// When a partition may be moved next, whoever asks and gives up before.
    due: Instant,
}

const MOVES_AFTER: Duration = Duration::from_millis(40);

#[async_trait]
impl Member for HostileMember {
    async fn next(&mut self) -> Result<Membership, LogError> {
        loop {
            if !self.away.is_empty() {
                return Ok(Membership::Assigned(std::mem::take(&mut self.away)));
            }
            tokio::select! {
                change = self.inner.next() => {
                    let change = change?;
                    match &change {
                        Membership::Assigned(new) => self.assigned.extend(new.iter().copied()),
                        Membership::Revoked(gone) => self.assigned.retain(|p| !gone.contains(p)),
                    }
                    return Ok(change);
                }
                () = tokio::time::sleep_until(self.due) => {
                    self.due = Instant::now() + MOVES_AFTER;
                    if self.dice.percent(15) && !self.assigned.is_empty() {
                        let mut all: Vec<_> = self.assigned.iter().copied().collect();
                        all.sort_unstable();
                        let n = self.dice.below(u32::try_from(all.len()).unwrap_or(u32::MAX)) as usize;
                        self.away = vec![all[n]];
                        return Ok(Membership::Revoked(self.away.clone()));
                    }
                }
            }
        }
    }
    async fn read_from(&mut self, partition: TopicPartition, offset: i64) -> Result<Box<dyn PartitionReader>, LogError> {
        let inner = self.inner.read_from(partition, offset).await?;
        Ok(Box::new(HostileReader { inner, dice: self.dice.clone() }))
    }
}

struct HostileReader {
    inner: Box<dyn PartitionReader>,
    dice: Dice,
}

#[async_trait]
impl PartitionReader for HostileReader {
    async fn read(&mut self, max: usize) -> Result<Vec<LogRecord>, LogError> {
        self.dice.delay(20).await;
        let max = if self.dice.percent(50) { 1 + self.dice.below(7) as usize } else { max };
        self.inner.read(max).await
    }
}
