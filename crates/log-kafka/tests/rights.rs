//! Each service may do what it must and nothing else, with the topics and rights that the plan's own commands make; and what is said of
//! wrong credentials. Needs a broker with SCRAM, TLS and access rules: `deploy/dev/up --secure`. Skipped like the tests of `broker.rs`.
#![cfg(feature = "tls")]

use bytes::Bytes;
use hearthline_contracts::partition::partition_of;
use hearthline_contracts::topics;
use hearthline_eventing::{Log, LogError, Membership, Outgoing};
use hearthline_log_kafka::{KafkaAdmin, KafkaLog, KafkaOptions, Replication, Sasl, Security, Tls, Verdict};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PATIENCE: Duration = Duration::from_secs(30);
const KEY: [u8; 16] = [7; 16];

fn server(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|v| !v.is_empty());
    if value.is_none() {
        let required = std::env::var("HEARTHLINE_REQUIRE").is_ok_and(|list| list.split(',').any(|one| one.trim() == "kafka"));
        assert!(!required, "kafka is required and {variable} is not set");
        eprintln!("skipped: {variable} is not set");
    }
    value
}

struct Secured {
    prefix: String,
    plain: String,
    sasl: String,
    tls: String,
    ca: String,
    passwords: String,
}

impl Secured {
    fn new() -> Option<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_nanos();
        Some(Secured {
            prefix: format!("r{since:x}-{}.", std::process::id()),
            plain: server("HEARTHLINE_TEST_KAFKA")?,
            sasl: server("HEARTHLINE_TEST_KAFKA_SASL")?,
            tls: server("HEARTHLINE_TEST_KAFKA_TLS")?,
            ca: server("HEARTHLINE_TEST_CA")?,
            passwords: server("HEARTHLINE_TEST_KAFKA_PASSWORDS")?,
        })
    }

    fn login(&self, service: &str) -> Sasl {
        let password = std::fs::read_to_string(Path::new(&self.passwords).join(service)).expect("each service has a password");
        Sasl::ScramSha512 { username: service.to_owned(), password: SecretString::from(password.trim().to_owned()) }
    }

    fn options(&self, brokers: &str, service: &str, security: Security) -> KafkaOptions {
        let prefix = self.prefix.clone();
        let answer = Duration::from_secs(15);
        KafkaOptions { topic_prefix: prefix.clone(), group_prefix: prefix, security, answer, stall: answer, ..KafkaOptions::new(brokers, service) }
    }

    fn of(&self, service: &str) -> KafkaOptions {
        self.options(&self.sasl, service, Security::SaslPlaintext(self.login(service)))
    }

    /// Runs those of the plan's commands that hold `what`, as they are printed.
    fn run(&self, what: &str) {
        let plan = KafkaAdmin::new(self.options(&self.plain, "", Security::Plaintext)).unwrap().plan(&BTreeMap::new(), Replication::of(1));
        let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/dev/kafka tool");
        let chosen: Vec<String> = plan.into_iter().filter(|c| c.contains(what)).collect();
        assert!(!chosen.is_empty(), "the plan has nothing of {what}");
        for command in chosen {
            let command = command.replace("kafka-topics.sh", &format!("{tool} TopicCommand")).replace("kafka-acls.sh", &format!("{tool} AclCommand"));
            let ran = Command::new("sh").args(["-c", &command]).output().expect("a shell runs");
            assert!(ran.status.success(), "{command}\n{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        }
    }
}

fn outgoing(n: u8) -> Vec<Outgoing> {
    vec![Outgoing { key: KEY, headers: vec![], payload: Bytes::from(vec![n]) }]
}

fn refused<T>(answer: Result<T, LogError>, words: &str) {
    match answer {
        Err(LogError::Misconfigured(why)) => assert!(why.contains(words), "{why}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{words}: it was allowed"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_may_do_what_it_must_and_nothing_else() {
    let Some(secured) = Secured::new() else { return };
    secured.run("kafka-topics.sh");
    let own = topics::flow_of("call-intake").unwrap();
    let seen = KafkaAdmin::new(secured.of(own.service)).unwrap().verify(Replication::of(1)).await;
    assert!(seen.iter().any(|f| f.what == own.writes.name && f.verdict == Verdict::Wrong && f.seen.contains("no right to see")), "{seen:#?}");
    refused(KafkaLog::open(secured.of(own.service)).unwrap().publish(own.writes.name, outgoing(0)).await, "no right to this topic");
    for service in ["call-intake", "kpi-projection"] {
        secured.run(&format!("User:{service} "));
    }

    for service in ["call-intake", "kpi-projection"] {
        let flow = topics::flow_of(service).unwrap();
        let seen = KafkaAdmin::new(secured.of(service)).unwrap().verify(Replication::of(1)).await;
        assert!(seen.iter().all(|f| f.verdict != Verdict::Wrong), "{seen:#?}");
        let log = KafkaLog::open(secured.of(service)).unwrap();
        log.publish(flow.writes.name, outgoing(1)).await.unwrap();
        assert!(log.last(flow.writes.name, partition_of(&KEY)).await.unwrap().is_some(), "what was written is read back");
        for topic in flow.reads {
            log.read(topic.name, 0, 0, 1).await.unwrap();
        }
        for other in topics::ALL.iter().filter(|t| *t != flow.writes) {
            refused(log.publish(other.name, outgoing(9)).await, "no right to this topic");
        }
        for other in topics::ALL.iter().filter(|t| *t != flow.writes && !flow.reads.contains(t)) {
            refused(log.read(other.name, 0, 0, 1).await, "no right to this topic");
        }
        refused(KafkaAdmin::new(secured.of(service)).unwrap().apply(Replication::of(1)).await, "no right to make topics");
    }

    // The call just written is read in the group of kpi-projection, and in nobody else's.
    let log = KafkaLog::open(secured.of("kpi-projection")).unwrap();
    let elsewhere = KafkaLog::open(secured.of("kpi-projection")).unwrap();
    let mut stranger = elsewhere.join("directory", &[topics::CALL.name]).await.unwrap();
    let mut member = log.join("kpi-projection", &[topics::CALL.name]).await.unwrap();
    let Ok(Ok(Membership::Assigned(places))) = tokio::time::timeout(PATIENCE, member.next()).await else { panic!("nothing is assigned") };
    let at = (topics::CALL.name, partition_of(&KEY));
    assert!(places.contains(&at));
    let mut reader = member.read_from(at, 0).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, reader.read(1)).await.unwrap().unwrap()[0].payload[0], 1);
    let told = async {
        while !elsewhere.trouble().is_some_and(|t| t.contains("consumer group")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("who may not join the group is told");
    assert_eq!(log.trouble(), None);
    assert!(tokio::time::timeout(Duration::from_millis(500), stranger.next()).await.is_err(), "another's group is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_get_in_is_told_why() {
    let Some(secured) = Secured::new() else { return };
    let topic = topics::CALL.name;
    let wrong = Sasl::ScramSha512 { username: "call-intake".to_owned(), password: SecretString::from("guessed".to_owned()) };
    let options = secured.options(&secured.sasl, "call-intake", Security::SaslPlaintext(wrong));
    let log = KafkaLog::open(options.clone()).unwrap();
    refused(log.publish(topic, outgoing(0)).await, "refuses our credentials");
    assert!(log.trouble().is_some_and(|t| t.contains("credentials") && !t.contains("guessed")), "{:?}", log.trouble());
    let seen = KafkaAdmin::new(options).unwrap().verify(Replication::of(1)).await;
    assert!(seen.iter().any(|f| f.verdict == Verdict::Wrong && f.seen.contains("refuses our credentials")), "{seen:#?}");

    // Nobody has made the topic, but who is let in hears that.
    let tls = |ca: Option<&str>| Security::SaslTls(secured.login("admin"), Tls { ca_file: ca.map(Into::into), ..Tls::default() });
    let inside = KafkaLog::open(secured.options(&secured.tls, "call-intake", tls(Some(&secured.ca)))).unwrap();
    refused(inside.publish(topic, outgoing(0)).await, "does not exist");
    let untrusting = KafkaLog::open(secured.options(&secured.tls, "call-intake", tls(None))).unwrap();
    refused(untrusting.publish(topic, outgoing(0)).await, "TLS failed");
    let missing = KafkaLog::open(secured.options(&secured.tls, "call-intake", tls(Some("/no/such/ca.pem"))));
    assert!(missing.is_err_and(|e| e.to_string().contains("kafka.ca_file /no/such/ca.pem")));
}
