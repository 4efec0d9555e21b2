//! From a configured backend to the ports of a service. Only mains and the all-in-one name this.

use hearthline_contracts::envelope::Environment;
use hearthline_contracts::topics::Topic;
use hearthline_eventing::{Deployment, KeyStore, KeyringError, Log, LogError, Ports, StoreError, View};
use hearthline_log_embedded::EmbeddedLog;
use hearthline_store::{NoFaults, Options, SqliteKeyring, SqliteStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The one-machine backend: a folder with a SQLite file per service, the log and the keyring. Opened once per process and
/// shared by its services.
#[derive(Clone)]
pub struct Backend {
    folder: PathBuf,
    log: EmbeddedLog,
    keys: Arc<SqliteKeyring>,
    deployment: Deployment,
    instance: [u8; 16],
}

/// A part of the backend does not open.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the log in the data folder does not open: {0}")]
    Log(#[from] LogError),
    #[error("the keyring in the data folder does not open: {0}")]
    Keyring(#[from] KeyringError),
    #[error("the store of {service} does not open: {source}")]
    Store { service: &'static str, source: StoreError },
}

/// A service's connection: its ports, and the store itself for what only the one-machine edition offers (rebuild, close).
pub struct Connected {
    pub ports: Ports,
    pub store: SqliteStore,
}

impl Backend {
    /// Opens log and keyring. The caller holds the folder's lock.
    pub async fn open(folder: &Path, kek_file: Option<&Path>, environment: Environment, controller_ods: &str) -> Result<Self, ConnectError> {
        let log = EmbeddedLog::open(&folder.join("log.db")).await?;
        let kek = kek_file.map_or_else(|| folder.join("keyring.kek"), Path::to_owned);
        let keys = Arc::new(SqliteKeyring::open(&folder.join("keyring.db"), &kek).await?);
        let deployment = Deployment { environment, controller_ods: controller_ods.to_owned(), incarnation: 1 };
        Ok(Backend { folder: folder.to_owned(), log, keys, deployment, instance: *uuid::Uuid::new_v4().as_bytes() })
    }

    /// Opens the store of one service.
    pub async fn connect(&self, service: &'static str, topic: &'static Topic, views: Vec<Arc<dyn View>>) -> Result<Connected, ConnectError> {
        let file = self.folder.join(format!("{service}.db"));
        let options = Options { service, topic, file, views, faults: Arc::new(NoFaults) };
        let store = SqliteStore::open(options).await.map_err(|source| ConnectError::Store { service, source })?;
        let state = hearthline_eventing::begin(&store, hearthline_contracts::LEVEL).await.map_err(|source| ConnectError::Store { service, source })?;
        let deployment = Deployment { incarnation: state.incarnation, ..self.deployment.clone() };
        let ports = Ports { store: Arc::new(store.clone()), log: self.log(), keys: self.keys(), deployment, instance: self.instance, alone: true };
        Ok(Connected { ports, store })
    }

    pub fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.log.clone())
    }

    pub fn keys(&self) -> Arc<dyn KeyStore> {
        self.keys.clone()
    }

    /// Writes what is queued for the log and closes its file; stores are closed by who holds them.
    pub async fn close(&self) {
        self.log.close().await;
    }
}
