//! What the directory remembers to answer from: homes as listed, open tasks, and which call named which provisional resident. In
//! clear there are ids, codes and times; what a caller said stays the sealed bytes it came as.

use crate::domain::events::Event;
use crate::wire::{self, CallFact};
use async_trait::async_trait;
use hearthline_contracts::topics;
use hearthline_eventing::{Fact, Table, Tx, Value, View, ViewError};

const HOMES: Table = Table {
    name: "homes",
    columns: &["id", "ods_code", "name", "town", "postcode", "beds", "home_type", "latitude", "longitude", "live_from", "email_verified_on", "practice_ods"],
    key: 1,
    ddl: "create table if not exists homes (
  id blob primary key,
  ods_code text not null,
  name text not null,
  town text not null,
  postcode text not null,
  beds integer not null,
  home_type text not null,
  latitude integer,
  longitude integer,
  live_from integer,
  email_verified_on text,
  practice_ods text
)",
};

const TASKS: Table = Table {
    name: "tasks",
    columns: &["id", "stream", "kind", "due_at", "subject"],
    key: 1,
    ddl: "create table if not exists tasks (
  id blob primary key,
  stream blob not null,
  kind text not null,
  due_at integer not null,
  subject blob
)",
};

const CALLS: Table = Table {
    name: "calls",
    columns: &["id", "home", "provisional", "said"],
    key: 1,
    ddl: "create table if not exists calls (
  id blob primary key,
  home blob not null,
  provisional blob,
  said blob
)",
};

/// The directory's own view.
pub struct Listing;

#[async_trait]
impl View for Listing {
    fn tables(&self) -> &'static [Table] {
        &[HOMES, TASKS, CALLS]
    }

    async fn apply(&self, tx: &mut Tx<'_>, facts: &[Fact]) -> Result<(), ViewError> {
        for fact in facts {
            if fact.topic == topics::DIRECTORY.name {
                if let Some(event) = wire::decode(fact, None).map_err(|_| ViewError::Unreadable("a directory event"))? {
                    own(tx, fact, &event);
                }
            } else if fact.topic == topics::CALL.name
                && let Some(call) = wire::call_fact(fact).map_err(|_| ViewError::Unreadable("a call event"))?
            {
                of_call(tx, fact, &call);
            }
        }
        Ok(())
    }
}

fn own(tx: &mut Tx<'_>, fact: &Fact, event: &Event) {
    let stream: Value = fact.stream().into();
    match event {
        Event::HomeRegistered(d) => tx.execute(
            "insert into homes (id, ods_code, name, town, postcode, beds, home_type, latitude, longitude) values ($1,$2,$3,$4,$5,$6,$7,$8,$9) \
             on conflict (id) do update set ods_code = excluded.ods_code, name = excluded.name, town = excluded.town, postcode = excluded.postcode, \
             beds = excluded.beds, home_type = excluded.home_type, latitude = excluded.latitude, longitude = excluded.longitude",
            &[
                stream,
                d.ods.as_str().into(),
                d.name.as_str().into(),
                d.address.last().map_or("", String::as_str).into(),
                d.postcode.as_str().into(),
                d.beds.into(),
                crate::registers::home_type_word(d.home_type).into(),
                d.position.map(|p| p.latitude()).into(),
                d.position.map(|p| p.longitude()).into(),
            ],
        ),
        Event::HomeWentLive { live_from_us } => tx.execute("update homes set live_from = $2 where id = $1", &[stream, (*live_from_us).into()]),
        Event::SecureEmailVerified(email) => {
            tx.execute("update homes set email_verified_on = $2 where id = $1", &[stream, email.verified_on.to_string().into()])
        }
        Event::GpAligned { alignment, .. } => tx.execute("update homes set practice_ods = $2 where id = $1", &[stream, alignment.ods.as_str().into()]),
        Event::TaskOpened { id, kind, due_at_us, subject } => tx.insert_new(
            "tasks",
            &["id", "stream", "kind", "due_at", "subject"],
            vec![(*id.bytes()).into(), stream, kind.as_str().into(), (*due_at_us).into(), subject.map(|s| *s.bytes()).into()],
        ),
        Event::TaskClosed { id, .. } => tx.execute("delete from tasks where id = $1", &[(*id.bytes()).into()]),
        Event::PracticeListed(_)
        | Event::PharmacyListed(_)
        | Event::ResidentRegistered { .. }
        | Event::ResidentMovedIn { .. }
        | Event::ResidentMovedOut { .. }
        | Event::ResidentDied { .. }
        | Event::ResidentsMerged { .. }
        | Event::MergeReversed { .. }
        | Event::MergeProposed { .. }
        | Event::MergeDeclined { .. }
        | Event::PersonalDataDestroyed => {}
    }
}

fn of_call(tx: &mut Tx<'_>, fact: &Fact, call: &CallFact) {
    let stream: Value = fact.stream().into();
    // Only a fact with a sealed part can have said anything.
    let said = || -> Value { fact.sealed.as_ref().map(|_| fact.payload.clone()).into() };
    match call {
        CallFact::Opened { home, resident } => tx.insert_new(
            "calls",
            &["id", "home", "provisional", "said"],
            vec![
                stream,
                (*home.bytes()).into(),
                resident.provisional.then_some(*resident.id.bytes()).into(),
                if resident.provisional { said() } else { Value::Null },
            ],
        ),
        CallFact::Identified { resident, .. } if resident.provisional => {
            tx.execute("update calls set provisional = $2, said = coalesce($3, said) where id = $1", &[stream, (*resident.id.bytes()).into(), said()])
        }
        // It is known who it is: what was said is needed no longer.
        CallFact::Identified { .. } => tx.execute("update calls set provisional = null, said = null where id = $1", &[stream]),
    }
}
