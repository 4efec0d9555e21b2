//! How a process reaches Kafka, and the settings of the client that correctness rests on.

use hearthline_contracts::topics;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a process must know of its Kafka.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// `host:port,host:port`.
    pub brokers: String,
    /// Put before the catalogue's topic names on the wire, e.g. `north.`.
    pub topic_prefix: String,
    /// Put before the names of consumer groups.
    pub group_prefix: String,
    /// Whose client this is, e.g. `call-intake`: its group is also that of reads that join none.
    pub service: String,
    /// Tells this process from other replicas; the client's id.
    pub instance: String,
    pub security: Security,
    /// The id the cluster must have.
    pub cluster_id: Option<String>,
    /// Settings passed on to librdkafka; [`FIXED`] ones are refused.
    pub client: BTreeMap<String, String>,
    /// After so long without a single delivery a write is given up.
    pub stall: Duration,
    /// The longest wait for one answer of a broker.
    pub answer: Duration,
}

impl KafkaOptions {
    /// Plain text, no prefixes: a broker on this machine.
    pub fn new(brokers: impl Into<String>, service: impl Into<String>) -> Self {
        let service = service.into();
        KafkaOptions {
            brokers: brokers.into(),
            topic_prefix: String::new(),
            group_prefix: String::new(),
            instance: service.clone(),
            service,
            security: Security::Plaintext,
            cluster_id: None,
            client: BTreeMap::new(),
            stall: Duration::from_secs(30),
            answer: Duration::from_secs(10),
        }
    }

    /// A catalogue topic's name on the wire.
    pub fn wire_topic(&self, topic: &str) -> String {
        format!("{}{topic}", self.topic_prefix)
    }

    /// A consumer group's name on the wire.
    pub fn wire_group(&self, group: &str) -> String {
        format!("{}{group}", self.group_prefix)
    }

    /// The catalogue's name of a topic on the wire.
    pub(crate) fn catalogue_topic(&self, wire: &str) -> Option<&'static str> {
        topics::by_name(wire.strip_prefix(self.topic_prefix.as_str())?).map(|t| t.name)
    }
}

#[derive(Debug, Clone)]
pub enum Security {
    Plaintext,
    Tls(Tls),
    SaslPlaintext(Sasl),
    SaslTls(Sasl, Tls),
}

/// Trust and, where the brokers ask for it, a certificate of our own; PEM files.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Default: the system's authorities.
    pub ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub key_password: Option<SecretString>,
}

