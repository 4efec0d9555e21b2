//! The bytes of an event: put together, taken apart, and cut, alike in every context and without knowing the fact.
//!
//! A payload is read field by field on the outermost level only. The order of the fields does not matter, and fields
//! that this version does not know are skipped; but an envelope or a fact that is missing or there twice is
//! [`Malformed`], where protobuf would merge or drop silently. Nothing here reports a value: an error names what is
//! wrong and where.

use bytes::{BufMut, Bytes, BytesMut};
use prost::{DecodeError, Message};
use thiserror::Error;

use crate::envelope::{Envelope, Sealed};
use crate::facts::FIRST_FACT;
use crate::topics::Context;
use crate::{call, directory, hospital, kpi, outcome, prescribing, shared_record};

const ENVELOPE: u32 = 1;
const SEALED: u32 = 2;
const ENVELOPE_TAG: u8 = 0x0a;
const SEALED_TAG: u8 = 0x12;

/// Length of every id, in bytes.
pub const ID_LENGTH: usize = 16;
/// Length of the AES-256-GCM nonce of a sealed part, in bytes.
pub const NONCE_LENGTH: usize = 12;
/// Length of the AES-256-GCM tag at the end of a ciphertext, in bytes.
pub const TAG_LENGTH: usize = 16;

/// An event taken apart. `fact` shares the payload's memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// The envelope's event id.
    pub event_id: [u8; ID_LENGTH],
    /// The envelope's stream id.
    pub stream_id: [u8; ID_LENGTH],
    /// The envelope, decoded; its ids share the payload's memory.
    pub envelope: Envelope,
    /// The sealed part, where there is one.
    pub sealed: Option<Sealed>,
    /// The field of the fact as it came, tag included: an event message of its context without the other parts.
    pub fact: Bytes,
    /// The fact's field number; [`crate::facts::fact_name`] knows its name.
    pub fact_number: u32,
}

