//! Judging a batch and turning it into statements. The judge is pure but for reading what its caches lack.

use crate::rows::Rows;
use crate::writer::{BatchError, Begun};
use futures_util::FutureExt;
use hearthline_contracts::topics::Topic;
use hearthline_eventing::{
    Answer, CheckpointChange, ClaimHolder, ClaimKey, ClaimRule, Conn, DbError, DeliveryChange, EVENT_BYTES_MAX, Fact, InboxChange, ROW_MOVED_ON, Row, Script,
    StoreError, TimerChange, Tx, Unit, Value, View, ViewError, now_us,
};
use hearthline_nhs::StreamId;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// How much the judge trusts what it does not find in its caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// An unknown stream expected at 0 is new and an unknown claim is free; constraints are the judge.
    Hopeful,
    /// Everything is read from the tables.
    FromTables,
}

/// A map that remembers about the newest `2 * HALF` keys.
struct Recent<K, V> {
    new: HashMap<K, V>,
    old: HashMap<K, V>,
}
const HALF: usize = 10_000;

impl<K: Eq + Hash + Clone, V: Clone> Recent<K, V> {
    fn get(&self, k: &K) -> Option<&V> {
        self.new.get(k).or_else(|| self.old.get(k))
    }
    fn put(&mut self, k: K, v: V) {
        if self.new.len() >= HALF {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(k, v);
    }
    fn forget(&mut self, k: &K) {
        self.new.remove(k);
        self.old.remove(k);
    }
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Recent { new: HashMap::new(), old: HashMap::new() }
    }
}

type Partition = (String, String, u16);

/// What is known of a claim's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Held, until a time in µs or for good.
    Held(ClaimHolder, Option<i64>),
    /// Not held; an expired row may still lie there.
    Free,
    /// Only the table knows.
    Unknown,
}

/// What the writer knows of the tables. It is so as long as nobody else wrote: on an engine with several writers the generation
/// of the tables says whether somebody did.
pub(crate) struct Ledger {
    pub(crate) topic: &'static Topic,
    pub(crate) views: Vec<Arc<dyn View>>,
    generation: i64,
    position: u64,
    work: u64,
    received: u64,
    archive_seq: i64,
    heads: Recent<StreamId, u64>,
    claims: Recent<ClaimKey, (ClaimHolder, Option<i64>)>,
    checkpoints: HashMap<Partition, (i64, i64)>,
    lease: Option<([u8; 16], i64)>,
}

/// A judged batch and the answer to each of its units.
pub(crate) struct Verdict {
    pub(crate) batch: Batch,
    pub(crate) answers: Vec<Result<Answer, StoreError>>,
}

/// What a batch changes, over the ledger.
#[derive(Default)]
pub(crate) struct Overlay {
    pub(crate) heads: HashMap<StreamId, u64>,
    pub(crate) claims: HashMap<ClaimKey, Standing>,
    pub(crate) checkpoints: HashMap<Partition, (i64, i64)>,
    pub(crate) timers: HashMap<(StreamId, String), Option<i64>>,
    pub(crate) deliveries: HashMap<[u8; 16], (String, u32)>,
    /// States of inbox rows, of those that are settled as read.
    pub(crate) inbox: HashMap<[u8; 16], Cow<'static, str>>,
    pub(crate) lease: Option<([u8; 16], i64)>,
}

/// The survivors of a batch, ready to be written.
pub(crate) struct Batch {
    pub(crate) at: i64,
    survivors: usize,
    /// Its last event: position and id.
    pub(crate) last_event: Option<(u64, [u8; 16])>,
    script: Script,
    pub(crate) facts: Vec<Fact>,
    views: Vec<Arc<dyn View>>,
    overlay: Overlay,
    pub(crate) position: u64,
    pub(crate) archive_seq: i64,
    pub(crate) work: bool,
    /// Messages were received.
    pub(crate) received: bool,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.survivors == 0
    }

    /// Runs the views; gives back what is left to run with the commit.
    pub(crate) async fn run(&mut self, conn: &mut dyn Conn, mut head: Script) -> Result<Script, BatchError> {
        head.append(std::mem::take(&mut self.script));
        if self.facts.is_empty() {
            return Ok(head);
        }
        let mut tx = Tx::with_script(conn, head);
        for view in &self.views {
            // A defect in a view must not end the one writer: the record that provokes it is refused and parked.
            match AssertUnwindSafe(view.apply(&mut tx, &self.facts)).catch_unwind().await {
                Ok(Ok(())) => {}
                Ok(Err(ViewError::Unreadable(what))) => return Err(BatchError::View(what)),
                Ok(Err(ViewError::Db(e))) => return Err(BatchError::Db(e)),
                Err(_) => {
                    tracing::error!("a view panicked; its batch is undone");
                    return Err(BatchError::View("a fact: it panicked"));
                }
            }
        }
        Ok(tx.into_script())
    }
}

