//! A judged unit as rows and statements: each table gets one plain statement a batch where it can.

use crate::batch::{Batch, Ledger, Overlay, Standing};
use hearthline_eventing::{
    CheckpointChange, Claim, ClaimHolder, ClaimKey, ClaimRule, DeliveryChange, Fact, InboxChange, Kind, ParkedChange, Script, Settled, TimerChange, Unit, Value,
};
use hearthline_nhs::StreamId;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Rows gathered per table, so that each table gets one plain statement.
#[derive(Default)]
pub(crate) struct Rows {
    events: Vec<Vec<Value>>,
    claims: Claims,
    timers: BTreeMap<(StreamId, String), Option<(i64, Value)>>,
    checkpoints: BTreeMap<(String, &'static str, u16), (i64, i64)>,
    inbox: Vec<Vec<Value>>,
    inbox_bytes: Vec<Vec<Value>>,
    settled: HashMap<[u8; 16], Settled>,
    deliveries: Vec<Vec<Value>>,
    relayed: Option<u64>,
    lease: Option<([u8; 16], i64)>,
    seen: HashMap<(String, StreamId), (u64, [u8; 16])>,
    tally: BTreeMap<(String, &'static str, &'static str, String), u64>,
    archive: Vec<Vec<Value>>,
    blobs: Vec<Vec<Value>>,
    audit: Vec<Vec<Value>>,
    rest: Script,
}

impl Rows {
    pub(crate) fn add(&mut self, ledger: &Ledger, unit: &Unit, batch: &mut Batch, overlay: &mut Overlay, now: i64) {
        // Releases first: a unit may give up a key and claim it anew.
        for key in &unit.releases {
            self.claims.touch(key, &mut self.rest);
            self.claims.deleted.push(key_of(key));
            overlay.claims.insert(key.clone(), Standing::Free);
        }
        for write in &unit.writes {
            for event in &write.events {
                batch.position += 1;
                batch.last_event = Some((batch.position, event.event_id));
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
            overlay.heads.insert(write.stream, write.events.last().map_or(write.expected, |e| e.version));
        }
        for claim in &unit.claims {
            self.claim(ledger, claim, batch.position, overlay, now);
        }
        if let Some(checkpoint) = &unit.checkpoint {
            self.checkpoint(checkpoint, overlay);
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
                    self.archive.push(vec![
                        batch.archive_seq.into(),
                        batch.position.into(),
                        fact.topic.into(),
                        hearthline_contracts::wire::without_personal(&fact.payload).expect("a consumed payload was split before").into(),
                    ]);
                }
                batch.facts.push(fact.clone());
            }
        }
        for blob in &unit.blobs {
            self.blobs.push(vec![blob.id.into(), blob.stream.into(), blob.media_type.into(), blob.sealed.clone().into(), blob.digest.into(), blob.at.into()]);
        }
        for a in &unit.audit {
            self.audit.push(vec![
                a.at.into(),
                a.role.into(),
                a.pseudonym.into(),
                a.organisation.as_str().into(),
                a.action.into(),
                a.whose.into(),
                a.why.as_str().into(),
            ]);
        }
        batch.work |= self.outward(unit, overlay);
        batch.received |= unit.inbox.iter().any(|change| matches!(change, InboxChange::Receive(_)));
        if let Some(cursor) = unit.relayed {
            self.relayed = self.relayed.max(Some(cursor));
        }
        if let Some((holder, until, _)) = unit.lease {
            self.lease = Some((holder, until));
            overlay.lease = Some((holder, until));
        }
        for change in &unit.upkeep {
            batch.work |= change.wakes();
            change.statements(&mut self.rest);
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
        let holder = ClaimHolder {
            scope: claim.scope.to_owned(),
            key: claim.key.clone(),
            digest: claim.digest.clone(),
            owner: claim.owner,
            version: claim.version,
            position,
        };
        let held = Standing::Held(holder, claim.expires_at);
        let standing = ledger.standing(overlay, &key, now);
        if claim.rule == ClaimRule::KeepFirst && matches!(standing, Standing::Held(..)) {
            return;
        }
        self.claims.now = now;
        self.claims.touch(&key, &mut self.rest);
        match claim.rule {
            ClaimRule::Unique => {
                if standing == Standing::Free {
                    // An expired row may still lie there.
                    self.claims.deleted.push(key_of(&key));
                }
                self.claims.inserted.push(row);
            }
            ClaimRule::KeepFirst => {
                self.claims.expired.entry(key.scope).or_default().push(key.key.clone().into());
                self.claims.kept.push(row);
                if standing == Standing::Unknown {
                    // Whoever holds a key of which nothing was known is read when it matters.
                    overlay.claims.insert(key, Standing::Unknown);
                    return;
                }
            }
            ClaimRule::Replace => self.claims.replaced.push(row),
        }
        overlay.claims.insert(key, held);
    }

