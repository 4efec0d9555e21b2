//! What call intake keeps to read: its calls, and of other contexts the homes, consultations, prescriptions and visits that
//! calls refer to. Nothing here is personal.

use crate::domain::CallEvent;
use crate::domain::decide::{Home, Seen};
use crate::domain::events::{Outcome, StreamVersion};
use crate::domain::words::*;
use crate::wire::{self, Reference, Unreadable};
use async_trait::async_trait;
use hearthline_contracts::topics;
use hearthline_eventing::{Fact, Row, Store, StoreError, Table, Tx, Value, View, ViewError};
use hearthline_nhs::words::Word;
use hearthline_nhs::{CallId, HomeId, ResidentId, StreamId};
use std::collections::BTreeMap;

const CALLS: Table = Table {
    name: "calls",
    columns: &[
        "id",
        "home_id",
        "status",
        "channel",
        "reason",
        "urgency",
        "resident_id",
        "resident_status",
        "counterfactual",
        "consent",
        "news2_total",
        "news2_partial",
        "outcome_to_follow",
        "version",
        "opened_at",
        "answered_at",
        "triaged_at",
        "joined_at",
        "closed_at",
    ],
    key: 1,
    ddl: "create table if not exists calls (
  id blob primary key,
  home_id blob not null,
  status text not null,
  channel text not null,
  reason text not null,
  urgency text,
  resident_id blob not null,
  resident_status text not null,
  counterfactual text,
  consent text,
  news2_total integer,
  news2_partial integer,
  outcome_to_follow integer not null,
  version integer not null,
  opened_at integer not null,
  answered_at integer,
  triaged_at integer,
  joined_at integer,
  closed_at integer
);
create index if not exists calls_queue on calls (opened_at) where status in ('open', 'triaged', 'with_clinician');",
};

const HOMES: Table = Table {
    name: "homes",
    columns: &["id", "live_from"],
    key: 1,
    ddl: "create table if not exists homes (
  id blob primary key,
  live_from integer
);",
};

const RELATED: Table = Table {
    name: "related",
    columns: &["stream", "kind", "call_id", "version", "state"],
    key: 1,
    ddl: "create table if not exists related (
  stream blob primary key,
  kind text not null,
  call_id blob not null,
  version integer not null,
  state text
);
create index if not exists related_call on related (call_id);",
};

const VISITS: Table = Table {
    name: "visits",
    columns: &["stream", "resident_id", "admitted_at"],
    key: 1,
    ddl: "create table if not exists visits (
  stream blob primary key,
  resident_id blob,
  admitted_at integer not null
);
create index if not exists visits_resident on visits (resident_id) where resident_id is not null;",
};

/// The view of call intake.
pub struct Calls;

#[async_trait]
impl View for Calls {
    fn tables(&self) -> &'static [Table] {
        &[CALLS, HOMES, RELATED, VISITS]
    }

    async fn apply(&self, tx: &mut Tx<'_>, facts: &[Fact]) -> Result<(), ViewError> {
        let (own, others): (Vec<&Fact>, Vec<&Fact>) = facts.iter().partition(|fact| fact.topic == topics::CALL.name);
        for fact in others {
            if let Some(reference) = wire::reference(fact)? {
                refer(tx, fact, reference);
            }
        }
        fold(tx, &own).await
    }
}

impl From<Unreadable> for ViewError {
    fn from(unreadable: Unreadable) -> Self {
        ViewError::Unreadable(unreadable.0)
    }
}

/// Folds a batch of call facts: rows of calls that the batch did not open are read once, all rows are written once.
async fn fold(tx: &mut Tx<'_>, facts: &[&Fact]) -> Result<(), ViewError> {
    let mut rows: BTreeMap<StreamId, CallRow> = BTreeMap::new();
    let known: Vec<Value> = facts.iter().filter(|fact| fact.version() > 1).map(|fact| fact.stream().into()).collect();
    if !known.is_empty() {
        for row in tx.fetch_by_keys(&CALLS, &known).await? {
            rows.insert(row.stream(0), CallRow::read(&row));
        }
    }
    for fact in facts {
        let event = wire::inward(fact, None)?;
        if let CallEvent::Opened(opened) = &event {
            rows.insert(fact.stream(), CallRow::opened(opened, fact));
        } else if let Some(row) = rows.get_mut(&fact.stream()) {
            row.take(&event, fact);
        }
    }
    tx.upsert(&CALLS, rows.into_values().map(CallRow::write).collect());
    Ok(())
}

