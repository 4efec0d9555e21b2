//! The unit of append: everything that one step changes, all or nothing.

use crate::event::{EventRow, Fact};
use crate::upkeep::Upkeep;
use bytes::Bytes;
use hearthline_nhs::StreamId;
use std::borrow::Cow;

/// Events for one stream, which must stand at `expected` (0 = it does not exist yet).
#[derive(Debug, Clone)]
pub struct Write {
    pub stream: StreamId,
    pub expected: u64,
    pub events: Vec<EventRow>,
}

/// What happens when a claim's key is already taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimRule {
    /// The unit is refused as [`Answer::Claimed`].
    Unique,
    /// The first holder stays; the unit goes on.
    KeepFirst,
    /// The newcomer takes it over.
    Replace,
}

/// A key that only one may hold: an idempotency key, a natural key, uniqueness across streams.
#[derive(Debug, Clone)]
pub struct Claim {
    pub scope: &'static str,
    pub key: Bytes,
    /// What was claimed with it: a request body's digest, or anything its scope compares.
    pub digest: Bytes,
    /// The stream that holds it.
    pub owner: StreamId,
    /// The stream's version after this unit, for a reply rebuilt later.
    pub version: u64,
    /// When it may be swept, µs; none = never.
    pub expires_at: Option<i64>,
    pub rule: ClaimRule,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimKey {
    pub scope: &'static str,
    pub key: Bytes,
}

/// Who holds a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimHolder {
    pub scope: String,
    pub key: Bytes,
    pub digest: Bytes,
    pub owner: StreamId,
    pub version: u64,
    /// Position of the unit that took it.
    pub position: u64,
}

/// What became of one consumed record. Nothing is skipped without one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    Applied,
    Duplicate,
    Ignored(&'static str),
    Held(&'static str),
    Parked(String),
}

impl Disposition {
    pub fn kind(&self) -> &'static str {
        match self {
            Disposition::Applied => "applied",
            Disposition::Duplicate => "duplicate",
            Disposition::Ignored(_) => "ignored",
            Disposition::Held(_) => "held",
            Disposition::Parked(_) => "parked",
        }
    }
    pub fn why(&self) -> &str {
        match self {
            Disposition::Applied | Disposition::Duplicate => "",
            Disposition::Ignored(why) | Disposition::Held(why) => why,
            Disposition::Parked(why) => why,
        }
    }
}

/// Where a partition's consumption stands.
#[derive(Debug, Clone)]
pub enum CheckpointChange {
    /// A new owner: the epoch rises by one if the partition still stands at `from_epoch` and `next_offset`; a partition that
    /// nobody owned yet starts with them, from epoch 0.
    Take { subscription: String, topic: &'static str, partition: u16, from_epoch: i64, next_offset: i64 },
    /// The owner of `epoch` moves from one offset to the next unread one.
    Advance { subscription: String, topic: &'static str, partition: u16, epoch: i64, from: i64, to: i64 },
}

/// A record set aside, as the bytes received.
#[derive(Debug, Clone)]
pub struct ParkedRow {
    pub offset: i64,
    pub key: Bytes,
    pub held: bool,
    pub why: String,
    pub payload: Bytes,
    pub headers: Vec<(String, Bytes)>,
    pub parked_at: i64,
}

#[derive(Debug, Clone)]
pub enum ParkedChange {
    Add(ParkedRow),
    /// Gone, because it was applied or an operator discarded it.
    Remove {
        offset: i64,
    },
    Reason {
        offset: i64,
        held: bool,
        why: String,
    },
    /// An operator asks the partition's owner; `action` is `retry` or `discard`.
    Request {
        offset: i64,
        action: &'static str,
        reason: String,
    },
}

/// A change to the parked rows of one partition of one subscription.
#[derive(Debug, Clone)]
pub struct ParkedOf {
    pub subscription: String,
    pub topic: String,
    pub partition: u16,
    pub change: ParkedChange,
}

/// What a consumer did with a run of records.
#[derive(Debug, Clone, Default)]
pub struct Consumed {
    pub subscription: String,
    /// Facts to project, in order (those with disposition `Applied`).
    pub facts: Vec<Fact>,
    /// `(topic, disposition kind, why, how many)`.
    pub tally: Vec<(&'static str, &'static str, String, u64)>,
    /// Highest version applied per stream, with its event.
    pub seen: Vec<(StreamId, u64, [u8; 16])>,
    /// Archive the facts' payloads without their sealed part.
    pub archive: bool,
}

/// A timer set or cancelled.
#[derive(Debug, Clone)]
pub enum TimerChange {
    Set {
        stream: StreamId,
        name: &'static str,
        due_at: i64,
        payload: Bytes,
    },
    Cancel {
        stream: StreamId,
        name: &'static str,
    },
    /// The timer fires in this unit; refused as `Fenced` if it was set anew meanwhile.
    Fired {
        stream: StreamId,
        name: String,
        due_at: i64,
    },
}

/// States of a delivery to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    Due,
    Sending,
    Confirmed,
    Refused,
    RetryAt,
    Unconfirmed,
    NeedsUser,
    Expired,
}

impl DeliveryState {
    pub const ALL: [DeliveryState; 8] = [
        DeliveryState::Due,
        DeliveryState::Sending,
        DeliveryState::Confirmed,
        DeliveryState::Refused,
        DeliveryState::RetryAt,
        DeliveryState::Unconfirmed,
        DeliveryState::NeedsUser,
        DeliveryState::Expired,
    ];
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Due => "due",
            DeliveryState::Sending => "sending",
            DeliveryState::Confirmed => "confirmed",
            DeliveryState::Refused => "refused",
            DeliveryState::RetryAt => "retry_at",
            DeliveryState::Unconfirmed => "unconfirmed",
            DeliveryState::NeedsUser => "needs_user",
            DeliveryState::Expired => "expired",
        }
    }
    pub fn parse(s: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == s)
    }
    /// Nothing more will be sent for it.
    pub fn is_final(self) -> bool {
        matches!(self, DeliveryState::Confirmed | DeliveryState::Refused | DeliveryState::Expired)
    }
}

