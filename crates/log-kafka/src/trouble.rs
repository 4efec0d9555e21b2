//! What librdkafka complains of, in words that say what to do, and its lines in our log.

use crate::oauth;
use hearthline_eventing::LogError;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, producer};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A trouble that goes on is told again after this long.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Which kind of client has a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whose {
    Writer,
    Reader,
    Member,
}

/// The newest trouble of each kind of client of one process, until it is over.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    newest: Mutex<BTreeMap<Whose, Trouble>>,
    /// When each kind of trouble was told last, by code.
    told: Mutex<BTreeMap<i32, Instant>>,
}

#[derive(Debug)]
struct Trouble {
    code: RDKafkaErrorCode,
    reason: String,
    at: Instant,
}

impl Trouble {
    fn error(&self, about: &str) -> LogError {
        error_of(self.code, about)
    }

    /// A trouble with a connection comes again while it lasts; other troubles are told once.
    fn lasts(&self) -> bool {
        self.at.elapsed() < TOLD_AGAIN || !of_connection(self.code)
    }
}

impl Troubles {
    pub(crate) fn note(&self, whose: Whose, code: RDKafkaErrorCode, reason: &str) {
        let mut newest = lock(&self.newest);
        // Comes beside a more telling one.
        if code == RDKafkaErrorCode::AllBrokersDown && newest.contains_key(&whose) {
            return;
        }
        newest.insert(whose, Trouble { code, reason: reason.to_owned(), at: Instant::now() });
        drop(newest);
        let mut told = lock(&self.told);
        if told.get(&(code as i32)).is_none_or(|at| at.elapsed() > TOLD_AGAIN) {
            told.insert(code as i32, Instant::now());
            tracing::warn!(code = ?code, "{}", error_of(code, reason));
        }
    }

    /// A client got what it asked for: its own trouble is over, and brokers can be reached.
    pub(crate) fn over(&self, whose: Whose) {
        // Its return will be news.
        lock(&self.told).clear();
        lock(&self.newest).retain(|other, trouble| *other != whose && !says_little(trouble.code) && trouble.code != RDKafkaErrorCode::Resolve);
    }

    pub(crate) fn newest(&self) -> Option<String> {
        lock(&self.newest).values().find(|t| t.lasts()).map(|t| t.error(&t.reason).to_string())
    }

    /// An error of `code`, with what was complained of last where the code itself says little.
    pub(crate) fn error(&self, whose: Whose, code: RDKafkaErrorCode, about: &str) -> LogError {
        if !says_little(code) {
            return error_of(code, about);
        }
        match lock(&self.newest).get(&whose).filter(|t| t.lasts()) {
            Some(trouble) => trouble.error(&format!("{about}: {}", trouble.reason)),
            None => LogError::Unavailable(format!("{about}: no broker answers ({code})")),
        }
    }

    /// As [`Troubles::error`], of a call that failed.
    pub(crate) fn failed(&self, whose: Whose, error: &KafkaError, about: &str) -> LogError {
        match error.rdkafka_error_code() {
            Some(code) => self.error(whose, code, about),
            None => LogError::Unavailable(format!("{about}: {error}")),
        }
    }
}

/// Only that nobody answers.
fn says_little(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut)
}

fn of_connection(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    says_little(code) || matches!(code, Code::Resolve | Code::SSL | Code::Authentication | Code::SaslAuthenticationFailed | Code::IllegalSASLState)
}

