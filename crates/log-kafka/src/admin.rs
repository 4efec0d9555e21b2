//! Topics and rights: planned for whoever may make them, made where this process may, and looked at.

use crate::options::{KafkaOptions, MESSAGE_BYTES_MAX, OptionsError, Sasl, Security};
use crate::trouble::{Voice, Whose, error_of, lock};
use hearthline_contracts::topics::{self, ALL, FLOWS, Flow, PARTITIONS, RETENTION_MS, Topic};
use hearthline_eventing::LogError;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication};
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::types::RDKafkaErrorCode as Code;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The first version of `Produce` that Apache Kafka 3.7 added.
const PRODUCE_OF_3_7: u16 = 10;

/// Something looked at, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub what: String,
    pub verdict: Verdict,
    pub seen: String,
    /// Empty where nothing is to be done.
    pub remedy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Fine,
    Advice,
    Wrong,
}

impl Finding {
    fn new(what: impl Into<String>, verdict: Verdict, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { what: what.into(), verdict, seen: seen.into(), remedy: remedy.into() }
    }
    fn fine(what: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::new(what, Verdict::Fine, seen, "")
    }
    fn wrong(what: impl Into<String>, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(what, Verdict::Wrong, seen, remedy)
    }
    fn advice(what: impl Into<String>, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(what, Verdict::Advice, seen, remedy)
    }
}

/// Replicas of each topic, and how many must have a record before it counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replication {
    pub replicas: u16,
    pub min_in_sync: u16,
}

impl Replication {
    /// Three replicas, two in sync.
    pub const USUAL: Replication = Replication { replicas: 3, min_in_sync: 2 };

    /// As many replicas; two of them in sync where there are more than two, so that one may be missing.
    pub const fn of(replicas: u16) -> Replication {
        Replication { replicas, min_in_sync: if replicas > 2 { 2 } else { 1 } }
    }
}

/// Looks after topics and rights.
#[derive(Debug, Clone)]
pub struct KafkaAdmin {
    options: KafkaOptions,
}

impl KafkaAdmin {
    pub fn new(options: KafkaOptions) -> Result<Self, OptionsError> {
        options.check()?;
        Ok(KafkaAdmin { options })
    }

    /// The commands that make topics and rights, with Kafka's own tools. `principals` says who a service is to the brokers;
    /// one that is not in it is `User:<service>`. Rights are the least that work: a service writes its own topic, reads it
    /// back, and reads what it consumes, in its own group; nobody else gets any.
    pub fn plan(&self, principals: &BTreeMap<String, String>, replication: Replication) -> Vec<String> {
        let server = format!("--bootstrap-server {}", self.options.brokers);
        let server = match self.options.security {
            Security::Plaintext => server,
            _ => format!("{server} --command-config admin.properties"),
        };
        let mut commands = Vec::new();
        for topic in &ALL {
            let configs: String = configs(replication).iter().map(|(name, value)| format!(" --config {name}={value}")).collect();
            commands.push(format!(
                "kafka-topics.sh {server} --create --if-not-exists --topic {} --partitions {PARTITIONS} --replication-factor {}{configs}",
                self.options.wire_topic(topic.name),
                replication.replicas,
            ));
        }
        for flow in &FLOWS {
            let principal = principals.get(flow.service).cloned().unwrap_or_else(|| format!("User:{}", flow.service));
            let principal = if principal.contains(':') { principal } else { format!("User:{principal}") };
            let add = format!("kafka-acls.sh {server} --add --allow-principal {}", quoted(&principal));
            let own = self.options.wire_topic(flow.writes.name);
            commands.push(format!("{add} --operation Write --operation Read --operation Describe --topic {own}"));
            let read: String = flow.reads.iter().map(|t| format!(" --topic {}", self.options.wire_topic(t.name))).collect();
            commands.push(format!("{add} --operation Read --operation Describe{read}"));
            commands.push(format!("{add} --operation Read --group {}", self.options.wire_group(flow.service)));
        }
        commands
    }

