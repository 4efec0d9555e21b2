//! The guard before every handler, and the router around all of them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::{KeyValue, StringValue};
use tokio_util::task::TaskTracker;
use tracing::instrument::{Instrument, WithSubscriber};
use tracing::{Dispatch, Span, field};

use super::codes;
use super::extract::{Admitted, IdempotencyKey, Reason, too_large};
use super::gate::Gate;
use super::in_flight::InFlight;
use super::limit::CallerLimit;
use super::problem::{Problem, ProblemCode, internal, not_found};
use super::route::{Kind, Route};
use crate::auth::{AuthError, Caller, Role, Verifier};
use crate::trace::{self, TraceSpan};
use hearthline_nhs::OdsCode;

/// Bounds of the request duration, in seconds.
const DURATION_BOUNDS_S: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The HTTP shell of one process. Cheap to clone; services mount their routes on it and the process serves
/// [`Shell::finish`] of all of them.
#[derive(Clone)]
pub struct Shell {
    shared: Arc<Shared>,
}

struct Shared {
    verifier: Arc<Verifier>,
    controller: Option<OdsCode>,
    body_limit_bytes: usize,
    limit: CallerLimit,
    in_flight: InFlight,
    commands: TaskTracker,
    meter: Option<Meter>,
    duration: Option<Histogram<f64>>,
    dispatch: Option<Dispatch>,
}

/// Builds a [`Shell`].
pub struct ShellBuilder {
    controller: Option<OdsCode>,
    verifier: Arc<Verifier>,
    body_limit_bytes: usize,
    requests_per_second: u32,
    meter: Option<Meter>,
    dispatch: Option<Dispatch>,
}

impl ShellBuilder {
    /// The largest body taken, in bytes (1 MiB unless said). A route may differ.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit_bytes = bytes;
        self
    }

    /// Requests per second and caller, with a burst of twice that; zero (unless said) is no limit.
    #[must_use]
    pub fn requests_per_second(mut self, per_second: u32) -> Self {
        self.requests_per_second = per_second;
        self
    }

    /// Where request durations are counted.
    #[must_use]
    pub fn meter(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }

    /// The subscriber for everything that runs inside a request; without it the current one.
    #[must_use]
    pub fn dispatch(mut self, dispatch: Dispatch) -> Self {
        self.dispatch = Some(dispatch);
        self
    }

    /// The organisation that runs this hub: the tokens of its staff must name it. Homes, analysts and trusts' engineers come
    /// from other organisations; without it nobody's organisation is asked.
    #[must_use]
    pub fn controller(mut self, controller: OdsCode) -> Self {
        self.controller = Some(controller);
        self
    }

    /// The shell.
    pub fn build(self) -> Shell {
        let duration = self.meter.as_ref().map(|meter| {
            meter
                .f64_histogram("http.server.request.duration")
                .with_unit("s")
                .with_description("Duration of HTTP requests by route template and status")
                .with_boundaries(DURATION_BOUNDS_S.to_vec())
                .build()
        });
        Shell {
            shared: Arc::new(Shared {
                verifier: self.verifier,
                controller: self.controller,
                body_limit_bytes: self.body_limit_bytes,
                limit: CallerLimit::per_second(self.requests_per_second),
                in_flight: InFlight::default(),
                commands: TaskTracker::new(),
                meter: self.meter,
                duration,
                dispatch: self.dispatch,
            }),
        }
    }
}

impl Shell {
    /// A shell that verifies tokens with `verifier`.
    pub fn builder(verifier: Arc<Verifier>) -> ShellBuilder {
        ShellBuilder { verifier, controller: None, body_limit_bytes: 1 << 20, requests_per_second: 0, meter: None, dispatch: None }
    }

    /// Where services count what they do, if anything is counted.
    pub fn meter(&self) -> Option<&Meter> {
        self.shared.meter.as_ref()
    }

    /// A service's routes behind the guard. Routers of several services are merged by the caller.
    ///
    /// # Panics
    /// Where two routes have the same method and path, or a route that is not public names no role: programmers'
    /// errors, met at start.
    pub fn mount<S: Clone + Send + Sync + 'static>(&self, routes: Vec<Route<S>>, state: S) -> Router {
        self.mount_behind(routes, state, Gate::open())
    }

    /// As [`Shell::mount`], with a gate that can pause this service's commands.
    ///
    /// # Panics
    /// As [`Shell::mount`].
    pub fn mount_behind<S: Clone + Send + Sync + 'static>(&self, routes: Vec<Route<S>>, state: S, gate: Gate) -> Router {
        let mut router = Router::new();
        for route in routes {
            assert!((route.kind == Kind::Public) == route.roles.is_empty(), "{} {}: a route names its roles unless it is public", route.method, route.path);
            let guard = Arc::new(Guard {
                name: format!("{} {}", route.method, route.path),
                method_value: StringValue::from(Arc::from(route.method.as_str())),
                method: route.method.to_string(),
                path: route.path,
                roles: route.roles,
                kind: route.kind,
                reads_personal: route.reads_personal,
                body_limit_bytes: route.body_limit_bytes.unwrap_or(self.shared.body_limit_bytes),
                gate: gate.clone(),
                shared: self.shared.clone(),
            });
            let handler = route.handler.route_layer(from_fn_with_state(guard, guarded));
            router = router.route(route.path, handler);
        }
        router.with_state(state)
    }

    /// Puts what is the same for all around the merged routers: 404 and 405 as problems.
    pub fn finish(&self, router: Router) -> Router {
        router.fallback(|| async { not_found() }).method_not_allowed_fallback(|| async { Problem::of(codes::METHOD_NOT_ALLOWED) })
    }

    /// Waits until the commands that are running have ended, also those whose callers have hung up.
    pub async fn drain(&self) {
        self.shared.commands.close();
        self.shared.commands.wait().await;
    }
}

