//! What prescribing remembers of calls, homes, pharmacies and residents, and its open tasks. Clear facts only; what is personal
//! stays sealed, as the bytes received.

use async_trait::async_trait;
use hearthline_contracts::call::CallEvent;
use hearthline_contracts::call::call_event::Fact as Call;
use hearthline_contracts::directory::directory_event::Fact as Directory;
use hearthline_contracts::directory::{DirectoryEvent, IdentifierKind, OpeningInterval};
use hearthline_contracts::envelope::ActorRole;
use hearthline_contracts::prescribing::PrescribingEvent;
use hearthline_contracts::prescribing::prescribing_event::Fact as Prescribing;
use hearthline_contracts::topics;
use hearthline_contracts::types::{IdentityStatus, ResidentRef};
use hearthline_eventing::{Fact, Table, Tx, Value, View, ViewError};
use prost::Message;

const CALLS: Table = Table {
    name: "calls",
    columns: &["id", "version", "home", "resident", "is_provisional", "opened_at", "is_voided"],
    key: 1,
    ddl: "create table if not exists calls (
  id blob primary key,
  version bigint not null,
  home blob not null,
  resident blob not null,
  is_provisional integer not null,
  opened_at bigint not null,
  is_voided integer not null
);",
};

const HOMES: Table = Table {
    name: "homes",
    columns: &["id", "latitude", "longitude"],
    key: 1,
    ddl: "create table if not exists homes (
  id blob primary key,
  latitude integer,
  longitude integer
);",
};

const PHARMACIES: Table = Table {
    name: "pharmacies",
    columns: &["id", "ods", "name", "postcode", "latitude", "longitude", "opening", "listed_from"],
    key: 1,
    ddl: "create table if not exists pharmacies (
  id blob primary key,
  ods text not null,
  name text not null,
  postcode text not null,
  latitude integer,
  longitude integer,
  opening text not null,
  listed_from text not null
);",
};

/// Sealed demographics: the newest event that holds them all, and the newest that holds the NHS number.
const DEMOGRAPHICS: Table = Table {
    name: "demographics",
    columns: &["resident", "details", "details_version", "number", "number_version", "practice_ods"],
    key: 1,
    ddl: "create table if not exists demographics (
  resident blob primary key,
  details blob not null,
  details_version bigint not null,
  number blob,
  number_version bigint not null,
  practice_ods text not null
);",
};

const TASKS: Table = Table {
    name: "tasks",
    columns: &["task", "stream", "kind", "role", "due_at", "overdue", "subject", "opened_at"],
    key: 1,
    ddl: "create table if not exists tasks (
  task blob primary key,
  stream blob not null,
  kind text not null,
  role text not null,
  due_at bigint not null,
  overdue integer not null,
  subject blob not null,
  opened_at bigint not null
);",
};

/// The reference rows and the open tasks.
pub struct Reference;

