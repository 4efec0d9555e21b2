//! Signing: the advanced electronic signature that makes an order a prescription (Human Medicines Regulations 2012, reg. 219).
//!
//! The signature is made in the prescriber's own session with the prescriber's own credential, never by this service. Two
//! signers are shipped: one for test and training, whose signatures prove nothing and say so, and the absence of one.

use crate::domain::Rejection;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearthline_runtime::auth::Caller;
use sha2::{Digest, Sha256};

/// What the prescription service wants signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToSign {
    /// As `$prepare` gave it: base64 of the `SignedInfo`.
    pub digest: String,
    /// The algorithm it names.
    pub algorithm: String,
}

/// A prescriber as an order names one.
#[derive(Clone, PartialEq, Eq)]
pub struct PrescriberDetails {
    /// Spine user, twelve digits.
    pub sds_user_id: String,
    /// Spine role profile, twelve digits.
    pub role_profile_id: String,
    /// GMC reference number.
    pub gmc_number: String,
    pub family: String,
    pub given: String,
    pub prefix: String,
}

/// Something that signs for the prescriber who is present.
pub trait Signer: Send + Sync {
    /// Who signs; asked before anything personal is opened.
    fn prescriber(&self, caller: &Caller) -> Result<PrescriberDetails, Rejection>;
    /// The signature document.
    fn sign(&self, caller: &Caller, to_sign: &ToSign) -> Result<Vec<u8>, Rejection>;
}

/// For test and training only: the same input gives the same signature, and anybody could have made it.
pub struct SandboxSigner;

impl Signer for SandboxSigner {
    fn prescriber(&self, caller: &Caller) -> Result<PrescriberDetails, Rejection> {
        let number = caller.subject.iter().fold(0u64, |sum, byte| (sum * 31 + u64::from(*byte)) % 1_000_000);
        Ok(PrescriberDetails {
            sds_user_id: format!("999900{number:06}"),
            role_profile_id: format!("100900{number:06}"),
            gmc_number: format!("9{number:06}"),
            family: "Testprescriber".to_owned(),
            given: "Sandbox".to_owned(),
            prefix: "DR".to_owned(),
        })
    }

    fn sign(&self, caller: &Caller, to_sign: &ToSign) -> Result<Vec<u8>, Rejection> {
        let value = Sha256::new().chain_update(b"sandbox signature, proves nothing").chain_update(caller.subject).chain_update(&to_sign.digest).finalize();
        // What is not base64 is signed as it stands; a sandbox has nothing to protect.
        let signed_info = STANDARD.decode(&to_sign.digest).unwrap_or_else(|_| to_sign.digest.clone().into_bytes());
        let mut document = b"<Signature xmlns=\"http://www.w3.org/2000/09/xmldsig#\">".to_vec();
        document.extend_from_slice(&signed_info);
        document.extend_from_slice(format!("<SignatureValue>{}</SignatureValue></Signature>", STANDARD.encode(value)).as_bytes());
        Ok(document)
    }
}

/// No signing service is connected: nothing is signed.
pub struct NoSigningService;

impl Signer for NoSigningService {
    fn prescriber(&self, _caller: &Caller) -> Result<PrescriberDetails, Rejection> {
        Err(Rejection::NoSigningService)
    }

    fn sign(&self, _caller: &Caller, _to_sign: &ToSign) -> Result<Vec<u8>, Rejection> {
        Err(Rejection::NoSigningService)
    }
}
