//! The fast path: what a frame and its peer's settings alone say of it, kept and answered.
//!
//! A frame is *refused* (AE, AR: it would be refused again), *received*, or a *duplicate* of one that was received; whichever it is,
//! its row is durable before it is answered. One unit is appended and nothing is read before it: that a message came before is what
//! its claim says. What a received message means is found afterwards, by [`crate::interpret`].
//!
//! Trouble of our own is no answer: the sender sends again what it has no answer to.

use crate::gateway::{DUPLICATE, Gateway, RECEIVED, REFUSED, SHADOW};
use crate::mllp::Arrival;
use crate::peer::{self, Accepts, Acknowledgement as Agreed, Mode, Peer, Sends};
use crate::reading::{self, Reading, Refusal, UNKNOWN_FACILITY};
use crate::tags::{Daily, INBOX, Lasting, PLACE_ALSO, message_claim, message_key_name};
use bytes::Bytes;
use hearthline_eventing::{Answer, Claim, ClaimRule, InboxChange, InboxRow, NotNow, ROW_MOVED_ON, Settled, StoreError, Unit, now_us, seal, trace};
use hearthline_interop::hl7v2::{
    AckCode, AckMode, Acknowledgement, Adt, Condition, ErrorCode, Hl7Error, Message, acknowledge, reject_unreadable, requested_acknowledgements, write,
};
use hearthline_nhs::london_date;

/// What a message is, by itself and its peer's settings.
enum Judged<'g> {
    Accepted(&'g Peer, Box<Reading>),
    Refused(Option<&'g Peer>, Refusal),
}

/// What is common to every row of a frame.
struct Frame<'f> {
    raw: &'f Bytes,
    received_at: i64,
    day: String,
}

impl Gateway {
    /// Takes a frame and gives the reply, once all that it needs is durable. None: the sender asked for no reply. An error: no
    /// reply may be sent.
    pub async fn receive(&self, raw: &Bytes, at: &Arrival) -> Result<Option<Bytes>, NotNow> {
        let span = tracing::Span::current();
        // Also a message that would only be refused waits until store and log are known to agree.
        self.kernel.store.opened().map_err(StoreError::Closed)?;
        let received_at = now_us();
        let frame = Frame { raw, received_at, day: day_of(received_at)? };
        let message = match Message::parse(raw) {
            // Who sends it is known by its header, and says in which characters the rest is.
            Ok(message) => match self.named(&message, at) {
                Ok(peer) if !raw.is_ascii() => peer.parse(raw).unwrap_or(message),
                Ok(_) | Err(_) => message,
            },
            Err(error) => {
                let text = unreadable_text(&error);
                span.record("reply", "AR");
                self.keep_refused(&frame, None, &at.listener, "AR", text).await?;
                return Ok(Some(unreadable(text)));
            }
        };
        let judged = self.look_at(&message, at, received_at);
        let (peer, reading) = match judged {
            Judged::Accepted(peer, reading) => (peer, reading),
            Judged::Refused(peer, refusal) => {
                let code = reply_code(peer, &message, refusal.code);
                span.record("reply", code.map_or("", AckCode::code));
                let name = peer.map_or(&*at.listener, |p| &p.name);
                self.keep_refused(&frame, Some(&message), name, code.map_or("", AckCode::code), refusal.text).await?;
                return Ok(code.map(|code| reply_to(&message, code, Some(&refusal))));
            }
        };
        span.record("peer", peer.name.as_str());
        span.record("trigger", reading.trigger.as_str());
        let code = reply_code(Some(peer), &message, AckCode::ApplicationAccept);
        self.keep_received(&frame, &message, &reading, code.map_or("", AckCode::code)).await?;
        span.record("reply", code.map_or("", AckCode::code));
        Ok(code.map(|code| reply_to(&message, code, None)))
    }

