//! What each peer is sending over which connection, and what is wrong with it: for the engineer at either end.
//!
//! Open connections, and of those that ended the last few of each peer. Counts, times and words of ours; nothing of any message.

mod quirk;
mod report;

pub use quirk::Quirk;
use report::quirk_report;
pub use report::{ConnectionReport, QuirkReport, TlsReport};

use crate::mllp::memory::Memory;
use hearthline_eventing::now_us;
use hearthline_runtime::tls::Identity;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Ended connections kept of each peer; of those that never said whose they are, together.
const ENDED_KEPT: usize = 10;

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Its sender closed it between two frames.
    BySender,
    /// Its sender closed it in the middle of a frame.
    BySenderMidFrame,
    /// The gateway stops.
    Stopped,
    Failed(String),
    /// Our own trouble: the message has no answer, and is to be sent again.
    NotNow(String),
    /// Text that ended in an end block without a start block.
    NotFramed,
    /// It is no MLLP that is spoken.
    OtherProtocol(Quirk),
    PartialFrame(Duration),
    Idle(Duration),
    /// Replies were not read.
    Unread(Duration),
    /// The same peer connected anew from the same host, and this connection was dead.
    Superseded(SocketAddr),
    /// There were too many, and on this one no known peer had sent anything.
    MadeWay,
    Handshake(String),
    Panicked,
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Between two frames.
    Waiting,
    /// A frame has begun and not ended.
    MidFrame,
    /// As many frames as agreed are being taken; nothing is read meanwhile.
    Full,
    /// A large frame waits for memory; nothing is read meanwhile.
    Held,
    /// A reply is being written.
    Replying,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    count: u64,
    last_at: i64,
}

#[derive(Debug)]
struct Record {
    peer: Option<Arc<str>>,
    doing: Doing,
    in_flight: usize,
    frames: u64,
    bytes: u64,
    last_frame_at: Option<i64>,
    last_byte_at: i64,
    replies: BTreeMap<&'static str, u64>,
    quirks: BTreeMap<Quirk, Seen>,
}

/// One connection, open or ended.
pub struct Entry {
    id: u64,
    listener: Arc<str>,
    remote: SocketAddr,
    since: i64,
    tls: OnceLock<TlsReport>,
    record: Mutex<Record>,
    /// Why it is to end, said by another.
    told: OnceLock<Ended>,
    token: CancellationToken,
    meters: Arc<Meters>,
}

struct Meters {
    frames: OnceLock<Counter<u64>>,
    quirks: OnceLock<Counter<u64>>,
    /// What each peer did since then, on connections that are forgotten too: at most peers times quirks.
    tallies: Mutex<HashMap<Arc<str>, BTreeMap<Quirk, Seen>>>,
    since: i64,
}

impl Default for Meters {
    fn default() -> Self {
        Meters { frames: OnceLock::new(), quirks: OnceLock::new(), tallies: Mutex::default(), since: now_us() }
    }
}

impl Meters {
    fn tally(&self, peer: &Arc<str>, quirk: Quirk, seen: &Seen) {
        let mut tallies = lock(&self.tallies);
        let sum = tallies.entry(peer.clone()).or_default().entry(quirk).or_default();
        sum.count += seen.count;
        sum.last_at = sum.last_at.max(seen.last_at);
    }
}

/// The registry. A clone is the same registry.
#[derive(Clone, Default)]
pub struct Connections(Arc<Inner>);

#[derive(Default)]
struct Inner {
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Entry>>>,
    ended: Mutex<HashMap<Option<Arc<str>>, VecDeque<ConnectionReport>>>,
    /// The highest MSH-13 of each peer.
    numbers: Mutex<HashMap<Arc<str>, u64>>,
    meters: Arc<Meters>,
    memory: Memory,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connections({} open)", lock(&self.0.open).len())
    }
}

impl Connections {
    /// Counts frames and quirks there from now on.
    pub fn measured_by(&self, meter: &Meter) {
        self.0.meters.frames.get_or_init(|| meter.u64_counter("hearthline.mllp.frames").with_description("Frames by peer and reply").build());
        self.0.meters.quirks.get_or_init(|| meter.u64_counter("hearthline.mllp.quirks").with_description("What was wrong with a stream, by peer").build());
    }

    /// Open connections, then ended ones, newest first within each peer.
    pub fn reports(&self) -> Vec<ConnectionReport> {
        let open: Vec<Arc<Entry>> = lock(&self.0.open).values().cloned().collect();
        let mut reports: Vec<ConnectionReport> = open.iter().rev().map(|entry| entry.report(None)).collect();
        reports.extend(lock(&self.0.ended).values().flatten().cloned());
        reports.sort_by(|a, b| (&a.peer, a.ended.is_some(), std::cmp::Reverse(&a.since)).cmp(&(&b.peer, b.ended.is_some(), std::cmp::Reverse(&b.since))));
        reports
    }

