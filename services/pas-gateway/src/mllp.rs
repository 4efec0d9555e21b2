//! The MLLP listener: frames in, replies out in the order of receipt.
//!
//! State story of a connection: *reading* while fewer than [`FRAMES_AT_ONCE`] frames are being taken; *full* until the oldest of them
//! is answered; *closing* at the sender's end, at shutdown (what was read is still answered) or at trouble of our own. Our own trouble is
//! never answered: the connection is closed, and the sender sends again what it has no answer to. AE and AR go only to what could
//! never be taken.
//!
//! Several frames are taken at once, so that the store commits them together; those of one visit one after the other.

use crate::gateway::Gateway;
use crate::reading::{self, Refusal};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use hearthline_eventing::{NotNow, StoreError};
use hearthline_interop::hl7v2::{AckCode, Acknowledgement, ErrorDetail, Message, acknowledge, reject_unreadable, write};
use hearthline_interop::mllp::{Decoder, Event, encode};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use tracing::instrument::WithSubscriber;

/// How many frames of one connection are taken at once.
pub const FRAMES_AT_ONCE: usize = 32;
const CONNECTIONS_MAX: usize = 512;
const READ_BYTES: usize = 64 * 1024;
/// A frame that has begun and does not go on for this long is a stuck sender.
const STUCK: Duration = Duration::from_secs(60);

/// Accepts connections until `stop`, then lets those that are open answer what they have read.
pub async fn listen(listener: TcpListener, gateway: Gateway, frame_limit: usize, stop: CancellationToken) -> Result<(), String> {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, from)) => {
                let Ok(slot) = slots.clone().try_acquire_owned() else {
                    tracing::warn!(%from, "too many connections; this one is closed");
                    continue;
                };
                let (gateway, stop) = (gateway.clone(), stop.clone());
                let serve = async move {
                    if let Err(error) = Connection::new(gateway, frame_limit).serve(socket, stop).await {
                        tracing::warn!(%from, %error, "a connection ended");
                    }
                    drop(slot);
                };
                connections.spawn(serve.with_current_subscriber());
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Why a connection is closed before its sender closes it.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("a message could not be taken now; the sender has to send it again: {0}")]
    NotNow(NotNow),
    #[error("bytes outside a frame")]
    NotFramed,
    #[error("the sender stopped in the middle of a frame")]
    Stuck,
    #[error("a message's task panicked")]
    Panicked,
}

type Reply = JoinHandle<Result<Bytes, NotNow>>;

struct Connection {
    gateway: Gateway,
    decoder: Decoder,
    /// Found in the stream and not begun.
    found: VecDeque<Event>,
    replies: FuturesOrdered<Reply>,
    /// The end of the newest frame of each visit or patient that is being taken.
    newest: HashMap<String, oneshot::Receiver<()>>,
}

impl Connection {
    fn new(gateway: Gateway, frame_limit: usize) -> Self {
        Connection { gateway, decoder: Decoder::new(frame_limit), found: VecDeque::new(), replies: FuturesOrdered::new(), newest: HashMap::new() }
    }

    async fn serve(&mut self, socket: TcpStream, stop: CancellationToken) -> Result<(), Ended> {
        socket.set_nodelay(true)?;
        let (mut read, mut write) = socket.into_split();
        let mut buffer = vec![0; READ_BYTES];
        let mut is_open = true;
        loop {
            while self.replies.len() < FRAMES_AT_ONCE {
                let Some(event) = self.found.pop_front() else { break };
                self.begin(event)?;
            }
            if !is_open && self.replies.is_empty() {
                write.shutdown().await?;
                return Ok(());
            }
            let has_room = is_open && self.found.is_empty() && self.replies.len() < FRAMES_AT_ONCE;
            let mid_frame = self.decoder.is_mid_frame();
            tokio::select! {
                biased;
                () = stop.cancelled(), if is_open => {
                    // What was found is not begun: it has no answer, and is sent again.
                    is_open = false;
                    self.found.clear();
                }
                Some(reply) = self.replies.next(), if !self.replies.is_empty() => {
                    let reply = reply.map_err(|_| Ended::Panicked)?.map_err(Ended::NotNow)?;
                    let mut framed = BytesMut::new();
                    encode(&reply, &mut framed);
                    write.write_all(&framed).await?;
                }
                bytes = read.read(&mut buffer), if has_room => {
                    let bytes = bytes?;
                    if bytes == 0 {
                        self.decoder.finish();
                        is_open = false;
                    } else {
                        self.decoder.push(&buffer[..bytes]);
                    }
                    while let Some(event) = self.decoder.poll() {
                        self.found.push_back(event);
                    }
                }
                () = tokio::time::sleep(STUCK), if has_room && mid_frame && self.replies.is_empty() => return Err(Ended::Stuck),
            }
        }
    }

    fn begin(&mut self, event: Event) -> Result<(), Ended> {
        match event {
            Event::Frame(frame) => self.begin_frame(frame),
            Event::Oversize { limit_bytes } => {
                tracing::warn!(limit_bytes, "a frame passed the size limit and is refused");
                self.gateway.count_refused(AckCode::ApplicationReject);
                let reply = unreadable("the message is larger than this receiver takes");
                self.replies.push_back(tokio::spawn(async move { Ok(reply) }));
            }
            Event::Noise { bytes } => tracing::warn!(bytes, "bytes between frames were skipped"),
            Event::Quirk(quirk) => tracing::debug!(quirk = quirk.name(), "odd framing"),
            Event::Truncated { bytes } => tracing::warn!(bytes, "a frame was begun anew before its end"),
            // Whatever it was, it cannot be answered as what it was: closing makes the sender send it again.
            Event::MissingStart { .. } => return Err(Ended::NotFramed),
        }
        Ok(())
    }

    fn begin_frame(&mut self, frame: Bytes) {
        let gateway = self.gateway.clone();
        let key = Message::parse(&frame).map(|message| reading::sequence_key(&message)).unwrap_or_default();
        let (done, ended) = oneshot::channel::<()>();
        if self.newest.len() > 4 * FRAMES_AT_ONCE {
            self.newest.retain(|_, ended| ended.is_empty());
        }
        let before = self.newest.insert(key, ended);
        let span = tracing::info_span!(
            "mllp.frame",
            otel.kind = "server",
            peer = tracing::field::Empty,
            trigger = tracing::field::Empty,
            reply = tracing::field::Empty
        );
        let take = async move {
            if let Some(before) = before {
                // An error says that the one before has ended without saying so, which is an end too.
                let _ = before.await;
            }
            let reply = gateway.answer(&frame).await;
            let _ = done.send(());
            reply
        };
        self.replies.push_back(tokio::spawn(take.instrument(span).with_current_subscriber()));
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
