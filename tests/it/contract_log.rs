//! What every log means by publishing and reading, whichever broker stands behind it.

use async_trait::async_trait;
use bytes::Bytes;
use hearthline_contracts::partition::partition_of;
use hearthline_contracts::topics::{self, PARTITIONS};
use hearthline_eventing::hostile::HostileLog;
use hearthline_eventing::{Log, LogError, LogRecord, Member, Membership, Outgoing, TopicPartition};
use hearthline_log_kafka::KafkaLog;
use hearthline_tests::bench::{Folder, id};
use hearthline_tests::servers;
use hearthline_tests::{Seed, seeds, until};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

const TOPIC: &str = topics::CALL.name;

/// An adapter under test: opens the same log, again after a crash.
#[async_trait]
pub trait LogAdapter: Send + Sync {
    async fn open(&self) -> Arc<dyn Log>;
}

pub struct Embedded {
    folder: Folder,
    hostile: Option<u64>,
}

#[async_trait]
impl LogAdapter for Embedded {
    async fn open(&self) -> Arc<dyn Log> {
        let log = Arc::new(self.folder.log().await);
        match self.hostile {
            Some(seed) => Arc::new(HostileLog::new(log, seed)),
            None => log,
        }
    }
}

/// A broker that the environment names, with topics of this test's own.
pub struct Kafka {
    server: servers::Kafka,
    hostile: Option<u64>,
}

impl Kafka {
    pub async fn new(hostile: Option<u64>) -> Option<Self> {
        Some(Kafka { server: servers::Kafka::new().await?, hostile })
    }
}

#[async_trait]
impl LogAdapter for Kafka {
    async fn open(&self) -> Arc<dyn Log> {
        let log = Arc::new(KafkaLog::open(self.server.options.clone()).expect("the options are right"));
        match self.hostile {
            Some(seed) => Arc::new(HostileLog::new(log, seed)),
            None => log,
        }
    }
}

macro_rules! suite {
    (both: $($both:ident),+ $(,)?; plain: $($plain:ident),+ $(,)?; embedded: $($embedded:ident),+ $(,)?; kafka: $($kafka:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $both() {
                super::$both(&super::Embedded { folder: super::Folder::new(), hostile: None }).await;
            })+
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $plain() {
                super::$plain(&super::Embedded { folder: super::Folder::new(), hostile: None }).await;
            })+
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $embedded() {
                super::$embedded(&super::Embedded { folder: super::Folder::new(), hostile: None }).await;
            })+
        }
        mod embedded_hostile {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $both() {
                for seed in super::seeds(3) {
                    let _named = super::Seed(seed);
                    super::$both(&super::Embedded { folder: super::Folder::new(), hostile: Some(seed) }).await;
                }
            })+
        }
        mod kafka {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $both() {
                let Some(adapter) = super::Kafka::new(None).await else { return };
                super::$both(&adapter).await;
            })+
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $plain() {
                let Some(adapter) = super::Kafka::new(None).await else { return };
                super::$plain(&adapter).await;
            })+
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $kafka() {
                let Some(adapter) = super::Kafka::new(None).await else { return };
                super::$kafka(&adapter).await;
            })+
        }
        mod kafka_hostile {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $both() {
                for seed in super::seeds(2) {
                    let _named = super::Seed(seed);
                    let Some(adapter) = super::Kafka::new(Some(seed)).await else { return };
                    super::$both(&adapter).await;
                }
            })+
        }
    };
}

suite! {
    both:
        a_key_keeps_its_order_whatever_fails,
        every_group_reads_everything,
        a_reader_wakes_for_new_records,
        records_are_there_after_a_crash;
    plain:
        a_record_goes_to_the_partition_of_its_key,
        offsets_have_no_gap_under_many_publishers,
        a_reader_starts_where_it_is_told,
        old_records_read_like_fresh_ones,
        an_offset_outside_the_log_is_named,
        the_ends_are_known,
        an_abandoned_read_loses_nothing,
        pages_are_read_without_joining,
        a_topic_outside_the_catalogue_is_refused;
    embedded:
        a_group_has_one_member_here;
    kafka:
        two_members_share_the_partitions,
        a_dead_reader_gives_nothing,
}