impl Ledger {
    pub(crate) async fn load(conn: &mut dyn Conn, topic: &'static Topic, views: Vec<Arc<dyn View>>, begun: Begun) -> Result<Self, DbError> {
        let mut script = Script::default();
        script.push("select (select coalesce(max(position), 0) from events), (select coalesce(max(seq), 0) from archive), (select holder from lease), (select until from lease)", &[]);
        script.push("select subscription, topic, partition, next_offset, epoch from checkpoints", &[]);
        let mut rows = conn.run(script).await?.into_iter();
        let first = rows.next().ok_or_else(|| DbError::Failed("the tables have no ends".to_owned()))?;
        let checkpoints = rows.map(|r| ((r.text(0).to_owned(), r.text(1).to_owned(), partition(r.int(2))), (r.int(3), r.int(4)))).collect();
        Ok(Ledger {
            topic,
            views,
            generation: begun.generation,
            position: first.int(0).unsigned_abs(),
            work: begun.work.unsigned_abs(),
            received: 0,
            archive_seq: first.int(1),
            heads: Recent::default(),
            claims: Recent::default(),
            checkpoints,
            lease: first.opt_id(2).zip(first.opt_int(3)),
        })
    }

    /// Reads everything anew: another writer was here, or a commit of which nobody knows whether it took place. Workers are
    /// woken, as it may have made work.
    pub(crate) async fn reload(&mut self, conn: &mut dyn Conn, begun: Begun) -> Result<(), DbError> {
        let fresh = Ledger::load(conn, self.topic, self.views.clone(), begun).await?;
        let work = fresh.work.max(self.work + 1);
        *self = Ledger { work, received: self.received + 1, ..fresh };
        Ok(())
    }

