//! What waits for its visit: a message that speaks of one which is not open, and one of somebody who has no NHS number, since its
//! visit alone can tell whose it is. As soon as a resident is among those whom the messages of one visit name it is theirs, also by
//! what came without a number; whichever message comes last looks at the others (`joined_those_that_wait`).
//!
//! **A visit's opening and what waits for it** are one after the other where both are read by the interpreter, which takes the
//! messages of a visit in their order. A look for held messages may open the visit at the same time, so whoever makes a row wait looks
//! for the visit again, and whoever opens a visit looks for what waits; what a process that ended in between left undone is found when
//! the interpreter starts, and once a minute ([`Gateway::examine_overlooked`]).

use crate::domain::Report;
use crate::gateway::{Gateway, HELD, Keys, Verdict};
use crate::inbox::{OpenRow, PAGE_ROWS};
use crate::reading::{LocalId, Matter};
use crate::tags::{Lasting, VISIT, WAITING, WAITING_ALSO};
use hearthline_eventing::{NotNow, Value, query_among};
use hearthline_interop::hl7v2::Adt;
use hearthline_nhs::{NhsNumber, ResidentId, StreamId};

impl Gateway {
    /// All names of a visit.
    pub(crate) async fn names_of(&self, visit: StreamId) -> Result<Vec<[u8; 16]>, NotNow> {
        let sql = format!("select key from claims where scope = '{VISIT}' and owner = $1");
        let rows = self.kernel.store.query(&sql, &[visit.into()]).await?;
        Ok(rows.iter().map(|row| row.id(0)).collect())
    }

    /// Looks at what waits for a visit by any of its names, in its own time order.
    pub(crate) async fn examine_waiting(&self, keys: &Keys) -> Result<(), NotNow> {
        let waits = |scope| {
            format!("select i.id, i.occurred_at, i.seq from claims w join inbox i on i.id = w.key and i.state = $2 where w.scope = '{scope}' and w.owner = $1")
        };
        let sql = format!("{} union all {} order by occurred_at, seq", waits(WAITING), waits(WAITING_ALSO));
        for visit in keys.visits() {
            self.examine_all(&sql, &[visit.into(), HELD.into()]).await?;
        }
        Ok(())
    }

    /// A message came to wait for its visit: looks at what may go on by that. Where the visit is not open, the message says whose it is
    /// as the first that waits, or what waits says it of the message; all others wait on, so that each costs the same however many wait.
    pub(crate) async fn joined_those_that_wait(&self, row: &OpenRow, verdict: &Verdict) -> Result<(), NotNow> {
        if verdict.resident.is_some() && matches!(row.reading.matter, Matter::Visit(Report::Move)) {
            self.examine_moved(row).await?;
        }
        let visits: Vec<[u8; 16]> = row.keys.visits().collect();
        let store = self.kernel.store.as_ref();
        if !query_among(store, "select 1 from claims where scope = $1 and key", &[VISIT.into()], &visits, "limit 1").await?.is_empty() {
            return self.examine_waiting(&row.keys).await;
        }
        let others = match verdict.resident {
            Some(resident) => ("i.resident = $3", Some(Value::from(*resident.bytes()))),
            None => ("i.resident is not null", None),
        };
        let args: Vec<Value> = [HELD.into(), row.id.into()].into_iter().chain(others.1).collect();
        let mut is_named = false;
        for scope in [WAITING, WAITING_ALSO] {
            let head = format!(
                "select 1 from claims w join inbox i on i.id = w.key and i.state = $1 and {} where w.scope = '{scope}' and w.key <> $2 and w.owner",
                others.0
            );
            is_named = is_named || !query_among(store, &head, &args, &visits, "limit 1").await?.is_empty();
        }
        match (verdict.resident, is_named) {
            (Some(_), false) => self.examine_waiting(&row.keys).await,
            (None, true) => self.examine(row.id).await,
            (Some(_), true) | (None, false) => Ok(()),
        }
    }

    /// A visit that is a resident's from now on (A45): looks at what is held of it under the patient of MRG-1.
    async fn examine_moved(&self, row: &OpenRow) -> Result<(), NotNow> {
        let Ok(message) = row.reading.peer.parse(&row.raw) else { return Ok(()) };
        let former: Vec<LocalId> = Adt::of(&message).discarded_identifiers().map(|id| LocalId::of(&id)).collect();
        let mut tags = Vec::new();
        for id in &former {
            tags.extend(self.daily_tags(|daily| daily.local(&row.reading.peer.name, &id.key())).await?);
            if let Ok(number) = NhsNumber::parse(&id.value) {
                tags.extend(self.daily_tags(|daily| daily.number(&number)).await?);
            }
        }
        let lasting = Lasting::open(&self.kernel.composer.keyring).await?;
        let tail = format!("order by occurred_at, seq limit {PAGE_ROWS}");
        for held in query_among(self.kernel.store.as_ref(), "select id from inbox where state = $1 and person_tag", &[HELD.into()], &tags, &tail).await? {
            let open = self.open_held(&lasting, held.id(0)).await?;
            if open.is_some_and(|open| open.keys.visits().any(|visit| row.keys.visits().any(|moved| moved == visit))) {
                self.examine(held.id(0)).await?;
            }
        }
        Ok(())
    }

    /// Looks at what waits for a visit that is open: what a process that ended left undone.
    pub async fn examine_overlooked(&self) -> Result<(), NotNow> {
        let sql = "select inbox.id from claims w join claims v on v.scope = $1 and v.key = w.owner join inbox on inbox.id = w.key and inbox.state = $2 where w.scope in ($3, $4) order by inbox.occurred_at, inbox.seq";
        self.examine_all(sql, &[VISIT.into(), HELD.into(), WAITING.into(), WAITING_ALSO.into()]).await
    }

    /// Looks at what waits together with a message that says whose the visit is: likewise.
    pub async fn examine_awaited(&self) -> Result<(), NotNow> {
        let lasting = Lasting::open(&self.kernel.composer.keyring).await?;
        let sql = "select w.key from claims w join inbox i on i.id = w.key and i.state = $1 and i.resident is not null where w.scope = $2";
        for row in self.kernel.store.query(sql, &[HELD.into(), WAITING.into()]).await? {
            let Some(mut row) = self.open_held(&lasting, row.id(0)).await? else { continue };
            self.follow_merges(&lasting, &mut [&mut row.keys]).await?;
            self.examine_waiting(&row.keys).await?;
        }
        Ok(())
    }

    /// It is on record that a row waits, and for whom.
    pub(crate) async fn is_known_to_wait(&self, row: [u8; 16], resident: Option<ResidentId>) -> Result<bool, NotNow> {
        let sql = "select i.resident from claims w join inbox i on i.id = w.key where w.scope = $1 and w.key = $2";
        let rows = self.kernel.store.query(sql, &[WAITING.into(), row.into()]).await?;
        Ok(rows.first().is_some_and(|row| resident.is_none_or(|id| row.opt_id(0) == Some(*id.bytes()))))
    }
}
