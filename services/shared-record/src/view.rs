//! What sharing remembers of calls, consultations, prescriptions, homes and residents, and its open tasks. Clear facts only; what is
//! personal stays sealed, as the bytes received.

use crate::domain::Source;
use crate::wire;
use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hearthline_contracts::call::call_event::Fact as Call;
use hearthline_contracts::call::{CallClosed, CallEvent, ConsentBasis};
use hearthline_contracts::directory::directory_event::Fact as Directory;
use hearthline_contracts::directory::{DirectoryEvent, IdentifierKind};
use hearthline_contracts::envelope::ActorRole;
use hearthline_contracts::outcome::OutcomeEvent;
use hearthline_contracts::outcome::outcome_event::Fact as Outcome;
use hearthline_contracts::prescribing::PrescribingEvent;
use hearthline_contracts::prescribing::prescribing_event::Fact as Prescribing;
use hearthline_contracts::shared_record::SharedRecordEvent;
use hearthline_contracts::shared_record::shared_record_event::Fact as Own;
use hearthline_contracts::topics;
use hearthline_contracts::types::{IdentityStatus, ResidentRef};
use hearthline_eventing::{Fact, Table, Tx, Value, View, ViewError};
use hearthline_nhs::StreamId;
use prost::Message;

const CALLS: Table = Table {
    name: "calls",
    columns: &[
        "id",
        "version",
        "home",
        "resident",
        "is_provisional",
        "described",
        "opened_at",
        "consent_refused",
        "is_voided",
        "closed_at",
        "consultation",
        "prescriptions",
    ],
    key: 1,
    ddl: "create table if not exists calls (
  id blob primary key,
  version bigint not null,
  home blob not null,
  resident blob not null,
  is_provisional integer not null,
  described blob not null,
  opened_at bigint not null,
  consent_refused integer not null,
  is_voided integer not null,
  closed_at bigint,
  consultation blob,
  prescriptions blob
);
create index if not exists calls_resident on calls (resident);",
};

const CONSULTATIONS: Table = Table {
    name: "consultations",
    columns: &["stream", "call", "version", "content_version", "disposition", "is_withdrawn", "decided", "plan", "author"],
    key: 1,
    ddl: "create table if not exists consultations (
  stream blob primary key,
  call blob not null,
  version bigint not null,
  content_version bigint not null,
  disposition integer not null,
  is_withdrawn integer not null,
  decided blob,
  plan blob,
  author blob not null
);
create index if not exists consultations_call on consultations (call);",
};

const PRESCRIPTIONS: Table = Table {
    name: "prescriptions",
    columns: &["stream", "call", "version", "drafted", "is_accepted", "pharmacy"],
    key: 1,
    ddl: "create table if not exists prescriptions (
  stream blob primary key,
  call blob not null,
  version bigint not null,
  drafted blob not null,
  is_accepted integer not null,
  pharmacy blob
);
create index if not exists prescriptions_call on prescriptions (call);",
};

const HOMES: Table = Table {
    name: "homes",
    columns: &["id", "ods", "name", "email", "email_verified_on"],
    key: 1,
    ddl: "create table if not exists homes (
  id blob primary key,
  ods text not null,
  name text not null,
  email text not null,
  email_verified_on text not null
);",
};

const PHARMACIES: Table = Table {
    name: "pharmacies",
    columns: &["id", "name"],
    key: 1,
    ddl: "create table if not exists pharmacies (
  id blob primary key,
  name text not null
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
    columns: &["task", "stream", "kind", "role", "due_at", "overdue", "subject", "opened_at", "call"],
    key: 1,
    ddl: "create table if not exists tasks (
  task blob primary key,
  stream blob not null,
  kind text not null,
  role text not null,
  due_at bigint not null,
  overdue integer not null,
  subject blob not null,
  opened_at bigint not null,
  call blob not null
);",
};

/// The reference rows and the open tasks.
pub struct Reference;