    /// As [`Gateway::receive`], for a frame that passed the size limit; `begun` is as much of it as was read.
    pub async fn refuse_oversized(&self, begun: &Bytes, limit_bytes: usize, at: &Arrival) -> Result<Option<Bytes>, NotNow> {
        self.kernel.store.opened().map_err(StoreError::Closed)?;
        let received_at = now_us();
        let frame = Frame { raw: begun, received_at, day: day_of(received_at)? };
        tracing::warn!(limit_bytes, listener = &*at.listener, "a frame passed the size limit and is refused");
        let text = "the message is larger than this receiver takes: send it in parts, or agree on a larger limit";
        match Message::parse(begun) {
            Ok(message) => {
                let peer = self.named(&message, at).ok();
                let code = reply_code(peer, &message, AckCode::ApplicationReject);
                let name = peer.map_or(&*at.listener, |p| &p.name);
                self.keep_refused(&frame, Some(&message), name, code.map_or("", AckCode::code), text).await?;
                let refusal = Refusal::of(AckCode::ApplicationReject, ErrorCode::ApplicationInternal, ("MSH", None), text);
                Ok(code.map(|code| reply_to(&message, code, Some(&refusal))))
            }
            Err(_) => {
                self.keep_refused(&frame, None, &at.listener, "AR", text).await?;
                Ok(Some(unreadable(text)))
            }
        }
    }

