//! The files for a consumer of one's own, made from the catalogue and the wire corpus: the list of topics, and records with what
//! a consumer must say to them. One text each, so that a test can compare and an example can write.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hearthline_contracts::facts::{FACTS, FIRST_COMMON_FACT};
use hearthline_contracts::topics::{ALL, FLOWS, PARTITIONER, PARTITIONS, RETENTION_MS, Topic};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};

/// Consumers decode with what was released; a fact that is not yet is none of theirs.
static RELEASED: &[u8] = include_bytes!("../../../../proto/released.binpb");

/// Events that ask for a later revision than this are set aside by a reader of these contracts.
pub const READER_REVISION: u32 = 1;

/// The files and their texts, by their paths in the repository.
pub fn files() -> [(&'static str, String); 3] {
    let (records, expected) = records();
    [("proto/topics.json", topics()), ("deploy/examples/records.tsv", records), ("deploy/examples/expected.jsonl", expected)]
}

/// Where such a path is.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn topics() -> String {
    let topics: Vec<String> = ALL
        .iter()
        .zip(&FLOWS)
        .map(|(topic, flow)| format!("    {{ \"name\": \"{}\", \"message\": \"{}\", \"written_by\": \"{}\" }}", topic.name, topic.message, flow.service))
        .collect();
    format!(
        "{{\n  \"reader_revision\": {READER_REVISION},\n  \"partitions\": {PARTITIONS},\n  \"partitioner\": \"{PARTITIONER}\",\n  \"retention_ms\": {RETENTION_MS},\n  \"topics\": [\n{}\n  ]\n}}\n",
        topics.join(",\n")
    )
}

/// Every fact of the corpus on a stream of its context, and for calls a stream on which things go wrong. A line each:
/// topic, key and value in hex, parted by tabs; and the lines that a consumer prints.
fn records() -> (String, String) {
    let (mut records, mut expected) = (String::new(), String::new());
    let mut put = |topic: &Topic, key: [u8; 16], value: &[u8]| {
        writeln!(records, "{}\t{}\t{}", topic.name, hex(&key), hex(value)).expect("a string takes it");
    };
    let mut expect = |topic: &Topic, key: [u8; 16], version: u64, fact: Result<&str, &str>| {
        let told = match fact {
            Ok(fact) => format!("\"fact\":\"{fact}\""),
            Err(why) => format!("\"fact\":null,\"set_aside\":\"{why}\""),
        };
        writeln!(expected, "{{\"topic\":\"{}\",\"stream\":\"{}\",\"version\":{version},{told}}}", topic.name, hex(&key)).expect("a string takes it");
    };
    for (n, topic) in ALL.iter().enumerate() {
        let key = [0x10 + n as u8; 16];
        for (version, fact) in (1..).zip(FACTS.iter().filter(|fact| fact.context == topic.context && message(topic).get_field(fact.number).is_some())) {
            put(topic, key, &event(topic, fact.field, key, version, READER_REVISION));
            expect(topic, key, version, Ok(fact.field));
        }
    }

    let (topic, key) = (&ALL[0], [0xee; 16]);
    let opened = event(topic, "call_opened", key, 1, READER_REVISION);
    put(topic, key, &opened);
    expect(topic, key, 1, Ok("call_opened"));
    // Sent twice: it counts once.
    put(topic, key, &opened);
    put(topic, key, &event(topic, "call_answered", key, 2, READER_REVISION));
    expect(topic, key, 2, Ok("call_answered"));
    // A fact that nobody has heard of, and one behind it.
    put(topic, key, &unknown(topic, key, 3));
    expect(topic, key, 3, Err("unknown fact"));
    put(topic, key, &event(topic, "call_triaged", key, 4, READER_REVISION));
    expect(topic, key, 4, Err("waits for an earlier event"));
    // A fact whose meaning an old reader would get wrong, on a stream of its own.
    let key = [0xdd; 16];
    put(topic, key, &event(topic, "call_opened", key, 1, 99));
    expect(topic, key, 1, Err("needs reader revision 99"));
    (records, expected)
}

/// The corpus's newest bytes of a fact, with the envelope that a service would have put round it.
fn event(topic: &Topic, field: &str, stream: [u8; 16], version: u64, least_reader_revision: u32) -> Vec<u8> {
    let folder = in_repository("tests/wire-corpus").join(topic.context.package());
    let newest = (1..).map(|n| folder.join(format!("{field}.v{n}.bin"))).take_while(|file| file.exists()).last().expect("the corpus has every fact");
    let mut event = DynamicMessage::decode(message(topic), std::fs::read(newest).expect("readable").as_slice()).expect("the corpus decodes");
    address(&mut event, stream, version, least_reader_revision);
    event.encode_to_vec()
}

/// An event whose fact has a number that no contract has.
fn unknown(topic: &Topic, stream: [u8; 16], version: u64) -> Vec<u8> {
    let number = FIRST_COMMON_FACT - 1;
    assert!(message(topic).get_field(number).is_none());
    let mut event = DynamicMessage::new(message(topic));
    address(&mut event, stream, version, READER_REVISION);
    let mut bytes = event.encode_to_vec();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
    bytes.extend([2, 0x08, 0x01]);
    bytes
}

fn address(event: &mut DynamicMessage, stream: [u8; 16], version: u64, least_reader_revision: u32) {
    let envelope = event.get_field_by_name_mut("envelope").expect("every event has one").as_message_mut().expect("a message");
    let id = version.to_be_bytes().repeat(2);
    for (field, value) in [
        ("event_id", Value::Bytes([&stream[..8], &id[8..]].concat().into())),
        ("stream_id", Value::Bytes(stream.to_vec().into())),
        ("stream_version", Value::U64(version)),
        ("incarnation", Value::U32(1)),
        ("schema_revision", Value::U32(least_reader_revision)),
        ("least_reader_revision", Value::U32(least_reader_revision)),
    ] {
        envelope.set_field_by_name(field, value);
    }
}

fn message(topic: &Topic) -> prost_reflect::MessageDescriptor {
    let pool = DescriptorPool::decode(RELEASED).expect("the released descriptors");
    pool.get_message_by_name(topic.message).expect("the topic's message")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
