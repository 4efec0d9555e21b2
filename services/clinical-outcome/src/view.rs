//! What clinical outcome keeps to read: its consultations, and the calls they are about. Nothing here is personal.

use crate::domain::events::ResidentRef;
use crate::domain::words::*;
use crate::domain::{CallReference, OutcomeEvent};
use crate::wire::{self, CallChange, Unreadable};
use async_trait::async_trait;
use hearthline_contracts::topics;
use hearthline_eventing::{Fact, Row, Store, StoreError, Table, Tx, Value, View, ViewError};
use hearthline_nhs::words::Word;
use hearthline_nhs::{CallId, ConsultationId, HomeId, ResidentId, StreamId};
use std::collections::BTreeMap;

const CALLS: Table = Table {
    name: "calls",
    columns: &["id", "version", "home_id", "status", "joined", "counterfactual", "consent", "resident_id", "resident_status", "opened_at"],
    key: 1,
    ddl: "create table if not exists calls (
  id blob primary key,
  version integer not null,
  home_id blob not null,
  status text not null,
  joined integer not null,
  counterfactual text,
  consent text,
  resident_id blob not null,
  resident_status text not null,
  opened_at integer not null
);",
};

const CONSULTATIONS: Table = Table {
    name: "consultations",
    columns: &["id", "call_id"],
    key: 1,
    ddl: "create table if not exists consultations (
  id blob primary key,
  call_id blob not null
);
create index if not exists consultations_call on consultations (call_id);",
};

/// The view of clinical outcome.
pub struct Consultations;

#[async_trait]
impl View for Consultations {
    fn tables(&self) -> &'static [Table] {
        &[CALLS, CONSULTATIONS]
    }

    async fn apply(&self, tx: &mut Tx<'_>, facts: &[Fact]) -> Result<(), ViewError> {
        let mut opened = Vec::new();
        for fact in facts.iter().filter(|fact| fact.topic == topics::OUTCOME.name && fact.version() == 1) {
            if let Some(OutcomeEvent::Decided(decided)) = wire::inward(fact, None)? {
                opened.push(vec![fact.stream().into(), (*decided.call.bytes()).into()]);
            }
        }
        tx.upsert(&CONSULTATIONS, opened);
        let calls: Vec<&Fact> = facts.iter().filter(|fact| fact.topic == topics::CALL.name).collect();
        fold(tx, &calls).await
    }
}

impl From<Unreadable> for ViewError {
    fn from(unreadable: Unreadable) -> Self {
        ViewError::Unreadable(unreadable.0)
    }
}

/// Folds a batch of call facts: rows of calls that the batch did not open are read once, all rows are written once.
async fn fold(tx: &mut Tx<'_>, facts: &[&Fact]) -> Result<(), ViewError> {
    let mut rows: BTreeMap<StreamId, CallReference> = BTreeMap::new();
    let known: Vec<Value> = facts.iter().filter(|fact| fact.version() > 1).map(|fact| fact.stream().into()).collect();
    if !known.is_empty() {
        for row in tx.fetch_by_keys(&CALLS, &known).await? {
            rows.insert(row.stream(0), read(&row));
        }
    }
    for fact in facts {
        let change = wire::call_change(fact)?;
        if let CallChange::Opened { home, resident } = change {
            rows.insert(fact.stream(), opened(fact, home, resident));
        } else if let Some(row) = rows.get_mut(&fact.stream()) {
            take(row, change, fact.version());
        }
    }
    tx.upsert(&CALLS, rows.into_values().map(write).collect());
    Ok(())
}

fn opened(fact: &Fact, home: HomeId, resident: ResidentRef) -> CallReference {
    CallReference {
        id: CallId::of_stream(fact.stream()),
        version: fact.version(),
        home,
        status: CallStatus::Open,
        joined: false,
        counterfactual: None,
        consent: None,
        resident,
        opened_at: fact.envelope.occurred_at_us,
    }
}

fn take(row: &mut CallReference, change: CallChange, version: u64) {
    row.version = version;
    match change {
        CallChange::Triaged if row.status == CallStatus::Open => row.status = CallStatus::Triaged,
        CallChange::ClinicianJoined => {
            row.status = CallStatus::WithClinician;
            row.joined = true;
        }
        CallChange::Counterfactual(alternative) => row.counterfactual = Some(alternative),
        CallChange::Consent(basis) => row.consent = Some(basis),
        CallChange::Identified { resident, .. } => row.resident = resident,
        CallChange::Closed => row.status = CallStatus::Closed,
        CallChange::Abandoned => row.status = CallStatus::Abandoned,
        CallChange::Voided => row.status = CallStatus::Voided,
        CallChange::Opened { .. } | CallChange::Triaged | CallChange::MovedOn => {}
    }
}

fn write(row: CallReference) -> Vec<Value> {
    vec![
        (*row.id.bytes()).into(),
        row.version.into(),
        (*row.home.bytes()).into(),
        row.status.as_str().into(),
        row.joined.into(),
        row.counterfactual.map(Word::as_str).into(),
        row.consent.map(Word::as_str).into(),
        (*row.resident.id.bytes()).into(),
        row.resident.status.as_str().into(),
        row.opened_at.into(),
    ]
}

fn read(row: &Row) -> CallReference {
    const STORED: &str = "only known words are stored";
    CallReference {
        id: CallId::from_bytes(row.id(0)),
        version: row.int(1).unsigned_abs(),
        home: HomeId::from_bytes(row.id(2)),
        status: Word::parse(row.text(3)).expect(STORED),
        joined: row.flag(4),
        counterfactual: row.opt_text(5).map(|word| Word::parse(word).expect(STORED)),
        consent: row.opt_text(6).map(|word| Word::parse(word).expect(STORED)),
        resident: ResidentRef { id: ResidentId::from_bytes(row.id(7)), status: Word::parse(row.text(8)).expect(STORED) },
        opened_at: row.int(9),
    }
}

/// The call as far as it has been heard of here.
pub async fn call(store: &dyn Store, id: CallId) -> Result<Option<CallReference>, StoreError> {
    let sql = format!("select {} from calls where id = $1", CALLS.columns.join(","));
    let rows = store.query(&sql, &[(*id.bytes()).into()]).await?;
    Ok(rows.first().map(read))
}

/// The consultation of a call.
pub async fn of_call(store: &dyn Store, call: CallId) -> Result<Option<ConsultationId>, StoreError> {
    let rows = store.query("select id from consultations where call_id = $1", &[(*call.bytes()).into()]).await?;
    Ok(rows.first().map(|row| ConsultationId::from_bytes(row.id(0))))
}
