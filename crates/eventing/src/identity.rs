//! Who is who, by pseudonymous id: what every service keeps of the directory's residents and alias edges.
//!
//! No service rewrites events when two ids turn out to be one person: edges are kept, and ids are resolved on reading.
//! Nothing here is personal; identity status travels in clear.

use crate::event::Fact;
use crate::ports::{Store, StoreError, query_among};
use crate::tx::{Table, Tx};
use crate::value::{Row, Value};
use crate::view::{View, ViewError};
use async_trait::async_trait;
use hearthline_contracts::directory::DirectoryEvent;
use hearthline_contracts::directory::directory_event::Fact as Directory;
use hearthline_contracts::topics;
use prost::Message;
use std::collections::{HashMap, HashSet};

const IDENTITIES: Table = Table {
    name: "identities",
    columns: &["id", "registered", "home", "died_at"],
    key: 1,
    ddl: "create table if not exists identities (
  id blob primary key,
  registered integer not null,
  home blob,
  died_at integer
);
create table if not exists alias_edges (
  from_id blob not null,
  into_id blob not null,
  recorded_at integer not null,
  primary key (from_id, into_id)
);
create index if not exists alias_edges_into on alias_edges (into_id);
create table if not exists merges_pending (
  from_id blob not null,
  into_id blob not null,
  primary key (from_id, into_id)
);",
};

const MERGES_PENDING: Table = Table { name: "merges_pending", columns: &["from_id", "into_id"], key: 2, ddl: "" };

/// One row an edge, from the survivor's stream alone: the order in which two survivors' streams arrive changes nothing.
const ALIAS_EDGES: Table = Table { name: "alias_edges", columns: &["from_id", "into_id", "recorded_at"], key: 2, ddl: "" };

/// Where a resident lives since a day (YYYY-MM-DD, local), each until the next; empty where no day is known, which goes before all.
const PLACEMENTS: Table = Table {
    name: "placements",
    columns: &["id", "since", "home"],
    key: 2,
    ddl: "create table if not exists placements (
  id blob not null,
  since text not null,
  home blob,
  primary key (id, since)
);",
};

/// The view that keeps residents' ids, edges, homes and deaths. Register it in every service that names residents.
pub struct Identities;

