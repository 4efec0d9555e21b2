//! A whole shared-record service in a temporary folder with the sandbox record and mail server, over real sockets; other services' facts
//! are published to the log as they would publish them.

use bytes::Bytes;
use hearthline_contracts::call::{CallClosed, CallEvent, CallOpened, CallOpenedPersonal, ConsentBasis, ConsentRecorded, OutcomeToFollow};
use hearthline_contracts::directory::{
    DirectoryEvent, HomeRegistered, RegistrationSource, ResidentRegistered, ResidentRegisteredPersonal, ResidentsMerged, SecureEmailVerified,
};
use hearthline_contracts::envelope::{ActorRole, Environment};
use hearthline_contracts::outcome::{Disposition, OutcomeDecided, OutcomeDecidedPersonal, OutcomeEvent, TreatmentPlanAgreed, TreatmentPlanAgreedPersonal};
use hearthline_contracts::prescribing::{
    PharmacyChosen, PrescribedItem, PrescribedItemPersonal, PrescribingEvent, PrescriptionAccepted, PrescriptionDrafted, PrescriptionDraftedPersonal,
    PrescriptionSigned, PrescriptionSubmitted,
};
use hearthline_contracts::topics;
use hearthline_contracts::types::{Demographics, IdentityStatus, ResidentRef, StreamVersion};
use hearthline_contracts::wire::{ContextEvent, fact_bytes};
use hearthline_eventing::{Actor, Cause, Composer, Deployment, Kernel, Keyring, NewEvent, Occurred, Outgoing};
use hearthline_nhs::{EmailAddress, OdsCode, StreamId, london_date};
use hearthline_runtime::auth::{Grant, Issuer, Role, Verifier};
use hearthline_runtime::config::MailTls;
use hearthline_runtime::connect::Backend;
use hearthline_runtime::http::{self, Shell};
use hearthline_sandbox::{fhir, smtp};
use hearthline_shared_record::{MailServer, NAME, Options, TOPIC, build, views};
use prost::Message;
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio_util::sync::{CancellationToken, DropGuard};

pub const CONTROLLER: &str = "A83008";
pub const FAMILY: &str = "Quillfeather";
pub const NHS_NUMBER: &str = "9990000018";
pub const PLAN: &str = "Fluids every two hours and paracetamol";
pub const SECURE: &str = "fernlea@nhs.test";

pub const HOME: [u8; 16] = [1; 16];
pub const RESIDENT: [u8; 16] = [2; 16];
pub const CALL: [u8; 16] = [3; 16];
pub const CONSULTATION: [u8; 16] = [4; 16];
pub const PRESCRIPTION: [u8; 16] = [5; 16];
pub const PROVISIONAL: [u8; 16] = [6; 16];

pub struct World {
    pub folder: tempfile::TempDir,
    pub record: fhir::Handle,
    pub mail: smtp::Handle,
    pub kernel: Kernel,
    backend: Backend,
    issuer: Issuer,
    base: String,
    http: reqwest::Client,
    versions: Mutex<HashMap<[u8; 16], u64>>,
    _stop: DropGuard,
}

