//! What can be shown without a broker: librdkafka's own mock cluster, which loses connections and gives errors on request.

use bytes::Bytes;
use hearthline_contracts::partition::partition_of;
use hearthline_contracts::topics::{self, PARTITIONS};
use hearthline_eventing::{Log, LogError, LogRecord, Member, Membership, Outgoing, PartitionReader, TopicPartition};
use hearthline_log_kafka::{KafkaLog, KafkaOptions};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TOPIC: &str = topics::CALL.name;
const PATIENCE: Duration = Duration::from_secs(30);

struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
}

impl Cluster {
    fn new() -> Self {
        Self::with_partitions(i32::from(PARTITIONS))
    }

    fn with_partitions(partitions: i32) -> Self {
        let mock = MockCluster::new(1).expect("a mock cluster starts");
        mock.create_topic(TOPIC, partitions, 1).expect("a mock topic is made");
        Cluster { mock }
    }

    fn options(&self) -> KafkaOptions {
        let mut options = KafkaOptions::new(self.mock.bootstrap_servers(), "test");
        options.stall = Duration::from_secs(2);
        options.answer = Duration::from_secs(2);
        for (name, value) in [
            // A page goes out as one request per partition: the mock does not refuse a request that overtakes a failed one.
            ("linger.ms", "20"),
            // The mock's room is measured in bytes.
            ("compression.type", "none"),
            ("heartbeat.interval.ms", "100"),
            ("session.timeout.ms", "3000"),
            ("reconnect.backoff.ms", "10"),
            ("reconnect.backoff.max.ms", "100"),
            ("retry.backoff.ms", "10"),
        ] {
            options.client.insert(name.to_owned(), value.to_owned());
        }
        options
    }

    fn log(&self) -> KafkaLog {
        KafkaLog::open(self.options()).expect("the options are right")
    }
}

fn outgoing(key: [u8; 16], n: u32, bytes: usize) -> Outgoing {
    let headers = vec![("ce_type".to_owned(), Bytes::from_static(b"x")), ("empty".to_owned(), Bytes::new())];
    Outgoing { key, headers, payload: Bytes::from([n.to_be_bytes().as_slice(), &vec![0; bytes]].concat()) }
}

fn number(record: &LogRecord) -> u32 {
    u32::from_be_bytes(record.payload[..4].try_into().expect("four bytes are there"))
}

