//! One connection: frames cut out of its stream, taken several at once, answered in their order.
//!
//! State story: *reading* while fewer frames are being taken than agreed with the peer; *full* until the oldest of them is answered, and
//! nothing is read meanwhile, so that the sender's own socket fills; *ending* at the sender's end, at shutdown or at bytes that cannot be
//! answered as what they are: what was begun is still answered. Trouble of our own ends it at once. A frame that grows large is *held*, and
//! nothing is read, until there is [`memory`](super::memory) for it; of one whose sender is not known little is kept.
//!
//! Frames are begun together, so that the store commits them together; those of one visit or patient one after the other. Each is a task
//! of its own: what a sender does not read must not keep a frame from being finished that others may wait behind.

use super::glance::{HEADER_BYTES, code_of, header, key_of, other_protocol};
use super::memory::Share;
use super::terms::{SETTLE, Terms};
use super::{Arrival, Timings};
use crate::connections::{Doing, Ended, Entry, Quirk};
use crate::gateway::Gateway;
use crate::peer::{self, Sends};
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use hearthline_eventing::NotNow;
use hearthline_interop::hl7v2::{Adt, Message};
use hearthline_interop::mllp::{BEGUN_BYTES, Decoder, Event, Quirk as Framing, encode};
use hearthline_runtime::tls::Identity;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use tracing::instrument::WithSubscriber;

/// A read buffer grows from one to the other while reads fill it: an idle connection holds little.
const READ_BYTES: (usize, usize) = (4 * 1024, 64 * 1024);
/// Nothing is read while frames of this many bytes are being taken.
const IN_FLIGHT_BYTES: usize = 256 * 1024;
/// Replies written together, at most.
const REPLY_BYTES: usize = 32 * 1024;
/// How long a sender may take to see that we have ended.
const LINGER: Duration = Duration::from_millis(500);
/// How long a reply may take to be written once the gateway stops.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

type Taken = Result<Option<Bytes>, NotNow>;

/// A frame that is being taken.
struct Begun {
    frame: Bytes,
    /// Its visit or patient; found when another frame has to be told from it.
    key: Option<String>,
    /// Its end, for the next of the same key.
    ended: Option<oneshot::Receiver<()>>,
    peer: Option<Arc<str>>,
    /// Given back once the frame is neither here nor with whoever takes it.
    _share: Option<Arc<Share>>,
}

/// See the module.
pub struct Connection<S> {
    stream: S,
    gateway: Gateway,
    entry: Arc<Entry>,
    at: Arrival,
    timings: Timings,
    terms: Terms,
    decoder: Decoder,
    /// Found in the stream and not begun.
    found: VecDeque<Event>,
    replies: FuturesOrdered<JoinHandle<Taken>>,
    /// As many as there are replies to come.
    begun: VecDeque<Begun>,
    in_flight_bytes: usize,
    ending: Option<Ended>,
    /// When something last came, or nothing was waited for.
    progress: Instant,
    is_secured: bool,
    /// The unfinished frame has said whose it is.
    is_identified: bool,
    /// Of the memory for large frames: of the unfinished one.
    share: Share,
    /// More of it is waited for.
    more: Option<BoxFuture<'static, Share>>,
    /// Since when it has some.
    shared_at: Instant,
    /// Of the first frame that was found.
    found_share: Option<Share>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn new(stream: S, gateway: Gateway, entry: Arc<Entry>, timings: Timings, frame_limit: usize, certificate: Option<Arc<Identity>>) -> Self {
        let listener = entry.listener().clone();
        let terms = Terms::widest(&gateway.peers, &listener, frame_limit);
        let at = Arrival { listener, remote: entry.remote(), peer: None, certificate };
        Connection {
            decoder: Decoder::new(terms.frame_limit),
            is_secured: entry.is_secured(),
            stream,
            gateway,
            entry,
            at,
            timings,
            terms,
            found: VecDeque::new(),
            replies: FuturesOrdered::new(),
            begun: VecDeque::new(),
            in_flight_bytes: 0,
            ending: None,
            progress: Instant::now(),
            is_identified: false,
            share: Share::default(),
            more: None,
            shared_at: Instant::now(),
            found_share: None,
        }
    }

