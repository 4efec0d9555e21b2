//! Keys for finding rows by an identifier without keeping the identifier.
//!
//! Two kinds of lookup key: the *lasting* one tags what must be found for years (residents, visits of theirs or of a home), a *daily*
//! one what is kept for fourteen days and then can never be found again (strangers' messages).

use crate::reading::{Reading, VisitName};
use hearthline_eventing::{Claim, ClaimRule, Keyring, KeyringError, Lookup};
use hearthline_nhs::{DateOfBirth, NhsNumber, OdsCode, Postcode, StreamId};
use sha2::{Digest, Sha256};

/// A message that was taken: the key is its digest, the owner its row.
pub const INBOX: &str = "inbox";
/// A control id of a peer, with the digest of the message that had it first.
pub const CONTROL: &str = "control";
/// A control id that came again with another message: for counting.
pub const CONTROL_REUSED: &str = "control-reused";
/// A resident's number, with the tag of number and date of birth.
pub const RESIDENT_NHS: &str = "resident-nhs";
/// A visit's name within its facility; the owner is its stream.
pub const VISIT: &str = "visit";
/// A message that waits for its visit to be opened; the owner is the visit's tag.
pub const WAITING: &str = "waiting";
/// A held message that has had its effect: it has it once.
pub const TAKEN: &str = "taken";
/// A death that a facility reported of a resident.
pub const DEATH: &str = "death";

/// Claims about messages last a day longer than the messages.
const MESSAGE_CLAIMS_KEPT_US: i64 = 15 * 24 * 3_600 * 1_000_000;

/// The lasting lookup key.
pub struct Lasting(Lookup);

impl Lasting {
    pub async fn open(keyring: &Keyring) -> Result<Self, KeyringError> {
        Ok(Lasting(keyring.lookup("lasting").await?))
    }

    pub fn number(&self, number: &NhsNumber) -> [u8; 16] {
        self.0.tag("nhs", number.as_str())
    }

    /// Compared, never searched for: whether a date of birth agrees without keeping one.
    pub fn born(&self, number: &NhsNumber, date_of_birth: &DateOfBirth) -> [u8; 16] {
        self.0.tag("nhs-born", &format!("{}\0{}", number.as_str(), date_of_birth.to_iso()))
    }

    pub fn visit(&self, facility: &OdsCode, visit: &VisitName) -> [u8; 16] {
        self.0.tag("visit", &format!("{facility}\0{}", visit.0))
    }

    pub fn control(&self, reading: &Reading) -> [u8; 16] {
        self.0.tag("control", &format!("{}\0{}", reading.peer.name, reading.control_id))
    }

    pub fn death(&self, facility: &OdsCode, resident: &[u8; 16]) -> [u8; 16] {
        self.0.tag("death", &format!("{facility}\0{}", hex(resident)))
    }

    /// Peer, control id and body as one keyed digest: an unkeyed one could be compared with guessed messages.
    pub fn message(&self, reading: &Reading, raw: &[u8]) -> [u8; 32] {
        let digest =
            Sha256::new().chain_update(&reading.peer.name).chain_update([0]).chain_update(&reading.control_id).chain_update([0]).chain_update(raw).finalize();
        self.digest(&hex(&digest))
    }

    /// As [`Lasting::message`], of one attempt to send a message: each attempt has its own.
    pub fn attempt(&self, row: &[u8; 16], raw: &[u8]) -> [u8; 32] {
        self.digest(&hex(&Sha256::new().chain_update(row).chain_update(raw).finalize()))
    }

    fn digest(&self, text: &str) -> [u8; 32] {
        let mut both = [0; 32];
        both[..16].copy_from_slice(&self.0.tag("message-1", text));
        both[16..].copy_from_slice(&self.0.tag("message-2", text));
        both
    }
}

/// The lookup key of one day.
pub struct Daily(Lookup);

impl Daily {
    /// Makes the key if the day has none yet.
    pub async fn of(keyring: &Keyring, day: &str) -> Result<Self, KeyringError> {
        Ok(Daily(keyring.lookup(day).await?))
    }

    pub fn number(&self, number: &NhsNumber) -> [u8; 16] {
        self.0.tag("nhs", number.as_str())
    }

    pub fn place(&self, postcode: &Postcode) -> [u8; 16] {
        self.0.tag("place", postcode.as_str())
    }
}

/// The names of a day's two keys in the keyring: for its messages, and for its tags.
pub fn key_names(day: &str) -> [String; 2] {
    [message_key_name(day), day.to_owned()]
}

pub fn message_key_name(day: &str) -> String {
    format!("inbox:{day}")
}

/// A claim that goes with a message and ends after it.
pub fn message_claim(scope: &'static str, key: &[u8], digest: &[u8], owner: [u8; 16], rule: ClaimRule, now: i64) -> Claim {
    Claim {
        scope,
        key: key.to_vec().into(),
        digest: digest.to_vec().into(),
        owner: StreamId::from_bytes(owner),
        version: 0,
        expires_at: Some(now + MESSAGE_CLAIMS_KEPT_US),
        rule,
    }
}

/// A claim that stays.
pub fn lasting_claim(scope: &'static str, key: [u8; 16], digest: &[u8], owner: StreamId, rule: ClaimRule) -> Claim {
    Claim { scope, key: key.to_vec().into(), digest: digest.to_vec().into(), owner, version: 0, expires_at: None, rule }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
