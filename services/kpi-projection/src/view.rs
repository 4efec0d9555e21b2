//! The projection. A batch is folded in memory: facts are grouped by row, rows begun before the batch are read once per
//! table, and each table gets one insert. A row that begins in the batch is never looked for.

use crate::fold;
use crate::rows::{AliasEdge, Attempt, Call, Claim, Consultation, FeedGap, Home, MoveOut, Prescription, Resident, Share, Stored, TABLES, Visit};
use crate::told::{ClaimFact, GapFact, Of, Told};
use crate::wire;
use async_trait::async_trait;
use hearthline_eventing::{DbError, Fact, Table, Tx, Value, View, ViewError};
use hearthline_nhs::{ClaimId, ResidentId, StreamId};
use std::collections::HashMap;
use std::hash::Hash;

/// The view of all contexts' facts.
pub struct Measured;

#[async_trait]
impl View for Measured {
    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    async fn apply(&self, tx: &mut Tx<'_>, facts: &[Fact]) -> Result<(), ViewError> {
        let mut told = Vec::with_capacity(facts.len());
        for fact in facts {
            if let Some(one) = wire::told(fact).map_err(|e| ViewError::Unreadable(e.0))? {
                told.push(one);
            }
        }
        let mut batch = Batch::default();
        for (of, told) in &told {
            batch.touch(of, told);
        }
        batch.read(tx).await?;
        for (of, told) in told {
            batch.fold(&of, told);
        }
        batch.write(tx);
        Ok(())
    }
}

/// The rows that a batch changes.
#[derive(Default)]
struct Batch {
    calls: Rows<StreamId, Call>,
    consultations: Rows<StreamId, Consultation>,
    claims: Rows<(StreamId, ClaimId), Claim>,
    prescriptions: Rows<StreamId, Prescription>,
    shares: Rows<StreamId, Share>,
    visits: Rows<StreamId, Visit>,
    gaps: Rows<(StreamId, StreamId), FeedGap>,
    homes: Rows<StreamId, Home>,
    residents: Rows<StreamId, Resident>,
    aliases: Rows<(ResidentId, ResidentId), AliasEdge>,
    attempts: Vec<Attempt>,
    moves_out: Vec<MoveOut>,
}

impl Batch {
    /// Notes which rows must be read.
    fn touch(&mut self, of: &Of, told: &Told) {
        let (stream, begun) = (of.stream, of.version > 1);
        match told {
            Told::Call(_) => self.calls.touch(stream, stream, begun),
            Told::Consultation(_) => self.consultations.touch(stream, stream, begun),
            Told::Prescription(_) => self.prescriptions.touch(stream, stream, begun),
            Told::Share(_) => self.shares.touch(stream, stream, begun),
            Told::Visit(_) => self.visits.touch(stream, stream, begun),
            Told::Home(_) => self.homes.touch(stream, stream, begun),
            Told::Resident(_) => self.residents.touch(stream, stream, begun),
            Told::Claim { claim, fact } => {
                let begun = matches!(fact, ClaimFact::Withdrawn);
                self.claims.touch((stream, *claim), stream, begun);
            }
            Told::Gap { gap, fact } => {
                let begun = !matches!(fact, GapFact::Opened { .. });
                self.gaps.touch((stream, *gap), stream, begun);
            }
            Told::Attempt { .. } | Told::MovedOut { .. } | Told::Alias { .. } => {}
        }
    }

    async fn read(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        self.calls.read(tx, |row| row.call_id.into()).await?;
        self.consultations.read(tx, |row| row.consultation_id.into()).await?;
        self.claims.read(tx, |row| (row.consultation_id.into(), row.claim_id)).await?;
        self.prescriptions.read(tx, |row| row.prescription_id.into()).await?;
        self.shares.read(tx, |row| row.share_id.into()).await?;
        self.visits.read(tx, |row| row.visit_id.into()).await?;
        self.gaps.read(tx, |row| (row.feed_stream, row.gap_id)).await?;
        self.homes.read(tx, |row| row.home_id.into()).await?;
        self.residents.read(tx, |row| row.resident_id.into()).await
    }

