//! Feeds: whether each speaks as it is used to, what it left out, and whether its messages take effect.
//!
//! 1. Every minute a timer reads what came ([`crate::activity`]) and asks the domain what follows; its unit holds the events of every feed and
//!    sets the timer anew with what was learned.
//! 2. A silence beyond chance is one `FeedGapOpened`, one task and one line in the log; what closes it is written in [`crate::domain::feed`].
//! 3. Operators declare and close gaps, and say that a feed in shadow takes effect or no longer does: events on the feed's stream, each
//!    with its audit row.
//!
//! A feed in shadow is heard and learned, and no event says so.

use crate::activity::{self, Memory, Terms};
use crate::domain::feed::{Feed, FeedEvent, Gap, GapCause, Heard, follow, told};
use crate::domain::rhythm::{DAY_US, MINUTE_US};
use crate::gateway::{Gateway, RECEIVED, SHADOW};
use crate::inbox::ATTEMPTS_MAX;
use crate::peer::{Mode, Peer};
use crate::wire;
use hearthline_eventing::timers::Due;
use hearthline_eventing::{Actor, Answer, Cause, Claim, ClaimRule, InboxChange, NotNow, Settled, Store, StoreError, TimerChange, Unit};
use hearthline_nhs::StreamId;
use hearthline_runtime::auth::Caller;
use hearthline_runtime::service::{self, fresh_id};
use jiff::Timestamp;
use serde::Serialize;

/// Feeds are looked at.
pub const LISTEN: &str = "feeds";
/// The stream whose timer that is; nothing is ever appended to it.
pub const LISTEN_STREAM: StreamId = StreamId::from_bytes(*b"feeds-activity\0\0");
/// Messages kept in shadow are handed to interpretation; on the feed's stream, the payload is the peer's name and since when.
pub const RELEASE: &str = "feed-release";
/// A peer's name; the owner is its feed's stream.
const FEED: &str = "feed";
const LOOK_EVERY_US: i64 = MINUTE_US;
/// Messages handed over in one unit.
const RELEASE_ROWS: usize = 500;

/// What an operator asked for cannot be.
#[derive(Debug, thiserror::Error)]
pub enum FeedRefused {
    #[error("no peer is configured under the name {0:?}: `[[mllp.peer]]` lists them")]
    UnknownPeer(String),
    #[error("the feed has no open gap of this id: `hearthline pas gaps list` shows those that there are")]
    UnknownGap,
    #[error("the gap's end {until} must lie after its beginning {from}, and neither in the future")]
    NotAPeriod { from: Timestamp, until: Timestamp },
    #[error("the gap would begin at {from}, before the {days} days within which this feed can still be filled: nothing would ever wait for it")]
    TooOld { from: Timestamp, days: u16 },
    #[error("the gap would overlap one that was declared from {from} and is not closed: close that first")]
    Overlaps { from: Timestamp },
    #[error("{from} lies in the future: messages since then cannot have been kept")]
    NotYet { from: Timestamp },
    #[error("the feed's messages take effect already")]
    AlreadyLive,
    #[error("the feed's messages take no effect already")]
    AlreadyShadow,
    #[error(transparent)]
    NotNow(#[from] NotNow),
}

impl From<StoreError> for FeedRefused {
    fn from(error: StoreError) -> Self {
        FeedRefused::NotNow(error.into())
    }
}

/// A feed as operators see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeedStatus {
    pub peer: String,
    pub facility_ods: String,
    /// `live` or `shadow`, as configured or as decided by an operator.
    pub mode: &'static str,
    /// An operator's decision goes over the configuration.
    pub mode_decided: bool,
    pub last_message_at: Option<String>,
    /// The newest time that any message told of.
    pub newest_time: Option<String>,
    /// Hours of activity learned; below 336 silence is judged only where it is configured.
    pub hours_learned: u32,
    /// Messages in a month, as learned.
    pub messages_a_month: u64,
    /// When silence will be told, if nothing comes before.
    pub silent_from: Option<String>,
    /// Since when the feed is silent, where it is.
    pub silent_since: Option<String>,
    /// Gaps that may still be filled.
    pub gaps: Vec<GapStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GapStatus {
    pub gap_id: String,
    /// `silence`, `declared` or `demoted`.
    pub cause: &'static str,
    pub from: String,
    /// From then on the feed speaks again.
    pub until: Option<String>,
    pub back_fill_until: String,
}

/// A feed's stream with what it says; `version` 0: it is not begun, and its first unit claims the peer's name.
struct OnRecord {
    stream: StreamId,
    version: u64,
    feed: Feed,
}

impl Gateway {
    pub(crate) fn peer(&self, name: &str) -> Result<&Peer, FeedRefused> {
        self.peers.iter().find(|peer| peer.name == name).ok_or_else(|| FeedRefused::UnknownPeer(name.to_owned()))
    }

