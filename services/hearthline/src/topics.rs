//! `hearthline topics`: plans, makes, checks and shows the topics of the distributed edition, and reads them aloud.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use hearthline_contracts::topics::{ALL, PARTITIONS, Topic};
use hearthline_contracts::{DESCRIPTORS, facts, wire};
use hearthline_eventing::{Log, LogRecord, now_us};
use hearthline_log_kafka::{Finding, KafkaAdmin, KafkaLog, Replication, Verdict};
use hearthline_runtime::connect::Servers;
use jiff::Timestamp;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, Value as Reflected};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Prints the commands that make topics and rights, for whoever may run them.
    Plan {
        #[command(flatten)]
        replication: ReplicationArgs,
        /// Who a service is to the brokers, e.g. pas-gateway=User:CN=gateway (default: User:<service>); may be repeated.
        #[arg(long = "principal", value_name = "SERVICE=PRINCIPAL")]
        principals: Vec<String>,
    },
    /// Makes the topics that are missing; changes none that is there.
    Apply {
        #[command(flatten)]
        replication: ReplicationArgs,
    },
    /// Looks at brokers, topics and rights, and says what is wrong and how to mend it.
    Verify {
        #[command(flatten)]
        replication: ReplicationArgs,
    },
    /// Lists the topics with what they hold.
    List,
    /// Prints the events of a topic, decoded; sealed parts stay sealed.
    Tail(TailArgs),
}

#[derive(Debug, Args)]
pub struct ReplicationArgs {
    /// Replicas of each topic; two of them must have a record where there are three or more.
    /// Default: [kafka] replication_factor.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub replication: Option<u16>,
}

#[derive(Debug, Args)]
pub struct TailArgs {
    /// call, outcome, prescribing, shared-record, hospital, directory or kpi.
    pub topic: String,
    /// Where to begin: beginning, end, or how long ago, e.g. 90s, 30m, 2h, 7d.
    #[arg(long, default_value = "10m")]
    pub from: From,
    /// Goes on with what comes; `--from end` does so by itself.
    #[arg(long)]
    pub follow: bool,
    /// Ends after so many events.
    #[arg(long)]
    pub max: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Beginning,
    End,
    Ago(Duration),
}

impl std::str::FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is neither beginning, end nor a time such as 90s, 30m, 2h or 7d");
        match text {
            "beginning" => Ok(From::Beginning),
            "end" => Ok(From::End),
            _ => {
                let unit = match text.chars().last() {
                    Some('s') => 1,
                    Some('m') => 60,
                    Some('h') => 3_600,
                    Some('d') => 86_400,
                    _ => return Err(refused()),
                };
                let n: u32 = text[..text.len() - 1].parse().map_err(|_| refused())?;
                Ok(From::Ago(Duration::from_secs(u64::from(n) * unit)))
            }
        }
    }
}

