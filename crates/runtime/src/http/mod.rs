//! The HTTP shell: everything about a request that is alike in every service.
//!
//! A service states its routes as a slice of [`Route`]: path, roles, scope, command or query, handler. [`Shell::mount`]
//! puts the same guard before each, in this order: trace, token, role, caller's limit, `Idempotency-Key`, reason,
//! commands paused, same key still running; only then is the body read, by the extractor the handler names. What
//! remains for the service is to ask [`crate::auth::Caller`] whether a thing is the caller's own.
//!
//! Refusals are [`Problem`]s with a stable code ([`codes`]) and never repeat what was sent.

pub mod codes;
mod extract;
mod gate;
mod in_flight;
mod json;
mod limit;
mod problem;
mod route;
mod serve;
mod shell;

pub use extract::{Command, CommandBytes, IdempotencyKey, IfMatch, PathOf, QueryOf, Reason, Receipt, Search};
pub use gate::Gate;
pub use problem::{
    FieldError, Problem, internal, invalid_field, key_reused, not_found, not_here_yet, outcome_unknown, rejected, unavailable, version_conflict,
};
pub use route::{AccessRow, Kind, Route, Scope, access_table};
pub use serve::{ServeError, bind, serve};
pub use shell::{Shell, ShellBuilder};