#[derive(Debug, Clone)]
pub enum Sasl {
    Plain {
        username: String,
        password: SecretString,
    },
    ScramSha256 {
        username: String,
        password: SecretString,
    },
    ScramSha512 {
        username: String,
        password: SecretString,
    },
    /// A token that an agent beside this process keeps fresh in a file.
    OauthBearer {
        token_file: PathBuf,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    #[error("kafka.brokers is empty: give host:port of at least one broker")]
    NoBrokers,
    #[error("kafka.client may not set {name}: {why}")]
    Fixed { name: String, why: &'static str },
    #[error("TlsNotBuilt: {what} needs OpenSSL, and this program was built without it; build with `--features kafka-tls`, or take the image, which has it")]
    TlsNotBuilt { what: &'static str },
    #[error("kafka.client {name} is refused: {why}")]
    Setting { name: String, why: String },
    #[error("{what} {file} cannot be read: {why}", file = file.display())]
    File { what: &'static str, file: PathBuf, why: String },
    #[error("kafka.topic_prefix {0:?} has characters other than letters, digits, '.', '_' and '-'")]
    Prefix(String),
    #[error("the client could not be made: {0}")]
    Client(String),
}

const OURS: &str = "the order and the safety of events rest on the value that is set in code";
const SECTION: &str = "it has a key of its own in the section [kafka]";

/// Settings that `client` may not change, and why.
pub const FIXED: &[(&str, &str)] = &[
    ("acks", OURS),
    ("allow.auto.create.topics", "a topic made on the way would have the wrong number of partitions"),
    ("auto.commit.enable", OURS),
    ("auto.offset.reset", OURS),
    ("bootstrap.servers", SECTION),
    ("check.crcs", OURS),
    ("client.id", SECTION),
    ("delivery.timeout.ms", OURS),
    ("enable.auto.commit", OURS),
    ("enable.auto.offset.store", OURS),
    ("enable.gapless.guarantee", OURS),
    ("enable.idempotence", OURS),
    ("enable.partition.eof", OURS),
    ("enable.sasl.oauthbearer.unsecure.jwt", SECTION),
    ("group.id", SECTION),
    ("group.instance.id", "a replica that returns must not take another's partitions without their knowing"),
    ("group.protocol", OURS),
    ("isolation.level", OURS),
    ("log.queue", OURS),
    ("max.in.flight", OURS),
    ("max.in.flight.requests.per.connection", OURS),
    ("message.send.max.retries", OURS),
    ("message.timeout.ms", OURS),
    ("metadata.broker.list", SECTION),
    ("partition.assignment.strategy", OURS),
    ("partitioner", OURS),
    ("plugin.library.paths", "code is not loaded by configuration"),
    ("request.required.acks", OURS),
    ("retries", OURS),
    ("sasl.mechanism", SECTION),
    ("sasl.mechanisms", SECTION),
    ("sasl.oauthbearer.client.secret", "secrets do not belong here"),
    ("sasl.password", SECTION),
    ("sasl.username", SECTION),
    ("security.protocol", SECTION),
    ("ssl.ca.location", SECTION),
    ("ssl.certificate.location", SECTION),
    ("ssl.key.location", SECTION),
    ("ssl.key.password", SECTION),
    ("ssl.key.pem", "secrets do not belong here"),
    ("ssl.keystore.password", "secrets do not belong here"),
    ("transactional.id", OURS),
];

impl KafkaOptions {
    /// Says what is wrong with the options without asking a broker.
    pub fn check(&self) -> Result<(), OptionsError> {
        for config in [self.producer()?, self.member("check")?, self.reader()?] {
            config.create_native_config().map_err(|e| self.refused(e))?;
        }
        Ok(())
    }

    /// One writes: every record at most once and in order per producer, acknowledged by all replicas in sync, tried for ever.
    pub(crate) fn producer(&self) -> Result<ClientConfig, OptionsError> {
        self.client_config(&[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("message.timeout.ms", "0"),
            ("partitioner", topics::PARTITIONER),
            ("compression.type", "lz4"),
            ("linger.ms", "1"),
            // A batch stays below what a topic takes.
            ("batch.size", "262144"),
            ("message.max.bytes", MESSAGE_BYTES_MAX),
            ("queue.buffering.max.kbytes", "65536"),
            ("queue.buffering.max.messages", "50000"),
        ])
    }

    /// One reads as member of a group.
    pub(crate) fn member(&self, group: &str) -> Result<ClientConfig, OptionsError> {
        let mut config = self.client_config(&[
            ("session.timeout.ms", "15000"),
            ("heartbeat.interval.ms", "3000"),
            // A partition that is added waits for the fetch under way, so that one must not sleep long.
            ("fetch.wait.max.ms", "50"),
            ("queued.max.messages.kbytes", "16384"),
            ("queued.min.messages", "20000"),
        ])?;
        consuming(&mut config)
            .set("group.id", self.wire_group(group))
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("group.protocol", "classic");
        Ok(config)
    }

    /// One reads by assignment alone. librdkafka assigns under a group's name only; nothing is joined or committed.
    pub(crate) fn reader(&self) -> Result<ClientConfig, OptionsError> {
        let mut config = self.client_config(&[("fetch.wait.max.ms", "5"), ("queued.max.messages.kbytes", "16384"), ("queued.min.messages", "2000")])?;
        consuming(&mut config).set("group.id", self.wire_group(&self.service)).set("enable.partition.eof", "true");
        Ok(config)
    }

    pub(crate) fn admin(&self) -> Result<ClientConfig, OptionsError> {
        self.client_config(&[])
    }

    /// What `client` says goes over `defaults`; what [`FIXED`] names is never in `client`.
    fn client_config(&self, defaults: &[(&str, &str)]) -> Result<ClientConfig, OptionsError> {
        if self.brokers.trim().is_empty() {
            return Err(OptionsError::NoBrokers);
        }
        for prefix in [&self.topic_prefix, &self.group_prefix] {
            if !prefix.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
                return Err(OptionsError::Prefix(prefix.clone()));
            }
        }
        let mut config = ClientConfig::new();
        config
            .set_log_level(RDKafkaLogLevel::Info)
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.instance)
            // A broker that closes an idle connection is no news.
            .set("log.connection.close", "false")
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("reconnect.backoff.max.ms", "2000")
            .set("broker.address.ttl", "5000")
            .set("socket.nagle.disable", "true");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.client {
            let name = name.to_ascii_lowercase();
            if let Some((_, why)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
                return Err(OptionsError::Fixed { name, why });
            }
            config.set(name, value);
        }
        self.secure(&mut config)?;
        Ok(config)
    }

    fn secure(&self, config: &mut ClientConfig) -> Result<(), OptionsError> {
        let (protocol, sasl, tls) = match &self.security {
            Security::Plaintext => ("plaintext", None, None),
            Security::Tls(tls) => ("ssl", None, Some(tls)),
            Security::SaslPlaintext(sasl) => ("sasl_plaintext", Some(sasl), None),
            Security::SaslTls(sasl, tls) => ("sasl_ssl", Some(sasl), Some(tls)),
        };
        if let Some(tls) = tls {
            built_with_tls("kafka.security with TLS")?;
            if let Some(file) = &tls.ca_file {
                config.set("ssl.ca.location", readable("kafka.ca_file", file)?);
            }
            if let Some(file) = &tls.certificate_file {
                config.set("ssl.certificate.location", readable("kafka.certificate_file", file)?);
            }
            if let Some(file) = &tls.key_file {
                config.set("ssl.key.location", readable("kafka.key_file", file)?);
            }
            if let Some(password) = &tls.key_password {
                config.set("ssl.key.password", password.expose_secret());
            }
        }
        if let Some(sasl) = sasl {
            let (mechanism, credentials) = match sasl {
                Sasl::Plain { username, password } => ("PLAIN", Some((username, password))),
                Sasl::ScramSha256 { username, password } => ("SCRAM-SHA-256", Some((username, password))),
                Sasl::ScramSha512 { username, password } => ("SCRAM-SHA-512", Some((username, password))),
                Sasl::OauthBearer { token_file } => {
                    readable("kafka.token_file", token_file)?;
                    ("OAUTHBEARER", None)
                }
            };
            if mechanism != "PLAIN" {
                // Its hashing is OpenSSL's, with or without TLS around it.
                built_with_tls(mechanism)?;
            }
            config.set("sasl.mechanism", mechanism);
            if let Some((username, password)) = credentials {
                config.set("sasl.username", username).set("sasl.password", password.expose_secret());
            }
        }
        config.set("security.protocol", protocol);
        Ok(())
    }

    /// Never the value: it may be a secret.
    pub(crate) fn refused(&self, error: KafkaError) -> OptionsError {
        match error {
            KafkaError::ClientConfig(_, why, name, value) => {
                let why = if self.client.contains_key(&name) || value.is_empty() { why } else { "its value is refused".to_owned() };
                OptionsError::Setting { name, why }
            }
            other => OptionsError::Client(other.to_string()),
        }
    }

    pub(crate) fn token_file(&self) -> Option<&Path> {
        match &self.security {
            Security::SaslPlaintext(Sasl::OauthBearer { token_file }) | Security::SaslTls(Sasl::OauthBearer { token_file }, _) => Some(token_file),
            _ => None,
        }
    }
}

/// The largest record in bytes; a topic's `max.message.bytes`.
pub(crate) const MESSAGE_BYTES_MAX: &str = "1048576";

fn consuming(config: &mut ClientConfig) -> &mut ClientConfig {
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false")
        .set("check.crcs", "true")
}

fn built_with_tls(what: &'static str) -> Result<(), OptionsError> {
    if cfg!(feature = "tls") { Ok(()) } else { Err(OptionsError::TlsNotBuilt { what }) }
}

fn readable(what: &'static str, file: &Path) -> Result<String, OptionsError> {
    match std::fs::File::open(file) {
        Ok(_) => Ok(file.display().to_string()),
        Err(e) => Err(OptionsError::File { what, file: file.to_owned(), why: e.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> KafkaOptions {
        KafkaOptions::new("127.0.0.1:1", "call-intake")
    }

    #[test]
    fn the_settings_that_order_rests_on_cannot_be_changed() {
        for (name, _) in FIXED {
            let mut options = options();
            options.client.insert((*name).to_owned(), "1".to_owned());
            assert!(matches!(options.check(), Err(OptionsError::Fixed { name: refused, .. }) if refused == *name), "{name} is taken");
            options.client = BTreeMap::from([(name.to_ascii_uppercase(), "1".to_owned())]);
            assert!(options.check().is_err(), "{name} in capitals is taken");
        }
    }

    #[test]
    fn other_settings_are_passed_on_or_named() {
        let mut options = options();
        options.client.insert("session.timeout.ms".to_owned(), "9000".to_owned());
        options.check().unwrap();
        assert_eq!(options.member("g").unwrap().get("session.timeout.ms"), Some("9000"));
        for (name, value) in [("no.such.thing", "1"), ("linger.ms", "soon")] {
            options.client = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let refused = options.check().unwrap_err().to_string();
            assert!(refused.contains(name), "{refused}");
        }
    }

    #[test]
    fn names_on_the_wire_have_their_prefix() {
        let options = KafkaOptions { topic_prefix: "north.".to_owned(), group_prefix: "n-".to_owned(), ..options() };
        assert_eq!(options.wire_topic("hearthline.call.v1"), "north.hearthline.call.v1");
        assert_eq!(options.catalogue_topic("north.hearthline.call.v1"), Some("hearthline.call.v1"));
        assert_eq!(options.catalogue_topic("hearthline.call.v1"), None);
        assert_eq!(options.member("kpi-projection").unwrap().get("group.id"), Some("n-kpi-projection"));
        let wrong = KafkaOptions { topic_prefix: "north/".to_owned(), ..options };
        assert_eq!(wrong.check(), Err(OptionsError::Prefix("north/".to_owned())));
    }

    #[test]
    fn what_is_not_built_in_is_refused_by_name() {
        let secret = || SecretString::from("correct horse".to_owned());
        let scram = Sasl::ScramSha512 { username: "call".to_owned(), password: secret() };
        for security in [Security::Tls(Tls::default()), Security::SaslPlaintext(scram.clone()), Security::SaslTls(scram, Tls::default())] {
            let checked = KafkaOptions { security, ..options() }.check();
            if cfg!(feature = "tls") {
                checked.unwrap();
            } else {
                assert!(matches!(checked, Err(OptionsError::TlsNotBuilt { .. })), "{checked:?}");
            }
        }
        let plain = Security::SaslPlaintext(Sasl::Plain { username: "call".to_owned(), password: secret() });
        let options = KafkaOptions { security: plain, ..options() };
        options.check().unwrap();
        assert!(!format!("{options:?}").contains("horse"));
    }
}