/// Runs a command; the exit code is its verdict.
pub async fn command(servers: &Servers, command: TopicsCommand, json: bool) -> anyhow::Result<ExitCode> {
    let options = servers.kafka_options("operator", &std::process::id().to_string());
    let usual = servers.kafka.replication_factor;
    match command {
        TopicsCommand::Plan { replication, principals } => {
            let plan = KafkaAdmin::new(options)?.plan(&principals_of(&principals)?, Replication::of(replication.replication.unwrap_or(usual)));
            print_lines(&plan, json)?;
        }
        TopicsCommand::Apply { replication } => {
            let made = KafkaAdmin::new(options)?.apply(Replication::of(replication.replication.unwrap_or(usual))).await?;
            if json {
                println!("{}", json!({ "made": made }));
            } else if made.is_empty() {
                println!("every topic was there; `hearthline topics verify` says whether they are right");
            } else {
                made.iter().for_each(|name| println!("made {name}"));
            }
        }
        TopicsCommand::Verify { replication } => {
            let findings = KafkaAdmin::new(options)?.verify(Replication::of(replication.replication.unwrap_or(usual))).await;
            print_findings(&findings, json)?;
            return Ok(if findings.iter().any(|f| f.verdict == Verdict::Wrong) { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        TopicsCommand::List => list(&KafkaLog::open(options)?, json).await?,
        TopicsCommand::Tail(args) => {
            let log = KafkaLog::open(options)?;
            tokio::select! {
                ended = tail(&log, &args, json) => ended?,
                // Ctrl-C is how following ends.
                pressed = tokio::signal::ctrl_c() => pressed.context("Ctrl-C cannot be waited for")?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn principals_of(given: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut principals = BTreeMap::new();
    for pair in given {
        let (service, principal) = pair.split_once('=').with_context(|| format!("--principal {pair:?} is not SERVICE=PRINCIPAL"))?;
        if hearthline_contracts::topics::flow_of(service).is_none() {
            bail!("--principal {pair:?}: there is no service {service:?}");
        }
        principals.insert(service.to_owned(), principal.to_owned());
    }
    Ok(principals)
}

fn print_lines(lines: &[String], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(lines)?);
    } else {
        lines.iter().for_each(|line| println!("{line}"));
    }
    Ok(())
}

/// As `doctor` prints its own.
pub fn print_findings(findings: &[Finding], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(findings)?);
        return Ok(());
    }
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Fine => "ok    ",
            Verdict::Advice => "advice",
            Verdict::Wrong => "WRONG ",
        };
        println!("{mark}  {:<28} {}", finding.what, finding.seen);
        if !finding.remedy.is_empty() {
            println!("        {:<28} → {}", "", finding.remedy);
        }
    }
    Ok(())
}

async fn list(log: &KafkaLog, json: bool) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for topic in &ALL {
        let (mut kept, mut written) = (0, 0);
        for partition in 0..PARTITIONS {
            let marks = log.watermarks(topic.name, partition).await?;
            kept += marks.high - marks.low;
            written += marks.high;
        }
        rows.push((log.options().wire_topic(topic.name), kept, written));
    }
    if json {
        let rows: Vec<Value> = rows.iter().map(|(name, kept, written)| json!({ "topic": name, "kept": kept, "written": written })).collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("{:<36} {:>12} {:>12}", "topic", "kept", "written");
        rows.iter().for_each(|(name, kept, written)| println!("{name:<36} {kept:>12} {written:>12}"));
    }
    Ok(())
}

/// Records of one page of a partition.
const PAGE: usize = 500;
/// How often partitions are asked for more while following.
const FOLLOW: Duration = Duration::from_millis(200);

/// One partition on the way to its end.
struct Partition {
    number: u16,
    next: i64,
    /// Read up to here, unless following.
    end: i64,
    page: VecDeque<(i64, LogRecord)>,
}

async fn tail(log: &KafkaLog, args: &TailArgs, json: bool) -> anyhow::Result<()> {
    let topic = topic_named(&args.topic)?;
    let decoder = Decoder::new(topic)?;
    let follow = args.follow || args.from == From::End;
    let mut left = args.max.unwrap_or(usize::MAX);
    let mut partitions = Vec::new();
    for number in 0..PARTITIONS {
        let marks = log.watermarks(topic.name, number).await?;
        let next = match args.from {
            From::Beginning => marks.low,
            From::End => marks.high,
            From::Ago(ago) => {
                let since_ms = now_us() / 1_000 - i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                log.since(topic.name, number, since_ms).await?.max(marks.low)
            }
        };
        partitions.push(Partition { number, next, end: marks.high, page: VecDeque::new() });
    }
    while left > 0 {
        for partition in &mut partitions {
            if partition.page.is_empty() && (follow || partition.next < partition.end) {
                for record in log.read(topic.name, partition.number, partition.next, PAGE).await? {
                    partition.next = record.offset + 1;
                    partition.page.push_back((decoder.recorded_at(&record), record));
                }
                if partition.page.is_empty() {
                    // Nothing but the ends of others' transactions.
                    partition.next = partition.next.max(partition.end);
                }
            }
        }
        // Streams keep their order; across partitions, the time of recording decides.
        let oldest = partitions.iter_mut().filter(|p| !p.page.is_empty()).min_by_key(|p| p.page[0].0);
        match oldest.and_then(|p| p.page.pop_front()) {
            Some((_, record)) => {
                left -= 1;
                if !print(&decoder.shown(&record), json)? {
                    return Ok(());
                }
            }
            None if follow => tokio::time::sleep(FOLLOW).await,
            None => return Ok(()),
        }
    }
    Ok(())
}

fn topic_named(name: &str) -> anyhow::Result<&'static Topic> {
    let found = ALL.iter().find(|t| t.context.name() == name || t.name == name);
    found.with_context(|| format!("there is no topic {name:?}; the topics are {}", ALL.map(|t| t.context.name()).join(", ")))
}

