//! Events on their way in and out of a store.

use bytes::Bytes;
use hearthline_contracts::envelope::{ActorRole, Envelope, Sealed};
use hearthline_nhs::StreamId;

/// Who did it: a role and a pseudonym, never a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    pub role: ActorRole,
    pub pseudonym: [u8; 16],
}

impl Actor {
    /// The backbone itself, acting on a policy or a timer.
    pub const SYSTEM: Actor = Actor { role: ActorRole::System, pseudonym: [0; 16] };
}

/// When it happened, in µs UTC, with the zone that the source named and whether its local time was ambiguous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurred {
    pub at_us: i64,
    pub zone: String,
    pub ambiguous: bool,
    /// Entered afterwards, from a paper downtime or by retrospective entry.
    pub late_entry: bool,
}

impl Occurred {
    pub fn at(at_us: i64) -> Self {
        Occurred { at_us, zone: String::new(), ambiguous: false, late_entry: false }
    }
}

/// Who and what caused a unit; goes into every event of it.
#[derive(Debug, Clone)]
pub struct Cause {
    pub actor: Actor,
    /// The event that caused this one; none where a person or an outside message did.
    pub causation: Option<[u8; 16]>,
    /// The same for everything that follows from one call or one hospital message.
    pub correlation: [u8; 16],
    pub traceparent: Option<String>,
}

/// An event that `decide` gave and `wire` encoded; personal data still in clear, in memory only.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The fact's name, as in the contracts.
    pub name: &'static str,
    /// The encoded `oneof` field of the context's event message.
    pub fact: Bytes,
    /// The encoded personal message of the fact, to be sealed.
    pub personal: Option<zeroize::Zeroizing<Vec<u8>>>,
    pub occurred: Occurred,
    /// Schema revision of the fact, from 1.
    pub revision: u32,
}

/// An event ready to be appended: sealed, encoded, its version fixed.
#[derive(Debug, Clone)]
pub struct EventRow {
    pub stream: StreamId,
    pub version: u64,
    pub event_id: [u8; 16],
    pub name: &'static str,
    pub envelope: Envelope,
    pub payload: Bytes,
    pub traceparent: Option<String>,
}

/// An event as a store gives it back.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub position: u64,
    pub stream: StreamId,
    pub version: u64,
    pub event_id: [u8; 16],
    pub name: String,
    pub payload: Bytes,
    pub traceparent: Option<String>,
}

/// A fact as views and policies see it, whether it is one's own or came from another context.
#[derive(Debug, Clone)]
pub struct Fact {
    /// The topic of its context, for example `hearthline.call.v1`.
    pub topic: &'static str,
    pub envelope: Envelope,
    pub sealed: Option<Sealed>,
    /// The whole message as recorded; decode it with the context's event type.
    pub payload: Bytes,
}

impl Fact {
    pub fn stream(&self) -> StreamId {
        StreamId::from_bytes(id16(&self.envelope.stream_id))
    }
    pub fn event_id(&self) -> [u8; 16] {
        id16(&self.envelope.event_id)
    }
    pub fn version(&self) -> u64 {
        self.envelope.stream_version
    }
}

/// A 16-byte identifier out of a checked envelope.
pub(crate) fn id16(bytes: &[u8]) -> [u8; 16] {
    bytes.try_into().expect("identifiers are checked when a payload is split")
}
