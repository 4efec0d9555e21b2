//! A whole prescribing service in a temporary folder, over real sockets, with the sandbox prescription service; other services' facts are
//! published to the log as they would publish them.

use bytes::Bytes;
use hearthline_contracts::call::{CallEvent, CallOpened};
use hearthline_contracts::directory::{DirectoryEvent, HomeRegistered, OpeningInterval, PharmacyListed, ResidentRegistered, ResidentRegisteredPersonal};
use hearthline_contracts::envelope::{ActorRole, Environment};
use hearthline_contracts::topics;
use hearthline_contracts::types::{Demographics, IdentityStatus, ResidentRef};
use hearthline_contracts::wire::{ContextEvent, fact_bytes};
use hearthline_eventing::{
    Actor, Cause, Composer, DeliveryChange, DeliveryMove, DeliveryState, Deployment, Kernel, Keyring, NewEvent, Occurred, Outgoing, Unit, deliveries,
};
use hearthline_nhs::{OdsCode, StreamId};
use hearthline_prescribing::{NAME, Options, TOPIC, build, views};
use hearthline_runtime::auth::{Grant, Issuer, Role, Verifier};
use hearthline_runtime::connect::Backend;
use hearthline_runtime::http::{self, Shell};
use hearthline_sandbox::eps;
use prost::Message;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio_util::sync::{CancellationToken, DropGuard};

pub const CONTROLLER: &str = "A83008";
pub const FAMILY: &str = "Quillfeather";
pub const NHS_NUMBER: &str = "9990000018";
pub const MEDICINE: &str = "Amoxicillin 500mg capsules";

pub const HOME: [u8; 16] = [1; 16];
pub const RESIDENT: [u8; 16] = [2; 16];
pub const CALL: [u8; 16] = [3; 16];
pub const NEAR: [u8; 16] = [11; 16];
pub const FAR: [u8; 16] = [12; 16];
pub const SHUT: [u8; 16] = [13; 16];

pub struct World {
    pub folder: tempfile::TempDir,
    pub eps: eps::Handle,
    backend: Backend,
    kernel: Kernel,
    environment: Environment,
    issuer: Issuer,
    base: String,
    http: reqwest::Client,
    versions: Mutex<HashMap<[u8; 16], u64>>,
    _stop: DropGuard,
}

impl World {
    pub async fn start() -> anyhow::Result<World> {
        Self::start_in(Environment::Test).await
    }

    pub async fn start_in(environment: Environment) -> anyhow::Result<World> {
        let folder = tempfile::tempdir()?;
        let eps = eps::Eps::start(SocketAddr::from(([127, 0, 0, 1], 0)), eps::Options::default()).await?;
        let backend = Backend::open(folder.path(), None, environment, CONTROLLER).await?;
        let issuer = Issuer::open(folder.path(), "test", "hearthline")?;
        let verifier = Arc::new(Verifier::new(issuer.verifier_options(5))?);
        let shell = Shell::builder(verifier).build();
        let connected = backend.connect(NAME, TOPIC, views()).await?;
        let options = Options { eps_url: Some(eps.url()), organisation_name: "Test hub".to_owned(), late_entry_days: 30 };
        let built = build(options, &connected.ports, &shell).await?;
        let (stop, kernel) = (CancellationToken::new(), built.kernel.clone());
        let (listener, address) = http::bind(([127, 0, 0, 1], 0).into()).await?;
        tokio::spawn(http::serve(listener, shell.finish(built.router), stop.clone(), Duration::from_secs(5)));
        tokio::spawn(built.workers.run(stop.clone()));
        Ok(World {
            folder,
            eps,
            backend,
            kernel,
            environment,
            issuer,
            base: format!("http://{address}"),
            http: hearthline_runtime::client::build(|c| c).expect("a client"),
            versions: Mutex::default(),
            _stop: stop.drop_guard(),
        })
    }

    /// A home, three pharmacies, a registered resident and a call about them.
    pub async fn with_a_call() -> anyhow::Result<World> {
        let world = Self::start().await?;
        world.register_places().await?;
        world.register_resident().await?;
        world.open_call(IdentityStatus::Identified).await?;
        Ok(world)
    }

