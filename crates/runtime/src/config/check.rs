//! What the configuration names on this machine: is it there, and may it be used?

use std::path::Path;

use super::{AuthKeys, Config, Environment};

/// Something that will not work, or should not stay as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key it concerns.
    pub key: String,
    /// What is wrong and how to mend it.
    pub advice: String,
    /// Whether the process cannot start like this.
    pub fatal: bool,
}

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let folder = &config.data.folder;
    if folder.exists() && !folder.is_dir() {
        findings.push(fatal("data.folder", format!("{} is not a folder", folder.display())));
    }
    if let AuthKeys::File(path) = &config.auth.keys
        && let Err(error) = std::fs::File::open(path)
    {
        let advice = format!("{} cannot be read ({}); no token can be verified", path.display(), error.kind());
        findings.push(fatal("auth.jwks_file", advice));
    }
    if let Some(path) = &config.keyring.kek_file {
        match std::fs::metadata(path) {
            Err(error) => {
                let advice = format!("{} cannot be read ({}); nothing sealed can be opened", path.display(), error.kind());
                findings.push(fatal("keyring.kek_file", advice));
            }
            Ok(metadata) => findings.extend(exposed("keyring.kek_file", path, &metadata)),
        }
    }
    if config.environment == Environment::Live {
        findings.extend(live(config));
    }
    findings
}

/// What works but does not belong in a live deployment.
fn live(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |key: &str, advice: &str| {
        findings.push(Finding { key: key.to_owned(), advice: advice.to_owned(), fatal: false });
    };
    if config.keyring.kek_file.is_none() {
        note("keyring.kek_file", "the key-encryption key lies beside the data; keep it on another disk");
    }
    if config.eps.url.is_none() {
        note("eps.url", "not set: prescriptions go to the sandbox");
    }
    if config.shared_record.url.is_none() {
        note("shared_record.url", "not set: documents go to the sandbox");
    }
    if config.mail.host.is_none() {
        note("mail.host", "not set: care plans go to the sandbox");
    }
    if config.kpi.coverage.is_empty() {
        note("kpi.coverage", "empty: no avoided conveyance, attendance or admission can be verified");
    }
    findings
}

#[cfg(unix)]
fn exposed(key: &str, path: &Path, metadata: &std::fs::Metadata) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let advice = format!("{} has mode {mode:o}; others can read it: chmod 600", path.display());
        fatal(key, advice)
    })
}

#[cfg(not(unix))]
fn exposed(_key: &str, _path: &Path, _metadata: &std::fs::Metadata) -> Option<Finding> {
    None
}

fn fatal(key: &str, advice: String) -> Finding {
    Finding { key: key.to_owned(), advice, fatal: true }
}
