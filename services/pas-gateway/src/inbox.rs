//! The inbox: each message is taken once, held while nobody knows whose it is, looked at again when that may have changed, and gone
//! after fourteen days.
//!
//! State story of a row: *held* (nobody of the directory, or waiting for its visit, or a home-level visit) → *interpreted* or *ignored*;
//! or taken as one of these at once. A held row is sealed under its day's key; an interpreted one's bytes are sealed anew under its
//! visit's key; an ignored one keeps none.
//!
//! **A registration and an admission may race.** The registration commits the resident's tag and then looks for held messages. A
//! message reads the tags, commits its row, and then *reads the tags again*. Whichever commits second sees the other: if the row was
//! first, the registration's look finds it; if the tag was first, the message's second reading does. The message is answered only
//! after that second reading, so a process that ends in between is asked the same again by the sender, finds the row, and reads again.
//! Both may see each other: the claim `taken` lets one of them through. Homes and their addresses, and a visit's opening and what
//! waits for it, are handled in the same way.

use crate::domain::Moment;
use crate::gateway::{Found, Gateway, HELD, INTERPRETED, Keys, Verdict};
use crate::reading::{self, Matter, Reading};
use crate::tags::{CONTROL, CONTROL_REUSED, DEATH, Daily, INBOX, TAKEN, VISIT, WAITING, key_names, lasting_claim, message_claim, message_key_name};
use crate::wire;
use bytes::Bytes;
use hearthline_eventing::{Access, Actor, Answer, Cause, ClaimRule, InboxChange, InboxRow, NotNow, Occurred, Settled, Unit, now_us, seal, trace};
use hearthline_interop::hl7v2::Message;
use hearthline_nhs::{NhsNumber, Postcode, StreamId, london_date};
use jiff::civil::Date;

/// How many days a stranger's message is kept.
pub const KEPT_DAYS: i32 = 14;
const MEDIA_TYPE: &str = "x-application/hl7-v2+er7";
const ATTEMPTS_MAX: u32 = 8;
const PAGE_ROWS: u32 = 1_000;

/// A row about to be made.
struct NewRow {
    id: [u8; 16],
    day: String,
    received_at: i64,
}

/// A held row, opened.
struct HeldRow {
    raw: Bytes,
    traceparent: Option<String>,
}

impl Gateway {
    /// Takes a message once. When this returns without error it may be accepted: it is durable, and so is all that follows from it now.
    pub async fn take(&self, reading: &Reading, raw: &Bytes) -> Result<(), NotNow> {
        let keys = self.keys(reading, raw).await?;
        for _ in 0..ATTEMPTS_MAX {
            let found = self.look(&keys).await?;
            let (id, verdict) = match &found.message {
                Some(holder) => (*holder.owner.bytes(), None),
                None => {
                    let now = now_us();
                    let verdict = self.judge(reading, &keys, &found).await?;
                    let row = NewRow { id: hearthline_runtime::service::fresh_id(), day: day_of(now)?, received_at: now };
                    let unit = self.receipt(reading, raw, &keys, &found, &verdict, &row).await?;
                    match self.kernel.store.append(unit).await? {
                        Answer::Committed { .. } => (row.id, Some(verdict)),
                        // The same message on another connection, or the visit moved on: look again.
                        Answer::Claimed(_) | Answer::VersionConflict { .. } | Answer::Fenced(_) => continue,
                    }
                }
            };
            return self.after(reading, &keys, id, verdict.as_ref()).await;
        }
        Err(NotNow::Other("a visit kept changing under a message".to_owned()))
    }

