//! HL7 going out: recorded before it is sent, and what was said to it afterwards.
//!
//! A row is made *sending*, and settles as *sent* (AA, CA), *refused* (AE, AR, CE, CR), *unconfirmed* (nobody said what became of it)
//! or *unsent* (there was no connection). A process that ends in between leaves *sending*, which is to be read as unconfirmed.
//! Whether to send again is the caller's to decide; each attempt has a row of its own.

use crate::gateway::Gateway;
use crate::tags::{Daily, Lasting, message_key_name};
use bytes::Bytes;
use hearthline_eventing::{Answer, InboxChange, InboxRow, NotNow, Unit, now_us, seal, trace};
use hearthline_interop::hl7v2::{Adt, Message};
use hearthline_nhs::{NhsNumber, london_date};
use hearthline_runtime::mllp_client::{MllpClient, Outcome};

pub const SENDING: &str = "sending";
pub const SENT: &str = "sent";
pub const REFUSED: &str = "refused";
pub const UNCONFIRMED: &str = "unconfirmed";
pub const UNSENT: &str = "unsent";

/// An attempt to send a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its row.
    pub id: [u8; 16],
    pub outcome: Outcome,
}

impl Gateway {
    /// Sends a message to `peer` over `client` and records both it and what was said to it. An error before the row was made: nothing
    /// was sent. An error after: the row stays *sending*.
    pub async fn send(&self, client: &mut MllpClient, peer: &str, message: &[u8]) -> Result<Attempt, NotNow> {
        let row = self.outgoing(peer, message).await?;
        let (id, control_id) = (row.id, row.control_id.clone());
        self.keep(InboxChange::Receive(row)).await?;
        let outcome = client.send(message, &control_id).await;
        let (state, reply, why) = match &outcome {
            Outcome::Accepted { code } => (SENT, code.code(), String::new()),
            // The receiver's text may hold anything, so its code alone is kept in clear.
            Outcome::Refused { code, error_code, .. } => (REFUSED, code.code(), error_code.as_ref().map(|c| error_words(c)).unwrap_or_default()),
            Outcome::Unconfirmed(why) => (UNCONFIRMED, "", why.clone()),
            Outcome::NotSent(why) => (UNSENT, "", why.clone()),
        };
        self.keep(InboxChange::Answered { id, state, reply, why }).await?;
        Ok(Attempt { id, outcome })
    }

    async fn outgoing(&self, peer: &str, raw: &[u8]) -> Result<InboxRow, NotNow> {
        let message = Message::parse(raw).map_err(|e| NotNow::Other(format!("a message to be sent is none: {e}")))?;
        let adt = Adt::of(&message);
        let now = now_us();
        let day = london_date(now).map_err(|e| NotNow::Other(e.to_string()))?.to_string();
        let id = hearthline_runtime::service::fresh_id();
        let keyring = &self.kernel.composer.keyring;
        let number = adt.nhs_number(|digits| NhsNumber::parse(digits).is_ok()).and_then(|found| NhsNumber::parse(found.digits.as_str()).ok());
        let person_tag = match &number {
            Some(number) => Some(Daily::of(keyring, &day).await?.number(number)),
            None => None,
        };
        let key = keyring.ensure(keyring.named(&message_key_name(&day))).await?;
        let header = |number| message.field("MSH", number).value().text().unwrap_or_default();
        let kind = [1, 2].map(|part| message.field("MSH", 9).component(part).code().unwrap_or_default().to_owned());
        Ok(InboxRow {
            id,
            received_at: now,
            outgoing: true,
            peer: peer.to_owned(),
            control_id: header(10).to_owned(),
            kind: kind.join("^").trim_end_matches('^').to_owned(),
            reply: "",
            size: u32::try_from(raw.len()).unwrap_or(u32::MAX),
            digest: Lasting::open(keyring).await?.attempt(&id, raw),
            body_tag: None,
            person_tag,
            place_tag: None,
            occurred_at: now,
            sealed: Bytes::from(seal::seal_joined(&key, &id, raw)),
            state: SENDING,
            why: String::new(),
            effect: String::new(),
            stream: None,
            resident: None,
            traceparent: trace::current(),
            day,
        })
    }

    async fn keep(&self, change: InboxChange) -> Result<(), NotNow> {
        match self.kernel.store.append(Unit { inbox: vec![change], ..Unit::default() }).await? {
            Answer::Committed { .. } => Ok(()),
            other => Err(NotNow::Other(format!("a row of a message sent was not taken: {other:?}"))),
        }
    }
}

/// Table 0357 has numbers; anything else is the receiver's own text.
fn error_words(code: &str) -> String {
    if code.len() <= 6 && code.bytes().all(|b| b.is_ascii_alphanumeric()) { format!("error code {code}") } else { String::new() }
}