    pub(crate) fn opened(&self, listener: Arc<str>, remote: SocketAddr) -> Arc<Entry> {
        let now = now_us();
        let entry = Arc::new(Entry {
            id: self.0.next.fetch_add(1, Ordering::Relaxed),
            listener,
            remote,
            since: now,
            tls: OnceLock::new(),
            record: Mutex::new(Record {
                peer: None,
                doing: Doing::Waiting,
                in_flight: 0,
                frames: 0,
                bytes: 0,
                last_frame_at: None,
                last_byte_at: now,
                replies: BTreeMap::new(),
                quirks: BTreeMap::new(),
            }),
            told: OnceLock::new(),
            token: CancellationToken::new(),
            meters: self.0.meters.clone(),
        });
        lock(&self.0.open).insert(entry.id, entry.clone());
        entry
    }

    pub(crate) fn ended(&self, entry: &Entry, why: &Ended) {
        let report = entry.report(Some(why));
        lock(&self.0.open).remove(&entry.id);
        let mut ended = lock(&self.0.ended);
        let of_peer = ended.entry(entry.peer()).or_default();
        of_peer.push_front(report);
        of_peer.truncate(ENDED_KEPT);
    }

    /// Tells dead connections of the same peer from the same host to end: such that stopped in the middle of a frame or do not read
    /// their replies for `stuck`, or have nothing outstanding and were silent for `silent`. Others of the peer are let be.
    pub(crate) fn supersede(&self, by: &Entry, stuck: Duration, silent: Duration) {
        let Some(peer) = by.peer() else { return };
        let now = now_us();
        for other in lock(&self.0.open).values().filter(|other| other.id < by.id && other.listener == by.listener && other.remote.ip() == by.remote.ip()) {
            let record = lock(&other.record);
            let quiet = Duration::from_micros((now - record.last_byte_at).max(0).unsigned_abs());
            let is_dead = match record.doing {
                Doing::MidFrame | Doing::Replying => quiet >= stuck,
                Doing::Waiting => record.in_flight == 0 && quiet >= silent,
                Doing::Full | Doing::Held => false,
            };
            // One that had not said whose it is when it died may be the peer's too.
            if is_dead && record.peer.as_ref().is_none_or(|p| *p == peer) {
                drop(record);
                other.tell(Ended::Superseded(by.remote));
            }
        }
    }

    /// A message came with this MSH-13. Numbers that are left out are a quirk of the connection; 0 and 1 begin anew, and what is not
    /// higher came before. It is told, and nothing is done about it: what MSH-13 counts differs between senders.
    pub(crate) fn numbered(&self, entry: &Entry, number: u64) {
        let Some(peer) = entry.peer() else { return };
        let mut numbers = lock(&self.0.numbers);
        let highest = numbers.entry(peer).or_insert(number);
        let skips = number > highest.saturating_add(1) && number > 1;
        *highest = if number <= 1 { number } else { number.max(*highest) };
        drop(numbers);
        if skips {
            entry.quirk(Quirk::SequenceGap);
        }
    }

    /// What a peer's connections did that they should not since [`Connections::since`], also those that are forgotten.
    pub fn quirks_of(&self, peer: &str) -> Vec<QuirkReport> {
        let tallies = lock(&self.0.meters.tallies);
        tallies.get(peer).into_iter().flatten().map(|(quirk, seen)| quirk_report(*quirk, seen)).collect()
    }

    /// Since when quirks are counted, µs: the process began.
    pub fn since(&self) -> i64 {
        self.0.meters.since
    }

    /// Ends the oldest connection on which no known peer has sent anything, such without a frame first, to make way for a new one;
    /// whether there was one.
    pub(crate) fn make_way(&self) -> bool {
        let open = lock(&self.0.open);
        let of_nobody = || open.values().filter(|entry| entry.told.get().is_none() && entry.peer().is_none());
        let first = of_nobody().find(|entry| lock(&entry.record).frames == 0).or_else(|| of_nobody().next());
        first.inspect(|entry| entry.tell(Ended::MadeWay)).is_some()
    }

    /// For large frames.
    pub(crate) fn memory(&self) -> &Memory {
        &self.0.memory
    }
}

impl Entry {
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    pub fn listener(&self) -> &Arc<str> {
        &self.listener
    }

    pub(crate) fn is_secured(&self) -> bool {
        self.tls.get().is_some()
    }

    /// Nothing has come on it.
    pub(crate) fn is_untouched(&self) -> bool {
        lock(&self.record).bytes == 0
    }

    pub fn peer(&self) -> Option<Arc<str>> {
        lock(&self.record).peer.clone()
    }

    fn tell(&self, why: Ended) {
        let _ = self.told.set(why);
        self.token.cancel();
    }