    /// What a receipt changes: row, claims, events, all or nothing.
    async fn receipt(&self, reading: &Reading, raw: &Bytes, keys: &Keys, found: &Found, verdict: &Verdict, row: &NewRow) -> Result<Unit, NotNow> {
        let now = row.received_at;
        let mut unit = self.effect(reading, raw, keys, verdict, row.id, now, trace::current()).await?;
        unit.claims.push(message_claim(INBOX, &keys.digest, &keys.digest, row.id, ClaimRule::Unique, now));
        match &found.control {
            Some(_) => {
                tracing::warn!(peer = reading.peer.name, "a control id came again with another message; both are taken");
                unit.claims.push(message_claim(CONTROL_REUSED, &row.id, reading.peer.name.as_bytes(), row.id, ClaimRule::KeepFirst, now));
            }
            None => unit.claims.push(message_claim(CONTROL, &keys.control, &keys.digest, row.id, ClaimRule::KeepFirst, now)),
        }
        // Tags and bytes are kept of what may be looked for; of the rest the row alone says that it came.
        let is_held = verdict.state == HELD;
        let (mut person_tag, mut place_tag, mut sealed) = (None, None, Bytes::new());
        if is_held {
            let keyring = &self.kernel.composer.keyring;
            let daily = Daily::of(keyring, &row.day).await?;
            person_tag = reading.patient.nhs_number.as_ref().map(|n| daily.number(n));
            let postcode = reading.patient.addresses.iter().filter_map(|a| a.postcode.as_ref()).find(|p| !p.is_pseudo());
            place_tag = postcode.filter(|_| reading.peer.home_level_visits.is_some()).map(|p| daily.place(p));
            let key = keyring.ensure(keyring.named(&message_key_name(&row.day))).await?;
            sealed = seal::seal_joined(&key, &row.id, raw).into();
        }
        unit.inbox.push(InboxChange::Receive(InboxRow {
            id: row.id,
            received_at: now,
            outgoing: false,
            peer: reading.peer.name.clone(),
            control_id: reading.control_id.clone(),
            kind: format!("ADT^{}", reading.trigger),
            reply: "AA",
            size: u32::try_from(raw.len()).unwrap_or(u32::MAX),
            digest: keys.digest,
            body_tag: None,
            day: row.day.clone(),
            person_tag,
            place_tag,
            occurred_at: reading.at.at_us,
            sealed,
            state: verdict.state,
            why: verdict.why.to_owned(),
            effect: String::new(),
            stream: verdict.visit.as_ref().map(|v| v.stream),
            resident: None,
            traceparent: trace::current(),
        }));
        Ok(unit)
    }

    /// Events, claims and re-sealed bytes that follow from a verdict; the row itself is the caller's.
    #[expect(clippy::too_many_arguments, reason = "each is one source of what a unit holds")]
    async fn effect(
        &self,
        reading: &Reading,
        raw: &[u8],
        keys: &Keys,
        verdict: &Verdict,
        row: [u8; 16],
        now: i64,
        traceparent: Option<String>,
    ) -> Result<Unit, NotNow> {
        let mut unit = Unit::default();
        let composer = &self.kernel.composer;
        let cause =
            |correlation: StreamId| Cause { actor: Actor::SYSTEM, causation: Some(row), correlation: *correlation.bytes(), traceparent: traceparent.clone() };
        let occurred = |at: &Moment| wire::occurred(at);
        if let Some(visit) = &verdict.visit {
            if !visit.events.is_empty() {
                let events = visit
                    .events
                    .iter()
                    .map(|event| {
                        // That we learn whose visit it is happens now, whatever the message tells of.
                        let at = if matches!(event, crate::domain::events::Event::VisitIdentified { .. }) { Occurred::at(now) } else { occurred(&reading.at) };
                        wire::encode(event, at)
                    })
                    .collect();
                unit.writes.push(composer.write(visit.stream, visit.expected, events, &cause(visit.stream), now).await?);
            }
            if let Some(key) = keys.visit.filter(|_| visit.is_new) {
                unit.claims.push(lasting_claim(VISIT, key, &[], visit.stream, ClaimRule::Unique));
            }
            if verdict.state == INTERPRETED {
                unit.blobs.push(composer.blob(row, visit.stream, MEDIA_TYPE, raw, now).await?);
            }
        }
        if let Some((event, once)) = &verdict.report {
            let stream = StreamId::from_bytes(hearthline_runtime::service::fresh_id());
            unit.writes.push(composer.write(stream, 0, vec![wire::encode(event, occurred(&reading.at))], &cause(stream), now).await?);
            if verdict.visit.is_none() {
                unit.blobs.push(composer.blob(row, stream, MEDIA_TYPE, raw, now).await?);
            }
            unit.claims.extend(once.map(|key| lasting_claim(DEATH, key, &[], stream, ClaimRule::Unique)));
        }
        if let Some(visit) = keys.visit.filter(|_| verdict.waits) {
            unit.claims.push(message_claim(WAITING, &row, &[], visit, ClaimRule::KeepFirst, now));
        }
        Ok(unit)
    }