#[async_trait]
impl View for Reference {
    fn tables(&self) -> &'static [Table] {
        &[CALLS, HOMES, PHARMACIES, DEMOGRAPHICS, TASKS]
    }

    async fn apply(&self, tx: &mut Tx<'_>, facts: &[Fact]) -> Result<(), ViewError> {
        for fact in facts {
            match fact.topic {
                t if t == topics::CALL.name => call(tx, fact)?,
                t if t == topics::DIRECTORY.name => directory(tx, fact)?,
                t if t == topics::PRESCRIBING.name => own(tx, fact)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn call(tx: &mut Tx<'_>, fact: &Fact) -> Result<(), ViewError> {
    let event = CallEvent::decode(fact.payload.clone()).map_err(|_| ViewError::Unreadable("a call event"))?;
    let stream: Value = fact.stream().into();
    let version: Value = fact.version().into();
    match event.fact {
        Some(Call::CallOpened(opened)) => {
            let (resident, is_provisional) = resident(opened.resident.as_ref())?;
            tx.upsert(
                &CALLS,
                vec![vec![stream, version, opened.home_id.into(), resident.into(), is_provisional.into(), fact.envelope.occurred_at_us.into(), false.into()]],
            );
        }
        Some(Call::ResidentIdentified(identified)) => {
            let (resident, is_provisional) = resident(identified.resident.as_ref())?;
            tx.execute(
                "update calls set version = $2, resident = $3, is_provisional = $4 where id = $1",
                &[stream, version, resident.into(), is_provisional.into()],
            );
        }
        Some(Call::CallVoided(_)) => tx.execute("update calls set version = $2, is_voided = 1 where id = $1", &[stream, version]),
        _ => tx.execute("update calls set version = $2 where id = $1", &[stream, version]),
    }
    Ok(())
}

fn resident(reference: Option<&ResidentRef>) -> Result<([u8; 16], bool), ViewError> {
    let reference = reference.ok_or(ViewError::Unreadable("a call without a resident"))?;
    let id = reference.resident_id.as_ref().try_into().map_err(|_| ViewError::Unreadable("a resident's id"))?;
    Ok((id, reference.status() == IdentityStatus::Provisional))
}

fn directory(tx: &mut Tx<'_>, fact: &Fact) -> Result<(), ViewError> {
    let event = DirectoryEvent::decode(fact.payload.clone()).map_err(|_| ViewError::Unreadable("a directory event"))?;
    let stream: Value = fact.stream().into();
    let version: Value = fact.version().into();
    let payload: Value = fact.payload.clone().into();
    match event.fact {
        Some(Directory::HomeRegistered(home)) => tx.upsert(&HOMES, vec![vec![stream, home.latitude_microdegrees.into(), home.longitude_microdegrees.into()]]),
        Some(Directory::PharmacyListed(p)) => tx.upsert(
            &PHARMACIES,
            vec![vec![
                stream,
                p.ods_code.into(),
                p.name.into(),
                p.postcode.into(),
                p.latitude_microdegrees.into(),
                p.longitude_microdegrees.into(),
                opening_text(&p.opening).into(),
                p.listed_from.into(),
            ]],
        ),
        Some(Directory::ResidentRegistered(r)) => {
            tx.upsert(&DEMOGRAPHICS, vec![vec![stream, payload, version, Value::Null, 0i64.into(), r.practice_ods.into()]])
        }
        Some(Directory::IdentifierAdded(added)) if added.kind() == IdentifierKind::NhsNumber => {
            tx.execute("update demographics set number = $2, number_version = $3 where resident = $1", &[stream, payload, version]);
        }
        Some(Directory::IdentifierCorrected(corrected)) => {
            if corrected.kind() == IdentifierKind::NhsNumber {
                tx.execute("update demographics set number = $2, number_version = $3 where resident = $1", &[stream.clone(), payload.clone(), version.clone()]);
            }
            if corrected.demographics_corrected {
                tx.execute("update demographics set details = $2, details_version = $3 where resident = $1", &[stream, payload, version]);
            }
        }
        _ => {}
    }
    Ok(())
}

fn own(tx: &mut Tx<'_>, fact: &Fact) -> Result<(), ViewError> {
    let event = PrescribingEvent::decode(fact.payload.clone()).map_err(|_| ViewError::Unreadable("a prescribing event"))?;
    match event.fact {
        Some(Prescribing::TaskOpened(task)) => tx.upsert(
            &TASKS,
            vec![vec![
                task.task_id.clone().into(),
                fact.stream().into(),
                task.kind.clone().into(),
                role_word(task.role()).into(),
                task.due_at_us.into(),
                task.overdue.into(),
                task.subject_id.clone().into(),
                fact.envelope.recorded_at_us.into(),
            ]],
        ),
        Some(Prescribing::TaskClosed(task)) => tx.delete_by_key(&TASKS, task.task_id.into()),
        _ => {}
    }
    Ok(())
}

/// `prescriber` for `ACTOR_ROLE_PRESCRIBER`.
fn role_word(role: ActorRole) -> String {
    role.as_str_name().trim_start_matches("ACTOR_ROLE_").to_ascii_lowercase()
}

fn opening_text(intervals: &[OpeningInterval]) -> String {
    intervals.iter().map(|i| format!("{}:{}-{}", i.weekday, i.opens_minute, i.closes_minute)).collect::<Vec<_>>().join(";")
}
