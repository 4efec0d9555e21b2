//! Reading the reference rows and the open tasks.

use crate::domain::Source;
use crate::view::sources_in;
use bytes::Bytes;
use hearthline_contracts::outcome::Disposition;
use hearthline_eventing::{Row, Store, StoreError};
use hearthline_nhs::{HomeId, ResidentId, StreamId};
use jiff::civil::Date;

/// A call's reference row.
#[derive(Debug, Clone)]
pub struct CallRow {
    pub version: u64,
    pub home: HomeId,
    pub resident: ResidentId,
    /// The event that may hold what the caller said about the resident, as received.
    pub described: Bytes,
    /// µs UTC.
    pub opened_at: i64,
    pub is_consent_refused: bool,
    pub is_voided: bool,
    /// µs UTC; none while it is open.
    pub closed_at: Option<i64>,
    pub named_consultation: Option<Source>,
    pub named_prescriptions: Vec<Source>,
}

pub async fn call_row(store: &dyn Store, id: [u8; 16]) -> Result<Option<CallRow>, StoreError> {
    let sql =
        "select version, home, resident, described, opened_at, consent_refused, is_voided, closed_at, consultation, prescriptions from calls where id = $1";
    let rows = store.query(sql, &[id.into()]).await?;
    Ok(rows.first().map(|r| CallRow {
        version: r.int(0).unsigned_abs(),
        home: HomeId::from_bytes(r.id(1)),
        resident: ResidentId::from_bytes(r.id(2)),
        described: r.blob(3).clone(),
        opened_at: r.int(4),
        is_consent_refused: r.flag(5),
        is_voided: r.flag(6),
        closed_at: r.opt_int(7),
        named_consultation: r.opt_blob(8).cloned().map(sources_in).and_then(|s| s.first().copied()),
        named_prescriptions: r.opt_blob(9).cloned().map(sources_in).unwrap_or_default(),
    }))
}

/// Calls that name one of these residents.
pub async fn calls_of(store: &dyn Store, residents: &[[u8; 16]]) -> Result<Vec<[u8; 16]>, StoreError> {
    let mut calls = Vec::new();
    for resident in residents {
        let rows = store.query("select id from calls where resident = $1", &[(*resident).into()]).await?;
        calls.extend(rows.iter().map(|r| r.id(0)));
    }
    Ok(calls)
}

/// A consultation's reference row.
#[derive(Debug, Clone)]
pub struct ConsultationRow {
    pub source: Source,
    pub content_version: u64,
    pub disposition: Disposition,
    pub is_withdrawn: bool,
    /// The newest decision, as received.
    pub decided: Option<Bytes>,
    /// The newest plan, as received.
    pub plan: Option<Bytes>,
    /// Pseudonym of the clinician.
    pub author: Bytes,
}

/// The consultation of a call.
pub async fn consultation_of(store: &dyn Store, call: [u8; 16]) -> Result<Option<ConsultationRow>, StoreError> {
    let sql = "select stream, version, content_version, disposition, is_withdrawn, decided, plan, author from consultations where call = $1 order by content_version desc limit 1";
    let rows = store.query(sql, &[call.into()]).await?;
    Ok(rows.first().map(|r| ConsultationRow {
        source: Source { stream: r.stream(0), version: r.int(1).unsigned_abs() },
        content_version: r.int(2).unsigned_abs(),
        disposition: i32::try_from(r.int(3)).ok().and_then(|d| Disposition::try_from(d).ok()).unwrap_or(Disposition::Unspecified),
        is_withdrawn: r.flag(4),
        decided: r.opt_blob(5).cloned(),
        plan: r.opt_blob(6).cloned(),
        author: r.blob(7).clone(),
    }))
}

/// The call that a consultation or prescription belongs to.
pub async fn call_of(store: &dyn Store, stream: StreamId) -> Result<Option<[u8; 16]>, StoreError> {
    let sql = "select call from consultations where stream = $1 union all select call from prescriptions where stream = $1 limit 1";
    Ok(store.query(sql, &[stream.into()]).await?.first().map(|r| r.id(0)))
}