    /// The second reading (see the module), and what waited for this message. `verdict` is none for a message that came before.
    async fn after(&self, reading: &Reading, keys: &Keys, id: [u8; 16], verdict: Option<&Verdict>) -> Result<(), NotNow> {
        if verdict.is_none_or(|v| v.state == HELD) && !matches!(reading.matter, Matter::Nothing(_)) {
            let found = self.look(keys).await?;
            if verdict.is_none() || self.judge(reading, keys, &found).await?.acts() {
                self.examine(id).await?;
            }
        }
        if let Some(visit) = keys.visit
            && verdict.is_none_or(|v| v.visit.is_some())
        {
            self.examine_waiting(visit).await?;
        }
        Ok(())
    }

    /// Looks at what waits for a visit, in its own time order.
    async fn examine_waiting(&self, visit: [u8; 16]) -> Result<(), NotNow> {
        let sql = "select inbox.id from claims join inbox on inbox.id = claims.key where claims.owner = $1 and claims.scope = $2 and inbox.state = $3 order by inbox.occurred_at, inbox.seq";
        for row in self.kernel.store.query(sql, &[visit.into(), WAITING.into(), HELD.into()]).await? {
            self.examine(row.id(0)).await?;
        }
        Ok(())
    }

    /// Looks at every held message about a person, under each living day's key, in the messages' own time order.
    pub async fn examine_person(&self, number: &NhsNumber) -> Result<(), NotNow> {
        let mut tags = Vec::new();
        for day in self.living_days().await? {
            tags.push(Daily::of(&self.kernel.composer.keyring, &day).await?.number(number));
        }
        self.examine_tagged("person_tag", &tags).await
    }

    /// Looks at every held message from an address with this postcode.
    pub async fn examine_place(&self, postcode: &Postcode) -> Result<(), NotNow> {
        let mut tags = Vec::new();
        for day in self.living_days().await? {
            tags.push(Daily::of(&self.kernel.composer.keyring, &day).await?.place(postcode));
        }
        self.examine_tagged("place_tag", &tags).await
    }