/// A delivery as inserted. `payload` is small and free of personal data: it names the blob to send.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    pub id: [u8; 16],
    pub kind: &'static str,
    pub destination: String,
    /// Deliveries of one destination and subject go out one after the other.
    pub subject: StreamId,
    /// The stream on which its outcome is recorded.
    pub stream: StreamId,
    pub payload: Bytes,
    pub state: DeliveryState,
    pub sender: Option<[u8; 16]>,
    pub deadline_at: Option<i64>,
    pub next_at: i64,
    pub expires_at: Option<i64>,
    pub traceparent: Option<String>,
    pub created_at: i64,
}

/// A delivery as stored.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: [u8; 16],
    pub seq: i64,
    pub kind: String,
    pub destination: String,
    pub subject: StreamId,
    pub stream: StreamId,
    pub payload: Bytes,
    pub state: DeliveryState,
    pub attempt: u32,
    pub sender: Option<[u8; 16]>,
    pub deadline_at: Option<i64>,
    pub next_at: i64,
    pub expires_at: Option<i64>,
    pub code: Option<String>,
    pub reference: Option<String>,
    pub traceparent: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
}

/// A compare-and-set on (state, attempt).
#[derive(Debug, Clone)]
pub struct DeliveryMove {
    pub id: [u8; 16],
    pub from: DeliveryState,
    pub from_attempt: u32,
    pub to: DeliveryState,
    pub attempt: u32,
    pub sender: Option<[u8; 16]>,
    pub deadline_at: Option<i64>,
    pub next_at: i64,
    pub code: Option<String>,
    pub reference: Option<String>,
    pub at: i64,
}

#[derive(Debug, Clone)]
pub enum DeliveryChange {
    Insert(NewDelivery),
    Move(DeliveryMove),
}

/// A document kept beside the events; the events carry its digest.
#[derive(Debug, Clone)]
pub struct Blob {
    pub id: [u8; 16],
    pub stream: StreamId,
    pub media_type: &'static str,
    /// Sealed under the stream's key; associated data is the blob's id.
    pub sealed: Bytes,
    /// SHA-256 of the plain document.
    pub digest: [u8; 32],
    pub at: i64,
}

/// A read of personal data, or an act on it: who, whose, why, when.
#[derive(Debug, Clone)]
pub struct AuditRow {
    pub at: i64,
    pub role: &'static str,
    pub pseudonym: [u8; 16],
    pub organisation: String,
    pub action: &'static str,
    pub whose: Option<[u8; 16]>,
    pub why: String,
}

/// A hospital message as received, sealed, or what became of it.
#[derive(Debug, Clone)]
pub enum InboxChange {
    Receive(Box<InboxRow>),
    /// What became of a row; refused as `Fenced` with [`ROW_MOVED_ON`] if it does not stand where it was judged.
    Settle(Box<Settled>),
    /// What was said to a row that was sent: MSA-1, or empty where nobody answered.
    Answered {
        id: [u8; 16],
        state: &'static str,
        reply: &'static str,
        why: String,
    },
    /// Strangers' messages whose day is over.
    Sweep {
        day: String,
    },
}

/// Why a unit is refused that settles a row which somebody else settled meanwhile, or which was swept.
pub const ROW_MOVED_ON: &str = "the row moved on";