    /// Talks until one side ends; says why.
    pub async fn serve(mut self, stop: CancellationToken) -> Ended {
        match self.talk(&stop).await {
            Ok(why) | Err(why) => why,
        }
    }

    async fn talk(&mut self, stop: &CancellationToken) -> Result<Ended, Ended> {
        let entry = self.entry.clone();
        let mut buffer = vec![0; READ_BYTES.0];
        let tick = tokio::time::sleep(self.terms.tick());
        tokio::pin!(tick);
        loop {
            while self.begun.len() < self.terms.in_flight {
                let Some(event) = self.found.pop_front() else { break };
                self.begin(event);
            }
            if let Some(why) = self.ending.clone()
                && self.found.is_empty()
                && self.begun.is_empty()
            {
                self.hang_up().await;
                return Ok(why);
            }
            let has_room = self.has_room();
            entry.is(self.doing(has_room), self.begun.len());
            tokio::select! {
                biased;
                () = stop.cancelled(), if self.ending.is_none() => self.end(Ended::Stopped),
                why = entry.told() => return Err(why),
                Some(reply) = self.replies.next(), if !self.begun.is_empty() => self.reply(reply, stop).await?,
                Some(share) = given(&mut self.more), if self.more.is_some() => {
                    self.more = None;
                    self.share = share;
                    self.shared_at = Instant::now();
                    self.ask_for_memory();
                }
                read = self.stream.read(&mut buffer), if has_room => {
                    let read = read.map_err(|error| Ended::Failed(error.to_string()))?;
                    self.take_in(&buffer[..read]);
                    fit(&mut buffer, read);
                }
                () = &mut tick => {
                    self.look_at_the_clock(has_room)?;
                    tick.as_mut().reset(Instant::now() + self.terms.tick());
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.ending.is_none()
            && self.more.is_none()
            && self.found.is_empty()
            && self.begun.len() < self.terms.in_flight
            && self.in_flight_bytes < IN_FLIGHT_BYTES
    }

    fn doing(&self, has_room: bool) -> Doing {
        match (has_room, self.decoder.is_mid_frame()) {
            (false, _) if self.more.is_some() => Doing::Held,
            (false, _) => Doing::Full,
            (true, true) => Doing::MidFrame,
            (true, false) => Doing::Waiting,
        }
    }

    /// Begins nothing more; what was begun is still answered.
    fn end(&mut self, why: Ended) {
        self.found.clear();
        (self.share, self.more, self.found_share) = (Share::default(), None, None);
        self.ending = Some(why);
    }

    /// Takes what was found to be begun.
    fn find(&mut self) {
        while let Some(event) = self.decoder.poll() {
            self.is_identified = false;
            // Only the first frame of what was read last can have grown large.
            if matches!(event, Event::Frame(_) | Event::Oversize { .. }) {
                let share = std::mem::take(&mut self.share);
                if self.found_share.is_none() {
                    self.found_share = Some(share);
                }
            }
            self.found.push_back(event);
        }
    }

    /// Where the unfinished frame has outgrown what it has.
    fn ask_for_memory(&mut self) {
        if self.ending.is_none() && self.share.is_full(self.decoder.unfinished().len()) {
            let share = std::mem::take(&mut self.share);
            self.more = Some(self.gateway.connections.memory().clone().more(share, self.terms.frame_limit).boxed());
        }
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.progress = Instant::now();
        if bytes.is_empty() {
            let mid_frame = self.decoder.is_mid_frame();
            if mid_frame {
                self.entry.quirk(Quirk::CutOff);
            }
            self.ending = Some(if mid_frame { Ended::BySenderMidFrame } else { Ended::BySender });
            return;
        }
        if self.entry.is_untouched()
            && let Some(quirk) = other_protocol(bytes, self.is_secured)
        {
            self.entry.quirk(quirk);
            return self.end(Ended::OtherProtocol(quirk));
        }
        self.entry.read(bytes.len());
        // Whose a frame is, is known before the limit of strangers is reached.
        for piece in bytes.chunks(READ_BYTES.0) {
            self.decoder.push(piece);
            self.find();
            if !self.is_identified && self.decoder.is_mid_frame() {
                self.is_identified = self.identify_unfinished();
            }
        }
        // That of a peer may be lower.
        self.find();
        self.ask_for_memory();
    }

    /// Looks whose the unfinished frame is, so that the peer's own limit holds before more of it is kept; whether that is settled.
    fn identify_unfinished(&mut self) -> bool {
        let head = self.decoder.unfinished();
        let Some(line) = header(head) else { return head.len() >= HEADER_BYTES };
        let line = Bytes::copy_from_slice(line);
        if let Ok(message) = Message::parse(&line) {
            self.identify(&message);
        }
        true
    }

    /// Takes note of whose message it is, and applies what is agreed with them; gives why it is nobody's, which is said once of a frame.
    fn identify(&mut self, message: &Message<'_>) -> Option<Quirk> {
        let facility = Adt::of(message).sending_facility().unwrap_or_default();
        let peers = self.gateway.peers.clone();
        match peer::sending(&peers, &self.at.listener, facility) {
            Sends::Here(peer) if !peer.admits(self.at.certificate.as_deref()) => return Some(Quirk::OtherCertificate),
            Sends::Here(peer) => {
                if self.at.peer.as_deref() == Some(peer.name.as_str()) {
                    return None;
                }
                if self.at.peer.is_some() {
                    self.entry.quirk(Quirk::SeveralPeers);
                }
                let name: Arc<str> = Arc::from(peer.name.as_str());
                self.at.peer = Some(name.clone());
                self.entry.belongs_to(name);
                self.terms = Terms::of(peer);
                self.decoder.limit(self.terms.frame_limit);
                self.gateway.connections.supersede(&self.entry, self.timings.stuck, self.timings.silent);
            }
            Sends::Elsewhere(_) => return Some(Quirk::WrongListener),
            Sends::Nowhere => return Some(Quirk::UnknownFacility),
        }
        None
    }

    fn look_at_the_clock(&mut self, has_room: bool) -> Result<(), Ended> {
        if !has_room {
            // Nothing is read: that nothing comes is no fault of the sender.
            self.progress = Instant::now();
            return Ok(());
        }
        let quiet = self.progress.elapsed();
        if quiet >= SETTLE && self.decoder.settle() {
            self.find();
        } else if self.decoder.is_mid_frame() {
            let is_in_the_way = self.shared_at.elapsed() >= self.terms.partial_frame && self.gateway.connections.memory().is_waited_for(&self.share);
            if quiet >= self.terms.partial_frame || is_in_the_way {
                self.entry.quirk(Quirk::PartialFrame);
                self.end(Ended::PartialFrame(self.terms.partial_frame));
            }
        } else if let Some(idle) = self.terms.idle
            && quiet >= idle
            && self.begun.is_empty()
        {
            self.end(Ended::Idle(idle));
        }
        Ok(())
    }

    fn begin(&mut self, event: Event) {
        let quirk = event.quirk();
        match event {
            Event::Frame(frame) => {
                self.entry.framed();
                return self.begin_frame(frame);
            }
            Event::Oversize { begun, .. } => {
                self.entry.framed();
                self.found_share = None;
                return self.refuse_size(begun);
            }
            // Whatever it was, it cannot be answered as what it was: closing makes the sender send it again.
            Event::MissingStart { .. } => self.end(Ended::NotFramed),
            Event::Noise { .. } | Event::Truncated { .. } | Event::Quirk(_) => {}
        }
        if let Some(quirk) = quirk {
            self.identify_found();
            self.entry.quirk(Quirk::Framing(quirk));
        }
    }

    /// What is told of a stream before its first frame is told of that frame's peer.
    fn identify_found(&mut self) {
        if self.at.peer.is_some() {
            return;
        }
        let next = self.found.iter().find_map(|event| if let Event::Frame(frame) = event { Some(frame.clone()) } else { None });
        if let Some(frame) = next
            && let Ok(message) = Message::parse(header(&frame).unwrap_or_default())
        {
            self.identify(&message);
        }
    }

    /// `begun` is the beginning of the frame.
    fn refuse_size(&mut self, begun: Bytes) {
        let facility = |message: &Message<'_>| Adt::of(message).sending_facility().map(str::to_owned);
        let facility = Message::parse(&begun).ok().and_then(|message| facility(&message)).unwrap_or_default();
        let sends = peer::sending(&self.gateway.peers, &self.at.listener, &facility);
        if !matches!(sends, Sends::Here(peer) if peer.admits(self.at.certificate.as_deref())) {
            // Nobody's: what is wrong with it is said of its beginning, and is not its size.
            return self.begin_frame(begun);
        }
        self.entry.quirk(Quirk::Framing(Framing::Oversize));
        let (gateway, at, limit) = (self.gateway.clone(), self.at.clone(), self.terms.frame_limit);
        let refusal = async move { gateway.refuse_oversized(&begun, limit, &at).await };
        self.push(
            Begun { frame: Bytes::new(), key: None, ended: None, peer: self.at.peer.clone(), _share: None },
            tokio::spawn(refusal.with_current_subscriber()),
        );
    }

    fn begin_frame(&mut self, frame: Bytes) {
        let share = self.found_share.take().map(Arc::new);
        let line = header(&frame).unwrap_or(&frame);
        match Message::parse(line) {
            Ok(message) => {
                if let Some(quirk) = self.identify(&message) {
                    self.entry.quirk(quirk);
                }
                if let Some(number) = Adt::of(&message).msh(13).value().text().and_then(|number| number.trim().parse().ok()) {
                    self.gateway.connections.numbered(&self.entry, number);
                }
                if frame.len() > self.terms.frame_limit {
                    return self.refuse_size(frame.slice(..frame.len().min(BEGUN_BYTES)));
                }
            }
            // One in UTF-16 has no line end of one byte, and is read whole.
            Err(_) if Message::parse(&frame).is_err() => self.entry.quirk(Quirk::Unreadable),
            Err(_) => {}
        }
        let (key, before) = self.before(&frame);
        let (done, ended) = oneshot::channel::<()>();
        let span = tracing::info_span!(
            "mllp.frame",
            otel.kind = "server",
            peer = tracing::field::Empty,
            trigger = tracing::field::Empty,
            reply = tracing::field::Empty
        );
        let (gateway, at, raw, held) = (self.gateway.clone(), self.at.clone(), frame.clone(), share.clone());
        let take = async move {
            if let Some(before) = before {
                // An error says that the one before has ended without saying so, which is an end too.
                let _ = before.await;
            }
            let reply = gateway.receive(&raw, &at).await;
            let _ = done.send(());
            drop((raw, held));
            reply
        };
        let begun = Begun { frame, key, ended: Some(ended), peer: self.at.peer.clone(), _share: share };
        self.push(begun, tokio::spawn(take.instrument(span).with_current_subscriber()));
    }

    fn push(&mut self, begun: Begun, reply: JoinHandle<Taken>) {
        self.in_flight_bytes += begun.frame.len();
        self.begun.push_back(begun);
        self.replies.push_back(reply);
    }

    /// The key of a frame, and the end of the newest frame of the same key that is being taken. Alone it needs neither.
    fn before(&mut self, frame: &Bytes) -> (Option<String>, Option<oneshot::Receiver<()>>) {
        if self.begun.is_empty() {
            return (None, None);
        }
        let key = key_of(frame);
        for begun in self.begun.iter_mut().rev() {
            if *begun.key.get_or_insert_with(|| key_of(&begun.frame)) == key {
                return (Some(key), begun.ended.take());
            }
        }
        (Some(key), None)
    }

    /// Writes a reply, and those that are ready behind it.
    async fn reply(&mut self, first: Result<Taken, JoinError>, stop: &CancellationToken) -> Result<(), Ended> {
        let mut out = BytesMut::new();
        let mut settled = self.settle(first, &mut out);
        while settled.is_ok() && out.len() < REPLY_BYTES {
            let Some(Some(next)) = self.replies.next().now_or_never() else { break };
            settled = self.settle(next, &mut out);
        }
        self.write(&out, stop).await?;
        settled
    }

    fn settle(&mut self, taken: Result<Taken, JoinError>, out: &mut BytesMut) -> Result<(), Ended> {
        let begun = self.begun.pop_front();
        let peer = begun.and_then(|begun| {
            self.in_flight_bytes -= begun.frame.len();
            begun.peer
        });
        match taken {
            Ok(Ok(reply)) => {
                self.entry.answered(peer, reply.as_deref().map_or("none", code_of));
                if let Some(reply) = reply {
                    encode(&reply, out);
                }
                Ok(())
            }
            Ok(Err(trouble)) => {
                self.entry.answered(peer, "closed");
                Err(Ended::NotNow(trouble.to_string()))
            }
            Err(_) => {
                self.entry.answered(peer, "closed");
                Err(Ended::Panicked)
            }
        }
    }

    async fn write(&mut self, out: &[u8], stop: &CancellationToken) -> Result<(), Ended> {
        if out.is_empty() {
            return Ok(());
        }
        // Nearly always the socket takes a reply at once.
        let mut rest = out;
        while !rest.is_empty() {
            let written = match self.stream.write(rest).now_or_never() {
                Some(written) => written,
                None => {
                    self.entry.is(Doing::Replying, self.begun.len());
                    tokio::select! {
                        biased;
                        why = self.entry.told() => return Err(why),
                        written = self.stream.write(rest) => written,
                        () = tokio::time::sleep(self.timings.unread) => {
                            self.entry.quirk(Quirk::UnreadReplies);
                            return Err(Ended::Unread(self.timings.unread));
                        }
                        () = given_up(stop) => return Err(Ended::Stopped),
                    }
                }
            };
            match written {
                Ok(0) => return Err(Ended::Failed("nothing more can be written".to_owned())),
                Ok(written) => rest = &rest[written..],
                Err(error) => return Err(Ended::Failed(error.to_string())),
            }
        }
        let flushed = tokio::time::timeout(self.timings.unread, self.stream.flush()).await;
        self.progress = Instant::now();
        match flushed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Ended::Failed(error.to_string())),
            Err(_) => {
                self.entry.quirk(Quirk::UnreadReplies);
                Err(Ended::Unread(self.timings.unread))
            }
        }
    }

    /// Says that nothing more comes, and reads what was under way: closing over unread bytes would take the last replies with it.
    async fn hang_up(&mut self) {
        let polite = async {
            self.stream.shutdown().await?;
            let mut buffer = [0; 1024];
            while self.stream.read(&mut buffer).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        // Whether the other side still listens changes nothing.
        let _ = tokio::time::timeout(LINGER, polite).await;
    }
}

/// What is waited for; nothing where that is nothing.
async fn given(more: &mut Option<BoxFuture<'static, Share>>) -> Option<Share> {
    match more {
        Some(more) => Some(more.await),
        None => None,
    }
}

async fn given_up(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_PATIENCE).await;
}

/// A buffer that a read filled grows; one that a read left mostly empty is small again.
fn fit(buffer: &mut Vec<u8>, read: usize) {
    if read == buffer.len() && read < READ_BYTES.1 {
        buffer.resize(read * 2, 0);
    } else if read < READ_BYTES.0 && buffer.len() > READ_BYTES.0 {
        *buffer = vec![0; READ_BYTES.0];
    }
}