fn outgoing(key: [u8; 16], payload: impl Into<Bytes>) -> Outgoing {
    Outgoing { key, headers: vec![("ce_type".to_owned(), Bytes::from_static(b"a: b")), ("empty".to_owned(), Bytes::new())], payload: payload.into() }
}

/// Publishes as the relay does: again from the start of the page until it is said to be written.
async fn publish(log: &dyn Log, records: Vec<Outgoing>) {
    until("records are published", async || log.publish(TOPIC, records.clone()).await.ok()).await;
}

/// Reads with a group until `enough`, following what the log does with its partitions.
async fn read_until(log: &dyn Log, group: &str, mut enough: impl FnMut(&[LogRecord]) -> bool) -> Vec<LogRecord> {
    let mut member = log.join(group, &[TOPIC]).await.expect("the group is free");
    let mut next: HashMap<TopicPartition, i64> = HashMap::new();
    let mut readers: BTreeMap<TopicPartition, Box<dyn hearthline_eventing::PartitionReader>> = BTreeMap::new();
    let mut all = Vec::new();
    let begun = std::time::Instant::now();
    while !enough(&all) {
        assert!(begun.elapsed() < hearthline_tests::PATIENCE, "{} records are not enough", all.len());
        match tokio::time::timeout(Duration::from_millis(1), member.next()).await {
            Ok(Ok(Membership::Assigned(new))) => {
                for at in new {
                    let from = next.get(&at).copied().unwrap_or(0);
                    readers.insert(at, member.read_from(at, from).await.expect("the partition is readable"));
                }
            }
            Ok(Ok(Membership::Revoked(gone))) => gone.iter().for_each(|at| drop(readers.remove(at))),
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => {}
        }
        for (at, reader) in &mut readers {
            if let Ok(records) = tokio::time::timeout(Duration::from_millis(2), reader.read(100)).await {
                let records = records.expect("the log reads");
                assert!(!records.is_empty() && records.len() <= 100);
                for record in &records {
                    let expected = next.entry(*at).or_default();
                    assert_eq!(record.offset, *expected, "a record is left out or repeated");
                    *expected += 1;
                }
                all.extend(records);
            }
        }
    }
    all
}

fn distinct(records: &[LogRecord]) -> usize {
    records.iter().map(|r| r.payload.clone()).collect::<std::collections::HashSet<_>>().len()
}

/// Waits until a partition is assigned.
async fn assigned(member: &mut Box<dyn Member>, at: TopicPartition) {
    let wait = async {
        loop {
            if let Membership::Assigned(new) = member.next().await.expect("the group goes on")
                && new.contains(&at)
            {
                return;
            }
        }
    };
    tokio::time::timeout(hearthline_tests::PATIENCE, wait).await.expect("the partition is assigned");
}

async fn a_key_keeps_its_order_whatever_fails(adapter: &dyn LogAdapter) {
    let log = adapter.open().await;
    let keys: Vec<[u8; 16]> = (0..20).map(|_| id()).collect();
    for page in 0..10u32 {
        let records = (0..10u32).flat_map(|n| keys.iter().map(move |k| outgoing(*k, [k.as_slice(), &(page * 10 + n).to_be_bytes()].concat()))).collect();
        publish(&*log, records).await;
    }
    let read = read_until(&*log, "g", |all| distinct(all) == 2_000).await;
    let mut last: HashMap<Bytes, u32> = HashMap::new();
    for record in &read {
        assert_eq!(record.key, record.payload[..16]);
        let n = u32::from_be_bytes(record.payload[16..].try_into().unwrap()) + 1;
        let last = last.entry(record.key.clone()).or_default();
        assert!(n <= *last + 1, "{n} came before {}", *last + 1);
        *last = n.max(*last);
    }
    assert!(last.values().all(|n| *n == 100));
}

