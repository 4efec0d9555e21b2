//! What only a real broker shows: settings of topics, trimming, transactions of others, rights. `HEARTHLINE_TEST_KAFKA` says where one
//! is; without it these tests are skipped, in print, or fail where `HEARTHLINE_REQUIRE` names kafka.

use bytes::Bytes;
use hearthline_contracts::partition::partition_of;
use hearthline_contracts::topics::{self, PARTITIONS};
use hearthline_eventing::{Log, LogError, Membership, Outgoing};
use hearthline_log_kafka::{Finding, KafkaAdmin, KafkaLog, KafkaOptions, Replication, Verdict};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const TOPIC: &str = topics::CALL.name;
const PATIENCE: Duration = Duration::from_secs(30);

fn server(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|v| !v.is_empty());
    if value.is_none() {
        let required = std::env::var("HEARTHLINE_REQUIRE").is_ok_and(|list| list.split(',').any(|one| one.trim() == "kafka"));
        assert!(!required, "kafka is required and {variable} is not set");
        eprintln!("skipped: {variable} is not set");
    }
    value
}

/// Topics of this test's own.
fn options() -> Option<KafkaOptions> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let brokers = server("HEARTHLINE_TEST_KAFKA")?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_nanos();
    let prefix = format!("b{since:x}-{}-{}.", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    Some(KafkaOptions { topic_prefix: prefix.clone(), group_prefix: prefix, ..KafkaOptions::new(brokers, "test") })
}

fn raw(options: &KafkaOptions) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &options.brokers).create().expect("a client is made")
}

async fn make(options: &KafkaOptions) -> KafkaLog {
    KafkaAdmin::new(options.clone()).unwrap().apply(Replication::of(1)).await.expect("topics are made");
    KafkaLog::open(options.clone()).expect("the options are right")
}

fn outgoing(key: [u8; 16], bytes: usize) -> Outgoing {
    // Does not compress.
    let mut state = 0x9e37_79b9_u32;
    let noise = (0..bytes).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    Outgoing { key, headers: vec![], payload: noise.collect::<Vec<u8>>().into() }
}

