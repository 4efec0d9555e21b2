//! Keys for finding rows by an identifier without keeping the identifier.
//!
//! Two kinds of lookup key: the *lasting* one tags what must be found for years (residents, visits of theirs or of a home), a *daily*
//! one what is kept for fourteen days and then can never be found again (strangers' messages).

use crate::reading::VisitName;
use hearthline_eventing::{Claim, ClaimRule, Keyring, KeyringError, Lookup};
use hearthline_nhs::{DateOfBirth, NhsNumber, OdsCode, StreamId};
use jiff::civil::Date;

/// A message that was taken: the key is its digest, the owner its row.
pub const INBOX: &str = "inbox";
/// A control id that came again with another message: for counting.
pub const CONTROL_REUSED: &str = "control-reused";
/// A resident's number, with the tag of number and date of birth.
pub const RESIDENT_NHS: &str = "resident-nhs";
/// A visit's name within its facility; the owner is its stream.
pub const VISIT: &str = "visit";
/// A message that waits for its visit to be opened; the owner is the visit's tag.
pub const WAITING: &str = "waiting";
/// The same by another name of the visit: what stays in a merge of visits, or another identifier of the patient.
pub const WAITING_ALSO: &str = "waiting-also";
/// A message that waits to hear more of somebody, as a merge of whom it merges, and what names another patient than its visit's of that
/// patient: the key is the tag of their number with the row, the digest the row, the owner the tag.
pub const WAITING_PERSON: &str = "waiting-person";
/// A message's places but the first, which its row has: the key is the tag with the row, the digest the row, the owner the tag.
pub const PLACE_ALSO: &str = "place-also";
/// A death, or a merge of residents, that a facility reported: it is told of once.
pub const DEATH: &str = "death";
/// A facility's identifier of a patient that a merge retired; the owner is the tag of the one that stays.
pub const PATIENT_ALIAS: &str = "patient-alias";

const DAY_US: i64 = 24 * 3_600 * 1_000_000;

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

    /// What a facility said of a resident's death: that they died, or on which day.
    pub fn death(&self, facility: &OdsCode, resident: &[u8; 16], on: Option<Date>) -> [u8; 16] {
        self.0.tag("death", &format!("{facility}\0{}\0{}", hex(resident), on.map(|day| day.to_string()).unwrap_or_default()))
    }

    /// Two residents whom a facility made one.
    pub fn merge(&self, facility: &OdsCode, survivor: &[u8; 16], retired: &[u8; 16]) -> [u8; 16] {
        self.0.tag_bytes("merge", &[facility.as_str().as_bytes(), &[0], survivor, retired])
    }

    /// A patient by what the facility calls them.
    pub fn patient(&self, facility: &OdsCode, key: &str) -> [u8; 16] {
        self.0.tag_bytes("patient", &[facility.as_str().as_bytes(), &[0], key.as_bytes()])
    }

    /// A visit without a number, by its patient and admission.
    pub fn admission(&self, patient: &[u8; 16], at_us: i64) -> [u8; 16] {
        self.0.tag_bytes("admission", &[patient, &at_us.to_be_bytes()])
    }

    /// What follows MSH, with the type of the message: the same body under another control id has the same. Keyed: a plain digest
    /// could be compared with guessed messages.
    pub fn body(&self, kind: &str, body: &[u8]) -> [u8; 16] {
        self.0.tag_bytes("body", &[kind.as_bytes(), &[0], body])
    }

    /// Sender, control id and body.
    pub fn message(&self, peer: &str, application: &str, control_id: &str, body: &[u8; 16]) -> [u8; 16] {
        self.0.tag_bytes("message", &[peer.as_bytes(), &[0], application.as_bytes(), &[0], control_id.as_bytes(), &[0], body])
    }

    /// Of one attempt to send a message: each attempt has its own.
    pub fn attempt(&self, row: &[u8; 16], raw: &[u8]) -> [u8; 32] {
        let mut both = [0; 32];
        both[..16].copy_from_slice(&self.0.tag_bytes("message-1", &[row, raw]));
        both[16..].copy_from_slice(&self.0.tag_bytes("message-2", &[row, raw]));
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

    /// The day's key, if there is one: looking for what is held makes no keys.
    pub async fn if_kept(keyring: &Keyring, day: &str) -> Result<Option<Self>, KeyringError> {
        Ok(keyring.lookup_if_kept(day).await?.map(Daily))
    }

    /// A patient without a usable NHS number, by what the facility calls them.
    pub fn local(&self, peer: &str, key: &str) -> [u8; 16] {
        self.0.tag_bytes("local", &[peer.as_bytes(), &[0], key.as_bytes()])
    }

    /// A postcode or a UPRN at which a home may be (see [`crate::domain::place::PatientAddress::places`]).
    pub fn place(&self, place: &str) -> [u8; 16] {
        self.0.tag("place", place)
    }
}

/// The names of a day's two keys in the keyring: for its messages, and for its tags.
pub fn key_names(day: &str) -> [String; 2] {
    [message_key_name(day), day.to_owned()]
}

pub fn message_key_name(day: &str) -> String {
    format!("inbox:{day}")
}

/// A claim that goes with a message: it lasts a day longer.
pub fn message_claim(scope: &'static str, key: &[u8], digest: &[u8], owner: [u8; 16], rule: ClaimRule, kept: (i64, u16)) -> Claim {
    let (now, kept_days) = kept;
    Claim {
        scope,
        key: key.to_vec().into(),
        digest: digest.to_vec().into(),
        owner: StreamId::from_bytes(owner),
        version: 0,
        expires_at: Some(now + (i64::from(kept_days) + 1) * DAY_US),
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