fn refer(tx: &mut Tx<'_>, fact: &Fact, reference: Reference) {
    let (stream, version): (Value, Value) = (fact.stream().into(), fact.version().into());
    let mut first = |kind: &str, call: CallId| {
        tx.upsert(&RELATED, vec![vec![stream.clone(), kind.into(), (*call.bytes()).into(), version.clone(), Value::Null]]);
    };
    match reference {
        Reference::Consultation { call } => first("consultation", call),
        Reference::Prescription { call } => first("prescription", call),
        Reference::MovedOn { state } => {
            let sql = "update related set version = $2, state = coalesce($3, state) where stream = $1 and version < $2";
            tx.execute(sql, &[stream, version, state.into()]);
        }
        Reference::HomeRegistered => {
            tx.execute("insert into homes (id, live_from) values ($1, null) on conflict (id) do nothing", &[stream]);
        }
        Reference::HomeLive { from } => tx.upsert(&HOMES, vec![vec![stream, from.into()]]),
        Reference::VisitOpened { resident, admitted_at } => {
            tx.upsert(&VISITS, vec![vec![stream, resident.map(|r| *r.bytes()).into(), admitted_at.into()]]);
        }
        Reference::VisitIdentified { resident } => {
            let resident = resident.map(|r| *r.bytes()).into();
            tx.execute("update visits set resident_id = $2 where stream = $1", &[stream, resident]);
        }
        Reference::VisitCancelled => tx.execute("delete from visits where stream = $1", &[stream]),
    }
}

/// A call as the view keeps it. Words are stored as in answers; times are µs UTC.
#[derive(Debug, Clone)]
pub struct CallRow {
    pub id: CallId,
    pub home: HomeId,
    pub status: Status,
    pub channel: String,
    pub reason: String,
    pub urgency: Option<String>,
    pub resident: ResidentId,
    pub resident_status: String,
    pub counterfactual: Option<String>,
    pub consent: Option<String>,
    pub news2_total: Option<i64>,
    pub news2_partial: Option<i64>,
    /// Closed, and the outcome was to follow.
    pub outcome_to_follow: bool,
    pub version: u64,
    pub opened_at: i64,
    pub answered_at: Option<i64>,
    pub triaged_at: Option<i64>,
    pub joined_at: Option<i64>,
    pub closed_at: Option<i64>,
}

impl CallRow {
    fn opened(opened: &crate::domain::events::Opened, fact: &Fact) -> Self {
        CallRow {
            id: CallId::of_stream(fact.stream()),
            home: opened.home,
            status: Status::Open,
            channel: opened.channel.as_str().to_owned(),
            reason: opened.reason.as_str().to_owned(),
            urgency: None,
            resident: opened.resident.id,
            resident_status: opened.resident.status.as_str().to_owned(),
            counterfactual: None,
            consent: None,
            news2_total: None,
            news2_partial: None,
            outcome_to_follow: false,
            version: fact.version(),
            opened_at: fact.envelope.occurred_at_us,
            answered_at: None,
            triaged_at: None,
            joined_at: None,
            closed_at: None,
        }
    }

    fn take(&mut self, event: &CallEvent, fact: &Fact) {
        let at = Some(fact.envelope.occurred_at_us);
        self.version = fact.version();
        match event {
            CallEvent::Answered => self.answered_at = at,
            CallEvent::ObservationsRecorded(observed) => {
                self.news2_total = observed.score.total.map(i64::from);
                self.news2_partial = observed.score.partial.map(i64::from);
            }
            CallEvent::Triaged(triaged) => {
                self.urgency = Some(triaged.urgency.as_str().to_owned());
                self.reason = triaged.reason.as_str().to_owned();
                if self.status == Status::Open {
                    self.status = Status::Triaged;
                    self.triaged_at = at;
                }
            }
            CallEvent::ClinicianJoined(_) => {
                self.status = Status::WithClinician;
                self.joined_at = self.joined_at.or(at);
            }
            CallEvent::CounterfactualRecorded(said) => self.counterfactual = Some(said.alternative.as_str().to_owned()),
            CallEvent::ConsentRecorded(consent) => self.consent = Some(consent.basis.as_str().to_owned()),
            CallEvent::ResidentIdentified(identified) => {
                self.resident = identified.resident.id;
                self.resident_status = identified.resident.status.as_str().to_owned();
            }
            CallEvent::Closed(closed) => {
                self.status = Status::Closed;
                self.closed_at = at;
                self.outcome_to_follow = matches!(closed.outcome, Outcome::ToFollow(_));
                if let Some(reason) = closed.corrected_reason {
                    self.reason = reason.as_str().to_owned();
                }
            }
            CallEvent::Abandoned { .. } => {
                self.status = Status::Abandoned;
                self.closed_at = at;
            }
            CallEvent::Voided(_) => {
                self.status = Status::Voided;
                self.closed_at = self.closed_at.or(at);
            }
            CallEvent::Opened(_)
            | CallEvent::AttemptedOutsideHours { .. }
            | CallEvent::TaskOpened(_)
            | CallEvent::TaskClosed { .. }
            | CallEvent::PersonalDataDestroyed => {}
        }
    }

