//! Messages judged again by today's mapping: what each became, what it would become, and which events would follow.
//!
//! A visit takes nothing twice, so what is done again adds only what is new. A message that was refused is not taken up: its sender was
//! told so. One of a feed in shadow has no effect either way.

use crate::gateway::{DUPLICATE, Gateway, HELD, RECEIVED, REFUSED};
use crate::inbox::{ATTEMPTS_MAX, OpenRow, moved_on};
use crate::known::KnownVisit;
use crate::peer::Mode;
use crate::search::{SEALED, Visible};
use crate::tags::Lasting;
use crate::wire;
use hearthline_eventing::{Answer, AuditRow, InboxChange, NotNow, ROW_MOVED_ON, Unit, now_us, query_among};
use std::collections::HashMap;

/// Most messages of one request.
pub const SELECTION_MAX: usize = 1_000;

/// What became of one message, and what would or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reprocessed {
    pub id: [u8; 16],
    pub peer: String,
    pub control_id: String,
    pub kind: String,
    pub state: String,
    pub why: String,
    /// Names of the events that followed before, parted by commas.
    pub effect: String,
    pub now: Now,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Now {
    /// Judged as it is; events that are new, if there are any.
    Becomes { state: &'static str, why: String, events: Vec<NewFact> },
    /// Nothing can be made of it.
    Not(String),
}

/// An event that would follow or followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFact {
    pub name: &'static str,
    /// When it happened, µs.
    pub at_us: i64,
}

/// A row as it stands.
struct Stored {
    row: Reprocessed,
    day: String,
    sealed: Option<bytes::Bytes>,
    traceparent: Option<String>,
    received_at: i64,
}

impl Gateway {
    /// Judges messages again, in their own time order; with `dry` nothing is changed. What the caller may not see is not there.
    /// `audit` says who asks and why, and is durable first.
    pub async fn reprocess(&self, ids: &[[u8; 16]], visible: &Visible, dry: bool, audit: AuditRow) -> Result<Vec<Reprocessed>, NotNow> {
        match self.kernel.store.append(Unit { audit: vec![audit], ..Unit::default() }).await? {
            Answer::Committed { .. } => {}
            Answer::VersionConflict { .. } | Answer::Claimed(_) | Answer::Fenced(_) => return Err(NotNow::Other("an audit row was not taken".to_owned())),
        }
        let lasting = Lasting::open(&self.kernel.composer.keyring).await?;
        let head =
            format!("select id, peer, control_id, kind, state, why, effect, day, {SEALED}, traceparent, received_at from inbox where outgoing = 0 and id");
        let ids = &ids[..ids.len().min(SELECTION_MAX)];
        let rows = query_among(self.kernel.store.as_ref(), &head, &[], ids, "order by occurred_at, seq").await?;
        // Of a dry run: visits as they would stand.
        let mut visits: HashMap<[u8; 16], KnownVisit> = HashMap::new();
        let mut done = Vec::with_capacity(rows.len());
        for row in &rows {
            let stored = Stored {
                row: Reprocessed {
                    id: row.id(0),
                    peer: row.text(1).to_owned(),
                    control_id: row.text(2).to_owned(),
                    kind: row.text(3).to_owned(),
                    state: row.text(4).to_owned(),
                    why: row.text(5).to_owned(),
                    effect: row.text(6).to_owned(),
                    now: Now::Not(String::new()),
                },
                day: row.text(7).to_owned(),
                sealed: row.opt_blob(8).cloned(),
                traceparent: row.opt_text(9).map(str::to_owned),
                received_at: row.int(10),
            };
            if let Visible::Of(peers) = visible
                && !peers.contains(&stored.row.peer)
            {
                continue;
            }
            let now = match self.opened_again(&lasting, &stored).await? {
                Ok(mut open) if dry => {
                    self.follow_merges(&lasting, &mut [&mut open.keys]).await?;
                    self.would_become(&lasting, &open, &mut visits).await?
                }
                Ok(mut open) => {
                    self.follow_merges(&lasting, &mut [&mut open.keys]).await?;
                    self.become_anew(&lasting, &open, &stored.row).await?
                }
                Err(why) => Now::Not(why),
            };
            done.push(Reprocessed { now, ..stored.row });
        }
        Ok(done)
    }

