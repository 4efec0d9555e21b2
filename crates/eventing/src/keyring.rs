//! Who may open which keys, and a cache that forgets within a minute.
//!
//! Every stream's personal data is sealed under its own key. A key carries the context that made it; a service opens keys of
//! its own context and of those granted to it below. KPI projection opens nothing: it never knows who anyone is.

use crate::ports::{DataKey, KeyState, KeyStore, KeyringError};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// `(service, contexts whose keys it opens)`; the first is its own, in which it also creates.
pub const GRANTS: &[(&str, &[&str])] = &[
    ("call-intake", &["call", "directory"]),
    ("clinical-outcome", &["outcome", "call", "directory"]),
    ("prescribing", &["prescribing", "call", "directory"]),
    ("shared-record", &["shared-record", "call", "outcome", "prescribing", "directory"]),
    ("pas-gateway", &["hospital", "directory"]),
    ("directory", &["directory", "call"]),
    ("kpi-projection", &[]),
];

/// A key may be used from memory this long after it was last read.
const CACHED_FOR: Duration = Duration::from_secs(60);
const CACHED_KEYS_MAX: usize = 50_000;

/// Whether a reader gets at a key.
#[derive(Debug, Clone)]
pub enum Access {
    Key(DataKey),
    Destroyed,
    NotGranted,
}

/// Keys by id, with when they were read and their context.
type Cache = HashMap<[u8; 16], (Instant, String, DataKey)>;

/// One service's view of the keyring.
#[derive(Clone)]
pub struct Keyring {
    reader: &'static str,
    grants: &'static [&'static str],
    keys: Arc<dyn KeyStore>,
    cache: Arc<Mutex<Cache>>,
    cached_for: Duration,
}

impl Keyring {
    /// The keyring as `reader` may use it; a service without a line in [`GRANTS`] opens nothing.
    pub fn new(reader: &str, keys: Arc<dyn KeyStore>) -> Self {
        let (reader, grants) = GRANTS.iter().find(|(name, _)| *name == reader).copied().unwrap_or(("nobody", &[]));
        Keyring { reader, grants, keys, cache: Arc::default(), cached_for: CACHED_FOR }
    }

    /// Keeps keys in memory for a shorter time than the minute that is allowed.
    pub fn caching_for(mut self, limit: Duration) -> Self {
        self.cached_for = limit.min(CACHED_FOR);
        self
    }

    /// The key of a stream of one's own context, made durable now if it does not exist yet.
    pub async fn ensure(&self, id: [u8; 16]) -> Result<DataKey, KeyringError> {
        let own = *self.grants.first().ok_or_else(|| self.refused("any context"))?;
        if let Some((context, key)) = self.cached(id) {
            if context == own {
                return Ok(key);
            }
            return Err(self.refused(&context));
        }
        match self.keys.create(own, id).await? {
            KeyState::Key { context, key } if context == own => {
                self.remember(id, &context, &key);
                Ok(key)
            }
            KeyState::Key { context, .. } | KeyState::Withheld { context } => Err(self.refused(&context)),
            KeyState::Destroyed { .. } => Err(KeyringError::Destroyed),
            KeyState::Missing => Err(KeyringError::Missing),
        }
    }

    /// As [`Keyring::ensure`] for many at once: the keyring makes them in as few commits as it can.
    pub async fn ensure_many(&self, ids: &[[u8; 16]]) -> Result<(), KeyringError> {
        futures_util::future::try_join_all(ids.iter().map(|id| self.ensure(*id))).await.map(drop)
    }

    /// Opens the key of any stream, as far as granted.
    pub async fn open(&self, id: [u8; 16]) -> Result<Access, KeyringError> {
        if let Some((_, key)) = self.cached(id) {
            return Ok(Access::Key(key));
        }
        match self.keys.open(id).await? {
            KeyState::Key { context, key } if self.grants.contains(&context.as_str()) => {
                self.remember(id, &context, &key);
                Ok(Access::Key(key))
            }
            KeyState::Key { .. } | KeyState::Withheld { .. } => Ok(Access::NotGranted),
            KeyState::Destroyed { context } if self.grants.contains(&context.as_str()) => Ok(Access::Destroyed),
            KeyState::Destroyed { .. } => Ok(Access::NotGranted),
            KeyState::Missing => Err(KeyringError::Missing),
        }
    }

    /// Destroys a stream's key for good. True if it lived.
    pub async fn destroy(&self, id: [u8; 16]) -> Result<bool, KeyringError> {
        self.lock().remove(&id);
        let lived = self.keys.destroy(id).await?;
        self.lock().remove(&id);
        Ok(lived)
    }

    /// The lookup key of this service under a name, for example `lasting` or `2026-11-22`, made if it does not exist yet.
    pub async fn lookup(&self, name: &str) -> Result<Lookup, KeyringError> {
        Ok(Lookup { key: self.ensure(self.named(name)).await? })
    }

    /// As [`Keyring::lookup`], but makes none: none where it was never made or is destroyed.
    pub async fn lookup_if_kept(&self, name: &str) -> Result<Option<Lookup>, KeyringError> {
        match self.open(self.named(name)).await {
            Ok(Access::Key(key)) => Ok(Some(Lookup { key })),
            Ok(Access::Destroyed | Access::NotGranted) | Err(KeyringError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The id of a key that belongs to no stream but to a name of this service.
    pub fn named(&self, name: &str) -> [u8; 16] {
        let digest = Sha256::new().chain_update(self.reader).chain_update([0]).chain_update(name).finalize();
        digest[..16].try_into().expect("a digest has 32 bytes")
    }

    fn cached(&self, id: [u8; 16]) -> Option<(String, DataKey)> {
        let cache = self.lock();
        let (at, context, key) = cache.get(&id)?;
        (at.elapsed() < self.cached_for).then(|| (context.clone(), key.clone()))
    }

    fn remember(&self, id: [u8; 16], context: &str, key: &DataKey) {
        let mut cache = self.lock();
        if cache.len() >= CACHED_KEYS_MAX {
            cache.retain(|_, (at, ..)| at.elapsed() < self.cached_for);
            if cache.len() >= CACHED_KEYS_MAX {
                cache.clear();
            }
        }
        cache.insert(id, (Instant::now(), context.to_owned(), key.clone()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn refused(&self, context: &str) -> KeyringError {
        KeyringError::NotGranted { reader: self.reader.to_owned(), context: context.to_owned() }
    }
}

/// Forgets keys that are past their minute even where nobody asks for them; call it now and then.
impl Keyring {
    pub fn forget_stale(&self) {
        self.lock().retain(|_, (at, ..)| at.elapsed() < self.cached_for);
    }
}

/// A key for finding rows by an identifier without keeping the identifier.
pub struct Lookup {
    key: DataKey,
}

impl Lookup {
    /// 16 bytes of HMAC-SHA-256(key, authority ‖ 0 ‖ identifier).
    pub fn tag(&self, authority: &str, identifier: &str) -> [u8; 16] {
        self.tag_bytes(authority, &[identifier.as_bytes()])
    }

    /// As [`Lookup::tag`], for an identifier in pieces.
    pub fn tag_bytes(&self, authority: &str, identifier: &[&[u8]]) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.0.as_slice()).expect("HMAC takes keys of any length");
        mac.update(authority.as_bytes());
        mac.update(&[0]);
        for piece in identifier {
            mac.update(piece);
        }
        let mac = mac.finalize().into_bytes();
        mac[..16].try_into().expect("a digest has 32 bytes")
    }
}
