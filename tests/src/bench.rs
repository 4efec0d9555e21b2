//! A folder with stores, a log and a keyring, and the smallest services that can stand on them.

use anyhow::Result;
use bytes::Bytes;
use hearthline_contracts::call::{CallAnswered, CallEvent, CallOpened};
use hearthline_contracts::envelope::Environment;
use hearthline_contracts::topics::{self, Topic};
use hearthline_contracts::wire;
use hearthline_eventing::{Actor, Cause, Composer, Deployment, EventRow, Kernel, KeyStore, Keyring, Log, NewEvent, Occurred, Ports, Store, Unit, View, Write};
use hearthline_log_embedded::EmbeddedLog;
use hearthline_nhs::StreamId;
use hearthline_store::{Database, Faults, NoFaults, Options, PostgresOptions, PostgresStore, SqliteKeyring, SqliteStore, Tenancy};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One test's folder; gone with the test.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Folder(tempfile::tempdir().expect("a temporary folder can be made"))
    }
    pub fn path(&self) -> &Path {
        self.0.path()
    }
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub async fn store(&self, service: &'static str, views: Vec<Arc<dyn View>>) -> SqliteStore {
        self.faulty_store(service, views, Arc::new(NoFaults)).await
    }
    pub async fn faulty_store(&self, service: &'static str, views: Vec<Arc<dyn View>>, faults: Arc<dyn Faults>) -> SqliteStore {
        open_store(self.file(&format!("{service}.db")), service, views, faults).await.expect("the store opens")
    }
    pub async fn log(&self) -> EmbeddedLog {
        EmbeddedLog::open(&self.file("log.db")).await.expect("the log opens")
    }
    pub async fn keys(&self) -> Arc<SqliteKeyring> {
        Arc::new(SqliteKeyring::open(&self.file("keyring.db"), &self.file("kek")).await.expect("the keyring opens"))
    }
}

impl Default for Folder {
    fn default() -> Self {
        Folder::new()
    }
}

/// The store of a service in a schema of a test's own database; its tables are made on the way.
pub async fn open_postgres(database: &Database, service: &'static str, views: Vec<Arc<dyn View>>, faults: Arc<dyn Faults>) -> Result<PostgresStore> {
    let schema = service.replace('-', "_");
    let outsiders = (service == "kpi-projection").then(|| ("kpi_v1".to_owned(), "hearthline_kpi_reader".to_owned()));
    hearthline_store::migrate(database, &Tenancy { schema: schema.clone(), role: database.role.clone(), outsiders }, &views).await?;
    Ok(PostgresStore::open(PostgresOptions { service, topic: topic_of(service), database: database.clone(), schema, views, faults }).await?)
}

/// The topic of a service's own events.
pub fn topic_of(service: &str) -> &'static Topic {
    match service {
        "call-intake" => &topics::CALL,
        "clinical-outcome" => &topics::OUTCOME,
        "directory" => &topics::DIRECTORY,
        "shared-record" => &topics::SHARED_RECORD,
        "prescribing" => &topics::PRESCRIBING,
        "pas-gateway" => &topics::HOSPITAL,
        _ => &topics::KPI,
    }
}

pub async fn open_store(file: PathBuf, service: &'static str, views: Vec<Arc<dyn View>>, faults: Arc<dyn Faults>) -> Result<SqliteStore> {
    Ok(SqliteStore::open(Options { service, topic: topic_of(service), file, views, faults }).await?)
}

pub fn deployment() -> Deployment {
    Deployment { environment: Environment::Test, controller_ods: "X26".to_owned(), incarnation: 1, level: Default::default() }
}

pub fn ports(store: Arc<dyn Store>, log: Arc<dyn Log>, keys: Arc<dyn KeyStore>) -> Ports {
    Ports { store, log, keys, deployment: deployment(), instance: id(), alone: true }
}

pub fn kernel(service: &str, store: Arc<dyn Store>, log: Arc<dyn Log>, keys: Arc<dyn KeyStore>) -> Kernel {
    Kernel::new(service, topic_of(service), &ports(store, log, keys))
}

/// Sixteen random bytes.
pub fn id() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

pub fn stream() -> StreamId {
    StreamId::from_bytes(id())
}

pub fn cause() -> Cause {
    Cause { actor: Actor::SYSTEM, causation: None, correlation: id(), traceparent: None }
}

pub fn composer(service: &str, keys: Arc<dyn KeyStore>) -> Composer {
    Composer { topic: topic_of(service), deployment: deployment(), keyring: Keyring::new(service, keys) }
}

/// A fact without a personal part.
pub fn answered() -> NewEvent {
    NewEvent { name: "CallAnswered", fact: wire::fact_bytes::<CallEvent>(CallAnswered {}), personal: None, occurred: Occurred::at(1), revision: 1 }
}

/// A fact with a personal part of these bytes.
pub fn opened(personal: &[u8]) -> NewEvent {
    NewEvent {
        name: "CallOpened",
        fact: wire::fact_bytes::<CallEvent>(CallOpened::default()),
        personal: Some(zeroize::Zeroizing::new(personal.to_vec())),
        occurred: Occurred::at(1),
        revision: 1,
    }
}

/// A fact that [`crate::folds::Folds`] may be told to refuse.
pub fn late() -> NewEvent {
    NewEvent { occurred: Occurred { late_entry: true, ..Occurred::at(1) }, ..answered() }
}

/// Rows of `n` facts without personal parts, as versions `expected + 1 …`; for tests of the store alone.
pub fn rows(stream: StreamId, expected: u64, n: u64) -> Vec<EventRow> {
    (expected + 1..=expected + n).map(|version| row(stream, version, Bytes::new())).collect()
}

/// One row; `padding` makes it long.
pub fn row(stream: StreamId, version: u64, padding: Bytes) -> EventRow {
    let event_id = id();
    let envelope = hearthline_contracts::envelope::Envelope {
        event_id: Bytes::copy_from_slice(&event_id),
        stream_id: Bytes::copy_from_slice(stream.bytes()),
        stream_version: version,
        incarnation: 1,
        environment: Environment::Test as i32,
        controller_ods: String::from_utf8_lossy(&padding).into_owned(),
        least_reader_revision: 1,
        ..Default::default()
    };
    let payload = wire::compose(&envelope, None, &wire::fact_bytes::<CallEvent>(CallAnswered {}));
    EventRow { stream, version, event_id, name: "CallAnswered", envelope, payload, traceparent: None }
}

/// A unit of `n` events on one stream.
pub fn unit(stream: StreamId, expected: u64, n: u64) -> Unit {
    Unit { writes: vec![Write { stream, expected, events: rows(stream, expected, n) }], ..Unit::default() }
}