#[async_trait]
impl View for Reference {
    fn tables(&self) -> &'static [Table] {
        &[CALLS, CONSULTATIONS, PRESCRIPTIONS, HOMES, PHARMACIES, DEMOGRAPHICS, TASKS]
    }

    async fn apply(&self, tx: &mut Tx<'_>, facts: &[Fact]) -> Result<(), ViewError> {
        for fact in facts {
            match fact.topic {
                t if t == topics::CALL.name => call(tx, fact)?,
                t if t == topics::OUTCOME.name => outcome(tx, fact)?,
                t if t == topics::PRESCRIBING.name => prescribing(tx, fact)?,
                t if t == topics::DIRECTORY.name => directory(tx, fact)?,
                t if t == topics::SHARED_RECORD.name => own(tx, fact)?,
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
    let set = |tx: &mut Tx<'_>, sets: &str, args: Vec<Value>| {
        let all: Vec<Value> = [stream.clone(), version.clone()].into_iter().chain(args).collect();
        tx.execute(format!("update calls set version = $2{sets} where id = $1"), &all);
    };
    match event.fact {
        Some(Call::CallOpened(opened)) => {
            let (resident, is_provisional) = resident(opened.resident.as_ref())?;
            tx.upsert(
                &CALLS,
                vec![vec![
                    stream,
                    version,
                    opened.home_id.into(),
                    resident.into(),
                    is_provisional.into(),
                    fact.payload.clone().into(),
                    fact.envelope.occurred_at_us.into(),
                    false.into(),
                    false.into(),
                    Value::Null,
                    Value::Null,
                    Value::Null,
                ]],
            );
        }
        Some(Call::ResidentIdentified(identified)) => {
            let (resident, is_provisional) = resident(identified.resident.as_ref())?;
            set(tx, ", resident = $3, is_provisional = $4, described = $5", vec![resident.into(), is_provisional.into(), fact.payload.clone().into()]);
        }
        Some(Call::ConsentRecorded(consent)) => set(tx, ", consent_refused = $3", vec![(consent.basis() == ConsentBasis::Refused).into()]),
        Some(Call::CallVoided(_)) => set(tx, ", is_voided = 1", Vec::new()),
        Some(Call::CallClosed(closed)) => {
            let (consultation, prescriptions) = named(&closed)?;
            set(
                tx,
                ", closed_at = $3, consultation = $4, prescriptions = $5",
                vec![fact.envelope.occurred_at_us.into(), consultation.map(|c| sources_out(&[c])).into(), sources_out(&prescriptions).into()],
            );
        }
        _ => set(tx, "", Vec::new()),
    }
    Ok(())
}

fn named(closed: &CallClosed) -> Result<(Option<Source>, Vec<Source>), ViewError> {
    let unreadable = |_| ViewError::Unreadable("a closing that names a stream badly");
    let consultation = closed.consultation.as_ref().filter(|_| !closed.outcome_to_follow).map(wire::source_in).transpose().map_err(unreadable)?;
    let prescriptions = closed.prescriptions.iter().map(wire::source_in).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    Ok((consultation, prescriptions))
}

/// Streams and versions, 24 bytes each.
fn sources_out(sources: &[Source]) -> Bytes {
    let mut out = BytesMut::with_capacity(sources.len() * 24);
    for source in sources {
        out.put_slice(source.stream.bytes());
        out.put_u64(source.version);
    }
    out.freeze()
}

/// Streams and versions out of their bytes.
pub fn sources_in(mut bytes: Bytes) -> Vec<Source> {
    let mut sources = Vec::new();
    while bytes.len() >= 24 {
        let mut id = [0; 16];
        bytes.copy_to_slice(&mut id);
        sources.push(Source { stream: StreamId::from_bytes(id), version: bytes.get_u64() });
    }
    sources
}

fn resident(reference: Option<&ResidentRef>) -> Result<([u8; 16], bool), ViewError> {
    let reference = reference.ok_or(ViewError::Unreadable("a call without a resident"))?;
    let id = reference.resident_id.as_ref().try_into().map_err(|_| ViewError::Unreadable("a resident's id"))?;
    Ok((id, reference.status() == IdentityStatus::Provisional))
}

fn outcome(tx: &mut Tx<'_>, fact: &Fact) -> Result<(), ViewError> {
    let event = OutcomeEvent::decode(fact.payload.clone()).map_err(|_| ViewError::Unreadable("an outcome event"))?;
    let stream: Value = fact.stream().into();
    let version: Value = fact.version().into();
    let payload: Value = fact.payload.clone().into();
    let author: Value = fact.envelope.actor.as_ref().map(|a| a.pseudonym.clone()).unwrap_or_default().into();
    let first = |tx: &mut Tx<'_>, call: Bytes| {
        tx.execute(
            "insert into consultations (stream, call, version, content_version, disposition, is_withdrawn, author) values ($1, $2, 0, 0, 0, 0, $3) on conflict (stream) do nothing",
            &[stream.clone(), call.into(), author.clone()],
        );
    };
    match event.fact {
        Some(Outcome::OutcomeDecided(decided)) => {
            first(tx, decided.call_id);
            tx.execute(
                "update consultations set version = $2, content_version = $2, disposition = $3, is_withdrawn = 0, decided = $4, author = $5 where stream = $1",
                &[stream, version, decided.disposition.into(), payload, author],
            );
        }
        Some(Outcome::OutcomeAmended(amended)) => {
            first(tx, amended.call_id);
            tx.execute(
                "update consultations set version = $2, content_version = $2, disposition = $3, is_withdrawn = $4, decided = $5, author = $6 where stream = $1",
                &[stream, version, amended.disposition.into(), amended.withdrawn.into(), payload, author],
            );
        }
        Some(Outcome::TreatmentPlanAgreed(plan)) => {
            first(tx, plan.call_id);
            tx.execute("update consultations set version = $2, content_version = $2, plan = $3 where stream = $1", &[stream, version, payload]);
        }
        Some(Outcome::AvoidanceClaimed(claimed)) => {
            first(tx, claimed.call_id);
            tx.execute("update consultations set version = $2 where stream = $1", &[stream, version]);
        }
        _ => tx.execute("update consultations set version = $2 where stream = $1", &[stream, version]),
    }
    Ok(())
}