    fn checkpoint(&mut self, change: &CheckpointChange, overlay: &mut Overlay) {
        let (subscription, topic, partition, next, epoch) = match change {
            CheckpointChange::Take { subscription, topic, partition, from_epoch, next_offset } => {
                (subscription, topic, partition, *next_offset, from_epoch + 1)
            }
            CheckpointChange::Advance { subscription, topic, partition, epoch, to, .. } => (subscription, topic, partition, *to, *epoch),
        };
        self.checkpoints.insert((subscription.clone(), *topic, *partition), (next, epoch));
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
                ParkedChange::Remove { offset } => self.rest.push(format!("delete from parked where {place}"), &with(&[(*offset).into()])),
                ParkedChange::Reason { offset, held, why } => self.rest.push(
                    format!("update parked set held = $5, why = $6, request = null, request_reason = null where {place}"),
                    &with(&[(*offset).into(), (*held).into(), why.as_str().into()]),
                ),
                ParkedChange::Request { offset, action, reason } => {
                    work = true;
                    self.rest.push(
                        format!("update parked set request = $5, request_reason = $6 where {place}"),
                        &with(&[(*offset).into(), (*action).into(), reason.as_str().into()]),
                    );
                }
            }
        }
        for change in &unit.inbox {
            self.inbox(change, overlay);
        }
        for timer in &unit.timers {
            match timer {
                TimerChange::Set { stream, name, due_at, payload } => {
                    work = true;
                    self.timers.insert((*stream, (*name).to_owned()), Some((*due_at, payload.clone().into())));
                    overlay.timers.insert((*stream, (*name).to_owned()), Some(*due_at));
                }
                TimerChange::Cancel { stream, name } => {
                    self.timers.insert((*stream, (*name).to_owned()), None);
                    overlay.timers.insert((*stream, (*name).to_owned()), None);
                }
                // The judge saw that it still stands for the time at which it fires.
                TimerChange::Fired { stream, name, .. } => {
                    self.timers.insert((*stream, name.clone()), None);
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

    fn inbox(&mut self, change: &InboxChange, overlay: &mut Overlay) {
        let state = match change {
            InboxChange::Receive(row) => Some((row.id, row.state)),
            InboxChange::Settle(settled) => Some((settled.id, settled.state)),
            InboxChange::Answered { id, state, .. } => Some((*id, *state)),
            InboxChange::Sweep { .. } => None,
        };
        overlay.inbox.extend(state.map(|(id, state)| (id, state.into())));
        match change {
            InboxChange::Receive(row) => {
                if !row.sealed.is_empty() {
                    self.inbox_bytes.push(vec![row.id.into(), row.sealed.clone().into()]);
                }
                self.inbox.push(vec![
                    row.id.into(),
                    row.received_at.into(),
                    row.outgoing.into(),
                    row.peer.as_str().into(),
                    row.control_id.as_str().into(),
                    row.kind.as_str().into(),
                    row.reply.into(),
                    i64::from(row.size).into(),
                    row.digest.into(),
                    row.body_tag.into(),
                    row.day.as_str().into(),
                    row.person_tag.into(),
                    row.place_tag.into(),
                    row.occurred_at.into(),
                    row.state.into(),
                    row.why.as_str().into(),
                    row.effect.as_str().into(),
                    row.stream.into(),
                    row.resident.into(),
                    row.traceparent.clone().into(),
                ]);
            }
            InboxChange::Settle(settled) => {
                let before = self.settled.remove(&settled.id);
                let mut settled = Settled::clone(settled);
                if let Some(before) = before {
                    settled.resident = settled.resident.or(before.resident);
                    settled.person_tag = settled.person_tag.or(before.person_tag);
                    settled.moved |= before.moved;
                }
                self.settled.insert(settled.id, settled);
            }
            InboxChange::Answered { id, state, reply, why } => self.rest.push(
                "update inbox set state = $2, reply = $3, why = $4 where id = $1",
                &[(*id).into(), (*state).into(), (*reply).into(), why.as_str().into()],
            ),
            InboxChange::Sweep { day } => {
                let day = [day.as_str().into()];
                self.rest.push("delete from inbox_bytes where id in (select id from inbox where day = $1 and moved = 0)", &day);
                self.rest.push("delete from inbox where day = $1 and moved = 0", &day);
            }
        }
    }

    fn delivery(&mut self, change: &DeliveryChange, overlay: &mut Overlay) {
        match change {
            DeliveryChange::Insert(d) => {
                self.deliveries.push(vec![
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
                    d.created_at.into(),
                ]);
                overlay.deliveries.insert(d.id, (d.state.as_str().to_owned(), u32::from(d.sender.is_some())));
            }
            DeliveryChange::Move(m) => {
                self.rest.push(
                    "update deliveries set state = $2, attempt = $3, sender = $4, deadline_at = $5, next_at = $6, code = $7, reference = coalesce($8, reference), updated_at = $9 where id = $1",
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

    pub(crate) fn into_script(mut self, script: &mut Script) {
        script.push_rows("insert into events (position, stream, version, event_id, name, payload, traceparent)", self.events, "");
        self.claims.flush(&mut self.rest);
        script.push_rows(
            "insert into inbox (id, received_at, outgoing, peer, control_id, kind, reply, size, digest, body_tag, day, person_tag, place_tag, occurred_at, state, why, effect, stream, resident, traceparent)",
            self.inbox,
            "",
        );
        script.push_rows("insert into inbox_bytes (id, sealed)", self.inbox_bytes, "");
        let moved = self.settled.values().filter(|settled| settled.moved).map(|settled| settled.id.into()).collect();
        script.push_among("delete from inbox_bytes where id", &[], moved, "");
        script.push_update("inbox", SETTLED, SETTLE, self.settled.into_values().map(settled_row).collect());
        script.push_rows(
            "insert into deliveries (id, kind, destination, subject, stream, payload, state, attempt, sender, deadline_at, next_at, expires_at, traceparent, created_at, updated_at)",
            self.deliveries,
            "",
        );
        script.append(self.rest);
        let (mut set, mut cleared) = (Vec::new(), Vec::new());
        for ((stream, name), at) in self.timers {
            match at {
                Some((due_at, payload)) => set.push(vec![stream.into(), name.into(), due_at.into(), payload]),
                None => cleared.push(vec![stream.into(), name.into()]),
            }
        }
        script.push_delete("timers", &["stream", "name"], cleared);
        script.push_rows(
            "insert into timers (stream, name, due_at, payload)",
            set,
            "on conflict (stream, name) do update set due_at = excluded.due_at, payload = excluded.payload",
        );
        let checkpoints = self
            .checkpoints
            .into_iter()
            .map(|((sub, topic, partition), (next, epoch))| vec![sub.into(), topic.into(), u32::from(partition).into(), next.into(), epoch.into()])
            .collect();
        script.push_rows(
            "insert into checkpoints (subscription, topic, partition, next_offset, epoch)",
            checkpoints,
            "on conflict (subscription, topic, partition) do update set next_offset = excluded.next_offset, epoch = excluded.epoch",
        );
        let relayed = self.relayed.map(|cursor| vec![1i64.into(), cursor.into()]);
        script.push_rows(
            "insert into relay (one, cursor)",
            relayed.into_iter().collect(),
            "on conflict (one) do update set cursor = excluded.cursor where relay.cursor < excluded.cursor",
        );
        let lease = self.lease.map(|(holder, until)| vec![1i64.into(), holder.into(), until.into()]);
        script.push_rows(
            "insert into lease (one, holder, until)",
            lease.into_iter().collect(),
            "on conflict (one) do update set holder = excluded.holder, until = excluded.until",
        );
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
        script.push_rows("insert into archive (seq, position, topic, payload)", self.archive, "");
        script.push_rows("insert into blobs (id, stream, media_type, sealed, digest, at)", self.blobs, "on conflict (id) do nothing");
        script.push_rows("insert into audit (at, role, pseudonym, organisation, action, whose, why)", self.audit, "");
    }
}

/// What settling gives a row of the inbox.
const SETTLED: &[(&str, Kind)] = &[
    ("id", Kind::Blob),
    ("state", Kind::Text),
    ("why", Kind::Text),
    ("effect", Kind::Text),
    ("stream", Kind::Blob),
    ("resident", Kind::Blob),
    ("person_tag", Kind::Blob),
    ("moved", Kind::Int),
];
const SETTLE: &str = "state = u.state, why = u.why, effect = u.effect, stream = u.stream, resident = coalesce(u.resident, inbox.resident), \
    person_tag = coalesce(u.person_tag, inbox.person_tag), moved = case when u.moved = 1 then 1 else inbox.moved end";

fn settled_row(settled: Settled) -> Vec<Value> {
    vec![
        settled.id.into(),
        settled.state.into(),
        settled.why.into(),
        settled.effect.into(),
        settled.stream.into(),
        settled.resident.into(),
        settled.person_tag.into(),
        settled.moved.into(),
    ]
}

/// Changes to claims, gathered as long as no key is touched twice.
#[derive(Default)]
struct Claims {
    now: i64,
    touched: HashSet<ClaimKey>,
    deleted: Vec<Vec<Value>>,
    /// May be there and expired, by scope.
    expired: BTreeMap<&'static str, Vec<Value>>,
    inserted: Vec<Vec<Value>>,
    replaced: Vec<Vec<Value>>,
    kept: Vec<Vec<Value>>,
}

impl Claims {
    /// A key that was touched before comes after what was gathered.
    fn touch(&mut self, key: &ClaimKey, script: &mut Script) {
        if !self.touched.insert(key.clone()) {
            self.flush(script);
            self.touched.insert(key.clone());
        }
    }

    fn flush(&mut self, script: &mut Script) {
        const HEAD: &str = "insert into claims (scope, key, digest, owner, version, position, expires_at)";
        let Claims { now, deleted, expired, inserted, replaced, kept, .. } = std::mem::take(self);
        script.push_delete("claims", &["scope", "key"], deleted);
        script.push_rows(HEAD, inserted, "");
        script.push_rows(
            HEAD,
            replaced,
            "on conflict (scope, key) do update set digest = excluded.digest, owner = excluded.owner, version = excluded.version, position = excluded.position, expires_at = excluded.expires_at",
        );
        for (scope, keys) in expired {
            script.push_among("delete from claims where expires_at < $1 and scope = $2 and key", &[now.into(), scope.into()], keys, "");
        }
        script.push_rows(HEAD, kept, "on conflict (scope, key) do nothing");
    }
}

fn key_of(key: &ClaimKey) -> Vec<Value> {
    vec![key.scope.into(), key.key.clone().into()]
}
