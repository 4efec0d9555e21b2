//! Verification of bearer tokens against an issuer's JSON Web Key Set (RFC 7517).
//!
//! Only ES256 and RS256 are taken, and only with a key of that very kind, so a token cannot choose how it is checked.
//! Keys are read from a file or an address; a key id that is not known causes one reading, at most every ten
//! seconds, which is how a rotation is noticed. A token that was verified once is remembered for a minute by its
//! digest, because an ES256 verification costs more than the rest of a request.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hearthline_nhs::{HomeId, OdsCode};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::caller::{Caller, Role};
use crate::http::{Problem, codes};

/// How long a verified token is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How many verified tokens are remembered.
const REMEMBERED_MAX: usize = 10_000;
/// The least time between two readings caused by unknown key ids.
const REREAD_EVERY: Duration = Duration::from_secs(10);
/// How old a key set may become before it is read again.
const KEYS_AGE_MAX: Duration = Duration::from_secs(300);
/// A key set larger than this is not read.
const KEYS_BYTES_MAX: usize = 1 << 20;

/// Where the issuer's public keys are.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A JWKS file, read again when a key id is not known.
    File(PathBuf),
    /// An address that answers with a JWKS.
    Url(String),
}

/// What a token must say to be taken.
#[derive(Debug, Clone)]
pub struct VerifierOptions {
    /// The `iss` that is expected.
    pub issuer: String,
    /// The `aud` that is expected.
    pub audience: String,
    /// How far the clocks of issuer and verifier may differ, in seconds.
    pub leeway_s: u64,
    /// Where the keys are.
    pub keys: KeySource,
}

/// Why a token was not taken. Each is its own 401; [`AuthError::KeysUnavailable`] is a 503.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No `Authorization: Bearer` header.
    #[error("no bearer token")]
    Missing,
    /// Not a JWT, or signed in a way that is not taken.
    #[error("the bearer token cannot be read")]
    Malformed,
    /// `exp` is past.
    #[error("the bearer token has expired")]
    Expired,
    /// `nbf` lies ahead.
    #[error("the bearer token is not valid yet")]
    NotYetValid,
    /// `aud` is another.
    #[error("the bearer token is for another audience")]
    Audience,
    /// `iss` is another.
    #[error("the bearer token is from another issuer")]
    Issuer,
    /// No published key has the token's key id.
    #[error("the key of the bearer token is not known")]
    KeyUnknown,
    /// The signature does not fit.
    #[error("the signature of the bearer token is wrong")]
    Signature,
    /// A claim is missing or malformed.
    #[error("the claim {0} of the bearer token is missing or malformed")]
    Claim(&'static str),
    /// The issuer's keys could not be read.
    #[error("the issuer's keys are not available")]
    KeysUnavailable,
}

impl AuthError {
    /// The problem to answer with, `WWW-Authenticate` included (RFC 6750, section 3).
    pub fn problem(&self) -> Problem {
        let code = match self {
            AuthError::Missing => codes::TOKEN_MISSING,
            AuthError::Malformed => codes::TOKEN_MALFORMED,
            AuthError::Expired => codes::TOKEN_EXPIRED,
            AuthError::NotYetValid => codes::TOKEN_NOT_YET_VALID,
            AuthError::Audience => codes::TOKEN_AUDIENCE,
            AuthError::Issuer => codes::TOKEN_ISSUER,
            AuthError::KeyUnknown => codes::TOKEN_KEY_UNKNOWN,
            AuthError::Signature => codes::TOKEN_SIGNATURE,
            AuthError::Claim(_) => codes::TOKEN_CLAIMS,
            AuthError::KeysUnavailable => {
                return Problem::of(codes::KEYS_UNAVAILABLE).retry_after(5);
            }
        };
        let challenge = match self {
            AuthError::Missing => "Bearer",
            _ => "Bearer error=\"invalid_token\"",
        };
        let problem = Problem::of(code).header(axum::http::header::WWW_AUTHENTICATE, challenge);
        match self {
            AuthError::Claim(claim) => problem.detail(format!("claim {claim}")),
            _ => problem,
        }
    }
}