    pub async fn register_places(&self) -> anyhow::Result<()> {
        let home = HomeRegistered {
            ods_code: "VL001".into(),
            name: "Fernlea".into(),
            latitude_microdegrees: Some(50_900_000),
            longitude_microdegrees: Some(-1_400_000),
            ..Default::default()
        };
        self.directory(HOME, "HomeRegistered", home, None).await?;
        let always: Vec<OpeningInterval> = (1..=7).map(|weekday| OpeningInterval { weekday, opens_minute: 0, closes_minute: 1440 }).collect();
        for (id, ods, latitude, opening) in
            [(NEAR, "FA001", 50_910_000, always.clone()), (FAR, "FA002", 50_990_000, always), (SHUT, "FA003", 50_901_000, Vec::new())]
        {
            let listed = PharmacyListed {
                ods_code: ods.into(),
                name: format!("Pharmacy {ods}"),
                latitude_microdegrees: Some(latitude),
                longitude_microdegrees: Some(-1_400_000),
                opening,
                ..Default::default()
            };
            self.directory(id, "PharmacyListed", listed, None).await?;
        }
        Ok(())
    }

    pub async fn register_resident(&self) -> anyhow::Result<()> {
        let personal = ResidentRegisteredPersonal {
            demographics: Some(Demographics {
                family_name: FAMILY.into(),
                given_names: vec!["Ada".into()],
                date_of_birth: "1936-05-04".into(),
                nhs_number: NHS_NUMBER.into(),
                ..Default::default()
            }),
        };
        let registered = ResidentRegistered { home_id: id(HOME), has_nhs_number: true, practice_ods: "A83008".into(), ..Default::default() };
        self.directory(RESIDENT, "ResidentRegistered", registered, Some(personal.encode_to_vec())).await
    }

    pub async fn open_call(&self, status: IdentityStatus) -> anyhow::Result<()> {
        let opened = CallOpened { home_id: id(HOME), resident: Some(ResidentRef { resident_id: id(RESIDENT), status: status.into() }), ..Default::default() };
        self.publish::<CallEvent>("call-intake", CALL, "CallOpened", fact_bytes::<CallEvent>(opened), None).await
    }

    pub async fn directory(
        &self,
        stream: [u8; 16],
        name: &'static str,
        fact: impl Into<<DirectoryEvent as ContextEvent>::Fact>,
        personal: Option<Vec<u8>>,
    ) -> anyhow::Result<()> {
        self.publish::<DirectoryEvent>("directory", stream, name, fact_bytes::<DirectoryEvent>(fact), personal).await
    }

    async fn publish<E: ContextEvent>(
        &self,
        service: &str,
        stream: [u8; 16],
        name: &'static str,
        fact: Bytes,
        personal: Option<Vec<u8>>,
    ) -> anyhow::Result<()> {
        let topic = topics::ALL.iter().find(|t| t.context == E::CONTEXT).expect("every context has a topic");
        let composer = Composer {
            topic,
            deployment: Deployment { environment: self.environment, controller_ods: CONTROLLER.into(), incarnation: 1, level: Default::default() },
            keyring: Keyring::new(service, self.backend.keys().expect("a folder")),
        };
        let expected = {
            let mut versions = self.versions.lock().expect("no test panics here");
            let version = versions.entry(stream).or_default();
            *version += 1;
            *version - 1
        };
        let now = hearthline_eventing::now_us();
        let event = NewEvent { name, fact, personal: personal.map(Into::into), occurred: Occurred::at(now), revision: 1 };
        let cause = Cause { actor: Actor { role: ActorRole::CallHandler, pseudonym: [9; 16] }, causation: None, correlation: CALL, traceparent: None };
        let write = composer.write(StreamId::from_bytes(stream), expected, vec![event], &cause, now).await?;
        let records = write.events.into_iter().map(|e| Outgoing { key: stream, headers: Vec::new(), payload: e.payload }).collect();
        self.backend.log().expect("a folder").publish(topic.name, records).await?;
        Ok(())
    }