    /// Resolves when another says that this connection is to end.
    pub(crate) async fn told(&self) -> Ended {
        self.token.cancelled().await;
        self.told.get().cloned().unwrap_or(Ended::Stopped)
    }

    pub(crate) fn secured(&self, version: String, identity: Option<Identity>) {
        let (name, fingerprint) = identity.map(|i| (i.name, i.fingerprint)).unzip();
        let _ = self.tls.set(TlsReport { version, client_name: name, client_fingerprint: fingerprint });
    }

    pub(crate) fn belongs_to(&self, peer: Arc<str>) {
        let mut record = lock(&self.record);
        if record.peer.is_none() {
            // What it did before is the peer's too.
            record.quirks.iter().for_each(|(quirk, seen)| self.meters.tally(&peer, *quirk, seen));
        }
        record.peer = Some(peer);
    }

    pub(crate) fn is(&self, doing: Doing, in_flight: usize) {
        let mut record = lock(&self.record);
        record.doing = doing;
        record.in_flight = in_flight;
    }

    pub(crate) fn read(&self, bytes: usize) {
        let mut record = lock(&self.record);
        record.bytes += bytes as u64;
        record.last_byte_at = now_us();
    }

    pub(crate) fn framed(&self) {
        let mut record = lock(&self.record);
        record.frames += 1;
        record.last_frame_at = Some(now_us());
    }

    /// `reply`: MSA-1, or `none` where none was asked for, or `closed`.
    pub(crate) fn answered(&self, peer: Option<Arc<str>>, reply: &'static str) {
        *lock(&self.record).replies.entry(reply).or_default() += 1;
        if let Some(frames) = self.meters.frames.get() {
            frames.add(1, &[peer_attribute(peer), KeyValue::new("reply", reply)]);
        }
    }

    /// Something is wrong with the stream: counted each time, logged the first.
    pub(crate) fn quirk(&self, quirk: Quirk) {
        let (peer, is_first) = {
            let mut record = lock(&self.record);
            let seen = record.quirks.entry(quirk).or_default();
            seen.count += 1;
            seen.last_at = now_us();
            let is_first = seen.count == 1;
            let once = Seen { count: 1, last_at: seen.last_at };
            if let Some(peer) = &record.peer {
                self.meters.tally(peer, quirk, &once);
            }
            (record.peer.clone(), is_first)
        };
        if is_first {
            let peer = peer.as_deref().unwrap_or("not known yet");
            tracing::warn!(peer, from = %self.remote, listener = %self.listener, quirk = quirk.name(), advice = quirk.advice(), "{}", quirk.problem());
        }
        if let Some(quirks) = self.meters.quirks.get() {
            quirks.add(1, &[peer_attribute(peer), KeyValue::new("name", quirk.name())]);
        }
    }
}

fn peer_attribute(peer: Option<Arc<str>>) -> KeyValue {
    KeyValue::new("peer", peer.unwrap_or_else(|| Arc::from("unknown")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl crate::gateway::Gateway {
    /// Every open connection, and the last that ended of each peer: for engineers and operators. It names peers and says nothing of
    /// any message; one whose peer is not known yet is nobody's, and so for operators alone.
    pub fn connections(&self) -> Vec<ConnectionReport> {
        self.connections.reports()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(connections: &Connections) -> Arc<Entry> {
        connections.opened(Arc::from("default"), ([127, 0, 0, 1], 1).into())
    }

    #[test]
    fn a_new_connection_has_the_place_of_one_on_which_nobody_known_sent() {
        let connections = Connections::default();
        let (known, junk, silent) = (opened(&connections), opened(&connections), opened(&connections));
        known.framed();
        known.belongs_to(Arc::from("north"));
        junk.framed();
        let gone = || [&known, &junk, &silent].map(|entry| entry.told.get().is_some());
        assert!(connections.make_way());
        assert_eq!(gone(), [false, false, true]);
        assert!(connections.make_way());
        assert_eq!(gone(), [false, true, true]);
        assert!(!connections.make_way());
    }

    #[test]
    fn quirks_of_connections_that_are_forgotten_are_still_counted() {
        let connections = Connections::default();
        for _ in 0..3 * ENDED_KEPT {
            let entry = opened(&connections);
            entry.quirk(Quirk::Unreadable);
            entry.belongs_to(Arc::from("north"));
            entry.quirk(Quirk::CutOff);
            connections.ended(&entry, &Ended::BySenderMidFrame);
        }
        opened(&connections).quirk(Quirk::CutOff);
        assert_eq!(connections.reports().len(), ENDED_KEPT + 1);
        let told: Vec<(&str, u64)> = connections.quirks_of("north").iter().map(|quirk| (quirk.name, quirk.count)).collect();
        assert_eq!(told, [("cut_off", 30), ("unreadable", 30)]);
        assert!(connections.quirks_of("south").is_empty() && connections.since() <= now_us());
    }
}