/// Sorts into what passes by itself and what someone must mend, and says how.
pub(crate) fn error_of(code: RDKafkaErrorCode, about: &str) -> LogError {
    use RDKafkaErrorCode as Code;
    let mend = match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownTopicId => {
            "the topic does not exist, or we have no right to see it; create it with `hearthline topics apply` or with what `hearthline topics plan` prints"
        }
        Code::UnknownPartition => {
            "the topic has fewer than 12 partitions; a topic's partitions cannot change, so it must be made anew before anything is written"
        }
        Code::TopicAuthorizationFailed => "no right to this topic; `hearthline topics plan` prints the rights each service needs",
        Code::GroupAuthorizationFailed => "no right to this consumer group; `hearthline topics plan` prints the rights each service needs",
        Code::ClusterAuthorizationFailed => "no right to write idempotently; `hearthline topics plan` prints the rights each service needs",
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "the broker refuses our credentials; correct kafka.username and kafka.password_file, or the token"
        }
        Code::UnsupportedSASLMechanism => "the broker does not take this SASL mechanism; correct kafka.mechanism",
        Code::SSL => "TLS failed; check kafka.ca_file, the broker's certificate and its host name",
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            "a record is larger than the topic takes; set the topic's max.message.bytes to 1048576"
        }
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedForMessageFormat | Code::UnsupportedCompressionType => {
            "the broker is too old; Apache Kafka 3.7 or newer is needed"
        }
        Code::InvalidSessionTimeout => "the broker refuses session.timeout.ms; keep it within the broker's group.min.session.timeout.ms and its maximum",
        Code::InconsistentGroupProtocol => "members of the group use another protocol; stop what else uses this group, or set kafka.group_prefix",
        Code::PolicyViolation | Code::InvalidConfig | Code::InvalidTopic | Code::InvalidReplicationFactor => "the cluster's rules refuse it",
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            return LogError::Unavailable(format!("{about}: fewer replicas are in sync than the topic's min.insync.replicas"));
        }
        // A broker that does not let a connection go on with a new token; a new connection takes it.
        Code::IllegalSASLState => return LogError::Unavailable(format!("{about}: the connection is made anew")),
        Code::Resolve => return LogError::Unavailable(format!("{about}: a broker's host name is not known here; check kafka.brokers")),
        Code::BrokerTransportFailure | Code::AllBrokersDown => {
            return LogError::Unavailable(format!("no broker can be reached, check kafka.brokers and the network: {about}"));
        }
        code => return LogError::Unavailable(format!("{about}: {code}")),
    };
    LogError::Misconfigured(format!("{about}: {mend}"))
}

/// The part of a client's context that all kinds of client share.
pub(crate) struct Voice {
    pub(crate) troubles: Arc<Troubles>,
    whose: Whose,
    /// Something other than a record was served, so that there may be more behind it.
    pub(crate) served: AtomicBool,
    token_file: Option<PathBuf>,
    asked_for_token: AtomicBool,
}

impl Voice {
    pub(crate) fn new(whose: Whose, troubles: Arc<Troubles>, token_file: Option<PathBuf>) -> Self {
        Voice { troubles, whose, served: AtomicBool::new(false), token_file, asked_for_token: AtomicBool::new(false) }
    }

    /// Whether a token is needed and was not asked for yet.
    pub(crate) fn waits_for_token(&self) -> bool {
        self.token_file.is_some() && !self.asked_for_token.load(Ordering::Acquire)
    }
}

impl ClientContext for Voice {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, fac: &str, line: &str) {
        self.served.store(true, Ordering::Release);
        match level {
            // Comes as an error too, which names it better; or is about a hint, which matters to nobody.
            _ if matches!(fac, "FAIL" | "ERROR" | "COMMITFAIL") => tracing::debug!(target: "librdkafka", fac, "{line}"),
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(target: "librdkafka", fac, "{line}");
            }
            // Says of each of our settings which kind of client does not use it.
            RDKafkaLogLevel::Warning if fac == "CONFWARN" => tracing::debug!(target: "librdkafka", fac, "{line}"),
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", fac, "{line}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(target: "librdkafka", fac, "{line}"),
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", fac, "{line}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.served.store(true, Ordering::Release);
        tracing::debug!(target: "librdkafka::statistics", "{}", String::from_utf8_lossy(statistics));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.served.store(true, Ordering::Release);
        match error.rdkafka_error_code() {
            // Named with topic and offset where it is met.
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::PartitionEOF) => {}
            Some(code) => self.troubles.note(self.whose, code, reason),
            None => tracing::warn!(target: "librdkafka", %error, "{reason}"),
        }
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.served.store(true, Ordering::Release);
        let file = self.token_file.as_deref().ok_or("kafka.token_file is not set")?;
        let token = oauth::read(file);
        self.asked_for_token.store(true, Ordering::Release);
        if let Err(error) = &token {
            self.troubles.note(self.whose, RDKafkaErrorCode::Authentication, &error.to_string());
        }
        Ok(token?)
    }
}

impl rdkafka::consumer::ConsumerContext for Voice {}

impl producer::ProducerContext for Voice {
    type DeliveryOpaque = Arc<crate::producer::Batch>;

    fn delivery(&self, result: &producer::DeliveryResult<'_>, batch: Self::DeliveryOpaque) {
        batch.delivered(result);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
