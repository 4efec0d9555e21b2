//! From decided events to rows: envelope, seal, encode. Runs in the caller's task, so that the one writer only writes.

use crate::event::{Cause, EventRow, Fact, NewEvent};
use crate::keyring::{Access, Keyring};
use crate::ports::{DataKey, KeyringError, StoredBlob};
use crate::seal;
use crate::unit::{Blob, Write};
use crate::upgrade::Level;
use bytes::Bytes;
use hearthline_contracts::envelope as pb;
use hearthline_contracts::topics::Topic;
use hearthline_contracts::wire;
use hearthline_nhs::{Personal, Sensitive, StreamId};
use sha2::{Digest, Sha256};

/// What a deployment stamps on every event it makes.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub environment: pb::Environment,
    pub controller_ods: String,
    /// As the store gives it ([`crate::upgrade::begin`]).
    pub incarnation: u32,
    pub level: Level,
}

/// The oldest reader that may take what we write.
pub const READER_REVISION: u32 = 1;

/// Makes units' writes and opens what they sealed.
#[derive(Clone)]
pub struct Composer {
    pub topic: &'static Topic,
    pub deployment: Deployment,
    pub keyring: Keyring,
}

/// An event's personal part, opened, or why it is not.
pub type PersonalBytes = Personal<Vec<u8>>;

impl Composer {
    /// The schema level up to which events are written now: a service chooses the older form of what is newer.
    pub fn level(&self) -> u32 {
        self.deployment.level.writable()
    }

    /// Seals and encodes `events` as versions `expected + 1 …` of `stream`. The stream's key is durable before this returns.
    /// `recorded_at` is µs UTC by the server's clock.
    pub async fn write(&self, stream: StreamId, expected: u64, events: Vec<NewEvent>, cause: &Cause, recorded_at: i64) -> Result<Write, ComposeError> {
        if let Some(newer) = events.iter().find(|e| e.revision > self.level()) {
            return Err(ComposeError::NotFinalised { fact: newer.name, revision: newer.revision, level: self.level() });
        }
        let key = if events.iter().any(|e| e.personal.is_some()) { Some(self.keyring.ensure(*stream.bytes()).await?) } else { None };
        let mut causation = cause.causation;
        let events = (expected + 1..)
            .zip(events)
            .map(|(version, event)| {
                let row = self.row(stream, version, event, key.as_ref(), cause, causation, recorded_at);
                causation = Some(row.event_id);
                row
            })
            .collect();
        Ok(Write { stream, expected, events })
    }

    #[expect(clippy::too_many_arguments, reason = "each is one field of the envelope")]
    fn row(
        &self,
        stream: StreamId,
        version: u64,
        event: NewEvent,
        key: Option<&DataKey>,
        cause: &Cause,
        causation: Option<[u8; 16]>,
        recorded_at: i64,
    ) -> EventRow {
        let event_id = *uuid::Uuid::now_v7().as_bytes();
        let envelope = pb::Envelope {
            event_id: Bytes::copy_from_slice(&event_id),
            stream_id: Bytes::copy_from_slice(stream.bytes()),
            stream_version: version,
            incarnation: self.deployment.incarnation,
            occurred_at_us: event.occurred.at_us,
            occurred_zone: event.occurred.zone,
            occurred_ambiguous: event.occurred.ambiguous,
            recorded_at_us: recorded_at,
            actor: Some(pb::Actor { role: cause.actor.role as i32, pseudonym: Bytes::copy_from_slice(&cause.actor.pseudonym) }),
            controller_ods: self.deployment.controller_ods.clone(),
            environment: self.deployment.environment as i32,
            causation_id: causation.map(|id| Bytes::copy_from_slice(&id)).unwrap_or_default(),
            correlation_id: Bytes::copy_from_slice(&cause.correlation),
            schema_revision: event.revision,
            least_reader_revision: READER_REVISION,
            late_entry: event.occurred.late_entry,
        };
        let fact_number = wire::fact_number(&event.fact).expect("services encode facts with the contracts");
        let sealed = event.personal.as_ref().zip(key).map(|(plain, key)| {
            let (nonce, ciphertext) = seal::seal(key, &wire::associated_data(&event_id, stream.bytes(), version, fact_number), plain);
            pb::Sealed { key_id: Bytes::copy_from_slice(stream.bytes()), nonce: Bytes::copy_from_slice(&nonce), ciphertext: ciphertext.into() }
        });
        let payload = wire::compose(&envelope, sealed.as_ref(), &event.fact);
        EventRow { stream, version, event_id, name: event.name, envelope, payload, traceparent: cause.traceparent.clone() }
    }

    /// Opens the personal part of a fact of any context, as far as granted; `None` where the fact has none.
    pub async fn personal(&self, fact: &Fact) -> Result<Option<PersonalBytes>, OpenError> {
        let Some(sealed) = &fact.sealed else { return Ok(None) };
        let key_id: [u8; 16] = sealed.key_id.as_ref().try_into().map_err(|_| OpenError::Broken(seal::SealBroken))?;
        let number = wire::split(&fact.payload).map_err(|_| OpenError::Broken(seal::SealBroken))?.fact_number;
        Ok(Some(match self.keyring.open(key_id).await? {
            Access::Key(key) => {
                let ad = wire::associated_data(&fact.event_id(), fact.stream().bytes(), fact.version(), number);
                Personal::Known(Sensitive::new(std::mem::take(&mut *seal::open(&key, &ad, &sealed.nonce, &sealed.ciphertext)?)))
            }
            Access::Destroyed => Personal::Destroyed,
            Access::NotGranted => Personal::Withheld,
        }))
    }

    /// Seals a document under the key of its stream.
    pub async fn blob(&self, id: [u8; 16], stream: StreamId, media_type: &'static str, plain: &[u8], at: i64) -> Result<Blob, KeyringError> {
        let key = self.keyring.ensure(*stream.bytes()).await?;
        Ok(Blob { id, stream, media_type, sealed: seal::seal_joined(&key, &id, plain).into(), digest: Sha256::digest(plain).into(), at })
    }

    /// Opens a document; it is compared with its digest.
    pub async fn open_blob(&self, id: [u8; 16], blob: &StoredBlob) -> Result<PersonalBytes, OpenError> {
        Ok(match self.keyring.open(*blob.stream.bytes()).await? {
            Access::Key(key) => {
                let mut plain = seal::open_joined(&key, &id, &blob.sealed)?;
                if <[u8; 32]>::from(Sha256::digest(&*plain)) != blob.digest {
                    return Err(OpenError::Broken(seal::SealBroken));
                }
                Personal::Known(Sensitive::new(std::mem::take(&mut *plain)))
            }
            Access::Destroyed => Personal::Destroyed,
            Access::NotGranted => Personal::Withheld,
        })
    }
}

/// Events are not written as asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ComposeError {
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// A service must write the older form until then.
    #[error("{fact} revision {revision} is above the finalised level {level}: run `hearthline upgrade finalise` once every process is upgraded")]
    NotFinalised { fact: &'static str, revision: u32, level: u32 },
}

/// Personal data did not open although it should.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    #[error(transparent)]
    Broken(#[from] seal::SealBroken),
}