/// False where nobody reads any more.
fn print(event: &Map<String, Value>, json: bool) -> anyhow::Result<bool> {
    let line = if json {
        serde_json::to_string(event)?
    } else {
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        let envelope = |key: &str| event.get("envelope").and_then(|e| e.get(key)).cloned().unwrap_or_default();
        let sealed = event.get("sealed").and_then(Value::as_str).map(|s| format!("  sealed: {s}")).unwrap_or_default();
        let fact = event.get("fact").and_then(Value::as_str).unwrap_or("?");
        format!(
            "{}  {:>2}/{:<6} {fact} {} v{}  {}{sealed}",
            envelope("recorded_at").as_str().unwrap_or("-"),
            event["partition"],
            event["offset"],
            text("stream"),
            envelope("stream_version"),
            event.get("values").or(event.get("undecodable")).unwrap_or(&Value::Null),
        )
    };
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Makes an event readable with the descriptors of this version of the contracts.
struct Decoder {
    topic: &'static Topic,
    message: MessageDescriptor,
}

impl Decoder {
    fn new(topic: &'static Topic) -> anyhow::Result<Self> {
        let pool = DescriptorPool::decode(DESCRIPTORS).context("the descriptors that are built in cannot be read")?;
        let message = pool.get_message_by_name(topic.message).with_context(|| format!("{} is not in the descriptors", topic.message))?;
        Ok(Decoder { topic, message })
    }

    fn recorded_at(&self, record: &LogRecord) -> i64 {
        wire::split(&record.payload).map_or(i64::MIN, |parts| parts.envelope.recorded_at_us)
    }

    fn shown(&self, record: &LogRecord) -> Map<String, Value> {
        let mut event = Map::new();
        event.insert("partition".to_owned(), record.partition.into());
        event.insert("offset".to_owned(), record.offset.into());
        event.insert("stream".to_owned(), hex(&record.key).into());
        let headers = record.headers.iter().map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned().into())).collect();
        event.insert("headers".to_owned(), Value::Object(headers));
        let parts = match wire::split(&record.payload) {
            Ok(parts) => parts,
            Err(why) => {
                event.insert("undecodable".to_owned(), format!("{why} ({} bytes)", record.payload.len()).into());
                return event;
            }
        };
        event.insert("fact".to_owned(), facts::fact_name(self.topic.context, parts.fact_number).unwrap_or("Unknown").into());
        // The sealed part is cut before anything is decoded.
        if let Some(sealed) = &parts.sealed {
            event.insert("sealed".to_owned(), format!("{} bytes", sealed.ciphertext.len()).into());
        }
        let open = wire::compose(&parts.envelope, None, &parts.fact);
        match DynamicMessage::decode(self.message.clone(), open) {
            Ok(message) => {
                for (field, value) in message.fields() {
                    let name = if field.containing_oneof().is_some() { "values" } else { field.name() };
                    event.insert(name.to_owned(), shown(&field, value));
                }
                if facts::fact_name(self.topic.context, parts.fact_number).is_none() {
                    event.insert("undecodable".to_owned(), format!("fact {} is not known to this version", parts.fact_number).into());
                }
            }
            Err(why) => {
                event.insert("undecodable".to_owned(), why.to_string().into());
            }
        }
        event
    }
}

fn shown(field: &FieldDescriptor, value: &Reflected) -> Value {
    match value {
        Reflected::Bool(b) => (*b).into(),
        Reflected::I32(n) => (*n).into(),
        Reflected::I64(us) if field.name().ends_with("_at_us") => time(*us),
        Reflected::I64(n) => (*n).into(),
        Reflected::U32(n) => (*n).into(),
        Reflected::U64(n) => (*n).into(),
        Reflected::F32(x) => (*x).into(),
        Reflected::F64(x) => (*x).into(),
        Reflected::String(text) => text.clone().into(),
        Reflected::Bytes(bytes) => hex(bytes).into(),
        Reflected::EnumNumber(n) => match field.kind().as_enum().and_then(|e| e.get_value(*n)) {
            Some(value) => value.name().into(),
            None => (*n).into(),
        },
        Reflected::Message(message) => Value::Object(fields(message)),
        Reflected::List(values) => values.iter().map(|v| shown(field, v)).collect(),
        Reflected::Map(entries) => {
            let value_of = field.kind().as_message().map(MessageDescriptor::map_entry_value_field);
            let entries = entries.iter().map(|(key, value)| {
                let key = match key {
                    prost_reflect::MapKey::Bool(b) => b.to_string(),
                    prost_reflect::MapKey::I32(n) => n.to_string(),
                    prost_reflect::MapKey::I64(n) => n.to_string(),
                    prost_reflect::MapKey::U32(n) => n.to_string(),
                    prost_reflect::MapKey::U64(n) => n.to_string(),
                    prost_reflect::MapKey::String(text) => text.clone(),
                };
                (key, value_of.as_ref().map_or(Value::Null, |f| shown(f, value)))
            });
            Value::Object(entries.collect())
        }
    }
}