    /// Makes the topics that are missing and gives their names on the wire; changes none that is there.
    pub async fn apply(&self, replication: Replication) -> Result<Vec<String>, LogError> {
        self.not_with_tokens()?;
        let admin = self.admin()?;
        let replicas = i32::from(replication.replicas);
        let names: Vec<String> = ALL.iter().map(|t| self.options.wire_topic(t.name)).collect();
        let configs = configs(replication);
        let wanted: Vec<NewTopic<'_>> = names
            .iter()
            .map(|name| {
                let topic = NewTopic::new(name, i32::from(PARTITIONS), TopicReplication::Fixed(replicas));
                configs.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
            })
            .collect();
        let patience = AdminOptions::new().request_timeout(Some(self.options.answer)).operation_timeout(Some(self.options.answer));
        let results = admin.create_topics(&wanted, &patience).await.map_err(|e| self.failed(&admin, &e))?;
        let mut made = Vec::new();
        for result in results {
            match result {
                Ok(name) => made.push(name),
                Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, Code::InvalidReplicationFactor)) => {
                    return Err(LogError::Misconfigured(format!("{name}: there are fewer than {replicas} brokers; give --replication a smaller number")));
                }
                Err((name, code @ (Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed))) => {
                    return Err(LogError::Misconfigured(format!(
                        "{name}: no right to make topics ({code}); hand what `hearthline topics plan` prints to whoever has it"
                    )));
                }
                Err((name, code)) => return Err(error_of(code, &name)),
            }
        }
        let (patience, awaited) = (self.options.answer, made.clone());
        let seen = tokio::task::spawn_blocking(move || led(&admin, &awaited, patience)).await;
        match seen {
            Ok(Ok(())) => Ok(made),
            Ok(Err(name)) => Err(LogError::Unavailable(format!("{name} was made, but no broker leads all its partitions yet"))),
            Err(_) => Err(LogError::Unavailable("waiting for the topics failed".to_owned())),
        }
    }

    /// Deletes the topics and the groups of a deployment that has prefixes, with all that they hold, for good; refused without
    /// prefixes, for those are somebody's. One that is not there is no error. No process of the deployment may run.
    pub async fn remove(&self) -> Result<(), LogError> {
        if self.options.topic_prefix.is_empty() || self.options.group_prefix.is_empty() {
            return Err(LogError::Misconfigured(
                "topics and groups are deleted only where kafka.topic_prefix and kafka.group_prefix tell them from others'".to_owned(),
            ));
        }
        self.not_with_tokens()?;
        let admin = self.admin()?;
        let patience = AdminOptions::new().request_timeout(Some(self.options.answer)).operation_timeout(Some(self.options.answer));
        let topics: Vec<String> = ALL.iter().map(|t| self.options.wire_topic(t.name)).collect();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let deleted = admin.delete_topics(&names, &patience).await.map_err(|e| self.failed(&admin, &e))?;
        let groups: Vec<String> = FLOWS.iter().map(|f| self.options.wire_group(f.service)).collect();
        let names: Vec<&str> = groups.iter().map(String::as_str).collect();
        let left = admin.delete_groups(&names, &patience).await.map_err(|e| self.failed(&admin, &e))?;
        for result in deleted.into_iter().chain(left) {
            match result {
                Ok(_) | Err((_, Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::GroupIdNotFound)) => {}
                Err((name, code @ (Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed | Code::GroupAuthorizationFailed))) => {
                    return Err(LogError::Misconfigured(format!("{name}: no right to delete it ({code})")));
                }
                Err((name, code)) => return Err(error_of(code, &name)),
            }
        }
        Ok(())
    }

    /// Looks at brokers, topics and rights as the service that the options name, or as an operator where they name none.
    pub async fn verify(&self, replication: Replication) -> Vec<Finding> {
        let looking = self.clone();
        let looked = tokio::task::spawn_blocking(move || looking.look(replication)).await;
        let mut findings = looked.unwrap_or_else(|_| vec![Finding::wrong("kafka", "the check itself failed", "report this as a fault of the program")]);
        let there: Vec<&Topic> = ALL.iter().filter(|t| findings.iter().any(|f| f.what == t.name && f.verdict != Verdict::Wrong)).collect();
        if !there.is_empty() {
            findings.extend(self.look_at_configs(&there, replication).await);
        }
        findings
    }

    fn look(&self, replication: Replication) -> Vec<Finding> {
        let probe = match Probe::new(&self.options) {
            Ok(probe) => probe,
            Err(finding) => return vec![finding],
        };
        let mut findings = Vec::new();
        let flow = topics::flow_of(&self.options.service);
        for topic in &ALL {
            if flow.is_some_and(|f| f.writes != topic && !f.reads.contains(&topic)) {
                continue;
            }
            let found = probe.topic(topic, replication);
            let away = found.what == "brokers";
            findings.push(found);
            if away {
                return findings;
            }
        }
        findings.splice(0..0, probe.cluster());
        if let Some(flow) = flow
            && findings.iter().all(|f| f.verdict != Verdict::Wrong)
        {
            findings.extend(probe.rights(flow));
        }
        findings
    }

    async fn look_at_configs(&self, there: &[&Topic], replication: Replication) -> Vec<Finding> {
        if let Err(error) = self.not_with_tokens() {
            return vec![Finding::advice("topic settings", error.to_string(), "")];
        }
        let admin = match self.admin() {
            Ok(admin) => admin,
            Err(error) => return vec![Finding::wrong("topic settings", error.to_string(), "")],
        };
        let names: Vec<String> = there.iter().map(|t| self.options.wire_topic(t.name)).collect();
        let asked: Vec<ResourceSpecifier<'_>> = names.iter().map(|n| ResourceSpecifier::Topic(n)).collect();
        let patience = AdminOptions::new().request_timeout(Some(self.options.answer));
        match admin.describe_configs(&asked, &patience).await {
            Err(error) => vec![Finding::wrong("topic settings", self.failed(&admin, &error).to_string(), "")],
            Ok(described) => {
                let mut findings: Vec<Finding> = described.into_iter().flat_map(|d| settings(d, replication)).collect();
                // A right that is missing is missing for each topic.
                findings.dedup();
                findings
            }
        }
    }

    fn admin(&self) -> Result<AdminClient<Voice>, LogError> {
        let config = self.options.admin().map_err(|e| LogError::Misconfigured(e.to_string()))?;
        config.create_with_context(Voice::new(Whose::Writer, Arc::default(), None)).map_err(|e| LogError::Misconfigured(self.options.refused(e).to_string()))
    }

    fn failed(&self, admin: &AdminClient<Voice>, error: &KafkaError) -> LogError {
        let code = match error {
            KafkaError::AdminOp(code) => *code,
            other => other.rdkafka_error_code().unwrap_or(Code::Fail),
        };
        admin.inner().context().troubles.error(Whose::Writer, code, &self.options.brokers)
    }

    /// The admin client of librdkafka's binding does not serve requests for tokens.
    fn not_with_tokens(&self) -> Result<(), LogError> {
        match self.options.security {
            Security::SaslPlaintext(Sasl::OauthBearer { .. }) | Security::SaslTls(Sasl::OauthBearer { .. }, _) => Err(LogError::Misconfigured(
                "topics cannot be made, nor their settings read, with a bearer token; run what `hearthline topics plan` prints, or use another mechanism"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

/// Waits until every partition has a leader: the controller answers before the brokers know.
fn led(admin: &AdminClient<Voice>, topics: &[String], patience: Duration) -> Result<(), String> {
    let begun = Instant::now();
    for name in topics {
        loop {
            let found = admin.inner().fetch_metadata(Some(name), patience);
            let led =
                found.is_ok_and(|m| m.topics().iter().any(|t| t.error().is_none() && t.partitions().iter().all(|p| p.error().is_none() && p.leader() >= 0)));
            if led {
                break;
            }
            if begun.elapsed() > patience {
                return Err(name.clone());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// The settings of every topic; `proto/TOPICS.md` says why.
fn configs(replication: Replication) -> [(&'static str, &'static str); 5] {
    [
        ("cleanup.policy", "delete"),
        ("retention.ms", RETENTION),
        ("max.message.bytes", MESSAGE_BYTES_MAX),
        ("compression.type", "producer"),
        ("min.insync.replicas", if replication.min_in_sync > 1 { "2" } else { "1" }),
    ]
}

const RETENTION: &str = "2592000000";

fn settings(described: Result<ConfigResource, RDKafkaErrorCode>, replication: Replication) -> Vec<Finding> {
    let resource = match described {
        Ok(resource) => resource,
        Err(Code::TopicAuthorizationFailed) => {
            return vec![Finding::advice(
                "topic settings",
                "no right to look at them (DescribeConfigs)",
                "run `hearthline topics verify` as an administrator once, or compare with what `hearthline topics plan` prints",
            )];
        }
        Err(code) => return vec![Finding::wrong("topic settings", code.to_string(), "")],
    };
    let OwnedResourceSpecifier::Topic(name) = &resource.specifier else { return Vec::new() };
    let entries: HashMap<&str, &str> = resource.entries.iter().filter_map(|e| Some((e.name.as_str(), e.value.as_deref()?))).collect();
    let number = |setting: &str| entries.get(setting).and_then(|v| v.parse::<i64>().ok());
    let alter = |setting: &str, value: &str| format!("kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {setting}={value}");
    let mut findings = Vec::new();
    let mut below = |setting: &str, least: i64, value: &str, consequence: &str| {
        // A negative number is "without end".
        if let Some(found) = number(setting)
            && (0..least).contains(&found)
        {
            findings.push(Finding::wrong(name, format!("{setting} is {found}, below {least}: {consequence}"), alter(setting, value)));
        }
    };
    below("max.message.bytes", 1_048_576, MESSAGE_BYTES_MAX, "large events cannot be written and hold up those behind them");
    let retention = i64::try_from(RETENTION_MS).expect("thirty days are few");
    below("retention.ms", retention, RETENTION, "a consumer that is away longer misses events and needs a republish");
    let least = i64::from(replication.min_in_sync);
    below("min.insync.replicas", least, &least.to_string(), "a record may be lost with the broker that acknowledged it");
    match entries.get("cleanup.policy") {
        Some(policy) if policy.contains("compact") => {
            findings.push(Finding::wrong(
                name,
                format!("cleanup.policy is {policy}: events of one stream would replace each other"),
                alter("cleanup.policy", "delete"),
            ));
        }
        _ => {}
    }
    if let Some(compression @ (&"gzip" | &"zstd")) = entries.get("compression.type") {
        findings.push(Finding::wrong(name, format!("compression.type is {compression}, which our client cannot read"), alter("compression.type", "producer")));
    }
    if findings.is_empty() {
        findings.push(Finding::fine(name, "settings are right"));
    }
    findings
}

/// A client that only looks; it listens to librdkafka's debug lines, because the versions a broker speaks are told nowhere else.
struct Probe<'a> {
    options: &'a KafkaOptions,
    consumer: BaseConsumer<Ears>,
}

struct Ears {
    voice: Voice,
    produce_max: Mutex<Option<u16>>,
}

impl ClientContext for Ears {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, fac: &str, line: &str) {
        if let Some((_, versions)) = line.split_once("ApiKey Produce (0) Versions ")
            && let Some(max) = versions.split_once("..").and_then(|(_, max)| max.trim().parse().ok())
        {
            *lock(&self.produce_max) = Some(max);
        }
        if !matches!(level, RDKafkaLogLevel::Debug) {
            self.voice.log(level, fac, line);
        }
    }
    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.voice.troubles.note(Whose::Reader, code, reason);
        }
    }
    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.voice.generate_oauth_token(config)
    }
}

impl ConsumerContext for Ears {}

impl<'a> Probe<'a> {
    fn new(options: &'a KafkaOptions) -> Result<Self, Finding> {
        let refused = |e: OptionsError| Finding::wrong("configuration", e.to_string(), "correct it; `hearthline config print` shows all of it");
        let mut config = options.reader().map_err(refused)?;
        config.set("debug", "feature,broker").set_log_level(RDKafkaLogLevel::Debug);
        let voice = Voice::new(Whose::Reader, Arc::default(), options.token_file().map(ToOwned::to_owned));
        let ears = Ears { voice, produce_max: Mutex::default() };
        let consumer: BaseConsumer<Ears> = config.create_with_context(ears).map_err(|e| refused(options.refused(e)))?;
        let probe = Probe { options, consumer };
        let begun = Instant::now();
        while probe.consumer.context().voice.waits_for_token() && begun.elapsed() < options.answer {
            probe.consumer.poll(Duration::from_millis(20));
        }
        Ok(probe)
    }

    /// Lets the client say what it has met.
    fn listen(&self) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(200) {
            self.consumer.poll(Duration::from_millis(20));
        }
    }

    fn failed(&self, error: &KafkaError, about: &str) -> LogError {
        self.listen();
        self.consumer.context().voice.troubles.failed(Whose::Reader, error, about)
    }

    fn topic(&self, topic: &Topic, replication: Replication) -> Finding {
        let wire = self.options.wire_topic(topic.name);
        let metadata = match self.consumer.fetch_metadata(Some(&wire), self.options.answer) {
            Ok(metadata) => metadata,
            Err(error) => {
                let seen = self.failed(&error, &self.options.brokers).to_string();
                return Finding::wrong("brokers", seen, "nothing is lost meanwhile: events wait in the stores until the log takes them");
            }
        };
        let Some(found) = metadata.topics().iter().find(|t| t.name() == wire) else {
            return Finding::wrong(topic.name, format!("{wire} is missing"), "hearthline topics apply, or run what `hearthline topics plan` prints");
        };
        if let Some(error) = found.error() {
            let code: RDKafkaErrorCode = error.into();
            let (seen, remedy) = match code {
                Code::UnknownTopicOrPartition | Code::UnknownTopic => {
                    (format!("{wire} is missing"), "hearthline topics apply, or run what `hearthline topics plan` prints")
                }
                Code::TopicAuthorizationFailed => (format!("no right to see {wire}"), "grant the rights that `hearthline topics plan` prints for this service"),
                code => (format!("{wire}: {code}"), ""),
            };
            return Finding::wrong(topic.name, seen, remedy);
        }
        let partitions = found.partitions();
        if partitions.len() != usize::from(PARTITIONS) {
            return Finding::wrong(
                topic.name,
                format!("{wire} has {} partitions instead of {PARTITIONS}", partitions.len()),
                "delete it while nothing is written to it, then `hearthline topics apply`; after events were written, write them again into a new topic with `hearthline republish`",
            );
        }
        let replicas = partitions.iter().map(|p| p.replicas().len()).min().unwrap_or_default();
        if replicas < usize::from(replication.replicas) {
            return Finding::advice(
                topic.name,
                format!("{wire} has {replicas} replica(s), {} are wanted", replication.replicas),
                "kafka-reassign-partitions.sh; until then the loss of a broker stops or loses the topic",
            );
        }
        Finding::fine(topic.name, format!("{wire}: {PARTITIONS} partitions, {replicas} replica(s)"))
    }

    fn cluster(&self) -> Vec<Finding> {
        self.listen();
        let id = self.consumer.client().fetch_cluster_id(self.options.answer).unwrap_or_default();
        let mut findings = vec![match &self.options.cluster_id {
            Some(expected) if *expected != id => Finding::wrong(
                "cluster",
                format!("the brokers belong to cluster {id:?}, not to {expected:?}"),
                "correct kafka.brokers, or kafka.cluster_id where the cluster was replaced on purpose",
            ),
            _ => Finding::fine("cluster", format!("{} answers as cluster {id}", self.options.brokers)),
        }];
        findings.push(match *lock(&self.consumer.context().produce_max) {
            Some(max) if max < PRODUCE_OF_3_7 => Finding::wrong("broker version", "older than 3.7", "upgrade the brokers to Apache Kafka 3.7 or newer"),
            Some(_) => Finding::fine("broker version", "3.7 or newer"),
            None => Finding::advice("broker version", "it could not be seen", "make sure that the brokers are Apache Kafka 3.7 or newer"),
        });
        findings
    }

    /// Tries what the service will do, without writing or reading a record.
    fn rights(&self, flow: &Flow) -> Vec<Finding> {
        const REMEDY: &str = "grant the rights that `hearthline topics plan` prints for this service";
        let mut findings = Vec::new();
        let group = self.options.wire_group(flow.service);
        if let Err(error) = self.consumer.fetch_group_list(Some(&group), self.options.answer) {
            findings.push(Finding::wrong("rights", self.failed(&error, &group).to_string(), REMEDY));
        }
        for topic in flow.reads.iter().chain([&flow.writes]) {
            if let Err(seen) = self.may_read(topic) {
                findings.push(Finding::wrong("rights", seen, REMEDY));
            }
        }
        if let Err(seen) = self.may_write() {
            findings.push(Finding::wrong("rights", seen, REMEDY));
        }
        if findings.is_empty() {
            findings.push(Finding::fine("rights", format!("{} may read its topics in group {group}, and may write", flow.service)));
        }
        findings
    }

    fn may_read(&self, topic: &Topic) -> Result<(), String> {
        let wire = self.options.wire_topic(topic.name);
        let mut list = rdkafka::TopicPartitionList::new();
        let failed = |e: KafkaError| self.failed(&e, &wire).to_string();
        list.add_partition_offset(&wire, 0, rdkafka::Offset::Beginning).map_err(failed)?;
        self.consumer.assign(&list).map_err(failed)?;
        let begun = Instant::now();
        let mut answer = Err(format!("{wire}: nothing was answered"));
        while begun.elapsed() < self.options.answer {
            match self.consumer.poll(Duration::from_millis(50)) {
                None => {}
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => {
                    answer = Ok(());
                    break;
                }
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(Code::TopicAuthorizationFailed) => {
                        answer = Err(format!("no right to read {wire}"));
                        break;
                    }
                    Some(Code::GroupAuthorizationFailed) => {
                        answer = Err(format!("no right to read in group {}", self.options.wire_group(&self.options.service)));
                        break;
                    }
                    _ => {}
                },
            }
        }
        self.consumer.unassign().map_err(failed)?;
        answer
    }

    /// A producer gets its id only with a right to write somewhere.
    fn may_write(&self) -> Result<(), String> {
        let refused = |e: OptionsError| e.to_string();
        let config = self.options.producer().map_err(refused)?;
        let voice = Voice::new(Whose::Writer, Arc::default(), self.options.token_file().map(ToOwned::to_owned));
        let producer: BaseProducer<Voice> = config.create_with_context(voice).map_err(|e| refused(self.options.refused(e)))?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            producer.poll(Duration::from_millis(50));
            if let Some((code, _)) = producer.client().fatal_error() {
                return Err(match code {
                    Code::ClusterAuthorizationFailed => "no right to write to any topic".to_owned(),
                    code => format!("writing is refused: {code}"),
                });
            }
        }
        Ok(())
    }
}

