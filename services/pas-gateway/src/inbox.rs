//! The inbox: each message is kept before it is answered, interpreted once, held while nobody knows whose it is, looked at again when
//! that may have changed, and gone after the days that were agreed on.
//!
//! State story of a row: *received* → *interpreted*, *ignored*, *held* (nobody of the directory, or waiting for its visit, or a
//! home-level visit), *duplicate* or *shadow*; *held* → *interpreted* or *ignored* later. *refused* and *duplicate* frames get rows that
//! stay as they are. Every row is sealed under its day's key; once it is known to be a resident's and goes to a visit, its bytes are
//! sealed anew under the visit's key and outlive the day.
//!
//! **A registration and an admission may race.** The admission's row commits as *received*; the interpreter reads the residents' tags
//! only after that. The registration commits the resident's tag, and only then looks ([`Gateway::examine_person`]) for rows of the
//! person, *received* ones as well as *held* ones. So, for any row and any registration: if the row was committed after that look,
//! the interpreter reads the tags later still, and finds the tag. If the look saw it *held*, the look judges it itself. If the look saw it
//! *received*, nobody can tell which tags the interpreter has read, so the look is not over: its timer is set anew in the same unit that
//! ends it, until a look finds none of the person's rows *received*. Nothing of this lies in memory: a process that ends in between
//! leaves a row that is still *received*, or a timer that is still set. Both may take the same held row: it is
//! settled from the state that it was judged in or not at all, so one of them gets through. Homes and their addresses are handled in the
//! same way.
//!
//! What waits for a visit is in [`crate::waiting`].

use crate::domain::Moment;
use crate::domain::events::Event;
use crate::gateway::{Gateway, HELD, Keys, RECEIVED, Verdict};
use crate::known::KnownVisit;
use crate::reading::{self, Reading};
use crate::search::SEALED;
use crate::tags::{
    DEATH, Daily, Lasting, PATIENT_ALIAS, VISIT, WAITING, WAITING_ALSO, WAITING_PERSON, key_names, lasting_claim, message_claim, message_key_name,
};
use crate::wire;
use bytes::Bytes;
use hearthline_eventing::{Access, Actor, Answer, Cause, ClaimRule, InboxChange, NotNow, Occurred, Settled, Unit, Value, now_us, query_pairs, seal};
use hearthline_nhs::{NhsNumber, StreamId, london_date};
use jiff::civil::Date;
use std::borrow::Cow;

pub const MEDIA_TYPE: &str = "x-application/hl7-v2+er7";
pub(crate) const ATTEMPTS_MAX: u32 = 8;
pub(crate) const PAGE_ROWS: u32 = 1_000;

/// A row's message, opened.
#[derive(Debug)]
pub struct OpenRow {
    pub id: [u8; 16],
    pub raw: Bytes,
    pub reading: Reading,
    pub keys: Keys,
    pub traceparent: Option<String>,
}

/// Whether a look at held messages is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    Over,
    /// Some rows are being interpreted, and may come to be held by what was known before: look again.
    Again,
}

