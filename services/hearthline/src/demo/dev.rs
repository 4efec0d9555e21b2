//! The development servers of a checkout, for whoever has no others: `deploy/dev/up` starts them, `deploy/dev/env` says where they are.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use hearthline_runtime::config::{Config, Sources};
use tokio::process::Command;

const UP: &str = "deploy/dev/up";

/// Finds the development servers, starts them where they do not run, and gives a configuration that leads to them.
pub async fn servers(silent: bool) -> anyhow::Result<Config> {
    let here = std::env::current_dir().context("the current folder is not known")?;
    let Some(folder) = checkout(&here) else {
        bail!(
            "no servers are configured: give [postgres] and [kafka] with --config FILE, or run this in a checkout of Hearthline, where {UP} starts a Kafka and a PostgreSQL for development"
        );
    };
    let script = |name: &str| folder.join("deploy/dev").join(name);
    let running = Command::new(script("status")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    if !running.context("deploy/dev/status cannot be started")?.success() {
        if !silent {
            eprintln!("the development servers do not run: starting them with {UP} (deploy/dev/down stops them)");
        }
        // Its words belong to progress, not to the outcome.
        let said = || if silent { Stdio::null() } else { std::io::stderr().into() };
        let up =
            Command::new(script("up")).stdin(Stdio::null()).stdout(said()).stderr(said()).status().await.with_context(|| format!("{UP} cannot be started"))?;
        if !up.success() {
            bail!("the development servers did not start ({up}): run {} and see what it says", script("up").display());
        }
    }
    let env = Command::new(script("env")).stdin(Stdio::null()).output().await.context("deploy/dev/env cannot be started")?;
    if !env.status.success() {
        bail!("deploy/dev/env says: {}", String::from_utf8_lossy(&env.stderr).trim());
    }
    Ok(Config::load(&Sources { overrides: settings(&String::from_utf8_lossy(&env.stdout))?, ..Sources::default() })?)
}

/// The folder at or above this one that holds the script.
fn checkout(here: &Path) -> Option<PathBuf> {
    here.ancestors().find(|folder| folder.join(UP).is_file()).map(Path::to_owned)
}

/// What `deploy/dev/env` prints, as settings.
fn settings(env: &str) -> anyhow::Result<Vec<String>> {
    let value = |name: &str| {
        let found = env.lines().find_map(|line| line.strip_prefix("export ")?.strip_prefix(name)?.strip_prefix('='));
        found.with_context(|| format!("deploy/dev/env does not say {name}: run {UP} again"))
    };
    let (brokers, passwords) = (value("HEARTHLINE_TEST_KAFKA")?, value("HEARTHLINE_TEST_POSTGRES_PASSWORDS")?);
    let address = value("HEARTHLINE_TEST_POSTGRES")?.rsplit_once('@').and_then(|(_, place)| place.split('/').next()?.rsplit_once(':'));
    let (host, port) = address.context("deploy/dev/env gives no address of PostgreSQL")?;
    let replicas = if brokers.split(',').count() < 3 { 1 } else { 3 };
    Ok(vec![
        format!("postgres.host={host}"),
        format!("postgres.port={port}"),
        format!("postgres.password_folder={passwords}"),
        "postgres.tls=disabled".to_owned(),
        format!("kafka.brokers={brokers}"),
        format!("kafka.replication_factor={replicas}"),
        // Every run makes its own.
        "keyring.kek_file=keyring.kek".to_owned(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_prints_becomes_a_configuration() {
        let env = "export HEARTHLINE_TEST_KAFKA=127.0.0.1:1,127.0.0.1:2,127.0.0.1:3\nexport HEARTHLINE_TEST_KAFKA_SASL=127.0.0.1:4\n\
                   export HEARTHLINE_TEST_POSTGRES=postgres://hearthline_test:secret@127.0.0.1:19432/postgres\n\
                   export HEARTHLINE_TEST_POSTGRES_PASSWORDS=/var/lib/dev/secrets/postgres\n";
        let config = Config::load(&Sources { overrides: settings(env).expect("settings"), ..Sources::default() }).expect("sound");
        let (postgres, kafka) = config.distributed.expect("servers");
        assert_eq!((postgres.host.as_str(), postgres.port), ("127.0.0.1", 19432));
        assert_eq!((kafka.brokers.as_str(), kafka.replication_factor), ("127.0.0.1:1,127.0.0.1:2,127.0.0.1:3", 3));
        assert!(settings("export HEARTHLINE_TEST_KAFKA=127.0.0.1:1\n").is_err());
    }

    #[test]
    fn the_scripts_of_this_checkout_are_found_from_within_it_and_nowhere_else() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert!(checkout(&source).is_some_and(|folder| folder.join(UP).is_file()));
        let elsewhere = tempfile::tempdir().expect("a temporary folder can be made");
        assert_eq!(checkout(elsewhere.path()), None);
    }
}