impl World {
    pub async fn start() -> anyhow::Result<World> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let folder = tempfile::tempdir()?;
        let record = fhir::SharedRecord::start(any, fhir::Options::default()).await?;
        let mail = smtp::Smtp::start(any, smtp::Options::default()).await?;
        let backend = Backend::open(folder.path(), None, Environment::Test, CONTROLLER).await?;
        let issuer = Issuer::open(folder.path(), "test", "hearthline")?;
        let verifier = Arc::new(Verifier::new(issuer.verifier_options(5))?);
        let shell = Shell::builder(verifier).build();
        let connected = backend.connect(NAME, TOPIC, views()).await?;
        let server =
            MailServer { host: "127.0.0.1".to_owned(), port: mail.addr().port(), from: EmailAddress::parse("hub@nhs.test")?, tls: MailTls::None, login: None };
        let options =
            Options { record_url: Some(record.url()), destination: "shared-record".to_owned(), mail: Some(server), organisation_name: "Test hub".to_owned() };
        let built = build(options, &connected.ports, &shell).await?;
        let (stop, kernel) = (CancellationToken::new(), built.kernel.clone());
        let (listener, address) = http::bind(([127, 0, 0, 1], 0).into()).await?;
        tokio::spawn(http::serve(listener, shell.finish(built.router), stop.clone(), Duration::from_secs(5)));
        tokio::spawn(built.workers.run(stop.clone()));
        let base = format!("http://{address}");
        Ok(World {
            folder,
            record,
            mail,
            kernel,
            backend,
            issuer,
            base,
            http: hearthline_runtime::client::build(|c| c).expect("a client"),
            versions: Mutex::default(),
            _stop: stop.drop_guard(),
        })
    }

    /// A home with a secure address verified today, and a registered resident.
    pub async fn with_people() -> anyhow::Result<World> {
        let world = Self::start().await?;
        let today = london_date(hearthline_eventing::now_us())?.to_string();
        world.home(&today).await?;
        world.register(RESIDENT, RegistrationSource::Register).await?;
        Ok(world)
    }

    pub async fn home(&self, verified_on: &str) -> anyhow::Result<()> {
        self.directory(HOME, "HomeRegistered", HomeRegistered { ods_code: "VL001".into(), name: "Fernlea".into(), ..Default::default() }, None).await?;
        self.directory(HOME, "SecureEmailVerified", SecureEmailVerified { email: SECURE.into(), verified_on: verified_on.into() }, None).await
    }

    pub async fn register(&self, resident: [u8; 16], source: RegistrationSource) -> anyhow::Result<()> {
        let demographics = Demographics {
            family_name: FAMILY.into(),
            given_names: vec!["Ada".into()],
            date_of_birth: "1936-05-04".into(),
            nhs_number: NHS_NUMBER.into(),
            ..Default::default()
        };
        let personal = ResidentRegisteredPersonal { demographics: Some(demographics) };
        let registered = ResidentRegistered { home_id: id(HOME), source: source.into(), has_nhs_number: true, practice_ods: "A83008".into() };
        self.directory(resident, "ResidentRegistered", registered, Some(personal.encode_to_vec())).await
    }

    pub async fn merge(&self, from: [u8; 16], into: [u8; 16]) -> anyhow::Result<()> {
        self.directory(into, "ResidentsMerged", ResidentsMerged { from_id: id(from), into_id: id(into), ..Default::default() }, None).await
    }

    pub async fn open_call(&self, resident: [u8; 16], status: IdentityStatus) -> anyhow::Result<()> {
        let opened = CallOpened { home_id: id(HOME), resident: Some(ResidentRef { resident_id: id(resident), status: status.into() }), ..Default::default() };
        let said = Demographics { family_name: FAMILY.into(), given_names: vec!["Ada".into()], ..Default::default() };
        let personal = CallOpenedPersonal { provisional_resident: Some(said), ..Default::default() };
        self.call("CallOpened", opened, Some(personal.encode_to_vec())).await
    }

    pub async fn consent(&self, basis: ConsentBasis) -> anyhow::Result<()> {
        self.call("ConsentRecorded", ConsentRecorded { basis: basis.into() }, None).await
    }

    /// Versions 1 and 2 of the consultation.
    pub async fn decide(&self) -> anyhow::Result<()> {
        let decided = OutcomeDecided { call_id: id(CALL), call_version: 1, disposition: Disposition::TreatedAtHome.into(), ..Default::default() };
        let personal = OutcomeDecidedPersonal { summary: "Chest infection".into() };
        self.outcome("OutcomeDecided", decided, personal.encode_to_vec()).await?;
        self.plan(PLAN, 1).await
    }

    pub async fn plan(&self, text: &str, plan_version: u32) -> anyhow::Result<()> {
        let agreed = TreatmentPlanAgreed { call_id: id(CALL), plan_version, agreed_with_home: true, ..Default::default() };
        let personal = TreatmentPlanAgreedPersonal { plan: text.into(), ..Default::default() };
        self.outcome("TreatmentPlanAgreed", agreed, personal.encode_to_vec()).await
    }

    /// Versions 1 to 5 of the prescription, the last of them accepted.
    pub async fn prescribe(&self) -> anyhow::Result<()> {
        let item = PrescribedItem { item_id: id([7; 16]), dmd_code: "39732311000001104".into(), quantity: "21".into(), unit_code: "428673006".into() };
        let words = PrescribedItemPersonal { item_id: id([7; 16]), display_name: "Amoxicillin 500mg capsules".into(), dosage: "three times a day".into() };
        let drafted = PrescriptionDrafted { call_id: id(CALL), call_version: 1, items: vec![item], ..Default::default() };
        let personal = PrescriptionDraftedPersonal { items: vec![words], ..Default::default() };
        self.prescribing("PrescriptionDrafted", drafted, Some(personal.encode_to_vec())).await?;
        self.prescribing("PharmacyChosen", PharmacyChosen { pharmacy_id: id([8; 16]), ..Default::default() }, None).await?;
        self.prescribing("PrescriptionSigned", PrescriptionSigned::default(), None).await?;
        self.prescribing("PrescriptionSubmitted", PrescriptionSubmitted::default(), None).await?;
        self.prescribing("PrescriptionAccepted", PrescriptionAccepted::default(), None).await
    }

    /// Closes the call, naming the consultation at version 2 and these prescriptions at version 5.
    pub async fn close(&self, prescriptions: &[[u8; 16]]) -> anyhow::Result<()> {
        let closed = CallClosed {
            consultation: Some(StreamVersion { stream_id: id(CONSULTATION), version: 2 }),
            prescriptions: prescriptions.iter().map(|p| StreamVersion { stream_id: id(*p), version: 5 }).collect(),
            ..Default::default()
        };
        self.call("CallClosed", closed, None).await
    }

    pub async fn close_with_outcome_to_follow(&self) -> anyhow::Result<()> {
        let closed = CallClosed { outcome_to_follow: true, outcome_to_follow_reason: OutcomeToFollow::AwaitingSenior.into(), ..Default::default() };
        self.call("CallClosed", closed, None).await
    }

    pub async fn call(&self, name: &'static str, fact: impl Into<<CallEvent as ContextEvent>::Fact>, personal: Option<Vec<u8>>) -> anyhow::Result<()> {
        self.publish::<CallEvent>("call-intake", CALL, name, fact_bytes::<CallEvent>(fact), personal).await
    }

    async fn outcome(&self, name: &'static str, fact: impl Into<<OutcomeEvent as ContextEvent>::Fact>, personal: Vec<u8>) -> anyhow::Result<()> {
        self.publish::<OutcomeEvent>("clinical-outcome", CONSULTATION, name, fact_bytes::<OutcomeEvent>(fact), Some(personal)).await
    }

    async fn prescribing(
        &self,
        name: &'static str,
        fact: impl Into<<PrescribingEvent as ContextEvent>::Fact>,
        personal: Option<Vec<u8>>,
    ) -> anyhow::Result<()> {
        self.publish::<PrescribingEvent>("prescribing", PRESCRIPTION, name, fact_bytes::<PrescribingEvent>(fact), personal).await
    }

    async fn directory(
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
            deployment: Deployment { environment: Environment::Test, controller_ods: CONTROLLER.into(), incarnation: 1, level: Default::default() },
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
        let cause = Cause { actor: Actor { role: ActorRole::Clinician, pseudonym: [9; 16] }, causation: None, correlation: CALL, traceparent: None };
        let write = composer.write(StreamId::from_bytes(stream), expected, vec![event], &cause, now).await?;
        let records = write.events.into_iter().map(|e| Outgoing { key: stream, headers: Vec::new(), payload: e.payload }).collect();
        self.backend.log().expect("a folder").publish(topic.name, records).await?;
        Ok(())
    }

    pub fn token(&self, role: Role) -> String {
        let grant = Grant { subject: "somebody".into(), role, org: OdsCode::parse(CONTROLLER).expect("valid"), home: None, session: false };
        self.issuer.token(&grant, SystemTime::now(), Duration::from_secs(600)).expect("token")
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<(u16, Value)> {
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(self.token(Role::Clinician)).header("x-access-reason", "a test of sharing");
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    /// The call's share, once `enough` holds of it; an error after a minute.
    pub async fn share(&self, enough: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let (_, seen) = self.get(&format!("/shares/{}", uuid::Uuid::from_bytes(CALL))).await?;
            if enough(&seen) {
                return Ok(seen);
            }
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "it stays {seen}");
            tokio::task::yield_now().await;
        }
    }
}

/// The state of the newest delivery of a kind.
pub fn state<'a>(share: &'a Value, kind: &str) -> Option<&'a str> {
    share["deliveries"].as_array()?.iter().rev().find(|d| d["kind"] == kind)?["state"].as_str()
}

pub fn has_task(share: &Value, kind: &str) -> bool {
    share["tasks"].as_array().is_some_and(|tasks| tasks.iter().any(|t| t["kind"] == kind))
}

pub fn id(bytes: [u8; 16]) -> Bytes {
    Bytes::copy_from_slice(&bytes)
}