impl Gateway {
    /// Events, claims and re-sealed bytes that follow from a verdict on a row in state `from`, and how the row stands afterwards.
    pub(crate) async fn effect(&self, row: &OpenRow, from: impl Into<Cow<'static, str>>, verdict: &Verdict, now: i64, why: String) -> Result<Unit, NotNow> {
        let mut unit = Unit::default();
        let composer = &self.kernel.composer;
        let cause = |correlation: StreamId| Cause {
            actor: Actor::SYSTEM,
            causation: Some(row.id),
            correlation: *correlation.bytes(),
            traceparent: row.traceparent.clone(),
        };
        let occurred = |at: &Moment| wire::occurred(at);
        let mut blob_of = None;
        if let Some(visit) = &verdict.visit {
            if !visit.events.is_empty() {
                let events = visit
                    .events
                    .iter()
                    .map(|event| {
                        // That we learn whose visit it is happens now, whatever the message tells of.
                        let at = if matches!(event, Event::VisitIdentified { .. }) { Occurred::at(now) } else { occurred(&row.reading.at) };
                        wire::encode(event, at)
                    })
                    .collect();
                unit.writes.push(composer.write(visit.stream, visit.expected, events, &cause(visit.stream), now).await?);
            }
            if let Some(key) = row.keys.visit.filter(|_| visit.is_new) {
                unit.claims.push(lasting_claim(VISIT, key, &[], visit.stream, ClaimRule::Unique));
            }
            blob_of = Some(visit.stream);
            // The visit goes by this name as well from now on, whatever had it; and by those that it takes over.
            let mut names: Vec<[u8; 16]> = row.keys.visit.filter(|_| visit.is_renamed && !visit.is_new).into_iter().collect();
            if let Some(retired) = row.keys.retired_visit {
                let rule = if visit.retires_unopened { ClaimRule::Unique } else { ClaimRule::Replace };
                unit.claims.push(lasting_claim(VISIT, retired, &[], visit.stream, rule));
            }
            if let Some(retired) = &verdict.retired {
                let events = retired.events.iter().map(|event| wire::encode(event, occurred(&row.reading.at))).collect();
                unit.writes.push(composer.write(retired.stream, retired.expected, events, &cause(retired.stream), now).await?);
                names.extend(self.names_of(retired.stream).await?.into_iter().filter(|name| row.keys.retired_visit != Some(*name)));
            }
            unit.claims.extend(names.iter().map(|name| lasting_claim(VISIT, *name, &[], visit.stream, ClaimRule::Replace)));
            if visit.is_new || visit.is_renamed || visit.has_more_names {
                // A visit that begins and is another by one of its names is none that begins.
                let rule = if visit.is_new { ClaimRule::Unique } else { ClaimRule::KeepFirst };
                unit.claims.extend(row.keys.former.iter().map(|name| lasting_claim(VISIT, *name, &[], visit.stream, rule)));
            }
        }
        for (retired, survivor) in row.keys.edges.iter().filter(|(retired, survivor)| !row.keys.is_cycle && retired != survivor) {
            let survivor = StreamId::from_bytes(*survivor);
            // A stranger's identifiers go with the message.
            unit.claims.push(match verdict.resident {
                Some(_) => lasting_claim(PATIENT_ALIAS, *retired, &[], survivor, ClaimRule::Replace),
                None => message_claim(PATIENT_ALIAS, retired, &[], *survivor.bytes(), ClaimRule::Replace, (now, self.kept_days)),
            });
        }
        for (event, once) in &verdict.reports {
            let stream = StreamId::from_bytes(hearthline_runtime::service::fresh_id());
            unit.writes.push(composer.write(stream, 0, vec![wire::encode(event, occurred(&row.reading.at))], &cause(stream), now).await?);
            unit.claims.push(lasting_claim(DEATH, *once, &[], stream, ClaimRule::Unique));
            blob_of = blob_of.or(Some(stream));
        }
        // The bytes of a home-level visit stay under the day's key: they are a stranger's.
        let blob_of = blob_of.filter(|_| verdict.state != HELD);
        if let Some(stream) = blob_of {
            unit.blobs.push(composer.blob(row.id, stream, MEDIA_TYPE, &row.raw, now).await?);
        }
        if verdict.waits {
            for (scope, visit) in [WAITING, WAITING_ALSO].into_iter().zip(row.keys.visits()) {
                unit.claims.push(message_claim(scope, &row.id, &[], visit, ClaimRule::KeepFirst, (now, self.kept_days)));
            }
        }
        for person in &verdict.awaits {
            let key = [person.as_slice(), row.id.as_slice()].concat();
            unit.claims.push(message_claim(WAITING_PERSON, &key, &row.id, *person, ClaimRule::KeepFirst, (now, self.kept_days)));
        }
        let effect = unit.writes.iter().flat_map(|write| &write.events).map(|event| event.name).collect::<Vec<_>>().join(",");
        unit.inbox.push(InboxChange::Settle(Box::new(Settled {
            id: row.id,
            from: from.into(),
            state: verdict.state,
            why,
            effect,
            stream: verdict.visit.as_ref().map(|v| v.stream).or(blob_of),
            resident: verdict.resident.map(|id| *id.bytes()),
            person_tag: row.keys.person.filter(|_| verdict.resident.is_some() && blob_of.is_some()),
            moved: blob_of.is_some(),
        })));
        Ok(unit)
    }

    /// Looks at every held message about a person, under each living day's key, in the messages' own time order.
    pub async fn examine_person(&self, number: &NhsNumber) -> Result<Looked, NotNow> {
        let tags = self.daily_tags(|daily| daily.number(number)).await?;
        let looked = self.examine_tagged("select i.id from pairs cross join inbox i where i.person_tag is not null and i.person_tag = pairs.a", &tags).await?;
        self.examine_awaiting(number).await?;
        Ok(looked)
    }

