//! The driver as the hub's people: HTTP with tokens of each role, repeated under the same keys until there is an answer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow, bail};
use hearthline_nhs::OdsCode;
use hearthline_runtime::auth::{Grant, Issuer, Role};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use super::pace::{Moment, Pace, Step};
use super::routing::service_of;
use super::serving::Serving;

const TOKENS_FOR: Duration = Duration::from_secs(8 * 3_600);
const ONE_ATTEMPT: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_LAST: Duration = Duration::from_millis(400);
const WHY_READ: &str = "handling the resident's call";

/// A body as it is sent.
pub enum Body {
    Json(Value),
    Csv(Vec<u8>),
}

/// Signs the tokens of the demonstration; its key set lies in the folder.
pub fn issuer(folder: &Path) -> anyhow::Result<Issuer> {
    Ok(Issuer::open(folder, "hearthline", "hearthline")?)
}

pub struct Hub {
    pub serving: Arc<Serving>,
    pub pace: Arc<Pace>,
    http: reqwest::Client,
    tokens: BTreeMap<Role, String>,
    repeats: AtomicU64,
    settled_by_hand: AtomicU64,
    /// Comes before every idempotency key, so that two weeks on one folder stay apart.
    prefix: String,
}

impl Hub {
    pub fn new(serving: Arc<Serving>, pace: Arc<Pace>, issuer: &Issuer, prefix: String) -> anyhow::Result<Self> {
        let mut tokens = BTreeMap::new();
        for role in [Role::CallHandler, Role::Clinician, Role::Prescriber, Role::Operator, Role::Analyst] {
            let grant = Grant {
                subject: format!("demonstration {role}"),
                role,
                org: OdsCode::parse(super::CONTROLLER)?,
                home: None,
                session: role == Role::Prescriber,
            };
            tokens.insert(role, issuer.token(&grant, SystemTime::now(), TOKENS_FOR)?);
        }
        let http = hearthline_runtime::client::build(|c| c.timeout(ONE_ATTEMPT))?;
        Ok(Self { serving, pace, http, tokens, repeats: AtomicU64::new(0), settled_by_hand: AtomicU64::new(0), prefix })
    }

    pub fn token(&self, role: Role) -> &str {
        self.tokens.get(&role).map_or("", String::as_str)
    }

    /// How often something had to be asked again.
    pub fn repeats(&self) -> u64 {
        self.repeats.load(Ordering::Relaxed)
    }

    /// How many deliveries the driver had to settle as the person.
    pub fn settled_by_hand(&self) -> u64 {
        self.settled_by_hand.load(Ordering::Relaxed)
    }

    /// A command under a key of its own; the process may die at it.
    pub async fn command(&self, step: Step, role: Role, path: &str, key: &str, body: &Body) -> anyhow::Result<Value> {
        let key = format!("{}-{key}", self.prefix);
        let at = self.answering(path)?;
        let attempt = || {
            let request = self.request(Method::POST, role, at, path).header("idempotency-key", &key);
            match body {
                Body::Json(body) => request.json(body),
                Body::Csv(body) => request.header("content-type", "text/csv").body(body.clone()),
            }
        };
        let answer = match self.pace.next(step) {
            None => self.persist(path, attempt).await,
            Some(Moment::Before) => {
                self.serving.kill_and_restart().await?;
                self.persist(path, attempt).await
            }
            Some(Moment::During(after)) => {
                let killed = async {
                    tokio::time::sleep(after).await;
                    self.serving.kill_and_restart().await
                };
                let (answer, killed) = tokio::join!(self.persist(path, attempt), killed);
                killed?;
                answer
            }
            Some(Moment::After) => {
                self.persist(path, &attempt).await?;
                self.serving.kill_and_restart().await?;
                // The answer was lost with whoever read it: the same question must give the same answer.
                self.persist(path, attempt).await
            }
        };
        answer.with_context(|| format!("POST {path}"))
    }

    pub async fn get(&self, role: Role, path: &str) -> anyhow::Result<Value> {
        self.get_at(self.answering(path)?, role, path).await
    }

    /// From one of these processes.
    pub async fn get_at(&self, at: &[usize], role: Role, path: &str) -> anyhow::Result<Value> {
        let answer = self.persist(path, || self.request(Method::GET, role, at, path)).await;
        answer.with_context(|| format!("GET {path}"))
    }

