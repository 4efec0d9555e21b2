//! The one-machine edition's own issuer: a P-256 key in the data folder, made at the first start, and tokens signed
//! with it at the command line. Distributed deployments use their OpenID provider instead.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hearthline_nhs::{HomeId, OdsCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::caller::Role;
use super::verify::{KeySource, VerifierOptions};

/// The file of the private key, readable by its owner only.
pub const PRIVATE_KEY_FILE: &str = "issuer-key.pem";
/// The file of the published key set.
pub const JWKS_FILE: &str = "jwks.json";

/// The issuer's key could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// A file could not be read or written.
    #[error("the issuer's file {path} cannot be read or written")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read the private key.
    #[error("the issuer's key {path} can be read by others; set its mode to 0600")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no P-256 private key.
    #[error("the issuer's key {path} is not a P-256 private key in PKCS #8")]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The machine gives no random numbers.
    #[error("the machine gives no random numbers")]
    Random,
    /// A token could not be signed.
    #[error("the token cannot be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// A `care_home` token without a home.
    #[error("a care_home token must name its home")]
    HomeNeeded,
}

/// What a token shall say.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Who it is for; only a pseudonym made of it is ever stored.
    pub subject: String,
    /// The role.
    pub role: Role,
    /// The organisation.
    pub org: OdsCode,
    /// The home; needed for `care_home`.
    pub home: Option<HomeId>,
    /// Whether the person is present in a session.
    pub session: bool,
}

/// Signs tokens with the data folder's own key.
pub struct Issuer {
    issuer: String,
    audience: String,
    key: EncodingKey,
    key_id: String,
    jwks_path: PathBuf,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("issuer", &self.issuer).field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Opens the key in `folder`, making it (mode 0600) and its key set at the first start.
    pub fn open(folder: &Path, issuer: &str, audience: &str) -> Result<Self, IssuerError> {
        let path = folder.join(PRIVATE_KEY_FILE);
        let secret = match fs::read_to_string(&path) {
            Ok(pem) => {
                refuse_exposed(&path)?;
                SecretKey::from_pkcs8_pem(&pem).map_err(|_| IssuerError::NotAKey { path: path.clone() })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path)?,
            Err(source) => return Err(IssuerError::File { path, source }),
        };
        let (jwks, key_id) = key_set(&secret);
        let jwks_path = folder.join(JWKS_FILE);
        write_beside(&jwks_path, jwks.as_bytes(), 0o644)?;
        let der = secret.to_pkcs8_der().map_err(|_| IssuerError::NotAKey { path: path.clone() })?;
        Ok(Self { issuer: issuer.to_owned(), audience: audience.to_owned(), key: EncodingKey::from_ec_der(der.as_bytes()), key_id, jwks_path })
    }

    /// A token for `grant`, valid from `now` for `ttl`.
    pub fn token(&self, grant: &Grant, now: SystemTime, ttl: Duration) -> Result<String, IssuerError> {
        if grant.role == Role::CareHome && grant.home.is_none() {
            return Err(IssuerError::HomeNeeded);
        }
        let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": grant.subject,
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s.saturating_add(ttl.as_secs()),
            "role": grant.role.as_str(),
            "org": grant.org.as_str(),
        });
        if let Some(home) = grant.home {
            claims["home"] = home.to_string().into();
        }
        if grant.session {
            claims["sid"] = uuid::Uuid::new_v4().to_string().into();
        }
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(IssuerError::Sign)
    }

    /// How a verifier of these tokens is set up.
    pub fn verifier_options(&self, leeway_s: u64) -> VerifierOptions {
        VerifierOptions { issuer: self.issuer.clone(), audience: self.audience.clone(), leeway_s, keys: KeySource::File(self.jwks_path.clone()) }
    }
}

fn make(path: &Path) -> Result<SecretKey, IssuerError> {
    // A random 32-byte string is a valid P-256 scalar but for a chance of 2^-32.
    let secret = loop {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| IssuerError::Random)?;
        if let Ok(secret) = SecretKey::from_slice(&bytes) {
            break secret;
        }
    };
    let pem = secret.to_pkcs8_pem(LineEnding::LF).map_err(|_| IssuerError::NotAKey { path: path.to_owned() })?;
    write_beside(path, pem.as_bytes(), 0o600)?;
    Ok(secret)
}

/// The key set as JSON and the key id: the thumbprint of RFC 7638.
fn key_set(secret: &SecretKey) -> (String, String) {
    let point = secret.public_key().to_sec1_point(false);
    let bytes = point.as_bytes();
    // Uncompressed SEC 1: 0x04, then 32 bytes each of x and y.
    let (x, y) = (URL_SAFE_NO_PAD.encode(&bytes[1..33]), URL_SAFE_NO_PAD.encode(&bytes[33..65]));
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let id = URL_SAFE_NO_PAD.encode(Sha256::digest(canonical.as_bytes()));
    let set = json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": id,
    }]});
    (format!("{set:#}\n"), id)
}

/// Writes a whole file or none: into a neighbour first, then renamed.
fn write_beside(path: &Path, bytes: &[u8], mode: u32) -> Result<(), IssuerError> {
    crate::files::write_atomically(path, bytes, mode).map_err(|source| IssuerError::File { path: path.to_owned(), source })
}

#[cfg(unix)]
fn refuse_exposed(path: &Path) -> Result<(), IssuerError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(path).map_err(|source| IssuerError::File { path: path.to_owned(), source })?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(IssuerError::Exposed { path: path.to_owned() });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_exposed(_path: &Path) -> Result<(), IssuerError> {
    Ok(())
}