fn about<'a>(findings: &'a [Finding], what: &str) -> Vec<&'a Finding> {
    findings.iter().filter(|f| f.what.ends_with(what)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_topics_is_found_and_named() {
    let Some(options) = options() else { return };
    let admin = KafkaAdmin::new(options.clone()).unwrap();
    let wrong = [(topics::CALL, 12, "1000", "2592000000"), (topics::OUTCOME, 6, "1048576", "2592000000"), (topics::DIRECTORY, 12, "1048576", "60000")];
    for (topic, partitions, bytes, retention) in wrong {
        let name = options.wire_topic(topic.name);
        let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1))
            .set("max.message.bytes", bytes)
            .set("retention.ms", retention)
            .set("compression.type", "zstd");
        raw(&options).create_topics([&new], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    }
    let begun = Instant::now();
    let findings = loop {
        let findings = admin.verify(Replication::USUAL).await;
        // A topic just made is not at once known.
        if !wrong.iter().any(|(topic, ..)| about(&findings, topic.name).iter().any(|f| f.seen.contains("is missing"))) {
            break findings;
        }
        assert!(begun.elapsed() < PATIENCE, "{findings:#?}");
    };
    let say = |what: &str, words: &str| {
        let found = about(&findings, what);
        assert!(found.iter().any(|f| f.verdict != Verdict::Fine && f.seen.contains(words) && !f.remedy.is_empty()), "{words}: {findings:#?}");
    };
    say(TOPIC, "compression.type is zstd");
    say(TOPIC, "max.message.bytes is 1000");
    say(TOPIC, "1 replica(s), 3 are wanted");
    say(TOPIC, "min.insync.replicas is 1");
    say(topics::OUTCOME.name, "6 partitions instead of 12");
    say(topics::DIRECTORY.name, "retention.ms is 60000");
    say(topics::KPI.name, "is missing");
    assert_eq!(about(&findings, "broker version")[0].verdict, Verdict::Fine);

    let made = admin.apply(Replication::of(1)).await.unwrap();
    assert_eq!(made.len(), topics::ALL.len() - wrong.len(), "what is there is left alone");
    let elsewhere = KafkaAdmin::new(KafkaOptions { cluster_id: Some("another".to_owned()), ..options }).unwrap();
    assert_eq!(about(&elsewhere.verify(Replication::of(1)).await, "cluster")[0].verdict, Verdict::Wrong);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_too_large_for_its_topic_is_named_and_goes_through_once_that_is_mended() {
    let Some(options) = options() else { return };
    let log = make(&options).await;
    let name = options.wire_topic(TOPIC);
    let set = async |bytes: &str| {
        let alter = AlterConfig::new(ResourceSpecifier::Topic(&name)).set("max.message.bytes", bytes);
        raw(&options).alter_configs([&alter], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    };
    set("1000").await;
    let key = [7; 16];
    let begun = Instant::now();
    loop {
        let written = log.publish(TOPIC, vec![outgoing(key, 100), outgoing(key, 50_000), outgoing(key, 101)]).await;
        match written {
            Err(LogError::Misconfigured(why)) => break assert!(why.contains(&name) && why.contains("max.message.bytes"), "{why}"),
            other => assert!(begun.elapsed() < PATIENCE, "{other:?}"),
        }
    }
    set("1048576").await;
    while log.publish(TOPIC, vec![outgoing(key, 100), outgoing(key, 50_000), outgoing(key, 524_288)]).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "it does not recover");
    }
    // What came after the refused record was not written before it.
    let marks = log.watermarks(TOPIC, partition_of(&key)).await.unwrap();
    let sizes: Vec<usize> = log.read(TOPIC, partition_of(&key), marks.high - 3, 3).await.unwrap().iter().map(|r| r.payload.len()).collect();
    assert_eq!(sizes, [100, 50_000, 524_288]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_trimmed_is_named_and_the_ends_stay_known() {
    let Some(options) = options() else { return };
    let log = make(&options).await;
    let key = [7; 16];
    let partition = partition_of(&key);
    log.publish(TOPIC, (0..10).map(|n| outgoing(key, n)).collect()).await.unwrap();
    let trim = async |below: i64| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&options.wire_topic(TOPIC), i32::from(partition), Offset::Offset(below)).unwrap();
        raw(&options).delete_records(&list, &AdminOptions::new()).await.unwrap();
    };
    trim(4).await;
    let refused = log.read(TOPIC, partition, 3, 10).await.err();
    assert!(matches!(refused, Some(LogError::OutOfRange { offset: 3, low: 4, high: 10, .. })), "{refused:?}");
    assert_eq!(log.read(TOPIC, partition, 4, 10).await.unwrap().len(), 6);
    assert_eq!(log.last(TOPIC, partition).await.unwrap().unwrap().offset, 9);
    trim(10).await;
    assert!(log.last(TOPIC, partition).await.unwrap().is_none());
    let marks = log.watermarks(TOPIC, partition).await.unwrap();
    assert_eq!((marks.low, marks.high), (10, 10), "a trimmed topic is not a new one");
    assert_eq!(log.since(TOPIC, partition, 0).await.unwrap(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_record_is_found_behind_the_ends_of_transactions() {
    let Some(options) = options() else { return };
    let log = make(&options).await;
    let key = [7; 16];
    let partition = partition_of(&key);
    log.publish(TOPIC, vec![outgoing(key, 5)]).await.unwrap();
    let wire = options.wire_topic(TOPIC);
    let transact = move || {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &options.brokers).set("transactional.id", &options.topic_prefix).create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        // Of these only the ends of the transactions stay, one for each, and nothing of what was aborted is to be read.
        for n in 0..40u8 {
            producer.begin_transaction().unwrap();
            producer.send(BaseRecord::to(&wire).partition(i32::from(partition)).key(&key[..]).payload(&[n][..])).map_err(|(e, _)| e).unwrap();
            producer.flush(PATIENCE).unwrap();
            producer.abort_transaction(PATIENCE).unwrap();
        }
    };
    tokio::task::spawn_blocking(transact).await.unwrap();
    let begun = Instant::now();
    while log.watermarks(TOPIC, partition).await.unwrap().high < 81 {
        assert!(begun.elapsed() < PATIENCE, "the transactions end");
    }
    let last = log.last(TOPIC, partition).await.unwrap().unwrap();
    assert_eq!((last.offset, last.payload.len()), (0, 5));
    assert!(log.read(TOPIC, partition, 1, 100).await.unwrap().is_empty());
    log.publish(TOPIC, vec![outgoing(key, 6)]).await.unwrap();
    assert_eq!(log.last(TOPIC, partition).await.unwrap().unwrap().payload.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_waits_for_its_topics_gets_them_once_they_are_made() {
    let Some(options) = options() else { return };
    let log = KafkaLog::open(options.clone()).unwrap();
    let mut member = log.join("g", &[TOPIC]).await.unwrap();
    let begun = Instant::now();
    while !log.trouble().is_some_and(|t| t.contains(&options.wire_topic(TOPIC)) && t.contains("does not exist")) {
        assert!(tokio::time::timeout(Duration::from_millis(20), member.next()).await.is_err(), "there is nothing to assign");
        assert!(begun.elapsed() < PATIENCE, "{:?}", log.trouble());
    }
    make(&options).await;
    let change = tokio::time::timeout(PATIENCE, member.next()).await.expect("the group notices").unwrap();
    assert!(matches!(&change, Membership::Assigned(places) if places.len() == usize::from(PARTITIONS)), "{change:?}");
    assert_eq!(log.trouble(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_found_by_their_time() {
    let Some(options) = options() else { return };
    let log = make(&options).await;
    let key = [7; 16];
    let now_ms = || i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    log.publish(TOPIC, vec![outgoing(key, 1), outgoing(key, 2)]).await.unwrap();
    let written = now_ms();
    while now_ms() <= written + 1 {
        tokio::task::yield_now().await;
    }
    let between = now_ms();
    log.publish(TOPIC, vec![outgoing(key, 3)]).await.unwrap();
    for (since, expected) in [(0, 0), (between, 2), (now_ms() + 60_000, 3)] {
        assert_eq!(log.since(TOPIC, partition_of(&key), since).await.unwrap(), expected);
    }
    for partition in (0..PARTITIONS).filter(|p| *p != partition_of(&key)) {
        assert_eq!(log.since(TOPIC, partition, 0).await.unwrap(), 0);
    }
    assert_eq!(
        log.read(TOPIC, partition_of(&key), 0, 2).await.unwrap().iter().map(|r| r.key.clone()).collect::<Vec<_>>(),
        vec![Bytes::copy_from_slice(&key); 2]
    );
}