fn fields(message: &DynamicMessage) -> Map<String, Value> {
    let mut fields: Map<String, Value> = message.fields().map(|(field, value)| (label(&field).to_owned(), shown(&field, value))).collect();
    let unknown = message.unknown_fields().count();
    if unknown > 0 {
        fields.insert("unknown_fields".to_owned(), unknown.into());
    }
    fields
}

/// Times are not shown in microseconds.
fn label(field: &FieldDescriptor) -> &str {
    let name = field.name();
    if name.ends_with("_at_us") { &name[..name.len() - "_us".len()] } else { name }
}

/// Microseconds since 1970 as RFC 3339.
fn time(us: i64) -> Value {
    Timestamp::from_microsecond(us).map_or(Value::Null, |t| t.to_string().into())
}

/// Sixteen bytes are an id.
fn hex(bytes: &[u8]) -> String {
    match <[u8; 16]>::try_from(bytes) {
        Ok(id) => uuid::Uuid::from_bytes(id).to_string(),
        Err(_) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hearthline_contracts::call::{CallEvent, CallOpened, Channel};
    use hearthline_contracts::envelope::{Actor, ActorRole, Envelope, Sealed};
    use hearthline_contracts::topics;

    fn record(payload: Bytes) -> LogRecord {
        LogRecord { topic: topics::CALL.name, partition: 3, offset: 17, key: Bytes::from_static(&[2; 16]), headers: vec![], payload }
    }

    #[test]
    fn an_event_is_shown_with_names_and_times_and_its_sealed_part_is_not() {
        let envelope = Envelope {
            event_id: vec![1; 16].into(),
            stream_id: vec![2; 16].into(),
            stream_version: 1,
            recorded_at_us: 1_800_000_000_000_000,
            actor: Some(Actor { role: ActorRole::Clinician.into(), pseudonym: vec![7; 8].into() }),
            ..Envelope::default()
        };
        let sealed = Sealed { key_id: vec![3; 16].into(), nonce: vec![4; 12].into(), ciphertext: Bytes::from_static(b"0123456789abcdefXYZ") };
        let opened = CallOpened { channel: Channel::Video.into(), ..CallOpened::default() };
        let payload = wire::compose(&envelope, Some(&sealed), &wire::fact_bytes::<CallEvent>(opened));
        let decoder = Decoder::new(&topics::CALL).unwrap();
        assert_eq!(decoder.recorded_at(&record(payload.clone())), envelope.recorded_at_us);
        let shown = Value::Object(decoder.shown(&record(payload)));
        assert_eq!(shown["fact"], "CallOpened");
        assert_eq!(shown["sealed"], "19 bytes");
        assert_eq!(shown["stream"], "02020202-0202-0202-0202-020202020202");
        assert_eq!(shown["values"]["channel"], "CHANNEL_VIDEO");
        assert_eq!(shown["envelope"]["recorded_at"], "2027-01-15T08:00:00Z");
        assert_eq!(shown["envelope"]["actor"], json!({ "role": "ACTOR_ROLE_CLINICIAN", "pseudonym": "0707070707070707" }));
        assert!(!shown.to_string().contains("XYZ") && !shown.to_string().contains("nonce"), "{shown}");
    }

    #[test]
    fn what_is_no_event_is_said_to_be_none() {
        let shown = Decoder::new(&topics::CALL).unwrap().shown(&record(Bytes::from_static(b"\xff\xff")));
        assert!(shown["undecodable"].as_str().is_some_and(|why| why.contains("2 bytes")), "{shown:?}");
        assert_eq!(shown["offset"], 17);
    }

    #[test]
    fn a_time_to_begin_at_is_read() {
        assert_eq!("2h".parse(), Ok(From::Ago(Duration::from_secs(7_200))));
        assert_eq!("beginning".parse(), Ok(From::Beginning));
        for wrong in ["", "2", "h", "2y", "-1h", "é"] {
            assert!(wrong.parse::<From>().is_err(), "{wrong}");
        }
        assert!(topic_named("calls").is_err());
        assert_eq!(topic_named("shared-record").unwrap().name, "hearthline.shared-record.v1");
        assert!(principals_of(&["nobody=x".to_owned()]).is_err());
    }
}