#[async_trait]
impl View for Identities {
    fn tables(&self) -> &'static [Table] {
        &[IDENTITIES, ALIAS_EDGES, MERGES_PENDING, PLACEMENTS]
    }

    async fn apply(&self, tx: &mut Tx<'_>, facts: &[Fact]) -> Result<(), ViewError> {
        for fact in facts.iter().filter(|f| f.topic == topics::DIRECTORY.name) {
            let event = DirectoryEvent::decode(fact.payload.clone()).map_err(|_| ViewError::Unreadable("a directory event"))?;
            let stream: Value = (*fact.stream().bytes()).into();
            match event.fact {
                Some(Directory::ResidentRegistered(r)) => {
                    tx.execute(
                        "insert into identities (id, registered, home) values ($1, 1, $2) on conflict (id) do update set registered = 1, home = excluded.home",
                        &[stream.clone(), some(r.home_id.clone())],
                    );
                    place(tx, &stream, "", some(r.home_id));
                }
                Some(Directory::ResidentMovedIn(m)) => {
                    tx.execute("update identities set home = $2 where id = $1", &[stream.clone(), m.home_id.clone().into()]);
                    if !m.moved_in_on.is_empty() {
                        // The day on which they came to the home that their registration names.
                        tx.execute(
                            "delete from placements where id = $1 and since = '' and home = $2 \
                             and not exists (select 1 from placements dated where dated.id = $1 and dated.since <> '')",
                            &[stream.clone(), m.home_id.clone().into()],
                        );
                    }
                    place(tx, &stream, &m.moved_in_on, some(m.home_id));
                }
                Some(Directory::ResidentMovedOut(m)) => {
                    tx.execute("update identities set home = null where id = $1", std::slice::from_ref(&stream));
                    let recorded = hearthline_nhs::london_date(fact.envelope.recorded_at_us).map(|day| day.to_string()).unwrap_or_default();
                    place(tx, &stream, if m.moved_out_on.is_empty() { &recorded } else { &m.moved_out_on }, Value::from(None::<bytes::Bytes>));
                }
                Some(Directory::ResidentDied(d)) => {
                    tx.execute("update identities set died_at = $2 where id = $1", &[stream, died_at(&d, fact.envelope.recorded_at_us).into()])
                }
                Some(Directory::ResidentsMerged(m)) => {
                    tx.execute(
                        "insert into alias_edges (from_id, into_id, recorded_at) values ($1, $2, $3) on conflict (from_id, into_id) do update set recorded_at = excluded.recorded_at",
                        &[m.from_id.clone().into(), m.into_id.clone().into(), fact.envelope.recorded_at_us.into()],
                    );
                    tx.execute("delete from merges_pending where from_id = $1 and into_id = $2", &[m.from_id.into(), m.into_id.into()]);
                }
                Some(Directory::MergeReversed(m)) => {
                    tx.execute("delete from alias_edges where from_id = $1 and into_id = $2", &[m.from_id.into(), m.into_id.into()])
                }
                Some(Directory::MergeProposed(m)) => {
                    tx.execute(
                        "insert into merges_pending (from_id, into_id) values ($1, $2) on conflict (from_id, into_id) do nothing",
                        &[m.from_id.into(), m.into_id.into()],
                    );
                }
                Some(Directory::MergeDeclined(m)) => {
                    tx.execute("delete from merges_pending where from_id = $1 and into_id = $2", &[m.from_id.into(), m.into_id.into()])
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn place(tx: &mut Tx<'_>, resident: &Value, since: &str, home: Value) {
    tx.execute(
        "insert into placements (id, since, home) values ($1, $2, $3) on conflict (id, since) do update set home = excluded.home",
        &[resident.clone(), since.into(), home],
    );
}

/// An id that the contracts leave empty where there is none.
fn some(id: bytes::Bytes) -> Value {
    (!id.is_empty()).then_some(id).into()
}

/// What is known of a resident, resolved through alias edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The id it resolves to; its own where nothing is known.
    pub id: [u8; 16],
    /// The directory knows this person.
    pub registered: bool,
    pub home: Option<[u8; 16]>,
    /// µs UTC.
    pub died_at: Option<i64>,
    /// A merge with another is proposed and not decided.
    pub merge_pending: bool,
}

/// Where a resident lived when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placements(Vec<(String, Option<[u8; 16]>)>);

impl Placements {
    /// The home on a day (YYYY-MM-DD, local).
    pub fn home_on(&self, day: &str) -> Option<[u8; 16]> {
        self.0.iter().rev().find(|(since, _)| since.as_str() <= day).and_then(|(_, home)| *home)
    }
}

/// Where these residents lived when, by ids that are resolved already. Nobody is left out.
pub async fn placements(store: &dyn Store, ids: &[[u8; 16]]) -> Result<HashMap<[u8; 16], Placements>, StoreError> {
    let mut all: HashMap<[u8; 16], Placements> = ids.iter().map(|id| (*id, Placements::default())).collect();
    for row in query_among(store, "select id, since, home from placements where id", &[], ids, "order by id, since").await? {
        all.entry(row.id(0)).or_default().0.push((row.text(1).to_owned(), row.opt_id(2)));
    }
    Ok(all)
}

/// Edges are followed this far; a longer chain is a cycle, which is refused.
const CHAIN_MAX: usize = 32;

/// Resolves an id. A cycle of edges gives the id itself, unregistered.
pub async fn resolve(store: &dyn Store, id: [u8; 16]) -> Result<Identity, StoreError> {
    let mut at = id;
    let mut passed = HashSet::new();
    for _ in 0..CHAIN_MAX {
        if !passed.insert(at) {
            break;
        }
        // Where two survivors claim an id, the later word counts; every service has the same words.
        let edge = store.query("select into_id from alias_edges where from_id = $1 order by recorded_at desc, into_id limit 1", &[at.into()]).await?;
        if let Some(edge) = edge.first() {
            at = edge.id(0);
            continue;
        }
        let merge_pending = pending(store, at).await?;
        let rows = store.query("select registered, home, died_at from identities where id = $1", &[at.into()]).await?;
        return Ok(match rows.first() {
            Some(row) => Identity { id: at, registered: row.flag(0), home: row.opt_id(1), died_at: row.opt_int(2), merge_pending },
            None => Identity { id: at, registered: false, home: None, died_at: None, merge_pending },
        });
    }
    tracing::error!("alias edges form a cycle; the id is left unresolved");
    Ok(Identity { id, registered: false, home: None, died_at: None, merge_pending: true })
}

/// As [`resolve`], for many at once; the few that were merged are followed one by one.
pub async fn resolve_many(store: &dyn Store, ids: &[[u8; 16]]) -> Result<HashMap<[u8; 16], Identity>, StoreError> {
    let mut resolved = HashMap::with_capacity(ids.len());
    for edge in query_among(store, "select distinct from_id from alias_edges where from_id", &[], ids, "").await? {
        resolved.insert(edge.id(0), resolve(store, edge.id(0)).await?);
    }
    let plain: Vec<[u8; 16]> = ids.iter().copied().filter(|id| !resolved.contains_key(id)).collect();
    let mut unsure = HashSet::new();
    for column in ["from_id", "into_id"] {
        let head = format!("select {column} from merges_pending where {column}");
        unsure.extend(query_among(store, &head, &[], &plain, "").await?.iter().map(|row| row.id(0)));
    }
    for id in &plain {
        let unknown = Identity { id: *id, registered: false, home: None, died_at: None, merge_pending: unsure.contains(id) };
        resolved.insert(*id, unknown);
    }
    for row in query_among(store, "select id, registered, home, died_at from identities where id", &[], &plain, "").await? {
        if let Some(identity) = resolved.get_mut(&row.id(0)) {
            (identity.registered, identity.home, identity.died_at) = (row.flag(1), row.opt_id(2), row.opt_int(3));
        }
    }
    Ok(resolved)
}

async fn pending(store: &dyn Store, id: [u8; 16]) -> Result<bool, StoreError> {
    Ok(!store.query("select 1 from merges_pending where from_id = $1 or into_id = $1 limit 1", &[id.into()]).await?.is_empty())
}

/// Every id that resolves to `id`, itself first.
pub async fn names_of(store: &dyn Store, id: [u8; 16]) -> Result<Vec<[u8; 16]>, StoreError> {
    let mut names = vec![id];
    let mut at = 0;
    while at < names.len() && names.len() < 1_000 {
        let rows: Vec<Row> = store.query("select from_id from alias_edges where into_id = $1", &[names[at].into()]).await?;
        for row in rows {
            let name = row.id(0);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        at += 1;
    }
    Ok(names)
}

/// µs UTC of a death; the beginning of its day where only the day is known, and when we heard of it where not even that is.
fn died_at(d: &hearthline_contracts::directory::ResidentDied, recorded_at: i64) -> i64 {
    if d.died_at_us != 0 {
        return d.died_at_us;
    }
    let day = d.died_on.parse::<jiff::civil::Date>().ok();
    day.and_then(|day| hearthline_nhs::london_instant(day.at(0, 0, 0, 0)).ok()).unwrap_or(recorded_at)
}
