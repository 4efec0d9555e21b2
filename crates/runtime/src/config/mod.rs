//! Configuration: defaults, then a TOML file, then the environment (`HEARTHLINE__SECTION__KEY`), then flags
//! (`section.key=value`); the later wins. It is parsed once, into types, and whatever is wrong is said all at once:
//! the key, where it was set, what is wrong and what is allowed. A key that nobody knows is refused with the nearest
//! one that exists, because a setting that is silently ignored is worse than none.
//!
//! Secrets are never values here: a key ending in `_file` names the file that holds one.

mod check;
mod distributed;
mod layers;
mod print;
mod reader;
mod sections;
mod types;

use std::path::PathBuf;

pub use check::Finding;
pub use types::{
    Auth, AuthKeys, Coverage, Data, Environment, Eps, HomeCode, Hub, Kafka, KafkaSecurity, Keyring, Kpi, Limits, LogFormat, Mail, MailLogin, MailTls,
    Mechanism, Mllp, MllpAcknowledgement, MllpAgreement, MllpListener, MllpMode, MllpPeer, MllpReply, MllpTls, Postgres, PostgresTls, SaslLogin, Server,
    SharedRecord, Telemetry,
};

/// Everything that can be configured, parsed and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// What this deployment is for; stamped on every event.
    pub environment: Environment,
    /// The organisation that is controller of the data (UK GDPR, Article 4).
    pub controller_ods: hearthline_nhs::OdsCode,
    /// `[server]`: HTTP.
    pub server: Server,
    /// `[data]`: where facts are kept.
    pub data: Data,
    /// `[auth]`: whose tokens are taken.
    pub auth: Auth,
    /// `[telemetry]`: logs, traces, metrics.
    pub telemetry: Telemetry,
    /// `[mllp]`: hospital messages.
    pub mllp: Mllp,
    /// `[kpi]`: windows and coverage.
    pub kpi: Kpi,
    /// `[hub]`: when the hub is open.
    pub hub: Hub,
    /// `[eps]`: the prescription service.
    pub eps: Eps,
    /// `[shared_record]`: the shared care record.
    pub shared_record: SharedRecord,
    /// `[mail]`: secure email to homes.
    pub mail: Mail,
    /// `[limits]`: business limits.
    pub limits: Limits,
    /// `[keyring]`: the key that encrypts the keys.
    pub keyring: Keyring,
    /// `[postgres]` and `[kafka]`: the distributed edition; `None`: one machine, one folder.
    pub distributed: Option<(Postgres, Kafka)>,
    /// Every key with its effective value and where it came from, for [`Config::print`].
    pub(crate) effective: Vec<reader::Effective>,
}

/// Where configuration comes from. All three are handed in; nothing is read from the process behind the back of a
/// test.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not begin with `HEARTHLINE__` are left alone, and empty ones are taken as
    /// not set.
    pub environment: Vec<(String, String)>,
    /// Overrides from the command line, each `section.key=value`.
    pub overrides: Vec<String>,
}

impl Sources {
    /// The given file and overrides with this process's environment.
    pub fn of_process(file: Option<PathBuf>, overrides: Vec<String>) -> Self {
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
        Self { file, environment, overrides }
    }
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key (`server.listen`), or the file.
    pub key: String,
    /// Where it was set (`the file hearthline.toml`, `HEARTHLINE__SERVER__LISTEN`, `a flag`), empty for defaults.
    pub set_by: String,
    /// What is wrong.
    pub wrong: String,
    /// What is allowed.
    pub allowed: String,
}

impl std::fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.key)?;
        if !self.set_by.is_empty() {
            write!(f, " (set by {})", self.set_by)?;
        }
        write!(f, ": {}", self.wrong)?;
        if !self.allowed.is_empty() {
            write!(f, "; allowed: {}", self.allowed)?;
        }
        Ok(())
    }
}

/// The configuration cannot be used. Holds everything that is wrong, not only the first thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration cannot be used:{}", list(.problems))]
pub struct ConfigError {
    /// All that is wrong.
    pub problems: Vec<ConfigProblem>,
}

fn list(problems: &[ConfigProblem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

impl Config {
    /// Reads and checks the configuration. Also reads the files that hold secrets.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let settings = layers::merge(sources)?;
        sections::read(settings)
    }

    /// The configuration as TOML with the origin of every value that is not a default. What is printed reads back as
    /// the same configuration. Passwords in addresses are redacted.
    pub fn print(&self) -> String {
        print::render(&self.effective)
    }

    /// Looks at what the configuration names on this machine: folders, files, their permissions. An empty list: all
    /// is well.
    pub fn check(&self) -> Vec<Finding> {
        check::check(self)
    }
}

#[cfg(test)]
mod tests;
