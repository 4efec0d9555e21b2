//! How fast the log is on a broker given by address: `cargo run --release -p hearthline-log-kafka --example speed -- 127.0.0.1:9092`.
//! Makes topics of its own prefix, which stay.

use bytes::Bytes;
use hearthline_contracts::topics;
use hearthline_eventing::{Log, Membership, Outgoing};
use hearthline_log_kafka::{KafkaAdmin, KafkaLog, KafkaOptions, Replication};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const TOPIC: &str = topics::CALL.name;
const BULK: usize = 200_000;

fn outgoing(n: u64) -> Outgoing {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let header = |name: &str| (name.to_owned(), Bytes::from_static(b"0190f3c2-a7b4-7c1d-9e5f-001122334455"));
    let headers = ["ce_id", "ce_type", "ce_source", "ce_time", "ce_subject", "traceparent"].map(header).to_vec();
    Outgoing { key, headers, payload: Bytes::from([n.to_be_bytes().as_slice(), &[7; 300]].concat()) }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let brokers = std::env::args().nth(1).expect("the address of a broker is given");
    let prefix = format!("speed{}.", SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_millis());
    let options = KafkaOptions { topic_prefix: prefix.clone(), group_prefix: prefix, ..KafkaOptions::new(brokers, "speed") };
    KafkaAdmin::new(options.clone()).expect("the options are right").apply(Replication::of(1)).await.expect("topics can be made");
    let log = KafkaLog::open(options).expect("the options are right");
    for page in [1, 50, 500, 2_000] {
        let records = if page == 1 { 2_000 } else { BULK };
        let begun = Instant::now();
        for n in (0..records).step_by(page) {
            log.publish(TOPIC, (n..n + page).map(|n| outgoing(n as u64)).collect()).await.expect("records are taken");
        }
        println!("publish, pages of {page:>5}: {:>8.0} records/s", records as f64 / begun.elapsed().as_secs_f64());
    }
    let mut member = log.join("bulk", &[TOPIC]).await.expect("the group is joined");
    let (done, mut counted) = tokio::sync::mpsc::unbounded_channel();
    let begun = Instant::now();
    let Membership::Assigned(places) = member.next().await.expect("the group goes on") else { panic!("nothing to read") };
    println!("join to assigned: {:?}", begun.elapsed());
    let begun = Instant::now();
    for at in places {
        let mut reader = member.read_from(at, 0).await.expect("the partition is readable");
        let done = done.clone();
        tokio::spawn(async move {
            while let Ok(records) = reader.read(2_000).await {
                if done.send(records.len()).is_err() {
                    return;
                }
            }
        });
    }
    println!("read_from of all partitions: {:?}", begun.elapsed());
    let (mut all, begun) = (0, Instant::now());
    while all < 3 * BULK {
        all += counted.recv().await.expect("readers live");
    }
    println!("read: {:.0} records/s", all as f64 / begun.elapsed().as_secs_f64());
    while tokio::time::timeout(Duration::from_secs(1), counted.recv()).await.is_ok() {}
    for (name, pause) in [("idle", 50u64), ("busy", 2)] {
        let (mut sent, mut seen) = (Vec::new(), Vec::new());
        for n in 0..400 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let begun = Instant::now();
            log.publish(TOPIC, vec![outgoing(n)]).await.expect("records are taken");
            sent.push(begun.elapsed());
            counted.recv().await.expect("readers live");
            seen.push(begun.elapsed());
        }
        sent.sort_unstable();
        seen.sort_unstable();
        println!("{name}: acknowledged p50 {:?} p99 {:?}; seen by a member p50 {:?} p99 {:?}", sent[200], sent[396], seen[200], seen[396]);
    }
    let begun = Instant::now();
    for partition in 0..12 {
        log.last(TOPIC, partition).await.expect("the partition is readable");
    }
    println!("last of 12 partitions: {:?}", begun.elapsed());
    drop(member);
    let begun = Instant::now();
    log.close(Duration::from_secs(10)).await;
    println!("close: {:?}", begun.elapsed());
}