    /// Looks at every held message from an address at one of these postcodes or UPRNs.
    pub async fn examine_places(&self, places: &[&str]) -> Result<Looked, NotNow> {
        let mut tags = Vec::new();
        for place in places.iter().filter(|place| !place.is_empty()) {
            tags.extend(self.daily_tags(|daily| daily.place(place)).await?);
        }
        let found = "select i.id from pairs cross join inbox i where i.place_tag is not null and i.place_tag = pairs.a and i.state in ('received', 'held') \
            union select c.digest from pairs cross join claims c where c.scope = 'place-also' and c.owner = pairs.a";
        self.examine_tagged(found, &tags).await
    }

    /// A tag under the key of each day whose messages may still be here.
    pub(crate) async fn daily_tags(&self, tag: impl Fn(&Daily) -> [u8; 16]) -> Result<Vec<[u8; 16]>, NotNow> {
        let today: Date = london_date(now_us()).map_err(|e| NotNow::Other(e.to_string()))?;
        let mut tags = Vec::new();
        // Another process's clock may already show tomorrow.
        for back in -1..=i64::from(self.kept_days) + 1 {
            let Ok(day) = today.checked_sub(jiff::Span::new().days(back)) else { continue };
            if let Some(daily) = Daily::if_kept(&self.kernel.composer.keyring, &day.to_string()).await? {
                tags.push(tag(&daily));
            }
        }
        Ok(tags)
    }

    /// `found` selects the ids of rows by the tags, which it reads as `pairs.a`.
    async fn examine_tagged(&self, found: &str, tags: &[[u8; 16]]) -> Result<Looked, NotNow> {
        let store = self.kernel.store.as_ref();
        let sql = format!(
            "select i.id, i.state, i.occurred_at, i.seq from ({found}) found join inbox i on i.id = found.id \
             where i.state in ($1, $2) and (i.occurred_at, i.seq) > ($3, $4) order by i.occurred_at, i.seq limit {PAGE_ROWS}"
        );
        let tags: Vec<_> = tags.iter().map(|tag| (*tag, *tag)).collect();
        let (mut looked, mut after) = (Looked::Over, (i64::MIN, 0));
        loop {
            let rows = query_pairs(store, &sql, &[RECEIVED.into(), HELD.into(), after.0.into(), after.1.into()], &tags).await?;
            let Some(last) = rows.last() else { return Ok(looked) };
            after = (last.int(2), last.int(3));
            for row in &rows {
                match row.text(1) {
                    RECEIVED => looked = Looked::Again,
                    _ => self.examine(row.id(0)).await?,
                }
            }
        }
    }

    pub(crate) async fn examine_all(&self, sql: &str, args: &[Value]) -> Result<(), NotNow> {
        for row in self.kernel.store.query(sql, args).await? {
            self.examine(row.id(0)).await?;
        }
        Ok(())
    }

    /// Judges a held message by what is known now. One that was settled meanwhile, or whose day is over, is let be.
    pub async fn examine(&self, id: [u8; 16]) -> Result<(), NotNow> {
        let lasting = Lasting::open(&self.kernel.composer.keyring).await?;
        for _ in 0..ATTEMPTS_MAX {
            let Some(mut row) = self.open_held(&lasting, id).await? else { return Ok(()) };
            self.follow_merges(&lasting, &mut [&mut row.keys]).await?;
            let known = self.know(&lasting, &[(&row.reading, &row.keys)]).await?;
            let visit = row.keys.visit.and_then(|tag| known.visits.get(&tag));
            let verdict = self.judge(&lasting, &row.reading, &row.keys, &known, visit);
            let comes_to_wait = verdict.waits && !self.is_known_to_wait(id, verdict.resident).await?;
            if !verdict.acts() && !comes_to_wait {
                return Ok(());
            }
            let now = now_us();
            let unit = self.effect(&row, HELD, &verdict, now, verdict.why.clone()).await?;
            match self.kernel.store.append(unit).await? {
                Answer::Committed { .. } => {
                    if verdict.opens(&row.keys) {
                        Box::pin(self.examine_waiting(&row.keys)).await?;
                    } else if comes_to_wait {
                        Box::pin(self.joined_those_that_wait(&row, &verdict)).await?;
                    }
                    return self.examine_joined(&row, &verdict).await;
                }
                Answer::Claimed(_) | Answer::VersionConflict { .. } | Answer::Fenced(_) => {}
            }
        }
        Err(NotNow::Other("a visit kept changing under a held message".to_owned()))
    }

