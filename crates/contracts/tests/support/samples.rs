//! One deterministic sample of every fact and every personal part, with each of its fields filled, and the text that
//! names every value in a sample's bytes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hearthline_contracts::DESCRIPTORS;
use hearthline_contracts::facts::{FACTS, Fact};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

/// A kind of bytes that the corpus must hold.
pub struct Subject {
    /// Folder of its context.
    pub folder: &'static str,
    /// File name without version: `call_opened`, or `call_opened.personal`.
    pub stem: String,
    message: MessageDescriptor,
    fact: &'static Fact,
    personal: bool,
}

/// Where the corpus lies.
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/wire-corpus")
}

/// Every fact and every personal part, in the order of contexts and numbers.
pub fn subjects() -> Vec<Subject> {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("the contracts' own descriptors");
    let mut subjects = Vec::new();
    for fact in FACTS {
        let event = pool.get_message_by_name(fact.context.topic().message).expect("the context's event");
        let folder = fact.context.package();
        if fact.personal {
            let field = event.get_field(fact.number).expect("the fact's field");
            let name = format!("{}Personal", field.kind().as_message().expect("a message").full_name());
            let message = pool.get_message_by_name(&name).expect("the personal part");
            let stem = format!("{}.personal", fact.field);
            subjects.push(Subject { folder, stem, message, fact, personal: true });
        }
        subjects.push(Subject { folder, stem: fact.field.to_owned(), message: event, fact, personal: false });
    }
    subjects
}

impl Subject {
    /// The file of version `version` with that extension.
    pub fn path(&self, version: u32, extension: &str) -> PathBuf {
        corpus().join(self.folder).join(format!("{}.v{version}.{extension}", self.stem))
    }

    /// The newest version in the corpus: 0 when there is none.
    pub fn newest(&self) -> u32 {
        (1..).take_while(|version| self.path(*version, "bin").exists()).last().unwrap_or(0)
    }

    /// Today's sample.
    pub fn sample(&self) -> Vec<u8> {
        if self.personal {
            return filled(&self.message, self.fact.field, None).encode_to_vec();
        }
        filled(&self.message, self.fact.field, Some(self.fact.number)).encode_to_vec()
    }

    /// Every value in the bytes by its path, one a line.
    pub fn text(&self, bytes: &[u8]) -> Result<String, prost::DecodeError> {
        let message = DynamicMessage::decode(self.message.clone(), bytes)?;
        let mut text = String::new();
        describe(&message, "", &mut text);
        Ok(text)
    }
}

/// `fact`: the only field of the `oneof` to fill.
fn filled(descriptor: &MessageDescriptor, path: &str, fact: Option<u32>) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let in_oneof = field.containing_oneof().is_some_and(|one_of| !one_of.is_synthetic());
        if in_oneof && Some(field.number()) != fact {
            continue;
        }
        let path = format!("{path}.{}", field.name());
        let value =
            if field.is_list() { Value::List((0..2).map(|position| value(&field, &format!("{path}[{position}]"))).collect()) } else { value(&field, &path) };
        message.set_field(&field, value);
    }
    message
}

/// Plausible in length and form; different for different paths.
fn value(field: &FieldDescriptor, path: &str) -> Value {
    let seed = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let small = u32::try_from(seed % 199 + 1).expect("small");
    match field.kind() {
        Kind::Bool => Value::Bool(true),
        Kind::Uint32 => Value::U32(small),
        Kind::Uint64 => Value::U64(u64::from(small)),
        Kind::Sint32 => Value::I32(-i32::try_from(small).expect("small") * 1_000_003),
        Kind::Int64 => Value::I64(1_595_808_000_000_000 + i64::from(small) * 60_000_001),
        Kind::String => Value::String(text_value(field.name(), small)),
        Kind::Bytes => {
            let length = match field.name() {
                "nonce" => 12,
                "ciphertext" => 48,
                name if name.ends_with("digest") => 32,
                _ => 16,
            };
            let bytes: Vec<u8> = (0..length).map(|position| (seed >> (position % 8 * 8)) as u8 ^ position).collect();
            Value::Bytes(bytes.into())
        }
        Kind::Enum(values) => {
            // The first two only, so that a new value of an enum leaves every sample as it is.
            let choices: Vec<i32> = values.values().map(|value| value.number()).filter(|number| *number != 0).take(2).collect();
            Value::EnumNumber(choices[small as usize % choices.len()])
        }
        Kind::Message(message) => Value::Message(filled(&message, path, None)),
        other => panic!("the contracts use no fields of kind {other:?}"),
    }
}

fn text_value(name: &str, small: u32) -> String {
    match name {
        "date_of_birth" => format!("19{:02}-03-{:02}", 20 + small % 40, small % 28 + 1),
        name if name.ends_with("_on") || name.ends_with("_day") || name.ends_with("_from") => {
            format!("2020-07-{:02}", small % 28 + 1)
        }
        "nhs_number" => format!("999{:07}", small),
        "occurred_zone" => "Europe/London".to_owned(),
        name if name.ends_with("_ods") => format!("X{small:03}"),
        name => format!("{name} {small}"),
    }
}

fn describe(message: &DynamicMessage, path: &str, text: &mut String) {
    for (field, value) in message.fields() {
        let path = if path.is_empty() { field.name().to_owned() } else { format!("{path}.{}", field.name()) };
        match value {
            Value::List(values) => {
                for (position, value) in values.iter().enumerate() {
                    describe_value(&field, value, &format!("{path}[{position}]"), text);
                }
            }
            value => describe_value(&field, value, &path, text),
        }
    }
    for unknown in message.unknown_fields() {
        line(text, &format!("{path}.{}", unknown.number()), "unknown");
    }
}

fn describe_value(field: &FieldDescriptor, value: &Value, path: &str, text: &mut String) {
    match value {
        Value::Message(message) => {
            if message.fields().next().is_none() {
                line(text, path, "{}");
            }
            describe(message, path, text);
        }
        Value::Bytes(bytes) => {
            line(text, path, &bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        }
        Value::EnumNumber(number) => {
            let kind = field.kind();
            let name = kind.as_enum().and_then(|values| values.get_value(*number));
            line(text, path, name.as_ref().map_or("unknown value", |value| value.name()));
        }
        Value::String(string) => line(text, path, &format!("{string:?}")),
        Value::Bool(value) => line(text, path, &value.to_string()),
        Value::U32(value) => line(text, path, &value.to_string()),
        Value::U64(value) => line(text, path, &value.to_string()),
        Value::I32(value) => line(text, path, &value.to_string()),
        Value::I64(value) => line(text, path, &value.to_string()),
        other => panic!("the contracts have no values like {other:?}"),
    }
}

fn line(text: &mut String, path: &str, value: &str) {
    writeln!(text, "{path} = {value}").expect("writing to a string cannot fail");
}