/// As the relay does: again from the start of the page, until it is said to be written. Gives how often it failed.
async fn publish(log: &KafkaLog, records: &[Outgoing]) -> usize {
    let (mut failed, begun) = (0, Instant::now());
    while let Err(error) = log.publish(TOPIC, records.to_vec()).await {
        failed += 1;
        assert!(begun.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    failed
}

async fn all(log: &KafkaLog, partition: u16) -> Vec<LogRecord> {
    let begun = Instant::now();
    loop {
        let read = async {
            let marks = log.watermarks(TOPIC, partition).await?;
            let mut records = Vec::new();
            while (records.len() as i64) < marks.high {
                records.extend(log.read(TOPIC, partition, records.len() as i64, 500).await?);
            }
            Ok::<_, LogError>(records)
        };
        match read.await {
            Ok(records) => return records,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
    }
}

async fn assigned(member: &mut dyn Member) -> BTreeSet<TopicPartition> {
    let wait = async {
        loop {
            if let Membership::Assigned(places) = member.next().await.expect("the group goes on") {
                return places.into_iter().collect();
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("partitions are assigned")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_keeps_its_order_when_requests_fail_and_brokers_go() {
    let cluster = Cluster::new();
    let mut options = cluster.options();
    // Long enough for a page to be handed over, also by a busy machine.
    options.client.insert("linger.ms".to_owned(), "200".to_owned());
    let log = KafkaLog::open(options).expect("the options are right");
    let keys: Vec<[u8; 16]> = (1..=5).map(|n| [n; 16]).collect();
    let mut failed = 0;
    for page in 0..30u32 {
        use RDKafkaRespErr::{
            RD_KAFKA_RESP_ERR__TRANSPORT as GONE, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as TOO_LARGE, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as FEW,
        };
        match page % 6 {
            1 => cluster.mock.request_errors(RDKafkaApiKey::Produce, &[GONE, GONE]),
            2 => cluster.mock.request_errors(RDKafkaApiKey::Produce, &[TOO_LARGE]),
            3 => cluster.mock.request_errors(RDKafkaApiKey::Produce, &[FEW, FEW]),
            _ => {}
        }
        let records: Vec<Outgoing> = (0..20u32).flat_map(|n| keys.iter().map(move |k| outgoing(*k, page * 20 + n, 50))).collect();
        if page % 6 == 4 {
            let (_, times) = tokio::join!(
                async {
                    tokio::time::sleep(Duration::from_millis(202)).await;
                    cluster.mock.broker_down(-1).unwrap();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    cluster.mock.broker_up(-1).unwrap();
                },
                publish(&log, &records)
            );
            failed += times;
        } else {
            failed += publish(&log, &records).await;
        }
    }
    assert!(failed >= 5, "a refused record is told");
    let mut last: HashMap<Bytes, u32> = HashMap::new();
    for partition in keys.iter().map(|k| partition_of(k)).collect::<BTreeSet<_>>() {
        for record in all(&log, partition).await {
            let next = last.entry(record.key.clone()).or_default();
            assert!(number(&record) <= *next, "{} came before {next}", number(&record));
            *next = (*next).max(number(&record) + 1);
            assert_eq!(record.partition, partition_of(&record.key));
            assert_eq!(record.headers, outgoing([0; 16], 0, 0).headers);
        }
    }
    assert_eq!(last.len(), keys.len());
    assert!(last.values().all(|n| *n == 600), "{last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_is_told_and_waited_for_without_a_restart() {
    let cluster = Cluster::new();
    let log = cluster.log();
    cluster.mock.broker_down(-1).unwrap();
    for _ in 0..2 {
        let begun = Instant::now();
        let error = log.publish(TOPIC, vec![outgoing([1; 16], 0, 0)]).await.unwrap_err();
        assert!(matches!(&error, LogError::Unavailable(_)), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10), "it must not hang");
    }
    assert!(log.trouble().is_some_and(|t| t.contains("no broker can be reached")), "{:?}", log.trouble());
    assert!(log.watermarks(TOPIC, 0).await.is_err());
    cluster.mock.broker_up(-1).unwrap();
    publish(&log, &[outgoing([1; 16], 0, 0)]).await;
    assert_eq!(log.trouble(), None);
    // Away in the middle: the write is given up, and begins anew.
    cluster.mock.broker_down(-1).unwrap();
    let error = log.publish(TOPIC, vec![outgoing([1; 16], 1, 0)]).await.unwrap_err();
    assert!(matches!(&error, LogError::Unavailable(why) if why.contains("none was acknowledged")), "{error}");
    cluster.mock.broker_up(-1).unwrap();
    publish(&log, &[outgoing([1; 16], 1, 0)]).await;
    assert_eq!(number(&log.last(TOPIC, partition_of(&[1; 16])).await.unwrap().unwrap()), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_up_wrongly_is_named_and_works_once_it_is_mended() {
    let cluster = Cluster::new();
    let errors = [
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "does not exist"),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "no right to this topic"),
    ];
    for (error, words) in errors {
        let log = cluster.log();
        cluster.mock.topic_error(TOPIC, error).unwrap();
        for refused in [log.publish(TOPIC, vec![outgoing([1; 16], 0, 0)]).await.err(), log.watermarks(TOPIC, 0).await.err()] {
            assert!(matches!(&refused, Some(LogError::Misconfigured(why)) if why.contains(TOPIC) && why.contains(words)), "{refused:?}");
        }
        cluster.mock.topic_error(TOPIC, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
        publish(&log, &[outgoing([1; 16], 0, 0)]).await;
    }
    let log = cluster.log();
    cluster.mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let refused = log.publish(TOPIC, vec![outgoing([1; 16], 1, 996)]).await.err();
    assert!(matches!(&refused, Some(LogError::Misconfigured(why)) if why.contains("1000 bytes") && why.contains("max.message.bytes")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_other_partitions_is_refused() {
    let cluster = Cluster::with_partitions(6);
    let log = cluster.log();
    for refused in [log.publish(TOPIC, vec![outgoing([1; 16], 0, 0)]).await.err(), log.read(TOPIC, 0, 0, 1).await.err()] {
        assert!(matches!(&refused, Some(LogError::Misconfigured(why)) if why.contains("6 partitions")), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrong_cluster_is_refused() {
    let cluster = Cluster::new();
    let log = KafkaLog::open(KafkaOptions { cluster_id: Some("another".to_owned()), ..cluster.options() }).unwrap();
    let refused = log.publish(TOPIC, vec![outgoing([1; 16], 0, 0)]).await.err();
    assert!(matches!(&refused, Some(LogError::Misconfigured(why)) if why.contains("another") && why.contains("kafka.cluster_id")), "{refused:?}");
}

/// A replica as the kernel has them: reads from the shared checkpoints and moves them by compare-and-set.
async fn replica(log: KafkaLog, checkpoints: Arc<Mutex<BTreeMap<TopicPartition, i64>>>, taken: Arc<AtomicUsize>, stop: tokio_util::sync::CancellationToken) {
    let mut member = log.join("g", &[TOPIC]).await.expect("the group is joined");
    let mut tasks: HashMap<TopicPartition, tokio::task::JoinHandle<()>> = HashMap::new();
    loop {
        let change = tokio::select! {
            change = member.next() => change.expect("the group goes on"),
            () = stop.cancelled() => break,
        };
        match change {
            Membership::Assigned(places) => {
                for at in places {
                    let from = *checkpoints.lock().unwrap().entry(at).or_default();
                    let mut reader = match member.read_from(at, from).await {
                        Ok(reader) => reader,
                        Err(LogError::MembershipLost) => continue,
                        Err(error) => panic!("{error}"),
                    };
                    let (checkpoints, taken) = (checkpoints.clone(), taken.clone());
                    tasks.insert(
                        at,
                        tokio::spawn(async move {
                            let mut next = from;
                            while let Ok(records) = reader.read(7).await {
                                assert_eq!(records[0].offset, next, "a record is left out or repeated");
                                let mut checkpoints = checkpoints.lock().unwrap();
                                let stands = checkpoints.get_mut(&at).expect("it was taken over");
                                // Fenced: another owner has gone on.
                                if *stands != next {
                                    return;
                                }
                                next = records.last().expect("there is at least one").offset + 1;
                                *stands = next;
                                taken.fetch_add(records.len(), Ordering::Relaxed);
                            }
                        }),
                    );
                }
            }
            Membership::Revoked(places) => {
                for at in places {
                    if let Some(task) = tasks.remove(&at) {
                        tokio::time::timeout(PATIENCE, task).await.expect("a revoked reader is dead").expect("its task is well");
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_is_taken_once_while_members_come_and_go() {
    let cluster = Cluster::new();
    let log = cluster.log();
    let checkpoints = Arc::new(Mutex::new(BTreeMap::new()));
    let tokens: Vec<tokio_util::sync::CancellationToken> = (0..3).map(|_| tokio_util::sync::CancellationToken::new()).collect();
    let mut replicas = Vec::new();
    let mut published = 0u32;
    let mut page = || {
        let records: Vec<Outgoing> =
            (0..60).map(|n| outgoing((published + n).wrapping_mul(0x9e37_79b9).to_be_bytes().repeat(4).try_into().unwrap(), published + n, 10)).collect();
        published += 60;
        records
    };
    let taken: Vec<Arc<AtomicUsize>> = (0..3).map(|_| Arc::default()).collect();
    for (token, taken) in tokens.iter().zip(&taken) {
        replicas.push(tokio::spawn(replica(cluster.log(), checkpoints.clone(), taken.clone(), token.clone())));
        // Until it has its part, while records flow.
        let begun = Instant::now();
        while taken.load(Ordering::Relaxed) == 0 {
            assert!(begun.elapsed() < PATIENCE, "it was given nothing");
            publish(&log, &page()).await;
        }
    }
    tokens[0].cancel();
    for _ in 0..15 {
        publish(&log, &page()).await;
    }
    let begun = Instant::now();
    let sum = || checkpoints.lock().unwrap().values().sum::<i64>();
    while sum() < i64::from(published) {
        assert!(begun.elapsed() < PATIENCE, "{} of {published} were taken", sum());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokens.iter().for_each(tokio_util::sync::CancellationToken::cancel);
    for replica in replicas {
        replica.await.expect("a replica ends well");
    }
    let taken: Vec<usize> = taken.iter().map(|taken| taken.load(Ordering::Relaxed)).collect();
    assert_eq!(taken.iter().sum::<usize>(), published as usize, "{taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_place_says_so_and_comes_back() {
    let cluster = Cluster::new();
    let log = cluster.log();
    let mut member = log.join("g", &[TOPIC]).await.unwrap();
    let places = assigned(&mut *member).await;
    assert_eq!(places.len(), usize::from(PARTITIONS));
    let at = (TOPIC, partition_of(&[1; 16]));
    let mut reader = member.read_from(at, 0).await.unwrap();
    publish(&log, &[outgoing([1; 16], 0, 0)]).await;
    assert_eq!(reader.read(10).await.unwrap().len(), 1);
    cluster.mock.request_errors(RDKafkaApiKey::Heartbeat, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]);
    let change = tokio::time::timeout(PATIENCE, member.next()).await.unwrap().unwrap();
    assert!(matches!(&change, Membership::Revoked(gone) if gone.len() == places.len()), "{change:?}");
    assert!(matches!(reader.read(10).await, Err(LogError::MembershipLost)));
    assert_eq!(assigned(&mut *member).await, places);
    let mut reader = member.read_from(at, 1).await.unwrap();
    publish(&log, &[outgoing([1; 16], 1, 0)]).await;
    assert_eq!(number(&reader.read(10).await.unwrap()[0]), 1);
}

async fn read_on(reader: &mut dyn PartitionReader, next: &mut i64) -> Result<usize, LogError> {
    let records = tokio::time::timeout(PATIENCE, reader.read(usize::MAX)).await.expect("records come")?;
    for record in &records {
        assert_eq!(record.offset, *next, "a record is left out or repeated");
        *next += 1;
    }
    Ok(records.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_back_its_partition_alone() {
    const RECORDS: u32 = 30_000;
    let cluster = Cluster::new();
    let log = cluster.log();
    let (slow, quick) = ([1; 16], [2; 16]);
    assert_ne!(partition_of(&slow), partition_of(&quick));
    for n in (0..RECORDS).step_by(2_000) {
        publish(&log, &(n..n + 2_000).map(|n| outgoing(slow, n, 60)).collect::<Vec<_>>()).await;
    }
    let mut member = log.join("g", &[TOPIC]).await.unwrap();
    assigned(&mut *member).await;
    let mut slow_reader = member.read_from((TOPIC, partition_of(&slow)), 0).await.unwrap();
    let mut quick_reader = member.read_from((TOPIC, partition_of(&quick)), 0).await.unwrap();
    let (mut next, mut others) = (0, 0);
    // Long after the slow one is full, the other goes on.
    for n in 0..20 {
        publish(&log, &[outgoing(quick, n, 0)]).await;
        assert_eq!(read_on(&mut *quick_reader, &mut others).await.unwrap(), 1);
    }
    let mut most = 0;
    while next < i64::from(RECORDS) {
        most = most.max(read_on(&mut *slow_reader, &mut next).await.unwrap());
    }
    assert!(most <= 10_000, "{most} records lay in memory at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_outside_the_log_is_named_at_the_start_and_on_the_way() {
    let cluster = Cluster::new();
    let log = cluster.log();
    let key = [1; 16];
    let at = (TOPIC, partition_of(&key));
    let mut member = log.join("g", &[TOPIC]).await.unwrap();
    assigned(&mut *member).await;
    // A partition that reads on well beside it must not be blamed.
    let mut other = member.read_from((TOPIC, partition_of(&[2; 16])), 0).await.unwrap();
    let mut reader = member.read_from(at, 0).await.unwrap();
    // More than the mock keeps and a lane holds: the beginning is trimmed while the reader sleeps.
    for n in 0..160u32 {
        publish(&log, &[outgoing(key, n, 100_000)]).await;
    }
    let marks = log.watermarks(TOPIC, at.1).await.unwrap();
    assert!(marks.low > 0, "{marks:?}");
    let refused = member.read_from(at, 0).await.err();
    assert!(matches!(refused, Some(LogError::OutOfRange { offset: 0, low, high: 160, .. }) if low == marks.low), "{refused:?}");
    let mut next = 0;
    let ended = loop {
        match read_on(&mut *reader, &mut next).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(
        matches!(ended, LogError::OutOfRange { topic: TOPIC, partition, offset, low, high: 160 } if partition == at.1 && offset == next && offset < low),
        "{ended}"
    );
    publish(&log, &[outgoing([2; 16], 0, 0)]).await;
    assert_eq!(read_on(&mut *other, &mut 0).await.unwrap(), 1);
    // The last record is found whatever lies before it.
    assert_eq!(log.last(TOPIC, at.1).await.unwrap().unwrap().offset, 159);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_dropped_leaves_nothing_behind() {
    let cluster = Cluster::new();
    let log = cluster.log();
    let member = log.join("g", &[TOPIC]).await.unwrap();
    // To leave a group a broker is asked, who is not there.
    cluster.mock.broker_down(-1).unwrap();
    let begun = Instant::now();
    drop(member);
    assert!(begun.elapsed() < Duration::from_secs(2), "dropping a member must not block");
    cluster.mock.broker_up(-1).unwrap();
    log.close(2 * PATIENCE).await;
    assert!(begun.elapsed() < PATIENCE, "its thread ends");
}
