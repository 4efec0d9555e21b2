//! What a service is to the process that runs it, and the few sentences every command handler needs: whose act it is, when it
//! happened, the claim that makes a repeat harmless, the audit row of a read.

use crate::auth::{Caller, Role};
use crate::http::{AccessRow, IdempotencyKey, Problem, Receipt, internal, invalid_field, key_reused, outcome_unknown, unavailable};
use hearthline_contracts::envelope::ActorRole;
use hearthline_eventing::{Actor, AuditRow, Cause, Claim, ClaimHolder, ClaimRule, Kernel, NotNow, Occurred, Store, StoreError, Workers, trace};
use hearthline_nhs::StreamId;
use hearthline_nhs::words::Word;
use jiff::Timestamp;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A long-running task of a service beside the kernel's workers (a listener). It ends with the token; ending before is a
/// failure of the process.
pub type Task = Box<dyn FnOnce(CancellationToken) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send>;

/// A service, built and not yet running.
pub struct Built {
    pub name: &'static str,
    pub kernel: Kernel,
    /// The service's routes, mounted behind the shell's guard.
    pub router: axum::Router,
    pub access: Vec<AccessRow>,
    pub workers: Workers,
    pub tasks: Vec<(&'static str, Task)>,
    /// Where a socket was bound at build time, its address by name (`mllp`, `mllp:north`).
    pub addresses: Vec<(String, std::net::SocketAddr)>,
}

/// Scope of idempotency claims.
pub const IDEMPOTENCY: &str = "idempotency";
const IDEMPOTENCY_KEPT_US: i64 = 7 * 24 * 3_600 * 1_000_000;
/// An offered time may be this far ahead of our clock before it counts as the future.
const CLOCK_TOLERANCE_US: i64 = 2_000_000;

/// The actor that a caller is in events.
pub fn actor(caller: &Caller) -> Actor {
    let role = match caller.role {
        Role::CareHome => ActorRole::CareHome,
        Role::CallHandler => ActorRole::CallHandler,
        Role::Clinician => ActorRole::Clinician,
        Role::Prescriber => ActorRole::Prescriber,
        Role::Analyst => ActorRole::Analyst,
        Role::Operator => ActorRole::Operator,
        Role::TrustEngineer => ActorRole::TrustEngineer,
        Role::PrivacyOfficer => ActorRole::PrivacyOfficer,
        Role::SafetyOfficer => ActorRole::SafetyOfficer,
    };
    Actor { role, pseudonym: caller.subject }
}

/// What a caller's command causes; `correlation` is the call's id wherever there is a call.
pub fn cause(caller: &Caller, correlation: [u8; 16]) -> Cause {
    Cause { actor: actor(caller), causation: None, correlation, traceparent: trace::current() }
}

/// The claim that makes a repeated request give the same answer: kept seven days.
pub fn idempotent(key: &IdempotencyKey, body_digest: [u8; 32], owner: StreamId, version: u64, now: i64) -> Claim {
    Claim {
        scope: IDEMPOTENCY,
        key: key.digest.to_vec().into(),
        digest: body_digest.to_vec().into(),
        owner,
        version,
        expires_at: Some(now + IDEMPOTENCY_KEPT_US),
        rule: ClaimRule::Unique,
    }
}

/// The receipt of the request that came first under this key, or the refusal of another body under it.
pub fn repeated(holder: &ClaimHolder, body_digest: [u8; 32]) -> Result<Receipt, Problem> {
    if holder.digest.as_ref() != body_digest {
        return Err(key_reused());
    }
    Ok(receipt(holder.owner, holder.version, holder.position))
}

/// The receipt of an earlier request under this key, where there was one. Asked when a rule refuses: a repeat of a command
/// that took effect must hear its receipt again and not that its effect is in the way.
pub async fn earlier(store: &dyn Store, key: &IdempotencyKey, body_digest: [u8; 32]) -> Result<Option<Receipt>, Problem> {
    let rows =
        store.query("select digest, owner, version, position from claims where scope = $1 and key = $2", &[IDEMPOTENCY.into(), key.digest.into()]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    if row.blob(0).as_ref() != body_digest {
        return Err(key_reused());
    }
    Ok(Some(receipt(row.stream(1), row.int(2).unsigned_abs(), row.int(3).unsigned_abs())))
}

/// How long a command waits for a fact of another topic that it names, before it answers 503 `not_here_yet`.
pub const NAMED_FACTS_WAIT: Duration = Duration::from_secs(2);
/// Between two looks at what is awaited. Commits of what was consumed wake nobody, so waiting is looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Looks until there is something to see, for at most `patience`. `None`: it has not come.
pub async fn wait_for<T, F, Fut>(patience: Duration, mut look: F) -> Result<Option<T>, StoreError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>, StoreError>>,
{
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look().await? {
            return Ok(Some(seen));
        }
        if Instant::now() + LOOK_AGAIN > deadline {
            return Ok(None);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A time out of a body, RFC 3339 with an offset; 400 naming the field.
pub fn instant(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    text.map(|text| text.parse().map_err(|_| invalid_field(field, "a time such as 2026-11-22T02:10:00Z"))).transpose()
}

/// A code word out of a body; 400 naming the field and the words allowed.
pub fn word<T: Word>(field: &str, text: &str) -> Result<T, Problem> {
    T::parse(text).map_err(|unknown| invalid_field(field, unknown.to_string()))
}

/// As [`word`], for a field that may be left out.
pub fn opt_word<T: Word>(field: &str, text: Option<&str>) -> Result<Option<T>, Problem> {
    text.map(|text| word(field, text)).transpose()
}

/// A time (µs UTC) as answers write it; empty for one outside the calendar.
pub fn rfc3339(at_us: i64) -> String {
    Timestamp::from_microsecond(at_us).map_or_else(|_| String::new(), |at| at.to_string())
}

/// An identifier as answers write it.
pub fn uuid_of(id: [u8; 16]) -> uuid::Uuid {
    uuid::Uuid::from_bytes(id)
}

/// A fresh identifier: 74 random bits behind 48 of the time (UUID version 7), so that what begins together lies together in
/// every index. Wholly random ones made each commit touch twice as many pages.
pub fn fresh_id() -> [u8; 16] {
    *uuid::Uuid::now_v7().as_bytes()
}

pub fn receipt(stream: StreamId, version: u64, position: u64) -> Receipt {
    Receipt { stream: uuid::Uuid::from_bytes(*stream.bytes()), version, position }
}

/// An audit row for a read of, or an act on, personal data.
pub fn audit(caller: &Caller, action: &'static str, whose: Option<[u8; 16]>, why: impl Into<String>, now: i64) -> AuditRow {
    AuditRow { at: now, role: caller.role.as_str(), pseudonym: caller.subject, organisation: caller.org.to_string(), action, whose, why: why.into() }
}

/// When a command's facts occurred. Without `occurred_at`, now. With it (late entry): call handlers and clinicians, prescribers in
/// test and training; not in the future, not before `not_before` (the call's opening), at most `late_entry_days` back.
pub fn occurred(
    caller: &Caller,
    occurred_at: Option<Timestamp>,
    not_before: Option<i64>,
    now: i64,
    late_entry_days: u32,
    live: bool,
) -> Result<Occurred, Problem> {
    let Some(at) = occurred_at else {
        return Ok(Occurred::at(now));
    };
    let field = |allowed: &str| Err(invalid_field("occurred_at", allowed));
    match caller.role {
        Role::CallHandler | Role::Clinician => {}
        Role::Prescriber if !live => {}
        Role::CareHome => return field("left out: a home does not enter afterwards"),
        _ => return field("left out: this role does not enter afterwards"),
    }
    let at_us = at.as_microsecond();
    if at_us > now + CLOCK_TOLERANCE_US {
        return field("not in the future");
    }
    if at_us < now - i64::from(late_entry_days) * 24 * 3_600 * 1_000_000 {
        return Err(invalid_field("occurred_at", format!("at most {late_entry_days} days back")));
    }
    if not_before.is_some_and(|opened| at_us < opened) {
        return field("not before the call was opened");
    }
    Ok(Occurred { late_entry: true, ..Occurred::at(at_us) })
}

/// Our own trouble as a problem.
impl From<NotNow> for Problem {
    fn from(e: NotNow) -> Self {
        match e {
            NotNow::Store(StoreError::OutcomeUnknown) => outcome_unknown(),
            NotNow::Store(StoreError::Refused(why)) => {
                tracing::error!(why, "a unit was refused by the store");
                internal()
            }
            NotNow::Store(e) => unavailable(e.to_string(), 2),
            other => {
                tracing::warn!(error = %other, "a request could not be served now");
                unavailable("a dependency is not available", 2)
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Self {
        NotNow::from(e).into()
    }
}
