//! `admin.json` in the data folder: how commands at the same machine find the process that uses it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's name.
pub const ADMIN_FILE: &str = "admin.json";

/// What a running process says about itself. Written with mode 0600, because it may hold a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminFile {
    /// The process id.
    pub pid: u32,
    /// The version of the program.
    pub version: String,
    /// When it was ready, in microseconds since 1970 UTC.
    pub started_at_us: i64,
    /// Where it answers HTTP.
    pub http: SocketAddr,
    /// Where it takes MLLP frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mllp: Option<SocketAddr>,
    /// Further MLLP listeners by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub listeners: BTreeMap<String, Listening>,
    /// A bearer token for operators' requests from this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// A listener beside the one that every deployment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// Where it takes frames.
    pub address: SocketAddr,
    /// Whether it takes them by TLS only.
    pub tls: bool,
}

impl fmt::Debug for AdminFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminFile")
            .field("pid", &self.pid)
            .field("version", &self.version)
            .field("http", &self.http)
            .field("mllp", &self.mllp)
            .field("listeners", &self.listeners)
            .field("token", &self.token.as_ref().map(|_| "redacted"))
            .finish_non_exhaustive()
    }
}

/// `admin.json` could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is none: nothing runs on this folder.
    #[error("nothing runs on {folder}: it has no admin.json")]
    NotRunning {
        /// The data folder.
        folder: PathBuf,
    },
    /// It could not be read or written.
    #[error("{path} cannot be read or written")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what this program writes.
    #[error("{path} is not what this program writes")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl AdminFile {
    /// Writes the file, whole or not at all.
    pub fn write(&self, folder: &Path) -> Result<(), AdminError> {
        let path = folder.join(ADMIN_FILE);
        let text = serde_json::to_vec_pretty(self).map_err(|source| AdminError::Malformed { path: path.clone(), source })?;
        crate::files::write_atomically(&path, &text, 0o600).map_err(|source| AdminError::File { path, source })
    }

    /// Reads the file of the process that runs, or last ran, on `folder`.
    pub fn read(folder: &Path) -> Result<Self, AdminError> {
        let path = folder.join(ADMIN_FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| AdminError::Malformed { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(AdminError::NotRunning { folder: folder.to_owned() }),
            Err(source) => Err(AdminError::File { path, source }),
        }
    }

    /// Removes the file at an orderly stop. One that is not there is no error.
    pub fn remove(folder: &Path) -> Result<(), AdminError> {
        let path = folder.join(ADMIN_FILE);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(AdminError::File { path, source }),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