    /// Whether a peer's messages take effect: as an operator decided, else as configured.
    pub async fn mode(&self, peer: &Peer) -> Result<Mode, NotNow> {
        Ok(mode_of(peer, &self.on_record(&peer.name).await?.feed))
    }

    async fn on_record(&self, peer: &str) -> Result<OnRecord, NotNow> {
        let rows = self.kernel.store.query("select owner from claims where scope = $1 and key = $2", &[FEED.into(), peer.as_bytes().into()]).await?;
        let Some(row) = rows.first() else {
            return Ok(OnRecord { stream: StreamId::from_bytes(fresh_id()), version: 0, feed: Feed::default() });
        };
        let stream = row.stream(0);
        let facts = self.kernel.facts(stream).await?;
        let mut feed = Feed::default();
        for fact in &facts {
            if let Some(event) = wire::feed::decode(fact).map_err(|e| NotNow::Other(e.to_string()))? {
                feed = feed.evolve(&event);
            }
        }
        Ok(OnRecord { stream, version: facts.len() as u64, feed })
    }

    /// Events of a feed as a unit, with the claim on its name before the first.
    async fn recorded(&self, peer: &Peer, record: &OnRecord, events: &[FeedEvent], actor: Actor, now: i64) -> Result<Unit, NotNow> {
        let mut unit = Unit::default();
        if events.is_empty() {
            return Ok(unit);
        }
        if record.version == 0 {
            unit.claims.push(Claim {
                scope: FEED,
                key: peer.name.clone().into_bytes().into(),
                digest: Default::default(),
                owner: record.stream,
                version: 0,
                expires_at: None,
                rule: ClaimRule::Unique,
            });
        }
        let encoded = events.iter().map(|event| wire::feed::encode(event, &peer.name, peer.facility_ods.as_str(), now)).collect();
        let cause = Cause { actor, causation: None, correlation: *record.stream.bytes(), traceparent: None };
        unit.writes.push(self.kernel.composer.write(record.stream, record.version, encoded, &cause, now).await?);
        Ok(unit)
    }