/// One route's guard.
struct Guard {
    name: String,
    method: String,
    /// The method again, shared, so that counting a request copies no text.
    method_value: StringValue,
    path: &'static str,
    roles: &'static [Role],
    kind: Kind,
    reads_personal: bool,
    body_limit_bytes: usize,
    gate: Gate,
    shared: Arc<Shared>,
}

async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.shared.dispatch.clone() {
        Some(dispatch) => traced(guard, request, next).with_subscriber(dispatch).await,
        None => traced(guard, request, next).await,
    }
}

/// Span, duration and `traceparent` around the request.
async fn traced(guard: Arc<Guard>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let span = tracing::info_span!(
        "http.request",
        otel.name = guard.name,
        otel.kind = "server",
        http.request.method = guard.method,
        http.route = guard.path,
        http.response.status_code = field::Empty,
        hearthline.role = field::Empty,
        hearthline.problem = field::Empty,
    );
    if let Some(parent) = request.headers().get("traceparent").and_then(|v| v.to_str().ok()) {
        // A malformed traceparent starts a trace of its own (W3C Trace Context, 4.3).
        let _ = span.set_parent_from(parent);
    }
    let mut response = admit_and_run(&guard, request, next).instrument(span.clone()).await;
    guard.observe(&span, &mut response, started.elapsed());
    response
}

async fn admit_and_run(guard: &Arc<Guard>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let admitted = match guard.admit(&parts.headers, &parts.uri).await {
        Ok(admitted) => admitted,
        Err(problem) => return problem.into_response(),
    };
    let digest = admitted.key.as_ref().map(|key| key.digest);
    parts.extensions.insert(admitted);
    let request = Request::from_parts(parts, body);
    let Some(digest) = digest else {
        return run(request, next).await;
    };
    let Some(running) = guard.shared.in_flight.enter(digest) else {
        return Problem::of(codes::STILL_RUNNING).retry_after(1).into_response();
    };
    // A command runs to its end even if the caller hangs up: what it has begun outside must be recorded.
    let command = async move {
        let response = run(request, next).await;
        drop(running);
        response
    };
    let task = guard.shared.commands.spawn(command.in_current_span().with_current_subscriber());
    task.await.unwrap_or_else(|_| internal().into_response())
}

/// Runs the handler; a panic becomes a 500 and ends nothing else.
async fn run(request: Request, next: Next) -> Response {
    let handled = std::panic::AssertUnwindSafe(next.run(request)).catch_unwind();
    handled.await.unwrap_or_else(|_| {
        tracing::error!(code = codes::INTERNAL.code, "a handler panicked");
        internal().into_response()
    })
}

impl Guard {
    /// All that is asked before the body is read.
    async fn admit(&self, headers: &HeaderMap, uri: &axum::http::Uri) -> Result<Admitted, Problem> {
        let caller = match self.kind {
            Kind::Public => None,
            Kind::Command | Kind::Query => Some(self.identify(headers).await?),
        };
        let mut key = None;
        if let (Kind::Command, Some(caller)) = (self.kind, &caller) {
            key = Some(IdempotencyKey::read(headers, &self.method, uri.path(), caller)?);
            self.gate.pass()?;
        }
        let reason = match self.reads_personal {
            true => Some(Reason::read(headers, uri.query())?),
            false => None,
        };
        if declared_length(headers).is_some_and(|length| length > self.body_limit_bytes as u64) {
            return Err(too_large(self.body_limit_bytes));
        }
        Ok(Admitted { caller, key, reason, body_limit_bytes: self.body_limit_bytes })
    }

    async fn identify(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let token = bearer(headers).ok_or_else(|| AuthError::Missing.problem())?;
        let verified = self.shared.verifier.verify(token, SystemTime::now()).await;
        let caller = verified.map_err(|error| error.problem())?;
        Span::current().record("hearthline.role", caller.role.as_str());
        if !self.roles.contains(&caller.role) {
            let may: Vec<_> = self.roles.iter().map(|role| role.as_str()).collect();
            return Err(Problem::of(codes::ROLE_NOT_ALLOWED).detail(format!("{} may not; may: {}", caller.role, may.join(", "))));
        }
        let hub_staff = match caller.role {
            Role::CallHandler | Role::Clinician | Role::Prescriber | Role::Operator | Role::PrivacyOfficer | Role::SafetyOfficer => true,
            Role::CareHome | Role::Analyst | Role::TrustEngineer => false,
        };
        if let Some(controller) = self.shared.controller.as_ref().filter(|_| hub_staff) {
            caller.must_act_for_organisation(controller)?;
        }
        let taken = self.shared.limit.take(&caller.subject, Instant::now());
        taken.map_err(|wait_s| Problem::of(codes::TOO_MANY_REQUESTS).retry_after(wait_s))?;
        Ok(caller)
    }

    fn observe(&self, span: &Span, response: &mut Response, took: Duration) {
        let status = response.status().as_u16();
        span.record("http.response.status_code", status);
        if let Some(ProblemCode(code)) = response.extensions().get::<ProblemCode>() {
            span.record("hearthline.problem", code.as_ref());
        }
        if let Some(traceparent) = trace::traceparent_of(span)
            && let Ok(value) = HeaderValue::from_str(&traceparent)
        {
            response.headers_mut().insert("traceparent", value);
        }
        if let Some(duration) = &self.shared.duration {
            let attributes = [
                KeyValue::new("http.request.method", self.method_value.clone()),
                KeyValue::new("http.route", self.path),
                KeyValue::new("http.response.status_code", i64::from(status)),
            ];
            duration.record(took.as_secs_f64(), &attributes);
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
