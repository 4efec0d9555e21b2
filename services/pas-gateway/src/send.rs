//! HL7 going out: recorded before it is sent, and what was said to it afterwards.
//!
//! A row is made *sending*, and settles as *sent* (AA, CA), *refused* (AE, AR, CE, CR), *unconfirmed* (nobody said what became of it)
//! or *unsent* (there was no connection). What a process that ended in between left *sending* becomes *unconfirmed* once no answer
//! can come any more ([`Gateway::give_up_unanswered`]); it is not sent again by itself.
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

/// No client waits this long for an answer.
const UNANSWERED_US: i64 = 10 * 60 * 1_000_000;

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
        self.keep(InboxChange::Receive(Box::new(row))).await?;
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

    /// Says of what has been *sending* for too long that nobody knows what became of it.
    pub async fn give_up_unanswered(&self, now: i64) -> Result<(), NotNow> {
        let sql = "select id from inbox where state = $1 and received_at < $2";
        for row in self.kernel.store.query(sql, &[SENDING.into(), (now - UNANSWERED_US).into()]).await? {
            tracing::warn!("a message was being sent when its process ended; whether it arrived is not known");
            let why = "its sending was cut short on this side: whether it arrived is not known".to_owned();
            self.keep(InboxChange::Answered { id: row.id(0), state: UNCONFIRMED, reply: "", why }).await?;
        }
        Ok(())
    }

    async fn outgoing(&self, peer: &str, raw: &[u8]) -> Result<InboxRow, NotNow> {
        let (number, control_id, kind) = header(raw)?;
        let now = now_us();
        let day = london_date(now).map_err(|e| NotNow::Other(e.to_string()))?.to_string();
        let id = hearthline_runtime::service::fresh_id();
        let keyring = &self.kernel.composer.keyring;
        let person_tag = match &number {
            Some(number) => Some(Daily::of(keyring, &day).await?.number(number)),
            None => None,
        };
        let key = keyring.ensure(keyring.named(&message_key_name(&day))).await?;
        Ok(InboxRow {
            id,
            received_at: now,
            outgoing: true,
            peer: peer.to_owned(),
            control_id,
            kind,
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

/// The patient's number, MSH-10 and MSH-9.
fn header(raw: &[u8]) -> Result<(Option<NhsNumber>, String, String), NotNow> {
    let message = Message::parse(raw).map_err(|e| NotNow::Other(format!("a message to be sent is none: {e}")))?;
    let number = Adt::of(&message).nhs_number(|digits| NhsNumber::parse(digits).is_ok()).and_then(|found| NhsNumber::parse(found.digits.as_str()).ok());
    let kind = [1, 2].map(|part| message.field("MSH", 9).component(part).code().unwrap_or_default().to_owned());
    let control_id = message.field("MSH", 10).value().text().unwrap_or_default().to_owned();
    Ok((number, control_id, kind.join("^").trim_end_matches('^').to_owned()))
}

/// Table 0357 has numbers; anything else is the receiver's own text.
fn error_words(code: &str) -> String {
    if code.len() <= 6 && code.bytes().all(|b| b.is_ascii_alphanumeric()) { format!("error code {code}") } else { String::new() }
}
