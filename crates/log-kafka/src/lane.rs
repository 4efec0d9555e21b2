//! A partition's way from the member's thread to its reader: bounded, and dead from the moment of its revocation.

use crate::member::{Command, Commands};
use crate::trouble::lock;
use async_trait::async_trait;
use hearthline_eventing::{LogError, LogRecord, PartitionReader, TopicPartition};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Above either the partition rests until its reader has taken half.
const RECORDS_MAX: usize = 5_000;
const BYTES_MAX: usize = 2 << 20;

/// One assignment of one partition: a later one has another lane.
pub(crate) struct Lane {
    pub(crate) at: TopicPartition,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    records: VecDeque<LogRecord>,
    bytes: usize,
    resting: bool,
    /// Behind the last record taken by the reader.
    taken: i64,
    ended: Option<LogError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fullness {
    Room,
    /// The partition should rest when nothing else is at hand.
    Full,
    /// It must rest now.
    Brimming,
}

impl Lane {
    pub(crate) fn new(at: TopicPartition, offset: i64) -> Arc<Self> {
        Arc::new(Lane { at, state: Mutex::new(State { taken: offset, ..State::default() }), wake: Notify::new() })
    }

    pub(crate) fn push(&self, record: LogRecord) -> Fullness {
        let mut state = lock(&self.state);
        state.bytes += weight(&record);
        state.records.push_back(record);
        let (records, bytes) = (state.records.len(), state.bytes);
        drop(state);
        self.wake.notify_one();
        match () {
            () if records >= 2 * RECORDS_MAX || bytes >= 2 * BYTES_MAX => Fullness::Brimming,
            () if records >= RECORDS_MAX || bytes >= BYTES_MAX => Fullness::Full,
            () => Fullness::Room,
        }
    }

    /// The reader will say when there is room again; false where there already is.
    pub(crate) fn rest(&self) -> bool {
        let mut state = lock(&self.state);
        state.resting = state.records.len() > RECORDS_MAX / 2 || state.bytes > BYTES_MAX / 2;
        state.resting
    }

    /// Nothing is read from here any more, not even what had arrived.
    pub(crate) fn end(&self, why: LogError) {
        let mut state = lock(&self.state);
        state.records.clear();
        state.bytes = 0;
        state.ended.get_or_insert(why);
        drop(state);
        self.wake.notify_one();
    }

    pub(crate) fn taken(&self) -> i64 {
        lock(&self.state).taken
    }
}

/// Two of these may not be alive for one partition: the member ends the former.
pub(crate) struct LaneReader {
    pub(crate) lane: Arc<Lane>,
    pub(crate) commands: Commands,
}

#[async_trait]
impl PartitionReader for LaneReader {
    async fn read(&mut self, max: usize) -> Result<Vec<LogRecord>, LogError> {
        loop {
            {
                let mut state = lock(&self.lane.state);
                if let Some(why) = &state.ended {
                    return Err(why.clone());
                }
                let n = state.records.len().min(max);
                if n > 0 {
                    let records: Vec<LogRecord> = state.records.drain(..n).collect();
                    state.bytes -= records.iter().map(weight).sum::<usize>();
                    state.taken = records[n - 1].offset + 1;
                    let room = state.resting && state.records.len() <= RECORDS_MAX / 2 && state.bytes <= BYTES_MAX / 2;
                    if room {
                        state.resting = false;
                    }
                    drop(state);
                    if room {
                        self.commands.send(Command::Resume(self.lane.clone()));
                    }
                    return Ok(records);
                }
            }
            self.lane.wake.notified().await;
        }
    }
}

impl Drop for LaneReader {
    fn drop(&mut self) {
        self.commands.send(Command::Close(self.lane.clone()));
    }
}

fn weight(record: &LogRecord) -> usize {
    // What a record takes besides its bytes, roughly.
    record.payload.len() + record.headers.iter().map(|(k, v)| k.len() + v.len() + 64).sum::<usize>() + 128
}