    /// The peer, and the reading or why there is none.
    fn look_at(&self, message: &Message<'_>, at: &Arrival, received_at: i64) -> Judged<'_> {
        let named = self.named(message, at);
        if let Err(refusal) = reading::environment(message, self.live) {
            return Judged::Refused(named.ok(), refusal);
        }
        match named {
            Err(refusal) => Judged::Refused(None, refusal),
            Ok(peer) => match reading::read_received(message, peer, self.profile(peer), Some(received_at)) {
                Ok(reading) => Judged::Accepted(peer, Box::new(reading)),
                Err(refusal) => Judged::Refused(Some(peer), refusal),
            },
        }
    }

    /// The peer that MSH-4 names.
    fn named(&self, message: &Message<'_>, at: &Arrival) -> Result<&Peer, Refusal> {
        Adt::of(message).sending_facility().ok_or(UNKNOWN_FACILITY).and_then(|facility| self.peer_of(facility, at))
    }

    fn peer_of(&self, facility: &str, at: &Arrival) -> Result<&Peer, Refusal> {
        match peer::sending(&self.peers, &at.listener, facility) {
            Sends::Here(peer) if !peer.admits(at.certificate.as_deref()) => Err(OTHER_CERTIFICATE),
            Sends::Here(peer) => Ok(peer),
            Sends::Elsewhere(_) => Err(OTHER_LISTENER),
            Sends::Nowhere => Err(UNKNOWN_FACILITY),
        }
    }

    /// Appends row and claim. A message that came before gets a row of its own, without bytes.
    async fn keep_received(&self, frame: &Frame<'_>, message: &Message<'_>, reading: &Reading, reply: &'static str) -> Result<(), NotNow> {
        let keyring = &self.kernel.composer.keyring;
        let (lasting, daily) = (Lasting::open(keyring).await?, Daily::of(keyring, &frame.day).await?);
        let adt = Adt::of(message);
        let body = lasting.body(adt.msh(9).value().text().unwrap_or_default(), after_header(frame.raw));
        let digest = lasting.message(&reading.peer.name, adt.sending_application().unwrap_or_default(), &reading.control_id, &body);
        let id = hearthline_runtime::service::fresh_id();
        let key = keyring.ensure(keyring.named(&message_key_name(&frame.day))).await?;
        let places = if reading.peer.home_level_visits.is_some() { reading.patient.places() } else { Vec::new() };
        let places: Vec<[u8; 16]> = places.into_iter().map(|place| daily.place(place)).collect();
        let row = InboxRow {
            id,
            peer: reading.peer.name.clone(),
            control_id: reading.control_id.clone(),
            kind: format!("ADT^{}", reading.trigger),
            digest: joined(digest, body),
            body_tag: Some(body),
            person_tag: match &reading.patient.nhs_number {
                Some(number) => Some(daily.number(number)),
                None => (!reading.patient.key.is_empty()).then(|| daily.local(&reading.peer.name, &reading.patient.key)),
            },
            place_tag: places.first().copied(),
            occurred_at: reading.at.at_us,
            sealed: seal::seal_joined(&key, &id, frame.raw).into(),
            ..blank(frame, reply, RECEIVED)
        };
        let kept = (frame.received_at, self.kept_days);
        let also = |place: &[u8; 16]| message_claim(PLACE_ALSO, &[place.as_slice(), &id].concat(), &id, *place, ClaimRule::KeepFirst, kept);
        let claims = [message_claim(INBOX, &digest, &[], id, ClaimRule::Unique, kept)].into_iter().chain(places.iter().skip(1).map(also)).collect();
        let again = InboxRow { id: hearthline_runtime::service::fresh_id(), sealed: Bytes::new(), state: DUPLICATE, ..row.clone() };
        match self.append(row, claims).await? {
            Answer::Committed { .. } => Ok(()),
            Answer::Claimed(holder) => {
                let again = InboxRow { stream: Some(holder.owner), why: "the same message came before".to_owned(), ..again };
                self.keep_again(&reading.peer, *holder.owner.bytes(), again).await
            }
            Answer::VersionConflict { .. } | Answer::Fenced(_) => Err(NotNow::Other("a receipt was refused".to_owned())),
        }
    }

    /// Appends the row of a message that came before. What came in shadow had no effect; sent again to a peer that is live by now, it gets it.
    async fn keep_again(&self, peer: &Peer, first: [u8; 16], again: InboxRow) -> Result<(), NotNow> {
        let rows = self.kernel.store.query("select 1 from inbox where id = $1 and state = $2", &[first.into(), SHADOW.into()]).await?;
        if !rows.is_empty() && self.mode(peer).await? == Mode::Live {
            let settled = Settled::new(first, SHADOW, RECEIVED, String::new());
            let inbox = vec![InboxChange::Receive(Box::new(again.clone())), InboxChange::Settle(Box::new(settled))];
            match self.kernel.store.append(Unit { inbox, ..Unit::default() }).await? {
                Answer::Committed { .. } => return Ok(()),
                // It takes effect already.
                Answer::Fenced(ROW_MOVED_ON) => {}
                Answer::Claimed(_) | Answer::VersionConflict { .. } | Answer::Fenced(_) => return Err(NotNow::Other("a receipt was refused".to_owned())),
            }
        }
        self.append(again, Vec::new()).await?;
        Ok(())
    }

    async fn keep_refused(&self, frame: &Frame<'_>, message: Option<&Message<'_>>, peer: &str, reply: &'static str, why: &str) -> Result<(), NotNow> {
        let keyring = &self.kernel.composer.keyring;
        let key = keyring.ensure(keyring.named(&message_key_name(&frame.day))).await?;
        let lasting = Lasting::open(keyring).await?;
        let adt = message.map(Adt::of);
        let body = lasting.body("", frame.raw);
        let text = |text: Option<&str>, most: usize| text.unwrap_or_default().chars().filter(|c| !c.is_control()).take(most).collect::<String>();
        let id = hearthline_runtime::service::fresh_id();
        let row = InboxRow {
            id,
            peer: peer.to_owned(),
            control_id: text(adt.as_ref().and_then(Adt::control_id), 199),
            kind: adt.as_ref().map(message_type).unwrap_or_default(),
            digest: joined(body, body),
            sealed: seal::seal_joined(&key, &id, frame.raw).into(),
            why: why.to_owned(),
            ..blank(frame, reply, REFUSED)
        };
        self.append(row, Vec::new()).await?;
        Ok(())
    }

    async fn append(&self, row: InboxRow, claims: Vec<Claim>) -> Result<Answer, NotNow> {
        Ok(self.kernel.store.append(Unit { inbox: vec![InboxChange::Receive(Box::new(row))], claims, ..Unit::default() }).await?)
    }
}

const OTHER_LISTENER: Refusal = Refusal::of(
    AckCode::ApplicationReject,
    ErrorCode::TableValueNotFound,
    ("MSH", Some(4)),
    "MSH-4 names a facility that sends to another port of this receiver",
);

const OTHER_CERTIFICATE: Refusal = Refusal::of(
    AckCode::ApplicationReject,
    ErrorCode::TableValueNotFound,
    ("MSH", Some(4)),
    "MSH-4 names a facility whose messages do not come with the certificate that was shown: it is another's",
);

/// A row of a frame as far as the frame alone says.
fn blank(frame: &Frame<'_>, reply: &'static str, state: &'static str) -> InboxRow {
    InboxRow {
        id: [0; 16],
        received_at: frame.received_at,
        outgoing: false,
        peer: String::new(),
        control_id: String::new(),
        kind: String::new(),
        reply,
        size: u32::try_from(frame.raw.len()).unwrap_or(u32::MAX),
        digest: [0; 32],
        body_tag: None,
        day: frame.day.clone(),
        person_tag: None,
        place_tag: None,
        occurred_at: frame.received_at,
        sealed: Bytes::new(),
        state,
        why: String::new(),
        effect: String::new(),
        stream: None,
        resident: None,
        traceparent: trace::current(),
    }
}

/// MSA-1 of the one reply that a frame gets, in the words that were agreed on; none where MSH-15 and MSH-16 ask for none. Without a peer
/// whose settings would count it is always answered.
pub fn reply_code(peer: Option<&Peer>, message: &Message<'_>, plain: AckCode) -> Option<AckCode> {
    let Some(peer) = peer else { return Some(plain) };
    let (accept, application) = requested_acknowledgements(message);
    let unstated = accept == Condition::Unstated && application == Condition::Unstated;
    let enhanced = match peer.acknowledgement {
        Agreed::Original => false,
        Agreed::Enhanced => true,
        Agreed::AsAsked => !unstated,
    };
    let accepts = plain.is_accept();
    let asks = |condition: Condition| match condition {
        Condition::Always => true,
        Condition::Never | Condition::Unstated => false,
        Condition::OnError => !accepts,
        Condition::OnSuccess => accepts,
    };
    if enhanced && !unstated && !asks(accept) && !asks(application) {
        return None;
    }
    let mode = if enhanced && peer.accepts == Accepts::Ca { AckMode::Enhanced } else { AckMode::Original };
    Some(match plain {
        AckCode::ApplicationAccept | AckCode::CommitAccept => mode.accept(),
        AckCode::ApplicationError | AckCode::CommitError => mode.error(),
        AckCode::ApplicationReject | AckCode::CommitReject => mode.reject(),
    })
}

fn reply_to(message: &Message<'_>, code: AckCode, refusal: Option<&Refusal>) -> Bytes {
    let (control_id, sent_at) = head();
    let (text, error) = (refusal.map(|r| r.text), refusal.map(|r| r.error));
    acknowledge(message, &Acknowledgement { code, control_id: &control_id, sent_at: &sent_at, text, error }).into()
}

/// The reply to what has no usable header.
pub fn unreadable(text: &'static str) -> Bytes {
    let (control_id, sent_at) = head();
    reject_unreadable(&Acknowledgement { code: AckCode::ApplicationReject, control_id: &control_id, sent_at: &sent_at, text: Some(text), error: None }).into()
}

fn unreadable_text(error: &Hl7Error) -> &'static str {
    match error {
        Hl7Error::Empty => "the frame is empty",
        Hl7Error::NoHeader => "the frame does not begin with an MSH segment: it is not an HL7 v2 message in ER7",
        Hl7Error::Separators(_) => "the message does not begin with a usable MSH: MSH-1 and MSH-2 do not name delimiters",
        Hl7Error::SecondHeader { .. } => "a second MSH segment: each message needs a frame of its own",
    }
}

