//! Residents: registering, finding, reading, merging and moving them. Every read of personal data is audited before it answers.

use super::{State, refused};
use crate::domain::Person;
use crate::domain::decide::{self, Merge, RegisterResident};
use crate::domain::events::{Event, MergeCause, RegistrationSource};
use crate::domain::rejection::Rejection;
use crate::domain::state::Registered;
use crate::residents::RESIDENT_NHS;
use axum::Json;
use axum::extract::State as Extract;
use axum::response::Response;
use hearthline_eventing::{Answer, Attempted, AuditRow, NotNow, Occurred, Unit, now_us, retrying};
use hearthline_nhs::{DateOfBirth, HomeId, NhsNumber, OdsCode, PersonName, ResidentId, StreamId, london_date};
use hearthline_runtime::auth::Caller;
use hearthline_runtime::http::{Command, IfMatch, PathOf, Problem, Reason, Receipt, Search, invalid_field, not_found};
use hearthline_runtime::service::{self, IDEMPOTENCY};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Given names as one text or as a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum GivenNames {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterBody {
    home_id: Uuid,
    family_name: String,
    given_names: GivenNames,
    date_of_birth: String,
    nhs_number: Option<String>,
    practice_ods: Option<String>,
    moved_in_on: String,
    occurred_at: Option<String>,
}

pub(super) async fn register(Extract(state): Extract<State>, command: Command<RegisterBody>) -> Result<Response, Problem> {
    let now = now_us();
    let body = &command.body;
    let (person, moved_in_on, practice) = (person(body, now)?, day("moved_in_on", &body.moved_in_on, now)?, practice(body)?);
    let home = HomeId::from_bytes(*body.home_id.as_bytes());
    let occurred = occurred(&state, &command.caller, body.occurred_at.as_deref(), now)?;
    must_be_a_home(&state, home).await?;
    let id = ResidentId::from_bytes(hearthline_runtime::service::fresh_id());
    let cause = service::cause(&command.caller, *id.bytes());
    let attempted = retrying::<u64, Problem, _, _>(state.streams.kernel.store.as_ref(), || async {
        let (known, version) = state.streams.resident(id).await?;
        let register =
            RegisterResident { home, person: person.clone(), practice: practice.clone(), moved_in_on: Some(moved_in_on), source: RegistrationSource::Person };
        let events = decide::register_resident(&known, register).map_err(refused)?;
        let version_after = version + events.len() as u64;
        let mut unit = Unit { claims: vec![service::idempotent(&command.key, command.body_digest, id.into(), version_after, now)], ..Unit::default() };
        if let Some(number) = &person.nhs_number {
            unit.claims.push(state.streams.number_claim(number, id, version_after).await?);
        }
        unit.writes.extend(state.streams.write(id.into(), version, &events, &occurred, &cause, now).await?);
        Ok((unit, version_after))
    })
    .await?;
    let receipt = match attempted {
        Attempted::Committed { position, value } => service::receipt(id.into(), value, position),
        Attempted::Claimed(holder) if holder.scope == IDEMPOTENCY => service::repeated(&holder, command.body_digest)?,
        Attempted::Claimed(holder) if holder.scope == RESIDENT_NHS => return Err(refused(Rejection::IdentifierTaken)),
        Attempted::Claimed(_) => return Err(NotNow::Other("an unexpected claim is held".to_owned()).into()),
    };
    let location = format!("/residents/{}", receipt.stream);
    Ok(receipt.created(&location))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchBody {
    nhs_number: Option<String>,
    date_of_birth: Option<String>,
    home_id: Option<Uuid>,
}

#[derive(Serialize)]
pub(super) struct Found {
    residents: Vec<ResidentBody>,
}

#[derive(Serialize)]
pub(super) struct ResidentBody {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    home_id: Option<Uuid>,
    family_name: String,
    given_names: Vec<String>,
    date_of_birth: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nhs_number: Option<String>,
}

pub(super) async fn search(
    Extract(state): Extract<State>,
    caller: Caller,
    Reason(why): Reason,
    Search(body): Search<SearchBody>,
) -> Result<Json<Found>, Problem> {
    let residents = match (body.nhs_number.as_deref(), body.date_of_birth.as_deref(), body.home_id) {
        (Some(number), Some(born), None) => by_number(&state, &nhs_number(number)?, &date_of_birth(born, now_us())?).await?,
        (None, None, Some(home)) => in_home(&state, HomeId::from_bytes(*home.as_bytes())).await?,
        _ => return Err(invalid_field("", "either nhs_number with date_of_birth, or home_id")),
    };
    let now = now_us();
    let mut rows: Vec<AuditRow> = residents.iter().map(|r| service::audit(&caller, "search_residents", Some(*r.id.as_bytes()), why.as_str(), now)).collect();
    if rows.is_empty() {
        rows.push(service::audit(&caller, "search_residents", None, why.as_str(), now));
    }
    audited(&state, rows).await?;
    Ok(Json(Found { residents }))
}

pub(super) async fn read(Extract(state): Extract<State>, caller: Caller, Reason(why): Reason, PathOf(id): PathOf<Uuid>) -> Result<Json<ResidentBody>, Problem> {
    let (id, _) = state.streams.resolve(ResidentId::from_bytes(*id.as_bytes())).await?;
    let (resident, _) = state.streams.resident(id).await?;
    let body = resident.registered().and_then(|r| body_of(id, r)).ok_or_else(not_found)?;
    audited(&state, vec![service::audit(&caller, "read_resident", Some(*id.bytes()), why, now_us())]).await?;
    Ok(Json(body))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MergeBody {
    into: Uuid,
    occurred_at: Option<String>,
}

/// What is to change about a resident, and on whose stream.
enum Change {
    Merge { from: ResidentId },
    DeclineMerge { from: ResidentId },
    Move { home: HomeId, on: Date },
}

/// The resident in the path becomes an alias of the one in the body.
pub(super) async fn merge(
    Extract(state): Extract<State>,
    PathOf(id): PathOf<Uuid>,
    if_match: IfMatch,
    command: Command<MergeBody>,
) -> Result<Receipt, Problem> {
    let into = ResidentId::from_bytes(*command.body.into.as_bytes());
    let change = Change::Merge { from: ResidentId::from_bytes(*id.as_bytes()) };
    on_stream(&state, &command, into, command.body.occurred_at.as_deref(), if_match, &change).await
}

pub(super) async fn decline_merge(
    Extract(state): Extract<State>,
    PathOf(id): PathOf<Uuid>,
    if_match: IfMatch,
    command: Command<MergeBody>,
) -> Result<Receipt, Problem> {
    let into = ResidentId::from_bytes(*command.body.into.as_bytes());
    let change = Change::DeclineMerge { from: ResidentId::from_bytes(*id.as_bytes()) };
    on_stream(&state, &command, into, command.body.occurred_at.as_deref(), if_match, &change).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MoveBody {
    home_id: Uuid,
    moved_in_on: String,
    occurred_at: Option<String>,
}

pub(super) async fn move_home(
    Extract(state): Extract<State>,
    PathOf(id): PathOf<Uuid>,
    if_match: IfMatch,
    command: Command<MoveBody>,
) -> Result<Receipt, Problem> {
    let on = day("moved_in_on", &command.body.moved_in_on, now_us())?;
    let home = HomeId::from_bytes(*command.body.home_id.as_bytes());
    must_be_a_home(&state, home).await?;
    let (id, _) = state.streams.resolve(ResidentId::from_bytes(*id.as_bytes())).await?;
    on_stream(&state, &command, id, command.body.occurred_at.as_deref(), if_match, &Change::Move { home, on }).await
}

impl Change {
    /// What follows on the stream of `id`, and its version before.
    async fn decide(&self, state: &State, id: ResidentId) -> Result<(Vec<Event>, u64), Problem> {
        let (resident, version) = state.streams.resident(id).await?;
        let decided = match *self {
            Change::Merge { from } => {
                let (other, _) = state.streams.resident(from).await?;
                let (other_is, _) = state.streams.resolve(from).await?;
                let (survivor_is, _) = state.streams.resolve(id).await?;
                if survivor_is != id {
                    // Also what keeps edges from forming a circle.
                    return Err(refused(if survivor_is == from { Rejection::AlreadyMerged } else { Rejection::MergedElsewhere }));
                }
                decide::merge(&resident, Merge { from, into: id, cause: MergeCause::Person, other: &other, other_is })
            }
            Change::DeclineMerge { from } => decide::decline_merge(&resident, from, id),
            Change::Move { .. } if version == 0 => return Err(not_found()),
            Change::Move { home, on } => decide::move_resident(&resident, home, on),
        };
        Ok((decided.map_err(refused)?, version))
    }
}

/// A command on one resident's stream: decided, appended under its key, repeated harmlessly.
async fn on_stream<B>(
    state: &State,
    command: &Command<B>,
    id: ResidentId,
    occurred_at: Option<&str>,
    if_match: IfMatch,
    change: &Change,
) -> Result<Receipt, Problem> {
    let now = now_us();
    let occurred = occurred(state, &command.caller, occurred_at, now)?;
    let cause = service::cause(&command.caller, *id.bytes());
    let stream: StreamId = id.into();
    let store = state.streams.kernel.store.as_ref();
    let attempted = retrying::<u64, Problem, _, _>(store, || async {
        let (events, version) = change.decide(state, id).await?;
        if_match.check(version)?;
        let version_after = version + events.len() as u64;
        let mut unit = Unit { claims: vec![service::idempotent(&command.key, command.body_digest, stream, version_after, now)], ..Unit::default() };
        unit.writes.extend(state.streams.write(stream, version, &events, &occurred, &cause, now).await?);
        if let Change::Merge { from } = *change {
            // Whose id means somebody else now: what was open about them is settled with it.
            let (other, at) = state.streams.resident(from).await?;
            unit.writes.extend(state.streams.write(from.into(), at, &decide::let_go(&other), &occurred, &cause, now).await?);
        }
        Ok((unit, version_after))
    })
    .await;
    match attempted {
        Ok(Attempted::Committed { position, value }) => Ok(service::receipt(stream, value, position)),
        Ok(Attempted::Claimed(holder)) => service::repeated(&holder, command.body_digest),
        // The first request may be what a rule refuses its repeat for.
        Err(problem) => match service::earlier(store, &command.key, command.body_digest).await? {
            Some(receipt) => Ok(receipt),
            None => Err(problem),
        },
    }
}

async fn by_number(state: &State, number: &NhsNumber, born: &DateOfBirth) -> Result<Vec<ResidentBody>, Problem> {
    let Some(id) = state.streams.holder_of(number).await? else { return Ok(Vec::new()) };
    let (resident, _) = state.streams.resident(id).await?;
    let agrees = |r: &&Registered| r.person.known().is_some_and(|p| p.date_of_birth == *born);
    Ok(resident.registered().filter(agrees).and_then(|r| body_of(id, r)).into_iter().collect())
}

async fn in_home(state: &State, home: HomeId) -> Result<Vec<ResidentBody>, Problem> {
    let store = &state.streams.kernel.store;
    let rows = store
        .query(
            "select id from identities where home = $1 and registered = 1 and not exists (select 1 from alias_edges where from_id = identities.id) order by id",
            &[(*home.bytes()).into()],
        )
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let id = ResidentId::from_bytes(row.id(0));
        let (resident, _) = state.streams.resident(id).await?;
        found.extend(resident.registered().and_then(|r| body_of(id, r)));
    }
    Ok(found)
}

/// None where the personal data has been destroyed: then nobody is there to be shown.
fn body_of(id: ResidentId, registered: &Registered) -> Option<ResidentBody> {
    let person = registered.person.known()?;
    Some(ResidentBody {
        id: Uuid::from_bytes(*id.bytes()),
        home_id: registered.home.map(|h| Uuid::from_bytes(*h.bytes())),
        family_name: person.name.family().to_owned(),
        given_names: person.name.given().split_whitespace().map(str::to_owned).collect(),
        date_of_birth: person.date_of_birth.to_iso(),
        nhs_number: person.nhs_number.as_ref().map(|n| n.as_str().to_owned()),
    })
}

async fn audited(state: &State, audit: Vec<AuditRow>) -> Result<(), Problem> {
    match state.streams.kernel.store.append(Unit { audit, ..Unit::default() }).await? {
        Answer::Committed { .. } => Ok(()),
        _ => Err(NotNow::Other("an audit row was not taken".to_owned()).into()),
    }
}

async fn must_be_a_home(state: &State, home: HomeId) -> Result<(), Problem> {
    let rows = state.streams.kernel.store.query("select 1 from homes where id = $1", &[(*home.bytes()).into()]).await?;
    if rows.is_empty() { Err(refused(Rejection::HomeUnknown)) } else { Ok(()) }
}

fn occurred(state: &State, caller: &Caller, at: Option<&str>, now: i64) -> Result<Occurred, Problem> {
    let at = at.map(|at| at.parse::<Timestamp>().map_err(|_| invalid_field("occurred_at", "a time of RFC 3339 with its offset"))).transpose()?;
    service::occurred(caller, at, None, now, state.late_entry_days, state.live)
}

fn person(body: &RegisterBody, now: i64) -> Result<Person, Problem> {
    let given = match &body.given_names {
        GivenNames::One(name) => name.clone(),
        GivenNames::Many(names) => names.join(" "),
    };
    Ok(Person {
        name: PersonName::parse(&body.family_name, &given).map_err(|e| invalid_field("family_name", e.to_string()))?,
        date_of_birth: date_of_birth(&body.date_of_birth, now)?,
        nhs_number: body.nhs_number.as_deref().map(nhs_number).transpose()?,
    })
}

fn practice(body: &RegisterBody) -> Result<Option<OdsCode>, Problem> {
    body.practice_ods.as_deref().map(|ods| OdsCode::parse(ods).map_err(|e| invalid_field("practice_ods", e.to_string()))).transpose()
}

fn nhs_number(text: &str) -> Result<NhsNumber, Problem> {
    NhsNumber::parse(text).map_err(|e| invalid_field("nhs_number", e.to_string()))
}

fn date_of_birth(text: &str, now: i64) -> Result<DateOfBirth, Problem> {
    let today = london_date(now).map_err(|e| invalid_field("date_of_birth", e.to_string()))?;
    DateOfBirth::parse(text).and_then(|born| born.not_after(today)).map_err(|e| invalid_field("date_of_birth", e.to_string()))
}

fn day(field: &'static str, text: &str, now: i64) -> Result<Date, Problem> {
    let day: Date = text.parse().map_err(|_| invalid_field(field, "YYYY-MM-DD"))?;
    let past = london_date(now).is_ok_and(|today| day <= today);
    if past { Ok(day) } else { Err(invalid_field(field, "not in the future")) }
}
