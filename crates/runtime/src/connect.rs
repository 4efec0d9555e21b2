//! From a configured backend to the ports of a service. Only mains and the all-in-one name this.

use crate::config::{Kafka, KafkaSecurity, Mechanism, Postgres, PostgresTls, SaslLogin};
use async_trait::async_trait;
use hearthline_contracts::LEVEL;
use hearthline_contracts::envelope::Environment;
use hearthline_contracts::topics::Topic;
use hearthline_eventing::upgrade::{self, BeginError, Level};
use hearthline_eventing::{Deployment, GRANTS, KeyState, KeyStore, KeyringError, Log, LogError, Ports, StoreError, View};
use hearthline_log_embedded::EmbeddedLog;
use hearthline_log_kafka::{KafkaLog, KafkaOptions, OptionsError, Sasl, Security};
use hearthline_store::{
    Database, KEYRING_CONNECTIONS, Managed, NoFaults, Options, PostgresKeyring, PostgresOptions, PostgresStore, SqliteKeyring, SqliteStore, Tenancy, Tls,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Connections that one process of one service opens to PostgreSQL.
pub const CONNECTIONS: u32 = STORE_CONNECTIONS + KEYRING_CONNECTIONS;
pub use hearthline_store::STORE_CONNECTIONS;
/// The role that owns tables and makes them.
pub const OWNER: &str = "hearthline_ddl";
/// Where outsiders find the figures, and their group.
const OUTSIDERS: (&str, &str) = ("kpi_v1", "hearthline_kpi_reader");
/// Where the keys lie in their database.
const KEYRING: &str = "keyring";
/// How long a stopping process waits for Kafka's clients.
const KAFKA_LEAVES: Duration = Duration::from_secs(5);

/// What stands behind the services of this process. Opened once and shared.
#[derive(Clone)]
pub struct Backend {
    behind: Behind,
    deployment: Deployment,
    instance: [u8; 16],
}

#[derive(Clone)]
enum Behind {
    /// One machine: a folder with a SQLite file per service, the log and the keyring.
    Folder { folder: PathBuf, log: EmbeddedLog, keys: Arc<SqliteKeyring> },
    /// Servers: each service connects as itself.
    Servers { servers: Arc<Servers>, logs: Arc<Mutex<Vec<KafkaLog>>> },
}

/// Where the servers of the distributed edition are, and how one gets in.
#[derive(Debug, Clone)]
pub struct Servers {
    pub postgres: Postgres,
    pub kafka: Kafka,
    pub kek_file: PathBuf,
}

/// A part of the backend does not open.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the log does not open")]
    Log(#[from] LogError),
    #[error("the log is configured wrongly")]
    Options(#[from] OptionsError),
    #[error("the keyring does not open")]
    Keyring(#[from] KeyringError),
    #[error("the store of {service} does not open")]
    Store { service: &'static str, source: StoreError },
    #[error(transparent)]
    Begin(BeginError),
    #[error("the password of the role {role} cannot be read from {file}: {why}", file = file.display())]
    Password { role: String, file: PathBuf, why: std::io::ErrorKind },
}

impl ConnectError {
    /// A server is away and may come back; anything else waits for a person.
    pub fn may_pass(&self) -> bool {
        matches!(self, ConnectError::Store { source: StoreError::Unavailable(_), .. } | ConnectError::Keyring(KeyringError::Unavailable(_)))
    }
}

/// A service's connection: its ports, and the store itself for what operators ask of it (rebuild, close).
pub struct Connected {
    pub ports: Ports,
    pub store: Arc<dyn Managed>,
}

impl Backend {
    /// Opens log and keyring of a folder. The caller holds the folder's lock.
    pub async fn open(folder: &Path, kek_file: Option<&Path>, environment: Environment, controller_ods: &str) -> Result<Self, ConnectError> {
        let log = EmbeddedLog::open(&folder.join("log.db")).await?;
        let kek = kek_file.map_or_else(|| folder.join("keyring.kek"), Path::to_owned);
        let keys = Arc::new(SqliteKeyring::open(&folder.join("keyring.db"), &kek).await?);
        Ok(Self::new(Behind::Folder { folder: folder.to_owned(), log, keys }, environment, controller_ods))
    }

    /// Servers, to which each service connects when it starts.
    pub fn servers(servers: Servers, environment: Environment, controller_ods: &str) -> Self {
        Self::new(Behind::Servers { servers: Arc::new(servers), logs: Arc::default() }, environment, controller_ods)
    }

    fn new(behind: Behind, environment: Environment, controller_ods: &str) -> Self {
        let deployment = Deployment { environment, controller_ods: controller_ods.to_owned(), incarnation: 1, level: Level::default() };
        Backend { behind, deployment, instance: *uuid::Uuid::new_v4().as_bytes() }
    }

    /// Opens the store of one service, and as that service the log and the keyring.
    pub async fn connect(&self, service: &'static str, topic: &'static Topic, views: Vec<Arc<dyn View>>) -> Result<Connected, ConnectError> {
        let failed = |source| ConnectError::Store { service, source };
        let (store, log, keys): (Arc<dyn Managed>, Arc<dyn Log>, Arc<dyn KeyStore>) = match &self.behind {
            Behind::Folder { folder, log, keys } => {
                let options = Options { service, topic, file: folder.join(format!("{service}.db")), views, faults: Arc::new(NoFaults) };
                (Arc::new(SqliteStore::open(options).await.map_err(failed)?), Arc::new(log.clone()), keys.clone())
            }
            Behind::Servers { servers, logs } => {
                let database = servers.database(&servers.postgres.database, &role(service))?;
                let options = PostgresOptions { service, topic, database, schema: servers.schema(service), views, faults: Arc::new(NoFaults) };
                let store = PostgresStore::open(options).await.map_err(failed)?;
                let keys: Arc<dyn KeyStore> = if opens_keys(service) {
                    let database = servers.database(&servers.postgres.keyring_database, &role(service))?;
                    Arc::new(PostgresKeyring::open(database, servers.schema(KEYRING), &servers.kek_file).await?)
                } else {
                    Arc::new(NoKeyring(service))
                };
                let log = KafkaLog::open(servers.kafka_options(service, &hex(&self.instance)))?;
                logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(log.clone());
                (Arc::new(store), Arc::new(log), keys)
            }
        };
        let (incarnation, level) = upgrade::begin(store.as_ref(), LEVEL).await.map_err(|error| match error {
            BeginError::Store(source) => failed(source),
            newer @ BeginError::NewerDeployment { .. } => ConnectError::Begin(newer),
        })?;
        let deployment = Deployment { incarnation, level, ..self.deployment.clone() };
        let alone = matches!(self.behind, Behind::Folder { .. });
        let ports = Ports { store: store.clone(), log, keys, deployment, instance: self.instance, alone };
        Ok(Connected { ports, store })
    }

    /// The folder's log; on servers each service has a client of its own.
    pub fn log(&self) -> Option<Arc<dyn Log>> {
        match &self.behind {
            Behind::Folder { log, .. } => Some(Arc::new(log.clone())),
            Behind::Servers { .. } => None,
        }
    }

    /// The folder's keyring; on servers each service sees its own part.
    pub fn keys(&self) -> Option<Arc<dyn KeyStore>> {
        match &self.behind {
            Behind::Folder { keys, .. } => Some(keys.clone()),
            Behind::Servers { .. } => None,
        }
    }

    /// Writes what is queued for the log and closes it; stores are closed by who holds them.
    pub async fn close(&self) {
        match &self.behind {
            Behind::Folder { log, .. } => log.close().await,
            Behind::Servers { logs, .. } => {
                let logs = std::mem::take(&mut *logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
                for log in logs {
                    log.close(KAFKA_LEAVES).await;
                }
            }
        }
    }
}

impl Servers {
    /// A database as a role enters it.
    pub fn database(&self, name: &str, role: &str) -> Result<Database, ConnectError> {
        let file = self.postgres.password_folder.join(role);
        let password = std::fs::read_to_string(&file).map_err(|e| ConnectError::Password { role: role.to_owned(), file, why: e.kind() })?;
        let tls = match self.postgres.tls {
            PostgresTls::Disabled => Tls::Disabled,
            PostgresTls::VerifyFull => Tls::VerifyFull(self.postgres.ca_file.clone()),
        };
        let Postgres { host, port, .. } = &self.postgres;
        let password = Some(password.trim_end_matches(['\r', '\n']).to_owned());
        Ok(Database { host: host.clone(), port: *port, name: name.to_owned(), role: role.to_owned(), password, tls })
    }

    /// How a process of a service reaches Kafka.
    pub fn kafka_options(&self, service: &str, instance: &str) -> KafkaOptions {
        let kafka = &self.kafka;
        let tls = || hearthline_log_kafka::Tls {
            ca_file: kafka.ca_file.clone(),
            certificate_file: kafka.certificate_file.clone(),
            key_file: kafka.key_file.clone(),
            key_password: kafka.key_password.clone(),
        };
        let sasl = || match kafka.login.clone()? {
            SaslLogin::Token(token_file) => Some(Sasl::OauthBearer { token_file }),
            SaslLogin::Password { mechanism, username, password } => match mechanism {
                Mechanism::ScramSha512 => Some(Sasl::ScramSha512 { username, password }),
                Mechanism::ScramSha256 => Some(Sasl::ScramSha256 { username, password }),
                Mechanism::Plain => Some(Sasl::Plain { username, password }),
                // Has a token, which was matched above.
                Mechanism::OauthBearer => None,
            },
        };
        let security = match (kafka.security, sasl()) {
            (KafkaSecurity::SaslPlaintext, Some(sasl)) => Security::SaslPlaintext(sasl),
            (KafkaSecurity::SaslTls, Some(sasl)) => Security::SaslTls(sasl, tls()),
            (KafkaSecurity::Tls | KafkaSecurity::SaslTls, _) => Security::Tls(tls()),
            (KafkaSecurity::Plaintext | KafkaSecurity::SaslPlaintext, _) => Security::Plaintext,
        };
        KafkaOptions {
            topic_prefix: kafka.topic_prefix.clone(),
            group_prefix: kafka.group_prefix.clone(),
            instance: format!("{service}-{instance}"),
            security,
            cluster_id: kafka.cluster_id.clone(),
            client: kafka.client.clone(),
            ..KafkaOptions::new(kafka.brokers.clone(), service)
        }
    }

    /// Makes the tables of one service, as their owner.
    pub async fn migrate(&self, service: &'static str, views: &[Arc<dyn View>]) -> Result<(), ConnectError> {
        let owner = self.database(&self.postgres.database, OWNER)?;
        let outsiders = (service == "kpi-projection").then(|| (self.schema(OUTSIDERS.0), OUTSIDERS.1.to_owned()));
        let tenancy = Tenancy { schema: self.schema(service), role: role(service), outsiders };
        hearthline_store::migrate(&owner, &tenancy, views).await.map(drop).map_err(|source| ConnectError::Store { service, source })
    }

    /// Makes the keyring's tables, and the key-encryption key where there is no key yet.
    pub async fn migrate_keyring(&self) -> Result<(), ConnectError> {
        let grants: Vec<(String, &[&str])> = GRANTS.iter().map(|(service, contexts)| (role(service), *contexts)).collect();
        let owner = self.database(&self.postgres.keyring_database, OWNER)?;
        Ok(PostgresKeyring::migrate(owner, &self.schema(KEYRING), &grants, &self.kek_file).await?)
    }

    /// The schema of a service's tables: its name in SQL after the deployment's prefix.
    pub fn schema(&self, service: &str) -> String {
        format!("{}{}", self.postgres.schema_prefix, sql_name(service))
    }

    /// Drops every schema of a deployment that has a prefix, with all that is in it, for good; without a prefix it is refused, for
    /// that is somebody's record. No process of the deployment may run.
    pub async fn drop_schemas(&self, services: &[&'static str]) -> Result<(), ConnectError> {
        let failed = |service| move |source| ConnectError::Store { service, source };
        if self.postgres.schema_prefix.is_empty() {
            let why = "schemas are dropped only where postgres.schema_prefix tells them from others'".to_owned();
            return Err(failed("deployment")(StoreError::Refused(why)));
        }
        let owner = self.database(&self.postgres.database, OWNER)?;
        hearthline_store::drop_schemas(&owner, &[self.schema(OUTSIDERS.0)]).await.map_err(failed("kpi-projection"))?;
        for service in services {
            let schema = self.schema(service);
            hearthline_store::drop_schemas(&owner, &[hearthline_store::rebuild_schema(&schema), schema]).await.map_err(failed(service))?;
        }
        let keyring = self.database(&self.postgres.keyring_database, OWNER)?;
        hearthline_store::drop_schemas(&keyring, &[self.schema(KEYRING)]).await.map_err(failed("keyring"))
    }
}

/// Whether a service is granted any key at all; one that is not does not even connect to the keyring.
pub fn opens_keys(service: &str) -> bool {
    GRANTS.iter().any(|(name, contexts)| *name == service && !contexts.is_empty())
}

/// What a service that opens nothing has for a keyring.
struct NoKeyring(&'static str);

#[async_trait]
impl KeyStore for NoKeyring {
    async fn create(&self, context: &str, _: [u8; 16]) -> Result<KeyState, KeyringError> {
        Err(KeyringError::NotGranted { reader: self.0.to_owned(), context: context.to_owned() })
    }
    async fn open(&self, _: [u8; 16]) -> Result<KeyState, KeyringError> {
        Ok(KeyState::Withheld { context: String::new() })
    }
    async fn destroy(&self, _: [u8; 16]) -> Result<bool, KeyringError> {
        Err(KeyringError::NotGranted { reader: self.0.to_owned(), context: String::new() })
    }
}

/// The role as which a service runs.
pub fn role(service: &str) -> String {
    format!("hearthline_{}", sql_name(service))
}

/// The name of a service in SQL.
fn sql_name(service: &str) -> String {
    service.replace('-', "_")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