/// MSH-9 as far as it is what belongs there: a type, an event and a structure (HL7 tables 0076, 0003 and 0354).
fn message_type(adt: &Adt<'_>) -> String {
    let is_code = |part: &str| part.len() <= 3 && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let is_structure = |part: &str| part.split_once('_').map_or(is_code(part), |(a, b)| is_code(a) && is_code(b));
    let part = |n| adt.msh(9).component(n).code().unwrap_or_default();
    let parts = [part(1), part(2), part(3)];
    if parts[..2].iter().all(|part| is_code(part)) && is_structure(parts[2]) { parts.join("^").trim_end_matches('^').to_owned() } else { String::new() }
}

/// MSH-10 (at most twenty characters before HL7 2.5) and MSH-7 of a reply.
fn head() -> (String, String) {
    // The time, and the whole of what tells ids of one millisecond apart, in base 32: 100 bits.
    let bits = uuid::Uuid::now_v7().as_u128() >> 28;
    let digit = |n: u32| char::from(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(bits >> (5 * n)) as usize & 31]);
    let id = (0..20).rev().map(digit).collect();
    (id, write::utc(now_us()).unwrap_or_default())
}

/// What follows the MSH segment.
fn after_header(raw: &[u8]) -> &[u8] {
    let start = raw.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(0);
    let end = raw[start..].iter().position(|b| matches!(b, b'\r' | b'\n')).map_or(raw.len(), |at| start + at);
    &raw[end..]
}

fn joined(a: [u8; 16], b: [u8; 16]) -> [u8; 32] {
    let mut both = [0; 32];
    both[..16].copy_from_slice(&a);
    both[16..].copy_from_slice(&b);
    both
}

/// The day whose keys are used.
pub(crate) fn day_of(now: i64) -> Result<String, NotNow> {
    london_date(now).map(|day| day.to_string()).map_err(|e| NotNow::Other(e.to_string()))
}