    async fn examine_tagged(&self, column: &'static str, tags: &[[u8; 16]]) -> Result<(), NotNow> {
        if tags.is_empty() {
            return Ok(());
        }
        let places = (1..=tags.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(",");
        let sql = format!("select id from inbox where state = 'held' and {column} in ({places}) order by occurred_at, seq limit {PAGE_ROWS}");
        let args: Vec<_> = tags.iter().map(|tag| (*tag).into()).collect();
        for row in self.kernel.store.query(&sql, &args).await? {
            self.examine(row.id(0)).await?;
        }
        Ok(())
    }

    async fn living_days(&self) -> Result<Vec<String>, NotNow> {
        let rows = self.kernel.store.query("select distinct day from inbox where state = 'held' order by day", &[]).await?;
        Ok(rows.iter().map(|row| row.text(0).to_owned()).collect())
    }

    /// Judges a held message by what is known now. One that was settled meanwhile, or whose day is over, is let be.
    pub async fn examine(&self, id: [u8; 16]) -> Result<(), NotNow> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(row) = self.open_held(id).await? else { return Ok(()) };
            let message = Message::parse(&row.raw).map_err(|_| NotNow::Other("a held message does not parse".to_owned()))?;
            let Ok(reading) = reading::read(&message, &self.peers, false) else {
                // Its peer is configured no longer: nothing may be made of it.
                return Ok(());
            };
            let keys = self.keys(&reading, &row.raw).await?;
            let found = self.look(&keys).await?;
            let verdict = self.judge(&reading, &keys, &found).await?;
            if !verdict.acts() {
                return Ok(());
            }
            let now = now_us();
            let mut unit = self.effect(&reading, &row.raw, &keys, &verdict, id, now, row.traceparent.clone()).await?;
            if verdict.state != HELD {
                unit.claims.push(message_claim(TAKEN, &id, &[], id, ClaimRule::Unique, now));
            }
            unit.inbox.push(InboxChange::Settle(Box::new(Settled {
                id,
                state: verdict.state,
                why: verdict.why.to_owned(),
                effect: String::new(),
                stream: verdict.visit.as_ref().map(|v| v.stream),
                resident: None,
                person_tag: None,
                moved: verdict.state != HELD,
            })));
            match self.kernel.store.append(unit).await? {
                Answer::Committed { .. } => {
                    if let Some(visit) = keys.visit.filter(|_| verdict.visit.as_ref().is_some_and(|v| v.is_new)) {
                        Box::pin(self.examine_waiting(visit)).await?;
                    }
                    return Ok(());
                }
                Answer::Claimed(_) | Answer::VersionConflict { .. } | Answer::Fenced(_) => {}
            }
        }
        Err(NotNow::Other("a visit kept changing under a held message".to_owned()))
    }

    async fn open_held(&self, id: [u8; 16]) -> Result<Option<HeldRow>, NotNow> {
        let rows = self.kernel.store.query("select day, sealed, traceparent from inbox where id = $1 and state = $2", &[id.into(), HELD.into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let Some(sealed) = row.opt_blob(1) else { return Ok(None) };
        let keyring = &self.kernel.composer.keyring;
        match keyring.open(keyring.named(&message_key_name(row.text(0)))).await? {
            Access::Key(key) => {
                let mut raw = seal::open_joined(&key, &id, sealed).map_err(hearthline_eventing::OpenError::from)?;
                Ok(Some(HeldRow { raw: std::mem::take(&mut *raw).into(), traceparent: row.opt_text(2).map(str::to_owned) }))
            }
            // Its day is over; the row goes with the sweep.
            Access::Destroyed | Access::NotGranted => Ok(None),
        }
    }

    /// Destroys the keys of days that are over and deletes their rows; the keys first, so that nothing readable is left behind.
    pub async fn sweep(&self, now: i64) -> Result<Unit, NotNow> {
        let today: Date = london_date(now).map_err(|e| NotNow::Other(e.to_string()))?;
        let rows = self.kernel.store.query("select distinct day from inbox order by day", &[]).await?;
        let mut unit = Unit::default();
        for row in rows {
            let day = row.text(0);
            let is_over = day.parse::<Date>().is_ok_and(|d| (today - d).get_days() > KEPT_DAYS);
            if !is_over {
                continue;
            }
            for name in key_names(day) {
                let keyring = &self.kernel.composer.keyring;
                keyring.destroy(keyring.named(&name)).await?;
            }
            tracing::info!(day, "hospital messages of a day that is over were deleted, and their keys destroyed");
            unit.inbox.push(InboxChange::Sweep { day: day.to_owned() });
        }
        Ok(unit)
    }
}

fn day_of(now: i64) -> Result<String, NotNow> {
    london_date(now).map(|day| day.to_string()).map_err(|e| NotNow::Other(e.to_string()))
}