async fn every_group_reads_everything(adapter: &dyn LogAdapter) {
    let log = adapter.open().await;
    publish(&*log, (0..300u32).map(|n| outgoing(id(), n.to_be_bytes().to_vec())).collect()).await;
    for group in ["kpi-projection", "shared-record"] {
        let read = read_until(&*log, group, |all| distinct(all) == 300).await;
        assert!(read.iter().all(|r| r.topic == TOPIC && r.headers == outgoing([0; 16], "").headers));
    }
}

async fn a_reader_wakes_for_new_records(adapter: &dyn LogAdapter) {
    let log = adapter.open().await;
    let key = id();
    let at = (TOPIC, partition_of(&key));
    let mut member = log.join("g", &[TOPIC]).await.expect("the group is free");
    assigned(&mut member, at).await;
    let mut reader = member.read_from(at, 0).await.expect("the partition is readable");
    let mut next = 0;
    for n in 0..3u32 {
        // Asked once, and before there is anything to read.
        let mut reading = Box::pin(reader.read(1));
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut reading).await.is_err());
        publish(&*log, vec![outgoing(key, n.to_be_bytes().to_vec())]).await;
        let mut read = tokio::time::timeout(hearthline_tests::PATIENCE, reading).await.expect("it wakes").expect("the log reads");
        // It may have been written more than once.
        loop {
            assert_eq!(read[0].offset, next);
            next += read.len() as i64;
            if log.watermarks(at.0, at.1).await.expect("the ends are known").high == next {
                break;
            }
            read = reader.read(1).await.expect("the log reads");
        }
    }
}

async fn records_are_there_after_a_crash(adapter: &dyn LogAdapter) {
    for n in 0..5u32 {
        // Dropped without being closed.
        publish(&*adapter.open().await, vec![outgoing([n as u8; 16], n.to_be_bytes().to_vec()), outgoing(id(), (n + 100).to_be_bytes().to_vec())]).await;
    }
    read_until(&*adapter.open().await, "g", |all| distinct(all) == 10).await;
}

async fn a_record_goes_to_the_partition_of_its_key(adapter: &dyn LogAdapter) {
    let log = adapter.open().await;
    publish(&*log, (0..200u32).map(|n| outgoing(id(), n.to_be_bytes().to_vec())).collect()).await;
    let read = read_until(&*log, "g", |all| all.len() == 200).await;
    assert!(read.iter().all(|r| r.partition == partition_of(&r.key)));
    assert_eq!(read.iter().map(|r| r.partition).collect::<std::collections::HashSet<_>>().len(), usize::from(PARTITIONS));
}

async fn offsets_have_no_gap_under_many_publishers(adapter: &dyn LogAdapter) {
    let log = adapter.open().await;
    let mut publishers = tokio::task::JoinSet::new();
    for p in 0..50u32 {
        let log = log.clone();
        publishers.spawn(async move {
            let key = id();
            for n in 0..4u32 {
                log.publish(TOPIC, (0..5u32).map(|i| outgoing(key, [p, n * 5 + i].map(u32::to_be_bytes).concat())).collect()).await.unwrap();
            }
        });
    }
    while let Some(done) = publishers.join_next().await {
        done.unwrap();
    }
    // The reading asserts that offsets have no gap.
    let read = read_until(&*log, "g", |all| all.len() == 1_000).await;
    let mut last: HashMap<[u8; 4], u32> = HashMap::new();
    for record in read {
        let n = u32::from_be_bytes(record.payload[4..].try_into().unwrap());
        let next = last.entry(record.payload[..4].try_into().unwrap()).or_default();
        assert_eq!(n, *next, "a publisher's records changed places");
        *next += 1;
    }
}

async fn a_reader_starts_where_it_is_told(adapter: &dyn LogAdapter) {
    let log = adapter.open().await;
    let key = id();
    let at = (TOPIC, partition_of(&key));
    publish(&*log, (0..10u8).map(|n| outgoing(key, vec![n])).collect()).await;
    let mut member = log.join("g", &[TOPIC]).await.unwrap();
    assigned(&mut member, at).await;
    let mut reader = member.read_from(at, 4).await.unwrap();
    let mut read = Vec::new();
    while read.len() < 6 {
        // At most what is asked for; it may be less.
        let records = reader.read(3).await.unwrap();
        assert!((1..=3).contains(&records.len()));
        read.extend(records.iter().map(|r| (r.offset, r.payload[0])));
    }
    assert_eq!(read, [(4, 4), (5, 5), (6, 6), (7, 7), (8, 8), (9, 9)]);
}

