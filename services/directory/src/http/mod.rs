//! The directory's routes. Registers in [`registers`](self::registers), residents in [`residents`](self::residents), and what is
//! read without opening anything in [`listings`].

mod listings;
mod registers;
mod residents;

use crate::residents::Streams;
use hearthline_runtime::auth::Role;
use hearthline_runtime::http::{Problem, Route, Scope, rejected};

use crate::domain::rejection::Rejection;

/// What the handlers work with.
#[derive(Clone)]
pub struct State {
    pub streams: Streams,
    pub late_entry_days: u32,
    /// The environment is `live`.
    pub live: bool,
}

const OPERATOR: &[Role] = &[Role::Operator];
const REGISTRARS: &[Role] = &[Role::Operator, Role::CallHandler];
const SEARCHERS: &[Role] = &[Role::CallHandler, Role::Clinician, Role::Prescriber];
const IDENTITY_READERS: &[Role] = &[Role::CallHandler, Role::Clinician, Role::Prescriber, Role::Operator];
const PRIVACY: &[Role] = &[Role::PrivacyOfficer];
const HOME_READERS: &[Role] = &[Role::CareHome, Role::CallHandler, Role::Clinician, Role::Prescriber, Role::Operator, Role::Analyst];
const TASK_READERS: &[Role] = &[Role::CallHandler, Role::Clinician, Role::Operator, Role::PrivacyOfficer];

/// A register of every care home of England is below this.
const REGISTER_BYTES_MAX: usize = 16 << 20;

/// Every route of the directory.
pub fn routes() -> Vec<Route<State>> {
    vec![
        Route::post("/registers/homes", OPERATOR, Scope::Any, registers::homes).body_limit(REGISTER_BYTES_MAX),
        Route::post("/registers/practices", OPERATOR, Scope::Any, registers::practices).body_limit(REGISTER_BYTES_MAX),
        Route::post("/registers/pharmacies", OPERATOR, Scope::Any, registers::pharmacies).body_limit(REGISTER_BYTES_MAX),
        Route::post("/residents", REGISTRARS, Scope::Any, residents::register),
        Route::search("/residents/search", SEARCHERS, Scope::Any, residents::search).reads_personal(),
        Route::get("/residents/{id}", SEARCHERS, Scope::Any, residents::read).reads_personal(),
        Route::get("/residents/{id}/identity", IDENTITY_READERS, Scope::Any, listings::identity),
        Route::post("/residents/{id}/merge", PRIVACY, Scope::Any, residents::merge),
        Route::post("/residents/{id}/merge/decline", PRIVACY, Scope::Any, residents::decline_merge),
        Route::post("/residents/{id}/move", OPERATOR, Scope::Any, residents::move_home),
        Route::get("/homes", HOME_READERS, Scope::OwnHome, listings::homes),
        Route::get("/homes/{id}", HOME_READERS, Scope::OwnHome, listings::home),
        Route::get("/tasks/directory", TASK_READERS, Scope::Any, listings::tasks),
    ]
}

/// A rule's refusal as a reply.
fn refused(rejection: Rejection) -> Problem {
    rejected(rejection.code(), rejection.to_string())
}
