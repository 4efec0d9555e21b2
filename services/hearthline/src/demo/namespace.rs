//! Where a distributed run lies on servers that others use too: schemas and topics of its own, under a prefix that nobody else has,
//! made before the run and dropped after it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hearthline_log_kafka::{KafkaAdmin, Replication};
use hearthline_runtime::config::{Config, Environment, Sources};
use hearthline_runtime::connect::Servers;
use rand::RngExt;
use toml::{Table, Value};

use crate::up::{self, SERVICES};

/// A member that was killed is one of its group until its session is over.
const GROUPS_EMPTY_WITHIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const KEK_FILE: &str = "keyring.kek";

pub struct Namespace {
    /// `[postgres]` and `[kafka]` with this run's prefixes.
    sections: Table,
    servers: Servers,
    name: String,
}

impl Namespace {
    /// Chooses names on the servers of a configuration; nothing is made yet. The key-encryption key is the run's own, in `folder`.
    pub fn choose(config: &Config, folder: &Path, kills: u32) -> anyhow::Result<Self> {
        if config.environment == Environment::Live {
            bail!("a demonstration does not run on the servers of environment live: give it a configuration of another environment");
        }
        let mut servers = up::servers(config).context("a distributed demonstration needs [postgres] and [kafka]")?;
        let name = format!("{:08x}", rand::rng().random::<u32>());
        servers.kek_file = folder.join(KEK_FILE);
        servers.postgres.schema_prefix = format!("demo_{name}_");
        servers.kafka.topic_prefix = format!("demo-{name}.");
        servers.kafka.group_prefix = format!("demo-{name}.");
        let printed: Table = config.print().parse().context("the configuration that was read cannot be written")?;
        let mut sections: Table = printed.into_iter().filter(|(section, _)| section == "postgres" || section == "kafka").collect();
        set(&mut sections, "postgres", "schema_prefix", &servers.postgres.schema_prefix)?;
        set(&mut sections, "kafka", "topic_prefix", &servers.kafka.topic_prefix)?;
        set(&mut sections, "kafka", "group_prefix", &servers.kafka.group_prefix)?;
        if kills > 0 && !servers.kafka.client.contains_key("session.timeout.ms") {
            // As soon as a broker may miss a member, so that the kills and not the waiting for them make up the run.
            let kafka = sections.get_mut("kafka").and_then(Value::as_table_mut).context("[kafka] is no section")?;
            set(kafka, "client", "session.timeout.ms", "6000")?;
        }
        Ok(Self { sections, servers, name })
    }

    /// The sections of a configuration file that lead into it, with the key set that every process shares.
    pub fn configuration(&self, jwks_file: &Path) -> anyhow::Result<String> {
        let mut sections = self.sections.clone();
        set(&mut sections, "keyring", "kek_file", text(&self.servers.kek_file)?)?;
        set(&mut sections, "auth", "jwks_file", text(jwks_file)?)?;
        Ok(toml::to_string(&sections)?)
    }

    /// Makes tables and topics.
    pub async fn make(&self, file: &Path) -> anyhow::Result<()> {
        let config = Config::load(&Sources { file: Some(file.to_owned()), ..Sources::default() })?;
        let topics = async {
            let replication = Replication::of(self.servers.kafka.replication_factor);
            self.admin()?.apply(replication).await.context("topics are not made")
        };
        let (migrated, made) = tokio::join!(up::migrate(&config), topics);
        migrated.context("tables are not made")?;
        made.map(drop)
    }

    /// Drops all of it; what was never made is no error. Nothing of the run may be running any more.
    pub async fn remove(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + GROUPS_EMPTY_WITHIN;
        self.servers.drop_schemas(SERVICES).await.with_context(|| self.left())?;
        while let Err(error) = self.admin()?.remove().await {
            if Instant::now() > deadline {
                return Err(anyhow::Error::new(error).context(self.left()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// What is to be looked for where it is not dropped.
    pub fn left(&self) -> String {
        let Servers { postgres, kafka, .. } = &self.servers;
        format!(
            "schemas {}* in the databases {} and {}, and topics {}*, are left",
            postgres.schema_prefix, postgres.database, postgres.keyring_database, kafka.topic_prefix
        )
    }

    /// Which servers, in a few words.
    pub fn place(&self) -> String {
        let Servers { postgres, kafka, .. } = &self.servers;
        format!("PostgreSQL {}:{} and Kafka {}, as demo {}", postgres.host, postgres.port, kafka.brokers, self.name)
    }

    /// Before the names of its schemas.
    pub fn schema_prefix(&self) -> &str {
        &self.servers.postgres.schema_prefix
    }

    fn admin(&self) -> anyhow::Result<KafkaAdmin> {
        Ok(KafkaAdmin::new(self.servers.kafka_options("operator", &std::process::id().to_string()))?)
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} cannot be named in a configuration", path.display()))
}

fn set(sections: &mut Table, section: &str, key: &str, value: &str) -> anyhow::Result<()> {
    let table = sections.entry(section).or_insert_with(|| Value::Table(Table::new()));
    table.as_table_mut().with_context(|| format!("[{section}] is no section"))?.insert(key.to_owned(), value.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &[&str]) -> Config {
        let mut overrides: Vec<String> = [
            "postgres.host=127.0.0.1",
            "postgres.password_folder=/nowhere",
            "postgres.tls=disabled",
            "kafka.brokers=127.0.0.1:9092",
            "keyring.kek_file=/nowhere/kek",
        ]
        .map(str::to_owned)
        .to_vec();
        overrides.extend(more.iter().map(|s| (*s).to_owned()));
        Config::load(&Sources { overrides, ..Sources::default() }).expect("a sound configuration")
    }

    #[test]
    fn two_runs_on_the_same_servers_have_names_of_their_own_and_keep_the_rest() {
        let given = config(&["postgres.database=other", "kafka.client.socket.keepalive.enable=true", "kafka.topic_prefix=north."]);
        let folder = Path::new("/tmp/demo \"1\"");
        let read = || {
            let run = Namespace::choose(&given, folder, 3).expect("names");
            let toml = run.configuration(&folder.join("jwks.json")).expect("a configuration");
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), toml).expect("written");
            Config::load(&Sources { file: Some(file.path().to_owned()), ..Sources::default() }).expect("it reads back")
        };
        let (one, other) = (read(), read());
        let (postgres, kafka) = one.distributed.expect("servers");
        assert_eq!(postgres.database, "other");
        assert_eq!(kafka.client.get("socket.keepalive.enable").map(String::as_str), Some("true"));
        assert_eq!(kafka.client.get("session.timeout.ms").map(String::as_str), Some("6000"));
        assert!(kafka.topic_prefix.starts_with("demo-") && kafka.group_prefix == kafka.topic_prefix);
        assert_eq!(one.keyring.kek_file.as_deref(), Some(folder.join(KEK_FILE).as_path()));
        let (others, _) = other.distributed.expect("servers");
        assert!(postgres.schema_prefix.starts_with("demo_") && postgres.schema_prefix != others.schema_prefix);
    }

    #[test]
    fn a_live_deployment_is_left_alone() {
        let live = config(&["environment=live", "controller_ods=ZH100"]);
        assert!(Namespace::choose(&live, Path::new("/nowhere"), 0).is_err());
    }
}
