//! Reading the reference rows and the open tasks.

use crate::domain::Pharmacy;
use hearthline_eventing::{Row, Store, StoreError};
use hearthline_nhs::{Coordinates, HomeId, Interval, OdsCode, OpeningHours, PharmacyId, ResidentId};
use jiff::civil::Weekday;

/// A call's reference row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRow {
    pub version: u64,
    pub home: HomeId,
    pub resident: ResidentId,
    pub is_provisional: bool,
    /// µs UTC.
    pub opened_at: i64,
    pub is_voided: bool,
}

pub async fn call_row(store: &dyn Store, id: [u8; 16]) -> Result<Option<CallRow>, StoreError> {
    let rows = store.query("select version, home, resident, is_provisional, opened_at, is_voided from calls where id = $1", &[id.into()]).await?;
    Ok(rows.first().map(|r| CallRow {
        version: r.int(0).unsigned_abs(),
        home: HomeId::from_bytes(r.id(1)),
        resident: ResidentId::from_bytes(r.id(2)),
        is_provisional: r.flag(3),
        opened_at: r.int(4),
        is_voided: r.flag(5),
    }))
}

/// Where a home lies. The outer option: whether the home is known.
pub async fn home_place(store: &dyn Store, id: HomeId) -> Result<Option<Option<Coordinates>>, StoreError> {
    let rows = store.query("select latitude, longitude from homes where id = $1", &[(*id.bytes()).into()]).await?;
    Ok(rows.first().map(|r| place(r, 0)))
}

/// Every listed pharmacy.
pub async fn pharmacies(store: &dyn Store) -> Result<Vec<Pharmacy>, StoreError> {
    let rows = store.query("select id, ods, name, postcode, latitude, longitude, opening, listed_from from pharmacies", &[]).await?;
    Ok(rows
        .iter()
        .filter_map(|r| {
            Some(Pharmacy {
                id: PharmacyId::from_bytes(r.id(0)),
                ods: OdsCode::parse(r.text(1)).ok()?,
                name: r.text(2).to_owned(),
                postcode: r.text(3).to_owned(),
                place: place(r, 4),
                opening: opening_in(r.text(6)),
                listed_from: r.text(7).parse().ok(),
            })
        })
        .collect())
}

fn place(row: &Row, at: usize) -> Option<Coordinates> {
    let degrees = |i| row.opt_int(i).and_then(|v| i32::try_from(v).ok());
    Coordinates::from_micro_degrees(degrees(at)?, degrees(at + 1)?).ok()
}

/// A resident's sealed demographics.
#[derive(Debug, Clone)]
pub struct SealedDemographics {
    /// The event that holds all of them, as received.
    pub details: bytes::Bytes,
    /// A later event that holds the NHS number, as received.
    pub number: Option<bytes::Bytes>,
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

/// Open tasks, the most urgent first: stream, task, kind, role, due, overdue, subject, opened.
pub async fn open_tasks(store: &dyn Store) -> Result<Vec<Row>, StoreError> {
    store.query("select stream, task, kind, role, due_at, overdue, subject, opened_at from tasks order by due_at limit 1000", &[]).await
}
/// Hours out of their row. An interval that makes no sense counts as closed: nobody is sent to a pharmacy on a guess.
fn opening_in(text: &str) -> OpeningHours {
    let mut hours = OpeningHours::closed();
    for day in 1..=7i8 {
        let Ok(weekday) = Weekday::from_monday_one_offset(day) else { continue };
        let intervals: Vec<Interval> = text.split(';').filter_map(|part| interval_in(part, day)).collect();
        if let Ok(with) = hours.clone().with_weekday(weekday, intervals) {
            hours = with;
        }
    }
    hours
}

fn interval_in(part: &str, day: i8) -> Option<Interval> {
    let (weekday, minutes) = part.split_once(':')?;
    let (opens, closes) = minutes.split_once('-')?;
    (weekday.parse() == Ok(day)).then_some(())?;
    Interval::new(opens.parse().ok()?, closes.parse().ok()?).ok()
}