fn prescribing(tx: &mut Tx<'_>, fact: &Fact) -> Result<(), ViewError> {
    let event = PrescribingEvent::decode(fact.payload.clone()).map_err(|_| ViewError::Unreadable("a prescribing event"))?;
    let stream: Value = fact.stream().into();
    let version: Value = fact.version().into();
    match event.fact {
        Some(Prescribing::PrescriptionDrafted(drafted)) => {
            tx.upsert(&PRESCRIPTIONS, vec![vec![stream, drafted.call_id.into(), version, fact.payload.clone().into(), false.into(), Value::Null]]);
        }
        Some(Prescribing::PharmacyChosen(chosen)) => {
            tx.execute("update prescriptions set version = $2, pharmacy = $3 where stream = $1", &[stream, version, chosen.pharmacy_id.into()]);
        }
        Some(Prescribing::PrescriptionAccepted(_)) => {
            tx.execute("update prescriptions set version = $2, is_accepted = 1 where stream = $1", &[stream, version])
        }
        _ => tx.execute("update prescriptions set version = $2 where stream = $1", &[stream, version]),
    }
    Ok(())
}

fn directory(tx: &mut Tx<'_>, fact: &Fact) -> Result<(), ViewError> {
    let event = DirectoryEvent::decode(fact.payload.clone()).map_err(|_| ViewError::Unreadable("a directory event"))?;
    let stream: Value = fact.stream().into();
    let version: Value = fact.version().into();
    let payload: Value = fact.payload.clone().into();
    match event.fact {
        Some(Directory::HomeRegistered(home)) => tx.execute(
            "insert into homes (id, ods, name, email, email_verified_on) values ($1, $2, $3, '', '') on conflict (id) do update set ods = excluded.ods, name = excluded.name",
            &[stream, home.ods_code.into(), home.name.into()],
        ),
        Some(Directory::SecureEmailVerified(verified)) => {
            tx.execute("update homes set email = $2, email_verified_on = $3 where id = $1", &[stream, verified.email.into(), verified.verified_on.into()]);
        }
        Some(Directory::PharmacyListed(pharmacy)) => tx.upsert(&PHARMACIES, vec![vec![stream, pharmacy.name.into()]]),
        Some(Directory::ResidentRegistered(r)) => tx.upsert(&DEMOGRAPHICS, vec![vec![stream, payload, version, Value::Null, 0i64.into(), r.practice_ods.into()]]),
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
    let event = SharedRecordEvent::decode(fact.payload.clone()).map_err(|_| ViewError::Unreadable("a shared-record event"))?;
    match event.fact {
        Some(Own::TaskOpened(task)) => tx.upsert(
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
                fact.envelope.correlation_id.clone().into(),
            ]],
        ),
        Some(Own::TaskClosed(task)) => tx.delete_by_key(&TASKS, task.task_id.into()),
        _ => {}
    }
    Ok(())
}

/// `operator` for `ACTOR_ROLE_OPERATOR`.
fn role_word(role: ActorRole) -> String {
    role.as_str_name().trim_start_matches("ACTOR_ROLE_").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_streams_survive_their_row() {
        let sources = vec![Source { stream: StreamId::from_bytes([1; 16]), version: 4 }, Source { stream: StreamId::from_bytes([2; 16]), version: u64::MAX }];
        assert_eq!(sources_in(sources_out(&sources)), sources);
    }
}