/// The key set could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeySourceError {
    /// The file could not be read.
    #[error("the key set {path} cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The address did not answer with a key set.
    #[error("the key set at {url} cannot be fetched")]
    Url {
        /// The address.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The answer is larger than a key set can be.
    #[error("the key set is larger than {KEYS_BYTES_MAX} bytes")]
    TooLarge,
    /// What was read is no key set.
    #[error("what was read is not a JSON Web Key Set")]
    Malformed(#[source] serde_json::Error),
    /// The set has no key that could verify a token.
    #[error("the key set holds no ES256 or RS256 signing key")]
    NoUsableKey,
    /// The HTTP client could not be built.
    #[error("the HTTP client for the key set cannot be built")]
    Client(#[from] crate::client::ClientError),
}

#[derive(Clone)]
struct Key {
    algorithm: Algorithm,
    decoding: DecodingKey,
}

struct Keys {
    by_id: HashMap<String, Key>,
    read_at: Instant,
}

struct Remembered {
    caller: Caller,
    not_before_s: i64,
    expires_s: i64,
    until: Instant,
}

/// Verifies bearer tokens. Shared by all services of a process.
pub struct Verifier {
    options: VerifierOptions,
    client: reqwest::Client,
    keys: RwLock<Option<Keys>>,
    remembered: Mutex<HashMap<[u8; 32], Remembered>>,
    tried_at: tokio::sync::Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier that has read no keys yet; it reads them with the first token or by [`Verifier::read_keys`].
    pub fn new(options: VerifierOptions) -> Result<Self, KeySourceError> {
        let client = crate::client::build(|c| c.timeout(Duration::from_secs(5)).connect_timeout(Duration::from_secs(2)))?;
        Ok(Self { options, client, keys: RwLock::new(None), remembered: Mutex::new(HashMap::new()), tried_at: tokio::sync::Mutex::new(None) })
    }

    /// Reads the key set now, replacing the one held and forgetting every verified token.
    pub async fn read_keys(&self) -> Result<(), KeySourceError> {
        let bytes = match &self.options.keys {
            KeySource::File(path) => tokio::fs::read(path).await.map_err(|source| KeySourceError::File { path: path.clone(), source })?,
            KeySource::Url(url) => self.fetch(url).await?,
        };
        if bytes.len() > KEYS_BYTES_MAX {
            return Err(KeySourceError::TooLarge);
        }
        let set: JwkSet = serde_json::from_slice(&bytes).map_err(KeySourceError::Malformed)?;
        let by_id: HashMap<String, Key> = set.keys.iter().filter_map(usable).collect();
        if by_id.is_empty() {
            return Err(KeySourceError::NoUsableKey);
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Keys { by_id, read_at: Instant::now() });
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// Verifies a token (without the word `Bearer`) at `now`.
    pub async fn verify(&self, token: &str, now: SystemTime) -> Result<Caller, AuthError> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now_s = seconds(now);
        if let Some(caller) = self.recall(&digest, now_s) {
            return caller;
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| AuthError::Malformed)?;
        if !matches!(header.alg, Algorithm::ES256 | Algorithm::RS256) {
            return Err(AuthError::Malformed);
        }
        let id = header.kid.ok_or(AuthError::KeyUnknown)?;
        let key = self.key(&id).await?;
        if key.algorithm != header.alg {
            return Err(AuthError::Signature);
        }
        let claims = self.decode(token, &key)?;
        let (not_before_s, expires_s) = (claims.nbf.unwrap_or(i64::MIN), claims.exp.unwrap_or(i64::MIN));
        if claims.exp.is_none() {
            return Err(AuthError::Claim("exp"));
        }
        self.check_time(now_s, not_before_s, expires_s)?;
        let caller = self.caller(claims)?;
        self.remember(digest, &caller, not_before_s, expires_s);
        Ok(caller)
    }

    async fn fetch(&self, url: &str) -> Result<Vec<u8>, KeySourceError> {
        let failed = |source| KeySourceError::Url { url: url.to_owned(), source };
        let mut response = self.client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > KEYS_BYTES_MAX {
                return Err(KeySourceError::TooLarge);
            }
        }
        Ok(bytes)
    }

    /// The key of this id, after one reading where it is unknown or the set has grown old. An old set still serves
    /// while the issuer is away.
    async fn key(&self, id: &str) -> Result<Key, AuthError> {
        if let (Some(key), true) = self.held(id) {
            return Ok(key);
        }
        let mut tried_at = self.tried_at.lock().await;
        if let (Some(key), true) = self.held(id) {
            return Ok(key);
        }
        let due = tried_at.is_none_or(|at| at.elapsed() >= REREAD_EVERY);
        let read = if due {
            *tried_at = Some(Instant::now());
            self.read_keys().await
        } else {
            Ok(())
        };
        if let Err(error) = &read {
            tracing::warn!(error = error as &dyn std::error::Error, "the issuer's keys could not be read");
        }
        match self.held(id) {
            (Some(key), _) => Ok(key),
            (None, _) if self.has_keys() => Err(AuthError::KeyUnknown),
            (None, _) => Err(AuthError::KeysUnavailable),
        }
    }

    fn held(&self, id: &str) -> (Option<Key>, bool) {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        match keys.as_ref() {
            Some(keys) => (keys.by_id.get(id).cloned(), keys.read_at.elapsed() < KEYS_AGE_MAX),
            None => (None, false),
        }
    }

    fn has_keys(&self) -> bool {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn decode(&self, token: &str, key: &Key) -> Result<Claims, AuthError> {
        let mut validation = Validation::new(key.algorithm);
        // Times are checked below, against the time that was handed in.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.required_spec_claims = ["iss", "aud", "sub"].map(str::to_owned).into();
        validation.set_issuer(&[&self.options.issuer]);
        validation.set_audience(&[&self.options.audience]);
        jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation).map(|data| data.claims).map_err(|error| refusal(error.kind()))
    }

    fn check_time(&self, now_s: i64, not_before_s: i64, expires_s: i64) -> Result<(), AuthError> {
        let leeway = i64::try_from(self.options.leeway_s).unwrap_or(i64::MAX);
        if expires_s.saturating_add(leeway) <= now_s {
            return Err(AuthError::Expired);
        }
        if not_before_s > now_s.saturating_add(leeway) {
            return Err(AuthError::NotYetValid);
        }
        Ok(())
    }

    fn caller(&self, claims: Claims) -> Result<Caller, AuthError> {
        let subject = claims.sub.filter(|s| !s.is_empty()).ok_or(AuthError::Claim("sub"))?;
        let role: Role = claims.role.as_deref().and_then(|role| role.parse().ok()).ok_or(AuthError::Claim("role"))?;
        let org = claims.org.as_deref().and_then(|org| OdsCode::parse(org).ok()).ok_or(AuthError::Claim("org"))?;
        let home = match claims.home.as_deref() {
            Some(text) => Some(HomeId::parse(text).map_err(|_| AuthError::Claim("home"))?),
            None if role == Role::CareHome => return Err(AuthError::Claim("home")),
            None => None,
        };
        Ok(Caller { subject: pseudonym(&self.options.issuer, &subject), role, org, home, session: claims.sid.is_some_and(|sid| !sid.is_empty()) })
    }

    fn recall(&self, digest: &[u8; 32], now_s: i64) -> Option<Result<Caller, AuthError>> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let found = remembered.get(digest)?;
        if found.until <= Instant::now() {
            remembered.remove(digest);
            return None;
        }
        let checked = self.check_time(now_s, found.not_before_s, found.expires_s);
        Some(checked.map(|()| found.caller.clone()))
    }

    fn remember(&self, digest: [u8; 32], caller: &Caller, not_before_s: i64, expires_s: i64) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.retain(|_, entry| entry.until > now);
        }
        if remembered.len() < REMEMBERED_MAX {
            let entry = Remembered { caller: caller.clone(), not_before_s, expires_s, until: now + REMEMBERED };
            remembered.insert(digest, entry);
        }
    }
}

/// The claims that are read. Unknown ones are left alone: issuers add their own.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<i64>,
    nbf: Option<i64>,
    role: Option<String>,
    org: Option<String>,
    home: Option<String>,
    sid: Option<String>,
}

/// The first 16 bytes of SHA-256 over issuer and subject, each preceded by its length.
pub(super) fn pseudonym(issuer: &str, subject: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in [issuer, subject] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    first
}

fn usable(jwk: &Jwk) -> Option<(String, Key)> {
    if matches!(&jwk.common.public_key_use, Some(used) if *used != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        _ => return None,
    };
    let named = jwk.common.key_algorithm.map(|named| named.to_string());
    if named.is_some_and(|named| named != format!("{algorithm:?}")) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    Some((jwk.common.key_id.clone()?, Key { algorithm, decoding }))
}

fn refusal(kind: &jsonwebtoken::errors::ErrorKind) -> AuthError {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::InvalidSignature => AuthError::Signature,
        ErrorKind::InvalidIssuer => AuthError::Issuer,
        ErrorKind::InvalidAudience => AuthError::Audience,
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "iss" => AuthError::Issuer,
            "aud" => AuthError::Audience,
            _ => AuthError::Claim("sub"),
        },
        _ => AuthError::Malformed,
    }
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
