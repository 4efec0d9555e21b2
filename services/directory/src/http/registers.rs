//! Loading registers. Each row is a unit of its own, found by its natural key: loading the same file twice changes nothing, and a
//! bad row keeps no good one out.

use super::State;
use crate::domain::events::Event;
use crate::domain::state::{Home, Listed};
use crate::domain::{Alignment, PharmacyDetails, PracticeDetails, decide};
use crate::registers::{self, HomeRow, NotARegister, Row};
use crate::residents::{HOME_ODS, PHARMACY_ODS, PRACTICE_ODS, claim, ods_key};
use axum::Json;
use axum::extract::State as Extract;
use hearthline_eventing::{Answer, Attempted, Cause, NotNow, Occurred, Unit, now_us, retrying};
use hearthline_nhs::{HomeId, OdsCode, PracticeId, StreamId, london_date};
use hearthline_runtime::http::{CommandBytes, Problem, codes, invalid_field};
use hearthline_runtime::service;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Loaded {
    rows: Vec<LoadedRow>,
}

#[derive(Serialize)]
struct LoadedRow {
    row: usize,
    ods_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<uuid::Uuid>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// What a row came to.
enum RowOutcome {
    Registered(StreamId),
    Changed(StreamId),
    Unchanged(StreamId),
    Refused(String),
}

/// Why a row stops here: refused by a rule, or our own trouble, which ends the loading.
enum RowTrouble {
    Refused(String),
    NotNow(NotNow),
}

impl From<NotNow> for RowTrouble {
    fn from(e: NotNow) -> Self {
        RowTrouble::NotNow(e)
    }
}

pub(super) async fn homes(Extract(state): Extract<State>, command: CommandBytes) -> Result<Json<Loaded>, Problem> {
    load(&state, &command, registers::homes(csv(&command)?), Item::Home).await
}

pub(super) async fn practices(Extract(state): Extract<State>, command: CommandBytes) -> Result<Json<Loaded>, Problem> {
    load(&state, &command, registers::practices(csv(&command)?), Item::Practice).await
}

pub(super) async fn pharmacies(Extract(state): Extract<State>, command: CommandBytes) -> Result<Json<Loaded>, Problem> {
    load(&state, &command, registers::pharmacies(csv(&command)?), Item::Pharmacy).await
}

/// What a row is about.
enum Item {
    Home(HomeRow),
    Practice(PracticeDetails),
    Pharmacy(PharmacyDetails),
}

impl Item {
    fn natural_key(&self) -> (&'static str, &OdsCode) {
        match self {
            Item::Home(row) => (HOME_ODS, &row.details.ods),
            Item::Practice(details) => (PRACTICE_ODS, &details.ods),
            Item::Pharmacy(details) => (PHARMACY_ODS, &details.ods),
        }
    }