    pub fn token(&self, role: Role, session: bool) -> String {
        let grant = Grant { subject: "somebody".into(), role, org: OdsCode::parse(CONTROLLER).expect("valid"), home: None, session };
        self.issuer.token(&grant, SystemTime::now(), Duration::from_secs(600)).expect("token")
    }

    pub async fn post(&self, path: &str, key: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        self.post_as(&self.token(Role::Prescriber, true), path, key, body).await
    }

    pub async fn post_as(&self, token: &str, path: &str, key: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let request =
            self.http.post(format!("{}{path}", self.base)).bearer_auth(token).header("idempotency-key", key).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let response = self.http.get(format!("{}{path}", self.base)).bearer_auth(self.token(Role::Prescriber, true)).send().await?;
        Ok(response.json().await?)
    }

    /// Leaves an unconfirmed order as a process leaves it that began to send it again and ended.
    pub async fn begin_in_another_process(&self, id: &str) -> anyhow::Result<()> {
        let stream: uuid::Uuid = id.parse()?;
        let found = deliveries(self.kernel.store.as_ref(), "stream = $1", &[stream.into_bytes().into()]).await?;
        let delivery = found.first().ok_or_else(|| anyhow::anyhow!("no delivery"))?;
        let now = hearthline_eventing::now_us();
        let begin = DeliveryMove {
            id: delivery.id,
            from: delivery.state,
            from_attempt: delivery.attempt,
            to: DeliveryState::Sending,
            attempt: delivery.attempt + 1,
            sender: Some([99; 16]),
            deadline_at: Some(now + 3_600_000_000),
            next_at: now,
            code: None,
            reference: None,
            at: now,
        };
        self.kernel.store.append(Unit { deliveries: vec![DeliveryChange::Move(begin)], ..Unit::default() }).await?;
        Ok(())
    }

    /// A draft for the call; its id.
    pub async fn draft(&self) -> anyhow::Result<String> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        let reply = loop {
            match self.post("/prescriptions", "draft", &draft_of(1)).await? {
                (201, reply) => break reply,
                // What it names has not arrived yet.
                (status, reply) => anyhow::ensure!(status == 503 && tokio::time::Instant::now() < deadline, "{reply}"),
            }
        };
        Ok(reply["stream"].as_str().unwrap_or_default().to_owned())
    }

    /// A draft with the nearest pharmacy; its id.
    pub async fn ready(&self) -> anyhow::Result<String> {
        let id = self.draft().await?;
        self.see_pharmacies().await?;
        let (status, reply) = self.post(&format!("/prescriptions/{id}/pharmacy"), "choose", &json!({ "pharmacy_id": uuid(NEAR) })).await?;
        anyhow::ensure!(status == 200, "{reply}");
        Ok(id)
    }

    /// Waits until the pharmacies have arrived.
    pub async fn see_pharmacies(&self) -> anyhow::Result<Value> {
        self.eventually(&format!("/pharmacies/open?home_id={}", uuid(HOME)), |v| v["pharmacies"].as_array().is_some_and(|p| p.len() == 2)).await
    }

    /// Reads until `enough` holds; an error after a minute.
    pub async fn eventually(&self, path: &str, enough: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let seen = self.get(path).await?;
            if enough(&seen) {
                return Ok(seen);
            }
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "it stays {seen}");
            tokio::task::yield_now().await;
        }
    }
}

pub fn draft_of(call_version: u64) -> Value {
    json!({
        "call_id": uuid(CALL), "call_version": call_version, "prescriber_type": "0101",
        "items": [{ "dmd_code": "39732311000001104", "display": MEDICINE, "quantity": 21, "unit_code": "428641000", "unit": "capsule", "dosage": "one three times a day" }],
    })
}

pub fn uuid(bytes: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(bytes).to_string()
}

pub fn id(bytes: [u8; 16]) -> Bytes {
    Bytes::copy_from_slice(&bytes)
}