/// Bytes that are not an event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The payload ends inside a field.
    #[error("the payload ends inside a field")]
    Truncated,
    /// A variable-length integer has more than ten bytes or more than 64 bits.
    #[error("a variable-length integer is too long")]
    Varint,
    /// A field number outside 1 to 536,870,911.
    #[error("a field has a number that protobuf does not allow")]
    FieldNumber,
    /// A field has a wire type that cannot be there.
    #[error("field {number} has wire type {wire_type}")]
    WireType {
        /// The field's number.
        number: u32,
        /// The wire type, 0 to 7.
        wire_type: u8,
    },
    /// The envelope or the fact is missing.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// The envelope, the sealed part or the fact is there twice.
    #[error("there is more than one {0}")]
    Repeated(&'static str),
    /// A part has the wrong length.
    #[error("{0} has the wrong length")]
    Length(&'static str),
    /// The stream version is zero.
    #[error("the stream version is zero")]
    Version,
    /// A part cannot be decoded.
    #[error("the {part} cannot be decoded")]
    Undecodable {
        /// Which part.
        part: &'static str,
        /// What prost says; it names fields, never values.
        source: DecodeError,
    },
}

/// A context's event message, seen as a carrier of its fact.
pub trait ContextEvent: Message + Default {
    /// Whose events these are.
    const CONTEXT: Context;
    /// The `oneof` of its facts.
    type Fact;

    /// An event of the fact alone.
    fn of(fact: Self::Fact) -> Self;
    /// The fact, or `None` when this version does not know it.
    fn into_fact(self) -> Option<Self::Fact>;
}

/// Encodes the fact alone, ready for [`compose`] and for taking its number from.
pub fn fact_bytes<E: ContextEvent>(fact: impl Into<E::Fact>) -> Bytes {
    E::of(fact.into()).encode_to_vec().into()
}

/// Decodes a fact encoded by [`fact_bytes`] or found by [`split`]. `None`: this version does not know the fact.
///
/// # Errors
/// [`Malformed::Undecodable`] when the fact's own bytes are wrong.
pub fn fact_of<E: ContextEvent>(fact: Bytes) -> Result<Option<E::Fact>, Malformed> {
    let event = E::decode(fact).map_err(|source| Malformed::Undecodable { part: "fact", source })?;
    Ok(event.into_fact())
}

/// The field number of an encoded fact.
///
/// # Errors
/// When the bytes do not start with a field that may be a fact.
pub fn fact_number(fact: &[u8]) -> Result<u32, Malformed> {
    let field = next_field(fact, 0)?.ok_or(Malformed::Missing("fact"))?;
    match field.wire_type {
        _ if field.number < FIRST_FACT => Err(Malformed::Missing("fact")),
        LENGTH_DELIMITED => Ok(field.number),
        wire_type => Err(Malformed::WireType { number: field.number, wire_type }),
    }
}

/// Puts an event together. `fact` comes from [`fact_bytes`] or [`Parts::fact`].
pub fn compose(envelope: &Envelope, sealed: Option<&Sealed>, fact: &[u8]) -> Bytes {
    debug_assert!(fact_number(fact).is_ok(), "the third part of an event is an encoded fact");
    let envelope_length = envelope.encoded_len();
    let sealed_length = sealed.map_or(0, Message::encoded_len);
    // A tag and at most ten bytes of length before each of the two.
    let mut payload = BytesMut::with_capacity(envelope_length + sealed_length + fact.len() + 22);
    put_message(&mut payload, ENVELOPE_TAG, envelope, envelope_length);
    if let Some(sealed) = sealed {
        put_message(&mut payload, SEALED_TAG, sealed, sealed_length);
    }
    payload.put_slice(fact);
    payload.freeze()
}

/// Takes an event apart.
///
/// # Errors
/// [`Malformed`] when the bytes are not one envelope, at most one sealed part and one fact, or an id has the wrong length.
pub fn split(payload: &Bytes) -> Result<Parts, Malformed> {
    let mut envelope = None;
    let mut sealed = None;
    let mut fact = None;
    let mut at = 0;
    while let Some(field) = next_field(payload, at)? {
        let (place, part) = match field.number {
            ENVELOPE => (&mut envelope, "envelope"),
            SEALED => (&mut sealed, "sealed part"),
            number if number >= FIRST_FACT => (&mut fact, "fact"),
            _ => {
                at = field.end;
                continue;
            }
        };
        if field.wire_type != LENGTH_DELIMITED {
            return Err(Malformed::WireType { number: field.number, wire_type: field.wire_type });
        }
        at = field.end;
        if place.replace(field).is_some() {
            return Err(Malformed::Repeated(part));
        }
    }
    let envelope = envelope.ok_or(Malformed::Missing("envelope"))?;
    let fact = fact.ok_or(Malformed::Missing("fact"))?;
    let envelope: Envelope = decode_body(payload, &envelope, "envelope")?;
    if envelope.stream_version == 0 {
        return Err(Malformed::Version);
    }
    let sealed = match sealed {
        Some(field) => Some(checked(decode_body(payload, &field, "sealed part")?)?),
        None => None,
    };
    Ok(Parts {
        event_id: id(&envelope.event_id).ok_or(Malformed::Length("the event id"))?,
        stream_id: id(&envelope.stream_id).ok_or(Malformed::Length("the stream id"))?,
        envelope,
        sealed,
        fact: payload.slice(fact.start..fact.end),
        fact_number: fact.number,
    })
}

/// The payload with its sealed part cut out of the raw bytes; everything else stays as it is, unknown fields included.
///
/// # Errors
/// [`Malformed`] when the outermost level cannot be read to its end: what cannot be read is not handed on.
pub fn without_personal(payload: &Bytes) -> Result<Bytes, Malformed> {
    let mut kept = BytesMut::new();
    let mut kept_from = 0;
    let mut found = false;
    let mut at = 0;
    while let Some(field) = next_field(payload, at)? {
        if field.number == SEALED {
            if !found {
                kept.reserve(payload.len() - (field.end - field.start));
                found = true;
            }
            kept.put_slice(&payload[kept_from..field.start]);
            kept_from = field.end;
        }
        at = field.end;
    }
    if !found {
        return Ok(payload.clone());
    }
    kept.put_slice(&payload[kept_from..]);
    Ok(kept.freeze())
}

/// The associated data under which an event's personal data is sealed: event id, stream id, stream version and fact
/// number, the numbers big-endian in 8 and 4 bytes.
pub fn associated_data(event_id: &[u8; ID_LENGTH], stream_id: &[u8; ID_LENGTH], stream_version: u64, fact_number: u32) -> [u8; 44] {
    let mut data = [0; 44];
    data[..16].copy_from_slice(event_id);
    data[16..32].copy_from_slice(stream_id);
    data[32..40].copy_from_slice(&stream_version.to_be_bytes());
    data[40..].copy_from_slice(&fact_number.to_be_bytes());
    data
}

const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED_32: u8 = 5;
const FIELD_NUMBER_MAX: u64 = (1 << 29) - 1;

/// A field on the outermost level: `start..end` with its tag, `body..end` without tag and length.
struct Field {
    number: u32,
    wire_type: u8,
    start: usize,
    body: usize,
    end: usize,
}

fn next_field(payload: &[u8], start: usize) -> Result<Option<Field>, Malformed> {
    if start >= payload.len() {
        return Ok(None);
    }
    let (tag, after_tag) = varint(payload, start)?;
    let wire_type = (tag & 7) as u8;
    let number = match tag >> 3 {
        // In range, so it fits.
        number @ 1..=FIELD_NUMBER_MAX => number as u32,
        _ => return Err(Malformed::FieldNumber),
    };
    let (body, length) = match wire_type {
        VARINT => (after_tag, varint(payload, after_tag)?.1 - after_tag),
        FIXED_64 => (after_tag, 8),
        FIXED_32 => (after_tag, 4),
        LENGTH_DELIMITED => {
            let (length, body) = varint(payload, after_tag)?;
            (body, usize::try_from(length).map_err(|_| Malformed::Truncated)?)
        }
        _ => return Err(Malformed::WireType { number, wire_type }),
    };
    let end = body.checked_add(length).filter(|end| *end <= payload.len()).ok_or(Malformed::Truncated)?;
    Ok(Some(Field { number, wire_type, start, body, end }))
}

/// The integer at `at` and where it ends.
fn varint(payload: &[u8], at: usize) -> Result<(u64, usize), Malformed> {
    let mut value = 0_u64;
    for (position, byte) in payload[at..].iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if position == 9 && bits > 1 {
            return Err(Malformed::Varint);
        }
        value |= bits << (7 * position);
        if byte & 0x80 == 0 {
            return Ok((value, at + position + 1));
        }
    }
    Err(if payload.len() - at >= 10 { Malformed::Varint } else { Malformed::Truncated })
}