async fn old_records_read_like_fresh_ones(adapter: &dyn LogAdapter) {
    let log = adapter.open().await;
    let key = id();
    for page in 0..30u32 {
        // More than any log keeps in memory.
        publish(&*log, (0..100u32).map(|n| outgoing(key, [(page * 100 + n).to_be_bytes().as_slice(), &[0; 1_000]].concat())).collect()).await;
    }
    for log in [log, adapter.open().await] {
        let read = read_until(&*log, "g", |all| all.len() == 3_000).await;
        for (n, record) in (0u32..).zip(&read) {
            assert_eq!(record.payload[..4], n.to_be_bytes());
            assert_eq!(record.headers, outgoing(key, "").headers);
        }
    }
}

async fn an_offset_outside_the_log_is_named(adapter: &dyn LogAdapter) {
    let log = adapter.open().await;
    let key = id();
    let at = (TOPIC, partition_of(&key));
    publish(&*log, vec![outgoing(key, "x")]).await;
    let mut member = log.join("g", &[TOPIC]).await.unwrap();
    assigned(&mut member, at).await;
    assert!(member.read_from(at, 1).await.is_ok());
    let refused = member.read_from(at, 2).await.err();
    assert!(matches!(refused, Some(LogError::OutOfRange { offset: 2, low: 0, high: 1, .. })), "{refused:?}");
}

async fn the_ends_are_known(adapter: &dyn LogAdapter) {
    let log = adapter.open().await;
    let key = id();
    let partition = partition_of(&key);
    assert!(log.last(TOPIC, partition).await.unwrap().is_none());
    publish(&*log, vec![outgoing(key, "x"), outgoing(key, "y")]).await;
    for log in [log, adapter.open().await] {
        let marks = log.watermarks(TOPIC, partition).await.unwrap();
        assert_eq!((marks.low, marks.high), (0, 2));
        let last = log.last(TOPIC, partition).await.unwrap().unwrap();
        assert_eq!((last.offset, &last.payload[..]), (1, &b"y"[..]));
    }
}