/// A prescription's reference row.
#[derive(Debug, Clone)]
pub struct PrescriptionRow {
    pub source: Source,
    /// The draft, as received.
    pub drafted: Bytes,
    pub is_accepted: bool,
    pub pharmacy: Option<String>,
}

/// The prescriptions of a call, in the order of their ids.
pub async fn prescriptions_of(store: &dyn Store, call: [u8; 16]) -> Result<Vec<PrescriptionRow>, StoreError> {
    let sql = "select p.stream, p.version, p.drafted, p.is_accepted, f.name from prescriptions p left join pharmacies f on f.id = p.pharmacy where p.call = $1 order by p.stream";
    let rows = store.query(sql, &[call.into()]).await?;
    Ok(rows
        .iter()
        .map(|r| PrescriptionRow {
            source: Source { stream: r.stream(0), version: r.int(1).unsigned_abs() },
            drafted: r.blob(2).clone(),
            is_accepted: r.flag(3),
            pharmacy: r.opt_text(4).map(str::to_owned),
        })
        .collect())
}

/// A home's reference row.
#[derive(Debug, Clone)]
pub struct HomeRow {
    pub ods: String,
    pub name: String,
    /// Empty where none was verified.
    pub email: String,
    pub email_verified_on: Option<Date>,
}

impl HomeRow {
    /// The secure address, where it was verified within the twelve months before `today` (local).
    pub fn secure_email(&self, today: Date) -> Option<&str> {
        let verified_on = self.email_verified_on?;
        let oldest = today.checked_sub(jiff::Span::new().months(12)).ok()?;
        (!self.email.is_empty() && verified_on >= oldest).then_some(self.email.as_str())
    }
}

pub async fn home_row(store: &dyn Store, id: HomeId) -> Result<Option<HomeRow>, StoreError> {
    let rows = store.query("select ods, name, email, email_verified_on from homes where id = $1", &[(*id.bytes()).into()]).await?;
    Ok(rows.first().map(|r| HomeRow {
        ods: r.text(0).to_owned(),
        name: r.text(1).to_owned(),
        email: r.text(2).to_owned(),
        email_verified_on: r.text(3).parse().ok(),
    }))
}

/// A resident's sealed demographics.
#[derive(Debug, Clone)]
pub struct SealedDemographics {
    /// The event that holds all of them, as received.
    pub details: Bytes,
    /// A later event that holds the NHS number, as received.
    pub number: Option<Bytes>,
    pub practice_ods: String,
}

pub async fn sealed_demographics(store: &dyn Store, resident: [u8; 16]) -> Result<Option<SealedDemographics>, StoreError> {
    let rows =
        store.query("select details, details_version, number, number_version, practice_ods from demographics where resident = $1", &[resident.into()]).await?;
    Ok(rows.first().map(|r| SealedDemographics {
        details: r.blob(0).clone(),
        number: r.opt_blob(2).filter(|_| r.int(3) >= r.int(1)).cloned(),
        practice_ods: r.text(4).to_owned(),
    }))
}

/// Open tasks, the most urgent first: stream, task, kind, role, due, overdue, opened, call.
pub async fn open_tasks(store: &dyn Store) -> Result<Vec<Row>, StoreError> {
    store.query("select stream, task, kind, role, due_at, overdue, opened_at, call from tasks order by due_at limit 1000", &[]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_for_twelve_months_after_it_was_verified() {
        let home = HomeRow { ods: String::new(), name: String::new(), email: "a@b.test".to_owned(), email_verified_on: "2025-03-01".parse().ok() };
        for (today, there) in [("2025-03-01", true), ("2026-03-01", true), ("2026-03-02", false)] {
            assert_eq!(home.secure_email(today.parse().expect("a day")).is_some(), there, "{today}");
        }
    }
}