fn put_message(payload: &mut BytesMut, tag: u8, message: &impl Message, length: usize) {
    payload.put_u8(tag);
    prost::encode_length_delimiter(length, payload).expect("the buffer grows");
    message.encode_raw(payload);
}

fn decode_body<M: Message + Default>(payload: &Bytes, field: &Field, part: &'static str) -> Result<M, Malformed> {
    M::decode(payload.slice(field.body..field.end)).map_err(|source| Malformed::Undecodable { part, source })
}

fn checked(sealed: Sealed) -> Result<Sealed, Malformed> {
    if sealed.key_id.len() != ID_LENGTH {
        Err(Malformed::Length("the key id"))
    } else if sealed.nonce.len() != NONCE_LENGTH {
        Err(Malformed::Length("the nonce"))
    } else if sealed.ciphertext.len() < TAG_LENGTH {
        Err(Malformed::Length("the ciphertext"))
    } else {
        Ok(sealed)
    }
}

fn id(bytes: &Bytes) -> Option<[u8; ID_LENGTH]> {
    bytes.as_ref().try_into().ok()
}

/// A field holds no code that this version knows, or none at all where there must be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the code of {0} is missing or not known")]
pub struct UnknownCode(pub &'static str);

/// A service's own enum as the contracts number it; [`coded!`](crate::coded) stamps it.
pub trait Coded: Sized {
    /// The number in the contracts.
    fn code(self) -> i32;
    /// The value of a number.
    ///
    /// # Errors
    /// [`UnknownCode`] for zero (unspecified) and for numbers that this version does not know.
    fn of_code(code: i32) -> Result<Self, UnknownCode>;
}

/// Maps enums of a service to enums of the contracts, variant by variant, both ways.
///
/// `coded! { Channel = call::Channel { Telephone = Telephone, Video = Video } }`
#[macro_export]
macro_rules! coded {
    ($($ours:ty = $theirs:ty { $($variant:ident = $number:ident),+ $(,)? })+) => {$(
        impl $crate::wire::Coded for $ours {
            fn code(self) -> i32 {
                (match self { $(<$ours>::$variant => <$theirs>::$number),+ }) as i32
            }
            fn of_code(code: i32) -> Result<Self, $crate::wire::UnknownCode> {
                match <$theirs>::try_from(code) {
                    $(Ok(<$theirs>::$number) => Ok(<$ours>::$variant),)+
                    _ => Err($crate::wire::UnknownCode(stringify!($ours))),
                }
            }
        }
    )+};
}

macro_rules! context_events {
    ($($context:ident: $event:path, $fact:path;)*) => {$(
        impl ContextEvent for $event {
            const CONTEXT: Context = Context::$context;
            type Fact = $fact;

            fn of(fact: $fact) -> Self {
                Self { fact: Some(fact), ..Self::default() }
            }

            fn into_fact(self) -> Option<$fact> {
                self.fact
            }
        }
    )*};
}

context_events! {
    Call: call::CallEvent, call::call_event::Fact;
    Outcome: outcome::OutcomeEvent, outcome::outcome_event::Fact;
    Prescribing: prescribing::PrescribingEvent, prescribing::prescribing_event::Fact;
    SharedRecord: shared_record::SharedRecordEvent, shared_record::shared_record_event::Fact;
    Hospital: hospital::HospitalEvent, hospital::hospital_event::Fact;
    Directory: directory::DirectoryEvent, directory::directory_event::Fact;
    Kpi: kpi::KpiEvent, kpi::kpi_event::Fact;
}