    fn write(self) -> Vec<Value> {
        vec![
            (*self.id.bytes()).into(),
            (*self.home.bytes()).into(),
            self.status.as_str().into(),
            self.channel.into(),
            self.reason.into(),
            self.urgency.into(),
            (*self.resident.bytes()).into(),
            self.resident_status.into(),
            self.counterfactual.into(),
            self.consent.into(),
            self.news2_total.into(),
            self.news2_partial.into(),
            self.outcome_to_follow.into(),
            self.version.into(),
            self.opened_at.into(),
            self.answered_at.into(),
            self.triaged_at.into(),
            self.joined_at.into(),
            self.closed_at.into(),
        ]
    }

    fn read(row: &Row) -> Self {
        let text = |i: usize| row.opt_text(i).map(str::to_owned);
        CallRow {
            id: CallId::from_bytes(row.id(0)),
            home: HomeId::from_bytes(row.id(1)),
            status: Status::parse(row.text(2)).expect("only known statuses are stored"),
            channel: row.text(3).to_owned(),
            reason: row.text(4).to_owned(),
            urgency: text(5),
            resident: ResidentId::from_bytes(row.id(6)),
            resident_status: row.text(7).to_owned(),
            counterfactual: text(8),
            consent: text(9),
            news2_total: row.opt_int(10),
            news2_partial: row.opt_int(11),
            outcome_to_follow: row.flag(12),
            version: row.int(13).unsigned_abs(),
            opened_at: row.int(14),
            answered_at: row.opt_int(15),
            triaged_at: row.opt_int(16),
            joined_at: row.opt_int(17),
            closed_at: row.opt_int(18),
        }
    }
}

/// The most calls that a list shows.
pub const LISTED_CALLS_MAX: u32 = 500;

/// Calls that go on, the longest waiting first; or all, the newest first. `home`: only that home's.
pub async fn list(store: &dyn Store, open: bool, home: Option<HomeId>) -> Result<Vec<CallRow>, StoreError> {
    let mut sql = format!("select {} from calls where 1 = 1", CALLS.columns.join(","));
    let mut args: Vec<Value> = vec![LISTED_CALLS_MAX.into()];
    if open {
        sql.push_str(" and status in ('open', 'triaged', 'with_clinician')");
    }
    if let Some(home) = home {
        sql.push_str(" and home_id = $2");
        args.push((*home.bytes()).into());
    }
    sql.push_str(if open { " order by opened_at, id limit $1" } else { " order by opened_at desc, id limit $1" });
    let rows = store.query(&sql, &args).await?;
    Ok(rows.iter().map(CallRow::read).collect())
}

pub async fn call(store: &dyn Store, id: CallId) -> Result<Option<CallRow>, StoreError> {
    let sql = format!("select {} from calls where id = $1", CALLS.columns.join(","));
    let rows = store.query(&sql, &[(*id.bytes()).into()]).await?;
    Ok(rows.first().map(CallRow::read))
}

pub async fn home(store: &dyn Store, id: HomeId) -> Result<Option<Home>, StoreError> {
    let rows = store.query("select live_from from homes where id = $1", &[(*id.bytes()).into()]).await?;
    Ok(rows.first().map(|row| Home { id, live_from: row.opt_int(0) }))
}

/// A consultation or prescription of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    pub named: StreamVersion,
    pub kind: String,
    /// What became of a prescription.
    pub state: Option<String>,
}

pub async fn related(store: &dyn Store, call: CallId) -> Result<Vec<Related>, StoreError> {
    let sql = "select stream, version, kind, state from related where call_id = $1 order by kind, stream";
    let rows = store.query(sql, &[(*call.bytes()).into()]).await?;
    let related = rows.iter().map(|row| Related {
        named: StreamVersion { stream: row.stream(0), version: row.int(1).unsigned_abs() },
        kind: row.text(2).to_owned(),
        state: row.opt_text(3).map(str::to_owned),
    });
    Ok(related.collect())
}

/// The stream as this service has it, once it is here in the version named or a later one.
pub async fn seen(store: &dyn Store, named: StreamVersion, kind: &str) -> Result<Option<Seen>, StoreError> {
    let sql = "select call_id from related where stream = $1 and kind = $2 and version >= $3";
    let rows = store.query(sql, &[named.stream.into(), kind.into(), named.version.into()]).await?;
    Ok(rows.first().map(|row| Seen { stream: named.stream, call: CallId::from_bytes(row.id(0)) }))
}

/// Whether an outcome of the call is here.
pub async fn has_outcome(store: &dyn Store, call: CallId) -> Result<bool, StoreError> {
    let sql = "select 1 from related where call_id = $1 and kind = 'consultation' limit 1";
    Ok(!store.query(sql, &[(*call.bytes()).into()]).await?.is_empty())
}

/// Hospital visits of a resident under any of the ids given, with their times of admission (µs UTC), the newest first.
pub async fn visits(store: &dyn Store, names: &[[u8; 16]]) -> Result<Vec<(StreamId, i64)>, StoreError> {
    let mut found = Vec::new();
    for name in names {
        let rows = store.query("select stream, admitted_at from visits where resident_id = $1", &[(*name).into()]).await?;
        found.extend(rows.iter().map(|row| (row.stream(0), row.int(1))));
    }
    found.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
    Ok(found)
}