    async fn opened_again(&self, lasting: &Lasting, stored: &Stored) -> Result<Result<OpenRow, String>, NotNow> {
        let row = &stored.row;
        let not = match row.state.as_str() {
            REFUSED => Some("it was refused, and its sender was told so"),
            DUPLICATE => Some("it came before: the earlier one counts"),
            RECEIVED => Some("it is being interpreted"),
            _ => None,
        };
        if let Some(why) = not {
            return Ok(Err(why.to_owned()));
        }
        let Some(raw) = self.bytes_of(row.id, &stored.day, stored.sealed.as_ref()).await? else {
            return Ok(Err("its key is destroyed".to_owned()));
        };
        let opened = self.open_row(lasting, (row.id, stored.received_at), &row.peer, raw, stored.traceparent.as_deref());
        match opened {
            Ok(open) if self.mode(&open.reading.peer).await? == Mode::Shadow => Ok(Err("its peer is in shadow".to_owned())),
            opened => Ok(opened.map_err(str::to_owned)),
        }
    }

    async fn would_become(&self, lasting: &Lasting, open: &OpenRow, visits: &mut HashMap<[u8; 16], KnownVisit>) -> Result<Now, NotNow> {
        let known = self.know(lasting, &[(&open.reading, &open.keys)]).await?;
        let visit = open.keys.visit.and_then(|tag| visits.get(&tag).or_else(|| known.visits.get(&tag)));
        let verdict = self.judge(lasting, &open.reading, &open.keys, &known, visit);
        if let (Some(tag), Some(after)) = (open.keys.visit, moved_on(visit, &verdict)) {
            visits.insert(tag, after);
        }
        let events = verdict.events().map(|event| new_fact(wire::encode(event, wire::occurred(&open.reading.at)).name, open.reading.at.at_us)).collect();
        Ok(Now::Becomes { state: verdict.state, why: verdict.why.clone(), events })
    }

    async fn become_anew(&self, lasting: &Lasting, open: &OpenRow, before: &Reprocessed) -> Result<Now, NotNow> {
        for _ in 0..ATTEMPTS_MAX {
            let known = self.know(lasting, &[(&open.reading, &open.keys)]).await?;
            let visit = open.keys.visit.and_then(|tag| known.visits.get(&tag));
            let verdict = self.judge(lasting, &open.reading, &open.keys, &known, visit);
            let is_held = before.state == HELD;
            let adds = verdict.events().next().is_some();
            // What stood stays as it is where nothing is new.
            if !adds && (!is_held || verdict.state == HELD) {
                return Ok(Now::Becomes { state: verdict.state, why: verdict.why.clone(), events: Vec::new() });
            }
            let now = now_us();
            let mut unit = self.effect(open, before.state.clone(), &verdict, now, verdict.why.clone()).await?;
            let events = unit.writes.iter().flat_map(|write| &write.events).map(|event| new_fact(event.name, event.envelope.occurred_at_us)).collect();
            for change in &mut unit.inbox {
                if let InboxChange::Settle(settled) = change
                    && !before.effect.is_empty()
                {
                    settled.effect = [before.effect.as_str(), settled.effect.as_str()].join(",").trim_end_matches(',').to_owned();
                }
            }
            match self.kernel.store.append(unit).await? {
                Answer::Committed { .. } => {
                    if verdict.opens(&open.keys) {
                        self.examine_waiting(&open.keys).await?;
                    }
                    self.examine_joined(open, &verdict).await?;
                    return Ok(Now::Becomes { state: verdict.state, why: verdict.why.clone(), events });
                }
                Answer::Fenced(ROW_MOVED_ON) => return Ok(Now::Not("it was taken meanwhile".to_owned())),
                Answer::Claimed(_) | Answer::VersionConflict { .. } | Answer::Fenced(_) => {}
            }
        }
        Err(NotNow::Other("a visit kept changing under a message".to_owned()))
    }
}

fn new_fact(name: &'static str, at_us: i64) -> NewFact {
    NewFact { name, at_us }
}