    fn fold(&mut self, of: &Of, told: Told) {
        let stream = of.stream;
        match told {
            Told::Call(fact) => self.calls.change(stream, |row| fold::call(row, of, fact)),
            Told::Consultation(fact) => self.consultations.change(stream, |row| fold::consultation(row, of, fact)),
            Told::Claim { claim, fact } => self.claims.change((stream, claim), |row| fold::claim(row, of, claim, fact)),
            Told::Prescription(fact) => self.prescriptions.change(stream, |row| fold::prescription(row, of, fact)),
            Told::Share(fact) => self.shares.change(stream, |row| fold::share(row, of, fact)),
            Told::Visit(fact) => self.visits.change(stream, |row| fold::visit(row, of, fact)),
            Told::Gap { gap, fact } => self.gaps.change((stream, gap), |row| fold::gap(row, of, gap, fact)),
            Told::Home(fact) => self.homes.change(stream, |row| fold::home(row, of, fact)),
            Told::Resident(fact) => self.residents.change(stream, |row| fold::resident(row, of, fact)),
            told @ Told::Attempt { .. } => self.attempts.extend(fold::attempt(of, told)),
            Told::MovedOut { on, at, out_of_area } => self.moves_out.push(MoveOut {
                resident_id: ResidentId::of_stream(stream),
                version: of.version,
                moved_out_on: on,
                moved_out_at: at,
                out_of_area,
            }),
            // Both kinds stand on the survivor's stream, so the last one holds.
            Told::Alias { from, into, standing } => {
                self.aliases.change((from, into), |_| Some(AliasEdge { from_id: from, into_id: into, standing, merged_at: of.recorded_at }))
            }
        }
    }

    fn write(self, tx: &mut Tx<'_>) {
        self.calls.write(tx);
        self.consultations.write(tx);
        self.claims.write(tx);
        self.prescriptions.write(tx);
        self.shares.write(tx);
        self.visits.write(tx);
        self.gaps.write(tx);
        self.homes.write(tx);
        self.residents.write(tx);
        self.aliases.write(tx);
        write(tx, self.attempts.iter());
        write(tx, self.moves_out.iter());
    }
}

/// The rows of one table that a batch touches.
struct Rows<K, R> {
    rows: HashMap<K, Slot<R>>,
    /// First key columns of rows begun before the batch.
    wanted: Vec<Value>,
}

struct Slot<R> {
    row: Option<R>,
    changed: bool,
}

impl<K, R> Default for Rows<K, R> {
    fn default() -> Self {
        Rows { rows: HashMap::new(), wanted: Vec::new() }
    }
}

impl<K: Eq + Hash + Ord + Copy, R: Stored> Rows<K, R> {
    fn touch(&mut self, key: K, stream: StreamId, begun: bool) {
        let wanted = &mut self.wanted;
        self.rows.entry(key).or_insert_with(|| {
            if begun {
                wanted.push(stream.into());
            }
            Slot { row: None, changed: false }
        });
    }

    async fn read(&mut self, tx: &mut Tx<'_>, key: fn(&R) -> K) -> Result<(), DbError> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        for row in tx.fetch_by_keys(&R::TABLE, &self.wanted).await? {
            let row = R::read(row);
            // A stream may have more rows than the batch touches.
            if let Some(slot) = self.rows.get_mut(&key(&row)) {
                slot.row = Some(row);
            }
        }
        Ok(())
    }

    fn change(&mut self, key: K, fold: impl FnOnce(Option<R>) -> Option<R>) {
        let slot = self.rows.entry(key).or_insert(Slot { row: None, changed: false });
        slot.row = fold(slot.row.take());
        slot.changed = true;
    }

    /// In key order: neighbours go to the same pages.
    fn write(self, tx: &mut Tx<'_>) {
        let mut rows: Vec<(K, R)> = self.rows.into_iter().filter(|(_, slot)| slot.changed).filter_map(|(key, slot)| Some((key, slot.row?))).collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        write(tx, rows.iter().map(|(_, row)| row));
    }
}

fn write<'r, R: Stored + 'r>(tx: &mut Tx<'_>, rows: impl Iterator<Item = &'r R>) {
    let rows: Vec<Vec<Value>> = rows.map(Stored::values).collect();
    if !rows.is_empty() {
        tx.upsert(&R::TABLE, rows);
    }
}