async fn an_abandoned_read_loses_nothing(adapter: &dyn LogAdapter) {
    let log = adapter.open().await;
    let key = id();
    let mut member = log.join("g", &[TOPIC]).await.unwrap();
    assigned(&mut member, (TOPIC, partition_of(&key))).await;
    let mut reader = member.read_from((TOPIC, partition_of(&key)), 0).await.unwrap();
    let mut read = Vec::new();
    for n in 0..50u8 {
        assert!(tokio::time::timeout(Duration::from_micros(50), reader.read(10)).await.is_err(), "there is nothing to read");
        publish(&*log, vec![outgoing(key, vec![n])]).await;
        // Given up at any point, it is as if it had not been asked.
        let mut patience = 1;
        read.extend(loop {
            match tokio::time::timeout(Duration::from_micros(patience), reader.read(10)).await {
                Ok(records) => break records.unwrap(),
                Err(_) => patience *= 2,
            }
        });
    }
    assert_eq!(read.iter().map(|r| r.payload[0]).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
}

async fn pages_are_read_without_joining(adapter: &dyn LogAdapter) {
    let log = adapter.open().await;
    let key = id();
    let partition = partition_of(&key);
    publish(&*log, (0..100u8).map(|n| outgoing(key, vec![n])).collect()).await;
    let mut read = Vec::new();
    while read.len() < 100 {
        let page = log.read(TOPIC, partition, read.len() as i64, 30).await.unwrap();
        assert!((1..=30).contains(&page.len()));
        read.extend(page.iter().map(|r| (r.offset, r.payload[0])));
    }
    assert_eq!(read, (0..100u8).map(|n| (i64::from(n), n)).collect::<Vec<_>>());
    assert!(log.read(TOPIC, partition, 100, 30).await.unwrap().is_empty());
    let refused = log.read(TOPIC, partition, 101, 30).await.err();
    assert!(matches!(refused, Some(LogError::OutOfRange { offset: 101, low: 0, high: 100, .. })), "{refused:?}");
}

async fn a_topic_outside_the_catalogue_is_refused(adapter: &dyn LogAdapter) {
    let log = adapter.open().await;
    assert!(log.publish("hearthline.billing.v1", vec![outgoing(id(), "x")]).await.is_err());
    assert!(log.watermarks("hearthline.billing.v1", 0).await.is_err());
}

async fn a_group_has_one_member_here(adapter: &dyn LogAdapter) {
    let log = adapter.open().await;
    let first = log.join("g", &[TOPIC]).await.unwrap();
    assert!(log.join("g", &[TOPIC]).await.is_err());
    assert!(log.join("other", &[TOPIC]).await.is_ok());
    drop(first);
    assert!(log.join("g", &[TOPIC]).await.is_ok());
}

/// Follows what the log does with a member's partitions until they are `many`.
async fn owned(member: &mut Box<dyn Member>, owned: &mut BTreeSet<TopicPartition>, many: impl Fn(usize) -> bool) {
    let follow = async {
        while !many(owned.len()) {
            match member.next().await.expect("the group goes on") {
                Membership::Assigned(new) => new.into_iter().for_each(|at| assert!(owned.insert(at), "{at:?} is assigned twice")),
                Membership::Revoked(gone) => gone.iter().for_each(|at| assert!(owned.remove(at), "{at:?} was not ours")),
            }
        }
    };
    tokio::time::timeout(hearthline_tests::PATIENCE, follow).await.expect("the partitions are shared out");
}

async fn two_members_share_the_partitions(adapter: &dyn LogAdapter) {
    let all = usize::from(PARTITIONS);
    let (one, two) = (adapter.open().await, adapter.open().await);
    let (mut first, mut second) = (one.join("g", &[TOPIC]).await.unwrap(), two.join("g", &[TOPIC]).await.unwrap());
    let (mut firsts, mut seconds) = (BTreeSet::new(), BTreeSet::new());
    tokio::join!(owned(&mut first, &mut firsts, |n| n == all / 2), owned(&mut second, &mut seconds, |n| n == all / 2));
    assert!(firsts.is_disjoint(&seconds), "{firsts:?} {seconds:?}");
    // Whoever leaves is not waited for.
    drop(second);
    owned(&mut first, &mut firsts, |n| n == all).await;
}

async fn a_dead_reader_gives_nothing(adapter: &dyn LogAdapter) {
    let (one, two) = (adapter.open().await, adapter.open().await);
    publish(&*one, (0..200u32).map(|n| outgoing(id(), n.to_be_bytes().to_vec())).collect()).await;
    let mut first = one.join("g", &[TOPIC]).await.unwrap();
    let mut places = BTreeSet::new();
    owned(&mut first, &mut places, |n| n == usize::from(PARTITIONS)).await;
    let mut readers = HashMap::new();
    for at in places.clone() {
        readers.insert(at, first.read_from(at, 0).await.unwrap());
    }
    let mut second = two.join("g", &[TOPIC]).await.unwrap();
    let before = places.clone();
    let mut others = BTreeSet::new();
    tokio::join!(owned(&mut first, &mut places, |n| n == usize::from(PARTITIONS) / 2), owned(&mut second, &mut others, |n| n > 0));
    for at in before {
        let reader = readers.get_mut(&at).unwrap();
        if places.contains(&at) {
            assert!(!reader.read(1).await.unwrap().is_empty());
        } else {
            let refused = reader.read(1).await.err();
            assert!(matches!(refused, Some(LogError::MembershipLost)), "{refused:?}");
            let refused = first.read_from(at, 0).await.err();
            assert!(matches!(refused, Some(LogError::MembershipLost)), "{refused:?}");
        }
    }
}
