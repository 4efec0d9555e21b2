//! TLS of sockets that do not carry HTTP: certificates from PEM files, rustls with ring, nothing process-wide. An error names the file
//! and what is wrong with it, never what is in it.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_platform_verifier::BuilderVerifierExt;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// TLS cannot be set up from these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{} cannot be read: {cause}", file.display())]
    Unreadable { file: PathBuf, cause: String },
    #[error("{} holds no {what} in PEM", file.display())]
    Nothing { file: PathBuf, what: &'static str },
    #[error("{} holds what cannot be used: {cause}", file.display())]
    Unusable { file: PathBuf, cause: String },
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("TLS cannot be set up: {0}")]
    Other(#[from] rustls::Error),
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    pub certificate_file: &'a Path,
    pub key_file: &'a Path,
}

/// A listener's side. With `client_ca_file` whoever connects must show a certificate that one of its authorities signed.
pub fn server(own: Pair<'_>, client_ca_file: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(file)?), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|cause| TlsError::Unusable { file: file.to_owned(), cause: cause.to_string() })?)
        }
    };
    let (chain, key) = pair(own)?;
    Ok(Arc::new(builder.with_single_cert(chain, key).map_err(|cause| refused(own, cause))?))
}

/// A caller's side: the authorities of `ca_file`, else those the machine trusts; `own` is shown to whoever asks for a certificate.
pub fn client(ca_file: Option<&Path>, own: Option<Pair<'_>>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match ca_file {
        Some(file) => builder.with_root_certificates(authorities(file)?),
        None => builder.with_platform_verifier()?,
    };
    Ok(Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let (chain, key) = pair(own)?;
            builder.with_client_auth_cert(chain, key).map_err(|cause| refused(own, cause))?
        }
    }))
}

/// Who the other side is by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The common name, else the first DNS name; empty where it has neither.
    pub name: String,
    /// The common name and every DNS name.
    pub names: Vec<String>,
    /// SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
}

impl Identity {
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok();
        let common = parsed.as_ref().and_then(|certificate| common_name(certificate.subject()));
        let dns = parsed.iter().flat_map(|certificate| certificate.valid_dns_names().map(str::to_owned));
        let names: Vec<String> = common.into_iter().chain(dns).collect();
        let fingerprint = Sha256::digest(certificate.as_ref()).iter().map(|byte| format!("{byte:02x}")).collect();
        Identity { name: names.first().cloned().unwrap_or_default(), names, fingerprint }
    }
}

/// The value after the object identifier 2.5.4.3 in a certificate's subject.
fn common_name(subject: &[u8]) -> Option<String> {
    const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
    let at = subject.windows(COMMON_NAME.len()).position(|bytes| bytes == COMMON_NAME)? + COMMON_NAME.len();
    let length = usize::from(*subject.get(at + 1)?);
    // The names of certificates have 64 characters at most: one byte says how many.
    let value = subject.get(at + 2..at + 2 + length).filter(|_| length < 128)?;
    Some(String::from_utf8_lossy(value).chars().filter(|c| !c.is_control()).collect())
}

fn pair(own: Pair<'_>) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = certificates(own.certificate_file)?;
    let bytes = read(own.key_file)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| TlsError::Nothing { file: own.key_file.to_owned(), what: "private key" })?;
    Ok((chain, key))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsError::Nothing { file: file.to_owned(), what: "certificate" }),
        Ok(found) => Ok(found),
        Err(cause) => Err(TlsError::Unusable { file: file.to_owned(), cause: format!("{cause:?}") }),
    }
}

fn authorities(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        store.add(certificate).map_err(|cause| TlsError::Unusable { file: file.to_owned(), cause: cause.to_string() })?;
    }
    Ok(store)
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|cause| TlsError::Unreadable { file: file.to_owned(), cause: cause.to_string() })
}

fn refused(own: Pair<'_>, cause: rustls::Error) -> TlsError {
    match cause {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { certificate: own.certificate_file.to_owned(), key: own.key_file.to_owned() },
        other => TlsError::Unusable { file: own.certificate_file.to_owned(), cause: other.to_string() },
    }
}
