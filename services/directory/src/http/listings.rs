//! What is read without opening anything personal.

use super::State;
use crate::domain::TaskKind;
use crate::wire;
use axum::Json;
use axum::extract::State as Extract;
use hearthline_eventing::{Row, identity};
use hearthline_nhs::HomeId;
use hearthline_runtime::auth::Caller;
use hearthline_runtime::http::{PathOf, Problem, not_found};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

const HOME_COLUMNS: &str =
    "select id, ods_code, name, town, postcode, beds, home_type, latitude, longitude, live_from, email_verified_on, practice_ods from homes";

#[derive(Serialize)]
pub(super) struct Homes {
    homes: Vec<Home>,
}

#[derive(Serialize)]
pub(super) struct Home {
    id: Uuid,
    ods_code: String,
    name: String,
    town: String,
    postcode: String,
    beds: i64,
    home_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    latitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    longitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    live_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secure_email_verified_on: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    practice_ods: Option<String>,
}

pub(super) async fn homes(Extract(state): Extract<State>, caller: Caller) -> Result<Json<Homes>, Problem> {
    let rows = state.streams.kernel.store.query(&format!("{HOME_COLUMNS} order by name, id"), &[]).await?;
    let homes = rows.iter().filter(|row| caller.sees_home(HomeId::from_bytes(row.id(0)))).map(home_of).collect();
    Ok(Json(Homes { homes }))
}

pub(super) async fn home(Extract(state): Extract<State>, caller: Caller, PathOf(id): PathOf<Uuid>) -> Result<Json<Home>, Problem> {
    caller.must_see_home(HomeId::from_bytes(*id.as_bytes()))?;
    let rows = state.streams.kernel.store.query(&format!("{HOME_COLUMNS} where id = $1"), &[(*id.as_bytes()).into()]).await?;
    rows.first().map(home_of).map(Json).ok_or_else(not_found)
}

#[derive(Serialize)]
pub(super) struct IdentityOf {
    id: Uuid,
    resolved_id: Uuid,
    registered: bool,
    merge_pending: bool,
}

pub(super) async fn identity(Extract(state): Extract<State>, PathOf(id): PathOf<Uuid>) -> Result<Json<IdentityOf>, Problem> {
    let found = identity::resolve(state.streams.kernel.store.as_ref(), *id.as_bytes()).await?;
    Ok(Json(IdentityOf { id, resolved_id: Uuid::from_bytes(found.id), registered: found.registered, merge_pending: found.merge_pending }))
}

#[derive(Serialize)]
pub(super) struct Tasks {
    tasks: Vec<Task>,
}

#[derive(Serialize)]
struct Task {
    id: Uuid,
    kind: String,
    role: &'static str,
    due_at: Option<String>,
    overdue: bool,
    stream: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_id: Option<Uuid>,
}

pub(super) async fn tasks(Extract(state): Extract<State>) -> Result<Json<Tasks>, Problem> {
    let now = hearthline_eventing::now_us();
    let rows = state.streams.kernel.store.query("select id, stream, kind, due_at, subject from tasks order by due_at, id", &[]).await?;
    let tasks = rows.iter().map(|row| Task {
        id: Uuid::from_bytes(row.id(0)),
        stream: Uuid::from_bytes(row.id(1)),
        kind: row.text(2).to_owned(),
        role: TaskKind::parse(row.text(2)).map_or("operator", wire::task_role_word),
        due_at: instant(row.int(3)),
        overdue: row.int(3) < now,
        subject_id: row.opt_id(4).map(Uuid::from_bytes),
    });
    Ok(Json(Tasks { tasks: tasks.collect() }))
}

fn home_of(row: &Row) -> Home {
    let degrees = |i: usize| row.opt_int(i).map(|micro| micro as f64 / 1e6);
    Home {
        id: Uuid::from_bytes(row.id(0)),
        ods_code: row.text(1).to_owned(),
        name: row.text(2).to_owned(),
        town: row.text(3).to_owned(),
        postcode: row.text(4).to_owned(),
        beds: row.int(5),
        home_type: row.text(6).to_owned(),
        latitude: degrees(7),
        longitude: degrees(8),
        live_from: row.opt_int(9).and_then(instant),
        secure_email_verified_on: row.opt_text(10).map(str::to_owned),
        practice_ods: row.opt_text(11).map(str::to_owned),
    }
}

fn instant(at_us: i64) -> Option<String> {
    Timestamp::from_microsecond(at_us).ok().map(|at| at.to_string())
}