    /// As [`Hub::get`], or none where there is no such thing (yet).
    pub async fn get_if_there(&self, role: Role, path: &str) -> anyhow::Result<Option<Value>> {
        match self.get(role, path).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if refused_with(&error, "not_found") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An operator's word on a delivery, to one of these processes. That it is settled already is what was wanted.
    pub async fn settle(&self, at: &[usize], path: &str, key: &str, body: &Value) -> anyhow::Result<()> {
        let key = format!("{}-{key}", self.prefix);
        let attempt = || self.request(Method::POST, Role::Operator, at, path).header("idempotency-key", &key).json(body);
        match self.persist(path, attempt).await {
            Ok(_) => {
                self.settled_by_hand.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) if refused_with(&error, "not_unconfirmed") => Ok(()),
            Err(error) => Err(error.context(format!("POST {path}"))),
        }
    }

    /// A search by a body, which changes nothing.
    pub async fn search(&self, role: Role, path: &str, body: &Value) -> anyhow::Result<Value> {
        let at = self.answering(path)?;
        let answer = self.persist(path, || self.request(Method::POST, role, at, path).json(body)).await;
        answer.with_context(|| format!("POST {path}"))
    }

    /// Polls until `enough` holds of the answer.
    pub async fn wait_for(&self, what: &str, role: Role, path: &str, enough: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = PAUSE_FIRST;
        loop {
            let answer = self.get(role, path).await?;
            if enough(&answer) {
                return Ok(answer);
            }
            if Instant::now() > deadline {
                bail!("waited {} s for {what} at {path}; it stands at {answer}", PATIENCE.as_secs());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(PAUSE_LAST / 4);
        }
    }

    /// One of the driver's waits, at which the process may die.
    pub async fn pause(&self) -> anyhow::Result<()> {
        match self.pace.next(Step::Wait) {
            None => Ok(()),
            Some(Moment::During(after)) => {
                tokio::time::sleep(after).await;
                self.serving.kill_and_restart().await
            }
            Some(Moment::Before | Moment::After) => self.serving.kill_and_restart().await,
        }
    }

    /// The processes that answer a path.
    fn answering(&self, path: &str) -> anyhow::Result<&[usize]> {
        let service = service_of(path).with_context(|| format!("no service answers {path}"))?;
        Ok(self.serving.of(service))
    }

    fn request(&self, method: Method, role: Role, at: &[usize], path: &str) -> RequestBuilder {
        // Every service has a process; where none were found, the request fails and says so.
        let url = self.serving.http(at).map_or_else(String::new, |http| format!("http://{http}{path}"));
        self.http.request(method, url).bearer_auth(self.token(role)).header("x-access-reason", WHY_READ)
    }

    /// Asks until there is an answer that asking again cannot better.
    async fn persist(&self, path: &str, attempt: impl Fn() -> RequestBuilder) -> anyhow::Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = PAUSE_FIRST;
        loop {
            let trouble = match attempt().send().await {
                Ok(answer) => match read(answer).await {
                    Read::Done(body) => return Ok(body),
                    Read::Refused(why) => return Err(why),
                    Read::Again(why) => why,
                },
                Err(error) => {
                    self.serving.must_run()?;
                    anyhow!(error.without_url())
                }
            };
            if Instant::now() > deadline {
                return Err(trouble.context(format!("no answer to {path} within {} s", PATIENCE.as_secs())));
            }
            self.repeats.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LAST);
        }
    }
}

/// A request that the hub refuses, by the problem's code.
#[derive(Debug, Clone)]
pub struct Refused {
    pub code: String,
    said: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for Refused {}

/// Whether the hub refused with this code.
pub fn refused_with(error: &anyhow::Error, code: &str) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<Refused>().is_some_and(|refused| refused.code == code))
}

enum Read {
    Done(Value),
    Refused(anyhow::Error),
    /// Nobody's fault, or not yet: the same again later.
    Again(anyhow::Error),
}

async fn read(answer: reqwest::Response) -> Read {
    let status = answer.status();
    let body = match answer.bytes().await {
        Ok(body) => body,
        Err(error) => return Read::Again(anyhow!(error.without_url())),
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if status.is_success() {
        return Read::Done(body);
    }
    // A problem names fields and rules, never what was sent.
    let code = body["code"].as_str().unwrap_or("-").to_owned();
    let why = anyhow!(Refused { said: format!("{status} {code}: {} {}", body["detail"].as_str().unwrap_or("-"), body["errors"]), code });
    let again = matches!(status, StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    if again || status.is_server_error() { Read::Again(why) } else { Read::Refused(why) }
}