    /// The timer: what came since the last look, what follows, and the next look. The unit is complete.
    pub async fn listen(&self, due: &Due, now: i64) -> Result<Unit, NotNow> {
        let mut memory = Memory::read(&due.payload);
        let (mut arrived, seq, has_more) = activity::arrivals(self.kernel.store.as_ref(), memory.seq).await?;
        memory.seq = seq;
        memory.feeds.retain(|name, _| self.peers.iter().any(|peer| peer.name == *name));
        let mut unit = Unit::default();
        for peer in self.peers.iter() {
            let arrivals = arrived.remove(&peer.name).unwrap_or_default();
            let activity = memory.feeds.entry(peer.name.clone()).or_default();
            // While there are rows unread, silence after the last one read is none.
            let heard_until = if has_more { arrivals.last().map_or(activity.last_at, |last| Some(last.last_at)) } else { Some(now) };
            let Some(heard_until) = heard_until else { continue };
            activity.hear(&arrivals, heard_until, terms(peer), &mut fresh_id);
            if has_more {
                continue;
            }
            let record = self.on_record(&peer.name).await?;
            if mode_of(peer, &record.feed) == Mode::Shadow {
                activity.forget_ended_silences();
                continue;
            }
            let mut silences = activity.silences(now);
            for silence in &mut silences {
                if let Some(back) = silence.back {
                    silence.backlog.waits = self.waits(peer, "occurred_at", silence.from, back).await?;
                }
            }
            let Terms { agreed, back_fill_us } = terms(peer);
            let rhythm = activity.rhythm();
            let heard = Heard { rhythm: &rhythm, agreed, back_fill_us, newest: activity.newest, lately: activity.lately(now), silences: &silences };
            let events = follow(&record.feed, &heard, now, fresh_id(), fresh_id());
            tell(peer, &events);
            activity.settle(&events);
            unit.merge(self.recorded(peer, &record, &events, Actor::SYSTEM, now).await?);
        }
        let due_at = if has_more { now } else { now + LOOK_EVERY_US };
        unit.timers.push(TimerChange::Set { stream: LISTEN_STREAM, name: LISTEN, due_at, payload: memory.write() });
        Ok(unit)
    }

    /// Whether a message of a feed of this time, its own or that of its arrival, was taken and is not interpreted.
    async fn waits(&self, peer: &Peer, column: &'static str, from: i64, until: i64) -> Result<bool, NotNow> {
        let sql = format!("select 1 from inbox where state = $1 and peer = $2 and {column} >= $3 and {column} < $4 limit 1");
        let rows = self.kernel.store.query(&sql, &[RECEIVED.into(), peer.name.as_str().into(), from.into(), until.into()]).await?;
        Ok(!rows.is_empty())
    }

    /// The feeds as they stand.
    pub async fn feeds(&self, now: i64) -> Result<Vec<FeedStatus>, NotNow> {
        let memory = self.memory().await?;
        let mut all = Vec::with_capacity(self.peers.len());
        for peer in self.peers.iter() {
            let feed = self.on_record(&peer.name).await?.feed;
            let activity = memory.feeds.get(&peer.name).cloned().unwrap_or_default();
            let rhythm = activity.rhythm();
            all.push(FeedStatus {
                peer: peer.name.clone(),
                facility_ods: peer.facility_ods.to_string(),
                mode: mode_name(mode_of(peer, &feed)),
                mode_decided: feed.promoted.is_some(),
                last_message_at: activity.last_at.map(stamp),
                newest_time: activity.newest.map(stamp),
                hours_learned: rhythm.hours,
                messages_a_month: rhythm.a_month().round() as u64,
                silent_from: activity.last_at.and_then(|last| rhythm.silent_from(last, terms(peer).agreed)).filter(|at| *at > now).map(stamp),
                silent_since: activity.silent_since().map(stamp),
                gaps: feed.open.iter().map(gap_status).collect(),
            });
        }
        Ok(all)
    }

    pub(crate) async fn memory(&self) -> Result<Memory, NotNow> {
        Ok(remembered(self.kernel.store.as_ref()).await?)
    }

    /// An operator says that a feed left something out, whether or not it spoke. Gives the gap's id.
    pub async fn declare_gap(&self, peer: &str, from: i64, until: Option<i64>, by: &Caller, why: &str, now: i64) -> Result<String, FeedRefused> {
        let peer = self.peer(peer)?;
        if from >= until.unwrap_or(now) || until.is_some_and(|until| until > now) {
            return Err(FeedRefused::NotAPeriod { from: time(from), until: time(until.unwrap_or(now)) });
        }
        let back_fill_until = from + terms(peer).back_fill_us;
        if back_fill_until <= now {
            return Err(FeedRefused::TooOld { from: time(from), days: peer.back_fill_days });
        }
        let gap = fresh_id();
        self.act(peer, by, "declare_feed_gap", why, now, |feed| {
            let ends_after = |end: Option<i64>, at: i64| end.is_none_or(|end| end > at);
            let declared = feed.open.iter().filter(|gap| gap.cause == GapCause::Declared);
            if let Some(gap) = declared.into_iter().find(|gap| ends_after(gap.until, from) && ends_after(until, gap.from)) {
                return Err(FeedRefused::Overlaps { from: time(gap.from) });
            }
            let opened = FeedEvent::GapOpened { gap, cause: GapCause::Declared, from, back_fill_until };
            Ok(std::iter::once(opened).chain(until.map(|until| FeedEvent::Resumed { gap, until })).collect())
        })
        .await?;
        Ok(uuid::Uuid::from_bytes(gap).to_string())
    }

