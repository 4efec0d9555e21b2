//! Named checks behind `/livez` and `/readyz`: what is wrong and what to do about it, in JSON.
//!
//! Whoever owns a condition holds its [`Check`] and says when it changes; nothing is probed at request time, so a
//! health request costs nothing and cannot hang.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

/// What a failing check means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// The process should be restarted.
    Live,
    /// The process should get no requests for now.
    Ready,
}

#[derive(Debug, Clone)]
enum State {
    /// Not said yet: not ready, but alive.
    Starting,
    Well,
    Failing {
        problem: String,
        remedy: String,
    },
}

#[derive(Debug)]
struct Entry {
    probe: Probe,
    state: State,
    beat: Option<(Instant, Duration)>,
}

/// All checks of one process.
#[derive(Debug, Clone, Default)]
pub struct Health {
    checks: Arc<RwLock<BTreeMap<String, Entry>>>,
}

/// One condition; its owner says how it stands.
#[derive(Debug, Clone)]
pub struct Check {
    health: Health,
    name: String,
}

/// How a check stands, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The name.
    pub name: String,
    /// Whether all is well.
    pub ok: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub problem: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    checks: Vec<CheckReport>,
}

impl Health {
    /// A process without checks: alive and ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that must hold before requests are taken. It fails as "starting" until its owner says more.
    pub fn readiness(&self, name: impl Into<String>) -> Check {
        self.add(name.into(), Probe::Ready, State::Starting, None)
    }

    /// Adds a loop that must go round at least every `at_most`; otherwise the process should be restarted.
    pub fn heartbeat(&self, name: impl Into<String>, at_most: Duration) -> Check {
        self.add(name.into(), Probe::Live, State::Well, Some((Instant::now(), at_most)))
    }

    /// How all checks of a probe stand, by name. Readiness includes liveness.
    pub fn report(&self, probe: Probe) -> Vec<CheckReport> {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner);
        let asked = checks.iter().filter(|(_, entry)| probe == Probe::Ready || entry.probe == Probe::Live);
        asked.map(|(name, entry)| entry.report(name)).collect()
    }

    /// Whether every check of a probe is well.
    pub fn is_ok(&self, probe: Probe) -> bool {
        self.report(probe).iter().all(|check| check.ok)
    }

    /// `/livez` and `/readyz`, without a token.
    pub fn router(&self) -> Router {
        let (live, ready) = (self.clone(), self.clone());
        Router::new()
            .route("/livez", get(move || async move { live.answer(Probe::Live) }))
            .route("/readyz", get(move || async move { ready.answer(Probe::Ready) }))
    }

    fn answer(&self, probe: Probe) -> Response {
        let checks = self.report(probe);
        let ok = checks.iter().all(|check| check.ok);
        let (status, word) = match ok {
            true => (StatusCode::OK, "ok"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
        };
        let report = Report { status: word, checks };
        (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(report)).into_response()
    }

    fn add(&self, name: String, probe: Probe, state: State, beat: Option<(Instant, Duration)>) -> Check {
        let entry = Entry { probe, state, beat };
        self.checks.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), entry);
        Check { health: self.clone(), name }
    }
}

impl Check {
    /// All is well; for a heartbeat: the loop has gone round.
    pub fn well(&self) {
        self.set(State::Well);
    }

    /// Something is wrong, and what to do about it. No personal data: this is shown without a token.
    pub fn failing(&self, problem: impl Into<String>, remedy: impl Into<String>) {
        self.set(State::Failing { problem: problem.into(), remedy: remedy.into() });
    }

    fn set(&self, state: State) {
        let mut checks = self.health.checks.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = checks.get_mut(&self.name) {
            entry.state = state;
            if let Some((at, _)) = &mut entry.beat {
                *at = Instant::now();
            }
        }
    }
}

impl Entry {
    fn report(&self, name: &str) -> CheckReport {
        let (ok, problem, remedy) = match (&self.state, &self.beat) {
            (State::Failing { problem, remedy }, _) => (false, problem.clone(), remedy.clone()),
            (State::Starting, _) => (false, "starting".to_owned(), "wait; if it stays, see the log".to_owned()),
            (State::Well, Some((at, at_most))) if at.elapsed() > *at_most => {
                let problem = format!("has not gone round for {} s", at.elapsed().as_secs());
                (false, problem, "restart the process and report the log".to_owned())
            }
            (State::Well, _) => (true, String::new(), String::new()),
        };
        CheckReport { name: name.to_owned(), ok, problem, remedy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_once_every_check_has_said_so() {
        let health = Health::new();
        assert!(health.is_ok(Probe::Ready));
        let relay = health.readiness("relay");
        assert!(!health.is_ok(Probe::Ready) && health.is_ok(Probe::Live));
        relay.well();
        assert!(health.is_ok(Probe::Ready));
        relay.failing("the log does not know record 7", "run hearthline recover");
        let report = &health.report(Probe::Ready)[0];
        assert_eq!((report.ok, report.remedy.as_str()), (false, "run hearthline recover"));
    }

    #[test]
    fn a_loop_that_stands_still_is_not_alive_and_not_ready() {
        let health = Health::new();
        let still = health.heartbeat("consumer", Duration::ZERO);
        still.well();
        while health.is_ok(Probe::Live) {
            std::hint::spin_loop();
        }
        assert!(!health.is_ok(Probe::Ready));
        let moving = Health::new();
        moving.heartbeat("consumer", Duration::from_secs(60)).well();
        assert!(moving.is_ok(Probe::Live));
    }
}
