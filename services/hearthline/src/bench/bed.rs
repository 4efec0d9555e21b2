//! What is measured: a folder of its own, or a namespace of its own on configured servers, cleared afterwards.

use super::Options;
use crate::up;
use anyhow::Context;
use hearthline_contracts::envelope::Environment;
use hearthline_contracts::topics::Topic;
use hearthline_eventing::View;
use hearthline_log_kafka::{KafkaAdmin, Replication};
use hearthline_runtime::connect::{Backend, Connected, Servers};
use std::sync::Arc;

pub(crate) struct Bed {
    pub(crate) backend: Backend,
    folder: tempfile::TempDir,
    servers: Option<Servers>,
}

impl Bed {
    pub(crate) async fn make(options: &Options) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(&options.folder).context("no folder for the measurement")?;
        let servers = match &options.servers {
            Some(servers) => Some(namespace(servers, &folder).await?),
            None => None,
        };
        let backend = match &servers {
            Some(servers) => Backend::servers(servers.clone(), Environment::Test, "X26"),
            None => Backend::open(folder.path(), None, Environment::Test, "X26").await?,
        };
        Ok(Bed { backend, folder, servers })
    }

    pub(crate) async fn connect(&self, service: &'static str, topic: &'static Topic, views: Vec<Arc<dyn View>>) -> anyhow::Result<Connected> {
        if let Some(servers) = &self.servers {
            servers.migrate(service, &views).await?;
        }
        Ok(self.backend.connect(service, topic, views).await?)
    }

    /// The store behind it.
    pub(crate) fn named(&self) -> &'static str {
        if self.servers.is_some() { "PostgreSQL" } else { "SQLite" }
    }

    /// The log behind it.
    pub(crate) fn log_named(&self) -> &'static str {
        if self.servers.is_some() { "Kafka" } else { "the embedded log" }
    }

    pub(crate) async fn clear(self) -> anyhow::Result<()> {
        self.backend.close().await;
        if let Some(servers) = &self.servers {
            clear(servers).await?;
        }
        Ok(self.folder.close()?)
    }
}

/// A namespace of its own for one measurement, with topics and keyring.
pub(crate) async fn namespace(servers: &Servers, folder: &tempfile::TempDir) -> anyhow::Result<Servers> {
    let mut own = servers.clone();
    let name = format!("bench_{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    own.postgres.schema_prefix = format!("{name}_");
    own.kafka.topic_prefix = format!("{name}.");
    own.kafka.group_prefix = format!("{name}.");
    own.kek_file = folder.path().join("kek");
    own.migrate_keyring().await?;
    KafkaAdmin::new(own.kafka_options("operator", "bench"))?.apply(Replication::of(own.kafka.replication_factor)).await?;
    Ok(own)
}

pub(crate) async fn clear(servers: &Servers) -> anyhow::Result<()> {
    servers.drop_schemas(up::SERVICES).await?;
    KafkaAdmin::new(servers.kafka_options("operator", "bench"))?.remove().await?;
    Ok(())
}
