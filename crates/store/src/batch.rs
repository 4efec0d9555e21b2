//! Judging a batch and turning it into statements. The judge is pure but for reading what its caches lack.

use crate::writer::BatchError;
use hearthline_contracts::topics::Topic;
use hearthline_eventing::{
    Answer, CheckpointChange, Claim, ClaimHolder, ClaimKey, ClaimRule, Conn, DbError, DeliveryChange, EVENT_BYTES_MAX, Fact, InboxChange, ParkedChange, Row, Script,
    TimerChange, Tx, Unit, Value, View, ViewError, now_us,
};
use hearthline_nhs::StreamId;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
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
const HALF: usize = 60_000;

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

/// What the writer knows of the tables. It is the only writer, so what it knows is so.
pub(crate) struct Ledger {
    topic: &'static Topic,
    views: Vec<Arc<dyn View>>,
    position: u64,
    work: u64,
    archive_seq: i64,
    heads: Recent<StreamId, u64>,
    claims: Recent<ClaimKey, Option<ClaimHolder>>,
    checkpoints: HashMap<Partition, (i64, i64)>,
    lease: Option<([u8; 16], i64)>,
}

/// A judged batch and the answer to each of its units.
pub(crate) struct Verdict {
    pub(crate) batch: Batch,
    pub(crate) answers: Vec<Answer>,
}

/// What a batch changes, over the ledger.
#[derive(Default)]
struct Overlay {
    heads: HashMap<StreamId, u64>,
    claims: HashMap<ClaimKey, Option<ClaimHolder>>,
    checkpoints: HashMap<Partition, (i64, i64)>,
    timers: HashMap<(StreamId, String), Option<i64>>,
    deliveries: HashMap<[u8; 16], (String, u32)>,
    lease: Option<([u8; 16], i64)>,
}

/// The survivors of a batch, ready to be written.
pub(crate) struct Batch {
    pub(crate) at: i64,
    survivors: Vec<usize>,
    script: Script,
    facts: Vec<Fact>,
    views: Vec<Arc<dyn View>>,
    overlay: Overlay,
    position: u64,
    archive_seq: i64,
    work: bool,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.survivors.is_empty()
    }

    /// Runs the views; gives back what is left to run with the commit.
    pub(crate) async fn run(&self, conn: &mut dyn Conn, mut head: Script) -> Result<Script, BatchError> {
        append(&mut head, &self.script);
        if self.facts.is_empty() {
            return Ok(head);
        }
        let mut tx = Tx::with_script(conn, head);
        for view in &self.views {
            view.apply(&mut tx, &self.facts).await.map_err(|e| match e {
                ViewError::Unreadable(what) => BatchError::View(what),
                ViewError::Db(e) => BatchError::Db(e),
            })?;
        }
        Ok(tx.into_script())
    }
}

fn append(to: &mut Script, from: &Script) {
    if from.is_empty() {
        return;
    }
    if !to.sql.is_empty() {
        to.sql.push_str(";\n");
    }
    to.sql.push_str(&from.sql);
    to.args.extend(from.args.iter().cloned());
}