    /// What the row changes on its stream, and the stream's version before.
    async fn decide(&self, state: &State, stream: StreamId, now: i64) -> Result<(Vec<Event>, u64), RowTrouble> {
        match self {
            Item::Home(row) => home(state, row, stream, now).await,
            Item::Practice(details) => {
                let (known, version) = state.streams.load(stream, Listed::evolve).await?;
                Ok((decide::list_practice(&known, details.clone()), version))
            }
            Item::Pharmacy(details) => {
                let (known, version) = state.streams.load(stream, Listed::evolve).await?;
                Ok((decide::list_pharmacy(&known, details.clone()), version))
            }
        }
    }
}

async fn load<T>(state: &State, command: &CommandBytes, rows: Result<Vec<Row<T>>, NotARegister>, item: fn(T) -> Item) -> Result<Json<Loaded>, Problem> {
    let rows = rows.map_err(|error| invalid_field("", error.to_string()))?;
    // The key belongs to this file for good; the same file again goes row by row, where natural keys make it harmless.
    let owner = StreamId::from_bytes(hearthline_runtime::service::fresh_id());
    let claim = service::idempotent(&command.key, command.body_digest, owner, 0, now_us());
    let claimed = state.streams.kernel.store.append(Unit { claims: vec![claim], ..Unit::default() }).await?;
    if let Answer::Claimed(holder) = claimed {
        service::repeated(&holder, command.body_digest)?;
    }
    let cause = service::cause(&command.caller, hearthline_runtime::service::fresh_id());
    let mut loaded = Vec::with_capacity(rows.len());
    for Row { number, ods, parsed } in rows {
        let outcome = match parsed {
            Err(why) => RowOutcome::Refused(why),
            Ok(parsed) => match take(state, &item(parsed), &cause).await {
                Ok(outcome) => outcome,
                Err(RowTrouble::Refused(why)) => RowOutcome::Refused(why),
                Err(RowTrouble::NotNow(error)) => return Err(error.into()),
            },
        };
        loaded.push(loaded_row(number, ods, outcome));
    }
    Ok(Json(Loaded { rows: loaded }))
}

fn loaded_row(row: usize, ods_code: String, outcome: RowOutcome) -> LoadedRow {
    let (id, outcome, why) = match outcome {
        RowOutcome::Registered(id) => (Some(id), "registered", None),
        RowOutcome::Changed(id) => (Some(id), "changed", None),
        RowOutcome::Unchanged(id) => (Some(id), "unchanged", None),
        RowOutcome::Refused(why) => (None, "refused", Some(why)),
    };
    LoadedRow { row, ods_code, id: id.map(|id| uuid::Uuid::from_bytes(*id.bytes())), outcome, why }
}

async fn home(state: &State, row: &HomeRow, stream: StreamId, now: i64) -> Result<(Vec<Event>, u64), RowTrouble> {
    let practice = match &row.practice_ods {
        None => None,
        Some(ods) => match state.streams.by_ods(PRACTICE_ODS, ods).await? {
            Some(practice) => Some(Alignment { practice: PracticeId::of_stream(practice), ods: ods.clone() }),
            None => return Err(RowTrouble::Refused("practice_ods: no such practice is listed; load the practices first".to_owned())),
        },
    };
    let (known, version) = state.streams.load(stream, Home::evolve).await?;
    let command = decide::RegisterHome {
        id: HomeId::of_stream(stream),
        details: row.details.clone(),
        live_from_us: row.live_from_us,
        email: row.email.clone(),
        practice,
        today: london_date(now).map_err(|error| RowTrouble::Refused(error.to_string()))?,
    };
    let events = decide::register_home(&known, command).map_err(|rejection| RowTrouble::Refused(rejection.to_string()))?;
    Ok((events, version))
}

/// Finds or founds the stream of a row's natural key and appends what the row changes. Where two loadings found it at once, the
/// claim lets one through and the other finds it.
async fn take(state: &State, item: &Item, cause: &Cause) -> Result<RowOutcome, RowTrouble> {
    let (scope, ods) = item.natural_key();
    loop {
        let found = state.streams.by_ods(scope, ods).await?;
        let stream = found.unwrap_or_else(|| StreamId::from_bytes(hearthline_runtime::service::fresh_id()));
        let now = now_us();
        let attempted = retrying::<bool, RowTrouble, _, _>(state.streams.kernel.store.as_ref(), || async {
            let (events, version) = item.decide(state, stream, now).await?;
            let mut unit = Unit::default();
            if !events.is_empty() && found.is_none() {
                unit.claims.push(claim(ods_key(scope, ods), stream, version + events.len() as u64));
            }
            unit.writes.extend(state.streams.write(stream, version, &events, &Occurred::at(now), cause, now).await?);
            Ok((unit, !events.is_empty()))
        })
        .await?;
        match (attempted, found) {
            (Attempted::Claimed(_), _) => {}
            (Attempted::Committed { value: true, .. }, None) => return Ok(RowOutcome::Registered(stream)),
            (Attempted::Committed { value: true, .. }, Some(_)) => return Ok(RowOutcome::Changed(stream)),
            (Attempted::Committed { value: false, .. }, _) => return Ok(RowOutcome::Unchanged(stream)),
        }
    }
}

fn csv(command: &CommandBytes) -> Result<&[u8], Problem> {
    if command.media_type == "text/csv" { Ok(&command.body) } else { Err(Problem::of(codes::MEDIA_TYPE).detail("send Content-Type: text/csv")) }
}