    /// An operator says how a gap ended: `filled` where everything has come, or nothing was missing.
    #[expect(clippy::too_many_arguments, reason = "each is said by the operator")]
    pub async fn close_gap(&self, peer: &str, gap_id: &str, until: Option<i64>, filled: bool, by: &Caller, why: &str, now: i64) -> Result<(), FeedRefused> {
        let peer = self.peer(peer)?;
        let id = *uuid::Uuid::parse_str(gap_id).map_err(|_| FeedRefused::UnknownGap)?.as_bytes();
        self.act(peer, by, "close_feed_gap", why, now, |feed| {
            let gap = feed.gap(id).ok_or(FeedRefused::UnknownGap)?;
            let until = until.or(gap.until).unwrap_or(now);
            if until <= gap.from || until > now {
                return Err(FeedRefused::NotAPeriod { from: time(gap.from), until: time(until) });
            }
            Ok(vec![FeedEvent::GapClosed { gap: id, until, filled }])
        })
        .await
    }

    /// A feed in shadow takes effect from now on. With `from`, messages kept since then take effect too, and what a demotion left out since
    /// then is filled; without, they stay as they are.
    pub async fn promote(&self, peer: &str, from: Option<i64>, by: &Caller, why: &str, now: i64) -> Result<(), FeedRefused> {
        let peer = self.peer(peer)?;
        if let Some(from) = from.filter(|from| *from > now) {
            return Err(FeedRefused::NotYet { from: time(from) });
        }
        self.act(peer, by, "promote_feed", why, now, |feed| {
            if mode_of(peer, feed) == Mode::Live {
                return Err(FeedRefused::AlreadyLive);
            }
            let mut events = vec![FeedEvent::Promoted { from }];
            // What was declared at the demotion ends now; it is filled once the kept messages that reach back to it have had their effect.
            events.extend(feed.open.iter().filter(|gap| gap.cause == GapCause::Demoted).map(|gap| match from {
                Some(from) if from <= gap.from => FeedEvent::Resumed { gap: gap.id, until: now },
                Some(_) | None => FeedEvent::GapClosed { gap: gap.id, until: now, filled: false },
            }));
            Ok(events)
        })
        .await
    }

    /// A feed is put back into shadow: a gap begins, because what it says now has no effect.
    pub async fn demote(&self, peer: &str, by: &Caller, why: &str, now: i64) -> Result<(), FeedRefused> {
        let peer = self.peer(peer)?;
        let back_fill_until = now + terms(peer).back_fill_us;
        let gap = fresh_id();
        self.act(peer, by, "demote_feed", why, now, |feed| {
            if mode_of(peer, feed) == Mode::Shadow {
                return Err(FeedRefused::AlreadyShadow);
            }
            Ok(vec![FeedEvent::Demoted, FeedEvent::GapOpened { gap, cause: GapCause::Demoted, from: now, back_fill_until }])
        })
        .await
    }