impl Ledger {
    pub(crate) async fn load(conn: &mut dyn Conn, topic: &'static Topic, views: Vec<Arc<dyn View>>) -> Result<Self, DbError> {
        let position = one(conn, "select coalesce(max(position), 0) from events").await?;
        let archive_seq = one(conn, "select coalesce(max(seq), 0) from archive").await?;
        let mut script = Script::default();
        script.push("select subscription, topic, partition, next_offset, epoch from checkpoints", &[]);
        let checkpoints = conn
            .run(script)
            .await?
            .iter()
            .map(|r| ((r.text(0).to_owned(), r.text(1).to_owned(), partition(r.int(2))), (r.int(3), r.int(4))))
            .collect();
        let mut script = Script::default();
        script.push("select holder, until from lease", &[]);
        let lease = conn.run(script).await?.first().map(|r| (r.id(0), r.int(1)));
        Ok(Ledger {
            topic,
            views,
            position: position.unsigned_abs(),
            work: 0,
            archive_seq,
            heads: Recent::default(),
            claims: Recent::default(),
            checkpoints,
            lease,
        })
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn work(&self) -> u64 {
        self.work
    }

    /// Judges units in order.
    pub(crate) async fn judge(&self, conn: &mut dyn Conn, units: &[Unit], care: Care) -> Result<Verdict, BatchError> {
        let mut overlay = self.look_ahead(conn, units, care).await?;
        let now = now_us();
        let mut batch = Batch {
            at: now,
            survivors: Vec::new(),
            script: Script::default(),
            facts: Vec::new(),
            views: self.views.clone(),
            overlay: Overlay::default(),
            position: self.position,
            archive_seq: self.archive_seq,
            work: false,
        };
        let mut rows = Rows::default();
        let mut answers = Vec::with_capacity(units.len());
        for (n, unit) in units.iter().enumerate() {
            match self.check(unit, &overlay, now)? {
                Some(refusal) => answers.push(refusal),
                None => {
                    rows.add(self, unit, &mut batch, &mut overlay, now);
                    batch.survivors.push(n);
                    answers.push(Answer::Committed { position: batch.position });
                }
            }
        }
        rows.into_script(&mut batch.script);
        batch.overlay = overlay;
        Ok(Verdict { batch, answers })
    }

    /// Takes over what a committed batch changed.
    pub(crate) fn committed(&mut self, batch: Batch, _units: &[Unit]) {
        self.position = batch.position;
        self.archive_seq = batch.archive_seq;
        self.work += u64::from(batch.work);
        for (stream, version) in batch.overlay.heads {
            self.heads.put(stream, version);
        }
        for (key, holder) in batch.overlay.claims {
            match holder {
                Some(holder) => self.claims.put(key, Some(holder)),
                None => self.claims.forget(&key),
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
        let (mut timers, mut deliveries) = (Vec::new(), Vec::new());
        for unit in units {
            for write in &unit.writes {
                if careful || (write.expected > 0 && self.heads.get(&write.stream).is_none()) {
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
        }
        streams.sort_unstable();
        streams.dedup();
        for row in select_in(conn, "select stream, max(version) from events where stream in", &streams, "group by stream").await? {
            overlay.heads.insert(row.stream(0), row.int(1).unsigned_abs());
        }
        for stream in streams {
            overlay.heads.entry(stream).or_insert(0);
        }
        for key in keys {
            let mut script = Script::default();
            script.push(
                "select digest, owner, version, position from claims where scope = $1 and key = $2 and (expires_at is null or expires_at >= $3)",
                &[key.scope.into(), key.key.clone().into(), now_us().into()],
            );
            let holder = conn.run(script).await?.first().map(|r| ClaimHolder {
                scope: key.scope.to_owned(),
                key: key.key.clone(),
                digest: r.blob(0).clone(),
                owner: r.stream(1),
                version: r.int(2).unsigned_abs(),
                position: r.int(3).unsigned_abs(),
            });
            overlay.claims.insert(key, holder);
        }
        for (stream, name) in timers {
            let mut script = Script::default();
            script.push("select due_at from timers where stream = $1 and name = $2", &[stream.into(), name.as_str().into()]);
            let due = conn.run(script).await?.first().map(|r| r.int(0));
            overlay.timers.insert((stream, name), due);
        }
        for row in select_in(conn, "select id, state, attempt from deliveries where id in", &deliveries, "").await? {
            overlay.deliveries.insert(row.id(0), (row.text(1).to_owned(), u32::try_from(row.int(2)).unwrap_or(u32::MAX)));
        }
        Ok(overlay)
    }

    /// `None` = it may be written.
    fn check(&self, unit: &Unit, overlay: &Overlay, now: i64) -> Result<Option<Answer>, BatchError> {
        let mut heads: BTreeMap<StreamId, u64> = BTreeMap::new();
        for write in &unit.writes {
            let actual = heads.get(&write.stream).copied().unwrap_or_else(|| self.head(overlay, write.stream));
            if actual != write.expected {
                return Ok(Some(Answer::VersionConflict { stream: write.stream, expected: write.expected, actual }));
            }
            if let Some(event) = write.events.iter().find(|e| e.payload.len() > EVENT_BYTES_MAX) {
                return Err(BatchError::Refused(format!("{} has {} bytes; an event has at most {EVENT_BYTES_MAX}", event.name, event.payload.len())));
            }
            heads.insert(write.stream, write.expected + write.events.len() as u64);
        }
        for (n, claim) in unit.claims.iter().enumerate() {
            if claim.rule != ClaimRule::Unique {
                continue;
            }
            let key = ClaimKey { scope: claim.scope, key: claim.key.clone() };
            let released = unit.releases.contains(&key);
            if let Some(holder) = self.holder(overlay, &key).filter(|_| !released) {
                return Ok(Some(Answer::Claimed(holder)));
            }
            if unit.claims[..n].iter().any(|c| c.scope == claim.scope && c.key == claim.key) {
                return Err(BatchError::Refused("a unit claims one key twice".to_owned()));
            }
        }
        match &unit.checkpoint {
            None => {}
            Some(CheckpointChange::Take { subscription, topic, partition, from_epoch, .. }) => {
                if self.checkpoint(overlay, subscription, topic, *partition).map_or(0, |(_, epoch)| epoch) != *from_epoch {
                    return Ok(Some(Answer::Fenced("another owner took the partition")));
                }
            }
            Some(CheckpointChange::Advance { subscription, topic, partition, epoch, from, .. }) => {
                if self.checkpoint(overlay, subscription, topic, *partition) != Some((*from, *epoch)) {
                    return Ok(Some(Answer::Fenced("the partition has another owner or stands elsewhere")));
                }
            }
        }
        for timer in &unit.timers {
            if let TimerChange::Fired { stream, name, due_at } = timer
                && overlay.timers.get(&(*stream, name.clone())).copied().flatten() != Some(*due_at)
            {
                return Ok(Some(Answer::Fenced("the timer was set anew or cancelled")));
            }
        }
        for delivery in &unit.deliveries {
            if let DeliveryChange::Move(m) = delivery
                && overlay.deliveries.get(&m.id) != Some(&(m.from.as_str().to_owned(), m.from_attempt))
            {
                return Ok(Some(Answer::Fenced("the delivery moved on")));
            }
        }
        if let Some((holder, ..)) = unit.lease
            && let Some((other, until)) = overlay.lease.or(self.lease)
            && other != holder
            && until > now
        {
            return Ok(Some(Answer::Fenced("another process holds the lease")));
        }
        Ok(None)
    }

    fn head(&self, overlay: &Overlay, stream: StreamId) -> u64 {
        overlay.heads.get(&stream).or_else(|| self.heads.get(&stream)).copied().unwrap_or(0)
    }

    fn holder(&self, overlay: &Overlay, key: &ClaimKey) -> Option<ClaimHolder> {
        match overlay.claims.get(key) {
            Some(known) => known.clone(),
            None => self.claims.get(key).cloned().flatten(),
        }
    }

    fn checkpoint(&self, overlay: &Overlay, subscription: &str, topic: &str, partition: u16) -> Option<(i64, i64)> {
        let key = (subscription.to_owned(), topic.to_owned(), partition);
        overlay.checkpoints.get(&key).or_else(|| self.checkpoints.get(&key)).copied()
    }
}

/// Rows gathered per table, so that each table gets one plain statement.
#[derive(Default)]
struct Rows {
    events: Vec<Vec<Value>>,
    claims: Vec<Vec<Value>>,
    seen: HashMap<(String, StreamId), (u64, [u8; 16])>,
    tally: BTreeMap<(String, &'static str, &'static str, String), u64>,
    archive: Vec<Vec<Value>>,
    blobs: Vec<Vec<Value>>,
    audit: Vec<Vec<Value>>,
    rest: Script,
}

impl Rows {
    fn add(&mut self, ledger: &Ledger, unit: &Unit, batch: &mut Batch, overlay: &mut Overlay, now: i64) {
        // Releases first: a unit may give up a key and claim it anew.
        for key in &unit.releases {
            self.flush_claims();
            self.rest.push("delete from claims where scope = $1 and key = $2", &[key.scope.into(), key.key.clone().into()]);
            overlay.claims.insert(key.clone(), None);
        }
        for write in &unit.writes {
            for event in &write.events {
                batch.position += 1;
                self.events.push(vec![
                    batch.position.into(),
                    event.stream.into(),
                    event.version.into(),
                    event.event_id.into(),
                    event.name.into(),
                    event.payload.clone().into(),
                    event.traceparent.clone().into(),
                ]);
                if !ledger.views.is_empty() {
                    let sealed = hearthline_contracts::wire::split(&event.payload).ok().and_then(|p| p.sealed);
                    batch.facts.push(Fact { topic: ledger.topic.name, envelope: event.envelope.clone(), sealed, payload: event.payload.clone() });
                }
            }
            overlay.heads.insert(write.stream, write.expected + write.events.len() as u64);
        }
        for claim in &unit.claims {
            self.claim(ledger, claim, batch.position, overlay, now);
        }
        if let Some(checkpoint) = &unit.checkpoint {
            self.checkpoint(checkpoint, ledger, overlay);
        }
        if let Some(consumed) = &unit.consumed {
            for (stream, version, event_id) in &consumed.seen {
                self.seen.insert((consumed.subscription.clone(), *stream), (*version, *event_id));
            }
            for (topic, kind, why, n) in &consumed.tally {
                *self.tally.entry((consumed.subscription.clone(), topic, kind, why.clone())).or_default() += n;
            }
            for fact in &consumed.facts {
                if consumed.archive {
                    batch.archive_seq += 1;
                    self.archive.push(vec![batch.archive_seq.into(), fact.topic.into(), hearthline_contracts::wire::without_personal(&fact.payload).expect("a consumed payload was split before").into()]);
                }
                batch.facts.push(fact.clone());
            }
        }
        for blob in &unit.blobs {
            self.blobs.push(vec![blob.id.into(), blob.stream.into(), blob.media_type.into(), blob.sealed.clone().into(), blob.digest.into(), blob.at.into()]);
        }
        for a in &unit.audit {
            self.audit.push(vec![a.at.into(), a.role.into(), a.pseudonym.into(), a.organisation.as_str().into(), a.action.into(), a.whose.into(), a.why.as_str().into()]);
        }
        batch.work |= self.outward(unit, overlay);
        if let Some(cursor) = unit.relayed {
            self.rest.push("insert into relay (one, cursor) values (1, $1) on conflict (one) do update set cursor = excluded.cursor", &[cursor.into()]);
        }
        if let Some((holder, until, _)) = unit.lease {
            self.rest.push(
                "insert into lease (one, holder, until) values (1, $1, $2) on conflict (one) do update set holder = excluded.holder, until = excluded.until",
                &[holder.into(), until.into()],
            );
            overlay.lease = Some((holder, until));
        }
    }

    fn claim(&mut self, ledger: &Ledger, claim: &Claim, position: u64, overlay: &mut Overlay, now: i64) {
        let key = ClaimKey { scope: claim.scope, key: claim.key.clone() };
        let row = vec![
            claim.scope.into(),
            claim.key.clone().into(),
            claim.digest.clone().into(),
            claim.owner.into(),
            claim.version.into(),
            position.into(),
            claim.expires_at.into(),
        ];
        let holder = ClaimHolder { scope: claim.scope.to_owned(), key: claim.key.clone(), digest: claim.digest.clone(), owner: claim.owner, version: claim.version, position };
        match claim.rule {
            ClaimRule::Unique => {
                if overlay.claims.get(&key) == Some(&None) {
                    // Known to be free or expired: an expired row may still lie there.
                    self.flush_claims();
                    self.rest.push(
                        "delete from claims where scope = $1 and key = $2 and expires_at is not null and expires_at < $3",
                        &[key.scope.into(), key.key.clone().into(), now.into()],
                    );
                }
                self.claims.push(row);
                overlay.claims.insert(key, Some(holder));
            }
            ClaimRule::KeepFirst => {
                if ledger.holder(overlay, &key).is_none() {
                    self.flush_claims();
                    self.rest.push(&format!("{CLAIM_HEAD} values ($1,$2,$3,$4,$5,$6,$7) on conflict (scope, key) do nothing"), &row);
                    // Whoever holds it is read when it matters.
                    overlay.claims.remove(&key);
                }
            }
            ClaimRule::Replace => {
                self.flush_claims();
                self.rest.push(
                    &format!("{CLAIM_HEAD} values ($1,$2,$3,$4,$5,$6,$7) on conflict (scope, key) do update set digest = excluded.digest, owner = excluded.owner, version = excluded.version, position = excluded.position, expires_at = excluded.expires_at"),
                    &row,
                );
                overlay.claims.insert(key, Some(holder));
            }
        }
    }

    fn checkpoint(&mut self, change: &CheckpointChange, ledger: &Ledger, overlay: &mut Overlay) {
        let (subscription, topic, partition, next, epoch) = match change {
            CheckpointChange::Take { subscription, topic, partition, from_epoch, next_offset } => {
                // A living row keeps its offset; `next_offset` starts a new one.
                let next = ledger.checkpoint(overlay, subscription, topic, *partition).map_or(*next_offset, |(next, _)| next);
                (subscription, topic, partition, next, from_epoch + 1)
            }
            CheckpointChange::Advance { subscription, topic, partition, epoch, to, .. } => (subscription, topic, partition, *to, *epoch),
        };
        self.rest.push(
            "insert into checkpoints (subscription, topic, partition, next_offset, epoch) values ($1,$2,$3,$4,$5) \
             on conflict (subscription, topic, partition) do update set next_offset = excluded.next_offset, epoch = excluded.epoch",
            &[subscription.as_str().into(), (*topic).into(), u32::from(*partition).into(), next.into(), epoch.into()],
        );
        overlay.checkpoints.insert((subscription.clone(), (*topic).to_owned(), *partition), (next, epoch));
    }

    /// Parked rows, inbox, timers and deliveries. True where a worker should wake.
    fn outward(&mut self, unit: &Unit, overlay: &mut Overlay) -> bool {
        let mut work = false;
        for parked in &unit.parked {
            let at = [parked.subscription.as_str().into(), parked.topic.as_str().into(), u32::from(parked.partition).into()];
            let place = "subscription = $1 and topic = $2 and partition = $3 and record_offset = $4";
            let with = |rest: &[Value]| at.iter().cloned().chain(rest.iter().cloned()).collect::<Vec<_>>();
            match &parked.change {
                ParkedChange::Add(row) => {
                    let headers = row.headers.iter().map(|(k, v)| format!("{k}: {}", String::from_utf8_lossy(v))).collect::<Vec<_>>().join("\n");
                    self.rest.push(
                        "insert into parked (subscription, topic, partition, record_offset, key, held, why, payload, headers, parked_at) values ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)",
                        &with(&[row.offset.into(), row.key.clone().into(), row.held.into(), row.why.as_str().into(), row.payload.clone().into(), headers.into(), row.parked_at.into()]),
                    );
                }
                ParkedChange::Remove { offset } => self.rest.push(&format!("delete from parked where {place}"), &with(&[(*offset).into()])),
                ParkedChange::Reason { offset, held, why } => self.rest.push(
                    &format!("update parked set held = $5, why = $6, request = null, request_reason = null where {place}"),
                    &with(&[(*offset).into(), (*held).into(), why.as_str().into()]),
                ),
                ParkedChange::Request { offset, action, reason } => {
                    work = true;
                    self.rest.push(
                        &format!("update parked set request = $5, request_reason = $6 where {place}"),
                        &with(&[(*offset).into(), (*action).into(), reason.as_str().into()]),
                    );
                }
            }
        }
        for change in &unit.inbox {
            self.inbox(change);
        }
        for timer in &unit.timers {
            match timer {
                TimerChange::Set { stream, name, due_at, payload } => {
                    work = true;
                    self.rest.push(
                        "insert into timers (stream, name, due_at, payload) values ($1,$2,$3,$4) on conflict (stream, name) do update set due_at = excluded.due_at, payload = excluded.payload",
                        &[(*stream).into(), (*name).into(), (*due_at).into(), payload.clone().into()],
                    );
                    overlay.timers.insert((*stream, (*name).to_owned()), Some(*due_at));
                }
                TimerChange::Cancel { stream, name } => {
                    self.rest.push("delete from timers where stream = $1 and name = $2", &[(*stream).into(), (*name).into()]);
                    overlay.timers.insert((*stream, (*name).to_owned()), None);
                }
                TimerChange::Fired { stream, name, due_at } => {
                    self.rest
                        .push("delete from timers where stream = $1 and name = $2 and due_at = $3", &[(*stream).into(), name.as_str().into(), (*due_at).into()]);
                    overlay.timers.insert((*stream, name.clone()), None);
                }
            }
        }
        for delivery in &unit.deliveries {
            work = true;
            self.delivery(delivery, overlay);
        }
        work
    }

    fn inbox(&mut self, change: &InboxChange) {
        match change {
            InboxChange::Receive(row) => self.rest.push(
                "insert into inbox (id, received_at, peer, digest, day, person_tag, place_tag, occurred_at, sealed, state, why, stream, traceparent) \
                 values ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13)",
                &[
                    row.id.into(),
                    row.received_at.into(),
                    row.peer.as_str().into(),
                    row.digest.into(),
                    row.day.as_str().into(),
                    row.person_tag.into(),
                    row.place_tag.into(),
                    row.occurred_at.into(),
                    row.sealed.clone().into(),
                    row.state.into(),
                    row.why.into(),
                    row.stream.into(),
                    row.traceparent.clone().into(),
                ],
            ),
            InboxChange::Settle { id, state, why, stream } => self.rest.push(
                // Once interpreted, the bytes live on the visit's stream, under its own key.
                "update inbox set state = $2, why = $3, stream = $4, sealed = case when $2 = 'interpreted' then null else sealed end where id = $1",
                &[(*id).into(), (*state).into(), (*why).into(), (*stream).into()],
            ),
            InboxChange::Sweep { day } => self.rest.push("delete from inbox where day = $1", &[day.as_str().into()]),
        }
    }

    fn delivery(&mut self, change: &DeliveryChange, overlay: &mut Overlay) {
        match change {
            DeliveryChange::Insert(d) => {
                self.rest.push(
                    "insert into deliveries (id, kind, destination, subject, stream, payload, state, attempt, sender, deadline_at, next_at, expires_at, traceparent, created_at, updated_at) \
                     values ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$14)",
                    &[
                        d.id.into(),
                        d.kind.into(),
                        d.destination.as_str().into(),
                        d.subject.into(),
                        d.stream.into(),
                        d.payload.clone().into(),
                        d.state.as_str().into(),
                        u32::from(d.sender.is_some()).into(),
                        d.sender.into(),
                        d.deadline_at.into(),
                        d.next_at.into(),
                        d.expires_at.into(),
                        d.traceparent.clone().into(),
                        d.created_at.into(),
                    ],
                );
                overlay.deliveries.insert(d.id, (d.state.as_str().to_owned(), u32::from(d.sender.is_some())));
            }
            DeliveryChange::Move(m) => {
                self.rest.push(
                    "update deliveries set state = $2, attempt = $3, sender = $4, deadline_at = $5, next_at = $6, code = coalesce($7, code), reference = coalesce($8, reference), updated_at = $9 where id = $1",
                    &[
                        m.id.into(),
                        m.to.as_str().into(),
                        m.attempt.into(),
                        m.sender.into(),
                        m.deadline_at.into(),
                        m.next_at.into(),
                        m.code.clone().into(),
                        m.reference.clone().into(),
                        m.at.into(),
                    ],
                );
                overlay.deliveries.insert(m.id, (m.to.as_str().to_owned(), m.attempt));
            }
        }
    }

    /// Claims gathered so far go before whatever touches claims one by one.
    fn flush_claims(&mut self) {
        self.rest.push_rows(CLAIM_HEAD, std::mem::take(&mut self.claims), "");
    }

    fn into_script(mut self, script: &mut Script) {
        script.push_rows("insert into events (position, stream, version, event_id, name, payload, traceparent)", self.events, "");
        self.rest.push_rows(CLAIM_HEAD, self.claims, "");
        append(script, &self.rest);
        let seen = self.seen.into_iter().map(|((sub, stream), (version, id))| vec![sub.into(), stream.into(), version.into(), id.into()]).collect();
        script.push_rows(
            "insert into seen (subscription, stream, version, event_id)",
            seen,
            "on conflict (subscription, stream) do update set version = excluded.version, event_id = excluded.event_id",
        );
        let tally = self.tally.into_iter().map(|((sub, topic, kind, why), n)| vec![sub.into(), topic.into(), kind.into(), why.into(), n.into()]).collect();
        script.push_rows(
            "insert into dispositions (subscription, topic, kind, why, count)",
            tally,
            "on conflict (subscription, topic, kind, why) do update set count = dispositions.count + excluded.count",
        );
        script.push_rows("insert into archive (seq, topic, payload)", self.archive, "");
        script.push_rows("insert into blobs (id, stream, media_type, sealed, digest, at)", self.blobs, "on conflict (id) do nothing");
        script.push_rows("insert into audit (at, role, pseudonym, organisation, action, whose, why)", self.audit, "");
    }
}

const CLAIM_HEAD: &str = "insert into claims (scope, key, digest, owner, version, position, expires_at)";

fn partition(n: i64) -> u16 {
    u16::try_from(n).expect("partitions are numbered from 0 to 11")
}

async fn one(conn: &mut dyn Conn, sql: &str) -> Result<i64, DbError> {
    let mut script = Script::default();
    script.push(sql, &[]);
    Ok(conn.run(script).await?.first().map_or(0, |r| r.int(0)))
}

async fn select_in<K: Copy + Into<Value>>(conn: &mut dyn Conn, head: &str, keys: &[K], tail: &str) -> Result<Vec<Row>, DbError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let places = (1..=keys.len()).map(|i| format!("${i}")).collect::<Vec<_>>().join(",");
    let mut script = Script::default();
    script.push(&format!("{head} ({places}) {tail}"), &keys.iter().map(|k| (*k).into()).collect::<Vec<_>>());
    conn.run(script).await
}
