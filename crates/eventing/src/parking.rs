//! Records set aside: operators list, inspect, and *request* a retry or a discard; the partition's owner executes.

use crate::ports::{Store, StoreError};
use crate::unit::{Answer, ParkedChange, ParkedOf, Unit};
use crate::value::{Row, Value};
use bytes::Bytes;

/// A record set aside. Its personal data stays sealed.
#[derive(Debug, Clone)]
pub struct Parked {
    pub subscription: String,
    pub topic: String,
    pub partition: u16,
    pub offset: i64,
    pub key: Bytes,
    /// Waiting for an earlier version or for something else to come, rather than broken.
    pub held: bool,
    pub why: String,
    pub payload: Bytes,
    pub headers: String,
    pub parked_at: i64,
    pub request: Option<String>,
    pub request_reason: Option<String>,
}

const COLUMNS: &str = "subscription, topic, partition, record_offset, key, held, why, payload, headers, parked_at, request, request_reason";

fn parked(row: &Row) -> Parked {
    Parked {
        subscription: row.text(0).to_owned(),
        topic: row.text(1).to_owned(),
        partition: u16::try_from(row.int(2)).expect("partitions are numbered from 0 to 11"),
        offset: row.int(3),
        key: row.blob(4).clone(),
        held: row.flag(5),
        why: row.text(6).to_owned(),
        payload: row.blob(7).clone(),
        headers: row.text(8).to_owned(),
        parked_at: row.int(9),
        request: row.opt_text(10).map(str::to_owned),
        request_reason: row.opt_text(11).map(str::to_owned),
    }
}

async fn select(store: &dyn Store, condition: &str, args: &[Value]) -> Result<Vec<Parked>, StoreError> {
    let rows = store.query(&format!("select {COLUMNS} from parked where {condition} order by subscription, topic, partition, record_offset"), args).await?;
    Ok(rows.iter().map(parked).collect())
}

/// Everything set aside in a store.
pub async fn list(store: &dyn Store) -> Result<Vec<Parked>, StoreError> {
    select(store, "1 = 1", &[]).await
}

pub(crate) async fn of_partition(store: &dyn Store, subscription: &str, topic: &str, partition: u16) -> Result<Vec<Parked>, StoreError> {
    select(store, "subscription = $1 and topic = $2 and partition = $3", &[subscription.into(), topic.into(), u32::from(partition).into()]).await
}

/// Rows on which an operator wants something done.
pub(crate) async fn requested(store: &dyn Store, subscription: &str, topic: &str, partition: u16) -> Result<Vec<Parked>, StoreError> {
    select(
        store,
        "subscription = $1 and topic = $2 and partition = $3 and request is not null",
        &[subscription.into(), topic.into(), u32::from(partition).into()],
    )
    .await
}

pub(crate) async fn of_key(store: &dyn Store, subscription: &str, topic: &str, partition: u16, key: &[u8]) -> Result<Vec<Parked>, StoreError> {
    select(
        store,
        "subscription = $1 and topic = $2 and partition = $3 and key = $4",
        &[subscription.into(), topic.into(), u32::from(partition).into(), key.into()],
    )
    .await
}

/// Asks the partition's owner to `retry` or `discard` one record. False if it is not there.
pub async fn request(store: &dyn Store, topic: &str, partition: u16, offset: i64, action: &'static str, reason: &str) -> Result<bool, StoreError> {
    let found = select(store, "topic = $1 and partition = $2 and record_offset = $3", &[topic.into(), u32::from(partition).into(), offset.into()]).await?;
    let Some(row) = found.into_iter().next() else { return Ok(false) };
    let change = ParkedChange::Request { offset, action, reason: reason.to_owned() };
    let answer =
        store.append(Unit { parked: vec![ParkedOf { subscription: row.subscription, topic: row.topic, partition, change }], ..Unit::default() }).await?;
    Ok(matches!(answer, Answer::Committed { .. }))
}

/// Headers as kept in a parked row, one `name: value` a line.
pub(crate) fn headers(text: &str) -> Vec<(String, Bytes)> {
    text.lines().filter_map(|l| l.split_once(": ")).map(|(k, v)| (k.to_owned(), Bytes::copy_from_slice(v.as_bytes()))).collect()
}