/// How a row stands after it was judged.
#[derive(Debug, Clone)]
pub struct Settled {
    pub id: [u8; 16],
    /// The state that it was judged in.
    pub from: Cow<'static, str>,
    pub state: &'static str,
    pub why: String,
    /// Names of the events that followed, or in a shadowed feed would have, parted by commas.
    pub effect: String,
    /// The stream it went to.
    pub stream: Option<StreamId>,
    pub resident: Option<[u8; 16]>,
    /// The lasting tag of whose it is, in place of the day's, which goes with the day; none leaves what stands.
    pub person_tag: Option<[u8; 16]>,
    /// The bytes lie in a blob under the stream's key: the copy under the day's key is dropped.
    pub moved: bool,
}

impl Settled {
    /// Of a row that leads nowhere, or not yet.
    pub fn new(id: [u8; 16], from: impl Into<Cow<'static, str>>, state: &'static str, why: String) -> Self {
        Settled { id, from: from.into(), state, why, effect: String::new(), stream: None, resident: None, person_tag: None, moved: false }
    }
}

/// A frame as received or sent.
#[derive(Debug, Clone)]
pub struct InboxRow {
    pub id: [u8; 16],
    pub received_at: i64,
    /// Sent by us to the peer, rather than received.
    pub outgoing: bool,
    pub peer: String,
    /// MSH-10; empty where it could not be read.
    pub control_id: String,
    /// MSH-9 as `ADT^A01`; empty likewise.
    pub kind: String,
    /// MSA-1 of the answer given (or had, for one that was sent); empty where there was none.
    pub reply: &'static str,
    /// Bytes of the message.
    pub size: u32,
    /// Keyed digest of peer, control id and body: the same message again.
    pub digest: [u8; 32],
    /// Tag of what follows MSH: the same body under another control id.
    pub body_tag: Option<[u8; 16]>,
    /// The day whose key seals it and whose lookup key tagged it, `YYYY-MM-DD`.
    pub day: String,
    pub person_tag: Option<[u8; 16]>,
    pub place_tag: Option<[u8; 16]>,
    /// The message's own time, µs: held messages are interpreted in this order.
    pub occurred_at: i64,
    pub sealed: Bytes,
    pub state: &'static str,
    pub why: String,
    /// As [`Settled::effect`].
    pub effect: String,
    pub stream: Option<StreamId>,
    pub resident: Option<[u8; 16]>,
    pub traceparent: Option<String>,
}

/// Everything one step changes.
#[derive(Debug, Clone, Default)]
pub struct Unit {
    pub writes: Vec<Write>,
    pub claims: Vec<Claim>,
    pub releases: Vec<ClaimKey>,
    pub checkpoint: Option<CheckpointChange>,
    pub consumed: Option<Consumed>,
    pub parked: Vec<ParkedOf>,
    pub inbox: Vec<InboxChange>,
    pub blobs: Vec<Blob>,
    pub audit: Vec<AuditRow>,
    pub deliveries: Vec<DeliveryChange>,
    pub timers: Vec<TimerChange>,
    /// The relay's cursor: everything up to here is in the log.
    pub relayed: Option<u64>,
    /// The lease of the service: `(holder, until µs, now µs)`; refused as `Fenced` while another's lasts beyond now.
    pub lease: Option<([u8; 16], i64, i64)>,
    /// The kernel's own rows.
    pub upkeep: Vec<Upkeep>,
    /// The events come back from the log: their versions rise from `expected`, but some may be missing in between.
    pub reimport: bool,
}

impl Unit {
    /// Adds what another unit changes; their checkpoint, lease and cursor must not both be set.
    pub fn merge(&mut self, other: Unit) {
        self.writes.extend(other.writes);
        self.claims.extend(other.claims);
        self.releases.extend(other.releases);
        self.checkpoint = self.checkpoint.take().or(other.checkpoint);
        self.consumed = self.consumed.take().or(other.consumed);
        self.parked.extend(other.parked);
        self.inbox.extend(other.inbox);
        self.blobs.extend(other.blobs);
        self.audit.extend(other.audit);
        self.deliveries.extend(other.deliveries);
        self.timers.extend(other.timers);
        self.relayed = self.relayed.or(other.relayed);
        self.lease = self.lease.or(other.lease);
        self.upkeep.extend(other.upkeep);
        self.reimport |= other.reimport;
    }
}

/// What the store says to a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Durable. `position` is that of the unit's last event, or the service's newest where it wrote none.
    Committed { position: u64 },
    /// A stream does not stand where the unit expected it.
    VersionConflict { stream: StreamId, expected: u64, actual: u64 },
    /// Somebody holds a claimed key.
    Claimed(ClaimHolder),
    /// Another owner, a timer set anew, a delivery moved on, a lease lost.
    Fenced(&'static str),
}
