//! A stage for one service: a temporary folder with log and keyring, an issuer of tokens, a server on a free port, and peers that
//! publish other contexts' facts.
#![allow(dead_code, reason = "each test binary uses its part")]

use hearthline_contracts::envelope::{ActorRole, Environment};
use hearthline_contracts::topics::Topic;
use hearthline_contracts::wire::{ContextEvent, fact_bytes};
use hearthline_eventing::{Actor, Answer, Cause, Kernel, NewEvent, Occurred, Ports, Store, Unit, Value, View, Workers, now_us};
use hearthline_nhs::{HomeId, OdsCode, StreamId};
use hearthline_runtime::auth::{Grant, Issuer, Role, Verifier};
use hearthline_runtime::connect::Backend;
use hearthline_runtime::http::{self, Shell};
use hearthline_runtime::service::Built;
use serde_json::Value as Json;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::{CancellationToken, DropGuard};

pub const HOME: HomeId = HomeId::from_bytes([7; 16]);
pub const OTHER_HOME: HomeId = HomeId::from_bytes([8; 16]);

pub struct Stage {
    folder: tempfile::TempDir,
    issuer: Issuer,
    pub shell: Shell,
    pub backend: Backend,
    stop: CancellationToken,
    _stopped: DropGuard,
}

impl Stage {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let issuer = Issuer::open(folder.path(), "hearthline-test", "hearthline").expect("issuer");
        let verifier = Arc::new(Verifier::new(issuer.verifier_options(5)).expect("verifier"));
        let backend = Backend::open(folder.path(), None, Environment::Test, "ZZ900").await.expect("backend");
        let stop = CancellationToken::new();
        Stage { folder, issuer, shell: Shell::builder(verifier).build(), backend, _stopped: stop.clone().drop_guard(), stop }
    }

    pub async fn ports(&self, service: &'static str, topic: &'static Topic, views: Vec<Arc<dyn View>>) -> Ports {
        self.backend.connect(service, topic, views).await.expect("store").ports
    }

    /// Runs the service and serves its routes.
    pub async fn start(&self, built: Built) -> Client<'_> {
        let store = built.kernel.store.clone();
        let stop = self.stop.clone();
        tokio::spawn(async move { built.workers.run(stop).await.expect("workers") });
        let (listener, address) = http::bind(([127, 0, 0, 1], 0).into()).await.expect("bind");
        let router = self.shell.finish(built.router);
        tokio::spawn(http::serve(listener, router, self.stop.clone(), Duration::from_secs(5)));
        Client { stage: self, store, base: format!("http://{address}"), http: hearthline_runtime::client::build(|c| c).expect("a client") }
    }

    /// A service that only publishes facts given to it.
    pub async fn peer(&self, service: &'static str, topic: &'static Topic) -> Peer {
        let ports = self.ports(service, topic, Vec::new()).await;
        let kernel = Kernel::new(service, topic, &ports);
        let workers = Workers { kernel: kernel.clone(), inbound: None, on_timer: None, couriers: Vec::new(), leading: Vec::new() };
        tokio::spawn(workers.run(self.stop.clone()));
        Peer { kernel }
    }

    fn token(&self, role: Role, home: HomeId) -> String {
        let grant = Grant {
            subject: format!("somebody in the role {role}"),
            role,
            org: OdsCode::parse("VL001").expect("valid"),
            home: (role == Role::CareHome).then_some(home),
            session: false,
        };
        self.issuer.token(&grant, SystemTime::now(), Duration::from_secs(600)).expect("token")
    }
}

/// Publishes facts of one context.
pub struct Peer {
    kernel: Kernel,
}

impl Peer {
    /// Appends facts to a stream that stands at `expected`; they are published by the peer's relay.
    pub async fn publish<E: ContextEvent>(&self, stream: [u8; 16], expected: u64, facts: Vec<E::Fact>) {
        let stream = StreamId::from_bytes(stream);
        let encode = |fact| NewEvent { name: "Fact", fact: fact_bytes::<E>(fact), personal: None, occurred: Occurred::at(now_us()), revision: 1 };
        let events: Vec<NewEvent> = facts.into_iter().map(encode).collect();
        let actor = Actor { role: ActorRole::System, pseudonym: [0; 16] };
        let cause = Cause { actor, causation: None, correlation: *stream.bytes(), traceparent: None };
        until("the peer's store is open", || async {
            let write = self.kernel.composer.write(stream, expected, events.clone(), &cause, now_us()).await.expect("compose");
            let answer = self.kernel.store.append(Unit { writes: vec![write], ..Unit::default() }).await;
            matches!(answer, Ok(Answer::Committed { .. }))
        })
        .await;
    }
}

/// Talks to the service on the stage.
pub struct Client<'s> {
    stage: &'s Stage,
    pub store: Arc<dyn Store>,
    base: String,
    http: reqwest::Client,
}

pub struct Reply {
    pub status: u16,
    pub body: Json,
}

impl Reply {
    /// The body of an answer that was expected; otherwise the test fails with what came.
    pub fn ok(self) -> Json {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.body);
        self.body
    }

    /// The code of the problem, with its status.
    pub fn refused(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

impl Client<'_> {
    pub async fn post(&self, role: Role, path: &str, body: Json) -> Reply {
        self.post_as(role, HOME, path, &uuid::Uuid::new_v4().to_string(), body).await
    }

    /// With a home for `care_home`, and an `Idempotency-Key`.
    pub async fn post_as(&self, role: Role, home: HomeId, path: &str, key: &str, body: Json) -> Reply {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(self.stage.token(role, home));
        reply(request.header("idempotency-key", key).json(&body)).await
    }

    pub async fn get(&self, role: Role, path: &str) -> Reply {
        self.get_as(role, HOME, path).await
    }

    pub async fn get_as(&self, role: Role, home: HomeId, path: &str) -> Reply {
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(self.stage.token(role, home));
        reply(request.header("x-access-reason", "direct care")).await
    }

    /// Waits until a query of the service's own store has rows.
    pub async fn here(&self, sql: &str, args: &[Value]) {
        until(sql, || async { !self.store.query(sql, args).await.expect("query").is_empty() }).await;
    }

    /// The names of a stream's facts.
    pub async fn timeline(&self, stream: &str) -> Vec<String> {
        let stream = StreamId::parse(stream).expect("an id");
        let recorded = self.store.read_stream(stream, 0).await.expect("stream");
        recorded.into_iter().map(|event| event.name).collect()
    }
}

async fn reply(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.expect("an answer");
    Reply { status: response.status().as_u16(), body: response.json().await.expect("JSON") }
}

/// Asks until it is so, for at most twenty seconds.
pub async fn until<F, Fut>(what: &str, mut is_so: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::task::yield_now().await;
    }
}