    /// An operator's act on a feed: its events, its audit row and, for a promotion that reaches back, the timer that hands the kept
    /// messages over, in one unit.
    async fn act(
        &self,
        peer: &Peer,
        by: &Caller,
        action: &'static str,
        why: &str,
        now: i64,
        decide: impl Fn(&Feed) -> Result<Vec<FeedEvent>, FeedRefused>,
    ) -> Result<(), FeedRefused> {
        for _ in 0..ATTEMPTS_MAX {
            let record = self.on_record(&peer.name).await?;
            let mut events = decide(&record.feed)?;
            events.extend(told(&record.feed, &events, now, fresh_id()));
            let mut unit = self.recorded(peer, &record, &events, service::actor(by), now).await?;
            unit.audit.push(service::audit(by, action, Some(*record.stream.bytes()), why, now));
            let since = events.iter().find_map(|event| if let FeedEvent::Promoted { from } = event { *from } else { None });
            if let Some(since) = since {
                unit.timers.push(TimerChange::Set { stream: record.stream, name: RELEASE, due_at: now, payload: release_payload(since, false, &peer.name) });
            }
            match self.kernel.store.append(unit).await? {
                Answer::Committed { .. } => {
                    tell(peer, &events);
                    return Ok(());
                }
                Answer::Claimed(_) | Answer::VersionConflict { .. } | Answer::Fenced(_) => {}
            }
        }
        Err(FeedRefused::NotNow(NotNow::Other("the feed's stream kept changing under an operator's act".to_owned())))
    }

    /// The timer: hands a page of kept messages over to interpretation. Once none is left it looks again a minute later, because a message
    /// may have been judged for shadow while the promotion was committed, and until all are interpreted; then the demotion's gap is filled.
    pub async fn release(&self, due: &Due, now: i64) -> Result<Unit, NotNow> {
        let Some((since, is_last, name)) = release_of(&due.payload) else {
            return Err(NotNow::Other("what a promotion hands over cannot be read".to_owned()));
        };
        let mut unit = Unit::default();
        let Some(peer) = self.peers.iter().find(|peer| peer.name == name) else { return Ok(unit) };
        let record = self.on_record(&name).await?;
        if record.feed.promoted != Some(true) {
            return Ok(unit);
        }
        let sql = format!("select id from inbox where state = $1 and peer = $2 and outgoing = 0 and received_at >= $3 order by seq limit {RELEASE_ROWS}");
        let rows = self.kernel.store.query(&sql, &[SHADOW.into(), name.as_str().into(), since.into()]).await?;
        unit.inbox.extend(rows.iter().map(|row| InboxChange::Settle(Box::new(Settled::new(row.id(0), SHADOW, RECEIVED, String::new())))));
        let is_full = rows.len() == RELEASE_ROWS;
        let gaps = record.feed.open.iter().filter(|gap| gap.cause == GapCause::Demoted && gap.from >= since);
        let filled: Vec<([u8; 16], i64)> = gaps.filter_map(|gap| Some((gap.id, gap.until?))).collect();
        let promoted = filled.iter().map(|(_, until)| *until).max().unwrap_or(now);
        if is_last && rows.is_empty() && !self.waits(peer, "received_at", since, promoted).await? {
            let events: Vec<FeedEvent> = filled.iter().map(|(gap, until)| FeedEvent::GapClosed { gap: *gap, until: *until, filled: true }).collect();
            tell(peer, &events);
            unit.merge(self.recorded(peer, &record, &events, Actor::SYSTEM, now).await?);
        } else {
            let due_at = if is_full { now } else { now + LOOK_EVERY_US };
            unit.timers.push(TimerChange::Set { stream: due.stream, name: RELEASE, due_at, payload: release_payload(since, !is_full, &name) });
        }
        Ok(unit)
    }
}

/// Makes sure, at start, that the feeds are looked at.
pub async fn arm(store: &dyn Store, now: i64) -> Result<(), StoreError> {
    let armed = store.query("select 1 from timers where stream = $1 and name = $2", &[LISTEN_STREAM.into(), LISTEN.into()]).await?;
    if armed.is_empty() {
        let set = TimerChange::Set { stream: LISTEN_STREAM, name: LISTEN, due_at: now, payload: Memory::default().write() };
        store.append(Unit { timers: vec![set], ..Unit::default() }).await?;
    }
    Ok(())
}

/// The feeds that were heard of, and whether each is silent for longer than chance: what the gauge `hearthline.feed.silent` shows.
pub async fn silent(store: &dyn Store) -> Result<Vec<(String, bool)>, StoreError> {
    Ok(remembered(store).await?.feeds.into_iter().map(|(name, activity)| (name, activity.silent_since().is_some())).collect())
}

/// What the timer remembers.
async fn remembered(store: &dyn Store) -> Result<Memory, StoreError> {
    let rows = store.query("select payload from timers where stream = $1 and name = $2", &[LISTEN_STREAM.into(), LISTEN.into()]).await?;
    Ok(rows.first().map(|row| Memory::read(row.blob(0))).unwrap_or_default())
}

/// By what a peer's silence is judged.
fn terms(peer: &Peer) -> Terms {
    Terms {
        agreed: peer.silence.map(|silence| i64::try_from(silence.as_micros()).unwrap_or(i64::MAX / 4)),
        back_fill_us: i64::from(peer.back_fill_days) * DAY_US,
    }
}

fn mode_of(peer: &Peer, feed: &Feed) -> Mode {
    match feed.promoted {
        Some(true) => Mode::Live,
        Some(false) => Mode::Shadow,
        None => peer.mode,
    }
}

pub(crate) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Live => "live",
        Mode::Shadow => "shadow",
    }
}

