//! A view that notices what must not happen: an event twice, out of order, or missing.

use async_trait::async_trait;
use hearthline_eventing::{Fact, Table, Tx, Value, View, ViewError};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const FOLDS: Table = Table {
    name: "folds",
    columns: &["stream", "topic", "events", "version", "in_order", "chain"],
    key: 1,
    ddl: "create table if not exists folds (
  stream blob primary key,
  topic text not null,
  events integer not null,
  version integer not null,
  in_order integer not null,
  chain blob not null
);",
};

/// One row a stream: how many facts, the last version, whether each came right behind the one before, and a hash chain
/// over their ids and payloads without the sealed part.
#[derive(Default)]
pub struct Folds {
    /// While set, facts with a late entry are refused, as a view with a defect would.
    pub refuses_late_entries: Arc<AtomicBool>,
    /// While set, facts with a late entry make it panic.
    pub panics_on_late_entries: Arc<AtomicBool>,
}

#[async_trait]
impl View for Folds {
    fn tables(&self) -> &'static [Table] {
        &[FOLDS]
    }

    async fn apply(&self, tx: &mut Tx<'_>, facts: &[Fact]) -> Result<(), ViewError> {
        if facts.iter().any(|f| f.envelope.late_entry) {
            if self.refuses_late_entries.load(Ordering::SeqCst) {
                return Err(ViewError::Unreadable("a late entry"));
            }
            assert!(!self.panics_on_late_entries.load(Ordering::SeqCst), "a defect of the view");
        }
        let mut keys: Vec<_> = facts.iter().map(Fact::stream).collect();
        keys.sort_unstable();
        keys.dedup();
        let keys: Vec<Value> = keys.into_iter().map(Into::into).collect();
        let mut rows: HashMap<_, _> = tx.fetch_by_keys(&FOLDS, &keys).await?.into_iter().map(|r| (r.stream(0), r.0)).collect();
        for fact in facts {
            let row = rows
                .entry(fact.stream())
                .or_insert_with(|| vec![fact.stream().into(), fact.topic.into(), 0i64.into(), 0i64.into(), true.into(), [0u8; 32].into()]);
            let (events, version, in_order, chain) = match row.as_slice() {
                [_, _, Value::Int(events), Value::Int(version), Value::Int(in_order), Value::Blob(chain)] => (*events, *version, *in_order, chain.clone()),
                _ => return Err(ViewError::Unreadable("its own rows")),
            };
            let plain = hearthline_contracts::wire::without_personal(&fact.payload).map_err(|_| ViewError::Unreadable("a fact"))?;
            let next: [u8; 32] = Sha256::new().chain_update(&chain).chain_update(fact.event_id()).chain_update(&plain).finalize().into();
            row[2] = (events + 1).into();
            row[3] = fact.version().into();
            row[4] = (in_order != 0 && fact.version() == version.unsigned_abs() + 1).into();
            row[5] = next.into();
        }
        tx.upsert(&FOLDS, rows.into_values().collect());
        Ok(())
    }
}
