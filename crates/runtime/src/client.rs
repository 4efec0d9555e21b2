//! HTTP clients: rustls with ring, trusting what the machine trusts. The provider is given to each client, so that nothing
//! process-wide has to be set.

use rustls_platform_verifier::BuilderVerifierExt;
use std::sync::Arc;

/// A client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("the HTTP client cannot be made")]
    Client(#[from] reqwest::Error),
}

/// A client shaped by its user (time-outs, redirects); `https` works, against the machine's own certificate store.
pub fn build(shape: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Result<reqwest::Client, ClientError> {
    Ok(shape(reqwest::Client::builder()).tls_backend_preconfigured(tls()?).build()?)
}

/// As [`build`], for the telemetry exporters. Made on a thread of its own, because it starts a runtime.
pub(crate) fn blocking(timeout: std::time::Duration) -> Result<reqwest::blocking::Client, ClientError> {
    let make = move || Ok(reqwest::blocking::Client::builder().timeout(timeout).tls_backend_preconfigured(tls()?).build()?);
    std::thread::spawn(make).join().expect("making a client does not panic")
}

fn tls() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = || rustls::ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    match versions()?.with_platform_verifier() {
        Ok(trusting) => Ok(trusting.with_no_client_auth()),
        // A machine without a certificate store can still speak plain HTTP on its loopback.
        Err(error) => {
            tracing::warn!(%error, "this machine trusts no certificate authority; https will be refused: install ca-certificates");
            Ok(versions()?.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
        }
    }
}