/// One line for each thing that operators act on.
fn tell(peer: &Peer, events: &[FeedEvent]) {
    let (feed, is_new) = (peer.name.as_str(), events.iter().any(|event| matches!(event, FeedEvent::TaskOpened { .. })));
    for event in events {
        match *event {
            FeedEvent::GapOpened { from, cause: GapCause::Silence, .. } if is_new => {
                tracing::warn!(
                    feed,
                    since = stamp(from),
                    "a hospital feed is silent for longer than was learned of it or agreed: look at the sender and the connection"
                );
            }
            FeedEvent::GapOpened { from, .. } => tracing::info!(feed, since = stamp(from), "a gap of a hospital feed begins"),
            FeedEvent::Resumed { until, .. } => {
                tracing::warn!(
                    feed,
                    until = stamp(until),
                    "a hospital feed speaks again, and what it left out has not all come: ask its sender to send it again"
                );
            }
            FeedEvent::GapClosed { until, filled, .. } => tracing::info!(feed, until = stamp(until), filled, "a gap of a hospital feed is closed"),
            FeedEvent::Promoted { from } => tracing::info!(feed, since = from.map(stamp), "a hospital feed takes effect"),
            FeedEvent::Demoted => tracing::info!(feed, "a hospital feed takes no effect any more"),
            FeedEvent::TaskOpened { .. } | FeedEvent::TaskClosed { .. } => {}
        }
    }
}

fn gap_status(gap: &Gap) -> GapStatus {
    GapStatus {
        gap_id: uuid::Uuid::from_bytes(gap.id).to_string(),
        cause: match gap.cause {
            GapCause::Silence => "silence",
            GapCause::Declared => "declared",
            GapCause::Demoted => "demoted",
        },
        from: stamp(gap.from),
        until: gap.until.map(stamp),
        back_fill_until: stamp(gap.back_fill_until),
    }
}

fn release_payload(since: i64, is_last: bool, peer: &str) -> bytes::Bytes {
    format!("{since}\n{is_last}\n{peer}").into_bytes().into()
}

fn release_of(payload: &[u8]) -> Option<(i64, bool, String)> {
    let mut parts = std::str::from_utf8(payload).ok()?.splitn(3, '\n');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.to_owned()))
}

fn time(at: i64) -> Timestamp {
    Timestamp::from_microsecond(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(crate) fn stamp(at: i64) -> String {
    time(at).to_string()
}
