//! Reads the rows that a window's figures need. People are resolved here, level by level, for those whom the rows name.

use crate::measures::Rows;
use crate::people::People;
use crate::rows::{AliasEdge, MoveOut, Resident, Stored};
use crate::window::Window;
use hearthline_eventing::{Store, StoreError, Value};
use hearthline_nhs::ResidentId;
use std::collections::HashSet;

const DAY_US: i64 = 24 * 3_600_000_000;
/// How far outside the window rows are read: an episode may have begun before it and go on behind it.
const MARGIN_US: i64 = 28 * DAY_US;
/// Claims, orders and shares may follow their call by so much more.
const FOLLOW_US: i64 = 28 * DAY_US;
/// A spell that a transfer continues may have begun so long before.
const SPELL_US: i64 = 90 * DAY_US;
/// Keys in one statement.
const KEYS_MAX: usize = 5_000;
/// Edges are followed over so many levels.
const LEVELS_MAX: usize = 32;

/// The rows for a window and windows of claims of so many hours.
pub async fn rows(store: &dyn Store, window: &Window, window_h: u32) -> Result<Rows, StoreError> {
    let (from, to) = (window.from(), window.to());
    let claim_us = i64::from(window_h) * 3_600_000_000;
    let (first, last) = (from - MARGIN_US, to + MARGIN_US);
    let after = last + FOLLOW_US;
    let mut rows = Rows {
        calls: between(store, "opened_at", first, last).await?,
        attempts: between(store, "attempted_at", from, to).await?,
        consultations: between(store, "began_at", first, after).await?,
        claims: between(store, "claimed_at", first, after).await?,
        prescriptions: between(store, "drafted_at", first, after).await?,
        shares: between(store, "began_at", first, after).await?,
        visits: between(store, "opened_at", from - SPELL_US, after + claim_us).await?,
        gaps: all(store).await?,
        homes: all(store).await?,
        ..Rows::default()
    };
    let named: HashSet<ResidentId> =
        rows.calls.iter().filter_map(|call| call.resident_id).chain(rows.visits.iter().filter_map(|visit| visit.resident_id)).collect();
    let edges = edges(store, named.clone()).await?;
    let everyone: HashSet<ResidentId> = named.into_iter().chain(edges.iter().map(|edge| edge.into_id)).collect();
    rows.people = People::of(&edges);
    rows.residents = of_keys::<Resident>(store, everyone.iter().copied()).await?;
    rows.moves_out = of_keys::<MoveOut>(store, everyone.into_iter()).await?;
    Ok(rows)
}

/// The edges that lead on from these ids, and from where those lead.
async fn edges(store: &dyn Store, mut level: HashSet<ResidentId>) -> Result<Vec<AliasEdge>, StoreError> {
    let mut seen = level.clone();
    let mut found = Vec::new();
    for _ in 0..LEVELS_MAX {
        if level.is_empty() {
            break;
        }
        let edges = of_keys::<AliasEdge>(store, level.into_iter()).await?;
        level = edges.iter().map(|edge| edge.into_id).filter(|id| seen.insert(*id)).collect();
        found.extend(edges);
    }
    Ok(found)
}

async fn between<R: Stored>(store: &dyn Store, column: &str, from: i64, to: i64) -> Result<Vec<R>, StoreError> {
    let sql = format!("select {} from {} where {column} >= $1 and {column} < $2", R::TABLE.columns.join(","), R::TABLE.name);
    let rows = store.query(&sql, &[from.into(), to.into()]).await?;
    Ok(rows.into_iter().map(R::read).collect())
}

async fn all<R: Stored>(store: &dyn Store) -> Result<Vec<R>, StoreError> {
    let sql = format!("select {} from {}", R::TABLE.columns.join(","), R::TABLE.name);
    let rows = store.query(&sql, &[]).await?;
    Ok(rows.into_iter().map(R::read).collect())
}

/// Rows whose first key column is among the ids.
async fn of_keys<R: Stored>(store: &dyn Store, ids: impl Iterator<Item = ResidentId>) -> Result<Vec<R>, StoreError> {
    let ids: Vec<Value> = ids.map(|id| (*id.bytes()).into()).collect();
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(KEYS_MAX) {
        let places: Vec<String> = (1..=chunk.len()).map(|n| format!("${n}")).collect();
        let sql = format!("select {} from {} where {} in ({})", R::TABLE.columns.join(","), R::TABLE.name, R::TABLE.columns[0], places.join(","));
        let rows = store.query(&sql, chunk).await?;
        found.extend(rows.into_iter().map(R::read));
    }
    Ok(found)
}
