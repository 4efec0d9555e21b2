//! AES-256-GCM with a fresh random nonce; a key seals one stream, so nonces cannot run out.

use crate::ports::DataKey;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use zeroize::Zeroizing;

/// The sealed bytes do not belong to this key and place, or were changed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a sealed value does not open: it was changed or belongs elsewhere")]
pub struct SealBroken;

/// Nonce (12 bytes) and ciphertext with its tag.
pub fn seal(key: &DataKey, associated: &[u8], plain: &[u8]) -> ([u8; 12], Vec<u8>) {
    let mut nonce = [0u8; 12];
    getrandom::fill(&mut nonce).expect("the operating system gives random bytes");
    let cipher = Aes256Gcm::new_from_slice(key.0.as_slice()).expect("a data key has 32 bytes");
    let sealed = cipher.encrypt(&Nonce::from(nonce), Payload { msg: plain, aad: associated }).expect("AES-GCM takes messages up to 64 GiB");
    (nonce, sealed)
}

/// The plain bytes.
pub fn open(key: &DataKey, associated: &[u8], nonce: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealBroken> {
    let nonce: [u8; 12] = nonce.try_into().map_err(|_| SealBroken)?;
    let cipher = Aes256Gcm::new_from_slice(key.0.as_slice()).expect("a data key has 32 bytes");
    cipher.decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad: associated }).map(Zeroizing::new).map_err(|_| SealBroken)
}

/// Nonce and ciphertext in one piece, as blobs, inbox rows and wrapped keys are kept.
pub fn seal_joined(key: &DataKey, associated: &[u8], plain: &[u8]) -> Vec<u8> {
    let (nonce, sealed) = seal(key, associated, plain);
    let mut joined = Vec::with_capacity(12 + sealed.len());
    joined.extend_from_slice(&nonce);
    joined.extend_from_slice(&sealed);
    joined
}

/// Opens what [`seal_joined`] made.
pub fn open_joined(key: &DataKey, associated: &[u8], joined: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealBroken> {
    if joined.len() < 12 {
        return Err(SealBroken);
    }
    open(key, associated, &joined[..12], &joined[12..])
}
