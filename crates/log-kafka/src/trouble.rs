//! What librdkafka complains of, in words that say what to do, and its lines in our log.

use crate::oauth;
use hearthline_eventing::LogError;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, producer};
use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A trouble that goes on is told again after this long.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// The newest trouble of all clients of one process; forgotten when a broker answers.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    newest: Mutex<Option<(RDKafkaErrorCode, String)>>,
    told: Mutex<Option<(RDKafkaErrorCode, Instant)>>,
}

impl Troubles {
    pub(crate) fn note(&self, code: RDKafkaErrorCode, reason: &str) {
        // Comes beside a more telling one.
        if code == RDKafkaErrorCode::AllBrokersDown && lock(&self.newest).is_some() {
            return;
        }
        *lock(&self.newest) = Some((code, reason.to_owned()));
        let mut told = lock(&self.told);
        if told.is_none_or(|(c, at)| c != code || at.elapsed() > TOLD_AGAIN) {
            *told = Some((code, Instant::now()));
            tracing::warn!(code = ?code, "{}", error_of(code, reason));
        }
    }

    pub(crate) fn over(&self) {
        *lock(&self.newest) = None;
    }

    pub(crate) fn newest(&self) -> Option<String> {
        lock(&self.newest).as_ref().map(|(code, reason)| error_of(*code, reason).to_string())
    }

    /// An error of `code`, with what was complained of last where the code itself says little.
    pub(crate) fn error(&self, code: RDKafkaErrorCode, about: &str) -> LogError {
        use RDKafkaErrorCode as Code;
        match code {
            Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut => {
                match lock(&self.newest).as_ref() {
                    Some((newest, reason)) => error_of(*newest, &format!("{about}: {reason}")),
                    None => LogError::Unavailable(format!("{about}: no broker answers ({code})")),
                }
            }
            code => error_of(code, about),
        }
    }

    /// As [`Troubles::error`], of a call that failed.
    pub(crate) fn failed(&self, error: &KafkaError, about: &str) -> LogError {
        match error.rdkafka_error_code() {
            Some(code) => self.error(code, about),
            None => LogError::Unavailable(format!("{about}: {error}")),
        }
    }
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
        Code::Authentication | Code::SaslAuthenticationFailed => "the broker refuses our credentials; correct kafka.username and kafka.password, or the token",
        Code::UnsupportedSASLMechanism | Code::IllegalSASLState => "the broker does not take this SASL mechanism; correct kafka.mechanism",
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
    /// Something other than a record was served, so that there may be more behind it.
    pub(crate) served: AtomicBool,
    token_file: Option<PathBuf>,
    asked_for_token: AtomicBool,
}

impl Voice {
    pub(crate) fn new(troubles: Arc<Troubles>, token_file: Option<PathBuf>) -> Self {
        Voice { troubles, served: AtomicBool::new(false), token_file, asked_for_token: AtomicBool::new(false) }
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
            // Comes as an error too, which names it better.
            _ if matches!(fac, "FAIL" | "ERROR") => tracing::debug!(target: "librdkafka", fac, "{line}"),
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
            Some(code) => self.troubles.note(code, reason),
            None => tracing::warn!(target: "librdkafka", %error, "{reason}"),
        }
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.served.store(true, Ordering::Release);
        let file = self.token_file.as_deref().ok_or("kafka.token_file is not set")?;
        let token = oauth::read(file);
        self.asked_for_token.store(true, Ordering::Release);
        if let Err(error) = &token {
            self.troubles.note(RDKafkaErrorCode::Authentication, &error.to_string());
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