    pub(crate) async fn open_held(&self, lasting: &Lasting, id: [u8; 16]) -> Result<Option<OpenRow>, NotNow> {
        let rows = self
            .kernel
            .store
            .query(&format!("select day, {SEALED}, traceparent, peer, received_at from inbox where id = $1 and state = $2"), &[id.into(), HELD.into()])
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let Some(sealed) = row.opt_blob(1) else { return Ok(None) };
        // Its day is over; the row goes with the sweep.
        let Some(raw) = self.unseal(id, row.text(0), sealed).await? else { return Ok(None) };
        // Where its peer is configured no longer, nothing may be made of it.
        Ok(self.open_row(lasting, (id, row.int(4)), row.text(3), raw, row.opt_text(2)).ok())
    }

    /// A message as sealed under its day's key; none where the day is over.
    pub(crate) async fn unseal(&self, id: [u8; 16], day: &str, sealed: &[u8]) -> Result<Option<Bytes>, NotNow> {
        let keyring = &self.kernel.composer.keyring;
        match keyring.open(keyring.named(&message_key_name(day))).await? {
            Access::Key(key) => {
                let mut raw = seal::open_joined(&key, &id, sealed).map_err(hearthline_eventing::OpenError::from)?;
                Ok(Some(std::mem::take(&mut *raw).into()))
            }
            Access::Destroyed | Access::NotGranted => Ok(None),
        }
    }

    /// Reads a message that was accepted before; the error says why nothing can be made of it now.
    pub(crate) fn open_row(
        &self,
        lasting: &Lasting,
        (id, received_at): ([u8; 16], i64),
        peer: &str,
        raw: Bytes,
        traceparent: Option<&str>,
    ) -> Result<OpenRow, &'static str> {
        let peer = self.peers.iter().find(|known| known.name == peer).ok_or("its peer is configured no longer")?;
        let message = peer.parse(&raw).map_err(|_| "it cannot be read any more")?;
        let reading = reading::read_received(&message, peer, self.profile(peer), Some(received_at)).map_err(|refusal| refusal.text)?;
        let keys = self.keys(lasting, &reading);
        drop(message);
        Ok(OpenRow { id, raw, reading, keys, traceparent: traceparent.map(str::to_owned) })
    }

    /// Destroys the keys of days that are over and deletes their rows; the keys first, so that nothing readable is left behind. A day
    /// of which something is not interpreted yet stays: it was accepted, and may be a resident's.
    pub async fn sweep(&self, now: i64) -> Result<Unit, NotNow> {
        let today: Date = london_date(now).map_err(|e| NotNow::Other(e.to_string()))?;
        let mut unit = Unit::default();
        let mut before = String::new();
        loop {
            let sql = "select min(day) from inbox where day > $1 and moved = 0";
            let rows = self.kernel.store.query(sql, &[before.as_str().into()]).await?;
            let Some(day) = rows.first().and_then(|row| row.opt_text(0)) else { return Ok(unit) };
            if !day.parse::<Date>().is_ok_and(|d| (today - d).get_days() > i32::from(self.kept_days)) {
                return Ok(unit);
            }
            before = day.to_owned();
            let sql = "select count(*) from inbox where day = $1 and state = $2";
            let waiting = self.kernel.store.query(sql, &[day.into(), RECEIVED.into()]).await?.first().map_or(0, |row| row.int(0));
            if waiting > 0 {
                tracing::warn!(day, messages = waiting, "a day is over of which messages are not interpreted: nothing of it is deleted until they are");
                continue;
            }
            for name in key_names(day) {
                let keyring = &self.kernel.composer.keyring;
                keyring.destroy(keyring.named(&name)).await?;
            }
            tracing::info!(day, "hospital messages of a day that is over were deleted, and their keys destroyed");
            unit.inbox.push(InboxChange::Sweep { day: day.to_owned() });
        }
    }
}

/// A visit after a verdict on it was appended.
pub(crate) fn moved_on(found: Option<&KnownVisit>, verdict: &Verdict) -> Option<KnownVisit> {
    let Some(work) = verdict.visit.as_ref().filter(|work| !work.events.is_empty()) else { return found.cloned() };
    let before = found.map(|found| found.visit.clone()).unwrap_or_default();
    let visit = work.events.iter().fold(before, |visit, event| visit.evolve(event));
    Some(KnownVisit { stream: work.stream, visit, version: work.expected + work.events.len() as u64, is_renamed: false })
}

/// The names of what follows or would follow, parted by commas.
pub(crate) fn names(verdict: &Verdict) -> String {
    verdict.events().map(|event| wire::encode(event, Occurred::at(0)).name).collect::<Vec<_>>().join(",")
}