    pub(crate) fn generation(&self) -> i64 {
        self.generation
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn work(&self) -> u64 {
        self.work
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Judges units in order.
    pub(crate) async fn judge(&self, conn: &mut dyn Conn, units: &[Unit], care: Care) -> Result<Verdict, BatchError> {
        let mut overlay = self.look_ahead(conn, units, care).await?;
        let now = now_us();
        let mut batch = Batch {
            at: now,
            survivors: 0,
            last_event: None,
            script: Script::default(),
            facts: Vec::new(),
            views: self.views.clone(),
            overlay: Overlay::default(),
            position: self.position,
            archive_seq: self.archive_seq,
            work: false,
            received: false,
        };
        let mut rows = Rows::default();
        let mut answers = Vec::with_capacity(units.len());
        for unit in units {
            answers.push(match self.check(unit, &overlay, now) {
                Ok(()) => {
                    rows.add(self, unit, &mut batch, &mut overlay, now);
                    batch.survivors += 1;
                    Ok(Answer::Committed { position: batch.position })
                }
                Err(refusal) => refusal,
            });
        }
        rows.into_script(&mut batch.script);
        batch.overlay = overlay;
        Ok(Verdict { batch, answers })
    }

    /// Takes over what a committed batch changed.
    pub(crate) fn committed(&mut self, batch: Batch) {
        self.generation += 1;
        self.position = batch.position;
        self.archive_seq = batch.archive_seq;
        self.work += u64::from(batch.work);
        self.received += u64::from(batch.received);
        for (stream, version) in batch.overlay.heads {
            self.heads.put(stream, version);
        }
        for (key, holder) in batch.overlay.claims {
            match holder {
                Standing::Held(holder, until) => self.claims.put(key, (holder, until)),
                Standing::Free | Standing::Unknown => self.claims.forget(&key),
            }
        }
        self.checkpoints.extend(batch.overlay.checkpoints);
        if let Some(lease) = batch.overlay.lease {
            self.lease = Some(lease);
        }
    }

    /// Reads, set-wise, what the judge needs and the caches lack.
    async fn look_ahead(&self, conn: &mut dyn Conn, units: &[Unit], care: Care) -> Result<Overlay, BatchError> {
        let mut overlay = Overlay::default();
        let careful = care == Care::FromTables;
        let mut streams: Vec<StreamId> = Vec::new();
        let mut keys: Vec<ClaimKey> = Vec::new();
        let (mut timers, mut deliveries, mut inbox) = (Vec::new(), Vec::new(), Vec::new());
        for unit in units {
            for write in &unit.writes {
                // A write without events asserts the version and nothing else; no constraint judges it.
                if careful || ((write.expected > 0 || write.events.is_empty()) && self.heads.get(&write.stream).is_none()) {
                    streams.push(write.stream);
                }
            }
            if careful {
                keys.extend(unit.claims.iter().map(|c| ClaimKey { scope: c.scope, key: c.key.clone() }));
            }
            for timer in &unit.timers {
                if let TimerChange::Fired { stream, name, .. } = timer {
                    timers.push((*stream, name.clone()));
                }
            }
            for delivery in &unit.deliveries {
                if let DeliveryChange::Move(m) = delivery {
                    deliveries.push(m.id);
                }
            }
            for change in &unit.inbox {
                if let InboxChange::Settle(settled) = change {
                    inbox.push(settled.id);
                }
            }
        }
        streams.sort_unstable();
        streams.dedup();
        for row in select_in(conn, "select stream, max(version) from events where stream", &streams, "group by stream").await? {
            overlay.heads.insert(row.stream(0), row.int(1).unsigned_abs());
        }
        for stream in streams {
            overlay.heads.entry(stream).or_insert(0);
        }
        let mut script = Script::default();
        for key in &keys {
            script.push(
                "select scope, key, digest, owner, version, position, expires_at from claims where scope = $1 and key = $2",
                &[key.scope.into(), key.key.clone().into()],
            );
        }
        let held = if script.is_empty() { Vec::new() } else { conn.run(script).await? };
        let held: HashMap<(String, bytes::Bytes), Standing> = held
            .iter()
            .map(|r| {
                let holder = ClaimHolder {
                    scope: r.text(0).to_owned(),
                    key: r.blob(1).clone(),
                    digest: r.blob(2).clone(),
                    owner: r.stream(3),
                    version: r.int(4).unsigned_abs(),
                    position: r.int(5).unsigned_abs(),
                };
                ((r.text(0).to_owned(), r.blob(1).clone()), Standing::Held(holder, r.opt_int(6)))
            })
            .collect();
        for key in keys {
            let standing = held.get(&(key.scope.to_owned(), key.key.clone())).cloned().unwrap_or(Standing::Free);
            overlay.claims.insert(key, standing);
        }
        let mut script = Script::default();
        for (stream, name) in &timers {
            script.push("select stream, name, due_at from timers where stream = $1 and name = $2", &[(*stream).into(), name.as_str().into()]);
        }
        if !script.is_empty() {
            overlay.timers.extend(conn.run(script).await?.iter().map(|r| ((r.stream(0), r.text(1).to_owned()), Some(r.int(2)))));
        }
        for row in select_in(conn, "select id, state, attempt from deliveries where id", &deliveries, "").await? {
            overlay.deliveries.insert(row.id(0), (row.text(1).to_owned(), u32::try_from(row.int(2)).unwrap_or(u32::MAX)));
        }
        for row in select_in(conn, "select id, state from inbox where id", &inbox, "").await? {
            overlay.inbox.insert(row.id(0), Cow::Owned(row.text(1).to_owned()));
        }
        Ok(overlay)
    }

    /// Whether a unit may be written; the error is its answer.
    fn check(&self, unit: &Unit, overlay: &Overlay, now: i64) -> Result<(), Result<Answer, StoreError>> {
        let refused = |why: String| Err(Err(StoreError::Refused(why)));
        let fenced = |why| Err(Ok(Answer::Fenced(why)));
        let mut heads: BTreeMap<StreamId, u64> = BTreeMap::new();
        for write in &unit.writes {
            let actual = heads.get(&write.stream).copied().unwrap_or_else(|| self.head(overlay, write.stream));
            if actual != write.expected {
                return Err(Ok(Answer::VersionConflict { stream: write.stream, expected: write.expected, actual }));
            }
            let mut head = write.expected;
            for event in &write.events {
                let version = head + 1;
                let follows = if unit.reimport { event.version >= version } else { event.version == version };
                head = event.version;
                if event.stream != write.stream || !follows {
                    return refused(format!("{} is not version {version} of the stream that is written", event.name));
                }
                if event.payload.len() > EVENT_BYTES_MAX {
                    return refused(format!("{} has {} bytes; an event has at most {EVENT_BYTES_MAX}", event.name, event.payload.len()));
                }
            }
            heads.insert(write.stream, head);
        }
        for (n, claim) in unit.claims.iter().enumerate() {
            if claim.rule != ClaimRule::Unique {
                continue;
            }
            let key = ClaimKey { scope: claim.scope, key: claim.key.clone() };
            if unit.claims[..n].iter().any(|c| c.scope == claim.scope && c.key == claim.key) {
                return refused("a unit claims one key twice".to_owned());
            }
            if let Standing::Held(holder, _) = self.standing(overlay, &key, now)
                && !unit.releases.contains(&key)
            {
                return Err(Ok(Answer::Claimed(holder)));
            }
        }
        let is_owner = match &unit.checkpoint {
            None => true,
            Some(CheckpointChange::Take { subscription, topic, partition, from_epoch, next_offset }) => {
                let stands = self.checkpoint(overlay, subscription, topic, *partition);
                stands.map_or(*from_epoch == 0, |at| at == (*next_offset, *from_epoch))
            }
            Some(CheckpointChange::Advance { subscription, topic, partition, epoch, from, .. }) => {
                self.checkpoint(overlay, subscription, topic, *partition) == Some((*from, *epoch))
            }
        };
        if !is_owner {
            return fenced("the partition has another owner or stands elsewhere");
        }
        for timer in &unit.timers {
            if let TimerChange::Fired { stream, name, due_at } = timer
                && overlay.timers.get(&(*stream, name.clone())).copied().flatten() != Some(*due_at)
            {
                return fenced("the timer was set anew or cancelled");
            }
        }
        for delivery in &unit.deliveries {
            if let DeliveryChange::Move(m) = delivery
                && overlay.deliveries.get(&m.id) != Some(&(m.from.as_str().to_owned(), m.from_attempt))
            {
                return fenced("the delivery moved on");
            }
        }
        for change in &unit.inbox {
            if let InboxChange::Settle(settled) = change
                && overlay.inbox.get(&settled.id).is_none_or(|state| *state != settled.from)
            {
                return fenced(ROW_MOVED_ON);
            }
        }
        if let Some((holder, _, at)) = unit.lease
            && let Some((other, until)) = overlay.lease.or(self.lease)
            && other != holder
            && until > at
        {
            return fenced("another process holds the lease");
        }
        Ok(())
    }

    fn head(&self, overlay: &Overlay, stream: StreamId) -> u64 {
        overlay.heads.get(&stream).or_else(|| self.heads.get(&stream)).copied().unwrap_or(0)
    }

    /// How a claim stands at `now`; one that expired is free.
    pub(crate) fn standing(&self, overlay: &Overlay, key: &ClaimKey, now: i64) -> Standing {
        let known = overlay.claims.get(key).cloned().or_else(|| self.claims.get(key).map(|(holder, until)| Standing::Held(holder.clone(), *until)));
        match known {
            Some(Standing::Held(_, Some(until))) if until < now => Standing::Free,
            Some(known) => known,
            None => Standing::Unknown,
        }
    }

    pub(crate) fn checkpoint(&self, overlay: &Overlay, subscription: &str, topic: &str, partition: u16) -> Option<(i64, i64)> {
        let key = (subscription.to_owned(), topic.to_owned(), partition);
        overlay.checkpoints.get(&key).or_else(|| self.checkpoints.get(&key)).copied()
    }
}

fn partition(n: i64) -> u16 {
    u16::try_from(n).expect("partitions are numbered from 0 to 11")
}

async fn select_in<K: Copy + Into<Value>>(conn: &mut dyn Conn, head: &'static str, keys: &[K], tail: &'static str) -> Result<Vec<Row>, DbError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut script = Script::default();
    script.push_among(head, &[], keys.iter().map(|k| (*k).into()).collect(), tail);
    conn.run(script).await
}