/// For a shell: principals of certificates have commas, spaces and equals signs.
fn quoted(text: &str) -> String {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || ":._-@/".contains(c)) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin() -> KafkaAdmin {
        let options = KafkaOptions { topic_prefix: "north.".to_owned(), group_prefix: "north-".to_owned(), ..KafkaOptions::new("k1:9092", "") };
        KafkaAdmin::new(options).unwrap()
    }

    #[test]
    fn the_plan_makes_each_topic_as_the_contract_says() {
        let plan = admin().plan(&BTreeMap::new(), Replication::USUAL);
        let topics: Vec<&String> = plan.iter().filter(|c| c.starts_with("kafka-topics.sh")).collect();
        assert_eq!(topics.len(), ALL.len());
        assert_eq!(
            topics[0],
            "kafka-topics.sh --bootstrap-server k1:9092 --create --if-not-exists --topic north.hearthline.call.v1 --partitions 12 --replication-factor 3 --config cleanup.policy=delete --config retention.ms=2592000000 --config max.message.bytes=1048576 --config compression.type=producer --config min.insync.replicas=2"
        );
        assert_eq!(RETENTION, RETENTION_MS.to_string());
    }

    #[tokio::test]
    async fn topics_that_no_prefix_tells_from_others_are_never_deleted() {
        for (topic_prefix, group_prefix) in [("", "north-"), ("north.", "")] {
            let (topic_prefix, group_prefix) = (topic_prefix.to_owned(), group_prefix.to_owned());
            let options = KafkaOptions { topic_prefix, group_prefix, ..KafkaOptions::new("127.0.0.1:1", "") };
            assert!(matches!(KafkaAdmin::new(options).unwrap().remove().await, Err(LogError::Misconfigured(_))));
        }
    }

    #[test]
    fn each_service_gets_the_least_rights_that_work() {
        let principals = BTreeMap::from([("pas-gateway".to_owned(), "User:CN=gateway,O=Trust".to_owned()), ("directory".to_owned(), "dir".to_owned())]);
        let plan = admin().plan(&principals, Replication::of(1));
        let of = |principal: &str| -> Vec<String> {
            let add = format!("kafka-acls.sh --bootstrap-server k1:9092 --add --allow-principal {principal} ");
            plan.iter().filter_map(|c| c.strip_prefix(&add)).map(str::to_owned).collect()
        };
        assert_eq!(
            of("'User:CN=gateway,O=Trust'"),
            [
                "--operation Write --operation Read --operation Describe --topic north.hearthline.hospital.v1",
                "--operation Read --operation Describe --topic north.hearthline.directory.v1",
                "--operation Read --group north-pas-gateway",
            ]
        );
        assert_eq!(of("User:dir").len(), 3);
        assert_eq!(plan.iter().filter(|c| c.contains("--operation Write")).count(), ALL.len(), "one service writes each topic");
        assert!(plan.iter().all(|c| !c.contains("User:*") && !c.contains("--operation All")));
    }
}
