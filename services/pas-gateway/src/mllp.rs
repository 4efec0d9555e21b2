//! MLLP: frames in, replies out in the order of receipt. [`listener`] accepts, [`connection`] cuts frames out of a stream and writes
//! replies; what a frame is answered is said here.
//!
//! Our own trouble is never answered: the connection is closed, and the sender sends again what it has no answer to. AE and AR go only
//! to what could never be taken.

pub mod connection;
pub mod listener;

use crate::gateway::Gateway;
use crate::reading::{self, Refusal};
use bytes::Bytes;
use hearthline_eventing::{NotNow, StoreError};
use hearthline_interop::hl7v2::{AckCode, Acknowledgement, ErrorDetail, Message, acknowledge, reject_unreadable, write};
use hearthline_runtime::tls::Identity;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where a frame came from.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub listener: Arc<str>,
    pub remote: SocketAddr,
    /// The name of the peer whose frame it is, by its MSH-4; else of the one whose frames came before on the connection.
    pub peer: Option<Arc<str>>,
    /// Of the certificate that the sender showed.
    pub certificate: Option<Arc<Identity>>,
}

/// Time limits that are not a peer's own.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// For a TLS handshake.
    pub handshake: Duration,
    /// A sender that reads nothing of its replies for this long is closed.
    pub unread: Duration,
    /// A connection stopped in the middle of a frame or of a reply for this long is dead when its peer connects anew.
    pub stuck: Duration,
    /// So is one on which nothing is outstanding and nothing came for this long.
    pub silent: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Timings { handshake: Duration::from_secs(10), unread: Duration::from_secs(30), stuck: Duration::from_secs(5), silent: Duration::from_secs(120) }
    }
}

/// The reply to a frame, once all that it needs is durable; none where none is asked for. An error: no reply, and no more frames.
async fn receive(gateway: &Gateway, frame: &Bytes, at: &Arrival) -> Result<Option<Bytes>, NotNow> {
    if gateway.peers.iter().all(|peer| peer.listener == *at.listener) {
        return gateway.answer(frame).await.map(Some);
    }
    let here = gateway.peers.iter().filter(|peer| peer.listener == *at.listener).cloned().collect();
    Gateway { peers: Arc::new(here), ..gateway.clone() }.answer(frame).await.map(Some)
}

/// The reply to a frame that passed the size limit; `header` is its MSH segment where that is at hand.
fn too_large(gateway: &Gateway, header: Option<&Message<'_>>) -> Bytes {
    const TEXT: &str = "the message is larger than this receiver takes";
    gateway.count_refused(AckCode::ApplicationReject);
    match header {
        Some(message) => reply_to(message, AckCode::ApplicationReject, Some(TEXT), None),
        None => unreadable(TEXT),
    }
}

impl Gateway {
    /// The reply to a frame, once all that it needs is durable. An error: no reply.
    pub async fn answer(&self, frame: &Bytes) -> Result<Bytes, NotNow> {
        let span = tracing::Span::current();
        let Ok(message) = Message::parse(frame) else {
            self.count_refused(AckCode::ApplicationReject);
            span.record("reply", "AR");
            return Ok(unreadable("the message does not begin with a usable MSH"));
        };
        let reading = match reading::read(&message, &self.peers, self.live) {
            Ok(reading) => reading,
            Err(refusal) => {
                self.count_refused(refusal.code);
                span.record("reply", refusal.code.code());
                return Ok(refused(&message, &refusal));
            }
        };
        span.record("peer", reading.peer.name.as_str());
        span.record("trigger", reading.trigger.as_str());
        // Also a message that would only be held waits until store and log are known to agree.
        self.kernel.store.opened().map_err(StoreError::Closed)?;
        self.take(&reading, frame).await?;
        span.record("reply", "AA");
        Ok(reply_to(&message, AckCode::ApplicationAccept, None, None))
    }

    /// Counts a frame that was answered AE or AR.
    pub fn count_refused(&self, code: AckCode) {
        let mut refused = self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *refused.entry(code.code()).or_default() += 1;
    }
}

fn refused(message: &Message<'_>, refusal: &Refusal) -> Bytes {
    reply_to(message, refusal.code, Some(refusal.text), Some(refusal.error))
}

fn reply_to(message: &Message<'_>, code: AckCode, text: Option<&str>, error: Option<ErrorDetail>) -> Bytes {
    let (control_id, sent_at) = head();
    acknowledge(message, &Acknowledgement { code, control_id: &control_id, sent_at: &sent_at, text, error }).into()
}

fn unreadable(text: &'static str) -> Bytes {
    let (control_id, sent_at) = head();
    reject_unreadable(&Acknowledgement { code: AckCode::ApplicationReject, control_id: &control_id, sent_at: &sent_at, text: Some(text), error: None }).into()
}

/// MSH-10 (at most twenty characters before HL7 2.5) and MSH-7 of a reply.
fn head() -> (String, String) {
    let id = uuid::Uuid::now_v7().simple().to_string();
    (id[..20].to_owned(), write::utc(hearthline_eventing::now_us()).unwrap_or_default())
}
